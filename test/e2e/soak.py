#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hours of random calls: values, profiles, cancelled, refused and ended ones, over many plain ones by a program in C;
every command ten times in a second; database and proxy are restarted. At the end memory must be flat, each counter
exact and the log clean.

As a program: `make soak`. Environment, in brackets what test_soak has in its place: SOAK_SECONDS 3600 (20), SOAK_RATE
of the random calls, in a second, 20; SOAK_LOAD of the plain ones "half" of what a short calibration finds possible
(20), SOAK_DB mysql, postgres or sqlite (sqlite), SOAK_LIFE seconds between two restarts of the proxy, 600, SOAK_CSV the
file of memory figures build/soak/memory.csv (build/soak/short.csv), FAULTS_SEED."""

import collections
import csv
import glob
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from base import DELETED, audit  # noqa: E402
from db import INITIAL, OPS, REALTIME, VALIDATE, DbCase  # noqa: E402
from faults import Faults, figures  # noqa: E402
from hosts import host  # noqa: E402
from proxy import ROOT, TOOLS  # noqa: E402
from sip import SLOW  # noqa: E402
from traffic import Traffic  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
RATE = float(os.environ.get("SOAK_RATE", "20"))
LOAD = os.environ.get("SOAK_LOAD", "20")
LIFE = float(os.environ.get("SOAK_LIFE", "600"))
CSV = os.environ.get("SOAK_CSV", os.path.join(ROOT, "build", "soak", "short.csv"))
KINDS = {"talk": 5, "modify": 2, "cancel": 2, "busy": 1, "victim": 1}
COLUMNS = ("seconds", "life", "dialogs", "memory_bytes", "memory_pieces", "memory_held", "shm_used", "private_kb", "db_queue",
           "db_journal_bytes")
FLAT = {"memory_held": 1 << 20, "private_kb": 1024}  # what may come on top in one life under load, beside 5 %
REST = 1 << 18  # bytes of shared memory that a life may leave behind at rest, beside a quarter of what the module holds


def private_kb(group):
    """Memory that the processes of the group have for themselves."""
    total = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            if int(open(path).read().rpartition(")")[2].split()[2]) != group:
                continue
            for line in open(os.path.dirname(path) + "/status"):
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
        except (OSError, IndexError):
            continue
    return total


def slope(points):
    """Least squares: units per second."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    var = sum((x - mx) ** 2 for x, _ in points)
    return sum((x - mx) * (y - my) for x, y in points) / var if var else 0.0


class Load:
    """Plain calls, more than ends in Python could play: see test/bench/load.c, which does not begin one before it has
    its place, repeats what is not answered, and waits for the last one to end."""

    def __init__(self, proxy, *how):
        self.proc = subprocess.Popen([os.path.join(TOOLS, "load"), "-b", "0", *how, proxy.addr], stdout=subprocess.PIPE,
                                     text=True)

    def result(self):
        return json.loads(self.proc.communicate(timeout=60 * SLOW)[0].splitlines()[-1])

    def end(self):
        self.proc.terminate()
        return self.result()

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.communicate()


