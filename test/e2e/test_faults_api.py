# SPDX-License-Identifier: GPL-2.0-or-later
"""Another module that is no good neighbour: slow in its callbacks, or calling back into us from all of them; or one
that takes all the memory there is. The module is module/faults.c."""

import os
import re
import time
import unittest

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UP
from faults import BAD_MODULE, NOT_OURS, SHM_LINES, FaultCase, figures
from hosts import dialect, host, only

FAULT = """
	record_route();
	create_dialog();
	if (is_present_hf("X-Fault")) $dlg_val(fault) = $hdr(X-Fault);
"""
RINGS, TALKS, WITHIN = 8, 4, 5  # bits of DLGCB_EARLY, DLGCB_CONFIRMED, DLGCB_REQ_WITHIN


@unittest.skipUnless(os.path.exists(BAD_MODULE), "the test's module has not been built: make " + BAD_MODULE)
class NeighbourCase(FaultCase):
    options = {"after": [(BAD_MODULE, [])]}
    hooks = {"initial": FAULT}
    seconds = 15

    def fault(self, text):
        return lambda c: ["X-Fault: " + text]


class SlowCallbacks(NeighbourCase):
    def test_slow(self):
        """Every callback takes 20 ms of its worker: calls take longer, and that is all."""
        t = self.traffic(rate=10, headers=self.fault("slow 20"))
        time.sleep(4)
        self.sound()
        self.all_well(t)

    def test_very_slow_for_one_call(self):
        """A worker hangs for a second in each callback of one call; the others have the other workers."""
        t = self.traffic(rate=10)
        began = time.monotonic()
        c = self.call().setup(headers=[["X-Fault", "slow 1000"]])
        self.assertGreater(time.monotonic() - began, 1)
        self.wait_state(c, CONFIRMED)
        c.hangup(UP, timeout=10)
        self.wait_state(c, DELETED)
        self.sound()
        t.wait_over()
        self.assertEqual(t.problems()[:10], [])
        self.counted(t, processed=1, ended_callee=1)


@only("kamailio", "reply_relay_mode")
class EarlyAck(NeighbourCase):
    """With reply_relay_mode 0 tm relays a copy of a 2xx while it is telling us of the first: the ACK is quicker."""

    params = {"ack_timeout": 3}
    tm = {"reply_relay_mode": 0}

    def answered_twice(self, rings):
        c = self.call()
        c.ring(headers=[["X-Fault", "slow 1000"]])
        if rings:
            c.answer(180)
            c.got(180)
        for _ in range(2):
            c.answer(200)
            time.sleep(0.2)
        c.got(200)
        self.assertLess(self.state(c), CONFIRMED_NA)
        c.ack()
        time.sleep(6)
        return c

    def test_of_a_callee_that_rang(self):
        c = self.answered_twice(rings=True)
        self.assertEqual(self.state(c), CONFIRMED)
        c.hangup(UP, timeout=10)
        self.wait_state(c, DELETED)

    def test_of_one_that_did_not(self):
        c = self.answered_twice(rings=False)
        self.assertIn(self.state(c), (CONFIRMED_NA, CONFIRMED))
        c.hangup(UP, timeout=10)
        self.wait_state(c, DELETED)


class CallsBack(NeighbourCase):
    def seen(self, c):
        for d in self.proxy.fifo.dialogs(command="dlg_list_ctx"):
            if d["callid"] == c.call_id:
                return dict(v.split(" = ", 1) for k, v in d["context"] if k == "value")["seen"]
        return None

    def test_back(self):
        """From every callback, everything in the API."""
        t = self.traffic(rate=20, headers=self.fault("back 0"))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            self.assertIn(self.proxy.fifo.cmd("dlg_list_ctx")[:4], ("200 ", "404 "))
            time.sleep(0.1)
        self.sound()
        self.all_well(t)

    def test_every_callback_counts(self):
        c = self.call().setup(headers=[["X-Fault", "back 0"]])
        self.wait_state(c, CONFIRMED)
        # 180: any reply, first reply; 200: any reply, answer; the ACK
        self.wait_until("five callbacks", lambda: int(self.seen(c)) >= 5)
        c.exchange("INFO")
        # the request, the reply, and what our own listings called
        self.wait_until("two more at least", lambda: int(self.seen(c)) >= 7)
        c.hangup()
        self.wait_state(c, DELETED)

    def test_ends_calls(self):
        """end() in a callback: both parties are told, and the call counts as ended by command."""
        for bit, kind in ((TALKS, "victim"), (WITHIN, "victim")):
            with self.subTest(bit=bit):
                t = self.traffic(rate=20, kinds={kind: 1}, headers=self.fault("end %d" % bit), prefix="end%d" % bit)
                time.sleep(1)
                self.all_well(t)

    def test_ends_ringing_calls(self):
        c = self.call()
        c.ring(headers=[["X-Fault", "end %d" % RINGS]])
        c.answer(180)
        c.got(180)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(480)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)


