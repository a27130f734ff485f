# SPDX-License-Identifier: Apache-2.0
#
# make                 build/muster (VARIANT=release)
# make VARIANT=asan    the same with AddressSanitizer and UBSan, in build/asan/
# make test            unit tests, simulator, fuzz corpus replay, end-to-end tests
# make help            everything else
#
# Local settings (CC, CFLAGS, PREFIX, ...) can be kept in config.mk. V=1 shows the commands.

VARIANT ?= release
PREFIX ?= /usr/local
-include config.mk

VERSION := $(or $(shell sed -n 's/^\#define MUSTER_VERSION "\(.*\)"/\1/p' include/muster/version.h 2>/dev/null),0.1.0)
B := build/$(VARIANT)
PKGS := libuv jansson
CC ?= cc
PYTHON ?= python3
CLANG_TIDY ?= clang-tidy
CLANG_FORMAT ?= clang-format
FUZZ_ARGS ?= -max_total_time=120
# Inputs of fuzz-soak: a day of fuzzing, compressed.
SOAK_CODEC ?= 100000000
SOAK_STORE ?= 10000000
SOAK_SEED ?= $(shell date +%s)

# $(call say,CC,file) names the step; with V=1 make shows the command instead.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) '$(2)')

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wundef -Wvla -Wswitch-enum \
	-Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wpointer-arith -Werror -Wno-unknown-warning-option -Wno-format-truncation
CPPFLAGS_ALL = -Iinclude -I. -D_GNU_SOURCE -include common/banned.h \
	$(shell pkg-config --cflags $(PKGS)) $(CPPFLAGS)
CFLAGS_ALL = -std=gnu17 -g $(WARNINGS) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LDFLAGS_ALL = $(LDFLAGS_$(VARIANT)) $(LDFLAGS)
LIBS = $(shell pkg-config --libs $(PKGS))

HARDEN := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
CFLAGS_release := -O2 $(HARDEN)
LDFLAGS_release := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
CFLAGS_debug := -O0
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_tsan := -O1 -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
CFLAGS_cov := -O0 --coverage
LDFLAGS_cov := --coverage
CFLAGS_fuzz := -O2 -Wno-error -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LDFLAGS_fuzz := -fsanitize=address,undefined
ifeq ($(VARIANT),fuzz)
CC := clang
endif

# MPI, for muster-mpi alone; where there is none it is not built. config.mk may say both.
MPI_CFLAGS ?= $(shell pkg-config --cflags ompi-c 2>/dev/null || mpicc --showme:compile 2>/dev/null)
MPI_LIBS ?= $(shell pkg-config --libs ompi-c 2>/dev/null || mpicc --showme:link 2>/dev/null)

# ---- sources ----
CORE_SRC := $(filter-out launcher/main.c,$(wildcard common/*.c rendezvous/*.c launcher/*.c)) \
	$(filter-out mpi/mpi_%.c,$(wildcard mpi/*.c))
MPI_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard mpi/mpi_*.c))
MUSTER_MPI := $(if $(strip $(MPI_LIBS)),$(B)/muster-mpi)
CORE_OBJ := $(CORE_SRC:%.c=$(B)/%.o)
CORE := $(B)/libmuster-core.a
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
SIM := $(if $(wildcard tests/sim/sim_main.c),$(B)/tests/simulator)
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY := $(FUZZ:%=$(B)/tests/replay_%)
SOAK := $(patsubst tests/fuzz/soak_%.c,$(B)/tests/soak_%,$(filter-out %/soak_main.c,$(wildcard tests/fuzz/soak_*.c)))
FUZZ_SHARED := $(patsubst %.c,$(B)/%.o,$(filter-out tests/fuzz/fuzz_% tests/fuzz/soak_% tests/fuzz/replay_%,$(wildcard tests/fuzz/*.c)))
MPI_WORKERS := $(patsubst tests/workers/mpi/%.c,$(B)/workers/%,$(wildcard tests/workers/mpi/*.c))
WORKERS := $(patsubst tests/workers/%.c,$(B)/workers/%,$(wildcard tests/workers/*.c)) $(if $(MUSTER_MPI),$(MPI_WORKERS))
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(wildcard examples/*.c))
BENCH_PARTS := bench/crowd.c bench/store_loop.c bench/store_peer.c bench/store_shapes.c bench/store_stats.c
BENCH := $(patsubst bench/%.c,$(B)/bench/%,$(filter-out $(BENCH_PARTS),$(wildcard bench/*.c)))
PRODUCT_C := $(wildcard common/*.c rendezvous/*.c launcher/*.c mpi/*.c examples/*.c tests/workers/*.c bench/*.c)
TIDY := $(patsubst %.c,build/tidy/%.ok,$(filter-out $(if $(MUSTER_MPI),,mpi/mpi_%),$(PRODUCT_C)))
MAN := $(patsubst docs/man/%.in,build/man/%,$(wildcard docs/man/*.in))
COMPLETIONS := $(patsubst %,build/completions/muster.%,bash zsh fish)
ALL_C := $(wildcard common/*.[ch] rendezvous/*.[ch] launcher/*.[ch] mpi/*.[ch] include/muster/*.h \
	tests/*/*.[ch] examples/*.c bench/*.[ch] scripts/*.h)

.PHONY: all
all: $(B)/muster $(MUSTER_MPI) $(EXAMPLES) $(B)/libmuster_store_client.a ## the program, the examples, the store client library
	$(if $(filter release,$(VARIANT)),@ln -sfn release/muster build/muster)
	$(if $(filter release,$(VARIANT)),$(if $(MUSTER_MPI),@ln -sfn release/muster-mpi build/muster-mpi))

$(B)/muster: $(B)/launcher/main.o $(CORE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# Headers of MPI's are not ours to judge.
$(MPI_OBJ) $(patsubst %.c,build/tidy/%.ok,$(wildcard mpi/mpi_*.c)): CPPFLAGS += $(patsubst -I%,-isystem %,$(MPI_CFLAGS))
$(B)/muster-mpi: $(MPI_OBJ) $(CORE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(MPI_LIBS)

# A fresh archive each time: ar would keep members whose source is gone.
$(CORE): $(CORE_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# The store client stands alone, for C programs that are not muster.
$(B)/libmuster_store_client.a: $(patsubst %.c,$(B)/%.o,$(wildcard rendezvous/store_client*.c common/err.c common/buf.c common/mem.c))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Programs: $(call link,LIBRARIES)
define link
@mkdir -p $(@D)
$(call say,LD,$@)
$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $(filter-out %.a,$^) $(filter %.a,$^) $(1)
endef

$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(CORE)
	$(call link,$(LIBS) -lcmocka)

# Loop tests start real processes; a library that muster loads if it is there has a stand-in.
FAKES := $(B)/fake/libnvidia-ml.so.1 $(B)/fake/no_affinity.so $(B)/fake/wall_clock.so
$(UNIT): | $(WORKERS) $(FAKES)

$(B)/tests/simulator: $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c)) $(CORE)
	$(call link,$(LIBS))

$(B)/tests/replay_%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/replay_main.o $(FUZZ_SHARED) $(CORE)
	$(call link,$(LIBS))

$(B)/tests/soak_%: $(B)/tests/fuzz/soak_%.o $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/soak_main.o $(FUZZ_SHARED) $(CORE)
	$(call link,$(LIBS))

$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(FUZZ_SHARED) $(CORE)
	$(call link,-fsanitize=fuzzer $(LIBS))

# What muster runs is not muster: no sanitizer, whose handlers would change how a worker ends.
$(B)/workers/%: tests/workers/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) -std=gnu17 -g $(WARNINGS) -MMD -MP -o $@ $<

$(MPI_WORKERS): $(B)/workers/%: tests/workers/mpi/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(patsubst -I%,-isystem %,$(MPI_CFLAGS)) -std=gnu17 -g $(WARNINGS) -MMD -MP -o $@ $< $(MPI_LIBS)

$(B)/fake/libnvidia-ml.so.1: tests/fake/nvml.c
$(B)/fake/no_affinity.so: tests/fake/no_affinity.c
$(B)/fake/wall_clock.so: tests/fake/wall_clock.c
$(FAKES): Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -g $(WARNINGS) -shared -fPIC -o $@ $(filter %.c,$^)

# What uses parts of muster is built as they are.
$(B)/workers/local_map: $(B)/tests/workers/local_map.o $(CORE)
$(B)/workers/gpu_sources: $(B)/tests/workers/gpu_sources.o $(CORE)
$(B)/workers/hostlist_names: $(B)/tests/workers/hostlist_names.o $(CORE)
$(B)/workers/local_map $(B)/workers/gpu_sources $(B)/workers/hostlist_names:
	$(call link,$(LIBS))

# What uses the store client is built as it is.
$(B)/workers/store_calls: $(B)/tests/workers/store_calls.o $(B)/libmuster_store_client.a
	$(call link,-pthread)

$(B)/examples/%: $(B)/examples/%.o $(B)/libmuster_store_client.a
	$(call link,-pthread)

$(B)/bench/store_load $(B)/bench/store_hold $(B)/bench/rendezvous_load $(B)/bench/rounds_soak: $(BENCH_PARTS:%.c=$(B)/%.o)
$(B)/bench/%: $(B)/bench/%.o $(CORE)
	$(call link,$(LIBS))

# ---- tests: each suite ends with "N passed, N failed, N skipped" ----
.PHONY: test unit sim sim-soak replay soak soak-rounds fuzz-soak e2e check-asan check-tsan bench bench-output bench-store bench-rendezvous
test: unit sim replay e2e ## all four suites

unit: $(UNIT) ## unit tests
	@scripts/run-suite.sh unit $(B)/log $(UNIT)

sim: $(SIM) ## coordinator, agents and store in memory
	@scripts/run-suite.sh sim $(B)/log $(SIM)

# A soak prints the seeds; `simulator --seed S` shows the job of one.
sim-soak: $(SIM) ## 100,000 random jobs (SIM_RUNS) in memory
	SIM_RUNS=$(or $(SIM_RUNS),100000) $(SIM)

replay: $(REPLAY) ## every parser against its fuzz corpus
	@scripts/run-suite.sh replay $(B)/log $(REPLAY)

soak: $(SOAK) ## a few seconds of generated inputs for the codec and the store
	@scripts/run-suite.sh soak $(B)/log $(SOAK)

e2e: all $(WORKERS) $(FAKES) $(B)/bench/rounds_soak ## the real program; E2E="-k fault -j 2" selects
	@MUSTER_BUILD=$(B) $(PYTHON) tests/e2e/run.py $(E2E)

soak-rounds: all $(WORKERS) $(B)/bench/rounds_soak ## 10,000 rounds on one coordinator: nothing grows
	@MUSTER_BUILD=$(B) MUSTER_SOAK_ROUNDS=10000 $(PYTHON) tests/e2e/run.py --keep test_rounds

check-asan: ## unit, sim, replay and soak under AddressSanitizer and UBSan
	+@$(MAKE) --no-print-directory VARIANT=asan unit sim replay soak

check-tsan: ## unit tests and simulator under ThreadSanitizer
	+@$(MAKE) --no-print-directory VARIANT=tsan unit sim

fuzz-%: ## fuzz-NAME: tests/fuzz/fuzz_NAME.c; new inputs and crashes stay in build/fuzz
	+@$(MAKE) --no-print-directory VARIANT=fuzz build/fuzz/fuzz/fuzz_$*
	@mkdir -p build/fuzz/found/fuzz_$*
	build/fuzz/fuzz/fuzz_$* -artifact_prefix=build/fuzz/ -rss_limit_mb=1024 -timeout=10 $(FUZZ_ARGS) \
		build/fuzz/found/fuzz_$* tests/fuzz/corpus/fuzz_$*

fuzz-soak: ## SOAK_CODEC and SOAK_STORE inputs of SOAK_SEED under the sanitizers, without coverage
	+@$(MAKE) --no-print-directory VARIANT=asan build/asan/tests/soak_c10d_wire build/asan/tests/soak_store \
		build/asan/tests/replay_fuzz_c10d_wire build/asan/tests/replay_fuzz_store
	build/asan/tests/soak_c10d_wire -o build -s $(SOAK_SEED) -n $(SOAK_CODEC)
	build/asan/tests/soak_store -o build -s $(SOAK_SEED) -n $(SOAK_STORE)

bench-programs: $(BENCH) ## what the benchmarks are made of, without running any

bench: all $(BENCH) $(WORKERS) ## benchmarks, all in short: about 13 minutes
	@MUSTER_BUILD=$(B) bench/run.sh
	@MUSTER_BUILD=$(B) bench/output.sh --quick
	@MUSTER_BUILD=$(B) bench/store.sh --quick
	@MUSTER_BUILD=$(B) bench/rendezvous.sh --quick

bench-output: all $(BENCH) ## what workers write, beside torchrun --tee and cat: about 3 minutes
	@MUSTER_BUILD=$(B) bench/output.sh $(OUTPUT)

bench-store: all $(BENCH) ## the store's benchmark in full: about 15 minutes
	@MUSTER_BUILD=$(B) bench/store.sh $(STORE)

bench-rendezvous: all $(BENCH) ## thousands of agents that meet, beside torchrun: about 4 minutes
	@MUSTER_BUILD=$(B) bench/rendezvous.sh $(RENDEZVOUS)

# ---- lint ----
.PHONY: lint format format-check check-layers check-headers check-man check-faults tidy cppcheck shellcheck
lint: format-check check-layers check-headers check-man check-faults cppcheck shellcheck tidy ## everything that reads and does not run

format: ## rewrite all C files with clang-format
	$(CLANG_FORMAT) -i $(ALL_C)

format-check:
	$(call say,FORMAT,$(words $(ALL_C)) files)
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(ALL_C)

check-layers:
	$(call say,LAYERS,.)
	$(Q)scripts/check-layers.sh

check-headers:
	$(call say,HEADER,.)
	$(Q)CC="$(CC)" CPPFLAGS="$(CPPFLAGS_ALL)" CFLAGS="-std=gnu17 $(WARNINGS)" scripts/check-headers.sh

check-man: $(MAN)
	$(if $(MAN),$(Q)mandoc -T lint -W warning $(MAN))
	$(Q)scripts/check-store-man.sh

check-faults:
	$(call say,FAULTS,docs/FAULTS.md)
	$(Q)scripts/fault-table.py --check

tidy: $(TIDY)

build/tidy/%.ok: %.c .clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY,$<)
	$(Q)$(CLANG_TIDY) --quiet $< -- $(CPPFLAGS_ALL) -std=gnu17 >$(@:.ok=.log) 2>&1 || { cat $(@:.ok=.log); exit 1; }
	$(Q)$(CC) $(CPPFLAGS_ALL) -std=gnu17 -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@

cppcheck:
	$(call say,CHECK,cppcheck)
	@mkdir -p build/cppcheck
	$(Q)cppcheck --quiet --std=c11 --language=c --library=posix -j 2 -D_GNU_SOURCE --include=scripts/cppcheck.h -Iinclude -I. \
		--cppcheck-build-dir=build/cppcheck --enable=warning,performance,portability \
		--suppressions-list=.cppcheck --inline-suppr --error-exitcode=1 $(filter %.c,$(ALL_C))

shellcheck:
	$(call say,CHECK,shellcheck)
	$(Q)shellcheck -x $(shell git ls-files '*.sh' '*.sbatch' .ci/run)

# ---- documents, packages, housekeeping ----
.PHONY: man completions install uninstall dist clean help
man: $(MAN) ## man pages, in build/man

# Prose by hand, option sections from the table.
build/man/muster-%.1: docs/man/muster-%.1.in $(B)/muster
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)sed 's|^@\([a-z]*\)@$$|$(B)/muster help --man $* \1|e' $< >$@.tmp && mv $@.tmp $@

# The example is a program that is built and run.
build/man/muster_store_client.3: docs/man/muster_store_client.3.in examples/meet_ranks.c
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)sed 's/\\/\\e/g; s/^[.'"'"']/\\\&&/' examples/meet_ranks.c >$@.example
	$(Q)sed -e '/^@example@$$/{r $@.example' -e 'd}' $< >$@.tmp && rm $@.example && mv $@.tmp $@

build/man/muster.1: docs/man/muster.1.in
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)cp $< $@

completions: $(COMPLETIONS) ## shell completions, in build/completions
build/completions/muster.%: $(B)/muster
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)$< help --completion $* >$@

D = $(DESTDIR)$(PREFIX)
HEADERS_OUT = $(shell $(CC) -Iinclude -MM include/muster/store_client.h 2>/dev/null | tr ' \\' '\n\n' | grep '^include/')
install: all man completions ## to PREFIX (and DESTDIR)
	install -Dm755 $(B)/muster $(D)/bin/muster
	$(if $(MUSTER_MPI),install -Dm755 $(MUSTER_MPI) $(D)/bin/muster-mpi)
	install -Dm644 $(B)/libmuster_store_client.a $(D)/lib/libmuster_store_client.a
	install -d $(D)/lib/pkgconfig
	sed 's|@prefix@|$(PREFIX)|; s|@version@|$(VERSION)|' rendezvous/muster_store_client.pc.in >$(D)/lib/pkgconfig/muster_store_client.pc
	for h in $(HEADERS_OUT); do install -Dm644 $$h $(D)/$$h; done
	for m in $(MAN); do install -Dm644 $$m $(D)/share/man/man$${m##*.}/$${m##*/}; done
	install -Dm644 build/completions/muster.bash $(D)/share/bash-completion/completions/muster
	install -Dm644 build/completions/muster.zsh $(D)/share/zsh/site-functions/_muster
	install -Dm644 build/completions/muster.fish $(D)/share/fish/vendor_completions.d/muster.fish

uninstall: ## what install put there
	rm -f $(D)/bin/muster $(D)/bin/muster-mpi $(D)/lib/libmuster_store_client.a $(D)/lib/pkgconfig/muster_store_client.pc $(HEADERS_OUT:%=$(D)/%) \
		$(foreach m,$(MAN),$(D)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))) \
		$(D)/share/bash-completion/completions/muster $(D)/share/zsh/site-functions/_muster \
		$(D)/share/fish/vendor_completions.d/muster.fish
	rmdir $(D)/include/muster 2>/dev/null || :

dist: ## build/muster-VERSION.tar.gz of the last commit
	@mkdir -p build
	git archive --prefix=muster-$(VERSION)/ -o build/muster-$(VERSION).tar.gz HEAD

clean: ## remove what was built; build/venv stays
	rm -rf $(filter-out build/venv,$(wildcard build/*))

help: ## this list
	@grep -hE '^[a-z0-9%-]+:.*## ' Makefile | sed -E 's/^([a-z0-9%-]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r t text; do printf '  %-12s %s\n' "$$t" "$$text"; done

-include $(shell find $(B) build/tidy -name '*.d' 2>/dev/null)
.SECONDARY:
