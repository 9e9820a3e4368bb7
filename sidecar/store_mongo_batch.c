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

#include "store_mongo_batch_close.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"


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
batch_is_claimed(const struct mongo_batch *b, int64_t token)
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
    struct mongo_batch         b = { .a = a };
    struct getting       g = { .a = a };
    bson_t              *query;
    char                 text[UUID_TEXT + 1];
    enum result          r;

    *n = 0;
    *out = NULL;
    uuid_text(id, text);
    b.id = slice_of(text);
    r = mongo_batch_read(m, &b);

    if (r != RESULT_OK || !batch_is_claimed(&b, token)) {
        mongo_batch_clear(&b);
        return r;
    }

    query = mongo_members_query(b.lane, b.id, "due_us");
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
    r = r != RESULT_OK ? r : mongo_batch_read(m, &b);
    *n = batch_is_claimed(&b, token) ? g.n : 0;
    mongo_batch_clear(&b);
    return r;
}


/* -- claiming -------------------------------------------------------------- */

static enum result
batch_lease(struct mongo_store *m, struct mongo_batch *b, int64_t now_us,
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
    r = mongo_change(m, MONGO_BATCHES, query, update, 0, NULL);

    r = r != RESULT_OK ? r : mongo_batch_read(m, b);
    *mine = r == RESULT_OK && b->found && slice_eq(b->claim, slice_of(mark));
    return r;
}


/* The members follow; a claim that was overtaken changes none. */
static enum result
members_lease(struct mongo_store *m, const struct mongo_batch *b,
    int64_t lease_us)
{
    bson_t  *query, *update;

    query = BCON_NEW("lane", BCON_UTF8(b->lane.p),
        "batch_id", BCON_UTF8(b->id.p),
        "due_us", "{", "$gt", BCON_INT64(0), "}",
        "token", "{", "$lt", BCON_INT64(b->token), "}");
    update = BCON_NEW("$set", "{", "token", BCON_INT64(b->token),
        "attempts", BCON_INT64(b->attempts), "due_us", BCON_INT64(lease_us),
        "lease_until_us", BCON_INT64(lease_us), "}");
    return mongo_change(m, MONGO_LOGS, query, update, MONGO_MANY, NULL);
}


static enum result
member_doc(const bson_t *doc, void *data)
{
    struct getting  *g = data;

    g->n = 1;
    return mongo_log_decode(doc, g->a, g->docs);
}


static enum result
member_read(struct mongo_store *m, const struct mongo_batch *b,
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

    return mongo_part_copy(doc, name, a, &s) == RESULT_OK ? s : SLICE_NONE;
}


static bool
part_bool(const bson_t *doc, const char *name)
{
    bson_iter_t  it;

    return bson_iter_init_find(&it, doc, name) && bson_iter_as_bool(&it);
}


static enum result
outcome_decode(const struct mongo_batch *b, struct mongo_batch_rest *rest)
{
    struct store_finish  *f = &rest->finish;
    const bson_t         *o = b->outcome;
    bson_t               *attempt = mongo_part(o, "attempt");
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
rest_read(struct mongo_store *m, const struct mongo_batch *b,
    struct mongo_batch_rest *rest)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .fields = fields };
    struct leased      l = { .n = 0 };
    bson_t            *query = mongo_members_query(b->lane, b->id,
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
rest_take(struct mongo_store *m, const struct mongo_batch *b, int64_t lease_us,
    struct mongo_batch_rest *rest)
{
    bson_t       *query, *update;
    int64_t       matched = 0;
    enum result   r;

    query = BCON_NEW("_id", BCON_UTF8(b->id.p), "token",
        BCON_INT64(b->token), "due_us", BCON_INT64(b->due_us));
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(lease_us), "}");
    r = mongo_change(m, MONGO_BATCHES, query, update, 0, &matched);

    if (r != RESULT_OK || matched == 0) {
        return r;
    }

    r = outcome_decode(b, rest);
    r = r != RESULT_OK ? r : rest_read(m, b, rest);
    rest->found = r == RESULT_OK && rest->n > 0;

    if (r != RESULT_OK || rest->found) {
        return r;
    }

    return mongo_batch_settle(m, b->id, &rest->finish,
        rest->finish.attempt_used ? b->attempts : b->attempts - 1);
}


enum result
mongo_batch_claim(struct mongo_store *m, int64_t now_us, int64_t lease_us,
    struct arena *a, struct store_claim *claim, struct mongo_batch_rest *rest)
{
    struct mongo_batch  b = { .a = a, .id = claim->doc.batch_id };
    bool          mine = false;
    enum result   r;

    rest->found = false;
    claim->due_us = lease_us;
    r = mongo_batch_read(m, &b);

    if (r == RESULT_OK && b.found && b.due_us == LOGDOC_NONE) {
        r = mongo_batch_help(m, &b);
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

    mongo_batch_clear(&b);
    return r;
}


/* The batch first: who claims looks there.  Not when an outcome is being
 * written: its "claim" goes with it, and the token alone stays. */
enum result
mongo_batch_renew(struct mongo_store *m, const struct store_lease *l,
    int64_t until_us, bool *kept)
{
    struct arena         a;
    struct mongo_batch   b = { .a = &a };
    bson_t              *query, *update;
    char                 text[UUID_TEXT + 1];
    int64_t              matched = 0;
    enum result          r;

    arena_init(&a, MONGO_BATCH_ARENA);
    uuid_text(l->id, text);
    b.id = slice_of(text);
    query = BCON_NEW("_id", BCON_UTF8(text), "token", BCON_INT64(l->token),
        "claim", "{", "$exists", BCON_BOOL(true), "}",
        "outcome", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(until_us), "}");
    r = mongo_change(m, MONGO_BATCHES, query, update, 0, &matched);
    *kept = r == RESULT_OK && matched > 0;
    r = *kept ? mongo_batch_read(m, &b) : r;

    if (r == RESULT_OK && b.found) {
        query = BCON_NEW("lane", BCON_UTF8(b.lane.p), "batch_id",
            BCON_UTF8(text), "token", BCON_INT64(l->token),
            "lease_until_us", "{", "$gt", BCON_INT64(0), "}");
        update = BCON_NEW("$set", "{", "lease_until_us", BCON_INT64(until_us),
            "due_us", BCON_INT64(until_us), "}");
        r = mongo_change(m, MONGO_LOGS, query, update, MONGO_MANY, NULL);
    }

    mongo_batch_clear(&b);
    arena_cleanup(&a);
    return r;
}


enum result
mongo_batch_note(struct mongo_store *m, struct slice batch,
    const struct store_finish *f, bool *late)
{
    struct arena   a;
    struct mongo_batch   b = { .a = &a };
    bson_t        *query, *update, *outcome = outcome_encode(f);
    int64_t        matched = 0;
    enum result    r;

    *late = false;

    if (outcome == NULL) {
        return RESULT_TOO_BIG;
    }

    arena_init(&a, MONGO_BATCH_ARENA);
    b.id = arena_copy(&a, batch);

    if (b.id.p == NULL) {
        bson_destroy(outcome);
        arena_cleanup(&a);
        return RESULT_TOO_BIG;
    }

    query = BCON_NEW("_id", BCON_UTF8(b.id.p), "token", BCON_INT64(f->token),
        "outcome", "{", "$exists", BCON_BOOL(false), "}");
    update = BCON_NEW("$set", "{", "outcome", BCON_DOCUMENT(outcome), "}");
    r = mongo_change(m, MONGO_BATCHES, query, update, 0, &matched);

    /* an earlier try of ours wrote it, or it is another's by now */
    if (r == RESULT_OK && matched == 0) {
        r = mongo_batch_read(m, &b);
        *late = !b.found || b.token != f->token;
    }

    mongo_batch_clear(&b);
    bson_destroy(outcome);
    arena_cleanup(&a);
    return r;
}


static enum result
batch_go_on(struct mongo_store *m, const struct mongo_batch *b,
    const struct store_finish *f, int64_t attempts)
{
    bson_t       *query, *update;
    int64_t       due = f->next_attempt_us == LOGDOC_NONE
                        ? b->due_us : f->next_attempt_us;

    query = BCON_NEW("_id", BCON_UTF8(b->id.p), "token",
        BCON_INT64(f->token));
    update = BCON_NEW("$set", "{", "due_us", BCON_INT64(due),
        "attempts", BCON_INT64(attempts), "}", "$unset", "{",
        "outcome", BCON_UTF8(""), "claim", BCON_UTF8(""), "}");
    return mongo_change(m, MONGO_BATCHES, query, update, 0, NULL);
}


enum result
mongo_batch_settle(struct mongo_store *m, struct slice batch,
    const struct store_finish *f, int64_t attempts)
{
    struct arena   a;
    struct mongo_batch   b = { .a = &a };
    struct mongo_first   leased = { .found = false }, open = { .found = false };
    enum result    r;

    arena_init(&a, MONGO_BATCH_ARENA);
    b.id = arena_copy(&a, batch);
    r = b.id.p == NULL ? RESULT_TOO_BIG : mongo_batch_read(m, &b);

    if (r != RESULT_OK || !b.found) {
        goto out;
    }

    r = mongo_members_first(m, b.lane, b.id, "lease_until_us", &leased);

    if (r != RESULT_OK || leased.found) {
        goto out;
    }

    r = mongo_members_first(m, b.lane, b.id, "due_us", &open);
    r = r != RESULT_OK ? r : !open.found ? mongo_batch_delete(m, b.id)
        : f == NULL ? RESULT_OK : batch_go_on(m, &b, f, attempts);

out:

    mongo_batch_clear(&b);
    arena_cleanup(&a);
    return r;
}
