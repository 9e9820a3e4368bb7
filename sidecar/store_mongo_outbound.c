/*
 * Deliveries on the Mongo protocol.  A log that is PENDING or RETRYING carries
 * due_us, when it may be claimed: its time, or the end of its lease.  Each step
 * is one update of one document under a filter, so it happens whole or not:
 *
 *   claim   {_id, due_us <= now}      lease, token + 1, attempts + 1, our mark
 *   finish  {_id, token, leased}      the outcome; terminal ones join a batch
 *                                     of the heatmap's writer
 *   move    {_id, token, due_us}      as it was read; a cancel takes the token
 *
 * Lanes stand in store_mongo_lane.c, batches in store_mongo_batch.c.
 *
 * Many of them go in one unordered command.  An attempt is inserted before its
 * log moves, under "<log id>-<number>": a second try finds it there.
 */

#include "store_mongo_outbound.h"

#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "store_mongo_batch.h"
#include "store_mongo_buckets.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"

#define MOVE_TRIES  3
#define ARENA_MAX   (64 * 1024 * 1024)

static const char *const  no_bodies[] = {
    "request.headers", "request.body", "response.headers", "response.body",
    NULL
};


static void
append_bound(bson_t *b, const char *name, const char *op, int64_t v)
{
    bson_t  sub;

    bson_append_document_begin(b, name, -1, &sub);
    bson_append_int64(&sub, op, -1, v);
    bson_append_document_end(b, &sub);
}


static mongoc_bulk_operation_t *
bulk_create(mongoc_collection_t *coll)
{
    mongoc_bulk_operation_t  *bulk;
    bson_t                    opts = BSON_INITIALIZER;

    BSON_APPEND_BOOL(&opts, "ordered", false);
    bulk = mongoc_collection_create_bulk_operation_with_opts(coll, &opts);
    bson_destroy(&opts);
    return bulk;
}


/* *matched, when not NULL: how many filters met a document. */
static enum result
bulk_run(struct mongo_store *m, mongoc_bulk_operation_t *bulk,
    const char *what, int64_t *matched)
{
    bson_error_t  e;
    bson_iter_t   it;
    bson_t        reply;
    enum result   r = RESULT_OK;

    if (mongoc_bulk_operation_execute(bulk, &reply, &e) == 0) {
        /* only duplicates: an attempt that is there already */
        if (mongo_result(&e) != RESULT_CONFLICT
            || mongo_reply_result(&reply, NULL, NULL) != RESULT_CONFLICT)
        {
            (void) mongo_failed(m, what, &e);
            r = RESULT_UNAVAILABLE;
        }
    }

    if (matched != NULL) {
        *matched = bson_iter_init_find(&it, &reply, "nMatched")
                   ? mongo_get_int(&it) : 0;
    }

    bson_destroy(&reply);
    return r;
}


/* -- claiming -------------------------------------------------------------- */

struct claiming {
    struct store_claim  *claims;
    size_t               n;
    char                 mark[MONGO_MARK];
    struct arena        *a;
};


static bool
claim_put(mongoc_bulk_operation_t *bulk, const uint8_t id[UUID_BYTES],
    const char *mark, int64_t now_us, int64_t lease_us)
{
    bson_t        query = BSON_INITIALIZER, update = BSON_INITIALIZER, sub;
    bson_error_t  e;
    char          text[UUID_TEXT + 1];
    bool          ok;

    uuid_text(id, text);
    mongo_query_id(&query, slice_of(text));
    append_bound(&query, "due_us", "$lte", now_us);

    bson_append_document_begin(&update, "$set", -1, &sub);
    BSON_APPEND_INT64(&sub, "due_us", lease_us);
    BSON_APPEND_INT64(&sub, "lease_until_us", lease_us);
    BSON_APPEND_UTF8(&sub, "claim", mark);
    bson_append_document_end(&update, &sub);
    bson_append_document_begin(&update, "$inc", -1, &sub);
    BSON_APPEND_INT64(&sub, "token", 1);
    BSON_APPEND_INT64(&sub, "attempts", 1);
    bson_append_document_end(&update, &sub);

    ok = mongoc_bulk_operation_update_one_with_opts(bulk, &query, &update,
        NULL, &e);
    bson_destroy(&query);
    bson_destroy(&update);
    return ok;
}


