#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions of a SIP worker per complete call, counted by callgrind: what the module adds.

Two runs of each variant differ in the number of calls only; so does what their worker executed. A
call is INVITE, 180, 200, ACK, BYE, 200, one at a time. Unlike times, the numbers are the same on a
busy machine. Work that a module leaves to other processes (freeing dialogs later, our writer) is not
in them, nor what the kernel does.

Environment: BENCH_CALLS (1000), by how much the two runs differ."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import databases
from host import NONE, OURS, STOCK, BenchProxy, build, proxy

CALLS = int(os.environ.get("BENCH_CALLS", "1000"))
FIRST = 200
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
                % (directory, proxy.KAMAILIO))
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
                   drivers=(database.driver,) if database and module == STOCK else ())
    if database and module == OURS:
        p.params["db_journal_dir"] = p.dir
    return p


def play(p, calls):
    out = subprocess.run([build("load"), "-w", "1", "-n", str(calls), "-b", "0", "-g", p.addr],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    r = json.loads(out.splitlines()[-1])
    if r["answered"] != calls or r["ended"] != calls or r["retransmitted"]:
        raise RuntimeError("not %d clean calls: %s" % (calls, r))
    processed = p.processed()
    if processed is not None and processed != calls:
        raise RuntimeError("%s: tracked %s of %d calls" % (p.module, processed, calls))


def executed(path):
    with open(path) as f:
        for line in f:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise RuntimeError("no total in " + path)


def one_run(directory, module, extra, database, calls):
    """Instructions of the worker from its start to its end."""
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
    return (many - few) / CALLS


def compare(directory):
    """Print what each module adds to a call without any."""
    none = per_call(directory, NONE)
    print("\nInstructions of a SIP worker per call, host alone: %.0f\n" % none)
    print("%-14s %12s %12s %14s" % ("added by", "stock", "ours", "ours / stock"))
    for name, extra in EXTRAS.items():
        stock, ours = (per_call(directory, m, extra(m)) - none for m in (STOCK, OURS))
        print("%-14s %12.0f %12.0f %14.2f  at most a third: %s" % (
            name, stock, ours, ours / stock, "met" if ours / stock <= THIRD else "not met"), flush=True)


def compare_realtime(directory):
    database = databases.Sqlite()
    database.start()
    try:
        stock, ours = (per_call(directory, m, database=database) for m in (STOCK, OURS))
    finally:
        database.stop()
    plain_stock, plain = (per_call(directory, m) for m in (STOCK, OURS))
    print("\nA worker in all, REALTIME / NO_DB (SQLite): stock %.2f, ours %.2f  at most %.2f: %s" % (
        stock / plain_stock, ours / plain, LIMIT, "met" if ours / plain <= LIMIT else "not met"))


def main():
    directory = tempfile.mkdtemp(prefix="dlgbench.")
    try:
        proxy.KAMAILIO = make_wrapper(directory)
        compare(directory)
        compare_realtime(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
