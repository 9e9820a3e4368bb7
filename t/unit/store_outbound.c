/*
 * Deliveries on both stores: claims under leases, outcomes by token, moves by
 * hand, what is due, what counts.  STORE_URI as in store_place.h.
 */

#include "store_place.h"

#include <mongoc/mongoc.h>
#include <pthread.h>

#include "clock.h"

#define SECOND  INT64_C(1000000)
#define RACERS  4
#define STEP    104                        /* nearly DISPATCH_BATCH */
#define MONGO_LOGS  "integration_directory"

struct world {
    struct store_place  place;
    struct store       *s;
    struct arena        a;
    int64_t             now_us;
};

static const struct scope  everybody = { .platform = true };


static int
setup(void **state)
{
    struct world  *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    arena_init(&w->a, 256 * 1024 * 1024);
    store_place_make(&w->place);
    w->s = w->place.s;
    w->now_us = clock_wall_us();
    *state = w;
    return 0;
}


static int
teardown(void **state)
{
    struct world  *w = *state;

    store_place_close(&w->place);
    arena_cleanup(&w->a);
    free(w);
    return 0;
}


/* -- what the tests do --------------------------------------------------- */

/* N deliveries, due one second apart from NOW - 10 s on. */
static struct logdoc *
deliveries_make(struct world *w, size_t n)
{
    struct logdoc  *d = arena_alloc(&w->a, n * sizeof(*d));

    for (size_t i = 0; i < n; i++) {
        logdoc_init(&d[i]);
        d[i].started_us = w->now_us - 20 * SECOND + (int64_t) i;
        uuid_make(d[i].id, d[i].started_us);
        d[i].kind = LOG_KIND_WEBHOOK;
        d[i].status = LOG_PENDING;
        d[i].org_id = 3;
        d[i].lab_id = 11;
        d[i].endpoint = SLICE_LIT("partner");
        d[i].integration_id = SLICE_LIT("0197-i");
        d[i].next_attempt_us = w->now_us + ((int64_t) i - 10) * SECOND;
        d[i].priority = (int64_t) (i % 3);
        d[i].request.data = SLICE_LIT("{\"n\":1}");
        d[i].request.bytes = 7;
    }

    return d;
}


static struct logdoc *
deliveries(struct world *w, size_t n)
{
    struct logdoc      *d = deliveries_make(w, n);
    enum store_insert  *outcome = arena_alloc(&w->a, n * sizeof(*outcome));

    assert_int_equal(store_logs_insert(w->s, d, n, outcome), RESULT_OK);
    return d;
}


static struct store_claim
claim_at(struct world *w, const uint8_t id[UUID_BYTES], int64_t now_us,
    int64_t lease_us)
{
    struct store_claim  c;

    memset(&c, 0, sizeof(c));
    memcpy(c.id, id, UUID_BYTES);
    assert_int_equal(store_claim(w->s, now_us, lease_us, &w->a, &c, 1),
        RESULT_OK);
    return c;
}


static struct store_claim
claim_now(struct world *w, const struct logdoc *d)
{
    return claim_at(w, d->id, w->now_us, w->now_us + 90 * SECOND);
}


static void
attempt_init(struct log_attempt *t, const struct store_claim *c, int status)
{
    memset(t, 0, sizeof(*t));
    memcpy(t->log_id, c->id, UUID_BYTES);
    t->number = c->doc.attempts;
    t->outcome = status < 300 ? SLICE_LIT("DELIVERED") : SLICE_LIT("RETRY");
    t->http_status = status;
    t->started_us = c->doc.started_us;
    t->duration_us = 12000;
    t->connect_us = 100;
    t->first_byte_us = 900;
    t->next_attempt_us = LOGDOC_NONE;
    t->request.bytes = 7;
    t->response.data = SLICE_LIT("answer");
    t->response.bytes = 6;
}


static struct store_finish
finish_of(const struct store_claim *c, enum log_status status,
    int64_t next_us, const struct log_attempt *t)
{
    struct store_finish  f;

    memset(&f, 0, sizeof(f));
    memcpy(f.id, c->id, UUID_BYTES);
    f.token = c->doc.token;
    f.status = status;
    f.attempt_used = t != NULL;
    f.attempt = t;
    f.next_attempt_us = next_us;
    f.expires_us = LOGDOC_NONE;

    if (status == LOG_RETRYING || status == LOG_FAIL) {
        f.error_code = SLICE_LIT("http_5xx");
        f.error_message = SLICE_LIT("503");
    }

    return f;
}


static bool
finish(struct world *w, struct store_finish f)
{
    assert_int_equal(store_finish(w->s, &f, 1), RESULT_OK);
    return !f.late;
}


static struct logdoc
log_of(struct world *w, const uint8_t id[UUID_BYTES])
{
    struct logdoc  d;

    assert_int_equal(store_log_get(w->s, &everybody, id, &w->a, &d),
        RESULT_OK);
    return d;
}


static size_t
attempts_of(struct world *w, const uint8_t id[UUID_BYTES],
    struct log_attempt **t)
{
    size_t  n;

    assert_int_equal(store_attempts(w->s, &everybody, id, &w->a, t, &n),
        RESULT_OK);
    return n;
}


/* What the heatmap has counted, by the buckets. */
static void
counted(struct world *w, int64_t *ok, int64_t *fail)
{
    struct filter       f;
    struct store_cell  *cells;
    size_t              n;

    filter_init(&f, &everybody);
    assert_int_equal(store_cells(w->s, &f, STORE_BY_NONE, HEATMAP_BUCKET_US, 0,
        false, &w->a, &cells, &n), RESULT_OK);
    *ok = *fail = 0;

    for (size_t i = 0; i < n; i++) {
        *ok += cells[i].ok;
        *fail += cells[i].fail;
    }
}


/* -- tests --------------------------------------------------------------- */

