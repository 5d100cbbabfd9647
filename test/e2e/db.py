# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of persistence share: a database for each class, a proxy for each test, and what the
row of a call must look like."""

import os
import re
import subprocess
import sys
import time

from base import CONFIRMED, CONFIRMED_NA, ProxyCase, audit_problems
from proxy import MODULE, ROOT, Proxy
from sip import DOWN, SLOW, UP

sys.path.insert(0, os.path.join(ROOT, "test", "db"))
import dbserver  # noqa: E402

NO_DB, REALTIME, DELAYED, SHUTDOWN = range(4)
BYE_ON_TIMEOUT, IN_PATH = 1, 2  # bits of dlg_flags
DLGCTL = os.path.join(os.path.dirname(MODULE), "dlgctl")

# Headers of a request say what the script does to its dialog.
OPS = """
	if (is_present_hf("X-Val")) $dlg_val(k) = $hdr(X-Val);
	if (is_present_hf("X-Val-Hex")) $dlg_val(hex) = $(hdr(X-Val-Hex){s.decode.hexa});
	if (is_present_hf("X-Unval")) $dlg_val(k) = $null;
	if (is_present_hf("X-Flags")) $DLG_flags = $(hdr(X-Flags){s.int});
	if (is_present_hf("X-Flag-31")) set_dlg_flag("31");
	if (is_present_hf("X-By")) set_dlg_profile("by", "$hdr(X-By)");
	if (is_present_hf("X-Unby")) unset_dlg_profile("by", "$hdr(X-Unby)");
	if (is_present_hf("X-Plain")) set_dlg_profile("plain");
"""
TIMEOUT = 'if (is_present_hf("X-To")) $avp(t) = $(hdr(X-To){s.int});\n'
VALIDATE = """
	if ($DLG_status != $null && !validate_dialog()) xlog("L_NOTICE", "SAY [$ci] invalid $rm $cs\\n");
