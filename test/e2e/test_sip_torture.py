# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that nobody should send: those of RFC 4475, damaged ones of real calls, and garbage. Never a crash, never a
dialog that stays, and no call of anybody else takes notice.

Environment: FAULTS_LONG, FAULTS_SEED, see faults.py."""

import errno
import random
import re
import select
import socket
import threading
import time

import mangle
import rfc4475
from base import CONFIRMED, DELETED, DOWN, UP
from faults import NOT_OURS, SEED, FaultCase, figures, scaled
from hosts import host
from sip import SLOW, UA

HEADER = re.compile(rb"^(via|v|from|f|to|t|call-id|i|cseq|record-route)[ \t]*:", re.I)


class Sink(threading.Thread):
    """Gets what broken messages become, and answers it somehow."""

    def __init__(self, rng):
        super().__init__(daemon=True)
        self.ua, self.rng, self.stopped, self.got = UA("sink"), rng, False, 0
        self.ua.sock.settimeout(0.1)
        self.start()

    def run(self):
        while not self.stopped:
            try:
                data, src = self.ua.sock.recvfrom(65535)
            except TimeoutError:
                continue
            self.got += 1
            if not data.startswith((b"SIP/", b"ACK ")):
                self.answer(data, src)

    def answer(self, data, src):
        codes = (b"200 OK",)
        if data.startswith(b"INVITE"):
            codes = self.rng.choice(((b"180 Ringing",), (b"180 Ringing", b"200 OK"), (b"486 Busy Here",), (b"183 X", b"180 Y", b"603 No"), ()))
        lines, take = [], False
        for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            take = bool(HEADER.match(line)) or (take and line[:1] in (b" ", b"\t"))
            if take:
                if re.match(rb"(?i)(to|t)[ \t]*:", line) and b"tag" not in line:
                    line += b";tag=sink"
                lines.append(line)
        for code in codes:
            reply = b"\r\n".join([b"SIP/2.0 " + code] + lines + [b"Contact: <sip:sink@%s>" % self.ua.addr.encode(),
                                                               b"Content-Length: 0", b"", b""])
            self.ua.sock.sendto(reply, src)

    def close(self):
        self.stopped = True
        self.join()
        self.ua.close()


class TortureCase(FaultCase):
    """What comes from the port of the attacker goes to the sink, wherever it wants to go; so nothing has to be resolved."""

    params = {"setup_timeout": 3, "ack_timeout": 3, "default_timeout": 40, "profiles_with_value": "who"}
    tm = {"fr_timer": 1500, "fr_inv_timer": 2500, "wt_timer": 1000}
    options = {"strangers": True}
    allowed = (NOT_OURS,)
    seconds = 20
    longest = 60

    @classmethod
    def setUpClass(cls):
        cls.attacker, cls.sink = UA("attacker"), Sink(random.Random(SEED))
        cls.addClassCleanup(cls.attacker.close)
        cls.addClassCleanup(cls.sink.close)
        away = 'if ($sp == %d) $du = "sip:%s";\n' % (cls.attacker.port, cls.sink.ua.addr)
        cls.hooks = {"initial": 'record_route();\n\tif (create_dialog()) set_dlg_profile("who", "$fu");\n\t$dlg_val(k) = $tu;\n\t' + away,
                     "seq": "$var(s) = $DLG_status;\n\t" + away}
        super().setUpClass()

    def attack(self, raw):
        self.attacker.sock.sendto(raw, (self.proxy.ip, self.proxy.port))

    def answers(self):
        """Take away what came back."""
        self.attacker.sock.setblocking(False)
        try:
            while self.attacker.sock.recv(65535):
                pass
        except BlockingIOError:
            pass
        self.attacker.sock.setblocking(True)

    def unharmed(self):
        """A call that begins now goes as ever."""
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.hangup(UP)
        self.wait_state(c, DELETED)


class Rfc4475(TortureCase):
    def processed(self):
        return figures(self.proxy)["processed"]

    def test_as_they_are(self):
        self.seeded()
        for section, name, want, raw in rfc4475.MESSAGES:
            with self.subTest(section=section, name=name):
                before = self.processed()
                self.attack(raw)
                time.sleep(0.03)
                if want == rfc4475.TRACKED:
                    self.wait_until("the dialog", lambda: self.processed() == before + 1, 2)
                made = self.processed() - before
                allowed = {rfc4475.TRACKED: (1,), rfc4475.NOTHING: (0,), rfc4475.MAYBE: (0, 1)}[want]
                self.assertIn(made, allowed)
        self.answers()
        self.sound()
        self.unharmed()

    def test_within_a_call(self):
        """With Call-ID, tags and cookie of a call: there is no BYE among them, so it goes on."""
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        before = self.processed()
        lines = [b"Route: " + r.encode() for r in c.routes_down]
        lines += [("From: %s;tag=%s" % (c.from_hdr, c.ftag)).encode(), ("To: %s;tag=%s" % (c.to_hdr, c.ttag)).encode(),
                  ("Call-ID: %s" % c.call_id).encode()]
        for section, name, _, raw in rfc4475.MESSAGES:
            with self.subTest(section=section, name=name):
                self.attack(rfc4475.within(raw, lines))
                time.sleep(0.02)
                self.assertEqual(self.state(c), CONFIRMED)
        self.answers()
        self.sound()
        time.sleep(2 * SLOW)  # whatever they began is over
        self.assertEqual(self.state(c), CONFIRMED)
        # the second message of 3.1.1.8 is no request inside a call, if the host reads it at all
        self.assertLessEqual(self.processed() - before, 1)
        c.a.drain()
        c.b.drain()
        c.hangup()
        self.wait_state(c, DELETED)
        self.unharmed()


class Damaged(TortureCase):
    """Messages of real calls, cut short and with bits flipped, each just before the sound one would come."""

    seconds = 30
    CUTS = scaled(80, 100000)
    FLIPS = scaled(150, 5000)

    def damage(self, rng, raw):
        raw = bytes(raw)
        damaged = mangle.cuts(rng, raw, self.CUTS)
        damaged += [mangle.flip(rng, raw, bits=rng.choice((1, 1, 1, 2, 8))) for _ in range(self.FLIPS)]
        for n, d in enumerate(damaged):
            self.attack(d)
            if n % 50 == 49:
                time.sleep(0.01)
        self.answers()
        self.sent += len(damaged)

    def test_all_messages(self):
        rng, self.sent = self.seeded(), 0
        t = self.traffic(rate=15)
        for name in ("INVITE", "180", "200", "ACK", "CANCEL", "re-INVITE down", "re-INVITE up", "INFO down", "BYE down", "BYE up"):
            with self.subTest(name=name):
                getattr(self, "before_" + name.split()[0].replace("-", "_").lower())(rng, UP if name.endswith("up") else DOWN)
        self.assertEqual(t.wait_over(), [])
        self.assertEqual(t.problems()[:10], [])
        self.sound()
        print("#     %d damaged messages, %d came out at the other end, %d calls beside" % (self.sent, self.sink.got, len(t.calls)), flush=True)
        self.unharmed()

    def before_invite(self, rng, way):
        c = self.call()
        self.damage(rng, c.build_invite())

    def before_180(self, rng, way, code=180):
        c = self.call()
        c.ring()
        self.damage(rng, c.answer(code, send=False))

    def before_200(self, rng, way):
        self.before_180(rng, way, 200)

    def before_ack(self, rng, way):
        c = self.call().setup(ack=False)
        self.damage(rng, c.build("ACK", cseq=c.inv.cseq))

    def before_cancel(self, rng, way):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        self.damage(rng, self.cancel_of(c))

    def cancel_of(self, c):
        sent = []
        real, c.a.send = c.a.send, lambda data, to: sent.append(data)
        c.cancel()
        c.a.send = real
        return sent[0]

    def before_re_invite(self, rng, way):
        self.within(rng, "INVITE", way)

    def before_info(self, rng, way):
        self.within(rng, "INFO", way)

    def before_bye(self, rng, way):
        self.within(rng, "BYE", way)

    def within(self, rng, method, way):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.damage(rng, c.build(method, way))

    def test_damaged_identity_ends_nothing(self):
        """BYEs with one bit wrong in what names the call."""
        rng = self.seeded()
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        before = figures(self.proxy)["forged"]
        byes = [bytes(c.build("BYE", way)) for way in (DOWN, UP)]
        for n in range(scaled(300, 20000)):
            self.attack(mangle.flip_identity(rng, rng.choice(byes)))
            if n % 50 == 49:
                time.sleep(0.01)
                self.answers()
        self.assertEqual(self.state(c), CONFIRMED)
        self.assertGreater(figures(self.proxy)["forged"], before)
        c.a.drain()
        c.b.drain()
        c.hangup()
        self.wait_state(c, DELETED)


class Garbage(TortureCase):
    """Streams of garbage to the SIP port and to our FIFO at the same time; FAULTS_LONG: 10 MB each."""

    seconds = 20
    BYTES = scaled(1 << 20, 10 << 20)
    pieces = "datagrams"

    def to_the_fifo(self, rng):
        sent = 0
        while sent < self.BYTES and not self.enough:
            data = mangle.garbage(rng, rng.randrange(1, 8192)).replace(b"dlg_end", b"dlg_beg")
            try:
                self.proxy.fifo.write(data, 30)
            except (OSError, TimeoutError) as e:
                self.fifo_error = e
                return
            sent += len(data)

    def test_garbage(self):
        rng = self.seeded()
        self.enough, self.fifo_error = False, None
        t = self.traffic(rate=20)
        other = threading.Thread(target=self.to_the_fifo, args=(random.Random(rng.random()),), daemon=True)
        other.start()
        sent = n = 0
        while sent < self.BYTES:
            data = mangle.garbage(rng, rng.choice((1, 10, 100, 500, 1400)))[:65000]
            self.attack(data)
            sent, n = sent + len(data), n + 1
            if n % 20 == 0:
                time.sleep(0.005)
                self.answers()
        other.join(scaled(60, 600))
        self.enough = True
        self.assertIsNone(self.fifo_error)
        self.assertFalse(other.is_alive())
        self.proxy.fifo.write(b"\n\n\n", 30)
        self.wait_until("the FIFO to answer", self.fifo_answers, 20)
        left = t.wait_over()
        self.assertEqual((left, t.problems()[:10]), ([], []))
        self.sound()
        print("#     %d bytes in %d %s, %d calls beside" % (sent, n, self.pieces, len(t.calls)), flush=True)
        self.unharmed()

    def fifo_answers(self):
        try:
            return "200 OK" in self.proxy.fifo.cmd("dlg_stats", timeout=2)
        except TimeoutError:
            return False


class GarbageTcp(Garbage):
    """The same in streams: the host hangs up on each of them sooner or later, and takes the next one."""

    BYTES = scaled(1 << 18, 10 << 20)
    options = dict(Garbage.options, tcp=True)
    allowed = Garbage.allowed + (host.COMPLAINTS["tcp stop"],)
    pieces = "pieces over TCP"
    stream, streams = None, 0

    def test_garbage(self):
        super().test_garbage()
        print("#     in %d streams" % self.streams, flush=True)
        self.assertGreater(self.streams, 1)

    def attack(self, raw):
        """All of it arrives: what a stream no longer takes goes into the next one."""
        while raw:
            raw = raw[self.give(raw):]

    def give(self, raw):
        """How much of it the stream took."""
        self.stream = self.stream or self.connect()
        try:
            if self.hung_up():
                raise ConnectionResetError
            return self.stream.send(raw)
        except (ConnectionError, TimeoutError):  # it hung up, or waits for the rest of a message that has none
            self.stream.close()
            self.stream = None
            return 0

    def connect(self):
        """From where the script knows the attacker by: all it sends goes to the sink. A stream that was hung up here
        has to rest before there can be another one between the same ports."""
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.settimeout(2 * SLOW)
        s.bind((self.attacker.ip, self.attacker.port))
        self.wait_until("the stream's ports to be free", lambda: self.connected(s), 10)
        self.streams += 1
        return s

    def connected(self, s):
        try:
            s.connect((self.proxy.ip, self.proxy.port))
        except OSError as e:
            if e.errno != errno.EADDRNOTAVAIL:
                raise
            return False
        return True

    def hung_up(self):
        """Takes away the answers."""
        while select.select([self.stream], [], [], 0)[0]:
            if not self.stream.recv(65536):
                return True
        return False

    def answers(self):
        pass
