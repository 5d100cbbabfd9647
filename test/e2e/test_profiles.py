# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles in the script: joining, leaving, asking, in every kind of route, with every kind of value."""

import re

from base import CONFIRMED, DELETED, DOWN, UP, ProxyCase, audit, say
from hosts import dialect, host
from profiles import HOOKS, OPS, ProfileCase, at, ops


class ManualExamples(ProxyCase):
    """The examples of the manual's sections 1.5.33, 1.5.34, 1.6.3 to 1.6.6 and 1.8.4 to 1.8.6, as they
    are there ("inbound_call" of the script examples and "inbound_calls" of the commands are added)."""

    seconds = 8
    params = {"profiles_with_value": "caller ; my_profile", "profiles_no_value": "inbound ; outbound"}
    options = {"extra": 'modparam("dialog", "profiles_no_value", "inbound_call;inbound_calls")\n'}
    hooks = {
        "initial": """record_route();
	create_dialog();
	set_dlg_profile("inbound_call");
	set_dlg_profile("caller","$fu");
	set_dlg_profile("inbound_calls");
	if (is_present_hf("X-XX")) set_dlg_profile("caller", "XX");
""",
        "reply": """if ($rs == 183) {
	unset_dlg_profile("inbound_call");
	unset_dlg_profile("caller","$fu");
}
""",
        "seq": """
$var(log) = "";
if (is_in_profile("inbound_call")) {
        log("this request belongs to a inbound call\\n");
        $var(log) = " inbound";
}
if (is_in_profile("caller","XX")) {
        log("this request belongs to a call of user XX\\n");
        $var(log) = $var(log) + " XX";
}
get_profile_size("inbound_call","$avp(size)");
xlog("currently there are $avp(size) inbound calls\\n");
get_profile_size("caller","$fu","$avp(size)");
xlog("currently, the user $fu has $avp(size) active outgoing calls\\n");
""" + say("belongs to:$var(log)"),  # log() speaks only with debug=4
    }
    allowed = (r"currently",)  # xlog() without a level shouts

    def said_so(self, text, n=1):
        self.wait_until("%d times in the log: %s" % (n, text),
                        lambda: self.proxy.log_since(self.mark).count(text) == n)

    def test_1_6_3_and_1_6_5_and_1_6_6(self):
        c = self.call().setup()
        self.said(c, "belongs to: inbound\n")
        self.said_so("currently there are 1 inbound calls")
        self.said_so("currently, the user sip:alice@example.com has 1 active outgoing calls")
        d = self.call().setup(headers=[["X-XX", "1"]])
        self.said(d, "belongs to: inbound XX\n")
        self.said_so("currently there are 2 inbound calls")
        self.said_so("currently, the user sip:alice@example.com has 2 active outgoing calls")
        c.hangup()
        d.hangup()

    def test_1_6_4(self):
        c = self.call()
        c.ring()
        c.answer(183)
        c.got(183)
        c.answer(200)
        c.got(200)
        c.ack()
        self.said_so("currently there are 0 inbound calls")
        self.said_so("currently, the user sip:alice@example.com has 0 active outgoing calls")
        self.said(c, "belongs to:\n")
        c.hangup()

    def test_1_8_4_to_1_8_6(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "inbound_calls"),
                         "200 OK\nprofile::  name=inbound_calls value= count=1\n\n")
        want = self.proxy.fifo.cmd("dlg_list", c.call_id)
        got = self.proxy.fifo.cmd("profile_list_dlgs", "inbound_calls")
        self.assertEqual(re.sub(r"timeout:: \d+", "", got), re.sub(r"timeout:: \d+", "", want))
        self.assertEqual(self.proxy.fifo.cmd("profile_get_values", "inbound_calls"),
                         "200 OK\nvalue:: WITHOUT VALUE count=1\n\n")
        c.hangup()

    def test_1_5_33_and_1_5_34(self):
        self.assertEqual(self.proxy.fifo.cmd("list_all_profiles"),
                         "200 OK\ncaller:: 1\nmy_profile:: 1\ninbound:: 0\noutbound:: 0\ninbound_call:: 0\n"
                         "inbound_calls:: 0\n\n")


