/*
 * Claims: one update of one document under {_id, due_us <= now} gives it the
 * lease, token + 1, attempts + 1 and our mark, by which it is read back.  Lanes
 * are judged before, batches are claimed after (store_mongo_lane.c,
 * store_mongo_batch.c).
 */

#include "store_mongo_outbound.h"

#include <stdlib.h>

#include "store_mongo_batch.h"
#include "store_mongo_bulk.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"

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
    bson_t  query = BSON_INITIALIZER, update = BSON_INITIALIZER, sub;
    char    text[UUID_TEXT + 1];
    bool    ok;

    uuid_text(id, text);
    mongo_query_id(&query, slice_of(text));
    mongo_query_bound(&query, "due_us", "$lte", now_us);

    bson_append_document_begin(&update, "$set", -1, &sub);
    BSON_APPEND_INT64(&sub, "due_us", lease_us);
    BSON_APPEND_INT64(&sub, "lease_until_us", lease_us);
    BSON_APPEND_UTF8(&sub, "claim", mark);
    bson_append_document_end(&update, &sub);
    bson_append_document_begin(&update, "$inc", -1, &sub);
    BSON_APPEND_INT64(&sub, "token", 1);
    BSON_APPEND_INT64(&sub, "attempts", 1);
    bson_append_document_end(&update, &sub);

    ok = mongo_bulk_update(bulk, &query, &update);
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

    bulk = mongo_bulk_create(call.coll);

    for (size_t i = 0; ok && i < c->n; i++) {
        if (claim_is_plain(&c->claims[i])) {
            ok = claim_put(bulk, c->claims[i].id, c->mark, now_us, lease_us);
            n++;
        }
    }

    r = !ok ? RESULT_INTERNAL : n == 0 ? RESULT_OK
        : mongo_bulk_run(m, bulk, "claim in integration_directory", NULL);
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
