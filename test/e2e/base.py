# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test class shares: one proxy per class, an audit at its end."""

import contextlib
import os
import re
import time
import unittest

from proxy import MODULE, PV, Proxy
from sip import DOWN, SLOW, UA, UP, Call, Msg, Silence  # noqa: F401 (for the tests)

UNCONFIRMED, EARLY, CONFIRMED_NA, CONFIRMED, DELETED = 1, 2, 3, 4, 5


class ProxyCase(unittest.TestCase):
    """Tests of one class share a proxy; each test uses calls of its own and leaves none behind."""

    params = {}      # of our module
    tm = {}
    hooks = {}
    options = {}     # further arguments of Proxy
    allowed = ()     # error lines the class provokes
    seconds = 10     # roughly, for the order in which classes are started
    alone = False    # wants the machine for itself
    longest = 0.0    # seconds after the last test until the table must be empty; 0: linger and a little
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(MODULE):
            raise AssertionError("no module at %s: build it first" % MODULE)
        cls.proxy = Proxy(params=cls.params, tm=cls.tm, hooks=cls.hooks, **cls.options)
        for pattern in cls.allowed:
            cls.proxy.allow(pattern)
        try:
            cls.proxy.start()
            cls.prepare()
        except BaseException:
            cls.proxy.kill()
            raise

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        bad = []
        try:
            if cls.proxy.proc.poll() is None:
                bad += cls.quiet()
        except Exception as e:  # the proxy must be stopped whatever happens
            bad.append("final check: %r" % e)
        bad += cls.proxy.stop()
        if bad:
            raise AssertionError("%s:\n%s" % (cls.__name__, "\n".join(bad)))

    @classmethod
    def quiet(cls):
        """After the linger nothing may be left: table, gauges, references."""
        end = time.monotonic() + (cls.longest or 11) * SLOW
        while True:
            left = cls.proxy.fifo.dialogs()
            if not left or time.monotonic() > end:
                break
            time.sleep(0.3)
        bad = ["still in the table: %s %s state %s" % (d["hash"], d["callid"], d["state"]) for d in left[:10]]
        if cls.params.get("enable_stats", 1):
            s = cls.proxy.stats()
            if s["active"] or s["early"]:
                bad.append("gauges are not back at 0: %r" % s)
        return bad + audit_problems(cls.proxy)

    def setUp(self):
        self.mark = self.proxy.log_mark()
        if self.params.get("enable_stats", 1):
            self.start_stats = self.proxy.stats()

    # -- calls

    def call(self, *args, **kw):
        c = Call(self.proxy, *args, **kw)
        self.addCleanup(c.close)
        self.addCleanup(self.finish, c)
        return c

    def finish(self, c):
        """End what a failed test left open, so that the next one starts clean."""
        with contextlib.suppress(Exception):
            for d in self.proxy.fifo.dialogs(c.call_id):
                if d.state < DELETED:
                    self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)

    def ring_many(self, n):
        """So many calls that ring, of one caller and one callee. Returns (the last of them, INVITEs, Call-IDs)."""
        c = self.call()
        invites, ids = [], set()
        for i in range(n):
            c.call_id = "many-%d@e2e" % i
            ids.add(c.call_id)
            c.a.send(c.build_invite(), c.to_proxy)
            invites.append(c.b.recv("INVITE"))
            c.b.reply(invites[-1], 180, tag="t")
        return c, invites, ids

    def refuse_many(self, c, invites):
        for i, inv in enumerate(invites):
            c.b.reply(inv, 486, tag="t")
            if i % 20 == 0:
                c.a.drain(0.02)

    def agent(self, name="ua"):
        u = UA(name)
        self.addCleanup(u.close)
        return u

    # -- what the proxy knows

    def listed(self, call, command="dlg_list"):
        """All dialogs of a call, in any state, from the full list."""
        cid = getattr(call, "call_id", call)
        return [d for d in self.proxy.fifo.dialogs(command=command) if d["callid"] == cid]

    def dialog(self, call, command="dlg_list"):
        got = self.listed(call, command)
        self.assertEqual(len(got), 1, "dialogs of the call: %r" % got)
        return got[0]

    def state(self, call):
        return self.dialog(call).state

    def wait_until(self, what, test, timeout=3.0):
        end = time.monotonic() + timeout * SLOW
        while True:
            got = test()
            if got:
                return got
            if time.monotonic() > end:
                self.fail("waited %.1f s for %s" % (timeout * SLOW, what))
            time.sleep(0.02)

    def wait_state(self, call, state, timeout=3.0):
        last = [None]

        def reached():
            last[0] = [d.state for d in self.listed(call)]
            return last[0] == [state]
        end = time.monotonic() + timeout * SLOW
        while not reached():
            if time.monotonic() > end:
                self.fail("state %r instead of [%d]" % (last[0], state))
            time.sleep(0.02)
        return self.dialog(call)

    def stays(self, call, state, seconds=0.15):
        """The state is this one and stays so."""
        time.sleep(seconds * SLOW)
        self.assertEqual(self.state(call), state)

    def wait_gone(self, call, timeout=9.0):
        self.wait_until("the dialog to be freed", lambda: not self.listed(call), timeout)

    def stats(self):
        """Changes of the statistics since the test began."""
        now = self.proxy.stats()
        return {k: now[k] - self.start_stats[k] for k in now}

    def assertStats(self, **want):
        full = dict({"active": 0, "early": 0, "processed": 0, "expired": 0, "failed": 0}, **want)
        got = None
        for _ in range(40):
            got = self.stats()
            if got == full:
                return
            time.sleep(0.025)
        self.assertEqual(got, full)

    # -- what the script said

    def pv(self, call, at, method=None, n=0, timeout=3.0):
        """The variables that the script logged at that place for that call."""
        rx = re.compile(r"PV \[%s\] at=%s m=%s cnt=(?P<cnt>\S+) st=(?P<st>\S+) life=(?P<life>\S+) "
                        r"fl=(?P<fl>\S+) dir=(?P<dir>\S+) k=(?P<k>.*)"
                        % (re.escape(getattr(call, "call_id", call)), re.escape(at), method or r"\w+"))
        end = time.monotonic() + timeout * SLOW
        while True:
            got = [m.groupdict() for m in rx.finditer(self.proxy.log_since(self.mark))]
            if len(got) > n:
                return got[n]
            if time.monotonic() > end:
                self.fail("the script never reported %s %s for this call" % (at, method))
            time.sleep(0.02)

    def said(self, call, pattern, timeout=3.0):
        """A line 'SAY [call-id] ...' of the script; returns the match of the rest."""
        cid = re.escape(getattr(call, "call_id", call))
        return self.proxy.wait_log(r"SAY \[%s\] %s" % (cid, pattern), self.mark, timeout)


