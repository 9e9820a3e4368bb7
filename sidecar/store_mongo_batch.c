/*
 * Batches.  What makes each step safe:
 *
 *   close   candidates are read after the lane's last batch was stamped, and
 *           the lane moves on only from the number that was read then: so a
 *           member of an earlier batch is none of them
 *   stamp   {in the list, no batch_id, open}: a second time it changes nothing;
 *           one that was cancelled meanwhile is no member
 *   claim   needs due_us, which the batch gets when all are stamped
 *   finish  the outcome goes to the batch under {token}, then to the members;
 *           a batch with an outcome is not claimed
 *
 * All of it needs updates that are atomic for one document, which FerretDB 1
 * does not promise to several clients at once.
 */

#include "store_mongo_batch.h"

#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"

#define BATCHES      "batch"
#define LANES        "batch_lane"
#define BATCH_MAX    10000
#define CLOSE_TRIES  4
#define AGAIN_US     1000000
#define LANE_ARENA   (4 * 1024 * 1024)

/* A document of batch_lane. */
struct lane {
    struct slice   name;
    struct arena  *a;
    int64_t        number, at_us;
    struct slice   batch;
    bson_t        *members;                /* array of ids; NULL: never one */
    bool           found, stamped;
};

/* A document of batch. */
struct batch {
    struct arena  *a;
    struct slice   id, lane, claim;
    int64_t        due_us, token, attempts;
    bson_t        *outcome;                /* NULL: none */
    bool           found;
};


static void
lane_clear(struct lane *l)
{
    if (l->members != NULL) {
        bson_destroy(l->members);
        l->members = NULL;
    }
}


static void
batch_clear(struct batch *b)
{
    if (b->outcome != NULL) {
        bson_destroy(b->outcome);
        b->outcome = NULL;
    }
}


static enum result
text_read(const bson_t *doc, const char *name, struct arena *a,
    struct slice *out)
{
    bson_iter_t  it;

    *out = SLICE_NONE;

    if (!bson_iter_init_find(&it, doc, name)) {
        return RESULT_OK;
    }

    *out = arena_copy(a, mongo_get_text(&it));
    return out->p == NULL ? RESULT_TOO_BIG : RESULT_OK;
}


static bson_t *
part_read(const bson_t *doc, const char *name)
{
    const uint8_t  *bytes = NULL;
    bson_iter_t     it;
    uint32_t        n = 0;

    if (!bson_iter_init_find(&it, doc, name)) {
        return NULL;
    }

    if (BSON_ITER_HOLDS_DOCUMENT(&it)) {
        bson_iter_document(&it, &n, &bytes);

    } else if (BSON_ITER_HOLDS_ARRAY(&it)) {
        bson_iter_array(&it, &n, &bytes);
    }

    return bytes == NULL ? NULL : bson_new_from_data(bytes, n);
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
    l->members = part_read(doc, "members");
    return text_read(doc, "batch_id", l->a, &l->batch);
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
batch_doc(const bson_t *doc, void *data)
{
    struct batch  *b = data;
    enum result    r;

    b->found = true;
    b->due_us = mongo_doc_int(doc, "due_us");
    b->token = mongo_doc_int(doc, "token");
    b->attempts = mongo_doc_int(doc, "attempts");
    b->outcome = part_read(doc, "outcome");
    r = text_read(doc, "lane", b->a, &b->lane);
    return r != RESULT_OK ? r : text_read(doc, "claim", b->a, &b->claim);
}


static enum result
batch_read(struct mongo_store *m, struct batch *b)
{
    struct mongo_scan  scan = { .coll = BATCHES, .limit = 1 };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    batch_clear(b);
    b->found = false;
    mongo_query_id(&query, b->id);
    scan.query = &query;
    r = mongo_scan(m, &scan, batch_doc, b);
    bson_destroy(&query);
    return r;
}


/* -- members --------------------------------------------------------------- */

struct first {
    uint8_t  id[UUID_BYTES];
    bool     found;
};


static enum result
first_doc(const bson_t *doc, void *data)
{
    struct first  *f = data;

    f->found = mongo_doc_id(doc, f->id);
    return RESULT_OK;
}


/* {lane, batch_id, FIELD > 0} */
static bson_t *
members_query(struct slice lane, struct slice batch, const char *field)
{
    bson_t  *query = bson_new();
    bson_t   sub;

    (void) mongo_put_text(query, "lane", lane);
    (void) mongo_put_text(query, "batch_id", batch);
    bson_append_document_begin(query, field, -1, &sub);
    BSON_APPEND_INT64(&sub, "$gt", 0);
    bson_append_document_end(query, &sub);
    return query;
}


/* FIELD due_us: of the open members the first; lease_until_us: of the leased. */
static enum result
members_first(struct mongo_store *m, struct slice lane, struct slice batch,
    const char *field, struct first *f)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1,
        .sort = { "lane_us", "_id" }, .ascending = true, .fields = fields };
    bson_t            *query = members_query(lane, batch, field);
    enum result        r;

    f->found = false;
    scan.query = query;
    r = mongo_scan(m, &scan, first_doc, f);
    bson_destroy(query);
    return r;
}


