# SPDX-License-Identifier: GPL-2.0-or-later
"""Module parameters and script mistakes: what is wrong stops the start with one clear line."""

import os
import re
import stat
import unittest

from hosts import dialect, host
from proxy import MODULE, Proxy
from sip import Call

BAD_INTS = {
    "hash_size": (0, -1, 3, 1000, 33554432, -4096),
    "log_profile_hash_size": (0, -1, 31),
    "dlg_match_mode": (3, 7, -1),
    "default_timeout": (0, -1),
    "setup_timeout": (0, -5),
    "ack_timeout": (-1,),
    "timeout_bye_rate": (-1,),
    "dlg_flag": (32, 99, -2),
    "bye_on_timeout_flag": (32, -2),
    "fifo_mode": (0o1000, -1),
}

BAD_TEXTS = {
    "rr_param": ("", "a b", "x;y", "x=y", "lr", "LR", "r2", "ftag", "x>", "x\\r\\ny", "n" * 100),
    "timeout_avp": ("", "i:10", "avp(s:to)", "text", "$ru", "$rU", "$avp(s:to", "$avp(s:to) x", "$nosuch(x)", "42"),
    "dlg_extra_hdrs": ("", "X: y", "X: y\\n", "abc\\r\\n", "\\r\\n", "X: y\\r\\n\\r\\n", ": y\\r\\n", "X y: z\\r\\n",
                       "X: y\\r\\nrubbish\\r\\n"),
    "fifo_name": ("relative/name",),
    "reply_dir": ("relative/", ),
}

GOOD = (
    {"hash_size": 1}, {"hash_size": 2}, {"hash_size": 65536}, {"log_profile_hash_size": 1}, {"log_profile_hash_size": 20},
    {"rr_param": "x-y"}, {"rr_param": "z"}, {"dlg_flag": 0}, {"dlg_flag": 31, "bye_on_timeout_flag": 31},
    {"dlg_flag": -1, "bye_on_timeout_flag": -1}, {"timeout_avp": "$avp(i:10)"}, {"timeout_avp": "$avp(s:to)"},
    {"timeout_avp": "$avp(to)"}, {"timeout_avp": "$var(x)"}, {"default_timeout": 1}, {"default_timeout": 2147483647},
    {"dlg_extra_hdrs": "X: y\\r\\n"}, {"dlg_extra_hdrs": "X: y\\r\\n folded\\r\\nZ:\\r\\n"},
    {"dlg_match_mode": 0}, {"dlg_match_mode": 1}, {"dlg_match_mode": 2}, {"ack_timeout": 0}, {"fifo_name": None},
    {"timeout_bye_rate": 0}, {"enable_stats": 2}, {"enable_stats": -1}, {"enable_stats": 0},
)


def our_errors(log):
    return [line for line in log.splitlines() if re.search(host.ours("ERROR"), line)]


