#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared memory that an answered call costs, as the host counts it: no dialog module, its own, ours.

N calls are answered and stay up until their transactions are gone; then the host says how much shared
memory is used, as it did before them. "used": what was asked for. "real": with what its allocator
needs. What is left without a module is the host's own and taken off. The plain call, one with a
value, one that is a member of a profile. The goal is for "real", which is what a machine has to have; what
was asked for is printed beside it.

Environment: BENCH_HELD (4000), calls. Every value is in build/bench/memory.csv."""

import csv
import os
import signal
import subprocess
import sys
import time

import goals
from host import NONE, OURS, ROOT, STOCK, BenchProxy, build

HELD = int(os.environ.get("BENCH_HELD", "4000"))
RATE = 400
SETTLE = 9      # seconds: transactions go after their answers, and a timer after that
HALF = 0.5      # goal: of what the host's module takes, real

VARIANTS = ("plain", "a value", "a membership")


def each_call(module, variant):
    if module == NONE or variant == "plain":
        return ""
    track = "create_dialog();" if module == OURS else "dlg_manage();"
    if variant == "a value":
        return '%s\n\t$%s(account) = "prepaid";' % (track, "dlg_val" if module == OURS else "dlg_var")
    return '%s\n\tset_dlg_profile("caller", "$fU");' % track


def memory(p):
    """(used, real), bytes."""
    m = p.rpc.call("core.shmmem")
    return int(m["used"]), int(m["real_used"])


def hold(p):
    """Start the calls; returns the generator, once all are up."""
    up = HELD / RATE + SETTLE + 20
    gen = subprocess.Popen([build("load"), "-r", str(RATE), "-n", str(HELD), "-d", str(int(up * 1000)), "-i", "4000",
                            p.addr], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while answered(p) < HELD:
        if time.monotonic() > end:
            raise RuntimeError("%s: not all calls were answered" % p.module)
        time.sleep(0.2)
    return gen


def answered(p):
    return int(p.rpc.call("tm.stats")["2xx"])


def check(p):
    """A module that tracks nothing would win."""
    if p.module != NONE and p.processed() != HELD:
        raise RuntimeError("%s: tracks %s of %d calls" % (p.module, p.processed(), HELD))


def per_call(module, variant):
    """(used, real) bytes for each call that is up."""
    params = {"profiles_with_value": "caller"} if module != NONE and "member" in variant else {}
    p = BenchProxy(module, params, children=4, shm=256, each_call=each_call(module, variant))
    gen = None
    p.allow("")
    try:
        p.start()
        before = memory(p)
        gen = hold(p)
        time.sleep(SETTLE)
        after = memory(p)
        check(p)
    finally:
        if gen:
            gen.kill()
            gen.wait()
        p.kill()
    return [(a - b) / HELD for a, b in zip(after, before)]


LINE = "%-14s %12.0f %12.0f %12.0f %12.0f %14.2f %12.2f  %s"


def print_line(name, stock, ours, end):
    ratios = [b / a if a > 0 else float("nan") for a, b in zip(stock, ours)]
    print(LINE % (name, *stock, *ours, *ratios, end), flush=True)


def goal(variant, ratio):
    what = "memory of a call, real, ours / stock: " + variant
    return "at most half: " + goals.add(what, "%.2f" % ratio, "at most half", "met" if ratio <= HALF else "not met")


def print_differences(got):
    """What a value and a membership take: a call with it less a plain one."""
    for variant in VARIANTS[1:]:
        stock, ours = ([a - b for a, b in zip(got[variant][m], got["plain"][m])] for m in (STOCK, OURS))
        print_line(variant.replace("a ", "per "), stock, ours, goals.add(
            "bytes of %s, real, ours" % variant, "%.0f" % ours[1], "to be known; stock: %.0f" % stock[1], "no goal"))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # proxies and databases go, too
    os.makedirs(os.path.join(ROOT, "build", "bench"), exist_ok=True)
    got = {}
    with open(os.path.join(ROOT, "build", "bench", "memory.csv"), "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(("variant", "module", "calls", "used", "real"))
        none = per_call(NONE, "plain")
        out.writerow(("plain", NONE, HELD, "%.1f" % none[0], "%.1f" % none[1]))
        print("\nShared memory for each answered call, bytes; %d calls; without a module: %.0f\n" % (HELD, none[0]))
        print("%-14s %12s %12s %12s %12s %14s %12s  %s" % (
            "", "stock used", "stock real", "ours used", "ours real", "ratio of used", "of real", "goal, of real"))
        for variant in VARIANTS:
            got[variant] = mine = {}
            for module in (STOCK, OURS):
                mine[module] = [a - b for a, b in zip(per_call(module, variant), none)]
                out.writerow((variant, module, HELD, "%.1f" % mine[module][0], "%.1f" % mine[module][1]))
            print_line(variant, mine[STOCK], mine[OURS], goal(variant, mine[OURS][1] / mine[STOCK][1]))
    print_differences(got)


if __name__ == "__main__":
    main()
