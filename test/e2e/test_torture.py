# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls at a rate while the proxy and the database are killed at random: none may be lost, come back or be there twice.

Environment: TORTURE_DB, one or more of "sqlite mysql postgres" (sqlite), TORTURE_ROUNDS (2), TORTURE_RATE in calls per
second (100), TORTURE_SECONDS per round (5), TORTURE_SEED to have the same moments again. `make torture` has all three
and 20 rounds of each."""

import collections
import contextlib
import os
import random
import re
import subprocess
import sys
import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, ProxyCase, audit
from db import over
from faults import figures
from proxy import MODULE, ROOT, Proxy
from sip import SLOW
from traffic import GIVE_UP, T1, T2, Clockwork, Packet

sys.path.insert(1, os.path.join(ROOT, "test", "db"))

import dbserver  # noqa: E402

KINDS = os.environ.get("TORTURE_DB", "sqlite").split()
ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "2"))
RATE = float(os.environ.get("TORTURE_RATE", "100"))
SECONDS = float(os.environ.get("TORTURE_SECONDS", "5"))
SEED = int(os.environ.get("TORTURE_SEED", "0")) or random.getrandbits(32)

NAMED = 20  # so many Call-IDs in a failure


class Call:
    """What both ends know of a call; times of the monotonic clock, 0 for not yet."""

    def __init__(self, name):
        self.id = name
        self.invited = time.monotonic()
        self.provisional = False
        self.refused = 0
        self.answered = 0    # the caller saw the 200
        self.acked = 0       # the callee saw the ACK
        self.bye_sent = self.bye_answered = 0
        self.bye_code = 0
        self.branch = b""    # of the INVITE the callee answers
        self.ok = b""
        self.to = b""
        self.routes = {}     # of "caller" and "callee"

    def busy(self):
        """Some message is still on its way."""
        if self.bye_sent:
            return not self.bye_code
        if self.answered:
            return not self.acked
        unheard = not self.branch and time.monotonic() - self.invited > 4 * SLOW  # 100, and then it died with the proxy
        return not self.refused and not unheard

    def sure(self, deaths):
        """The 200 came by the proxy that took the INVITE. Transactions die with their proxy; the next one passes on a
        200 of which it knows nothing."""
        return self.answered and not any(self.invited <= dead < self.answered for _, dead in deaths)

    def sure_of_ack(self, deaths):
        """An ACK takes effect when it was sent, and is in the journal just after that. Nobody repeats it when the proxy
        dies in between, and the call stays in state 3."""
        return self.acked and not any(killed - 0.2 * SLOW < self.acked <= dead for killed, dead in deaths)

    def in_flight(self, deaths):
        """Its INVITE or BYE lost the proxy before it was answered."""
        never = float("inf")
        spans = [(self.invited, self.answered or never)]
        spans += [(self.bye_sent, self.bye_answered or never)] if self.bye_sent else []
        return any(a <= dead < b for a, b in spans for _, dead in deaths)

    def __repr__(self):
        return "%s (%s)" % (self.id, ", ".join("%s %.3f" % (k, getattr(self, k)) for k in (
            "invited", "answered", "acked", "bye_sent", "bye_answered")))


class Traffic(Clockwork):
    """Caller and callee of all calls. Everything is repeated until it is answered, as the RFC says, whatever happens to
    the proxy."""

    def __init__(self, proxy, rng):
        super().__init__(RATE)
        self.proxy, self.rng = (proxy.ip, proxy.port), rng
        self.leaving, self.postponed = False, []

    def send(self, ua, data):
        with contextlib.suppress(BlockingIOError):
            ua.sock.sendto(data, self.proxy)

    def insist(self, ua, data, wanted, wait=T1, until=None):
        """Send again and again while it is wanted."""
        now = time.monotonic()
        until = until or now + GIVE_UP * SLOW
        if now < until and wanted():
            self.send(ua, data)
            self.later(wait, self.insist, ua, data, wanted, min(2 * wait, T2), until)

    # -- what the test tells

    def resume(self):
        with self.lock:
            self.paused, self.next_call = False, time.monotonic()
            for c in self.postponed:
                self.later(self.rng.uniform(0, 1), self.hang_up, c)
            self.postponed = []

    def pause(self):
        """No new calls, no new BYEs."""
        with self.lock:
            self.paused = True

    def end_all(self):
        """All calls end soon."""
        with self.lock:
            self.leaving = True
            for c in self.calls.values():
                if c.answered and not c.bye_sent:
                    self.later(self.rng.uniform(0, 2), self.hang_up, c)

    def busy(self):
        with self.lock:
            return [c for c in self.calls.values() if c.busy()]

    # -- caller

    def start_call(self):
        c = Call("torture%x-%d" % (SEED, next(self.serial)))
        self.calls[c.id] = c
        data = self.request(c, "caller", "INVITE", 1)
        self.insist(self.a, data, lambda: not (c.provisional or c.answered or c.refused))

    def request(self, c, side, method, cseq):
        mine, other = (self.a, self.b) if side == "caller" else (self.b, self.a)
        alice, bob = b"<sip:alice@example.com>;tag=a" + c.id.encode(), c.to or b"<sip:bob@example.org>"
        lines = [b"%s %s SIP/2.0" % (method.encode(), other.uri().encode()),
                 b"Via: %s" % mine.via("z9hG4bK%s-%s-%d" % (c.id, method, next(self.serial))).encode()]
        lines += [b"Route: " + r for r in c.routes.get(side, ())]
        lines += [b"Max-Forwards: 70", b"From: " + (alice if side == "caller" else bob),
                  b"To: " + (bob if side == "caller" else alice), b"Call-ID: " + c.id.encode(),
                  b"CSeq: %d %s" % (cseq, method.encode()), b"Contact: <%s>" % mine.uri().encode(),
                  b"Content-Length: 0", b"", b""]
        return b"\r\n".join(lines)

    def at_caller(self, data):
        p = Packet(data)
        c = self.calls[p.id]
        if not p.code:
            self.take_bye(self.a, p)
        elif p.method == "BYE":
            self.take_bye_reply(c, p)
        elif p.code < 200:
            c.provisional = True
        elif p.code >= 300:
            c.refused = c.refused or p.code
            self.send(self.a, self.ack_refusal(c, p))
        else:
            self.take_ok(c, p)

    def ack_refusal(self, c, p):
        """RFC 3261 17.1.1.3: in the branch of the INVITE."""
        lines = [b"ACK %s SIP/2.0" % self.b.uri().encode(), b"Via: " + p.via[0], b"Max-Forwards: 70",
                 b"From: " + p.caller, b"To: " + p.callee, b"Call-ID: " + c.id.encode(), b"CSeq: 1 ACK",
                 b"Content-Length: 0", b"", b""]
        return b"\r\n".join(lines)

    def take_ok(self, c, p):
        if not c.answered:
            c.answered = time.monotonic()
            c.to, c.routes["caller"] = p.callee, p.routes[::-1]
            self.later(self.rng.uniform(0.2, 8), self.hang_up, c)
        self.send(self.a, self.request(c, "caller", "ACK", 1))

    # -- callee

    def at_callee(self, data):
        p = Packet(data)
        c = self.calls[p.id]
        if p.code:
            self.take_bye_reply(c, p)
        elif p.method == "INVITE":
            self.take_invite(c, p)
        elif p.method == "ACK":
            c.acked = c.acked or time.monotonic()
        else:
            self.take_bye(self.b, p)

    def take_invite(self, c, p):
        if not c.branch:
            c.branch, c.routes["callee"] = p.via[0], p.routes
            c.ok = self.reply(p, b"200 OK", b";tag=b" + c.id.encode(), self.b)
            c.to = p.callee + b";tag=b" + c.id.encode()
            self.send(self.b, self.reply(p, b"180 Ringing", b";tag=b" + c.id.encode(), self.b))
            self.later(self.rng.uniform(0, 0.3), self.insist, self.b, c.ok, lambda: not c.acked)
        elif c.branch != p.via[0]:  # RFC 3261 8.2.2.2: the same request by way of another process
            self.send(self.b, self.reply(p, b"482 Merged", b";tag=m", self.b))

    def reply(self, p, status, tag, ua):
        lines = [b"SIP/2.0 " + status] + [b"Via: " + v for v in p.via] + [b"Record-Route: " + r for r in p.routes]
        lines += [b"From: " + p.caller, b"To: " + p.callee + tag, b"Call-ID: " + p.id.encode(), b"CSeq: " + p.cseq,
                  b"Contact: <%s>" % ua.uri().encode(), b"Content-Length: 0", b"", b""]
        return b"\r\n".join(lines)

    # -- both

    def take_bye(self, ua, p):
        self.send(ua, self.reply(p, b"200 OK", b"", ua))

    def hang_up(self, c):
        if self.paused and not self.leaving:
            self.postponed.append(c)
        elif not c.acked:  # the callee may not hang up yet
            self.later(0.2, self.hang_up, c)
        elif not c.bye_sent:
            side = self.rng.choice(("caller", "callee"))
            c.bye_sent = time.monotonic()
            self.insist(self.a if side == "caller" else self.b, self.request(c, side, "BYE", 2), lambda: not c.bye_code)

    def take_bye_reply(self, c, p):
        if p.code < 200 or c.bye_code:
            return
        c.bye_code = p.code
        if p.code == 200:
            c.bye_answered = time.monotonic()


class Check:
    """The calls as their ends know them against memory and table."""

    def __init__(self, calls, deaths, dialogs, rows):
        live = [d for d in dialogs if d.state < DELETED]
        self.calls, self.deaths = calls, deaths
        self.up = [c for c in calls.values() if c.sure(deaths) and not c.bye_sent]
        self.memory = collections.Counter(d["callid"] for d in live)
        self.table = collections.Counter(r["callid"] for r in rows)
        self.state = {d["callid"]: d.state for d in live}
        self.saved = {r["callid"]: r["state"] for r in rows}
        confirmed = {(d.entry, d.id) for d in live if d.state >= CONFIRMED_NA}
        stored = {(r["hash_entry"], r["hash_id"]) for r in rows}
        self.differ = ["%d:%d" % n for n in confirmed ^ stored]
        self.unacked = [c for c in calls.values() if c.acked and not c.bye_sent and not self.is_confirmed(c)]

    def is_confirmed(self, c):
        """In both places, if it is there."""
        return self.state.get(c.id, CONFIRMED) == self.saved.get(c.id, CONFIRMED) == CONFIRMED

    def problems(self):
        """{kind: Call-IDs}"""
        there = set(self.memory) | set(self.table)
        return {
            "lost": [c for c in self.up if not self.memory[c.id] or not self.table[c.id]],
            "revived": [c for c in self.calls.values() if c.bye_answered and c.id in there],
            "duplicated": [self.calls.get(i, i) for i in there if self.memory[i] > 1 or self.table[i] > 1],
            "in a wrong state": [c for c in self.up if c.sure_of_ack(self.deaths) and not self.is_confirmed(c)],
            "unknown": [i for i in there if i not in self.calls],
            "only in memory or only in the table": self.differ,
        }


class MortalCase(ProxyCase):
    """A proxy over a database of its own, to be killed."""

    kind = KINDS[0]

    @classmethod
    def setUpClass(cls):
        cls.db = dbserver.start(cls.kind)
        cls.addClassCleanup(cls.db.remove)
        subprocess.run([os.path.join(os.path.dirname(MODULE), "dlgctl"), "db", "create", cls.db.url], check=True,
                       stdout=subprocess.DEVNULL)
        cls.proxy = Proxy(params=dict(cls.params, db_mode=1, db_url=cls.db.url), hooks=cls.hooks, **cls.options)
        cls.proxy.params["db_journal_dir"] = os.path.join(cls.proxy.dir, "journal")
        for pattern in cls.allowed:
            cls.proxy.allow(pattern)
        try:
            cls.proxy.start()
        except BaseException:
            cls.proxy.kill()
            raise


class DeathAfterTheAck(MortalCase):
    """The script is still busy with the ACK when the proxy dies: its effect is in no journal."""

    seconds = 10
    params = {"ack_timeout": 2, "bye_on_timeout_flag": 5}
    hooks = {"initial": "record_route();\n\tcreate_dialog();\n\tsetflag(5);",
             "seq": 'if (is_method("ACK")) { t_relay(); usleep(900000); exit; }'}

    def test_the_call_goes_on(self):
        c = self.call()
        c.ring()
        c.answer(200)
        c.got(200)
        c.send("ACK")
        c.b.recv("ACK")
        self.proxy.crash()
        self.proxy.resume()
        time.sleep(5)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        c.a.silent(0)
        c.b.silent(0)
        c.hangup()
        self.wait_gone(c)
        self.assertEqual(self.db.rows(), [])


@over(*KINDS)
class Torture(MortalCase):
    seconds = 20
    options = {"shm": 128}
    allowed = (r"database .* is away",)
    longest = 20

    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)
        self.traffic = Traffic(self.proxy, random.Random(SEED + 1))
        self.deaths = []
        self.traffic.start()
        self.addCleanup(self.stop_traffic)
        print("#     seed %d" % SEED)

    def stop_traffic(self):
        self.traffic.stopped = True
        self.traffic.join()
        self.traffic.a.close()
        self.traffic.b.close()

    # -- one round

    def kill_proxy(self):
        killed = time.monotonic()
        self.proxy.crash()
        self.deaths.append((killed, time.monotonic()))

    def kill_something(self):
        """Without the database for a while the journal alone knows what happens."""
        kinds = ("proxy", "proxy twice") if self.kind == "sqlite" else ("proxy", "proxy twice", "database", "both")
        what = self.rng.choice(kinds)
        if what in ("database", "both"):
            self.db.kill()
            time.sleep(self.rng.uniform(0, 1.5))
        if what != "database":
            self.kill_proxy()
        if what in ("database", "both"):
            self.db.start()
        if what == "proxy twice":
            self.proxy.spawn()
            time.sleep(self.rng.uniform(0.02, 0.5))  # perhaps in the middle of the restore
            self.kill_proxy()
        if what != "database":
            self.proxy.resume()
        return what

    def round(self):
        """Calls, a death among them, and silence again. Returns what died and when."""
        moment = self.rng.uniform(0.3, SECONDS * 0.7)
        end, mark = time.monotonic() + SECONDS, self.proxy.log_mark()
        self.traffic.resume()
        time.sleep(moment)
        what = self.kill_something()
        time.sleep(max(end - time.monotonic(), 0.5))
        self.traffic.pause()
        return "%s killed after %.3f s%s" % (what, moment, self.restored(mark))

    def restored(self, mark):
        got = re.findall(r"(\d+) dialogs restored \((\d+) from the journal", self.proxy.log_since(mark))
        return ", restored %s (%s from the journal)" % got[-1] if got else ""

    def written(self):
        """Nothing waits for the writer, nor is in the batch that it has in hand: that one is in no queue, but has an age,
        which is 0 in its first millisecond."""
        for _ in range(2):
            f = figures(self.proxy)
            if f["db_queue"] or f["db_oldest_ms"]:
                return False
            time.sleep(0.02)
        return True

    def settle(self):
        """Let what is on its way arrive. Returns the calls that never come to rest."""
        end = time.monotonic() + 6 * SLOW
        while self.traffic.busy() and time.monotonic() < end:
            self.assertIsNone(self.traffic.error)
            time.sleep(0.05)
        self.wait_until("the writer to be done", self.written, 20)
        return self.traffic.busy()

    def check(self, number, what):
        left = self.settle()
        found = Check(self.traffic.calls, self.deaths, self.proxy.fifo.dialogs(), self.db.rows())
        bad = found.problems()
        calls = self.traffic.calls.values()
        print("#     round %d, %s, %s: %d calls so far, %d up, %d ended, %d in flight at a death, %d whose ACK died, "
              "%d refused, %d not at rest, %d rows; %s" % (
                  number, self.kind, what, len(calls), len(found.up), sum(c.bye_answered > 0 for c in calls),
                  sum(c.in_flight(self.deaths) for c in calls), len(found.unacked), sum(c.refused > 0 for c in calls),
                  len(left), sum(found.table.values()), ", ".join("%d %s" % (len(v), k) for k, v in bad.items())),
              flush=True)
        self.assertEqual(audit(self.proxy)["result"], "ok")
        self.assertFalse(any(bad.values()), "\n".join(
            ["round %d, %s, %s, deaths at %r" % (number, self.kind, what, self.deaths[-2:])] +
            ["%s: %r" % (k, v[:NAMED]) for k, v in bad.items() if v]))

    def all_over(self):
        return all(c.bye_code or not c.answered for c in self.traffic.calls.values())

    def test_nothing_is_lost(self):
        for number in range(1, ROUNDS + 1):
            self.check(number, self.round())
        self.traffic.end_all()
        self.wait_until("all calls to end", self.all_over, 20)
        self.wait_until("the table to be empty", lambda: not self.db.rows(), 10)
