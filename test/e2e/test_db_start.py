# SPDX-License-Identifier: GPL-2.0-or-later
"""A start that cannot have its database is refused with one clear line, and names are taken as
configured."""

import os
import re
import tempfile
import unittest

from base import CONFIRMED, DELETED
from db import DELAYED, IN_PATH, REALTIME, SHUTDOWN, DbCase, dbserver, make_table, over
from faults import figures
from proxy import MODULE, ROOT
from test_params import our_errors

PLAIN = dbserver.PASSWORD
SECRET = "secret-word"


def column_params():
    """[(id, [parameter, other spellings...], default name)], as dlg_row.h has them."""
    with open(os.path.join(ROOT, "dlg_row.h")) as f:
        text = f.read()
    columns = [(i, [param], name) for i, param, name in re.findall(r'X\((\w+), \w+, (\w+), "(\w+)"\)', text)]
    for i, alias in re.findall(r"ALIAS\((\w+), (\w+)\) ", text):
        next(c for c in columns if c[0] == i)[1].append(alias)
    return columns


class Refuse(DbCase):
    def refuse(self, *patterns, mode=REALTIME, **params):
        """One line of ours that says all that; and the password nowhere."""
        log = self.new_proxy(mode, params=params).start_fails()
        ours = our_errors(log)
        self.assertEqual(len(ours), 1, log)
        for pattern in patterns:
            self.assertRegex(ours[0], pattern)
        for secret in (PLAIN, dbserver.ENCODED, SECRET, "opensipsrw"):
            self.assertNotIn(secret, log)
        return ours[0]


@unittest.skipUnless(os.getuid() == 0, "only root can start a proxy that becomes somebody else")
class OtherUser(DbCase):
    """Started as root, with -u and -g: journal and SQLite file are made by whom the proxy has become."""

    seconds = 15
    user = ("nobody", "nogroup")

    def files(self):
        return [n for n in os.listdir(self.proxy.dir) if n.endswith(".journal") or n.startswith(("dialog.lock", "calls.db"))]

    def test_all_of_it_can_be_written(self):
        p = self.new_proxy(REALTIME, user=self.user)
        p.params["db_url"] = "sqlite://%s/calls.db" % p.dir
        p.start()
        self.addCleanup(self.stop_proxy, p)
        c = self.call().setup()
        self.wait_state(c, CONFIRMED)
        self.wait_until("its row", lambda: figures(p)["db_rows"] > 0)
        self.assertGreaterEqual(len(self.files()), 3)
        for name in self.files():
            self.assertEqual(os.stat(os.path.join(p.dir, name)).st_uid, os.stat(p.dir).st_uid, name)
        p.restart(kill=True)
        self.wait_state(c, CONFIRMED)
        self.assertEqual(figures(p)["db_journal_errors"], 0)
        c.hangup()
        self.wait_state(c, DELETED)


