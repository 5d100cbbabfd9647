# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands about profiles, dlg_stats and dlg_audit: every byte of their replies, over FIFO and the host's own interface."""

import re
import time

from base import CONFIRMED, DELETED, EARLY, SLOW, UP, ProxyCase, audit, audit_problems
from hosts import host, only
from profiles import HOOKS, ProfileCase, ops
from rpc import RpcError

NOT_FOUND = "404 Profile not found\n\n"
ARGUMENTS = "400 Too few or too many arguments\n\n"
BAD = "400 Bad parameter\n\n"


def without_times(text):
    return re.sub(r"(timestart|timeout):: \d+", r"\1:: T", text)


class CommandCase(ProfileCase):
    """Two calls, each in inb and in caller with the value alice, as in the 2009 measurements."""

    params = {"profiles_with_value": "caller;emptv", "profiles_no_value": "inb;empt"}

    def setUp(self):
        super().setUp()
        self.cmd = self.proxy.fifo.cmd
        self.two = [self.member() for _ in range(2)]

    def tearDown(self):
        for c in self.two:
            if self.proxy.fifo.dialogs(c.call_id):
                c.hangup()
        self.wait_size(0, "inb")

    def member(self, *more):
        c = self.up(("set1", "inb"), ("set2", "caller", "alice"), *more)
        self.wait_state(c, CONFIRMED)
        return c

    def extra(self, *wanted):
        """A third call, ended before the others."""
        c = self.up(*wanted)
        self.wait_state(c, CONFIRMED)
        self.two.append(c)
        return c

    def text_of(self, c, memberships=0):
        """The dialog of an answered call as listings print it; times replaced."""
        bind = "udp:" + self.proxy.addr
        return ("dialog::  hash=%s\n\tstate:: 4\n\tuser_flags:: 0\n\ttimestart:: T\n\ttimeout:: T\n\tcallid:: %s\n"
                "\tfrom_uri:: %s\n\tto_uri:: %s\n\tcaller_tag:: %s\n\tcaller_contact:: %s\n\tcallee_cseq:: 0\n"
                "\tcaller_route_set:: \n\tcaller_bind_addr:: %s\n\tcallee_tag:: %s\n\tcallee_contact:: %s\n"
                "\tcaller_cseq:: %d\n\tcallee_route_set:: \n\tcallee_bind_addr:: %s\n%s" % (
                    self.dialog(c)["hash"], c.call_id, c.from_uri, c.to_uri, c.ftag, c.a.uri(), bind, c.ttag, c.b.uri(),
                    c.inv.cseq, bind, "\tmemberships:: %d\n" % memberships if memberships else ""))

    def texts_of(self, *calls):
        """In the order of a listing."""
        def place(c):
            return self.dialog(c).entry, self.dialog(c).id
        return "".join(self.text_of(c) for c in sorted(calls, key=place))

    def error(self, code, message, command, *args):
        with self.assertRaises(RpcError) as e:
            self.proxy.rpc.call(command, *args)
        self.assertEqual((e.exception.code, e.exception.message), (code, message), (command, args))


