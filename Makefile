# Integration Dashboard.  `make help` lists the targets.

SHELL      := /bin/bash
SANITIZE   ?=
B          := build$(if $(SANITIZE),/sanitize)
CC         ?= gcc
PKGS       := hiredis jansson libcurl libmongoc-1.0 sqlite3 libmicrohttpd \
              libconfuse libzstd openssl
WARNINGS   := -Wall -Wextra -Wpedantic -Wstrict-prototypes \
              -Wmissing-prototypes -Wdeclaration-after-statement -Wshadow \
              -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wvla -Werror
HARDEN     := -fstack-protector-strong -fstack-clash-protection \
              -fcf-protection -fPIE -Werror=format-security
CFLAGS     ?= -O2 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARNINGS) $(HARDEN) $(CFLAGS) \
              $(if $(SANITIZE),-fsanitize=$(SANITIZE) \
              -fno-sanitize-recover=all -fno-omit-frame-pointer, \
              -D_FORTIFY_SOURCE=2) \
              -Ingx_module -Isidecar
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack \
              $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)
PKG_CFLAGS  = $(shell pkg-config --cflags $(PKGS) | sed 's/-I/-isystem /g')
PKG_LIBS    = $(shell pkg-config --libs $(PKGS)) -ljq -lpthread -lm

# sidecar/main*.c hold a main(); everything else is the library of the tests
SIDECAR_SRC := $(wildcard sidecar/*.c)
SIDECAR_OBJ := $(patsubst sidecar/%.c,$(B)/obj/%.o,$(SIDECAR_SRC))
SIDECAR_LIB := $(filter-out $(B)/obj/main.o $(B)/obj/jq_main.o,$(SIDECAR_OBJ))

# the module's files that know no nginx
CAPTURE_SRC := $(foreach n,ring ship redact record redis spool crc, \
               $(wildcard ngx_module/ngx_http_capture_$(n).c))
CAPTURE_OBJ := $(patsubst ngx_module/%.c,$(B)/obj/%.o,$(CAPTURE_SRC))

UNIT        := $(patsubst t/unit/%.c,$(B)/unit/%,$(wildcard t/unit/*.c))

.PHONY: all module sidecar unit test clean

all: $(if $(wildcard config),module) $(if $(wildcard sidecar/main.c),sidecar)

sidecar: $(B)/integrationd

$(B)/integrationd: $(SIDECAR_OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter-out $(B)/obj/jq_main.o,$^) $(PKG_LIBS)

$(B)/obj/%.o: sidecar/%.c | $(B)/obj
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/%.o: ngx_module/%.c | $(B)/obj
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj $(B)/unit:
	mkdir -p $@

# unit tests: one program a file, cmocka, TAP
unit: $(UNIT)

$(B)/unit/%: t/unit/%.c $(SIDECAR_LIB) $(CAPTURE_OBJ) | $(B)/unit
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -Wno-missing-prototypes \
	    $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< \
	    $(SIDECAR_LIB) $(CAPTURE_OBJ) -lcmocka $(PKG_LIBS)

# Debian's nginx headers; the result loads into Debian's binary
NGX_SRC     := /usr/share/nginx/src
MODULE_SRC  := config $(wildcard ngx_module/*.c ngx_module/*.h)

module: $(B)/ngx_http_capture_module.so

$(B)/ngx_http_capture_module.so: $(MODULE_SRC)
	mkdir -p $(B)/nginx
	cd $(NGX_SRC) && . ./conf_flags && ./configure \
	    "$${NGX_CONF_FLAGS[@]}" --with-cc-opt="-g -O2 -fPIC" \
	    --add-dynamic-module=$(CURDIR) \
	    --builddir=$(CURDIR)/$(B)/nginx >$(CURDIR)/$(B)/nginx.log
	$(MAKE) -C $(NGX_SRC) -f $(CURDIR)/$(B)/nginx/Makefile modules
	cp $(B)/nginx/ngx_http_capture_module.so $@

# T= names one file or several; a C source means its program
T           ?=
TESTS        = $(if $(T),$(patsubst t/unit/%.c,$(B)/unit/%,$(T)),-r t)

test: all unit
	IDASH_BUILD=$(B) IDASH_SANITIZE=$(SANITIZE) prove $(TESTS)

clean:
	rm -rf build

-include $(wildcard $(B)/obj/*.d $(B)/unit/*.d)
