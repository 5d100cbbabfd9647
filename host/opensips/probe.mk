# SPDX-License-Identifier: GPL-2.0-or-later
# Run in OpenSIPS' source tree, prints variable V of its makefiles. The mark tells our line from
# their chatter.
ifneq ($(wildcard Makefile.conf),)
include Makefile.conf
else
include Makefile.conf.template
endif
include Makefile.defs

print:
	$(info @@$($(V)))
	@:
