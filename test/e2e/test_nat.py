# SPDX-License-Identifier: GPL-2.0-or-later
"""Phones behind a NAT, whose Contact the script repairs with nathelper: the other side gets the repaired one."""

from base import CONFIRMED, DELETED, DOWN, UP, ProxyCase
from hosts import needs, only
from sip import uri_of

PRIVATE = "sip:%s@192.168.77.7:5060"
GUARD = """
	if (is_method("INVITE|UPDATE")) fix_nated_contact();
	if (!validate_dialog()) {
		if (!is_method("ACK")) sl_send_reply("403", "Bogus");
		exit;
	}
"""


@needs("nathelper")
class Nat(ProxyCase):
    options = {"modules": ("nathelper",)}
    hooks = {
        "initial": "fix_nated_contact();\n\trecord_route();\n\tcreate_dialog();",
        "seq": GUARD,
        "reply": "fix_nated_contact();",
    }

    def seen(self, ua):
        """The contact of it that the other side gets."""
        return ua.uri()

    def target(self, ua):
        """The Request-URI that it gets."""
        return ua.uri()

    def up_call(self):
        c = self.call()
        c.a_contact, c.b_contact = PRIVATE % "alice", PRIVATE % "bob"
        inv = c.ring(ruri=c.b.uri())
        c.a_contact = uri_of(inv.get("Contact"))
        self.assertEqual(c.a_contact, self.seen(c.a))
        c.answer(200)
        c.got(200)  # learns the contact of the callee
        self.assertEqual(c.b_contact, self.seen(c.b))
        c.ack()
        self.wait_state(c, CONFIRMED)
        return c

    def test_requests_to_the_repaired_contact_fit(self):
        c = self.up_call()
        c.exchange("INFO", UP)
        c.exchange("INFO", DOWN)
        c.hangup(UP)
        self.wait_state(c, DELETED)

    def test_our_byes_go_there(self):
        c = self.up_call()
        d = self.dialog(c)
        self.assertEqual(d["caller_contact"], self.seen(c.a))
        self.assertEqual(d["legs"][0]["callee_contact"], self.seen(c.b))
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        for ua in (c.a, c.b):
            bye = ua.recv("BYE")
            self.assertEqual(bye.ruri, self.target(ua))
            ua.reply(bye, 200)

    def test_a_refresh_is_repaired_as_well(self):
        c = self.up_call()
        moved = c.ua("alice")
        c.exchange("UPDATE", DOWN, ua=moved, contact=PRIVATE % "alice",
                   reply_headers=[["Contact", "<%s>" % (PRIVATE % "bob")]])
        self.wait_until("the new contact", lambda: self.dialog(c)["caller_contact"] == self.seen(moved))
        self.assertEqual(self.dialog(c)["legs"][0]["callee_contact"], self.seen(c.b))
        c.a_contact = self.seen(moved)
        c.exchange("BYE", UP, code=200, to=moved)


@only("kamailio", "an alias in the URI is Kamailio's")
class Alias(Nat):
    """The private address stays, and the URI says besides where it is to be sent."""

    hooks = {
        "initial": "set_contact_alias();\n\trecord_route();\n\tcreate_dialog();",
        "seq": GUARD.replace("fix_nated_contact", "set_contact_alias") + "handle_ruri_alias();",
        "reply": "set_contact_alias();",
    }
    options = {"modules": ("nathelper",), "extra": "event_route[tm:local-request] { handle_ruri_alias(); }"}

    def seen(self, ua):
        return "%s;alias=%s~%d~1" % (PRIVATE % ua.name, ua.ip, ua.port)

    def target(self, ua):
        return PRIVATE % ua.name
