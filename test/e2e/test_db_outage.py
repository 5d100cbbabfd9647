# SPDX-License-Identifier: GPL-2.0-or-later
"""The database goes away, or answers late, under calls: they go on as ever, and afterwards the table is what memory
is, and each counter what the ends of the calls know."""

import os
import sqlite3
import subprocess
import time

from base import CONFIRMED, DELETED, UP
from db import REALTIME, DbCase, over
from faults import Faults, figures
from proxy import TOOLS


class OutageCase(Faults, DbCase):
    seconds = 90
    allowed = (r"database .* is away", r"changes could not be saved", r"could not be written")
    CALLS = 10

    def quick_calls(self):
        """Calls made and ended now; nobody waits for a database (whose time limit is 5 s)."""
        slowest, calls = 0, []
        for _ in range(self.CALLS):
            began = time.monotonic()
            calls.append(self.call().setup(headers=[["X-Val", "born in the outage"], ["X-By", "outage"]]))
            slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 2)
        for c in calls[::2]:
            c.hangup(UP)
            self.wait_state(c, DELETED)
        return calls[1::2]

    def outage(self, leave, come_back):
        self.start_proxy(REALTIME)
        stays, ends = self.call().setup(), self.call().setup()
        for c in (stays, ends):
            self.wait_state(c, CONFIRMED)
        self.assertSaved()
        t = self.traffic(rate=20, talk=(0.5, 4.0))
        time.sleep(1)  # some of them are up when it goes
        leave()
        new = self.quick_calls()
        ends.hangup()
        stays.exchange("INFO", UP, cseq=4711, headers=[["X-Val", "changed in the outage"]])
        time.sleep(7)
        new += self.quick_calls()
        come_back()
        self.assertEqual(t.wait_over(), [])
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, processed=2 * self.CALLS, ended_callee=self.CALLS, ended_caller=1)
        self.assertGreater(len(t.calls), 100)
        saved = self.assertSaved(40)
        self.assertEqual({d["callid"] for d in saved.values()}, {c.call_id for c in new + [stays]})
        for c in new + [stays]:
            c.hangup()
        self.wait_rows(0)


@over("mysql", "postgres")
class ServerOutage(OutageCase):
    def test_frozen(self):
        self.outage(self.db.freeze, self.db.thaw)

    def test_d12_stopped(self):
        """What began in the outage is stored, what ended in it does not come back."""
        self.outage(self.db.stop, self.db.start)

    def test_killed(self):
        self.outage(self.db.kill, self.db.start)

    def test_shutdown_without_it(self):
        """It takes a bounded time, says so, and the next start has everything from the journal."""
        p = self.start_proxy(REALTIME)
        old, gone = self.call().setup(), self.call().setup()
        self.wait_state(gone, CONFIRMED)
        self.assertSaved()
        self.db.stop()
        new = self.quick_calls()
        gone.hangup()
        self.wait_state(gone, DELETED)
        began = time.monotonic()
        p.terminate()
        self.assertLess(time.monotonic() - began, 20)
        self.assertRegex(p.log(), r"journal")
        self.db.start()
        p.resume()
        saved = self.assertSaved()
        self.assertEqual({d["callid"] for d in saved.values()}, {c.call_id for c in new + [old]})
        for c in new + [old]:
            c.hangup()
        self.wait_rows(0)


@over("mysql", "postgres")
class SlowServer(OutageCase):
    """Each answer takes 200 ms to arrive: calls take no notice."""

    seconds = 30
    WAY_MS = 100
    allowed = OutageCase.allowed + ("jsonrpc_dgram_send_data",)  # it asks whether a slow start is over, and gives up

    def test_slow(self):
        relay = subprocess.Popen([os.path.join(TOOLS, "delay"), str(self.WAY_MS * 1000), "127.0.0.1:%d" % self.db.port],
                                 stdout=subprocess.PIPE, text=True)
        self.addCleanup(relay.communicate)
        self.addCleanup(relay.kill)
        url = self.db.url.replace(":%d/" % self.db.port, ":%s/" % relay.stdout.readline().strip())
        self.start_proxy(REALTIME, params={"db_url": url})
        t, began = self.traffic(rate=20, talk=(0.5, 2.0)), time.monotonic()
        new = self.quick_calls()
        time.sleep(2)
        self.sound()
        self.assertEqual(t.wait_over(), [])
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, processed=self.CALLS, ended_callee=self.CALLS // 2)
        self.assertEqual({d["callid"] for d in self.assertSaved(30).values()}, {c.call_id for c in new})
        batches, took = self.change()["db_batches"], time.monotonic() - began
        self.assertGreater(batches, 0)
        self.assertLessEqual(batches, took / (2 * self.WAY_MS / 1000) + 1)  # it is slow, indeed
        for c in new:
            c.hangup()
        self.wait_rows(0, 20)


class LockedSqlite(OutageCase):
    """Another program keeps the file for itself."""

    def lock(self):
        self.other = sqlite3.connect(self.db.url.replace("sqlite://", ""), isolation_level=None)
        self.addCleanup(self.other.close)
        self.other.execute("BEGIN IMMEDIATE")

    def test_locked(self):
        self.outage(self.lock, lambda: self.other.execute("ROLLBACK"))


class RemovedSqlite(OutageCase):
    """Somebody removes the file: it is made again, with all calls."""

    def test_removed(self):
        p = self.start_proxy(REALTIME)
        calls = [self.call().setup() for _ in range(3)]
        for c in calls:
            self.wait_state(c, CONFIRMED)
        self.assertSaved()
        os.unlink(self.db.path)
        calls.append(self.call().setup())
        self.wait_until("the file", lambda: os.path.exists(self.db.path) and not figures(p)["db_queue"])
        self.assertEqual({d["callid"] for d in self.assertSaved().values()}, {c.call_id for c in calls})
        self.assertRegex(p.log(), "away: its file was removed or replaced")
        p.restart(kill=True)
        for c in calls:
            self.wait_state(c, CONFIRMED)
            c.hangup()
        self.wait_rows(0)
