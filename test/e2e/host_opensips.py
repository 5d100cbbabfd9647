# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenSIPS from a source tree in which it was built. Environment: OPENSIPS_SRC, that tree."""

import functools
import json
import math
import os
import re
import subprocess
import unittest

from fifo import Fifo
from rpc import Rpc, result_of

NAME = "opensips"
MODULE = os.path.join("build", "opensips", "plain", "dialog.so")
TREE = os.path.abspath(os.environ["OPENSIPS_SRC"]) if os.environ.get("OPENSIPS_SRC") else None
BINARY = os.path.join(TREE or "", "opensips")

MODULES = ("signaling", "sl", "tm", "rr", "sipmsgops", "textops", "cfgutils", "mi_datagram", "mi_fifo")
ABSENT = ("counters",)  # of Kamailio's, that tests ask for: part of the core here

NEVER = r"force termination for all processes|segfault"
NO_PRIVATE_MEMORY = r"(no more|no|out of|oom in|oom) pkg|out of memory|no more (private )?mem"
CANCELLED = 408  # when tm has no hope any more of a provisional reply, after which it may cancel
ANSWERS = r"handle_mi_request: |get_mi_\w+_param: |mi_datagram_callback: "
WRONG_COUNT = (-32602, "Invalid params")

COMPLAINTS = {
    "relay": r"\btm\b.*t_forward_nonack|no branch|\brr\b|w_t_relay|add_uac",
    "second transaction": r"transaction .*already|E_SCRIPT|w_t_newtran",
    "assignment": r"\bDLG_flags\b|dlg_flags|do_assign|pv_set_value|setting .* failed",
    "long text": r"pv_printf|no more space|buffer|formatted",
    "null argument": r"get_cmd_fixups: Variable in param \[\d+\] is not|Failed to get fixups for command",
    "next hop": r"BYE|invalid|resolve|next hop|no\.such\.host|uri2proxy|uri2su|request within|t_uac|add_uac",
    "away": r"udp_send|proto_udp|msg_send|send_pr_buffer|sendto",
    "tcp stop": r"(?!)",
    "tcp gone": r"tcp_\w+|proto_tcp|msg_send|send_\w+: |connect|t_uac: attempt to send",
}


def missing():
    if not TREE:
        return "OPENSIPS_SRC does not say where it was built"
    if not os.access(BINARY, os.X_OK):
        return "no opensips binary in " + TREE
    absent = [m for m in MODULES if not os.path.exists(module(m))]
    return "not built in %s: %s" % (TREE, ", ".join(absent)) if absent else None


@functools.lru_cache(maxsize=None)
def about():
    """What it says of itself."""
    return subprocess.run([BINARY, "-V"], capture_output=True, text=True).stdout


def version():
    """(3, 6) of 3.6.8."""
    return tuple(int(n) for n in re.search(r"version: opensips (\d+)\.(\d+)", about()).groups())


def allocator():
    """The one that notices damage, as Kamailio's does, and knows who has allocated what; if it was built in."""
    return ["-a", "Q_MALLOC_DBG"] if re.search(r"\bQ_MALLOC\b.*\bDBG_MALLOC\b", about()) else []


def module(name):
    """Where a module of the host is."""
    name = re.sub(r"\.so$", "", name)
    return os.path.join(TREE, "modules", name, name + ".so")


def has(name):
    return TREE is not None and os.path.exists(module(name))


def quote(value):
    if isinstance(value, int):
        return str(value)
    return '"%s"' % value


# ---- configuration

TM_SECONDS = {"fr_timer": "fr_timeout", "fr_inv_timer": "fr_inv_timeout", "wt_timer": "wt_timer"}
TM_MILLISECONDS = {"retr_timer1": "T1_timer", "retr_timer2": "T2_timer"}


def tm_param(name, ms):
    """Where Kamailio counts milliseconds, this tm mostly counts seconds, and 2 is the least it takes."""
    if name in TM_MILLISECONDS:
        return 'modparam("tm", "%s", %d)' % (TM_MILLISECONDS[name], ms)
    return 'modparam("tm", "%s", %d)' % (TM_SECONDS[name], max(math.ceil(ms / 1000), 2))


