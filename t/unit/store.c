/*
 * One suite for both stores; STORE_URI as in store_place.h.  STORE_ROUNDS:
 * random filters of a test.
 */

#include "store_place.h"

#include <inttypes.h>
#include <pthread.h>

#include "clock.h"

#define DOCS     400
#define EQUALS   31                        /* a third and one: 1 11 21 31 */
#define DAY_US   HEATMAP_DAY_US

struct world {
    struct store_place  place;
    struct store       *s;
    struct arena        texts;             /* what documents point to */
    struct arena        read;              /* what the store gave */
    struct logdoc      *docs;
    size_t              n;
    uint32_t            random;
    int64_t             base_us;           /* all logs lie after it */
};

static const struct scope  everybody = { .platform = true };


/* Random filters of each test: fewer on a server that scans for each. */
static int
rounds(void)
{
    const char  *given = getenv("STORE_ROUNDS");

    return given == NULL ? 250 : atoi(given);
}


static int64_t
deadline(void)
{
    return clock_mono_us() + 60 * 1000000;
}


static unsigned
rnd(struct world *w, unsigned n)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % n;
}


static struct slice
text(struct world *w, const char *fmt, ...)
{
    va_list       ap;
    char          line[512];

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);

    return arena_copy(&w->texts, slice_of(line));
}


static int
setup(void **state)
{
    struct world  *w = calloc(1, sizeof(*w));
    const char    *seed = getenv("STORE_SEED");

    assert_non_null(w);
    w->random = seed == NULL ? 1 : (uint32_t) atoi(seed);
    arena_init(&w->texts, 256 * 1024 * 1024);
    arena_init(&w->read, 256 * 1024 * 1024);

    /* whole days back, so that every hour of the logs is over */
    w->base_us = (clock_wall_us() / DAY_US - 40) * DAY_US;
    store_place_make(&w->place);
    w->s = w->place.s;
    *state = w;
    return 0;
}


static int
teardown(void **state)
{
    struct world  *w = *state;

    store_place_close(&w->place);
    arena_cleanup(&w->texts);
    arena_cleanup(&w->read);
    free(w->docs);
    free(w);
    return 0;
}


/* A plain log of org 1, lab 10. */
static void
doc_plain(struct world *w, struct logdoc *d, int64_t at_us)
{
    logdoc_init(d);
    uuid_make(d->id, at_us);
    d->started_us = at_us;
    d->kind = LOG_KIND_API;
    d->status = LOG_SUCCESS;
    d->org_id = 1;
    d->lab_id = 10;
    d->endpoint = SLICE_LIT("GET /a");
    d->method = SLICE_LIT("GET");
    d->url = text(w, "/a?n=%u", rnd(w, 1000));
    d->http_status = 200;
    d->duration_us = 1000;
    d->complete = 1;
    memset(d->digest, (int) rnd(w, 256), sizeof(d->digest));
}


static void
doc_ids(struct world *w, struct logdoc *d)
{
    static const char *const  names[] = {
        "bill_id", "patient_id", "lrr_id", "report_id"
    };

    for (int i = 0; i < 4; i++) {
        if (rnd(w, 3) == 0) {
            d->refs[d->nrefs].name = slice_of(names[i]);
            d->refs[d->nrefs++].value = text(w, "R%u", rnd(w, 12));
        }
    }

    if (rnd(w, 10) == 0) {                 /* a second value of one name */
        d->refs[d->nrefs].name = SLICE_LIT("bill_id");
        d->refs[d->nrefs++].value = text(w, "R%u", rnd(w, 12));
    }

    d->event_id = rnd(w, 4) ? SLICE_NONE : text(w, "event-%u", rnd(w, 9));
    d->batch_id = rnd(w, 4) ? SLICE_NONE : text(w, "batch-%u", rnd(w, 5));
    d->trace_id = rnd(w, 2) ? SLICE_NONE : text(w, "trace-%u", rnd(w, 40));
    d->replay_of = rnd(w, 9) ? SLICE_NONE : text(w, "log-%u", rnd(w, 5));
    d->resend_of = rnd(w, 9) ? SLICE_NONE : text(w, "log-%u", rnd(w, 5));
    d->message_id = rnd(w, 9) ? SLICE_NONE : text(w, "message-%u", rnd(w, 5));
    d->fields[0].name = SLICE_LIT("tier");
    d->fields[0].value = text(w, "t%u", rnd(w, 3));
    d->nfields = 1;
}


static void
doc_random(struct world *w, struct logdoc *d)
{
    static const enum log_status  statuses[] = {
        LOG_SUCCESS, LOG_SUCCESS, LOG_SUCCESS, LOG_FAIL, LOG_FAIL,
        LOG_PENDING, LOG_RETRYING, LOG_CANCELLED, LOG_COMMITTED
    };
    static const int64_t  https[] = { 200, 201, 301, 404, 422, 500, 503 };
    int64_t               at_us;

    /* on milliseconds, and often at the same one */
    at_us = w->base_us + (int64_t) rnd(w, 3 * 86400) * 1000000;
    at_us += rnd(w, 5) == 0 ? 0 : (int64_t) rnd(w, 1000) * 1000;

    if (w->n > 0 && rnd(w, 6) == 0) {
        at_us = w->docs[rnd(w, (unsigned) w->n)].started_us;
    }

    doc_plain(w, d, at_us);
    d->kind = (enum log_kind) (rnd(w, 4) == 0 ? 1 + rnd(w, 2) : 0);
    d->status = statuses[rnd(w, 9)];
    d->org_id = rnd(w, 20) == 0 ? LOGDOC_NONE : 1 + rnd(w, 3);
    d->lab_id = d->org_id == LOGDOC_NONE || rnd(w, 8) == 0 ? LOGDOC_NONE
        : d->org_id * 10 + rnd(w, 3);
    d->action_id = rnd(w, 8) == 0 ? LOGDOC_NONE : 1 + rnd(w, 9);
    d->action_category_id = d->action_id == LOGDOC_NONE ? LOGDOC_NONE
        : 1 + d->action_id % 6;
    d->developer_id = rnd(w, 5) == 0 ? SLICE_NONE
        : text(w, "developer-%u", rnd(w, 4));
    d->integration_id = d->kind == LOG_KIND_API ? SLICE_NONE
        : text(w, "integration-%u", rnd(w, 3));
    d->endpoint = text(w, "%s /e/%u", rnd(w, 2) ? "GET" : "POST", rnd(w, 6));
    d->method = rnd(w, 2) ? SLICE_LIT("GET") : SLICE_LIT("POST");
    d->url = text(w, "/e/%u?x=%u", rnd(w, 6), rnd(w, 500));
    d->http_status = rnd(w, 7) == 0 ? LOGDOC_NONE : https[rnd(w, 7)];
    d->duration_us = rnd(w, 30) == 0 ? LOGDOC_NONE
        : (int64_t) rnd(w, 3000) * (1 + rnd(w, 3000));
    d->attempts = d->kind == LOG_KIND_API ? 0 : rnd(w, 5);
    d->flags = rnd(w, 4) == 0 ? 1u << rnd(w, 6) : 0;
    doc_ids(w, d);

    if (d->status == LOG_FAIL || d->status == LOG_RETRYING) {
        d->error_code = text(w, "code-%u", rnd(w, 3));
        d->error_message = text(w, "Message %u of %u", rnd(w, 50), rnd(w, 9));
        d->error_fingerprint = logdoc_fingerprint(d);
    }

    if (rnd(w, 3) == 0) {
        d->request.headers = SLICE_LIT("Host: x\r\nAccept: */*\r\n");
        d->request.data = text(w, "{\"n\":%u}", rnd(w, 99));
        d->request.bytes = (int64_t) d->request.data.n;
    }
}


