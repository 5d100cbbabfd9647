# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy of the host with our module: configuration, start, log, stop."""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from fifo import Fifo
from hosts import Native, host
from rpc import RpcError
from sip import SLOW, loopback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(ROOT, "build", "e2e")  # programs that `run` has compiled
MODULE = os.path.abspath(os.environ.get("DIALOG_SO", os.path.join(ROOT, host.MODULE)))

# What must never be in the log of a sound run, whatever a test allows.
NEVER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|"
                   r"runtime error:|SUMMARY: .*Sanitizer|exited by a signal|stack smashing|"
                   r"double free|corrupted|Assertion `|" + host.NEVER)
BAD = re.compile(r"\b(ERROR|CRITICAL|ALERT|EMERG|BUG)\b")

# One line with everything a script can know about the dialog, at a named place.
PV = ('xlog("L_NOTICE", "PV [$ci] at=%s m=$rm cnt=$DLG_count st=$DLG_status life=$DLG_lifetime '
      'fl=$DLG_flags dir=$DLG_dir k=$dlg_val(k)\\n");\n')

SCRIPT = """
request_route {
	%(first)s
	if (is_method("CANCEL")) {
		%(cancel)s
		if (t_check_trans()) t_relay();
		exit;
	}
	if (has_totag()) route(SEQ);
	else route(INITIAL);
	exit;
}

route[INITIAL] {
	%(initial)s
	route(RELAY);
	%(after)s
}

route[SEQ] {
	%(before_loose)s
	$var(lr) = loose_route();
	if (is_method("ACK") && $var(lr) < 0 && !is_present_hf("X-Direct")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	%(seq)s
	if (is_present_hf("X-Refuse")) {
		sl_send_reply("$(hdr(X-Refuse){s.int})", "Refused by the script");
		exit;
	}
	if (is_present_hf("X-Refuse-T")) {
		t_newtran();
		t_reply("$(hdr(X-Refuse-T){s.int})", "Refused by the script");
		exit;
	}
	if (is_present_hf("X-Drop")) {
		drop;
	}
	%(seq_relay)s
	route(RELAY);
}

route[RELAY] {
	t_on_branch("B");
	t_on_reply("R");
	t_on_failure("F");
	if (is_present_hf("X-Fork")) append_branch("$hdr(X-Fork)");
	if (!t_relay()) sl_reply_error();
}

branch_route[B] {
	%(branch)s
	return;
}

onreply_route[R] {
	%(reply)s
	return;
}

failure_route[F] {
	%(failure)s
	if (t_is_canceled()) exit;
	if (is_present_hf("X-Serial") && t_check_status("486|408")) {
		$ru = $hdr(X-Serial);
		$du = $null;
		t_on_reply("R");
		t_relay();
	}
}
"""

HOOKS = ("first", "cancel", "initial", "after", "before_loose", "seq", "seq_relay", "branch", "reply", "failure")


_alive = set()  # whatever is still running when the tests are broken off


@atexit.register
def _clean_up():
    for p in list(_alive):
        p.kill()


quote = host.quote


def any_alive(group):
    """Does a process of this group still run?"""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    state, _, pgrp = f.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state not in "ZX":
                return True
    return False


