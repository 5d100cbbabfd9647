# SPDX-License-Identifier: GPL-2.0-or-later
"""Timeouts: which one counts, what resets it, and the BYEs that end a call from the middle."""

import re
import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UNCONFIRMED, UP, ProxyCase, say
from hosts import host

AVP = """
	if (is_present_hf("X-To")) $avp(t) = $(hdr(X-To){s.int});
	if (is_present_hf("X-To-Text")) $avp(t) = $hdr(X-To-Text);
"""
LATE_AVP = AVP.replace("X-To", "X-Late-To")
FLAG = 'if (is_present_hf("X-Bye")) setflag(6);\n'


class Lifetime(ProxyCase):
    """What the timeout is, read from the listing."""

    seconds = 25
    params = {"default_timeout": 1000, "timeout_avp": "$avp(t)"}
    hooks = {
        "initial": AVP + "record_route();\n\tcreate_dialog();\n" + LATE_AVP,
        "before_loose": AVP,
        "seq": LATE_AVP,
    }
    allowed = ()

    def left(self, c):
        d = self.dialog(c)
        return int(d["timeout"]) - time.time()

    def check(self, c, seconds):
        self.assertAlmostEqual(self.left(c), seconds, delta=1.6)

    def setup_with(self, *headers):
        c = self.call().setup(headers=[list(h) for h in headers])
        self.wait_state(c, CONFIRMED)
        return c

    def test_default(self):
        c = self.setup_with()
        self.check(c, 1000)
        c.hangup()

    def test_variable_in_the_initial_request(self):
        for header, value, want in (("X-To", "77", 77), ("X-Late-To", "88", 88), ("X-To-Text", "99", 99),
                                    ("X-To", "2147483647", 2147483647)):
            c = self.setup_with((header, value))
            self.check(c, want)
            c.hangup()

    def test_useless_values_are_ignored(self):
        for header, value in (("X-To", "0"), ("X-To", "-5"), ("X-To-Text", "abc"), ("X-To-Text", "12x"),
                              ("X-To-Text", "99999999999999999999")):
            c = self.setup_with((header, value))
            self.check(c, 1000)
            c.hangup()

    def test_no_timeout_before_the_answer(self):
        c = self.call()
        c.ring(headers=[["X-To", "77"]])
        time.sleep(2.1)
        self.assertEqual(self.dialog(c)["timeout"], "0")
        c.answer(200)
        c.got(200)
        self.check(c, 77)
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.check(c, 77)
        c.hangup()

    def test_each_sequential_request_but_ack_resets_it(self):
        c = self.setup_with()
        ok = c.inv
        for method, way in (("INFO", DOWN), ("INFO", UP), ("UPDATE", DOWN), ("INVITE", UP)):
            time.sleep(2.2)
            before = self.left(c)
            self.assertLess(before, 999)
            c.send("ACK", cseq=ok.cseq)
            c.b.recv("ACK")
            time.sleep(0.1)
            self.assertLess(self.left(c), 999)
            _, rpl = c.exchange(method, way)
            if method == "INVITE":
                c.send("ACK", way, cseq=rpl.cseq)
                c.far(way).recv("ACK")
            self.check(c, 1000)
        c.hangup()

    def test_refused_requests_do_not_reset_it(self):
        c = self.setup_with()
        time.sleep(2.2)
        c.refused("INFO", code=404, headers=[["X-Refuse", "404"], ["X-To", "5000"]])
        time.sleep(0.1)
        self.assertLess(self.left(c), 999)
        c.exchange("INFO", ttag="wrong")
        self.assertLess(self.left(c), 999)
        c.hangup()

    def test_variable_in_sequential_requests(self):
        c = self.setup_with(("X-To", "500"))
        c.exchange("INFO", headers=[["X-To", "60"]])
        self.check(c, 60)
        c.exchange("INFO", UP, headers=[["X-Late-To", "70"]])
        self.check(c, 70)
        c.exchange("INFO", headers=[["X-To-Text", "80"]])
        self.check(c, 80)
        c.exchange("INFO", headers=[["X-To", "0"]])
        self.check(c, 80)
        # a request without the variable resets to the last one set
        time.sleep(2.2)
        c.exchange("INFO")
        self.check(c, 80)
        c.send("ACK", cseq=c.inv.cseq, headers=[["X-To", "30"]])
        c.b.recv("ACK")
        time.sleep(0.1)
        self.check(c, 80)
        c.hangup()

    def test_first_ack_does_not_set_it(self):
        c = self.call().setup(ack=False)
        c.send("ACK", cseq=c.inv.cseq, headers=[["X-To", "30"]])
        c.b.recv("ACK")
        self.wait_state(c, CONFIRMED)
        self.check(c, 1000)
        c.hangup()


