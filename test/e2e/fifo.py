# SPDX-License-Identifier: GPL-2.0-or-later
"""Client of the management FIFO in the manual's text format, and a reader of its dialog listings."""

import itertools
import os
import select
import time

from sip import SLOW, give_away

_serial = itertools.count(1)


class Fifo:
    def __init__(self, path, reply_dir):
        self.path, self.reply_dir = path, reply_dir

    def write(self, data, timeout=5.0):
        """Bytes as they are into the request FIFO."""
        fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        end = time.monotonic() + timeout * SLOW
        try:
            while data:
                try:
                    data = data[os.write(fd, data):]
                except BlockingIOError:
                    left = end - time.monotonic()
                    if left <= 0:
                        raise TimeoutError("the FIFO takes nothing any more")
                    select.select([], [fd], [], left)
        finally:
            os.close(fd)

    def open_reply(self):
        """A fresh reply FIFO, open for reading: (name, path, fd)."""
        name = "r%d_%d" % (os.getpid(), next(_serial))
        path = os.path.join(self.reply_dir, name)
        os.mkfifo(path, 0o660)
        give_away(path)
        return name, path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    @staticmethod
    def read_reply(fd, timeout=5.0):
        """Everything until the writer closes; None when nobody ever wrote."""
        out, end = b"", time.monotonic() + timeout * SLOW
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return out or None
            try:
                chunk = os.read(fd, 65536)
            except BlockingIOError:  # Linux reports a hangup while the writer is just opening
                continue
            if not chunk:
                return out
            out += chunk

    def cmd_bytes(self, name, *params, timeout=5.0):
        rname, rpath, fd = self.open_reply()
        try:
            lines = [b":%s:%s" % (name.encode(), rname.encode())]
            lines += [p if isinstance(p, bytes) else str(p).encode() for p in params]
            self.write(b"\n".join(lines) + b"\n\n")
            got = self.read_reply(fd, timeout)
            if got is None:
                raise TimeoutError("no reply to %s%r" % (name, params))
            return got
        finally:
            os.close(fd)
            os.unlink(rpath)

    def cmd(self, name, *params, timeout=5.0):
        return self.cmd_bytes(name, *params, timeout=timeout).decode("utf-8", "surrogateescape")

    def dialogs(self, *params, command="dlg_list"):
        """Parsed dlg_list; [] when there is none (404 or an empty list)."""
        text = self.cmd(command, *params)
        if text.startswith("404 "):
            return []
        if not text.startswith("200 OK\n"):
            raise AssertionError("%s: %r" % (command, text[:200]))
        return parse_dialogs(text)


class Dialog(dict):
    """One listed dialog: fields of the caller block, `legs` (dicts), `context` (list of pairs)."""

    @property
    def state(self):
        return int(self["state"])

    @property
    def entry(self):
        return int(self["hash"].split(":")[0])

    @property
    def id(self):
        return int(self["hash"].split(":")[1])


def parse_dialogs(text):
    out = []
    for line in text.split("\n")[1:]:
        if line.startswith("dialog::  hash="):
            out.append(Dialog(hash=line[len("dialog::  hash="):], legs=[], context=None))
            continue
        if not line:
            continue
        depth = len(line) - len(line.lstrip("\t"))
        name, sep, value = line.strip("\t").partition(":: ")
        if not sep or not out or depth not in (1, 2):
            raise AssertionError("line %r in a listing" % line)
        d = out[-1]
        if depth == 2:
            d["context"].append((name, value))
        elif name == "context":
            d["context"] = []
        elif name == "callee_tag":
            d["legs"].append({name: value})
        elif d["legs"] and name in ("callee_contact", "caller_cseq", "callee_route_set", "callee_bind_addr"):
            d["legs"][-1][name] = value
        else:
            d[name] = value
    return out