/* By itself: neither behind another nor part of a batch. */
static bool
claim_is_plain(const struct store_claim *c)
{
    return !c->behind && c->lane.n == 0 && c->doc.batch_id.n == 0;
}


static enum result
claims_write(struct mongo_store *m, struct claiming *c, int64_t now_us,
    int64_t lease_us)
{
    mongoc_bulk_operation_t  *bulk;
    struct mongo_call         call;
    size_t                    n = 0;
    bool                      ok = true;
    enum result               r;

    r = mongo_begin(m, MONGO_LOGS, &call);
    if (r != RESULT_OK) {
        return r;
    }

    bulk = bulk_create(call.coll);

    for (size_t i = 0; ok && i < c->n; i++) {
        if (claim_is_plain(&c->claims[i])) {
            ok = claim_put(bulk, c->claims[i].id, c->mark, now_us, lease_us);
            n++;
        }
    }

    r = !ok ? RESULT_INTERNAL : n == 0 ? RESULT_OK
        : bulk_run(m, bulk, "claim in integration_directory", NULL);
    mongoc_bulk_operation_destroy(bulk);
    mongo_end(m, &call);
    return r;
}


static enum result
claim_read(const bson_t *doc, void *data)
{
    struct claiming     *c = data;
    struct store_claim  *claim = NULL;
    bson_iter_t          it;
    uint8_t              id[UUID_BYTES];

    if (!mongo_doc_id(doc, id)) {
        return RESULT_INTERNAL;
    }

    for (size_t i = 0; i < c->n && claim == NULL; i++) {
        if (memcmp(c->claims[i].id, id, UUID_BYTES) == 0) {
            claim = &c->claims[i];
        }
    }

    if (claim == NULL) {
        return RESULT_INTERNAL;
    }

    claim->claimed = bson_iter_init_find(&it, doc, "claim")
                     && slice_eq(mongo_get_text(&it), slice_of(c->mark));
    claim->due_us = claim->claimed ? LOGDOC_NONE : mongo_doc_int(doc, "due_us");

    if (!claim->claimed) {
        return RESULT_OK;
    }

    claim->since_us = mongo_doc_int(doc, "since_us");
    claim->since_us = claim->since_us == LOGDOC_NONE ? 0 : claim->since_us;
    return mongo_log_decode(doc, c->a, &claim->doc);
}


/* Reads what was claimed, and when the others are to be looked at. */
static enum result
claims_read(struct mongo_store *m, struct claiming *c)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS };
    bson_t             query = BSON_INITIALIZER;
    uint8_t          (*ids)[UUID_BYTES];
    size_t             n = 0;
    enum result        r = RESULT_OK;

    ids = arena_alloc(c->a, c->n * sizeof(*ids));

    if (ids == NULL) {
        bson_destroy(&query);
        return RESULT_TOO_BIG;
    }

    for (size_t i = 0; i < c->n; i++) {
        if (c->claims[i].lane.n == 0 && c->claims[i].doc.batch_id.n == 0) {
            memcpy(ids[n++], c->claims[i].id, UUID_BYTES);
        }
    }

    if (n > 0) {
        mongo_query_ids(&query, ids[0], UUID_BYTES, n);
        scan.query = &query;
        r = mongo_scan(m, &scan, claim_read, c);
    }

    bson_destroy(&query);
    return r;
}


/* What one that is gone has left: every member gets the batch's outcome. */
static enum result
batch_end(struct mongo_store *m, struct mongo_batch_rest *rest)
{
    struct store_finish  *f = calloc(rest->n, sizeof(*f));
    struct log_attempt   *t = calloc(rest->n, sizeof(*t));
    enum result           r = RESULT_MEMORY;

    if (f != NULL && t != NULL) {
        for (size_t i = 0; i < rest->n; i++) {
            f[i] = rest->finish;
            memcpy(f[i].id, rest->ids[i], UUID_BYTES);

            if (f[i].attempt != NULL) {
                t[i] = rest->attempt;
                memcpy(t[i].log_id, f[i].id, UUID_BYTES);
                f[i].attempt = &t[i];
            }
        }

        r = mongo_finish(&m->base, f, rest->n);
    }

    free(f);
    free(t);
    return r;
}


static enum result
batches_claim(struct mongo_store *m, const struct claiming *c,
    int64_t now_us, int64_t lease_us)
{
    struct mongo_batch_rest  rest;
    enum result              r = RESULT_OK;

    for (size_t i = 0; r == RESULT_OK && i < c->n; i++) {
        struct store_claim  *claim = &c->claims[i];

        if (claim->doc.batch_id.n == 0) {
            continue;
        }

        if (claim->behind) {
            claim->due_us = now_us;
            continue;
        }

        r = mongo_batch_claim(m, now_us, lease_us, c->a, claim, &rest);

        if (r == RESULT_OK && rest.found) {
            r = batch_end(m, &rest);
        }
    }

    return r;
}


enum result
mongo_claim(struct store *s, int64_t now_us, int64_t lease_until_us,
    struct arena *a, struct store_claim *claims, size_t n)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct claiming      c = { .claims = claims, .n = n, .a = a };
    enum result          r;

    for (size_t i = 0; i < n; i++) {
        claims[i].claimed = claims[i].behind = claims[i].forming = false;
        claims[i].due_us = LOGDOC_NONE;
    }

    if (n == 0) {
        return RESULT_OK;
    }

    r = mongo_claim_mark(c.mark);
    r = r != RESULT_OK ? r : mongo_lane_judge(m, now_us, a, claims, n);
    r = r != RESULT_OK ? r : claims_write(m, &c, now_us, lease_until_us);
    r = r != RESULT_OK ? r : claims_read(m, &c);
    return r != RESULT_OK ? r : batches_claim(m, &c, now_us, lease_until_us);
}


/* -- finishing ------------------------------------------------------------- */

enum finish_state { FINISH_LATE, FINISH_OPEN, FINISH_WRITTEN };

struct finishing {
    struct mongo_store   *m;
    struct store_finish  *f;
    size_t                n;
    struct logdoc        *docs;            /* without bodies; then applied */
    enum finish_state    *state;
    struct slice         *batches;         /* of which each is a member */
    int64_t              *attempts;        /* as they will be */
    struct arena          a;
    char                  batch[MONGO_BATCH_NAME];
    bool                  again;           /* read after the write */
};


static size_t
finish_index(const struct finishing *x, const uint8_t id[UUID_BYTES])
{
    size_t  i = 0;

    while (i < x->n && memcmp(x->f[i].id, id, UUID_BYTES) != 0) {
        i++;
    }

    return i;
}


/* Ours while the token is; not leased any more: an earlier try wrote it. */
static enum result
finish_read(const bson_t *doc, void *data)
{
    struct finishing  *x = data;
    uint8_t            id[UUID_BYTES];
    size_t             i;

    if (!mongo_doc_id(doc, id) || (i = finish_index(x, id)) == x->n) {
        return RESULT_INTERNAL;
    }

    if (mongo_doc_int(doc, "token") != x->f[i].token) {
        x->state[i] = FINISH_LATE;
        return RESULT_OK;
    }

    x->state[i] = mongo_doc_int(doc, "lease_until_us") == LOGDOC_NONE
                  ? FINISH_WRITTEN : FINISH_OPEN;

    return x->again ? RESULT_OK : mongo_log_decode(doc, &x->a, &x->docs[i]);
}


static enum result
finish_look(struct finishing *x, bool again)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = no_bodies,
        .exclude = true };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    for (size_t i = 0; i < x->n; i++) {
        x->state[i] = FINISH_LATE;         /* expired, or never ours */
        x->f[i].next = false;
    }

    x->again = again;
    mongo_query_ids(&query, x->f[0].id, sizeof(x->f[0]), x->n);
    scan.query = &query;
    r = mongo_scan(x->m, &scan, finish_read, x);
    bson_destroy(&query);
    return r;
}


static enum result
attempts_write(struct finishing *x, struct mongo_call *call)
{
    mongoc_collection_t      *coll;
    mongoc_bulk_operation_t  *bulk;
    bson_error_t              e;
    bson_t                    doc;
    unsigned                  n = 0;
    enum result               r = RESULT_OK;

    coll = mongoc_client_get_collection(call->client, x->m->db,
        MONGO_ATTEMPTS);
    bulk = bulk_create(coll);

    for (size_t i = 0; r == RESULT_OK && i < x->n; i++) {
        if (x->state[i] != FINISH_OPEN || x->f[i].attempt == NULL) {
            continue;
        }

        bson_init(&doc);
        r = mongo_attempt_encode(x->f[i].attempt, &doc);

        if (r == RESULT_OK
            && !mongoc_bulk_operation_insert_with_opts(bulk, &doc, NULL, &e))
        {
            r = RESULT_INTERNAL;
        }

        bson_destroy(&doc);
        n++;
    }

    r = r != RESULT_OK || n == 0 ? r
        : bulk_run(x->m, bulk, "insert into integration_retry_log", NULL);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(coll);
    return r;
}


static bool
outcome_update(const struct finishing *x, size_t i, bson_t *update)
{
    const struct store_finish  *f = &x->f[i];
    const struct logdoc        *d = &x->docs[i];
    bson_t                      sub;
    bool                        ended = log_status_ended(d->status), ok;

    ok = bson_append_document_begin(update, "$set", -1, &sub)
         && mongo_outcome_put(d, f->attempt != NULL, &sub)
         && (!ended || BSON_APPEND_UTF8(&sub, "batch", x->batch))
         && bson_append_document_end(update, &sub)
         && bson_append_document_begin(update, "$unset", -1, &sub)
         && BSON_APPEND_UTF8(&sub, "lease_until_us", "")
         && BSON_APPEND_UTF8(&sub, "claim", "");

    if (ok && ended) {
        ok = BSON_APPEND_UTF8(&sub, "due_us", "")
             && BSON_APPEND_UTF8(&sub, "next_attempt_us", "")
             && (f->hold || mongo_lane_leave(&sub));
    }

    if (ok && f->drop_bodies) {
        ok = BSON_APPEND_UTF8(&sub, "request.headers", "")
             && BSON_APPEND_UTF8(&sub, "request.body", "");

        /* else they are left out of what is set */
        if (ok && f->attempt == NULL) {
            ok = BSON_APPEND_UTF8(&sub, "response.headers", "")
                 && BSON_APPEND_UTF8(&sub, "response.body", "");
        }
    }

    return ok && bson_append_document_end(update, &sub);
}


static bool
outcome_put(const struct finishing *x, size_t i, mongoc_bulk_operation_t *bulk)
{
    bson_t        query = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_error_t  e;
    char          text[UUID_TEXT + 1];
    bool          ok;

    uuid_text(x->f[i].id, text);
    mongo_query_id(&query, slice_of(text));
    BSON_APPEND_INT64(&query, "token", x->f[i].token);
    append_bound(&query, "lease_until_us", "$gt", 0);

    ok = outcome_update(x, i, &update)
         && mongoc_bulk_operation_update_one_with_opts(bulk, &query, &update,
                NULL, &e);
    bson_destroy(&query);
    bson_destroy(&update);
    return ok;
}


/* *all: every one was written, none had been taken over meanwhile. */
static enum result
outcomes_write(struct finishing *x, struct mongo_call *call, bool *all)
{
    mongoc_bulk_operation_t  *bulk = bulk_create(call->coll);
    int64_t                   n = 0, matched = 0;
    bool                      ok = true;
    enum result               r = RESULT_OK;

    for (size_t i = 0; ok && i < x->n; i++) {
        if (x->state[i] == FINISH_OPEN) {
            ok = outcome_put(x, i, bulk);
            n++;
        }
    }

    if (!ok) {
        r = RESULT_INTERNAL;
    } else if (n > 0) {
        r = bulk_run(x->m, bulk, "update integration_directory", &matched);
    }

    *all = matched == n;
    mongoc_bulk_operation_destroy(bulk);
    return r;
}


