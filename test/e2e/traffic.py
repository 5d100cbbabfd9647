# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls at a rate, in a thread of their own, whose ends know how each of them went.

Two sockets play all callers and all callees. They behave as RFC 3261 wants: what is not answered is
repeated, what is repeated is answered again. Each call has a kind that says how it goes:

    talk     rings, is answered, talks, one side hangs up
    modify   the same, with a re-INVITE and an INFO of either side on the way
    cancel   the caller gives up while it rings
    busy     486
    victim   talks until the proxy ends it, for so long as `patience` allows

So that whoever runs a fault under them can say afterwards what the proxy must have counted."""

import collections
import contextlib
import heapq
import itertools
import random
import select
import threading
import time

from sip import SLOW, UA

T1, T2, GIVE_UP = 0.1, 1.0, 20  # RFC 3261 17.1.1.1, in a hurry

KINDS = {"talk": 5, "modify": 2, "cancel": 2, "busy": 1}
ANSWERED = ("talk", "modify", "victim")


class Packet:
    """The few headers that the ends need, fast."""

    def __init__(self, data):
        lines = data.split(b"\r\n")
        self.start, self.via, self.routes, self.data = lines[0], [], [], data
        self.caller = self.callee = self.cseq = b""
        self.id, self.method = "", ""
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            name = name.lower()
            if name == b"via":
                self.via.append(value)
            elif name == b"record-route":
                self.routes.append(value)
            elif name == b"from":
                self.caller = value
            elif name == b"to":
                self.callee = value
            elif name == b"call-id":
                self.id = value.decode("utf-8", "replace")
            elif name == b"cseq":
                self.cseq = value
                self.method = value.split()[-1].decode("utf-8", "replace")
            elif not name:
                break
        self.code = int(self.start[8:11]) if self.start.startswith(b"SIP/2.0 ") else 0
        if not self.code:
            self.method = self.start.split()[0].decode()


class Call:
    """What both ends know of a call; times of the monotonic clock, 0 for not yet."""

    def __init__(self, name, kind):
        self.id, self.kind = name, kind
        self.invited = time.monotonic()
        self.heard = 0          # anything at all came back
        self.code = 0           # final status of the INVITE
        self.answered = self.acked = self.ended = 0
        self.bye_by = ""        # "caller", "callee"; "proxy": neither of them sent the BYE that came
        self.bye_code = 0
        self.branch = b""
        self.final = b""        # the callee's final reply
        self.final_acked = False
        self.cancel_code = 0
        self.cseq = {"caller": 1, "callee": 100}
        self.routes = {"caller": [], "callee": []}
        self.pending = {}       # requests inside the call: (side, cseq): code
        self.byes = set()       # sides that got one
        self.trouble = []

    @property
    def over(self):
        """Nothing more comes from either end."""
        if self.trouble:
            return True
        if not self.code:
            return False
        if self.code >= 300:
            return self.final_acked or not self.final
        return bool(self.ended)

    def problem(self, tolerated=()):
        """Why the call did not go as its kind wants, or None. `tolerated`: further codes."""
        if self.trouble:
            return "; ".join(self.trouble)
        want = {"cancel": 487, "busy": 486}.get(self.kind, 200)
        if self.code in tolerated:
            return None
        if self.code != want:
            return "final answer %d instead of %d" % (self.code, want)
        if want == 200 and self.bye_by not in (("proxy",) if self.kind == "victim" else ("caller", "callee")):
            return "ended by %s" % (self.bye_by or "nobody")
        if want == 200 and self.bye_by != "proxy" and self.bye_code != 200:
            return "BYE answered with %d" % self.bye_code
        return None

    def __repr__(self):
        return "%s (%s, %d, ended by %s%s)" % (self.id, self.kind, self.code, self.bye_by or "nobody",
                                               ", " + "; ".join(self.trouble) if self.trouble else "")


class Clockwork(threading.Thread):
    """A thread that plays caller and callee: reads what comes, repeats what is due, and starts calls at a rate while it
    is not paused. Its heirs say what that is: at_caller(), at_callee(), start_call()."""

    def __init__(self, rate):
        super().__init__(daemon=True)
        self.rate = rate
        self.a, self.b = UA("alice"), UA("bob")
        for ua in (self.a, self.b):
            ua.sock.setblocking(False)
        self.calls = {}
        self.lock = threading.RLock()
        self.stopped, self.paused, self.error = False, True, None
        self.next_call = 0.0
        self.timers, self.serial = [], itertools.count(1)

    def later(self, seconds, do, *args):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.serial), do, args))

    def run(self):
        try:
            while not self.stopped:
                self.turn()
        except BaseException as e:  # reported by whoever looks
            self.error = e
            raise

    def turn(self):
        """Read before anything is repeated: what has arrived needs no repetition."""
        ready = select.select([self.a.sock, self.b.sock], [], [], self.rest())[0]
        with self.lock:
            for sock in ready:
                self.read(sock, self.at_caller if sock is self.a.sock else self.at_callee)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                _, _, do, args = heapq.heappop(self.timers)
                do(*args)
            while not self.paused and self.next_call <= now:
                self.next_call = max(self.next_call, now - 0.5) + 1 / self.rate
                self.start_call()

    def rest(self):
        due = [self.timers[0][0]] if self.timers else []
        due += [] if self.paused else [self.next_call]
        return min(max(min(due, default=1e9) - time.monotonic(), 0), 0.02)

    def read(self, sock, handle):
        with contextlib.suppress(BlockingIOError):
            for _ in range(200):
                handle(sock.recv(65535))


class Traffic(Clockwork):
    """`to`: where callers and callees send, if not to the proxy itself; `contacts`: as what they are reached.
    `headers`: a function of the call, further header lines of its INVITE."""

    def __init__(self, proxy, seed, rate=20.0, kinds=None, talk=(0.2, 1.0), to=None, contacts=None, headers=None,
                 patience=20.0, ring=(0.0, 0.2), prefix="t"):
        super().__init__(rate)
        self.proxy, self.talk, self.ring, self.patience = proxy, talk, ring, patience
        self.rng = random.Random(seed)
        self.kinds = kinds or KINDS
        self.extra = headers or (lambda c: ())
        self.prefix = "%s%x" % (prefix, random.getrandbits(40))
        here = (proxy.ip, proxy.port)
        self.to = dict(zip(("caller", "callee"), to or (here, here)))
        self.contact = dict(zip(("caller", "callee"), contacts or (self.a.addr, self.b.addr)))
        self.forgotten = 0
        self.tolerated = {}  # kind: further codes
        self.unanswered = ()  # beginnings of messages that the host may leave without an answer
        self.forgiven = 0  # how many refusals the host may lose on their way to the caller
        self.open = set()
        self.frozen, self.stray = False, 0

    def read(self, sock, handle):
        """Messages that belong to no call are counted."""
        super().read(sock, lambda data: self.sort(data, handle))

    def sort(self, data, handle):
        try:
            p = Packet(data)
            c = self.calls.get(p.id)
        except (ValueError, IndexError):
            c = None
        if c:
            handle(c, p)
        else:
            self.stray += 1

    def send(self, side, data):
        with contextlib.suppress(BlockingIOError):
            (self.a if side == "caller" else self.b).sock.sendto(data, self.to[side])

    def insist(self, c, side, data, wanted, wait=T1, until=None):
        """Send again and again while it is wanted."""
        now = time.monotonic()
        until = until or now + GIVE_UP * SLOW
        if not wanted():
            return
        if now >= until:
            said = data.split(b"\r\n")[0].decode()
            if not said.startswith(self.unanswered):
                c.trouble.append("no answer to %s" % said)
            elif data == c.final:
                c.final_acked = True  # nobody waits for it any more
            self.done(c)
            return
        self.send(side, data)
        self.later(wait, self.insist, c, side, data, wanted, min(2 * wait, T2), until)

    # -- what the test tells

    def go(self):
        with self.lock:
            self.paused, self.next_call = False, time.monotonic()
        if not self.is_alive():
            self.start()
        return self

    def pause(self):
        """No new calls."""
        with self.lock:
            self.paused = True

    def freeze(self, timeout=15.0):
        """No new calls, nothing new in the old ones; until all are over or just talk. Returns those that do not."""
        self.frozen = True
        self.pause()
        end = time.monotonic() + timeout * SLOW
        while self.moving() and not self.error and time.monotonic() < end:
            time.sleep(0.02)
        return self.moving()

    def thaw(self):
        self.frozen = False
        self.go()

    def moving(self):
        with self.lock:
            return [c for c in (self.calls[i] for i in self.open) if not (
                c.acked and not c.bye_by and c.final_acked and all(code for _, _, code in c.pending.values()))]

    def wait_over(self, timeout=30.0):
        """Until every call has come to its end; returns those that have not."""
        self.pause()
        self.frozen = False
        end = time.monotonic() + timeout * SLOW
        while self.open and not self.error and time.monotonic() < end:
            time.sleep(0.02)
        with self.lock:
            return [self.calls[i] for i in self.open]

    def close(self):
        self.stopped = True
        if self.is_alive():
            self.join()
        self.a.close()
        self.b.close()

    def live(self):
        """Answered, acknowledged, and nobody has hung up."""
        with self.lock:
            return [c for c in self.calls.values() if c.acked and not c.bye_by and not c.trouble]

    def setting_up(self):
        with self.lock:
            return [c for c in self.calls.values() if not c.trouble and not (c.acked or c.code >= 300)]

    def problems(self):
        """What went wrong for the ends."""
        with self.lock:
            why = [(c, c.problem(self.tolerated.get(c.kind, ()))) for c in self.calls.values()]
            bad = ["%r: %s" % w for w in why if w[1]]
        return bad + (["the thread of the calls: %r" % self.error] if self.error else [])

    def forget(self):
        """Calls that are over and went well, so that hours of calls need no more memory than minutes."""
        with self.lock:
            for i in [i for i, c in self.calls.items() if i not in self.open and not c.problem(self.tolerated.get(c.kind, ()))]:
                del self.calls[i]
                self.forgotten += 1

    def tally(self):
        """How the calls ended, as the figures of dlg_stats count it."""
        with self.lock:
            n = collections.Counter()
            for c in self.calls.values():
                n["processed"] += bool(c.heard)
                n["ended_cancel"] += c.code == 487
                n["ended_reject"] += c.code == 486
                n["ended_no_answer"] += c.code == 408
                n["failed"] += c.code in (408, 480, 486, 487)
                n["ended_caller"] += c.bye_by == "caller"
                n["ended_callee"] += c.bye_by == "callee"
                n["ended_command"] += c.bye_by == "proxy" or c.code == 480  # by command while it rang
            return dict(n)

    def done(self, c):
        if c.over:
            self.open.discard(c.id)

    # -- messages

    def request(self, c, side, method, cseq, branch=None, headers=()):
        other = "callee" if side == "caller" else "caller"
        user = {"caller": "alice", "callee": "bob"}
        alice = b"<sip:alice@example.com>;tag=a" + c.id.encode()
        bob = b"<sip:bob@example.org>"
        if c.answered or side == "callee":
            bob += b";tag=b" + c.id.encode()
        lines = [("%s sip:%s@%s SIP/2.0" % (method, user[other], self.contact[other])).encode(),
                 b"Via: SIP/2.0/UDP %s;branch=%s" % (
                     self.contact[side].encode(),
                     branch or ("z9hG4bK%s-%s-%d" % (c.id, method, next(self.serial))).encode())]
        lines += [b"Route: " + r for r in c.routes[side]]
        lines += [b"Max-Forwards: 70", b"From: " + (alice if side == "caller" else bob),
                  b"To: " + (bob if side == "caller" else alice), b"Call-ID: " + c.id.encode(),
                  b"CSeq: %d %s" % (cseq, method.encode()),
                  b"Contact: <sip:%s@%s>" % (user[side].encode(), self.contact[side].encode())]
        lines += [h.encode("utf-8", "surrogateescape") for h in headers]
        return b"\r\n".join(lines + [b"Content-Length: 0", b"", b""])

    def reply(self, c, side, p, status):
        """Of the end `side`; to the proxy, whatever Via says."""
        to = p.callee if b";tag=" in p.callee else p.callee + b";tag=b" + c.id.encode()
        lines = [b"SIP/2.0 " + status] + [b"Via: " + v for v in p.via] + [b"Record-Route: " + r for r in p.routes]
        lines += [b"From: " + p.caller, b"To: " + to, b"Call-ID: " + c.id.encode(), b"CSeq: " + p.cseq]
        if not status.startswith((b"4", b"100")):
            lines.append(b"Contact: <sip:%s@%s>" % (b"alice" if side == "caller" else b"bob", self.contact[side].encode()))
        return b"\r\n".join(lines + [b"Content-Length: 0", b"", b""])

    # -- the caller

    def start_call(self):
        kind = self.rng.choices(list(self.kinds), self.kinds.values())[0]
        c = Call("%s-%d" % (self.prefix, next(self.serial)), kind)
        self.calls[c.id] = c
        self.open.add(c.id)
        c.branch = ("z9hG4bK%s-inv" % c.id).encode()
        c.invite = self.request(c, "caller", "INVITE", 1, c.branch, self.extra(c))
        self.insist(c, "caller", c.invite, lambda: not c.heard)
        self.later(3 * GIVE_UP * SLOW + self.ring[1], self.too_long, c)

    def too_long(self, c):
        if c.over or c.kind == "victim" or c.answered:
            return
        if self.forgiven and not c.code and c.final.startswith(b"SIP/2.0 4"):
            self.forgiven -= 1
            c.code = int(c.final[8:11])
        else:
            c.trouble.append("no final answer")
        self.done(c)

    def at_caller(self, c, p):
        if not p.code:
            self.take_request(c, "caller", p)
        elif p.method == "INVITE" and p.cseq.split()[0] == b"1":
            c.heard = c.heard or time.monotonic()
            if p.code >= 300:
                self.take_refusal(c, p)
            elif p.code >= 200:
                self.take_ok(c, p)
            elif c.kind == "cancel" and p.code > 100 and not c.cancel_code:
                c.cancel_code = 1
                self.later(self.rng.uniform(*self.ring), self.cancel, c)
        else:
            self.take_reply(c, "caller", p)

    def cancel(self, c, data=None):
        """`data`: the CANCEL, if it was made before."""
        if not c.code:
            self.insist(c, "caller", data or self.request(c, "caller", "CANCEL", 1, c.branch),
                        lambda: c.cancel_code < 200 and not c.code)

    def take_refusal(self, c, p):
        c.code = c.code or p.code
        lines = [c.invite.split(b"\r\n")[0].replace(b"INVITE", b"ACK", 1), b"Via: " + p.via[0], b"Max-Forwards: 70",
                 b"From: " + p.caller, b"To: " + p.callee, b"Call-ID: " + c.id.encode(), b"CSeq: 1 ACK",
                 b"Content-Length: 0", b"", b""]
        self.send("caller", b"\r\n".join(lines))
        self.done(c)

    def take_ok(self, c, p):
        if not c.answered:
            c.answered = time.monotonic()
            c.code = c.code or p.code  # a refusal may have crossed the answer: the first one counts
            c.routes["caller"] = p.routes[::-1]
            self.later(self.rng.uniform(*self.talk), self.talked, c)
            if c.kind == "modify":
                for method in ("INVITE", "INFO"):
                    side = self.rng.choice(("caller", "callee"))
                    self.later(self.rng.uniform(0, self.talk[0]), self.within, c, side, method)
        self.send("caller", self.request(c, "caller", "ACK", 1))

    # -- the callee

    def at_callee(self, c, p):
        if p.code:
            self.take_reply(c, "callee", p)
        elif p.method == "INVITE" and p.cseq.split()[0] == b"1" and b";tag=" not in p.callee:
            self.take_invite(c, p)
        elif p.method == "ACK" and p.cseq.split()[0] == b"1":
            c.final_acked = True
            if c.final.startswith(b"SIP/2.0 200"):
                c.acked = c.acked or time.monotonic()
            self.done(c)
        elif p.method == "CANCEL":
            self.send("callee", self.reply(c, "callee", p, b"200 OK"))
            if not c.final:
                self.finally_(c, b"487 Request Terminated")
        else:
            self.take_request(c, "callee", p)

    def take_invite(self, c, p):
        if not hasattr(c, "request"):
            c.request, c.routes["callee"] = p, list(p.routes)
            c.ringing = self.reply(c, "callee", p, b"180 Ringing")
            if c.kind == "busy":
                self.later(self.rng.uniform(*self.ring), self.finally_, c, b"486 Busy Here")
            elif c.kind != "cancel":
                self.later(self.rng.uniform(*self.ring), self.finally_, c, b"200 OK")
            else:
                self.later(GIVE_UP * SLOW + self.ring[1], self.finally_, c, b"480 Nobody cancels")
        self.send("callee", c.final or c.ringing)

    def finally_(self, c, status):
        if not c.final:
            c.final = self.reply(c, "callee", c.request, status)
            self.insist(c, "callee", c.final, lambda: not c.final_acked)

    # -- both

    def within(self, c, side, method):
        """A request inside the call, if it is still up. The next one of that side has to wait for the answer to the
        last, or workers of a busy machine might take them in the wrong order; and neither side may send one before
        it has the ACK."""
        if c.bye_by:
            return
        if not c.acked or self.frozen or any(s == side for (s, _), (_, _, code) in c.pending.items() if not code):
            self.later(0.1, self.within, c, side, method)
            return
        c.cseq[side] += 1
        key = (side, c.cseq[side])
        c.pending[key] = (method, time.monotonic(), 0)
        self.insist(c, side, self.request(c, side, method, c.cseq[side]), lambda: not c.pending[key][2] and not c.bye_by)

    def talked(self, c):
        if c.kind == "victim":
            self.later(self.patience, self.hang_up, c)
        else:
            self.hang_up(c)

    def hang_up(self, c):
        if c.bye_by or c.trouble:
            return
        if not c.acked or self.frozen:  # the callee may not hang up yet
            self.later(0.1, self.hang_up, c)
            return
        side = c.bye_by = self.rng.choice(("caller", "callee"))
        c.cseq[side] += 1
        self.insist(c, side, self.request(c, side, "BYE", c.cseq[side]), lambda: not c.bye_code)

    def take_request(self, c, side, p):
        if p.method == "ACK":
            return
        self.send(side, self.reply(c, side, p, b"200 OK"))
        if p.method == "BYE":
            c.bye_by = c.bye_by or "proxy"
            c.byes.add(side)
            if c.bye_by == "proxy" and len(c.byes) == 2:
                c.ended = c.ended or time.monotonic()
                self.done(c)

    def take_reply(self, c, side, p):
        if p.code < 200:
            return
        number = int(p.cseq.split()[0])
        if p.method == "CANCEL":
            c.cancel_code = max(c.cancel_code, p.code)
        elif p.method == "BYE":
            c.bye_code = c.bye_code or p.code
            if c.bye_by == side:
                c.ended = c.ended or time.monotonic()
                self.done(c)
        elif (side, number) in c.pending:
            method, when, _ = c.pending[side, number]
            c.pending[side, number] = (method, when, p.code)
            if method == "INVITE" and p.code < 300:
                self.send(side, self.request(c, side, "ACK", number))