/* Inserts what the world holds, in batches; all must be new. */
static void
docs_insert(struct world *w)
{
    enum store_insert  outcome[64];

    for (size_t i = 0; i < w->n; i += 64) {
        size_t  n = w->n - i < 64 ? w->n - i : 64;

        assert_int_equal(store_logs_insert(w->s, w->docs + i, n, outcome),
            RESULT_OK);

        for (size_t j = 0; j < n; j++) {
            assert_int_equal(outcome[j], STORE_NEW);
        }
    }
}


static void
docs_random(struct world *w)
{
    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    assert_non_null(w->docs);

    for (w->n = 0; w->n < DOCS; w->n++) {
        doc_random(w, &w->docs[w->n]);
    }

    docs_insert(w);
}


static bool
slice_same(struct slice a, struct slice b)
{
    return slice_eq(a, b);
}


static void
body_compare(const struct log_body *a, const struct log_body *b)
{
    assert_true(slice_same(a->headers, b->headers));
    assert_true(slice_same(a->data, b->data));
    assert_int_equal(a->bytes, b->bytes);
    assert_true(slice_same(a->cut, b->cut));
}


static void
pairs_compare(const struct log_pair *a, unsigned na, const struct log_pair *b,
    unsigned nb)
{
    assert_int_equal(na, nb);

    for (unsigned i = 0; i < na; i++) {
        assert_true(slice_same(a[i].name, b[i].name));
        assert_true(slice_same(a[i].value, b[i].value));
    }
}


static void
doc_compare(const struct logdoc *a, const struct logdoc *b)
{
    const int64_t  x[] = {
        a->kind, a->status, a->flags, a->action_id, a->action_category_id,
        a->lab_id, a->org_id, a->http_status, a->sent_bytes, a->complete,
        a->started_us, a->duration_us, a->connect_us, a->first_byte_us,
        a->attempts, a->next_attempt_us, (int64_t) a->error_fingerprint,
        a->client_port, a->expires_us
    };
    const int64_t  y[] = {
        b->kind, b->status, b->flags, b->action_id, b->action_category_id,
        b->lab_id, b->org_id, b->http_status, b->sent_bytes, b->complete,
        b->started_us, b->duration_us, b->connect_us, b->first_byte_us,
        b->attempts, b->next_attempt_us, (int64_t) b->error_fingerprint,
        b->client_port, b->expires_us
    };
    const struct slice  s[] = {
        a->developer_id, a->integration_id, a->endpoint, a->method, a->scheme,
        a->host, a->url, a->protocol, a->route, a->upstream_addr,
        a->upstream_status, a->upstream_connect, a->upstream_header,
        a->upstream_response, a->error_code, a->error_message, a->event_id,
        a->batch_id, a->replay_of, a->resend_of, a->message_id, a->trace_id,
        a->client_ip
    };
    const struct slice  t[] = {
        b->developer_id, b->integration_id, b->endpoint, b->method, b->scheme,
        b->host, b->url, b->protocol, b->route, b->upstream_addr,
        b->upstream_status, b->upstream_connect, b->upstream_header,
        b->upstream_response, b->error_code, b->error_message, b->event_id,
        b->batch_id, b->replay_of, b->resend_of, b->message_id, b->trace_id,
        b->client_ip
    };

    assert_memory_equal(a->id, b->id, UUID_BYTES);
    assert_memory_equal(a->digest, b->digest, sizeof(a->digest));

    for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++) {
        if (x[i] != y[i]) {
            fail_msg("number %zu: %" PRId64 " is not %" PRId64, i, x[i],
                y[i]);
        }
    }

    for (size_t i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
        if (!slice_same(s[i], t[i])) {
            fail_msg("text %zu: '%.*s' is not '%.*s'", i, SLICE_ARG(s[i]),
                SLICE_ARG(t[i]));
        }
    }

    pairs_compare(a->refs, a->nrefs, b->refs, b->nrefs);
    pairs_compare(a->fields, a->nfields, b->fields, b->nfields);
    body_compare(&a->request, &b->request);
    body_compare(&a->response, &b->response);
}


/* Every member has a value of its own, bodies with odd bytes included. */
static void
doc_full(struct world *w, struct logdoc *d)
{
    static const char  binary[] = "\0\xff\xfe{\"a.b\":\"$x\"}\0";
    struct slice *const  texts[] = {
        &d->developer_id, &d->integration_id, &d->endpoint, &d->method,
        &d->scheme, &d->host, &d->url, &d->protocol, &d->route,
        &d->upstream_addr, &d->upstream_status, &d->upstream_connect,
        &d->upstream_header, &d->upstream_response, &d->error_code,
        &d->error_message, &d->event_id, &d->batch_id, &d->replay_of,
        &d->resend_of, &d->message_id, &d->trace_id, &d->client_ip,
        &d->request.cut, &d->response.cut
    };
    int64_t *const  numbers[] = {
        &d->action_id, &d->action_category_id, &d->http_status,
        &d->sent_bytes, &d->duration_us, &d->connect_us, &d->first_byte_us,
        &d->attempts, &d->next_attempt_us, &d->client_port,
        &d->request.bytes, &d->response.bytes
    };

    doc_plain(w, d, w->base_us + 1234567);

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i] = text(w, "text-%zu-\xc3\xa9", i);
    }

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        *numbers[i] = (int64_t) (1000 + i);
    }

    d->status = LOG_FAIL;
    d->kind = LOG_KIND_WEBHOOK;
    d->flags = LOG_FLAG_SUSPECT | LOG_FLAG_DUPLICATE;
    d->error_fingerprint = 0xfedcba9876543210u;
    d->next_attempt_us = w->base_us + 7000;
    d->expires_us = w->base_us + 99 * DAY_US + 1000;
    d->complete = 0;

    for (d->nrefs = 0; d->nrefs < LOGDOC_MAX_PAIRS; d->nrefs++) {
        d->refs[d->nrefs].name = text(w, "ref_%u", d->nrefs);
        d->refs[d->nrefs].value = text(w, "value %u", d->nrefs);
        d->fields[d->nrefs].name = text(w, "field.%u$", d->nrefs);
        d->fields[d->nrefs].value = text(w, "other %u", d->nrefs);
    }

    d->nfields = d->nrefs;
    d->request.headers = text(w, "Host: a\r\nX-Y: %0400d\r\n", 7);
    d->response.headers = SLICE_LIT("Content-Type: text/plain\r\n");
    d->request.data = SLICE_LIT(binary);
    d->response.data = text(w, "%0500d", 3);
}


