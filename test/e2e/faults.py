# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of faults share: a proxy in a world of its own (time of day, full disk, private memory), calls
that run all the while, and the comparison of what they saw with what the module counted.

Environment: FAULTS_LONG=1 for the long form of each, FAULTS_SEED to have the same random choices again."""

import mmap
import os
import random
import re
import struct
import subprocess
import tempfile
import time
from unittest import mock

import base
from base import ProxyCase, audit
from proxy import HERE, MODULE, ROOT, Proxy
from sip import SLOW
from traffic import Traffic

LONG = os.environ.get("FAULTS_LONG", "") not in ("", "0")
SEED = int(os.environ.get("FAULTS_SEED", "0")) or random.getrandbits(32)
BAD_MODULE = os.path.join(os.path.dirname(MODULE), "test", "e2e", "dlg_faults.so")

# Lines that the host prints about broken messages and want of memory are no concern of ours; lines of the module are.
NOT_OURS = r"\b(ERROR|CRITICAL|ALERT|BUG|EMERG):\s?(?!dialog\b)"
SHM_LINES = r"no memory: the call .* is not tracked|no shared memory to follow|cookie could not be added"


def scaled(short, long):
    return long if LONG else short


def figures(proxy):
    """All numbers of dlg_stats."""
    text = proxy.fifo.cmd("dlg_stats")
    if not text.startswith("200 OK"):
        raise AssertionError("dlg_stats: %r" % text)
    return {k: int(v) for k, v in re.findall(r"^\t(\w+):: (-?\d+)$", text, re.M)}


class Shim:
    """The world of a proxy: see shim.c."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="dlgshim.")
        self.path = os.path.join(self.dir, "control")
        with open(self.path, "wb") as f:
            f.write(bytes(16))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 16)
        self.library = os.path.join(self.dir, "shim.so")
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared",
                        "-o", self.library, os.path.join(HERE, "shim.c"), "-ldl"], check=True)

    def shift(self, seconds):
        self.map[:8] = struct.pack("q", seconds)

    def full(self, on):
        self.map[8:] = struct.pack("q", on)

    def remove(self):
        self.map.close()
        for name in os.listdir(self.dir):
            os.unlink(os.path.join(self.dir, name))
        os.rmdir(self.dir)


class TriedProxy(Proxy):
    """A proxy with `pkg` megabytes of private memory for each process, and a shim before the C library."""

    pkg, shim = None, None

    def spawn(self):
        env, popen = {}, subprocess.Popen
        if self.shim:
            env = {"SHIM_CONTROL": self.shim.path,
                   "DIALOG_PRELOAD": (os.environ.get("DIALOG_PRELOAD", "") + " " + self.shim.library).strip()}

        def with_less(args, **kw):
            if self.pkg and "-M" in args:
                args = list(args)
                args[args.index("-M") + 1] = str(self.pkg)
            return popen(args, **kw)
        with mock.patch.dict(os.environ, env), mock.patch.object(subprocess, "Popen", with_less):
            super().spawn()


class Faults:
    """Mix-in of ProxyCase and DbCase."""

    def seeded(self):
        print("#     FAULTS_SEED=%d" % SEED, flush=True)
        return random.Random(SEED)

    def traffic(self, idle=False, **kw):
        t = Traffic(self.proxy, SEED, **kw)
        self.addCleanup(t.close)
        self.addCleanup(t.wait_over, 8)  # after a failure, so that the next test starts clean
        self.before = figures(self.proxy)
        return t if idle else t.go()

    def change(self):
        now = figures(self.proxy)
        return {k: now[k] - self.before.get(k, 0) for k in now}

    def all_well(self, t, timeout=30.0):
        """Each call of the traffic went as it should, and is counted as what it was. Returns how many there were."""
        left = t.wait_over(timeout)
        self.assertEqual(left, [])
        self.assertEqual(t.problems()[:10], [])
        self.assertGreater(len(t.calls), 10)
        self.counted(t)
        return len(t.calls)

    def counted(self, t, **others):
        want = t.tally()
        want = {k: want[k] + others.get(k, 0) for k in want}
        got = {}
        for _ in range(40):
            change = self.change()
            got = {k: change[k] for k in want}
            if got == want:
                return
            time.sleep(0.05)
        self.assertEqual(got, want)

    def sound(self):
        """The audit in the middle of it all."""
        for _ in range(10):
            a = audit(self.proxy)
            if a["result"] != "busy, try again":
                break
            time.sleep(0.1)
        self.assertIn(a["result"], ("ok", "busy, try again"))
        self.assertEqual((a["misplaced"], a["overdue"], a["lock_takeovers"]), (0, 0, 0))
        return a


class FaultCase(Faults, ProxyCase):
    pkg, shim = None, False
    longest = 14

    @classmethod
    def setUpClass(cls):
        shim = Shim() if cls.shim else None
        if shim:
            cls.addClassCleanup(shim.remove)
        made = type("Tried", (TriedProxy,), {"pkg": cls.pkg, "shim": shim})
        cls.world = shim
        with mock.patch.object(base, "Proxy", made):
            super().setUpClass()