class ScriptVariable(ProxyCase):
    """timeout_avp may name a script variable."""

    seconds = 8
    params = {"timeout_avp": "$var(t)"}
    hooks = {"initial": "$var(t) = 123;\n\trecord_route();\n\tcreate_dialog();"}

    def test_script_variable(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        self.assertAlmostEqual(int(d["timeout"]) - time.time(), 123, delta=1.6)
        c.hangup()


class ByeCase(ProxyCase):
    """Calls that end by their timeout."""

    params = {"default_timeout": 2, "bye_on_timeout_flag": 6, "dlg_extra_hdrs": "X-Hint: credit expired\\r\\n"}
    hooks = {"initial": FLAG + "record_route();\n\tcreate_dialog();"}

    def up_call(self, flag=True, **kw):
        c = self.call(**kw)
        c.setup(headers=[["X-Bye", "1"]] if flag else [])
        self.wait_state(c, CONFIRMED)
        return c

    def check_bye(self, c, bye, way, ruri=None, routes=(), cseq=None, extra=("X-Hint: credit expired",)):
        """Header by header, byte by byte."""
        to_caller = way == UP
        caller = "<%s>;tag=%s" % (c.from_uri, c.ftag)
        callee = "<%s>" % c.to_uri + (";tag=%s" % c.ttag if c.ttag else "")
        self.assertEqual(bye.start, "BYE %s SIP/2.0" % (ruri or (c.a_contact if to_caller else c.b_contact)))
        self.assertEqual(len(bye.all("Via")), 1)
        self.assertRegex(bye.get("Via"), r"^SIP/2\.0/UDP %s;branch=z9hG4bK\S+$" % re.escape(self.proxy.addr))
        self.assertEqual(bye.all("From"), [callee if to_caller else caller])
        self.assertEqual(bye.all("To"), [caller if to_caller else callee])
        self.assertEqual(bye.all("Call-ID"), [c.call_id])
        want = cseq or (1 if to_caller else c.cseq[DOWN] + 1)
        self.assertEqual(bye.all("CSeq"), ["%d BYE" % want])
        self.assertEqual(bye.all("Max-Forwards"), ["70"])
        self.assertEqual(bye.all("Content-Length"), ["0"])
        self.assertEqual(bye.entries("Route"), list(routes))
        self.assertEqual(["%s: %s" % tuple(h) for h in bye.headers if h[0].startswith("X-")], list(extra))
        self.assertEqual(sorted({h[0] for h in bye.headers} - {"Route"} - {e.split(":")[0] for e in extra}),
                         ["CSeq", "Call-ID", "Content-Length", "From", "Max-Forwards", "To", "User-Agent", "Via"])
        self.assertTrue(bye.raw.endswith(b"\r\n\r\n") and bye.raw.count(b"\r\n\r\n") == 1, bye.raw)
        self.assertNotIn(b"\n", bye.raw.replace(b"\r\n", b""))


class ExpiryOnTheWire(ByeCase):
    seconds = 40

    def test_plain_call(self):
        c = self.up_call()
        began = time.monotonic()
        to_caller, to_callee = c.a.recv("BYE", 6), c.b.recv("BYE")
        self.assertGreater(time.monotonic() - began, 1.5)
        self.check_bye(c, to_caller, UP)
        self.check_bye(c, to_callee, DOWN)
        self.assertNotEqual(to_caller.branch, to_callee.branch)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, expired=1)
        c.a.reply(to_caller, 200)
        c.b.reply(to_callee, 200)
        time.sleep(0.7)
        self.assertEqual((c.a.repeats, c.b.repeats), (0, 0))
        self.assertStats(processed=1, expired=1)

    def test_cseqs_continue_those_of_both_sides(self):
        c = self.up_call()
        c.exchange("INFO", cseq=c.inv.cseq + 20)
        c.exchange("INFO", UP, cseq=300)
        to_caller, to_callee = c.a.recv("BYE", 6), c.b.recv("BYE")
        self.check_bye(c, to_caller, UP, cseq=301)
        self.check_bye(c, to_callee, DOWN, cseq=c.inv.cseq + 21)
        c.a.reply(to_caller, 200)
        c.b.reply(to_callee, 200)

    def test_through_loose_routers(self):
        c = self.call(from_uri="sip:alice@example.com;x=y", to_uri="sip:bob@example.org;user=phone?h=v")
        c.a_contact = c.a.uri() + ";transport=udp;ob"
        c.a_hop, c.b_hop = c.ua("p1"), c.ua("p2")
        c.upstream = ["<sip:%s;lr;a=b>" % c.a_hop.addr, '"disp" <sip:10.9.9.9;lr>;hp=1']
        c.downstream = ["<sip:10.8.8.8;lr>", "<sip:%s;lr>" % c.b_hop.addr]
        c.setup(headers=[["X-Bye", "1"]])
        self.wait_state(c, CONFIRMED)
        to_caller, to_callee = c.a_hop.recv("BYE", 6), c.b_hop.recv("BYE")
        self.check_bye(c, to_caller, UP, routes=c.upstream)
        self.check_bye(c, to_callee, DOWN, routes=reversed(c.downstream))
        c.a_hop.reply(to_caller, 200)
        c.b_hop.reply(to_callee, 200)
        c.a.silent(0.1, "BYE")
        c.b.silent(0, "BYE")

    def test_through_strict_routers(self):
        """RFC 3261 12.2.1.1: the first hop has no lr, so it becomes the Request-URI and the
        remote target goes to the end of the route set."""
        c = self.call()
        c.a_hop, c.b_hop = c.ua("p1"), c.ua("p2")
        c.upstream = ["<sip:%s>" % c.a_hop.addr, "<sip:10.9.9.9;lr>"]
        c.downstream = ["<sip:%s>" % c.b_hop.addr]
        c.ring(headers=[["X-Bye", "1"]])
        c.answer(200)
        c.got(200)
        c.routes_down = c.routes_down[:1] + ["<%s>" % c.b_contact]
        c.send("ACK", cseq=c.inv.cseq, ruri="sip:" + c.b_hop.addr)
        c.far(DOWN).drain(0.2)
        c.b.drain(0)
        to_caller, to_callee = c.a_hop.recv("BYE", 6), c.b_hop.recv("BYE")
        self.check_bye(c, to_caller, UP, ruri="sip:" + c.a_hop.addr,
                       routes=["<sip:10.9.9.9;lr>", "<%s>" % c.a_contact])
        self.check_bye(c, to_callee, DOWN, ruri="sip:" + c.b_hop.addr, routes=["<%s>" % c.b_contact])
        c.a_hop.reply(to_caller, 200)
        c.b_hop.reply(to_callee, 200)

    def test_without_the_flag_nothing_is_sent(self):
        c = self.up_call(flag=False)
        self.wait_state(c, DELETED, 5)
        self.assertStats(processed=1, expired=1)
        c.a.silent(0.2)
        c.b.silent(0)

    def test_d23_answer_without_to_tag(self):
        c = self.call()
        c.ring(headers=[["X-Bye", "1"]])
        c.answer(200, tag=False)
        c.ttag = ""
        c.got(200)
        to_caller, to_callee = c.a.recv("BYE", 6), c.b.recv("BYE")
        self.check_bye(c, to_callee, DOWN)
        # towards the caller tm gives the From a tag of its own when there is none
        self.assertRegex(to_caller.get("From"), r"^<sip:bob@example\.org>(;tag=\S+)?$")
        self.assertEqual(to_caller.get("To"), "<%s>;tag=%s" % (c.from_uri, c.ftag))
        c.a.reply(to_caller, 200)
        c.b.reply(to_callee, 200)
        self.wait_state(c, DELETED)

    def test_a_bye_of_a_party_comes_first(self):
        c = self.up_call()
        c.hangup()
        self.wait_state(c, DELETED)
        c.a.silent(3.2, "BYE")
        c.b.silent(0, "BYE")
        self.assertStats(processed=1)

    def test_info_keeps_the_call_alive(self):
        c = self.up_call()
        for way in (DOWN, UP, DOWN):
            time.sleep(1.4)
            c.exchange("INFO", way)
        self.assertEqual(self.state(c), CONFIRMED)
        c.hangup()
        self.assertStats(processed=1)


class ExpiryOutcomes(ByeCase):
    """What becomes of each leg's BYE is its own affair; the call is over in any case."""

    seconds = 35
    tm = {"fr_timer": 2000, "wt_timer": 1000}
    allowed = (host.COMPLAINTS["next hop"],)

    def test_every_outcome(self):
        outcomes = [(200, 200), (481, 200), (200, 481), (408, 503), (403, 403), (None, 200), (200, None), (None, None)]
        calls = [(self.up_call(), a, b) for a, b in outcomes]
        for c, code_a, code_b in calls:
            for ua, code in ((c.a, code_a), (c.b, code_b)):
                bye = ua.recv("BYE", 6)
                if code:
                    ua.reply(bye, code)
        for c, _, _ in calls:
            self.wait_state(c, DELETED)
        self.assertStats(processed=len(outcomes), expired=len(outcomes))
        for c, code_a, code_b in calls:
            self.wait_gone(c, 15)
            for ua, code in ((c.a, code_a), (c.b, code_b)):
                # retransmitted by tm while unanswered, but never a second BYE
                ua.silent(0, "BYE")
                self.assertEqual(ua.repeats > 0, code is None, "answer %r, %d repeats" % (code, ua.repeats))
        self.assertStats(processed=len(outcomes), expired=len(outcomes))

    def test_provisional_then_final(self):
        c = self.up_call()
        for ua in (c.a, c.b):
            bye = ua.recv("BYE", 6)
            ua.reply(bye, 100)
            ua.reply(bye, 200)
        self.wait_state(c, DELETED)
        self.wait_gone(c, 12)

    def test_one_leg_without_contact(self):
        c = self.call()
        c.ring(headers=[["X-Bye", "1"]], contact=False)
        c.answer(200)
        c.got(200)
        c.ack()
        bye = c.b.recv("BYE", 6)
        c.b.reply(bye, 200)
        self.wait_state(c, DELETED)
        c.a.silent(0.1, "BYE")
        self.assertStats(processed=1, expired=1)

    def test_unsendable_next_hop(self):
        c = self.call()
        c.a_contact = "sip:alice@no.such.host.invalid"
        c.setup(headers=[["X-Bye", "1"]])
        bye = c.b.recv("BYE", 8)
        c.b.reply(bye, 200)
        self.wait_state(c, DELETED, 8)
        self.assertStats(processed=1, expired=1)
        self.wait_gone(c, 15)