static void
test_round_trip(void **state)
{
    struct world       *w = *state;
    struct logdoc       full, plain, got;
    enum store_insert   outcome[2];
    uint8_t             unknown[UUID_BYTES];

    doc_full(w, &full);
    doc_plain(w, &plain, w->base_us + 5);
    plain.refs[0] = (struct log_pair) { SLICE_LIT("bill_id"), SLICE_NONE };
    plain.nrefs = 0;

    assert_int_equal(store_logs_insert(w->s, &full, 1, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_NEW);
    assert_int_equal(store_logs_insert(w->s, &plain, 1, outcome), RESULT_OK);

    assert_int_equal(store_log_get(w->s, &everybody, full.id, &w->read, &got),
        RESULT_OK);
    doc_compare(&full, &got);
    assert_int_equal(store_log_get(w->s, &everybody, plain.id, &w->read,
        &got), RESULT_OK);
    doc_compare(&plain, &got);

    uuid_make(unknown, w->base_us);
    assert_int_equal(store_log_get(w->s, &everybody, unknown, &w->read, &got),
        RESULT_NOT_FOUND);
}


static void
test_large_body(void **state)
{
    struct world       *w = *state;
    struct logdoc       d, got;
    enum store_insert   outcome;
    char               *body = malloc(1024 * 1024);

    assert_non_null(body);
    for (size_t i = 0; i < 1024 * 1024; i++) {
        body[i] = (char) rnd(w, 256);      /* does not compress */
    }

    doc_plain(w, &d, w->base_us);
    d.request.data = (struct slice) { body, 1024 * 1024 };
    d.response.data = d.request.data;
    assert_int_equal(store_logs_insert(w->s, &d, 1, &outcome), RESULT_OK);
    assert_int_equal(outcome, STORE_NEW);
    assert_int_equal(store_log_get(w->s, &everybody, d.id, &w->read, &got),
        RESULT_OK);
    doc_compare(&d, &got);
    free(body);
}


static void
test_duplicates(void **state)
{
    struct world       *w = *state;
    struct logdoc       d[4];
    enum store_insert   outcome[4];
    struct store_cell  *cells;
    struct filter       f;
    unsigned            done;
    size_t              n;
    int64_t             ok = 0;

    doc_plain(w, &d[0], w->base_us);
    doc_plain(w, &d[1], w->base_us);       /* the same microsecond */
    d[2] = d[0];
    d[3] = d[1];
    d[3].digest[0] ^= 1;

    assert_int_equal(store_logs_insert(w->s, d, 4, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_NEW);
    assert_int_equal(outcome[1], STORE_NEW);
    assert_int_equal(outcome[2], STORE_SAME);
    assert_int_equal(outcome[3], STORE_DIFFERENT);

    assert_int_equal(store_logs_insert(w->s, d, 4, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_SAME);
    assert_int_equal(outcome[1], STORE_SAME);
    assert_int_equal(outcome[3], STORE_DIFFERENT);

    do {
        assert_int_equal(store_recount(w->s, 100, &done), RESULT_OK);
    } while (done > 0);

    filter_init(&f, &everybody);
    assert_int_equal(store_cells(w->s, &f, STORE_BY_NONE, DAY_US, 0, false,
        &w->read, &cells, &n), RESULT_OK);
    for (size_t i = 0; i < n; i++) {
        ok += cells[i].ok;
    }
    assert_int_equal(ok, 2);
}


static void
test_one_bad_document_spares_the_others(void **state)
{
    struct world       *w = *state;
    struct logdoc       d[3], got;
    enum store_insert   outcome[3];

    for (int i = 0; i < 3; i++) {
        doc_plain(w, &d[i], w->base_us + i);
    }

    d[1].started_us = LOGDOC_NONE;
    assert_int_equal(store_logs_insert(w->s, d, 3, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_NEW);
    assert_int_equal(outcome[1], STORE_REFUSED);
    assert_int_equal(outcome[2], STORE_NEW);
    assert_int_equal(store_log_get(w->s, &everybody, d[2].id, &w->read, &got),
        RESULT_OK);
    assert_int_equal(store_log_get(w->s, &everybody, d[1].id, &w->read, &got),
        RESULT_NOT_FOUND);
}


/* Many rows go in at once: what is there, refused or at the same time must not
 * shift what is said of the others. */
static void
test_a_long_batch_with_everything_in_it(void **state)
{
    enum { LONG = 100 };
    struct world       *w = *state;
    struct logdoc      *d = calloc(LONG, sizeof(*d)), got;
    enum store_insert   outcome[LONG], wanted[LONG];
    size_t              before = 0;

    assert_non_null(d);

    for (int i = 0; i < LONG; i++) {
        doc_plain(w, &d[i], w->base_us + i / 3 * 7);
        d[i].trace_id = text(w, "trace-%d", i);
        d[i].refs[0].name = SLICE_LIT("bill_id");
        d[i].refs[0].value = text(w, "R%d", i);
        d[i].nrefs = i % 4 != 0;
        d[i].request.data = text(w, "{\"n\":%d}", i);
        d[i].request.bytes = (int64_t) d[i].request.data.n;
        wanted[i] = STORE_NEW;
    }

    for (int i = 20; i < 60; i += 9) {
        assert_int_equal(store_logs_insert(w->s, &d[i], 1, outcome),
            RESULT_OK);
        wanted[i] = i % 2 == 0 ? STORE_SAME : STORE_DIFFERENT;
        d[i].digest[0] ^= i % 2 == 0 ? 0 : 1;
        before++;
    }

    d[70].started_us = LOGDOC_NONE;
    wanted[70] = STORE_REFUSED;
    d[85] = d[3];                          /* of the same batch */
    wanted[85] = STORE_SAME;

    assert_true(before > 3);
    assert_int_equal(store_logs_insert(w->s, d, LONG, outcome), RESULT_OK);

    for (int i = 0; i < LONG; i++) {
        if (outcome[i] != wanted[i]) {
            fail_msg("log %d: %d is not %d", i, (int) outcome[i],
                (int) wanted[i]);
        }

        if (outcome[i] == STORE_NEW) {
            assert_int_equal(store_log_get(w->s, &everybody, d[i].id,
                &w->read, &got), RESULT_OK);
            doc_compare(&d[i], &got);
        }
    }

    free(d);
}


/* A parameter as a client would write it. */
static void
filter_random_term(struct world *w, struct filter *f)
{
    static const char *const  statuses[] = {
        "PENDING", "SUCCESS", "RETRYING", "FAIL", "CANCELLED", "COMMITTED"
    };
    static const char *const  kinds[] = { "api", "webhook", "hl7" };
    static const char *const  https[] = {
        "200", "404", "503", "5xx", "4xx", "none", "999"
    };
    static const char *const  refs[] = {
        "ref[bill_id]", "ref[patient_id]", "ref[lrr_id]", "ref[report_id]"
    };
    static const char *const  flags[] = {
        "lab_mismatch", "suspect", "unknown_key", "unconfirmed"
    };
    static const char *const  orders[] = { "[gt]", "[gte]", "[lt]", "[lte]" };
    const struct logdoc      *any = &w->docs[rnd(w, (unsigned) w->n)];
    const char               *no = rnd(w, 4) == 0 ? "!" : "", *why;
    char                      id[UUID_TEXT + 1];
    struct slice              name, value;

    uuid_text(any->id, id);

    switch (rnd(w, 21)) {
    case 0:
        name = SLICE_LIT("status");
        value = text(w, "%s%s", no, statuses[rnd(w, 6)]);
        break;
    case 1:
        name = SLICE_LIT("kind");
        value = text(w, "%s%s", no, kinds[rnd(w, 3)]);
        break;
    case 2:
        name = SLICE_LIT("http");
        value = text(w, "%s%s", no, https[rnd(w, 7)]);
        break;
    case 3:
        name = SLICE_LIT("action_id");
        value = rnd(w, 6) == 0 ? text(w, "%snone", no)
                               : text(w, "%s%u", no, 1 + rnd(w, 10));
        break;
    case 4:
        name = SLICE_LIT("action_category_id");
        value = text(w, "%s%u", no, 1 + rnd(w, 6));
        break;
    case 5:
        name = SLICE_LIT("lab_id");
        value = rnd(w, 6) == 0 ? text(w, "%snone", no)
                               : text(w, "%s%u", no, 10 + rnd(w, 24));
        break;
    case 6:
        name = SLICE_LIT("org_id");
        value = text(w, "%s%u", no, 1 + rnd(w, 4));
        break;
    case 7:
        name = SLICE_LIT("developer_id");
        value = text(w, "%sdeveloper-%u", no, rnd(w, 5));
        break;
    case 8:
        name = SLICE_LIT("integration_id");
        value = text(w, "%sintegration-%u", no, rnd(w, 4));
        break;
    case 9:
        name = SLICE_LIT("endpoint");
        value = text(w, "%sGET /e/%u", no, rnd(w, 7));
        break;
    case 10:
        name = SLICE_LIT("method");
        value = text(w, "%sGET", no);
        break;
    case 11:
        name = SLICE_LIT("error");
        value = any->error_fingerprint == 0 ? text(w, "%snone", no)
            : text(w, "%s%016" PRIx64, no, any->error_fingerprint);
        break;
    case 12:
        name = SLICE_LIT("event_id");
        value = text(w, "%sevent-%u", no, rnd(w, 10));
        break;
    case 13:
        name = SLICE_LIT("batch_id");
        value = text(w, "%sbatch-%u", no, rnd(w, 6));
        break;
    case 14:
        name = SLICE_LIT("trace_id");
        value = text(w, "%strace-%u", no, rnd(w, 41));
        break;
    case 15:
        name = rnd(w, 2) ? SLICE_LIT("replay_of") : SLICE_LIT("resend_of");
        value = text(w, "%slog-%u", no, rnd(w, 6));
        break;
    case 16:
        name = text(w, "attempts%s", orders[rnd(w, 4)]);
        value = text(w, "%u", rnd(w, 5));
        break;
    case 17:
        name = text(w, "duration_ms%s", orders[rnd(w, 4)]);
        value = text(w, "%u", rnd(w, 3000));
        break;
    case 18:
        name = SLICE_LIT("id");
        value = text(w, "%s%s", no, id);
        break;
    case 19:
        name = SLICE_LIT("flag");
        value = text(w, "%s%s", no, flags[rnd(w, 4)]);
        break;
    default:
        name = slice_of(refs[rnd(w, 4)]);
        value = text(w, "%sR%u", no, rnd(w, 13));
        break;
    }

    if (filter_add(f, name, value, &why) != RESULT_OK) {
        fail_msg("%.*s=%.*s %s", SLICE_ARG(name), SLICE_ARG(value), why);
    }
}


static void
filter_random(struct world *w, struct filter *f, int64_t labs[3])
{
    static const char *const  words[] = {
        "x=1", "/E/3", "message 7", "event-", "trace-1", "R11", "zzz"
    };
    struct scope  sc = { .platform = rnd(w, 3) == 0, .org_id = 1 + rnd(w, 4) };
    unsigned      n = rnd(w, 4);

    if (!sc.platform && rnd(w, 3) == 0) {
        sc.labs = labs;
        sc.nlabs = rnd(w, 4);
        for (unsigned i = 0; i < sc.nlabs; i++) {
            labs[i] = sc.org_id * 10 + rnd(w, 3);
        }
    }

    filter_init(f, &sc);

    if (rnd(w, 3) == 0) {
        f->from_us = w->docs[rnd(w, (unsigned) w->n)].started_us;
    }

    if (rnd(w, 3) == 0) {
        f->to_us = w->docs[rnd(w, (unsigned) w->n)].started_us;
    }

    if (rnd(w, 5) == 0) {
        f->q = slice_of(words[rnd(w, 7)]);
    }

    while (n-- > 0) {
        filter_random_term(w, f);
    }
}


static void
filter_print(const struct filter *f)
{
    fprintf(stderr, "# scope %d org %" PRId64 " labs %d q '%.*s' from %"
        PRId64 " to %" PRId64 "\n", f->scope.platform, f->scope.org_id,
        f->scope.labs == NULL ? -1 : (int) f->scope.nlabs, SLICE_ARG(f->q),
        f->from_us, f->to_us);

    for (unsigned i = 0; i < f->nterms; i++) {
        fprintf(stderr, "#   %s op %d [%.*s] '%.*s' %" PRId64 "\n",
            filter_fields[f->terms[i].field].param, f->terms[i].op,
            SLICE_ARG(f->terms[i].name), SLICE_ARG(f->terms[i].text),
            f->terms[i].num);
    }
}


/* Goes through all pages; seen[i] counts how often document i came. */
static size_t
pages_read(struct world *w, const struct filter *f, bool ascending,
    unsigned limit, unsigned *seen)
{
    struct store_page  p = { .limit = limit, .ascending = ascending };
    struct store_rows  rows;
    int64_t            last = ascending ? INT64_MIN : INT64_MAX;
    size_t             total = 0;

    for ( ;; ) {
        arena_reset(&w->read);
        p.deadline_us = deadline();
        assert_int_equal(store_logs_find(w->s, f, &p, &w->read, &rows),
            RESULT_OK);
        assert_true(rows.n <= limit);
        assert_false(rows.partial);
        total += rows.n;

        for (size_t i = 0; i < rows.n; i++) {
            int64_t  at = rows.rows[i].started_us;

            assert_true(ascending ? at >= last : at <= last);
            last = at;

            for (size_t j = 0; j < w->n; j++) {
                if (memcmp(w->docs[j].id, rows.rows[i].id, UUID_BYTES) == 0) {
                    seen[j]++;
                }
            }
        }

        if (!rows.more) {
            return total;
        }

        assert_int_equal(rows.n, limit);
        p.has_after = true;
        p.after_us = last;
        memcpy(p.after_id, rows.rows[rows.n - 1].id, UUID_BYTES);
    }
}


static void
filter_check(struct world *w, const struct filter *f, bool ascending)
{
    unsigned  seen[DOCS] = { 0 };
    size_t    want = 0, got;
    int64_t   n;
    bool      capped;

    /* pages of one log: test_pages_with_equal_times */
    got = pages_read(w, f, ascending, 10 + rnd(w, 40), seen);

    for (size_t i = 0; i < w->n; i++) {
        bool  match = filter_match(f, &w->docs[i]);

        want += match;

        if (seen[i] != match) {
            filter_print(f);
            fail_msg("document %zu came %u times, should %d", i, seen[i],
                match);
        }
    }

    assert_int_equal(got, want);
    assert_int_equal(store_logs_count(w->s, f, DOCS * 2, deadline(), &n,
        &capped), RESULT_OK);

    if (n != (int64_t) want) {
        filter_print(f);
    }

    assert_int_equal(n, want);
    assert_false(capped);
}


static void
test_filters_mean_what_filter_match_means(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    int64_t         labs[3];

    docs_random(w);

    for (int i = 0; i < rounds(); i++) {
        filter_random(w, &f, labs);
        filter_check(w, &f, i & 1);
    }
}


static void
test_pages_with_equal_times(void **state)
{
    struct world   *w = *state;
    unsigned        seen[EQUALS];
    struct filter   f;

    w->docs = calloc(EQUALS, sizeof(w->docs[0]));
    assert_non_null(w->docs);

    for (w->n = 0; w->n < EQUALS; w->n++) {
        doc_plain(w, &w->docs[w->n], w->base_us);
    }

    docs_insert(w);
    filter_init(&f, &everybody);

    for (int ascending = 0; ascending < 2; ascending++) {
        for (unsigned limit = 1; limit <= EQUALS;
             limit += EQUALS / 3)
        {
            memset(seen, 0, sizeof(seen));
            assert_int_equal(pages_read(w, &f, ascending, limit, seen),
                EQUALS);

            for (int i = 0; i < EQUALS; i++) {
                assert_int_equal(seen[i], 1);
            }
        }
    }

    /* the very microsecond, and the one after */
    f.from_us = w->base_us;
    f.to_us = w->base_us + 1;
    memset(seen, 0, sizeof(seen));
    assert_int_equal(pages_read(w, &f, false, 200, seen), EQUALS);
    f.from_us = w->base_us + 1;
    f.to_us = w->base_us + 2;
    assert_int_equal(pages_read(w, &f, false, 200, seen), 0);
}


/* A deadline that has passed: a partial page from which one can go on. */
static void
test_partial_pages_reach_the_end(void **state)
{
    struct world       *w = *state;
    struct store_page   p = { .limit = 10 };
    struct store_rows   rows;
    struct filter       f;
    const char         *why;
    size_t              want = 0, got = 0;
    int64_t             patience = 300;

    docs_random(w);
    filter_init(&f, &everybody);
    assert_int_equal(filter_add(&f, SLICE_LIT("q"), SLICE_LIT("x=7"), &why),
        RESULT_OK);

    for (size_t i = 0; i < w->n; i++) {
        want += filter_match(&f, &w->docs[i]);
    }

    /* longer each time, or a slow server never gets anywhere */
    for (unsigned calls = 0; calls < 200; calls++) {
        int64_t  before = p.has_after ? p.after_us : INT64_MAX;

        arena_reset(&w->read);
        p.deadline_us = clock_mono_us() + patience;
        patience += patience / 8 + 100;
        assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
            RESULT_OK);
        got += rows.n;

        if (rows.partial) {
            assert_true(rows.searched_to_us <= before);
            p.after_us = rows.searched_to_us;
            memcpy(p.after_id, rows.searched_to_id, UUID_BYTES);

        } else if (rows.more) {
            p.after_us = rows.rows[rows.n - 1].started_us;
            memcpy(p.after_id, rows.rows[rows.n - 1].id, UUID_BYTES);

        } else {
            assert_int_equal(got, want);
            return;
        }

        p.has_after = true;
    }

    fail_msg("never came to the end");
}


/* Nothing was looked at: one goes on from the start, not past the end. */
static void
test_a_page_without_time_begins_again(void **state)
{
    struct world       *w = *state;
    struct filter       f;
    struct store_page   p = { .limit = 1000, .deadline_us = 1 };
    struct store_rows   rows;
    size_t              n = 0;

    docs_random(w);
    filter_init(&f, &everybody);
    arena_reset(&w->read);
    assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
        RESULT_OK);
    n = rows.n;

    if (rows.partial) {
        p.has_after = true;
        p.after_us = rows.searched_to_us;
        memcpy(p.after_id, rows.searched_to_id, UUID_BYTES);
        p.deadline_us = deadline();
        assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
            RESULT_OK);
        n += rows.n;
    }

    assert_false(rows.partial);
    assert_int_equal(n, w->n);
}


static void
test_tenants_see_their_own(void **state)
{
    struct world        *w = *state;
    struct log_attempt  *attempts;
    struct logdoc        got;
    const int64_t        lab = 21;
    const struct scope   scopes[] = {
        { .org_id = 1 }, { .org_id = 2 }, { .org_id = 9 },
        { .org_id = 2, .labs = &lab, .nlabs = 1 },
        { .org_id = 2, .labs = &lab, .nlabs = 0 },
        { .platform = true },
    };
    size_t               n;

    docs_random(w);

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        struct filter  f;

        filter_init(&f, &scopes[i]);
        filter_check(w, &f, false);

        /* three queries each */
        for (size_t j = 0; j < w->n; j += rounds() < 100 ? 31 : 7) {
            enum result  want = scope_sees(&scopes[i], w->docs[j].org_id,
                w->docs[j].lab_id) ? RESULT_OK : RESULT_NOT_FOUND;

            arena_reset(&w->read);
            assert_int_equal(store_log_get(w->s, &scopes[i], w->docs[j].id,
                &w->read, &got), want);
            assert_int_equal(store_attempts(w->s, &scopes[i], w->docs[j].id,
                &w->read, &attempts, &n), want);
            assert_int_equal(n, 0);
        }
    }
}


