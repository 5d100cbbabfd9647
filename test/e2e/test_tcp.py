# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls over TCP: BYEs of our own leave from processes that read no socket, and reach the parties
on the connections they have."""

import contextlib
import re
import select
import socket
import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UP, ProxyCase
from hosts import host
from sip import UA, Msg, loopback, unique
from test_expiry import FLAG


class TcpUA(UA):
    """An agent with one TCP connection: to the proxy if `connect` says where that is, else the one
    that the proxy makes. A further connection, or the end of this one, is a failure."""

    def __init__(self, name, connect=None):
        self.name, self.ip = name, loopback()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.bind((self.ip, 0))
        self.conn = None
        if connect:
            self.sock.connect(connect)
            self.conn = self.sock
        else:
            self.sock.listen(5)
        self.port = self.sock.getsockname()[1]
        self.stream = b""
        self.inbox, self.seen, self.repeats = [], {}, 0

    def close(self):
        """Take what the proxy still sends, lest it gets a reset."""
        if self.conn:
            with contextlib.suppress(OSError):
                self.conn.settimeout(2)
                self.conn.shutdown(socket.SHUT_WR)
                while self.conn.recv(65536):
                    pass
            self.conn.close()
        self.sock.close()

    def uri(self, user=None):
        return super().uri(user) + ";transport=tcp"

    def via(self, branch=None):
        return "SIP/2.0/TCP %s;branch=%s" % (self.addr, branch or unique("z9hG4bK"))

    def send(self, data, to=None):
        self.conn.sendall(bytes(data))
        return data

    def send_reply(self, m):
        return self.send(m)

    def _pull(self, timeout):
        ready = select.select([s for s in {self.sock, self.conn} if s], [], [], max(0, timeout))[0]
        if self.sock in ready and self.sock is not self.conn:
            if self.conn:
                raise AssertionError("%s: a second connection" % self.name)
            self.conn = self.sock.accept()[0]
        elif ready:
            data = self.conn.recv(65536)
            if not data:
                raise AssertionError("%s: the proxy closed the connection" % self.name)
            self.stream += data
            while self._cut():
                pass
        return bool(ready)

    def _cut(self):
        """A whole message at the beginning of the stream goes to the inbox."""
        head, sep, rest = self.stream.partition(b"\r\n\r\n")
        if not sep:
            return False
        size = int(re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head).group(1))
        if len(rest) < size:
            return False
        data, self.stream = head + sep + rest[:size], rest[size:]
        if not data.startswith(b"SIP/2.0 100 "):
            self.inbox.append(Msg.parse(data, self.conn.getpeername()))
        return True


class TcpCase(ProxyCase):
    """`tcp`: the parties that speak it. With three sockets calls come in on the second, and leave on the
    third over UDP, while Kamailio left to itself would send from the first. Over TCP they leave on the
    first: what comes on a connection of its own, Kamailio takes to be received there in any case."""

    params = {"bye_on_timeout_flag": 6}
    options = {"tcp": True}
    hooks = {"initial": FLAG + "$fs = $hdr(X-Out);\n\trecord_route();\n\tcreate_dialog();"}
    tcp = ("a", "b")
    allowed = (host.COMPLAINTS["tcp stop"],)

    def call(self, *args, **kw):
        c = super().call(*args, **kw)
        c.close()
        c.to_proxy = (self.proxy.ip, self.proxy.ports[1 % len(self.proxy.ports)])
        c.a = TcpUA("alice", connect=c.to_proxy) if "a" in self.tcp else UA("alice")
        c.b = TcpUA("bob") if "b" in self.tcp else UA("bob")
        c.uas = [c.a, c.b]
        c.a_contact, c.b_contact = c.a.uri(), c.b.uri()
        build = c.build_invite
        c.build_invite = lambda headers=(), **kw: build([*headers, ["X-Out", self.address(c.b)]], **kw)
        return c

    def port(self, ua):
        """The proxy's, facing that party."""
        nth = 1 if ua.name == "alice" else 0 if isinstance(ua, TcpUA) else 2
        return self.proxy.ports[nth % len(self.proxy.ports)]

    def up_call(self, *headers):
        c = self.call().setup(headers=list(headers))
        self.check_addresses(c, self.wait_state(c, CONFIRMED))
        return c

    def address(self, ua):
        return "%s:%s:%d" % ("tcp" if isinstance(ua, TcpUA) else "udp", self.proxy.ip, self.port(ua))

    def check_addresses(self, c, d):
        self.assertEqual(d["caller_bind_addr"], self.address(c.a))
        self.assertEqual(d["legs"][0]["callee_bind_addr"], self.address(c.b))
        self.assertEqual((d["caller_contact"], d["legs"][0]["callee_contact"]), (c.a_contact, c.b_contact))

    def check_bye(self, c, ua, timeout=4.0):
        """One BYE, from the socket facing that party; over TCP on the connection it has."""
        bye = ua.recv("BYE", timeout)
        ua.reply(bye, 200)
        proto, addr = self.address(ua).split(":", 1)
        way, cseq = (UP, 1) if ua is c.a else (DOWN, c.cseq[DOWN] + 1)
        self.assertEqual(bye.start, "BYE %s SIP/2.0" % (c.a_contact if way == UP else c.b_contact))
        self.assertEqual(len(bye.all("Via")), 1)
        self.assertRegex(bye.get("Via"), r"^SIP/2\.0/%s %s;" % (proto.upper(), re.escape(addr)))
        self.assertEqual((bye.call_id, bye.cseq, bye.all("Route")), (c.call_id, cseq, []))
        tags = (c.ttag, c.ftag) if way == UP else (c.ftag, c.ttag)
        self.assertEqual((bye.from_tag, bye.to_tag), tags)
        if proto == "udp":
            self.assertEqual(bye.src, (self.proxy.ip, self.port(ua)))

    def check_byes(self, c, timeout=4.0):
        self.check_bye(c, c.a, timeout)
        self.check_bye(c, c.b, timeout)
        self.wait_state(c, DELETED)
        # neither a second one (the 200s arrived) nor a further connection
        for ua in (c.a, c.b):
            ua.silent(0.6)
            self.assertEqual(ua.repeats, 0)

    def check_ended_early(self, c):
        final = c.got(480)
        self.assertEqual(final.cseq, c.inv.cseq)
        cancel = c.b.recv("CANCEL")
        self.assertEqual((cancel.ruri, cancel.branch), (c.b_inv.ruri, c.b_inv.branch))
        c.b.reply(cancel, 200)
        c.answer(487)
        c.b.recv("ACK")
        self.wait_state(c, DELETED)
        c.a.silent(0.2)
        c.b.silent(0)
        self.assertStats(processed=1, failed=1)


class Tcp(TcpCase):
    """Both parties over TCP."""

    seconds = 20

    def end_by_fifo(self, d):
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")

    def end_by_rpc(self, d):
        self.proxy.rpc.call("dlg_end_dlg", d.entry, d.id)

    def test_a_whole_call(self):
        for way in (DOWN, UP):
            with self.subTest(way=way):
                c = self.call()
                c.ring()
                c.answer(180)
                c.got(180)
                self.assertEqual(self.state(c), EARLY)
                c.answer(200)
                c.got(200)
                self.check_addresses(c, self.wait_state(c, CONFIRMED_NA))
                c.ack()
                self.wait_state(c, CONFIRMED)
                c.exchange("INFO", DOWN)
                c.exchange("INFO", UP)
                c.hangup(way)
                self.wait_state(c, DELETED)
        self.assertStats(processed=2)

    def test_ended_by_the_fifo_process(self):
        c = self.up_call()
        self.end_by_fifo(self.dialog(c))
        self.check_byes(c)
        self.assertStats(processed=1)

    def test_ended_by_an_rpc_process(self):
        c = self.up_call()
        self.end_by_rpc(self.dialog(c))
        self.check_byes(c)
        self.assertStats(processed=1)

    def test_early_call_ended_by_the_fifo_process(self):
        self.early(self.end_by_fifo)

    def test_early_call_ended_by_an_rpc_process(self):
        self.early(self.end_by_rpc)

    def early(self, end):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        end(self.dialog(c))
        self.check_ended_early(c)


class TcpGone(TcpCase):
    """A party whose connection broke cannot be told; the other one is."""

    seconds = 20
    params = {"bye_on_timeout_flag": 6, "default_timeout": 2}
    allowed = TcpCase.allowed + (host.COMPLAINTS["tcp gone"],)

    def setUp(self):
        super().setUp()
        self.c = self.up_call(["X-Bye", "1"])

    def check_other(self, gone, other):
        self.check_bye(self.c, other, 6)
        self.wait_state(self.c, DELETED)
        other.silent(0.3)
        self.wait_gone(self.c, 15)

    def test_caller_at_its_timeout(self):
        self.c.a.close()
        self.check_other(self.c.a, self.c.b)
        self.assertStats(processed=1, expired=1)

    def test_callee_at_the_end_by_the_fifo_process(self):
        d = self.dialog(self.c)
        self.c.b.close()
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        self.check_other(self.c.b, self.c.a)


class TcpTimer(TcpCase):
    """The same by the timer process."""

    seconds = 20
    options = {"tcp": True, "sockets": 3}
    params = {"bye_on_timeout_flag": 6, "default_timeout": 2, "setup_timeout": 2}
    tm = {"fr_inv_timer": 20000}

    def test_lifetime(self):
        began = time.monotonic()
        c = self.up_call(["X-Bye", "1"])
        self.check_byes(c, 6)
        self.assertGreater(time.monotonic() - began, 1.5)
        self.assertStats(processed=1, expired=1)

    def test_setup_limit(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        c.got(408, 6)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.b.recv("ACK")
        self.wait_state(c, DELETED)
        self.assertStats(processed=1, expired=1)


class FromUdpToTcp(TcpTimer):
    """The proxy stands twice in the call's path, once for each transport."""

    tcp = ("b",)

    def test_ended_by_the_fifo_process(self):
        c = self.up_call()
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        self.check_byes(c)

    def test_both_entries_carry_the_cookie(self):
        c = self.up_call()
        rr = c.b_inv.entries("Record-Route")
        self.assertEqual(len(rr), 2, rr)
        cookies = [re.findall(r";did=([^;>]+)", r) for r in rr]
        self.assertEqual((len(cookies[0]), cookies[0]), (1, cookies[1]))
        self.assertEqual([";transport=tcp" in r for r in rr], [True, False])
        c.exchange("INFO", DOWN)
        c.exchange("INFO", UP)
        c.hangup(UP)
        self.wait_state(c, DELETED)


class FromTcpToUdp(TcpTimer):
    tcp = ("a",)