class ByeFlag(ByeCase):
    """When the flag counts."""

    seconds = 15
    params = {"default_timeout": 2, "bye_on_timeout_flag": 6}
    hooks = {
        "initial": """
	if ($hdr(X-Do) == "before") setflag(6);
	record_route();
	create_dialog();
	if ($hdr(X-Do) == "after") setflag(6);
	if ($hdr(X-Do) == "late") { t_newtran(); setflag(6); }""",
        "branch": 'if ($hdr(X-Do) == "branch") setflag(6);',
    }

    def test_when_it_counts(self):
        calls = {}
        for what in ("before", "after", "late", "none"):
            c = calls[what] = self.call()
            c.setup(headers=[["X-Do", what]])
        for what in ("before", "after"):
            c = calls[what]
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE", 6), 200)
        for what, c in calls.items():
            self.wait_state(c, DELETED, 5)
            if what not in ("before", "after"):
                c.a.silent(0.1, "BYE")
                c.b.silent(0, "BYE")
        self.assertStats(processed=4, expired=4)


class SlowNames(ByeCase):
    """Parties whose host must be looked up can make that last as long as they want. Here the route of local
    requests waits in place of the resolver, and maddr, which could be a name, in place of a name."""

    seconds = 30
    options = {"extra": 'event_route[tm:local-request] {\n\tif ($ru =~ "maddr") { usleep("2000000"); }\n}\n'}

    def slow_call(self):
        c = self.call()
        c.ring(headers=[["X-Bye", "1"]], contact="<sip:alice@%s;maddr=%s>" % (c.a.addr, c.a.addr.split(":")[0]))
        c.answer(200)
        c.got(200)
        c.ack()
        self.wait_state(c, CONFIRMED)
        return c

    def test_only_they_wait(self):
        slow = [self.slow_call() for _ in range(3)]
        quick = [self.up_call() for _ in range(3)]
        began = time.monotonic()
        for c in quick:
            c.a.reply(c.a.recv("BYE", 5), 200)
            c.b.reply(c.b.recv("BYE"), 200)
        self.assertLess(time.monotonic() - began, 4.0)
        self.assertEqual(self.state(slow[-1]), CONFIRMED)  # its turn will come
        for c in slow:
            c.a.reply(c.a.recv("BYE", 12), 200)
            c.b.reply(c.b.recv("BYE", 4), 200)
        self.assertStats(processed=6, expired=6)