"""
INITIAL = TIMEOUT + 'if (is_present_hf("X-Bye")) setflag(6);\n\trecord_route();\n\tcreate_dialog();' + OPS


# Fields of a listing and the columns that have the same.
FIELDS = {
    "hash_entry": "hash_entry", "hash_id": "hash_id", "state": "state", "user_flags": "script_flags",
    "timestart": "start_time", "callid": "callid", "from_uri": "from_uri", "to_uri": "to_uri",
    "caller_tag": "from_tag", "caller_contact": "from_contact", "callee_cseq": "callee_cseq",
    "caller_route_set": "caller_route_set", "caller_bind_addr": "caller_sock", "callee_tag": "to_tag",
    "callee_contact": "callee_contact", "caller_cseq": "caller_cseq", "callee_route_set": "callee_route_set",
    "callee_bind_addr": "callee_sock"}
NUMBERS = ("hash_entry", "hash_id", "state", "user_flags", "timestart", "callee_cseq", "caller_cseq")


def pairs(column):
    """[(name, value)] of "name#value|..." with its backslashes."""
    out, item = [], [""]
    for token in re.findall(r"\\.|[^\\]", column or ""):
        if token == "#":
            item.append("")
        elif token == "|":
            out.append(tuple(item))
            item = [""]
        else:
            item[-1] += token[-1]
    return out


def over(*kinds):
    """Decorator: the tests of the class, over each of these databases."""
    def multiply(cls):
        module = sys.modules[cls.__module__]
        for kind in kinds:
            name = cls.__name__ + {"mysql": "MySql"}.get(kind, kind.title())
            setattr(module, name, type(name, (cls,), {"kind": kind, "__module__": cls.__module__,
                                                      "__qualname__": name, "__doc__": cls.__doc__}))
    return multiply


def make_table(url, *options):
    got = subprocess.run([DLGCTL, "db", "create", *options, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=60)
    if got.returncode:
        raise AssertionError("dlgctl db create: " + got.stdout)


class DbCase(ProxyCase):
    """Each test starts the proxies it needs; the table is empty before."""

    kind = "sqlite"
    db_options = {}
    params = {"profiles_with_value": "by", "profiles_no_value": "plain", "bye_on_timeout_flag": 6,
              "timeout_avp": "$avp(t)"}
    hooks = {"initial": INITIAL, "before_loose": TIMEOUT, "seq": VALIDATE + OPS}

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(MODULE):
            raise AssertionError("no module at %s: build it first" % MODULE)
        cls.db = dbserver.start(cls.kind, **cls.db_options)
        try:
            cls.prepare()
        except BaseException:
            cls.db.remove()
            raise

    @classmethod
    def prepare(cls):
        make_table(cls.db.url)

    @classmethod
    def tearDownClass(cls):
        cls.db.remove()

    def setUp(self):
        self.db.sql("DELETE FROM dialog")

    def new_proxy(self, mode=REALTIME, params=None, hooks=None, allowed=(), **options):
        """A proxy that is not started yet. The last one made is self.proxy."""
        base = dict(self.params, db_mode=mode, db_url=self.db.url)
        p = Proxy(params=dict(base, **(params or {})), tm=dict({"wt_timer": 1000}, **self.tm),
                  hooks=dict(self.hooks, **(hooks or {})), **dict(self.options, **options))
        for pattern in tuple(self.allowed) + tuple(allowed):
            p.allow(pattern)
        self.proxy = p
        return p

    def start_proxy(self, *args, **kw):
        p = self.new_proxy(*args, **kw).start()
        self.addCleanup(self.stop_proxy, p)
        self.mark = 0
        return p

    def stop_proxy(self, p):
        if p.proc.poll() is None:
            bad = audit_problems(p, empty=False)
        else:
            bad = []
        bad += p.stop()
        bad += ["not valid: " + line for line in p.last_log.splitlines() if "] invalid " in line]
        if bad:
            self.fail("\n".join(bad))

    # -- rows

    def row(self, call):
        """The row of the call, or None."""
        got = [r for r in self.db.rows() if r["callid"] == call.call_id]
        self.assertLessEqual(len(got), 1, "rows of one call: %r" % got)
        return got[0] if got else None

    def wait_row(self, call, timeout=6.0, **want):
        """Until the row has all that, and nothing else in its way; then all of its columns are looked
        at."""
        end = time.monotonic() + timeout * SLOW
        while True:
            row = self.row(call)
            if row and all(row[k] == v for k, v in want.items()):
                return row
            if time.monotonic() > end:
                self.assertIsNotNone(row, "the row never came")
                self.assertEqual({k: row[k] for k in want}, want)
            time.sleep(0.05)

    def wait_no_row(self, call, timeout=6.0):
        self.wait_until("the row to go", lambda: self.row(call) is None, timeout)

    def wait_rows(self, n, timeout=6.0):
        self.wait_until("%d rows" % n, lambda: len(self.db.rows()) == n, timeout)

    def expected_row(self, c, **other):
        """What the row of the answered call says, but for what the script did and passing time."""
        d = self.dialog(c)
        sock = "udp:" + self.proxy.addr
        row = dict(
            node="", hash_entry=d.entry, hash_id=d.id, callid=c.call_id,
            from_uri=c.from_uri, from_tag=c.ftag, to_uri=c.to_uri, to_tag=c.ttag or None,
            caller_cseq=c.cseq[DOWN], callee_cseq=0,
            caller_route_set=",".join(c.upstream) or None,
            callee_route_set=",".join(reversed(c.downstream)) or None,
            from_contact=c.a_contact, callee_contact=c.b_contact, caller_sock=sock, callee_sock=sock,
            state=4, start_time=int(d["timestart"]), vars=None, profiles=None, script_flags=0,
            dlg_flags=IN_PATH, lifetime=43200)
        row.update(other)
        return row

    def assertRow(self, c, timeout=6.0, legs=None, **other):
        """Every column, once the writer has come to it."""
        want = self.expected_row(c, **other)
        row = self.wait_row(c, timeout, **want)
        self.assertEqual(set(row) - set(want), {"timeout", "legs"})
        self.assertAlmostEqual(row["timeout"], int(self.dialog(c)["timeout"]), delta=2)
        if legs is not None:
            self.assertEqual(row["legs"], legs)
        return row

    # -- the table and the memory

    def in_table(self):
        """Dialogs as the rows know them: {hash: {field: value}}, and their timeouts."""
        out, timeouts = {}, {}
        for r in self.db.rows():
            name = "%s:%s" % (r["hash_entry"], r["hash_id"])
            out[name] = {field: r[column] if r[column] is not None else "" for field, column in FIELDS.items()}
            out[name].update(vars=pairs(r["vars"]), profiles=pairs(r["profiles"]))
            timeouts[name] = r["timeout"]
        return out, timeouts

    def in_memory(self):
        """The same of the answered calls, as the proxy lists them."""
        out, timeouts = {}, {}
        for d in self.proxy.fifo.dialogs(command="dlg_list_ctx"):
            if d.state not in (CONFIRMED_NA, CONFIRMED):
                continue
            leg = d["legs"][0]
            flat = dict(d, hash_entry=d.entry, hash_id=d.id, **leg)
            out[d["hash"]] = {f: int(flat[f]) if f in NUMBERS else flat[f] for f in FIELDS}
            for field, kind in (("vars", "value"), ("profiles", "profile")):
                out[d["hash"]][field] = [tuple(v.split(" = ", 1)) for k, v in d["context"] if k == kind]
            timeouts[d["hash"]] = int(d["timeout"])
        return out, timeouts

    def assertSaved(self, timeout=8.0):
        """The table says what the memory says, and nothing else."""
        end = time.monotonic() + timeout * SLOW
        while True:
            (memory, left), (table, stored) = self.in_memory(), self.in_table()
            if memory == table or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.assertEqual(table, memory)
        for name in memory:
            self.assertAlmostEqual(stored[name], left[name], delta=2, msg="timeout of " + name)
        return memory