static void
test_count_stops_at_its_cap(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    int64_t         n;
    bool            capped;

    docs_random(w);
    filter_init(&f, &everybody);
    assert_int_equal(store_logs_count(w->s, &f, 17, deadline(), &n, &capped),
        RESULT_OK);
    assert_int_equal(n, 17);
    assert_true(capped);
    assert_int_equal(store_logs_count(w->s, &f, DOCS, deadline(), &n,
        &capped), RESULT_OK);
    assert_int_equal(n, DOCS);
    assert_false(capped);
}


static struct slice
key_of(struct world *w, const struct logdoc *d, enum store_by by)
{
    switch (by) {
    case STORE_BY_ENDPOINT:
        return d->endpoint;
    case STORE_BY_DEVELOPER:
        return d->developer_id;
    case STORE_BY_ACTION:
        return d->action_id == LOGDOC_NONE ? SLICE_NONE
            : text(w, "%" PRId64, d->action_id);
    case STORE_BY_LAB:
        return d->lab_id == LOGDOC_NONE ? SLICE_NONE
            : text(w, "%" PRId64, d->lab_id);
    case STORE_BY_KIND:
        return slice_of(log_kind_text(d->kind));
    default:
        return SLICE_NONE;
    }
}


/* Cells as the documents have it: each is taken off; nothing may be left. */
static void
cells_check(struct world *w, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, struct store_cell *cells, size_t n,
    bool with_hist)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct logdoc  *d = &w->docs[i];
        enum heatmap_count    count = heatmap_count_of(d);
        struct slice          key = key_of(w, d, by);
        int64_t               at = heatmap_slot_start(d->started_us, slot_us,
            offset_us);
        size_t                j;

        if (count == HEATMAP_NOT_COUNTED || !filter_match(f, d)) {
            continue;
        }

        for (j = 0; j < n; j++) {
            if (cells[j].at_us == at && slice_eq(cells[j].key, key)) {
                break;
            }
        }

        if (j == n) {
            filter_print(f);
            fail_msg("by %d: no cell at %" PRId64 " of '%.*s'", by, at,
                SLICE_ARG(key));
        }

        cells[j].ok -= count == HEATMAP_OK;
        cells[j].fail -= count == HEATMAP_FAIL;

        if (with_hist && d->duration_us != LOGDOC_NONE) {
            cells[j].hist[heatmap_hist_slot(d->duration_us)]--;
        }
    }

    for (size_t j = 0; j < n; j++) {
        bool  zero = cells[j].ok == 0 && cells[j].fail == 0;

        for (int k = 0; k < HIST_SLOTS; k++) {
            zero = zero && cells[j].hist[k] == 0;
        }

        if (!zero) {
            filter_print(f);
            fail_msg("by %d: cell at %" PRId64 " of '%.*s' has %" PRId64
                " ok, %" PRId64 " fail too many", by, cells[j].at_us,
                SLICE_ARG(cells[j].key), cells[j].ok, cells[j].fail);
        }
    }
}