/* What this call has written and is terminal now. */
static void
outcomes_count(struct finishing *x, struct mongo_call *call,
    struct mongo_writer *w, const bool *ours)
{
    enum store_insert  *outcome = calloc(x->n, sizeof(*outcome));

    if (outcome == NULL) {
        mongo_writer_abandon(w);           /* the next recount does it */
        return;
    }

    for (size_t i = 0; i < x->n; i++) {
        outcome[i] = ours[i] ? STORE_NEW : STORE_SAME;
    }

    mongo_writer_count(x->m, call, w, x->docs, x->n, outcome);
    free(outcome);
}


/* The same batch stands together: each is asked for once. */
static bool
batch_is_new(const struct finishing *x, size_t i)
{
    return x->batches[i].n > 0
           && (i == 0 || !slice_eq(x->batches[i - 1], x->batches[i]));
}


/* First the batch has the outcome: whoever comes next completes it. */
static enum result
batches_note(struct finishing *x)
{
    bool         late = false;
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < x->n; i++) {
        x->batches[i] = x->state[i] == FINISH_LATE ? SLICE_NONE
                                                   : x->docs[i].batch_id;
        x->attempts[i] = x->docs[i].attempts
                         - (x->state[i] == FINISH_OPEN
                            && !x->f[i].attempt_used);
    }

    for (size_t i = 0; r == RESULT_OK && i < x->n; i++) {
        if (x->batches[i].n == 0) {
            continue;
        }

        if (batch_is_new(x, i)) {
            late = false;
            r = x->state[i] != FINISH_OPEN ? RESULT_OK
                : mongo_batch_note(x->m, x->batches[i], &x->f[i], &late);
        }

        if (late && x->state[i] == FINISH_OPEN) {
            x->state[i] = FINISH_LATE;
        }
    }

    return r;
}


/* What fails here is done by whoever claims the batch next. */
static enum result
batches_settle(struct finishing *x)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; r == RESULT_OK && i < x->n; i++) {
        if (batch_is_new(x, i)) {
            r = mongo_batch_settle(x->m, x->batches[i], &x->f[i],
                x->attempts[i]);
        }
    }

    return r;
}


/* All is written: who is not found now is when its turn is asked for. */
static void
lanes_next(struct finishing *x, const bool *ours)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < x->n && r == RESULT_OK; i++) {
        bool  last = i + 1 == x->n
                     || !slice_eq(x->docs[i].lane, x->docs[i + 1].lane);

        if (ours[i] && last && log_status_ended(x->docs[i].status)
            && (x->docs[i].lane_flags & LOG_LANE_ORDERED))
        {
            r = mongo_lane_next(x->m, x->docs[i].lane, &x->f[i]);
        }
    }
}


static enum result
finish_write(struct finishing *x, struct mongo_call *call,
    struct mongo_writer *w, bool *ours)
{
    bool         all, contested = false;
    enum result  r;

    for (size_t i = 0; i < x->n; i++) {
        ours[i] = x->state[i] == FINISH_OPEN;

        if (ours[i]) {
            store_finish_apply(&x->docs[i], &x->f[i]);

        } else {
            logdoc_init(&x->docs[i]);      /* PENDING: is not counted */
        }
    }

    mongo_writer_next(w, x->batch);
    r = attempts_write(x, call);
    r = r != RESULT_OK ? r
        : mongo_writer_mark(x->m, call, w, x->docs, x->n);
    if (r != RESULT_OK) {
        return r;
    }

    r = outcomes_write(x, call, &all);

    if (r == RESULT_OK && !all) {
        r = finish_look(x, true);

        for (size_t i = 0; i < x->n; i++) {
            contested = contested || x->batches[i].n > 0;
            ours[i] = ours[i] && x->state[i] == FINISH_WRITTEN;
        }
    }

