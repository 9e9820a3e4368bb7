/*
 * How a batch is closed.  A lane's document moves from one number to the next;
 * that is the commit point, and whoever meets it half done does the rest.
 */

#include "store_mongo_batch_close.h"

#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"

#define LANES        "batch_lane"
#define BATCH_MAX    10000
#define CLOSE_TRIES  4
#define AGAIN_US     1000000

/* A document of batch_lane. */
struct lane {
    struct slice   name;
    struct arena  *a;
    int64_t        number, at_us;
    struct slice   batch;
    bson_t        *members;                /* array of ids; NULL: never one */
    bool           found, stamped;
};

static void
lane_clear(struct lane *l)
{
    if (l->members != NULL) {
        bson_destroy(l->members);
        l->members = NULL;
    }
}


static enum result
lane_doc(const bson_t *doc, void *data)
{
    struct lane  *l = data;
    bson_iter_t   it;

    l->found = true;
    l->number = mongo_doc_int(doc, "number");
    l->at_us = mongo_doc_int(doc, "at_us");
    l->stamped = bson_iter_init_find(&it, doc, "stamped")
                 && bson_iter_as_bool(&it);
    l->members = mongo_part(doc, "members");
    return mongo_part_copy(doc, "batch_id", l->a, &l->batch);
}


static enum result
lane_read(struct mongo_store *m, struct lane *l)
{
    struct mongo_scan  scan = { .coll = LANES, .limit = 1 };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    lane_clear(l);
    l->found = false;
    mongo_query_id(&query, l->name);
    scan.query = &query;
    r = mongo_scan(m, &scan, lane_doc, l);
    bson_destroy(&query);
    return r;
}


static enum result
members_stamp(struct mongo_store *m, const struct lane *l)
{
    bson_t  *query, *update;

    query = BCON_NEW("_id", "{", "$in", BCON_ARRAY(l->members), "}",
        "batch_id", "{", "$exists", BCON_BOOL(false), "}",
        "due_us", "{", "$gt", BCON_INT64(0), "}");
    update = BCON_NEW("$set", "{", "batch_id", BCON_UTF8(l->batch.p),
        "due_us", BCON_INT64(l->at_us), "token", BCON_INT64(0), "}");

    return mongo_change(m, MONGO_LOGS, query, update, MONGO_MANY, NULL);
}


/* The batch is there before a log says so, and due when all of them do. */
static enum result
batch_make(struct mongo_store *m, const struct lane *l)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(l->batch.p));
    update = BCON_NEW("$setOnInsert", "{", "lane", BCON_UTF8(l->name.p),
        "token", BCON_INT64(0), "attempts", BCON_INT64(0), "}");
    r = mongo_change(m, MONGO_BATCHES, query, update, MONGO_UPSERT, NULL);
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}


static enum result
batch_ready(struct mongo_store *m, const struct lane *l)
{
    bson_t  *query, *update;

    query = BCON_NEW("_id", BCON_UTF8(l->batch.p), "token", BCON_INT64(0),
        "due_us", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(l->at_us), "}");
    return mongo_change(m, MONGO_BATCHES, query, update, 0, NULL);
}


static enum result
lane_stamped(struct mongo_store *m, const struct lane *l)
{
    bson_t  *query, *update;

    query = BCON_NEW("_id", BCON_UTF8(l->name.p), "number",
        BCON_INT64(l->number));
    update = BCON_NEW("$set", "{", "stamped", BCON_BOOL(true), "}");
    return mongo_change(m, LANES, query, update, 0, NULL);
}


/* What is left of the closing, all of which may have been done before. */
static enum result
lane_complete(struct mongo_store *m, const struct lane *l,
    struct mongo_first *first)
{
    enum result  r;

    if (l->members == NULL || l->batch.n == 0) {
        return RESULT_INTERNAL;
    }

    r = batch_make(m, l);
    r = r != RESULT_OK ? r : members_stamp(m, l);
    r = r != RESULT_OK ? r : batch_ready(m, l);
    r = r != RESULT_OK ? r : lane_stamped(m, l);
    r = r != RESULT_OK ? r
        : mongo_members_first(m, l->name, l->batch, "due_us", first);

    /* all were cancelled, or it was over already and was made anew */
    return r != RESULT_OK || first->found ? r : mongo_batch_delete(m, l->batch);
}


/* The commit point; *won false: somebody else closed one. */
static enum result
lane_advance(struct mongo_store *m, struct lane *l,
    const struct store_batch *b, bool *won)
{
    bson_t       *query, *update;
    char          id[UUID_TEXT + 1];
    int64_t       matched = 0;
    enum result   r;

    uuid_text(b->id, id);
    l->batch = arena_copy(l->a, slice_of(id));

    if (l->batch.p == NULL) {
        return RESULT_TOO_BIG;
    }

    query = BCON_NEW("_id", BCON_UTF8(l->name.p), "number",
        BCON_INT64(l->number), "stamped", BCON_BOOL(true));
    update = BCON_NEW("$set", "{", "number", BCON_INT64(l->number + 1),
        "batch_id", BCON_UTF8(l->batch.p), "at_us", BCON_INT64(b->now_us),
        "members", BCON_ARRAY(l->members), "stamped", BCON_BOOL(false), "}");
    r = mongo_change(m, LANES, query, update, 0, &matched);
    *won = matched > 0;
    l->number++;
    l->at_us = b->now_us;
    return r;
}


