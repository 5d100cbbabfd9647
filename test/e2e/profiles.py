# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of profiles share: a script that does what headers of a message ask for."""

import re
import time

from base import DOWN, SLOW, ProxyCase
from hosts import dialect

# Operation number i is the i-th X-Op of the message, with the i-th X-P (profile), X-V (value) and
# X-L (limit). X-At names the place (initial, seq, branch, failure) that carries them out; without
# it, it is the request route. A reply has operations of its own.
OPS = """
route[OPS] {
	if (is_present_hf("X-At")) {
		if ($hdr(X-At) != $var(at) && $var(at) != "reply") return;
	} else if ($var(at) == "branch" || $var(at) == "failure") return;
	$var(i) = 0;
	while ($(hdr(X-Op)[$var(i)]) != $null) {
		$var(p) = $(hdr(X-P)[$var(i)]);
		$var(size) = "unset";
		$avp(size) = "unset";
		switch ($(hdr(X-Op)[$var(i)])) {
		case "set1":
			set_dlg_profile("$var(p)");
			$var(rc) = $rc;
			break;
		case "set2":
			set_dlg_profile("$var(p)", "$(hdr(X-V)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "set-null":
			set_dlg_profile("$var(p)", "$hdr(Nope)");
			$var(rc) = $rc;
			break;
		case "set-hex":
			set_dlg_profile("$var(p)", "$(hdr(X-V)[$var(i)]{s.decode.hexa})");
			$var(rc) = $rc;
			break;
		case "set-in-text":
			set_dlg_profile("$var(p)", "<$(hdr(X-V)[$var(i)])>");
			$var(rc) = $rc;
			break;
		case "set-expression":
			@EXPRESSION@
			$var(rc) = $rc;
			break;
		case "set-null-expression":
			set_dlg_profile($var(p), $hdr(Nope));
			$var(rc) = $rc;
			break;
		case "set-number":
			set_dlg_profile($var(p), 42);
			$var(rc) = $rc;
			break;
		case "set-1000":
			$var(n) = 0;
			while ($var(n) < 1000) {
				set_dlg_profile("$var(p)", "$var(n)");
				$var(rc) = $rc;
				$var(n) = $var(n) + 1;
			}
			break;
		case "set-huge":
			$var(huge) = $(hdr(X-V)[$var(i)]) + $(hdr(X-V)[$var(i)]);
			$var(huge) = $var(huge) + $var(huge);
			set_dlg_profile("$var(p)", "$var(huge)");
			$var(rc) = $rc;
			break;
		case "unset1":
			unset_dlg_profile("$var(p)");
			$var(rc) = $rc;
			break;
		case "unset2":
			unset_dlg_profile("$var(p)", "$(hdr(X-V)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "unset-null":
			unset_dlg_profile("$var(p)", "$hdr(Nope)");
			$var(rc) = $rc;
			break;
		case "in1":
			is_in_profile("$var(p)");
			$var(rc) = $rc;
			break;
		case "in2":
			is_in_profile("$var(p)", "$(hdr(X-V)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "in-null":
			is_in_profile("$var(p)", "$hdr(Nope)");
			$var(rc) = $rc;
			break;
		case "size1":
			get_profile_size("$var(p)", "$var(size)");
			$var(rc) = $rc;
			break;
		case "size2":
			get_profile_size("$var(p)", "$(hdr(X-V)[$var(i)])", "$avp(size)");
			$var(rc) = $rc;
			$var(size) = $avp(size);
			break;
		case "size-null":
			get_profile_size("$var(p)", "$hdr(Nope)", "$var(size)");
			$var(rc) = $rc;
			break;
		case "size-plus-one":
			get_profile_size("$var(p)", "$var(size)");
			get_profile_size("$var(p)", "$avp(size)");
			$var(rc) = $var(size) == $avp(size);
			$var(size) = $var(size) + $avp(size) + 1;
			break;
		case "limit1":
			set_dlg_profile_limit("$var(p)", "$(hdr(X-L)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "limit2":
			set_dlg_profile_limit("$var(p)", "$(hdr(X-V)[$var(i)])", "$(hdr(X-L)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "limit-null":
			set_dlg_profile_limit("$var(p)", "$hdr(Nope)", "$(hdr(X-L)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "limits":
			set_dlg_profile_limits("$var(p) = $(hdr(X-V)[$var(i)]) <= $(hdr(X-L)[$var(i)])");
			$var(rc) = $rc;
			break;
		case "bound":
			set_dlg_profile_limits("$var(p) <= $(hdr(X-L)[$var(i)])");
			$var(rc) = $rc;
			break;
		default:
			$var(rc) = "unknown operation";
		}
		xlog("L_NOTICE", "OP [$ci] at=$var(at) m=$rm i=$var(i) rc=$var(rc) size=$var(size)\\n");
		$var(i) = $var(i) + 1;
	}
}
""".replace("@EXPRESSION@", dialect(
    kamailio='set_dlg_profile($var(p), $(hdr(X-V)[$var(i)]) + "!");',
    opensips='set_dlg_profile($var(p), "$(hdr(X-V)[$var(i)])!");'))


