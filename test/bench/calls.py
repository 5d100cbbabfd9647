#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracking calls costs, through the real proxy: no dialog module, the host's own, ours.

usage: calls.py [PATTERN]     only the variants whose names the regular expression finds

Environment: BENCH_SECONDS (10) of measuring per variant and round, BENCH_ROUNDS (5), BENCH_RATE (200)
calls a second, BENCH_HOLD_MS (2000) how long each is up, BENCH_CHILDREN (8) SIP workers.

The variants take turns, round by round, so that whatever else the machine does hits all of them.
Ratios are of values of the same round; printed are the median and the range over the rounds.
Every single value is in build/bench/calls.csv."""

import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import databases
import goals
import priority
from host import BAD, NEVER, NONE, OURS, ROOT, STOCK, BenchProxy, build, cpu_of

SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
RATE = float(os.environ.get("BENCH_RATE", "200"))
HOLD_MS = int(os.environ.get("BENCH_HOLD_MS", "2000"))
CHILDREN = int(os.environ.get("BENCH_CHILDREN", "8"))
WARM = HOLD_MS / 1000 + 1  # from then on as many calls end as begin
IN_HAND = 64               # calls at a time when measuring how many a second are possible
LIMIT = 1.10               # what the goals allow
AGAIN = " again"

# Column, unit, what it is.
METRICS = (
    ("worker_cpu", "us/call", "CPU time of the SIP workers"),
    ("writer_cpu", "us/call", "CPU time of our writer process"),
    ("all_cpu", "us/call", "CPU time of all processes of the proxy"),
    ("p50", "us", "INVITE to 200 through the proxy, less the callee's time"),
    ("p95", "us", ""),
    ("p99", "us", ""),
    ("bye_p50", "us", "BYE to 200"),
    ("bye_p99", "us", ""),
    ("capacity", "calls/s", "with %d calls in hand, as fast as it goes" % IN_HAND),
    ("load", "% of a processor", "the load generator at the fixed rate; near 100 it would be the bottleneck"),
    ("load_full", "% of a processor", "the same, as fast as it goes"),
)
FIELDS = ("round", "variant", "module", "database") + tuple(m[0] for m in METRICS) + (
    "calls", "failed", "retransmitted", "rows", "log_errors")


class Variant:
    def __init__(self, module, database=None, again=False):
        self.module, self.database = module, database
        self.name = module if module == NONE else "%s %s" % (module, database.name if database else "NO_DB")
        if again:
            self.name += AGAIN

    def proxy(self):
        params, drivers = {}, ()
        if self.database and self.module == OURS:
            params = {"db_mode": 1, "db_url": self.database.url}
        elif self.database:
            params = {"db_mode": 1, "db_url": self.database.stock_url}
            drivers = (self.database.driver,)
        p = BenchProxy(self.module, params, children=CHILDREN, drivers=drivers)
        if self.module == OURS and self.database:
            p.params["db_journal_dir"] = p.dir
        return p


def all_variants():
    near = [databases.Sqlite(), databases.Mysql(), databases.Postgres()]
    far = [databases.Delayed(d) for d in near if d.name != "sqlite"]
    yield Variant(NONE)
    for d in [None] + near + far:
        yield Variant(STOCK, d)
        yield Variant(OURS, d)
    yield Variant(OURS, again=True)  # how much two runs of the same differ


def needed_databases(variants):
    """The databases of these variants in order of starting."""
    out = []
    for d in (v.database for v in variants if v.database):
        for each in ([d.server] if isinstance(d, databases.Delayed) else []) + [d]:
            if each not in out:
                out.append(each)
    return out


# ---- one variant, once

def generator(*args):
    return subprocess.Popen([build("load"), *[str(a) for a in args]], stdout=subprocess.PIPE, text=True)


def expect(gen, line):
    said = gen.stdout.readline().strip()
    if said != line:
        raise RuntimeError("the load generator said %r instead of %r" % (said, line))


class Share:
    """CPU time of a process since then, in percent of one processor."""

    def __init__(self, pid):
        self.pid, self.began, self.before = pid, time.monotonic(), cpu_of(pid)

    def read(self):
        return 100 * (cpu_of(self.pid) - self.before) / (time.monotonic() - self.began)


def at_a_rate(variant, proxy):
    """CPU time per call and latencies at a fixed rate."""
    roles = proxy.processes()
    gen = generator("-r", RATE, "-d", HOLD_MS, "-b", WARM, "-t", SECONDS, proxy.addr)
    pids = variant.database.pids if variant.database else ()
    with priority.raised(gen.pid, proxy.proc.pid, *pids):
        expect(gen, "begin")
        share, before = Share(gen.pid), proxy.cpu(roles)
        expect(gen, "end")
        share, after = share.read(), proxy.cpu(roles)
    rows = variant.database.rows(variant.module) if variant.database else 0
    r = json.loads(gen.stdout.readline())
    gen.wait()
    used = {role: (after[role] - before[role]) / max(1, r["calls"]) * 1e6 for role in after}
    out = {"worker_cpu": used["worker"], "writer_cpu": used["writer"], "all_cpu": sum(used.values()),
           "load": share, "calls": r["started"], "failed": r["refused"] + r["lost"] + r["skipped"] + r["left"],
           "retransmitted": r["retransmitted"], "rows": rows}
    for q in ("p50", "p95", "p99"):
        out[q] = r["setup"].get(q, float("nan"))
        out["bye_" + q] = r["teardown"].get(q, float("nan"))
    return out


def at_full_speed(proxy):
    gen = generator("-w", IN_HAND, "-b", 1, "-t", max(2, SECONDS / 3), proxy.addr)
    expect(gen, "begin")
    share = Share(gen.pid)
    expect(gen, "end")
    share = share.read()
    r = json.loads(gen.communicate()[0].splitlines()[-1])
    return {"capacity": r["per_second"], "load_full": share}


def stop(variant, proxy):
    """How many error lines are in the log. Ours has to end without any."""
    if variant.module != OURS:
        proxy.allow("")
    bad = proxy.stop()
    if bad:
        raise RuntimeError("%s:\n%s" % (variant.name, "\n".join(bad)))


def errors_in(log):
    return sum(1 for line in log.splitlines() if BAD.search(line) or NEVER.search(line))


def check(variant, proxy, result):
    """A module that tracks nothing and a database that gets nothing would win every comparison."""
    processed = proxy.processed()
    if processed is not None and processed < result["calls"]:
        raise RuntimeError("%s: tracked %d of %d calls" % (variant.name, processed, result["calls"]))
    if variant.database and not result["rows"]:
        raise RuntimeError("%s: no row in the database while calls are up" % variant.name)


def measure(variant):
    proxy = variant.proxy()
    if variant.database:
        variant.database.clear()
    try:
        proxy.start()
        result = at_a_rate(variant, proxy)
        check(variant, proxy, result)
        result.update(at_full_speed(proxy))
        result["log_errors"] = errors_in(proxy.log())
        stop(variant, proxy)
    finally:
        proxy.kill()
    return result


# ---- all of them, and what it means

def csv_row(n, variant, result):
    row = {"round": n, "variant": variant.name, "module": variant.module,
           "database": variant.database.name if variant.database else "", **result}
    return {f: "%.1f" % row[f] if isinstance(row[f], float) else row[f] for f in FIELDS}


def play(variants, path):
    """{variant: [result of each round]}"""
    results = {v.name: [] for v in variants}
    with open(path, "w", newline="") as f:
        out = csv.DictWriter(f, FIELDS)
        out.writeheader()
        for n in range(1, ROUNDS + 1):
            for v in variants:
                began = time.monotonic()
                result = measure(v)
                results[v.name].append(result)
                out.writerow(csv_row(n, v, result))
                f.flush()
                print("round %d  %-20s %4.0f s  worker %5.0f us/call  p50 %5.0f  p99 %6.0f us  %5.0f calls/s%s" % (
                    n, v.name, time.monotonic() - began, result["worker_cpu"], result["p50"], result["p99"],
                    result["capacity"], "  FAILED CALLS %d" % result["failed"] if result["failed"] else ""),
                    flush=True)
    return results


def spread(values, digits):
    return "%.*f (%.*f..%.*f)" % (digits, statistics.median(values), digits, min(values), digits, max(values))


def print_table(results):
    print("\nMedian (least..most) of %d rounds, %g s each, %g calls/s, %d ms a call, %d workers" % (
        ROUNDS, SECONDS, RATE, HOLD_MS, CHILDREN))
    for metric, unit, text in METRICS:
        print("\n%s, %s%s" % (metric, unit, ": " + text if text else ""))
        for name, rounds in results.items():
            print("  %-22s %s" % (name, spread([r[metric] for r in rounds], 0)))
    print("\nfailed calls, retransmitted requests, lines of errors in the log, rows in the database at the end")
    for name, rounds in results.items():
        print("  %-22s %d, %d, %d, %d" % (name, *[sum(r[k] for r in rounds) for k in
                                                 ("failed", "retransmitted", "log_errors")], rounds[-1]["rows"]))


def ratios(results, a, b, metric):
    """Of each round, a / b. What ran twice in a round counts as the mean of the two, but against itself."""
    again = results.get(b + AGAIN) if a != b + AGAIN else None
    out = []
    for x, y, z in zip(results[a], results[b], again or results[b]):
        if y[metric]:
            out.append(2 * x[metric] / (y[metric] + z[metric]))
    return out


def pairs(results):
    """(a, b) to compare, in order of interest."""
    ours, stock = "ours NO_DB", "stock NO_DB"
    near = [n[5:] for n in results if n.startswith("ours ") and n[5:] not in ("NO_DB", "NO_DB" + AGAIN)]
    yield ours + AGAIN, ours
    yield ours, NONE
    yield stock, NONE
    yield ours, stock
    for d in near:
        yield "ours " + d, "stock " + d
    for d in near:
        yield "ours " + d, ours
    for d in near:
        yield "stock " + d, stock
    for d in near:
        if " +" in d:
            yield "ours " + d, "ours " + d.partition(" +")[0]


def print_ratios(results):
    shown = ("worker_cpu", "all_cpu", "p50", "p99", "capacity")
    print("\nRatios  %-41s %s" % ("", "".join("%-20s" % m for m in shown)))
    for a, b in pairs(results):
        if a in results and b in results:
            print("  %-46s " % (a + " / " + b) +
                  "".join("%-20s" % spread(ratios(results, a, b, m), 2) for m in shown))


def wanted(results):
    """(text, a, b, metric) of each goal that was measured: a / b."""
    for name in results:
        if not name.startswith("ours ") or "NO_DB" in name:
            continue
        if " +" not in name:
            for m in ("worker_cpu", "p50", "p99"):
                yield "%s of %s within 10 %% of NO_DB" % (m, name), name, "ours NO_DB", m
        else:
            near = name.partition(" +")[0]
            yield "p99 of %s within 10 %% of %s" % (name, near), name, near, "p99"


def verdict(values, noise):
    """`noise`: the same ratio of what does not differ. Where that is farther from 1 than the goal, nothing is proved:
    neither that it is met, nor, when it differs as much itself, that it is not."""
    middle = statistics.median(values)
    differs = statistics.median([max(n, 1 / n) for n in noise] or [1])
    if LIMIT < middle <= differs:
        return "not met, within the noise"
    return ("met" if middle <= LIMIT else "not met") + (
        ", by less than the noise" if middle <= LIMIT < differs else
        ", not in every round" if min(values) <= LIMIT < max(values) else "")


def print_goals(results):
    ours = "ours NO_DB"
    print("\nGoals: the median at most %.2f. Noise: \"%s\" against itself, in the same run." % (LIMIT, ours))
    for text, a, b, metric in wanted(results):
        if a in results and b in results:
            r = ratios(results, a, b, metric)
            noise = ratios(results, ours + AGAIN, ours, metric) if ours + AGAIN in results else []
            print("  %-56s %-20s %-26s  noise: %s" % (
                text, spread(r, 2), goals.add(text, "%.2f" % statistics.median(r), "at most %.2f" % LIMIT,
                                              verdict(r, noise)), spread(noise, 2) if noise else "not measured"))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    variants = [v for v in all_variants() if re.search(pattern, v.name)]
    if not variants:
        sys.exit("no variant matches %r" % pattern)
    os.makedirs(os.path.join(ROOT, "build", "bench"), exist_ok=True)
    running = []
    try:
        for d in needed_databases(variants):
            d.start()
            running.append(d)
        results = play(variants, os.path.join(ROOT, "build", "bench", "calls.csv"))
    finally:
        for d in reversed(running):
            d.stop()
    print_table(results)
    print_ratios(results)
    print_goals(results)


if __name__ == "__main__":
    main()
