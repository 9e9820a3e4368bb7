/*
 * Inserting logs: encode, mark, one unordered insert_many, then look at what
 * the server said of each.  Duplicates of _id are compared by digest.  A
 * command that the server refuses whole is halved until the bad document
 * stands alone, so poison never stops its neighbours.  A write concern or
 * network error makes the call unknown: the caller inserts all again and _id
 * absorbs the copies.
 */

#include "store_mongo_insert.h"

#include <stdlib.h>

#include "log.h"
#include "store_mongo_doc.h"
#include "store_mongo_lane.h"
#include "store_mongo_scan.h"
#include "store_mongo_writer.h"

#define BATCH_BYTES   (12 * 1024 * 1024)   /* of one command; servers take 48 */
#define FIRST_BYTES   6144                 /* most documents fit at once */

struct batch {
    struct mongo_store    *m;
    struct mongo_call      call;
    struct mongo_writer   *w;
    const struct logdoc   *docs;           /* of the caller, from the first */
    enum store_insert     *outcome;
    size_t                 n;
    bson_t                *bson[MONGO_BATCH];
    size_t                 nbson;
    uint16_t               origin[MONGO_BATCH];    /* bson's index in docs */
    const uint16_t        *sent;           /* origins of the command's part */
    size_t                 nsent;
    bool                   halved;
    size_t                 duplicates;
    bool                   duplicate[MONGO_BATCH]; /* by index in docs */
};


static void
batch_clear(struct batch *b)
{
    for (size_t i = 0; i < b->nbson; i++) {
        bson_destroy(b->bson[i]);
    }

    b->nbson = 0;
}


/* A document of its own; NULL when it is too large or no log. */
static bson_t *
log_bson(const struct logdoc *d, const char *name)
{
    bson_t  *doc;
    size_t   size;

    size = d->request.data.n + d->response.data.n;
    size = size > MONGO_MAX_DOC ? 0 : size;
    doc = bson_sized_new(FIRST_BYTES + size);

    if (mongo_log_encode(d, name, doc) != RESULT_OK) {
        bson_destroy(doc);
        return NULL;
    }

    return doc;
}


/* Takes as many of the N left as one command may hold. */
static void
batch_encode(struct batch *b, size_t left, const char *name)
{
    bson_t  *doc;
    size_t   bytes = 0;

    b->n = 0;
    b->nbson = 0;

    while (b->n < left && b->n < MONGO_BATCH && bytes < BATCH_BYTES) {
        doc = log_bson(&b->docs[b->n], name);
        b->outcome[b->n] = doc == NULL ? STORE_REFUSED : STORE_NEW;

        if (doc != NULL) {
            b->origin[b->nbson] = (uint16_t) b->n;
            b->bson[b->nbson++] = doc;
            bytes += doc->len;
        }

        b->n++;
    }
}


static void
document_error(uint32_t index, enum result r, const char *message, void *data)
{
    struct batch  *b = data;
    size_t         i;
    char           id[UUID_TEXT + 1];

    if (index >= b->nsent) {
        return;
    }

    i = b->sent[index];

    if (r == RESULT_CONFLICT) {
        b->duplicate[i] = true;
        b->duplicates++;
        return;
    }

    b->outcome[i] = STORE_REFUSED;
    uuid_text(b->docs[i].id, id);
    log_rate(LOG_ERROR, "store", "mongo %s refuses log %s: %.200s",
             b->m->hosts, id, message);
}


/* One command; halves it when the server refuses it as a whole. */
static enum result
batch_send(struct batch *b, size_t from, size_t n)
{
    bson_error_t  e;
    bson_t        opts = BSON_INITIALIZER;
    bson_t        reply;
    bool          ok;
    enum result   result;

    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);
    b->sent = b->origin + from;
    b->nsent = n;

    ok = mongoc_collection_insert_many(b->call.coll,
        (const bson_t **) (b->bson + from), n, &opts, &reply, &e);
    result = ok ? RESULT_OK : mongo_reply_result(&reply, document_error, b);

    if (ok || result == RESULT_CONFLICT || result == RESULT_INVALID
        || result == RESULT_TOO_BIG)
    {
        result = RESULT_OK;                /* told one by one */

    } else if (result == RESULT_OK) {
        /* no document is blamed: the command or the connection failed */
        result = mongo_failed(b->m, "insert into integration_directory", &e);
        if (result != RESULT_INVALID && result != RESULT_TOO_BIG) {
            result = RESULT_UNAVAILABLE;

        } else if (n == 1) {
            document_error(0, result, e.message, b);
            result = RESULT_OK;
        }

    } else {
        (void) mongo_failed(b->m, "insert into integration_directory", &e);
        result = RESULT_UNAVAILABLE;
    }

    bson_destroy(&reply);
    bson_destroy(&opts);

    if (result != RESULT_OK && result != RESULT_UNAVAILABLE) {
        b->halved = true;
        result = batch_send(b, from, n / 2);
        if (result == RESULT_OK) {
            result = batch_send(b, from + n / 2, n - n / 2);
        }
    }

    return result;
}


