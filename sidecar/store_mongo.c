/*
 * The store on a server of the Mongo protocol: AWS DocumentDB 5, MongoDB 5 and
 * FerretDB 1.24 are what it keeps to.  Only plain inserts, finds, updates with
 * $inc $set $unset $setOnInsert, findAndModify, deletes and indexes are used.
 *
 *   client   pool, settings, errors         scan     cursors
 *   doc      logs as BSON                   query    filters as queries
 *   insert   logs in, duplicates told       buckets  the heatmap of a batch
 *   writer   its batches, exactly once      recount  batches of the dead
 *   logs     pages                          counts   sums and groups
 *   outbound claims, outcomes, moves        lane     who goes first
 *   batch    what goes together
 *   small    configuration                  upkeep   indexes, retention
 */

#include "store_ops.h"

#include <stdio.h>
#include <stdlib.h>

#include "store_mongo_batch.h"
#include "store_mongo_client.h"
#include "store_mongo_counts.h"
#include "store_mongo_insert.h"
#include "store_mongo_logs.h"
#include "store_mongo_outbound.h"
#include "store_mongo_recount.h"
#include "store_mongo_small.h"
#include "store_mongo_upkeep.h"
#include "store_mongo_writer.h"


static void
mongo_close(struct store *s)
{
    struct mongo_store  *m = (struct mongo_store *) s;

    mongo_writers_destroy(m);
    mongo_client_cleanup(m);
    pthread_mutex_destroy(&m->lock);
    free(m);
}


static enum result
open_failed(const struct mongo_store *m, enum result result,
    const bson_error_t *e, char *err, size_t errlen)
{
    char  text[700];

    mongo_error_text(m, e, text, sizeof(text));
    snprintf(err, errlen, "store: mongo %s", text);
    return result == RESULT_CONFLICT ? RESULT_INTERNAL : result;
}


static enum result
mongo_migrate(struct store *s, char *err, size_t errlen)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    bson_error_t         e;
    int64_t              version;
    enum result          result;

    result = mongo_schema_read(m, &version, &e);
    if (result != RESULT_OK) {
        return open_failed(m, result, &e, err, errlen);
    }

    if (version > MONGO_SCHEMA) {
        snprintf(err, errlen, "store: mongo %s: database %s has schema %lld, "
                 "this program knows %d; install the newer integrationd",
                 m->hosts, m->db, (long long) version, MONGO_SCHEMA);
        return RESULT_INVALID;
    }

    if (m->read_only) {
        return RESULT_OK;
    }

    result = mongo_schema_write(m, &e);
    return result == RESULT_OK ? RESULT_OK
                               : open_failed(m, result, &e, err, errlen);
}


static enum result
mongo_open(const struct store_options *o, struct store **out, char *err,
    size_t errlen)
{
    struct mongo_store  *m;
    bson_error_t         e;
    int64_t              version;
    enum result          result;

    *out = NULL;
    m = calloc(1, sizeof(*m));
    if (m == NULL) {
        snprintf(err, errlen, "store: out of memory");
        return RESULT_MEMORY;
    }

    (void) pthread_mutex_init(&m->lock, NULL);
    m->read_only = o->read_only;

    result = mongo_client_init(m, o->uri, err, errlen);
    if (result != RESULT_OK) {
        goto failed;
    }

    result = mongo_schema_read(m, &version, &e);
    if (result != RESULT_OK) {
        result = open_failed(m, result, &e, err, errlen);

    } else if (version != MONGO_SCHEMA) {
        result = mongo_migrate(&m->base, err, errlen);
    }

    if (result == RESULT_OK) {
        *out = &m->base;
        return RESULT_OK;
    }

failed:

    mongo_close(&m->base);
    return result;
}


static enum result
mongo_ping(struct store *s)
{
    struct mongo_store  *m = (struct mongo_store *) s;
    struct mongo_call    call;
    mongoc_database_t   *db;
    bson_error_t         e;
    bson_t               command = BSON_INITIALIZER;
    enum result          result;

    BSON_APPEND_INT32(&command, "ping", 1);
    result = mongo_begin(m, MONGO_STATE, &call);

    if (result == RESULT_OK) {
        db = mongoc_client_get_database(call.client, m->db);
        if (!mongoc_database_command_simple(db, &command, NULL, NULL, &e)) {
            result = mongo_failed(m, "ping", &e);
        }
        mongoc_database_destroy(db);
        mongo_end(m, &call);
    }

    bson_destroy(&command);
    return result;
}


const struct store_ops  store_mongo = {
    .name = "mongo",
    .schemes = { "mongodb://", "mongodb+srv://", NULL },

    .open = mongo_open,
    .close = mongo_close,
    .migrate = mongo_migrate,
    .ping = mongo_ping,

    .logs_insert = mongo_logs_insert,
    .log_get = mongo_log_get,
    .attempts = mongo_attempts,
    .logs_find = mongo_logs_find,
    .logs_count = mongo_logs_count,

    .claim = mongo_claim,
    .finish = mongo_finish,
    .renew = mongo_renew,
    .move = mongo_move,
    .due = mongo_due,
    .batch_close = mongo_batch_close,
    .batch_get = mongo_batch_get,

    .cells = mongo_cells,
    .cells_exact = mongo_cells_exact,
    .error_groups = mongo_error_groups,
    .open_counts = mongo_open_counts,
    .recount = mongo_recount,

    .doc_put = mongo_doc_put,
    .doc_get = mongo_doc_get,
    .doc_delete = mongo_doc_delete,
    .doc_list = mongo_doc_list,
    .config_version = mongo_config_version,

    .expire = mongo_expire,
    .stats = mongo_stats
};
