# SPDX-License-Identifier: GPL-2.0-or-later
"""Windows: times in which something happens to a proxy under load, or nothing; the latencies of the
calls that began in them, who used the processors, and how two windows compare."""

import os
import time

from host import cpu_of

CPU = ("workers", "timer", "FIFO", "writer", "script", "rest of the proxy", "load", "callees", "reader", "elsewhere")


def machine():
    """CPU seconds of everything so far, and what the hypervisor took."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


class Meter:
    """CPU time so far by role, of processes and of this program ("reader"); "elsewhere": all the rest."""

    def __init__(self, roles):
        self.roles = dict(roles)  # {pid: role}

    def read(self):
        total = dict.fromkeys(CPU, 0.0)
        for pid, role in self.roles.items():
            total[role] += cpu_of(pid)
        total["reader"] += time.process_time()
        total["elsewhere"] = machine() - sum(total.values())
        return total


def latencies_in(path):
    """[(time sent, microseconds)]"""
    with open(path) as f:
        return [(float(a), int(b)) for a, b in (line.split() for line in f)]


class Window:
    """A time in which something happens, or nothing; its CPU time; later the latencies of its calls."""

    def __init__(self, turn, kind, meter):
        self.turn, self.kind, self.meter = turn, kind, meter
        self.rows_per_second = None
        self.begin, self.before = time.time(), meter.read()

    def close(self):
        self.end = time.time()
        after = self.meter.read()
        self.cpu = {role: max(0.0, after[role] - self.before[role]) for role in CPU}
        return self

    @property
    def seconds(self):
        return self.end - self.begin

    def latencies(self, calls, seconds=None):
        end = min(self.end, self.begin + (seconds or self.seconds))
        return sorted(us for sent, us in calls if self.begin <= sent < end)


def quantile(values, q):
    """As load.c does."""
    return values[int((len(values) - 1) * q)]


def figures(latencies):
    return {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99), "max": latencies[-1]}


class Result:
    """An event against the rest before it, and the rest after it, cut to the same length, against that."""

    def __init__(self, before, window, after, calls):
        self.window, self.calls = window, window.latencies(calls)
        self.figures = figures(self.calls)
        base, again = figures(before.latencies(calls)), figures(after.latencies(calls, window.seconds))
        self.ratio = {m: self.figures[m] / base[m] for m in ("p50", "p99")}
        self.noise = {m: again[m] / base[m] for m in ("p50", "p99")}