static enum result
batch_delete(struct mongo_store *m, struct slice id)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    mongo_query_id(&query, id);
    r = mongo_begin(m, BATCHES, &call);

    if (r == RESULT_OK) {
        if (!mongoc_collection_delete_one(call.coll, &query, NULL, NULL, &e)) {
            r = mongo_failed(m, "delete of a batch", &e);
        }

        mongo_end(m, &call);
    }

    bson_destroy(&query);
    return r;
}


/* -- closing --------------------------------------------------------------- */

static enum result
members_stamp(struct mongo_store *m, const struct lane *l)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("_id", "{", "$in", BCON_ARRAY(l->members), "}",
        "batch_id", "{", "$exists", BCON_BOOL(false), "}",
        "due_us", "{", "$gt", BCON_INT64(0), "}");
    update = BCON_NEW("$set", "{", "batch_id", BCON_UTF8(l->batch.p),
        "due_us", BCON_INT64(l->at_us), "token", BCON_INT64(0), "}");

    r = mongo_update(m, MONGO_LOGS, query, update, MONGO_MANY, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r;
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
    r = mongo_update(m, BATCHES, query, update, MONGO_UPSERT, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}


static enum result
batch_ready(struct mongo_store *m, const struct lane *l)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(l->batch.p), "token", BCON_INT64(0),
        "due_us", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(l->at_us), "}");
    r = mongo_update(m, BATCHES, query, update, 0, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r;
}


static enum result
lane_stamped(struct mongo_store *m, const struct lane *l)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(l->name.p), "number",
        BCON_INT64(l->number));
    update = BCON_NEW("$set", "{", "stamped", BCON_BOOL(true), "}");
    r = mongo_update(m, LANES, query, update, 0, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r;
}


