# SPDX-License-Identifier: GPL-2.0-or-later
"""The management FIFO: its framing as the 2009 tools know it, and everything a client can do wrong."""

import os
import select
import time

from base import CONFIRMED, DELETED, UNCONFIRMED, ProxyCase, audit_problems
from hosts import host
from rpc import RpcError


class FifoCase(ProxyCase):
    def ask(self, raw, timeout=3.0):
        """Write raw bytes with %R for a fresh reply FIFO; the reply, or None when there is none."""
        name, path, fd = self.proxy.fifo.open_reply()
        try:
            self.proxy.fifo.write(raw.replace(b"%R", name.encode()))
            return self.proxy.fifo.read_reply(fd, timeout)
        finally:
            os.close(fd)
            os.unlink(path)

    def works(self):
        """The next command is served, at once or when an unfinished one before it was given up."""
        end = time.monotonic() + 5
        while self.ask(b":get_statistics:%R\ndialog:\n\n", 1.0) is None:
            self.assertLess(time.monotonic(), end, "the FIFO is dead")

    def logged(self, pattern):
        self.proxy.wait_log(pattern, self.mark)


class Framing(FifoCase):
    seconds = 30

    def test_plain(self):
        self.assertEqual(self.ask(b":dlg_list:%R\nnope\n\n"), b"404 Nu such dialog\n\n")
        self.assertTrue(self.ask(b":dlg_list:%R\n\n").startswith(b"200 OK\n"))

    def test_unknown_commands(self):
        for name in (b"dlg_foo", b"DLG_LIST", b"load_dlg"):
            self.assertEqual(self.ask(b":%s:%%R\n\n" % name), b"500 command '%s' not available\n" % name)

    def test_no_leading_colon(self):
        self.assertIsNone(self.ask(b"dlg_list:%R\n\n", 0.3))
        self.logged("MI FIFO")
        self.works()

    def test_separator_missing_and_empty_command(self):
        self.assertIsNone(self.ask(b":dlg_list\n\n", 0.3))
        self.works()
        self.assertIsNone(self.ask(b"::%R\n\n", 0.3))
        self.works()

    def test_without_reply_fifo(self):
        self.assertIsNone(self.ask(b":dlg_list:\n\n", 0.2))
        self.works()

    def test_reply_fifo_does_not_exist(self):
        self.proxy.fifo.write(b":dlg_list:nobody-made-this\n\n")
        self.logged("nobody-made-this")
        self.works()
        self.assertFalse(os.path.exists(os.path.join(self.proxy.dir, "nobody-made-this")))

    def test_reply_names_with_a_path(self):
        outside = os.path.join(os.path.dirname(self.proxy.dir), "dlge2e-outside-%d" % os.getpid())
        os.mkfifo(outside)
        self.addCleanup(os.unlink, outside)
        fd = os.open(outside, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        base = os.path.basename(outside)
        for name in ("../" + base, outside, "x/../../" + base, "./../" + base, "..", ".", "/", "a\0b"):
            self.proxy.fifo.write(b":dlg_list:%s\n\n" % name.encode())
        self.works()
        self.assertEqual(select.select([fd], [], [], 0.3)[0], [])

    def test_reply_name_of_a_file_or_a_link(self):
        d = self.proxy.dir
        with open(os.path.join(d, "file"), "w") as f:
            f.write("precious")
        os.symlink(os.path.join(d, "file"), os.path.join(d, "link"))
        os.symlink("/dev/null", os.path.join(d, "device"))
        for name in (b"file", b"link", b"device"):
            self.proxy.fifo.write(b":dlg_list:%s\n\n" % name)
            self.works()
        with open(os.path.join(d, "file")) as f:
            self.assertEqual(f.read(), "precious")

    def test_long_reply_name(self):
        self.proxy.fifo.write(b":dlg_list:" + b"r" * 5000 + b"\n\n")
        self.works()

    def test_missing_reader(self):
        name, path, fd = self.proxy.fifo.open_reply()
        os.close(fd)
        began = time.monotonic()
        self.proxy.fifo.write(b":dlg_list:%s\n\n" % name.encode())
        self.works()
        self.assertLess(time.monotonic() - began, 4)
        os.unlink(path)

    def test_half_a_command(self):
        for part in (b":", b":dlg", b":dlg_list:", b":dlg_list:r1", b":dlg_list:r1\n", b":dlg_end_dlg:r1\n12\n", b":dlg_list:r1\n\"abc\n"):
            with self.subTest(part=part):
                self.proxy.fifo.write(part)
                time.sleep(0.05)
                self.works()

    def test_half_a_command_is_not_completed_by_the_next(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        self.proxy.fifo.write(b":dlg_end_dlg:nobody\n%d\n" % d.entry)
        time.sleep(2.4)
        self.proxy.fifo.write(b"%d\n\n" % d.id)
        time.sleep(0.3)
        self.assertEqual(self.state(c), CONFIRMED)
        self.works()
        c.hangup()

    def test_a_megabyte_of_garbage(self):
        rnd = os.urandom(1 << 16)
        for block in (b"\0" * 65536, b"x" * 65536, rnd, b"\n" * 65536, b":" * 65536, b":a:b\n" * 13000, b"\"\n" * 32768):
            for _ in range(16):
                self.proxy.fifo.write(block)
        time.sleep(2.5)
        self.works()
        self.assertEqual(audit_problems(self.proxy, empty=False), [])

    def test_long_lines_and_many_parameters(self):
        got = self.ask(b":dlg_list:%R\n" + b"x" * 70000 + b"\n\n")
        self.assertTrue(got.startswith(b"400 "), got)
        got = self.ask(b":dlg_list:%R\n" + b"x\n" * 100 + b"\n")
        self.assertTrue(got.startswith(b"400 "), got)
        got = self.ask(b":dlg_list:%R\n" + (b"x" * 60000 + b"\n") * 10 + b"\n")
        self.assertTrue(got.startswith(b"400 "), got)
        self.works()

    def test_blanks_names_quotes_and_line_ends(self):
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        cid, tag = c.call_id.encode(), c.ftag.encode()
        want = self.proxy.fifo.cmd_bytes("dlg_list", c.call_id)
        self.assertTrue(want.startswith(b"200 OK\ndialog::"))
        for args in (b"  " + cid + b" \t", b'"' + cid + b'"', b"callid::" + cid, b"callid:: " + cid,
                     cid + b"\n" + tag, b"from_tag::" + cid + b"\ncallid::" + tag):
            got = self.ask(b":dlg_list:%R\n" + args + b"\n\n")
            self.assertEqual(got.split(b"timeout")[0], want.split(b"timeout")[0], args)
        got = self.ask(b":dlg_list:%R\r\n" + cid + b"\r\n\r\n")
        self.assertEqual(got.split(b"timeout")[0], want.split(b"timeout")[0])
        self.assertTrue(self.ask(b':dlg_list:%R\n""\n\n').startswith(b"400 parse error in command 'dlg_list'"))
        self.assertTrue(self.ask(b':dlg_list:%R\na"b\n\n').startswith(b"400 parse error in command 'dlg_list'"))
        c.hangup()

    def test_several_commands_in_one_write(self):
        names = [self.proxy.fifo.open_reply() for _ in range(20)]
        self.proxy.fifo.write(b"".join(b":dlg_list:%s\n\n" % n[0].encode() for n in names))
        for name, path, fd in names:
            got = self.proxy.fifo.read_reply(fd)
            self.assertTrue(got and got.startswith(b"200 OK\n"), got)
            os.close(fd)
            os.unlink(path)

    def test_statistics_command(self):
        text = self.proxy.fifo.cmd("get_statistics", "dialog:")
        self.assertRegex(text, r"^200 OK\ndialog:active_dialogs = \d+\ndialog:early_dialogs = \d+\n"
                               r"dialog:processed_dialogs = \d+\ndialog:expired_dialogs = \d+\n"
                               r"dialog:failed_dialogs = \d+\n\n$")
        self.assertRegex(self.proxy.fifo.cmd("get_statistics", "active_dialogs"),
                         r"^200 OK\ndialog:active_dialogs = \d+\n\n$")
        self.assertEqual(self.proxy.fifo.cmd("get_statistics", "nope"), "404 Statistics Not Found\n\n")

    def test_the_fifo_comes_back_when_deleted(self):
        os.unlink(self.proxy.fifo.path)
        self.wait_until("a new FIFO", lambda: os.path.exists(self.proxy.fifo.path), 5)
        self.works()

    def test_values_cannot_break_the_lines(self):
        """What comes from the wire stays on its line."""
        c = self.call(call_id="evil\x07\x1bcallid:: x@e2e")
        c.ring()
        text = self.proxy.fifo.cmd("dlg_list")
        self.assertNotIn("\x07", text)
        self.assertIn("callid:: evil", text)
        c.answer(486)
        c.got(486)


class Listings(FifoCase):
    """Long lists: streamed, without harm to calls and other commands."""

    seconds = 30
    CALLS = 1500
    longest = 30

    @classmethod
    def prepare(cls):
        from sip import Call
        cls.bulk = Call(cls.proxy)
        a, b = cls.bulk.a, cls.bulk.b
        cls.invites = []
        for n in range(cls.CALLS):
            cls.bulk.call_id = "bulk-%d-%s@e2e" % (n, "x" * 200)
            a.send(cls.bulk.build_invite(), cls.bulk.to_proxy)
            cls.invites.append(b.recv("INVITE"))
            b.reply(cls.invites[-1], 180, tag="t", headers=[["Contact", "<%s>" % b.uri()]])

    @classmethod
    def tearDownClass(cls):
        for n, inv in enumerate(cls.invites):
            cls.bulk.b.reply(inv, 486, tag="t")
            if n % 20 == 0:
                cls.bulk.a.drain(0.02)
        cls.bulk.close()
        super().tearDownClass()

    def count(self, text):
        self.assertTrue(text.startswith("200 OK\n") and text.endswith("\n\n"))
        return text.count("callid:: bulk-")

    def test_complete_list(self):
        text = self.proxy.fifo.cmd("dlg_list", timeout=20)
        self.assertEqual(self.count(text), self.CALLS)
        self.assertEqual(len({line for line in text.split("\n") if "callid:: bulk-" in line}), self.CALLS)
        entries = [int(line.split("=")[1].split(":")[0]) for line in text.split("\n") if line.startswith("dialog::")]
        self.assertEqual(entries, sorted(entries))

    def test_pages(self):
        seen, cursor, pages = set(), "0", 0
        while cursor != "end":
            text = self.proxy.fifo.cmd("dlg_page", cursor, 100)
            got = [line for line in text.split("\n") if "callid:: bulk-" in line]
            self.assertLessEqual(len(got), 100)
            self.assertFalse(seen & set(got))
            seen |= set(got)
            cursor = [line for line in text.split("\n") if line.startswith("next:: ")][0][7:]
            pages += 1
            self.assertLess(pages, 200)
        self.assertEqual(len(seen), self.CALLS)
        for bad in ("x", "-1", "1:", ":", "99999999999", "0 1"):
            self.assertEqual(self.proxy.fifo.cmd("dlg_page", bad), "400 Bad parameter\n\n")
        self.assertEqual(self.proxy.fifo.cmd("dlg_page", "0", "0"), "400 Bad parameter\n\n")
        self.assertEqual(self.proxy.fifo.cmd("dlg_page", "4294967295"), "200 OK\nnext:: end\n\n")

    def test_a_reader_who_takes_nothing(self):
        """Calls go on meanwhile; the FIFO is free again after MI_FIFO_WRITE_MS."""
        name, path, fd = self.proxy.fifo.open_reply()
        self.proxy.fifo.write(b":dlg_list:%s\n\n" % name.encode())
        time.sleep(0.3)
        for _ in range(5):
            began = time.monotonic()
            c = self.call().setup()
            c.hangup()
            self.assertLess(time.monotonic() - began, 1.0)
        began = time.monotonic()
        end = began + 12
        while self.ask(b":dlg_list:%R\nnope\n\n", 2.0) is None:
            self.assertLess(time.monotonic(), end)
        os.close(fd)
        os.unlink(path)

    def test_a_reader_who_leaves(self):
        name, path, fd = self.proxy.fifo.open_reply()
        self.proxy.fifo.write(b":dlg_list:%s\n\n" % name.encode())
        select.select([fd], [], [], 3)
        os.read(fd, 1000)
        os.close(fd)
        os.unlink(path)
        self.works()

    def test_a_slow_reader_gets_everything(self):
        name, path, fd = self.proxy.fifo.open_reply()
        self.proxy.fifo.write(b":dlg_list:%s\n\n" % name.encode())
        out, poll = b"", select.poll()
        poll.register(fd, select.POLLIN)
        while poll.poll(5000):
            chunk = os.read(fd, 4096)
            if not chunk:
                break
            out += chunk
            time.sleep(0.002)
        os.close(fd)
        os.unlink(path)
        self.assertEqual(self.count(out.decode()), self.CALLS)


class WithoutStatistics(FifoCase):
    """enable_stats=0 removes them."""

    seconds = 8
    params = {"enable_stats": 0}

    def test_no_statistics(self):
        self.assertEqual(self.proxy.fifo.cmd("get_statistics", "dialog:"), "404 Statistics Not Found\n\n")
        try:
            got = host.stats(self.proxy)
        except RpcError:
            got = {}
        self.assertEqual(got, {})
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)
