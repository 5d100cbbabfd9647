# SPDX-License-Identifier: GPL-2.0-or-later
"""The API for other modules, by the example that uses it: call records, one JSON line per finished call."""

import json
import os
import time
import unittest
from datetime import datetime

from base import CONFIRMED, DELETED, UP, ProxyCase
from proxy import MODULE

CDR = os.environ.get("DLG_CDR_SO", os.path.join(os.path.dirname(MODULE), "dlg_cdr.so"))


@unittest.skipUnless(os.path.exists(CDR), "the example module has not been built: %s" % CDR)
class CallRecords(ProxyCase):
    seconds = 20
    params = {"default_timeout": 43200, "timeout_avp": "$avp(t)", "setup_timeout": 3}
    tm = {"fr_inv_timer": 20000, "fr_timer": 20000}
    hooks = {"initial": """if (is_present_hf("X-To")) $avp(t) = $(hdr(X-To){s.int});
	record_route();
	create_dialog();
	$dlg_val(account) = "4711 \\"é\\"";
	set_dlg_flag(4);
	if (is_present_hf("X-Leave")) exit;"""}

    @classmethod
    def setUpClass(cls):
        cls.options = {"after": [(CDR, [("dlg_cdr", "file", "@FILE@"), ("dlg_cdr", "values", "account;gateway")])]}
        import proxy
        real = proxy.Proxy.config

        def config(self):
            self.cdr = os.path.join(self.dir, "cdr.json")
            return real(self).replace("@FILE@", self.cdr)
        proxy.Proxy.config = config
        try:
            super().setUpClass()
        finally:
            proxy.Proxy.config = real

    def records(self, c):
        if not os.path.exists(self.proxy.cdr):
            return []
        with open(self.proxy.cdr) as f:
            return [r for r in (json.loads(line) for line in f) if r["call_id"] == c.call_id]

    def record(self, c):
        self.wait_until("the record", lambda: self.records(c), 8)
        time.sleep(0.1)
        got = self.records(c)
        self.assertEqual(len(got), 1)
        return got[0]

    def when(self, text):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

    def check(self, c, r, **want):
        base = {"call_id": c.call_id, "from_uri": c.from_uri, "from_tag": c.ftag, "to_uri": c.to_uri,
                "caller_contact": c.a_contact, "flags": 16, "values": {"account": '4711 "é"', "gateway": None}}
        for k, v in {**base, **want}.items():
            self.assertEqual(r[k], v, k)
        self.assertAlmostEqual(self.when(r["invite_time"]), time.time(), delta=20)
        self.assertAlmostEqual(self.when(r["end_time"]), time.time(), delta=15)

    def test_caller_hangs_up(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        time.sleep(1.2)
        c.hangup()
        r = self.record(c)
        self.check(c, r, result="bye", ended_by="caller", code=200, to_tag=c.ttag, callee_contact=c.b_contact,
                   h_entry=d.entry, h_id=d.id)
        self.assertAlmostEqual(r["talk_s"], 1.2, delta=0.3)
        self.assertLess(r["setup_s"], 0.5)

    def test_callee_hangs_up(self):
        c = self.call().setup()
        c.hangup(UP)
        self.check(c, self.record(c), result="bye", ended_by="callee", code=200)

    def test_proxy_ends_the_call(self):
        c = self.call().setup()
        d = self.wait_state(c, CONFIRMED)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        for ua in (c.a, c.b):
            ua.reply(ua.recv("BYE"), 200)
        self.check(c, self.record(c), result="bye", ended_by="proxy", code=200)

    def test_expired(self):
        c = self.call().setup(headers=[["X-To", "1"]])
        r = self.record(c)
        self.check(c, r, result="expired", ended_by="proxy", code=200)
        self.assertAlmostEqual(r["talk_s"], 1.5, delta=1.0)

    def test_busy(self):
        c = self.call()
        c.ring()
        c.answer(486)
        c.got(486)
        self.check(c, self.record(c), result="failed", ended_by="callee", code=486, talk_s=0, answer_time=None)

    def test_cancelled(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(180)
        c.cancel()
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        c.got(487)
        self.check(c, self.record(c), result="cancelled", ended_by="caller", code=487)

    def test_no_answer_within_the_setup_limit(self):
        c = self.call()
        c.ring()
        c.answer(180)
        c.got(408, 8)
        c.b.reply(c.b.recv("CANCEL"), 200)
        c.answer(487)
        self.check(c, self.record(c), result="expired", ended_by="proxy", code=408)

    def test_calls_that_never_left_have_no_record(self):
        c = self.call()
        c.invite(headers=[["X-Leave", "1"]])
        time.sleep(0.5)
        self.assertEqual(self.records(c), [])

    def test_records_of_a_burst(self):
        calls = [self.call() for _ in range(60)]
        for c in calls:
            c.invite()
        for c in calls:
            c.b_inv = c.b.recv("INVITE")
            c.routes_up = c.b_inv.entries("Record-Route")
            c.answer(200)
        for c in calls:
            c.got(200)
            c.send("ACK", cseq=c.inv.cseq)
            c.send("BYE")
        for c in calls:
            c.b.reply(c.b.recv("BYE"), 200)
        for c in calls:
            self.check(c, self.record(c), result="bye", ended_by="caller")