/* What is left of the closing, all of which may have been done before. */
static enum result
lane_complete(struct mongo_store *m, const struct lane *l, struct first *first)
{
    enum result  r;

    if (l->members == NULL || l->batch.n == 0) {
        return RESULT_INTERNAL;
    }

    r = batch_make(m, l);
    r = r != RESULT_OK ? r : members_stamp(m, l);
    r = r != RESULT_OK ? r : batch_ready(m, l);
    r = r != RESULT_OK ? r : lane_stamped(m, l);
    r = r != RESULT_OK ? r : members_first(m, l->name, l->batch, "due_us",
                                           first);

    /* all were cancelled, or it was over already and was made anew */
    return r != RESULT_OK || first->found ? r : batch_delete(m, l->batch);
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
    r = mongo_update(m, LANES, query, update, 0, &matched);
    bson_destroy(query);
    bson_destroy(update);
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
    r = mongo_update(m, LANES, query, update, MONGO_UPSERT, NULL);
    bson_destroy(query);
    bson_destroy(update);
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
    struct first       first = { .found = false };
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

    arena_init(&a, LANE_ARENA);
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


/* -- the members of one ---------------------------------------------------- */

struct getting {
    struct arena   *a;
    struct logdoc  *docs;
    size_t          n, max;
};


static enum result
get_doc(const bson_t *doc, void *data)
{
    struct getting  *g = data;

    return g->n == g->max ? RESULT_AGAIN
                          : mongo_log_decode(doc, g->a, &g->docs[g->n++]);
}


static enum result
count_doc(const bson_t *doc, void *data)
{
    (void) doc;
    (*(size_t *) data)++;
    return RESULT_OK;
}


static bool
batch_is_claimed(const struct batch *b, int64_t token)
{
    return b->found && b->token == token && b->outcome == NULL;
}


enum result
mongo_batch_get(struct store *s, const uint8_t id[UUID_BYTES], int64_t token,
    struct arena *a, struct logdoc **out, size_t *n)
{
    static const char *const  no_fields[] = { "_id", NULL };
    struct mongo_store  *m = (struct mongo_store *) s;
    struct mongo_scan    scan = { .coll = MONGO_LOGS, .fields = no_fields };
    struct batch         b = { .a = a };
    struct getting       g = { .a = a };
    bson_t              *query;
    char                 text[UUID_TEXT + 1];
    enum result          r;

    *n = 0;
    *out = NULL;
    uuid_text(id, text);
    b.id = slice_of(text);
    r = batch_read(m, &b);

    if (r != RESULT_OK || !batch_is_claimed(&b, token)) {
        batch_clear(&b);
        return r;
    }

    query = members_query(b.lane, b.id, "due_us");
    scan.query = query;
    r = mongo_scan(m, &scan, count_doc, &g.max);
    *out = g.docs = arena_alloc(a, (g.max + 1) * sizeof(*g.docs));
    scan.fields = NULL;
    scan.sort[0] = "lane_us";
    scan.sort[1] = "_id";
    scan.ascending = true;
    r = r != RESULT_OK ? r
        : g.docs == NULL ? RESULT_TOO_BIG : mongo_scan(m, &scan, get_doc, &g);
    bson_destroy(query);

    /* a claim that came meanwhile moved the batch before any member */
    r = r != RESULT_OK ? r : batch_read(m, &b);
    *n = batch_is_claimed(&b, token) ? g.n : 0;
    batch_clear(&b);
    return r;
}


/* -- claiming -------------------------------------------------------------- */

/* Closed, but not all know it yet: the one who closed it is gone or slow. */
static enum result
batch_help(struct mongo_store *m, struct batch *b)
{
    struct lane   l = { .a = b->a, .name = b->lane };
    struct first  first;
    enum result   r;

    r = lane_read(m, &l);

    if (r == RESULT_OK && l.found && !l.stamped && slice_eq(l.batch, b->id)) {
        r = lane_complete(m, &l, &first);
    }

    lane_clear(&l);
    return r != RESULT_OK ? r : batch_read(m, b);
}


static enum result
batch_lease(struct mongo_store *m, struct batch *b, int64_t now_us,
    int64_t lease_us, bool *mine)
{
    bson_t       *query, *update;
    char          mark[MONGO_MARK];
    enum result   r;

    r = mongo_claim_mark(mark);
    if (r != RESULT_OK) {
        return r;
    }

    query = BCON_NEW("_id", BCON_UTF8(b->id.p),
        "due_us", "{", "$lte", BCON_INT64(now_us), "}",
        "outcome", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(lease_us),
        "claim", BCON_UTF8(mark), "}", "$inc", "{", "token", BCON_INT64(1),
        "attempts", BCON_INT64(1), "}");
    r = mongo_update(m, BATCHES, query, update, 0, NULL);
    bson_destroy(query);
    bson_destroy(update);

    r = r != RESULT_OK ? r : batch_read(m, b);
    *mine = r == RESULT_OK && b->found && slice_eq(b->claim, slice_of(mark));
    return r;
}


/* The members follow; a claim that was overtaken changes none. */
static enum result
members_lease(struct mongo_store *m, const struct batch *b, int64_t lease_us)
{
    bson_t       *query, *update;
    enum result   r;

    query = BCON_NEW("lane", BCON_UTF8(b->lane.p),
        "batch_id", BCON_UTF8(b->id.p),
        "due_us", "{", "$gt", BCON_INT64(0), "}",
        "token", "{", "$lt", BCON_INT64(b->token), "}");
    update = BCON_NEW("$set", "{", "token", BCON_INT64(b->token),
        "attempts", BCON_INT64(b->attempts), "due_us", BCON_INT64(lease_us),
        "lease_until_us", BCON_INT64(lease_us), "}");
    r = mongo_update(m, MONGO_LOGS, query, update, MONGO_MANY, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r;
}


static enum result
member_doc(const bson_t *doc, void *data)
{
    struct getting  *g = data;

    g->n = 1;
    return mongo_log_decode(doc, g->a, g->docs);
}


static enum result
member_read(struct mongo_store *m, const struct batch *b,
    struct store_claim *claim)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1 };
    struct getting     g = { .a = b->a, .docs = &claim->doc };
    bson_t             query = BSON_INITIALIZER;
    char               text[UUID_TEXT + 1];
    enum result        r;

    uuid_text(claim->id, text);
    mongo_query_id(&query, slice_of(text));
    BSON_APPEND_INT64(&query, "token", b->token);
    scan.query = &query;
    r = mongo_scan(m, &scan, member_doc, &g);
    bson_destroy(&query);

    claim->claimed = r == RESULT_OK && g.n == 1
                     && claim->doc.lease_until_us != LOGDOC_NONE;
    claim->due_us = claim->claimed ? LOGDOC_NONE : b->due_us;

    if (claim->claimed) {
        claim->since_us = claim->doc.lane_us;
    }

    return r;
}


