# SPDX-License-Identifier: GPL-2.0-or-later
"""dlgctl against the real proxy and real calls. How it behaves in a terminal, with many dialogs and without a
proxy is the matter of test/ctl/run."""

import json
import os
import re
import signal
import subprocess
import tempfile

from base import CONFIRMED, DELETED, SLOW
from profiles import ProfileCase, ops
from proxy import MODULE, Proxy

DLGCTL = os.environ.get("DLGCTL", os.path.join(os.path.dirname(MODULE), "dlgctl"))
NASTY = 'a "b" = \\c\\ count=9 é x::y '  # blanks, quotes, what looks like syntax


class CtlCase(ProfileCase):
    def args(self, *words):
        return [DLGCTL, "--fifo", self.proxy.fifo.path, "--reply-dir", self.proxy.dir, *words]

    def ctl(self, *words, code=0, **kw):
        """Run it as a script would. What it printed; all of it when another exit status was wanted."""
        got = subprocess.run(self.args(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="surrogateescape", timeout=30 * SLOW, **kw)
        self.assertEqual(got.returncode, code, "%r: %s%s" % (words, got.stdout, got.stderr))
        self.assertEqual(self.leftovers(), [])
        if not code:
            self.assertEqual(got.stderr, "")
            return got.stdout
        return got

    def leftovers(self):
        return [f for f in os.listdir(self.proxy.dir) if f.startswith("dlgctl.")]

    def up(self, *wanted, **kw):
        c = super().up(*wanted, **kw)
        self.wait_state(c, CONFIRMED)
        return c

    def name(self, c):
        return self.dialog(c)["hash"]

    def json_of(self, c, *words):
        (got,) = [d for d in json.loads(self.ctl("list", "--json", *words)) if d["callid"] == c.call_id]
        return got

    def byes(self, *calls):
        for c in calls:
            for ua in (c.a, c.b):
                ua.reply(ua.recv("BYE"), 200)

    def same(self, c, got):
        """A dialog in JSON is the one that the FIFO lists, field by field."""
        want = dict(self.dialog(c))
        legs = want.pop("legs")
        del want["context"]
        flat = {k: str(v) for k, v in got.items() if k not in ("callees", "context")}
        self.assertEqual(flat, want)
        self.assertEqual([{k: str(v) for k, v in leg.items()} for leg in got["callees"]], legs)


class Looking(CtlCase):
    """list, show, profiles, stats, metrics, audit."""

    seconds = 20

    def test_list(self):
        one, two = self.up(), self.ringing(from_uri="sip:carol@example.com", to_uri="sip:dave@example.org")
        out = self.ctl("list").split("\n")
        self.assertEqual(out[0].split(), ["HASH", "STATE", "AGE", "CALLER", "CALLEE", "CALL-ID"])
        rows = {line.split()[-1]: line.split()[:-1] for line in out[1:-1]}
        hash_, state, age, caller, callee = rows[one.call_id]
        self.assertEqual((hash_, state, caller, callee), (self.name(one), "confirmed", one.from_uri, one.to_uri))
        self.assertRegex(age, r"^\d+s$")
        self.assertEqual(rows[two.call_id], [self.name(two), "early", "-", two.from_uri, two.to_uri])
        self.same(one, self.json_of(one))
        self.same(two, self.json_of(two))
        one.hangup()
        self.assertEqual(self.json_of(one)["state"], DELETED)
        two.answer(486)
        two.got(486)

    def test_filters(self):
        calls = {"a": self.up(("set1", "inb"), from_uri="sip:anna@one.example"),
                 "b": self.up(("set2", "caller", "bert"), from_uri="sip:bert@two.example", to_uri="sip:x@one.example"),
                 "r": self.ringing(("set2", "caller", "rita"), ("set1", "inb"), from_uri="sip:rita@two.example")}

        def found(*words, code=0):
            got = self.ctl("list", "--json", *words, code=code)
            ids = {d["callid"] for d in json.loads(got.stdout if code else got)}
            return "".join(sorted(k for k, c in calls.items() if c.call_id in ids))
        for words, want in (((), "abr"), (("--state", "active"), "ab"), (("--state", "early"), "r"),
                            (("--state", "confirmed,2"), "abr"), (("--caller", "one.example"), "a"),
                            (("--callee", "ONE.example"), "b"), (("--profile", "inb"), "ar"),
                            (("--profile", "caller"), "br"), (("--profile", "caller=rita"), "r"),
                            (("--profile", "caller", "--state", "active"), "b"),
                            (("--callid", calls["a"].call_id), "a"), (("--younger", "1h"), "ab")):
            self.assertEqual(found(*words), want, words)
        for words in (("--state", "early", "--caller", "anna"), ("--profile", "caller=nobody"), ("--older", "1h"),
                      ("--callid", "nobody")):
            self.assertEqual(found(*words, code=1), "", words)
        self.assertIn("404 Profile not found", self.ctl("list", "--profile", "nope", code=1).stderr)
        calls["a"].hangup()
        calls["b"].hangup()
        calls["r"].answer(486)
        calls["r"].got(486)

    def test_show(self):
        c = self.up(("set2", "caller", NASTY.strip()), ("set1", "inb"))
        for name in (self.name(c), c.call_id):
            out = self.ctl("show", name)
            self.assertIn("state              4 (confirmed)\n", out)
            self.assertIn("callee 1\n  callee_tag         %s\n" % c.ttag, out)
            self.assertIn("  profile            caller = %s\n" % NASTY.strip(), out)
            got = json.loads(self.ctl("show", name, "--json"))
            self.same(c, got)
            self.assertEqual(got["context"], [["profile", "inb = "], ["profile", "caller = " + NASTY.strip()]])
        c.hangup()
        self.assertIn("state              5 (ended)\n", self.ctl("show", self.name(c)))
        for nobody in ("1:1", "nobody", c.call_id):  # by Call-ID only what has not ended
            self.assertIn("no such dialog", self.ctl("show", nobody, code=1).stderr)

    def test_profiles(self):
        c = self.up(("set-hex", "caller", NASTY.encode().hex()), ("set2", "caller", "x"), ("set1", "inb"))
        d = self.up(("set2", "caller", "x"))
        self.assertEqual([line.split() for line in self.ctl("profiles").split("\n")[1:-1]],
                         [["caller", "3", "2"], ["trunk", "0", "0"], ["emptv", "0", "0"],
                          ["inb", "1", "-"], ["outb", "0", "-"], ["empt", "0", "-"]])
        both = [{"value": "x", "count": 2}, {"value": NASTY, "count": 1}]
        for words in ((), ("--top", "10")):
            got = json.loads(self.ctl("profiles", "caller", "--json", *words))
            self.assertEqual(sorted(got, key=lambda v: -v["count"]), both)
        self.assertEqual(json.loads(self.ctl("profiles", "caller", "--json", "--top", "1")), both[:1])
        self.assertEqual({x["callid"] for x in json.loads(self.ctl("list", "--profile", "caller=" + NASTY, "--json"))},
                         {c.call_id})
        c.hangup()
        d.hangup()

    def test_values_that_are_no_text(self):
        c = self.up(("set-hex", "caller", "fffe1b5b6d0a63"))
        self.assertTrue(self.ctl("profiles", "caller").endswith("         1  \\xff\\xfe\\x1b[m\\nc\n"))
        (got,) = json.loads(self.ctl("profiles", "caller", "--json"))
        self.assertEqual(got, {"value": "\u00ff\u00fe\\x1b[m\\nc", "count": 1})
        self.assertIn('{profile="caller",value="\\\\xff\\\\xfe\\\\x1b[m\\\\nc"} 1\n', self.ctl("metrics"))
        c.hangup()

    def test_figures(self):
        """stats, metrics and the FIFO say the same."""
        c = self.up(("set2", "caller", 'q"\\'), ("set1", "inb"))
        text = self.proxy.fifo.cmd("dlg_stats")
        want = {k: int(v) for k, v in re.findall(r"^\t(\w+):: (-?\d+)$", text, re.M)}
        got = json.loads(self.ctl("stats", "--json"))
        moving = {k for k in want if k.startswith(("uptime", "memory_", "timer"))}
        self.assertEqual(list(got), list(want))
        self.assertEqual({k: v for k, v in got.items() if k not in moving},
                         {k: v for k, v in want.items() if k not in moving})
        metrics = self.ctl("metrics")
        for line in ("dialog_up 1", 'dialog_dialogs{state="confirmed"} %d' % want["confirmed"],
                     "dialog_processed_total %d" % want["processed"],
                     'dialog_ended_total{reason="caller"} %d' % want["ended_caller"],
                     'dialog_profile_members{profile="caller"} 1', 'dialog_profile_members{profile="inb"} 1',
                     'dialog_profile_value_members{profile="caller",value="q\\"\\\\"} 1'):
            self.assertIn(line + "\n", metrics)
        # whatever the module counts is a metric; the sums over profiles and db_restored, which is restored, are there twice
        samples = [line for line in metrics.split("\n") if re.match(r"dialog_(?!up |profile_)\w+", line)]
        self.assertEqual(len(samples), len(set(want) - {"profile_members", "profile_values", "db_restored"}), samples)
        c.hangup()

    def test_audit(self):
        c = self.up(("set1", "inb"))
        out = self.ctl("audit")
        self.assertTrue(out.endswith("\nok: table, states, timers and profiles agree\n"), out)
        self.assertRegex(out, r"\nmembers +1\nmembers_gauge +1\n")
        c.hangup()


class Ending(CtlCase):
    """end: one call, or all that filters name."""

    seconds = 25

    def test_one_by_name(self):
        one, other = self.up(), self.up()
        self.assertEqual(self.ctl("end", self.name(one), "--dry-run"),
                         "%s  %s\n1 call would be ended\n" % (self.name(one), one.call_id))
        self.assertEqual(self.state(one), CONFIRMED)
        self.assertEqual(self.ctl("end", self.name(one)), "")
        self.byes(one)
        self.assertEqual((self.state(one), self.state(other)), (DELETED, CONFIRMED))
        self.assertIn("404 Requested Dialog not found", self.ctl("end", self.name(one), code=1).stderr)
        self.assertIn("404", self.ctl("end", "1:1", code=1).stderr)
        one.a.silent(0.1, "BYE")
        other.hangup()

    def test_one_by_call_id(self):
        c = self.up()
        got = self.ctl("end", c.call_id, code=1)  # as with filters: a script says --yes
        self.assertIn("--yes is wanted", got.stderr)
        self.assertEqual(self.state(c), CONFIRMED)
        self.assertEqual(self.ctl("end", c.call_id, "--yes"), "1 ended\n")
        self.byes(c)
        self.assertEqual(self.state(c), DELETED)
        self.assertIn("no call fits", self.ctl("end", c.call_id, "--yes", code=1).stderr)

    def test_a_call_that_rings(self):
        c = self.ringing()
        self.assertEqual(self.ctl("end", self.name(c), "--yes"), "")
        c.ack_negative(c.a.recv(lambda m: m.code == 480 and m.method == "INVITE"))
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.b.recv("ACK")
        self.wait_state(c, DELETED)

    def test_by_profile(self):
        bad = [self.up(("set-hex", "caller", NASTY.encode().hex())) for _ in range(3)]
        good = [self.up(("set2", "caller", "good")), self.up(("set1", "inb"))]
        which = ("--profile", "caller=" + NASTY)
        out = self.ctl("end", *which, "--dry-run")
        self.assertEqual(sorted(out.split("\n")[:3]), sorted("%s  %s" % (self.name(c), c.call_id) for c in bad))
        self.assertTrue(out.endswith("\n3 calls would be ended\n"))
        self.assertIn("3 calls would be ended: --yes is wanted", self.ctl("end", *which, code=1).stderr)
        self.assertEqual({self.state(c) for c in bad + good}, {CONFIRMED})
        self.assertEqual(self.ctl("end", *which, "--yes"), "3 ended\n")
        self.byes(*bad)
        self.assertEqual([self.state(c) for c in bad + good], 3 * [DELETED] + 2 * [CONFIRMED])
        for c in good:
            c.hangup()

    def test_by_several_filters(self):
        """All must fit; ended calls are none to end."""
        hit = self.up(from_uri="sip:mallory@bad.example", to_uri="sip:premium@dear.example")
        others = [self.up(from_uri="sip:mallory@bad.example"), self.up(to_uri="sip:premium@dear.example")]
        gone = self.up(from_uri="sip:mallory@bad.example", to_uri="sip:premium@dear.example")
        gone.hangup()
        self.assertEqual(self.ctl("end", "--caller", "MALLORY", "--callee", "dear.example", "--yes"), "1 ended\n")
        self.byes(hit)
        self.assertEqual([self.state(c) for c in others], [CONFIRMED, CONFIRMED])
        gone.a.silent(0.1, "BYE")
        for c in others:
            c.hangup()

    def test_what_the_proxy_refuses(self):
        """The other calls end all the same."""
        c, dead = self.up(("set1", "outb")), self.call()
        dead.ring(contact=False, headers=ops(("set1", "outb")))
        dead.answer(200)
        dead.got(200)
        dead.ack()
        got = self.ctl("end", "--profile", "outb", "--yes", code=1)
        self.assertEqual(got.stdout, "1 ended, 1 could not be ended\n")
        self.assertEqual(got.stderr, "dlgctl: end: %s: 500 Operation failed\n" % self.name(dead))
        self.byes(c)
        dead.b.reply(dead.b.recv("BYE"), 200)


class Overdue(CtlCase):
    """A dialog that somebody keeps beyond its end is found by audit."""

    seconds = 20
    tm = {"wt_timer": 14000}
    longest = 30

    def test_audit(self):
        c = self.up()
        c.hangup()
        self.ctl("audit")

        def report():
            got = subprocess.run(self.args("audit"), stdout=subprocess.PIPE, text=True)
            return got.stdout if got.returncode == 4 else None
        out = self.wait_until("the report", report, 12)
        self.assertRegex(out, r"\noverdue dialog %s\n    callid +%s\n    state +5\n    seconds +\d+\n"
                              r"    held_by +transaction=2\n1 dialogs? (is|are) beyond (its|their) deadline\n\Z"
                         % (self.name(c), re.escape(c.call_id)))
        self.wait_gone(c, 12)
        self.ctl("audit")


class Away(CtlCase):
    """The proxy is stopped, hangs, or has another reply_dir."""

    seconds = 8

    def fifo_process(self):
        """The process that serves the FIFO: the one that has it open for reading and writing."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getpgid(int(pid)) == self.proxy.proc.pid and any(
                        os.path.realpath("/proc/%s/fd/%s" % (pid, fd)) == self.proxy.fifo.path
                        for fd in os.listdir("/proc/%s/fd" % pid)):
                    return int(pid)
            except OSError:
                continue
        self.fail("nobody serves the FIFO")

    def test_a_reply_dir_that_is_not_the_modules(self):
        with tempfile.TemporaryDirectory(prefix="dlgctl.") as other:
            got = self.ctl("--reply-dir", other, "--timeout", "1", "list", code=3)
            self.assertIn("its reply_dir is not %s" % other, got.stderr)
            self.assertEqual(os.listdir(other), [])

    def test_a_proxy_that_hangs(self):
        pid = self.fifo_process()
        os.kill(pid, signal.SIGSTOP)
        try:
            got = self.ctl("--timeout", "1", "list", code=3)
            self.assertRegex(got.stderr, r"\Adlgctl: list: no answer within 1 s: the proxy hangs.*\n\Z")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # a shell in the background would have SIGINT ignored, nohup SIGHUP, and dlgctl respects that
                p = subprocess.Popen(self.args("list"), preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
                self.wait_until("its reply FIFO", self.leftovers)
                p.send_signal(number)
                self.assertEqual(p.wait(10), -number)
                self.assertEqual(self.leftovers(), [])
        finally:
            os.kill(pid, signal.SIGCONT)
        self.wait_until("the proxy to answer again",
                        lambda: subprocess.run(self.args("list"), stdout=subprocess.DEVNULL).returncode == 0, 10)

    def test_a_proxy_that_was_stopped(self):
        """It takes its FIFO along."""
        other = Proxy(params=self.params, hooks=self.hooks, **self.options).start()
        self.addCleanup(other.kill)
        self.ctl("--fifo", other.fifo.path, "--reply-dir", other.dir, "list")
        self.assertEqual(other.stop(), [])
        got = self.ctl("--fifo", other.fifo.path, "list", code=3)
        self.assertEqual(got.stderr, "dlgctl: list: there is no FIFO %s: is the proxy running, and is that its fifo_name?\n"
                         % other.fifo.path)
