# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy the tests run on, by the environment's HOST: `host` is host_kamailio or host_opensips. Each says in
its own way

    NAME, MODULE        the host, and where the build leaves our module for it
    missing()           why the host cannot be run here, or None
    has(module)         whether that module of the host is there
    config(proxy)       text of its configuration, from what a Proxy was given
    command(proxy, cfg) how it is started
    script(text)        a script, or a piece of one, in the dialect of the host; tests write Kamailio's
    Management          client of its own management interface; call() gives our commands' results in one shape
    is_ready(proxy)     whether it has started completely
    stats(), transactions(), shm_used(), shm_sites()
    worker(proxy)       process number of one that takes SIP messages
    ours(levels, text)  pattern of a log line of our module
    CANCELLED           final answer to a caller who gave up before the callee said anything
    ANSWERS             pattern of lines the host logs when its management interface answers with an error
    WRONG_COUNT         (code, text) of that answer to a number of parameters no command takes
    COMPLAINTS          {what a test provokes: pattern of the lines the host logs then}
"""

import importlib
import os
import unittest

HOST = os.environ.get("HOST", "kamailio")
HOSTS = ("kamailio", "opensips")
if HOST not in HOSTS:
    raise SystemExit("HOST=%s: this suite knows %s" % (HOST, " and ".join(HOSTS)))
host = importlib.import_module("host_" + HOST)


def dialect(**texts):
    """The text for this host, where a table of rewriting rules would be obscure: dialect(kamailio=..., opensips=...)"""
    return texts[HOST]


class Native(str):
    """A whole script that is in the host's dialect already."""


def needs(module):
    """Decorator: a test, or a class of them, with a module of the host that a source tree may have left out."""
    return unittest.skipUnless(host.has(module), "the module %s is not built" % module)


def only(name, why):
    """Decorator: a test, or a class of them, of what exists on one host only."""
    return unittest.skipUnless(HOST == name, "%s only: %s" % (name, why))
