/*
 * A store of both kinds (store_place.h) and the logs that a test put into it,
 * for what the store says to be held against.  STORE_ROUNDS: random filters of
 * a test; STORE_SEED: other logs and filters.
 */

#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "store_place.h"

#include "clock.h"

#define DOCS     400
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
static inline int
rounds(void)
{
    const char  *given = getenv("STORE_ROUNDS");

    return given == NULL ? 250 : atoi(given);
}


static inline int64_t
deadline(void)
{
    return clock_mono_us() + 60 * 1000000;
}


static inline unsigned
rnd(struct world *w, unsigned n)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % n;
}


static inline struct slice
text(struct world *w, const char *fmt, ...)
{
    va_list       ap;
    char          line[512];

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);

    return arena_copy(&w->texts, slice_of(line));
}


static inline int
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


static inline int
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
static inline void
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


static inline void
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


static inline void
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
static inline void
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


static inline void
docs_random(struct world *w)
{
    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    assert_non_null(w->docs);

    for (w->n = 0; w->n < DOCS; w->n++) {
        doc_random(w, &w->docs[w->n]);
    }

    docs_insert(w);
}


#define STORE_TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif /* STORE_WORLD_H */
