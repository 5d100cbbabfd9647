# SPDX-License-Identifier: GPL-2.0-or-later
"""Forked calls, several answers, calls that pass twice."""

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UNCONFIRMED, UP, ProxyCase, pv_at
from sip import uri_of


class Fork(ProxyCase):
    seconds = 15

    def fork(self, ringing=True):
        c = self.call()
        c.carol = c.ua("carol")
        c.ring(headers=[["X-Fork", c.carol.uri()]])
        c.c_inv = c.carol.recv("INVITE")
        self.assertEqual(c.b_inv.entries("Record-Route"), c.c_inv.entries("Record-Route"))
        if ringing:
            c.answer(180, tag="tagB")
            c.got(180)
            c.answer(180, ua=c.carol, inv=c.c_inv, tag="tagC")
            c.got(180)
        return c

    def legs(self, c):
        return [(leg["callee_tag"], leg["callee_contact"]) for leg in self.dialog(c)["legs"]]

    def end_carol(self, c, code=487):
        c.carol.reply(c.carol.recv("CANCEL"), 200)
        c.answer(code, ua=c.carol, inv=c.c_inv, tag="tagC")
        c.carol.recv("ACK")

    def test_parallel_first_leg_answers(self):
        c = self.fork()
        self.assertEqual(self.state(c), EARLY)
        self.assertEqual(self.legs(c), [("tagB", c.b.uri()), ("tagC", c.carol.uri())])
        self.assertStats(processed=1, early=1)
        c.answer(200, tag="tagB")
        c.got(200)
        self.end_carol(c)
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        c.exchange("INFO", UP)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_parallel_second_leg_answers(self):
        c = self.fork()
        c.answer(200, ua=c.carol, inv=c.c_inv, tag="tagC")
        c.got(200)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487, tag="tagB")
        c.b.recv("ACK")
        c.b_hop = c.carol
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.legs(c), [("tagB", c.b.uri()), ("tagC", c.carol.uri())])
        c.exchange("INFO")
        c.exchange("INFO", UP, ua=c.carol)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_parallel_one_leg_fails_the_other_answers(self):
        c = self.fork()
        c.answer(486, tag="tagB")
        c.b.recv("ACK")
        self.stays(c, EARLY)
        self.assertStats(processed=1, early=1)
        c.answer(200, ua=c.carol, inv=c.c_inv, tag="tagC")
        c.got(200)
        c.b_hop = c.carol
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_parallel_all_legs_fail(self):
        c = self.fork()
        c.answer(486, tag="tagB")
        c.answer(480, ua=c.carol, inv=c.c_inv, tag="tagC")
        m = c.a.recv(lambda m: m.code in (480, 486))
        c.ack_negative(m)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_parallel_cancelled(self):
        c = self.fork()
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487, tag="tagB")
        self.end_carol(c)
        c.got(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def both_answer(self):
        """Bob, and carol before the CANCEL reaches her; the caller takes both."""
        c = self.fork()
        c.answer(200, tag="tagB")
        c.got(200)
        c.ack()
        c.answer(200, ua=c.carol, inv=c.c_inv, tag="tagC")
        c.a.recv(lambda m: m.code == 200 and m.to_tag == "tagC")
        c.send("ACK", ttag="tagC", ruri=c.carol.uri(), cseq=c.inv.cseq)
        c.carol.recv("ACK")
        return c, self.wait_state(c, CONFIRMED)

    def test_d19_two_answered_legs_live_each_its_own_life(self):
        c, _ = self.both_answer()
        self.assertEqual(self.legs(c), [("tagB", c.b.uri()), ("tagC", c.carol.uri())])
        self.assertStats(processed=1, active=1)
        # the caller drops carol: bob's leg goes on
        _, rpl = c.exchange("BYE", ttag="tagC", ruri=c.carol.uri(), to=c.carol)
        self.stays(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        c.exchange("INFO", UP)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_d19_ending_a_call_with_two_answered_legs_ends_both(self):
        c, d = self.both_answer()
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        for ua, tag in ((c.b, "tagB"), (c.carol, "tagC")):
            bye = ua.recv("BYE")
            self.assertEqual((bye.from_tag, bye.to_tag), (c.ftag, tag))
            ua.reply(bye, 200)
        tags = set()
        for _ in range(2):
            bye = c.a.recv("BYE")
            tags.add(bye.from_tag)
            c.a.reply(bye, 200)
        self.assertEqual(tags, {"tagB", "tagC"})
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_two_answers_of_one_callee(self):
        """A gateway forks behind one branch: 2xx with different tags, each acknowledged and ended."""
        c = self.call()
        c.ring()
        c.answer(200, tag="one")
        c.got(200)
        c.ack()
        c.answer(200, tag="two")
        c.a.recv(lambda m: m.code == 200 and m.to_tag == "two")
        c.send("ACK", ttag="two", cseq=c.inv.cseq)
        c.b.recv("ACK")
        self.wait_state(c, CONFIRMED)
        self.assertEqual([t for t, _ in self.legs(c)], ["one", "two"])
        c.exchange("BYE", ttag="one")
        self.stays(c, CONFIRMED)
        c.exchange("BYE", UP, ttag="two")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_serial_fork(self):
        c = self.call()
        c.carol = c.ua("carol")
        c.ring(headers=[["X-Serial", c.carol.uri()]])
        c.answer(180, tag="tagB")
        c.got(180)
        c.answer(486, tag="tagB")
        c.b.recv("ACK")
        inv = c.carol.recv("INVITE")
        self.assertEqual(inv.entries("Record-Route"), c.b_inv.entries("Record-Route"))
        self.stays(c, EARLY)
        self.assertStats(processed=1, early=1)
        c.answer(180, ua=c.carol, inv=inv, tag="tagC")
        c.got(180)
        c.answer(200, ua=c.carol, inv=inv, tag="tagC")
        c.got(200)
        c.b_hop = c.carol
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.legs(c), [("tagB", c.b.uri()), ("tagC", c.carol.uri())])
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_serial_fork_fails_everywhere(self):
        c = self.call()
        c.carol = c.ua("carol")
        c.ring(headers=[["X-Serial", c.carol.uri()]])
        c.answer(486)
        inv = c.carol.recv("INVITE")
        self.stays(c, UNCONFIRMED)
        c.answer(603, ua=c.carol, inv=inv, tag="tagC")
        c.got(603)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_prack_to_each_early_leg(self):
        c = self.fork(ringing=False)
        for ua, inv, tag in ((c.b, c.b_inv, "tagB"), (c.carol, c.c_inv, "tagC")):
            c.answer(183, ua=ua, inv=inv, tag=tag)
            c.learn(c.got(183))
            c.exchange("PRACK", ttag=tag, ruri=ua.uri(), to=ua)
        self.stays(c, EARLY)
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487, tag="tagB")
        self.end_carol(c)
        c.got(487)
        self.wait_state(c, DELETED)


