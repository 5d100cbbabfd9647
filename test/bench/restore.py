#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast dialogs come back from a database, against fetching the same rows and doing nothing.

usage: restore.py [KIND...]     sqlite, mysql, postgres, and host: through the real proxy, with the
                                host's own module beside it (SQLite); all of them if none is named

Environment: BENCH_ROWS (1000000), BENCH_ROUNDS (3), BENCH_STOCK_ROWS (100000) of the host's own module,
BENCH_PATIENCE (900), seconds that a proxy may take to start. A host's own module that takes longer is said to.

The rows are plain calls whose lifetimes differ; "postgres" has them in no order, as a heap that was
written for a while. Fetching and restoring take turns. Every value is in build/bench/restore.csv."""

import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import databases
import goals
from host import MODULE, NONE, OURS, ROOT, STOCK, BenchProxy, RpcError, proxy

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
STOCK_ROWS = int(os.environ.get("BENCH_STOCK_ROWS", "100000"))
PATIENCE = float(os.environ.get("BENCH_PATIENCE", "900"))
RATE, FACTOR = 200000, 2  # goals: rows a second, or that much slower than fetching alone
DRIVERS = os.path.dirname(MODULE)
PROGRAM = os.path.join(DRIVERS, "test", "bench", "restore")
FIELDS = ("what", "round", "rows", "seconds", "cpu")
HOST_SHM, HOST_PKG = 2048, 1024  # MB; the host's own module has all rows in private memory


def run(url, *args):
    """(rows, seconds, CPU seconds of the process)"""
    out = subprocess.run([PROGRAM, DRIVERS, url, *[str(a) for a in args]], check=True, stdout=subprocess.PIPE,
                         text=True).stdout.split()
    return int(out[0]), float(out[1]), float(out[2])


def start_over(url):
    """The engine over the table. Nothing of the journal is left for the next one."""
    journal = tempfile.mkdtemp(prefix="dlgbench.")
    try:
        return run(url, "start", journal)
    finally:
        shutil.rmtree(journal)


class Results:
    def __init__(self):
        self.values = {}
        path = os.path.join(ROOT, "build", "bench", "restore.csv")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.file = open(path, "w", newline="")
        self.out = csv.writer(self.file)
        self.out.writerow(FIELDS)

    def add(self, what, turn, result):
        rows, seconds, cpu = result
        self.values.setdefault(what, []).append(result)
        self.out.writerow((what, turn, rows, "%.3f" % seconds, "%.3f" % cpu if cpu else ""))
        self.file.flush()

    def cpu(self, what):
        """Microseconds of CPU time for each row, of the process that reads."""
        return statistics.median(cpu / rows * 1e6 for rows, _, cpu in self.values[what])

    def rates(self, what):
        return [rows / seconds for rows, seconds, _ in self.values[what]]

    def rate(self, what):
        return statistics.median(self.rates(what))

    def range(self, what):
        return "%.0f to %.0f" % (min(self.rates(what)), max(self.rates(what)))


def goal(kind, fetched, restored):
    """What is wanted, in words, and whether it is met."""
    wanted, least = "at least %d/s" % RATE, RATE
    if fetched < RATE:
        least = fetched / FACTOR
        wanted = "at least 1/%d of fetching, %.0f/s" % (FACTOR, least)
    verdict = "met" if restored >= least else "not met"
    goals.add("rows restored a second, %s, %d rows" % (kind, ROWS), "%.0f" % restored, wanted, verdict)
    return "%s: %s" % (wanted, verdict)


def compare(kind, results):
    database = databases.dbserver.start(kind)
    try:
        databases.make_our_table(database.url)
        run(database.url, "fill", ROWS)
        if kind == "mysql":  # a cold cache is not what is measured
            run(database.url, "raw")
        for turn in range(1, ROUNDS + 1):
            results.add(kind + " fetch", turn, run(database.url, "raw"))
            results.add(kind + " restore", turn, start_over(database.url))
    finally:
        database.remove()
    fetched, restored = results.rate(kind + " fetch"), results.rate(kind + " restore")
    print("%-10s %9d %10.0f %10.0f %-17s %7.2f %10.2f %10.2f   %s" % (
        kind, ROWS, fetched, restored, results.range(kind + " restore"), fetched / restored, results.cpu(kind + " fetch"), results.cpu(kind + " restore"),
        goal(kind, fetched, restored)), flush=True)


# ---- through the real proxy

def make_proxy(module, url):
    params = {}
    if url:
        params.update(db_mode=1, db_url=url)
    p = BenchProxy(module, params, children=1, shm=HOST_SHM, drivers=("db_sqlite",) if url and module == STOCK else ())
    if url and module == OURS:
        p.params["db_journal_dir"] = p.dir
    p.allow("")
    return p


def make_wrapper(directory):
    """A program to run in the place of the host, which gives it more private memory."""
    path = os.path.join(directory, "kamailio")
    with open(path, "w") as f:
        f.write('#!/bin/sh\nexec %s "$@" -M %d\n' % (proxy.host.BINARY, HOST_PKG))
    os.chmod(path, 0o755)
    return path


def wait_ready(p, until):
    """The socket of commands answers once everything is initialized."""
    while True:
        try:
            return p.rpc.call("core.version", timeout=1)
        except (OSError, RpcError):
            if p.proc.poll() is not None:
                raise RuntimeError("the proxy does not start:\n" + p.log()[-2000:]) from None
            if time.monotonic() > until:
                raise TimeoutError("the proxy did not start within %g s" % PATIENCE) from None
            time.sleep(0.01)


def started(p):
    """Seconds until it answers."""
    began = time.monotonic()
    p.spawn()
    wait_ready(p, began + PATIENCE)
    return time.monotonic() - began


def count(p):
    return int(p.rpc.call("stats.get_statistics", "active_dialogs")[0].rpartition("=")[2])


def start_host(module, url, ports, rows):
    p = make_proxy(module, url)
    p.ip, p.ports, p.port = ports
    try:
        seconds = started(p)
        if rows and count(p) != rows:
            raise RuntimeError("%s: %d of %d dialogs came back:\n%s" % (module, count(p), rows, p.log()[-2000:]))
        return seconds
    finally:
        p.kill()


STOCK_ENTRIES = 4096  # its default hash_size
STOCK_COLUMNS = ("hash_entry, hash_id, callid, from_uri, from_tag, to_uri, to_tag, caller_cseq, callee_cseq, "
                 "caller_contact, callee_contact, caller_sock, callee_sock, state, start_time, timeout, sflags, "
                 "iflags, req_uri")


def host_hash(text):
    """The hash of the host's core: its module wants it to fit."""
    h = 0
    for i in range(0, len(text) // 4 * 4 + 1, 4):
        v = int.from_bytes(text[i:i + 4].encode(), "big")
        h = (h + (v ^ v >> 3)) % 2**32
    return (h + (h >> 11) + (h >> 13) + (h >> 23)) % 2**32


def stock_row(n, sock, now):
    call_id = "%08x-%07d@192.0.2.17" % (n * 2654435761 % 2**32, n)
    return (host_hash(call_id) % STOCK_ENTRIES, n + 1, call_id, "sip:alice@192.0.2.17:5060", "a%08x" % n,
            "sip:bob@198.51.100.9:5060", "b%08x" % n, "1", "0", "sip:alice@192.0.2.17:5060",
            "sip:bob@198.51.100.9:5060", sock, sock, 4, now, now + 86400 + n * 2654435761 % 2**32 % 43200, 0, 0,
            "sip:bob@198.51.100.9:5060")


def fill_stock(database, sock):
    """Rows of the host's own module, each with a time of its own."""
    now = int(time.time())
    db = database.files[STOCK].connect()
    db.executemany(
        "INSERT INTO dialog (%s) VALUES (%s)" % (STOCK_COLUMNS, ",".join("?" * len(STOCK_COLUMNS.split(",")))),
        (stock_row(n, sock, now) for n in range(STOCK_ROWS)))
    db.commit()
    db.close()


def compare_stock(results, url, ports, empty):
    """The host's own module, once. Why there is no figure, if there is none."""
    try:
        results.add("host stock", 1, (STOCK_ROWS, start_host(STOCK, url, ports, STOCK_ROWS) - empty, 0))
    except TimeoutError as e:
        return str(e)
    return None


def compare_hosts(results):
    directory = tempfile.mkdtemp(prefix="dlgbench.")
    proxy.host.BINARY = make_wrapper(directory)
    probe = make_proxy(NONE, None)
    probe.choose_ports()
    ports = probe.ip, probe.ports, probe.port
    probe.kill()
    sock = "udp:%s:%d" % (ports[0], ports[2])
    database = databases.Sqlite()
    database.start()
    try:
        run(database.url, "fill", ROWS, sock)
        fill_stock(database, sock)
        for turn in range(1, ROUNDS + 1):
            empty = start_host(NONE, None, ports, 0)
            results.add("host ours", turn, (ROWS, start_host(OURS, database.url, ports, ROWS) - empty, 0))
        late = compare_stock(results, database.stock_url, ports, empty) if STOCK_ROWS else None
    finally:
        database.stop()
        shutil.rmtree(directory)
    fetched = results.rate("sqlite fetch") if "sqlite fetch" in results.values else RATE
    for what in ("host ours", "host stock"):
        if what in results.values:
            print("%-10s %9d %10s %10.0f %-17s %7s %10s %10s   %s" % (
                what, results.values[what][-1][0], "", results.rate(what), results.range(what), "", "", "",
                goal("the real proxy", fetched, results.rate(what)) if what == "host ours" else ""))
    if late:
        print("%-10s %9d   %s" % ("host stock", STOCK_ROWS, late), flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # proxies and databases go, too
    kinds = sys.argv[1:] or ["sqlite", "mysql", "postgres", "host"]
    results = Results()
    print("\nRestoring dialogs, medians of %d rounds\n" % ROUNDS)
    print("%-10s %9s %10s %10s %-17s %7s %10s %10s" % (
        "", "rows", "fetched/s", "restored/s", "lowest to highest", "ratio", "CPU us/row", "restored"))
    for kind in kinds:
        if kind == "host":
            compare_hosts(results)
        else:
            compare(kind, results)


if __name__ == "__main__":
    main()
