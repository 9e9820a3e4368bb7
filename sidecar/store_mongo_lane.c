/*
 * Lanes: in an ordered one only the first by (lane_us, _id) may be claimed.
 * First means that no open or holding log is before it; those that come later
 * stand behind, so what was first when it was asked still is when it is
 * claimed.
 */

#include "store_mongo_lane.h"

#include "store_mongo_doc.h"
#include "store_mongo_scan.h"

static const char *const  lane_fields[] = { "lane", "lane_us", "lane_flags",
    "due_us", "priority", NULL };

/* What stands in a lane, as far as it was asked for. */
struct standing {
    uint8_t  id[UUID_BYTES];
    int64_t  lane_us, due_us, priority;
    bool     found;
};


static enum result
standing_read(const bson_t *doc, void *data)
{
    struct standing  *s = data;

    s->found = mongo_doc_id(doc, s->id);
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
    struct arena         a;
};


/* Ordered ones are taken for behind, until they prove to be first. */
static enum result
candidate_read(const bson_t *doc, void *data)
{
    struct judging  *j = data;
    bson_iter_t      it;
    uint8_t          id[UUID_BYTES];
    int64_t          flags = mongo_doc_int(doc, "lane_flags");

    if (flags == LOGDOC_NONE || !(flags & LOG_LANE_ORDERED)
        || !mongo_doc_id(doc, id) || !bson_iter_init_find(&it, doc, "lane"))
    {
        return RESULT_OK;
    }

    for (size_t i = 0; i < j->n; i++) {
        struct store_claim  *c = &j->claims[i];

        if (memcmp(c->id, id, UUID_BYTES) == 0) {
            c->behind = true;
            c->lane = arena_copy(&j->a, mongo_get_text(&it));
            return c->lane.p == NULL ? RESULT_TOO_BIG : RESULT_OK;
        }
    }

    return RESULT_OK;
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

        if (slice_eq(c->lane, lane)) {
            c->behind = first.found
                        && memcmp(first.id, c->id, UUID_BYTES) != 0;
            c->lane = SLICE_NONE;          /* this one is judged */
        }
    }

    return r;
}


enum result
mongo_lane_judge(struct mongo_store *m, struct store_claim *claims, size_t n)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = lane_fields };
    struct judging     j = { .claims = claims, .n = n };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    for (size_t i = 0; i < n; i++) {
        claims[i].lane = SLICE_NONE;
    }

    arena_init(&j.a, 4 * 1024 * 1024);
    mongo_query_ids(&query, claims[0].id, sizeof(claims[0]), n);
    scan.query = &query;
    r = mongo_scan(m, &scan, candidate_read, &j);
    bson_destroy(&query);

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        if (claims[i].lane.n > 0) {
            r = lane_judge(m, &j, i);
        }
    }

    for (size_t i = 0; i < n; i++) {
        claims[i].lane = SLICE_NONE;       /* it lay in our arena */
    }

    arena_cleanup(&j.a);
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


static enum result
update_one(struct mongo_store *m, const bson_t *query, const bson_t *update)
{
    struct mongo_call  call;
    bson_error_t       e;
    enum result        r;

    r = mongo_begin(m, MONGO_LOGS, &call);
    if (r != RESULT_OK) {
        return r;
    }

    if (!mongoc_collection_update_one(call.coll, query, update, NULL, NULL,
            &e))
    {
        (void) mongo_failed(m, "update integration_directory", &e);
        r = RESULT_UNAVAILABLE;
    }

    mongo_end(m, &call);
    return r;
}


enum result
mongo_lane_let_go(struct mongo_store *m, const uint8_t id[UUID_BYTES])
{
    bson_t       query = BSON_INITIALIZER, update = BSON_INITIALIZER, sub;
    char         text[UUID_TEXT + 1];
    enum result  r;

    uuid_text(id, text);
    mongo_query_id(&query, slice_of(text));
    BSON_APPEND_UTF8(&query, "status", log_status_text(LOG_FAIL));
    bson_append_document_begin(&update, "$unset", -1, &sub);
    (void) mongo_lane_leave(&sub);
    bson_append_document_end(&update, &sub);

    r = update_one(m, &query, &update);
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
    char             text[UUID_TEXT + 1];
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

    r = update_one(m, &query, &update);
    bson_destroy(&query);
    bson_destroy(&update);
    return r != RESULT_OK ? r : mongo_lane_let_go(m, old.id);
}
