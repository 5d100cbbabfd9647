#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What other calls notice of a proxy that has a million dialogs, ends 20,000 of them at once, or lists
them all: INVITE to 200 through the real proxy, all dialogs restored from SQLite.

usage: others.py [KIND...]     all of them if none is named:

    expire   dialogs expire in one second, BYE to both sides
    silent   as many expire without BYE
    script   control: as many BYEs that the module has nothing to do with, sent by the proxy's script
    list     all dialogs are listed through the FIFO, read as fast as possible, into nothing
    none     nothing happens; against a proxy beside it without a dialog

Environment: BENCH_ROWS (1000000) that stay, BENCH_ENDING (20000) at a time, BENCH_RATE (200) calls a
second, BENCH_SECONDS (4) of a window in which nothing else happens, BENCH_ROUNDS (5), BENCH_HOLD_MS
(2000), BENCH_CHILDREN (8) SIP workers, BENCH_BYE_RATE (1000) as timeout_bye_rate. All who take part are
preferred to the rest of the machine, but with BENCH_PRIORITY=0. BENCH_PRIORITY=workers: the SIP
workers, caller and callees, with real-time priority, never wait for a processor that the module's other
processes have. What is left is locks and queues.

Each window comes after one in which nothing else happens ("rest"), in the same run of the proxy, and is
compared with that one. The noise is the same ratio of the next rest, cut to the same length. All
windows are in build/bench/others.csv, times in microseconds, CPU time in seconds."""

import collections
import contextlib
import csv
import json
import os
import select
import signal
import statistics
import sys
import tempfile
import time

import databases
import goals
import priority
import restore
from calls import LIMIT, expect, generator, spread, verdict
from host import NONE, OURS, ROOT, BenchProxy, cpu_of
from sip import loopback
from windows import CPU, Meter, Result, Window, figures, latencies_in

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ENDING = int(os.environ.get("BENCH_ENDING", "20000"))
RATE = float(os.environ.get("BENCH_RATE", "200"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
HOLD_MS = int(os.environ.get("BENCH_HOLD_MS", "2000"))
CHILDREN = int(os.environ.get("BENCH_CHILDREN", "8"))
BYE_RATE = int(os.environ.get("BENCH_BYE_RATE", "1000"))
WORKERS_FIRST = os.environ.get("BENCH_PRIORITY") == "workers"

EXPIRE, SILENT, SCRIPT, LIST, REST = "expire", "silent", "script", "list", "rest"
TEXTS = {EXPIRE: "%d expire, BYE to both sides" % ENDING,
         SILENT: "%d expire without BYE" % ENDING,
         SCRIPT: "control: %d BYEs of the script" % (2 * ENDING),
         LIST: "dlg_list through the FIFO",
         NONE: "a million dialogs, against none" if ROWS == 1000000 else "%d dialogs, against none" % ROWS}
FEW = 500                             # calls of which the 99th percentile is that of a few
GOALS = (EXPIRE, SILENT, LIST, NONE)  # the others explain
DUE = (EXPIRE, SILENT, SCRIPT)        # happen at times that are set before the start
PACED = -(-ENDING // BYE_RATE) if BYE_RATE else 0  # seconds of BYEs
AFTER = 18 + PACED                    # seconds from their time until dialogs and transactions are gone
BYE_FLAG, IN_PATH_FLAG = 1, 2         # doc/database.md, dlg_flags
ROLES = (("udp receiver", "workers"), ("dialog timer", "timer"), ("dialog FIFO", "FIFO"),
         ("dialog writer", "writer"), ("RTIMER", "script"))
FIELDS = ("round", "kind", "seconds", "calls", "p50", "p99", "max", "rows_per_second") + CPU


# ---- what is to happen, and when

Event = collections.namedtuple("Event", "round kind due first")  # first: hash_id of the first dialog


def plan(kinds, begin):
    """The events with a time, `begin` or later, in turns."""
    out, first = [], 1
    for n in range(1, ROUNDS + 1):
        for kind in [k for k in DUE if k in kinds]:
            out.append(Event(n, kind, int(begin + SECONDS + 1), first))
            begin = out[-1].due + AFTER
            first += ENDING if kind != SCRIPT else 0
    return out


def set_times(database, events, callees):
    """Let rows end as planned, and their parties be where somebody answers."""
    db = database.connect()
    for e in events:
        if e.kind != SCRIPT:
            flags = IN_PATH_FLAG | (BYE_FLAG if e.kind == EXPIRE else 0)
            db.execute("UPDATE dialog SET timeout = ?, dlg_flags = ?, from_contact = ?, callee_contact = ? "
                       "WHERE hash_id BETWEEN ? AND ?",
                       (e.due, flags, "sip:alice@" + callees, "sip:bob@" + callees, e.first, e.first + ENDING - 1))
    db.commit()
    db.close()


# ---- the proxy

SEND = """
route[SEND] {
	$uac_req(method) = "BYE";
	$uac_req(ruri) = "sip:alice@%(callees)s";
	$uac_req(furi) = "sip:bob@198.51.100.9:5060";
	$uac_req(turi) = "sip:alice@192.0.2.17:5060";
	$uac_req(sock) = "udp:%(sock)s";
	$var(n) = 0;
	while ($var(n) < %(number)d) {
		$uac_req(callid) = "script-$TS-$var(n)";
		uac_req_send();
		$var(n) = $var(n) + 1;
	}
}