class ProfileRoutes(ProfileCase):
    """The functions in every route, and memberships on the way of a call."""

    seconds = 20
    ALL = (("in1", "inb"), ("in1", "caller"), ("in2", "caller", "alice"), ("in2", "caller", "bob"),
           ("in1", "outb"), ("size1", "inb"), ("size1", "caller"), ("size2", "caller", "alice"),
           ("size2", "caller", "bob"))
    MEMBER = [(1, "unset"), (1, "unset"), (1, "unset"), (-1, "unset"), (-1, "unset"), (1, 1), (1, 1), (1, 1), (1, 0)]
    STRANGER = [(-1, "unset")] * 5 + [(1, 0)] * 4
    JOIN = (("set1", "inb"), ("set2", "caller", "alice"))

    def asked(self, c, place, method, mark):
        return self.results(c, len(self.ALL), place, method, mark)

    def test_initial_request(self):
        c = self.call()
        c.ring(headers=ops(*self.ALL, *self.JOIN, *self.ALL))
        got = self.results(c, 20, "initial", "INVITE")
        self.assertEqual(got, self.STRANGER + [(1, "unset")] * 2 + self.MEMBER)
        c.answer(486)
        c.got(486)

    def test_every_later_message_sees_them(self):
        c = self.call().setup(headers=ops(*self.JOIN), early=False, ack=False)
        mark = self.proxy.log_mark()
        c.ack(headers=ops(*self.ALL))
        self.assertEqual(self.asked(c, "seq", "ACK", mark), self.MEMBER)
        for method, way in (("INFO", DOWN), ("INFO", UP), ("OPTIONS", DOWN), ("UPDATE", UP), ("INVITE", DOWN),
                            ("INVITE", UP), ("MESSAGE", UP)):
            with self.subTest(method=method, way=way):
                mark = self.proxy.log_mark()
                _, ok = c.exchange(method, way, headers=ops(*self.ALL))
                self.assertEqual(self.asked(c, "seq", method, mark), self.MEMBER)
                if method == "INVITE":
                    c.send("ACK", way, cseq=ok.cseq)
                    c.far(way).recv("ACK")
        for way in (DOWN, UP):  # in the routes behind t_relay(), too
            mark = self.proxy.log_mark()
            c.exchange("INFO", way, headers=ops(*self.ALL, place="branch"))
            self.assertEqual(self.asked(c, "branch", "INFO", mark), self.MEMBER)
            mark = self.proxy.log_mark()
            c.exchange("INFO", way, reply_headers=ops(*self.ALL))
            self.assertEqual(self.asked(c, "reply", "INFO", mark), self.MEMBER)
            mark = self.proxy.log_mark()
            c.exchange("INFO", way, code=404, headers=ops(*self.ALL, place="failure"))
            self.assertEqual(self.asked(c, "failure", "INFO", mark), self.MEMBER)
        c.hangup()

    def test_a_bye_is_a_member_until_it_is_forwarded(self):
        for way in (DOWN, UP):
            for place in ("seq", "branch"):
                c = self.up(*self.JOIN)
                c.send("BYE", way, headers=ops(*self.ALL, place=place))
                self.assertEqual(self.asked(c, place, "BYE", self.mark), self.MEMBER)
                bye = c.far(way).recv("BYE")
                self.wait_size(0, "inb")
                self.wait_size(0, "caller", "alice")
                c.far(way).reply(bye, 200)
                c.near(way).recv(200)
                self.mark = self.proxy.log_mark()

    def test_no_membership_after_the_end(self):
        """Reply and failure routes of the BYE, and requests that come late."""
        c = self.up(*self.JOIN)
        sent = c.send("BYE")
        bye = c.b.recv("BYE")
        self.wait_state(c, DELETED)
        c.b.reply(bye, 200, headers=ops(*self.ALL, ("set1", "inb"), ("set2", "caller", "alice")))
        c.a.recv(lambda m: m.code == 200 and m.cseq == sent.cseq)
        got = self.results(c, 11, "reply", "BYE")
        self.assertEqual(got, self.STRANGER + [(-1, "unset")] * 2)
        self.logged("WARNING.*not added to profile caller: it has ended")
        self.assertEqual((self.size("inb"), self.size("caller")), (0, 0))
        mark = self.proxy.log_mark()
        c.exchange("INFO", headers=ops(*self.ALL, *self.JOIN), code=481)
        self.assertEqual(self.results(c, 11, "seq", "INFO", mark), self.STRANGER + [(-1, "unset")] * 2)
        self.assertEqual((self.size("inb"), self.size("caller")), (0, 0))

    def test_branch_route(self):
        c = self.call()
        c.ring(headers=ops(*self.JOIN, *self.ALL, ("unset1", "inb"), place="branch"))
        got = self.results(c, 12, "branch", "INVITE")
        self.assertEqual(got, [(1, "unset")] * 2 + self.MEMBER + [(1, "unset")])
        self.assertEqual((self.size("inb"), self.size("caller", "alice")), (0, 1))
        c.answer(486)
        c.got(486)
        self.wait_size(0, "caller")

    def test_branch_route_of_each_branch(self):
        """It runs once for each, and each joining counts."""
        c = self.call()
        carol = c.ua("carol")
        c.ring(headers=ops(*self.JOIN, place="branch") + [["X-Fork", carol.uri()]])
        other = carol.recv("INVITE")
        self.assertEqual((self.size("inb"), self.size("caller", "alice")), (2, 2))
        c.answer(486)
        carol.reply(other, 486, tag="other")
        c.got(486)
        self.wait_size(0, "inb")
        self.wait_size(0, "caller")

    def test_reply_route(self):
        c = self.call()
        c.ring()
        c.answer(180, headers=ops(*self.JOIN))
        c.got(180)
        c.answer(183, headers=ops(*self.ALL))
        c.got(183)
        got = self.results(c, 11, "reply", "INVITE")
        self.assertEqual(got, [(1, "unset")] * 2 + self.MEMBER)
        c.answer(200, headers=ops(("unset2", "caller", "alice"), ("in1", "caller")))
        c.got(200)
        self.assertEqual(self.results(c, 13, "reply", "INVITE")[11:], [(1, "unset"), (-1, "unset")])
        c.ack()
        self.assertEqual((self.size("inb"), self.size("caller")), (1, 0))
        c.hangup()
        self.wait_size(0, "inb")

    def test_failure_route(self):
        """The call has not ended there yet: it may go on with somebody else."""
        c = self.call()
        carol = c.ua("carol")
        c.ring(headers=ops(*self.JOIN, *self.ALL, place="failure") + [["X-Serial", carol.uri()]])
        c.answer(486)
        c.b.recv("ACK")
        c.b_inv = carol.recv("INVITE")
        self.assertEqual(self.results(c, 11, "failure", "INVITE"), [(1, "unset")] * 2 + self.MEMBER)
        self.assertEqual((self.size("inb"), self.size("caller", "alice")), (1, 1))
        c.b_contact = carol.uri()
        c.answer(200, ua=carol)
        c.got(200)
        c.b_hop = carol
        c.ack()
        self.assertEqual(self.profiles_of(c), ["caller = alice", "inb = "])
        c.hangup()
        self.wait_size(0, "inb")
        self.wait_size(0, "caller")

    def test_last_failure_route(self):
        c = self.call()
        c.ring(headers=ops(*self.JOIN, *self.ALL, place="failure"))
        c.answer(486)
        c.got(486)
        self.assertEqual(self.results(c, 11, "failure", "INVITE"), [(1, "unset")] * 2 + self.MEMBER)
        self.wait_size(0, "inb")
        self.wait_size(0, "caller")

    def test_failure_route_run_by_the_timer(self):
        c = self.call()
        c.ring(headers=ops(*self.JOIN, *self.ALL, place="failure"))
        c.got(408, 6)
        self.assertEqual(self.results(c, 11, "failure", "INVITE"), [(1, "unset")] * 2 + self.MEMBER)
        self.wait_size(0, "inb")
        self.wait_size(0, "caller")

    def test_sequential_request_joins_and_leaves(self):
        c = self.up()
        self.assertEqual(self.do(c, *self.JOIN), [1, 1])
        self.assertEqual(self.profiles_of(c), ["caller = alice", "inb = "])
        self.assertEqual(self.do(c, ("set2", "caller", "bob"), ("unset1", "inb"), way=UP), [1, 1])
        self.assertEqual(self.profiles_of(c), ["caller = bob", "caller = alice"])
        c.hangup()

    def test_early_dialog(self):
        c = self.call()
        c.ring()
        c.answer(183)
        c.learn(c.got(183))
        self.assertEqual(self.do(c, *self.JOIN, ("size1", "inb"), method="PRACK"), [1, 1, 1])
        self.assertEqual((self.size("inb"), self.size("caller", "alice")), (1, 1))
        c.answer(486)
        c.got(486)
        self.wait_size(0, "inb")

    def test_without_a_dialog(self):
        c = self.call()
        asked = ops(("set1", "inb"), ("set2", "caller", "alice"), ("unset1", "inb"), ("unset2", "caller", "alice"),
                    ("in1", "inb"), ("in2", "caller", "alice"), ("limit1", "inb", None, 5),
                    ("limit2", "caller", "alice", 5), ("limits", "caller", "alice", 5), ("bound", "caller", None, 5),
                    ("size1", "inb"), ("size2", "caller", "alice"))
        c.ring(headers=asked + [["X-No-Dialog", "1"]])
        self.assertEqual(self.results(c, 12, "initial"), [(-1, "unset")] * 10 + [(1, 0)] * 2)
        c.answer(486)
        c.got(486)
        self.assertStats()

    def test_a_call_that_others_count(self):
        """Sizes are of all calls, membership is of the own one."""
        c, d = self.up(("set1", "inb"), ("set2", "caller", "carol")), self.up()
        self.assertEqual(self.ask(d, ("size1", "inb"), ("size2", "caller", "carol"), ("size1", "caller")), [1, 1, 1])
        self.assertEqual(self.do(d, ("in1", "inb"), ("in1", "caller"), ("unset1", "inb"), ("unset2", "caller", "carol")),
                         [-1, -1, -1, -1])
        self.assertEqual(self.profiles_of(c), ["caller = carol", "inb = "])
        c.hangup()
        d.hangup()


class ProfileLocalRoute(ProfileCase):
    """The BYEs of the proxy pass event_route[tm:local-request], which sees what the dialog is in."""

    seconds = 8
    hooks = HOOKS
    options = {"extra": OPS + """
event_route[tm:local-request] {
	$var(in) = "no";
	if (is_in_profile("inb") && is_in_profile("caller", "alice")) $var(in) = "yes";
	get_profile_size("caller", "alice", "$var(size)");
	$var(own) = "-";
	if (is_method("BYE")) {
		unset_dlg_profile("trunk");
		set_dlg_profile("trunk", "gw");
		get_profile_size("trunk", "gw", "$var(own)");
	}
	%s}
""" % say("local $rm $DLG_dir in=$var(in) size=$var(size) trunk=$var(own)")}

    def test_local_route(self):
        c = self.up(("set1", "inb"), ("set2", "caller", "alice"), ("set2", "trunk", "old"))
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        for ua, way in ((c.a, "UPSTREAM"), (c.b, "DOWNSTREAM")):
            self.said(c, "local BYE %s in=yes size=1 trunk=1" % way)
            ua.reply(ua.recv("BYE"), 200)
        self.assertEqual([self.size(p) for p in ("inb", "caller", "trunk")], [0, 0, 0])


class ProfileArguments(ProfileCase):
    """Forms of calling, and values of every kind."""

    seconds = 20
    allowed = (host.COMPLAINTS["long text"], host.COMPLAINTS["null argument"])
    ODD = ("x", "two words", "a|b", "a#b", "a=b", "a;b", "a<=b", "a::b", "sip:u@[::1]:5060;x=y", "100%", "$fu", "$$", "\\",
           "\\\\n", "(", ")", "${", "'", "ünïcödé", "日本", "\u00a0", "0", "-1", "007", "<null>", "WITHOUT VALUE",
           "0x10", "*", "a,b", "+49 30 1234", "-", ".", ":", "count=7")

    def test_joining_and_leaving(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set1", "inb"), ("set2", "inb", "ignored"), ("set2", "caller", "a")), [1, 1, 1])
        self.assertEqual(self.profiles_of(c), ["caller = a", "inb = ", "inb = "])
        self.assertEqual(self.do(c, ("unset2", "inb", "whatever"), ("unset1", "inb"), ("unset1", "inb")), [1, 1, -1])
        self.assertEqual(self.do(c, ("unset2", "caller", "b"), ("unset2", "caller", "A"), ("unset2", "caller", "a"),
                                 ("unset2", "caller", "a")), [-1, -1, 1, -1])
        self.assertEqual(self.profiles_of(c), [])
        c.hangup()

    def test_the_newest_leaves_first(self):
        c = self.up(("set2", "caller", "a"), ("set2", "caller", "b"), ("set2", "caller", "a"), ("set2", "caller", "c"),
                    ("set1", "inb"))
        self.assertEqual(self.profiles_of(c), ["inb = ", "caller = c", "caller = a", "caller = b", "caller = a"])
        for op, left in ((("unset2", "caller", "a"), ["caller = c", "caller = b", "caller = a"]),
                         (("unset1", "caller"), ["caller = b", "caller = a"]),
                         (("unset1", "caller"), ["caller = a"]), (("unset1", "caller"), [])):
            self.assertEqual(self.do(c, op), [1])
            self.assertEqual(self.profiles_of(c), ["inb = "] + left)
        self.assertEqual(self.do(c, ("unset1", "caller")), [-1])
        self.assertEqual(self.size("caller"), 0)
        c.hangup()

    def test_value_profile_without_a_value(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set1", "caller")), [-1])
        self.logged("WARNING.*set_dlg_profile: profile caller needs a value, and there is none")
        self.assertEqual(self.size("caller"), 0)
        c.hangup()

    def test_the_empty_value_is_one_of_its_own(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set2", "caller", ""), ("set2", "caller", "a"), ("in2", "caller", "")), [1, 1, 1])
        self.assertEqual(self.ask(c, ("size2", "caller", ""), ("size1", "caller")), [1, 2])
        self.assertEqual(self.profiles_of(c), ["caller = a", "caller = "])
        text = self.proxy.fifo.cmd("profile_get_values", "caller")
        self.assertEqual(sorted(text.split("\n")[1:-2]), ["value::  count=1", "value:: a count=1"])
        self.assertEqual(self.proxy.rpc.call("profile_get_size", "caller", ""),
                         [{"name": "caller", "value": "", "count": 1}])
        self.assertEqual(self.do(c, ("unset2", "caller", ""), ("in2", "caller", ""), ("in2", "caller", "a")), [1, -1, 1])
        c.hangup()

    def test_names_from_variables(self):
        """A name that is in no list: false, with a warning, in all functions."""
        c = self.up()
        for op in ("set1", "set2", "unset1", "unset2", "in1", "in2", "size1", "size2", "limit1", "limit2", "limits",
                   "bound"):
            for name in ("nope", "INB", "inb,outb", "x" * 200, ""):
                with self.subTest(op=op, name=name):
                    mark = self.proxy.log_mark()
                    c.exchange("INFO", headers=ops((op, name, "v", 5)))
                    self.assertEqual(self.results(c, 1, "seq", "INFO", mark), [(-1, "unset")])
                    self.proxy.wait_log('WARNING.*there is no profile "%s"' % name, mark)
        c.hangup()

    def test_output_variables(self):
        """Numbers in script variable and AVP, and untouched when there is nothing to tell."""
        c = self.up(("set1", "inb"), ("set1", "inb"))
        mark = self.proxy.log_mark()
        c.exchange("INFO", headers=ops(("size-plus-one", "inb"), ("size1", "nope"), ("size2", "nope", "v")))
        self.assertEqual(self.results(c, 3, "seq", "INFO", mark), [(1, 5), (-1, "unset"), (-1, "unset")])
        c.hangup()

    def test_arguments_without_quotes(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set-expression", "caller", "one"), ("set-number", "caller"),
                                 ("set-in-text", "caller", "in"), ("set-expression", "inb", "x"),
                                 ("set-null-expression", "caller"), ("set-expression", "nope", "x")),
                         [1, 1, 1, 1, -1, -1])
        self.assertEqual(self.profiles_of(c), ["inb = ", "caller = <in>", "caller = 42", "caller = one!"])
        c.hangup()

    def test_bytes(self):
        """Whatever is in a value comes back as it was, and is a value of its own."""
        c = self.up(*(("set2", "caller", v) for v in self.ODD))
        self.assertEqual(self.size("caller"), len(self.ODD))
        self.assertEqual(self.profiles_of(c), ["caller = " + v for v in reversed(self.ODD)])
        listed = self.proxy.fifo.cmd("profile_get_values", "caller")
        self.assertEqual(sorted(listed.split("\n")[1:-2]), sorted("value:: %s count=1" % v for v in self.ODD))
        for v in self.ODD:
            with self.subTest(value=v):
                plain = v if v != "a::b" else "value:: a::b"  # else "a" is taken for the parameter's name
                self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "caller", plain),
                                 "200 OK\nprofile::  name=caller value=%s count=1\n\n" % v)
                quoted = '"%s"' % v.replace("\\", "\\\\")
                self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "caller", quoted),
                                 "200 OK\nprofile::  name=caller value=%s count=1\n\n" % v)
                self.assertEqual(self.proxy.rpc.call("profile_get_size", "caller", v),
                                 [{"name": "caller", "value": v, "count": 1}])
                self.assertEqual(self.do(c, ("in2", "caller", v)), [1])
        self.assertEqual({x["value"] for x in self.proxy.rpc.call("profile_get_values", "caller")}, set(self.ODD))
        self.assertEqual(self.do(c, *(("unset2", "caller", v) for v in self.ODD)), [1] * len(self.ODD))
        self.assertEqual(self.size("caller"), 0)
        c.hangup()

    def test_quotes_in_values(self):
        c = self.up(("set2", "caller", 'say "hi"'))
        self.assertEqual(self.size("caller", '"say \\"hi\\""'), 1)
        self.assertEqual(self.proxy.rpc.call("profile_get_size", "caller", 'say "hi"')[0]["count"], 1)
        self.assertEqual(self.profiles_of(c), ['caller = say "hi"'])
        c.hangup()

    def test_blanks_around_values(self):
        """Part of the value; in the FIFO they need quotes."""
        c = self.up(("set-hex", "caller", "2078"), ("set-hex", "caller", "7820"), ("set-hex", "caller", "78"))
        for v in (" x", "x ", "x"):
            self.assertEqual(self.size("caller", '"%s"' % v), 1)
            self.assertEqual(self.proxy.rpc.call("profile_get_size", "caller", v)[0]["count"], 1)
        self.assertEqual(self.size("caller", '" x "'), 0)
        c.hangup()

    def test_case_counts(self):
        c = self.up(("set2", "caller", "Alice"), ("set2", "caller", "alice"))
        self.assertEqual(self.ask(c, ("size2", "caller", "Alice"), ("size2", "caller", "alice"),
                                  ("size2", "caller", "ALICE")), [1, 1, 0])
        self.assertEqual([self.size("caller", v) for v in ("Alice", "alice", "ALICE")], [1, 1, 0])
        c.hangup()

    def test_control_bytes_are_shown_as_such_and_stay_on_their_line(self):
        values = {"610a62": "a\\nb", "63096400": "c\td\\x00", "1b5b6d": "\\x1b[m", "7f": "\\x7f"}
        c = self.up(*(("set-hex", "caller", v) for v in values))
        self.assertEqual(self.size("caller"), len(values))
        text = self.proxy.fifo.cmd("profile_get_values", "caller")
        self.assertEqual(sorted(text.split("\n")), sorted(["200 OK", "", ""] + ["value:: %s count=1" % v
                                                                              for v in values.values()]))
        self.assertEqual(self.profiles_of(c), ["caller = " + v for v in reversed(values.values())])
        got = [x["value"] for x in self.proxy.rpc.call("profile_get_values", "caller")]
        self.assertEqual(sorted(got), sorted(bytes.fromhex(v).decode().rstrip("\0") for v in values))  # C strings there
        c.hangup()

    def test_bytes_that_are_no_text(self):
        c = self.up(("set-hex", "caller", "fffe80"))
        self.assertIn(b"value=\xff\xfe\x80 count=1", self.proxy.fifo.cmd_bytes("profile_get_size", "caller", b"\xff\xfe\x80"))
        self.assertEqual(len(self.proxy.rpc.call("profile_get_values", "caller")), 1)
        c.hangup()

    def test_values_of_10_kilobytes(self):
        long = "x" * 10000
        c = self.up(("set2", "caller", long))
        self.assertEqual(self.ask(c, ("size2", "caller", long), ("size2", "caller", long[1:]),
                                  ("size2", "caller", long[1:] + "y")), [1, 0, 0])
        self.assertEqual(self.profiles_of(c), ["caller = " + long])
        self.assertEqual(self.proxy.fifo.cmd("profile_get_values", "caller"), "200 OK\nvalue:: %s count=1\n\n" % long)
        self.assertEqual(self.size("caller", long), 1)
        self.assertEqual(self.proxy.rpc.call("profile_get_size", "caller", long)[0]["count"], 1)
        self.assertEqual(self.do(c, ("unset2", "caller", long)), [1])
        c.hangup()

    def test_composed_values_of_10_kilobytes(self):
        """Text around variables is composed in the host's buffer: 8192 bytes (pv_buffer_size of Kamailio) or 20000
        (pv_print_buf_size of OpenSIPS)."""
        much, less = dialect(kamailio=(10000, 8000), opensips=(22000, 19000))
        c = self.up(("set-in-text", "caller", "x" * much), ("set-in-text", "caller", "x" * less))
        self.assertEqual(self.results(c, 2, "initial"), [(-1, "unset"), (1, "unset")])
        self.assertEqual(self.profiles_of(c), ["caller = <%s>" % ("x" * less)])
        c.hangup()

    def test_values_that_are_too_long(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set-huge", "caller", "x" * 16384)), [-1])  # 65536 bytes
        self.logged(r"WARNING.*not added to profile caller: .*\(65536 bytes\) is too long")
        self.assertEqual(self.size("caller"), 0)
        self.assertEqual(self.do(c, ("set-huge", "caller", "x" * 16383)), [1])
        self.assertEqual(self.size("caller"), 1)
        c.hangup()

    def test_many_memberships_of_one_dialog(self):
        c = self.up(("set-1000", "caller"))
        self.assertEqual(self.size("caller"), 1000)
        self.assertEqual(self.do(c, ("set1", "inb"), ("set2", "caller", "one more"), ("limit1", "outb", None, 5)),
                         [-1, -1, -1])
        self.logged("WARNING.*too many memberships")
        self.assertEqual(self.do(c, ("unset2", "caller", "500"), ("set1", "inb"), ("set1", "inb")), [1, 1, -1])
        self.assertEqual([self.size(p) for p in ("caller", "inb", "outb")], [999, 1, 0])
        c.hangup()
        for p in ("caller", "inb", "outb"):  # another worker than that of the 200 may still be at it
            self.wait_size(0, p)


class ProfileDiffers(ProfileCase):
    """Where the 2009 program and its manual differ, and its defects, by their numbers."""

    seconds = 12
    params = {"profiles_with_value": "caller;my_profile;a-b.c_9", "profiles_no_value": "inb;inbound_call"}

    def test_differs_08_names_with_underscores(self):
        c = self.up(("set2", "my_profile", "x"), ("set1", "inbound_call"), ("set2", "a-b.c_9", "y"))
        self.assertEqual(self.profiles_of(c), ["a-b.c_9 = y", "inbound_call = ", "my_profile = x"])
        c.hangup()

    def test_differs_09_size_without_a_value_is_of_memberships(self):
        c = self.up(("set2", "caller", "a"), ("set2", "caller", "b"))
        d = self.up(("set2", "caller", "a"))
        self.assertEqual(self.ask(c, ("size1", "caller")), [3])
        self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "caller"),
                         "200 OK\nprofile::  name=caller value= count=3\n\n")
        c.hangup()
        self.assertEqual(self.size("caller"), 1)
        d.hangup()

    def test_differs_10_is_in_profile_without_a_value(self):
        c = self.up(("set2", "caller", "a"))
        self.assertEqual(self.do(c, ("in1", "caller"), ("in1", "my_profile"), ("unset1", "caller"), ("in1", "caller")),
                         [1, -1, 1, -1])
        c.hangup()

    def test_differs_11_a_value_for_a_profile_without_values_is_ignored(self):
        c = self.up(("set1", "inb"))
        self.assertEqual([d["callid"] for d in self.proxy.fifo.dialogs("inb", "x", command="profile_list_dlgs")],
                         [c.call_id])
        self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "inb", "x"),
                         "200 OK\nprofile::  name=inb value=x count=1\n\n")
        self.assertEqual(self.do(c, ("in2", "inb", "y")), [1])
        self.assertEqual(self.ask(c, ("size2", "inb", "z"), ("size-null", "inb")), [1, 1])
        self.assertEqual(self.do(c, ("set-null", "inb"), ("in-null", "inb"), ("unset-null", "inb"), ("unset2", "inb", "w"),
                                 ("in1", "inb")), [1, 1, 1, 1, -1])
        c.hangup()

    def test_differs_22_unset_in_the_request_route(self):
        c = self.up(("set1", "inb"), ("set2", "caller", "a"), ("unset1", "inb"))
        self.assertEqual(self.profiles_of(c), ["caller = a"])
        self.assertEqual(self.do(c, ("unset2", "caller", "a")), [1])
        self.assertEqual(self.profiles_of(c), [])
        c.hangup()

    def test_differs_23_each_joining_counts(self):
        c = self.up(("set1", "inb"), ("set1", "inb"), ("set2", "caller", "a"), ("set2", "caller", "a"))
        for n in (2, 1, 0):
            self.assertEqual(self.ask(c, ("size1", "inb"), ("size2", "caller", "a")), [n, n])
            self.assertEqual((self.size("inb"), self.size("caller", "a")), (n, n))
            left = 1 if n else -1
            self.assertEqual(self.do(c, ("in1", "inb"), ("unset1", "inb"), ("unset2", "caller", "a")), [left] * 3)
        c.hangup()
        d = self.up(("set1", "inb"), ("set1", "inb"), ("set2", "caller", "a"), ("set2", "caller", "a"))
        d.hangup()
        self.wait_size(0, "inb")
        self.wait_size(0, "caller")

    def test_d18_null_joins_nothing(self):
        c = self.up()
        self.assertEqual(self.do(c, ("set-null", "caller"), ("limit-null", "caller", None, 9), ("unset-null", "caller"),
                                 ("in-null", "caller"), ("in1", "caller")), [-1] * 5)
        self.assertEqual(self.size("caller"), 0)
        self.assertEqual(self.proxy.fifo.cmd("profile_get_values", "caller"), "200 OK\n\n")
        self.assertEqual(self.do(c, ("set2", "caller", "a"), ("unset-null", "caller"), ("in-null", "caller")), [1, -1, -1])
        self.assertEqual(self.ask(c, ("size-null", "caller")), [0])
        self.assertEqual(self.size("caller"), 1)
        c.hangup()

    def test_d26_size_and_listing_agree(self):
        c = self.up(("set2", "caller", "a"), ("set2", "caller", "a"), ("set2", "caller", "b"), ("set1", "inb"),
                    ("set1", "inb"), ("set1", "inb"))
        d = self.up(("set2", "caller", "a"))
        for args, counts in ((("caller", "a"), {c.call_id: 2, d.call_id: 1}), (("caller", "b"), {c.call_id: 1}),
                             (("caller",), {c.call_id: 3, d.call_id: 1}), (("inb",), {c.call_id: 3})):
            with self.subTest(args=args):
                got = self.proxy.fifo.dialogs(*args, command="profile_list_dlgs")
                self.assertEqual(len(got), len(counts))
                self.assertEqual({x["callid"]: int(x.get("memberships", 1)) for x in got}, counts)
                self.assertTrue(all(x.get("memberships") != "1" for x in got))
                self.assertEqual(self.size(*args), sum(counts.values()))
                rpc = self.proxy.rpc.call("profile_list_dlgs", *args)
                self.assertEqual({x["callid"]: x.get("memberships", 1) for x in rpc}, counts)
        self.assertNotIn("memberships", self.proxy.fifo.cmd("dlg_list"))
        c.hangup()
        d.hangup()


