# SPDX-License-Identifier: GPL-2.0-or-later
"""Memberships end exactly once, whatever ends the call."""

import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, SLOW, UNCONFIRMED, UP, ProxyCase, audit
from hosts import host
from profiles import HOOKS, OPS, ProfileCase, at, ops
from sip import Silence

JOIN = (("set1", "inb"), ("set2", "caller", "alice"), ("set2", "caller", "alice"), ("set2", "trunk", "gw1"))
COUNTS = {"inb": 1, "caller": 2, "trunk": 1}


class EndCase(ProfileCase):
    """Beside the call that ends, another one is in the same profiles with the same values and stays: what
    leaves twice takes its memberships away, and what never leaves is left over."""

    def setUp(self):
        super().setUp()
        self.other = self.call()
        self.other.setup(early=False, headers=ops(*JOIN))
        self.wait_counts(1)

    def tearDown(self):
        if self.other.ok:
            self.wait_counts(1)
            self.other.hangup()
            self.wait_counts(0)

    def counts(self):
        return {p: self.size(p, v) for p, v in (("inb", None), ("caller", "alice"), ("trunk", "gw1"))}

    def wait_counts(self, calls, timeout=3.0):
        want = {p: n * calls for p, n in COUNTS.items()}
        end = time.monotonic() + timeout * SLOW
        while self.counts() != want:
            if time.monotonic() > end:
                self.assertEqual(self.counts(), want)
            time.sleep(0.01)
        self.assertEqual(audit(self.proxy)["members"], 4 * calls)

    def joined(self, headers=()):
        """A call that rings."""
        c = self.call()
        c.ring(headers=ops(*JOIN) + list(headers))
        self.wait_counts(2)
        return c

    def ringing_call(self, headers=()):
        c = self.joined(headers)
        c.answer(180)
        c.got(180)
        return c

    def answered(self, ack=True, headers=()):
        c = self.joined(headers)
        c.answer(200)
        c.got(200)
        if ack:
            c.ack()
            self.wait_state(c, CONFIRMED)
        self.wait_counts(2)
        return c

    def left(self, c):
        """The dialog is over and in nothing, the other one in everything."""
        self.wait_state(c, DELETED)
        self.assertEqual(self.profiles_of(c), [])
        self.wait_counts(1)


