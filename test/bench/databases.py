# SPDX-License-Identifier: GPL-2.0-or-later
"""Private databases for benchmarks, with the tables of our module and of the host's own.

An object has .start(), .stop(), .url (of ours), .stock_url, .driver (module of the host), and
.rows(), how many dialogs are in the database now: (ours, stock's)."""

import atexit
import glob
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time

from host import MODULE, ROOT, build

SQL = "/usr/share/kamailio"
USER, PASSWORD = "bench", "bench"
_alive = set()


@atexit.register
def _clean_up():
    for d in list(_alive):
        d.stop()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_our_table(url):
    tool = build("mktable", os.path.join(ROOT, "db", "db.c"), os.path.join(ROOT, "dlg_str.c"),
                 "-rdynamic", "-ldl")
    subprocess.run([tool, os.path.dirname(MODULE), url], check=True)


def run(*args, **kwargs):
    """Run a command; what it said, if it fails."""
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if p.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(args), p.stdout[-2000:]))
    return p.stdout


class Sqlite:
    name, driver = "sqlite", "db_sqlite"

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="dlgbench.")
        _alive.add(self)
        self.file, self.stock_file = os.path.join(self.dir, "ours"), os.path.join(self.dir, "stock")
        self.url, self.stock_url = "sqlite://" + self.file, "sqlite:///" + self.stock_file
        make_our_table(self.url)
        db = sqlite3.connect(self.stock_file)
        for table in ("standard", "dialog"):
            with open("%s/db_sqlite/%s-create.sql" % (SQL, table)) as f:
                db.executescript(f.read())
        db.close()
        return self

    def stop(self):
        _alive.discard(self)
        shutil.rmtree(self.dir, ignore_errors=True)

    def rows(self):
        return tuple(self.count(f) for f in (self.file, self.stock_file))

    @staticmethod
    def count(file):
        db = sqlite3.connect(file, timeout=5)
        try:
            return db.execute("SELECT count(*) FROM dialog").fetchone()[0]
        finally:
            db.close()


class Server:
    """A database server of our own, run as its system user if we are root."""

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="dlgbench.")
        self.data = os.path.join(self.dir, "data")
        self.port = free_port()
        if os.getuid() == 0:
            user = pwd.getpwnam(self.system_user)
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            self.become = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        else:
            self.become = []
        self.proc = None
        _alive.add(self)
        self.make()
        with open(os.path.join(self.dir, "log"), "wb") as log:
            self.proc = subprocess.Popen(self.become + self.command(), stdout=log, stderr=log, cwd=self.dir,
                                         start_new_session=True)
        self.wait_ready()
        self.make_databases()
        self.url, self.stock_url = self.url_of("ours"), self.url_of("stock")
        make_our_table(self.url)
        for table in ("standard", "dialog"):
            self.feed("stock", "%s/%s/%s-create.sql" % (SQL, self.sql, table))
        return self

    def url_of(self, database, port=0):
        return "%s://%s:%s@127.0.0.1:%d/%s" % (self.scheme, USER, PASSWORD, port or self.port, database)

    def wait_ready(self):
        end = time.monotonic() + 30
        while True:
            try:
                return self.query("", "SELECT 1")
            except RuntimeError:
                if self.proc.poll() is not None or time.monotonic() > end:
                    with open(os.path.join(self.dir, "log"), errors="replace") as f:
                        raise RuntimeError("%s did not start:\n%s" % (self.name, f.read()[-2000:]))
            time.sleep(0.1)

    def stop(self):
        _alive.discard(self)
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def rows(self):
        return tuple(int(self.query(d, "SELECT count(*) FROM dialog")) for d in ("ours", "stock"))


class Mysql(Server):
    name, driver, scheme, sql, system_user = "mysql", "db_mysql", "mysql", "mysql", "mysql"

    def make(self):
        run(*self.become, "mariadb-install-db", "--no-defaults", "--datadir=" + self.data,
            "--auth-root-authentication-method=normal", "--skip-test-db", cwd=self.dir)

    def command(self):
        return ["mariadbd", "--no-defaults", "--datadir=" + self.data, "--socket=" + self.dir + "/socket",
                "--bind-address=127.0.0.1", "--port=%d" % self.port, "--pid-file=" + self.dir + "/pid"]

    def query(self, database, sql):
        return run("mariadb", "--no-defaults", "-N", "-S", self.dir + "/socket", "-u", "root", "-e", sql,
                   *[d for d in (database,) if d])

    def feed(self, database, path):
        with open(path) as f:
            run("mariadb", "--no-defaults", "-S", self.dir + "/socket", "-u", "root", database, stdin=f)

    def make_databases(self):
        for d in ("ours", "stock"):
            self.query("", "CREATE DATABASE %s; GRANT ALL ON %s.* TO '%s'@'%%' IDENTIFIED BY '%s'" % (
                d, d, USER, PASSWORD))


class Postgres(Server):
    name, driver, scheme, sql, system_user = "postgres", "db_postgres", "postgres", "postgres", "postgres"

    def tool(self, name):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name))
        if not found:
            raise RuntimeError("no %s in /usr/lib/postgresql: ./setup.sh bench installs it" % name)
        return found[-1]

    def make(self):
        run(*self.become, self.tool("initdb"), "-D", self.data, "-U", "postgres", "--auth=trust",
            "--encoding=UTF8", "--locale=C", cwd=self.dir)

    def command(self):
        return [self.tool("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.dir,
                "-c", "listen_addresses=127.0.0.1"]

    def query(self, database, sql):
        return run(self.tool("psql"), "-X", "-q", "-A", "-t", "-h", self.dir, "-p", str(self.port),
                   "-U", "postgres", "-c", sql, database or "postgres")

    def feed(self, database, path):
        run(self.tool("psql"), "-X", "-q", "-h", self.dir, "-p", str(self.port), "-U", USER,
            "-v", "ON_ERROR_STOP=1", "-f", path, database)

    def make_databases(self):
        self.query("", "CREATE USER %s PASSWORD '%s'" % (USER, PASSWORD))
        for d in ("ours", "stock"):
            self.query("", "CREATE DATABASE %s OWNER %s" % (d, USER))


class Delayed:
    """The same database, farther away: every answer comes `ms` later."""

    def __init__(self, server, ms=5):
        self.server, self.ms, self.proc = server, ms, None
        self.name, self.driver, self.rows = "%s +%d ms" % (server.name, ms), server.driver, server.rows

    def start(self):
        self.proc = subprocess.Popen([build("delay"), str(self.ms * 500), "127.0.0.1:%d" % self.server.port],
                                     stdout=subprocess.PIPE, text=True)
        _alive.add(self)
        port = int(self.proc.stdout.readline())
        self.url, self.stock_url = self.server.url_of("ours", port), self.server.url_of("stock", port)
        return self

    def stop(self):
        _alive.discard(self)
        self.proc.kill()
        self.proc.wait()
