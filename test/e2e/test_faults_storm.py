# SPDX-License-Identifier: GPL-2.0-or-later
"""More of one thing than anybody sends in peace, while other calls run: CANCELs, forged BYEs, commands whose
readers are gone."""

import os
import select
import time

from base import CONFIRMED, DELETED, DOWN, UP
from faults import FaultCase, scaled
from sip import unique

# What a proxy does with requests of no call of its own: nothing of it is forwarded.
STRICT = """
	if ($DLG_status == $null && !is_method("ACK")) {
		sl_send_reply("481", "Not Here");
		exit;
	}
"""


class CancelStorm(FaultCase):
    """FAULTS_LONG: 10,000 ringing calls are cancelled within a second, beside other calls."""

    seconds = 15
    CALLS = int(os.environ.get("FAULTS_CANCELS", scaled(500, 10000)))
    WITHIN = 1.0
    options = {"shm": 64 + CALLS // 25, "debug": 1}
    longest = 60
    tm = {"fr_inv_timer": 170000, "fr_timer": 20000}  # the first ones ring until there are enough

    def cancel_all(self, t, calls):
        """How long it took to send the CANCELs; they were made before, and nothing is read meanwhile."""
        made = [(c, t.request(c, "caller", "CANCEL", 1, c.branch)) for c in calls]
        with t.lock:
            began = time.monotonic()
            for c, data in made:
                t.cancel(c, data)
            return time.monotonic() - began

    def counted_both(self, t, others):
        """What the cancelled calls and the others saw."""
        self.assertEqual(others.problems()[:10], [])
        self.counted(t, **others.tally())

    def test_all_calls_cancelled_at_once(self):
        others = self.traffic(rate=20, prefix="beside", talk=(0.5, 3.0))
        before = self.before
        t = self.traffic(rate=150, kinds={"cancel": 1}, ring=(3600, 3600), prefix="storm")
        self.before = before
        t.unanswered = ("SIP/2.0 487",)  # on a slow machine a callee gives up before it has read its ACK
        self.wait_until("all calls to ring", lambda: sum(c.cancel_code for c in list(t.calls.values())) >= self.CALLS,
                        self.CALLS / 50 + 10)
        t.pause()
        self.wait_until("the last ones to ring", lambda: all(c.cancel_code for c in t.calls.values()), 10)
        ringing = [c for c in t.calls.values() if c.cancel_code]
        began, at = time.monotonic(), len(others.calls)
        took = self.cancel_all(t, ringing)
        left = t.wait_over(60)
        last, beside = time.monotonic() - began, len(others.calls) - at
        print("#     %d calls, their CANCELs in %.2f s, the last 487 after %.1f s, %d other calls began meanwhile" % (
            len(ringing), took, last, beside), flush=True)
        self.assertLess(took, self.WITHIN)
        self.assertEqual(left, [])
        self.assertEqual(t.problems()[:10], [])
        self.assertEqual(others.wait_over(30), [])
        self.assertGreater(beside, 0)
        self.counted_both(t, others)
        self.assertGreaterEqual(self.change()["ended_cancel"], self.CALLS)
        self.sound()


class ForgedByes(FaultCase):
    """Whoever knows parts of a call's identity, but not all, cannot end it."""

    seconds = 15
    hooks = {"seq": STRICT}
    LIVE = 20
    COUNT = scaled(2000, 50000)

    def forge(self, c, rng, forger):
        """A BYE that is wrong in one thing, or more; and whether its cookie counts as forged."""
        cookie = [r for r in c.routes_down if ";did=" in r][0]
        own = cookie.split(";did=")[1].rstrip(">").split(";")[0]
        kind = rng.choice(("from tag", "to tag", "both tags", "swapped call", "cookie", "cookie of nobody", "malformed",
                           "no cookie"))
        kw, way, forged = {}, rng.choice((DOWN, UP)), True
        routes = list(c.routes_down if way == DOWN else c.routes_up)

        def put(cookie):
            return [r.replace(";did=" + own, cookie) for r in routes]
        if kind in ("from tag", "both tags"):
            kw["ftag"] = unique("x")
        if kind in ("to tag", "both tags"):
            kw["ttag"] = unique("x")
        if kind == "swapped call":
            kw["call_id"] = unique("other")
        if kind == "cookie":
            other = rng.choice([x for x in self.live if x is not c])
            routes = put(";did=" + other.own)
        if kind == "cookie of nobody":
            routes = put(";did=%x.%x" % (rng.getrandbits(12), rng.getrandbits(32)))
        if kind == "malformed":
            forged = bad = rng.choice(("", ".", "1", "1.", ".1", "zz.1", "1.1.1", "f" * 40 + ".1"))  # empty: none
            routes = put(";did=" + bad)
        if kind == "no cookie":
            routes, forged = put(""), False
            kw.setdefault("ttag", unique("x"))
        return c.build("BYE", way, routes=routes, cseq=900000 + rng.randrange(99999), ua=forger, **kw), forged

    def refusals(self, forger, seconds):
        got = forger.drain(seconds)
        self.assertEqual({m.code for m in got} - {481}, set())
        return len(got)

    def test_forged_byes_end_nothing(self):
        rng = self.seeded()
        self.live = [self.call().setup() for _ in range(self.LIVE)]
        for c in self.live:
            self.wait_state(c, CONFIRMED)
            c.own = [r for r in c.routes_down if ";did=" in r][0].split(";did=")[1].rstrip(">").split(";")[0]
        t = self.traffic(rate=20)
        forger = self.agent("forger")
        forged = answers = 0
        for n in range(self.COUNT):
            bye, counts = self.forge(rng.choice(self.live), rng, forger)
            forger.send(bye, (self.proxy.ip, self.proxy.port))
            forged += bool(counts)
            if n % 20 == 19:  # as fast as it is answered
                answers += self.refusals(forger, 0.004)
        answers += self.refusals(forger, 0.3)
        self.assertGreater(answers, self.COUNT * 0.9)
        for c in self.live:
            self.assertEqual(self.state(c), CONFIRMED)
        # a datagram may be lost on the way to a busy proxy, none is counted twice
        got = self.change()["forged"]
        self.assertLessEqual(got, forged)
        self.assertGreaterEqual(got, forged - (self.COUNT - answers))
        self.sound()
        calls = self.all_well(t)
        print("#     %d forged BYEs, %d answered, %d counted as forged of %d with a cookie; %d other calls" % (
            self.COUNT, answers, got, forged, calls), flush=True)
        for c in self.live:
            c.a.drain()
            c.b.drain()
            c.hangup()
            self.wait_state(c, DELETED)


class ReadersGone(FaultCase):
    """Commands whose reply nobody wants, in all ways; more of single ones in test_fifo.Framing.test_missing_reader,
    test_fifo.Listings.test_a_reader_who_takes_nothing and test_fifo.Listings.test_a_reader_who_leaves."""

    seconds = 12
    COUNT = scaled(60, 2000)

    def leave(self, rng):
        fifo = self.proxy.fifo
        command = rng.choice(("dlg_list", "dlg_list_ctx", "dlg_stats", "which", "nonsense"))
        way = rng.choice(("never opened", "opened and left", "unlinked", "does not exist"))
        name, path, fd = fifo.open_reply()
        if way == "never opened":
            os.close(fd)
        if way in ("unlinked", "does not exist"):
            os.unlink(path)
        fifo.write(b":%s:%s\n\n" % (command.encode(), name.encode()))
        if way == "opened and left":
            if select.select([fd], [], [], 0)[0]:
                os.read(fd, 1)
        if way != "never opened":
            os.close(fd)
        return path

    def test_readers_go_away(self):
        rng = self.seeded()
        t = self.traffic(rate=20)
        began, n = time.monotonic(), 0
        while n < self.COUNT and time.monotonic() - began < scaled(6, 300):
            self.leave(rng)
            n += 1
        time.sleep(0.5)
        patience = scaled(30, 180)  # each reader who never came is waited for, if ever more briefly
        self.wait_until("the FIFO to answer again", lambda: "200 OK" in self.proxy.fifo.cmd("dlg_stats", timeout=patience), patience)
        self.sound()
        calls = self.all_well(t)
        print("#     %d commands without a reader, %d calls" % (n, calls), flush=True)
        self.assertGreater(n, 20)
