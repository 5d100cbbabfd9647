#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run the packaged Kamailio in the foreground, on loopback, with our module and etc/kamailio.cfg.
# Usage: run.sh /absolute/path/of/dialog.so. Environment: SIP_PORT (5060), CALLEE_PORT (5070),
# RUN_DIR (build/run), KAMAILIO_ARGS (more options), DIALOG_PRELOAD (for a sanitized module).
set -eu

module=$1
port=${SIP_PORT:-5060}
callee=${CALLEE_PORT:-5070}
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${RUN_DIR:-$top/build/run}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ ${#dir} -lt 90 ] || dir=$(mktemp -d) # names of Unix sockets end at 107 bytes
PATH=$PATH:/usr/sbin:/sbin # where Debian has it, and no ordinary user's PATH

cat <<EOF

Kamailio with $module
SIP on udp and tcp 127.0.0.1:$port; Control-C ends it. In another terminal:

  call    sipp -sn uas -i 127.0.0.1 -p $callee -bg                            a phone that answers
          sipp -sn uac -i 127.0.0.1 -s test -m 1 -d 60000 127.0.0.1:$port     a call of a minute
  list    /usr/sbin/kamcmd -s unix:$dir/ctl dlg_list
          or through the FIFO, into a FIFO of your own:
          cd $dir && mkfifo r
          cat r & printf ':dlg_list:r\n\n' >dialog_fifo; wait
  end     /usr/sbin/kamcmd -s unix:$dir/ctl dlg_end_dlg H_ENTRY H_ID
          with the two numbers of "hash" in the list
  save    kill -9 the proxy in a call, "make run" again: the call goes on
          sqlite3 $dir/calls.db 'select callid, state from dialog'
  calls   tail -f $dir/calls.json                                  the finished ones

Two phones that register and call each other: see README.

EOF

[ -z "${DIALOG_PRELOAD-}" ] || export LD_PRELOAD="$DIALOG_PRELOAD" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
# shellcheck disable=SC2086
exec kamailio -DD -E -f "$top/etc/kamailio.cfg" -Y "$dir" -P "$dir/kamailio.pid" \
	-A "LISTEN=127.0.0.1:$port" \
	-A "DIALOG_MODULE=\"$module\"" \
	-A "CDR_MODULE=\"${module%/*}/dlg_cdr.so\"" -A "CDR_FILE=\"$dir/calls.json\"" \
	-A "FIFO_NAME=\"$dir/dialog_fifo\"" -A "REPLY_DIR=\"$dir/\"" \
	-A "DB_URL=\"sqlite://$dir/calls.db\"" -A "JOURNAL_DIR=\"$dir/journal\"" \
	-A "CTL_SOCKET=\"unix:$dir/ctl\"" \
	-A "TEST_CALLEE=\"sip:test@127.0.0.1:$callee\"" ${KAMAILIO_ARGS-}