route[LOOK] {
%(times)s
}
"""


class FullProxy(BenchProxy):
    """With a process that sends BYEs by script at the planned times."""

    def __init__(self, url, address, events, callees):
        params = {"db_mode": 1, "db_url": url, "timeout_bye_rate": BYE_RATE}
        super().__init__(OURS, params, children=CHILDREN, shm=1536 + (ROWS + ROUNDS * 2 * ENDING) // 1000)
        self.params["db_journal_dir"] = self.dir
        self.ip, self.ports, self.port = address
        self.times = [e.due for e in events if e.kind == SCRIPT]
        self.callees = callees
        if self.times:
            self.drivers = ("uac", "rtimer")
            self.extra_lines = "\n".join((
                'modparam("uac", "restore_mode", "none")',
                'modparam("rtimer", "timer", "name=look;interval=1;mode=1;")',
                'modparam("rtimer", "exec", "timer=look;route=LOOK")', "max_while_loops=%d" % (2 * ENDING + 1)))

    def config(self):
        if not self.times:
            return super().config()
        look = "\n".join("\tif ($TS >= %d && $TS < %d && $shv(sent) < %d) { $shv(sent) = %d; route(SEND); }" %
                         (t, t + 3, t, t) for t in self.times)
        return super().config() + SEND % {"callees": self.callees, "sock": self.addr, "number": 2 * ENDING,
                                          "times": look}

    def roles(self):
        """{pid: role} of all its processes."""
        out = {}
        for p in self.rpc.call("core.psx"):
            role = [r for text, r in ROLES if text in p["DSC"]]
            out[int(p["PID"])] = role[0] if role else "rest of the proxy"
        return out


def address():
    """(ip, ports, port) that nobody uses."""
    probe = BenchProxy(NONE)
    probe.choose_ports()
    probe.kill()
    return probe.ip, probe.ports, probe.port


# ---- windows

def rest(turn, meter):
    w = Window(turn, REST, meter)
    time.sleep(SECONDS)
    return w.close()


STEP, LEAP, CALM = 0.01, 0.001, 0.1  # seconds: a look, CPU time in it that is work, how long without


def work_of(event, pid, meter):
    """The window in which a process does what it has to do then: as long as its BYEs must take, and
    at least a second."""
    least = PACED if event.kind == EXPIRE and PACED > 1 else 1
    time.sleep(max(0.0, event.due - time.time() - 0.1))
    window, busy, before = None, 0.0, cpu_of(pid)
    while True:
        now, used = time.time(), cpu_of(pid)
        if used - before > LEAP:
            window, busy = window or Window(event.round, event.kind, meter), now
        elif window and now - busy > CALM and now - window.begin >= least:
            return window.close()
        elif not window and now > event.due + 4:
            raise RuntimeError("nothing happened at the time of %r" % event.kind)
        before = used
        time.sleep(STEP)


def listing(turn, proxy, meter):
    rows = proxy.stats()["active"]
    if rows < ROWS:
        raise RuntimeError("only %d dialogs are left to be listed" % rows)
    name, path, fd = proxy.fifo.open_reply()
    w = Window(turn, LIST, meter)
    proxy.fifo.write((":dlg_list:%s\n\n" % name).encode())
    size = drain(fd)
    w.close()
    os.close(fd)
    os.unlink(path)
    if size < 300 * rows:
        raise RuntimeError("a listing of %d bytes for %d dialogs" % (size, rows))
    w.rows_per_second = rows / w.seconds
    return w


def drain(fd):
    """Throw away what comes until the end; how many bytes that is."""
    size, end = 0, time.monotonic() + 120
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while time.monotonic() < end:
        poll.poll(1000)
        with contextlib.suppress(BlockingIOError):
            got = len(os.read(fd, 1 << 20))
            if size and not got:
                return size
            size += got
    raise TimeoutError("a listing without end")


# ---- the turns: a rest before each event, and one at the end

def say(w):
    print("round %d  %-8s %5.2f s%s" % (w.turn, w.kind, w.seconds,
                                        "  %.0f rows/s" % w.rows_per_second if w.rows_per_second else ""), flush=True)
    return w


def timed_turns(events, proxy, meter):
    """What happens at its time."""
    out = []
    pids = {role: pid for pid, role in meter.roles.items()}
    for e in events:
        late = time.time() - (e.due - SECONDS - 0.5)
        if late > 0:
            raise RuntimeError("%s of round %d is %.1f s late: the machine is too slow" % (e.kind, e.round, late))
        time.sleep(-late)
        out.append(rest(e.round, meter))
        out.append(say(work_of(e, pids["script" if e.kind == SCRIPT else "timer"], meter)))
    if events:
        time.sleep(max(0.0, events[-1].due + AFTER - time.time()))
        out.append(rest(ROUNDS, meter))
    expired = proxy.stats()["expired"]
    if expired < ENDING * sum(1 for e in events if e.kind != SCRIPT):  # a call whose ACK was lost expires, too
        raise RuntimeError("only %d dialogs have expired" % expired)
    return out


def free_turns(kinds, proxy, meter):
    """What happens when we say so."""
    out = []
    for n in range(1, ROUNDS + 1) if LIST in kinds else ():
        out += [rest(n, meter), say(listing(n, proxy, meter))]
    return out + [rest(ROUNDS, meter)] if out else out


def some_calls(turn, kind, proxy, meter):
    """A window of calls through one of several proxies, and their latencies."""
    with tempfile.NamedTemporaryFile() as f:
        gen = generator("-r", RATE, "-d", HOLD_MS, "-b", HOLD_MS / 1000 + 1, "-t", SECONDS, "-o", f.name, proxy.addr)
        meter.roles[gen.pid] = "load"
        expect(gen, "begin")
        w = Window(turn, kind, meter)
        expect(gen, "end")
        w.close()
        gen.communicate()
        del meter.roles[gen.pid]
        return say(w), latencies_in(f.name)


def none_turns(proxy, url, meter):
    """In turns with a proxy that has no dialogs: these are the rests here."""
    out, calls = [], []
    empty = FullProxy(url, address(), (), None)
    try:
        empty.start()
        priority.prefer(empty.proc.pid)
        both = Meter({**meter.roles, **empty.roles()})
        turns = [(n, *turn) for n in range(1, ROUNDS + 1) for turn in ((REST, empty), (NONE, proxy))]
        for n, kind, p in turns + [(ROUNDS, REST, empty)]:
            w, got = some_calls(n, kind, p, both)
            out.append(w)
            calls += got
        stop(empty)
    finally:
        empty.kill()
    return out, calls


# ---- everything

def finish(gen):
    """The load generator's own account."""
    gen.send_signal(signal.SIGTERM)
    return json.loads(gen.communicate()[0].splitlines()[-1])


def stop(proxy):
    bad = proxy.stop()
    if bad:
        raise RuntimeError("\n".join(bad))


def start_over(proxy):
    began = time.monotonic()
    proxy.spawn()
    priority.prefer(proxy.proc.pid)
    restore.wait_ready(proxy, began + restore.PATIENCE)
    proxy.wait_ready()  # all processes are there
    print("restored in %.1f s" % (time.monotonic() - began), flush=True)


def workers_first(meter):
    """Who has priority while it is measured, if that is wanted."""
    first = [pid for pid, role in meter.roles.items() if role in ("workers", "load", "callees")]
    return priority.raised(*first) if WORKERS_FIRST else contextlib.nullcontext()


def under_load(kinds, events, proxy, callees, log):
    """Windows while calls go on, in groups of turns, and what the load generator says of them."""
    gen = generator("-r", RATE, "-d", HOLD_MS, "-b", 0, "-t", 1e6, "-o", log, proxy.addr)
    try:
        meter = Meter({**proxy.roles(), gen.pid: "load", callees.pid: "callees"})
        with workers_first(meter):
            time.sleep(HOLD_MS / 1000 + 1)  # from then on as many calls end as begin
            groups = [timed_turns(events, proxy, meter), free_turns(kinds, proxy, meter)]
        return groups, finish(gen)
    finally:
        gen.kill()


