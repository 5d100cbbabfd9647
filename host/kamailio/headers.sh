#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Get the headers of the installed Kamailio, and ask its source tree how its modules are compiled.
# Usage: headers.sh DIR. Writes DIR/kamailio-<version>/ and DIR/kamailio.mk. Needs no root.
#
# Kamailio refuses modules of another version or with other flags: hence exactly the installed
# version, and no flags written by hand. The source package is fetched with apt from the machine's
# own package sources, with lists and caches in DIR, so that "deb-src" lines need not be there and
# nothing outside DIR changes. KAMAILIO_SRC=/path/to/kamailio/src takes a compiled tree
# that is there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)

say() { echo "$*" >&2; }

# Run apt-get in its private state: the machine's sources, asked for source packages only.
private_apt() {
	apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/apt/sources" \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" \
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@" >>"$dir/apt/log" 2>&1
}

copy_sources() {
	rm -rf "$dir/apt"
	mkdir -p "$dir/apt/sources" "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -r "$f" ] || sed -n -E 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' "$f"
	done | sort -u >"$dir/apt/sources/all.list"
	for f in /etc/apt/sources.list.d/*.sources; do
		[ ! -r "$f" ] || sed -E 's/^Types:.*/Types: deb-src/' "$f" >"$dir/apt/sources/${f##*/}"
	done
}

# Download into the current directory: the exact version, else the newest if its upstream version
# is the same.
download() {
	say "Fetching the source package of kamailio $1 (only its headers are kept)..."
	copy_sources
	private_apt update || : # a third-party source without source packages is no reason to stop
	private_apt source --download-only "kamailio=$1" && return
	if private_apt source --download-only kamailio &&
		[ -n "$(ls "kamailio_${1%-*}"-*.dsc 2>/dev/null)" ]; then
		say "Taking another Debian revision of the same version: $(ls ./*.dsc)"
		return
	fi
	tail -n 20 "$dir/apt/log" >&2
	say "No source package to be had (the log is $dir/apt/log). Is there a network," \
		"and a Debian mirror in the machine's package sources?"
	exit 1
}

# Headers and makefiles out of the tarball, then those Debian patches that concern them.
unpack() {
	tar -xf kamailio_*.orig.tar.* --wildcards --strip-components=1 \
		'*/src/Makefile*' '*/src/core/*.h' '*/src/lib/*.h' \
		'*/src/modules/tm/*.h' '*/src/modules/rr/*.h' '*/src/modules/sl/*.h'
	tar -xf kamailio_*.debian.tar.* debian/patches
	grep '^[^#]' debian/patches/series | while read -r p; do
		files=$(sed -n 's/^+++ b.\([^[:space:]]*\).*/\1/p' "debian/patches/$p")
		# shellcheck disable=SC2086
		! ls $files >/dev/null 2>&1 || patch -s -p1 <"debian/patches/$p"
	done
}

fetch() {
	rm -rf "$dir/fetch"
	mkdir "$dir/fetch"
	cd "$dir/fetch"
	download "$1"
	unpack
	rm -f kamailio_*
	cd "$dir"
	rm -rf "$2"
	mv "$dir/fetch" "$2"
	rm -rf "$dir/apt"
}

# The value of a variable of Kamailio's makefiles. One of the flags they derive from whether
# libssl-dev is installed; what counts is whether it was when the binary was built.
probe() {
	make -s --no-print-directory -C "$src" -f "$here/probe.mk" V="$1" LIBSSL_PKGCONFIG= \
		LIBSSL_SET_MUTEX_SHARED="$mutex_shared" print | sed -n 's/^@@//p'
}

src=${KAMAILIO_SRC-}
if [ -z "$src" ]; then
	version=$(dpkg-query -W -f '${source:Version}' kamailio)
	src=$1/kamailio-$version/src # as DIR was given: a copied tree must not point into the original
	[ -d "$src" ] || (fetch "$version" "$dir/kamailio-$version")
fi
[ -z "${KAMAILIO_SRC-}" ] || PATH=$KAMAILIO_SRC:$PATH # its binary, too
mutex_shared=$(PATH=$PATH:/usr/sbin kamailio -v | sed -n 's/.*TLS_PTHREAD_MUTEX_SHARED.*/1/p')
defs=$(probe C_DEFS)
[ -n "$defs" ] || { say "Kamailio's makefiles in $src do not tell their flags."; exit 1; }
cat >"$dir/kamailio.mk.new" <<EOF
HOST_CFLAGS = $(probe MOD_CFLAGS) $defs -isystem $src
HOST_LDFLAGS = $(probe MOD_LDFLAGS)
host_name = '"\$(1)"'
host_symbols = exports module_flags module_interface_ver module_version
EOF
if [ -n "${KAMAILIO_SRC-}" ] && cmp -s "$dir/kamailio.mk.new" "$dir/kamailio.mk"; then
	rm "$dir/kamailio.mk.new" # nothing is to be compiled again
else
	mv "$dir/kamailio.mk.new" "$dir/kamailio.mk"
fi