class Watch(threading.Thread):
    """Asks everything all the time, ends the victims, and writes down the memory."""

    COMMANDS = (("dlg_list",), ("dlg_list_ctx",), ("dlg_page", "0", "50"), ("dlg_stats",), ("dlg_audit",), ("dlg_profiles", "10"),
                ("list_all_profiles",), ("profile_get_size", "by"), ("profile_get_size", "by", "v1"), ("profile_get_values", "by"),
                ("profile_list_dlgs", "by", "v2"), ("profile_end_dlgs", "by", "nobody"), ("which",),
                ("get_statistics", "dialog:"), ("dlg_end_dlg", "0", "1"))
    EVERY = 0.1

    def __init__(self, soak, rng):
        super().__init__(daemon=True)
        self.soak, self.rng, self.stopped, self.error = soak, rng, False, None
        self.asked = self.rounds = self.late = self.sweep = 0
        self.quiet = False
        self.lock = threading.Lock()  # held while a command runs: pause() waits for it

    def run(self):
        try:
            next_sample = due = 0
            while not self.stopped:
                time.sleep(max(due - time.monotonic(), 0.001))
                due = time.monotonic() + self.EVERY
                with self.lock:
                    if self.quiet:
                        continue
                    self.ask()
                    self.late += time.monotonic() > due
                    if self.soak.loaded_now and time.monotonic() >= next_sample:
                        next_sample = time.monotonic() + max(0.5, SECONDS / 3600)
                        self.soak.sample()
        except BaseException as e:
            self.error = e
            raise

    def ask(self):
        """All of them once, and an end for some victim."""
        fifo = self.soak.proxy.fifo
        for command in self.COMMANDS:
            got = fifo.cmd(*command, timeout=20)
            self.asked += 1
            if not got.startswith(("200 OK", "404 ")):
                raise AssertionError("%r: %r" % (command, got[:200]))
        self.rounds += 1
        if time.monotonic() > self.sweep:  # by the clock: with many calls a round takes its time, and victims wait
            fifo.cmd("profile_end_dlgs", "by", "victim", timeout=20)
            self.sweep = time.monotonic() + self.rng.uniform(1, 30)
        elif self.rng.random() < 0.3:
            victims = [d for d in fifo.dialogs("by", "victim", command="profile_list_dlgs") if d.state in (3, 4)]
            if victims:
                d = self.rng.choice(victims)
                fifo.cmd("dlg_end_dlg", d.entry, d.id, timeout=20)

    def pause(self):
        with self.lock:
            self.quiet = True

    def go(self):
        self.quiet = False


