#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Install the Debian packages that are missing, and say which. Usage: ./setup.sh [build|test|lint|bench]
# "build": what `make` and `make run` need. "test" (default): what `make test` needs on top of that.
# "lint": everything for `make lint` and `make fuzz`. "bench": what `make bench` needs.
# As an ordinary user without password-less sudo it only prints the command to run.
set -eu

build="gcc make libc6-dev dpkg-dev ca-certificates netbase kamailio"
build="$build libsqlite3-dev libmariadb-dev libpq-dev libncurses-dev"
test="$build pkg-config check sip-tester python3 mariadb-server postgresql"
test="$test tmux man-db groff"
lint="$test clang clang-tidy libclang-rt-dev afl++ cppcheck shellcheck"
bench="$test kamailio-mysql-modules kamailio-postgres-modules kamailio-sqlite-modules valgrind gnuplot-nox"

case "${1-test}" in
build) wanted=$build ;;
test) wanted=$test ;;
lint) wanted=$lint ;;
bench) wanted=$bench ;;
*) echo "usage: $0 [build|test|lint|bench]" >&2; exit 2 ;;
esac

missing=
for p in $wanted; do
	case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || :)" in
	*" installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

line="apt-get install --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
	as_root=
elif sudo -n true 2>/dev/null; then
	as_root="sudo -n"
else
	printf 'Packages are missing. As root, please run:\n\n\tapt-get update && %s\n\n' "$line" >&2
	exit 1
fi

echo "Installing Debian packages:$missing"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@"; }
# shellcheck disable=SC2086
install() { apt install --no-install-recommends $missing "$@"; }
install --simulate >/dev/null 2>&1 || apt update # no package lists yet
install || { apt update && install; }            # or old ones

# These packages start a server of their own; nobody asked for that one.
for service in kamailio mariadb postgresql; do
	case "$missing" in *"$service"*)
		if [ -d /run/systemd/system ]; then
			echo "Disabling the service $service that its package has just enabled."
			$as_root systemctl disable --now "$service"
		fi ;;
	esac
done