static enum result
lane_make(struct mongo_store *m, struct lane *l)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(l->name.p));
    update = BCON_NEW("$setOnInsert", "{", "number", BCON_INT64(0),
        "stamped", BCON_BOOL(true), "}");
    r = mongo_change(m, LANES, query, update, MONGO_UPSERT, NULL);
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}


struct collecting {
    struct store_batch  *b;
    bson_t              *members;
    uint32_t             n;
    int64_t              bytes;
    bool                 full;
};


static enum result
collect_doc(const bson_t *doc, void *data)
{
    struct collecting   *c = data;
    struct store_batch  *b = c->b;
    bson_iter_t          it, sub;
    char                 number[16], text[UUID_TEXT + 1];
    const char          *key;
    uint8_t              id[UUID_BYTES];
    int64_t              more = 0;

    if (!mongo_doc_id(doc, id)) {
        return RESULT_INTERNAL;
    }

    if (bson_iter_init(&it, doc)
        && bson_iter_find_descendant(&it, "request.bytes", &sub))
    {
        more = mongo_get_int(&sub);
    }

    more = more < 0 ? 1 : more + 1;

    if (c->n == 0) {
        b->due_us = mongo_doc_int(doc, "due_us");
    }

    c->full = c->n > 0 && (c->n == b->size || c->bytes + more > b->bytes);

    if (c->full) {
        return RESULT_AGAIN;
    }

    bson_uint32_to_string(c->n++, &key, number, sizeof(number));
    uuid_text(id, text);
    bson_append_utf8(c->members, key, -1, text, UUID_TEXT);
    c->bytes += more;
    c->full = c->n == b->size;
    return RESULT_OK;
}


/* Who would be in it, and when the first's window ends. */
static enum result
lane_collect(struct mongo_store *m, struct lane *l, struct collecting *c)
{
    static const char *const  fields[] = { "due_us", "request.bytes", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS,
        .sort = { "lane_us", "_id" }, .ascending = true,
        .limit = (int64_t) c->b->size + 1, .fields = fields };
    bson_t            *query;
    enum result        r;

    lane_clear(l);
    l->members = c->members = bson_new();
    c->n = 0;
    c->bytes = 2;
    c->full = false;

    query = BCON_NEW("lane", BCON_UTF8(l->name.p),
        "batch_id", "{", "$exists", BCON_BOOL(false), "}",
        "due_us", "{", "$gt", BCON_INT64(0), "}",
        "lane_us", "{", "$lte", BCON_INT64(c->b->now_us), "}");
    scan.query = query;
    r = mongo_scan(m, &scan, collect_doc, c);
    bson_destroy(query);
    return r;
}


/* One try; *again: another closed one meanwhile, or all were cancelled. */
static enum result
lane_close(struct mongo_store *m, struct lane *l, struct store_batch *b,
    bool *again)
{
    struct collecting  c = { .b = b };
    struct mongo_first       first = { .found = false };
    bool               is_free = true, won = false;
    enum result        r;

    *again = false;
    b->due_us = LOGDOC_NONE;
    r = lane_read(m, l);

    if (r == RESULT_OK && !l->found) {
        *again = true;
        return lane_make(m, l);
    }

    if (r == RESULT_OK && l->stamped) {
        r = b->ordered ? mongo_lane_is_free(m, l->name, &is_free) : RESULT_OK;
        r = r != RESULT_OK || !is_free ? r : lane_collect(m, l, &c);

        if (r != RESULT_OK || !is_free || c.n == 0
            || (!c.full && b->due_us > b->now_us))
        {
            return r;
        }

        r = lane_advance(m, l, b, &won);

        if (r == RESULT_OK && !won) {
            *again = true;
            return r;
        }
    }

    r = r != RESULT_OK ? r : lane_complete(m, l, &first);
    b->closed = r == RESULT_OK && first.found;
    *again = r == RESULT_OK && !first.found;
    memcpy(b->first, first.id, UUID_BYTES);
    return r;
}


enum result
mongo_batch_close(struct store *s, struct store_batch *b)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct lane          l = { .found = false };
    struct arena         a;
    bool                 again = true;
    enum result          r = RESULT_OK;

    b->closed = false;
    b->due_us = LOGDOC_NONE;

    if (b->size == 0 || b->size > BATCH_MAX || b->lane.n == 0) {
        return RESULT_INVALID;
    }

    arena_init(&a, MONGO_BATCH_ARENA);
    l.a = &a;
    l.name = arena_copy(&a, b->lane);
    r = l.name.p == NULL ? RESULT_MEMORY : RESULT_OK;

    for (int i = 0; r == RESULT_OK && again && i < CLOSE_TRIES; i++) {
        r = lane_close(m, &l, b, &again);
    }

    if (r == RESULT_OK && again) {
        b->due_us = b->now_us + AGAIN_US;
    }

    lane_clear(&l);
    arena_cleanup(&a);
    return r;
}


/* Closed, but not all know it yet: the one who closed it is gone or slow. */
enum result
mongo_batch_help(struct mongo_store *m, struct mongo_batch *b)
{
    struct lane   l = { .a = b->a, .name = b->lane };
    struct mongo_first  first;
    enum result   r;

    r = lane_read(m, &l);

    if (r == RESULT_OK && l.found && !l.stamped && slice_eq(l.batch, b->id)) {
        r = lane_complete(m, &l, &first);
    }

    lane_clear(&l);
    return r != RESULT_OK ? r : mongo_batch_read(m, b);
}
