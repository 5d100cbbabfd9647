# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON-RPC over a Unix datagram socket, which both hosts speak."""

import itertools
import json
import os
import socket

from sip import SLOW, give_away

_serial = itertools.count(1)


class RpcError(Exception):
    def __init__(self, code, message):
        super().__init__("%s %s" % (code, message))
        self.code, self.message = code, message


def result_of(text):
    """What a reply says."""
    reply = json.loads(text.decode("utf-8", "surrogateescape"), strict=False)
    if "error" in reply:
        raise RpcError(reply["error"].get("code"), reply["error"].get("message"))
    return reply.get("result")


class Rpc:
    def __init__(self, directory):
        self.path = os.path.join(directory, "jsonrpc.sock")
        self.directory = directory

    def own_path(self):
        return os.path.join(self.directory, "rpc%d_%d" % (os.getpid(), next(_serial)))

    def ask(self, method, params, timeout=5.0):
        """Parameters by position (a sequence), by name (a dictionary), or none at all (None)."""
        req = {"jsonrpc": "2.0", "method": method, "id": 1}
        if params is not None:
            req["params"] = params
        return result_of(self.exchange(json.dumps(req).encode(), timeout))

    def exchange(self, request, timeout):
        own = self.own_path()
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            s.bind(own)
            give_away(own)
            s.settimeout(timeout * SLOW)
            s.sendto(request, self.path)
            return s.recv(1 << 20)
        finally:
            s.close()
            if os.path.exists(own):
                os.unlink(own)

    def call(self, method, *params, timeout=5.0):
        return self.ask(method, list(params) or None, timeout)
