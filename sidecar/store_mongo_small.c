/*
 * Configuration and other small documents.  A version guards each: new ones
 * are inserted, others changed by one findAndModify on {_id, version}, so that
 * of two writers one wins.  The configuration's version is raised after the
 * change.
 */

#include "store_mongo_small.h"

#include <stdio.h>

#include "store_mongo_scan.h"
#include "store_mongo_value.h"

#define MAX_ID       512                   /* bytes; index keys are bounded */
#define CONFIG_ID    "config_version"
#define FIRST_ROWS   16


static bool
id_is_valid(struct slice id)
{
    return id.n > 0 && id.n <= MAX_ID && memchr(id.p, '\0', id.n) == NULL
           && slice_utf8(id);
}


/* -- the configuration's version ------------------------------------------- */

static enum result
state_read(const bson_t *doc, void *data)
{
    bson_iter_t  it;

    if (bson_iter_init_find(&it, doc, "v")) {
        *(int64_t *) data = mongo_get_int(&it);
    }

    return RESULT_OK;
}


enum result
mongo_config_version(struct store *s, int64_t *v)
{
    struct mongo_scan  scan = { .coll = MONGO_STATE, .limit = 1 };
    bson_t             query = BSON_INITIALIZER;
    enum result        result;

    *v = 0;
    mongo_query_id(&query, SLICE_LIT(CONFIG_ID));
    scan.query = &query;
    result = mongo_scan((struct mongo_store *) s, &scan, state_read, v);
    bson_destroy(&query);
    return result;
}


static enum result
config_raise(struct mongo_store *m, mongoc_client_t *client)
{
    mongoc_collection_t  *coll;
    bson_error_t          e;
    bson_t                query = BSON_INITIALIZER;
    bson_t                update = BSON_INITIALIZER;
    bson_t                opts = BSON_INITIALIZER;
    bson_t                inc;
    enum result           result = RESULT_OK;

    mongo_query_id(&query, SLICE_LIT(CONFIG_ID));
    bson_append_document_begin(&update, "$inc", -1, &inc);
    BSON_APPEND_INT64(&inc, "v", 1);
    bson_append_document_end(&update, &inc);
    BSON_APPEND_BOOL(&opts, "upsert", true);

    coll = mongoc_client_get_collection(client, m->db, MONGO_STATE);
    if (!mongoc_collection_update_one(coll, &query, &update, &opts, NULL, &e)
        && (mongo_result(&e) != RESULT_CONFLICT
            /* two made it at once: the second try finds it */
            || !mongoc_collection_update_one(coll, &query, &update, &opts,
                                             NULL, &e)))
    {
        (void) mongo_failed(m, "update store_state", &e);
        result = RESULT_UNAVAILABLE;
    }

    mongoc_collection_destroy(coll);
    bson_destroy(&query);
    bson_destroy(&update);
    bson_destroy(&opts);
    return result;
}


/* -- put ------------------------------------------------------------------- */

/* The fields that every put sets; CREATED too when the document is new. */
static bool
fields_put(bson_t *b, const struct store_doc *d)
{
    return mongo_put_int(b, "org_id", d->org_id)
           && mongo_put_int(b, "updated_us", d->updated_us)
           && mongo_put_int(b, "expires_us", d->expires_us)
           && mongo_put_text(b, "body", d->body);
}


/* What is null now must go. */
static bool
nulls_put(bson_t *update, const struct store_doc *d)
{
    const struct {
        const char  *name;
        bool         null;
    }       fields[] = {
        { "org_id", d->org_id == LOGDOC_NONE },
        { "updated_us", d->updated_us == LOGDOC_NONE },
        { "expires_us", d->expires_us == LOGDOC_NONE },
        { "body", d->body.n == 0 }
    };
    bson_t  unset = BSON_INITIALIZER;
    bool    ok = true;

    for (size_t i = 0; ok && i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].null) {
            ok = BSON_APPEND_UTF8(&unset, fields[i].name, "");
        }
    }

    if (ok && !bson_empty(&unset)) {
        ok = BSON_APPEND_DOCUMENT(update, "$unset", &unset);
    }

    bson_destroy(&unset);
    return ok;
}