def measure(kinds, tables, callees, where):
    """[(windows in turns, latencies of calls)]"""
    at = address()
    timed = sum(1 for k in kinds if k in (EXPIRE, SILENT)) * ROUNDS * ENDING
    restore.run(tables[0].url, "fill", ROWS + timed, "udp:%s:%d" % (at[0], at[2]))
    events = plan(kinds, time.time() + 15 + (ROWS + timed) / 25000)
    set_times(tables[0], events, where)
    proxy = FullProxy(tables[0].url, at, events, where)
    groups = []
    try:
        start_over(proxy)
        if set(kinds) - {NONE}:
            with tempfile.NamedTemporaryFile() as f:
                windows, account = under_load(kinds, events, proxy, callees, f.name)
                calls = latencies_in(f.name)
            groups = [(w, calls) for w in windows]
            print_account(account)
        if NONE in kinds:
            groups.append(none_turns(proxy, tables[1].url, Meter({**proxy.roles(), callees.pid: "callees"})))
        stop(proxy)
    finally:
        proxy.kill()
    return groups


# ---- what it means

def print_account(r):
    print("%(started)d calls, %(refused)d refused, %(lost)d lost, %(skipped)d skipped, %(left)d left; "
          "%(retransmitted)d requests sent again" % r)


def results_of(groups):
    """{kind: [Result of each round]}"""
    out = {}
    for windows, calls in groups:
        for i in range(1, len(windows), 2):
            out.setdefault(windows[i].kind, []).append(Result(*windows[i - 1:i + 2], calls))
    return out


def write_csv(groups):
    path = os.path.join(ROOT, "build", "bench", "others.csv")
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(FIELDS)
        for windows, calls in groups:
            for w in windows:
                latencies = w.latencies(calls)
                out.writerow([w.turn, w.kind, "%.3f" % w.seconds, len(latencies), *figures(latencies).values(),
                              "%.0f" % w.rows_per_second if w.rows_per_second else ""] +
                             ["%.3f" % w.cpu[role] for role in CPU])