@over("mysql")
class OpenSipsTable(DbCase):
    """A table of OpenSIPS 1.6, changed as the documentation says, keeps calls."""

    @classmethod
    def prepare(cls):
        cls.db.sql("CREATE TABLE version (table_name CHAR(32) NOT NULL, table_version INT UNSIGNED DEFAULT 0 NOT NULL)")
        cls.db.sql("INSERT INTO version VALUES ('dialog', 4)")
        cls.db.sql("CREATE TABLE dialog (hash_entry INT UNSIGNED NOT NULL, hash_id INT UNSIGNED NOT NULL, callid CHAR(255) NOT NULL,"
                   " from_uri CHAR(128) NOT NULL, from_tag CHAR(64) NOT NULL, to_uri CHAR(128) NOT NULL, to_tag CHAR(64) NOT NULL,"
                   " caller_cseq CHAR(7) NOT NULL, callee_cseq CHAR(7) NOT NULL, caller_route_set CHAR(255),"
                   " callee_route_set CHAR(255), caller_contact CHAR(128) NOT NULL, callee_contact CHAR(128) NOT NULL,"
                   " caller_sock CHAR(64) NOT NULL, callee_sock CHAR(64) NOT NULL, state INT UNSIGNED NOT NULL,"
                   " start_time INT UNSIGNED NOT NULL, timeout INT UNSIGNED NOT NULL, vars CHAR(255), profiles CHAR(255),"
                   " script_flags INT UNSIGNED DEFAULT 0 NOT NULL, PRIMARY KEY (hash_entry, hash_id)) ENGINE=MyISAM")
        with open(os.path.join(ROOT, "doc/database.md")) as f:
            change = f.read().split("## On an existing OpenSIPS table")[1].split("```sql")[1].split("```")[0]
        for statement in change.split(";")[:-1]:
            cls.db.sql(statement)

    def test_its_calls_come_back(self):
        p = self.start_proxy(DELAYED, params={"caller_contact_column": "caller_contact"})
        c = self.call().setup(headers=[["X-Val", "v"]])
        self.wait_state(c, CONFIRMED)
        p.restart()
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_state(c, DELETED)


class BadAddresses(Refuse):
    """Of db_url, whatever the database."""

    seconds = 25

    def test_not_a_url(self):
        for url, why in (("", "scheme://"), ("mysql", "scheme://"), ("mysql:/x/y", "scheme://"), ("://h/d", "scheme://"),
                         ("mysql://host", "names no database"), ("mysql://u:%s@host/" % SECRET, "names no database"),
                         ("mysql://u:%s@h:0/d" % SECRET, "port"), ("mysql://u:%s@h:99999/d" % SECRET, "port"),
                         ("postgres://u:%s%%zz@h/d" % SECRET, "%XX"), ("mysql://u:%s/x@h/d" % SECRET, "%2F|port"),
                         ("mysql://u:%s@h/d?timeout=0" % SECRET, "timeout"), ("mysql://u:%s@h/d?speed=9" % SECRET, "timeout")):
            with self.subTest(url=url):
                self.refuse("parameter db_url", why, "allowed is", db_url=url)

    def test_unknown_scheme(self):
        line = self.refuse("db_url", "oracle", "mysql", "postgres", "sqlite", db_url="oracle://u:%s@h/d" % SECRET)
        self.assertIn("oracle://u@h/d", line)

    def test_no_url_at_all(self):
        """The manual's default."""
        with dbserver.socket.socket() as s:
            if s.connect_ex(("127.0.0.1", 3306)) == 0:
                self.skipTest("somebody has a MySQL server here")
        self.refuse("parameter db_url", "opensips@localhost", db_url=None)

    def test_nobody_there(self):
        for scheme in ("mysql", "postgres", "postgresql"):
            for mode in (REALTIME, DELAYED, SHUTDOWN):
                with self.subTest(scheme=scheme, mode=mode):
                    url = "%s://u:%s@127.0.0.1:%d/d" % (scheme, SECRET, dbserver.free_port())
                    self.refuse("parameter db_url", "cannot be reached", "refused|Can't connect", "allowed is", mode=mode, db_url=url)

    def test_no_such_host(self):
        for scheme in ("mysql", "postgres"):
            self.refuse("parameter db_url", "cannot be reached", "no.such.host.invalid",
                        db_url="%s://u:%s@no.such.host.invalid/d" % (scheme, SECRET))

    def test_no_such_file(self):
        self.refuse("cannot be reached", "/nonexistent/x.db", db_url="sqlite:///nonexistent/x.db")

    def test_no_driver(self):
        for scheme in ("mysql", "postgres", "sqlite"):
            self.refuse("parameter db_url", "no driver", "/nonexistent/dialog_db_%s.so is not there" % scheme,
                        db_driver_dir="/nonexistent", db_url="%s://u:%s@127.0.0.1/d" % (scheme, SECRET))

    def test_a_driver_that_is_none(self):
        with tempfile.TemporaryDirectory() as d:
            with open(d + "/dialog_db_sqlite.so", "w") as f:
                f.write("no shared object")
            self.refuse("dialog_db_sqlite.so cannot be loaded", "libsqlite3", db_driver_dir=d)
            os.unlink(d + "/dialog_db_sqlite.so")
            os.symlink(os.path.join(os.path.dirname(MODULE), "dialog.so"), d + "/dialog_db_sqlite.so")
            self.refuse("dialog_db_sqlite.so", db_driver_dir=d)


class BadParameters(Refuse):
    """Names, numbers and directories."""

    seconds = 25

    def test_names(self):
        for bad in ("", "a b", "a;b", 'a"b', "a`b", "x" * 64, "caf\u00e9"):
            with self.subTest(name=bad):
                for param in ("table_name", "callid_column", "legs_column"):
                    self.refuse("parameter %s: bad value" % param, "allowed are letters, digits and underscores",
                                **{param: bad.replace('"', '\\"')})

    def test_two_columns_of_one_name(self):
        self.refuse('parameter vars_column: bad value "STATE"', "no other column", vars_column="STATE")

    def test_numbers(self):
        for name, values in (("db_mode", (4, -1)), ("db_update_period", (0, -5, 86401))):
            for value in values:
                params = dict({"db_mode": DELAYED}, **{name: value})
                self.refuse("parameter %s: bad value %d" % (name, value), "allowed is", mode=None, **params)

    def test_node(self):
        for bad in ("a b", "n" * 65, "a/b"):
            self.refuse("parameter db_node", "allowed is", db_node=bad)

    def test_journal_directory(self):
        for bad, why in (("relative", "an absolute path"), ("/dev/null/x", "Not a directory"),
                         ("/proc/nowhere", "cannot make"), (self.db.path, "Not a directory")):
            self.refuse("parameter db_journal_dir", "allowed is", why, db_journal_dir=bad)

    def test_journal_directory_of_another_proxy(self):
        first = self.start_proxy(REALTIME)
        line = self.refuse("in use by another proxy", "allowed is a directory of its own", db_journal_dir=first.dir)
        self.assertIn("process %d" % first.proc.pid, line)
        self.proxy = first
        c = self.call().setup()  # the first one has not noticed
        self.wait_state(c, CONFIRMED)
        self.wait_row(c)
        first.restart(kill=True)  # the lock went with its processes
        self.wait_state(c, CONFIRMED)
        c.hangup()
        self.wait_no_row(c)

    def test_the_same_table_for_two_nodes_needs_two_journals(self):
        """A journal of another node is set aside, not read."""
        p = self.start_proxy(REALTIME, params={"db_node": "one"}, allowed=("of another db_node",))
        c = self.call().setup()
        self.wait_row(c, state=4)  # the journal is all that knows it before
        p.restart(kill=True, db_node="two")
        p.wait_log(r"it is of another db_node: it is not read")
        self.assertEqual(p.fifo.dialogs(), [])
        self.assertTrue([n for n in os.listdir(p.dir) if n.endswith(".set-aside")])
        p.restart(db_node="one")
        self.wait_state(c, CONFIRMED)
        c.hangup()


@over("mysql", "postgres", "sqlite")
class Tables(Refuse):
    """What start demands of the database, and names."""

    seconds = 30

    def test_wrong_password(self):
        if self.kind == "sqlite":
            self.skipTest("SQLite knows no passwords")
        url = self.db.url.replace(dbserver.ENCODED, SECRET)
        self.refuse("parameter db_url", "cannot be reached", "(?i)access denied|authentication failed", db_url=url)

    def test_unknown_database(self):
        if self.kind == "sqlite":
            self.skipTest("SQLite makes it")
        self.refuse("parameter db_url", "cannot be reached", "nothere",
                    db_url=self.db.url.replace("/" + dbserver.NAME, "/nothere"))

    def test_hung(self):
        """A server that takes connections and never answers."""
        if self.kind == "sqlite":
            self.skipTest("there is no server")
        self.db.freeze()
        try:
            self.refuse("parameter db_url", "cannot be reached", db_url=self.db.url + "?timeout=1")
        finally:
            self.db.thaw()

    def test_no_table(self):
        """SQLite makes it."""
        if self.kind == "sqlite":
            self.start_proxy(REALTIME, params={"table_name": "fresh"})
            c = self.call().setup()
            self.wait_until("a row in the new table", lambda: len(self.db.rows("fresh")) == 1)
            c.hangup()
            return
        line = self.refuse('there is no table "nothere"', "dlgctl db create", table_name="nothere")
        self.assertNotIn(dbserver.ENCODED, line)

    def test_wrong_version(self):
        try:
            for sql, why in (("UPDATE version SET table_version=7 WHERE table_name='dialog'", "has version 7.*needs 1001"),
                             ("DELETE FROM version WHERE table_name='dialog'", "no row for .*1001")):
                self.db.sql(sql)
                if self.kind == "sqlite" and "DELETE" in sql:
                    self.start_proxy(REALTIME)  # a table without a version gets one
                else:
                    self.refuse(why, "dlgctl db create")
        finally:
            self.db.sql("DELETE FROM version WHERE table_name='dialog'")
            make_table(self.db.url)

    def test_missing_columns(self):
        make_table(self.db.url, "--table", "poor")
        self.db.sql("ALTER TABLE poor DROP COLUMN vars")
        self.db.sql("ALTER TABLE poor DROP COLUMN legs")
        self.refuse('the table "poor" lacks columns: "vars", "legs"', table_name="poor")

    def test_d14_nothing_is_served_without_the_table(self):
        """The old program started, and saved nothing."""
        make_table(self.db.url, "--table", "poor14")
        self.db.sql("ALTER TABLE poor14 DROP COLUMN start_time")
        for mode in (REALTIME, DELAYED, SHUTDOWN):
            self.refuse("lacks columns: \"start_time\"", mode=mode, table_name="poor14")

    def renamed(self, spelling, table):
        """Every column has another name, told by that spelling of its parameter."""
        params = {names[min(spelling, len(names) - 1)]: "c%d_%s" % (spelling, i) for i, names, _ in column_params()}
        if self.kind != "sqlite":
            first = {names[0]: "c%d_%s" % (spelling, i) for i, names, _ in column_params()}
            make_table(self.db.url, "--table", table, "--column-names",
                       ",".join("%s=%s" % item for item in first.items()))
        p = self.start_proxy(REALTIME, params=dict(params, table_name=table))
        c = self.call().setup(headers=[["X-Val", "v"]])
        self.wait_state(c, CONFIRMED)
        want = self.expected_row(c, vars="k#v|", dlg_flags=IN_PATH)
        ids = {default: i for i, _, default in column_params()}

        def as_expected():
            rows = self.db.rows(table)
            return rows and all(rows[0]["c%d_%s" % (spelling, ids[k])] == v for k, v in want.items())
        self.wait_until("the row with the new names", as_expected)
        self.assertEqual(set(self.db.rows(table)[0]), {"c%d_%s" % (spelling, i) for i, _, _ in column_params()})
        p.restart(kill=True)
        self.wait_state(c, CONFIRMED)
        self.assertEqual(self.db.rows(), [])
        c.hangup()
        self.wait_until("the row to go", lambda: self.db.rows(table) == [])

    def test_column_names(self):
        self.assertEqual(len(column_params()), 25)
        self.renamed(0, "calls_a")

    def test_column_names_in_the_old_spelling(self):
        self.assertEqual(sum(len(names) > 1 for _, names, _ in column_params()), 9)
        self.renamed(1, "calls_b")
