# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits under load: thousands of callers at once, eight workers, and nobody ever sees one call too many."""

import os
import re
import threading
import time

from base import CONFIRMED, SLOW, audit
from profiles import ProfileCase
from sipp import Pair, Sipp

TRUNK, CUSTOMER = 100, 15
NAMES = ["c%d" % n for n in range(10)]

# A worker that has just let a call in looks how many there are now.
SCRIPT = """record_route();
	create_dialog();
	if ($hdr(From) =~ "sip:one@") {
		if (!set_dlg_profile_limit("trunk", "gw1", "%(trunk)d")) {
			sl_send_reply("486", "Full");
			exit;
		}
		get_profile_size("trunk", "gw1", "$var(size)");
	} else {
		if (!set_dlg_profile_limits("customer = $fU <= %(customer)d; trunk = gw1 <= %(trunk)d")) {
			get_profile_size("customer", "$fU", "$var(own)");
			if ($var(own) >= %(customer)d) sl_send_reply("486", "Full");
			else sl_send_reply("503", "Full");
			exit;
		}
		get_profile_size("customer", "$fU", "$var(own)");
		get_profile_size("trunk", "gw1", "$var(size)");
		if ($var(own) > %(customer)d) xlog("L_NOTICE", "OVER customer $fU $var(own)\\n");
	}
	if ($var(size) > %(trunk)d) xlog("L_NOTICE", "OVER trunk $var(size)\\n");
""" % {"trunk": TRUNK, "customer": CUSTOMER}


class Poller(threading.Thread):
    """Reads the counts over the FIFO every few milliseconds: [(time, trunk, most of one customer, most of c0)],
    and now and then how many were turned away so far: [(time, refusals)]."""

    def __init__(self, fifo):
        super().__init__(daemon=True)
        self.fifo, self.stopped, self.error = fifo, threading.Event(), None
        self.counts, self.refusals = [], []

    def look(self):
        size = int(re.search(r" count=(\d+)\n", self.fifo.cmd("profile_get_size", "trunk", "gw1")).group(1))
        each = dict(re.findall(r"value:: (\w+) count=(\d+)", self.fifo.cmd("profile_get_values", "customer")))
        each = {k: int(v) for k, v in each.items()}
        self.counts.append((time.monotonic(), size, max(each.values(), default=0), each.get("c0", 0)))
        if len(self.counts) % 10 == 0:
            limited = int(re.search(r"\tlimited:: (\d+)", self.fifo.cmd("dlg_stats")).group(1))
            self.refusals.append((time.monotonic(), limited))

    def run(self):
        try:
            while not self.stopped.wait(0.002):
                self.look()
        except Exception as e:  # reported by the test
            self.error = e

    def demand(self):
        """The times in which calls were turned away, from one look at the refusals to the next."""
        return [(begin, end) for (begin, a), (end, b) in zip(self.refusals, self.refusals[1:]) if b > a]

    def full(self, column, limit):
        """The part of the looks, while there was demand, that found the count at its limit; how many looks that
        were, and in how many seconds."""
        times = self.demand()
        seen = [c[column] for c in self.counts if any(begin <= c[0] <= end for begin, end in times)]
        return sum(n == limit for n in seen) / len(seen), len(seen), sum(end - begin for begin, end in times)


