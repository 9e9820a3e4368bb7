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
 * Many claims or outcomes go in one unordered command.  They stand in
 * store_mongo_claim.c and store_mongo_finish.c, lanes in store_mongo_lane.c,
 * batches in store_mongo_batch.c; here are moves by hand and what is open.
 */

#include "store_mongo_outbound.h"

#include <stdlib.h>

#include "clock.h"
#include "store_mongo_batch.h"
#include "store_mongo_bulk.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"

#define MOVE_TRIES  3
#define ARENA_MAX   (64 * 1024 * 1024)


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


static enum result
renew_log(struct mongo_store *m, const struct store_lease *l,
    int64_t until_us, bool *kept)
{
    bson_t       *query, *update;
    char          text[UUID_TEXT + 1];
    int64_t       matched = 0;
    enum result   r;

    uuid_text(l->id, text);
    query = BCON_NEW("_id", BCON_UTF8(text), "token", BCON_INT64(l->token),
        "lease_until_us", "{", "$gt", BCON_INT64(0), "}",
        "batch_id", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "lease_until_us", BCON_INT64(until_us),
        "due_us", BCON_INT64(until_us), "}");
    r = mongo_change(m, MONGO_LOGS, query, update, 0, &matched);
    *kept = r == RESULT_OK && matched > 0;
    return r;
}


enum result
mongo_renew(struct store *s, const struct store_lease *leases, size_t n,
    int64_t lease_until_us, size_t *kept)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    bool                 mine = false;
    enum result          r = RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        r = leases[i].batched
                ? mongo_batch_renew(m, &leases[i], lease_until_us, &mine)
                : renew_log(m, &leases[i], lease_until_us, &mine);
        *kept += mine;
    }

    return r;
}


static enum result
move_look(struct mongo_store *m, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct moving *x)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1,
        .fields = mongo_log_bodies, .exclude = true };
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

    if (store_move_code(move) == NULL) {
        d->next_attempt_us = at_us;
        return;
    }

    d->status = LOG_CANCELLED;
    d->next_attempt_us = LOGDOC_NONE;
    d->error_code = slice_of(store_move_code(move));
    d->error_message = reason;
    d->error_fingerprint = 0;
}


/* *matched 0: somebody changed it since it was read. */
static enum result
move_write(struct mongo_store *m, const struct moving *x, int64_t *matched)
{
    mongoc_bulk_operation_t  *bulk;
    struct mongo_call         call;
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

    bulk = mongo_bulk_create(call.coll);
    ok = ok && mongo_bulk_update(bulk, &query, &update);
    r = ok ? mongo_bulk_run(m, bulk, "move in integration_directory", matched)
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
            && store_move_code(move) != NULL)
        {
            r = mongo_lane_let_go(m, id, x->doc.lane, x->doc.batch_id);
            goto out;
        }

        if (x->due_us == LOGDOC_NONE
            || (x->doc.batch_id.n > 0 && !store_move_drops(move))
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
    mongo_query_bound(&part, "due_us", "$lt", before_us);
    bson_append_document_end(&all, &part);

    bson_append_document_begin(&all, "1", -1, &part);
    bson_append_array_begin(&part, "$or", -1, &either);
    bson_append_document_begin(&either, "0", -1, &sub);
    mongo_query_bound(&sub, "due_us", "$gt", after_us);
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
