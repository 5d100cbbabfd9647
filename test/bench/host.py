# SPDX-License-Identifier: GPL-2.0-or-later
"""The packaged Kamailio with our dialog module, its own, or none; and what its processes cost."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(1, os.path.join(ROOT, "test", "e2e"))

import proxy  # noqa: E402,F401
from proxy import BAD, MODULE, NEVER, Proxy, quote  # noqa: E402,F401
from rpc import RpcError  # noqa: E402

NONE, STOCK, OURS = "none", "stock", "ours"
DLG_FLAG = 4

# The same for all three: without a module the flag means nothing. Both modules follow requests
# within a call by hooks of their own, when loose_route() finds their cookie.
SCRIPT = """
request_route {
	if (is_method("CANCEL")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	if (has_totag()) {
		if (!loose_route() && is_method("ACK") && !t_check_trans()) exit;
		if (!t_relay()) sl_reply_error();
		exit;
	}
	record_route();
	setflag(%d);
	%s
	if (!t_relay()) sl_reply_error();
}
"""

MODULES = ("tm", "sl", "rr", "pv", "textops", "siputils", "kex", "corex", "ctl", "jsonrpcs")


class BenchProxy(Proxy):
    """`module`: one of the three. `params`: of the module. `extra`: modparam lines of others,
    `each_call`: piece of script."""

    def __init__(self, module, params=None, children=8, shm=512, extra="", drivers=(), each_call=""):
        super().__init__(params=params, children=children, shm=shm, dialog=module == OURS)
        self.module, self.extra_lines, self.drivers, self.each_call = module, extra, drivers, each_call

    def config(self):
        c = ["debug=1", "log_stderror=yes", "fork=yes", "children=%d" % self.children, "disable_tcp=yes",
             "auto_aliases=no", "dns=no", "rev_dns=no", "listen=udp:%s:%d" % (self.ip, self.port)]
        c += ['loadmodule "%s.so"' % m for m in MODULES + tuple(self.drivers)]
        c += ['modparam("ctl", "binrpc", "unixs:%s")' % self.rpc.ctl,
              'modparam("jsonrpcs", "transport", 4)',
              'modparam("jsonrpcs", "dgram_socket", "%s")' % self.rpc.path,
              'modparam("rr", "enable_full_lr", 1)', self.extra_lines]
        c += self.dialog_lines()
        c.append(SCRIPT % (DLG_FLAG, self.each_call))
        return "\n".join(c) + "\n"

    def dialog_lines(self):
        if self.module == NONE:
            return []
        params = {"dlg_flag": DLG_FLAG, **self.params}
        if self.module == OURS:
            params = {"fifo_name": self.fifo.path, "reply_dir": self.dir + "/", **params}
        lines = ['loadmodule "%s"' % (MODULE if self.module == OURS else "dialog.so")]
        for name, values in params.items():
            for value in values if isinstance(values, (list, tuple)) else (values,):
                lines.append('modparam("dialog", "%s", %s)' % (name, quote(value)))
        return lines

    # -- what it does

    def processed(self):
        """How many dialogs the module has seen: the proof that it works at all. None without module."""
        if self.module == NONE:
            return None
        for line in self.rpc.call("stats.get_statistics", "processed_dialogs"):
            return int(line.rpartition("=")[2])
        raise RpcError(0, "no statistic of dialogs")

    def processes(self):
        """{pid: role}; roles: worker, writer (of ours), other."""
        roles = {}
        for p in self.rpc.call("core.psx"):
            text = p["DSC"]
            roles[int(p["PID"])] = ("worker" if text.startswith("udp receiver") else
                                    "writer" if text == "dialog writer" else "other")
        return roles

    def cpu(self, roles):
        """CPU seconds so far by role."""
        total = {"worker": 0.0, "writer": 0.0, "other": 0.0}
        for pid, role in roles.items():
            total[role] += cpu_of(pid)
        return total


def cpu_of(pid):
    """CPU seconds of a process so far, in nanoseconds where the kernel counts them."""
    try:
        with open("/proc/%d/schedstat" % pid) as f:
            return int(f.read().split()[0]) / 1e9
    except OSError:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def build(name, *libs):
    """Compile one of our helper programs; its path."""
    out_dir = os.path.join(ROOT, "build", "bench")
    os.makedirs(out_dir, exist_ok=True)
    out, src = os.path.join(out_dir, name), os.path.join(HERE, name + ".c")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(src):
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall",
                        "-Wextra", "-o", out, src, *libs], check=True)
    return out
