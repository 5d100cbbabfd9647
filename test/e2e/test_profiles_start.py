# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles in the configuration: what is wrong stops the start with one line that says why."""

import unittest

from hosts import Native, dialect, only
from proxy import Proxy
from test_params import our_errors

LISTS = {"profiles_with_value": "caller;trunk", "profiles_no_value": "inb"}
ANY_ROUTE = ("branch_route[X]", "failure_route[X]", "onreply_route[X]", "onreply_route", "event_route[tm:local-request]")


class ProfileNames(unittest.TestCase):
    """profiles_with_value, profiles_no_value."""

    seconds = 20

    def refuse(self, param, value, shown, **others):
        params = dict({param: value}, **others)
        with self.subTest(params={k: v[:40] for k, v in params.items()}):
            log = Proxy(params=params).start_fails()
            ours = our_errors(log)
            self.assertEqual(len(ours), 1, log[-2000:])
            self.assertIn("parameter %s: bad value \"%s\": allowed is " % (param, shown), ours[0])

    def accept(self, with_value, no_value, *names, extra=""):
        """Starts, with exactly these profiles."""
        with self.subTest(with_value=with_value, no_value=no_value):
            params = {"profiles_with_value": with_value, "profiles_no_value": no_value}
            p = Proxy(params={k: v for k, v in params.items() if v is not None}, extra=extra).start()
            try:
                got = p.fifo.cmd("list_all_profiles")
            finally:
                self.assertEqual(p.stop(), [])
            self.assertEqual(got, "200 OK\n" + "".join("%s\n" % n for n in names) + "\n")

    def test_duplicate_names(self):
        self.refuse("profiles_with_value", "a;b;a", "a")
        self.refuse("profiles_no_value", "a ; b ; b", "b")

    def test_name_in_both_lists(self):
        self.refuse("profiles_no_value", "x;a", "a", profiles_with_value="a;b")

    def test_duplicate_in_a_repeated_parameter(self):
        for name, other in (("profiles_with_value", "b"), ("profiles_no_value", "c")):
            log = Proxy(params={"profiles_with_value": "a;b", "profiles_no_value": "c"},
                        extra='modparam("dialog", "%s", "d;%s")\n' % (name, other)).start_fails()
            (line,) = our_errors(log)
            self.assertIn('parameter %s: bad value "%s": allowed is each profile once' % (name, other), line)

    def test_illegal_names(self):
        for name in ("in b", "inb,out", "inb/s", "a=b", "a<b", "a$b", "a(b)", "a:b", "a'b", "*", "\u00fc", "a\tb", "a#b",
                     "a@b", "n" * 65):
            shown = name.replace("\t", ".")  # no control bytes in log lines
            self.refuse("profiles_with_value", name, shown)
            self.refuse("profiles_no_value", "good;%s;better" % name, shown)

    def test_too_many(self):
        self.refuse("profiles_no_value", ";".join("p%d" % n for n in range(1001)), "p1000")
        self.refuse("profiles_no_value", ";".join("q%d" % n for n in range(501)), "q500",
                    profiles_with_value=";".join("p%d" % n for n in range(500)))

    def test_white_space_and_empty_items(self):
        self.accept("caller ; my_profile", "inb ; out", "caller:: 1", "my_profile:: 1", "inb:: 0", "out:: 0")
        self.accept(" \ta\t; ;;b ;", ";;; c ; ", "a:: 1", "b:: 1", "c:: 0")
        for empty in ("", " ", ";", " ; ; ", None):
            self.accept(empty, empty)
            self.accept(empty, "c", "c:: 0")

    def test_names_that_are_allowed(self):
        names = ["1", "0", "-", ".", "_", "a-b.c_D", "A", "a", "with_value", "n" * 64]
        self.accept(";".join(names), None, *("%s:: 1" % n for n in names))

    def test_as_many_as_there_may_be(self):
        names = ["p%d" % n for n in range(1000)]
        self.accept(None, ";".join(names), *("%s:: 0" % n for n in names))

    def test_repeated_parameters_add_up(self):
        self.accept("a;b", "x", "a:: 1", "b:: 1", "c:: 1", "d:: 1", "x:: 0", "y:: 0",
                    extra='modparam("dialog", "profiles_with_value", "c")\nmodparam("dialog", "profiles_with_value", " ;d")\n'
                          'modparam("dialog", "profiles_no_value", "y")\nmodparam("dialog", "profiles_no_value", "")\n')

    def test_wrong_type(self):
        for name in LISTS:
            Proxy(params={name: 5}).start_fails()

    def test_memory(self):
        """Tables for the largest log_profile_hash_size do not fit: said, not crashed on."""
        log = Proxy(params=dict(LISTS, log_profile_hash_size=20), shm=32).start_fails()
        (line,) = our_errors(log)
        self.assertIn("log_profile_hash_size 20", line)
        for size in (1, 10):
            p = Proxy(params=dict(LISTS, log_profile_hash_size=size)).start()
            self.assertEqual(p.stop(), [])


