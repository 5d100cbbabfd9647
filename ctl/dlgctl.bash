# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for dlgctl. What each command takes is asked of the program itself.

_dlgctl_help() # of a command, or of all
{
	dlgctl "$@" --help 2>/dev/null
}

_dlgctl_reply() # words to choose from
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_dlgctl_list() # words to choose from, each of a list with commas
{
	local before=${cur%"${cur##*,}"}

	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
}

_dlgctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' i

	if [[ $cur == = ]]; then # --state=, in three words
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		list|show|end|profiles|stats|audit|watch|metrics|db) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	COMPREPLY=()
	case $prev in
	--state) _dlgctl_list "unconfirmed early confirmed_na confirmed ended active setup all" ;;
	--columns) _dlgctl_list "hash state age left start caller callee callid caller_tag callee_tag caller_contact callee_contact flags socket" ;;
	--color) _dlgctl_reply "auto always never" ;;
	-f|--fifo) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	-r|--reply-dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	-T|--timeout|--caller|--callee|--callid|--older|--younger|--profile|--top|--interval|--table|--node|--column-names|--hash-size) ;;
	*)
		if [[ $cur == -* ]]; then
			_dlgctl_reply "$(_dlgctl_help ${command:+"$command"} | grep -oE -- '^ +(-., )? *--[a-z-]+' | grep -oE -- '--[a-z-]+')"
		elif [[ $prev == db ]]; then
			_dlgctl_reply "create check schema"
		elif [[ -z $command ]]; then
			_dlgctl_reply "$(_dlgctl_help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')"
		fi ;;
	esac
}

complete -F _dlgctl dlgctl