def config(p):
    c = ["log_level=%d" % (p.debug + 1),  # 2 NOTICE, 3 INFO, 4 DBG
         "stderror_enabled=yes", "syslog_enabled=no", "udp_workers=%d" % p.children, "auto_aliases=no", "dns=no",
         "rev_dns=no", "server_signature=yes", "max_while_loops=2000",
         # pass on replies of transactions that died with another process; not of strangers: one without
         # CSeq or Call-ID would kill OpenSIPS itself, when it wants to say that it has no second Via
         "disable_stateless_fwd=%s" % ("yes" if p.strangers else "no")]
    if p.tcp:
        c.append("tcp_workers=2")
    c += ["socket=%s:%s:%d" % (proto, p.ip, port) for port in p.ports
          for proto in (("udp", "tcp") if p.tcp else ("udp",))]
    c += ['mpath="%s/"' % os.path.join(TREE, "modules"), 'loadmodule "proto_udp.so"']
    if p.tcp:
        c.append('loadmodule "proto_tcp.so"')
    c += ['loadmodule "%s/%s.so"' % (m, m) for m in MODULES + tuple(p.modules) if m not in ABSENT]
    c += ['modparam("mi_datagram", "socket_name", "%s")' % p.rpc.path,
          'modparam("mi_fifo", "fifo_name", "%s")' % p.rpc.fifo_path,
          'modparam("mi_fifo", "reply_dir", "%s/")' % p.dir]
    c += [tm_param(*item) for item in p.tm.items()]
    c += p.dialog_config()
    for path, pars in p.after:
        c.append('loadmodule "%s"' % (path if os.path.isabs(path) else module(path)))
        c += ['modparam("%s", "%s", %s)' % (m, k, quote(v)) for m, k, v in pars]
    c += [script(p.extra), p.script_text()]
    return "\n".join(c) + "\n"


def command(p, cfg):
    user = ["-u", p.user[0], "-g", p.user[1]] if p.user else []
    return [BINARY, "-F", "-f", cfg, "-m", str(p.shm), "-M", "16", "-w", p.dir, *user, *allocator()]


# ---- script

# Words of Kamailio's language, and this one's. They are replaced outside of comments only, and the variables
# also within strings.
WORDS = {
    "request_route": "route",
    "event_route[tm:local-request]": "local_route",
}
VARIABLES = {
    "$null": "NULL",
    "$fs": "$socket_out",
    "$Ri": "$socket_in(ip)",
    "$Rp": "$socket_in(port)",
}


def unquoted(arg):
    """What must not be a string here: numbers, and variables that hold one or take one."""
    m = re.fullmatch(r'"((?:\\.|[^"\\])*)"', arg)
    return m.group(1) if m else arg


def quoted(arg):
    """What must be a string here, also when it is a number: flags have names."""
    return '"%s"' % arg if re.fullmatch(r"\d+", arg) else arg


def texts(args):
    return [quoted(a) for a in args]


def first_is_number(args):
    return [unquoted(args[0])] + args[1:]


def last_is_variable(args):
    return args[:-1] + [unquoted(args[-1])] if len(args) > 1 else args


def optional_middle(args):
    """f(profile, x) is f(profile, , x) here, and x a variable."""
    if len(args) == 2:
        args = [args[0], "", args[1]]
    return last_is_variable(args)


def last_is_number(args):
    """The same with a number; a header is none, whatever digits it has."""
    args = optional_middle(args)
    m = re.fullmatch(r"\$\((hdr\(.*)\)", args[-1])
    return args[:-1] + ["$(%s{s.int})" % m.group(1)] if m else args


def same(args):
    return args


# Functions: name here, and what becomes of the arguments.
FUNCTIONS = {
    "setflag": ("setflag", texts),
    "resetflag": ("resetflag", texts),
    "isflagset": ("isflagset", texts),
    "sl_send_reply": ("sl_send_reply", first_is_number),
    "t_reply": ("t_reply", first_is_number),
    "usleep": ("usleep", first_is_number),
    "append_branch": ("append_msg_branch", same),
    "t_is_canceled": ("t_was_cancelled", same),
    # ours
    "set_dlg_flag": ("set_dlg_flag", texts),
    "reset_dlg_flag": ("reset_dlg_flag", texts),
    "is_dlg_flag_set": ("is_dlg_flag_set", texts),
    "fetch_dlg_value": ("fetch_dlg_value", last_is_variable),
    "get_profile_size": ("get_profile_size", optional_middle),
    "set_dlg_profile": ("set_dlg_profile", texts),
    "set_dlg_profile_limit": ("set_dlg_profile_limit", last_is_number),
}

STRING = r'"(?:\\.|[^"\\])*"'
TOKEN = re.compile(r"(?P<comment>#[^\n]*)|(?P<string>%s)|(?P<call>(?<![$\w])(?:%s)\()|(?P<word>%s)|(?P<variable>(?:%s)\b)" % (
    STRING, "|".join(FUNCTIONS), "|".join(map(re.escape, WORDS)), "|".join(map(re.escape, VARIABLES))))