/* Inserted by who sends it: it is as if it had been claimed. */
static void
test_a_log_may_be_born_leased(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = arena_alloc(&w->a, sizeof(*d));
    enum store_insert    outcome;
    struct store_claim   c, mine;
    struct log_attempt   t;
    int64_t              lease = w->now_us + 90 * SECOND;

    *d = *deliveries(w, 1);
    uuid_make(d->id, d->started_us);
    d->attempts = d->token = 1;
    d->lease_until_us = lease;
    assert_int_equal(store_logs_insert(w->s, d, 1, &outcome), RESULT_OK);
    assert_int_equal(outcome, STORE_NEW);

    memset(&mine, 0, sizeof(mine));
    memcpy(mine.id, d->id, UUID_BYTES);
    mine.doc = *d;
    c = claim_now(w, d);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, lease);
    assert_int_equal(log_of(w, d->id).status, LOG_PENDING);

    /* its time is over: who was slow is late */
    c = claim_at(w, d->id, lease + 1, lease + 90 * SECOND);
    assert_true(c.claimed);
    assert_int_equal(c.doc.token, 2);
    assert_int_equal(c.doc.attempts, 2);
    attempt_init(&t, &mine, 200);
    assert_false(finish(w, finish_of(&mine, LOG_SUCCESS, LOGDOC_NONE, &t)));

    /* another, which ends in time */
    uuid_make(d->id, d->started_us + 1);
    assert_int_equal(store_logs_insert(w->s, d, 1, &outcome), RESULT_OK);
    memcpy(mine.id, d->id, UUID_BYTES);
    attempt_init(&t, &mine, 200);
    assert_true(finish(w, finish_of(&mine, LOG_SUCCESS, LOGDOC_NONE, &t)));
    assert_int_equal(log_of(w, d->id).status, LOG_SUCCESS);
    assert_int_equal(log_of(w, d->id).attempts, 1);
}


static void
test_a_claim_leases(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 12);
    struct store_claim   c = claim_now(w, &d[0]);

    assert_true(c.claimed);
    assert_int_equal(c.doc.token, 1);
    assert_int_equal(c.doc.attempts, 1);
    assert_int_equal(c.doc.priority, 0);
    assert_int_equal(c.since_us, d[0].next_attempt_us);
    assert_true(slice_eq(c.doc.request.data, SLICE_LIT("{\"n\":1}")));

    /* leased: not before its end */
    c = claim_now(w, &d[0]);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, w->now_us + 90 * SECOND);

    /* its owner is gone */
    c = claim_at(w, d[0].id, w->now_us + 91 * SECOND, w->now_us + 200 * SECOND);
    assert_true(c.claimed);
    assert_int_equal(c.doc.token, 2);
    assert_int_equal(c.doc.attempts, 2);

    /* not due yet */
    c = claim_now(w, &d[11]);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, d[11].next_attempt_us);
}


static void
test_a_claim_of_what_is_not_there(void **state)
{
    struct world        *w = *state;
    struct store_claim   c;
    uint8_t              id[UUID_BYTES];

    uuid_make(id, w->now_us);
    c = claim_at(w, id, w->now_us, w->now_us + SECOND);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, LOGDOC_NONE);
}


static void
test_a_batch_of_claims(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 14);
    struct store_claim   c[14];
    unsigned             n = 0;

    memset(c, 0, sizeof(c));

    for (int i = 0; i < 14; i++) {
        memcpy(c[i].id, d[i].id, UUID_BYTES);
    }

    assert_int_equal(store_claim(w->s, w->now_us, w->now_us + 90 * SECOND,
        &w->a, c, 14), RESULT_OK);

    for (int i = 0; i < 14; i++) {
        assert_int_equal(c[i].claimed, i <= 10);
        n += c[i].claimed;

        if (c[i].claimed) {
            assert_memory_equal(c[i].doc.id, d[i].id, UUID_BYTES);
        }
    }

    assert_int_equal(n, 11);
}


/* As many as one step of dispatch takes, each into a bucket of its own: a
 * server must not run out of what it needs for one write of one command. */
static void
test_a_full_step(void **state)
{
    struct world         *w = *state;
    struct logdoc        *d = deliveries_make(w, STEP);
    struct store_claim   *c = calloc(STEP, sizeof(*c));
    struct store_finish  *f = calloc(STEP, sizeof(*f));
    enum store_insert     outcome[STEP];
    int64_t               ok, fail;

    for (int i = 0; i < STEP; i++) {
        d[i].endpoint = slice_of(arena_printf(&w->a, "partner %d", i).p);
        d[i].next_attempt_us = w->now_us;
        memcpy(c[i].id, d[i].id, UUID_BYTES);
    }

    assert_int_equal(store_logs_insert(w->s, d, STEP, outcome), RESULT_OK);
    assert_int_equal(store_claim(w->s, w->now_us, w->now_us + 90 * SECOND,
        &w->a, c, STEP), RESULT_OK);

    for (int i = 0; i < STEP; i++) {
        assert_true(c[i].claimed);
        f[i] = finish_of(&c[i], LOG_SUCCESS, LOGDOC_NONE, NULL);
    }

    assert_int_equal(store_finish(w->s, f, STEP), RESULT_OK);

    for (int i = 0; i < STEP; i++) {
        assert_false(f[i].late);
    }

    counted(w, &ok, &fail);
    assert_int_equal(ok, STEP);
    assert_int_equal(fail, 0);
    free(c);
    free(f);
}


static void
test_an_outcome_ends_the_log(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 2), log;
    struct log_attempt   t, *kept;
    struct store_claim   c = claim_now(w, &d[0]);
    int64_t              ok, fail;

    attempt_init(&t, &c, 200);
    assert_true(finish(w, finish_of(&c, LOG_SUCCESS, LOGDOC_NONE, &t)));

    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_SUCCESS);
    assert_int_equal(log.attempts, 1);
    assert_int_equal(log.http_status, 200);
    assert_int_equal(log.duration_us, 12000);
    assert_int_equal(log.next_attempt_us, LOGDOC_NONE);
    assert_true(slice_eq(log.response.data, SLICE_LIT("answer")));
    assert_true(slice_eq(log.request.data, SLICE_LIT("{\"n\":1}")));

    assert_int_equal(attempts_of(w, d[0].id, &kept), 1);
    assert_int_equal(kept[0].number, 1);
    assert_true(slice_eq(kept[0].outcome, SLICE_LIT("DELIVERED")));
    assert_true(slice_eq(kept[0].response.data, SLICE_LIT("answer")));

    counted(w, &ok, &fail);
    assert_int_equal(ok, 1);
    assert_int_equal(fail, 0);

    c = claim_at(w, d[0].id, w->now_us + 900 * SECOND, w->now_us
        + 990 * SECOND);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, LOGDOC_NONE);
}


static void
test_a_retry_then_a_failure(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 1), log;
    struct log_attempt   t, *kept;
    struct store_claim   c = claim_now(w, &d[0]);
    int64_t              ok, fail, next = w->now_us + 5 * SECOND;

    attempt_init(&t, &c, 503);
    t.next_attempt_us = next;
    assert_true(finish(w, finish_of(&c, LOG_RETRYING, next, &t)));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_RETRYING);
    assert_int_equal(log.next_attempt_us, next);
    assert_true(slice_eq(log.error_code, SLICE_LIT("http_5xx")));
    counted(w, &ok, &fail);
    assert_int_equal(ok + fail, 0);

    c = claim_now(w, &d[0]);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, next);

    c = claim_at(w, d[0].id, next, next + 90 * SECOND);
    assert_true(c.claimed);
    assert_int_equal(c.doc.attempts, 2);
    attempt_init(&t, &c, 503);
    assert_true(finish(w, finish_of(&c, LOG_FAIL, LOGDOC_NONE, &t)));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_FAIL);
    assert_int_not_equal(log.error_fingerprint, 0);
    assert_int_equal(attempts_of(w, d[0].id, &kept), 2);
    assert_int_equal(kept[1].number, 2);

    counted(w, &ok, &fail);
    assert_int_equal(ok, 0);
    assert_int_equal(fail, 1);
}


static void
test_a_late_outcome_changes_nothing(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 1), log;
    struct log_attempt   t;
    struct store_claim   first = claim_now(w, &d[0]), second;
    int64_t              ok, fail;

    second = claim_at(w, d[0].id, w->now_us + 91 * SECOND,
        w->now_us + 200 * SECOND);
    assert_true(second.claimed);

    attempt_init(&t, &first, 503);
    assert_false(finish(w, finish_of(&first, LOG_FAIL, LOGDOC_NONE, &t)));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_PENDING);

    attempt_init(&t, &second, 200);
    assert_true(finish(w, finish_of(&second, LOG_SUCCESS, LOGDOC_NONE, &t)));

    attempt_init(&t, &first, 503);
    assert_false(finish(w, finish_of(&first, LOG_FAIL, LOGDOC_NONE, &t)));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_SUCCESS);
    counted(w, &ok, &fail);
    assert_int_equal(ok, 1);
    assert_int_equal(fail, 0);
}


/* How many of these N the owner still has. */
static size_t
renew(struct world *w, const struct store_lease *l, size_t n, int64_t until_us)
{
    size_t  kept = 99;

    assert_int_equal(store_renew(w->s, l, n, until_us, &kept), RESULT_OK);
    return kept;
}


static struct store_lease
lease_of(const struct store_claim *c)
{
    struct store_lease  l = { .token = c->doc.token };

    memcpy(l.id, c->id, UUID_BYTES);

    if (c->doc.batch_id.n > 0) {
        l.batched = true;
        assert_int_equal(uuid_parse(c->doc.batch_id, l.id), RESULT_OK);
    }

    return l;
}


/* Who sends for long keeps what he has; who was late for that does not. */
static void
test_a_lease_is_renewed_by_its_owner(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 2);
    struct log_attempt   t;
    struct store_claim   c = claim_now(w, &d[0]), other = claim_now(w, &d[1]),
                         second;
    struct store_lease   l[2];
    int64_t              old = w->now_us + 90 * SECOND;

    l[0] = lease_of(&c);
    l[1] = lease_of(&other);
    assert_int_equal(renew(w, l, 2, old + 90 * SECOND), 2);
    second = claim_at(w, d[0].id, old + SECOND, old + 200 * SECOND);
    assert_false(second.claimed);
    assert_int_equal(second.due_us, old + 90 * SECOND);
    assert_false(claim_at(w, d[1].id, old + SECOND, old + 200 * SECOND)
        .claimed);
    assert_int_equal(log_of(w, d[0].id).attempts, 1);

    second = claim_at(w, d[0].id, old + 91 * SECOND, old + 200 * SECOND);
    assert_true(second.claimed);
    assert_int_equal(renew(w, l, 2, old + 900 * SECOND), 1);
    assert_int_equal(claim_at(w, d[0].id, old + 92 * SECOND, old + 300
        * SECOND).due_us, old + 200 * SECOND);
    assert_int_equal(claim_at(w, d[1].id, old + 92 * SECOND, old + 300
        * SECOND).due_us, old + 900 * SECOND);

    attempt_init(&t, &second, 503);
    assert_true(finish(w, finish_of(&second, LOG_RETRYING, old + 400 * SECOND,
        &t)));
    l[0] = lease_of(&second);
    assert_int_equal(renew(w, l, 1, old + 900 * SECOND), 0);
    assert_int_equal(claim_at(w, d[0].id, old + 399 * SECOND, old + 500
        * SECOND).due_us, old + 400 * SECOND);
}


static void
test_giving_back_uses_no_attempt(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 1), log;
    struct log_attempt  *kept;
    struct store_claim   c = claim_now(w, &d[0]);

    assert_true(finish(w, finish_of(&c, LOG_PENDING, w->now_us + SECOND,
        NULL)));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_PENDING);
    assert_int_equal(log.attempts, 0);
    assert_int_equal(attempts_of(w, d[0].id, &kept), 0);

    c = claim_at(w, d[0].id, w->now_us + SECOND, w->now_us + 91 * SECOND);
    assert_true(c.claimed);
    assert_int_equal(c.doc.attempts, 1);
}


static void
test_disabled_logs_lose_their_bodies(void **state)
{
    struct world         *w = *state;
    struct logdoc        *d = deliveries(w, 1), log;
    struct log_attempt    t;
    struct store_claim    c = claim_now(w, &d[0]);
    struct store_finish   f;

    attempt_init(&t, &c, 200);
    t.response.data = SLICE_NONE;
    f = finish_of(&c, LOG_SUCCESS, LOGDOC_NONE, &t);
    f.drop_bodies = true;
    assert_true(finish(w, f));
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_SUCCESS);
    assert_int_equal(log.request.data.n, 0);
    assert_int_equal(log.response.data.n, 0);
    assert_int_equal(log.request.bytes, 7);
}


