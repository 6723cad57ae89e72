# privyseal: one non-recursive Makefile. `make help` lists what can be made.

PREFIX   ?= /usr/local
DESTDIR  ?=
BUILD    ?= build
SANITIZE ?=
ifeq ($(origin CC),default)
CC       := gcc
endif
CLANG    ?= clang
PYTHON   ?= /usr/bin/python3
FUZZ_SECONDS ?= 60

# What is made with sanitizers or for coverage lies in a folder of its own.
OUT      := $(BUILD)$(if $(SANITIZE),/sanitize)$(if $(COVERAGE),/coverage)

LAYERS   := base mime store keyring crypto policy smtp imap proxy cli
LIBRARIES := gpgme libevent libevent_openssl libconfuse sqlite3 openssl zlib libidn2 libseccomp jansson ldap libunbound

# Debian packages: what the program needs, and what its tests need besides.
BUILD_PACKAGES := libc6-dev linux-libc-dev pkg-config libgpgme-dev libevent-dev libconfuse-dev libsqlite3-dev \
	libseccomp-dev libjansson-dev libidn2-dev libunistring-dev libssl-dev zlib1g-dev libldap-dev libunbound-dev gnupg gpg \
	gpg-agent
TEST_PACKAGES  := libcmocka-dev libgmime-3.0-dev gpgsm python3 openssl curl swaks libnet-ssleay-perl \
	libio-socket-ssl-perl postfix procps iproute2 clang clang-tidy clang-format libclang-rt-14-dev llvm-14 cppcheck \
	mandoc universal-ctags python3-cryptography dovecot-imapd isync neomutt offlineimap3 nginx-light libnginx-mod-mail \
	slapd ldap-utils libnss3-tools softhsm2 libengine-pkcs11-openssl opensc nsd ldnsutils sq rnp graphviz \
	zsh fish bash-completion

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror
HARDEN   := -fstack-protector-strong -fPIE
LINKHARD := -pie -Wl,-z,relro,-z,now
ifneq ($(SANITIZE),)
OPTIMISE ?= -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
else ifneq ($(COVERAGE),)
OPTIMISE ?= -O0 --coverage
else
OPTIMISE ?= -O2 -D_FORTIFY_SOURCE=2
endif
CFLAGS   ?= -g
ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DPREFIX='"$(PREFIX)"' $(CPPFLAGS) $(LIBRARY_CFLAGS)
ALL_CFLAGS   = -std=gnu17 $(WARNINGS) $(HARDEN) $(OPTIMISE) $(CFLAGS)
ALL_LDFLAGS  = $(LINKHARD) $(OPTIMISE) $(LDFLAGS)
# libunistring has no pkg-config file.
LIBS         = $(LIBRARY_LIBS) -lunistring

SOURCES  := $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.c))
OBJECTS  := $(SOURCES:%.c=$(OUT)/%.o)
LIBRARY  := $(OUT)/libprivyseal.a
PROGRAM  := $(OUT)/privyseal
WRAPPER  := $(OUT)/privyseal-gpg
PROGRAM_SOURCES := cli/main.c crypto/gpg_wrapper.c
LIBRARY_SOURCES := $(filter-out $(PROGRAM_SOURCES),$(SOURCES))
MANUALS  := $(wildcard docs/*.[157])

UNIT     := $(patsubst tests/unit/%.c,$(OUT)/tests/%,$(wildcard tests/unit/test_*.c))
SERVERS  := $(patsubst tests/servers/%_main.c,$(OUT)/tests/%,$(wildcard tests/servers/*_main.c))
INTEROP  := $(patsubst tests/interop/%.c,$(OUT)/tests/%,$(wildcard tests/interop/*.c))
BENCH    := $(patsubst tests/bench/%.c,$(OUT)/tests/%,$(wildcard tests/bench/*.c))
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all
all: $(PROGRAM) $(WRAPPER)

# ---- what must be installed ----------------------------------------------------------------------------------------
# The two included files are made when they are missing or older than this one: that installs the packages and asks
# pkg-config, and make then starts over with them. They are left out where nothing is compiled.

GOALS := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean help uninstall deps,$(GOALS)),)
include $(OUT)/libraries.mk
ifneq ($(filter-out clean help uninstall deps all install $(PROGRAM) $(WRAPPER),$(GOALS)),)
include $(OUT)/test_libraries.mk
endif
endif

# $(call ask,NAME,LIBRARIES): assignments of NAME_CFLAGS and NAME_LIBS to the file being made.
ask = pkg-config --print-errors --exists $(2) && { echo "$(1)_CFLAGS := $$(pkg-config --cflags $(2))"; \
	echo "$(1)_LIBS := $$(pkg-config --libs $(2))"; } >>$@.new

$(OUT)/libraries.mk: Makefile .ci/deps
	@mkdir -p $(@D)
	@rm -f $@.new
	@.ci/deps $(BUILD_PACKAGES)
	@$(call ask,LIBRARY,$(LIBRARIES))
	@mv $@.new $@

$(OUT)/test_libraries.mk: $(OUT)/libraries.mk
	@rm -f $@.new
	@.ci/deps $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@$(call ask,CMOCKA,cmocka)
	@$(call ask,GMIME,gmime-3.0)
	@$(call ask,SERVER,openssl jansson libevent libevent_openssl)
	@mv $@.new $@

.PHONY: deps
deps:
	@.ci/deps $(BUILD_PACKAGES) $(TEST_PACKAGES)

# ---- the program ---------------------------------------------------------------------------------------------------

# Its contents are how objects are compiled; when that changes, they all are again.
COMPILE = $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS)
$(OUT)/compile: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(COMPILE))' | cmp -s - $@ || echo '$(subst ','\'',$(COMPILE))' >$@

.PHONY: FORCE
FORCE:

$(OUT)/%.o: %.c $(OUT)/compile
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(LIBRARY): $(LIBRARY_SOURCES:%.c=$(OUT)/%.o)
	@rm -f $@.new
	@echo $(AR) $@
	@$(AR) rcs $@.new $^ && mv $@.new $@

$(PROGRAM): $(OUT)/cli/main.o $(LIBRARY)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(WRAPPER): $(OUT)/crypto/gpg_wrapper.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^

.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/privyseal
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/privyseal
	install -m 755 $(WRAPPER) $(DESTDIR)$(PREFIX)/libexec/privyseal/privyseal-gpg
	$(foreach page,$(MANUALS),install -D -m 644 $(page) $(DESTDIR)$(PREFIX)/$(call manual,$(page))$(newline)	)
	$(foreach shell,bash zsh fish,install -d $(DESTDIR)$(PREFIX)/$(dir $(COMPLETION_$(shell)))$(newline)	\
	$(PROGRAM) completion $(shell) >$(DESTDIR)$(PREFIX)/$(COMPLETION_$(shell))$(newline)	)

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/privyseal $(DESTDIR)$(PREFIX)/libexec/privyseal/privyseal-gpg
	rm -f $(foreach page,$(MANUALS),$(DESTDIR)$(PREFIX)/$(call manual,$(page)))
	rm -f $(foreach shell,bash zsh fish,$(DESTDIR)$(PREFIX)/$(COMPLETION_$(shell)))
	[ ! -d $(DESTDIR)$(PREFIX)/libexec/privyseal ] || rmdir $(DESTDIR)$(PREFIX)/libexec/privyseal

# Where the shells look for what they complete.
COMPLETION_bash := share/bash-completion/completions/privyseal
COMPLETION_zsh  := share/zsh/site-functions/_privyseal
COMPLETION_fish := share/fish/vendor_completions.d/privyseal.fish
manual = share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
define newline


endef

# ---- tests ---------------------------------------------------------------------------------------------------------

$(UNIT): $(OUT)/tests/test_%: $(OUT)/tests/unit/test_%.o $(LIBRARY) | $(WRAPPER)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(CMOCKA_LIBS) $(EXTRA_LIBS_test_$*)

# A server is all files of its name and those that are common; it shares no code with what it tests.
server_objects = $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/servers/$(1)_*.c tests/servers/common_*.c))
.SECONDEXPANSION:
$(SERVERS): $(OUT)/tests/%: $$(call server_objects,$$*)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -pthread -o $@ $^ $(SERVER_LIBS)

$(INTEROP): $(OUT)/tests/%: $(OUT)/tests/interop/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(LIBS_$*)

GMIME_USERS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/interop/*_gmime.c))
$(GMIME_USERS): private COMPILE += $(GMIME_CFLAGS)
LIBS_mime_gmime = $(GMIME_LIBS)

FUZZ_FLAGS := -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_COMPILE = $(CLANG) $(ALL_CPPFLAGS) -std=gnu17 $(WARNINGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link
$(BUILD)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/libprivyseal.a: $(patsubst %.c,$(BUILD)/fuzz/%.o,$(filter-out cli/%,$(LIBRARY_SOURCES)))
	@rm -f $@.new
	@echo $(AR) $@
	@$(AR) rcs $@.new $^ && mv $@.new $@

$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(BUILD)/fuzz/libprivyseal.a
	$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

.SECONDARY:

# What the tests find in their environment; LINT_FLAGS is how lint compiles a file.
RUN = PRIVYSEAL=$(abspath $(PROGRAM)) SMTPD=$(abspath $(OUT)/tests/smtpd) IMAPD=$(abspath $(OUT)/tests/imapd) \
	BUILD=$(abspath $(OUT)) \
	LINT_FLAGS='$(subst ','\'',-std=gnu17 $(WARNINGS) $(ALL_CPPFLAGS) $(GMIME_CFLAGS))' CC='$(CC)' CLANG='$(CLANG)' \
	ASAN_OPTIONS=abort_on_error=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
RUN_TESTS = +$(RUN) $(PYTHON) tests/run.py $(if $(SANITIZE),--patience 4) --fuzzers $(abspath $(BUILD)/fuzz)

.PHONY: check unit e2e interop lint fuzz
check: all $(UNIT) $(SERVERS) $(INTEROP) $(FUZZERS) $(BENCH)
	$(RUN_TESTS) unit lint interop fuzz e2e
unit: $(UNIT)
	$(RUN_TESTS) unit
e2e: all $(SERVERS) $(BENCH)
	$(RUN_TESTS) e2e
interop: all $(SERVERS) $(INTEROP)
	$(RUN_TESTS) interop
lint:
	$(RUN_TESTS) lint
fuzz: $(FUZZERS)
	$(RUN_TESTS) --fuzz-seconds $(FUZZ_SECONDS) fuzz

.PHONY: demo bench
demo: all $(SERVERS)
	@$(RUN) $(PYTHON) tests/demo.py
bench: all $(SERVERS) $(BENCH)
	@$(RUN) $(PYTHON) tests/bench/bench.py

$(BENCH): $(OUT)/tests/bench_%: $(OUT)/tests/bench/bench_%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: coverage
ifeq ($(COVERAGE),)
coverage:
	$(MAKE) COVERAGE=1 coverage
else
coverage: all $(UNIT) $(SERVERS) $(BENCH)
	find $(OUT) -name '*.gcda' -delete
	-$(RUN_TESTS) unit e2e
	$(PYTHON) tests/coverage.py $(OUT) $(SOURCES)
endif

# ---- the rest ------------------------------------------------------------------------------------------------------

.PHONY: format
format:
	clang-format -i $(wildcard $(LAYERS:%=%/*.[ch]) tests/*/*.[ch])

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo 'make [all]      the program, in $(OUT)'
	@echo 'make install    into $$DESTDIR$$PREFIX ($(PREFIX)); uninstall takes it away'
	@echo 'make check      every test: unit, interop, a short fuzz, e2e, lint; each is a target of its own'
	@echo 'make demo       a message from end to end, with throw-away keys and a reference server'
	@echo 'make bench      speed and memory, as ratios to a peer in the same run'
	@echo 'make fuzz       each fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make coverage   lines run by the unit and end-to-end tests'
	@echo 'make format     clang-format on every file'
	@echo 'make deps       installs what is missing (Debian packages); the others do so by themselves'
	@echo 'make clean      removes $(BUILD)'
	@echo
	@echo 'SANITIZE=address,undefined   with sanitizers, in a folder of its own'
	@echo 'BUILD=folder CC=clang PREFIX=/usr DESTDIR=/stage   as usual'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
