#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of tests does not outlive them, not even when they are killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))


def running_in(directory):
    """Processes whose command line names the directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if os.fsencode(directory) in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Servers(unittest.TestCase):
    def kill_starter(self, kind):
        """Have a program of its own start a server, kill that, and wait for the server to be gone."""
        with tempfile.TemporaryDirectory(prefix="dlgdb.") as scratch:
            os.chmod(scratch, 0o1777)  # servers run as other users
            program = subprocess.Popen([sys.executable, HERE + "/dbserver.py", kind], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=scratch))
            try:
                self.assertIn("://", program.stdout.readline())
                self.assertTrue(running_in(scratch))
                program.kill()
                program.wait(30)
                end = time.monotonic() + 20
                while running_in(scratch) and time.monotonic() < end:
                    time.sleep(0.1)
                self.assertEqual(running_in(scratch), [])
            finally:
                program.kill()
                program.wait()
                program.stdin.close()
                program.stdout.close()
                for pid in running_in(scratch):
                    os.kill(pid, signal.SIGKILL)

    def test_mysql_goes_with_its_starter(self):
        self.kill_starter("mysql")

    def test_postgres_goes_with_its_starter(self):
        self.kill_starter("postgres")


def main():
    result = unittest.main(exit=False, verbosity=0).result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(bad != 0)


main()