static void
test_moves_by_hand(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = deliveries(w, 3), log;
    struct log_attempt   t;
    struct store_claim   c;
    struct scope         other = { .org_id = 4 };
    enum log_status      status;
    int64_t              at = w->now_us + 3600 * SECOND;

    assert_int_equal(store_move(w->s, &other, d[0].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_NOT_FOUND);
    assert_int_equal(store_move(w->s, &everybody, d[0].id, STORE_CANCEL, 0,
        SLICE_LIT("by hand"), &status), RESULT_OK);
    assert_int_equal(status, LOG_CANCELLED);
    log = log_of(w, d[0].id);
    assert_int_equal(log.status, LOG_CANCELLED);
    assert_true(slice_eq(log.error_message, SLICE_LIT("by hand")));
    assert_false(claim_now(w, &d[0]).claimed);
    assert_int_equal(store_move(w->s, &everybody, d[0].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_CONFLICT);
    assert_int_equal(status, LOG_CANCELLED);

    assert_int_equal(store_move(w->s, &everybody, d[1].id, STORE_RESCHEDULE,
        at, SLICE_NONE, &status), RESULT_OK);
    assert_int_equal(log_of(w, d[1].id).next_attempt_us, at);
    assert_int_equal(claim_now(w, &d[1]).due_us, at);

    /* what is being sent cannot be moved; a cancel after it ended neither */
    c = claim_now(w, &d[2]);
    assert_true(c.claimed);
    assert_int_equal(store_move(w->s, &everybody, d[2].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_CONFLICT);
    assert_int_equal(store_move(w->s, &everybody, d[2].id, STORE_RESCHEDULE,
        at, SLICE_NONE, &status), RESULT_CONFLICT);
    assert_int_equal(status, LOG_PENDING);
    assert_int_equal(store_move(w->s, &everybody, d[2].id, STORE_RELEASE,
        w->now_us, SLICE_NONE, &status), RESULT_OK);
    c = claim_now(w, &d[2]);
    assert_true(c.claimed);
    assert_int_equal(c.doc.token, 2);
    attempt_init(&t, &c, 200);
    assert_true(finish(w, finish_of(&c, LOG_SUCCESS, LOGDOC_NONE, &t)));
}


static void
test_due_pages_in_order(void **state)
{
    struct world      *w = *state;
    struct logdoc     *d = deliveries(w, 10);
    struct store_due  *page;
    uint8_t            after_id[UUID_BYTES] = { 0 };
    int64_t            after = INT64_MIN + 1;
    size_t             n, all = 0;

    (void) claim_now(w, &d[4]);            /* due when its lease ends */

    do {
        assert_int_equal(store_due(w->s, w->now_us + 1, after, after_id, 4,
            &w->a, &page, &n), RESULT_OK);

        for (size_t i = 0; i < n; i++, all++) {
            size_t  at = all < 4 ? all : all + 1;

            assert_memory_equal(page[i].id, d[at].id, UUID_BYTES);
            assert_int_equal(page[i].due_us, d[at].next_attempt_us);
            assert_int_equal(page[i].priority, d[at].priority);
            assert_true(slice_eq(page[i].integration_id,
                d[at].integration_id));
        }

        if (n > 0) {
            after = page[n - 1].due_us;
            memcpy(after_id, page[n - 1].id, UUID_BYTES);
        }
    } while (n == 4);

    assert_int_equal(all, 9);

    assert_int_equal(store_due(w->s, INT64_MAX, w->now_us, after_id, 10, &w->a,
        &page, &n), RESULT_OK);
    assert_int_equal(n, 1);
    assert_memory_equal(page[0].id, d[4].id, UUID_BYTES);
    assert_int_equal(page[0].due_us, w->now_us + 90 * SECOND);
}


/* N deliveries that stand in one ordered lane, all due. */
static struct logdoc *
queue_up(struct world *w, size_t n, const char *lane)
{
    struct logdoc       *d = arena_alloc(&w->a, n * sizeof(*d));
    enum store_insert    outcome;

    for (size_t i = 0; i < n; i++) {
        logdoc_init(&d[i]);
        d[i].started_us = w->now_us - 20 * SECOND + (int64_t) i;
        uuid_make(d[i].id, d[i].started_us);
        d[i].kind = LOG_KIND_HL7;
        d[i].status = LOG_PENDING;
        d[i].org_id = 3;
        d[i].endpoint = SLICE_LIT("his");
        d[i].next_attempt_us = d[i].started_us;
        d[i].priority = 1;
        d[i].lane = slice_of(lane);
        d[i].lane_flags = LOG_LANE_ORDERED;
        d[i].lane_us = d[i].started_us;
        d[i].request.data = SLICE_LIT("MSH");
        assert_int_equal(store_logs_insert(w->s, &d[i], 1, &outcome),
            RESULT_OK);
    }

    return d;
}


static void
test_only_the_first_of_a_lane_is_claimed(void **state)
{
    struct world         *w = *state;
    struct logdoc        *d = queue_up(w, 3, "his:2575");
    struct logdoc        *other = queue_up(w, 1, "lis:2575");
    struct store_claim    c = claim_now(w, &d[1]);
    struct log_attempt    t;
    struct store_finish   f;

    assert_false(c.claimed);
    assert_true(c.behind);
    assert_true(claim_now(w, &other[0]).claimed);

    c = claim_now(w, &d[0]);
    assert_true(c.claimed);
    assert_false(claim_now(w, &d[1]).claimed);

    /* a retry keeps its place */
    attempt_init(&t, &c, 503);
    assert_true(finish(w, finish_of(&c, LOG_RETRYING, w->now_us + SECOND,
        &t)));
    assert_true(claim_now(w, &d[1]).behind);

    c = claim_at(w, d[0].id, w->now_us + SECOND, w->now_us + 91 * SECOND);
    assert_true(c.claimed);
    attempt_init(&t, &c, 200);
    f = finish_of(&c, LOG_SUCCESS, LOGDOC_NONE, &t);
    assert_int_equal(store_finish(w->s, &f, 1), RESULT_OK);
    assert_false(f.late);
    assert_true(f.next);
    assert_memory_equal(f.next_id, d[1].id, UUID_BYTES);
    assert_int_equal(f.next_priority, 1);

    assert_true(claim_now(w, &d[2]).behind);
    assert_true(claim_now(w, &d[1]).claimed);
}


static void
test_a_failure_holds_its_lane(void **state)
{
    struct world         *w = *state;
    struct logdoc        *d = queue_up(w, 3, "his:2575"), again;
    struct store_claim    c = claim_now(w, &d[0]);
    struct log_attempt    t;
    struct store_finish   f;
    enum store_insert     outcome;
    enum log_status       status;
    char                  first[UUID_TEXT + 1];

    attempt_init(&t, &c, 503);
    f = finish_of(&c, LOG_FAIL, LOGDOC_NONE, &t);
    f.hold = true;
    assert_int_equal(store_finish(w->s, &f, 1), RESULT_OK);
    assert_false(f.next);
    assert_int_equal(log_of(w, d[0].id).status, LOG_FAIL);
    assert_false(claim_now(w, &d[0]).claimed);
    assert_true(claim_now(w, &d[1]).behind);

    /* sent again, it is first once more, and nobody is held any longer */
    uuid_text(d[0].id, first);
    again = d[0];
    again.started_us = w->now_us;
    uuid_make(again.id, again.started_us);
    again.next_attempt_us = again.lane_us = w->now_us;
    again.resend_of = slice_of(first);
    assert_int_equal(store_logs_insert(w->s, &again, 1, &outcome), RESULT_OK);
    assert_true(claim_now(w, &d[1]).behind);
    c = claim_now(w, &again);
    assert_true(c.claimed);
    attempt_init(&t, &c, 503);
    f = finish_of(&c, LOG_FAIL, LOGDOC_NONE, &t);
    f.hold = true;
    assert_int_equal(store_finish(w->s, &f, 1), RESULT_OK);
    assert_true(claim_now(w, &d[1]).behind);

    /* let go by hand: it stays a failure */
    assert_int_equal(store_move(w->s, &everybody, again.id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_OK);
    assert_int_equal(status, LOG_FAIL);
    assert_int_equal(log_of(w, again.id).status, LOG_FAIL);
    assert_true(claim_now(w, &d[1]).claimed);
}


/* -- batches --------------------------------------------------------------- */

#define WINDOW  (5 * SECOND)

/* N deliveries of one integration that go together; the first's window ends
 * WINDOW after NOW - 1 s. */
static struct logdoc *
gather(struct world *w, size_t n, uint32_t flags)
{
    struct logdoc      *d = arena_alloc(&w->a, n * sizeof(*d));
    enum store_insert  *outcome = arena_alloc(&w->a, n * sizeof(*outcome));

    for (size_t i = 0; i < n; i++) {
        logdoc_init(&d[i]);
        d[i].started_us = w->now_us - SECOND + (int64_t) i;
        uuid_make(d[i].id, d[i].started_us);
        d[i].kind = LOG_KIND_WEBHOOK;
        d[i].status = LOG_PENDING;
        d[i].org_id = 3;
        d[i].endpoint = SLICE_LIT("partner");
        d[i].integration_id = d[i].lane = SLICE_LIT("0197-i");
        d[i].lane_us = d[i].started_us;
        d[i].lane_flags = LOG_LANE_BATCH | flags;
        d[i].next_attempt_us = d[i].started_us + WINDOW;
        d[i].priority = 1;
        d[i].request.data = arena_printf(&w->a, "{\"n\":%zu}", i);
        d[i].request.bytes = (int64_t) d[i].request.data.n;
    }

    assert_int_equal(store_logs_insert(w->s, d, n, outcome), RESULT_OK);
    return d;
}


static struct store_batch
close_batch(struct world *w, unsigned size, bool ordered, int64_t now_us)
{
    struct store_batch  b = { .lane = SLICE_LIT("0197-i"), .size = size,
        .bytes = 1024 * 1024, .ordered = ordered, .now_us = now_us };

    uuid_make(b.id, now_us);
    assert_int_equal(store_batch_close(w->s, &b), RESULT_OK);
    return b;
}


/* The members that C was claimed with are these N, in order. */
static struct logdoc *
members_are(struct world *w, const struct store_claim *c,
    const struct logdoc *d, size_t n)
{
    struct logdoc  *members;
    uint8_t         id[UUID_BYTES];
    size_t          got;

    assert_true(c->claimed);
    assert_int_equal(uuid_parse(c->doc.batch_id, id), RESULT_OK);
    assert_int_equal(store_batch_get(w->s, id, c->doc.token, &w->a, &members,
        &got), RESULT_OK);
    assert_int_equal(got, n);

    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(members[i].id, d[i].id, UUID_BYTES);
        assert_true(slice_eq(members[i].request.data, d[i].request.data));
        assert_true(slice_eq(members[i].batch_id, c->doc.batch_id));
        assert_int_equal(members[i].token, c->doc.token);
        assert_int_equal(members[i].attempts, c->doc.attempts);
    }

    return members;
}


/* The outcome of those of a batch, an attempt each; how many were late. */
static unsigned
finish_members(struct world *w, const struct logdoc *members, size_t n,
    enum log_status status, int64_t next_us, bool hold)
{
    struct store_finish  *f = arena_alloc(&w->a, n * sizeof(*f));
    struct log_attempt   *t = arena_alloc(&w->a, n * sizeof(*t));
    struct store_claim    c;
    unsigned              late = 0;

    for (size_t i = 0; i < n; i++) {
        memset(&c, 0, sizeof(c));
        memcpy(c.id, members[i].id, UUID_BYTES);
        c.doc = members[i];
        attempt_init(&t[i], &c, status == LOG_SUCCESS ? 200 : 503);
        t[i].next_attempt_us = next_us;
        f[i] = finish_of(&c, status, next_us, &t[i]);
        f[i].hold = hold;
    }

    assert_int_equal(store_finish(w->s, f, n), RESULT_OK);

    for (size_t i = 0; i < n; i++) {
        late += f[i].late;
    }

    return late;
}


static void
test_a_batch_closes_by_size(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 5, 0);
    struct store_claim   c = claim_now(w, &d[1]);
    struct store_batch   b;
    enum log_status      status;

    assert_false(c.claimed);
    assert_true(c.forming);
    assert_int_equal(c.due_us, d[1].next_attempt_us);
    assert_true(slice_eq(c.lane, SLICE_LIT("0197-i")));

    /* who waits can be taken out of it */
    assert_int_equal(store_move(w->s, &everybody, d[1].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_OK);
    d[1] = d[0];

    b = close_batch(w, 2, false, w->now_us);
    assert_true(b.closed);
    c = claim_now(w, &d[2]);
    (void) members_are(w, &c, d + 1, 2);
    assert_memory_equal(b.first, d[1].id, UUID_BYTES);
    assert_int_equal(c.doc.token, 1);
    assert_int_equal(c.doc.attempts, 1);

    /* one lease for all; nobody leaves it any more */
    c = claim_now(w, &d[1]);
    assert_false(c.claimed);
    assert_false(c.forming);
    assert_int_equal(c.due_us, w->now_us + 90 * SECOND);
    assert_int_equal(store_move(w->s, &everybody, d[1].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_CONFLICT);

    b = close_batch(w, 2, false, w->now_us);
    assert_true(b.closed);
    c = claim_now(w, &d[4]);
    (void) members_are(w, &c, d + 3, 2);

    b = close_batch(w, 2, false, w->now_us);
    assert_false(b.closed);
    assert_int_equal(b.due_us, LOGDOC_NONE);
}


static void
test_a_batch_closes_by_its_window(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 3, 0);
    struct store_batch   b = close_batch(w, 100, false, w->now_us);
    struct store_claim   c;

    assert_false(b.closed);
    assert_int_equal(b.due_us, d[0].next_attempt_us);

    b = close_batch(w, 100, false, b.due_us);
    assert_true(b.closed);
    c = claim_at(w, b.first, w->now_us + WINDOW, w->now_us + 2 * WINDOW);
    (void) members_are(w, &c, d, 3);
    assert_int_equal(c.since_us, d[0].lane_us);
}


static void
test_a_batch_closes_by_bytes(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 4, 0);
    struct store_batch   b = { .lane = SLICE_LIT("0197-i"), .size = 100,
        .bytes = 18, .now_us = w->now_us };
    struct store_claim   c;

    uuid_make(b.id, w->now_us);
    assert_int_equal(store_batch_close(w->s, &b), RESULT_OK);
    assert_true(b.closed);
    c = claim_now(w, &d[0]);
    (void) members_are(w, &c, d, 2);
}


static void
test_a_batch_has_one_outcome(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 3, 0), *members;
    struct log_attempt  *kept;
    struct store_claim   c;
    int64_t              ok, fail, next = w->now_us + 9 * SECOND;

    assert_true(close_batch(w, 3, false, w->now_us).closed);
    c = claim_now(w, &d[0]);
    members = members_are(w, &c, d, 3);
    assert_int_equal(finish_members(w, members, 3, LOG_RETRYING, next, false),
        0);
    assert_int_equal(log_of(w, d[2].id).status, LOG_RETRYING);
    c = claim_now(w, &d[1]);
    assert_false(c.claimed);
    assert_int_equal(c.due_us, next);

    /* its owner goes away, another sends the same */
    c = claim_at(w, d[1].id, next, next + 90 * SECOND);
    members = members_are(w, &c, d, 3);
    assert_int_equal(c.doc.attempts, 2);
    c = claim_at(w, d[2].id, next + 91 * SECOND, next + 200 * SECOND);
    assert_int_equal(c.doc.attempts, 3);
    assert_int_equal(finish_members(w, members, 3, LOG_FAIL, LOGDOC_NONE,
        false), 3);
    members = members_are(w, &c, d, 3);
    assert_int_equal(finish_members(w, members, 3, LOG_SUCCESS, LOGDOC_NONE,
        false), 0);

    for (int i = 0; i < 3; i++) {
        struct logdoc  log = log_of(w, d[i].id);

        assert_int_equal(log.status, LOG_SUCCESS);
        assert_int_equal(log.attempts, 3);
        assert_true(slice_eq(log.batch_id, c.doc.batch_id));
        assert_int_equal(attempts_of(w, d[i].id, &kept), 2);
        assert_false(claim_at(w, d[i].id, INT64_MAX - 1, INT64_MAX).claimed);
    }

    counted(w, &ok, &fail);
    assert_int_equal(ok, 3);
    assert_int_equal(fail, 0);
}


/* Frozen between its claim and the bodies: what it sent could be less than all
 * of it, and what it finished would be the newer owner's. */
static void
test_a_late_owner_gets_no_members(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 3, 0), *members;
    struct store_claim   frozen, c;
    uint8_t              id[UUID_BYTES];
    size_t               n;

    assert_true(close_batch(w, 3, false, w->now_us).closed);
    frozen = claim_now(w, &d[0]);
    c = claim_at(w, d[1].id, w->now_us + 91 * SECOND,
        w->now_us + 200 * SECOND);
    assert_true(c.claimed);
    assert_int_equal(uuid_parse(frozen.doc.batch_id, id), RESULT_OK);
    assert_int_equal(store_batch_get(w->s, id, frozen.doc.token, &w->a,
        &members, &n), RESULT_OK);
    assert_int_equal(n, 0);

    members = members_are(w, &c, d, 3);
    assert_int_equal(finish_members(w, members, 3, LOG_SUCCESS, LOGDOC_NONE,
        false), 0);
    assert_int_equal(store_batch_get(w->s, id, c.doc.token, &w->a, &members,
        &n), RESULT_OK);
    assert_int_equal(n, 0);
}


static void
test_a_batch_is_renewed_as_a_whole(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 3, 0), *members;
    struct store_claim   c;
    struct store_lease   l;
    int64_t              old = w->now_us + 90 * SECOND;

    assert_true(close_batch(w, 3, false, w->now_us).closed);
    c = claim_now(w, &d[1]);
    members = members_are(w, &c, d, 3);
    l = lease_of(&c);
    assert_int_equal(renew(w, &l, 1, old + 90 * SECOND), 1);

    for (int i = 0; i < 3; i++) {
        c = claim_at(w, d[i].id, old + SECOND, old + 200 * SECOND);
        assert_false(c.claimed);
        assert_int_equal(c.due_us, old + 90 * SECOND);
    }

    /* given up, it is nobody's, and its next time is its own */
    assert_int_equal(finish_members(w, members, 3, LOG_RETRYING,
        old + 100 * SECOND, false), 0);
    assert_int_equal(renew(w, &l, 1, old + 900 * SECOND), 0);
    assert_true(claim_at(w, d[0].id, old + 100 * SECOND, old + 200 * SECOND)
        .claimed);
    assert_int_equal(renew(w, &l, 1, old + 900 * SECOND), 0);
}


static void
test_giving_back_a_batch_uses_no_attempt(void **state)
{
    struct world         *w = *state;
    struct logdoc        *d = gather(w, 2, 0), *members;
    struct store_finish   f[2];
    struct store_claim    c;

    assert_true(close_batch(w, 2, false, w->now_us).closed);
    c = claim_now(w, &d[0]);
    members = members_are(w, &c, d, 2);

    for (int i = 0; i < 2; i++) {
        memcpy(c.id, members[i].id, UUID_BYTES);
        f[i] = finish_of(&c, LOG_PENDING, w->now_us + SECOND, NULL);
    }

    assert_int_equal(store_finish(w->s, f, 2), RESULT_OK);
    assert_int_equal(log_of(w, d[1].id).attempts, 0);
    c = claim_at(w, d[1].id, w->now_us + SECOND, w->now_us + 90 * SECOND);
    (void) members_are(w, &c, d, 2);
    assert_int_equal(c.doc.attempts, 1);
}