/* -- duplicates ------------------------------------------------------------ */

static enum result
digest_compare(const bson_t *doc, void *data)
{
    struct batch  *b = data;
    struct slice   digest = SLICE_NONE;
    bson_iter_t    it;
    uint8_t        id[UUID_BYTES];

    if (!mongo_doc_id(doc, id)) {
        return RESULT_INTERNAL;
    }

    if (bson_iter_init_find(&it, doc, "digest")) {
        digest = mongo_get_text(&it);
    }

    for (size_t i = 0; i < b->n; i++) {
        const struct logdoc  *d = &b->docs[i];

        if (b->duplicate[i] && memcmp(d->id, id, UUID_BYTES) == 0) {
            b->duplicate[i] = false;
            b->duplicates--;
            b->outcome[i] = digest.n == sizeof(d->digest)
                            && memcmp(digest.p, d->digest, digest.n) == 0
                            ? STORE_SAME : STORE_DIFFERENT;
        }
    }

    return RESULT_OK;
}


static enum result
duplicates_judge(struct batch *b)
{
    static const char *const  fields[] = { "digest", NULL };
    struct mongo_scan         scan = { .coll = MONGO_LOGS, .fields = fields };
    bson_t                    query = BSON_INITIALIZER;
    uint8_t                   ids[MONGO_BATCH][UUID_BYTES];
    size_t                    n = 0;
    enum result               result;

    for (size_t i = 0; i < b->n; i++) {
        if (b->duplicate[i]) {
            memcpy(ids[n++], b->docs[i].id, UUID_BYTES);
        }
    }

    mongo_query_ids(&query, ids[0], UUID_BYTES, n);
    scan.query = &query;
    result = mongo_scan(b->m, &scan, digest_compare, b);
    bson_destroy(&query);

    if (result == RESULT_OK && b->duplicates > 0) {
        /* expired between the two calls: the next try is new again */
        result = RESULT_UNAVAILABLE;
    }

    return result == RESULT_OK ? RESULT_OK : RESULT_UNAVAILABLE;
}


/* -- batches --------------------------------------------------------------- */

static enum result
batch_insert(struct batch *b, size_t left)
{
    char         name[MONGO_BATCH_NAME];
    enum result  result = RESULT_OK;

    mongo_writer_next(b->w, name);
    batch_encode(b, left, name);
    memset(b->duplicate, 0, sizeof(b->duplicate));
    b->duplicates = 0;
    b->halved = false;

    if (b->nbson == 0) {
        return RESULT_OK;
    }

    result = mongo_writer_mark(b->m, &b->call, b->w, b->docs, b->n);
    if (result != RESULT_OK) {
        goto out;                          /* nothing was sent */
    }

    result = batch_send(b, 0, b->nbson);
    if (result != RESULT_OK) {
        mongo_writer_abandon(b->w);
        goto out;
    }

    for (size_t i = 0; i < b->n; i++) {
        if (b->duplicate[i]) {
            b->outcome[i] = STORE_SAME;    /* not new: what counting asks */
        }
    }

    if (b->halved) {
        /* what the refused command stored looks like a duplicate now: the
         * recount counts the batch by its documents */
        mongo_writer_abandon(b->w);

    } else {
        mongo_writer_count(b->m, &b->call, b->w, b->docs, b->n, b->outcome);
    }

    if (b->duplicates > 0) {
        result = duplicates_judge(b);
    }

    for (size_t i = 0; result == RESULT_OK && i < b->n; i++) {
        result = mongo_lane_take_over(b->m, &b->docs[i]);
    }

out:

    batch_clear(b);
    return result;
}


enum result
mongo_logs_insert(struct store *s, const struct logdoc *docs, size_t n,
    enum store_insert *outcome)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct batch        *b;
    enum result          result;

    b = malloc(sizeof(*b));
    if (b == NULL) {
        return RESULT_MEMORY;
    }

    b->m = m;
    b->docs = docs;
    b->outcome = outcome;
    b->w = mongo_writer_take(m);
    if (b->w == NULL) {
        free(b);
        return RESULT_MEMORY;
    }

    result = mongo_begin(m, MONGO_LOGS, &b->call);
    if (result != RESULT_OK) {
        goto out;
    }

    while (result == RESULT_OK && n > 0) {
        result = batch_insert(b, n);
        b->docs += b->n;
        b->outcome += b->n;
        n -= b->n;
    }

    mongo_end(m, &b->call);

out:

    mongo_writer_put(m, b->w);
    free(b);
    return result;
}
