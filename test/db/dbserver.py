# SPDX-License-Identifier: GPL-2.0-or-later
"""Private database servers for tests, on loopback and in directories of their own.

    db = start("mysql")        # or "postgres", "sqlite"
    db.url                     # for db_url; db.rows() reads the table, db.sql(text) runs statements
    db.kill(); db.start()      # kill -9 and start again
    db.freeze(); db.thaw()     # SIGSTOP, SIGCONT
    db.restart()               # as an operator does
    db.socket_url              # the same server by its Unix socket
    db.remove()                # stop and take everything away

start("mysql", disk_mb=500) puts the data on a small disk of its own, for db.fill_disk() and
db.free_disk(); only root can have one: SmallDiskRefused says why not. Servers die with this process,
however it ends.

As a program: dbserver.py NAME COMMAND... runs the command with DB_URL set, or without a command
prints the URL and waits for its standard input to end. "freeze PID" and "thaw PID" do just that."""

import atexit
import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

USER, PASSWORD, NAME = "dialog", "p@ss:w/rd%", "calls"
ENCODED = "p%40ss%3Aw%2Frd%25"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_user(*names):
    """Arguments that run a command as the first of these users there is; databases refuse root."""
    if os.getuid():
        return []
    for name in names + ("nobody",):
        try:
            pwd.getpwnam(name)
            # a change of user forgets what die_with_parent() asked for, unless it is kept
            return ["setpriv", "--reuid", name, "--regid", str(pwd.getpwnam(name).pw_gid), "--clear-groups",
                    "--pdeathsig", "keep"]
        except KeyError:
            pass
    raise RuntimeError("no user to run a database as")


def family(pid):
    """A process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    parents[int(entry)] = int(f.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    found = [pid]
    for p in found:
        found += [c for c, parent in parents.items() if parent == p]
    return found


def signal_family(pid, number):
    """Whoever ends meanwhile needs none."""
    for p in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(p, number)


def is_still(pid):
    """Stopped, or gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] in "TZ"
    except OSError:
        return True


def freeze(pid):
    """Stop a server with all its processes, and see that they stand still."""
    signal_family(pid, signal.SIGSTOP)
    for p in family(pid):
        while not is_still(p):
            time.sleep(0.005)


def thaw(pid):
    signal_family(pid, signal.SIGCONT)