def at(place):
    return '$var(at) = "%s";\n\troute(OPS);\n' % place


HOOKS = {
    "initial": 'record_route();\n\tif (!is_present_hf("X-No-Dialog")) create_dialog();\n\t' + at("initial"),
    "seq": at("seq"),
    "branch": at("branch"),
    "reply": at("reply"),
    "failure": at("failure"),
}


def ops(*wanted, place=None):
    """Headers for operations: (name, profile[, value[, limit]]); None stands for nothing."""
    out = [["X-At", place]] if place else []
    for w in wanted:
        name, profile, value, limit = (tuple(w) + (None, None))[:4]
        out += [["X-Op", name], ["X-P", profile], ["X-V", "" if value is None else value],
                ["X-L", "" if limit is None else str(limit)]]
    return out


class ProfileCase(ProxyCase):
    params = {"profiles_with_value": "caller;trunk;emptv", "profiles_no_value": "inb;outb;empt"}
    hooks = HOOKS
    options = {"extra": OPS}

    # -- counts

    def size(self, profile, value=None):
        """Memberships, as the FIFO says."""
        args = [profile] if value is None else [profile, value]
        text = self.proxy.fifo.cmd("profile_get_size", *args)
        m = re.fullmatch(r"200 OK\nprofile::  name=%s value=.* count=(\d+)\n\n" % re.escape(profile), text)
        self.assertTrue(m, "profile_get_size %r: %r" % (args, text))
        return int(m.group(1))

    def wait_size(self, want, profile, value=None, timeout=3.0):
        end = time.monotonic() + timeout * SLOW
        while True:
            got = self.size(profile, value)
            if got == want:
                return
            if time.monotonic() > end:
                self.assertEqual(got, want, "%s %s" % (profile, value))
            time.sleep(0.01)

    def profiles_of(self, call):
        """What the dialog is in, newest first, as dlg_list_ctx says."""
        return [v for n, v in self.dialog(call, "dlg_list_ctx")["context"] if n == "profile"]

    # -- what the script said

    def results(self, call, n, place=None, method=None, mark=None, timeout=3.0):
        """(rc, size) of the first n operations there since the mark."""
        rx = re.compile(r"OP \[%s\] at=%s m=%s i=\d+ rc=(.*) size=(.*)" % (
            re.escape(getattr(call, "call_id", call)), place or r"\w+", method or r"\w+"))
        end = time.monotonic() + timeout * SLOW
        while True:
            got = rx.findall(self.proxy.log_since(self.mark if mark is None else mark))
            if len(got) >= n:
                return [(int(rc), size if size == "unset" else int(size)) for rc, size in got[:n]]
            if time.monotonic() > end:
                self.fail("%d of %d operations at %s %s:\n%s" % (
                    len(got), n, place, method, self.proxy.log_since(self.mark)[-3000:]))
            time.sleep(0.01)

    def do(self, call, *wanted, way=DOWN, method="INFO"):
        """Carry out operations in a sequential request; what each returned."""
        mark = self.proxy.log_mark()
        call.exchange(method, way, headers=ops(*wanted))
        return [rc for rc, _ in self.results(call, len(wanted), "seq", method, mark)]

    def ask(self, call, *wanted, way=DOWN, method="INFO"):
        """As do(), for get_profile_size: the sizes."""
        mark = self.proxy.log_mark()
        call.exchange(method, way, headers=ops(*wanted))
        got = self.results(call, len(wanted), "seq", method, mark)
        self.assertEqual({rc for rc, _ in got}, {1})
        return [size for _, size in got]

    def logged(self, pattern):
        return self.proxy.wait_log(pattern, self.mark)

    # -- calls

    def up(self, *wanted, early=False, **kw):
        """An answered call that carried out operations in its INVITE."""
        return self.call(**kw).setup(early=early, headers=ops(*wanted))

    def ringing(self, *wanted, **kw):
        c = self.call(**kw)
        c.ring(headers=ops(*wanted))
        c.answer(180)
        c.got(180)
        return c