static void
test_ordered_batches_follow_each_other(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 4, LOG_LANE_ORDERED), *members;
    struct store_claim   c;
    struct store_batch   b;
    enum log_status      status;

    assert_true(close_batch(w, 2, true, w->now_us).closed);
    b = close_batch(w, 2, true, w->now_us);
    assert_false(b.closed);
    assert_int_equal(b.due_us, LOGDOC_NONE);

    c = claim_now(w, &d[1]);
    members = members_are(w, &c, d, 2);

    /* a failure holds the lane; one member lets all of it go */
    assert_int_equal(finish_members(w, members, 2, LOG_FAIL, LOGDOC_NONE,
        true), 0);
    assert_false(close_batch(w, 2, true, w->now_us).closed);
    assert_false(claim_now(w, &d[1]).claimed);
    assert_int_equal(store_move(w->s, &everybody, d[1].id, STORE_CANCEL, 0,
        SLICE_NONE, &status), RESULT_OK);
    assert_int_equal(status, LOG_FAIL);

    b = close_batch(w, 2, true, w->now_us);
    assert_true(b.closed);
    c = claim_now(w, &d[3]);
    (void) members_are(w, &c, d + 2, 2);
}


static void
test_a_member_is_dropped(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 2, 0);
    struct store_claim   c;
    enum log_status      status;

    assert_true(close_batch(w, 2, false, w->now_us).closed);
    assert_int_equal(store_move(w->s, &everybody, d[0].id,
        STORE_DROP_DELETED, 0, SLICE_NONE, &status), RESULT_OK);
    assert_int_equal(status, LOG_CANCELLED);
    assert_true(slice_eq(log_of(w, d[0].id).error_code,
        SLICE_LIT("integration_deleted")));
    c = claim_now(w, &d[1]);
    (void) members_are(w, &c, d + 1, 1);
}


