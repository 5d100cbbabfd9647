# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects of the 2009 program that concern the database, by their numbers (doc/manual.md, section 9). D1 and
D13 are in test_db_rows.py, D12 in test_db_outage.py, D14 in test_db_start.py."""

import time

from base import CONFIRMED, UP
from db import DELAYED, REALTIME, DbCase, over

EVERYTHING = [["X-Val", "one"], ["X-Flags", "5"], ["X-Plain", "1"], ["X-By", "two"]]


@over("mysql", "postgres", "sqlite")
class Defects(DbCase):
    seconds = 40

    def furnished(self, headers):
        c = self.call().setup(headers=headers)
        self.wait_state(c, CONFIRMED)
        return c, self.assertSaved()

    def crash_and_compare(self, before):
        self.proxy.restart(kill=True)
        self.assertEqual(self.in_memory()[0], before)
        self.assertSaved()

    def test_d09_values_profiles_and_flags_survive_a_crash(self):
        self.start_proxy(REALTIME)
        c, before = self.furnished(EVERYTHING)
        saved = before["%s:%s" % self.name_of(c)]
        self.assertEqual((saved["vars"], saved["user_flags"]), ([("k", "one")], 5))
        self.assertEqual(saved["profiles"], [("plain", ""), ("by", "two")])  # newest first
        self.crash_and_compare(before)
        c.hangup()
        self.wait_rows(0)

    def name_of(self, c):
        d = self.dialog(c)
        return d.entry, d.id

    def test_d09_periodic_writes_do_not_blank_them(self):
        self.start_proxy(DELAYED, params={"db_update_period": 1})
        c, before = self.furnished(EVERYTHING)
        c.exchange("INFO")
        time.sleep(2.5)
        before = self.assertSaved()
        self.crash_and_compare(before)
        c.hangup()
        self.wait_rows(0)

    def test_d10_separators_and_backslashes_come_back(self):
        self.start_proxy(REALTIME)
        c, before = self.furnished([["X-Val", "x|y#z\\"], ["X-By", "a#b|c\\d\\|"]])
        saved = before["%s:%s" % self.name_of(c)]
        self.assertEqual((saved["vars"], saved["profiles"]), ([("k", "x|y#z\\")], [("by", "a#b|c\\d\\|")]))
        self.crash_and_compare(before)
        self.crash_and_compare(before)
        c.hangup()
        self.wait_rows(0)

    def test_d11_the_callees_cseq_goes_on(self):
        p = self.start_proxy(REALTIME)
        c, _ = self.furnished(())
        c.exchange("INFO", UP, cseq=777)
        before = self.assertSaved()
        self.crash_and_compare(before)
        p.fifo.cmd("dlg_end_dlg", *self.name_of(c))
        for side, cseq in ((c.a, 778), (c.b, c.inv.cseq + 1)):
            bye = side.recv("BYE")
            self.assertEqual(bye.cseq, cseq)
            side.reply(bye, 200)
        self.wait_rows(0)