class BadParameters(unittest.TestCase):
    seconds = 30

    def refuse(self, name, value):
        log = Proxy(params={name: value}).start_fails()
        ours = our_errors(log)
        self.assertEqual(len(ours), 1, "%s=%r:\n%s" % (name, value, log))
        self.assertIn(name, ours[0])
        shown = value if isinstance(value, int) else re.split(r"\\", value)[0][:40]
        self.assertIn(str(shown), ours[0])
        self.assertRegex(ours[0], "allowed")

    def refuse_all(self, name):
        for value in BAD_INTS.get(name, ()) + BAD_TEXTS.get(name, ()):
            with self.subTest(value=value):
                self.refuse(name, value)

    def test_d02_hash_size(self):
        self.refuse_all("hash_size")

    def test_d02_log_profile_hash_size(self):
        self.refuse_all("log_profile_hash_size")

    def test_dlg_match_mode(self):
        self.refuse_all("dlg_match_mode")

    def test_timeouts(self):
        for name in ("default_timeout", "setup_timeout", "ack_timeout"):
            self.refuse_all(name)

    def test_flags(self):
        self.refuse_all("dlg_flag")
        self.refuse_all("bye_on_timeout_flag")

    def test_d22_rr_param(self):
        self.refuse_all("rr_param")

    def test_d22_timeout_avp(self):
        self.refuse_all("timeout_avp")

    def test_d17_d22_dlg_extra_hdrs(self):
        self.refuse_all("dlg_extra_hdrs")

    def test_fifo_parameters(self):
        for name in ("fifo_mode", "fifo_name", "reply_dir"):
            self.refuse_all(name)

    def test_fifo_name_of_a_file_that_is_no_fifo(self):
        p = Proxy()
        with open(p.fifo.path, "w") as f:
            f.write("precious")
        kept = p.fifo.path
        p.spawn()
        code = p.proc.wait(10)
        log = p.log()
        with open(kept) as f:
            self.assertEqual(f.read(), "precious")
        p.kill()
        self.assertNotEqual(code, 0)
        self.assertEqual(len(our_errors(log)), 1, log)
        self.assertIn("no FIFO", our_errors(log)[0])

    def test_fifo_in_a_directory_that_does_not_exist(self):
        log = Proxy(params={"fifo_name": "/nonexistent/dir/fifo"}).start_fails()
        self.assertEqual(len(our_errors(log)), 1, log)

    def test_wrong_type_and_unknown_name(self):
        for params in ({"hash_size": "1024"}, {"rr_param": 5}, {"no_such_parameter": 1}):
            with self.subTest(params=params):
                Proxy(params=params).start_fails()

    def test_several_mistakes_are_all_named(self):
        log = Proxy(params={"hash_size": 3, "dlg_match_mode": 9, "rr_param": "a b"}).start_fails()
        self.assertEqual(len(our_errors(log)), 3, log)

    def test_not_enough_shared_memory(self):
        log = Proxy(params={"hash_size": 16777216}, shm=32).start_fails()
        self.assertEqual(len(our_errors(log)), 1, log)
        self.assertIn("hash_size", our_errors(log)[0])

    def test_modules_it_needs(self):
        for missing in ("tm", "rr"):
            with self.subTest(missing=missing):
                p = Proxy(script="request_route { exit; }\n")
                p.choose_ports()
                text = "\n".join(line for line in p.config().splitlines() if not re.search(
                    r'"(\w+/)?(%s|tmx)\.so"|modparam\("tm"' % missing, line))
                p.config = lambda t=text: t + "\n"
                log = p.start_fails()
                lines = dialect(kamailio=our_errors(log), opensips=log.splitlines())  # its core looks after that
                said = dialect(kamailio=missing, opensips="module dialog depends on module %s, " % missing)
                self.assertTrue(any(said in line for line in lines), log)


class GoodParameters(unittest.TestCase):
    seconds = 25

    def test_all(self):
        for params in GOOD:
            with self.subTest(params=params):
                p = Proxy(params=params).start()
                self.assertEqual(os.path.exists(p.fifo.path), "fifo_name" not in params)
                c = Call(p)
                c.setup()
                c.hangup()
                c.close()
                self.assertEqual(p.stop(), [])

    def test_fifo_mode(self):
        for mode in (0o600, 0o660, 0o666, 0o620):
            p = Proxy(params={"fifo_mode": mode}).start()
            try:
                st = os.stat(p.fifo.path)
                self.assertTrue(stat.S_ISFIFO(st.st_mode))
                self.assertEqual(stat.S_IMODE(st.st_mode), mode)
            finally:
                self.assertEqual(p.stop(), [])

    def test_an_old_fifo_is_replaced(self):
        p = Proxy()
        os.mkfifo(p.fifo.path)
        before = os.stat(p.fifo.path).st_ino
        p.start()
        try:
            self.assertEqual(p.fifo.cmd("dlg_list"), "200 OK\n\n")
        finally:
            self.assertEqual(p.stop(), [])
        self.assertTrue(before)


