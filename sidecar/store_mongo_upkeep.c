/*
 * Indexes in one table, retention in slices of deletes (a TTL index is not
 * portable and would take attempts apart from their log), figures.
 */

#include "store_mongo_upkeep.h"

#include <stdio.h>

#include "store_mongo_scan.h"
#include "store_mongo_small.h"
#include "store_mongo_value.h"

#define SLICE_MAX   500                    /* ids of one delete */
#define SCHEMA_ID   "schema"

/* Keys in order; '-' in front: descending.  Every index of logs ends as pages
 * are sorted. */
static const struct index {
    const char  *coll;
    const char  *name;
    const char  *keys[4];
}  indexes[] = {
    { MONGO_LOGS, "started", { "-started_us", "-_id" } },
    { MONGO_LOGS, "org", { "org_id", "-started_us", "-_id" } },
    { MONGO_LOGS, "lab", { "lab_id", "-started_us", "-_id" } },
    { MONGO_LOGS, "status", { "status", "-started_us", "-_id" } },
    { MONGO_LOGS, "action", { "action_id", "-started_us", "-_id" } },
    { MONGO_LOGS, "developer", { "developer_id", "-started_us", "-_id" } },
    { MONGO_LOGS, "endpoint", { "endpoint", "-started_us", "-_id" } },
    { MONGO_LOGS, "error", { "error.fingerprint", "-started_us" } },
    { MONGO_LOGS, "bill", { "refs.bill_id" } },
    { MONGO_LOGS, "patient", { "refs.patient_id" } },
    { MONGO_LOGS, "lrr", { "refs.lrr_id" } },
    { MONGO_LOGS, "report", { "refs.report_id" } },
    { MONGO_LOGS, "event", { "event_id" } },
    { MONGO_LOGS, "trace", { "trace_id" } },
    { MONGO_LOGS, "expires", { "expires_us" } },
    { MONGO_LOGS, "due", { "due_us", "_id" } },
    { MONGO_LOGS, "lane", { "lane", "lane_us", "_id" } },
    { MONGO_LOGS, "integration", { "integration_id", "status", "started_us",
        "_id" } },
    { MONGO_ATTEMPTS, "log", { "integration_directory_id", "number" } },
    { MONGO_HEATMAP, "at", { "at_us" } },
    { MONGO_HEATMAP, "lab", { "lab_id", "at_us" } },
    { MONGO_HEATMAP, "org", { "org_id", "at_us" } },
    { MONGO_WRITERS, "at", { "at_us" } },
    { "audit_log", "org", { "org_id", "_id" } },
    { "audit_log", "expires", { "expires_us" } },
    { "dead_letter", "expires", { "expires_us" } },
    { "event", "org", { "org_id", "_id" } },
    { "event", "expires", { "expires_us" } },
    { "idempotency", "expires", { "expires_us" } },
    { "retry_job", "expires", { "expires_us" } }
};


/* -- schema ---------------------------------------------------------------- */

static bool
index_make(struct mongo_store *m, mongoc_client_t *client,
    const struct index *x, bson_error_t *e)
{
    mongoc_collection_t  *coll;
    bson_t                command = BSON_INITIALIZER;
    bson_t                list, one, key;
    bool                  ok;

    BSON_APPEND_UTF8(&command, "createIndexes", x->coll);
    bson_append_array_begin(&command, "indexes", -1, &list);
    bson_append_document_begin(&list, "0", 1, &one);
    bson_append_document_begin(&one, "key", -1, &key);
    for (size_t i = 0; i < 4 && x->keys[i] != NULL; i++) {
        bool  down = x->keys[i][0] == '-';

        bson_append_int32(&key, x->keys[i] + down, -1, down ? -1 : 1);
    }
    bson_append_document_end(&one, &key);
    BSON_APPEND_UTF8(&one, "name", x->name);
    bson_append_document_end(&list, &one);
    bson_append_array_end(&command, &list);

    coll = mongoc_client_get_collection(client, m->db, x->coll);
    ok = mongoc_collection_command_simple(coll, &command, NULL, NULL, e);
    mongoc_collection_destroy(coll);
    bson_destroy(&command);
    return ok;
}


static enum result
version_read(const bson_t *doc, void *data)
{
    bson_iter_t  it;

    if (bson_iter_init_find(&it, doc, "version")) {
        *(int64_t *) data = mongo_get_int(&it);
    }

    return RESULT_OK;
}


