#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run the OpenSIPS of the tree OPENSIPS_SRC in the foreground, on loopback, with our module and
# etc/opensips.cfg. Usage: run.sh /absolute/path/of/dialog.so. Environment: OPENSIPS_SRC, SIP_PORT
# (5060), CALLEE_PORT (5070), RUN_DIR (build/opensips/run), OPENSIPS_ARGS (more options),
# DIALOG_PRELOAD (for a sanitized module).
set -eu

module=$1
port=${SIP_PORT:-5060}
callee=${CALLEE_PORT:-5070}
top=$(cd "$(dirname "$0")/../.." && pwd)
src=$(cd "$OPENSIPS_SRC" && pwd)
dir=${RUN_DIR:-$top/build/opensips/run}
mkdir -p "$dir/modules"
dir=$(cd "$dir" && pwd)
find "$src/modules" -name '*.so' -exec ln -sf {} "$dir/modules" \;

cat <<EOF

OpenSIPS with $module
SIP on udp and tcp 127.0.0.1:$port; Control-C ends it. In another terminal:

  call    sipp -sn uas -i 127.0.0.1 -p $callee -bg                            a phone that answers
          sipp -sn uac -i 127.0.0.1 -s test -m 1 -d 60000 127.0.0.1:$port     a call of a minute
  list    ${module%/*}/dlgctl --fifo $dir/dialog_fifo --reply-dir $dir list
          (also: watch, show, end, stats ...; see --help)
          opensips-cli, with fifo_file $dir/opensips_fifo: mi dlg_list
  save    kill -9 the proxy in a call, run it again: the call goes on
          sqlite3 $dir/calls.db 'select callid, state from dialog'

EOF

[ -z "${DIALOG_PRELOAD-}" ] || export LD_PRELOAD="$DIALOG_PRELOAD" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
sed -e "s,^loadmodule \"/usr/local.*,loadmodule \"$module\"," \
	-e "s,^loadmodule \"proto_udp,mpath=\"$dir/modules/\"\n&," \
	-e "s,/run/opensips/,$dir/,; s,/var/lib/opensips/,$dir/,; s,\"/tmp/\",\"$dir/\"," \
	-e "s,127.0.0.1:5060,127.0.0.1:$port,; s,127.0.0.1:5070,127.0.0.1:$callee," \
	"$top/etc/opensips.cfg" >"$dir/opensips.cfg"
# shellcheck disable=SC2086
exec "$src/opensips" -F -f "$dir/opensips.cfg" -w "$dir" -P "$dir/opensips.pid" ${OPENSIPS_ARGS-}