class Scripts(unittest.TestCase):
    """Mistakes in the script are found at start."""

    seconds = 15

    def script(self, body, route="request_route"):
        text = "request_route { exit; }\n" if route != "request_route" else ""
        return text + "%s {\n\t%s\n}\n" % (route, body)

    def refuse(self, body, route="request_route"):
        with self.subTest(body=body, route=route):
            Proxy(script=self.script(body, route)).start_fails()

    def test_d22_flag_index(self):
        for index in ('"32"', '"-1"', '"abc"', '""', '"4294967299"', '"99999999999999999999"', '"3x"', '32'):
            self.refuse("set_dlg_flag(%s);" % index)
        self.refuse('is_dlg_flag_set("32");')
        self.refuse('reset_dlg_flag("33");')

    def test_output_variable(self):
        for var in ("$ru", "$fU", "$dlg_val(b)", "text", "$DLG_flags"):
            self.refuse('fetch_dlg_value("a", "%s");' % var)

    def test_number_of_arguments(self):
        for body in ('create_dialog("x");', "set_dlg_flag();", 'store_dlg_value("a");', 'fetch_dlg_value("a");',
                     'validate_dialog("1");'):
            self.refuse(body)

    def test_routes(self):
        for route in ("branch_route[X]", "failure_route[X]", "onreply_route[X]"):
            for body in ("create_dialog();", "validate_dialog();"):
                self.refuse(body, route)

    def test_read_only_variables(self):
        for var in ("$DLG_status", "$DLG_count", "$DLG_lifetime", "$DLG_dir"):
            self.refuse("%s = 1;" % var)

    def test_everything_that_is_allowed(self):
        """All functions in all routes the manual lists, with variables, quoted or not."""
        body = """
	set_dlg_flag("3"); set_dlg_flag(3); reset_dlg_flag("$var(i)"); if (is_dlg_flag_set("0")) { return; }
	store_dlg_value("a b", "$ci-$var(x)"); store_dlg_value("$var(n)", "v"); fetch_dlg_value("a b", "$avp(i:2)");
	fetch_dlg_value("a", "$var(account)"); fetch_dlg_value("$var(n)", "$avp(x)");
	$dlg_val(x) = "1"; $dlg_val("x") = "2"; $dlg_val('x') = $null; $dlg_val($var(n)) = $ci; $DLG_flags = 7;
	$var(y) = $DLG_count + $DLG_flags;
	if ($DLG_status != $null && $DLG_dir == "UPSTREAM" && $DLG_lifetime > 5) { return; }
"""
        script = "request_route { create_dialog(); validate_dialog(); %s }\n" % body
        for route in ("branch_route[X]", "failure_route[X]", "onreply_route[X]", "onreply_route",
                      "event_route[tm:local-request]"):
            script += "%s {\n%s\n}\n" % (route, body)
        p = Proxy(script=script).start()
        self.assertEqual(p.stop(), [])


class NoLoadDlg(unittest.TestCase):
    """We never export load_dlg: modules that can live without a dialog module do, beside ours."""

    seconds = 5

    def test_symbols(self):
        with open(MODULE, "rb") as f:
            self.assertNotIn(b"\0load_dlg\0", f.read())

    def test_stock_modules_beside_ours(self):
        p = Proxy(after=dialect(
            kamailio=[("acc.so", []), ("uac.so", [("uac", "restore_mode", "none")]),
                      ("siptrace.so", [("siptrace", "trace_to_database", 0), ("siptrace", "duplicate_uri", "sip:127.0.0.1:9")]),
                      ("nat_traversal.so", [])],
            opensips=[("acc.so", []), ("uac_auth.so", []), ("uac.so", [("uac", "restore_mode", "none")]),
                      ("topology_hiding.so", []), ("nathelper.so", []),
                      ("rtpproxy.so", [("rtpproxy", "rtpproxy_sock", "udp:127.0.0.1:9")])]))
        p.allow("rtpproxy")  # there is none
        p.start()
        c = Call(p)
        c.setup()
        c.hangup()
        c.close()
        self.assertEqual(p.stop(), [])
