# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy goes down at every moment of a call, gracefully or by kill -9, and comes back; then the
parties go on. What each mode promises is kept."""

import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, SLOW, UP
from db import DELAYED, REALTIME, SHUTDOWN, DbCase, over
from test_expiry import ByeCase

# moments of a call at which its dialog must survive; at which there is none; at which the BYE is
# under way, and both is right
ALIVE = ("answered", "acknowledged", "info pending", "reinvite pending", "refreshed", "bye refused")
NONE = ("before", "invited", "ringing", "cancelled", "bye answered", "ended by command")
EITHER = ("bye pending", "callee's bye pending")
EXTRA = "X-Hint: credit expired"


class MissedAck(DbCase):
    """What a row says of the ACK may be old: a call is not ended for that."""

    seconds = 12
    params = dict(DbCase.params, ack_timeout=2)

    def test_an_ack_that_was_not_saved(self):
        p = self.start_proxy(DELAYED, params={"db_update_period": 600})
        c = self.call().setup(ack=False, headers=[["X-Bye", "1"]])
        p.restart()
        self.wait_state(c, CONFIRMED_NA)
        c.ack()
        self.wait_state(c, CONFIRMED)
        p.restart(kill=True)
        self.wait_state(c, CONFIRMED_NA)
        self.stays(c, CONFIRMED_NA, 4)
        c.exchange("INFO", DOWN)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_an_ack_that_comes_late(self):
        p = self.start_proxy(REALTIME)
        c = self.call().setup(ack=False)
        p.restart()
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.stays(c, CONFIRMED, 3)
        c.hangup()

    def test_the_limit_stands_without_a_restart(self):
        self.start_proxy(REALTIME)
        c = self.call().setup(ack=False)
        self.wait_state(c, DELETED, 6)
        self.wait_no_row(c)


@over("mysql", "postgres", "sqlite")
class Restart(DbCase):
    seconds = 50
    params = dict(DbCase.params, dlg_extra_hdrs=EXTRA + "\\r\\n")

    check_bye = ByeCase.check_bye

    # -- before

    def to(self, moment):
        """A call at that moment."""
        c = self.call()
        if moment != "before":
            getattr(self, "to_" + moment.replace(" ", "_").replace("'s", ""))(c)
        return c

    def to_invited(self, c):
        c.ring(headers=[["X-Val", "early"]])

    def to_ringing(self, c):
        c.ring()
        c.answer(180)
        c.got(180)

    def to_cancelled(self, c):
        self.to_ringing(c)
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(487)

    def to_answered(self, c):
        c.setup(ack=False, headers=[["X-Val", "a|b#c\\"], ["X-By", "v#1"], ["X-Plain", "1"], ["X-Flags", "9"]])

    def to_acknowledged(self, c):
        self.to_answered(c)
        c.ack()
        self.wait_state(c, CONFIRMED)

    def to_info_pending(self, c):
        self.to_acknowledged(c)
        c.pending = c.send("INFO", UP, cseq=500, headers=[["X-Val", "pending"], ["X-Unby", "v#1"]])
        c.cseq[UP] = 500
        c.pending_b = c.a.recv("INFO")

    def to_reinvite_pending(self, c):
        self.to_acknowledged(c)
        c.pending = c.send("INVITE", DOWN)
        c.pending_b = c.b.recv(lambda m: m.is_request and m.cseq == c.pending.cseq)

    def to_refreshed(self, c):
        self.to_acknowledged(c)
        for way in (DOWN, UP):
            self.refresh(c, way)

    def to_bye_refused(self, c):
        self.to_acknowledged(c)
        c.refused("BYE", code=403, headers=[["X-Refuse", "403"]])

    def to_bye_pending(self, c):
        self.to_acknowledged(c)
        c.pending = c.send("BYE", DOWN)
        c.b.recv("BYE")

    def to_callee_bye_pending(self, c):
        self.to_acknowledged(c)
        c.pending = c.send("BYE", UP)
        c.a.recv("BYE")

    def to_bye_answered(self, c):
        self.to_acknowledged(c)
        c.hangup(UP)

    def to_ended_by_command(self, c):
        self.to_acknowledged(c)
        d = self.dialog(c)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        c.a.recv("BYE")
        c.b.recv("BYE")

    def refresh(self, c, way):
        moved = c.near(way).uri("moved")
        _, ok = c.exchange("INVITE", way, contact=moved)
        c.send("ACK", way, cseq=ok.cseq)
        c.far(way).recv("ACK")
        if way == DOWN:
            c.a_contact = moved
        else:
            c.b_contact = moved

    # -- after

    def go_on(self, c, moment):
        """What was pending when the proxy went down."""
        if moment in ("invited", "ringing"):  # the new proxy has never seen this call
            c.answer(200)
            c.got(200)
            c.ack()
        elif moment == "answered":
            self.wait_state(c, CONFIRMED_NA)
            c.ack()
        elif moment == "info pending":
            c.a.reply(c.pending_b, 200)
            c.b.recv(200)
        elif moment == "reinvite pending":
            c.b.reply(c.pending_b, 200, headers=[["Contact", "<%s>" % c.b_contact]])
            c.a.recv(lambda m: m.code == 200 and m.cseq == c.pending.cseq)
            c.send("ACK", DOWN)
            c.b.recv("ACK")
        elif moment in EITHER:
            way = DOWN if moment == "bye pending" else UP
            c.exchange("BYE", way, cseq=c.pending.cseq)
            self.wait_until("the dialog to end", lambda: all(d.state == DELETED for d in self.listed(c)))

    def live_on(self, c):
        """A tracked call does all that calls do, but end."""
        self.wait_state(c, CONFIRMED)
        for way in (DOWN, UP):
            c.exchange("INFO", way, headers=[["X-Val", way]])
            self.refresh(c, way)
        d = self.wait_state(c, CONFIRMED)
        self.assertEqual((d["caller_contact"], d["legs"][0]["callee_contact"]), (c.a_contact, c.b_contact))
        self.assertEqual((int(d["legs"][0]["caller_cseq"]), int(d["callee_cseq"])), (c.cseq[DOWN], c.cseq[UP]))

    def end(self, c, way):
        c.hangup(way)
        self.wait_state(c, DELETED)

    # -- comparisons

    def remember(self, calls):
        """What the listing says of these calls."""
        return {c.call_id: self.in_memory()[0][self.dialog(c)["hash"]] for c in calls}

    def up(self):
        return {d["callid"] for d in self.proxy.fifo.dialogs() if d.state < DELETED}

    def all_moments(self, mode, kill):
        p = self.start_proxy(mode)
        calls = {m: self.to(m) for m in ALIVE + NONE + EITHER}
        expiring = self.call().setup(headers=[["X-Bye", "1"], ["X-To", "7"]])
        expiring.exchange("INFO", UP, cseq=300)
        set_up = time.monotonic()
        alive = [calls[m] for m in ALIVE]
        before = self.remember(alive + [expiring])
        p.restart(kill=kill)
        after = self.in_memory()[0]
        must = {c.call_id for c in alive} | {expiring.call_id}
        may = {calls[m].call_id for m in EITHER}
        self.assertLessEqual(must, self.up())
        self.assertLessEqual(self.up(), must | may)
        for d in after.values():
            if d["callid"] in must:
                self.assertEqual(d, before[d["callid"]])
        stats = p.stats()
        self.assertEqual(stats["active"], len(self.up()))
        for moment, c in calls.items():
            self.go_on(c, moment)
        if mode == REALTIME:
            self.assertSaved()
        for c in alive:
            self.live_on(c)
        self.expire(expiring, set_up)
        p.restart(kill=kill)
        self.assertEqual(self.up(), {c.call_id for c in alive})
        for i, c in enumerate(alive):
            self.wait_state(c, CONFIRMED)
            self.end(c, UP if i % 2 else DOWN)
        new = self.call().setup()
        self.wait_state(new, CONFIRMED)
        for c in (calls["before"], calls["bye answered"]):
            self.assertEqual(self.listed(c), [])
        for going_on in (True, False):
            if mode == REALTIME:
                self.assertSaved()
            if going_on:
                self.end(new, DOWN)
        p.restart(kill=kill)
        self.assertEqual(p.fifo.dialogs(), [])

    def expire(self, c, set_up):
        up_again = time.monotonic()
        to_caller, to_callee = c.a.recv("BYE", 14), c.b.recv("BYE")
        took = time.monotonic() - set_up
        self.assertGreater(took, 6)
        self.assertLess(took, max(7, up_again - set_up) + 4 * SLOW)
        self.check_bye(c, to_caller, UP, cseq=301, extra=(EXTRA,))
        self.check_bye(c, to_callee, DOWN, extra=(EXTRA,))
        c.a.reply(to_caller, 200)
        c.b.reply(to_callee, 200)
        self.wait_until("the expired dialog to end", lambda: all(d.state == DELETED for d in self.listed(c)))

    # -- what each mode promises

    def test_realtime_graceful(self):
        self.all_moments(REALTIME, kill=False)

    def test_realtime_kill(self):
        self.all_moments(REALTIME, kill=True)

    def test_delayed_graceful(self):
        self.all_moments(DELAYED, kill=False)

    def test_shutdown_graceful(self):
        self.all_moments(SHUTDOWN, kill=False)

    def test_delayed_kill(self):
        """As of the last period, whatever has happened since."""
        p = self.start_proxy(DELAYED, params={"db_update_period": 1})
        calls = [self.to("acknowledged") for _ in range(4)]
        last = self.assertSaved()
        p.restart(db_update_period=600)
        self.assertEqual(self.in_memory()[0], last)
        calls[0].exchange("INFO", UP, headers=[["X-Val", "later"]])
        calls[1].hangup()
        new = self.to("acknowledged")
        p.restart(kill=True)
        self.assertEqual(self.in_memory()[0], last)
        self.assertEqual(self.in_table()[0], last)
        self.assertEqual(self.listed(new), [])
        self.live_on(calls[2])
        for c in (calls[0], calls[2]):
            self.end(c, UP)
        p.restart()
        self.assertEqual(self.up(), {calls[1].call_id, calls[3].call_id})
        self.assertSaved()

    def test_shutdown_kill(self):
        """All is lost, and nothing older comes back."""
        p = self.start_proxy(SHUTDOWN)
        calls = [self.to("acknowledged") for _ in range(2)]
        p.restart()
        self.assertEqual(self.up(), {c.call_id for c in calls})
        p.restart(kill=True)
        self.assertEqual(p.fifo.dialogs(), [])
        self.assertEqual(self.db.rows(), [])
        calls[0].hangup()  # untracked, but it works
