/*
 * Lanes: in an ordered one only the first by (lane_us, _id) may be claimed.
 * First means that no open or holding log is before it; those that come later
 * stand behind, so what was first when it was asked still is when it is
 * claimed.  The members of a batch are first together.
 */

#include "store_mongo_lane.h"

#include <openssl/rand.h>
#include <stdio.h>

#include "store_mongo_scan.h"
#include "store_mongo_value.h"

static const char *const  lane_fields[] = { "lane", "lane_us", "lane_flags",
    "due_us", "priority", "batch_id", NULL };

/* What stands in a lane, as far as it was asked for. */
struct standing {
    uint8_t  id[UUID_BYTES];
    uint8_t  batch[UUID_BYTES];
    int64_t  lane_us, due_us, priority;
    bool     found, batched;
};


enum result
mongo_claim_mark(char mark[MONGO_MARK])
{
    uint64_t  random;

    if (RAND_bytes((unsigned char *) &random, sizeof(random)) != 1) {
        return RESULT_INTERNAL;
    }

    (void) snprintf(mark, MONGO_MARK, "c%016llx",
        (unsigned long long) random);
    return RESULT_OK;
}


static enum result
standing_read(const bson_t *doc, void *data)
{
    struct standing  *s = data;
    bson_iter_t       it;

    s->found = mongo_doc_id(doc, s->id);
    s->batched = bson_iter_init_find(&it, doc, "batch_id")
                 && uuid_parse(mongo_get_text(&it), s->batch) == RESULT_OK;
    s->lane_us = mongo_doc_int(doc, "lane_us");
    s->due_us = mongo_doc_int(doc, "due_us");
    s->priority = mongo_doc_int(doc, "priority");
    return RESULT_OK;
}


static enum result
lane_first(struct mongo_store *m, struct slice lane, struct standing *s)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS,
        .sort = { "lane_us", "_id" }, .ascending = true, .limit = 1,
        .fields = lane_fields };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    s->found = false;
    (void) mongo_put_text(&query, "lane", lane);
    scan.query = &query;
    r = mongo_scan(m, &scan, standing_read, s);
    bson_destroy(&query);
    return r;
}


/* -- judging --------------------------------------------------------------- */

struct judging {
    struct store_claim  *claims;
    size_t               n;
    int64_t              now_us;
    struct arena        *out;              /* the caller's */
    struct arena         a;
};


/* Not claimed by itself: its batch is open, or does not begin to form yet. */
static enum result
waiting_read(const struct judging *j, const bson_t *doc, struct slice lane,
    struct store_claim *c)
{
    int64_t  since = mongo_doc_int(doc, "lane_us");
    int64_t  due = mongo_doc_int(doc, "due_us");

    c->forming = due != LOGDOC_NONE && since <= j->now_us;
    c->due_us = due == LOGDOC_NONE || c->forming ? due : since;
    c->lane = arena_copy(j->out, lane);
    return c->lane.p == NULL ? RESULT_TOO_BIG : RESULT_OK;
}


/* Ordered ones are taken for behind, until they prove to be first. */
static enum result
candidate_read(const bson_t *doc, void *data)
{
    struct judging      *j = data;
    struct store_claim  *c = NULL;
    struct slice         lane, batch = SLICE_NONE;
    bson_iter_t          it;
    uint8_t              id[UUID_BYTES];
    int64_t              flags = mongo_doc_int(doc, "lane_flags");

    if (flags == LOGDOC_NONE || !mongo_doc_id(doc, id)
        || !bson_iter_init_find(&it, doc, "lane"))
    {
        return RESULT_OK;
    }

    lane = mongo_get_text(&it);

    for (size_t i = 0; i < j->n && c == NULL; i++) {
        c = memcmp(j->claims[i].id, id, UUID_BYTES) == 0 ? &j->claims[i]
                                                          : NULL;
    }

    if (c == NULL) {
        return RESULT_OK;
    }

    if (bson_iter_init_find(&it, doc, "batch_id")) {
        batch = mongo_get_text(&it);
    }

    if ((flags & LOG_LANE_BATCH) && batch.n == 0) {
        return waiting_read(j, doc, lane, c);
    }

    /* a failure that holds its lane was of a batch */
    if ((flags & LOG_LANE_BATCH)
        && mongo_doc_int(doc, "due_us") != LOGDOC_NONE)
    {
        c->doc.batch_id = arena_copy(j->out, batch);

        if (c->doc.batch_id.p == NULL) {
            return RESULT_TOO_BIG;
        }
    }

    if (flags & LOG_LANE_ORDERED) {
        c->behind = true;
        c->lane = arena_copy(&j->a, lane);
    }

    return c->behind && c->lane.p == NULL ? RESULT_TOO_BIG : RESULT_OK;
}


static bool
is_member(const struct store_claim *c, const struct standing *first)
{
    char  text[UUID_TEXT + 1];

    if (!first->batched) {
        return false;
    }

    uuid_text(first->batch, text);
    return slice_eq(c->doc.batch_id, slice_of(text));
}


