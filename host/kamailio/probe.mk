# SPDX-License-Identifier: GPL-2.0-or-later
# Run in Kamailio's src directory, prints variable V of its makefiles. "main_makefile" makes
# Makefile.defs compute the flags instead of looking for the file that a configured tree has. The
# mark tells our line from its chatter.
main_makefile = 1
include Makefile.defs

print:
	$(info @@$($(V)))
	@:
