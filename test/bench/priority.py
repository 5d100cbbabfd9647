# SPDX-License-Identifier: GPL-2.0-or-later
"""Let nobody else on the machine disturb a measurement: while it lasts, all who take part have
real-time priority, the same for all. Where some of them compute for long, so that this would keep the
others from a processor, all are preferred to the rest of the machine and share it among themselves as
usual. Without the right to do so, and with BENCH_PRIORITY=0, nothing happens, and the results are noisier."""

import contextlib
import os

WANTED = os.environ.get("BENCH_PRIORITY", "1") != "0"


def parents():
    """{pid: pid of its parent}"""
    out = {}
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % pid) as f:
                out[int(pid)] = int(f.read().rpartition(")")[2].split()[1])
        except OSError:
            pass  # gone
    return out


def tree(pids):
    """These processes and all below them."""
    parent, found = parents(), set(pids)
    grown = True
    while grown:
        more = {p for p, q in parent.items() if q in found} - found
        found |= more
        grown = bool(more)
    return found


def set_policy(pids, policy, priority):
    for pid in tree(pids):
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
        except (FileNotFoundError, ProcessLookupError):
            pass  # gone


def allowed():
    """Try it on ourselves."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return WANTED
    except PermissionError:
        return False


@contextlib.contextmanager
def raised(*pids):
    """Real-time priority for these processes, their threads and children."""
    if not allowed():
        yield
        return
    set_policy(pids, os.SCHED_RR, 1)
    try:
        yield
    finally:
        set_policy(pids, os.SCHED_OTHER, 0)


def set_nice(pids, nice):
    """Of processes, and of the sessions they belong to, which the kernel may weigh first."""
    for pid in tree(pids):
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
            with open("/proc/%d/autogroup" % pid, "w") as f:
                f.write(str(nice))
        except (FileNotFoundError, ProcessLookupError):
            pass  # gone, or a kernel that weighs no sessions


def prefer(*pids):
    """These processes, their threads and children before all others."""
    if allowed():
        set_nice(pids, -20)


@contextlib.contextmanager
def preferred():
    """So for this process and whom it starts; a new session still has to be preferred by itself."""
    prefer(os.getpid())
    try:
        yield
    finally:
        if allowed():
            set_nice([os.getpid()], 0)