static bool
update_put(bson_t *update, const struct store_doc *d)
{
    bson_t  set = BSON_INITIALIZER;
    bson_t  sub;
    bool    ok;

    ok = fields_put(&set, d)
         && (bson_empty(&set) || BSON_APPEND_DOCUMENT(update, "$set", &set));
    bson_destroy(&set);

    ok = ok && nulls_put(update, d)
         && bson_append_document_begin(update, "$inc", -1, &sub)
         && BSON_APPEND_INT64(&sub, "version", 1)
         && bson_append_document_end(update, &sub);

    if (ok && d->created_us != LOGDOC_NONE) {
        ok = bson_append_document_begin(update, "$setOnInsert", -1, &sub)
             && BSON_APPEND_INT64(&sub, "created_us", d->created_us)
             && bson_append_document_end(update, &sub);
    }

    return ok;
}


static enum result
doc_insert(struct mongo_store *m, struct mongo_call *call,
    const struct store_doc *d)
{
    bson_error_t  e;
    bson_t        doc = BSON_INITIALIZER;
    bson_t        opts = BSON_INITIALIZER;
    enum result   result = RESULT_OK;

    mongo_query_id(&doc, d->id);
    BSON_APPEND_BOOL(&opts, "validate", false);

    if (!BSON_APPEND_INT64(&doc, "version", 1)
        || !mongo_put_int(&doc, "created_us", d->created_us)
        || !fields_put(&doc, d))
    {
        result = RESULT_TOO_BIG;

    } else if (!mongoc_collection_insert_one(call->coll, &doc, &opts, NULL,
                                             &e))
    {
        result = mongo_failed(m, "insert of a document", &e);
    }

    bson_destroy(&doc);
    bson_destroy(&opts);
    return result;
}


/* version of the document that findAndModify answers; 0: none matched. */
static int64_t
reply_version(const bson_t *reply)
{
    bson_iter_t  it, sub;

    if (bson_iter_init_find(&it, reply, "value")
        && BSON_ITER_HOLDS_DOCUMENT(&it) && bson_iter_recurse(&it, &sub)
        && bson_iter_find(&sub, "version"))
    {
        return mongo_get_int(&sub);
    }

    return 0;
}


static enum result
doc_modify(struct mongo_store *m, struct mongo_call *call,
    const struct store_doc *d, int64_t if_version, int64_t *version)
{
    mongoc_find_and_modify_opts_t     *opts;
    mongoc_find_and_modify_flags_t     flags;
    bson_error_t                       e;
    bson_t                             query = BSON_INITIALIZER;
    bson_t                             update = BSON_INITIALIZER;
    bson_t                             reply;
    enum result                        result = RESULT_OK;

    mongo_query_id(&query, d->id);
    if (if_version > 0) {
        BSON_APPEND_INT64(&query, "version", if_version);
    }

    /* no projection of the answer: FerretDB has none here */
    flags = MONGOC_FIND_AND_MODIFY_RETURN_NEW
            | (if_version < 0 ? MONGOC_FIND_AND_MODIFY_UPSERT : 0);
    opts = mongoc_find_and_modify_opts_new();

    if (!update_put(&update, d)
        || !mongoc_find_and_modify_opts_set_update(opts, &update)
        || !mongoc_find_and_modify_opts_set_flags(opts, flags))
    {
        result = RESULT_TOO_BIG;
        goto out;
    }

    if (!mongoc_collection_find_and_modify_with_opts(call->coll, &query, opts,
                                                     &reply, &e))
    {
        result = mongo_failed(m, "findAndModify of a document", &e);

    } else {
        *version = reply_version(&reply);
        result = *version == 0 ? RESULT_CONFLICT : RESULT_OK;
    }

    bson_destroy(&reply);

out:

    mongoc_find_and_modify_opts_destroy(opts);
    bson_destroy(&query);
    bson_destroy(&update);
    return result;
}


