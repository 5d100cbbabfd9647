# SPDX-License-Identifier: GPL-2.0-or-later
"""Corners that a review found wrong once: transactions made before loose_route(), what crosses the
end of a call, contacts unfit for a request of ours, the proxy's own BYEs in its script."""

import socket

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UP, ProxyCase, say
from faults import NOT_OURS
from hosts import dialect, host
from test_validate import GUARD


class TransactionFirst(ProxyCase):
    """t_newtran() before loose_route(): the request takes effect all the same, once it is relayed."""

    seconds = 8
    hooks = {
        "before_loose": 'if (is_present_hf("X-New")) t_newtran();',
        "seq": say("seq $rm $DLG_status $DLG_dir") + '\tif (is_present_hf("X-No")) { t_reply("404", "No"); exit; }',
    }
    early = (["X-New", "yes"],)

    def up_call(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        return c

    def test_bye(self):
        for n, way in enumerate((DOWN, UP), 1):
            with self.subTest(way=way):
                c = self.up_call()
                c.hangup(way, headers=self.early)
                self.wait_state(c, DELETED)
                self.said(c, "seq BYE 5 %sSTREAM" % way.upper())
                self.assertStats(processed=n)

    def test_refused_bye(self):
        c = self.up_call()
        c.refused("BYE", code=404, headers=[*self.early, ["X-No", "1"]])
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_reinvite(self):
        c = self.up_call()
        moved = c.a.uri("moved")
        last = self.dialog(c)["legs"][0]["caller_cseq"]
        _, ok = c.exchange("INVITE", contact=moved, headers=self.early,
                           reply_headers=[["Contact", "<%s>" % c.b.uri("moved")]])
        c.send("ACK", cseq=ok.cseq, ruri=c.b.uri("moved"))
        c.b.recv("ACK")
        d = self.dialog(c)
        self.assertEqual(d["caller_contact"], moved)
        self.assertEqual(d["legs"][0]["callee_contact"], c.b.uri("moved"))
        self.assertEqual(int(d["legs"][0]["caller_cseq"]), int(last) + 1)
        c.hangup(headers=self.early)
        self.wait_state(c, DELETED)

    def test_usual_order(self):
        c = self.up_call()
        c.hangup()
        self.wait_state(c, DELETED)


SUSPEND = 'if (is_present_hf("X-Async")) { %s exit; }' % dialect(
    kamailio='async_task_route("RESUMED");', opensips="async(usleep(1000), RESUMED);")
RESUMED = dialect(kamailio="async_workers=2\n", opensips="") + "route[RESUMED] {\n\t%s\troute(RELAY);\n\texit;\n}\n"


class Suspended(ProxyCase):
    """Requests that another process goes on with, loose_route() included."""

    seconds = 8
    options = {
        "modules": dialect(kamailio=("async",), opensips=()),
        "extra": RESUMED % (
            "loose_route();\n\t%s\tif (is_present_hf(\"X-No\")) { t_reply(\"404\", \"No\"); exit; }\n"
            % say("resumed $rm $DLG_status $DLG_dir")),
    }
    hooks = {"first": SUSPEND}
    later = (["X-Async", "yes"],)

    def test_bye(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.hangup(UP, headers=self.later)
        self.said(c, "resumed BYE 5 UPSTREAM")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_refused_bye(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.refused("BYE", code=404, headers=[*self.later, ["X-No", "1"]])
        self.stays(c, CONFIRMED)
        c.hangup()

    def test_reinvite(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        moved = c.a.uri("moved")
        _, ok = c.exchange("INVITE", contact=moved, headers=self.later,
                           reply_headers=[["Contact", "<%s>" % c.b_contact]])
        c.send("ACK", cseq=ok.cseq)
        c.b.recv("ACK")
        self.assertEqual(self.dialog(c)["caller_contact"], moved)
        c.hangup(headers=self.later)
        self.wait_state(c, DELETED)


class SuspendedLater(ProxyCase):
    """Requests that had their dialog already when they were suspended."""

    seconds = 8
    options = {
        "modules": Suspended.options["modules"],
        "extra": RESUMED % (
            "if (has_totag()) {\n\t\tif (!validate_dialog()) { t_reply(\"403\", \"Forged\"); exit; }\n"
            "\t} else if (!create_dialog()) {\n\t\tt_reply(\"480\", \"No dialog\");\n\t\texit;\n\t}\n"),
    }
    hooks = {"initial": "record_route();\n\tcreate_dialog();\n\t" + SUSPEND, "seq": SUSPEND}

    def test_call(self):
        c = self.call().setup(headers=Suspended.later)
        self.wait_state(c, CONFIRMED)
        c.exchange("INFO", headers=Suspended.later)
        c.refused("INFO", cseq=1, headers=Suspended.later)
        c.hangup(headers=Suspended.later)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)


class UnknownVia(ProxyCase):
    """Answers are to go where the Via says, and its host cannot be found: tm makes a transaction, and lets go of
    it at once."""

    seconds = 15
    options = {"extra": dialect(kamailio="reply_to_via=yes\n", opensips="")}
    hooks = {"first": dialect(kamailio="", opensips='set_via_handling("reply-to-via");')}
    allowed = (NOT_OURS,)

    def lost(self, c, msg):
        """It goes no further, and tm has forgotten it."""
        msg.headers[0] = ["Via", "SIP/2.0/UDP %s:5060;branch=z9hG4bKlost%s" % ("x" * 300, msg.method)]
        c.a.send(msg, c.to_proxy)
        c.b.silent(0.3)
        self.wait_until("tm to forget it", lambda: not host.transactions(self.proxy), 6)

    def test_invite(self):
        c = self.call()
        self.lost(c, c.build_invite())
        self.wait_gone(c)
        self.assertStats(processed=1, failed=1)

    def test_request_of_a_call(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.lost(c, c.build("INFO"))
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)


class Unreachable(ProxyCase):
    """Who hangs up is gone, even when the proxy cannot send the BYE on: the other one's connection is lost."""

    seconds = 8
    hooks = {"seq": 'if (is_present_hf("X-Away")) $du = "sip:192.0.2.1:5060";'}
    allowed = (host.COMPLAINTS["away"], host.COMPLAINTS["relay"])
    away = (["X-Away", "yes"],)

    def test_bye(self):
        for n, way in enumerate((DOWN, UP), 1):
            with self.subTest(way=way):
                c = self.call().setup()
                self.wait_state(c, CONFIRMED)
                near = c.near(way)
                sent = c.send("BYE", way, headers=self.away)
                near.recv(lambda m, sent=sent: m.code >= 400 and m.cseq == sent.cseq)
                self.wait_state(c, DELETED)
                self.assertStats(processed=n)

    def test_other_requests_end_nothing(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        before = self.dialog(c)["legs"][0]["caller_cseq"]
        sent = c.send("INFO", headers=self.away)
        c.a.recv(lambda m: m.code >= 400 and m.cseq == sent.cseq)
        self.stays(c, CONFIRMED)
        self.assertEqual(self.dialog(c)["legs"][0]["caller_cseq"], before)
        c.hangup()


class NoWay(ProxyCase):
    """The same when tm cannot even make a branch: the other one's host has no address, or the proxy no socket for it."""

    seconds = 15
    hooks = {
        "seq_relay": 'if (is_present_hf("X-Plain")) { if (!t_relay()) sl_reply_error(); exit; }\n'
                     '\tif (is_present_hf("X-Own")) { if (!t_relay()) t_reply("503", "No Way"); exit; }',
        "branch": 'if (is_present_hf("X-Not")) drop;',
    }
    allowed = (host.COMPLAINTS["relay"], host.COMPLAINTS["next hop"], host.COMPLAINTS["away"],
               "no corresponding listening socket")
    nowhere = "sip:x@%s.invalid" % ("x" * 300)  # nobody has to be asked for that
    contacts = (nowhere, "sip:x@[2001:db8::1]", "sip:x@127.0.0.1:5060;transport=tcp")

    def up_call(self, way, contact):
        """Who is called from that side is there."""
        c = self.call()
        if way == UP:
            c.a_contact = contact
        c.ring()
        c.answer(200, contact="<%s>" % contact if way == DOWN else None)
        c.got(200)
        c.ack(ruri=c.b.uri())
        self.wait_state(c, CONFIRMED)
        return c

    def fails(self, c, method, way=DOWN, **kw):
        sent = c.send(method, way, **kw)
        return c.near(way).recv(lambda m: m.code >= 400 and m.cseq == sent.cseq)

    def test_bye(self):
        for way in (DOWN, UP):
            for contact in self.contacts:
                with self.subTest(way=way, contact=contact):
                    c = self.up_call(way, contact)
                    self.fails(c, "BYE", way)
                    self.wait_state(c, DELETED)
        self.assertStats(processed=2 * len(self.contacts))

    def test_first_route(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.fails(c, "BYE", routes=[*c.routes_down, "<%s;lr>" % self.nowhere])
        self.wait_state(c, DELETED)

    def test_without_branch_route(self):
        c = self.up_call(DOWN, self.nowhere)
        self.fails(c, "BYE", headers=[["X-Plain", "1"]])
        self.wait_state(c, DELETED)
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.hangup(headers=[["X-Plain", "1"]])
        self.wait_state(c, DELETED)

    def test_answer_of_the_script(self):
        c = self.up_call(DOWN, self.nowhere)
        code = self.fails(c, "BYE", headers=[["X-Own", "1"]]).code
        self.assertEqual(code, dialect(kamailio=503, opensips=476))  # tm of OpenSIPS does not wait for the script's
        self.wait_state(c, DELETED)

    def test_what_ends_nothing(self):
        c = self.up_call(DOWN, self.nowhere)
        self.fails(c, "INFO")
        c.refused("BYE", headers=[["X-Refuse-T", "403"]])
        self.stays(c, CONFIRMED)
        self.fails(c, "BYE")
        self.wait_state(c, DELETED)

    def test_dropped_by_the_branch_route(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.fails(c, "BYE", headers=[["X-Not", "1"]])
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)


class AnsweredBye(ProxyCase):
    """The script itself says 200 to a BYE: whoever sent it takes the call for ended."""

    seconds = 6

    def answered(self, header):
        for n, way in enumerate((DOWN, UP), 1):
            with self.subTest(way=way):
                c = self.call().setup()
                self.wait_state(c, CONFIRMED)
                c.refused("INFO", way, code=200, headers=[[header, "200"]])
                self.stays(c, CONFIRMED)
                c.refused("BYE", way, code=200, headers=[[header, "200"]])
                self.wait_state(c, DELETED)
                self.assertStats(processed=n)

    def test_stateful(self):
        self.answered("X-Refuse-T")

    def test_stateless(self):
        self.answered("X-Refuse")


class Unfit(ProxyCase):
    """Contacts with bytes that would tear a request line apart, or the proxy (tm looks for the other
    bracket of a ">" at the end, and does not ask whether there is one), count as unknown."""

    seconds = 8

    def end(self, c):
        d = self.dialog(c)
        return self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)

    def test_callee(self):
        for contact in ("<sip:bob@%s;x=\r\n Foo: bar>", "<sip:bob@%s;x= Foo>", "<sip:bob@%s;x=\tFoo>", "sip:bob@%s>", "<sip:b<b@%s>"):
            with self.subTest(contact=contact):
                c = self.call()
                c.ring()
                c.answer(200, contact=contact % c.b.addr)
                c.got(200)
                c.ack(ruri=c.b.uri())
                self.wait_state(c, CONFIRMED)
                self.assertEqual(self.dialog(c)["legs"][0]["callee_contact"], "")
                self.assertEqual(self.end(c), "500 Operation failed\n\n")
                c.a.reply(c.a.recv("BYE"), 200)
                c.b.silent(0.2)  # nothing, and nothing malformed
                self.wait_state(c, DELETED)

    def test_caller(self):
        for contact in ("<sip:alice@%s;x=\r\n Foo: bar>", "sip:alice@%s>"):
            with self.subTest(contact=contact):
                c = self.call()
                c.ring(contact=contact % c.a.addr)
                c.answer(200)
                c.got(200)
                c.ack()
                self.wait_state(c, CONFIRMED)
                self.assertEqual(self.dialog(c)["caller_contact"], "")
                self.assertEqual(self.end(c), "500 Operation failed\n\n")
                c.b.reply(c.b.recv("BYE"), 200)
                c.a.silent(0.2)
                self.wait_state(c, DELETED)


class Crossing(ProxyCase):
    """What was on its way when the proxy ended the call."""

    seconds = 15
    params = {"setup_timeout": 3}
    tm = {"fr_timer": 20000, "fr_inv_timer": 20000}
    hooks = {"seq": GUARD}

    def end(self, c):
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")

    def answer_byes(self, c, callee, tag):
        """Both sides of that leg are told."""
        bye = callee.recv("BYE")
        self.assertEqual((bye.from_tag, bye.to_tag), (c.ftag, tag))
        callee.reply(bye, 200)
        bye = c.a.recv(lambda m: m.is_request and m.method == "BYE" and m.from_tag == tag)
        self.assertEqual(bye.to_tag, c.ftag)
        c.a.reply(bye, 200)

    def test_answer_of_another_branch(self):
        c = self.call()
        carol = c.ua("carol")
        c.ring(headers=[["X-Fork", carol.uri()]])
        inv = carol.recv("INVITE")
        for args in ({"tag": "tagB"}, {"ua": carol, "inv": inv, "tag": "tagC"}):
            c.answer(180, **args)
            c.got(180)
        c.answer(200, tag="tagB")
        c.got(200)
        c.ack()
        self.end(c)
        self.answer_byes(c, c.b, "tagB")
        c.answer(200, ua=carol, inv=inv, tag="tagC")
        c.a.recv(lambda m: m.code == 200 and m.to_tag == "tagC")
        self.answer_byes(c, carol, "tagC")
        carol.reply(carol.recv("CANCEL"), 200)
        self.stays(c, DELETED)
        self.assertStats(processed=1)

    def test_answer_at_the_setup_limit(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        self.assertEqual(self.state(c), EARLY)
        c.got(408, 8)
        cancel = c.b.recv("CANCEL")
        c.answer(200)
        c.a.recv(lambda m: m.code == 200 and m.to_tag == c.ttag)
        self.answer_byes(c, c.b, c.ttag)
        c.b.reply(cancel, 200)
        self.stays(c, DELETED)
        self.assertStats(processed=1, expired=1)

    def test_bye_of_a_party(self):
        """It has the number ours has, and passes validate_dialog()."""
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.end(c)
        ours = c.b.recv("BYE")
        c.b.reply(ours, 200)
        c.a.reply(c.a.recv("BYE"), 200)
        theirs, _ = c.hangup()
        self.assertEqual(theirs.cseq, ours.cseq)
        self.stays(c, DELETED)
        self.assertStats(processed=1)


class LocalStatus(ProxyCase):
    """event_route[tm:local-request] knows the call whose BYE it is."""

    seconds = 6
    options = {"extra": "event_route[tm:local-request] {\n\t%s}\n"
               % say("local $rm $DLG_status $DLG_dir $dlg_val(k) $DLG_flags")}
    hooks = {"initial": 'record_route();\n\tcreate_dialog();\n\t$dlg_val(k) = "v1";\n\tset_dlg_flag("3");'}

    def ends(self, c, status):
        d = self.wait_state(c, status)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        for way in ("UPSTREAM", "DOWNSTREAM"):
            self.said(c, "local BYE %d %s v1 8" % (status, way))
        self.wait_state(c, DELETED)

    def test_acknowledged(self):
        self.ends(self.call().setup(), CONFIRMED)

    def test_before_the_ack(self):
        self.ends(self.call().setup(ack=False), CONFIRMED_NA)


class ForeignText(ProxyCase):
    """Bytes from the wire in the log, in a Request-URI of ours, and in headers of ours."""

    allowed = ("call forge",)
    seconds = 4

    def test_no_line_of_the_log_is_made_by_others(self):
        info = ("INFO sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKforge\r\n"
                "Route: <sip:%s:%d;lr;did=1.1>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
                "Call-ID: forge\r\n 0(1) ERROR: forged\r\nCSeq: 1 INFO\r\nMax-Forwards: 1\r\n"
                "Content-Length: 0\r\n\r\n" % (self.proxy.ip, self.proxy.port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(info.encode(), (self.proxy.ip, self.proxy.port))
            line = self.proxy.wait_log(r"cookie \"1\.1\" is not one of the call forge.*", self.mark).group(0)
        self.assertIn("forge.. 0(1) ERROR: forged, tags", line)

    def test_contact_with_headers(self):
        c = self.call()
        c.ring()
        plain = c.b_contact
        c.answer(200, contact="<%s?Replaces=abc>" % plain)
        c.got(200)
        c.ack()
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual(d["legs"][0]["callee_contact"], plain)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        bye = c.b.recv("BYE")
        self.assertEqual(bye.ruri, plain)
        c.b.reply(bye, 200)
        c.a.reply(c.a.recv("BYE"), 200)

    def test_headers_of_every_request(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        for bad in ("Content-Length: 77", "l: 5", "Via: SIP/2.0/UDP x", "cseq: 1 BYE"):
            got = self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id, bad)
            self.assertEqual(got, "400 Bad parameter\n\n")
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
