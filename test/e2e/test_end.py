# SPDX-License-Identifier: GPL-2.0-or-later
"""dlg_end_dlg: the operator ends a call."""

import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UP, ProxyCase, say
from test_expiry import ByeCase

NOT_FOUND = "404 Requested Dialog not found\n\n"


class End(ByeCase):
    seconds = 20
    params = {"dlg_extra_hdrs": "X-Hint: always\\r\\n"}
    hooks = {"initial": "record_route();\n\tcreate_dialog();"}
    tm = {"fr_timer": 3000}
    always = ("X-Hint: always",)

    def end(self, c, *extra):
        d = self.dialog(c)
        return self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id, *extra)

    def byes(self, c, answer=200):
        out = []
        for ua in (c.a, c.b):
            bye = ua.recv("BYE")
            ua.reply(bye, answer)
            out.append(bye)
        return out

    def up_call(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        return c

    def test_answered_call(self):
        c = self.up_call()
        self.assertEqual(self.end(c), "200 OK\n\n")
        self.assertEqual(self.state(c), DELETED)
        to_caller, to_callee = self.byes(c)
        self.check_bye(c, to_caller, UP, extra=self.always)
        self.check_bye(c, to_callee, DOWN, extra=self.always)
        self.assertStats(processed=1)
        time.sleep(0.6)
        self.assertEqual((c.a.repeats, c.b.repeats), (0, 0))

    def test_before_the_ack(self):
        c = self.call().setup(ack=False)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.assertEqual(self.end(c), "200 OK\n\n")
        self.byes(c)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_d08_d22_twice(self):
        """The second time there is nothing to end: no second pair of BYEs, with whatever CSeq."""
        c = self.up_call()
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), NOT_FOUND)
        to_caller, to_callee = self.byes(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), NOT_FOUND)
        c.a.silent(0.2, "BYE")
        c.b.silent(0, "BYE")
        ended = self.dialog(c)
        self.assertEqual(ended["legs"][0]["caller_cseq"], str(to_callee.cseq))
        self.assertEqual(ended["callee_cseq"], str(to_caller.cseq))

    def test_a_party_hangs_up_at_the_same_time(self):
        c = self.up_call()
        d = self.dialog(c)
        c.send("BYE", cseq=c.inv.cseq + 1)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        c.b.reply(c.b.recv("BYE"), 200)
        time.sleep(0.1)
        for ua in (c.a, c.b):
            for m in ua.drain():
                if m.is_request:
                    ua.reply(m, 481)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_d22_early_call_is_really_ended(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        self.assertEqual(self.state(c), EARLY)
        self.assertEqual(self.end(c), "200 OK\n\n")
        final = c.a.recv(lambda m: m.code >= 300 and m.method == "INVITE")
        c.ack_negative(final)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.b.recv("ACK")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)
        c.a.silent(0.1, "BYE")

    def test_d22_call_without_any_reply_yet(self):
        c = self.call()
        c.ring()
        self.assertEqual(self.end(c), "200 OK\n\n")
        final = c.a.recv(lambda m: m.code >= 300 and m.method == "INVITE")
        c.ack_negative(final)
        self.wait_state(c, DELETED)
        # the callee answers all the same: it must not be left in a call with nobody
        c.answer(180)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.b.recv("ACK")
        self.assertStats(processed=1, failed=1)

    def test_arguments(self):
        c = self.up_call()
        d = self.dialog(c)
        cmd = self.proxy.fifo.cmd
        few = "400 Too few or too many arguments\n\n"
        self.assertEqual(cmd("dlg_end_dlg"), few)
        self.assertEqual(cmd("dlg_end_dlg", d.entry), few)
        self.assertEqual(cmd("dlg_end_dlg", d.entry, d.id, "X-A: b", "more"), few)  # D22
        for bad in ("abc", "-1", "1 2", "0x12"):
            self.assertEqual(cmd("dlg_end_dlg", bad, d.id), "400 Bad parameter\n\n")
        for entry, ident in ((d.entry, d.id + 1), (d.entry ^ 1, d.id), (4096, d.id), (4294967295, d.id), (d.entry, 0)):
            self.assertEqual(cmd("dlg_end_dlg", entry, ident), NOT_FOUND)
        for entry, ident in ((d.entry, "0x12"), ("99999999999999", d.id), (d.entry, 99999999999999)):
            got = cmd("dlg_end_dlg", entry, ident)
            self.assertIn(got, (NOT_FOUND, "400 Bad parameter\n\n"))
        self.stays(c, CONFIRMED)
        c.a.silent(0.05, "BYE")
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertEqual(cmd("dlg_end_dlg", d.entry, d.id), NOT_FOUND)

    def test_d17_extra_headers_with_and_without_line_end(self):
        for given, want in (("X-R: one", ("X-R: one",)),
                            (b'"X-R: one\r\nX-S: two\r\n"', ("X-R: one", "X-S: two")),
                            (b'"X-R: one\r\nX-S: two"', ("X-R: one", "X-S: two"))):
            with self.subTest(given=given):
                c = self.up_call()
                self.assertEqual(self.end(c, given), "200 OK\n\n")
                to_caller, to_callee = self.byes(c)
                self.check_bye(c, to_caller, UP, extra=self.always + want)
                self.check_bye(c, to_callee, DOWN, extra=self.always + want)
                self.wait_state(c, DELETED)

    def test_d17_extra_headers_that_would_break_the_message(self):
        c = self.up_call()
        for bad in (b"no header at all", b": empty name", b'"X-A: 1\r\n\r\nbody"', b'"X-A: 1\r\nrubbish\r\n"',
                    b"X A: blank in the name", b'"X-A: one\n"', b'"X-A: one\nX-B: two\r\n"'):
            with self.subTest(bad=bad):
                got = self.end(c, bad)
                self.assertTrue(got.startswith(("400 ", "500 ")), got)
                self.assertEqual(self.state(c), CONFIRMED)
        c.a.silent(0.1, "BYE")
        c.hangup()

    def test_unanswered_byes(self):
        """Both parties have vanished: the call is over at once all the same."""
        c = self.up_call()
        self.assertEqual(self.end(c), "200 OK\n\n")
        self.assertEqual(self.state(c), DELETED)
        self.assertStats(processed=1)
        self.wait_gone(c, 12)

    def test_nobody_can_be_reached(self):
        c = self.call()
        c.ring(contact=False)
        c.answer(200, contact=False)
        c.got(200)
        got = self.end(c)
        self.assertTrue(got.startswith("500 "), got)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.ack()
        c.hangup(ruri=c.b.uri())
        self.wait_state(c, DELETED)

    def test_one_party_can_be_reached(self):
        c = self.call()
        c.ring(contact=False)
        c.answer(200)
        c.got(200)
        c.ack()
        got = self.end(c)
        self.assertEqual(got, "500 Operation failed\n\n")  # for one of them
        c.b.reply(c.b.recv("BYE"), 200)
        self.wait_state(c, DELETED)


class LocalRoute(ProxyCase):
    """The proxy's own BYEs pass event_route[tm:local-request]."""

    seconds = 8
    options = {"extra": 'event_route[tm:local-request] {\n\t%s\tappend_hf("X-Local: yes\\r\\n");\n}\n' % (
        say("local $rm $DLG_dir $dlg_val(k)"))}
    hooks = {"initial": "record_route();\n\tcreate_dialog();\n\t$dlg_val(k) = \"v1\";"}

    def test_bye_passes_the_local_route(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        for ua in (c.a, c.b):
            bye = ua.recv("BYE")
            self.assertEqual(bye.get("X-Local"), "yes")
            ua.reply(bye, 200)
        self.said(c, "local BYE UPSTREAM v1")
        self.said(c, "local BYE DOWNSTREAM v1")
        self.wait_state(c, DELETED)