    if (r != RESULT_OK) {
        mongo_writer_abandon(w);
        return r;
    }

    if (contested) {
        /* two completed a batch: the recount counts by the documents */
        mongo_writer_abandon(w);

    } else {
        outcomes_count(x, call, w, ours);
    }

    lanes_next(x, ours);
    return RESULT_OK;
}


static enum result
finish_part(struct mongo_store *m, struct store_finish *f, size_t n)
{
    struct finishing      x = { .m = m, .f = f, .n = n };
    struct mongo_writer  *w = mongo_writer_take(m);
    struct mongo_call     call;
    bool                 *ours = calloc(n, sizeof(*ours));
    enum result           r = RESULT_MEMORY;

    arena_init(&x.a, ARENA_MAX);
    x.docs = malloc(n * sizeof(*x.docs));
    x.state = calloc(n, sizeof(*x.state));
    x.batches = calloc(n, sizeof(*x.batches));
    x.attempts = calloc(n, sizeof(*x.attempts));

    if (w == NULL || ours == NULL || x.docs == NULL || x.state == NULL
        || x.batches == NULL || x.attempts == NULL)
    {
        goto out;
    }

    r = finish_look(&x, false);
    r = r != RESULT_OK ? r : batches_note(&x);
    if (r != RESULT_OK) {
        goto out;
    }

    r = mongo_begin(m, MONGO_LOGS, &call);

    if (r == RESULT_OK) {
        r = finish_write(&x, &call, w, ours);
        mongo_end(m, &call);
    }

    r = r != RESULT_OK ? r : batches_settle(&x);

    for (size_t i = 0; i < n; i++) {
        f[i].late = x.state[i] == FINISH_LATE;
    }

out:

    if (w != NULL) {
        mongo_writer_put(m, w);
    }

    arena_cleanup(&x.a);
    free(x.docs);
    free(x.state);
    free(x.batches);
    free(x.attempts);
    free(ours);
    return r;
}


enum result
mongo_finish(struct store *s, struct store_finish *f, size_t n)
{
    size_t       part;
    enum result  r = RESULT_OK;

    while (r == RESULT_OK && n > 0) {
        part = n < MONGO_BATCH ? n : MONGO_BATCH;
        r = finish_part((struct mongo_store *) s, f, part);
        f += part;
        n -= part;
    }

    return r;
}


/* -- moves by hand --------------------------------------------------------- */

struct moving {
    struct arena   *a;
    struct logdoc   doc;
    int64_t         due_us, token;         /* as they are stored */
    bool            found;
};


static enum result
move_read(const bson_t *doc, void *data)
{
    struct moving  *x = data;

    x->found = true;
    x->due_us = mongo_doc_int(doc, "due_us");
    x->token = mongo_doc_int(doc, "token");
    return mongo_log_decode(doc, x->a, &x->doc);
}


enum result
mongo_renew(struct store *s, const uint8_t id[UUID_BYTES], int64_t token,
    int64_t lease_until_us)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    bson_t              *query, *update;
    char                 text[UUID_TEXT + 1];
    int64_t              matched = 0;
    enum result          r;

    uuid_text(id, text);
    query = BCON_NEW("_id", BCON_UTF8(text), "token", BCON_INT64(token),
        "lease_until_us", "{", "$gt", BCON_INT64(0), "}",
        "batch_id", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "lease_until_us",
        BCON_INT64(lease_until_us), "due_us", BCON_INT64(lease_until_us), "}");
    r = mongo_update(m, MONGO_LOGS, query, update, 0, &matched);
    bson_destroy(query);
    bson_destroy(update);
    return r == RESULT_OK && matched == 0 ? RESULT_CONFLICT : r;
}


