# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to machines: a clock that jumps, no private memory, a network that loses every fifth message, a process
that is killed, a disk that is full, a database that is slow. Calls run under each, and their ends say what they saw.

More of databases that are away, hang, are killed or locked: test_db_outage. Deaths of the whole proxy: test_torture."""

import os
import signal
import sqlite3
import threading
import time
from unittest import mock

import db
from base import CONFIRMED, DELETED, UP
from db import REALTIME, DbCase
from faults import NOT_OURS, SEED, FaultCase, Faults, Shim, TriedProxy, figures, scaled
from hosts import host
from proxy import any_alive
from sip import SLOW
from sipp import Relay


class ClockCase(FaultCase):
    """The time of day jumps. Limits are measured with the monotonic clock: none may come early, none late."""

    shim = True
    seconds = 25
    params = {"default_timeout": 43200, "timeout_avp": "$avp(t)", "setup_timeout": 6, "bye_on_timeout_flag": 6}
    # The timers of Kamailio follow the time of day when it jumps ahead. So that tm is not the first to give up, the
    # jump is shorter than what it allows an INVITE by default (max_inv_lifetime, 180 s).
    tm = {"fr_inv_timer": 175000, "fr_timer": 175000}
    hooks = {"initial": 'if (is_present_hf("X-To")) $avp(t) = $(hdr(X-To){s.int});\n\tsetflag(6);\n\trecord_route();\n'
                        '\tcreate_dialog();'}

    def jump(self, seconds):
        ringing, short, long = self.call(), self.call(), self.call()
        ringing.ring()
        ringing.answer(180)
        ringing.got(180)
        began = time.monotonic()
        short.setup(headers=[["X-To", "4"]])
        answered = time.monotonic()
        long.setup()
        gone = self.call().setup()
        gone.hangup()
        self.wait_state(gone, DELETED)
        t = self.traffic(rate=10, prefix="clock%d" % abs(seconds))
        self.world.shift(seconds)
        time.sleep(1.5)
        for c in (short, long):
            self.assertEqual(self.state(c), CONFIRMED)
        for ua in (short.a, short.b):
            ua.reply(ua.recv("BYE", 6), 200)
        took = time.monotonic() - answered
        self.assertGreater(took, 3.9)
        self.assertLess(took, 4 + 1.6 * SLOW)
        ringing.got(408, 8)
        took = time.monotonic() - began
        self.assertGreater(took, 5.8)
        self.assertLess(took, 6 + 2 * SLOW)
        ringing.b.reply(ringing.b.recv("CANCEL"), 200)
        ringing.answer(487)
        self.assertAlmostEqual(int(self.dialog(long)["timeout"]) - time.time() - seconds, 43200 - took, delta=4)
        self.wait_until("the ended one to be freed", lambda: not self.listed(gone), 3)
        self.assertEqual(self.state(long), CONFIRMED)
        long.hangup()
        self.sound()
        self.assertEqual(t.wait_over(), [])
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, ended_caller=1)  # the long one
        self.assertEqual([self.change()[k] for k in ("ended_setup_timeout", "ended_timeout", "expired")], [1, 1, 2])


class ClockForward(ClockCase):
    def test_two_minutes_forward(self):
        self.jump(150)


class ClockBack(ClockCase):
    def test_a_day_back(self):
        self.jump(-86400)


class ClockHours(ClockCase):
    """Hours ahead, more than what a call has left, and back. What rings at the moment of the jump is the host's: see
    ClockCase; calls that are up, and those that begin afterwards, are ours."""

    JUMPS = scaled((5, 0), (5, 0, -9, 0, 30, -30))  # hours off the true time, one after the other
    LEFT = 4 * 3600

    def test_hours(self):
        stays = self.call().setup(headers=[["X-To", str(self.LEFT)]])
        answered = time.monotonic()
        self.wait_state(stays, CONFIRMED)
        for hours in self.JUMPS:
            self.to_hour(hours, stays, answered)
        stays.hangup()
        self.wait_state(stays, DELETED)

    def to_hour(self, hours, stays, answered):
        short = self.call().setup(headers=[["X-To", "4"]])
        began = time.monotonic()
        self.wait_state(short, CONFIRMED)
        self.world.shift(hours * 3600)
        time.sleep(min(SLOW, 2.5))  # the host follows
        t = self.traffic(rate=15, prefix="hour%d" % abs(hours))
        for c in (short, stays):
            self.assertEqual(self.state(c), CONFIRMED)
        left = int(self.dialog(stays)["timeout"]) - time.time() - hours * 3600
        self.assertAlmostEqual(left, self.LEFT - (time.monotonic() - answered), delta=4)
        for ua in (short.a, short.b):
            ua.reply(ua.recv("BYE", 6), 200)
        took = time.monotonic() - began
        self.assertGreater(took, 3.9)
        self.assertLess(took, 4 + 1.6 * SLOW)
        self.sound()
        self.all_well(t)
        self.assertEqual(self.change()["ended_timeout"], 1)
        self.assertEqual(self.state(stays), CONFIRMED)


class LittlePrivateMemory(FaultCase):
    """2 MB for each process, and listings, values and messages that are as large as they get."""

    pkg = 2
    seconds = 15
    allowed = (NOT_OURS,)
    params = {"profiles_with_value": "big"}
    hooks = {"initial": """record_route();
	create_dialog();
	$dlg_val(a) = $hdr(X-Big);
	$dlg_val(b) = $hdr(X-Big);
	$dlg_val(c) = $hdr(X-Big);
	set_dlg_profile("big", "$hdr(X-Big)");"""}
    CALLS = 60

    def test_large_lists(self):
        t = self.traffic(rate=20)
        big = [self.call().setup(headers=[["X-Big", "%d" % n + "v" * 12000]]) for n in range(self.CALLS)]
        for c in big[::7]:
            self.wait_state(c, CONFIRMED)
        for command, args in (("dlg_list", ()), ("dlg_list_ctx", ()), ("profile_get_values", ("big",)),
                              ("profile_list_dlgs", ("big",)), ("dlg_profiles", ("100",)), ("dlg_page", ("0", "10000"))):
            got = self.proxy.fifo.cmd(command, *args, timeout=20)
            self.assertTrue(got.startswith("200 OK"), got[:100])
            self.rpc(command, *args)
        whole = self.proxy.fifo.cmd("dlg_list_ctx", timeout=20)
        self.assertGreater(whole.count("value:: "), 3 * self.CALLS - 1)
        self.sound()
        for c in big:
            c.hangup()
        self.all_over(t)

    def rpc(self, command, *args):
        """The host builds this reply in private memory: it may fail, and nothing else may."""
        try:
            self.proxy.rpc.call(command, *args, timeout=1)
        except Exception as e:  # noqa: BLE001: whatever the host says or does not say
            self.refused = getattr(self, "refused", []) + [repr(e)[:80]]

    def all_over(self, t):
        t.wait_over()
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, processed=self.CALLS, ended_caller=self.CALLS)
        print("#     answers that the host had no memory for: %d" % len(getattr(self, "refused", [])), flush=True)


class BadNetwork(FaultCase):
    """A fifth of all datagrams is lost and a fifth comes twice, both between the parties and the proxy."""

    seconds = 60
    allowed = (NOT_OURS,)  # replies that come when their transaction is gone
    # tm begins its 12 seconds anew with a 180, which may come late
    params = {"setup_timeout": 24, "ack_timeout": 15}
    tm = {"retr_timer1": 100, "retr_timer2": 800, "fr_timer": 12000, "fr_inv_timer": 12000}
    longest = 30
    RATE, SECONDS = 25, scaled(5, 300)

    def test_a_fifth_lost_and_a_fifth_twice(self):
        t = self.traffic(rate=self.RATE, talk=(0.5, 2.0), idle=True)
        # Kamailio's tm gives up on a CANCEL that is lost on the way to the callee, with or without this module; the
        # caller gets 408 in the end.
        t.tolerated = {"cancel": (408,)}
        # And a transaction is gone wt_timer after its end, so that a refusal whose ACKs were all lost until then stays
        # without one; that of OpenSIPS as well.
        t.unanswered = ("SIP/2.0 4",)
        # Where a script has a failure route, Kamailio's tm repeats a refusal to the caller nearly always: not for one in
        # 12,000 calls, with or without this module.
        t.forgiven = 1 + self.RATE * self.SECONDS // 6000
        relay = Relay(self.proxy.ip, self.proxy, [t.a.port, t.b.port], SEED % 1000000, 20, 20)
        self.addCleanup(lambda: relay.proc.poll() is None and relay.proc.kill())
        t.to = dict(zip(("caller", "callee"), ((self.proxy.ip, p) for p in relay.listen)))
        t.contact = dict(zip(("caller", "callee"), ("%s:%d" % (self.proxy.ip, p) for p in relay.listen)))
        t.go()
        time.sleep(self.SECONDS)
        calls = self.all_well(t, 70)  # where a CANCEL was lost, the callee refuses after 20 s, and insists for 20 s
        network = relay.stop()
        print("#     %d calls, %r" % (calls, network), flush=True)
        self.assertGreater(network["lost"], network["passed"] / 8)
        self.assertGreater(network["doubled"], network["passed"] / 8)
        self.sound()


class WithDatabase(Faults, DbCase):
    """DbCase with the means of FaultCase."""

    shim = False
    seconds = 20

    def begin(self, **kw):
        self.world = Shim() if self.shim else None
        if self.world:
            self.addCleanup(self.world.remove)
        made = type("Tried", (TriedProxy,), {"shim": self.world})
        with mock.patch.object(db, "Proxy", made):
            return self.start_proxy(REALTIME, **kw)


class WorkerKilled(WithDatabase):
    """A host whose worker is killed stops as a whole; the next start has every call, and they go on."""

    allowed = (r"child process|exit|core was not", NOT_OURS)

    def worker(self):
        """A process of the host that takes SIP messages."""
        return host.worker(self.proxy)

    def test_calls_come_back(self):
        p = self.begin()
        t = self.traffic(rate=20, kinds={"victim": 1}, patience=6, prefix="dies")
        time.sleep(2)
        t.pause()
        self.wait_until("no call to be on its way", lambda: not t.setting_up(), 5)
        up = {c.id for c in t.live()}
        self.assertGreater(len(up), 20)
        os.kill(self.worker(), signal.SIGKILL)
        p.proc.wait(70 * SLOW)
        self.assertFalse(any_alive(p.proc.pid))
        self.assertRegex(p.log(), r"(?i)child process .*(exit|signal)")
        bad = [line for line in p.log_problems() if "Sanitizer" in line or "exited by a signal" not in line]
        self.assertEqual(bad, [])
        os.truncate(p.log_path, 0)  # it said what it had to say
        p.resume()
        self.assertEqual({d["callid"] for d in p.fifo.dialogs()}, up)
        self.assertEqual({d.state for d in p.fifo.dialogs()}, {CONFIRMED})
        self.assertSaved()
        left = t.wait_over(20)
        self.assertEqual(left, [])
        self.assertEqual([c for c in t.calls.values() if c.bye_code != 200], [])
        self.wait_rows(0)


class FullDisk(WithDatabase):
    """Journal and SQLite on a disk that is full: calls go on, the operator is told, and nothing is lost. That each
    driver takes it well is tested by test/db/faults_test.c, disk_that_is_full."""

    shim = True
    allowed = (r"database .* is away", r"journal in .*: cannot be written", r"could not be written")

    def journals(self):
        return {name for name in os.listdir(self.proxy.dir) if name.endswith(".journal")}

    def test_full_and_free_again(self):
        """What ended while the journal took nothing does not come back after a crash."""
        self.begin()
        stays, ends = self.call().setup(), self.call().setup()
        for c in (stays, ends):
            self.wait_state(c, CONFIRMED)
        self.assertSaved()
        t, before = self.traffic(rate=15), self.journals()
        self.world.full(1)
        time.sleep(2)
        new = self.call().setup()
        ends.hangup(UP)
        self.wait_state(ends, DELETED)
        self.wait_until("the journal's errors to count", lambda: self.change()["db_journal_errors"] > 0, 5)
        self.assertEqual(self.state(stays), CONFIRMED)
        t.pause()
        self.world.full(0)
        self.all_over(t)
        saved = self.assertSaved(30)
        self.assertEqual({d["callid"] for d in saved.values()}, {stays.call_id, new.call_id})
        self.wait_until("the journal that lacks something to go", lambda: self.journals() - before, 5)
        self.wait_until("nothing of it to stay", lambda: len(self.journals()) == 1, 5)
        self.proxy.restart(kill=True)
        self.assertEqual({d["callid"] for d in self.proxy.fifo.dialogs()}, {stays.call_id, new.call_id})
        for c in (stays, new):
            c.hangup()
        self.wait_rows(0, 20)

    def all_over(self, t):
        self.assertEqual(t.wait_over(), [])
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, processed=1, ended_callee=1)


class SlowDatabase(WithDatabase):
    """Somebody has the file of SQLite for four fifths of the time. A database that hangs, is stopped or killed, or keeps
    a lock for seconds: test_db_outage.ServerOutage, test_db_outage.LockedSqlite."""

    allowed = (r"database .* is away",)

    def hold(self):
        other = sqlite3.connect(self.db.url.replace("sqlite://", ""), isolation_level=None, timeout=5)
        while not self.stopped:
            try:
                other.execute("BEGIN IMMEDIATE")
                self.held += 1
                time.sleep(0.4)
                other.execute("ROLLBACK")
            except sqlite3.OperationalError:
                pass
            time.sleep(0.1)
        other.close()

    def test_slow(self):
        self.begin()
        self.stopped, self.held = False, 0
        slow = threading.Thread(target=self.hold, daemon=True)
        slow.start()
        t = self.traffic(rate=20, talk=(0.5, 1.5))
        time.sleep(4)
        self.sound()
        calls = self.all_well(t)
        self.stopped = True
        slow.join()
        self.wait_rows(0, 20)
        print("#     %d calls, %d batches, the file held %d times" % (
            calls, figures(self.proxy)["db_batches"], self.held), flush=True)
        self.assertGreater(self.held, 3)