VARIABLE = re.compile(r"(?:%s)\b" % "|".join(map(re.escape, VARIABLES)))


def arguments(text, at):
    """The arguments of the call whose parenthesis opens before `at`, and where it has closed."""
    args, begin, depth = [], at, 0
    while True:
        m = re.compile(STRING).match(text, at)
        if m:
            at = m.end()
            continue
        ch = text[at]
        if ch in "([{":
            depth += 1
        elif ch in ")]}" and depth:
            depth -= 1
        elif ch == ")" or (ch == "," and not depth):
            args.append(text[begin:at].strip())
            begin = at + 1
            if ch == ")":
                return ([] if args == [""] else args), begin
        at += 1


def script(text):
    """In our dialect. What does not follow these rules, a test writes in both: host.dialect()."""
    out, at = [], 0
    while True:
        m = TOKEN.search(text, at)
        if not m:
            return "".join(out) + text[at:]
        out.append(text[at:m.start()])
        at = m.end()
        if m.group("call"):
            name, change = FUNCTIONS[m.group()[:-1]]
            args, at = arguments(text, at)
            args = [script(a) for a in args]
            out.append("%s(%s)" % (name, ", ".join(change(args) if args else args)))
        elif m.group("word"):
            out.append(WORDS[m.group()])
        elif m.group("variable"):
            out.append(VARIABLES[m.group()])
        elif m.group("string"):
            out.append(VARIABLE.sub(lambda v: VARIABLES[v.group()], m.group()))
        else:
            out.append(m.group())


# ---- log and management


def ours(levels, text=""):
    return r"\b(%s):dialog:%s" % (levels.replace("DEBUG", "DBG"), text)


class Management(Rpc):
    """MI, over a Unix datagram socket (64 KB at most) or the FIFO of mi_fifo."""

    def __init__(self, directory):
        super().__init__(directory)
        self.fifo_path = os.path.join(directory, "mi.fifo")
        self.fifo = Fifo(self.fifo_path, directory)

    def by_fifo(self, method, params=None, timeout=5.0):
        """As ask()."""
        name, path, fd = self.fifo.open_reply()
        try:
            req = {"jsonrpc": "2.0", "method": method, "id": 1}
            if params is not None:
                req["params"] = params
            self.fifo.write(b":%s:%s\n" % (name.encode(), json.dumps(req).encode()))
            got = Fifo.read_reply(fd, timeout)
            if got is None:
                raise TimeoutError("no reply to %s" % method)
            return result_of(got)
        finally:
            os.close(fd)
            os.unlink(path)

    def call(self, method, *params, timeout=5.0):
        """By the FIFO, which has room for any reply, unless it is the request that is long."""
        ask = self.ask if len(str(params)) > 4000 else self.by_fifo
        return ask(method, list(params) or None, timeout)


def is_ready(p):
    return p.rpc.ask("sr_get_status", ["core"], timeout=1)["Readiness"]


def statistics(p, *names):
    return p.rpc.ask("get_statistics", [list(names)])


def stats(p):
    return {k.partition(":")[2]: v for k, v in statistics(p, "dialog:").items()}


def transactions(p):
    return statistics(p, "inuse_transactions")["tm:inuse_transactions"]


def all_shm_sites(p):
    """Shared memory by "file: function, line" that allocated it, from the log."""
    if not allocator():
        raise unittest.SkipTest("OpenSIPS was built without Q_MALLOC and DBG_MALLOC: it cannot tell what its memory is for")
    mark = p.log_mark()
    p.rpc.ask("mem_shm_dump", [2])  # as NOTICE
    rows = re.findall(r"(\d+) : \d+ x \[(.*)\]", p.log_since(mark))
    return {place: int(size) for size, place in rows}


def pending(place):
    """Names of the routes that t_on_reply() and the like asked for. An ACK makes no transaction to hang them on: then
    they wait in its worker for the next request, so there may be three of them for each worker."""
    return "dup_ref_script_route_in_shm" in place


def shm_used(p):
    sites = all_shm_sites(p)
    return statistics(p, "used_size")["shmem:used_size"] - sum(size for place, size in sites.items() if pending(place))


def shm_sites(p):
    return {place: size for place, size in all_shm_sites(p).items() if not pending(place)}


def worker(p):
    """A process that takes SIP messages."""
    return next(row["PID"] for row in p.rpc.ask("ps", None)["Processes"] if row["Type"].startswith("SIP receiver udp"))