class ProfileCommands(CommandCase):
    """Over the FIFO."""

    seconds = 15

    def test_profile_get_size(self):
        for args, value, count in ((("inb",), "", 2), (("inb", "x"), "x", 2), (("caller", "alice"), "alice", 2),
                                   (("caller", "bob"), "bob", 0), (("caller", "Alice"), "Alice", 0), (("caller",), "", 2),
                                   (("empt",), "", 0), (("emptv",), "", 0), (("emptv", "x"), "x", 0)):
            self.assertEqual(self.cmd("profile_get_size", *args),
                             "200 OK\nprofile::  name=%s value=%s count=%d\n\n" % (args[0], value, count))

    def test_profile_get_values(self):
        self.extra(("set2", "caller", "carol"), ("set2", "caller", ""))
        for args in (("inb",), ("inb", "x")):
            self.assertEqual(self.cmd("profile_get_values", *args), "200 OK\nvalue:: WITHOUT VALUE count=2\n\n")
        self.assertEqual(self.cmd("profile_get_values", "empt"), "200 OK\nvalue:: WITHOUT VALUE count=0\n\n")
        self.assertEqual(self.cmd("profile_get_values", "emptv"), "200 OK\n\n")
        for args in (("caller",), ("caller", "bob")):  # the 2009 program ignored the second one
            got = self.cmd("profile_get_values", *args)
            self.assertTrue(got.startswith("200 OK\n") and got.endswith("\n\n"))
            self.assertEqual(sorted(got.split("\n")[1:-2]),
                             ["value::  count=1", "value:: alice count=2", "value:: carol count=1"])

    def test_profile_list_dlgs(self):
        self.extra(("set2", "caller", "carol"))
        want = "200 OK\n" + self.texts_of(*self.two[:2]) + "\n"
        for args in (("caller", "alice"), ("inb",), ("inb", "x")):
            self.assertEqual(without_times(self.cmd("profile_list_dlgs", *args)), want)
        self.assertEqual(without_times(self.cmd("profile_list_dlgs", "caller")),
                         "200 OK\n" + self.texts_of(*self.two) + "\n")
        self.assertEqual(without_times(self.cmd("profile_list_dlgs", "caller", "carol")),
                         "200 OK\n" + self.text_of(self.two[2]) + "\n")
        for args in (("caller", "bob"), ("caller", "Alice"), ("emptv",), ("emptv", "x"), ("empt",)):
            self.assertEqual(self.cmd("profile_list_dlgs", *args), "200 OK\n\n")

    def test_profile_list_dlgs_with_memberships(self):
        c = self.extra(("set2", "caller", "dave"), ("set2", "caller", "dave"), ("set2", "caller", "erin"))
        for args, n in ((("caller", "dave"), 2), (("caller", "erin"), 0)):
            self.assertEqual(without_times(self.cmd("profile_list_dlgs", *args)), "200 OK\n" + self.text_of(c, n) + "\n")
        self.assertIn("\tmemberships:: 3\n", self.cmd("profile_list_dlgs", "caller"))

    def test_lists_show_what_lives(self):
        """A ringing call counts, an ended one does not, although it is still in dlg_list."""
        ringing = self.ringing(("set1", "inb"))
        self.two[0].hangup()
        self.wait_state(self.two[0], DELETED)
        got = {d["callid"]: d.state for d in self.proxy.fifo.dialogs("inb", command="profile_list_dlgs")}
        self.assertEqual(got, {ringing.call_id: EARLY, self.two[1].call_id: CONFIRMED})
        self.assertEqual(len(self.listed(self.two[0])), 1)
        ringing.answer(486)
        ringing.got(486)
        self.wait_size(1, "inb")

    def test_context(self):
        c = self.extra(("set2", "caller", "a"), ("set1", "inb"), ("set2", "caller", "a"), ("set2", "emptv", ""))
        got = self.cmd("dlg_list_ctx", c.call_id)
        self.assertEqual(without_times(got), "200 OK\n" + self.text_of(c) + "\tcontext:: \n\t\tprofile:: emptv = \n"
                         "\t\tprofile:: caller = a\n\t\tprofile:: inb = \n\t\tprofile:: caller = a\n\n")
        self.assertNotIn("profile", self.cmd("dlg_list", c.call_id))
        self.assertNotIn("context", self.cmd("profile_list_dlgs", "caller"))

    def test_profile_end_dlgs(self):
        self.assertEqual(self.cmd("profile_end_dlgs", "caller", "bob"), "200 OK\nended:: 0\nfailed:: 0\n\n")
        lost = self.call()
        lost.ring(headers=ops(("set1", "inb")), contact=False)
        lost.answer(200, contact=False)
        lost.got(200)
        lost.ack()
        self.wait_state(lost, CONFIRMED)
        self.assertEqual(self.cmd("profile_end_dlgs", "inb", "ignored"), "200 OK\nended:: 2\nfailed:: 1\n\n")
        for c in self.two:
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE"), 200)
        self.assertEqual(self.state(lost), CONFIRMED)
        self.assertEqual(self.size("inb"), 1)
        lost.hangup(ruri=lost.b.uri())

    def test_list_all_profiles(self):
        self.assertEqual(self.cmd("list_all_profiles"), "200 OK\ncaller:: 1\nemptv:: 1\ninb:: 0\nempt:: 0\n\n")

    def test_dlg_profiles(self):
        self.extra(("set2", "caller", "carol"), ("set2", "caller", "carol"), ("set2", "caller", "carol"),
                   ("set2", "caller", "dave"), ("set1", "inb"))
        rest = "profile::  name=emptv with_value=1 count=0 values=0\nprofile::  name=inb with_value=0 count=3 values=0\n" \
               "profile::  name=empt with_value=0 count=0 values=0\n\n"
        head = "200 OK\nprofile::  name=caller with_value=1 count=6 values=3\n"
        top = ("\tvalue:: carol count=3\n", "\tvalue:: alice count=2\n", "\tvalue:: dave count=1\n")
        for args, n in (((), 0), ((0,), 0), ((1,), 1), ((2,), 2), ((3,), 3), ((100,), 3)):
            self.assertEqual(self.cmd("dlg_profiles", *args), head + "".join(top[:n]) + rest)

    def test_dlg_page(self):
        self.extra(("set2", "caller", "carol"))
        for args, calls in ((("caller",), 3), (("caller", "alice"), 2), (("inb",), 2), (("inb", "x"), 2),
                            (("caller", "carol"), 1), (("caller", "nobody"), 0)):
            seen, cursor = [], "0"
            while cursor != "end":
                text = self.cmd("dlg_page", cursor, 1, *args)
                m = re.fullmatch(r"200 OK\n((?:.|\n)*)next:: (\S+)\n\n", text)
                self.assertTrue(m, text)
                self.assertLessEqual(m.group(1).count("dialog::"), 1)
                seen.append(m.group(1))
                cursor = m.group(2)
                self.assertLess(len(seen), 10)
            self.assertEqual(without_times("".join(seen)), self.texts_of(*{
                "carol": self.two[2:], "nobody": []}.get(args[-1], self.two[:calls])))
        self.assertEqual(self.cmd("dlg_page", 0, 10, "caller", "nobody"), "200 OK\nnext:: end\n\n")

    def test_errors(self):
        for command, least, most in (("profile_get_size", 1, 2), ("profile_list_dlgs", 1, 2), ("profile_get_values", 1, 2),
                                     ("profile_end_dlgs", 1, 2), ("list_all_profiles", 0, 0), ("dlg_profiles", 0, 1),
                                     ("dlg_stats", 0, 0), ("dlg_audit", 0, 0), ("dlg_page", 1, 4)):
            with self.subTest(command=command):
                self.assertEqual(self.cmd(command, *["1"] * (most + 1)), ARGUMENTS)
                if least:
                    self.assertEqual(self.cmd(command), ARGUMENTS)
        for command in ("profile_get_size", "profile_list_dlgs", "profile_get_values", "profile_end_dlgs"):
            for name in ("nope", "INB", "in", "inbx", "caller;emptv", "\u00fc"):
                self.assertEqual(self.cmd(command, name), NOT_FOUND)
            self.assertEqual(self.cmd(command, "nope", "x"), NOT_FOUND)
            self.assertEqual(self.cmd(command, '""'), "400 parse error in command '%s'\n" % command)
        self.assertEqual(self.cmd("dlg_page", 0, 10, "nope"), NOT_FOUND)
        self.assertEqual(self.cmd("dlg_page", 0, 0, "inb"), BAD)
        self.assertEqual(self.cmd("dlg_page", "x", 10, "inb"), BAD)
        for bad in ("x", "-1", "101", "1.5", "99999999999999999999"):
            self.assertEqual(self.cmd("dlg_profiles", bad), BAD)
        self.assertEqual([self.state(c) for c in self.two], [CONFIRMED] * 2)

    def test_parameter_forms(self):
        """Names of parameters are ignored, quotes are removed, blanks around are trimmed."""
        want = "200 OK\nprofile::  name=caller value=alice count=2\n\n"
        for args in (("profile::caller", "value::alice"), ("value:: caller", "profile:: alice"), ('"caller"', '"alice"'),
                     ("  caller  ", "\talice "), ('profile::"caller"', 'x:: "alice"')):
            self.assertEqual(self.cmd("profile_get_size", *args), want)


class ProfileRpc(CommandCase):
    """The same over the host's own interface: arrays and structures."""

    allowed = (host.ANSWERS,)
    seconds = 15

    def setUp(self):
        super().setUp()
        self.rpc = self.proxy.rpc.call

    def objects(self, *calls, memberships=0):
        """What the FIFO's listing says, in the shape of RPC."""
        out = []
        for c in sorted(calls, key=lambda c: (self.dialog(c).entry, self.dialog(c).id)):
            d = dict(self.dialog(c), callees=[dict(leg) for leg in self.dialog(c)["legs"]])
            for leg in d["callees"]:
                leg["caller_cseq"] = int(leg["caller_cseq"])
            for name in ("state", "user_flags", "timestart", "timeout", "callee_cseq"):
                d[name] = int(d[name])
            del d["legs"], d["context"]
            if memberships:
                d["memberships"] = memberships
            out.append(d)
        return out

    def same(self, got, want):
        """Equal but for the time left, which may differ by a second."""
        for g, w in zip(got, want):
            self.assertAlmostEqual(g["timeout"], w["timeout"], delta=1)
            g["timeout"] = w["timeout"]
        self.assertEqual(got, want)

    def test_profile_get_size(self):
        for args, value, count in ((("inb",), "", 2), (("inb", "x"), "x", 2), (("caller", "alice"), "alice", 2),
                                   (("caller", "bob"), "bob", 0), (("caller",), "", 2), (("emptv",), "", 0),
                                   (("caller", ""), "", 0)):
            self.assertEqual(self.rpc("profile_get_size", *args), [{"name": args[0], "value": value, "count": count}])

    def test_profile_get_values(self):
        self.extra(("set2", "caller", "carol"), ("set2", "caller", ""), ("set2", "caller", "carol"))
        self.assertEqual(self.rpc("profile_get_values", "inb"), [{"value": "WITHOUT VALUE", "count": 2}])
        self.assertEqual(self.rpc("profile_get_values", "empt"), [{"value": "WITHOUT VALUE", "count": 0}])
        self.assertEqual(self.rpc("profile_get_values", "emptv"), [])
        got = self.rpc("profile_get_values", "caller")
        self.assertEqual(sorted(got, key=lambda x: x["value"]), [
            {"value": "", "count": 1}, {"value": "alice", "count": 2}, {"value": "carol", "count": 2}])

    def test_profile_list_dlgs(self):
        c = self.extra(("set2", "caller", "carol"), ("set2", "caller", "carol"))
        for args in (("caller", "alice"), ("inb",), ("inb", "x")):
            self.same(self.rpc("profile_list_dlgs", *args), self.objects(*self.two[:2]))
        self.same(self.rpc("profile_list_dlgs", "caller", "carol"), self.objects(c, memberships=2))
        for args in (("caller", "bob"), ("emptv",), ("empt",)):
            self.assertEqual(self.rpc("profile_list_dlgs", *args), [])

    def test_context(self):
        c = self.extra(("set2", "caller", "a"), ("set1", "inb"), ("set2", "caller", "a"))
        self.assertEqual(self.rpc("dlg_list_ctx", c.call_id)[0]["context"],
                         {"values": [], "profiles": ["caller = a", "inb = ", "caller = a"]})

    def test_profile_end_dlgs(self):
        self.assertEqual(self.rpc("profile_end_dlgs", "caller", "bob"), [{"ended": 0, "failed": 0}])
        self.assertEqual(self.rpc("profile_end_dlgs", "caller", "alice"), [{"ended": 2, "failed": 0}])
        for c in self.two:
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE"), 200)
            self.wait_state(c, DELETED)

    def test_list_all_profiles(self):
        self.assertEqual(self.rpc("list_all_profiles"), [
            {"name": "caller", "has value": 1}, {"name": "emptv", "has value": 1}, {"name": "inb", "has value": 0},
            {"name": "empt", "has value": 0}])

    def test_dlg_profiles(self):
        self.extra(("set2", "caller", "carol"))
        rest = [{"name": "emptv", "with_value": 1, "count": 0, "values": 0, "top": []},
                {"name": "inb", "with_value": 0, "count": 2, "values": 0, "top": []},
                {"name": "empt", "with_value": 0, "count": 0, "values": 0, "top": []}]
        first = {"name": "caller", "with_value": 1, "count": 3, "values": 2}
        top = [{"value": "alice", "count": 2}, {"value": "carol", "count": 1}]
        for n in (0, 1, 2, 100):
            self.assertEqual(self.rpc("dlg_profiles", n), [dict(first, top=top[:n])] + rest)
        self.assertEqual(self.rpc("dlg_profiles"), [dict(first, top=[])] + rest)

    def test_dlg_page(self):
        self.extra(("set2", "caller", "carol"))
        seen, cursor = [], "0"
        while cursor != "end":
            got = self.rpc("dlg_page", cursor, 1, "caller", "alice")
            cursor = got.pop()["next"]
            seen += got
        self.same(seen, self.objects(*self.two[:2]))

    def test_errors(self):
        for command in ("profile_get_size", "profile_list_dlgs", "profile_get_values", "profile_end_dlgs"):
            self.error(404, "Profile not found", command, "nope")
            self.error(404, "Profile not found", command, "")
            self.error(*host.WRONG_COUNT, command)
            self.error(*host.WRONG_COUNT, command, "inb", "b", "c")
        self.error(*host.WRONG_COUNT, "list_all_profiles", "x")
        self.error(400, "Bad parameter", "dlg_profiles", "x")
        self.error(404, "Profile not found", "dlg_page", 0, 10, "nope")

    def test_numbers_as_values(self):
        self.extra(("set2", "caller", "42"), ("set2", "caller", "0049"))
        self.assertEqual(self.rpc("profile_get_size", "caller", 42), [{"name": "caller", "value": "42", "count": 1}])
        self.assertEqual(self.rpc("profile_get_size", "caller", "0049")[0]["count"], 1)

    @only("kamailio", "kamcmd")
    def test_kamcmd(self):
        self.extra(("set2", "caller", "0049"))
        run = self.proxy.rpc.kamcmd
        code, out = run("profile_get_size", "caller", "alice")
        self.assertEqual((code, re.sub(r"\s+", " ", out).strip()), (0, "{ name: caller value: alice count: 2 }"))
        code, out = run("profile_get_values", "inb")
        self.assertEqual(re.sub(r"\s+", " ", out).strip(), "{ value: WITHOUT VALUE count: 2 }")
        code, out = run("list_all_profiles")
        self.assertEqual(re.sub(r"\s+", " ", out).strip(), "{ name: caller has value: 1 } { name: emptv has value: 1 } "
                         "{ name: inb has value: 0 } { name: empt has value: 0 }")
        code, out = run("profile_list_dlgs", "inb")
        for c in self.two[:2]:
            self.assertIn(c.call_id, out)
        code, out = run("profile_get_size", "nope")
        self.assertIn("404 - Profile not found", out)
        # kamcmd itself makes a number of what looks like one; s: keeps it a text
        code, out = run("profile_get_size", "caller", "s:0049")
        self.assertIn("count: 1", out)

    def test_long_lists_say_that_they_are_cut(self):
        """1000 elements; of dialogs, "next" is where dlg_page goes on, of values, "left_out" says how many are missing."""
        self.extra(("set-1000", "caller"))
        self.extra(("set2", "caller", "one more"))
        got = self.rpc("profile_get_values", "caller", timeout=10)
        self.assertEqual(got[-1], {"left_out": 2})
        self.assertEqual(len({x["value"] for x in got[:-1]}), 1000)
        self.assertEqual(len(self.proxy.fifo.cmd("profile_get_values", "caller").split("\n")), 1002 + 3)
        self.assertEqual(self.rpc("dlg_profiles", 1)[0]["top"], [{"value": "alice", "count": 2}])


class LongProfile(ProfileCase):
    """Listing and ending the dialogs of a large profile in a table that holds many more."""

    seconds = 20
    CALLS = 1100
    longest = 30

    def test_listing_and_pages_and_end(self):
        bulk = self.call()
        a, b = bulk.a, bulk.b
        want, invites = set(), {}
        for n in range(self.CALLS * 2):
            bulk.call_id = "bulk-%d@e2e" % n
            member = n % 2 == 0
            a.send(bulk.build_invite(headers=ops(("set2", "caller", "bulk"), ("set1", "inb")) if member else []),
                   bulk.to_proxy)
            invites[bulk.call_id] = b.recv("INVITE")
            b.reply(invites[bulk.call_id], 180, tag="t")
            if member:
                want.add(bulk.call_id)
            if n % 50 == 0:
                a.drain(0.01)
        self.assertEqual(self.size("caller", "bulk"), self.CALLS)
        got = self.proxy.fifo.dialogs("caller", "bulk", command="profile_list_dlgs")
        self.assertEqual(len(got), self.CALLS)
        self.assertEqual({d["callid"] for d in got}, want)
        self.assertEqual([(d.entry, d.id) for d in got], sorted((d.entry, d.id) for d in got))
        seen, cursor = set(), "0"
        while cursor != "end":
            got = self.proxy.rpc.call("dlg_page", cursor, 100, "caller")
            cursor = got.pop()["next"]
            self.assertFalse(seen & {x["callid"] for x in got})
            seen |= {x["callid"] for x in got}
        self.assertEqual(seen, want)
        self.assertEqual(audit_problems(self.proxy, empty=False), [])
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "inb", timeout=20),
                         "200 OK\nended:: %d\nfailed:: 0\n\n" % self.CALLS)
        self.assertEqual((self.size("caller"), self.size("inb")), (0, 0))
        self.assertEqual(self.proxy.stats()["early"], self.CALLS)
        for n, (cid, inv) in enumerate(invites.items()):
            b.reply(inv, 486, tag="t")
            if n % 50 == 0:
                a.drain(0.01)
                b.drain()
        self.wait_until("all to end", lambda: self.proxy.stats()["early"] == 0)


