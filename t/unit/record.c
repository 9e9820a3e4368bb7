/* The record's decoder: the golden record, and everything that is none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "record.h"

#define ID  "01973a5c-2e10-7123-9abc-def012345678"

static struct arena   arena;
static struct record  rec;
static char           why[256];
static struct slice   pairs[1024];
static size_t         npairs;


static void
set(const char *name, const char *value)
{
    for (size_t i = 0; i < npairs; i += 2) {
        if (slice_eq(pairs[i], slice_of(name))) {
            pairs[i + 1] = slice_of(value);
            return;
        }
    }

    pairs[npairs++] = slice_of(name);
    pairs[npairs++] = slice_of(value);
}


static void
add(const char *name, const char *value)
{
    pairs[npairs++] = slice_of(name);
    pairs[npairs++] = slice_of(value);
}


static void
unset(const char *name)
{
    for (size_t i = 0; i < npairs; i += 2) {
        if (slice_eq(pairs[i], slice_of(name))) {
            memmove(&pairs[i], &pairs[i + 2],
                (npairs - i - 2) * sizeof(pairs[0]));
            npairs -= 2;
            return;
        }
    }

    fail_msg("no %s", name);
}


static void
start(void)
{
    npairs = 0;
    set("v", "1");
    set("id", ID);
    set("kind", "api");
    set("start_us", "1748965469712291");
    set("duration_us", "12345");
    set("status", "200");
    set("complete", "1");
}


static enum result
decode(void)
{
    arena_reset(&arena);
    why[0] = '\0';
    return record_decode(pairs, npairs, &arena, &rec, why, sizeof(why));
}


static void
refuses(const char *what)
{
    assert_int_equal(decode(), RESULT_INVALID);
    if (strstr(why, what) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, what);
    }
}


static int
setup(void **state)
{
    (void) state;
    arena_init(&arena, 1024 * 1024);
    start();
    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    arena_cleanup(&arena);
    return 0;
}


#define assert_slice(s, text)                                                 \
    do {                                                                      \
        assert_int_equal((s).n, sizeof(text) - 1);                            \
        assert_memory_equal((s).p, text, sizeof(text) - 1);                   \
    } while (0)


static void
golden_path(char *path, size_t size)
{
    char     self[512], *slash;
    ssize_t  n;

    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';

    while ((slash = strrchr(self, '/')) != NULL) {
        *slash = '\0';
        assert_true(snprintf(path, size, "%s/t/golden/record.bin", self)
                    < (int) size);
        if (access(path, F_OK) == 0) {
            return;
        }
    }

    fail_msg("no t/golden above the program");
}


/* The RESP command of the file is parsed as a reply would be. */
static redisReply *
golden(void)
{
    char          path[600], text[8192];
    void         *reply = NULL;
    size_t        n;
    redisReader  *reader = redisReaderCreate();
    redisReply   *r;
    FILE         *f;

    golden_path(path, sizeof(path));
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text), f);
    fclose(f);

    assert_int_equal(redisReaderFeed(reader, text, n), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);

    r = reply;
    npairs = 0;
    assert_string_equal(r->element[0]->str, "XADD");
    for (size_t i = 3; i < r->elements; i++) {
        pairs[npairs++] = (struct slice) { r->element[i]->str,
                                           (size_t) r->element[i]->len };
    }

    return r;
}


static void
test_golden(void **state)
{
    struct logdoc  *d = &rec.doc;
    redisReply     *reply = golden();
    char            id[UUID_TEXT + 1];

    (void) state;
    assert_int_equal(decode(), RESULT_OK);
    uuid_text(d->id, id);
    assert_string_equal(id, ID);
    assert_int_equal(d->kind, LOG_KIND_API);
    assert_int_equal(d->status, LOG_SUCCESS);
    assert_int_equal(d->http_status, 201);
    assert_int_equal(d->complete, 1);
    assert_int_equal(d->started_us, uuid_time_us(d->id));
    assert_int_equal(d->duration_us, 12345);
    assert_int_equal(d->first_byte_us, 12001);
    assert_int_equal(d->sent_bytes, 100321);
    assert_int_equal(d->client_port, 50123);
    assert_int_equal(d->request.bytes, 17);
    assert_int_equal(d->response.bytes, 100000);
    assert_int_equal(d->action_id, 57);
    assert_int_equal(d->action_category_id, LOGDOC_NONE);
    assert_int_equal(d->lab_id, LOGDOC_NONE);
    assert_int_equal(rec.claimed_lab, 12);
    assert_slice(d->endpoint, "POST /api/v1/patients");
    assert_slice(d->url, "/api/v1/patients?lab=12&token=***&q=a%20b");
    assert_slice(d->host, "api.example.org");
    assert_slice(d->scheme, "https");
    assert_slice(d->client_ip, "203.0.113.9");
    assert_slice(d->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_slice(d->upstream_addr, "127.0.0.1:9000, 127.0.0.1:9001");
    assert_slice(d->upstream_status, "502, 201");
    assert_slice(d->request.data, "{\"a\":\"\xc3\xa4\"}\0\xff\x80");
    assert_slice(d->response.cut, "size");
    assert_slice(d->request.cut, "");
    assert_int_equal(d->nrefs, 2);
    assert_slice(d->refs[1].name, "bill_id");
    assert_slice(d->refs[1].value, "B-1");
    assert_int_equal(d->nfields, 1);
    assert_slice(d->fields[0].name, "zone");
    assert_int_equal(rec.key_sha256.n, 64);
    assert_int_equal(d->error_fingerprint, 0);
    freeReplyObject(reply);
}


static void
test_outcome(void **state)
{
    static const struct {
        const char       *status, *complete, *code;
        enum log_status   want;
    } cases[] = {
        { "200", "1", "", LOG_SUCCESS },
        { "399", "1", "", LOG_SUCCESS },
        { "101", "1", "", LOG_SUCCESS },
        { "200", "0", "incomplete", LOG_FAIL },
        { "400", "1", "client_error", LOG_FAIL },
        { "404", "0", "client_error", LOG_FAIL },
        { "499", "0", "client_closed", LOG_FAIL },
        { "500", "1", "server_error", LOG_FAIL },
        { "502", "1", "bad_gateway", LOG_FAIL },
        { "504", "1", "upstream_timeout", LOG_FAIL },
        { "0", "1", "no_answer", LOG_FAIL },
    };

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set("status", cases[i].status);
        set("complete", cases[i].complete);
        assert_int_equal(decode(), RESULT_OK);
        assert_int_equal(rec.doc.status, cases[i].want);
        assert_true(slice_eq(rec.doc.error_code, slice_of(cases[i].code)));
        assert_int_equal(rec.doc.error_fingerprint != 0,
            cases[i].want == LOG_FAIL);
    }
}