class Proxy:
    """One running proxy. `params`: of our module; `tm`: of tm; `hooks`: pieces of the script."""

    def __init__(self, params=None, tm=None, hooks=None, script=None, modules=(), extra="",
                 sockets=1, children=4, shm=64, dialog=True, debug=2, preload=True, after=(), tcp=False,
                 strangers=False, user=None):
        self.dir = tempfile.mkdtemp(prefix="dlge2e.")
        self.user = user  # (user, group): it is started as root and becomes that
        if user:
            shutil.chown(self.dir, *user)
        self.ip = loopback()
        self.params = dict(params or {})
        self.tm = dict({"fr_timer": 3000, "fr_inv_timer": 8000, "wt_timer": 2000}, **(tm or {}))
        self.hooks = {h: "" for h in HOOKS}
        self.hooks["initial"] = "record_route();\n\tcreate_dialog();"
        self.hooks.update(hooks or {})
        self.script, self.modules, self.extra = script, modules, extra
        self.after = after  # module lines to load after ours: (path, [(name, value)...])
        self.sockets, self.children, self.shm, self.dialog = sockets, children, shm, dialog
        self.debug, self.preload = debug, preload
        self.tcp = tcp  # listen on the same ports over TCP as well
        self.strangers = strangers  # anybody may send anything
        self.log_path = os.path.join(self.dir, "log")
        self.fifo = Fifo(os.path.join(self.dir, "dialog.fifo"), self.dir)
        self.rpc = host.Management(self.dir)
        self.proc = None
        self.ports = []
        self.allowed = []

    # -- configuration

    def choose_ports(self):
        held = []
        self.ports = []
        for _ in range(self.sockets):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((self.ip, 0))
            self.ports.append(s.getsockname()[1])
            held.append(s)
        for s in held:
            s.close()
        self.port = self.ports[0]

    @property
    def addr(self):
        return "%s:%d" % (self.ip, self.port)

    def dialog_config(self):
        """The lines that load and set up our module."""
        if not self.dialog:
            return []
        params = {"fifo_name": self.fifo.path, "reply_dir": self.dir + "/", **self.params}
        return ['loadmodule "%s"' % MODULE] + [
            'modparam("dialog", "%s", %s)' % (k, quote(v)) for k, v in params.items() if v is not None]

    def script_text(self):
        if isinstance(self.script, Native):
            return self.script
        return host.script(self.script if self.script is not None else SCRIPT % self.hooks)

    def config(self):
        return host.config(self)

    # -- life

    def spawn(self):
        if not self.ports:
            self.choose_ports()
        cfg = os.path.join(self.dir, host.NAME + ".cfg")
        with open(cfg, "w") as f:
            f.write(self.config())
        env = dict(os.environ)
        preload = env.pop("DIALOG_PRELOAD", "")
        if preload and self.preload:
            env["LD_PRELOAD"] = preload
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0:halt_on_error=1:abort_on_error=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        self.log_file = open(self.log_path, "ab")
        self.proc = subprocess.Popen(
            host.command(self, cfg), stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, env=env,
            start_new_session=True)
        _alive.add(self)

    def start(self):
        for attempt in range(3):
            self.spawn()
            if self.wait_ready():
                return self
            if "Address already in use" not in self.log():
                break
            os.truncate(self.log_path, 0)
            self.ports = []
        log = self.log()
        self.kill()
        raise AssertionError("the proxy did not start:\n" + log[-4000:])

    def wait_ready(self):
        end = time.monotonic() + 15 * SLOW
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                return False
            try:
                if host.is_ready(self):
                    if self.dialog and self.params.get("fifo_name", "") is not None:
                        self.fifo.cmd("which", timeout=1)
                        time.sleep(0.1)  # a signal is lost on a child of Kamailio that has not run since its fork
                    else:
                        time.sleep(0.2)
                    return True
            except (OSError, RpcError):
                pass
            time.sleep(0.05)
        return False

    def start_fails(self):
        """Start what must not come up. Returns the log."""
        self.spawn()
        try:
            code = self.proc.wait(10 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the proxy started although it should refuse")
        log = self.log()
        self.kill()
        if code <= 0 or NEVER.search(log):
            raise AssertionError("refused, but not cleanly (exit %d):\n%s" % (code, log[-4000:]))
        return log

    def terminate(self):
        """SIGTERM; a clean exit within the time the host gives itself. Returns problems found; files
        and log stay."""
        bad = []
        if self.proc.poll() is None:
            os.kill(self.proc.pid, signal.SIGTERM)
            try:
                self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                bad.append("did not stop within %d s of SIGTERM" % (20 * SLOW))
        else:
            bad.append("was gone before it was told to stop")
        if not bad and self.proc.returncode != 0:
            bad.append("exit status %s" % self.proc.returncode)
        if self.dialog and os.path.exists(self.fifo.path):
            bad.append("the FIFO was left behind")
        return bad

    def crash(self):
        """kill -9 of all processes at once; files and log stay."""
        os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        end = time.monotonic() + 10 * SLOW
        while any_alive(self.proc.pid):
            if time.monotonic() > end:
                raise AssertionError("processes of the proxy survive their kill -9")
            time.sleep(0.01)

    def resume(self, **changes):
        """Start again what is down: same ports, files and log, other parameters of our module where
        `changes` says so."""
        self.params.update(changes)
        self.log_file.close()
        self.spawn()
        if not self.wait_ready():
            log = self.log()
            self.kill()
            raise AssertionError("the proxy did not start again:\n" + log[-4000:])
        return self

    def restart(self, kill=False, **changes):
        """Down, gracefully or not, and up again."""
        if kill:
            self.crash()
        else:
            bad = self.terminate()
            if bad:
                raise AssertionError("; ".join(bad))
        return self.resume(**changes)

    def stop(self):
        """Take it down gracefully and away. Returns problems found."""
        bad = self.terminate() + self.log_problems()
        self.last_log = self.log()
        if bad:
            bad.append("log: " + self.keep())
        self.kill()
        return bad

    def keep(self):
        """Keep log and configuration of a bad run; where."""
        to = os.path.join(tempfile.gettempdir(), "dlge2e-failed-%d-%s" % (os.getpid(), os.path.basename(self.dir)))
        os.makedirs(to, exist_ok=True)
        for name in ("log", host.NAME + ".cfg"):
            if os.path.exists(os.path.join(self.dir, name)):
                shutil.copy(os.path.join(self.dir, name), to)
        return to

    def kill(self):
        """Take away whatever is left of this proxy, its processes and files."""
        if self.proc and self.proc.poll() is None:
            try:
                os.killpg(self.proc.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.proc.wait()
        _alive.discard(self)
        if getattr(self, "log_file", None):
            self.log_file.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- log

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def log_mark(self):
        return os.path.getsize(self.log_path)

    def log_since(self, mark):
        with open(self.log_path, "rb") as f:
            f.seek(mark)
            return f.read().decode("utf-8", "replace")

    def wait_log(self, pattern, mark=0, timeout=3.0):
        end = time.monotonic() + timeout * SLOW
        while True:
            m = re.search(pattern, self.log_since(mark))
            if m:
                return m
            if time.monotonic() > end:
                raise AssertionError("not in the log: %s\n%s" % (pattern, self.log_since(mark)[-2000:]))
            time.sleep(0.02)

    def allow(self, pattern):
        """An error line that the test provokes on purpose."""
        self.allowed.append(re.compile(pattern))

    def log_problems(self):
        out = []
        for line in self.log().splitlines():
            if NEVER.search(line):
                out.append(line)
            elif BAD.search(line.split("PV [")[0]) and not any(a.search(line) for a in self.allowed):
                out.append(line)
        return ["in the log: " + line for line in out[:20]]

    # -- shortcuts

    def stats(self):
        """Our five statistics."""
        return {name.replace("_dialogs", ""): n for name, n in host.stats(self).items()}

    def shm_used(self):
        return host.shm_used(self)

    def shm_sites(self):
        return host.shm_sites(self)
