# SPDX-License-Identifier: GPL-2.0-or-later
# make          dialog.so and the examples, in build/plain; SAN=1: with sanitizers, in build/san
# make run      Kamailio in the foreground with our module and etc/kamailio.cfg, on loopback
# make test     unit, simulation, fuzz and end-to-end tests; SAN=1: sanitized
# make lint     warnings of gcc and clang, clang-tidy, cppcheck, shellcheck, exported symbols
# make bench    what tracking calls costs, against no module and the host's own; test/bench/README
#               make bench-engine: the first two minutes of it, without a proxy
#               make bench_programs: only what single programs of it need
# make e2e      the end-to-end tests alone
# make torture  the long form of what breaks proxies: messages, deaths, faults; doc/robustness.md
# make races    threads in place of processes, sanitized, and events of a call in every order; five minutes
# make soak     an hour (SOAK_SECONDS) of random calls over half of the possible load, and restarts
# make fuzz     each parser of foreign input for an hour (FUZZ_SECONDS), by libFuzzer and by AFL++
# make install  into MODDIR; make clean; make distclean: the fetched headers go, too
# HOST=opensips OPENSIPS_SRC=/tree   for OpenSIPS, by the source tree it was built in; build/opensips
# V=1 shows the compilers' command lines.

ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS = -O2 -g
PREFIX = /usr/local
MODDIR = $(PREFIX)/lib/$(HOST)/modules

HOST = kamailio
export HOST OPENSIPS_SRC KAMAILIO_SRC
ifeq ($(HOST),kamailio)
top = build
else
top = build/$(HOST)
endif
ifdef SAN
B = $(top)/san
san = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ours = -DDLG_DEBUG
# What the packaged, unsanitized Kamailio must preload to load a sanitized module.
export DIALOG_PRELOAD := $(foreach lib,asan ubsan,$(shell $(CC) -print-file-name=lib$(lib).so))
else
B = $(top)/plain
endif
ours += $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -I. \
	-Wall -Wextra -Wshadow -Wmissing-prototypes -Werror
# The engine and its tests are strict C11 and see no header of a host.
strict = -std=c11 -D_GNU_SOURCE -pthread $(ours)
hosted = $(HOST_CFLAGS) -std=gnu11 -DMOD_NAME=$(host_name) -DHOST_$(HOST) -Ihost/$(HOST) $(ours)
module = $(CC) $(CFLAGS) $(san) -o $@ $^ $(HOST_LDFLAGS)

Q = $(if $(V),,@echo "  $@"; )

