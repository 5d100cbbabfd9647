# SPDX-License-Identifier: GPL-2.0-or-later
"""Which dialog a sequential request belongs to: the cookie, the SIP elements, and forgeries of both."""

import re

from base import CONFIRMED, DELETED, DOWN, UP, ProxyCase, pv_at

NULL = "<null>"


def print_number(n):
    """The digits of a cookie run from the least significant one."""
    return ("%x" % n)[::-1]


class Match:
    """The table of requests; each mode says what it expects."""

    seconds = 25
    hooks = {
        "before_loose": pv_at("before"),
        "seq": pv_at("seq"),
        "seq_relay": """if ($rm != "ACK" && is_present_hf("X-Direct") && $var(lr) < 0) {
		$du = $null;
	}""",
        "reply": pv_at("reply"),
    }
    allowed = (r"\bdialog\b.*cookie",)

    def ask(self, c, way=DOWN, method="INFO", routes=None, answered=True, **kw):
        """$DLG_status and $DLG_dir that the script saw for a request that is relayed in any case."""
        before = len(re.findall(r"PV \[%s\] at=seq m=%s" % (re.escape(kw.get("call_id") or c.call_id), method),
                                self.proxy.log_since(self.mark)))
        kw.setdefault("headers", []).append(["X-Direct", "yes"])
        if answered:
            c.exchange(method, way, routes=routes, **kw)
        else:
            c.send(method, way, routes=routes, **kw)
            c.far(way).recv(method)
        pv = self.pv(kw.get("call_id") or c.call_id, "seq", method, before)
        return pv["st"], pv["dir"]

    def up_call(self):
        c = self.call().setup()
        self.d = self.wait_state(c, CONFIRMED)
        self.route = c.routes_down[0]
        self.assertEqual(len(c.routes_down), 1)
        return c

    def with_cookie(self, text):
        """Our Route with another parameter (text as it is, or none)."""
        bare = re.sub(r";did=[^;>]*", "", self.route)
        return [bare.replace(">", text + ">")]

    def check(self, name, routes, want, c, **kw):
        with self.subTest(route=name):
            self.assertEqual(self.ask(c, routes=routes, **kw)[0], want)

    # what is expected: found by cookie, found by SIP elements, refused although a cookie is there
    cookie = fallback = "4"
    needs_route = True

    def test_cookie_format(self):
        c = self.up_call()
        text = "%s.%s" % (print_number(self.d.entry), print_number(self.d.id))
        m = re.fullmatch(r"<sip:%s:%d;lr;ftag=%s;did=([0-9a-f.]+)>"
                         % (re.escape(self.proxy.ip), self.proxy.port, c.ftag), self.route)
        self.assertTrue(m, self.route)
        self.assertEqual(m.group(1), text)
        self.assertLess(self.d.entry, 4096)
        c.hangup()

    def test_own_cookie_and_its_spellings(self):
        c = self.up_call()
        e, i = print_number(self.d.entry), print_number(self.d.id)
        self.check("own", None, "4", c)
        self.check("upper case", self.with_cookie(";did=%s.%s" % (e.upper(), i.upper())), "4", c)
        self.check("trailing zeros", self.with_cookie(";did=%s0.%s00" % (e, i)), "4", c)
        self.check("own then other", self.with_cookie(";did=%s.%s;did=1.1" % (e, i)), "4", c)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_no_cookie(self):
        c = self.up_call()
        for text in ("", ";did=", ";did", ";did=.", ";did=1.", ";did=.1", ";DID2=1.1"):
            self.check(text, self.with_cookie(text), self.fallback, c)
        c.hangup()

    def test_cookie_of_nobody(self):
        c = self.up_call()
        e, i = self.d.entry, self.d.id
        for entry, ident in ((e, (i + 7777) & 0xffffffff or 1), ((e + 1) % 4096, i), (4096, i), (0xffffffff, 0xffffffff),
                             (e, 0), (0, 0)):
            text = ";did=%s.%s" % (print_number(entry), print_number(ident))
            self.check(text, self.with_cookie(text), self.fallback, c)
        c.hangup()

    def test_d25_malformed_and_oversized_cookies(self):
        c = self.up_call()
        e, i = print_number(self.d.entry), print_number(self.d.id)
        for text in ("abc", "zz.yy", "-1.2", "%s.%s.3" % (e, i), "%s..%s" % (e, i), "%s.%sg" % (e, i), "f" * 40,
                     "%s.%s" % ("f" * 9, i), "%s.%s" % (e, "f" * 9), "%s.%s" % ("1" * 2000, "2" * 2000), "%s,%s" % (e, i),
                     "%s.%s" % (e, "%00"), "....", "0x1.0x2"):
            self.check(text[:30], self.with_cookie(";did=" + text), self.fallback, c)
        c.hangup()

    def test_cookie_of_another_call(self):
        other = self.up_call()
        stolen = self.route
        c = self.up_call()
        self.check("stolen", [stolen], self.fallback, c)
        # A BYE with it may end at most the call whose tags and Call-ID it carries.
        c.exchange("BYE", routes=[stolen])
        self.stays(other, CONFIRMED)
        if self.fallback == "4":
            self.wait_state(c, DELETED)
        else:
            self.stays(c, CONFIRMED)
            c.hangup()
        other.hangup()

    def test_tight_match_always(self):
        c = self.up_call()
        for name, kw in (("to tag", {"ttag": "WRONG"}), ("from tag", {"ftag": "WRONG"}),
                         ("both", {"ftag": "X", "ttag": "Y"}),
                         ("case", {"ttag": c.ttag.upper()}),
                         ("shorter", {"ttag": c.ttag[:-1]}), ("longer", {"ttag": c.ttag + "x"})):
            self.check(name, None, NULL, c, **kw)
        self.check("other Call-ID", None, NULL, c, call_id="other-" + c.call_id)
        self.check("upper-case Call-ID", None, NULL, c, call_id=c.call_id.upper())
        # A BYE that does not match changes nothing.
        c.exchange("BYE", ttag="WRONG")
        self.stays(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_direction_comes_from_the_tags(self):
        c = self.up_call()
        self.assertEqual(self.ask(c), ("4", "DOWNSTREAM"))
        self.assertEqual(self.ask(c, UP), ("4", "UPSTREAM"))
        # the caller's socket, but the tags of the callee
        self.assertEqual(self.ask(c, UP, ua=c.a, ruri=c.b_contact, routes=c.routes_down,
                                  answered=True, to=c.b), ("4", "UPSTREAM"))
        c.hangup()

    def test_no_route_header_at_all(self):
        c = self.up_call()
        want = NULL if self.needs_route else "4"
        self.check("none", [], want, c)
        self.check("none, up", [], want, c, way=UP)
        c.exchange("BYE", routes=[], headers=[["X-Direct", "yes"]])
        if self.needs_route:
            self.stays(c, CONFIRMED)
            c.hangup()
        self.wait_state(c, DELETED)

    def test_route_that_rr_does_not_tell_of(self):
        c = self.up_call()
        want = NULL if self.needs_route else "4"
        self.check("ours without parameters", ["<sip:%s>" % self.proxy.addr], want, c)
        self.check("somebody else's", ["<sip:%s;lr>" % c.b_contact.split("@")[1]], want, c)
        c.hangup()

    def test_ack_without_route(self):
        c = self.call().setup(ack=False)
        c.send("ACK", cseq=c.inv.cseq, routes=[], headers=[["X-Direct", "yes"]])
        c.b.recv("ACK")
        if self.needs_route:
            c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()

    def test_nothing_is_matched_before_loose_route(self):
        c = self.up_call()
        c.exchange("INFO")
        if self.needs_route:
            self.assertEqual(self.pv(c, "before", "INFO")["st"], NULL)
        self.assertEqual(self.pv(c, "seq", "INFO")["st"], "4")
        c.hangup()

    def test_a_lingering_ended_dialog_matches_with_status_5(self):
        c = self.up_call()
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertEqual(self.ask(c)[0], "5")
        self.assertEqual(self.ask(c, UP)[0], "5")
        self.stays(c, DELETED)

    def test_garbage_in_every_place(self):
        """Requests nobody can make sense of: nothing matches, nothing breaks."""
        c = self.up_call()
        for routes in (["<sip:%s;lr;did=%s>" % (self.proxy.addr, "\x7f\x01\xff")], ["<sip:%s;lr;did=\"1.1\">" % self.proxy.addr],
                       [self.route, self.route], ["<sip:%s;lr;ftag=;did=;did=;did=>" % self.proxy.addr]):
            c.send("INFO", routes=routes)
        c.b.drain(0.3)
        self.assertEqual(self.ask(c)[0], "4")
        c.hangup()
        self.wait_state(c, DELETED)


class ByCookie(Match, ProxyCase):
    params = {"dlg_match_mode": 0}
    fallback = NULL


class ByCookieOrElements(Match, ProxyCase):
    params = {"dlg_match_mode": 1}
    needs_route = False


class ByElements(Match, ProxyCase):
    """No cookie is written, none is read."""

    params = {"dlg_match_mode": 2}
    needs_route = False

    def test_cookie_format(self):
        c = self.up_call()
        self.assertNotIn("did=", self.route)
        c.hangup()


class CookieName(ProxyCase):
    params = {"rr_param": "xyz"}
    hooks = {"seq": pv_at("seq")}

    def test_rr_param_names_the_cookie(self):
        c = self.call().setup()
        self.assertRegex(c.routes_down[0], r";xyz=[0-9a-f]+\.[0-9a-f]+>$")
        self.assertNotIn("did=", c.routes_down[0])
        self.wait_state(c, CONFIRMED)
        c.exchange("INFO")
        self.assertEqual(self.pv(c, "seq", "INFO")["st"], "4")
        c.hangup()
        self.wait_state(c, DELETED)


class TwoSockets(ProxyCase):
    """The call comes in on one socket and leaves on another: double Record-Route, two bind addresses."""

    options = {"sockets": 2}
    hooks = {"initial": """$fs = "udp:" + $Ri + ":" + $hdr(X-Out);
	record_route();
	create_dialog();""", "seq": pv_at("seq")}

    def test_both_entries_carry_the_cookie_and_each_side_has_its_socket(self):
        c = self.call()
        out = self.proxy.ports[1]
        c.ring(headers=[["X-Out", str(out)]])
        rr = c.b_inv.entries("Record-Route")
        self.assertEqual(len(rr), 2)
        self.assertEqual(len(set(re.findall(r";did=([^;>]+)", " ".join(rr)))), 1, rr)
        self.assertEqual(len(re.findall(r";did=", " ".join(rr))), 2, rr)
        c.answer(200)
        c.got(200)
        d = self.dialog(c)
        self.assertEqual(d["caller_bind_addr"], "udp:%s:%d" % (self.proxy.ip, self.proxy.port))
        self.assertEqual(d["legs"][0]["callee_bind_addr"], "udp:%s:%d" % (self.proxy.ip, out))
        self.assertEqual((d["caller_route_set"], d["legs"][0]["callee_route_set"]), ("", ""))
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.exchange("INFO")
        c.exchange("INFO", UP)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        for ua, port in ((c.a, self.proxy.port), (c.b, out)):
            bye = ua.recv("BYE")
            self.assertEqual(bye.src, (self.proxy.ip, port))
            self.assertEqual(bye.all("Route"), [])
            ua.reply(bye, 200)
        self.wait_state(c, DELETED)