enum result
mongo_schema_read(struct mongo_store *m, int64_t *version, bson_error_t *e)
{
    mongoc_cursor_t    *cursor;
    struct mongo_call   call;
    const bson_t       *doc;
    bson_t              query = BSON_INITIALIZER;
    bool                failed;
    enum result         result;

    /* no mongo_scan: the caller wants the error for its own message */
    *version = 0;
    memset(e, 0, sizeof(*e));
    mongo_query_id(&query, SLICE_LIT(SCHEMA_ID));

    result = mongo_begin(m, MONGO_STATE, &call);
    if (result != RESULT_OK) {
        bson_destroy(&query);
        return result;
    }

    cursor = mongoc_collection_find_with_opts(call.coll, &query, NULL, NULL);
    while (mongoc_cursor_next(cursor, &doc)) {
        (void) version_read(doc, version);
    }

    failed = mongoc_cursor_error(cursor, e);
    mongoc_cursor_destroy(cursor);
    mongo_end(m, &call);
    bson_destroy(&query);
    return failed ? mongo_result(e) : RESULT_OK;
}


enum result
mongo_schema_write(struct mongo_store *m, bson_error_t *e)
{
    struct mongo_call   call;
    bson_t              query = BSON_INITIALIZER;
    bson_t              update = BSON_INITIALIZER;
    bson_t              opts = BSON_INITIALIZER;
    bson_t              set;
    bool                ok = true;
    enum result         result;

    memset(e, 0, sizeof(*e));
    mongo_query_id(&query, SLICE_LIT(SCHEMA_ID));
    bson_append_document_begin(&update, "$set", -1, &set);
    BSON_APPEND_INT64(&set, "version", MONGO_SCHEMA);
    bson_append_document_end(&update, &set);
    BSON_APPEND_BOOL(&opts, "upsert", true);

    result = mongo_begin(m, MONGO_STATE, &call);
    if (result == RESULT_OK) {
        for (size_t i = 0; ok && i < sizeof(indexes) / sizeof(indexes[0]);
             i++)
        {
            ok = index_make(m, call.client, &indexes[i], e);
        }

        ok = ok && mongoc_collection_update_one(call.coll, &query, &update,
                                                &opts, NULL, e);
        result = ok ? RESULT_OK : mongo_result(e);
        if (result == RESULT_CONFLICT) {
            result = RESULT_OK;            /* two made it at once */
        }

        mongo_end(m, &call);
    }

    bson_destroy(&query);
    bson_destroy(&update);
    bson_destroy(&opts);
    return result;
}


/* -- retention ------------------------------------------------------------- */

struct expired {
    bson_t     ids;                        /* array */
    uint32_t   n;
};


static enum result
expired_read(const bson_t *doc, void *data)
{
    struct expired  *x = data;
    bson_iter_t      it;
    char             number[16];
    const char      *key;

    if (!bson_iter_init_find(&it, doc, "_id")) {
        return RESULT_INTERNAL;
    }

    bson_uint32_to_string(x->n++, &key, number, sizeof(number));
    return bson_append_iter(&x->ids, key, -1, &it) ? RESULT_OK
                                                   : RESULT_INTERNAL;
}


/* {FIELD: {$in: IDS}} */
static enum result
slice_delete(struct mongo_store *m, const char *name, const char *field,
    const bson_t *ids)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_t             query = BSON_INITIALIZER;
    bson_t             in;
    enum result        result;

    bson_append_document_begin(&query, field, -1, &in);
    BSON_APPEND_ARRAY(&in, "$in", ids);
    bson_append_document_end(&query, &in);

    result = mongo_begin(m, name, &call);
    if (result == RESULT_OK) {
        if (!mongoc_collection_delete_many(call.coll, &query, NULL, NULL, &e)) {
            result = mongo_failed(m, "delete of what expired", &e);
        }
        mongo_end(m, &call);
    }

    bson_destroy(&query);
    return result;
}


/* One slice of a collection; attempts go before their log does. */
static enum result
slice_expire(struct mongo_store *m, const char *name, int64_t now_us,
    unsigned max, unsigned *done)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan         scan = {
        .coll = name, .fields = fields,
        .limit = max < SLICE_MAX ? max : SLICE_MAX
    };
    struct expired            x = { .n = 0 };
    bson_t                    query = BSON_INITIALIZER;
    bson_t                    sub;
    enum result               result;

    bson_append_document_begin(&query, "expires_us", -1, &sub);
    BSON_APPEND_INT64(&sub, "$lte", now_us);
    bson_append_document_end(&query, &sub);

    bson_init(&x.ids);
    scan.query = &query;
    result = mongo_scan(m, &scan, expired_read, &x);

    if (result == RESULT_OK && x.n > 0 && strcmp(name, MONGO_LOGS) == 0) {
        result = slice_delete(m, MONGO_ATTEMPTS, "integration_directory_id",
                              &x.ids);
    }

    if (result == RESULT_OK && x.n > 0) {
        result = slice_delete(m, name, "_id", &x.ids);
    }

    if (result == RESULT_OK) {
        *done += x.n;
    }

    bson_destroy(&x.ids);
    bson_destroy(&query);
    return result;
}