class EndsInRoutes(NeighbourCase):
    """A script function of it ends calls that are being set up in routes that run under a lock of tm."""

    seconds = 12
    END = 'if (is_present_hf("X-End")) fault_end();'
    options = {"after": [(BAD_MODULE, [])],
               "extra": dialect(kamailio="", opensips='modparam("tm", "onreply_avp_mode", 1)\n')}
    hooks = {"reply": END, "failure": END}

    def test_failure_route(self):
        c = self.call()
        c.ring(headers=[["X-End", "now"], ["X-Serial", c.ua("carol").uri()]])
        c.answer(486)
        c.got(480)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)

    def test_reply_route(self):
        c = self.call()
        c.ring()
        c.answer(180, headers=[["X-End", "now"]])
        c.got(480)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, failed=1)


class MemoryTaken(NeighbourCase):
    """All shared memory is taken away under calls, and comes back."""

    seconds = 25
    allowed = (NOT_OURS, SHM_LINES, r"dialog.*(memory|not stored)")
    params = {"setup_timeout": 10, "ack_timeout": 10}
    tm = {"fr_timer": 10000, "fr_inv_timer": 15000}
    options = {"after": [(BAD_MODULE, [])], "shm": 16}
    longest = 25

    def take(self, what):
        """Two ringing calls: the one takes the memory now, the other will give it back."""
        takes, gives = self.call(), self.call()
        for c, text in ((takes, what), (gives, "release 0")):
            c.ring(headers=[["X-Fault", text]])
        takes.answer(180)
        takes.got(180)
        return takes, gives

    def give(self, takes, gives):
        gives.answer(180)
        gives.got(180, 8)
        for c in (takes, gives):
            c.answer(200)
            c.got(200, 8)
            c.ack()
            c.hangup()
            self.wait_state(c, DELETED)

    def only_refused_byes_left(self, t, settled):
        """A BYE that the host had no memory to forward has not ended its call: the parties got 500 for it, and an
        operator's command ends what is left. An INVITE that got its 500 from a host without memory is over at the
        setup limit at the latest."""
        mine = {c.call_id for c in settled}
        left = [d for d in self.proxy.fifo.dialogs() if d.state < DELETED and d["callid"] not in mine]
        for d in left:
            c = t.calls[d["callid"]]
            self.assertTrue(c.trouble or (c.code >= 500 and d.state <= EARLY if c.code >= 300 else c.bye_code >= 300),
                            (c, dict(d)))
        for d in left:
            self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        self.wait_until("these to end", lambda: not [d for d in self.proxy.fifo.dialogs()
                                                     if d.state < DELETED and d["callid"] not in mine], 12)

    def none_went_unseen(self, t):
        """Each answered call was tracked, or refused by the module and counted. An INVITE that the host had no memory
        to know again may be counted twice."""
        seen = self.change()
        answered = sum(1 for c in t.calls.values() if 200 <= c.code < 300)
        self.assertGreater(answered, 0)
        self.assertGreaterEqual(seen["processed"] + seen["refused"], answered)

    def test_shared_memory(self):
        settled = [self.call().setup() for _ in range(5)]
        t = self.traffic(rate=20)
        time.sleep(1)
        before = figures(self.proxy)
        takes, gives = self.take("hogshm 300")
        time.sleep(6)
        short = figures(self.proxy)
        self.sound()
        t.pause()
        self.give(takes, gives)
        left = t.wait_over(40)
        bad = t.problems()
        refused = short["refused"] - before["refused"]
        print("#     %d calls, %d refused by the module, %d had another end: %r" % (
            len(t.calls), refused, len(bad), bad[:2]), flush=True)
        self.assertGreater(refused + len(bad), 0)  # the module's memory ends last, or the host's
        self.assertEqual(left, [])
        self.none_went_unseen(t)
        self.only_refused_byes_left(t, settled)
        for c in settled:
            self.assertEqual(self.state(c), CONFIRMED)
            c.hangup(DOWN)
            self.wait_state(c, DELETED)
        t = self.traffic(rate=20, prefix="after")
        time.sleep(1.5)
        self.assertEqual(self.change()["refused"], 0)
        self.all_well(t)


class PrivateMemoryTaken(MemoryTaken):
    """The same in the one process that takes messages."""

    options = {"after": [(BAD_MODULE, [])], "children": 1}
    test_shared_memory = None
    LEFT_KB = 2

    def test_private_memory(self):
        settled = [self.call().setup() for _ in range(5)]
        mark = self.proxy.log_mark()
        takes, gives = self.take("hogpkg %d" % self.LEFT_KB)
        t = self.traffic(rate=20)
        time.sleep(2)
        self.sound()
        ran_out = len(re.findall(host.NO_PRIVATE_MEMORY, self.proxy.log_since(mark)))
        self.give(takes, gives)
        t.pause()
        self.assertEqual(t.wait_over(40), [])
        print("#     %d calls, %d had another end; no private memory: %d times" % (len(t.calls), len(t.problems()), ran_out),
              flush=True)
        self.assertGreater(ran_out, 0)
        self.none_went_unseen(t)
        self.only_refused_byes_left(t, settled)
        for c in settled:
            self.assertEqual(self.state(c), CONFIRMED)
            c.hangup(DOWN)
            self.wait_state(c, DELETED)
        t = self.traffic(rate=20, prefix="after")
        time.sleep(1)
        self.all_well(t)
