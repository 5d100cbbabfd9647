# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands as MI of OpenSIPS: the same as over our FIFO, with parameters by position and by name."""

from base import CONFIRMED, DELETED, EARLY, ProxyCase, audit
from hosts import host, only
from profiles import HOOKS, ProfileCase
from rpc import RpcError
from test_profiles_commands import STATS

NUMBERS = ("state", "user_flags", "timestart", "timeout", "callee_cseq", "caller_cseq", "memberships")


def as_object(d):
    """A dialog that the FIFO lists, in the shape of MI."""
    def number(k, v):
        return int(v) if k in NUMBERS else v
    out = {k: number(k, v) for k, v in d.items() if k not in ("legs", "context")}
    if d["legs"]:
        out["callees"] = [{k: number(k, v) for k, v in leg.items()} for leg in d["legs"]]
    if d["context"] is not None:
        out["context"] = {kind + "s": [v for k, v in d["context"] if k == kind] for kind in ("value", "profile")}
    return out


@only("opensips", "MI")
class MiCase(ProfileCase):
    allowed = (host.ANSWERS,)
    hooks = dict(HOOKS, initial='%s\n\tstore_dlg_value("acc", "pre paid");\n\tset_dlg_flag(31);' % HOOKS["initial"])

    def setUp(self):
        super().setUp()
        self.mi = self.proxy.rpc

    def up_call(self, *wanted):
        c = self.up(*wanted)
        self.wait_state(c, CONFIRMED)
        return c

    def both(self, method, by_position, by_name):
        """The answer, the same either way and through both transports."""
        got = [ask(method, params) for params in (by_position, by_name) for ask in (self.mi.ask, self.mi.by_fifo)]
        for other in got[1:]:
            self.same(other, got[0])
        return got[0]

    def same(self, got, want):
        """Equal but for what time does to it."""
        self.assertEqual(type(got), type(want))
        if isinstance(want, dict):
            self.assertEqual(set(got), set(want))
            for k in want:
                if k in ("timeout", "uptime", "timer_lag", "memory_held", "memory_bytes", "memory_pieces"):
                    self.assertAlmostEqual(got[k], want[k], delta=2 if k.startswith(("time", "uptime")) else 1 << 20)
                else:
                    self.same(got[k], want[k])
        elif isinstance(want, list):
            self.assertEqual(len(got), len(want))
            for g, w in zip(got, want):
                self.same(g, w)
        else:
            self.assertEqual(got, want)

    def error(self, code, message, method, params):
        for ask in (self.mi.ask, self.mi.by_fifo):
            with self.assertRaises(RpcError) as e:
                ask(method, params)
            self.assertEqual((e.exception.code, e.exception.message), (code, message), (method, params))