class LimitsUnderLoad(ProfileCase):
    seconds = 900  # with the load test, at the beginning
    CALLS = int(os.environ.get("LIMIT_CALLS", "5000"))
    params = {"profiles_with_value": "customer;trunk", "setup_timeout": 10, "ack_timeout": 3, "default_timeout": 6,
              "bye_on_timeout_flag": 6}
    tm = {"fr_timer": 5000, "fr_inv_timer": 12000, "wt_timer": 1000}
    hooks = {"first": "setflag(6);", "initial": SCRIPT}
    options = {"children": 8, "shm": 256, "debug": 1}
    longest = 60

    def figures(self):
        return {k: int(v) for k, v in re.findall(r"\t(\w+):: (\d+)", self.proxy.fifo.cmd("dlg_stats"))}

    def run_callers(self, names):
        """All callers at once, as fast as SIPp can; who is turned away tries again, four times."""
        users = os.path.join(self.proxy.dir, "users.csv")
        with open(users, "w") as f:
            f.write("SEQUENTIAL\n" + "".join("%s;\n" % n for n in names))
        before = self.figures()
        pair = Pair(self.proxy, relay=False)
        poller = Poller(self.proxy.fifo)
        uac = Sipp(self.proxy.dir, pair.ip, pair.pa, "uac_limited.xml", pair.a_contact, pair.to, pair.b_contact, self.CALLS,
                   self.CALLS, 2000, self.CALLS, ("-inf", users))
        try:
            poller.start()
            uac.wait(100 * SLOW)
        finally:
            poller.stopped.set()
            poller.join()
            uac.stop()
            pair.close()
        if poller.error:
            raise poller.error
        self.wait_until("all calls to end", lambda: not self.proxy.fifo.dialogs(), 40)
        now = self.figures()
        return poller, uac.figures(), {k: now[k] - before[k] for k in now}

    def check(self, poller, sipp, change):
        self.assertEqual(sipp["created"], self.CALLS)
        self.assertGreaterEqual(sipp["successful"], self.CALLS * 0.99)
        self.assertGreater(change["limited"], self.CALLS / 2)
        self.assertGreater(change["ended_caller"], TRUNK)  # places were given again
        self.assertEqual(change["processed"], sum(v for k, v in change.items() if k.startswith("ended_")))
        self.assertLessEqual(change["ended_abandoned"], change["limited"])  # two workers may have one INVITE in hand
        self.assertLessEqual(max(c[1] for c in poller.counts), TRUNK)
        self.assertNotIn("OVER", self.proxy.log_since(self.mark))
        self.assertEqual((self.size("trunk"), self.size("customer")), (0, 0))
        self.assertEqual(self.proxy.fifo.cmd("profile_get_values", "trunk"), "200 OK\n\n")
        self.assertEqual(self.proxy.fifo.cmd("profile_get_values", "customer"), "200 OK\n\n")
        a = audit(self.proxy)
        self.assertEqual((a["result"], a["members"], a["members_gauge"], a["dialogs"]), ("ok", 0, 0, 0))
        part, seen, seconds = poller.full(1, TRUNK)
        print("#     %d callers, %d INVITEs, %d turned away, %d calls; trunk full in %.1f %% of %d looks in %.1f s"
              % (sipp["created"], change["processed"], change["limited"], change["ended_caller"], 100 * part, seen, seconds))
        self.assertGreater(seen, 200)
        self.assertGreater(part, 0.5)

    def test_one_limit(self):
        self.check(*self.run_callers(["one"]))

    def test_two_limits_at_once(self):
        """One customer calls as often as all others together: full for itself, it leaves the trunk to them."""
        names = [n for other in NAMES[1:] for n in (NAMES[0], other)]
        poller, sipp, change = self.run_callers(names)
        self.check(poller, sipp, change)
        self.assertLessEqual(max(c[2] for c in poller.counts), CUSTOMER)
        self.assertGreater(poller.full(3, CUSTOMER)[0], 0.5)


class LimitsInTightLoops(ProfileCase):
    """Eight workers do nothing but join and leave, each for a call of its own, at a limit of two."""

    seconds = 15
    ROUNDS = 100
    params = {"profiles_with_value": "trunk;other", "profiles_no_value": "line"}
    options = {"children": 8, "debug": 1}
    tm = {"fr_timer": 60000}
    hooks = {"seq": """
	if (is_method("INFO")) {
		$var(round) = 0;
		$var(in) = 0;
		$var(full) = 0;
		$var(over) = 0;
		while ($var(round) < %d) {
			$var(turn) = 0;
			while ($var(turn) < 500) {
				if (set_dlg_profile_limits("line <= 2; trunk = x <= 2")) {
					$var(in) = $var(in) + 1;
					get_profile_size("trunk", "x", "$var(size)");
					if ($var(size) > 2) $var(over) = $var(over) + 1;
					get_profile_size("line", "$var(size)");
					if ($var(size) > 2) $var(over) = $var(over) + 1;
					unset_dlg_profile("line");
					unset_dlg_profile("trunk", "x");
				} else {
					$var(full) = $var(full) + 1;
				}
				if (set_dlg_profile_limit("other", "y", "2")) {
					$var(in) = $var(in) + 1;
					get_profile_size("other", "y", "$var(size)");
					if ($var(size) > 2) $var(over) = $var(over) + 1;
					unset_dlg_profile("other");
				} else {
					$var(full) = $var(full) + 1;
				}
				$var(turn) = $var(turn) + 1;
			}
			$var(round) = $var(round) + 1;
		}
		xlog("L_NOTICE", "LOOP in=$var(in) full=$var(full) over=$var(over)\\n");
	}
""" % ROUNDS}

    def test_no_moment_above_the_limit(self):
        calls = [self.call().setup(early=False) for _ in range(8)]
        for c in calls:
            self.wait_state(c, CONFIRMED)
        for c in calls:
            c.sent = c.send("INFO")
        for c in calls:
            c.b.reply(c.b.recv("INFO", 40), 200)
            c.a.recv(200)
        got = re.findall(r"LOOP in=(\d+) full=(\d+) over=(\d+)", self.proxy.log_since(self.mark))
        self.assertEqual(len(got), 8)
        joined, full, over = (sum(int(g[i]) for g in got) for i in range(3))
        print("#     joined %d times, turned away %d times" % (joined, full))
        self.assertEqual(over, 0)
        self.assertEqual(joined + full, 8 * 2 * 500 * self.ROUNDS)
        self.assertGreater(full, 100)
        self.assertEqual(audit(self.proxy)["limited"], full)
        self.assertEqual([self.size(p) for p in ("trunk", "other", "line")], [0, 0, 0])
        for c in calls:
            self.assertEqual(self.profiles_of(c), [])
            c.hangup()
