# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that cross, repeat, come late or in the wrong order: no ghosts, no double counting."""

import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UNCONFIRMED, UP, ProxyCase


class Repeats(ProxyCase):
    seconds = 15

    def test_retransmitted_invite_makes_one_dialog(self):
        c = self.call()
        c.ring()
        for _ in range(3):
            c.resend_invite()
            time.sleep(0.05)
        self.dialog(c)
        c.answer(180)
        c.got(180)
        c.resend_invite()
        time.sleep(0.05)
        self.assertEqual(self.state(c), EARLY)
        c.answer(200)
        c.got(200)
        c.resend_invite()
        time.sleep(0.1)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.ack()
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_copies_of_an_invite_at_the_same_instant(self):
        """Several workers run the script for one INVITE at once."""
        calls = [self.call() for _ in range(20)]
        for c in calls:
            c.inv = c.build_invite()
            data = bytes(c.inv)
            for _ in range(4):
                c.a.sock.sendto(data, c.to_proxy)
        for c in calls:
            c.b_inv = c.b.recv("INVITE")
            c.routes_up = c.b_inv.entries("Record-Route")
            cookies = {r.split(";did=")[1] for r in c.routes_up}
            self.assertEqual(len(cookies), 1)
            d = self.dialog(c)
            self.assertEqual(d.state, UNCONFIRMED)
        self.assertStats(processed=20)
        for c in calls:
            c.answer(200)
            c.got(200)
            c.ack()
            self.wait_state(c, CONFIRMED)
            c.hangup()
            self.wait_state(c, DELETED)
            c.b.silent(0, "INVITE")
        self.assertStats(processed=20)

    def test_retransmitted_200_and_ack(self):
        c = self.call()
        c.ring()
        ok = c.answer(200)
        c.got(200)
        for _ in range(3):
            c.b.send_reply(ok)
        c.a.keep_repeats = True
        c.b.send_reply(ok)
        c.a.recv(200)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.assertStats(processed=1, active=1)
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.b.send_reply(ok)
        c.a.recv(200)
        c.ack()
        self.stays(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        c.hangup()
        self.wait_state(c, DELETED)
        c.b.send_reply(ok)
        time.sleep(0.1)
        c.send("ACK", cseq=c.inv.cseq)
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_retransmitted_bye(self):
        c = self.call().setup()
        bye = c.send("BYE")
        req = c.b.recv("BYE")
        self.wait_state(c, DELETED)
        for _ in range(3):
            c.a.send(bye, c.to_proxy)
            time.sleep(0.05)
        c.b.reply(req, 200)
        c.a.recv(200)
        c.a.send(bye, c.to_proxy)
        self.stays(c, DELETED)
        self.assertStats(processed=1)
        c.b.silent(0, lambda m: m.is_request and m.method != "BYE")

    def test_retransmitted_negative_reply(self):
        c = self.call()
        c.ring()
        busy = c.answer(486)
        c.got(486)
        c.b.send_reply(busy)
        c.b.send_reply(busy)
        self.stays(c, DELETED)
        self.assertStats(processed=1, failed=1)


class Crossings(ProxyCase):
    seconds = 20

    def test_cancel_crossing_200(self):
        """The callee answers while the CANCEL is under way: the call is up, the caller hangs up."""
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        c.cancel()
        cancel = c.b.recv("CANCEL")
        c.b.reply(cancel, 481)
        c.answer(200)
        c.got(200)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_cancel_after_200(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.cancel()
        c.got(200)
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_bye_before_ack(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        c.hangup(UP)
        self.wait_state(c, DELETED)
        c.send("ACK", cseq=c.inv.cseq)
        c.b.recv("ACK")
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_caller_bye_overtakes_its_ack(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        bye = c.build("BYE")
        ack = c.build("ACK", cseq=c.inv.cseq)
        c.a.send(bye, c.to_proxy)
        req = c.b.recv("BYE")
        c.a.send(ack, c.to_proxy)
        c.b.recv("ACK")
        c.b.reply(req, 200)
        c.a.recv(lambda m: m.code == 200 and m.method == "BYE")
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_bye_crossing_the_200_of_a_reinvite(self):
        c = self.call().setup()
        c.send("INVITE")
        inv = c.b.recv("INVITE")
        c.b.reply(inv, 200, headers=[["Contact", "<%s>" % c.b_contact]])
        c.send("BYE", UP)
        bye = c.a.recv("BYE")
        c.a.reply(bye, 200)
        ok = c.a.recv(lambda m: m.code == 200 and m.method == "INVITE")
        c.send("ACK", cseq=ok.cseq)
        c.b.recv("ACK")
        c.b.recv(lambda m: m.code == 200 and m.method == "BYE")
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def early_bye(self):
        """The caller gives up by BYE on the early dialog (RFC 3261 15): the call, and its BYE at the callee."""
        c = self.call()
        c.ring()
        c.answer(180)
        c.learn(c.got(180))
        c.send("BYE")
        return c, c.b.recv("BYE")

    def test_bye_crossing_the_200_of_the_invite(self):
        """The callee answers at that moment."""
        c, bye = self.early_bye()
        c.answer(200)
        c.got(200)
        c.b.reply(bye, 481)
        c.a.recv(481)
        c.ack()
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_bye_that_crosses_the_200_of_the_invite_and_is_accepted(self):
        for first in ("INVITE", "BYE"):
            c, bye = self.early_bye()
            if first == "INVITE":
                c.answer(200)
                c.got(200)
            c.b.reply(bye, 200)
            c.a.recv(lambda m: m.code == 200 and m.method == "BYE")
            if first == "BYE":
                c.answer(200)
                c.got(200)
            self.wait_state(c, DELETED)
            c.send("ACK", cseq=bye.cseq - 1)
        self.assertStats(processed=2)

    def test_byes_crossing(self):
        c = self.call().setup()
        c.send("BYE", DOWN)
        c.send("BYE", UP)
        c.b.reply(c.b.recv("BYE"), 200)
        c.a.reply(c.a.recv("BYE"), 200)
        c.a.recv(lambda m: m.code == 200 and m.method == "BYE")
        c.b.recv(lambda m: m.code == 200 and m.method == "BYE")
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_bye_answered_with_an_error(self):
        for n, code in enumerate((481, 408, 500, 403), 1):
            with self.subTest(code=code):
                c = self.call().setup()
                self.wait_state(c, CONFIRMED)
                c.hangup(code=code)
                self.wait_state(c, DELETED)
                self.assertStats(processed=n)

    def test_180_after_200(self):
        c = self.call()
        c.ring()
        ringing = c.answer(180, send=False)
        c.answer(200)
        c.got(200)
        c.b.send_reply(ringing)
        self.stays(c, CONFIRMED_NA)
        self.assertStats(processed=1, active=1)
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_d21_bye_in_an_early_dialog_is_harmless(self):
        """The caller may send BYE on an early dialog (RFC 3261 15). It ends when the INVITE does; nothing
        is logged as critical (the log is checked at the end of the class)."""
        c = self.call()
        c.ring()
        c.answer(180)
        c.learn(c.got(180))
        c.exchange("BYE")
        c.answer(487)
        c.got(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_late_messages_during_linger(self):
        c = self.call().setup()
        c.hangup()
        self.wait_state(c, DELETED)
        c.exchange("INFO", code=481)
        c.exchange("INFO", UP, code=481)
        c.exchange("BYE", UP, code=481)
        c.send("ACK", cseq=c.inv.cseq)
        c.b.recv("ACK")
        _, ok = c.exchange("INVITE", code=200)
        c.send("ACK", cseq=ok.cseq)
        c.b.recv("ACK")
        self.stays(c, DELETED)
        self.assertStats(processed=1)
        self.wait_gone(c)
        c.exchange("BYE", code=481)
        self.assertEqual(self.listed(c), [])
        self.assertStats(processed=1)

    def test_late_cancel(self):
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        c.cancel()
        self.stays(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_200_after_486_of_the_same_branch(self):
        """A confused callee: what it sends after its final answer cannot revive the dialog."""
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        c.answer(200)
        self.stays(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_many_calls_with_everything_at_once(self):
        """Replies, ACKs and BYEs of forty calls in one burst each, through four workers."""
        calls = [self.call() for _ in range(40)]
        for c in calls:
            c.invite()
        for c in calls:
            c.b_inv = c.b.recv("INVITE")
            c.routes_up = c.b_inv.entries("Record-Route")
        for c in calls:
            for code in (100, 180, 183, 200):
                c.answer(code)
        for c in calls:
            c.got(200)
            c.send("ACK", cseq=c.inv.cseq)
            c.send("BYE")
        for c in calls:
            c.b.reply(c.b.recv("BYE"), 200)
            c.a.recv(lambda m: m.code == 200 and m.method == "BYE")
        for c in calls:
            self.wait_state(c, DELETED)
        self.assertStats(processed=40)