/* -- outcomes -------------------------------------------------------------- */

static struct slice
part_text(const bson_t *doc, const char *name, struct arena *a)
{
    struct slice  s;

    return text_read(doc, name, a, &s) == RESULT_OK ? s : SLICE_NONE;
}


static bool
part_bool(const bson_t *doc, const char *name)
{
    bson_iter_t  it;

    return bson_iter_init_find(&it, doc, name) && bson_iter_as_bool(&it);
}


static enum result
outcome_decode(const struct batch *b, struct mongo_batch_rest *rest)
{
    struct store_finish  *f = &rest->finish;
    const bson_t         *o = b->outcome;
    bson_t               *attempt = part_read(o, "attempt");
    int                   status = log_status_parse(part_text(o, "status",
                                                              b->a));
    enum result           r = RESULT_OK;

    memset(f, 0, sizeof(*f));
    f->token = b->token;
    f->status = status < 0 ? LOG_RETRYING : (enum log_status) status;
    f->flags = (uint32_t) mongo_doc_int(o, "flags");
    f->attempt_used = part_bool(o, "attempt_used");
    f->drop_bodies = part_bool(o, "drop_bodies");
    f->hold = part_bool(o, "hold");
    f->next_attempt_us = mongo_doc_int(o, "next_attempt_us");
    f->expires_us = mongo_doc_int(o, "expires_us");
    f->error_code = part_text(o, "error_code", b->a);
    f->error_message = part_text(o, "error_message", b->a);

    if (attempt != NULL) {
        r = mongo_attempt_decode(attempt, b->a, &rest->attempt);
        f->attempt = &rest->attempt;
        bson_destroy(attempt);
    }

    return r;
}


static bson_t *
outcome_encode(const struct store_finish *f)
{
    bson_t  *o = bson_new();
    bson_t   sub;
    bool     ok;

    ok = BSON_APPEND_UTF8(o, "status", log_status_text(f->status))
         && mongo_put_int(o, "flags", f->flags)
         && BSON_APPEND_BOOL(o, "attempt_used", f->attempt_used)
         && BSON_APPEND_BOOL(o, "drop_bodies", f->drop_bodies)
         && BSON_APPEND_BOOL(o, "hold", f->hold)
         && mongo_put_int(o, "next_attempt_us", f->next_attempt_us)
         && mongo_put_int(o, "expires_us", f->expires_us)
         && mongo_put_text(o, "error_code", f->error_code)
         && mongo_put_text(o, "error_message", f->error_message)
         && (f->attempt == NULL
             || (bson_append_document_begin(o, "attempt", -1, &sub)
                 && mongo_attempt_encode(f->attempt, &sub) == RESULT_OK
                 && bson_append_document_end(o, &sub)));

    if (!ok) {
        bson_destroy(o);
        return NULL;
    }

    return o;
}


struct leased {
    uint8_t  (*ids)[UUID_BYTES];
    size_t     n, max;
};


static enum result
leased_doc(const bson_t *doc, void *data)
{
    struct leased  *l = data;

    return l->n == l->max ? RESULT_AGAIN
           : mongo_doc_id(doc, l->ids[l->n++]) ? RESULT_OK : RESULT_INTERNAL;
}


/* Who has not got the outcome; none: only the batch itself does not know. */
static enum result
rest_read(struct mongo_store *m, const struct batch *b,
    struct mongo_batch_rest *rest)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = fields };
    struct leased      l = { .n = 0 };
    bson_t            *query = members_query(b->lane, b->id,
                                             "lease_until_us");
    enum result        r;

    scan.query = query;
    r = mongo_scan(m, &scan, count_doc, &l.max);
    l.ids = arena_alloc(b->a, (l.max + 1) * sizeof(*l.ids));
    r = r != RESULT_OK ? r
        : l.ids == NULL ? RESULT_TOO_BIG : mongo_scan(m, &scan, leased_doc,
                                                      &l);
    bson_destroy(query);
    rest->ids = l.ids;
    rest->n = l.n;
    return r;
}


static enum result
rest_take(struct mongo_store *m, const struct batch *b, int64_t lease_us,
    struct mongo_batch_rest *rest)
{
    bson_t       *query, *update;
    int64_t       matched = 0;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(b->id.p), "token",
        BCON_INT64(b->token), "due_us", BCON_INT64(b->due_us));
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(lease_us), "}");
    r = mongo_update(m, BATCHES, query, update, 0, &matched);
    bson_destroy(query);
    bson_destroy(update);

    if (r != RESULT_OK || matched == 0) {
        return r;
    }

    r = outcome_decode(b, rest);
    r = r != RESULT_OK ? r : rest_read(m, b, rest);
    rest->found = r == RESULT_OK && rest->n > 0;

    return r != RESULT_OK || rest->found ? r
           : mongo_batch_settle(m, b->id, &rest->finish, rest->finish.attempt_used
                 ? b->attempts : b->attempts - 1);
}


