# SPDX-License-Identifier: GPL-2.0-or-later
"""Which requests become dialogs, by which means, and what is left when the script changes its mind."""

import re
import time

from base import CONFIRMED, DELETED, DOWN, UNCONFIRMED, ProxyCase, audit_problems, pv_at, say
from hosts import host

SWITCH = """
	switch ($hdr(X-Do)) {
	case "after":
		record_route();
		create_dialog();
		break;
	case "before":
		create_dialog();
		record_route();
		break;
	case "flag":
		record_route();
		setflag(4);
		break;
	case "both":
		setflag(4);
		create_dialog();
		record_route();
		break;
	case "newtran":
		record_route();
		t_newtran();
		if (create_dialog()) { %(yes)s } else { %(no)s }
		break;
	case "branch":
		create_dialog();
		break;
	case "no-rr":
		create_dialog();
		break;
	case "twice":
		record_route();
		create_dialog();
		if (create_dialog()) { %(yes)s } else { %(no)s }
		break;
	case "sl":
		create_dialog();
		store_dlg_value("k", "left");
		sl_send_reply("404", "No");
		exit;
	case "t":
		create_dialog();
		t_newtran();
		t_reply("480", "No");
		exit;
	case "t-early":
		t_newtran();
		create_dialog();
		t_reply("480", "No");
		exit;
	case "exit":
		record_route();
		create_dialog();
		exit;
	case "drop":
		create_dialog();
		drop;
	case "forward":
		record_route();
		create_dialog();
		forward();
		exit;
	case "flag-sl":
		setflag(4);
		sl_send_reply("404", "No");
		exit;
	case "flag-late":
		record_route();
		t_newtran();
		setflag(4);
		break;
	case "rc":
		record_route();
		if (create_dialog()) { %(yes)s } else { %(no)s }
		break;
	}
""" % {"yes": say("created"), "no": say("refused")}


class CreateInFailureRoute(ProxyCase):
    """create_dialog() in a request route that a failure route calls."""

    seconds = 10
    hooks = {"initial": 'record_route();\n\tif (!is_present_hf("X-Untracked")) create_dialog();', "failure": "route(AGAIN);"}
    options = {"extra": "route[AGAIN] {\n\tif (create_dialog()) { %s } else { %s }\n}\n"
               % (say("again created"), say("again refused"))}

    def test_true_for_a_dialog_that_exists(self):
        for headers, result in ([], "created"), ([["X-Untracked", "1"]], "refused"):
            c = self.call()
            c.ring(headers=headers)
            c.answer(486)
            c.got(486)
            self.said(c, "again " + result)
        self.assertStats(processed=1, failed=1)