enum result
mongo_doc_put(struct store *s, enum store_coll c, const struct store_doc *d,
    int64_t if_version, int64_t *version)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct mongo_call    call;
    enum result          result;

    if (!id_is_valid(d->id)) {
        return RESULT_INVALID;
    }

    if (d->body.n > MONGO_MAX_DOC) {
        return RESULT_TOO_BIG;
    }

    result = mongo_begin(m, store_coll_name(c), &call);
    if (result != RESULT_OK) {
        return result;
    }

    if (if_version == 0) {
        result = doc_insert(m, &call, d);
        *version = 1;

    } else {
        result = doc_modify(m, &call, d, if_version, version);
        if (result == RESULT_CONFLICT && if_version < 0) {
            /* two upserts at once: one of them made it */
            result = doc_modify(m, &call, d, if_version, version);
        }
    }

    if (result == RESULT_OK && store_coll_is_config(c)) {
        result = config_raise(m, call.client);
    }

    mongo_end(m, &call);
    return result;
}


/* -- get, list ------------------------------------------------------------- */

struct docs {
    struct arena      *a;
    struct store_doc  *rows;
    size_t             n, room;
};


static bool
copy_text(const bson_iter_t *it, struct arena *a, struct slice *out)
{
    *out = arena_copy(a, mongo_get_text(it));
    return out->p != NULL;
}


static bool
doc_decode(const bson_t *b, struct arena *a, struct store_doc *d)
{
    bson_iter_t  it;
    bool         ok;

    memset(d, 0, sizeof(*d));
    d->org_id = LOGDOC_NONE;
    d->created_us = LOGDOC_NONE;
    d->updated_us = LOGDOC_NONE;
    d->expires_us = LOGDOC_NONE;
    ok = bson_iter_init(&it, b);

    while (ok && bson_iter_next(&it)) {
        const char  *key = bson_iter_key(&it);

        if (strcmp(key, "_id") == 0) {
            ok = copy_text(&it, a, &d->id);

        } else if (strcmp(key, "body") == 0) {
            ok = copy_text(&it, a, &d->body);

        } else if (strcmp(key, "version") == 0) {
            d->version = mongo_get_int(&it);

        } else if (strcmp(key, "org_id") == 0) {
            d->org_id = mongo_get_int(&it);

        } else if (strcmp(key, "created_us") == 0) {
            d->created_us = mongo_get_int(&it);

        } else if (strcmp(key, "updated_us") == 0) {
            d->updated_us = mongo_get_int(&it);

        } else if (strcmp(key, "expires_us") == 0) {
            d->expires_us = mongo_get_int(&it);
        }
    }

    return ok;
}


static enum result
doc_read(const bson_t *b, void *data)
{
    struct docs       *docs = data;
    struct store_doc  *rows;
    size_t             room;

    if (docs->n == docs->room) {
        room = docs->room == 0 ? FIRST_ROWS : docs->room * 2;
        rows = arena_alloc(docs->a, room * sizeof(*rows));
        if (rows == NULL) {
            return RESULT_TOO_BIG;
        }
        if (docs->n > 0) {
            memcpy(rows, docs->rows, docs->n * sizeof(*rows));
        }
        docs->rows = rows;
        docs->room = room;
    }

    return doc_decode(b, docs->a, &docs->rows[docs->n++]) ? RESULT_OK
                                                          : RESULT_TOO_BIG;
}


enum result
mongo_doc_get(struct store *s, enum store_coll c, struct slice id,
    struct arena *a, struct store_doc *out)
{
    struct mongo_scan  scan = { .coll = store_coll_name(c), .limit = 1 };
    struct docs        docs = { .a = a };
    bson_t             query = BSON_INITIALIZER;
    enum result        result;

    if (!id_is_valid(id)) {
        bson_destroy(&query);
        return RESULT_NOT_FOUND;
    }