/* -- batches of which a step was done half: the Mongo protocol --------------- */

static void
mongo_do(struct world *w, const char *coll, const char *query,
    const char *update)
{
    mongoc_client_t      *client = mongoc_client_new(w->place.uri);
    mongoc_uri_t         *uri = mongoc_uri_new(w->place.uri);
    mongoc_collection_t  *c;
    bson_error_t          e;
    bson_t               *q, *u;

    assert_non_null(client);
    assert_non_null(uri);
    q = bson_new_from_json((const uint8_t *) query, -1, &e);
    u = update == NULL ? NULL
        : bson_new_from_json((const uint8_t *) update, -1, &e);
    assert_non_null(q);
    c = mongoc_client_get_collection(client, mongoc_uri_get_database(uri),
        coll);
    assert_true(u == NULL
        ? mongoc_collection_delete_one(c, q, NULL, NULL, &e)
        : mongoc_collection_update_one(c, q, u, NULL, NULL, &e));
    mongoc_collection_destroy(c);
    bson_destroy(q);
    bson_destroy(u);
    mongoc_uri_destroy(uri);
    mongoc_client_destroy(client);
}


/* As it stood when the closer was killed: CUT steps of three are undone. */
static void
unclose(struct world *w, const struct logdoc *last, int cut)
{
    char  query[128], text[UUID_TEXT + 1];

    mongo_do(w, "batch_lane", "{\"_id\":\"0197-i\"}",
        "{\"$set\":{\"stamped\":false}}");

    if (cut > 0) {
        mongo_do(w, "batch", "{}", "{\"$unset\":{\"due_us\":\"\"}}");
    }

    if (cut > 1) {
        uuid_text(last->id, text);
        (void) snprintf(query, sizeof(query), "{\"_id\":\"%s\"}", text);
        mongo_do(w, MONGO_LOGS, query, "{\"$unset\":{\"batch_id\":\"\"}}");
    }
}


static void
test_a_closing_is_completed(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 5, 0);
    struct store_claim   c;

    for (int cut = 0; cut < 3; cut++) {
        struct logdoc  *members;

        assert_true(close_batch(w, 5, false, w->now_us + WINDOW).closed);
        unclose(w, &d[4], cut);

        /* whoever finds a member, or wants to close the next */
        if (cut != 1) {
            assert_true(close_batch(w, 5, false, w->now_us + WINDOW).closed);
        }

        c = claim_at(w, d[0].id, w->now_us + WINDOW,
            w->now_us + 2 * WINDOW);
        members = members_are(w, &c, d, 5);
        assert_int_equal(finish_members(w, members, 5, LOG_SUCCESS,
            LOGDOC_NONE, false), 0);
        assert_false(close_batch(w, 5, false, w->now_us + WINDOW).closed);

        w->now_us += SECOND;
        d = gather(w, 5, 0);
    }
}


/* A newer owner has the batch and not yet its members. */
static void
test_an_overtaken_owner_gets_no_members(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 2, 0), *members;
    struct store_claim   c;
    uint8_t              id[UUID_BYTES];
    size_t               n;

    assert_true(close_batch(w, 2, false, w->now_us).closed);
    c = claim_now(w, &d[0]);
    assert_true(c.claimed);
    mongo_do(w, "batch", "{}", "{\"$inc\":{\"token\":1}}");
    assert_int_equal(uuid_parse(c.doc.batch_id, id), RESULT_OK);
    assert_int_equal(store_batch_get(w->s, id, c.doc.token, &w->a, &members,
        &n), RESULT_OK);
    assert_int_equal(n, 0);
}


/* The very first step alone: the lane knows the members, no log does. */
static void
test_a_closing_is_the_same_for_all(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 3, 0), *more;
    struct store_claim   c;

    assert_true(close_batch(w, 3, false, w->now_us).closed);
    unclose(w, &d[0], 2);
    unclose(w, &d[1], 2);
    unclose(w, &d[2], 2);
    mongo_do(w, "batch", "{}", NULL);
    more = gather(w, 2, 0);

    /* the size is another now: the batch is not */
    assert_true(close_batch(w, 5, false, w->now_us).closed);
    c = claim_now(w, &d[1]);
    (void) members_are(w, &c, d, 3);
    assert_true(claim_now(w, &more[0]).forming);
}