class Create(ProxyCase):
    seconds = 25
    params = {"dlg_flag": 4}
    hooks = {
        "initial": SWITCH,
        "branch": 'if ($hdr(X-Do) == "branch") record_route();',
        "seq": 'if (is_method("INVITE")) { if (create_dialog()) { %s } else { %s } }\n%s'
               % (say("reinvite created"), say("reinvite refused"), pv_at("seq")),
    }
    allowed = (host.COMPLAINTS["relay"], host.COMPLAINTS["second transaction"])

    def do(self, what):
        return [["X-Do", what]]

    def complete(self, what):
        c = self.call().setup(headers=self.do(what))
        self.wait_state(c, CONFIRMED)
        self.assertStats(processed=1, active=1)
        self.assertEqual(len(re.findall(r";did=", " ".join(c.b_inv.entries("Record-Route")))), 1)
        c.exchange("INFO")
        self.assertEqual(self.pv(c, "seq", "INFO")["st"], "4")
        c.hangup()
        self.wait_state(c, DELETED)
        return c

    def test_after_record_route(self):
        self.complete("after")

    def test_before_record_route(self):
        self.complete("before")

    def test_by_flag(self):
        self.complete("flag")

    def test_by_flag_and_function(self):
        self.complete("both")

    def test_after_t_newtran(self):
        c = self.complete("newtran")
        self.said(c, "created")

    def test_record_route_in_the_branch(self):
        self.complete("branch")

    def test_twice_is_once(self):
        c = self.complete("twice")
        self.said(c, "created")

    def test_without_record_route(self):
        """Followed to the answer; nothing more can pass here, so the lifetime is what ends it."""
        c = self.call().setup(headers=self.do("no-rr"), ack=False)
        self.assertEqual(c.routes_down, [])
        d = self.wait_state(c, 3)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        for u in (c.a, c.b):
            u.reply(u.recv("BYE"), 200)
        self.wait_state(c, DELETED)

    def test_no_second_dialog_for_a_reinvite(self):
        c = self.call().setup(headers=self.do("rc"))
        self.said(c, "created")
        _, ok = c.exchange("INVITE")
        self.said(c, "reinvite refused")
        c.send("ACK", cseq=ok.cseq)
        c.b.recv("ACK")
        self.dialog(c)
        self.assertStats(processed=1, active=1)
        c.hangup()
        self.wait_state(c, DELETED)

    def vanishes(self, what, code=None, failed=0):
        calls = [self.call() for _ in range(5)]
        for c in calls:
            c.invite(headers=self.do(what))
            if code:
                c.got(code)
        for c in calls:
            if not code:
                c.b.silent(0.05)
        self.wait_until("the dialogs to be gone", lambda: all(
            d.state == DELETED for c in calls for d in self.listed(c)))
        self.assertStats(processed=5, failed=failed)
        self.wait_until("the memory to be free", lambda: not any(self.listed(c) for c in calls), 9)
        self.assertEqual(audit_problems(self.proxy, empty=False), [])

    def test_sl_send_reply_leaves_nothing(self):
        self.vanishes("sl", 404)

    def test_t_reply_fails_the_call(self):
        self.vanishes("t", 480, failed=5)

    def test_t_reply_with_the_transaction_first(self):
        self.vanishes("t-early", 480, failed=5)

    def test_exit_leaves_nothing(self):
        self.vanishes("exit")

    def test_drop_leaves_nothing(self):
        self.vanishes("drop")

    def test_flag_and_stateless_reply_create_nothing(self):
        c = self.call()
        c.invite(headers=self.do("flag-sl"))
        c.got(404)
        self.assertEqual(self.listed(c), [])
        self.assertStats()

    def test_flag_after_the_transaction_creates_nothing(self):
        c = self.call()
        c.ring(headers=self.do("flag-late"))
        self.assertEqual(self.listed(c), [])
        c.answer(486)
        c.got(486)
        self.assertStats()

    def test_stateless_forwarding_leaves_nothing(self):
        c = self.call()
        c.invite(headers=self.do("forward"))
        c.b.recv("INVITE")
        self.wait_until("the dialog to be gone", lambda: not self.listed(c))
        self.assertStats(processed=1)

    def refuse(self, change, want="refused", **kw):
        c = self.call()
        m = c.build_invite(headers=self.do("rc"), **kw)
        change(m)
        c.a.send(m, c.to_proxy)
        self.said(c, want)
        time.sleep(0.05)
        return c

    def test_invite_without_from_tag(self):
        def change(m):
            m.headers = [[n, re.sub(";tag=.*", "", v) if n == "From" else v] for n, v in m.headers]
        c = self.refuse(change)
        c.b.drain(0.1)
        self.assertEqual(self.listed(c), [])
        self.assertStats()

    def test_odd_contacts_make_a_dialog_without_contact(self):
        for contact in ("*", "<sip:a@10.0.0.1>, <sip:b@10.0.0.2>", None):
            with self.subTest(contact=contact):
                c = self.call()
                c.ring(headers=self.do("rc"), contact=contact or False)
                self.said(c, "created")
                self.assertEqual(self.dialog(c)["caller_contact"], "")
                c.answer(486)
                c.got(486)

    def test_broken_record_route_in_the_invite(self):
        c = self.call(upstream=["<sip:10.0.0.1;lr", "junk"])
        c.invite(headers=self.do("rc"))
        self.proxy.wait_log(r"SAY \[%s\] (created|refused)" % re.escape(c.call_id), self.mark)
        for m in c.b.drain(0.1):
            c.b.reply(m, 486, tag=c.ttag)
        time.sleep(0.1)
        for d in self.listed(c):
            self.assertIn(d.state, (UNCONFIRMED, DELETED))
        self.wait_gone(c, 12)

    def test_long_fields(self):
        """Everything long that still fits a datagram."""
        c = self.call(call_id="c" * 3000, from_uri="sip:%s@example.com" % ("a" * 900))
        c.ftag = "f" * 3000
        c.ttag = "t" * 3000
        c.setup(headers=self.do("after"))
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual((d["caller_tag"], d["legs"][0]["callee_tag"]), (c.ftag, c.ttag))
        c.hangup()
        self.wait_state(c, DELETED)


class NoDialog(ProxyCase):
    """Functions and variables without a dialog: false and null, and no more than a debug line."""

    seconds = 8
    hooks = {
        "initial": "\n".join([
            "if (set_dlg_flag(\"1\")) { %s } else { %s }" % (say("set yes"), say("set no")),
            "if (reset_dlg_flag(\"1\")) { %s } else { %s }" % (say("reset yes"), say("reset no")),
            "if (is_dlg_flag_set(\"1\")) { %s } else { %s }" % (say("is yes"), say("is no")),
            "if (store_dlg_value(\"k\", \"v\")) { %s } else { %s }" % (say("store yes"), say("store no")),
            "if (fetch_dlg_value(\"k\", \"$var(x)\")) { %s } else { %s }" % (say("fetch yes"), say("fetch no")),
            "if (validate_dialog()) { %s } else { %s }" % (say("valid yes"), say("valid no")),
            pv_at("initial"),
        ]),
    }

    def test_false_null_and_silent(self):
        c = self.call()
        c.ring()
        for what in ("set", "reset", "is", "store", "fetch", "valid"):
            self.said(c, what + " no")
        pv = self.pv(c, "initial", "INVITE")
        self.assertEqual(pv, {"cnt": "0", "st": "<null>", "life": "<null>", "fl": "<null>", "dir": "<null>",
                              "k": "<null>"})
        c.answer(486)
        c.got(486)
        for line in self.proxy.log_since(self.mark).splitlines():
            if "SAY [" not in line and "PV [" not in line:
                self.assertNotRegex(line, host.ours("WARNING|NOTICE|INFO|ERROR"))


class NoDialogVerbose(NoDialog):
    """The same with the debug lines on."""

    options = {"debug": 3}

    def test_false_null_and_silent(self):
        c = self.call()
        c.ring()
        self.said(c, "store no")
        c.answer(486)
        c.got(486)
        self.proxy.wait_log(host.ours("DEBUG", ".*dialog"), self.mark)
