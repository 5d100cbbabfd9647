# SPDX-License-Identifier: GPL-2.0-or-later
"""Flags, values and variables of the dialog, in every kind of route."""

import re
import time

from base import CONFIRMED, DELETED, DOWN, UP, ProxyCase, pv_at, say
from hosts import host

NULL = "<null>"


class Variables(ProxyCase):
    seconds = 15
    hooks = {
        "initial": pv_at("initial-before") + """
	record_route();
	create_dialog();
	$dlg_val(k) = "v1";
	$DLG_flags = 5;
""" + pv_at("initial-after"),
        "after": pv_at("relayed"),
        "before_loose": pv_at("seq-before"),
        "seq": pv_at("seq"),
        "branch": pv_at("branch"),
        "reply": pv_at("reply-$rs"),
        "failure": pv_at("failure"),
        "cancel": pv_at("cancel"),
    }

    def check(self, call, at, method, n=0, **want):
        got = self.pv(call, at, method, n)
        if "life" not in want:
            got.pop("life")
        self.assertEqual(got, want, "at %s" % at)

    def known(self, **kw):
        return dict({"cnt": "0", "st": "1", "fl": "5", "dir": "DOWNSTREAM", "k": "v1"}, **kw)

    def unknown(self, **kw):
        return dict({"cnt": "0", "st": NULL, "life": NULL, "fl": NULL, "dir": NULL, "k": NULL}, **kw)

    def test_the_whole_way_of_a_call(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.check(c, "initial-before", "INVITE", **self.unknown())
        for at in ("initial-after", "branch"):
            self.check(c, at, "INVITE", **self.known(life="0"))
        # the 180 may be here before the worker that forwarded the INVITE is back from sending it
        state = self.pv(c, "relayed", "INVITE")["st"]
        self.assertIn(state, ("1", "2"))
        self.check(c, "relayed", "INVITE", **self.known(st=state, life="0"))
        self.check(c, "reply-180", "INVITE", **self.known(life="0"))
        self.check(c, "reply-200", "INVITE", **self.known(st="2", life="0"))
        self.check(c, "seq", "ACK", **self.known(cnt="1", st="4"))
        for way, name in ((DOWN, "DOWNSTREAM"), (UP, "UPSTREAM")):
            c.exchange("INFO", way)
            n = 0 if way == DOWN else 1
            for at in ("seq", "branch", "reply-200"):
                self.check(c, at, "INFO", n, **self.known(cnt="1", st="4", dir=name))
            c.exchange("OPTIONS", way, code=404)
            self.check(c, "reply-404", "OPTIONS", n, **self.known(cnt="1", st="4", dir=name))
            self.check(c, "failure", "OPTIONS", n, **self.known(cnt="1", st="4", dir=name))
        c.hangup(UP)
        self.check(c, "seq-before", "BYE", **self.unknown(cnt="1"))
        self.check(c, "seq", "BYE", **self.known(cnt="1", st="5", dir="UPSTREAM"))
        self.check(c, "branch", "BYE", **self.known(cnt="1", st="5", dir="UPSTREAM"))
        # the reply may be here before the worker that forwarded the BYE is back from sending it
        count = self.pv(c, "reply-200", "BYE")["cnt"]
        self.assertIn(count, ("0", "1"))
        self.check(c, "reply-200", "BYE", **self.known(cnt=count, st="5", dir="UPSTREAM"))
        self.wait_state(c, DELETED)

    def test_failure_route_of_the_invite(self):
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        self.check(c, "failure", "INVITE", **self.known(life="0"))
        d = self.call()
        d.ring()
        d.answer(180)
        d.got(180)
        d.answer(486)
        d.got(486)
        self.check(d, "failure", "INVITE", **self.known(st="2", life="0"))

    def test_failure_route_run_by_the_timer(self):
        c = self.call()
        c.ring()
        c.got(408, 6)
        self.check(c, "failure", "INVITE", **self.known(life="0"))

    def test_cancel_has_no_dialog_of_its_own(self):
        c = self.call()
        c.ring()
        c.cancel()
        c.got(host.CANCELLED, 6)
        self.pv(c, "cancel", "CANCEL")

    def test_prack_in_an_early_dialog(self):
        c = self.call()
        c.ring()
        c.answer(183)
        c.learn(c.got(183))
        c.exchange("PRACK")
        self.check(c, "seq", "PRACK", **self.known(st="2", life="0"))
        c.answer(486)
        c.got(486)

    def test_lifetime_counts_from_the_answer(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        time.sleep(2.1)
        c.ack()
        self.assertIn(self.pv(c, "seq", "ACK")["life"], ("2", "3"))
        c.hangup()

    def test_count_is_of_answered_calls(self):
        calls = [self.call() for _ in range(3)]
        for c in calls:
            c.setup()
        ringing = self.call()
        ringing.ring()
        ringing.answer(180)
        ringing.got(180)
        calls[0].exchange("INFO")
        self.assertEqual(self.pv(calls[0], "seq", "INFO")["cnt"], "3")
        ringing.answer(486)
        ringing.got(486)
        for c in calls:
            c.hangup()


class Flags(ProxyCase):
    seconds = 10
    hooks = {
        "initial": """record_route();
	create_dialog();
	if (is_dlg_flag_set("3")) { %s } else { %s }
	set_dlg_flag("3");
	set_dlg_flag("0");
	set_dlg_flag("31");
	reset_dlg_flag("0");
	if (is_dlg_flag_set("3")) { %s } else { %s }
""" % (say("first set"), say("first clear"), say("then set"), say("then clear")),
        "branch": 'if (is_method("INVITE") && !has_totag()) set_dlg_flag("10");',
        "reply": 'if (is_method("INVITE") && $rs == 180) { if (set_dlg_flag("11")) { %s } }' % say("reply flag"),
        "failure": 'set_dlg_flag("12");\n' + pv_at("failure"),
        "seq": """
	if (is_present_hf("X-Flags")) $DLG_flags = $(hdr(X-Flags){s.int});
	if (is_present_hf("X-Null")) $DLG_flags = $null;
	if (is_present_hf("X-Text")) $DLG_flags = "abc";
	if (is_present_hf("X-Set")) set_dlg_flag("7");
	if (is_present_hf("X-Reset")) reset_dlg_flag("7");
	if (is_present_hf("X-Copy")) {
		$dlg_val(assigned) = $DLG_flags;
		store_dlg_value("stored", "$DLG_flags");
		store_dlg_value("in $DLG_flags", "x$DLG_flags");
		$dlg_val($DLG_flags) = "name";
	}
	if (is_dlg_flag_set("7")) { %s } else { %s }
""" % (say("seven set $rm"), say("seven clear $rm")) + pv_at("seq"),
    }
    allowed = (host.COMPLAINTS["assignment"],)

    BASE = 1 << 31 | 1 << 3

    def test_d16_flags_are_unsigned(self):
        c = self.call().setup(early=False)
        self.assertEqual(self.pv(c, "seq", "ACK")["fl"], str(self.BASE | 1 << 10))
        self.assertEqual(self.dialog(c)["user_flags"], str(self.BASE | 1 << 10))
        self.said(c, "first clear")
        self.said(c, "then set")
        c.hangup()

    def test_flag_31_in_values_and_arguments(self):
        c = self.call().setup()
        c.exchange("INFO", headers=[["X-Flags", "-2147483648"]])
        c.exchange("INFO", headers=[["X-Copy", "1"]])
        got = dict(v.split(" = ", 1) for n, v in self.dialog(c, "dlg_list_ctx")["context"] if n == "value")
        self.assertEqual(got, {"assigned": "2147483648", "stored": "2147483648", "in 2147483648": "x2147483648",
                               "2147483648": "name"})
        c.hangup()

    def test_flags_live_with_the_dialog(self):
        c = self.call().setup()
        self.said(c, "reply flag")
        c.exchange("INFO", headers=[["X-Set", "1"]])
        self.said(c, "seven set INFO")
        _, ok = c.exchange("INVITE")
        self.said(c, "seven set INVITE")
        c.send("ACK", cseq=ok.cseq)
        c.b.recv("ACK")
        want = self.BASE | 1 << 10 | 1 << 11 | 1 << 7
        self.assertEqual(self.pv(c, "seq", "INVITE")["fl"], str(want))
        self.assertEqual(self.dialog(c)["user_flags"], str(want))
        c.exchange("OPTIONS", UP, headers=[["X-Reset", "1"]])
        self.said(c, "seven clear OPTIONS")
        c.hangup()

    def test_flags_in_the_failure_route(self):
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        self.assertEqual(self.pv(c, "failure", "INVITE")["fl"], str(self.BASE | 1 << 10 | 1 << 12))

    def test_flags_written_as_a_number(self):
        c = self.call().setup()
        for number, want in (("5", "5"), ("0", "0"), ("-1", "4294967295"), ("-2147483648", "2147483648")):
            c.exchange("INFO", headers=[["X-Flags", number]])
            self.assertEqual(self.dialog(c)["user_flags"], want)
        c.exchange("INFO", headers=[["X-Text", "1"]])
        self.assertEqual(self.dialog(c)["user_flags"], "2147483648")
        c.exchange("INFO", headers=[["X-Null", "1"]])
        self.assertEqual(self.dialog(c)["user_flags"], "0")
        c.hangup()


class Values(ProxyCase):
    seconds = 10
    hooks = {
        "initial": """record_route();
	create_dialog();
	store_dlg_value("inv_src_ip", "$si");
	store_dlg_value("account type", "prepaid");
	$dlg_val("quoted") = "one";
	$dlg_val('single') = "two";
	$var(name) = "dyna" + "mic";
	$dlg_val($var(name)) = "three";
	$dlg_val(plain) = $ci;
	if (store_dlg_value("$var(name)2", "x$var(name)y")) { %s }
""" % say("dynamic name stored"),
        "branch": 'if (!has_totag()) $dlg_val(branch) = "yes";',
        "reply": 'if (is_method("INVITE") && $rs == 200 && $DLG_status == 2) store_dlg_value("reply", "$rs");',
        "failure": 'store_dlg_value("failed", "$T_reply_code");\nfetch_dlg_value("failed", "$avp(f)");\n' + say("failure $avp(f)"),
        "seq": """
	switch ($hdr(X-Do)) {
	case "read":
		fetch_dlg_value("inv_src_ip", "$avp(i:2)");
		fetch_dlg_value("account type", "$var(account)");
		%s
		break;
	case "names":
		$var(name) = "dynamic";
		%s
		break;
	case "unknown":
		$var(keep) = "kept";
		if (fetch_dlg_value("nope", "$var(keep)")) { %s } else { %s }
		break;
	case "overwrite":
		$dlg_val(quoted) = "new";
		store_dlg_value("single", "");
		%s
		break;
	case "delete":
		$dlg_val(quoted) = $null;
		%s
		break;
	case "delete-by-null-variable":
		$dlg_val(quoted) = $hdr(Nope);
		%s
		break;
	case "null":
		if (store_dlg_value("plain", "$hdr(Nope)")) { %s } else { %s }
		if (store_dlg_value("never", "$hdr(Nope)")) { %s } else { %s }
		break;
	case "number":
		$dlg_val(number) = 42;
		%s
		break;
	case "long":
		$dlg_val(long) = $hdr(X-Long);
		%s
		break;
	}
""" % (say("ip=$avp(i:2) account=$var(account)"),
       say("names $dlg_val(quoted) $dlg_val('single') $dlg_val(\\\"dynamic\\\") $dlg_val($var(name)) $dlg_val(plain) "
           "$dlg_val(branch) $dlg_val(reply) $dlg_val(dynamic2)"),
       say("unknown true"), say("unknown false $var(keep)"),
       say("overwritten $dlg_val(quoted) [$dlg_val(single)]"),
       say("deleted $dlg_val(quoted)"),
       say("deleted-null $dlg_val(quoted)"),
       say("null-1 yes"), say("null-1 no $dlg_val(plain)"), say("null-2 yes"), say("null-2 no $dlg_val(never)"),
       say("number $dlg_val(number)"),
       say("long $(dlg_val(long){s.len})")),
    }
    allowed = (host.COMPLAINTS["assignment"], r"value.*(long|empty)")

    def ask(self, c, what, way=DOWN, headers=()):
        c.exchange("INFO", way, headers=[["X-Do", what]] + list(headers))

    def test_values_live_with_the_dialog(self):
        c = self.call().setup()
        self.ask(c, "read")
        self.said(c, "ip=%s account=prepaid" % re.escape(self.proxy.ip))
        self.ask(c, "names", UP)
        self.said(c, "names one two three three %s yes 200 xdynamicy" % re.escape(c.call_id))
        _, ok = c.exchange("INVITE", UP, headers=[["X-Do", "names"]])
        c.send("ACK", UP, cseq=ok.cseq)
        c.a.recv("ACK")
        got = dict(v.split(" = ", 1) for n, v in self.dialog(c, "dlg_list_ctx")["context"] if n == "value")
        self.assertEqual(got, {"inv_src_ip": self.proxy.ip, "account type": "prepaid", "quoted": "one", "single": "two",
                               "dynamic": "three", "plain": c.call_id, "branch": "yes", "reply": "200",
                               "dynamic2": "xdynamicy"})
        c.hangup()
        self.wait_state(c, DELETED)

    def test_unknown_name(self):
        c = self.call().setup()
        self.ask(c, "unknown")
        self.said(c, "unknown false kept")
        c.hangup()

    def test_overwrite_and_delete(self):
        c = self.call().setup()
        self.ask(c, "overwrite")
        self.said(c, r"overwritten new \[")
        self.ask(c, "delete")
        self.said(c, "deleted <null>")
        self.ask(c, "delete")
        c.hangup()

    def test_d18_null_stores_nothing(self):
        c = self.call().setup()
        self.ask(c, "null")
        self.said(c, "null-1 no " + re.escape(c.call_id))
        self.said(c, "null-2 no <null>")
        self.assertNotIn("<null>", self.proxy.fifo.cmd("dlg_list_ctx", c.call_id))
        self.ask(c, "delete-by-null-variable")
        self.said(c, "deleted-null <null>")
        c.hangup()

    def test_numbers_are_stored_as_text(self):
        c = self.call().setup()
        self.ask(c, "number")
        self.said(c, "number 42")
        c.hangup()

    def test_long_values(self):
        c = self.call().setup()
        self.ask(c, "long", headers=[["X-Long", "x" * 20000]])
        self.said(c, "long 20000")
        self.assertIn("value:: long = " + "x" * 20000 + "\n", self.proxy.fifo.cmd("dlg_list_ctx", c.call_id))
        c.hangup()

    def test_failure_route(self):
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        self.said(c, "failure 486")
