# privyseal: one non-recursive Makefile. `make help` lists what can be made.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CC      ?= gcc
SANITIZE ?=

PACKAGES := gpgme libevent libevent_openssl libconfuse sqlite3 openssl zlib libidn2 libseccomp jansson
LAYERS   := base mime store keyring crypto policy smtp proxy cli

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror
HARDEN   := -fstack-protector-strong -fPIE
LINKHARD := -pie -Wl,-z,relro,-z,now
ifeq ($(SANITIZE),)
OPTIMISE ?= -O2 -D_FORTIFY_SOURCE=2
else
BUILD    := $(BUILD)/sanitize
OPTIMISE ?= -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
endif
CFLAGS   ?= -g
ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DPREFIX='"$(PREFIX)"' $(CPPFLAGS) $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
ALL_CFLAGS   = -std=gnu17 $(WARNINGS) $(HARDEN) $(OPTIMISE) $(CFLAGS)
ALL_LDFLAGS  = $(LINKHARD) $(OPTIMISE) $(LDFLAGS)
LIBS         = $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)

SOURCES  := $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.c))
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY  := $(BUILD)/libprivyseal.a
PROGRAM  := $(BUILD)/privyseal
WRAPPER  := $(BUILD)/privyseal-gpg
LIBRARY_OBJECTS := $(filter-out $(BUILD)/cli/main.o $(BUILD)/crypto/gpg_wrapper.o,$(OBJECTS))

UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
SERVERS  := $(patsubst tests/servers/%_main.c,$(BUILD)/tests/%,$(wildcard tests/servers/*_main.c))

.PHONY: all
all: $(PROGRAM) $(WRAPPER)

$(LIBRARY): $(LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(AR) rcs $@.new $^ && mv $@.new $@

$(PROGRAM): $(BUILD)/cli/main.o $(LIBRARY)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(WRAPPER): $(BUILD)/crypto/gpg_wrapper.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(shell pkg-config --libs cmocka 2>/dev/null) $(EXTRA_LIBS_test_$*)

.SECONDARY:
.PHONY: unit
unit: $(UNIT)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