    mongo_query_id(&query, id);
    scan.query = &query;
    result = mongo_scan((struct mongo_store *) s, &scan, doc_read, &docs);
    bson_destroy(&query);

    if (result == RESULT_OK && docs.n == 0) {
        result = RESULT_NOT_FOUND;
    }

    if (result == RESULT_OK) {
        *out = docs.rows[0];
    }

    return result;
}


enum result
mongo_doc_list(struct store *s, enum store_coll c, int64_t org_id,
    struct slice after, bool descending, unsigned limit, struct arena *a,
    struct store_doc **out, size_t *n)
{
    struct mongo_scan  scan = {
        .coll = store_coll_name(c), .sort = { "_id", NULL },
        .ascending = !descending, .limit = limit
    };
    struct docs        docs = { .a = a };
    bson_t             query = BSON_INITIALIZER;
    bson_t             sub;
    enum result        result;

    if (after.n > 0 && !id_is_valid(after)) {
        bson_destroy(&query);
        return RESULT_INVALID;
    }

    if (org_id != LOGDOC_NONE) {
        BSON_APPEND_INT64(&query, "org_id", org_id);
    }

    if (after.n > 0) {
        bson_append_document_begin(&query, "_id", 3, &sub);
        bson_append_utf8(&sub, descending ? "$lt" : "$gt", -1, after.p,
                         (int) after.n);
        bson_append_document_end(&query, &sub);
    }

    scan.query = &query;
    result = mongo_scan((struct mongo_store *) s, &scan, doc_read, &docs);
    bson_destroy(&query);

    *out = docs.rows;
    *n = docs.n;
    return result;
}


/* -- delete ---------------------------------------------------------------- */

static enum result
doc_remove(struct mongo_store *m, struct mongo_call *call, struct slice id,
    int64_t if_version, int64_t *deleted)
{
    bson_error_t  e;
    bson_iter_t   it;
    bson_t        query = BSON_INITIALIZER;
    bson_t        reply;
    enum result   result = RESULT_OK;

    *deleted = 0;
    mongo_query_id(&query, id);
    if (if_version >= 0) {
        BSON_APPEND_INT64(&query, "version", if_version);
    }

    if (!mongoc_collection_delete_one(call->coll, &query, NULL, &reply, &e)) {
        result = mongo_failed(m, "delete of a document", &e);

    } else if (bson_iter_init_find(&it, &reply, "deletedCount")) {
        *deleted = mongo_get_int(&it);
    }

    bson_destroy(&reply);
    bson_destroy(&query);
    return result;
}


static enum result
doc_exists(const bson_t *doc, void *data)
{
    (void) doc;
    *(bool *) data = true;
    return RESULT_OK;
}


/* Nothing was deleted: because it is not there, or has another version? */
static enum result
delete_reason(struct mongo_store *m, enum store_coll c, struct slice id)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan         scan = {
        .coll = store_coll_name(c), .limit = 1, .fields = fields
    };
    bson_t                    query = BSON_INITIALIZER;
    bool                      found = false;
    enum result               result;

    mongo_query_id(&query, id);
    scan.query = &query;
    result = mongo_scan(m, &scan, doc_exists, &found);
    bson_destroy(&query);

    return result != RESULT_OK ? result
           : found ? RESULT_CONFLICT : RESULT_NOT_FOUND;
}


enum result
mongo_doc_delete(struct store *s, enum store_coll c, struct slice id,
    int64_t if_version)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct mongo_call    call;
    int64_t              deleted;
    enum result          result;

    if (!id_is_valid(id)) {
        return RESULT_NOT_FOUND;
    }

    result = mongo_begin(m, store_coll_name(c), &call);
    if (result != RESULT_OK) {
        return result;
    }

    result = doc_remove(m, &call, id, if_version, &deleted);
    if (result == RESULT_OK && deleted > 0 && store_coll_is_config(c)) {
        result = config_raise(m, call.client);
    }

    mongo_end(m, &call);

    return result == RESULT_OK && deleted == 0 ? delete_reason(m, c, id)
                                               : result;
}