static void
test_an_outcome_is_completed(void **state)
{
    struct world        *w = *state;
    struct logdoc       *d = gather(w, 4, 0), *members;
    struct log_attempt  *kept;
    struct store_claim   c;
    int64_t              ok, fail, next = w->now_us + 9 * SECOND;
    unsigned             done;

    assert_true(close_batch(w, 4, false, w->now_us).closed);
    c = claim_now(w, &d[0]);
    members = members_are(w, &c, d, 4);

    /* killed after the first two */
    assert_int_equal(finish_members(w, members, 2, LOG_RETRYING, next, false),
        0);
    assert_false(claim_at(w, d[1].id, next, next + SECOND).claimed);

    /* the lease is over: the others get it, nothing is sent for them */
    assert_false(claim_at(w, d[3].id, w->now_us + 91 * SECOND,
        w->now_us + 200 * SECOND).claimed);

    for (int i = 0; i < 4; i++) {
        struct logdoc  log = log_of(w, d[i].id);

        assert_int_equal(log.status, LOG_RETRYING);
        assert_int_equal(log.attempts, 1);
        assert_int_equal(log.next_attempt_us, next);
        assert_int_equal(attempts_of(w, d[i].id, &kept), 1);
        assert_int_equal(kept[0].http_status, 503);
    }

    c = claim_at(w, d[3].id, w->now_us + 92 * SECOND,
        w->now_us + 200 * SECOND);
    members = members_are(w, &c, d, 4);
    assert_int_equal(finish_members(w, members, 3, LOG_SUCCESS, LOGDOC_NONE,
        false), 0);
    assert_false(claim_at(w, d[3].id, w->now_us + 201 * SECOND,
        w->now_us + 300 * SECOND).claimed);
    assert_int_equal(log_of(w, d[3].id).status, LOG_SUCCESS);
    assert_int_equal(attempts_of(w, d[3].id, &kept), 2);
    assert_int_equal(store_recount(w->s, 100, &done), RESULT_OK);
    counted(w, &ok, &fail);
    assert_int_equal(ok, 4);
    assert_int_equal(fail, 0);
    assert_false(claim_at(w, d[3].id, INT64_MAX - 1, INT64_MAX).claimed);
}


struct racer {
    struct world         *w;
    const struct logdoc  *docs;
    size_t                n, won;
};


static void *
racer_main(void *arg)
{
    struct racer        *r = arg;
    struct store_claim   c;
    struct arena         a;

    arena_init(&a, 16 * 1024 * 1024);

    for (size_t i = 0; i < r->n; i++) {
        memset(&c, 0, sizeof(c));
        memcpy(c.id, r->docs[i].id, UUID_BYTES);

        if (store_claim(r->w->s, r->w->now_us, r->w->now_us + 90 * SECOND, &a,
                &c, 1) == RESULT_OK)
        {
            r->won += c.claimed;
        }
    }

    arena_cleanup(&a);
    return NULL;
}


/* FerretDB 1 reads, then writes: its updates are not atomic, so nobody races
 * there (STORE_RACERS=1). */
static void
test_of_racing_claims_one_wins(void **state)
{
    struct world   *w = *state;
    struct logdoc  *d = deliveries(w, 10);
    struct racer    racers[RACERS];
    pthread_t       threads[RACERS];
    const char     *given = getenv("STORE_RACERS");
    int             nracers = given == NULL ? RACERS : atoi(given);
    size_t          won = 0;

    assert_in_range(nracers, 1, RACERS);

    for (int i = 0; i < nracers; i++) {
        racers[i] = (struct racer) { w, d, 10, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, racer_main,
            &racers[i]), 0);
    }

    for (int i = 0; i < nracers; i++) {
        (void) pthread_join(threads[i], NULL);
        won += racers[i].won;
    }

    assert_int_equal(won, 10);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(log_of(w, d[i].id).attempts, 1);
    }
}


#define OUTBOUND_TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        OUTBOUND_TEST(test_a_claim_leases),
        OUTBOUND_TEST(test_a_log_may_be_born_leased),
        OUTBOUND_TEST(test_a_claim_of_what_is_not_there),
        OUTBOUND_TEST(test_a_batch_of_claims),
        OUTBOUND_TEST(test_a_full_step),
        OUTBOUND_TEST(test_an_outcome_ends_the_log),
        OUTBOUND_TEST(test_a_retry_then_a_failure),
        OUTBOUND_TEST(test_a_late_outcome_changes_nothing),
        OUTBOUND_TEST(test_a_lease_is_renewed_by_its_owner),
        OUTBOUND_TEST(test_giving_back_uses_no_attempt),
        OUTBOUND_TEST(test_disabled_logs_lose_their_bodies),
        OUTBOUND_TEST(test_moves_by_hand),
        OUTBOUND_TEST(test_due_pages_in_order),
        OUTBOUND_TEST(test_only_the_first_of_a_lane_is_claimed),
        OUTBOUND_TEST(test_a_failure_holds_its_lane),
        OUTBOUND_TEST(test_a_batch_closes_by_size),
        OUTBOUND_TEST(test_a_batch_closes_by_its_window),
        OUTBOUND_TEST(test_a_batch_closes_by_bytes),
        OUTBOUND_TEST(test_a_batch_has_one_outcome),
        OUTBOUND_TEST(test_a_late_owner_gets_no_members),
        OUTBOUND_TEST(test_a_batch_is_renewed_as_a_whole),
        OUTBOUND_TEST(test_giving_back_a_batch_uses_no_attempt),
        OUTBOUND_TEST(test_ordered_batches_follow_each_other),
        OUTBOUND_TEST(test_a_member_is_dropped),
        OUTBOUND_TEST(test_of_racing_claims_one_wins),
    };
    const struct CMUnitTest  halves[] = {
        OUTBOUND_TEST(test_a_closing_is_completed),
        OUTBOUND_TEST(test_a_closing_is_the_same_for_all),
        OUTBOUND_TEST(test_an_outcome_is_completed),
        OUTBOUND_TEST(test_an_overtaken_owner_gets_no_members),
    };
    int  failed;

    cmocka_set_message_output(CM_OUTPUT_TAP);
    failed = cmocka_run_group_tests(tests, NULL, NULL);

    /* SQLite has no halves: its transactions are the guarantee */
    if (getenv("STORE_URI") != NULL) {
        failed += cmocka_run_group_tests(halves, NULL, NULL);
    }

    return failed;
}