engine := $(wildcard *.c mi/*.c) db/db.c
adapter := $(wildcard host/$(HOST)/*.c host/common/*.c)
sim := $(filter-out %_test.c,$(wildcard test/sim/*.c))
tests := $(wildcard test/unit/*_test.c test/sim/*_test.c)
db_tests := $(wildcard test/db/*_test.c)
ctl_server = $(B)/test/ctl/server
ctl_tested := $(addprefix ctl/ctl_,reply.c out.c filter.c list.c figures.c)
fuzz := $(filter-out %/replay.c,$(wildcard test/fuzz/*.c))
benches := $(patsubst %.c,$(B)/%,$(wildcard test/bench/*_bench.c))
restorer = $(B)/test/bench/restore
drivers := $(patsubst db/%.c,$(B)/dialog_db_%.so,$(filter-out db/db.c db/sql.c,$(wildcard db/*.c)))
examples := $(patsubst examples/%.c,$(B)/dlg_%.so,$(wildcard examples/*.c))
bad_module = $(B)/test/e2e/dlg_faults.so

.PHONY: all another_tree run test e2e fuzz torture races soak bench bench-engine bench_programs programs tsan lint objects install clean distclean
.SECONDARY:
all: $(B)/dialog.so $(drivers) $(B)/dlgctl $(examples)

# Included, so that make gets the headers first of all, and again when Kamailio was upgraded, or
# another source tree is given.
hostmk = build/$(HOST).mk
ifeq ($(filter clean distclean,$(MAKECMDGOALS)),)
include $(hostmk)
endif
$(hostmk): host/$(HOST)/headers.sh $(wildcard /var/lib/dpkg/info/kamailio.list) \
		$(if $(KAMAILIO_SRC)$(OPENSIPS_SRC),another_tree)
	$(if $(KAMAILIO_SRC)$(OPENSIPS_SRC),,./setup.sh build)
	@host/$(HOST)/headers.sh build
another_tree:

$(B)/dialog.so: $(patsubst %.c,$(B)/%.o,$(engine) $(adapter))
	$(Q)$(module)

$(B)/dlg_%.so: $(B)/examples/%.o
	$(Q)$(module)

$(B)/test/e2e/dlg_%.so: $(B)/test/e2e/module/%.o
	$(Q)$(module)

$(B)/dlgctl: $(patsubst %.c,$(B)/%.o,$(wildcard ctl/*.c) dlg_row.c dlg_str.c dlg_route.c db/db.c)
	$(Q)$(CC) $(CFLAGS) $(san) -o $@ $^ -lncursesw
$(B)/ctl/ctl_db.o: own = -DDLGCTL_MODDIR='"$(MODDIR)"'

# Each driver brings its own helpers and needs its client library.
lib_mysql = mariadb
lib_postgres = pq
lib_sqlite = sqlite3
$(B)/dialog_db_%.so: $(B)/db/%.o $(B)/db/sql.o $(B)/dlg_str.o
	$(Q)$(CC) $(CFLAGS) $(san) -shared -o $@ $^ -l$(lib_$*)
$(B)/db/mysql.o: own = -isystem /usr/include/mariadb
$(B)/db/postgres.o: own = -isystem /usr/include/postgresql

$(B)/host/%.o: host/%.c $(hostmk)
	@mkdir -p $(@D)
	$(Q)$(CC) $(call hosted,dialog) $(san) -c -o $@ $<

$(B)/examples/%.o: examples/%.c $(hostmk)
	@mkdir -p $(@D)
	$(Q)$(CC) $(call hosted,dlg_$*) $(san) -c -o $@ $<

$(B)/test/e2e/module/%.o: test/e2e/module/%.c $(hostmk)
	@mkdir -p $(@D)
	$(Q)$(CC) $(call hosted,dlg_$*) $(san) -c -o $@ $<

# `own`: what a single file needs.
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(strict) $(san) $(own) -c -o $@ $<

# Tests link an engine with its lock-order checks compiled in.
$(B)/debug/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(strict) $(san) -DDLG_DEBUG -c -o $@ $<

$(db_tests:%.c=$(B)/%): $(B)/debug/test/db/kit.o
$(tests:%.c=$(B)/%) $(db_tests:%.c=$(B)/%) $(B)/doc/gen_states $(ctl_server): $(B)/%: $(B)/debug/%.o \
		$(patsubst %.c,$(B)/debug/%.o,$(engine) $(sim))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(san) -o $@ $^ $(shell pkg-config --libs check) -pthread $(wrap)
$(filter $(B)/test/unit/ctl_%,$(tests:%.c=$(B)/%)): $(ctl_tested:%.c=$(B)/debug/%.o)
$(B)/test/sim/%: wrap = @test/sim/wrap.opts
$(B)/test/unit/dlg_mi_test: wrap = -Wl,--wrap=realloc
$(B)/test/unit/dlg_profile_values_test: wrap = -Wl,--wrap=dlg_str_hash_secret

# libFuzzer where clang has it; else gcc builds programs that only replay the corpora.
FUZZER := $(shell echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	clang -fsanitize=fuzzer -x c -o /dev/null - 2>/dev/null && echo libfuzzer)
fuzz_san = -fsanitize=address,undefined -fno-sanitize-recover=undefined
fuzz_cc_libfuzzer = clang -fsanitize=fuzzer-no-link $(fuzz_san)
fuzz_cc_afl = AFL_QUIET=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1 afl-clang-fast
fuzz_cc = $(or $(fuzz_cc_$(FUZZER)),$(CC) $(fuzz_san))
fuzz_main = $(if $(FUZZER),-fsanitize=fuzzer,$(F)/test/fuzz/replay.o)
F = build/$(or $(fuzz_dir_$(FUZZER)),replay)
fuzz_dir_libfuzzer = fuzz
fuzz_dir_afl = afl

$(F)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(fuzz_cc) $(strict) -DDLG_DEBUG -c -o $@ $<

$(fuzz:%.c=$(F)/%): $(F)/%: $(F)/%.o $(F)/test/fuzz/replay.o \
		$(patsubst %.c,$(F)/%.o,$(engine) $(sim))
$(F)/test/fuzz/reply_fuzz: $(F)/ctl/ctl_reply.o $(F)/ctl/ctl_out.o
$(fuzz:%.c=$(F)/%):
	$(Q)$(fuzz_cc) -o $@ $(filter-out %/replay.o,$^) $(fuzz_main) -pthread

run: all
	host/$(HOST)/run.sh $(abspath $(B)/dialog.so)

# The page of states is printed from the table itself; `make test` finds out when it is stale.
doc/states.md: $(B)/doc/gen_states
	$(B)/doc/gen_states >$@

db/schema/%.sql: $(B)/dlgctl $(drivers) dlg_row.h
	@mkdir -p $(@D)
	$(B)/dlgctl db schema $* >$@

# Threads in place of processes; the thread sanitizer goes with no other one.
race = $(patsubst %.c,build/tsan/%,$(wildcard test/sim/race*_test.c))
tsan:
	$(MAKE) SAN=1 B=build/tsan san=-fsanitize=thread $(race)

programs: all $(if $(SAN),tsan) $(tests:%.c=$(B)/%) $(db_tests:%.c=$(B)/%) $(ctl_server) $(B)/doc/gen_states \
	$(fuzz:%.c=$(F)/%) $(bad_module)

test:
	./setup.sh test
	$(MAKE) programs
	DIALOG_SO=$(abspath $(B)/dialog.so) test/run "$(B)/doc/gen_states doc/states.md" $(tests:%.c=$(B)/%) \
		$(if $(SAN),$(race)) $(fuzz:%.c=$(F)/%) \
		test/db/dbserver_test.py "test/db/run $(B) $(db_tests:%.c=$(B)/%)" \
		"test/ctl/run $(B)/dlgctl $(ctl_server)" test/e2e/run

e2e: all $(bad_module)
	./setup.sh test
	DIALOG_SO=$(abspath $(B)/dialog.so) test/e2e/run

fuzz:
	./setup.sh lint
	test/fuzz/run $(TARGETS)

TORTURE_DB ?= sqlite mysql postgres
TORTURE_ROUNDS ?= 20
LOAD_CALLS ?= 20000
torture:
	./setup.sh test
	$(MAKE) programs
	FAULTS_LONG=1 TORTURE_DB="$(TORTURE_DB)" TORTURE_ROUNDS=$(TORTURE_ROUNDS) LOAD_CALLS=$(LOAD_CALLS) \
		DIALOG_SO=$(abspath $(B)/dialog.so) \
		test/e2e/run -j 1 test_sip_torture test_torture test_faults test_db_outage test_sipp.Load

RACE_ROUNDS ?= 20000
SIM_INTERLEAVE ?= full
races = $(addprefix $(B)/test/sim/,race_calls_test interleave_test)
races:
	./setup.sh test
	$(MAKE) tsan $(races)
	RACE_ROUNDS=$(RACE_ROUNDS) SIM_INTERLEAVE=$(SIM_INTERLEAVE) test/run $(race) $(races)

soak:
	./setup.sh test
	$(MAKE) all
	DIALOG_SO=$(abspath $(B)/dialog.so) test/e2e/soak.py

# An engine without the tests' checks, over their host.
$(benches) $(restorer): $(B)/%: $(B)/%.o \
		$(patsubst %.c,$(B)/%.o,$(engine) test/sim/sim_host.c test/bench/bench.c)
	$(Q)$(CC) $(CFLAGS) $(san) -o $@ $^ -pthread

bench_programs: all $(benches) $(restorer)

bench_engine = $(benches) "BENCH_ROWS=200000 test/bench/restore.py sqlite"
bench_proxy = $(patsubst %,test/bench/%.py,restore memory instructions calls others plots)
bench bench-engine:
	./setup.sh bench
	$(MAKE) bench_programs
	DIALOG_SO=$(abspath $(B)/dialog.so) test/bench/run $(bench_engine) \
		$(if $(filter bench,$@),$(bench_proxy))

objects: $(patsubst %.c,$(B)/%.o,$(engine) $(wildcard db/*.c) $(adapter) \
	$(wildcard ctl/*.c doc/*.c examples/*.c test/*/*.c test/e2e/module/*.c))

tidy = $(Q)e=0; for f in $(1); do clang-tidy --quiet $$f -- $(2) 2>/dev/null || e=1; done; exit $$e
gcc_only = -Wno-ignored-optimization-argument # Kamailio's flags are for gcc
cppcheck = cppcheck --quiet --std=c11 --enable=warning,performance,portability \
	--error-exitcode=1 --inline-suppr -I.
lint:
	./setup.sh lint
	$(MAKE) all objects
	$(MAKE) B=build/clang CC=clang objects ours='$(ours) $(gcc_only)'
	$(call tidy,$(engine) $(sim) $(fuzz),-std=c11 -D_GNU_SOURCE -I.)
	$(call tidy,$(filter-out db/db.c,$(wildcard db/*.c)) test/db/kit.c,-std=c11 -D_GNU_SOURCE -I. \
		-isystem /usr/include/mariadb -isystem /usr/include/postgresql)
	$(call tidy,$(wildcard ctl/*.c),-std=c11 -D_GNU_SOURCE -I. -DDLGCTL_MODDIR='""')
	$(call tidy,$(adapter) $(wildcard examples/*.c),$(call hosted,dialog) $(gcc_only))
	$(cppcheck) $(engine) $(filter-out db/db.c,$(wildcard db/*.c)) $(adapter) \
		$(wildcard ctl/*.c examples/*.c)
	$(cppcheck) --suppress='*:test/sim/sim_wrap.c' $(sim) $(fuzz)
	shellcheck setup.sh host/*/*.sh .ci/run
	test "$$(nm -D --defined-only -f posix $(B)/dialog.so | cut -d' ' -f1 | sort | xargs)" = \
		"$(host_symbols)"

install: all
	install -d $(DESTDIR)$(MODDIR)
	install -m 644 $(B)/dialog.so $(drivers) $(examples) $(DESTDIR)$(MODDIR)
	install -D -t $(DESTDIR)$(PREFIX)/bin $(B)/dlgctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 ctl/dlgctl.1
	install -D -m 644 ctl/dlgctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dlgctl

clean:
	rm -rf build/plain build/san build/opensips build/tsan build/fuzz build/afl build/replay build/clang build/run

distclean:
	rm -rf build

-include $(shell find build -name '*.d' 2>/dev/null)
