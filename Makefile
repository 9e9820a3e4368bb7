# Integration Dashboard.  `make help` lists the targets.

SHELL      := /bin/bash
MAKEFLAGS  += --no-builtin-rules         # they would make config of config.c
SANITIZE   ?=
BUILD      := build$(if $(SANITIZE),/sanitize)
CC         ?= gcc
PKGS       := hiredis jansson libcurl libmongoc-1.0 sqlite3 libmicrohttpd \
              libconfuse libzstd openssl
WARNINGS   := -Wall -Wextra -Wpedantic -Wstrict-prototypes \
              -Wmissing-prototypes -Wdeclaration-after-statement -Wshadow \
              -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wvla -Werror
HARDEN     := -fstack-protector-strong -fstack-clash-protection \
              -fcf-protection -fPIE -Werror=format-security
CFLAGS     ?= -O2 -g
SANFLAGS   := $(if $(SANITIZE),-fsanitize=$(SANITIZE) \
              -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARNINGS) $(HARDEN) $(CFLAGS) \
              $(if $(SANITIZE),$(SANFLAGS),-D_FORTIFY_SOURCE=2) \
              -Ingx_module -Isidecar
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack \
              $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)
PKG_CFLAGS  = $(shell pkg-config --cflags $(PKGS) | sed 's/-I/-isystem /g')
PKG_LIBS    = $(shell pkg-config --libs $(PKGS)) -ljq -lpthread -lm

# sidecar/main.c and jq_main.c hold a main(); the rest is the tests' library
SIDECAR_SRC := $(wildcard sidecar/*.c)
SIDECAR_OBJ := $(patsubst sidecar/%.c,$(BUILD)/obj/%.o,$(SIDECAR_SRC))
SIDECAR_LIB := $(filter-out $(BUILD)/obj/main.o $(BUILD)/obj/jq_main.o,\
               $(SIDECAR_OBJ))

# the module's files that know no nginx
CAPTURE_SRC := $(foreach n,ring ship source batch zone note segment \
               redact record redis spool crc, \
               $(wildcard ngx_module/ngx_http_capture_$(n)*.c))
CAPTURE_OBJ := $(patsubst ngx_module/%.c,$(BUILD)/obj/%.o,$(CAPTURE_SRC))

UNIT        := $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/*.c))
TOOLS       := $(patsubst t/lib/%.c,$(BUILD)/tools/%,$(wildcard t/lib/*.c))

.PHONY: help all module sidecar ui unit tools clean

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST) | sort

#: all              module and sidecar, as far as their sources are there
all: $(if $(wildcard config),module) $(if $(wildcard sidecar/main.c),sidecar)

#: sidecar          build/integrationd and its child build/integrationd-jq
sidecar: $(BUILD)/integrationd $(BUILD)/integrationd-jq

# both halves hide the same things
$(BUILD)/integrationd: $(SIDECAR_OBJ) $(BUILD)/obj/ngx_http_capture_redact.o
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter-out $(BUILD)/obj/jq_main.o,$^) \
	    $(PKG_LIBS)

# under SANITIZE= too: its seccomp filter would kill a sanitizer's start
$(BUILD)/integrationd-jq: sidecar/jq_main.c sidecar/jq_wire.h | $(BUILD)/obj
	$(CC) $(filter-out $(SANFLAGS),$(ALL_CFLAGS)) $(PKG_CFLAGS) \
	    $(filter-out -fsanitize=%,$(ALL_LDFLAGS)) -o $@ $< -ljq

$(BUILD)/obj/%.o: sidecar/%.c | $(BUILD)/obj
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

# the assembler reads the program
$(BUILD)/obj/hl7_map.o: sidecar/hl7_map.jq

$(BUILD)/obj/%.o: ngx_module/%.c | $(BUILD)/obj
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj $(BUILD)/unit $(BUILD)/tools $(BUILD)/replay $(BUILD)/fuzz:
	mkdir -p $@

# unit tests: one program a file, cmocka, TAP
unit: $(UNIT) $(BUILD)/integrationd-jq

$(BUILD)/unit/%: t/unit/%.c $(SIDECAR_LIB) $(CAPTURE_OBJ) | $(BUILD)/unit
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -Wno-missing-prototypes \
	    $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< \
	    $(SIDECAR_LIB) $(CAPTURE_OBJ) -lcmocka $(PKG_LIBS)

# programs of the harness, such as the load generator
tools: $(TOOLS)

$(BUILD)/tools/%: t/lib/%.c | $(BUILD)/tools
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d \
	    -o $@ $< -lcrypto -lpthread -lm

# lets allocations of a unit program fail
tools: $(if $(SANITIZE),,$(BUILD)/tools/nomem.so)

$(BUILD)/tools/nomem.so: t/lib/preload/nomem.c | $(BUILD)/tools
	$(CC) $(filter-out -fPIE,$(ALL_CFLAGS)) -Wno-missing-prototypes -fPIC \
	    -shared -o $@ $<

# these speak to the store by its own interface
$(foreach n,rows store_client store_bench,$(BUILD)/tools/$(n)): \
    $(BUILD)/tools/%: t/lib/%.c $(SIDECAR_LIB) $(CAPTURE_OBJ) \
    | $(BUILD)/tools
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d \
	    -o $@ $< $(SIDECAR_LIB) $(CAPTURE_OBJ) $(PKG_LIBS)

# the store's test server, when neither MONGO_URI nor mongod is there
build/tools/ferretdb: $(wildcard t/ferretdb/*)
	t/lib/mongo-server build

# Debian's nginx headers; the result loads into Debian's binary
NGX_SRC     := /usr/share/nginx/src
MODULE_SRC  := config $(wildcard ngx_module/*.c ngx_module/*.h)

#: module           build/ngx_http_capture_module.so, for Debian's nginx
module: $(BUILD)/ngx_http_capture_module.so

ifeq ($(SANITIZE),)
$(BUILD)/ngx_http_capture_module.so: $(MODULE_SRC)
	mkdir -p $(BUILD)/nginx
	cd $(NGX_SRC) && . ./conf_flags && ./configure \
	    "$${NGX_CONF_FLAGS[@]}" --with-cc-opt="-g -O2 -fPIC" \
	    --add-dynamic-module=$(CURDIR) \
	    --builddir=$(CURDIR)/$(BUILD)/nginx >$(CURDIR)/$(BUILD)/nginx.log
	$(MAKE) -C $(NGX_SRC) -f $(CURDIR)/$(BUILD)/nginx/Makefile modules
	cp $(BUILD)/nginx/ngx_http_capture_module.so $@.new
	mv $@.new $@
else
# a sanitized module needs an nginx that is built with it; nginx' own undefined
# behaviour must not end it: the harness looks whose a report is
$(BUILD)/ngx_http_capture_module.so: $(MODULE_SRC) mk/nginx-build
	mk/nginx-build bookworm $(BUILD)/nginx-san $(BUILD)/nginx-san.build \
	    "-O1 -g $(filter-out -fno-sanitize-recover=%,$(SANFLAGS)) \
	    -DNGX_DEBUG_PALLOC=1"
	cp $(BUILD)/nginx-san/ngx_http_capture_module.so $@.new
	mv $@.new $@
endif

#: ui               build/dashboard, the web page
ui: $(if $(wildcard sidecar/dashboard/package.json),build/dashboard/index.html)

UI_SRC       = $(shell find sidecar/dashboard -type f \
               -not -path "*/node_modules/*" 2>/dev/null)

build/dashboard/index.html: $(UI_SRC) build/dashboard.npm
	mk/ui run build
	test -f $@ && touch $@

build/dashboard.npm: sidecar/dashboard/package-lock.json
	mkdir -p build
	mk/ui install
	touch $@

#: clean            removes build/; run/ with its data stays
clean:
	rm -rf build

include mk/test.mk mk/run.mk mk/install.mk

-include $(wildcard $(BUILD)/obj/*.d $(BUILD)/unit/*.d $(BUILD)/tools/*.d \
    $(BUILD)/fuzz/*.d $(BUILD)/replay/*.d $(BUILD)/bench/*.d)