LIMITS = """record_route();
	create_dialog();
	$var(p) = "trunk";
	$var(max) = 2;
	$var(rc) = 0;
	switch ($hdr(X-Do)) {
	case "no-value":
		set_dlg_profile_limit("inb", "2");
		$var(rc) = $rc;
		break;
	case "value":
		set_dlg_profile_limit("caller", "$fU", "2");
		$var(rc) = $rc;
		break;
	case "variable":
		set_dlg_profile_limit("$var(p)", "$fU", "$var(max)");
		$var(rc) = $rc;
		break;
	case "number":
		set_dlg_profile_limit($var(p), $fU, %(two)s);
		$var(rc) = $rc;
		break;
	case "list":
		set_dlg_profile_limits("caller = $fU <= 2; trunk = gw1 <= 3; caller <= 4");
		$var(rc) = $rc;
		break;
	case "list-of-variables":
		set_dlg_profile_limits(" ; $var(p) = $fU@$(rd{s.tolower}) <= $var(max);inb<=3 ;; ");
		$var(rc) = $rc;
		break;
	case "bound":
		set_dlg_profile_limits("caller <= 1");
		$var(rc) = $rc;
		break;
	case "bound-and-value":
		set_dlg_profile_limits("caller <= 2; caller = $fU <= 1000");
		$var(rc) = $rc;
		break;
	case "twice":
		set_dlg_profile_limits("caller = a <= 3; caller = a <= 3");
		$var(rc) = $rc;
		break;
	case "zero":
		set_dlg_profile_limits("inb <= 0");
		$var(rc) = $rc;
		break;
	case "largest":
		set_dlg_profile_limit("inb", "%(largest)s");
		$var(rc) = $rc;
		break;
	case "manual":
		set_dlg_profile_limits("caller = $fu <= 2; trunk = gw1 <= 100; caller <= 5000");
		$var(rc) = $rc;
		break;
	case "null":
		set_dlg_profile_limits("inb <= 5; caller = $hdr(Nope) <= 5");
		$var(rc) = $rc;
		break;
	case "empty":
		set_dlg_profile_limits("inb <= 5; caller = <= 5");
		$var(rc) = $rc;
		break;
	case "no-value-needed":
		set_dlg_profile_limit("caller", "5");
		$var(rc) = $rc;
		break;
	case "many-texts":
		$var(v) = "V";
		set_dlg_profile_limits("%(texts)s");
		$var(rc) = $rc;
		break;
	case "many-variables":
		set_dlg_profile_limits("%(variables)s");
		$var(rc) = $rc;
		break;
	}
	xlog("L_NOTICE", "LIMIT [$ci] $var(rc)\\n");
	if ($var(rc) < 0) {
		sl_send_reply("486", "Full");
		exit;
	}
	""" % {
    "two": dialect(kamailio="1 + 1", opensips="2"),
    "largest": dialect(kamailio="4294967294", opensips="2147483647"),  # there it is an int
    # as many as there may be, each with a text that the host has to compose
    "texts": "; ".join("caller = $var(v)alue-%d <= 9" % n for n in range(32)),
    "variables": "; ".join("caller = $(hdr(X-V)[%d]{s.tolower}) <= 9" % n for n in range(32)),
} + at("initial")