class ProfileEnds(EndCase):
    seconds = 30
    tm = {"fr_timer": 2500, "fr_inv_timer": 3000, "wt_timer": 1000}
    hooks = dict(HOOKS, initial=HOOKS["initial"] + """
	switch ($hdr(X-Do)) {
	case "sl":
		sl_send_reply("404", "No");
		exit;
	case "t":
		t_newtran();
		t_reply("480", "No");
		exit;
	case "exit":
		exit;
	case "drop":
		drop;
	case "forward":
		forward();
		exit;
	}
""")

    def test_bye(self):
        for way in (DOWN, UP):
            c = self.answered()
            c.hangup(way)
            self.left(c)

    def test_bye_before_the_ack(self):
        c = self.answered(ack=False)
        c.hangup(ruri=c.b.uri())
        self.left(c)

    def test_bye_without_an_answer(self):
        for code in (481, 408, 500):
            c = self.answered()
            c.hangup(code=code)
            self.left(c)
        c = self.answered()
        c.send("BYE")
        c.b.recv("BYE")
        self.left(c)

    def test_byes_that_cross_and_repeat(self):
        c = self.answered()
        one, two = c.send("BYE", DOWN), c.send("BYE", UP)
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        for ua, sent in ((c.a, one), (c.b, two), (c.a, one)):
            ua.send(sent, c.to_proxy)
        self.left(c)

    def test_rejected(self):
        for early in (False, True):
            for code in (486, 404, 302, 603, 500):
                c = self.ringing_call() if early else self.joined()
                c.answer(code)
                c.got(code)
                self.left(c)

    def test_cancel(self):
        for early in (False, True):
            c = self.ringing_call() if early else self.joined()
            c.cancel()
            if early:
                c.b.reply(c.b.recv("CANCEL"), 200)
                c.answer(487)
            c.got(487 if early else host.CANCELLED, 6)
            self.left(c)

    def test_cancel_that_crosses_the_answer(self):
        """The call is up, and counts until its BYE."""
        c = self.joined()
        c.answer(200)
        c.cancel()
        c.got(200)
        c.ack()
        self.wait_counts(2)
        c.hangup()
        self.left(c)

    def test_no_answer(self):
        c = self.joined()
        c.got(408, 6)
        self.left(c)

    def test_no_final_answer(self):
        c = self.ringing_call()
        c.got(408, 6)
        c.b.reply(c.b.recv("CANCEL"), 200)
        self.left(c)
        c.answer(487)

    def test_answered_by_the_script(self):
        for how, code in (("sl", 404), ("t", 480)):
            c = self.call()
            c.invite(headers=ops(*JOIN) + [["X-Do", how]])
            c.got(code)
            self.assertEqual(self.results(c, 4, "initial"), [(1, "unset")] * 4)
            self.wait_counts(1)

    def test_never_a_transaction(self):
        for how in ("exit", "drop", "forward"):
            c = self.call()
            c.invite(headers=ops(*JOIN) + [["X-Do", how]])
            self.assertEqual(self.results(c, 4, "initial"), [(1, "unset")] * 4)
            if how == "forward":
                c.b_inv = c.b.recv("INVITE")
                c.answer(486)
                c.got(486)
            self.wait_counts(1)
            self.wait_gone(c)

    def test_repeated_invite_joins_once(self):
        c = self.joined()
        for _ in range(5):
            c.resend_invite()
        time.sleep(0.2)
        self.assertEqual(self.counts(), {p: 2 * n for p, n in COUNTS.items()})
        c.answer(486)
        c.got(486)
        self.left(c)

    def test_repeated_invite_that_the_script_answers_itself(self):
        """Each time a dialog is made, joins, and is gone with the message."""
        c = self.call()
        c.a.keep_repeats = True
        for _ in range(5):
            c.invite(headers=ops(*JOIN) + [["X-Do", "sl"]], branch="z9hG4bKsame")
            try:
                c.got(404, 0.5)
            except Silence:  # the worker that answered was not through with its script yet, so this one was stopped
                c.resend_invite()
                c.got(404)
        self.wait_counts(1)
        self.wait_gone(c)

    def test_dlg_end_dlg(self):
        for ack in (True, False):
            c = self.answered(ack)
            d = self.dialog(c)
            self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
            self.left(c)
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE"), 200)
            self.left(c)

    def test_dlg_end_dlg_of_an_early_call(self):
        for early in (False, True):
            c = self.ringing_call() if early else self.joined()
            d = self.dialog(c)
            self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
            c.ack_negative(c.a.recv(lambda m: m.code >= 300))
            self.left(c)
            if early:
                c.b.reply(c.b.recv("CANCEL"), 200)
            c.answer(487)

    def test_dlg_end_dlg_that_reaches_nobody(self):
        """The call goes on, and so do its memberships."""
        c = self.call()
        c.ring(headers=ops(*JOIN), contact=False)
        c.answer(200, contact=False)
        c.got(200)
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "500 Operation failed\n\n")
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "trunk", "nobody"), "200 OK\nended:: 0\nfailed:: 0\n\n")
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.wait_counts(2)
        c.hangup(ruri=c.b.uri())
        self.left(c)

    def test_dlg_end_dlg_that_reaches_one(self):
        c = self.joined()
        c.answer(200, contact=False)
        c.got(200)
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "500 Operation failed\n\n")
        c.a.reply(c.a.recv("BYE"), 200)
        self.left(c)

    def test_profile_end_dlgs(self):
        a, b, c, d = self.answered(), self.call(), self.call(), self.call()
        b.ring(headers=ops(("set2", "trunk", "gw2"), ("set2", "trunk", "gw2"), ("set1", "outb")))
        b.answer(180)
        b.got(180)
        c.setup(headers=ops(("set2", "trunk", "gw2"), ("set1", "outb")))
        d.setup(headers=ops(("set2", "trunk", "gw3")))
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "trunk", "gw2"), "200 OK\nended:: 2\nfailed:: 0\n\n")
        b.ack_negative(b.a.recv(lambda m: m.code >= 300))
        b.b.reply(b.b.recv("CANCEL"), 200)
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        for x in (b, c):
            self.wait_state(x, DELETED)
        for x in (a, d, self.other):
            self.assertEqual(self.state(x), CONFIRMED)
        self.assertEqual((self.size("trunk", "gw2"), self.size("trunk"), self.size("outb")), (0, 3, 0))
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "trunk", "gw2"), "200 OK\nended:: 0\nfailed:: 0\n\n")
        self.assertEqual(self.proxy.fifo.cmd("profile_end_dlgs", "trunk"), "200 OK\nended:: 3\nfailed:: 0\n\n")
        for x in (a, d, self.other):
            for ua in (x.a, x.b):
                ua.reply(ua.recv("BYE"), 200)
            self.wait_state(x, DELETED)
        self.wait_counts(0)
        self.other.ok = None  # ended, too

    def test_a_leg_that_hangs_up_while_another_talks(self):
        """Two callees answered: the call is over with the second BYE."""
        c = self.call()
        carol = c.ua("carol")
        c.ring(headers=ops(*JOIN) + [["X-Fork", carol.uri()]])
        other = carol.recv("INVITE")
        tag = c.ttag  # two workers may relay the answers in either order
        c.answer(200)
        c.answer(200, ua=carol, inv=other, tag="second")
        c.got(200)
        c.a.recv(200)
        for t, ua in ((tag, c.b), ("second", carol)):
            c.send("ACK", cseq=c.inv.cseq, ttag=t, ruri=ua.uri())
            ua.recv("ACK")
        self.wait_state(c, CONFIRMED)
        self.wait_counts(2)
        c.exchange("BYE", ttag=tag, ruri=c.b.uri(), to=c.b)
        self.wait_state(c, CONFIRMED)
        self.wait_counts(2)
        c.exchange("BYE", ttag="second", ruri=carol.uri(), to=carol)
        self.left(c)

    def test_late_messages(self):
        """After the end nothing joins, leaves or revives."""
        c = self.ringing_call()
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(487)
        self.left(c)
        c.answer(200)
        c.answer(180)
        c.send("INFO", headers=ops(*JOIN), routes=list(reversed(c.routes_up)), ruri=c.b.uri())
        self.assertEqual(self.results(c, 4, "seq"), [(-1, "unset")] * 4)
        self.wait_counts(1)


class ProfileKept(EndCase):
    """What does not end a call does not end its memberships."""

    seconds = 12
    hooks = dict(HOOKS, seq='if (is_method("BYE") && is_present_hf("X-Check") && !validate_dialog()) {\n'
                            '\tsl_send_reply("403", "Forged");\n\texit;\n}\n' + at("seq"))

    def test_refused_byes(self):
        c = self.answered()
        for headers, code in (([["X-Refuse", "403"]], 403), ([["X-Refuse-T", "500"]], 500)):
            for way in (DOWN, UP):
                c.refused("BYE", way, code=code, headers=headers)
                self.wait_counts(2)
        c.send("BYE", headers=[["X-Drop", "1"]])
        c.b.silent(0.1, "BYE")
        self.wait_counts(2)
        c.hangup()
        self.left(c)

    def test_forged_byes(self):
        c = self.answered()
        c.refused("BYE", cseq=1 if c.inv.cseq > 1 else 0, headers=[["X-Check", "1"]])
        c.refused("BYE", ruri="sip:mallory@127.0.0.1:9", headers=[["X-Check", "1"]])
        for kw in ({"ttag": "wrong"}, {"ftag": "wrong"}, {"call_id": "wrong" + c.call_id}):
            c.send("BYE", **kw)
            c.b.reply(c.b.recv("BYE"), 481)
        self.assertEqual(self.state(c), CONFIRMED)
        self.wait_counts(2)
        c.hangup()
        self.left(c)

    def test_refused_bye_unsets_what_the_script_said(self):
        """Operations of the script take effect at once, whatever becomes of the request."""
        c = self.answered()
        c.refused("BYE", headers=[["X-Refuse", "403"]] + ops(("unset1", "inb"), ("set1", "outb")))
        self.assertEqual(self.profiles_of(c), ["outb = ", "trunk = gw1", "caller = alice", "caller = alice"])
        c.hangup()
        self.left(c)
        self.assertEqual(self.size("outb"), 0)

    def test_failed_requests_within(self):
        c = self.answered()
        for code in (481, 408, 500):
            c.exchange("INFO", code=code)
        _, rpl = c.exchange("INVITE", code=488)
        c.ack_negative(rpl, c.build("INVITE", cseq=rpl.cseq, branch=rpl.branch))
        self.wait_counts(2)
        c.hangup()
        self.left(c)

    def test_failed_branch_of_a_fork(self):
        c = self.call()
        carol = c.ua("carol")
        c.ring(headers=ops(*JOIN) + [["X-Fork", carol.uri()]])
        other = carol.recv("INVITE")
        c.answer(486)
        self.wait_counts(2)
        self.assertIn(self.state(c), (UNCONFIRMED, EARLY))
        carol.reply(other, 486, tag="other")
        c.got(486)
        self.left(c)


class ProfileLifetimes(EndCase):
    """Limits in time. Each class of calls has its own; the other call lives on by sequential requests."""

    seconds = 15
    params = dict(ProfileCase.params, default_timeout=60, setup_timeout=2, ack_timeout=2, timeout_avp="$avp(life)",
                  bye_on_timeout_flag=6)
    tm = {"fr_timer": 8000, "fr_inv_timer": 12000}
    hooks = dict(HOOKS, initial='if (is_present_hf("X-Life")) $avp(life) = $(hdr(X-Life){s.int});\n\t'
                                'if (is_present_hf("X-Bye")) setflag(6);\n\t' + HOOKS["initial"])
    longest = 20

    def test_lifetime(self):
        silent = self.answered(headers=[["X-Life", "2"]])
        self.wait_state(silent, DELETED, 6)
        self.left(silent)

    def test_lifetime_with_byes(self):
        c = self.answered(headers=[["X-Life", "1"], ["X-Bye", "1"]])
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE", 6), 200)
        self.left(c)

    def test_lifetime_with_byes_that_nobody_answers(self):
        c = self.answered(headers=[["X-Life", "1"], ["X-Bye", "1"]])
        c.a.recv("BYE", 6)
        c.b.recv("BYE")
        self.left(c)

    def test_setup_timeout(self):
        for early in (False, True):
            c = self.ringing_call() if early else self.joined()
            c.got(408, 6)
            self.left(c)
            if early:
                c.b.reply(c.b.recv("CANCEL"), 200)
            c.answer(487)

    def test_ack_timeout(self):
        c = self.answered(ack=False)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.wait_state(c, DELETED, 6)
        self.left(c)


class ProfileFlag(EndCase):
    """Dialogs by dlg_flag: they join behind t_newtran() only, in branch and reply routes too."""

    seconds = 8
    params = dict(ProfileCase.params, dlg_flag=4)
    hooks = dict(HOOKS, initial="record_route();\n\tsetflag(4);\n\tt_newtran();\n\t" + at("initial"))
    options = {"extra": OPS}

    def test_flag(self):
        c = self.answered()
        c.hangup()
        self.left(c)
        d = self.joined()
        d.answer(486)
        d.got(486)
        self.left(d)


class ProfileSlowScript(EndCase):
    """The script takes its time between create_dialog() and t_relay(), and the caller repeats the INVITE
    meanwhile: another worker runs the script for the same call."""

    seconds = 8
    hooks = dict(HOOKS, initial="""record_route();
	create_dialog();
	usleep("300000");
	if (is_present_hf("X-Limit")) {
		if (!set_dlg_profile_limit("outb", "1")) {
			sl_send_reply("486", "Full");
			exit;
		}
	}
	""" + at("initial"))

    def repeated(self, headers):
        c = self.call()
        c.invite(headers=headers)
        time.sleep(0.1 * SLOW)
        c.resend_invite()
        c.b_inv = c.b.recv("INVITE")
        c.routes_up = c.b_inv.entries("Record-Route")
        time.sleep(0.5 * SLOW)  # the second worker is through as well
        return c

    def test_a_repeated_invite_joins_once(self):
        c = self.repeated(ops(*JOIN))
        self.assertEqual(self.counts(), {p: 2 * n for p, n in COUNTS.items()})
        c.answer(486)
        c.got(486)
        self.left(c)

    def test_a_repeated_invite_is_not_refused_for_its_own_call(self):
        c = self.repeated([["X-Limit", "1"]])
        c.a.silent(0.1, 486)
        self.assertEqual(self.size("outb"), 1)
        c.answer(200)
        c.got(200)
        c.ack()
        c.hangup()
        self.wait_size(0, "outb")


class NoProfiles(ProxyCase):
    """Without any profile defined nothing is different, and every name is unknown."""

    seconds = 5
    hooks = {"initial": 'record_route();\n\tcreate_dialog();\n\t$var(p) = "inb";\n\tset_dlg_profile("$var(p)");'}

    def test_calls(self):
        c = self.call().setup()
        self.proxy.wait_log('WARNING.*set_dlg_profile: there is no profile "inb"', self.mark)
        self.assertEqual(self.proxy.fifo.cmd("list_all_profiles"), "200 OK\n\n")
        self.assertEqual(self.proxy.fifo.cmd("dlg_profiles", 10), "200 OK\n\n")
        self.assertEqual(self.proxy.fifo.cmd("profile_get_size", "inb"), "404 Profile not found\n\n")
        c.hangup()
        self.wait_state(c, DELETED)
