# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of ordinary calls: what happens to the dialog at each message."""

import re
import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UNCONFIRMED, UP, ProxyCase
from hosts import host


class Life(ProxyCase):
    seconds = 25

    def test_basic_call_step_by_step(self):
        c = self.call()
        c.ring()
        d = self.dialog(c)
        self.assertEqual((d.state, d["timestart"], d["timeout"], d["legs"]), (UNCONFIRMED, "0", "0", []))
        self.assertStats(processed=1)
        c.answer(100)
        self.stays(c, UNCONFIRMED)
        c.answer(180)
        c.got(180)
        self.assertEqual(self.state(c), EARLY)
        self.assertStats(processed=1, early=1)
        c.answer(183)
        c.got(183)
        self.assertEqual(self.state(c), EARLY)
        self.assertStats(processed=1, early=1)
        c.answer(200)
        c.got(200)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.assertStats(processed=1, active=1)
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        c.exchange("INFO")
        c.exchange("INFO", UP)
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)
        self.wait_gone(c)
        self.assertStats(processed=1)

    def test_callee_hangs_up(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.hangup(UP)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_the_bye_ends_the_call_before_its_reply(self):
        c = self.call().setup()
        c.send("BYE")
        req = c.b.recv("BYE")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)
        c.b.reply(req, 200)
        c.a.recv(200)
        self.stays(c, DELETED)

    def test_call_without_ringing(self):
        c = self.call().setup(early=False)
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_answer_202(self):
        c = self.call()
        c.ring()
        c.answer(202)
        c.got(202)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.ack()
        c.hangup()
        self.wait_state(c, DELETED)

    def test_ended_dialogs_linger_five_seconds(self):
        c = self.call().setup()
        c.hangup()
        self.wait_state(c, DELETED)
        began = time.monotonic()
        time.sleep(3.5)
        self.assertEqual(self.state(c), DELETED)
        self.wait_gone(c)
        self.assertLess(time.monotonic() - began, 8.5)

    def test_early_replies_without_tag(self):
        c = self.call()
        c.ring()
        c.answer(180, tag=False)
        c.got(180)
        d = self.dialog(c)
        self.assertEqual(d.state, EARLY)
        self.assertStats(processed=1, early=1)
        c.answer(200)
        c.got(200)
        c.ack()
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual([leg["callee_tag"] for leg in d["legs"] if leg["callee_contact"]], [c.ttag])
        c.hangup()
        self.wait_state(c, DELETED)

    def test_several_early_tags(self):
        c = self.call()
        c.ring()
        for tag in ("one", "two", "three"):
            c.answer(183, tag=tag)
            c.got(183)
        d = self.dialog(c)
        self.assertEqual([leg["callee_tag"] for leg in d["legs"]], ["one", "two", "three"])
        self.assertStats(processed=1, early=1)
        c.answer(200, tag="two")
        c.got(200)
        c.ack()
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual([leg["callee_tag"] for leg in d["legs"]], ["one", "two", "three"])
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def failing(self, code, early=False, reason=None):
        c = self.call()
        c.ring()
        if early:
            c.answer(180)
            c.got(180)
            self.assertStats(processed=1, early=1)
        c.answer(code, reason=reason)
        c.got(code)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_d15_busy_counts_as_failed(self):
        self.failing(486)

    def test_d15_busy_after_ringing(self):
        self.failing(486, early=True)

    def test_d15_every_class_of_failure_counts(self):
        for n, code in enumerate((302, 401, 404, 503, 603), 1):
            with self.subTest(code=code):
                c = self.call()
                c.ring()
                c.answer(code)
                # tm turns a callee's 503 into a 500 (RFC 3261 16.7)
                c.got(500 if code == 503 else code)
                self.wait_state(c, DELETED)
                self.assertStats(processed=n, failed=n)

    def test_cancel_while_ringing(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        c.cancel()
        c.a.recv(lambda m: m.code == 200 and m.method == "CANCEL")
        req = c.b.recv("CANCEL")
        c.b.reply(req, 200)
        c.answer(487)
        c.got(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_cancel_after_trying_only(self):
        c = self.call()
        c.ring()
        c.answer(100)
        time.sleep(0.1)
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_cancel_before_any_reply(self):
        c = self.call()
        c.ring()
        c.cancel()
        c.a.recv(lambda m: m.code == 200 and m.method == "CANCEL")
        c.got(host.CANCELLED, 6)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_reinvite_and_its_failures_leave_the_call_up(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        for way in (DOWN, UP):
            _, ok = c.exchange("INVITE", way)
            c.send("ACK", way, cseq=ok.cseq)
            c.far(way).recv("ACK")
            for code in (488, 491, 481, 408, 500):
                sent = c.send("INVITE", way)
                req = c.far(way).recv("INVITE")
                c.far(way).reply(req, code, tag=None)
                rpl = c.near(way).recv(lambda m, n=sent.cseq, k=code: m.code == k and m.cseq == n)
                ack = c.build("ACK", way, cseq=sent.cseq, branch=sent.branch, routes=[])
                ack.headers[0][1] = sent.get("Via")
                c.near(way).send(ack, c.to_proxy)
                self.assertEqual(rpl.code, code)
        for method in ("INFO", "UPDATE", "OPTIONS"):
            c.exchange(method, code=500)
        self.stays(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_prack_and_update_while_ringing(self):
        c = self.call()
        c.ring()
        c.answer(183)
        rpl = c.got(183)
        c.learn(rpl)
        c.exchange("PRACK")
        c.exchange("UPDATE")
        self.stays(c, EARLY)
        c.answer(200)
        c.got(200)
        c.exchange("INFO", UP)
        self.stays(c, CONFIRMED_NA)
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_same_call_id_again_after_a_challenge_is_a_new_dialog(self):
        c = self.call()
        c.ring()
        c.answer(401)
        c.got(401)
        self.wait_state(c, DELETED)
        c.cseq[DOWN] += 1
        c.ttag = "second"
        c.setup()
        self.wait_until("both", lambda: [d.state for d in self.listed(c)] == [DELETED, CONFIRMED])
        one = self.proxy.fifo.dialogs(c.call_id)
        self.assertEqual([d.state for d in one], [CONFIRMED])
        self.assertStats(processed=2, failed=1, active=1)
        c.hangup()
        self.assertStats(processed=2, failed=1)

    def test_requests_outside_dialogs_create_none(self):
        c = self.call()
        m = c.build_invite()
        m.start = m.start.replace("INVITE", "OPTIONS")
        m.headers = [[n, v.replace("INVITE", "OPTIONS")] for n, v in m.headers]
        c.a.send(m, c.to_proxy)
        c.b.reply(c.b.recv("OPTIONS"), 200)
        c.a.recv(200)
        self.assertEqual(self.listed(c), [])
        self.assertStats()


class Listing(ProxyCase):
    """dlg_list and dlg_list_ctx, byte for byte as operators' tools read them."""

    seconds = 20
    hooks = {
        "initial": """record_route();
	create_dialog();
	set_dlg_flag("0");
	set_dlg_flag("3");
	store_dlg_value("acc", "pre paid");
	$dlg_val("v 2") = $ci + "|x#y";""",
    }

    def head(self, c, state, start="0", timeout="0"):
        d = self.dialog(c)
        return ("dialog::  hash=%s\n\tstate:: %d\n\tuser_flags:: 9\n\ttimestart:: %s\n\ttimeout:: %s\n"
                "\tcallid:: %s\n\tfrom_uri:: %s\n\tto_uri:: %s\n\tcaller_tag:: %s\n\tcaller_contact:: %s\n"
                "\tcallee_cseq:: 0\n\tcaller_route_set:: %s\n\tcaller_bind_addr:: udp:%s\n"
                % (d["hash"], state, start, timeout, c.call_id, c.from_uri, c.to_uri, c.ftag, c.a_contact,
                   ",".join(c.upstream), self.proxy.addr))

    def leg(self, c, contact="", cseq=None, routes=""):
        return ("\tcallee_tag:: %s\n\tcallee_contact:: %s\n\tcaller_cseq:: %d\n\tcallee_route_set:: %s\n"
                "\tcallee_bind_addr:: udp:%s\n" % (c.ttag, contact, cseq or c.inv.cseq, routes, self.proxy.addr))

    context = "\tcontext:: \n\t\tvalue:: v 2 = %s|x#y\n\t\tvalue:: acc = pre paid\n"

    def test_unconfirmed(self):
        c = self.call()
        c.ring()
        self.assertEqual(self.proxy.fifo.cmd("dlg_list", c.call_id),
                         "200 OK\n" + self.head(c, UNCONFIRMED) + "\n")
        c.answer(486)
        c.got(486)

    def test_early(self):
        """The contact of a provisional reply is listed (the 2009 program left it empty)."""
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        self.assertEqual(self.proxy.fifo.cmd("dlg_list", c.call_id),
                         "200 OK\n" + self.head(c, EARLY) + self.leg(c, c.b_contact) + "\n")
        c.answer(486)
        c.got(486)

    def test_confirmed_with_context(self):
        c = self.call()
        before = int(time.time())
        c.setup()
        d = self.wait_state(c, CONFIRMED)
        self.assertIn(int(d["timestart"]) - before, (0, 1))
        self.assertIn(int(d["timeout"]) - int(d["timestart"]), range(43199, 43203))
        text = self.proxy.fifo.cmd("dlg_list_ctx", c.call_id)
        m = re.search(r"timeout:: (\d+)", text)
        self.assertEqual(text, "200 OK\n" + self.head(c, CONFIRMED, d["timestart"], m.group(1))
                         + self.leg(c, c.b_contact) + self.context % c.call_id + "\n")
        self.assertNotIn("context", self.proxy.fifo.cmd("dlg_list", c.call_id))
        c.hangup()

    def test_route_sets_contacts_and_uris(self):
        c = self.call(from_uri="sip:alice@example.com;x=y", to_uri="sip:bob@example.org;user=phone")
        c.from_hdr = '"Alice, the \\"first\\"" <sip:alice@example.com;x=y>;hp=1'
        c.a_contact = c.a.uri() + ";transport=udp;ob"
        c.a_hop, c.b_hop = c.ua("p1"), c.ua("p2")
        c.upstream = ["<sip:%s;lr;a=b>" % c.a_hop.addr, '"disp, one" <sip:10.9.9.9;lr>;hp=1']
        c.downstream = ["<sip:10.8.8.8;lr>", "<sip:%s;lr>" % c.b_hop.addr]
        c.setup(headers=[["X-Any", "thing"]])
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual(d["from_uri"], "sip:alice@example.com;x=y")
        self.assertEqual(d["to_uri"], "sip:bob@example.org;user=phone")
        self.assertEqual(d["caller_contact"], c.a_contact)
        self.assertEqual(d["caller_route_set"], ",".join(c.upstream))
        self.assertEqual(d["legs"][0]["callee_route_set"], ",".join(reversed(c.downstream)))
        c.hangup()
        self.wait_state(c, DELETED)

    def test_contact_with_display_name_and_header_parameters(self):
        c = self.call()
        c.ring(contact='"A" <%s>;expires=60;+x="<y>"' % c.a_contact)
        c.answer(200, contact="<%s>;q=0.5" % c.b_contact)
        c.got(200)
        d = self.dialog(c)
        self.assertEqual(d["caller_contact"], c.a_contact)
        self.assertEqual(d["legs"][0]["callee_contact"], c.b_contact)
        c.ack()
        c.hangup()

    def test_arguments(self):
        c = self.call().setup()
        fifo = self.proxy.fifo
        self.wait_state(c, CONFIRMED)
        one = fifo.cmd("dlg_list", c.call_id, c.ftag)
        self.assertTrue(one.startswith("200 OK\ndialog::  hash="), one)
        for args in (("unknown",), (c.call_id, "wrong"), (c.call_id, c.ttag), (c.call_id.upper(),)):
            got = fifo.cmd("dlg_list", *args)
            self.assertTrue(got.startswith("404 ") and got.endswith("\n\n") and got.count("\n") == 2, got)
        got = fifo.cmd("dlg_list", c.call_id, c.ftag, "x")
        self.assertEqual(got, "400 Too few or too many arguments\n\n")
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertTrue(fifo.cmd("dlg_list", c.call_id).startswith("404 "))

    def test_cseqs_follow_the_requests(self):
        c = self.call().setup()
        c.exchange("INFO", cseq=c.inv.cseq + 5)
        c.exchange("INFO", UP, cseq=77)
        d = self.wait_until("the numbers", lambda: [x for x in self.listed(c) if x["callee_cseq"] == "77"])[0]
        self.assertEqual(d["legs"][0]["caller_cseq"], str(c.inv.cseq + 5))
        c.cseq[DOWN] += 10
        c.hangup()


class NoAnswer(ProxyCase):
    """Local time-outs of tm."""

    tm = {"fr_timer": 1500, "fr_inv_timer": 2500}
    seconds = 20

    def test_no_reply_at_all(self):
        c = self.call()
        c.ring()
        c.got(408)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_ringing_for_ever(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        c.got(408, 5)
        c.b.recv("CANCEL")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_unanswered_bye_has_ended_the_call(self):
        c = self.call().setup()
        sent = c.send("BYE")
        c.b.recv("BYE")
        self.wait_state(c, DELETED)
        c.a.recv(lambda m: m.code == 408 and m.cseq == sent.cseq, 5)
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_200_after_the_408(self):
        """The callee picks up when the caller has been told that nobody answered: the late 200
        is relayed, nothing is counted twice, and whatever the dialog does it is gone at the end."""
        c = self.call()
        c.ring()
        c.got(408)
        self.wait_state(c, DELETED)
        c.answer(200)
        ok = c.got(200)
        self.assertEqual(ok.to_tag, c.ttag)
        c.ack()
        c.exchange("BYE")
        self.assertStats(processed=1, failed=1)
        self.wait_gone(c, 12)
