#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions of a SIP worker per complete call, counted by callgrind: what the module adds.

Two runs of each variant differ in the number of calls only; so does what their worker executed. A
call is INVITE, 180, 200, ACK, BYE, 200, one at a time. Unlike times, the numbers are the same on a
busy machine. Work that a module leaves to other processes (freeing dialogs later, our writer) is not
in them, nor what the kernel does.

Environment: BENCH_CALLS (1000), by how much the two runs differ. The sums are in
build/bench/instructions.csv, and with a database in instructions_realtime.csv."""

import collections
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import databases
import goals
import host_kamailio
from host import NONE, OURS, ROOT, STOCK, BenchProxy, build

CALLS = int(os.environ.get("BENCH_CALLS", "1000"))
FIRST = 200
MOST = 16
THIRD = 1 / 3   # goal: of what the host's module adds
LIMIT = 1.10    # goal: of a worker's instructions without database

PROFILES = {"caller": '"$fU"', "callee": '"$rU"', "gateway": '"$rd"'}
VALUES = {"account": "prepaid", "origin": "branch office 7"}


def profile_lines():
    return "\n\t".join('set_dlg_profile("%s", %s);' % p for p in PROFILES.items())


def value_lines(module):
    name = "dlg_val" if module == OURS else "dlg_var"
    return "\n\t".join('$%s(%s) = "%s";' % (name, k, v) for k, v in VALUES.items())


# What each call does beside being tracked.
EXTRAS = {
    "plain": lambda module: "",
    "3 profiles": lambda module: profile_lines(),
    "2 values": value_lines,
    "both": lambda module: profile_lines() + "\n\t" + value_lines(module),
}


def make_wrapper(directory):
    """A program to run in the place of the host."""
    path = os.path.join(directory, "kamailio")
    with open(path, "w") as f:
        f.write("#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file=%s/out.%%p %s -x fm \"$@\"\n"
                % (directory, host_kamailio.BINARY))
    os.chmod(path, 0o755)
    return path


def make_proxy(module, extra, database):
    params = {}
    if module != NONE and "profile" in extra:
        params["profiles_with_value"] = " ; ".join(PROFILES)
    if database:
        params.update(db_mode=1, db_url=database.url if module == OURS else database.stock_url)
    if extra and module != NONE:
        extra = ("create_dialog();" if module == OURS else "dlg_manage();") + "\n\t" + extra
    p = BenchProxy(module, params, children=1, shm=64, each_call=extra if module != NONE else "",
                   drivers=(database.driver,) if database and module == STOCK else (),
                   extra='modparam("tm", "retr_timer1", 20000)')  # a busy machine is no reason to repeat
    if database and module == OURS:
        p.params["db_journal_dir"] = p.dir
    return p


def play(p, calls):
    out = subprocess.run([build("load"), "-w", "1", "-n", str(calls), "-b", "0", "-g", "-i", "20000", p.addr],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    r = json.loads(out.splitlines()[-1])
    if r["answered"] != calls or r["ended"] != calls or r["retransmitted"]:
        raise RuntimeError("not %d clean calls: %s" % (calls, r))
    processed = p.processed()
    if processed is not None and processed != calls:
        raise RuntimeError("%s: tracked %s of %d calls" % (p.module, processed, calls))


Where = collections.namedtuple("Where", "function file object")


def executed(path):
    """Instructions by function, without those it called. Its file is its object where symbols are missing."""
    out = collections.Counter()
    text = subprocess.run(["callgrind_annotate", "--threshold=100", "--show-percs=no", path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=True).stdout
    for line in text.splitlines():
        m = re.fullmatch(r"\s*([\d,]+)\s+(?:\S*/)?([^/:\s]+):(\S+) \[(?:\S*/)?([^/\]]+)\]\s*", line)
        if m:
            where = Where(m.group(3), m.group(4) if m.group(2) == "???" else m.group(2), m.group(4))
            out[where] += int(m.group(1).replace(",", ""))
    if not out:
        raise RuntimeError("nothing counted in " + path)
    return out


def one_run(directory, module, extra, database, calls):
    """Instructions of the worker from its start to its end, by function."""
    p = make_proxy(module, extra, database)
    if database:
        database.clear()
    try:
        p.start()
        worker = [pid for pid, role in p.processes().items() if role == "worker"][0]
        play(p, calls)
        if module != OURS:
            p.allow("")
        bad = p.stop()
    finally:
        p.kill()
    if bad:
        raise RuntimeError("\n".join(bad))
    return executed(os.path.join(directory, "out.%d" % worker))


def per_call(directory, module, extra="", database=None):
    few = one_run(directory, module, extra, database, FIRST)
    many = one_run(directory, module, extra, database, FIRST + CALLS)
    return {name: (many[name] - few[name]) / CALLS for name in many}


def total(functions):
    return sum(functions.values())


def added_by(functions, none):
    return {where: n - none.get(where, 0) for where, n in functions.items()}


def by_object(added):
    out = collections.Counter()
    for where, n in added.items():
        out[where.object] += n
    return out


def print_functions(module, added):
    print("\nand by %s in" % module)
    for where in sorted(added, key=added.get, reverse=True)[:MOST]:
        print("%8.0f  %s in %s" % (added[where], where.function, where.file))


def print_where(none, plain):
    """What a plain call adds, by program and library for both modules; then the functions that need most of what
    each adds, its own or not. A packaged module has no symbols for those that it does not export."""
    added = {module: added_by(functions, none) for module, functions in plain.items()}
    stock, ours = by_object(added[STOCK]), by_object(added[OURS])
    print("\nof which, plain, in%20s %9s" % ("stock", "ours"))
    for name in sorted(set(stock) | set(ours), key=lambda n: -max(stock[n], ours[n])):
        if max(stock[name], ours[name]) >= 1:
            print("  %-26s %9.0f %9.0f" % (name, stock[name], ours[name]))
    for module in (OURS, STOCK):
        print_functions(module, added[module])


def write_csv(name, rows):
    path = os.path.join(ROOT, "build", "bench", name + ".csv")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows(rows)


def goal(what, ratio, most, text):
    return "%s: %s" % (text, goals.add(what, "%.2f" % ratio, text, "met" if ratio <= most else "not met"))


def compare(directory):
    """Print what each module adds to a call without any."""
    rows = [("variant", "host", "stock", "ours")]
    none, plain = per_call(directory, NONE), {}
    print("\nInstructions of a SIP worker per call, host alone: %.0f\n" % total(none))
    print("%-14s %12s %12s %14s" % ("added by", "stock", "ours", "ours / stock"))
    for name, extra in EXTRAS.items():
        stock, ours = (per_call(directory, m, extra(m)) for m in (STOCK, OURS))
        plain = plain or {STOCK: stock, OURS: ours}
        stock, ours = total(stock) - total(none), total(ours) - total(none)
        verdict = goal("added instructions a call, ours / stock: " + name, ours / stock, THIRD, "at most a third")
        print("%-14s %12.0f %12.0f %14.2f  %s" % (name, stock, ours, ours / stock, verdict), flush=True)
        rows.append((name, "%.0f" % total(none), "%.0f" % stock, "%.0f" % ours))
        write_csv("instructions", rows)
    print_where(none, plain)
    return {module: total(functions) for module, functions in plain.items()}


def compare_realtime(directory, plain):
    """Print what saving adds to a worker; `plain`: without, by module."""
    database = databases.Sqlite()
    database.start()
    try:
        realtime = {m: total(per_call(directory, m, database=database)) for m in (STOCK, OURS)}
    finally:
        database.stop()
    ratio = {m: realtime[m] / plain[m] for m in realtime}
    write_csv("instructions_realtime", [("module", "no_db", "realtime", "ratio")] + [
        (m, "%.0f" % plain[m], "%.0f" % realtime[m], "%.3f" % ratio[m]) for m in realtime])
    print("\nA worker in all, REALTIME / NO_DB (SQLite): stock %.2f, ours %.2f  %s" % (
        ratio[STOCK], ratio[OURS],
        goal("instructions of a worker, REALTIME / NO_DB (SQLite)", ratio[OURS], LIMIT, "at most %.2f" % LIMIT)))


def main():
    directory = tempfile.mkdtemp(prefix="dlgbench.")
    try:
        host_kamailio.BINARY = make_wrapper(directory)
        compare_realtime(directory, compare(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
