# Tests: prove runs all of them; its line is the last.

.PHONY: test test-run test-prove test-sanitize test-mainline test-memcheck \
    fuzz format format-check check docs

# T= names one file or several; a C source means its program
T           ?=
TESTS        = $(if $(T),$(patsubst t/unit/%.c,$(BUILD)/unit/%,$(T)),\
               $(if $(SANITIZE),$(filter-out t/r%.t t/bench.t,$(wildcard t/*.t)),-r t))
PROVE        = IDASH_BUILD=$(BUILD) IDASH_SANITIZE=$(SANITIZE) \
               INTEGRATIOND_JQ=$(BUILD)/integrationd-jq prove \
               $(if $(CI),--timer) $(LANES)

# tests wait more than they work: two at a time of the whole suite
LANES        = $(if $(T),,-j2)

BENCH       := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

#: test             every test; T=t/name.t or T=t/unit/name.c: one of them
test:
	mk/packages build run test fuzz format \
	    $(if $(wildcard sidecar/dashboard/package.json),\
	    $(if $(SANITIZE),,ui test-ui)) $(if $(SANITIZE),source)
	$(MAKE) test-run

test-run: all unit tools replay $(BENCH) $(if $(SANITIZE)$(T),,ui)
	$(PROVE) $(TESTS)

test-prove:
	$(PROVE) $(TESTS)

#: test-sanitize    unit programs, fuzz seeds and sidecar under ASan and UBSan
SANITIZED    = t/unit.t t/fuzz.t t/drain.t t/api_logs.t t/outbound.t

test-sanitize:
	mk/packages build run test
	$(MAKE) SANITIZE=address,undefined sidecar unit tools replay
	$(MAKE) SANITIZE=address,undefined T="$(if $(T),$(T),$(SANITIZED))" \
	    test-prove

#: test-mainline    the module's tests on sid's nginx, from its source package
MAINLINE    := build/mainline
MODULE_TESTS = $(filter-out t/r%.t,$(wildcard t/capture*.t t/module*.t \
               t/e2e.t t/harness.t))

test-mainline:
	mk/packages build run test source
	$(MAKE) all
	mk/nginx-build sid,trixie $(MAINLINE)/nginx $(MAINLINE)/work "-O2 -g"
	NGINX_BINARY=$(CURDIR)/$(MAINLINE)/nginx/sbin/nginx \
	    CAPTURE_MODULE=$(CURDIR)/$(MAINLINE)/nginx/ngx_http_capture_module.so \
	    $(PROVE) $(if $(T),$(T),$(MODULE_TESTS))

#: test-memcheck    the module's tests with nginx under valgrind
test-memcheck:
	mk/packages build run test memcheck
	$(MAKE) all
	IDASH_VALGRIND=1 IDASH_HANG=300 $(PROVE) $(if $(T),$(T),$(MODULE_TESTS))

# fuzz targets: libFuzzer by clang; replays of the seeds by gcc in make test
FUZZ        := $(patsubst t/fuzz/%.c,%,$(filter-out t/fuzz/replay.c,\
               $(wildcard t/fuzz/*.c)))
FUZZ_TIME   ?= 60
FUZZ_SRC     = $(filter-out sidecar/main.c sidecar/jq_main.c,$(SIDECAR_SRC)) \
               $(CAPTURE_SRC)
FUZZ_FLAGS   = -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=all -fno-omit-frame-pointer

.PHONY: replay
replay: $(FUZZ:%=$(BUILD)/replay/%)

$(BUILD)/replay/%: t/fuzz/%.c t/fuzz/replay.c $(SIDECAR_LIB) $(CAPTURE_OBJ) \
    | $(BUILD)/replay
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -Wno-missing-prototypes \
	    $(ALL_LDFLAGS) -o $@ t/fuzz/$*.c t/fuzz/replay.c \
	    $(SIDECAR_LIB) $(CAPTURE_OBJ) $(PKG_LIBS)

FUZZ_OBJ     = $(patsubst %.c,build/fuzz/obj/%.o,$(notdir $(FUZZ_SRC)))
vpath %.c sidecar ngx_module

build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	clang-14 -std=c11 -D_GNU_SOURCE -O1 -g $(FUZZ_FLAGS) -Ingx_module \
	    -Isidecar $(PKG_CFLAGS) -c -o $@ $<

build/fuzz/%: t/fuzz/%.c $(FUZZ_OBJ)
	clang-14 -std=c11 -D_GNU_SOURCE -O1 -g $(FUZZ_FLAGS) \
	    -fsanitize=fuzzer -Ingx_module -Isidecar $(PKG_CFLAGS) \
	    -o $@ $< $(FUZZ_OBJ) $(PKG_LIBS)

#: fuzz             each target for FUZZ_TIME=60 seconds; T=name: one
fuzz:
	mk/packages build fuzz
	$(MAKE) $(addprefix build/fuzz/,$(if $(T),$(T),$(FUZZ)))
	set -e; for t in $(if $(T),$(T),$(FUZZ)); do \
	    mkdir -p build/fuzz/corpus/$$t; \
	    dict=; [ -f t/fuzz/$$t.dict ] && dict=-dict=t/fuzz/$$t.dict; \
	    seeds=; [ -d t/fuzz/seeds/$$t ] && seeds=t/fuzz/seeds/$$t; \
	    echo "fuzz $$t $(FUZZ_TIME) s"; \
	    build/fuzz/$$t -max_total_time=$(FUZZ_TIME) -timeout=10 \
	        -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=build/fuzz/$$t- $$dict \
	        build/fuzz/corpus/$$t $$seeds; \
	done

# clang-format 14 cannot align declarations in nginx's manner, so `format` is
# a small program of our own that mends and checks what all files keep to
#: format           mends white space; format-check and layers are tests too
format:
	.ci/check-format --fix

format-check:
	.ci/check-format

#: docs             man page, sample, openapi.yaml from what integrationd prints
docs: sidecar
	IDASH_BUILD=$(BUILD) mk/docs

#: check            layers, format and documentation, without building tests
check:
	.ci/check-layers
	.ci/check-format
	.ci/check-docs

#: bench            every benchmark; B=capture: one of them; QUICK=1: no figures
B           ?=

.PHONY: bench bench-build
bench-build: all tools $(BENCH)

bench:
	mk/packages build run test memcheck bench
	$(MAKE) bench-build $(if $(B),$(if $(filter dashboard,$(B)),ui),ui)
	@echo '# name value unit limit ratio verdict'
	@set -e; for b in $(if $(B),bench/$(B).pl,$(wildcard bench/*.pl)); do \
	    IDASH_BUILD=$(BUILD) perl $$b; \
	done

$(BUILD)/bench/%: bench/%.c $(SIDECAR_LIB) $(CAPTURE_OBJ)
	mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d \
	    -o $@ $< $(SIDECAR_LIB) $(CAPTURE_OBJ) $(PKG_LIBS)
