# SPDX-License-Identifier: GPL-2.0-or-later
"""Dialogs in a database: what is written when, column by column, in each mode."""

import os
import socket
import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, UP
from db import BYE_ON_TIMEOUT, DELAYED, IN_PATH, NO_DB, REALTIME, SHUTDOWN, DbCase, over


def legs(seen, acked, down, up, refresh=(0, 0), invite=(0, 0)):
    """The column of that name, of a call with one callee."""
    return "%d,%d,%d,%d,0,0,%d,%d,%d,%d,;" % (seen, acked, down, up, *refresh, *invite)


@over("mysql", "postgres", "sqlite")
class Columns(DbCase):
    """A call from its INVITE to its end, and the row after each step."""

    seconds = 30

    def walk(self):
        c = self.call()
        c.ring(headers=[["X-Val", "one"], ["X-Flags", "5"], ["X-Plain", "1"]])
        c.answer(180)
        c.got(180)
        c.answer(200)
        c.got(200)
        self.wait_state(c, CONFIRMED_NA)
        invite = c.inv.cseq
        known = dict(vars="k#one|", script_flags=5, profiles="plain#|")
        self.assertRow(c, state=3, legs=legs(2, 0, invite, 0, invite=(invite, 0)), **known)
        c.ack()
        self.wait_state(c, CONFIRMED)
        self.assertRow(c, legs=legs(2, 1, invite, 0, invite=(invite, 0)), **known)
        return c, known

    def test_realtime(self):
        self.start_proxy(REALTIME)
        self.walk_on(*self.walk())

    def test_delayed(self):
        self.start_proxy(DELAYED, params={"db_update_period": 1})
        self.walk_on(*self.walk())

    def walk_on(self, c, known):
        invite = c.inv.cseq
        # numbers of both sides, and what the script does
        c.exchange("INFO", DOWN, headers=[["X-By", "a#b|c\\d"], ["X-Val", "x|y#z\\"]])
        known.update(vars="k#x\\|y\\#z\\\\|", profiles="by#a\\#b\\|c\\\\d|plain#|")
        self.assertRow(c, legs=legs(2, 1, invite + 1, 0, invite=(invite, 0)), **known)
        c.exchange("INFO", UP, cseq=777, headers=[["X-Unby", "a#b|c\\d"], ["X-Unval", "1"], ["X-Flags", "0"],
                                               ["X-Flag-31", "1"]])
        c.cseq[UP] = 777
        known.update(vars=None, profiles="plain#|", script_flags=2147483648, callee_cseq=777)
        self.assertRow(c, legs=legs(6, 1, invite + 1, 777, invite=(invite, 0)), **known)
        c.exchange("INFO", DOWN, headers=[["X-Val-Hex", "00ff0a7fc3a9e29883"], ["X-Flags", "0"]])
        known.update(vars="hex#\\x00\\xff\\x0a\\x7f\u00e9\u2603|", script_flags=0)
        self.assertRow(c, **known)
        # target refreshes from both sides
        for way in (DOWN, UP):
            moved = c.near(way).uri("moved")
            _, ok = c.exchange("INVITE", way, contact=moved)
            c.send("ACK", way, cseq=ok.cseq)
            c.far(way).recv("ACK")
            if way == DOWN:
                c.a_contact = moved
            else:
                c.b_contact = moved
                known.update(callee_cseq=c.cseq[UP])
        self.assertRow(c, legs=legs(6, 1, invite + 3, 778, (invite + 3, 778), (invite + 3, 778)), **known)
        # what the script refuses itself leaves no trace
        c.refused("INFO", code=404, headers=[["X-Refuse", "404"]])
        self.assertRow(c, caller_cseq=invite + 3, **known)
        c.exchange("INFO", DOWN)
        self.assertRow(c, **known)
        c.hangup(UP)
        self.wait_state(c, DELETED)
        self.wait_no_row(c)

    def test_routes_and_flags(self):
        self.start_proxy(REALTIME)
        c = self.call(from_uri="sip:alice@example.com;x=y", to_uri="sip:bob@example.org;user=phone?h=v")
        c.a_hop, c.b_hop = c.ua("p1"), c.ua("p2")
        c.upstream = ["<sip:%s;lr;a=b>" % c.a_hop.addr, '"d\\"isp" <sip:10.9.9.9;lr>;hp=1']
        c.downstream = ["<sip:10.8.8.8;lr>", "<sip:%s;lr>" % c.b_hop.addr]
        c.setup(headers=[["X-Bye", "1"]])
        self.wait_state(c, CONFIRMED)
        self.assertRow(c, dlg_flags=IN_PATH | BYE_ON_TIMEOUT,
                       caller_route_set=",".join(c.upstream).replace("\\", "\\\\"))
        c.exchange("BYE", DOWN)
        self.wait_no_row(c)

    def test_two_answers_of_one_call(self):
        self.start_proxy(REALTIME)
        c = self.call()
        other = c.ua("carol")
        c.ring(headers=[["X-Fork", other.uri()]])
        inv = other.recv("INVITE")
        c.answer(200)
        c.got(200)
        other.reply(inv, 200, tag="other-tag", headers=[["Contact", "<%s>" % other.uri("car,ol;")]])
        c.a.recv(lambda m: m.code == 200 and m.to_tag == "other-tag")
        c.ack()
        self.wait_state(c, CONFIRMED)
        row = self.assertRow(c)
        n, sock = c.inv.cseq, "udp:" + self.proxy.addr
        contact = other.uri("car,ol;").replace(",", "\\,").replace(";", "\\;")
        self.assertEqual(row["legs"], legs(2, 1, n, 0, invite=(n, 0)) +
                         legs(2, 0, n, 0, invite=(n, 0))[:-1] + "other-tag,%s,,%s,;" % (contact, sock))
        c.hangup()

    def test_only_answered_calls_have_rows(self):
        self.start_proxy(REALTIME)
        calls = [self.call() for _ in range(3)]
        for c in calls:
            c.ring(headers=[["X-Val", "v"], ["X-Plain", "1"]])
        calls[1].answer(180)
        calls[1].got(180)
        calls[2].answer(486)
        calls[2].got(486)
        done = self.call().setup()
        self.wait_row(done)
        self.assertEqual([r["callid"] for r in self.db.rows()], [done.call_id])
        done.hangup()
        self.wait_no_row(done)
        for c in calls[:2]:
            c.answer(486)
            c.got(486)

    def test_delayed_waits_for_its_period(self):
        p = self.start_proxy(DELAYED, params={"db_update_period": 600})
        calls = [self.call().setup() for _ in range(3)]
        short = self.call().setup()
        short.hangup()
        time.sleep(1.5)
        self.assertEqual(self.db.rows(), [])
        self.assertEqual(p.terminate(), [])
        self.assertEqual({r["callid"] for r in self.db.rows()}, {c.call_id for c in calls})
        p.resume()
        self.assertEqual(sorted(d["callid"] for d in p.fifo.dialogs()), sorted(c.call_id for c in calls))

    def test_shutdown_writes_at_exit_only(self):
        p = self.start_proxy(SHUTDOWN)
        c = self.call().setup(headers=[["X-Val", "one"], ["X-Flags", "5"], ["X-By", "v"], ["X-Bye", "1"]])
        short = self.call().setup()
        short.hangup()
        unanswered = self.call()
        unanswered.ring()
        c.exchange("INFO", UP)
        self.wait_state(c, CONFIRMED)
        time.sleep(1.5)
        self.assertEqual(self.db.rows(), [])
        want = self.expected_row(c, vars="k#one|", script_flags=5, profiles="by#v|", callee_cseq=c.cseq[UP],
                                 dlg_flags=IN_PATH | BYE_ON_TIMEOUT)
        left = int(self.dialog(c)["timeout"])
        self.assertEqual(p.terminate(), [])
        rows = self.db.rows()
        self.assertEqual([r["callid"] for r in rows], [c.call_id])
        self.assertAlmostEqual(rows[0].pop("timeout"), left, delta=2)
        rows[0].pop("legs")
        self.assertEqual(rows[0], want)
        # whoever starts has it in memory: a row left behind would revive it after a crash
        p.resume()
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.db.rows(), [])
        c.hangup()


class NoDatabase(DbCase):
    """db_mode 0, the default, leaves every database alone."""

    def test_no_connection_is_opened(self):
        with socket.socket() as trap:
            trap.bind(("127.0.0.1", 0))
            trap.listen()
            trap.setblocking(False)
            p = self.start_proxy(NO_DB, params={"db_url": "mysql://u:p@127.0.0.1:%d/calls" % trap.getsockname()[1]})
            c = self.call().setup(headers=[["X-Val", "one"]])
            c.hangup()
            self.assertEqual(p.terminate(), [])
            self.assertRaises(BlockingIOError, trap.accept)
            self.assertEqual([n for n in os.listdir(p.dir) if "journal" in n or "lock" in n], [])
            p.resume()
            self.assertEqual(p.fifo.dialogs(), [])