def say(text):
    """Script line that said() finds."""
    return 'xlog("L_NOTICE", "SAY [$ci] %s\\n");\n' % text


def pv_at(place):
    return PV % place


def audit(proxy):
    """The module's recount of everything, as numbers by name; "result" is a text."""
    text = proxy.fifo.cmd("dlg_audit")
    if not text.startswith("200 OK\naudit::  result="):
        raise AssertionError("dlg_audit: %r" % text)
    lines = text.rstrip("\n").split("\n")[1:]
    out = {"result": lines[0].split("result=", 1)[1], "overdue_dialogs": []}
    for line in lines[1:]:
        name, _, value = line.strip("\t").partition(":: ")
        if name == "overdue_dialog":
            out["overdue_dialogs"].append({"hash": value.split("hash=", 1)[1]})
        elif line.startswith("\t\t"):
            out["overdue_dialogs"][-1][name] = value
        else:
            out[name] = int(value)
    return out


def audit_problems(proxy, empty=True):
    """What the audit finds; with `empty`, also everything that an idle proxy may not have."""
    a = audit(proxy)
    bad = [] if a["result"] == "ok" else ["result %s" % a["result"]]
    bad += ["%s %d" % (k, a[k]) for k in ("misplaced", "overdue", "lock_takeovers") if a[k]]
    if a["timer_lag"] > 1:
        bad.append("the timer is %d s behind" % a["timer_lag"])
    if empty:
        bad += ["%s %s" % (k, v) for k, v in a.items()
                if v and (k.startswith("held_by_") or k.endswith("_gauge") or
                          k in ("dialogs", "timers_armed", "members", "overdue_dialogs"))]
    return ["audit: " + b for b in bad]
