# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for dlgctl. What each command takes is asked of the program itself.

_dlgctl_words() { # of a help text: commands, or the options of a command
	dlgctl "$@" --help 2>/dev/null
}

_dlgctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		list|show|end|profiles|stats|audit|watch|metrics|db) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	COMPREPLY=()
	case $prev in
	--state) mapfile -t COMPREPLY < <(compgen -W "unconfirmed early confirmed_na confirmed ended active setup all" -- "$cur"); return ;;
	--color) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$cur"); return ;;
	--columns) mapfile -t COMPREPLY < <(compgen -W "hash state age left start caller callee callid caller_tag callee_tag caller_contact callee_contact flags socket" -- "$cur"); return ;;
	-f|--fifo) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	-r|--reply-dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
	db) mapfile -t COMPREPLY < <(compgen -W "create check schema" -- "$cur"); return ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_dlgctl_words ${command:+"$command"} | grep -oE -- '--[a-z-]+' | sort -u)" -- "$cur")
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_dlgctl_words | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')" -- "$cur")
	fi
}

complete -F _dlgctl dlgctl
