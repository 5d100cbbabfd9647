#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Ask the source tree that the installed OpenSIPS was built in how its modules are compiled. Usage:
# OPENSIPS_SRC=/tree headers.sh DIR. Writes DIR/opensips.mk.
#
# OpenSIPS refuses modules of another version, of another revision or with other flags: hence that
# very tree, with the Makefile.conf it was built with, and no flags written by hand.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
mk=$(cd "$1" && pwd)/opensips.mk

say() { echo "$*" >&2; }

probe() {
	make -s --no-print-directory -C "$src" -f "$here/probe.mk" V="$1" print | sed -n 's/^@@//p'
}

src=${OPENSIPS_SRC-}
[ -n "$src" ] || { say "OPENSIPS_SRC must name the source tree OpenSIPS was built in."; exit 1; }
[ -f "$src/sr_module.h" ] || { say "OPENSIPS_SRC: there is no OpenSIPS source tree in $src."; exit 1; }
src=$(cd "$src" && pwd)
defs=$(probe DEFS)
[ -n "$defs" ] || { say "OpenSIPS' makefiles in $src do not tell their flags."; exit 1; }
cat >"$mk.new" <<EOF
HOST_CFLAGS = $(probe MOD_CFLAGS) $defs -isystem $src
HOST_LDFLAGS = $(probe MOD_LDFLAGS)
host_name = '\$(1)'
host_symbols = exports
EOF
if cmp -s "$mk.new" "$mk"; then
	rm "$mk.new" # nothing is to be compiled again
else
	mv "$mk.new" "$mk"
fi