static void
test_refused(void **state)
{
    (void) state;
    set("v", "2");
    refuses("format version \"2\" is not 1");
    start();
    unset("v");
    refuses("field v is missing");
    start();
    set("complete", "");
    refuses("field complete is missing");
    start();
    add("status", "201");
    refuses("field status is there twice");
    start();
    set("status", "2x0");
    refuses("field status is no decimal number");
    set("status", "-20");
    refuses("field status is no decimal number");
    set("status", "2000");
    refuses("field status has 4 bytes, more than 3");
    start();
    set("duration_us", "99999999999999999999");
    refuses("field duration_us is no decimal number");
    start();
    set("id", "01973a5c-2e10-4123-9abc-def012345678");
    refuses("no UUIDv7");
    set("id", "x");
    refuses("no UUIDv7");
    start();
    set("kind", "hl7");
    refuses("neither api nor webhook");
    start();
    set("start_us", "1");
    refuses("more than a day apart");
    start();
    set("complete", "2");
    refuses("neither 0 nor 1");
    start();
    set("key_sha256", "abc");
    refuses("not 64 hex digits");
    start();
    set("trace_id", "xyz");
    refuses("not 32 hex digits");
    start();
    set("request_cut", "bored");
    refuses("no known reason");
    start();
    npairs--;
    refuses("13 names and values");
}


static void
test_pairs(void **state)
{
    static char  names[RECORD_MAX_PAIRS + 1][16], big[RECORD_MAX_VALUE + 2];

    (void) state;
    add("ref.bill_id", "1");
    add("ref.bill_id", "2");
    refuses("\"bill_id\" is there twice");
    start();
    add("ref.", "1");
    refuses("no name");
    start();
    add("ref.a b", "1");
    refuses("\"a?b\" is no name");
    start();
    memset(big, 'x', sizeof(big) - 1);
    add("field.x", big);
    refuses("longer than 1024 bytes");

    start();
    for (int i = 0; i <= RECORD_MAX_PAIRS; i++) {
        snprintf(names[i], sizeof(names[i]), "ref.n%d", i);
        add(names[i], "1");
    }
    refuses("more than 64 references");
    npairs -= 2;
    assert_int_equal(decode(), RESULT_OK);
    assert_int_equal(rec.doc.nrefs, RECORD_MAX_PAIRS);

    start();
    for (int i = 0; i < 200; i++) {
        add("new", "1");
    }
    refuses("names and values");

    start();
    add("of_a_newer_writer", "1");
    assert_int_equal(decode(), RESULT_OK);
    add("ref.lab_id", "12x");
    assert_int_equal(decode(), RESULT_OK);
    assert_int_equal(rec.claimed_lab, -1);
}


static void
test_text(void **state)
{
    static char  big[300];

    (void) state;
    set("uri", "/a\x01\xff\n");
    set("host", "gr\xc3\xbc\x7f.example");
    set("method", "BREW");
    set("route", "/r");
    assert_int_equal(decode(), RESULT_OK);
    assert_slice(rec.doc.url, "/a\\x01\\xff\\x0a");
    assert_slice(rec.doc.host, "gr\xc3\xbc\\x7f.example");
    assert_slice(rec.doc.method, "BREW");
    assert_slice(rec.doc.endpoint, "OTHER /r");

    unset("method");
    unset("route");
    assert_int_equal(decode(), RESULT_OK);
    assert_slice(rec.doc.endpoint, "- -");

    memset(big, 'x', sizeof(big) - 1);
    set("method", big);
    refuses("field method has 299 bytes, more than 256");
}


static void
test_memory(void **state)
{
    (void) state;
    arena_cleanup(&arena);
    arena_init(&arena, 0);
    assert_int_equal(decode(), RESULT_MEMORY);
    assert_string_equal(why, "out of memory");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