static void
cells_random(struct world *w, bool exact)
{
    static const int64_t  slots[] = {
        HEATMAP_BUCKET_US, HEATMAP_QUARTER_US, HEATMAP_HOUR_US,
        6 * HEATMAP_HOUR_US, DAY_US
    };
    static const int64_t  offsets[] = { 0, 19800000000, -3600000000,
        HEATMAP_BUCKET_US };
    struct store_cell    *cells;
    struct filter         f;
    enum store_by         by = (enum store_by) rnd(w, 6);
    int64_t               labs[3], slot, offset;
    size_t                n;
    bool                  hist = rnd(w, 2), partial = false;

    do {
        filter_random(w, &f, labs);
    } while (!exact && !filter_is_bucket(&f));

    if (!exact) {                          /* buckets count whole */
        f.from_us = f.from_us == LOGDOC_NONE ? LOGDOC_NONE
            : heatmap_slot_start(f.from_us, HEATMAP_BUCKET_US, 0);
        f.to_us = f.to_us == LOGDOC_NONE ? LOGDOC_NONE
            : heatmap_slot_start(f.to_us, HEATMAP_BUCKET_US, 0);
    }

    slot = slots[rnd(w, 5)];
    offset = offsets[rnd(w, 4)];
    arena_reset(&w->read);

    if (exact) {
        hist = true;
        assert_int_equal(store_cells_exact(w->s, &f, by, slot, offset,
            deadline(), &w->read, &cells, &n, &partial), RESULT_OK);
        assert_false(partial);

    } else {
        assert_int_equal(store_cells(w->s, &f, by, slot, offset, hist,
            &w->read, &cells, &n), RESULT_OK);
    }

    cells_check(w, &f, by, slot, offset, cells, n, hist);
}