class AckLimit(ByeCase):
    """D20: the states before the ACK have limits of their own."""

    seconds = 20
    params = {"ack_timeout": 2, "setup_timeout": 3, "bye_on_timeout_flag": 6}
    tm = {"fr_timer": 20000, "fr_inv_timer": 20000}

    def test_d20_answered_but_never_acknowledged(self):
        c = self.call()
        c.ring(headers=[["X-Bye", "1"]])
        c.answer(200)
        c.got(200)
        to_caller, to_callee = c.a.recv("BYE", 6), c.b.recv("BYE")
        self.check_bye(c, to_caller, UP, extra=())
        self.check_bye(c, to_callee, DOWN, extra=())
        c.a.reply(to_caller, 200)
        c.b.reply(to_callee, 481)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, expired=1)

    def test_d20_without_the_flag(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        self.wait_state(c, DELETED, 6)
        c.a.silent(0.1, "BYE")
        self.assertStats(processed=1, expired=1)

    def test_d20_ringing_for_ever_ends_at_the_setup_limit(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        self.assertEqual(self.state(c), EARLY)
        c.got(408, 8)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, expired=1)

    def test_d20_no_reply_at_all_ends_at_the_setup_limit(self):
        c = self.call()
        c.ring()
        self.assertEqual(self.state(c), UNCONFIRMED)
        c.got(408, 8)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, expired=1)

    def test_acknowledged_in_time(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        time.sleep(3.5)
        self.assertEqual(self.state(c), CONFIRMED)
        c.hangup()
        self.assertStats(processed=1)

    def test_the_ack_limit_ends_with_the_ack(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        time.sleep(1.0)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.ack()
        self.wait_state(c, CONFIRMED)
        d = self.dialog(c)
        self.assertGreater(int(d["timeout"]) - time.time(), 40000)
        c.hangup()


class ManyAtOnce(ByeCase):
    """A few hundred calls expire in the same second."""

    seconds = 15
    params = {"default_timeout": 3, "bye_on_timeout_flag": 6}

    def test_three_hundred(self):
        a, b = self.agent("alice"), self.agent("bob")
        calls = []
        for _ in range(300):
            c = self.call()
            c.close()
            c.a, c.b = a, b
            c.a_contact, c.b_contact = a.uri(), b.uri()
            calls.append(c)
            c.invite(headers=[["X-Bye", "1"]])
            c.b_inv = b.recv(lambda m, i=c.call_id: m.is_request and m.call_id == i)
            c.answer(200)
            c.learn(a.recv(lambda m, i=c.call_id: m.code == 200 and m.call_id == i))
            c.send("ACK", cseq=c.inv.cseq)
            b.recv(lambda m, i=c.call_id: m.is_request and m.method == "ACK" and m.call_id == i)
        byes = set()
        end = time.monotonic() + 12
        while len(byes) < 600 and time.monotonic() < end:
            for ua in (a, b):
                for m in ua.drain(0.02):
                    if m.is_request and m.method == "BYE":
                        byes.add((ua.name, m.call_id))
                        ua.reply(m, 200)
        self.assertEqual(len(byes), 600)
        self.assertStats(processed=300, expired=300)