static enum result
move_look(struct mongo_store *m, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct moving *x)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1,
        .fields = no_bodies, .exclude = true };
    bson_t             query = BSON_INITIALIZER;
    char               text[UUID_TEXT + 1];
    enum result        r;

    uuid_text(id, text);
    mongo_query_id(&query, slice_of(text));
    scan.query = &query;
    x->found = false;
    r = mongo_scan(m, &scan, move_read, x);
    bson_destroy(&query);

    return r != RESULT_OK ? r
           : x->found && scope_sees(sc, x->doc.org_id, x->doc.lab_id)
                 ? RESULT_OK : RESULT_NOT_FOUND;
}


static void
move_apply(struct logdoc *d, enum store_move move, int64_t at_us,
    struct slice reason)
{
    d->lease_until_us = LOGDOC_NONE;

    if (move != STORE_CANCEL && move != STORE_DROP) {
        d->next_attempt_us = at_us;
        return;
    }

    d->status = LOG_CANCELLED;
    d->next_attempt_us = LOGDOC_NONE;
    d->error_code = SLICE_LIT("cancelled");
    d->error_message = reason;
    d->error_fingerprint = 0;
}


/* *matched 0: somebody changed it since it was read. */
static enum result
move_write(struct mongo_store *m, const struct moving *x, int64_t *matched)
{
    mongoc_bulk_operation_t  *bulk;
    struct mongo_call         call;
    bson_error_t              e;
    bson_t                    query = BSON_INITIALIZER;
    bson_t                    update = BSON_INITIALIZER, sub;
    char                      text[UUID_TEXT + 1];
    bool                      ended = log_status_ended(x->doc.status), ok;
    enum result               r;

    r = mongo_begin(m, MONGO_LOGS, &call);
    if (r != RESULT_OK) {
        return r;
    }

    uuid_text(x->doc.id, text);
    mongo_query_id(&query, slice_of(text));
    BSON_APPEND_INT64(&query, "token", x->token);
    BSON_APPEND_INT64(&query, "due_us", x->due_us);
    (void) mongo_put_text(&query, "batch_id", x->doc.batch_id);

    if (x->doc.batch_id.n == 0) {
        bson_append_document_begin(&query, "batch_id", -1, &sub);
        BSON_APPEND_BOOL(&sub, "$exists", false);
        bson_append_document_end(&query, &sub);
    }

    ok = bson_append_document_begin(&update, "$set", -1, &sub)
         && mongo_outcome_put(&x->doc, false, &sub)
         && bson_append_document_end(&update, &sub)
         && bson_append_document_begin(&update, "$unset", -1, &sub)
         && BSON_APPEND_UTF8(&sub, "lease_until_us", "")
         && BSON_APPEND_UTF8(&sub, "claim", "")
         && (!ended || (BSON_APPEND_UTF8(&sub, "due_us", "")
                        && BSON_APPEND_UTF8(&sub, "next_attempt_us", "")
                        && mongo_lane_leave(&sub)))
         && bson_append_document_end(&update, &sub)
         /* whoever had claimed it comes too late now */
         && (!ended || (bson_append_document_begin(&update, "$inc", -1, &sub)
                        && BSON_APPEND_INT64(&sub, "token", 1)
                        && bson_append_document_end(&update, &sub)));

    bulk = bulk_create(call.coll);
    ok = ok && mongoc_bulk_operation_update_one_with_opts(bulk, &query,
        &update, NULL, &e);
    r = ok ? bulk_run(m, bulk, "move in integration_directory", matched)
           : RESULT_INTERNAL;

    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(&query);
    bson_destroy(&update);
    mongo_end(m, &call);
    return r;
}