static void
recount_all(struct world *w)
{
    unsigned  done;

    do {
        assert_int_equal(store_recount(w->s, 1000, &done), RESULT_OK);
    } while (done > 0);
}


static void
test_heatmap_equals_the_documents(void **state)
{
    struct world  *w = *state;
    enum store_insert  outcome;

    docs_random(w);

    for (int i = 0; i < rounds() / 2
                    && strcmp(store_name(w->s), "sqlite") == 0; i++)
    {
        cells_random(w, false);            /* exact without a recount too */
    }

    recount_all(w);
    for (int i = 0; i < rounds(); i++) {
        cells_random(w, false);
    }

    /* a late one into what has been counted already */
    w->docs = realloc(w->docs, (w->n + 1) * sizeof(w->docs[0]));
    assert_non_null(w->docs);
    doc_plain(w, &w->docs[w->n], w->docs[0].started_us);
    assert_int_equal(store_logs_insert(w->s, &w->docs[w->n++], 1, &outcome),
        RESULT_OK);

    if (strcmp(store_name(w->s), "sqlite") != 0) {
        recount_all(w);
    }

    for (int i = 0; i < rounds() / 2; i++) {
        cells_random(w, false);
    }
}


static void
test_exact_cells_equal_the_documents(void **state)
{
    struct world  *w = *state;

    docs_random(w);
    for (int i = 0; i < rounds(); i++) {
        cells_random(w, true);
    }
}


static void
groups_check(struct world *w, const struct filter *f,
    const struct store_error_group *g, size_t n)
{
    int64_t  total = 0, want = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t               count = 0, first = INT64_MAX, last = INT64_MIN;
        const struct logdoc  *d = NULL;

        assert_true(i == 0 || g[i - 1].count >= g[i].count);

        for (size_t j = 0; j < w->n; j++) {
            const struct logdoc  *e = &w->docs[j];

            if ((e->status == LOG_FAIL || e->status == LOG_RETRYING)
                && filter_match(f, e)
                && e->error_fingerprint == g[i].fingerprint)
            {
                count++;
                first = e->started_us < first ? e->started_us : first;
                last = e->started_us > last ? e->started_us : last;

                if (memcmp(e->id, g[i].last_id, UUID_BYTES) == 0) {
                    d = e;
                }
            }
        }

        assert_int_equal(g[i].count, count);
        assert_int_equal(g[i].first_us, first);
        assert_int_equal(g[i].last_us, last);
        assert_non_null(d);
        assert_int_equal(d->started_us, last);
        assert_int_equal(g[i].kind, d->kind);
        assert_true(slice_eq(g[i].endpoint, d->endpoint));
        assert_true(slice_eq(g[i].code, d->error_code));
        assert_true(slice_eq(g[i].message, d->error_message));
        assert_int_equal(g[i].http_status, d->http_status);
        total += count;
    }

    for (size_t j = 0; j < w->n; j++) {
        want += (w->docs[j].status == LOG_FAIL
                 || w->docs[j].status == LOG_RETRYING)
            && filter_match(f, &w->docs[j]);
    }

    assert_int_equal(total, want);
}


static void
test_error_groups(void **state)
{
    struct world              *w = *state;
    struct store_error_group  *g;
    struct filter              f;
    int64_t                    labs[3];
    size_t                     n;
    bool                       partial;

    docs_random(w);

    for (int i = 0; i < rounds(); i++) {
        filter_random(w, &f, labs);
        arena_reset(&w->read);
        assert_int_equal(store_error_groups(w->s, &f, 1000, deadline(),
            &w->read, &g, &n, &partial), RESULT_OK);
        assert_false(partial);
        groups_check(w, &f, g, n);
    }

    filter_init(&f, &everybody);
    assert_int_equal(store_error_groups(w->s, &f, 3, deadline(), &w->read, &g,
        &n, &partial), RESULT_OK);
    assert_int_equal(n, 3);
}


static void
test_open_counts(void **state)
{
    struct world        *w = *state;
    const int64_t        lab = 21;
    const struct scope   scopes[] = {
        { .platform = true }, { .org_id = 1 }, { .org_id = 9 },
        { .org_id = 2, .labs = &lab, .nlabs = 1 },
    };

    docs_random(w);

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        int64_t  pending = 0, retrying = 0, got[2];

        for (size_t j = 0; j < w->n; j++) {
            const struct logdoc  *d = &w->docs[j];

            if (scope_sees(&scopes[i], d->org_id, d->lab_id)) {
                pending += d->status == LOG_PENDING;
                retrying += d->status == LOG_RETRYING;
            }
        }

        assert_int_equal(store_open_counts(w->s, &scopes[i], &got[0],
            &got[1]), RESULT_OK);
        assert_int_equal(got[0], pending);
        assert_int_equal(got[1], retrying);
    }
}