class Soak(Faults, DbCase):
    kind = os.environ.get("SOAK_DB", "sqlite")
    seconds = 45
    allowed = (r"database .* is away",)
    options = {"shm": 512, "debug": 1}
    tm = {"fr_timer": 20000, "fr_inv_timer": 30000}  # what is late on a busy machine is not lost
    # On a busy machine an ACK comes a second time when there has been another INVITE: it fits no more.
    hooks = dict(DbCase.hooks, initial=INITIAL + 'if ($ua == "load") { set_dlg_profile("by", "load"); $dlg_val(k) = $fu; }',
                 seq='if (!is_method("ACK")) {' + VALIDATE + '}' + OPS)

    def setUp(self):
        super().setUp()
        # A sanitizer keeps what was freed for a while, by default 256 MB of it: that is not growth.
        os.environ.setdefault("ASAN_OPTIONS",
                              "detect_leaks=0:halt_on_error=1:abort_on_error=1:quarantine_size_mb=1")

    def headers(self, c):
        rng = self.rng
        out = ["X-By: " + ("victim" if c.kind == "victim" else "v%d" % rng.randrange(5))]
        if rng.random() < 0.5:
            out.append("X-Val: " + "x" * rng.choice((0, 1, 30, 300, 3000)))
        if rng.random() < 0.5:
            out.append("X-Plain: 1")
        if rng.random() < 0.3:
            out.append("X-Flags: %d" % rng.getrandbits(31))
        return out

    def sample(self):
        f = figures(self.proxy)
        row = dict({k: f[k] for k in COLUMNS if k in f}, seconds=round(time.monotonic() - self.began, 1), life=self.life,
                   dialogs=sum(f[k] for k in ("unconfirmed", "early", "confirmed_na", "confirmed", "deleted")),
                   shm_used=self.proxy.shm_used(), private_kb=private_kb(self.proxy.proc.pid))
        self.samples.append(row)
        self.csv.writerow([row[k] for k in COLUMNS])
        self.csv_file.flush()

    def at_rest(self):
        """Shared memory in use when no transaction is left, beside what the module holds. In place of what is in use under load:
        Kamailio's allocator gives more than what was asked for (up to twice as much, or 16 kB) where that spares it a
        split, and does so the more often the longer it runs. Hence a quarter for what the module holds in blocks."""
        self.wait_until("all transactions to be gone", lambda: host.transactions(self.proxy) == 0, 60)
        held = figures(self.proxy)["memory_held"]
        return self.proxy.shm_used() - held, held

    def verdict(self):
        """What grew, life by life; calls need some time until as many end as begin."""
        bad = ["life %d: %d bytes are left at rest" % (life, left) for life, (left, held) in enumerate(self.left)
               if left > REST + held / 4]
        print("#     left at rest by each life: %s bytes" % ", ".join("%+d" % left for left, _ in self.left), flush=True)
        for life in sorted({r["life"] for r in self.samples}):
            rows = [r for r in self.samples if r["life"] == life]
            rows = [r for r in rows if r["seconds"] > rows[0]["seconds"] + 0.3 * (rows[-1]["seconds"] - rows[0]["seconds"])]
            took = rows[-1]["seconds"] - rows[0]["seconds"] if rows else 0
            if took < 20:  # calls last up to 8 seconds, transactions and ended dialogs some more
                continue
            for what, free in FLAT.items():
                grown = slope([(r["seconds"], r[what]) for r in rows]) * took
                mean = sum(r[what] for r in rows) / len(rows)
                if life % max(1, self.life // 10) == 0:
                    print("#     life %d: %s %.0f, %+.0f in %.0f s" % (life, what, mean, grown, took), flush=True)
                if grown > free + 0.05 * mean:
                    bad.append("life %d: %s grew by %.0f in %.0f s" % (life, what, grown, took))
        return bad

    def disturb(self):
        """The database goes away for a moment."""
        if self.kind == "sqlite":
            other = sqlite3.connect(self.db.url.replace("sqlite://", ""), isolation_level=None, timeout=5)
            other.execute("BEGIN IMMEDIATE")
            time.sleep(self.rng.uniform(0.5, 2))
            other.execute("ROLLBACK")
            other.close()
        elif self.rng.random() < 0.5:
            self.db.freeze()
            time.sleep(self.rng.uniform(0.5, 8))
            self.db.thaw()
        else:
            self.rng.choice((self.db.kill, self.db.stop))()
            time.sleep(self.rng.uniform(0, 3))
            self.db.start()

    def load_rate(self):
        """How many plain calls a second, beside all the rest."""
        if LOAD != "half":
            return float(LOAD)
        got = Load(self.proxy, "-w", "64", "-i", "1000", "-t", "5").result()
        self.take_load(got)
        print("#     %.0f plain calls a second are possible" % got["per_second"], flush=True)
        return got["per_second"] / 2

    def take_load(self, got):
        """Each of them was answered and ended by its caller."""
        bad = {k: got[k] for k in ("refused", "last_refusal", "lost", "skipped", "left") if got[k]}
        self.assertEqual((got["answered"], got["ended"], bad), (got["started"], got["started"], {}))
        self.load.update(processed=got["started"], ended_caller=got["ended"])
        self.loaded += got["started"]

    def exact(self):
        """Since the proxy started: what the ends know is what it counted."""
        tally = self.t.tally()
        self.counted_since({k: tally[k] + self.load[k] for k in tally})
        self.assertEqual(sorted(d["callid"] for d in self.proxy.fifo.dialogs() if d.state < DELETED),
                         sorted(c.id for c in self.t.live()))
        self.sound()

    def counted_since(self, tally):
        want = {k: tally[k] - self.last.get(k, 0) for k in tally}
        got = {}
        for _ in range(60):
            f = figures(self.proxy)
            got = {k: f[k] for k in want}
            if got == want:
                return
            time.sleep(0.1)
        self.assertEqual(got, want)

    def live_once(self, seconds, last):
        end = time.monotonic() + seconds
        self.t.thaw()
        load = Load(self.proxy, "-r", "%g" % self.rate, "-d", "1000", "-i", "1000", "-t", "%d" % (seconds + 3600))
        self.addCleanup(load.kill)
        self.loaded_now = True
        self.watch.go()
        time.sleep(seconds * self.rng.uniform(0.2, 0.5))
        self.disturb()
        while time.monotonic() < end and not self.watch.error and not self.t.error:
            time.sleep(0.1)
        self.assertIsNone(self.watch.error)
        self.loaded_now = False  # memory that becomes free now would hide what grew
        self.take_load(load.end())
        self.watch.pause()
        self.assertEqual(self.t.freeze(), [])
        self.exact()
        left, held = self.at_rest()
        self.left.append((left - self.rest, held))
        if last:
            return
        how = self.rng.choice(("terminated", "killed"))
        self.proxy.restart(kill=how == "killed")
        self.life += 1
        self.rest, _ = self.at_rest()
        self.load.clear()
        self.assertEqual({d["callid"] for d in self.proxy.fifo.dialogs()}, {c.id for c in self.t.live()})

    def test_soak(self):
        self.rng = self.seeded()
        self.start_proxy(REALTIME)
        self.began, self.life, self.samples, self.last = time.monotonic(), 0, [], {}
        self.load, self.loaded, self.loaded_now, self.left = collections.Counter(), 0, False, []
        os.makedirs(os.path.dirname(CSV), exist_ok=True)
        self.csv_file = open(CSV, "w")
        self.addCleanup(self.csv_file.close)
        self.csv = csv.writer(self.csv_file)
        self.csv.writerow(COLUMNS)
        (self.rest, _), idle = self.at_rest(), audit(self.proxy)["memory_pieces"]
        self.t = Traffic(self.proxy, self.rng.random(), rate=RATE, kinds=KINDS, talk=(0.5, 8.0), headers=self.headers, prefix="soak",
                         patience=600)
        self.t.tolerated = {"victim": (480,)}
        self.addCleanup(self.t.close)
        self.watch = Watch(self, random.Random(self.rng.random()))
        self.addCleanup(setattr, self.watch, "stopped", True)
        self.watch.start()
        self.t.go()
        self.rate = self.load_rate()
        lives = max(2, round(SECONDS / LIFE))
        for n in range(lives):
            self.live_once(SECONDS / lives, n == lives - 1)
            if n < lives - 1:  # the last proxy is asked again at the very end
                self.t.forget()
                self.last = self.t.tally()
        self.watch.go()
        self.assertEqual(self.t.wait_over(150), [])
        self.assertEqual(self.t.problems()[:10], [])
        self.watch.stopped = True
        self.watch.join()
        self.assertIsNone(self.watch.error)
        self.exact()
        self.assertEqual(self.proxy.stats()["active"], 0)
        self.wait_rows(0, 30)
        self.wait_until("all dialogs to be freed", lambda: not self.proxy.fifo.dialogs(), 15)
        self.assertEqual(audit(self.proxy)["memory_pieces"], idle)
        bad = self.verdict()
        print("#     %d calls, %d plain ones at %.0f/s, %d commands in %d rounds, %d of which took longer than %d ms; "
              "%s, %d lives of the proxy, %d samples in %s; memory %s" % (
                  self.t.forgotten + len(self.t.calls), self.loaded, self.rate, self.watch.asked, self.watch.rounds,
                  self.watch.late, 1000 * self.watch.EVERY, self.kind, self.life + 1, len(self.samples), CSV,
                  "flat" if not bad else "not flat"), flush=True)
        self.assertEqual(bad, [])


if __name__ == "__main__":
    for name, value in (("SECONDS", "3600"), ("DB", "mysql"), ("LOAD", "half"),
                        ("CSV", os.path.join(ROOT, "build", "soak", "memory.csv"))):
        os.environ.setdefault("SOAK_" + name, value)
    os.execv(sys.executable, [sys.executable, os.path.join(HERE, "run"), "-j", "1", "test_soak"])
