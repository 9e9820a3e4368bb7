/*
 * Outcomes: one update of one document under {_id, token, leased}; terminal
 * ones join a batch of the heatmap's writer.  An attempt is inserted before its
 * log moves, under "<log id>-<number>": a second try finds it there.
 */

#include "store_mongo_outbound.h"

#include <stdlib.h>

#include "store_mongo_batch.h"
#include "store_mongo_bulk.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"
#include "store_mongo_writer.h"

#define ARENA_MAX  (64 * 1024 * 1024)

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
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = mongo_log_bodies,
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
    bson_t                    doc;
    unsigned                  n = 0;
    enum result               r = RESULT_OK;

    coll = mongoc_client_get_collection(call->client, x->m->db,
        MONGO_ATTEMPTS);
    bulk = mongo_bulk_create(coll);

    for (size_t i = 0; r == RESULT_OK && i < x->n; i++) {
        if (x->state[i] != FINISH_OPEN || x->f[i].attempt == NULL) {
            continue;
        }

        bson_init(&doc);
        r = mongo_attempt_encode(x->f[i].attempt, &doc);

        if (r == RESULT_OK && !mongo_bulk_insert(bulk, &doc)) {
            r = RESULT_INTERNAL;
        }

        bson_destroy(&doc);
        n++;
    }

    r = r != RESULT_OK || n == 0 ? r
        : mongo_bulk_run(x->m, bulk, "insert into integration_retry_log", NULL);
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
    bson_t  query = BSON_INITIALIZER, update = BSON_INITIALIZER;
    char    text[UUID_TEXT + 1];
    bool    ok;

    uuid_text(x->f[i].id, text);
    mongo_query_id(&query, slice_of(text));
    BSON_APPEND_INT64(&query, "token", x->f[i].token);
    mongo_query_bound(&query, "lease_until_us", "$gt", 0);

    ok = outcome_update(x, i, &update)
         && mongo_bulk_update(bulk, &query, &update);
    bson_destroy(&query);
    bson_destroy(&update);
    return ok;
}


/* *all: every one was written, none had been taken over meanwhile. */
static enum result
outcomes_write(struct finishing *x, struct mongo_call *call, bool *all)
{
    mongoc_bulk_operation_t  *bulk = mongo_bulk_create(call->coll);
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
        r = mongo_bulk_run(x->m, bulk, "update integration_directory",
            &matched);
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