class Spiral(ProxyCase):
    """A call that passes the proxy twice: two dialogs, each matched by its own cookie."""

    seconds = 15
    hooks = {
        "initial": """record_route();
	create_dialog();
	if (!is_present_hf("X-Again") && is_present_hf("X-Spiral")) {
		append_hf("X-Again: yes\\r\\n");
		$du = "sip:" + $Ri + ":" + $Rp;
	}""",
        "seq": pv_at("seq"),
    }

    def spiral(self, mode):
        c = self.call()
        c.ring(headers=[["X-Spiral", "yes"]])
        self.assertEqual(len(c.b_inv.entries("Record-Route")), 2)
        if mode != 2:
            self.assertEqual(len({uri_of(r) for r in c.b_inv.entries("Record-Route")}), 2)
        self.assertEqual([d.state for d in self.listed(c)], [UNCONFIRMED] * 2)
        c.answer(180)
        c.got(180)
        self.assertEqual([d.state for d in self.listed(c)], [EARLY] * 2)
        c.answer(200)
        c.got(200)
        self.assertEqual([d.state for d in self.listed(c)], [CONFIRMED_NA] * 2)
        self.assertStats(processed=2, active=2)
        c.ack()
        return c

    def states_become(self, c, want):
        self.wait_until("states %r" % want, lambda: [d.state for d in self.listed(c)] == want)

    def test_two_dialogs_by_cookie(self):
        c = self.spiral(0)
        self.states_become(c, [CONFIRMED] * 2)
        c.exchange("INFO", UP)
        c.hangup()
        self.states_become(c, [DELETED] * 2)
        self.assertStats(processed=2)


class SpiralFallback(Spiral):
    params = {"dlg_match_mode": 1}


class SpiralNoCookie(Spiral):
    """Without cookies nothing tells which pass is which; both dialogs must end all the same."""

    params = {"dlg_match_mode": 2}

    def test_two_dialogs_by_cookie(self):
        c = self.spiral(2)
        c.hangup()
        self.states_become(c, [DELETED] * 2)
        self.assertStats(processed=2)
