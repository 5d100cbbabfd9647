# SPDX-License-Identifier: GPL-2.0-or-later
"""Real SIPp calls, some thousands on a bad network: nothing may be left, nothing miscounted."""

import os
import time

from base import ProxyCase, audit
from hosts import host
from sip import SLOW
from sipp import Pair


class Scenarios(ProxyCase):
    """SIPp's own scenarios without loss."""

    seconds = 15

    def run_pair(self, uac, uas, calls=60, **want):
        pair = Pair(self.proxy, uac, uas, relay=False)
        try:
            got = pair.run(calls, 40, 60 * SLOW)
        finally:
            pair.close()
        self.assertEqual((got["created"], got["successful"], got["failed"]), (calls, calls, 0))
        self.assertStats(**want)

    def test_calls(self):
        self.run_pair("uac.xml", "uas.xml", processed=60)

    def test_cancelled_calls(self):
        self.run_pair("uac_cancel.xml", "uas_cancel.xml", processed=60, failed=60)

    def test_busy_calls(self):
        self.run_pair("uac_busy.xml", "uas_busy.xml", processed=60, failed=60)


class Load(ProxyCase):
    """LOAD_CALLS calls at LOAD_RATE per second ("auto": the highest rate that needs no retransmission)
    with 5 % of the messages lost and 5 % doubled."""

    seconds = 1000
    alone = False
    CALLS = int(os.environ.get("LOAD_CALLS", "2000"))
    RATE = os.environ.get("LOAD_RATE", "100")
    SEED = int(os.environ.get("LOAD_SEED", "1"))
    # What the network broke for good ends by a limit of its own.
    params = {"setup_timeout": 20, "ack_timeout": 10, "default_timeout": 20, "bye_on_timeout_flag": 6}
    tm = {"fr_timer": 5000, "fr_inv_timer": 12000, "wt_timer": 5000}
    # tm keeps the transactions of lost messages for a while: at a high rate that is a lot of memory
    options = {"shm": 1024 if RATE == "auto" else 256, "debug": 1}
    hooks = {
        "first": "force_rport();",
        "initial": """setflag(6);
	record_route();
	create_dialog();
	$dlg_val(caller) = $fu;
	set_dlg_flag("1");""",
        "seq": 'if (is_method("BYE") && $DLG_status == 5) $var(x) = $dlg_val(caller);',
    }
    longest = 60

    def drained(self, timeout=90):
        """Wait until every dialog and every transaction is gone; shared memory in use then."""
        def empty():
            return (not self.proxy.fifo.dialogs() and
                    host.transactions(self.proxy) == 0)
        end = time.monotonic() + timeout * SLOW
        while not empty():
            self.assertLess(time.monotonic(), end, "left: %d transactions, %r" % (
                host.transactions(self.proxy), [(d["hash"], d["state"]) for d in self.proxy.fifo.dialogs()][:10]))
            time.sleep(0.5)
        used = -1
        while used != self.proxy.shm_used():  # tm frees some things with a delay
            self.assertLess(time.monotonic(), end)
            used = self.proxy.shm_used()
            time.sleep(2)
        return used

    def clean(self, rate, seconds):
        pair = Pair(self.proxy, loss=0, dup=0)
        try:
            got = pair.run(rate * seconds, rate, 60 * SLOW)
        finally:
            pair.close()
        return not got["retransmissions"] and not got["failed"]

    def best_rate(self):
        """Calls per second without a retransmission, on a good network."""
        rate = 100
        while rate < 5000 and self.clean(rate, 3):
            rate += max(50, rate // 5)
        while rate > 50 and not self.clean(rate, 10):
            rate -= max(10, rate // 8)
        return rate

    def lossy(self, calls, rate, seed):
        pair = Pair(self.proxy, seed=seed, loss=5, dup=5)
        try:
            got = pair.run(calls, rate, calls / rate * 3 + 120 * SLOW)
        finally:
            network = pair.close()
        self.assertGreater(network["lost"], calls / 10)
        self.assertGreater(network["doubled"], calls / 10)
        return dict(got, **network)

    def test_load_with_loss_and_duplicates(self):
        rate = self.best_rate() if self.RATE == "auto" else int(self.RATE)
        warm = self.lossy(max(200, min(self.CALLS // 10, 1000)), rate, self.SEED + 1000)
        before = self.drained()
        sites, pieces = self.proxy.shm_sites(), audit(self.proxy)["memory_pieces"]
        start = self.proxy.stats()
        self.assertGreaterEqual(start["processed"] - self.start_stats["processed"], warm["calls"])
        got = self.lossy(self.CALLS, rate, self.SEED)
        after = self.drained()
        now = self.proxy.stats()
        print("#     %d calls at %d/s: %d successful, %d failed, %d retransmissions by the caller; datagrams passed %d, "
              "lost %d, doubled %d; shared memory %d before, %d after; expired %d, failed %d"
              % (got["created"], rate, got["successful"], got["failed"], got["retransmissions"], got["passed"], got["lost"],
                 got["doubled"], before, after, now["expired"] - start["expired"], now["failed"] - start["failed"]))
        self.assertEqual((now["active"], now["early"]), (0, 0))
        self.assertEqual(got["created"], self.CALLS)
        self.assertAlmostEqual(got["calls"], self.CALLS, delta=self.CALLS / 1000)
        self.assertEqual(now["processed"] - start["processed"], got["calls"])
        self.assertGreater(got["successful"], self.CALLS * 0.95)
        a = audit(self.proxy)
        self.assertEqual((a["result"], a["dialogs"], a["timers_armed"], a["memory_pieces"]), ("ok", 0, 0, pieces))
        self.assertEqual(self.proxy.shm_sites(), sites)
        self.assertEqual(after, before)
