# SPDX-License-Identifier: GPL-2.0-or-later
"""A small scripted SIP user agent over UDP.

Nothing here retransmits, answers or repairs by itself: a test says byte for byte what is sent and
when, so that every order of messages can be produced by hand. Retransmissions that arrive
(identical datagrams) are counted and dropped, unless the agent keeps them.
"""

import contextlib
import itertools
import os
import random
import re
import select
import socket
import time

SLOW = float(os.environ.get("E2E_SLOW", "1"))  # stretches waits: sanitizer builds, busy machines

SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>; Python has no name for it

_serial = itertools.count(1)


def give_away(path):
    """To the proxy's user, who owns the directory."""
    owner = os.stat(os.path.dirname(path))
    if owner.st_uid != os.getuid():
        os.chown(path, owner.st_uid, owner.st_gid)


def loopback():
    """An address of this process' own in 127/8, so that suites side by side never meet."""
    pid = os.getpid()
    return "127.%d.%d.%d" % (1 + (pid >> 14) % 200, (pid >> 7) % 128, 1 + pid % 127)


def unique(prefix):
    return "%s%d-%d-%x" % (prefix, os.getpid(), next(_serial), random.getrandbits(32))


class Msg:
    """A SIP message: start line, headers in order as [name, value], body."""

    COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}

    def __init__(self, start, headers=(), body=b""):
        self.start = start
        self.headers = [list(h) for h in headers]
        self.body = body
        self.raw = None
        self.src = None

    @classmethod
    def parse(cls, data, src=None):
        head, sep, body = data.partition(b"\r\n\r\n")
        if not sep:
            raise ValueError("no empty line after the headers: %r" % data)
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        m = cls(lines[0], body=body)
        for line in lines[1:]:
            if line[:1] in " \t" and m.headers:
                m.headers[-1][1] += " " + line.strip()
                continue
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!%*+\-.\w`'~]+[ \t]*", name):
                raise ValueError("bad header line %r" % line)
            m.headers.append([name.strip(), value.strip()])
        m.raw, m.src = data, src
        return m

    def __bytes__(self):
        lines = [self.start] + ["%s: %s" % (n, v) for n, v in self.headers]
        if not self.all("Content-Length"):
            lines.append("Content-Length: %d" % len(self.body))
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body

    def __repr__(self):
        return "<%s | CSeq %s>" % (self.start, self.get("CSeq"))

    def all(self, name):
        """Bodies of all headers of that name, in order."""
        want = name.lower()
        return [v for n, v in self.headers if self.COMPACT.get(n.lower(), n.lower()) == want]

    def get(self, name, default=None):
        got = self.all(name)
        return got[0] if got else default

    def entries(self, name):
        """Comma separated entries of all headers of that name, one list."""
        out = []
        for body in self.all(name):
            out += split_list(body)
        return out

    @property
    def is_request(self):
        return not self.start.startswith("SIP/2.0 ")

    @property
    def code(self):
        return 0 if self.is_request else int(self.start.split()[1])

    @property
    def method(self):
        """Of a request; of a reply, the method of its CSeq."""
        return self.start.split()[0] if self.is_request else self.get("CSeq").split()[1]

    @property
    def ruri(self):
        return self.start.split()[1]

    @property
    def cseq(self):
        return int(self.get("CSeq").split()[0])

    @property
    def call_id(self):
        return self.get("Call-ID")

    @property
    def from_tag(self):
        return tag_of(self.get("From"))

    @property
    def to_tag(self):
        return tag_of(self.get("To"))

    @property
    def branch(self):
        m = re.search(r";branch=([^;,\s]+)", self.get("Via"))
        return m.group(1) if m else None


def split_list(body):
    """Split at commas outside quotes and angle brackets."""
    out, cur, quoted, angle = [], "", False, 0
    for i, ch in enumerate(body):
        if ch == '"' and (i == 0 or body[i - 1] != "\\"):
            quoted = not quoted
        elif not quoted and ch in "<>":
            angle += 1 if ch == "<" else -1
        if ch == "," and not quoted and not angle:
            out.append(cur.strip())
            cur = ""
        else:
            cur += ch
    if cur.strip():
        out.append(cur.strip())
    return out


def tag_of(value):
    m = re.search(r">.*?;tag=([^;\s]+)", value or "") or re.search(r"^[^<]*;tag=([^;\s]+)", value or "")
    return m.group(1) if m else None


def uri_of(entry):
    """Bare URI of a name-addr or addr-spec."""
    m = re.search(r"<([^>]*)>", entry)
    return m.group(1) if m else entry.split(";")[0].strip()


def host_port(uri):
    m = re.match(r"sips?:(?:[^@]*@)?([^;:?>]+)(?::(\d+))?", uri)
    return m.group(1), int(m.group(2) or 5060)


class Silence(AssertionError):
    pass


class UA:
    """One UDP socket with an inbox."""

    def __init__(self, name="ua", ip=None, port=0):
        self.name = name
        self.ip = ip or loopback()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        with contextlib.suppress(PermissionError):  # beyond the system's limit
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.sock.bind((self.ip, port))
        self.port = self.sock.getsockname()[1]
        self.inbox = []
        self.seen = {}
        self.repeats = 0
        self.keep_repeats = False

    def close(self):
        self.sock.close()

    @property
    def addr(self):
        return "%s:%d" % (self.ip, self.port)

    def uri(self, user=None):
        return "sip:%s@%s" % (user or self.name, self.addr)

    def via(self, branch=None):
        return "SIP/2.0/UDP %s;branch=%s" % (self.addr, branch or unique("z9hG4bK"))

    def send(self, data, to):
        self.sock.sendto(bytes(data), to)
        return data

    # -- receiving

    def _pull(self, timeout):
        if not select.select([self.sock], [], [], max(0, timeout))[0]:
            return False
        data, src = self.sock.recvfrom(65535)
        if data in self.seen and not self.keep_repeats:
            self.seen[data] += 1
            self.repeats += 1
            return True
        self.seen[data] = self.seen.get(data, 0) + 1
        if not data.startswith(b"SIP/2.0 100 "):  # hop by hop; no test waits for one
            self.inbox.append(Msg.parse(data, src))
        return True

    @staticmethod
    def _matches(msg, what):
        if callable(what):
            return what(msg)
        if isinstance(what, int):
            return msg.code == what
        return msg.is_request and msg.method == what

    def recv(self, what, timeout=4.0):
        """The first message that is a request of that method, a reply of that code, or that a
        function accepts; others stay in the inbox."""
        end = time.monotonic() + timeout * SLOW
        while True:
            for i, m in enumerate(self.inbox):
                if self._matches(m, what):
                    return self.inbox.pop(i)
            left = end - time.monotonic()
            if left <= 0 or not self._pull(left):
                if time.monotonic() >= end:
                    raise Silence("%s: waited %.1f s for %r; in the inbox: %r"
                                  % (self.name, timeout * SLOW, what, self.inbox))

    def drain(self, seconds=0.0):
        """All that arrived and arrives within `seconds`."""
        end = time.monotonic() + seconds
        while self._pull(end - time.monotonic()):
            pass
        got, self.inbox = self.inbox, []
        return got

    def silent(self, seconds, what=None):
        """Nothing (of that kind) may arrive for so long."""
        got = [m for m in self.drain(seconds) if what is None or self._matches(m, what)]
        if got:
            raise AssertionError("%s: unexpected %r" % (self.name, got))

    # -- replies

    def reply(self, req, code, reason=None, tag=None, headers=(), rr=None, body=b"", send=True):
        """Answer a received request. `rr`: Record-Route entries, default those of the request."""
        m = Msg("SIP/2.0 %d %s" % (code, reason or REASONS.get(code, "Whatever")), body=body)
        for v in req.all("Via"):
            m.headers.append(["Via", v])
        for v in req.all("Record-Route") if rr is None else rr:
            m.headers.append(["Record-Route", v])
        m.headers.append(["From", req.get("From")])
        to = req.get("To")
        if tag and not tag_of(to):
            to += ";tag=" + tag
        m.headers.append(["To", to])
        m.headers.append(["Call-ID", req.call_id])
        m.headers.append(["CSeq", req.get("CSeq")])
        m.headers += [list(h) for h in headers]
        if send:
            self.send_reply(m)
        return m

    def send_reply(self, m):
        """Send a reply (again) to where its topmost Via says."""
        via = re.match(r"SIP/2\.0/UDP\s+([^;:\s]+)(?::(\d+))?", m.get("Via"))
        return self.send(m, (via.group(1), int(via.group(2) or 5060)))


REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
    302: "Moved Temporarily", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 408: "Request Timeout", 481: "Call/Transaction Does Not Exist",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    491: "Request Pending", 500: "Server Internal Error", 503: "Service Unavailable",
    600: "Busy Everywhere", 603: "Decline",
}

DOWN, UP = "down", "up"  # caller to callee; callee to caller


class Call:
    """Both ends of one call through the proxy, and what each knows about it.

    Proxies beyond ours are played by the ends: `upstream` are Record-Route entries that the INVITE
    brings along, `downstream` those a later proxy puts above ours.
    """

    def __init__(self, proxy, caller="alice", callee="bob", upstream=(), downstream=(), call_id=None,
                 from_uri="sip:alice@example.com", to_uri="sip:bob@example.org", cseq=None):
        self.proxy = proxy
        self.to_proxy = (proxy.ip, proxy.port)
        self.a, self.b = UA(caller), UA(callee)
        self.uas = [self.a, self.b]
        self.upstream, self.downstream = list(upstream), list(downstream)
        self.call_id = call_id or unique("cid-") + "@e2e"
        self.from_hdr, self.to_hdr = "<%s>" % from_uri, "<%s>" % to_uri
        self.from_uri, self.to_uri = from_uri, to_uri
        self.ftag, self.ttag = unique("ft"), unique("tt")
        self.a_contact, self.b_contact = self.a.uri(), self.b.uri()
        self.cseq = {DOWN: cseq or random.randint(1, 5000), UP: random.randint(1, 5000)}
        self.inv = None      # the INVITE as sent
        self.b_inv = None    # as the callee got it
        self.ok = None       # the 2xx as the caller got it
        self.routes_down, self.routes_up = [], []
        self.a_hop = self.b_hop = None  # agents that play the foreign proxy next to ours

    def close(self):
        for u in self.uas:
            u.close()

    def ua(self, name):
        """Another agent that is closed with the call."""
        u = UA(name)
        self.uas.append(u)
        return u

    # -- the INVITE

    def build_invite(self, headers=(), ruri=None, branch=None, contact=True, body=b"", upstream=None):
        m = Msg("INVITE %s SIP/2.0" % (ruri or self.b_contact), body=body)
        m.headers.append(["Via", self.a.via(branch)])
        for r in self.upstream if upstream is None else upstream:
            m.headers.append(["Record-Route", r])
        m.headers += [["Max-Forwards", "70"], ["From", "%s;tag=%s" % (self.from_hdr, self.ftag)],
                      ["To", self.to_hdr], ["Call-ID", self.call_id],
                      ["CSeq", "%d INVITE" % self.cseq[DOWN]]]
        if contact:
            m.headers.append(["Contact", "<%s>" % self.a_contact if contact is True else contact])
        m.headers += [list(h) for h in headers]
        return m

    def invite(self, **kw):
        self.inv = self.build_invite(**kw)
        return self.a.send(self.inv, self.to_proxy)

    def resend_invite(self):
        return self.a.send(self.inv, self.to_proxy)

    def ring(self, **kw):
        """INVITE up to the callee."""
        self.invite(**kw)
        self.b_inv = self.b.recv("INVITE")
        self.routes_up = self.b_inv.entries("Record-Route")
        return self.b_inv

    def answer(self, code, ua=None, inv=None, tag=None, contact=True, headers=(), reason=None, send=True):
        """A reply of the callee to the INVITE. tag=False: none."""
        ua, inv = ua or self.b, inv or self.b_inv
        hdrs = [list(h) for h in headers]
        if contact and 100 < code < 300:
            uri = self.b_contact if ua is self.b else ua.uri()
            hdrs.append(["Contact", "<%s>" % uri if contact is True else contact])
        tag = None if tag is False or code == 100 else tag or self.ttag
        rr = None
        if code < 300:
            rr = self.downstream + inv.all("Record-Route")
        return ua.reply(inv, code, reason=reason, tag=tag, headers=hdrs, rr=rr, send=send)

    def got(self, code, timeout=4.0):
        """The reply arrives at the caller. Negative ones are acknowledged as a real caller would."""
        m = self.a.recv(lambda m: m.code == code and m.method == "INVITE", timeout)
        if 200 <= code < 300 and m.cseq == self.inv.cseq:
            self.learn(m)
        elif code >= 300:
            self.ack_negative(m)
        return m

    def learn(self, ok):
        self.ok = ok
        rr = ok.entries("Record-Route")
        self.routes_down = list(reversed(rr))[len(self.upstream):]
        self.ttag = ok.to_tag or self.ttag
        if ok.get("Contact"):
            self.b_contact = uri_of(ok.get("Contact"))

    def ack_negative(self, rpl, inv=None):
        inv = inv or self.inv
        m = Msg("ACK %s SIP/2.0" % inv.ruri,
                [["Via", inv.get("Via")], ["Max-Forwards", "70"], ["From", inv.get("From")],
                 ["To", rpl.get("To")], ["Call-ID", inv.call_id], ["CSeq", "%d ACK" % inv.cseq]])
        for r in inv.all("Route"):
            m.headers.append(["Route", r])
        self.a.send(m, self.to_proxy)

    def cancel(self):
        inv = self.inv
        return self.a.send(Msg("CANCEL %s SIP/2.0" % inv.ruri,
                               [["Via", inv.get("Via")], ["Max-Forwards", "70"],
                                ["From", inv.get("From")], ["To", inv.get("To")],
                                ["Call-ID", inv.call_id], ["CSeq", "%d CANCEL" % inv.cseq]]),
                           self.to_proxy)

    # -- requests inside the call

    def build(self, method, way=DOWN, cseq=None, ruri=None, routes=None, ftag=None, ttag=None,
              call_id=None, contact=None, headers=(), branch=None, ua=None, body=b""):
        """An in-dialog request. ftag/ttag name the tags of the caller and the callee."""
        down = way == DOWN
        src = ua or (self.a if down else self.b)
        if cseq is None:
            if method not in ("ACK", "CANCEL"):
                self.cseq[way] += 1
            cseq = self.cseq[way]
        caller = "%s;tag=%s" % (self.from_hdr, self.ftag if ftag is None else ftag)
        callee = "%s;tag=%s" % (self.to_hdr, self.ttag if ttag is None else ttag)
        if routes is None:
            routes = self.routes_down if down else self.routes_up
        m = Msg("%s %s SIP/2.0" % (method, ruri or (self.b_contact if down else self.a_contact)), body=body)
        m.headers.append(["Via", src.via(branch)])
        for r in routes:
            m.headers.append(["Route", r])
        m.headers += [["Max-Forwards", "70"], ["From", caller if down else callee],
                      ["To", callee if down else caller], ["Call-ID", call_id or self.call_id],
                      ["CSeq", "%d %s" % (cseq, method)]]
        if contact is None and method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"):
            contact = self.a_contact if down else self.b_contact
        if contact:
            m.headers.append(["Contact", "<%s>" % contact])
        m.headers += [list(h) for h in headers]
        return m

    def send(self, method, way=DOWN, ua=None, **kw):
        m = self.build(method, way, ua=ua, **kw)
        return (ua or (self.a if way == DOWN else self.b)).send(m, self.to_proxy)

    def ack(self, **kw):
        """ACK to the 2xx of the initial INVITE, up to the callee."""
        kw.setdefault("cseq", self.inv.cseq)
        self.send("ACK", DOWN, **kw)
        return self.far(DOWN).recv(lambda m: m.is_request and m.method == "ACK")

    def far(self, way):
        """Who gets what the proxy forwards."""
        return (self.b_hop or self.b) if way == DOWN else (self.a_hop or self.a)

    def near(self, way):
        return self.a if way == DOWN else self.b

    def exchange(self, method, way=DOWN, code=200, to=None, reply_headers=(), timeout=4.0, **kw):
        """A request, its answer by the other end; returns (as received, the reply as received)."""
        sent = self.send(method, way, **kw)
        far, near = to or self.far(way), kw.get("ua") or self.near(way)
        req = far.recv(lambda m: m.is_request and m.method == method and m.cseq == sent.cseq, timeout)
        hdrs = [list(h) for h in reply_headers]
        far.reply(req, code, headers=hdrs)
        rpl = near.recv(lambda m: m.code == code and m.get("CSeq") == sent.get("CSeq"), timeout)
        return req, rpl

    def refused(self, method, way=DOWN, code=403, **kw):
        """A request that the proxy's script answers itself; the other end must not see it."""
        sent = self.send(method, way, **kw)
        near = kw.get("ua") or self.near(way)
        rpl = near.recv(lambda m: m.code == code and m.get("CSeq") == sent.get("CSeq"))
        if method == "INVITE":
            self.ack_negative(rpl, sent)
        self.far(way).silent(0.05, method)
        return rpl

    def setup(self, early=True, ack=True, **kw):
        """A whole call up to its ACK."""
        self.ring(**kw)
        if early:
            self.answer(180)
            self.got(180)
        self.answer(200)
        self.got(200)
        if ack:
            self.ack()
        return self

    def hangup(self, way=DOWN, **kw):
        return self.exchange("BYE", way, **kw)