enum result
mongo_batch_claim(struct mongo_store *m, int64_t now_us, int64_t lease_us,
    struct arena *a, struct store_claim *claim, struct mongo_batch_rest *rest)
{
    struct batch  b = { .a = a, .id = claim->doc.batch_id };
    bool          mine = false;
    enum result   r;

    rest->found = false;
    claim->due_us = lease_us;
    r = batch_read(m, &b);

    if (r == RESULT_OK && b.found && b.due_us == LOGDOC_NONE) {
        r = batch_help(m, &b);
    }

    if (r != RESULT_OK || !b.found || b.due_us == LOGDOC_NONE) {
        goto out;
    }

    claim->due_us = b.due_us;

    if (b.due_us > now_us) {
        goto out;
    }

    if (b.outcome != NULL) {
        claim->due_us = now_us;
        r = rest_take(m, &b, lease_us, rest);
        goto out;
    }

    r = batch_lease(m, &b, now_us, lease_us, &mine);
    claim->due_us = b.due_us;

    if (r == RESULT_OK && mine) {
        r = members_lease(m, &b, lease_us);
        r = r != RESULT_OK ? r : member_read(m, &b, claim);
    }

out:

    batch_clear(&b);
    return r;
}


enum result
mongo_batch_note(struct mongo_store *m, struct slice batch,
    const struct store_finish *f, bool *late)
{
    struct arena   a;
    struct batch   b = { .a = &a };
    bson_t        *query, *update, *outcome = outcome_encode(f);
    int64_t        matched = 0;
    enum result    r;

    *late = false;

    if (outcome == NULL) {
        return RESULT_TOO_BIG;
    }

    arena_init(&a, LANE_ARENA);
    b.id = arena_copy(&a, batch);

    if (b.id.p == NULL) {
        bson_destroy(outcome);
        arena_cleanup(&a);
        return RESULT_TOO_BIG;
    }

    query = BCON_NEW("_id", BCON_UTF8(b.id.p), "token", BCON_INT64(f->token),
        "outcome", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "outcome", BCON_DOCUMENT(outcome), "}");
    r = mongo_update(m, BATCHES, query, update, 0, &matched);

    /* an earlier try of ours wrote it, or it is another's by now */
    if (r == RESULT_OK && matched == 0) {
        r = batch_read(m, &b);
        *late = !b.found || b.token != f->token;
    }

    batch_clear(&b);
    bson_destroy(query);
    bson_destroy(update);
    bson_destroy(outcome);
    arena_cleanup(&a);
    return r;
}


static enum result
batch_go_on(struct mongo_store *m, const struct batch *b,
    const struct store_finish *f, int64_t attempts)
{
    bson_t       *query, *update;
    int64_t       due = f->next_attempt_us == LOGDOC_NONE
                        ? b->due_us : f->next_attempt_us;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(b->id.p), "token",
        BCON_INT64(f->token));
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(due),
        "attempts", BCON_INT64(attempts), "}", "$unset", "{",
        "outcome", BCON_UTF8(""), "claim", BCON_UTF8(""), "}");
    r = mongo_update(m, BATCHES, query, update, 0, NULL);
    bson_destroy(query);
    bson_destroy(update);
    return r;
}


enum result
mongo_batch_settle(struct mongo_store *m, struct slice batch,
    const struct store_finish *f, int64_t attempts)
{
    struct arena   a;
    struct batch   b = { .a = &a };
    struct first   leased = { .found = false }, open = { .found = false };
    enum result    r;

    arena_init(&a, LANE_ARENA);
    b.id = arena_copy(&a, batch);
    r = b.id.p == NULL ? RESULT_TOO_BIG : batch_read(m, &b);

    if (r != RESULT_OK || !b.found) {
        goto out;
    }

    r = members_first(m, b.lane, b.id, "lease_until_us", &leased);

    if (r != RESULT_OK || leased.found) {
        goto out;
    }

    r = members_first(m, b.lane, b.id, "due_us", &open);
    r = r != RESULT_OK ? r : !open.found ? batch_delete(m, b.id)
        : f == NULL ? RESULT_OK : batch_go_on(m, &b, f, attempts);

out:

    batch_clear(&b);
    arena_cleanup(&a);
    return r;
}