class ProfileLimits(ProfileCase):
    """set_dlg_profile_limit() and set_dlg_profile_limits(): how they count, what they refuse."""

    seconds = 15
    hooks = dict(HOOKS, initial=LIMITS)

    def setUp(self):
        super().setUp()
        self.refusals = audit(self.proxy)["limited"]

    def tearDown(self):
        for p in ("caller", "trunk", "inb", "outb"):
            self.wait_size(0, p)

    def admit(self, do, user="alice", headers=()):
        """A call that is let in."""
        c = self.call(from_uri="sip:%s@example.com" % user)
        return c.setup(early=False, headers=[["X-Do", do]] + list(headers))

    def refuse(self, do, user="alice", headers=()):
        before = {p: self.proxy.fifo.cmd("profile_get_values", p) for p in ("caller", "trunk", "inb", "outb")}
        c = self.call(from_uri="sip:%s@example.com" % user)
        c.invite(headers=[["X-Do", do]] + list(headers))
        c.got(486)
        for p, text in before.items():  # all or nothing
            self.assertEqual(self.proxy.fifo.cmd("profile_get_values", p), text)

    def counted(self, n):
        self.assertEqual(audit(self.proxy)["limited"] - self.refusals, n)

    def end(self, *calls):
        for c in calls:
            c.hangup()

    def two_of_each(self, do, *users):
        """Two calls each, not three; one that ends makes room for one."""
        up = [self.admit(do, u) for u in users for _ in range(2)]
        for u in users:
            self.refuse(do, u)
        self.end(up.pop())
        self.wait_until("room", lambda: self.proxy.stats()["active"] == len(up))
        up.append(self.admit(do, users[-1]))
        self.refuse(do, users[-1])
        self.counted(len(users) + 1)
        self.end(*up)

    def test_profile_without_values(self):
        self.two_of_each("no-value", "alice")

    def test_profile_with_values(self):
        self.two_of_each("value", "alice", "bob")

    def test_arguments_from_variables(self):
        self.two_of_each("variable", "alice", "bob")
        self.two_of_each_number()

    def two_of_each_number(self):
        self.refusals = audit(self.proxy)["limited"]
        self.two_of_each("number", "alice", "bob")

    def test_list(self):
        a, b = self.admit("list", "alice"), self.admit("list", "alice")
        self.refuse("list", "alice")                # of alice
        c = self.admit("list", "bob")
        self.refuse("list", "bob")                  # of the trunk, although bob and caller have room
        self.assertEqual((self.size("caller"), self.size("trunk", "gw1"), self.size("caller", "bob")), (3, 3, 1))
        self.assertEqual(self.profiles_of(a), ["trunk = gw1", "caller = alice"])
        self.counted(2)
        self.assertEqual(self.do(a, ("unset1", "trunk"), ("set2", "caller", "other"), ("set2", "caller", "other")), [1, 1, 1])
        self.refuse("list", "bob")                  # of all callers: 5 now
        self.assertEqual(self.do(a, ("unset1", "caller")), [1])
        self.refuse("list", "bob")                  # and one more with bob
        self.assertEqual(self.do(a, ("unset1", "caller")), [1])
        d = self.admit("list", "bob")
        self.counted(4)
        self.end(a, b, c, d)

    def test_list_with_variables_and_empty_items(self):
        up = [self.admit("list-of-variables", u) for u in ("alice", "alice", "bob")]
        self.assertEqual(self.size("trunk", "alice@" + self.proxy.ip), 2)
        self.refuse("list-of-variables", "alice")
        self.refuse("list-of-variables", "bob")  # of inb
        self.end(*up)

    def test_bound_of_a_whole_profile_joins_nothing(self):
        a = self.admit("bound")
        self.assertEqual(self.profiles_of(a), [])
        self.do(a, ("set2", "caller", "x"))
        b = self.admit("bound")                     # one is allowed, and one there is
        self.do(a, ("set2", "caller", "y"))
        self.refuse("bound")
        self.counted(1)
        self.end(a, b)

    def test_bound_counts_what_the_same_list_joins(self):
        a, b = self.admit("bound-and-value", "alice"), self.admit("bound-and-value", "bob")
        self.refuse("bound-and-value", "carol")
        self.end(a)
        c = self.admit("bound-and-value", "carol")
        self.end(b, c)

    def test_the_same_value_twice_in_a_list(self):
        a = self.admit("twice")
        self.assertEqual(self.size("caller", "a"), 2)
        self.refuse("twice")                        # one more would fit, two do not
        self.assertEqual(self.size("caller", "a"), 2)
        self.end(a)

    def test_zero_and_the_largest_limit(self):
        self.refuse("zero")
        a = self.admit("largest")
        self.assertEqual(self.size("inb"), 1)
        self.end(a)

    def test_example_of_the_list(self):
        a, b = self.admit("manual"), self.admit("manual")
        self.refuse("manual")
        self.assertEqual(self.profiles_of(a), ["trunk = gw1", "caller = sip:alice@example.com"])
        self.end(a, b)

    def test_null_joins_nothing_at_all(self):
        self.refuse("null")
        self.assertEqual(self.size("inb"), 0)
        self.counted(0)  # no limit was reached

    def test_empty_value_in_a_list(self):
        a = self.admit("empty")
        self.assertEqual(self.profiles_of(a), ["caller = ", "inb = "])
        self.end(a)

    def test_limit_of_a_value_profile_without_a_value(self):
        self.refuse("no-value-needed")
        self.logged("WARNING.*set_dlg_profile_limit: profile caller needs a value, and there is none")

    def test_limits_from_variables_that_are_none(self):
        c = self.up()
        for limit in ("", "x", "-1", "1.5", "4294967295", "99999999999999999999", "1 2", "0x10", "+1"):
            numbers = (("limit1", "inb", None, limit), ("limit2", "caller", "a", limit))
            if limit not in dialect(kamailio=(limit,), opensips=("-1",)):
                numbers = ()  # OpenSIPS hands over numbers only
            for op in numbers + (("limits", "caller", "a", limit), ("bound", "caller", None, limit)):
                with self.subTest(op=op):
                    mark = self.proxy.log_mark()
                    self.assertEqual(self.do(c, op), [-1])
                    self.proxy.wait_log(r'WARNING.*set_dlg_profile_limits?: "%s" is no limit' % re.escape(limit), mark)
        self.assertEqual(self.do(c, ("limit1", "inb", None, " 1 ")), [1])
        self.assertEqual((self.size("inb"), self.size("caller")), (1, 0))
        self.counted(0)
        c.hangup()

    def test_limit_in_every_route(self):
        """Also for a call that is in the profile already: each joining counts."""
        c = self.call()
        c.ring(headers=ops(("limit2", "caller", "a", 3), place="branch"))
        c.answer(180, headers=ops(("limit2", "caller", "a", 3)))
        c.got(180)
        c.answer(200, headers=ops(("limits", "caller", "a", 3), ("limits", "caller", "a", 3)))
        c.got(200)
        c.ack()
        self.assertEqual(self.results(c, 1, "branch"), [(1, "unset")])
        self.assertEqual(self.results(c, 3, "reply"), [(1, "unset"), (1, "unset"), (-1, "unset")])
        self.assertEqual(self.size("caller", "a"), 3)
        self.assertEqual(self.do(c, ("limit2", "caller", "a", 3), ("limit2", "caller", "a", 4), way=UP), [-1, 1])
        c.hangup()
        d = self.call()
        d.ring(headers=ops(("limit1", "inb", None, 1), ("limit1", "inb", None, 1), place="failure"))
        d.answer(486)
        d.got(486)
        self.assertEqual(self.results(d, 2, "failure"), [(1, "unset"), (-1, "unset")])

    def test_a_list_of_many_texts_keeps_them_apart(self):
        """More composed texts than the host has buffers for."""
        c = self.admit("many-texts")
        self.assertEqual(self.profiles_of(c), ["caller = Value-%d" % n for n in range(31, -1, -1)])
        self.end(c)

    def test_a_list_of_many_transformed_variables_keeps_them_apart(self):
        values = ["VALUE-%d" % n for n in range(32)]
        c = self.admit("many-variables", headers=[["X-V", v] for v in values])
        self.assertEqual(self.profiles_of(c), ["caller = " + v.lower() for v in reversed(values)])
        self.end(c)
