# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that are no dialogs: skipped, named in the log, counted, and left where they are."""

from base import CONFIRMED
from db import REALTIME, DbCase, over

# What somebody may have done to a row, and the word for it.
DAMAGES = {
    "callid": ("callid=''", "callid"),
    "from_tag": ("from_tag=NULL", "from_tag"),
    "state": ("state=77", "state"),
    "no state": ("state=NULL", "state"),
    "to_uri": ("to_uri='not a uri'", "to_uri"),
    "d01 socket": ("caller_sock='udp:192.0.2.77:5060'", "socket"),
    "no socket": ("callee_sock='udp:nonsense'", "sock"),
    "cseq": ("caller_cseq=-1", "caller_cseq"),
    "vars": ("vars='no end'", "vars"),
    "legs": ("legs='1,2,3'", "legs"),
    "d13 entry": ("hash_entry=hash_entry+100000", "h_entry"),
}


class OddCalls(DbCase):
    """What parties write that no standard allows."""

    seconds = 15

    def test_they_survive(self):
        p = self.start_proxy(REALTIME)
        c = self.call()
        c.a_contact = "alice"
        c.setup()
        self.assertSaved()
        p.restart()
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.row(c)["from_contact"], "alice")
        c.exchange("INFO")
        c.hangup()
        self.wait_rows(0)


@over("mysql", "postgres", "sqlite")
class BadRows(DbCase):
    seconds = 60
    allowed = (r"row .* is skipped",)

    def damage(self, call, how):
        self.db.sql("UPDATE dialog SET %s WHERE callid='%s'" % (how, call.call_id))

    def test_d01_d13_bad_rows_are_skipped_and_kept(self):
        p = self.start_proxy(REALTIME)
        good = [self.call().setup(headers=[["X-Val", "one"]]) for _ in range(2)]
        bad = {name: self.call().setup(headers=[["X-Val", "one"]]) for name in DAMAGES}
        foreign = self.call().setup()
        for c in good + list(bad.values()) + [foreign]:
            self.wait_state(c, CONFIRMED)
        self.assertSaved()
        p.terminate()
        names = {}
        for r in self.db.rows():
            names[r["callid"]] = "%s:%s" % (r["hash_entry"], r["hash_id"])
        for name, c in bad.items():
            self.damage(c, DAMAGES[name][0])
        self.damage(foreign, "node='another proxy', state=77")
        before = sorted(map(repr, self.db.rows()))
        p.resume(db_journal_dir=p.dir)  # the journal knows nothing of these calls
        self.assertEqual({d["callid"] for d in p.fifo.dialogs()}, {c.call_id for c in good})
        skipped = [line for line in p.log().splitlines() if "is skipped" in line]
        self.assertEqual(len(skipped), len(DAMAGES), "\n".join(skipped))
        for name, c in bad.items():
            id_ = names[c.call_id].split(":")[1]
            said = [line for line in skipped if "hash_id=%s is" % id_ in line]
            self.assertEqual(len(said), 1, "%s: %r in %s" % (name, id_, "\n".join(skipped)))
            self.assertIn(DAMAGES[name][1], said[0])
        self.assertRegex(p.log(), r"%d rows skipped" % len(DAMAGES))
        for c in good:
            c.exchange("INFO")
            c.hangup()
        self.wait_rows(len(DAMAGES) + 1)
        left = sorted(map(repr, self.db.rows()))
        self.assertEqual(left, [r for r in before if not any(c.call_id in r for c in good)])
