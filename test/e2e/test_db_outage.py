# SPDX-License-Identifier: GPL-2.0-or-later
"""The database goes away under calls: they go on as ever, and afterwards the table is what memory is."""

import sqlite3
import time

from base import CONFIRMED, DELETED, UP
from db import REALTIME, DbCase, over


class OutageCase(DbCase):
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
        leave()
        new = self.quick_calls()
        ends.hangup()
        stays.exchange("INFO", UP, cseq=4711, headers=[["X-Val", "changed in the outage"]])
        time.sleep(7)
        new += self.quick_calls()
        come_back()
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


class LockedSqlite(OutageCase):
    """Another program keeps the file for itself."""

    def lock(self):
        self.other = sqlite3.connect(self.db.url.replace("sqlite://", ""), isolation_level=None)
        self.addCleanup(self.other.close)
        self.other.execute("BEGIN IMMEDIATE")

    def test_locked(self):
        self.outage(self.lock, lambda: self.other.execute("ROLLBACK"))