static enum result
coll_expire(struct mongo_store *m, const char *name, int64_t now_us,
    unsigned max, unsigned *done)
{
    unsigned     before;
    enum result  result = RESULT_OK;

    do {
        before = *done;
        if (before >= max) {
            break;
        }
        result = slice_expire(m, name, now_us, max - before, done);
    } while (result == RESULT_OK && *done > before);

    return result;
}


enum result
mongo_expire(struct store *s, int64_t now_us, unsigned max, unsigned *done)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    enum result          result;

    result = coll_expire(m, MONGO_LOGS, now_us, max, done);

    for (int c = 0; result == RESULT_OK && c < STORE_COLL_COUNT; c++) {
        result = coll_expire(m, store_coll_name((enum store_coll) c), now_us,
                             max, done);
    }

    return result;
}


/* -- figures --------------------------------------------------------------- */

static enum result
count_read(struct mongo_store *m, const char *name, int64_t *n)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_t             opts = BSON_INITIALIZER;
    enum result        result;

    mongo_opts_time(&opts, 0);
    result = mongo_begin(m, name, &call);

    if (result == RESULT_OK) {
        *n = mongoc_collection_estimated_document_count(call.coll, &opts,
                                                        NULL, NULL, &e);
        if (*n < 0) {
            *n = 0;
            result = mongo_failed(m, "count of a collection", &e);
        }
        mongo_end(m, &call);
    }

    bson_destroy(&opts);
    return result;
}


static enum result
bytes_read(struct mongo_store *m, int64_t *bytes)
{
    static const char *const  parts[] = { "storageSize", "indexSize" };
    struct mongo_call         call;
    mongoc_database_t        *db;
    bson_error_t              e;
    bson_iter_t               it;
    bson_t                    command = BSON_INITIALIZER;
    bson_t                    reply;
    int64_t                   v;
    enum result               result;

    result = mongo_begin(m, MONGO_STATE, &call);
    if (result != RESULT_OK) {
        bson_destroy(&command);
        return result;
    }

    BSON_APPEND_INT32(&command, "dbStats", 1);
    db = mongoc_client_get_database(call.client, m->db);

    if (!mongoc_database_command_simple(db, &command, NULL, &reply, &e)) {
        result = mongo_failed(m, "dbStats", &e);
    }

    for (size_t i = 0; result == RESULT_OK && i < 2; i++) {
        if (bson_iter_init_find(&it, &reply, parts[i])) {
            v = mongo_get_int(&it);
            *bytes += v > 0 ? v : 0;
        }
    }

    bson_destroy(&reply);
    bson_destroy(&command);
    mongoc_database_destroy(db);
    mongo_end(m, &call);
    return result;
}


static enum result
oldest_read(const bson_t *doc, void *data)
{
    bson_iter_t  it;

    if (bson_iter_init_find(&it, doc, "started_us")) {
        *(int64_t *) data = mongo_get_int(&it);
    }

    return RESULT_OK;
}


enum result
mongo_stats(struct store *s, struct store_stats *out)
{
    static const char *const  fields[] = { "started_us", NULL };
    struct mongo_scan         scan = {
        .coll = MONGO_LOGS, .sort = { "started_us", "_id" },
        .ascending = true, .limit = 1, .fields = fields
    };
    struct mongo_store       *m = (struct mongo_store *) s;
    bson_t                    all = BSON_INITIALIZER;
    enum result               result;

    out->oldest_us = LOGDOC_NONE;
    scan.query = &all;

    result = count_read(m, MONGO_LOGS, &out->logs);
    if (result == RESULT_OK) {
        result = count_read(m, store_coll_name(STORE_DEAD_LETTER),
                            &out->dead_letters);
    }

    if (result == RESULT_OK) {
        result = bytes_read(m, &out->bytes);
    }

    if (result == RESULT_OK) {
        result = mongo_scan(m, &scan, oldest_read, &out->oldest_us);
    }

    bson_destroy(&all);
    return result;
}