def die_with_parent():
    """In a child before exec."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class SmallDiskRefused(Exception):
    """This machine or this user cannot have a file system of its own."""


class Server:
    """What a server process can suffer."""

    scheme, owners, proc = "", (), None

    def __init__(self, disk_mb=None):
        self.dir = tempfile.mkdtemp(prefix="dlgdb.")
        self.disk_mb = disk_mb
        if disk_mb:
            self.mount()
        self.user = as_user(*self.owners)
        if self.user:
            shutil.chown(self.dir, self.user[2], int(self.user[4]))
        self.port = free_port()
        self.log = os.path.join(self.dir, "server.log")
        atexit.register(self.remove)
        self.prepare()
        self.start()
        self.create()

    @property
    def url(self):
        return "%s://%s:%s@127.0.0.1:%d/%s" % (self.scheme, USER, ENCODED, self.port, NAME)

    @property
    def socket_url(self):
        return "%s://%s:%s@%s:%d/%s" % (self.scheme, USER, ENCODED, urllib.parse.quote(self.socket, ""), self.port, NAME)

    def mount(self):
        got = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700" % self.disk_mb, "tmpfs", self.dir],
                             stderr=subprocess.PIPE, text=True)
        if got.returncode:
            os.rmdir(self.dir)
            raise SmallDiskRefused(got.stderr.strip())

    def fill_disk(self):
        """Leave no byte free."""
        with open(self.dir + "/filler", "ab", buffering=0) as f:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while f.write(bytes(size)):
                        pass

    def free_disk(self):
        os.unlink(self.dir + "/filler")

    def run(self, *command, **kw):
        got = subprocess.run([*self.user, *command], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="surrogateescape", **kw)
        if got.returncode:
            raise RuntimeError("%s: %s" % (command[0], got.stdout[-2000:]))
        return got.stdout

    def spawn(self, *command):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen([*self.user, *command], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, start_new_session=True, preexec_fn=die_with_parent)

    def start(self):
        self.launch()
        end = time.monotonic() + 60
        while not self.ready():
            if time.monotonic() > end or self.proc.poll() is not None:
                raise RuntimeError("%s does not start: %s" % (self.scheme, open(self.log, errors="replace").read()[-3000:]))
            time.sleep(0.1)

    def freeze(self):
        freeze(self.proc.pid)

    def thaw(self):
        if self.proc and self.proc.poll() is None:
            thaw(self.proc.pid)

    def kill(self):
        for p in family(self.proc.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, signal.SIGKILL)
        self.proc.wait()

    def stop(self):
        self.thaw()
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(self.gentle)
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self):
        self.stop()
        self.start()

    def remove(self):
        if self.proc and self.proc.poll() is None:
            self.thaw()
            self.kill()
        if self.disk_mb and os.path.ismount(self.dir):
            subprocess.run(["umount", "-l", self.dir], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def rows(self, table="dialog"):
        """All rows as dicts of what the columns hold; numbers as int, NULL as None."""
        return [json.loads(line) for line in self.query(self.as_json(table)).splitlines() if line]


class MySql(Server):
    scheme, owners, gentle = "mysql", ("mysql",), signal.SIGTERM

    def prepare(self):
        self.run("mariadb-install-db", "--no-defaults", "--datadir=" + self.dir + "/data", "--skip-test-db",
                 "--tmpdir=" + self.dir, "--auth-root-authentication-method=normal")

    def launch(self):
        self.spawn("/usr/sbin/mariadbd", "--no-defaults", "--datadir=" + self.dir + "/data", "--tmpdir=" + self.dir,
                   # in a directory that it shares a server deletes what others need
                   "--bind-address=127.0.0.1",
                   "--port=%d" % self.port, "--socket=" + self.dir + "/socket", "--pid-file=" + self.dir + "/pid",
                   "--innodb-buffer-pool-size=64M", "--skip-log-bin", "--skip-name-resolve")

    def ready(self):
        try:
            self.root("SELECT 1")
            return True
        except RuntimeError:
            return False

    def root(self, text):
        return self.run("mariadb", "--no-defaults", "--socket=" + self.dir + "/socket", "-uroot", "-N", "-r", "-B",
                        "--default-character-set=utf8mb4", "-e", text, timeout=60)

    def create(self):
        self.root("CREATE DATABASE " + NAME)
        for host in ("127.0.0.1", "localhost"):
            self.root("CREATE USER '%s'@'%s' IDENTIFIED BY '%s'; GRANT ALL ON %s.* TO '%s'@'%s'"
                      % (USER, host, PASSWORD, NAME, USER, host))

    @property
    def socket(self):
        return self.dir + "/socket"

    def sql(self, text):
        return self.root("USE %s; %s" % (NAME, text))

    query = sql

    def as_json(self, table):
        columns = self.sql("SELECT column_name FROM information_schema.columns WHERE table_schema='%s' AND table_name='%s' "
                           "ORDER BY ordinal_position" % (NAME, table)).split()
        return "SELECT JSON_OBJECT(%s) FROM `%s` ORDER BY 1" % (
            ", ".join("'%s', `%s`" % (c, c) for c in columns), table)


class Postgres(Server):
    scheme, owners, gentle = "postgres", ("postgres",), signal.SIGINT

    def prepare(self):
        versions = sorted(os.listdir("/usr/lib/postgresql"), key=float)
        self.bin = "/usr/lib/postgresql/%s/bin/" % versions[-1]
        self.run(self.bin + "initdb", "-D", self.dir + "/data", "-A", "trust", "-E", "UTF8", "--locale=C", "-U", "postgres")

    def launch(self):
        self.spawn(self.bin + "postgres", "-D", self.dir + "/data", "-h", "127.0.0.1", "-p", str(self.port), "-k", self.dir)

    def ready(self):
        try:
            self.psql("postgres", "SELECT 1")
            return True
        except RuntimeError:
            return False

    @property
    def socket(self):
        return self.dir

    def psql(self, database, text):
        return self.run(self.bin + "psql", "-X", "-q", "-h", self.dir, "-p", str(self.port), "-U", "postgres", "-A", "-t",
                        "-v", "ON_ERROR_STOP=1", "-c", text, database, timeout=60)

    def create(self):
        self.psql("postgres", "CREATE USER %s PASSWORD '%s'" % (USER, PASSWORD))
        self.psql("postgres", "CREATE DATABASE %s OWNER %s" % (NAME, USER))
        with open(self.dir + "/data/pg_hba.conf", "w") as f:
            f.write("local all postgres trust\nlocal all all scram-sha-256\n"
                    "host all all 127.0.0.1/32 scram-sha-256\n")
        self.psql("postgres", "SELECT pg_reload_conf()")

    def sql(self, text):
        return self.psql(NAME, text)

    query = sql

    def as_json(self, table):
        return 'SELECT row_to_json(t) FROM (SELECT * FROM "%s" ORDER BY 1, 2, 3) t' % table


class Sqlite:
    """The same as a file. There is no server to suffer."""

    scheme = "sqlite"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="dlgdb.")
        self.path = os.path.join(self.dir, "calls.db")
        atexit.register(self.remove)

    @property
    def url(self):
        return "sqlite://" + self.path

    def connect(self):
        import sqlite3
        db = sqlite3.connect(self.path, timeout=10)
        db.text_factory = lambda b: b.decode("utf-8", "surrogateescape")
        return db

    def sql(self, text):
        db = self.connect()
        try:
            db.executescript(text)
        finally:
            db.close()

    def rows(self, table="dialog"):
        db = self.connect()
        try:
            cursor = db.execute('SELECT * FROM "%s" ORDER BY 1, 2, 3' % table)
            names = [c[0] for c in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
        finally:
            db.close()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        pass

    kill = stop = freeze = thaw = start


KINDS = {"mysql": MySql, "postgres": Postgres, "sqlite": Sqlite}


def start(name, **more):
    return KINDS[name](**more)


def main():
    if sys.argv[1] in ("freeze", "thaw"):
        {"freeze": freeze, "thaw": thaw}[sys.argv[1]](int(sys.argv[2]))
        return
    db = start(sys.argv[1])
    try:
        if len(sys.argv) > 2:
            sys.exit(subprocess.run(sys.argv[2:], env=dict(os.environ, DB_URL=db.url)).returncode)
        print(db.url, flush=True)
        sys.stdin.read()
    finally:
        db.remove()


if __name__ == "__main__":
    main()
