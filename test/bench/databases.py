# SPDX-License-Identifier: GPL-2.0-or-later
"""Private databases for benchmarks, with the tables of our module and of the host's own, near and
far away.

An object has .start(), .stop(), .url (of ours), .stock_url, .driver (module of the host),
.rows(which), how many dialogs are in a database now ("ours" or "stock"), .clear() to delete them, and
.pids, the processes it consists of."""

import os
import subprocess
import sys

from host import MODULE, OURS, ROOT, STOCK, build

sys.path.insert(1, os.path.join(ROOT, "test", "db"))

import dbserver  # noqa: E402

SQL = "/usr/share/kamailio"
USER = PASSWORD = "bench"  # the host's module takes no special characters


def make_our_table(url):
    subprocess.run([os.path.join(os.path.dirname(MODULE), "dlgctl"), "db", "create", url], check=True,
                   stdout=subprocess.DEVNULL)


def stock_tables(directory):
    """The statements that make the tables of the host's module."""
    text = ""
    for name in ("standard", "dialog"):
        with open("%s/%s/%s-create.sql" % (SQL, directory, name)) as f:
            text += f.read()
    return text


class Sqlite:
    name, driver, pids = "sqlite", "db_sqlite", ()

    def start(self):
        self.files = {OURS: dbserver.start("sqlite"), STOCK: dbserver.start("sqlite")}
        self.url, self.stock_url = self.files[OURS].url, "sqlite:///" + self.files[STOCK].path
        make_our_table(self.url)
        self.files[STOCK].sql(stock_tables("db_sqlite"))

    def stop(self):
        for f in self.files.values():
            f.remove()

    def rows(self, which):
        db = self.files[which].connect()
        try:
            return db.execute("SELECT count(*) FROM dialog").fetchone()[0]
        finally:
            db.close()

    def clear(self):
        for f in self.files.values():
            f.sql("DELETE FROM dialog")


class Server:
    def start(self):
        self.db = dbserver.start(self.name)
        make_our_table(self.db.url)
        self.make_stocks()
        self.port = self.db.port
        self.url, self.stock_url = self.urls(self.port)

    def urls(self, port):
        """(ours, stock's) when the server is reached at this port."""
        return (self.db.url.replace(":%d/" % self.port, ":%d/" % port),
                "%s://%s:%s@127.0.0.1:%d/stock" % (self.name, USER, PASSWORD, port))

    def stop(self):
        self.db.remove()

    @property
    def pids(self):
        return (self.db.proc.pid,)

    def rows(self, which):
        return int(self.sql(which, "SELECT count(*) FROM dialog"))

    def clear(self):
        for which in (OURS, STOCK):
            self.sql(which, "DELETE FROM dialog")


class Mysql(Server):
    name, driver = "mysql", "db_mysql"

    def make_stocks(self):
        self.db.root("CREATE DATABASE stock; GRANT ALL ON stock.* TO '%s'@'127.0.0.1' IDENTIFIED BY '%s'"
                     % (USER, PASSWORD))
        self.sql(STOCK, stock_tables("mysql"))

    def sql(self, which, text):
        return self.db.sql(text) if which == OURS else self.db.root("USE stock; " + text)


class Postgres(Server):
    name, driver = "postgres", "db_postgres"

    def make_stocks(self):
        self.db.psql("postgres", "CREATE USER %s PASSWORD '%s'" % (USER, PASSWORD))
        self.db.psql("postgres", "CREATE DATABASE stock OWNER " + USER)
        self.sql(STOCK, "SET ROLE %s; %s" % (USER, stock_tables("postgres")))

    def sql(self, which, text):
        return self.db.sql(text) if which == OURS else self.db.psql("stock", text)


class Delayed:
    """The same database, farther away: every answer comes `ms` later."""

    def __init__(self, server, ms=5):
        self.server, self.ms, self.proc = server, ms, None
        self.name, self.driver = "%s +%d ms" % (server.name, ms), server.driver
        self.rows, self.clear = server.rows, server.clear

    def start(self):
        self.proc = subprocess.Popen([build("delay"), str(self.ms * 500), "127.0.0.1:%d" % self.server.port],
                                     stdout=subprocess.PIPE, text=True)
        self.url, self.stock_url = self.server.urls(int(self.proc.stdout.readline()))

    def stop(self):
        if self.proc:
            self.proc.kill()
            self.proc.wait()

    @property
    def pids(self):
        return (self.proc.pid,) + self.server.pids
