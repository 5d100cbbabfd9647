# SPDX-License-Identifier: GPL-2.0-or-later
"""The packaged Kamailio; or that of a source tree, KAMAILIO_SRC (its directory src, compiled)."""

import os
import re
import subprocess

from rpc import Rpc
from sip import SLOW

NAME = "kamailio"
MODULE = os.path.join("build", "plain", "dialog.so")
SOURCE = os.environ.get("KAMAILIO_SRC")
BINARY = os.path.join(SOURCE, "kamailio") if SOURCE else "/usr/sbin/kamailio"

MODULES = ("tm", "tmx", "sl", "rr", "pv", "xlog", "textops", "siputils", "kex", "corex", "cfgutils",
           "ctl", "jsonrpcs")

NEVER = r"shutdown timeout triggered"
NO_PRIVATE_MEMORY = r"could not allocate private memory|no more pkg mem"  # not what the allocator itself says: that is of whoever took all
CANCELLED = 487
ANSWERS = r"(?!)"  # says nothing of them
WRONG_COUNT = (400, "Too few or too many arguments")

COMPLAINTS = {
    # the calls in which a script asks for what does not work
    "relay": r"\btm\b.*t_forward_nonack|no branches|\brr\b",
    "second transaction": r"transaction .*already|E_SCRIPT",
    "assignment": r"\bDLG_flags\b|setting pvar failed|set pseudo-variable|non-int|dlg_flags|lval_assign",
    "long text": r"pv_printf|no more space|buffer|formatted",
    "null argument": r"(?!)",
    "next hop": r"BYE|invalid|resolve|next hop|no\.such\.host|uri2proxy|uri2dst|request within|t_uac",
    "away": r"udp_send|msg_send_buffer|t_send_branch|sl_reply_error",
    "tcp stop": r"receive_fd\(\): EOF on",  # what TCP processes say when it stops
    "tcp gone": r"tcpconn_1st_send\(\)|msg_send_buffer\(\): tcp_send failed|send_prepared_request_impl\(\)",
}


def knows(module, parameter):
    """Is it new enough to have a parameter of tm?"""
    with open(os.path.join(SOURCE, "modules", module, module + ".so"), "rb") as f:
        return b"\0%s\0" % parameter.encode() in f.read()


# Since 2026 tm drops replies that come after the final one, if not told otherwise: further answers of
# a forked call, and the 487 that is still to be acknowledged.
LATE_REPLIES = {"reply_matching": 0} if SOURCE and knows("tm", "reply_matching") else {}


def missing():
    return None


def has(module):
    return not SOURCE or os.path.exists(os.path.join(SOURCE, "modules", module, module + ".so"))


def quote(value):
    if isinstance(value, int):
        return str(value)
    return '"%s"' % value


def config(p):
    c = ["debug=%d" % p.debug, "log_stderror=yes", "fork=yes", "children=%d" % p.children,
         "tcp_children=2" if p.tcp else "disable_tcp=yes", "auto_aliases=no", "dns=no", "rev_dns=no", "server_signature=yes",
         "max_while_loops=1000", "pv_buffer_size=8192"]
    c += ["listen=%s:%s:%d" % (proto, p.ip, port) for port in p.ports
          for proto in (("udp", "tcp") if p.tcp else ("udp",))]
    if p.tcp:  # else the kernel takes 127.0.0.1, and its connections seem to be of another socket
        c.append("tcp_source_ipv4=%s" % p.ip)
    c += ['loadmodule "%s.so"' % m for m in MODULES + tuple(p.modules)]
    c += ['modparam("ctl", "binrpc", "unixs:%s")' % p.rpc.ctl,
          'modparam("jsonrpcs", "transport", 4)',
          'modparam("jsonrpcs", "dgram_socket", "%s")' % p.rpc.path]
    c += ['modparam("tm", "%s", %s)' % (k, quote(v)) for k, v in {**LATE_REPLIES, **p.tm}.items()]
    c += p.dialog_config()
    for path, pars in p.after:
        c.append('loadmodule "%s"' % path)
        c += ['modparam("%s", "%s", %s)' % (m, k, quote(v)) for m, k, v in pars]
    c += [p.extra, p.script_text()]
    return "\n".join(c) + "\n"


def command(p, cfg):
    where = ["-L", os.path.join(SOURCE, "modules")] if SOURCE else []
    user = ["-u", p.user[0], "-g", p.user[1]] if p.user else []
    return [BINARY, "-DD", "-E", "-f", cfg, "-m", str(p.shm), "-M", "16", "-Y", p.dir, "-w", p.dir] + where + user


def script(text):
    return text


def ours(levels, text=""):
    return r"\b(%s): dialog\b%s" % (levels, text)


class Management(Rpc):
    """JSON for programs, kamcmd for what an operator sees."""

    def __init__(self, directory):
        super().__init__(directory)
        self.ctl = os.path.join(directory, "ctl.sock")

    def kamcmd(self, *args):
        """Exit status and output of the operator's tool."""
        p = subprocess.run(["kamcmd", "-s", "unixs:" + self.ctl, *[str(a) for a in args]],
                           capture_output=True, text=True, timeout=10 * SLOW)
        return p.returncode, p.stdout + p.stderr


def is_ready(p):
    """Our FIFO's process is the last to be forked (see Proxy.wait_ready). A SIGTERM that reaches a child before its
    first instruction is lost, and the stop would last its 60 seconds."""
    p.rpc.call("core.version", timeout=1)
    return True


def stats(p):
    """{name: number} of the module's statistics."""
    out = {}
    for line in p.rpc.call("stats.get_statistics", "dialog:"):
        m = re.fullmatch(r"dialog:(\w+) = (\d+)", line)
        if not m:
            raise AssertionError("statistics line %r" % line)
        out[m.group(1)] = int(m.group(2))
    return out


def transactions(p):
    """How many tm holds."""
    return p.rpc.call("tm.stats")["current"]


def shm_used(p):
    return int(p.rpc.call("core.shmmem")["used"])


def shm_sites(p):
    """Shared memory by "module: where it was allocated"."""
    out, name = {}, ""
    for item in p.rpc.call("mod.stats", "all", "shm"):
        if isinstance(item, str):
            name = item.partition(": ")[2] or name
        else:
            out.update({"%s: %s" % (name, k): v for k, v in item.items() if k != "Total"})
    return out


def worker(p):
    """A process that takes SIP messages."""
    return next(row["PID"] for row in p.rpc.call("core.psx") if "udp receiver" in row["DSC"])