STATS = """uptime unconfirmed early confirmed_na confirmed deleted processed failed expired refused forged overdue limited
lock_takeovers ended_caller ended_callee ended_cancel ended_reject ended_no_answer ended_command ended_setup_timeout
ended_ack_timeout ended_timeout ended_abandoned hash_size entries_used fullest_entry timers_armed timer_lag memory_pieces
memory_bytes memory_held profile_members profile_values""".split()


class Stats(ProfileCase):
    """dlg_stats: every figure by its name, and one reason for each end."""

    seconds = 20
    params = dict(ProfileCase.params, setup_timeout=2, ack_timeout=2, timeout_avp="$avp(life)", bye_on_timeout_flag=6)
    tm = {"fr_timer": 1000, "fr_inv_timer": 12000}
    hooks = dict(HOOKS, initial='if (is_present_hf("X-Life")) $avp(life) = $(hdr(X-Life){s.int});\n\t'
                                'if (is_present_hf("X-Bye")) setflag(6);\n\t' + HOOKS["initial"] + """
	if ($hdr(X-Do) == "sl") {
		sl_send_reply("404", "No");
		exit;
	}
	if ($hdr(X-Do) == "exit") exit;
	if ($hdr(X-Do) == "t") {
		t_newtran();
		t_reply("480", "No");
		exit;
	}
""")

    def figures(self):
        text = self.proxy.fifo.cmd("dlg_stats")
        m = re.fullmatch(r"200 OK\nstats:: \n((?:\t\w+:: \d+\n)+)\n", text)
        self.assertTrue(m, text)
        return {k: int(v) for k, v in re.findall(r"\t(\w+):: (\d+)", m.group(1))}

    def setUp(self):
        super().setUp()
        self.before = self.figures()

    def ended(self, reason, n=1, timeout=8.0):
        """That many calls ended for that reason, and none for another."""
        want = {"ended_" + reason: n}
        got = {}
        end = time.monotonic() + timeout * SLOW
        while got != want and time.monotonic() < end:
            now = self.figures()
            got = {k: now[k] - self.before[k] for k in now if k.startswith("ended_") and now[k] != self.before[k]}
            time.sleep(0.02)
        self.assertEqual(got, want)

    def test_names_and_their_order(self):
        """The same in every dialect; figures of other things (databases) may stand between them."""
        names = list(self.figures())
        self.assertEqual([n for n in names if n in STATS], STATS)
        self.assertEqual(len(names), len(set(names)))
        got = self.proxy.rpc.call("dlg_stats")
        self.assertEqual(len(got), 1)
        self.assertEqual(list(got[0]), names)
        self.assertTrue(all(isinstance(v, int) for v in got[0].values()), got)

    @only("kamailio", "kamcmd")
    def test_names_and_their_order_as_kamcmd_prints_them(self):
        code, out = self.proxy.rpc.kamcmd("dlg_stats")
        self.assertEqual(re.findall(r"^\s+(\w+): ", out, re.M), list(self.figures()))

    def test_figures(self):
        c = self.up(("set2", "caller", "a"), ("set2", "caller", "b"), ("set1", "inb"))
        d = self.up(("set2", "caller", "a"), ("set2", "trunk", "a"))
        e = self.ringing(("limit1", "inb", None, 1))
        for x in (c, d):
            self.wait_state(x, CONFIRMED)
        now = self.figures()
        more = {k: now[k] - self.before[k] for k in STATS}
        self.assertEqual(now["profile_members"], 5)
        self.assertEqual(now["profile_values"], 3)  # a and b of caller, a of trunk
        self.assertEqual((now["confirmed"], now["early"], now["confirmed_na"], now["unconfirmed"]), (2, 1, 0, 0))
        self.assertEqual([more[k] for k in ("processed", "limited", "failed", "expired", "refused")], [3, 1, 0, 0, 0])
        self.assertEqual(now["hash_size"], 4096)
        self.assertEqual(now["timers_armed"], sum(now[k] for k in STATS[1:6]))
        self.assertTrue(1 <= now["fullest_entry"] <= 3 + now["deleted"])
        self.assertTrue(1 <= now["entries_used"] <= 3 + now["deleted"])
        self.assertGreaterEqual(more["memory_pieces"], 3)
        self.assertGreater(now["memory_held"], now["memory_bytes"])
        self.assertLessEqual(now["timer_lag"], 1)
        for name in ("processed", "failed", "expired", "refused", "forged", "overdue", "limited", "lock_takeovers"):
            self.assertEqual(now[name], audit(self.proxy)[name])
        c.exchange("INFO", routes=[re.sub(r"did=[^;>]*", "did=zz.zz", r) for r in c.routes_down])
        self.assertEqual(self.figures()["forged"] - self.before["forged"], 1)
        e.answer(486)
        e.got(486)
        c.hangup()
        d.hangup()
        self.wait_until("all to leave", lambda: self.figures()["profile_members"] == 0)
        self.assertEqual(self.figures()["profile_values"], 0)
        self.assertEqual(self.figures()["failed"] - self.before["failed"], 1)

    def test_uptime(self):
        self.wait_until("a second to pass", lambda: self.figures()["uptime"] > self.before["uptime"])
        began = time.monotonic()
        at = self.figures()["uptime"]
        time.sleep(2)
        self.assertAlmostEqual(self.figures()["uptime"] - at, time.monotonic() - began, delta=1.1)

    def test_ended_caller(self):
        self.up().hangup()
        self.ended("caller")

    def test_ended_callee(self):
        self.up().hangup(UP)
        self.ended("callee")

    def test_ended_cancel(self):
        c = self.ringing()
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(487)
        self.ended("cancel")

    def test_ended_reject(self):
        for n, code in enumerate((486, 404, 302, 603), 1):
            c = self.call()
            c.ring()
            c.answer(code)
            c.got(code)
            self.ended("reject", n)
        c = self.call()
        c.invite(headers=[["X-Do", "t"]])
        c.got(480)
        self.ended("reject", 5)

    def test_ended_no_answer(self):
        c = self.call()
        c.ring()
        c.got(408, 6)
        self.ended("no_answer")

    def test_ended_command(self):
        c = self.up(("set1", "outb"))
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        self.ended("command")
        e = self.ringing(("set1", "outb"))
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "outb"), "200 OK\nended:: 1\nfailed:: 0\n\n")
        e.ack_negative(e.a.recv(lambda m: m.code >= 300))
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        e.b.reply(e.b.recv("CANCEL"), 200)
        e.answer(487)
        self.ended("command", 2)

    def test_ended_setup_timeout(self):
        c = self.ringing()
        c.got(408, 6)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.ended("setup_timeout")

    def test_ended_ack_timeout(self):
        self.call().setup(early=False, ack=False)
        self.ended("ack_timeout")

    def test_ended_timeout(self):
        self.call().setup(early=False, headers=[["X-Life", "1"]])
        self.ended("timeout")
        c = self.call().setup(early=False, headers=[["X-Life", "1"], ["X-Bye", "1"]])
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE", 6), 200)
        self.ended("timeout", 2)

    def test_ended_abandoned(self):
        for n, how in enumerate(("sl", "exit"), 1):
            self.call().invite(headers=[["X-Do", how]])
            self.ended("abandoned", n)


