# SPDX-License-Identifier: GPL-2.0-or-later
"""Kamailio RPC: JSON over a Unix datagram socket for programs, kamcmd for what an operator sees."""

import itertools
import json
import os
import socket
import subprocess

from sip import SLOW

_serial = itertools.count(1)


class RpcError(Exception):
    def __init__(self, code, message):
        super().__init__("%s %s" % (code, message))
        self.code, self.message = code, message


class Rpc:
    def __init__(self, directory):
        self.path = os.path.join(directory, "jsonrpc.sock")
        self.ctl = os.path.join(directory, "ctl.sock")
        self.directory = directory

    def call(self, method, *params, timeout=5.0):
        own = os.path.join(self.directory, "rpc%d_%d" % (os.getpid(), next(_serial)))
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            s.bind(own)
            s.settimeout(timeout * SLOW)
            s.connect(self.path)
            req = {"jsonrpc": "2.0", "method": method, "id": 1}
            if params:
                req["params"] = list(params)
            s.send(json.dumps(req).encode())
            reply = json.loads(s.recv(1 << 20).decode("utf-8", "surrogateescape"), strict=False)
        finally:
            s.close()
            if os.path.exists(own):
                os.unlink(own)
        if "error" in reply:
            raise RpcError(reply["error"].get("code"), reply["error"].get("message"))
        return reply.get("result")

    def kamcmd(self, *args):
        """Exit status and output of the operator's tool."""
        p = subprocess.run(["kamcmd", "-s", "unixs:" + self.ctl, *[str(a) for a in args]],
                           capture_output=True, text=True, timeout=10 * SLOW)
        return p.returncode, p.stdout + p.stderr