class ProfileScripts(unittest.TestCase):
    """Mistakes in the script."""

    seconds = 40

    def proxy(self, body, route="request_route"):
        text = "request_route { exit; }\n" if route != "request_route" else ""
        return Proxy(params=dict(LISTS), script=text + "%s {\n\t%s\n}\n" % (route, body))

    def refuse(self, body, *said):
        """Not started; one line of ours, with those words."""
        with self.subTest(body=body):
            log = self.proxy(body).start_fails()
            ours = our_errors(log)
            self.assertEqual(len(ours), 1, log[-2000:])
            for words in said:
                self.assertIn(words, ours[0])

    def refuse_by_host(self, body):
        """The number or kind of arguments is wrong: the host says so."""
        with self.subTest(body=body):
            self.proxy(body).start_fails()

    def test_unknown_profiles(self):
        def calls(name, *which):
            for function, rest in which:
                self.refuse('%s("%s"%s);' % (function, name, rest),
                            '%s(): "%s" is not a profile of profiles_with_value or profiles_no_value' % (function, name))
        with_value = [(f, ', "v"') for f in ("set_dlg_profile", "unset_dlg_profile", "is_in_profile")]
        others = [(f, "") for f, _ in with_value] + [
            ("get_profile_size", ', "$var(x)"'), ("get_profile_size", ', "v", "$var(x)"'),
            ("set_dlg_profile_limit", ', "5"'), ("set_dlg_profile_limit", ', "v", "5"')]
        for name in ("nope", ""):
            calls(name, *with_value, *others)
        for name in ("INB", " inb", "inb ", "inb;caller", "inb,trunk"):
            calls(name, *with_value)

    def test_unknown_profiles_in_lists_of_limits(self):
        for text in ("nope <= 5", "inb <= 5; nope = x <= 5", "INB <= 5"):
            self.refuse('set_dlg_profile_limits("%s");' % text, 'set_dlg_profile_limits(): "', '" is not a profile')

    def test_bad_limits(self):
        for limit in ("", "x", "-1", "1.5", "2x", "0x10", "+1", "1 2", "4294967295", "99999999999999999999"):
            said = '"%s" is not a limit (a number from 0 to 4294967294)' % limit
            if limit in dialect(kamailio=(limit,), opensips=("-1",)):  # OpenSIPS itself wants a number there
                self.refuse('set_dlg_profile_limit("inb", "%s");' % limit, "set_dlg_profile_limit(): " + said)
                self.refuse('set_dlg_profile_limit("caller", "$fu", "%s");' % limit, "set_dlg_profile_limit(): " + said)
            if limit:
                self.refuse('set_dlg_profile_limits("inb <= %s");' % limit, "set_dlg_profile_limits(): " + said)

    def test_malformed_lists_of_limits(self):
        for text in ("", " ", ";", "inb", "inb <", "inb <=", "<= 5", "= x <= 5", "inb < 5", "inb >= 5", "inb == 5", "inb 5",
                     "caller = $fu", "caller = $fu <=", "inb <= 5; trunk", "inb <= 5, trunk = gw1", "inb <= 5 trunk = gw1 ;",
                     "; ".join(["inb <= 5"] * 33)):
            self.refuse('set_dlg_profile_limits("%s");' % text, "set_dlg_profile_limits(): \"", " is not a l")

    def test_output_variables(self):
        """The first is the manual's own example, which forgets the size."""
        no_variables = ('"size"', '""', '"$avp(x"')
        for rest in ('"$fu"', '"v", "$fu"', '"$ru"', '"v", "$dlg_val(x)"', '"$DLG_flags"') + dialect(
                kamailio=no_variables, opensips=()):
            self.refuse('get_profile_size("caller", %s);' % rest,
                        "get_profile_size(): " + dialect(
                            kamailio='"%s" is not the name of an AVP or script variable' % rest.split('"')[-2],
                            opensips="the output must be an AVP or script variable"))

    def test_bad_variables(self):
        for body in ('set_dlg_profile("$nosuch", "x");', 'set_dlg_profile("caller", "$nosuch(x)");',
                     'is_in_profile("caller", "$fu(");',
                     'set_dlg_profile_limits("caller = $nosuch <= 5");', 'set_dlg_profile_limits("$nosuch <= 5");'):
            function = body.split("(")[0]
            self.refuse(body, "%s(): unknown variable in \"" % function)

    @only("kamailio", "on OpenSIPS a number is no text with variables in it")
    def test_bad_variable_for_a_limit(self):
        self.refuse('set_dlg_profile_limit("inb", "$nosuch");', 'set_dlg_profile_limit(): unknown variable in "')

    def test_number_of_arguments(self):
        for body in ("set_dlg_profile();", 'set_dlg_profile("inb", "v", "5");', "unset_dlg_profile();",
                     'unset_dlg_profile("caller", "v", "w");', "is_in_profile();", 'is_in_profile("caller", "v", "w");',
                     "get_profile_size();", 'get_profile_size("inb");', 'get_profile_size("caller", "v", "$var(x)", "y");',
                     'set_dlg_profile_limit("inb");', 'set_dlg_profile_limit("caller", "v", "5", "6");',
                     "set_dlg_profile_limits();", 'set_dlg_profile_limits("inb <= 5", "caller <= 6");'):
            self.refuse_by_host(body)

    @only("kamailio", "OpenSIPS has another idea of quotes, see the next test")
    def test_without_quotes_where_constants_must_be(self):
        """Output variables and lists of limits are no expressions."""
        for body in ("get_profile_size(\"inb\", $var(x));", "get_profile_size(\"caller\", $fu, $avp(x));",
                     "set_dlg_profile_limits($var(x));"):
            self.refuse_by_host(body)

    @only("opensips", "Kamailio has another idea of quotes, see the test before")
    def test_quotes_where_numbers_and_variables_must_be(self):
        for body in ('get_profile_size("inb", , "$var(x)");', 'get_profile_size("inb", "$var(x)");',
                     'set_dlg_profile_limit("inb", , "5");', 'set_dlg_profile_limit("inb", "5");',
                     "set_dlg_profile_limits($var(x));", 'set_dlg_profile("caller", 5);', "set_dlg_flag(3);",
                     'fetch_dlg_value("a", "$var(x)");'):
            with self.subTest(body=body):
                Proxy(params=dict(LISTS), script=Native("route {\n%s\n}\n" % body)).start_fails()

    def test_everything_that_is_allowed(self):
        """All functions in all routes, with constants and variables, quoted or not."""
        body = """
	set_dlg_profile("inb"); set_dlg_profile("inb", "v"); set_dlg_profile("caller", "$fu"); set_dlg_profile("caller");
	set_dlg_profile("caller", ""); set_dlg_profile("$var(p)", "a $ci b"); set_dlg_profile($var(p), $fU);
	unset_dlg_profile("inb"); unset_dlg_profile("caller"); unset_dlg_profile("caller", "$fu"); unset_dlg_profile($var(p));
	if (is_in_profile("inb")) { $var(y) = 1; }
	if (!is_in_profile("caller", "XX")) { $var(y) = 1; }
	if (is_in_profile($var(p), %s)) { $var(y) = 1; }
	get_profile_size("inb", "$avp(size)"); get_profile_size("caller", "$fu", "$avp(size)");
	get_profile_size("caller", "$var(size)"); get_profile_size("$var(p)", "", "$avp(i:3)");
	if (set_dlg_profile_limit("inb", "5")) { $var(y) = 1; }
	if (set_dlg_profile_limit("caller", "$fu", "5")) { $var(y) = 1; }
	set_dlg_profile_limit("caller", "x", "$var(max)"); set_dlg_profile_limit($var(p), $fu, 5); set_dlg_profile_limit("inb", 0);
	set_dlg_profile_limit("inb", "%s");
	set_dlg_profile_limits("caller = $fu <= 2; trunk = gw1 <= 100; caller <= 5000");
	set_dlg_profile_limits(" ;inb<=0; ;$var(p) = $(fu{s.tolower}) x <= $var(max) ");
	set_dlg_profile_limits("caller = a = b <= 3");
	set_dlg_profile_limits("%s");
""" % (dialect(kamailio='$var(v) + "x"', opensips="$var(v)"), dialect(kamailio="4294967294", opensips="2147483647"),
       ";".join(["inb <= 5"] * 32))
        script = "request_route { %s }\n" % body
        for route in ANY_ROUTE:
            script += "%s {\n%s\n}\n" % (route, body)
        p = Proxy(params=dict(LISTS), script=script).start()
        self.assertEqual(p.stop(), [])