class Overdue(ProfileCase):
    """An ended dialog that a transaction keeps beyond its linger is listed by dlg_audit, with its holder."""

    seconds = 25
    tm = {"wt_timer": 14000}
    longest = 30
    AFTER = 5 + 3  # DLG_STATE_LINGER_S and what the audit allows on top

    def overdue(self, c):
        return [x for x in audit(self.proxy)["overdue_dialogs"] if x["callid"] == c.call_id]

    def test_held_by_a_transaction(self):
        refused = self.call()
        refused.ring(headers=ops(("set1", "inb")))
        refused.answer(486)
        refused.got(486)
        ended = time.monotonic()
        talked = self.up()
        talked.hangup()
        self.assertEqual(self.size("inb"), 0)
        while time.monotonic() < ended + self.AFTER - 1:
            self.assertEqual(audit(self.proxy)["overdue_dialogs"], [])
            time.sleep(0.5)
        self.wait_until("the report", lambda: self.overdue(refused) and self.overdue(talked), 5)
        self.assertLess(time.monotonic() - ended, self.AFTER + 3)
        d = self.dialog(refused)
        (got,) = self.overdue(refused)
        seconds = int(got.pop("seconds"))
        self.assertTrue(3 < seconds < 8, seconds)
        self.assertEqual(got, {"hash": d["hash"], "callid": refused.call_id, "state": "5", "held_by": "transaction=1"})
        (got,) = self.overdue(talked)
        self.assertEqual(got["held_by"], "transaction=2")  # INVITE and BYE
        self.assertRegex(self.proxy.fifo.cmd("dlg_audit"),
                         r"\n\toverdue_dialog::  hash=%s\n\t\tcallid:: %s\n\t\tstate:: 5\n\t\tseconds:: \d+\n"
                         r"\t\theld_by:: transaction=1\n" % (d["hash"], re.escape(refused.call_id)))
        (rpc,) = self.proxy.rpc.call("dlg_audit")
        (mine,) = [x for x in rpc["overdue_dialogs"] if x["callid"] == refused.call_id]
        self.assertAlmostEqual(mine.pop("seconds"), seconds, delta=3)
        self.assertEqual(mine, {"hash": d["hash"], "callid": refused.call_id, "state": 5, "held_by": "transaction=1"})
        self.assertEqual((rpc["result"], rpc["held_by_transaction"]), ("ok", 3))
        for c in (refused, talked):
            self.wait_gone(c, 10)
        self.assertEqual(audit(self.proxy)["overdue_dialogs"], [])
        self.assertEqual(audit(self.proxy)["overdue"], 0)  # nothing was kept for so long that the log says so


class Audit(ProxyCase):
    """dlg_audit recounts memberships from the dialogs."""

    seconds = 6
    params = ProfileCase.params
    hooks = HOOKS
    options = ProfileCase.options

    def test_members(self):
        for n in (1, 2, 3):
            self.call().setup(headers=ops(("set2", "caller", "a"), ("set1", "inb"), ("set2", "caller", "b")))
            a = audit(self.proxy)
            self.assertEqual((a["result"], a["members"], a["members_gauge"]), ("ok", 3 * n, 3 * n))
        (rpc,) = self.proxy.rpc.call("dlg_audit")
        self.assertEqual((rpc["members"], rpc["members_gauge"], rpc["overdue_dialogs"]), (9, 9, []))


