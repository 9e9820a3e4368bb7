/*
 * What a store keeps, on both: logs as they came, small documents, events, and
 * that they expire.  STORE_URI as in store_place.h.
 */

#include "store_world.h"

#include <inttypes.h>


static void
body_compare(const struct log_body *a, const struct log_body *b)
{
    assert_true(slice_eq(a->headers, b->headers));
    assert_true(slice_eq(a->data, b->data));
    assert_int_equal(a->bytes, b->bytes);
    assert_true(slice_eq(a->cut, b->cut));
}


/* The pair of that name that has NTH of the name before it, or NULL. */
static const struct log_pair *
pair_nth(const struct log_pair *pairs, unsigned n, struct slice name,
    unsigned nth)
{
    for (unsigned i = 0; i < n; i++) {
        if (slice_eq(pairs[i].name, name) && nth-- == 0) {
            return &pairs[i];
        }
    }

    return NULL;
}


/* The values of a name keep their order; a store may put them together. */
static void
pairs_compare(const struct log_pair *a, unsigned na, const struct log_pair *b,
    unsigned nb)
{
    assert_int_equal(na, nb);

    for (unsigned i = 0; i < na; i++) {
        const struct log_pair  *same;
        unsigned                before = 0;

        for (unsigned j = 0; j < i; j++) {
            before += slice_eq(a[j].name, a[i].name);
        }

        same = pair_nth(b, nb, a[i].name, before);
        assert_non_null(same);
        assert_true(slice_eq(same->value, a[i].value));
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
        if (!slice_eq(s[i], t[i])) {
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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        STORE_TEST(test_round_trip),
        STORE_TEST(test_large_body),
        STORE_TEST(test_duplicates),
        STORE_TEST(test_one_bad_document_spares_the_others),
        STORE_TEST(test_a_long_batch_with_everything_in_it),
        STORE_TEST(test_small_documents),
        STORE_TEST(test_lists_of_documents),
        STORE_TEST(test_dead_letters_are_bytes),
        STORE_TEST(test_events),
        STORE_TEST(test_expiry),
        STORE_TEST(test_stats),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