/* One question a lane: of the claims on it only the first is let through. */
static enum result
lane_judge(struct mongo_store *m, struct judging *j, size_t from)
{
    struct slice     lane = j->claims[from].lane;
    struct standing  first;
    enum result      r;

    r = lane_first(m, lane, &first);

    for (size_t i = from; i < j->n && r == RESULT_OK; i++) {
        struct store_claim  *c = &j->claims[i];

        if (c->behind && slice_eq(c->lane, lane)) {
            c->behind = first.found
                        && memcmp(first.id, c->id, UUID_BYTES) != 0
                        && !is_member(c, &first);
            c->lane = SLICE_NONE;          /* this one is judged */
        }
    }

    return r;
}


enum result
mongo_lane_judge(struct mongo_store *m, int64_t now_us, struct arena *a,
    struct store_claim *claims, size_t n)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = lane_fields };
    struct judging     j = { .claims = claims, .n = n, .now_us = now_us,
        .out = a };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    for (size_t i = 0; i < n; i++) {
        claims[i].behind = claims[i].forming = false;
        claims[i].lane = claims[i].doc.batch_id = SLICE_NONE;
    }

    arena_init(&j.a, 4 * 1024 * 1024);
    mongo_query_ids(&query, claims[0].id, sizeof(claims[0]), n);
    scan.query = &query;
    r = mongo_scan(m, &scan, candidate_read, &j);
    bson_destroy(&query);

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        if (claims[i].behind && claims[i].lane.n > 0) {
            r = lane_judge(m, &j, i);
        }
    }

    arena_cleanup(&j.a);
    return r;
}


enum result
mongo_lane_is_free(struct mongo_store *m, struct slice lane, bool *is_free)
{
    struct standing  first;
    enum result      r;

    r = lane_first(m, lane, &first);
    *is_free = !first.found
               || (first.due_us != LOGDOC_NONE && !first.batched);
    return r;
}


/* -- ends and beginnings --------------------------------------------------- */

enum result
mongo_lane_next(struct mongo_store *m, struct slice lane,
    struct store_finish *f)
{
    struct standing  first;
    enum result      r;

    r = lane_first(m, lane, &first);

    if (r == RESULT_OK && first.found && first.due_us != LOGDOC_NONE) {
        f->next = true;
        memcpy(f->next_id, first.id, UUID_BYTES);
        f->next_due_us = first.due_us;
        f->next_priority = first.priority == LOGDOC_NONE ? 1 : first.priority;
    }

    return r;
}


bool
mongo_lane_leave(bson_t *unset)
{
    return BSON_APPEND_UTF8(unset, "lane", "")
           && BSON_APPEND_UTF8(unset, "lane_us", "")
           && BSON_APPEND_UTF8(unset, "lane_flags", "");
}


enum result
mongo_lane_let_go(struct mongo_store *m, const uint8_t id[UUID_BYTES],
    struct slice lane, struct slice batch)
{
    bson_t       query = BSON_INITIALIZER, update = BSON_INITIALIZER, sub;
    char         text[UUID_TEXT + 1];
    enum result  r;

    if (batch.n > 0) {
        (void) mongo_put_text(&query, "lane", lane);
        (void) mongo_put_text(&query, "batch_id", batch);

    } else {
        uuid_text(id, text);
        mongo_query_id(&query, slice_of(text));
    }

    BSON_APPEND_UTF8(&query, "status", log_status_text(LOG_FAIL));
    bson_append_document_begin(&update, "$unset", -1, &sub);
    (void) mongo_lane_leave(&sub);
    bson_append_document_end(&update, &sub);

    r = mongo_update(m, MONGO_LOGS, &query, &update, MONGO_MANY, NULL);
    bson_destroy(&query);
    bson_destroy(&update);
    return r;
}


static enum result
old_find(struct mongo_store *m, struct slice id, struct standing *old)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1,
        .fields = lane_fields };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    old->found = false;
    mongo_query_id(&query, id);
    scan.query = &query;
    r = mongo_scan(m, &scan, standing_read, old);
    bson_destroy(&query);
    return r;
}


enum result
mongo_lane_take_over(struct mongo_store *m, const struct logdoc *d)
{
    struct standing  old;
    bson_t           query = BSON_INITIALIZER, update = BSON_INITIALIZER, sub;
    char             text[UUID_TEXT + 1], batch[UUID_TEXT + 1] = "";
    enum result      r;

    if (d->lane.n == 0 || d->resend_of.n == 0) {
        return RESULT_OK;
    }

    r = old_find(m, d->resend_of, &old);

    if (r != RESULT_OK || !old.found || old.lane_us == LOGDOC_NONE
        || old.due_us != LOGDOC_NONE)
    {
        return r;                          /* it holds nothing */
    }

    uuid_text(d->id, text);
    mongo_query_id(&query, slice_of(text));
    bson_append_document_begin(&update, "$set", -1, &sub);
    BSON_APPEND_INT64(&sub, "lane_us", old.lane_us);
    bson_append_document_end(&update, &sub);

    r = mongo_update(m, MONGO_LOGS, &query, &update, 0, NULL);
    bson_destroy(&query);
    bson_destroy(&update);

    if (old.batched) {
        uuid_text(old.batch, batch);
    }

    return r != RESULT_OK ? r
           : mongo_lane_let_go(m, old.id, d->lane, slice_of(batch));
}