enum result
mongo_move(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct moving       *x = calloc(1, sizeof(*x));
    struct arena         a;
    int64_t              matched = 0;
    enum result          r;

    if (x == NULL) {
        return RESULT_MEMORY;
    }

    arena_init(&a, ARENA_MAX);
    x->a = &a;
    *status = LOG_PENDING;

    for (unsigned i = 0; i < MOVE_TRIES; i++) {
        r = move_look(m, sc, id, x);
        if (r != RESULT_OK) {
            goto out;
        }

        *status = x->doc.status;

        if (x->due_us == LOGDOC_NONE && x->doc.lane.n > 0
            && (move == STORE_CANCEL || move == STORE_DROP))
        {
            r = mongo_lane_let_go(m, id, x->doc.lane, x->doc.batch_id);
            goto out;
        }

        if (x->due_us == LOGDOC_NONE
            || (x->doc.batch_id.n > 0 && move != STORE_DROP)
            || (move != STORE_RELEASE && x->doc.lease_until_us != LOGDOC_NONE
                && x->doc.lease_until_us > clock_wall_us()))
        {
            r = RESULT_CONFLICT;
            goto out;
        }

        move_apply(&x->doc, move, at_us, reason);
        r = move_write(m, x, &matched);

        if (r != RESULT_OK || matched > 0) {
            *status = x->doc.status;
            r = r != RESULT_OK || x->doc.batch_id.n == 0 ? r
                : mongo_batch_settle(m, x->doc.batch_id, NULL, 0);
            goto out;
        }
    }

    r = RESULT_CONFLICT;

out:

    arena_cleanup(&a);
    free(x);
    return r;
}


/* -- what is open ---------------------------------------------------------- */

struct due_list {
    struct arena      *a;
    struct store_due  *rows;
    size_t             n, max;
};


static enum result
due_read(const bson_t *doc, void *data)
{
    struct due_list   *l = data;
    struct store_due  *d = &l->rows[l->n];
    bson_iter_t        it;

    if (l->n == l->max) {
        return RESULT_AGAIN;
    }

    if (!mongo_doc_id(doc, d->id)) {
        return RESULT_INTERNAL;
    }

    d->due_us = mongo_doc_int(doc, "due_us");
    d->priority = mongo_doc_int(doc, "priority");
    d->priority = d->priority == LOGDOC_NONE ? 1 : d->priority;
    d->integration_id = SLICE_NONE;

    if (bson_iter_init_find(&it, doc, "integration_id")) {
        d->integration_id = arena_copy(l->a, mongo_get_text(&it));
    }

    l->n++;
    return RESULT_OK;
}


/* (due_us, _id) > (AFTER, ID) and due_us < BEFORE */
static void
due_query(bson_t *query, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES])
{
    bson_t  all, either, part, sub;
    char    text[UUID_TEXT + 1];

    uuid_text(after_id, text);
    bson_append_array_begin(query, "$and", -1, &all);

    bson_append_document_begin(&all, "0", -1, &part);
    append_bound(&part, "due_us", "$lt", before_us);
    bson_append_document_end(&all, &part);

    bson_append_document_begin(&all, "1", -1, &part);
    bson_append_array_begin(&part, "$or", -1, &either);
    bson_append_document_begin(&either, "0", -1, &sub);
    append_bound(&sub, "due_us", "$gt", after_us);
    bson_append_document_end(&either, &sub);
    bson_append_document_begin(&either, "1", -1, &sub);
    BSON_APPEND_INT64(&sub, "due_us", after_us);
    {
        bson_t  beyond;

        bson_append_document_begin(&sub, "_id", -1, &beyond);
        BSON_APPEND_UTF8(&beyond, "$gt", text);
        bson_append_document_end(&sub, &beyond);
    }
    bson_append_document_end(&either, &sub);
    bson_append_array_end(&part, &either);
    bson_append_document_end(&all, &part);

    bson_append_array_end(query, &all);
}


enum result
mongo_due(struct store *s, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
    struct store_due **out, size_t *n)
{
    static const char *const  fields[] = { "due_us", "priority",
        "integration_id", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS,
        .sort = { "due_us", "_id" }, .ascending = true, .limit = limit,
        .fields = fields };
    struct due_list    l = { .a = a, .max = limit };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    *n = 0;
    l.rows = arena_alloc(a, (limit + 1) * sizeof(*l.rows));
    *out = l.rows;

    if (l.rows == NULL) {
        return RESULT_TOO_BIG;
    }

    due_query(&query, before_us, after_us, after_id);
    scan.query = &query;
    r = mongo_scan((struct mongo_store *) s, &scan, due_read, &l);
    bson_destroy(&query);
    *n = l.n;
    return r;
}
