# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands as Kamailio RPC, by JSON and by kamcmd, and the host's statistics."""

import re

from base import CONFIRMED, DELETED, EARLY, ProxyCase
from hosts import only
from rpc import RpcError


@only("kamailio", "RPC and kamcmd")
class Rpc(ProxyCase):
    seconds = 15
    options = {"modules": ("counters",)}
    hooks = {"initial": "record_route();\n\tcreate_dialog();\n\tstore_dlg_value(\"acc\", \"pre paid\");\n\tset_dlg_flag(31);"}

    def setUp(self):
        super().setUp()
        self.rpc = self.proxy.rpc

    def one(self, method, *params):
        got = self.rpc.call(method, *params)
        self.assertIsInstance(got, list)
        self.assertEqual(len(got), 1)
        return got[0]

    def up_call(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        return c

    def test_list(self):
        c = self.up_call()
        d = self.dialog(c)
        got = self.one("dlg_list", c.call_id)
        self.assertEqual(got["hash"], d["hash"])
        for name in ("state", "user_flags", "timestart", "callee_cseq"):
            self.assertEqual(int(got[name]), int(d[name]), name)
        for name in ("callid", "from_uri", "to_uri", "caller_tag", "caller_contact", "caller_route_set", "caller_bind_addr"):
            self.assertEqual(got[name], d[name], name)
        self.assertEqual(len(got["callees"]), 1)
        leg = got["callees"][0]
        self.assertEqual({k: str(v) for k, v in leg.items()}, d["legs"][0])
        self.assertEqual(got["user_flags"], 1 << 31)
        self.assertNotIn("context", got)
        self.assertEqual(self.one("dlg_list", c.call_id, c.ftag)["hash"], d["hash"])
        self.assertIn(d["hash"], [x["hash"] for x in self.rpc.call("dlg_list")])
        c.hangup()

    def test_list_ctx(self):
        c = self.up_call()
        got = self.one("dlg_list_ctx", c.call_id)
        self.assertEqual(got["context"], {"values": ["acc = pre paid"], "profiles": []})
        c.hangup()

    def test_end(self):
        c = self.up_call()
        d = self.dialog(c)
        self.rpc.call("dlg_end_dlg", d.entry, d.id, "X-R: one")
        for ua in (c.a, c.b):
            bye = ua.recv("BYE")
            self.assertEqual(bye.get("X-R"), "one")
            ua.reply(bye, 200)
        self.wait_state(c, DELETED)
        with self.assertRaises(RpcError) as e:
            self.rpc.call("dlg_end_dlg", d.entry, d.id)
        self.assertEqual((e.exception.code, e.exception.message), (404, "Requested Dialog not found"))

    def test_end_early(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        d = self.dialog(c)
        self.assertEqual(d.state, EARLY)
        self.rpc.call("dlg_end_dlg", str(d.entry), str(d.id))
        c.ack_negative(c.a.recv(lambda m: m.code >= 300))
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.wait_state(c, DELETED)

    def test_errors(self):
        for params, code in ((("nope",), 404), (("a", "b", "c"), 400)):
            with self.assertRaises(RpcError) as e:
                self.rpc.call("dlg_list", *params)
            self.assertEqual(e.exception.code, code)
        for params in ((), (1,), ("abc", 1), ("-1", 2), (1, 2, "x", "y"), (1, 2, "no header")):
            with self.assertRaises(RpcError) as e:
                self.rpc.call("dlg_end_dlg", *params)
            self.assertEqual(e.exception.code, 400, params)

    def test_audit(self):
        got = self.one("dlg_audit")
        self.assertEqual(got["result"], "ok")
        self.assertEqual(got["misplaced"], 0)

    def test_kamcmd(self):
        c = self.up_call()
        d = self.dialog(c)
        code, out = self.rpc.kamcmd("dlg_list")
        self.assertEqual(code, 0, out)
        self.assertIn(c.call_id, out)
        code, out = self.rpc.kamcmd("dlg_list", c.call_id, c.ftag)
        self.assertIn(d["hash"], out)
        code, out = self.rpc.kamcmd("dlg_audit")
        self.assertIn("result: ok", out)
        code, out = self.rpc.kamcmd("dlg_list", "nope")
        self.assertIn("404", out)
        code, out = self.rpc.kamcmd("dlg_end_dlg", d.entry, d.id)
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        self.wait_state(c, DELETED)

    def test_commands_are_documented(self):
        got = self.rpc.call("system.methodHelp", "dlg_end_dlg")
        self.assertIn("h_entry", str(got))

    def test_statistics_of_the_host(self):
        c = self.up_call()
        d = self.call()
        d.ring()
        d.answer(180)
        d.got(180)
        code, out = self.rpc.kamcmd("stats.get_statistics", "dialog:")
        got = dict(re.findall(r"dialog:(\w+) = (\d+)", out))
        self.assertEqual(set(got), {"active_dialogs", "early_dialogs", "processed_dialogs", "expired_dialogs", "failed_dialogs"})
        self.assertEqual((got["active_dialogs"], got["early_dialogs"]), ("1", "1"))
        _, text = self.rpc.kamcmd("cnt.get", "dialog", "active_dialogs")
        self.assertEqual(text.strip(), "1")
        self.assertStats(processed=2, active=1, early=1)
        d.answer(486)
        d.got(486)
        c.hangup()
        self.assertStats(processed=2, failed=1)


@only("kamailio", "RPC and kamcmd")
class LongLists(ProxyCase):
    """A structured reply is built in memory: long lists come in parts, each of which says where the next begins."""

    seconds = 20
    CALLS = 1200
    longest = 30

    def test_list_is_cut_and_continued(self):
        c, invites, ids = self.ring_many(self.CALLS)
        seen, cursor = [], "0"
        while cursor != "end":
            got = self.proxy.rpc.call("dlg_page", cursor, 200)
            cursor = [x["next"] for x in got if "next" in x][0]
            seen += [x["callid"] for x in got if "callid" in x]
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(seen), ids)
        self.refuse_many(c, invites)