def print_latencies(results, groups):
    print("\nINVITE to 200, microseconds, medians of %d windows; %g calls/s, %d workers\n" % (ROUNDS, RATE, CHILDREN))
    print("%-34s %8s %8s %8s %8s %8s" % ("", "seconds", "calls", "p50", "p99", "max"))
    for windows, calls in groups:
        rests = [figures(w.latencies(calls)) for w in windows if w.kind == REST]
        if rests:
            print("%-34s %8.2f %8s %8.0f %8.0f %8.0f" % (
                REST, SECONDS, "", *[statistics.median(r[m] for r in rests) for m in ("p50", "p99", "max")]))
        for kind in dict.fromkeys(w.kind for w in windows[1::2]):
            rs = results[kind]
            print("%-34s %8.2f %8.0f %8.0f %8.0f %8.0f" % (
                TEXTS[kind], *[statistics.median(v) for v in zip(*[(r.window.seconds, len(r.calls)) for r in rs])],
                *[statistics.median(r.figures[m] for r in rs) for m in ("p50", "p99", "max")]))
    if LIST in results:
        print("\nlisted: %s rows/s" % spread([r.window.rows_per_second for r in results[LIST]], 0))


def print_ratios(results):
    print("\nAgainst the rest before; and the rest after, of the same length, against that\n")
    print("%-34s %-20s %-20s %-20s %-20s" % ("", "p50", "a rest", "p99", "a rest"))
    for kind, rs in results.items():
        print("%-34s %-20s %-20s %-20s %-20s" % (
            TEXTS[kind], *[spread([getattr(r, what)[m] for r in rs], 2) for m in ("p50", "p99") for what in
                           ("ratio", "noise")]))


def print_cpu(groups):
    shares = {}
    for w in [w for windows, _ in groups for w in windows]:
        for role in CPU:
            shares.setdefault(w.kind, {}).setdefault(role, []).append(w.cpu[role] / w.seconds)
    print("\nShare of one processor (there are %d), medians\n" % os.cpu_count())
    print("%-20s" % "" + "".join("%9s" % kind for kind in shares))
    for role in CPU:
        print("%-20s" % role + "".join("%9.2f" % statistics.median(mine[role]) for mine in shares.values()))


def judge(metric, values, noise, calls):
    if metric == "p99" and calls < FEW:
        return "undecided, of %d calls" % calls
    return verdict(values, noise)


def print_goals(results):
    print("\nGoals: no measurable change, the median at most %.2f. Noise: a rest against a rest" % LIMIT)
    for kind in GOALS:
        for m in ("p50", "p99"):
            if kind in results:
                values, noise = ([getattr(r, what)[m] for r in results[kind]] for what in ("ratio", "noise"))
                calls = statistics.median(len(r.calls) for r in results[kind])
                text = "%s of other calls%s: %s" % (m, ", workers first" if WORKERS_FIRST else "", TEXTS[kind])
                print("  %-66s %-20s %-26s  noise: %s" % (text, spread(values, 2), goals.add(
                    text, "%.2f" % statistics.median(values), "at most %.2f" % LIMIT, judge(m, values, noise, calls)),
                    spread(noise, 2)))


def report(groups):
    groups = [g for g in groups if g[0]]
    results = results_of(groups)
    write_csv(groups)
    print_latencies(results, groups)
    print_ratios(results)
    print_cpu(groups)
    print_goals(results)


def play(kinds):
    """[(windows in turns, latencies of calls)]"""
    tables = [databases.dbserver.start("sqlite") for _ in range(2)]
    callees = generator("-a", loopback() + ":0")
    try:
        for t in tables:
            databases.make_our_table(t.url)
        groups = measure(kinds, tables, callees, callees.stdout.readline().strip())
        print("BYEs of the proxy: %d" % finish(callees)["requests"])
    finally:
        callees.kill()
        for t in tables:
            t.remove()
    return groups


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # proxies and databases go, too
    kinds = sys.argv[1:] or list(TEXTS)
    if set(kinds) - set(TEXTS):
        sys.exit("usage: others.py [%s]..." % "|".join(TEXTS))
    if WORKERS_FIRST and not priority.allowed():
        sys.exit("BENCH_PRIORITY=workers needs real-time priorities: root, or CAP_SYS_NICE")
    os.makedirs(os.path.join(ROOT, "build", "bench"), exist_ok=True)
    with priority.preferred():
        groups = play(kinds)
    report(groups)


if __name__ == "__main__":
    main()