static struct store_doc
small_doc(const char *id, const char *body, int64_t org)
{
    return (struct store_doc) {
        .id = slice_of(id), .body = slice_of(body), .org_id = org,
        .created_us = 1000000, .updated_us = 2000000,
        .expires_us = LOGDOC_NONE
    };
}


static void
test_small_documents(void **state)
{
    struct world      *w = *state;
    struct store_doc   d = small_doc("dev-1", "{\"name\":\"A\"}", 1), got;
    struct slice       id = SLICE_LIT("dev-1");
    int64_t            v, before, after;

    assert_int_equal(store_config_version(w->s, &before), RESULT_OK);
    assert_int_equal(store_doc_get(w->s, STORE_DEVELOPER, id, &w->read, &got),
        RESULT_NOT_FOUND);
    assert_int_equal(store_doc_put(w->s, STORE_DEVELOPER, &d, 0, &v),
        RESULT_OK);
    assert_int_equal(v, 1);
    assert_int_equal(store_doc_put(w->s, STORE_DEVELOPER, &d, 0, &v),
        RESULT_CONFLICT);

    d.body = SLICE_LIT("{\"name\":\"B\"}");
    assert_int_equal(store_doc_put(w->s, STORE_DEVELOPER, &d, 7, &v),
        RESULT_CONFLICT);
    assert_int_equal(store_doc_put(w->s, STORE_DEVELOPER, &d, 1, &v),
        RESULT_OK);
    assert_int_equal(v, 2);
    assert_int_equal(store_doc_put(w->s, STORE_DEVELOPER, &d, -1, &v),
        RESULT_OK);
    assert_int_equal(v, 3);

    assert_int_equal(store_doc_get(w->s, STORE_DEVELOPER, id, &w->read, &got),
        RESULT_OK);
    assert_true(slice_eq(got.id, id));
    assert_true(slice_eq(got.body, d.body));
    assert_int_equal(got.version, 3);
    assert_int_equal(got.org_id, 1);
    assert_int_equal(got.created_us, 1000000);
    assert_int_equal(got.updated_us, 2000000);
    assert_int_equal(got.expires_us, LOGDOC_NONE);

    /* the same id elsewhere is another document */
    assert_int_equal(store_doc_get(w->s, STORE_LAB, id, &w->read, &got),
        RESULT_NOT_FOUND);

    assert_int_equal(store_config_version(w->s, &after), RESULT_OK);
    assert_true(after > before);
    before = after;

    assert_int_equal(store_doc_delete(w->s, STORE_DEVELOPER, id, 2),
        RESULT_CONFLICT);
    assert_int_equal(store_doc_delete(w->s, STORE_DEVELOPER, id, 3),
        RESULT_OK);
    assert_int_equal(store_doc_delete(w->s, STORE_DEVELOPER, id, -1),
        RESULT_NOT_FOUND);
    assert_int_equal(store_config_version(w->s, &after), RESULT_OK);
    assert_true(after > before);

    /* what is no configuration leaves the version alone */
    before = after;
    d = small_doc("v", "{}", 1);
    assert_int_equal(store_doc_put(w->s, STORE_VIEW, &d, -1, &v), RESULT_OK);
    assert_int_equal(store_config_version(w->s, &after), RESULT_OK);
    assert_int_equal(after, before);
}


static void
list_check(struct world *w, int64_t org, const char *after, bool descending,
    unsigned limit, const char *want)
{
    struct store_doc  *docs;
    char               got[256] = "";
    size_t             n;

    assert_int_equal(store_doc_list(w->s, STORE_LAB, org, slice_of(after),
        descending, limit, &w->read, &docs, &n), RESULT_OK);

    for (size_t i = 0; i < n; i++) {
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ",
            SLICE_ARG(docs[i].id));
    }

    assert_string_equal(got, want);
}


static void
test_lists_of_documents(void **state)
{
    static const struct {
        const char  *id;
        int64_t      org;
    } labs[] = {
        { "10", 1 }, { "9", 1 }, { "a", 2 }, { "B", LOGDOC_NONE }, { "aa", 1 }
    };
    struct world      *w = *state;
    struct store_doc   d;
    int64_t            v;

    for (size_t i = 0; i < sizeof(labs) / sizeof(labs[0]); i++) {
        d = small_doc(labs[i].id, "{}", labs[i].org);
        assert_int_equal(store_doc_put(w->s, STORE_LAB, &d, 0, &v),
            RESULT_OK);
    }

    list_check(w, LOGDOC_NONE, "", false, 10, "10 9 B a aa ");
    list_check(w, LOGDOC_NONE, "", true, 10, "aa a B 9 10 ");
    list_check(w, LOGDOC_NONE, "9", false, 2, "B a ");
    list_check(w, LOGDOC_NONE, "a", true, 2, "B 9 ");
    list_check(w, 1, "", false, 10, "10 9 aa ");
    list_check(w, 1, "10", false, 1, "9 ");
    list_check(w, 3, "", false, 10, "");
}


static void
test_dead_letters_are_bytes(void **state)
{
    static const char  bytes[] = "*3\r\n\0\xff\xfe$.{";
    struct world        *w = *state;
    struct store_doc     d = small_doc("1-0", "", LOGDOC_NONE), got;
    struct store_stats   stats;
    int64_t              v;

    d.body = SLICE_LIT(bytes);
    assert_int_equal(store_doc_put(w->s, STORE_DEAD_LETTER, &d, 0, &v),
        RESULT_OK);
    assert_int_equal(store_doc_get(w->s, STORE_DEAD_LETTER, d.id, &w->read,
        &got), RESULT_OK);
    assert_true(slice_eq(got.body, d.body));
    assert_int_equal(got.org_id, LOGDOC_NONE);
    assert_int_equal(store_stats(w->s, &stats), RESULT_OK);
    assert_int_equal(stats.dead_letters, 1);
}


/* A key that is there keeps out what comes with it; an event that is there
 * keeps its text, and its logs are completed. */