class Dialogs(MiCase):
    seconds = 15

    def test_list(self):
        c = self.up_call()
        got = self.both("dlg_list", [c.call_id], {"callid": c.call_id})
        self.same(got, [as_object(self.dialog(c))])
        self.assertEqual(got[0]["user_flags"], 1 << 31)
        self.assertNotIn("context", got[0])
        self.same(self.both("dlg_list", [c.call_id, c.ftag], {"from_tag": c.ftag, "callid": c.call_id}), got)
        everything = self.mi.ask("dlg_list", None)
        self.same(everything, [as_object(d) for d in self.proxy.fifo.dialogs()])
        self.assertIn(c.call_id, [d["callid"] for d in everything])
        c.hangup()

    def test_early_and_unconfirmed(self):
        c = self.call()
        c.ring()
        self.same(self.mi.ask("dlg_list", [c.call_id]), [as_object(self.dialog(c))])
        c.answer(180)
        c.got(180)
        got = self.mi.ask("dlg_list", [c.call_id])
        self.same(got, [as_object(self.dialog(c))])
        self.assertEqual(got[0]["state"], EARLY)
        c.answer(486)
        c.got(486)

    def test_list_ctx(self):
        c = self.up_call(("set1", "inb"), ("set2", "caller", "alice"))
        got = self.both("dlg_list_ctx", [c.call_id], {"callid": c.call_id})
        self.assertEqual(got[0]["context"], {"values": ["acc = pre paid"], "profiles": ["caller = alice", "inb = "]})
        self.same(got, [as_object(self.dialog(c, "dlg_list_ctx"))])
        c.hangup()

    def ends(self, c, params):
        self.mi.ask("dlg_end_dlg", params)
        for ua in (c.a, c.b):
            bye = ua.recv("BYE")
            self.assertEqual(bye.get("X-R"), "one")
            ua.reply(bye, 200)
        self.wait_state(c, DELETED)
        self.error(404, "Requested Dialog not found", "dlg_end_dlg", params)

    def test_end(self):
        c = self.up_call()
        d = self.dialog(c)
        self.ends(c, [d.entry, d.id, "X-R: one"])
        c = self.up_call()
        d = self.dialog(c)
        self.ends(c, {"h_id": str(d.id), "h_entry": str(d.entry), "extra_hdrs": "X-R: one"})

    def test_end_early(self):
        c = self.ringing()
        d = self.dialog(c)
        self.mi.by_fifo("dlg_end_dlg", {"h_entry": d.entry, "h_id": d.id})
        c.ack_negative(c.a.recv(lambda m: m.code >= 300))
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.wait_state(c, DELETED)

    def test_page(self):
        calls = [self.up_call(("set2", "caller", "paged")) for _ in range(3)]
        seen, cursor = [], "0"
        while cursor != "end":
            got = self.both("dlg_page", [cursor, 1, "caller", "paged"],
                            {"cursor": cursor, "count": 1, "profile": "caller", "value": "paged"})
            cursor = got.pop()["next"]
            seen += got
        want = [as_object(d) for d in self.proxy.fifo.dialogs("caller", "paged", command="profile_list_dlgs")]
        self.same(seen, want)
        self.assertEqual({d["callid"] for d in seen}, {c.call_id for c in calls})
        self.assertEqual(self.mi.ask("dlg_page", [0, 10, "trunk"]), [{"next": "end"}])
        for c in calls:
            c.hangup()

    def test_names_with_the_module(self):
        """OpenSIPS 4.0 files commands under the module they are of."""
        if host.version() < (4, 0):
            self.skipTest("OpenSIPS %d.%d has no such names" % host.version())
        c = self.up_call()
        self.same(self.mi.ask("dialog:dlg_list", [c.call_id]), self.mi.ask("dlg_list", [c.call_id]))
        self.assertEqual(self.mi.ask("dialog:dlg_audit", None)[0]["result"], "ok")
        c.hangup()

    def test_errors(self):
        self.error(404, "Nu such dialog", "dlg_list", ["nope"])
        self.error(404, "Nu such dialog", "dlg_list", {"callid": "nope", "from_tag": "x"})
        for params in (["abc", 1], ["-1", 2], [1, 2, "no header"], {"h_entry": "abc", "h_id": 1}):
            self.error(400, "Bad parameter", "dlg_end_dlg", params)
        self.error(404, "Requested Dialog not found", "dlg_end_dlg", [1, 1])
        for bad in ("x", "-1", "1:"):
            self.error(400, "Bad parameter", "dlg_page", {"cursor": bad})

    def test_wrong_parameters(self):
        """OpenSIPS itself refuses what no form of a command takes."""
        for method, params in (("dlg_list", ["a", "b", "c"]), ("dlg_end_dlg", []), ("dlg_end_dlg", [1]),
                               ("dlg_end_dlg", [1, 2, "x", "y"]), ("dlg_list", {"call-id": "x"}), ("dlg_audit", ["x"]),
                               ("dlg_list", {"from_tag": "x"}), ("profile_get_size", None), ("dlg_page", {"count": 1})):
            self.error(-32602, "Invalid params", method, params)
        self.error(-32601, "Method not found", "dlg_nope", None)

    def test_help(self):
        """Every command is there and says what it takes."""
        known = self.mi.call("which")
        for name in ("dlg_list", "dlg_list_ctx", "dlg_end_dlg", "dlg_page", "profile_get_size", "profile_list_dlgs",
                     "profile_get_values", "profile_end_dlgs", "list_all_profiles", "dlg_profiles", "dlg_stats", "dlg_audit"):
            self.assertIn(name, {k.rpartition(":")[2] for k in known})
        self.assertIn("h_entry", str(self.mi.call("help", "dlg_end_dlg")))


class Profiles(MiCase):
    seconds = 10

    def test_sizes_values_and_lists(self):
        c = self.up_call(("set1", "inb"), ("set2", "caller", "alice"), ("set2", "caller", "alice"), ("set2", "caller", "42"))
        for params, names, value, count in ((["inb"], {"profile": "inb"}, "", 1),
                                            (["caller", "alice"], {"value": "alice", "profile": "caller"}, "alice", 2),
                                            (["caller"], {"profile": "caller"}, "", 3),
                                            (["caller", "42"], {"profile": "caller", "value": 42}, "42", 1),
                                            (["caller", ""], {"profile": "caller", "value": ""}, "", 0)):
            got = self.both("profile_get_size", params, names)
            self.assertEqual(got, [{"name": params[0], "value": value, "count": count}])
        got = self.both("profile_get_values", ["caller"], {"profile": "caller"})
        self.assertEqual(sorted(got, key=lambda v: v["value"]), [{"value": "42", "count": 1}, {"value": "alice", "count": 2}])
        self.assertEqual(self.mi.ask("profile_get_values", ["inb"]), [{"value": "WITHOUT VALUE", "count": 1}])
        self.assertEqual(self.mi.ask("profile_get_values", ["trunk"]), [])
        got = self.both("profile_list_dlgs", ["caller", "alice"], {"profile": "caller", "value": "alice"})
        self.same(got, [as_object(d) for d in self.proxy.fifo.dialogs("caller", "alice", command="profile_list_dlgs")])
        self.assertEqual(got[0]["memberships"], 2)
        self.assertEqual(self.mi.ask("profile_list_dlgs", ["trunk"]), [])
        c.hangup()

    def test_list_all_and_overview(self):
        c = self.up_call(("set2", "caller", "a"), ("set2", "caller", "a"), ("set2", "caller", "b"))
        self.assertEqual(self.mi.ask("list_all_profiles", None), [
            {"name": n, "has value": v} for n, v in
            (("caller", 1), ("trunk", 1), ("emptv", 1), ("inb", 0), ("outb", 0), ("empt", 0))])
        got = self.mi.ask("dlg_profiles", [1])
        self.assertEqual(got[0], {"name": "caller", "with_value": 1, "count": 3, "values": 2,
                                  "top": [{"value": "a", "count": 2}]})
        self.assertEqual(self.mi.ask("dlg_profiles", None)[0]["top"], [])
        self.assertEqual(len(got), 6)
        c.hangup()

    def test_end(self):
        self.assertEqual(self.both("profile_end_dlgs", ["caller", "bob"], {"profile": "caller", "value": "bob"}),
                         [{"ended": 0, "failed": 0}])
        calls = [self.up_call(("set2", "caller", "alice")) for _ in range(2)]
        self.assertEqual(self.mi.ask("profile_end_dlgs", {"profile": "caller", "value": "alice"}), [{"ended": 2, "failed": 0}])
        for c in calls:
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE"), 200)
            self.wait_state(c, DELETED)

    def test_errors(self):
        for method in ("profile_get_size", "profile_list_dlgs", "profile_get_values", "profile_end_dlgs"):
            self.error(404, "Profile not found", method, ["nope"])
            self.error(404, "Profile not found", method, {"profile": ""})
        self.error(404, "Profile not found", "dlg_page", [0, 10, "nope"])
        self.error(400, "Bad parameter", "dlg_profiles", ["x"])


class Figures(MiCase):
    seconds = 10

    def test_stats(self):
        c = self.up_call(("set1", "inb"))
        (got,) = self.mi.ask("dlg_stats", None)
        self.assertEqual([k for k in got if k in STATS], STATS)
        self.assertEqual((got["confirmed"], got["profile_members"]), (1, 1))
        c.hangup()

    def test_audit(self):
        c = self.up_call(("set1", "inb"))
        (got,) = self.mi.ask("dlg_audit", None)
        self.same({k: v for k, v in got.items() if not k.startswith("held_by")},
                  {k: v for k, v in audit(self.proxy).items() if not k.startswith("held_by")})
        self.assertEqual((got["result"], got["members"], got["overdue_dialogs"]), ("ok", 1, []))
        c.hangup()

    def test_statistics_of_the_host(self):
        c = self.up_call()
        d = self.ringing()
        got = self.mi.ask("get_statistics", [["dialog:"]])
        self.assertEqual(set(got), {"dialog:%s_dialogs" % n for n in ("active", "early", "processed", "expired", "failed")})
        self.assertEqual((got["dialog:active_dialogs"], got["dialog:early_dialogs"]), (1, 1))
        self.assertEqual(self.mi.ask("get_statistics", {"statistics": ["active_dialogs"]}), {"dialog:active_dialogs": 1})
        self.assertStats(processed=2, active=1, early=1)
        d.answer(486)
        d.got(486)
        c.hangup()
        self.assertStats(processed=2, failed=1)


@only("opensips", "MI")
class LongLists(ProxyCase):
    """A reply is built in memory: long lists come in parts, each of which says where the next begins."""

    seconds = 20
    CALLS = 1200
    longest = 30

    def test_list_is_cut_and_continued(self):
        c, invites, ids = self.ring_many(self.CALLS)
        got = self.proxy.rpc.by_fifo("dlg_list", timeout=10)
        cursor = got.pop()["next"]
        seen = [x["callid"] for x in got]
        self.assertLess(len(seen), self.CALLS)
        while cursor != "end":
            got = self.proxy.rpc.by_fifo("dlg_page", [cursor, 200])
            cursor = got.pop()["next"]
            seen += [x["callid"] for x in got]
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(seen), ids)
        self.refuse_many(c, invites)


class Reload(MiCase):
    seconds = 4
    params = {"profiles_with_value": "caller"}

    def test_a_reloaded_script_means_the_same(self):
        """Arguments are compiled anew, in each process."""
        before = self.up_call(("set-in-text", "caller", "before"))
        self.assertEqual(self.mi.ask("reload_routes", []), "OK")
        self.wait_until("the script to be taken over", lambda: self.asked("after"))
        before.hangup()

    def asked(self, value):
        c = self.up_call(("set-in-text", "caller", value))
        got = self.profiles_of(c)
        c.hangup()
        self.assertEqual(got, ["caller = <%s>" % value])
        return True
