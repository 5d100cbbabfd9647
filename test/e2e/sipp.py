# SPDX-License-Identifier: GPL-2.0-or-later
"""Real SIPp as caller and callee, and the lossy relay between it and the proxy."""

import atexit
import csv
import os
import re
import signal
import socket
import subprocess
import time

from proxy import HERE, TOOLS

_alive = []


@atexit.register
def _clean_up():
    for proc in _alive:
        if proc.poll() is None:
            proc.kill()


def free_port(ip):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((ip, 0))
        return s.getsockname()[1]


class Sipp:
    """One SIPp process. `to`: where it sends; `contact`: how the other side reaches it."""

    def __init__(self, directory, ip, port, scenario, contact, to=None, target=None, calls=None, rate=None, pause=100,
                 limit=30000, extra=()):
        self.name = os.path.splitext(scenario)[0]
        self.stat = os.path.join(directory, "%s-%d.csv" % (self.name, port))
        args = ["sipp", "-sf", os.path.join(HERE, "sipp", scenario), "-i", ip, "-p", str(port), "-nostdin",
                "-key", "contact", contact, "-key", "remote_contact", target or contact,
                "-trace_stat", "-stf", self.stat, "-fd", "1", "-default_behaviors", "all,-abortunexp,-bye",
                "-buff_size", "4000000", "-max_recv_loops", "200", "-d", str(pause), *extra]
        if calls:
            args += ["-m", str(calls), "-r", str(rate), "-l", str(limit)]
        args.append("%s:%d" % to if to else ip)
        self.out = open(os.path.join(directory, "%s-%d.out" % (self.name, port)), "w+")
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, cwd=directory,
                                     env=dict(os.environ, TERM="dumb"))
        _alive.append(self.proc)

    def wait(self, timeout, patience=35):
        """Until it is through, or nothing has moved for longer than any timer of its scenario: SIPp 3.6
        forgets a call now and then when it is very busy."""
        end = moved = time.monotonic()
        end += timeout
        last = None
        while self.proc.poll() is None:
            now = time.monotonic()
            try:
                figures = self.figures()
            except (OSError, IndexError, KeyError, TypeError, ValueError):  # it is just writing
                figures = None
            if figures and figures != last:
                last, moved = figures, now
            if now > end or now > moved + patience:
                self.stop()
                if not last or now > end or last["successful"] + last["failed"] < last["created"] * 0.999:
                    raise AssertionError("%s did not finish: %r" % (self.name, last))
                return
            time.sleep(0.2)

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGUSR1)
            try:
                self.proc.wait(2)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.out.close()

    def figures(self):
        """The last line of its statistics: created, successful, failed, retransmissions."""
        with open(self.stat) as f:
            rows = list(csv.DictReader(f, delimiter=";"))
        last = rows[-1]
        return {"created": int(last["TotalCallCreated"]), "successful": int(last["SuccessfulCall(C)"]),
                "failed": int(last["FailedCall(C)"]), "retransmissions": int(last["Retransmissions(C)"])}


class Relay:
    """The stretch of bad network in front of caller and callee."""

    def __init__(self, ip, proxy, agents, seed, loss, dup):
        self.listen = [free_port(ip) for _ in agents]
        args = [os.path.join(TOOLS, "relay"), str(seed), str(loss), str(dup), "%s:%d" % (proxy.ip, proxy.port)]
        for port, agent in zip(self.listen, agents):
            args += ["%s:%d" % (ip, port), "%s:%d" % (ip, agent)]
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        _alive.append(self.proc)
        if self.proc.stdout.readline() != "ready\n":
            raise AssertionError("the relay did not start")

    def stop(self):
        self.proc.terminate()
        out, _ = self.proc.communicate(timeout=5)
        return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", out)}


class Pair:
    """A caller and a callee, with or without the relay."""

    def __init__(self, proxy, uac="uac.xml", uas="uas.xml", seed=1, loss=0, dup=0, relay=True):
        self.proxy, self.uac_xml = proxy, uac
        ip = proxy.ip
        self.ip, self.pa, self.pb = ip, free_port(ip), free_port(ip)
        self.relay = Relay(ip, proxy, [self.pa, self.pb], seed, loss, dup) if relay else None
        self.a_contact = "%s:%d" % (ip, self.relay.listen[0] if relay else self.pa)
        self.b_contact = "%s:%d" % (ip, self.relay.listen[1] if relay else self.pb)
        self.to = (ip, self.relay.listen[0]) if relay else (proxy.ip, proxy.port)
        self.uas = Sipp(proxy.dir, ip, self.pb, uas, self.b_contact)
        time.sleep(0.3)

    def run(self, calls, rate, timeout, pause=100):
        uac = Sipp(self.proxy.dir, self.ip, self.pa, self.uac_xml, self.a_contact, self.to, self.b_contact, calls, rate, pause)
        uac.wait(timeout)
        uac.stop()
        return uac.figures()

    def close(self):
        self.uas.stop()
        return self.relay.stop() if self.relay else None