static void
test_events(void **state)
{
    struct world        *w = *state;
    struct store_doc     key = small_doc("k", "{}", 1), got;
    struct store_doc     event = small_doc("e1", "{\"n\":1}", 1);
    struct logdoc        d[2], out;
    enum store_insert    outcome[2];
    struct store_event   e = { .key = &key, .event = &event, .logs = d,
        .n = 1 };

    doc_plain(w, &d[0], w->base_us);
    doc_plain(w, &d[1], w->base_us + 1);
    assert_int_equal(store_event_put(w->s, &e, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_NEW);

    event = small_doc("e2", "{\"n\":2}", 1);
    e.logs = &d[1];
    assert_int_equal(store_event_put(w->s, &e, outcome), RESULT_CONFLICT);
    assert_int_equal(store_doc_get(w->s, STORE_EVENT, event.id, &w->read,
        &got), RESULT_NOT_FOUND);
    assert_int_equal(store_log_get(w->s, &everybody, d[1].id, &w->read,
        &out), RESULT_NOT_FOUND);

    event = small_doc("e1", "{\"n\":3}", 1);
    e.key = NULL;
    e.logs = d;
    e.n = 2;
    assert_int_equal(store_event_put(w->s, &e, outcome), RESULT_OK);
    assert_int_equal(outcome[0], STORE_SAME);
    assert_int_equal(outcome[1], STORE_NEW);
    assert_int_equal(store_doc_get(w->s, STORE_EVENT, event.id, &w->read,
        &got), RESULT_OK);
    assert_true(slice_eq(got.body, SLICE_LIT("{\"n\":1}")));
    assert_int_equal(store_doc_get(w->s, STORE_IDEMPOTENCY, key.id, &w->read,
        &got), RESULT_OK);

    event = small_doc("e4", "{}", 1);
    e.n = 0;
    assert_int_equal(store_event_put(w->s, &e, outcome), RESULT_OK);
    assert_int_equal(store_doc_get(w->s, STORE_EVENT, event.id, &w->read,
        &got), RESULT_OK);
}


static void
test_expiry(void **state)
{
    struct world       *w = *state;
    int64_t             now = w->base_us + 10 * DAY_US, v;
    struct store_doc    d = small_doc("k", "{}", 1), got;
    struct store_stats  stats;
    struct logdoc       out;
    unsigned            done, all = 0;

    w->docs = calloc(60, sizeof(w->docs[0]));
    assert_non_null(w->docs);

    for (w->n = 0; w->n < 60; w->n++) {
        doc_random(w, &w->docs[w->n]);
        w->docs[w->n].expires_us = w->n % 3 == 0 ? now - 2 * DAY_US
            : w->n % 3 == 1 ? now + 2 * DAY_US : LOGDOC_NONE;
    }

    docs_insert(w);
    d.expires_us = now - DAY_US;
    assert_int_equal(store_doc_put(w->s, STORE_IDEMPOTENCY, &d, 0, &v),
        RESULT_OK);

    do {
        assert_int_equal(store_expire(w->s, now, 7, &done), RESULT_OK);
        assert_true(done <= 7);
        all += done;
    } while (done > 0);

    assert_int_equal(all, 21);
    assert_int_equal(store_stats(w->s, &stats), RESULT_OK);
    assert_int_equal(stats.logs, 40);
    assert_int_equal(store_doc_get(w->s, STORE_IDEMPOTENCY, d.id, &w->read,
        &got), RESULT_NOT_FOUND);

    for (size_t i = 0; i < w->n; i++) {
        arena_reset(&w->read);
        assert_int_equal(store_log_get(w->s, &everybody, w->docs[i].id,
            &w->read, &out), i % 3 == 0 ? RESULT_NOT_FOUND : RESULT_OK);
    }
}


/* No filter finds what is gone, by whatever index it is led. */
static void
test_expired_logs_are_found_by_nothing(void **state)
{
    struct world   *w = *state;
    struct logdoc  *rest;
    struct filter   f;
    int64_t         labs[3];
    unsigned        done;
    size_t          n = 0;

    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    rest = calloc(DOCS, sizeof(rest[0]));
    assert_non_null(w->docs);
    assert_non_null(rest);

    for (w->n = 0; w->n < 200; w->n++) {
        doc_random(w, &w->docs[w->n]);
        w->docs[w->n].expires_us = rnd(w, 2) ? w->base_us + 4 * DAY_US
                                             : LOGDOC_NONE;
    }

    docs_insert(w);
    assert_int_equal(store_expire(w->s, w->base_us + 5 * DAY_US, 1000, &done),
        RESULT_OK);

    for (size_t i = 0; i < w->n; i++) {
        if (w->docs[i].expires_us == LOGDOC_NONE) {
            rest[n++] = w->docs[i];
        }
    }

    assert_int_equal(done, w->n - n);
    free(w->docs);
    w->docs = rest;
    w->n = n;

    for (int i = 0; i < rounds() / 2; i++) {
        filter_random(w, &f, labs);
        filter_check(w, &f, i & 1);
    }
}


static void
test_stats(void **state)
{
    struct world        *w = *state;
    struct store_stats   stats;
    int64_t              oldest = INT64_MAX;

    docs_random(w);

    for (size_t i = 0; i < w->n; i++) {
        oldest = w->docs[i].started_us < oldest ? w->docs[i].started_us
                                                : oldest;
    }

    assert_int_equal(store_stats(w->s, &stats), RESULT_OK);
    assert_int_equal(stats.logs, DOCS);
    assert_int_equal(stats.oldest_us, oldest);
    assert_true(stats.bytes >= 0);
    assert_int_equal(store_ping(w->s), RESULT_OK);
}


static void
test_opening_again_keeps_everything(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    char            err[256];

    docs_random(w);
    store_close(w->s);
    store_place_open(&w->place);
    w->s = w->place.s;
    assert_int_equal(store_migrate(w->s, err, sizeof(err)), RESULT_OK);
    filter_init(&f, &everybody);
    filter_check(w, &f, false);
}


struct writer {
    struct world   *w;
    struct logdoc  *docs;
    size_t          n;
    unsigned        fresh;
};


static void *
writer_main(void *arg)
{
    struct writer      *me = arg;
    enum store_insert   outcome[8];

    for (size_t i = 0; i < me->n; i += 8) {
        if (store_logs_insert(me->w->s, me->docs + i, 8, outcome)
            != RESULT_OK)
        {
            return NULL;
        }

        for (int j = 0; j < 8; j++) {
            me->fresh += outcome[j] == STORE_NEW;
        }
    }

    return me;
}


/* Four threads write the same logs: each is new to exactly one of them. */
static void
test_threads_write_the_same(void **state)
{
    struct world   *w = *state;
    struct writer   writers[4];
    pthread_t       threads[4];
    struct filter   f;
    unsigned        fresh = 0;
    void           *done;

    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    assert_non_null(w->docs);
    for (w->n = 0; w->n < DOCS; w->n++) {
        doc_random(w, &w->docs[w->n]);
    }

    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer) { .w = w, .docs = w->docs, .n = w->n };
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main,
            &writers[i]), 0);
    }

    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &done);
        assert_non_null(done);
        fresh += writers[i].fresh;
    }

    assert_int_equal(fresh, DOCS);
    filter_init(&f, &everybody);
    filter_check(w, &f, false);
    recount_all(w);

    for (int i = 0; i < 50; i++) {
        cells_random(w, false);
    }
}


#define STORE_TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        STORE_TEST(test_round_trip),
        STORE_TEST(test_large_body),
        STORE_TEST(test_duplicates),
        STORE_TEST(test_one_bad_document_spares_the_others),
        STORE_TEST(test_a_long_batch_with_everything_in_it),
        STORE_TEST(test_filters_mean_what_filter_match_means),
        STORE_TEST(test_pages_with_equal_times),
        STORE_TEST(test_partial_pages_reach_the_end),
        STORE_TEST(test_a_page_without_time_begins_again),
        STORE_TEST(test_tenants_see_their_own),
        STORE_TEST(test_count_stops_at_its_cap),
        STORE_TEST(test_heatmap_equals_the_documents),
        STORE_TEST(test_exact_cells_equal_the_documents),
        STORE_TEST(test_error_groups),
        STORE_TEST(test_open_counts),
        STORE_TEST(test_small_documents),
        STORE_TEST(test_lists_of_documents),
        STORE_TEST(test_dead_letters_are_bytes),
        STORE_TEST(test_events),
        STORE_TEST(test_expiry),
        STORE_TEST(test_expired_logs_are_found_by_nothing),
        STORE_TEST(test_stats),
        STORE_TEST(test_opening_again_keeps_everything),
        STORE_TEST(test_threads_write_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
