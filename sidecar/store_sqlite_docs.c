/*
 * Small documents: a table for each collection, all of one shape.  A change of
 * a configuration collection raises counter "config" in the same transaction.
 */

#include "store_sqlite.h"

#include <stdio.h>

#include "clock.h"
#include "log.h"

#define DOC_COLUMNS  "id,version,org,created,updated,expires,body"

struct doc_job {
    enum store_coll          coll;
    const struct store_doc  *doc;          /* NULL: delete */
    struct slice             id;
    int64_t                  if_version;
    int64_t                  version;      /* the new one */
};


/* Statements of each collection that are kept, prepared when first used. */
static const struct {
    const char  *before, *after;
} kept[SQLITE_DOC_STMTS] = {
    [SQLITE_DOC_GET] = { "SELECT " DOC_COLUMNS " FROM", "WHERE id=?1" },
    [SQLITE_DOC_VERSION] = { "SELECT version FROM", "WHERE id=?1" },
    [SQLITE_DOC_INSERT] = { "INSERT INTO", "VALUES(?1,?2,?3,?4,?5,?6,?7)" },
    [SQLITE_DOC_UPDATE] = { "UPDATE", "SET version=?2,org=?3,created=?4,"
        "updated=?5,expires=?6,body=?7 WHERE id=?1" },
};


/* SQL with the collection's name, which is a constant of ours. */
static enum result
doc_prepare(struct sqlite_conn *c, enum store_coll coll, const char *before,
    const char *after, sqlite3_stmt **out)
{
    char  sql[512];

    snprintf(sql, sizeof(sql), "%s %s %s", before, store_coll_name(coll),
        after);
    return sqlite_prepare(c, sql, out);
}


/* A kept one, reset and without bindings; NULL: *rc says why. */
static sqlite3_stmt *
doc_stmt(struct sqlite_conn *c, enum store_coll coll,
    enum sqlite_doc_stmt which, int *rc)
{
    sqlite3_stmt  **st = &c->docs[coll * SQLITE_DOC_STMTS + which];
    char            sql[256];

    *rc = SQLITE_OK;

    if (*st == NULL) {
        snprintf(sql, sizeof(sql), "%s %s %s", kept[which].before,
            store_coll_name(coll), kept[which].after);
        *rc = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
            st, NULL);
        return *st;
    }

    sqlite3_reset(*st);
    sqlite3_clear_bindings(*st);
    return *st;
}


static enum result
doc_done(struct sqlite_conn *c, int rc)
{
    enum result  result = sqlite_result(c, rc, "document");

    if (result == RESULT_CONFLICT) {
        log_rate(LOG_WARN, "store", "%s: %s", c->store->path,
            sqlite3_errmsg(c->db));
    }

    return result;
}


/* *version 0: there is none, or its time is over. */
static enum result
doc_version(struct sqlite_conn *c, const struct doc_job *job,
    int64_t *version)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    *version = 0;
    st = doc_stmt(c, job->coll, SQLITE_DOC_VERSION, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "document");
    }

    sqlite_bind_slice(st, 1, job->id);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *version = sqlite3_column_int64(st, 0);
    }

    result = sqlite_result(c, rc, "document");
    sqlite3_reset(st);
    return result;
}


static enum result
config_touch(struct sqlite_conn *c, enum store_coll coll)
{
    sqlite3_stmt  *st;
    int            rc;

    if (!store_coll_is_config(coll)) {
        return RESULT_OK;
    }

    st = sqlite_stmt_get(c, SQL_COUNTER_ADD, &rc);

    if (st != NULL) {
        sqlite3_bind_text(st, 1, "config", -1, SQLITE_STATIC);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "document");
}


static enum result
doc_write(struct sqlite_conn *c, const struct doc_job *job, bool exists)
{
    const struct store_doc  *d = job->doc;
    sqlite3_stmt            *st;
    int                      rc;

    st = doc_stmt(c, job->coll, exists ? SQLITE_DOC_UPDATE
                                       : SQLITE_DOC_INSERT, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "document");
    }

    sqlite_bind_slice(st, 1, d->id);
    sqlite3_bind_int64(st, 2, job->version);
    sqlite_bind_int(st, 3, d->org_id);
    sqlite_bind_int(st, 4, d->created_us);
    sqlite_bind_int(st, 5, d->updated_us);
    sqlite_bind_int(st, 6, d->expires_us);
    sqlite_bind_slice(st, 7, d->body);

    return doc_done(c, sqlite_stmt_done(st));
}


static enum result
put_run(struct sqlite_conn *c, void *arg)
{
    struct doc_job  *job = arg;
    enum result      result;
    int64_t          had;

    result = doc_version(c, job, &had);

    if (result == RESULT_OK && job->if_version >= 0
        && had != job->if_version)
    {
        result = job->if_version > 0 && had == 0 ? RESULT_NOT_FOUND
                                                 : RESULT_CONFLICT;
    }

    if (result != RESULT_OK) {
        return result;
    }

    job->version = had + 1;
    result = doc_write(c, job, had > 0);

    return result == RESULT_OK ? config_touch(c, job->coll) : result;
}


enum result
sqlite_doc_add(struct sqlite_conn *c, enum store_coll coll,
    const struct store_doc *d)
{
    struct doc_job  job = { .coll = coll, .doc = d, .id = d->id };

    return put_run(c, &job);
}


static enum result
delete_run(struct sqlite_conn *c, void *arg)
{
    struct doc_job  *job = arg;
    sqlite3_stmt    *st;
    enum result      result;
    int64_t          had;

    result = doc_version(c, job, &had);

    if (result == RESULT_OK && had == 0) {
        result = RESULT_NOT_FOUND;

    } else if (result == RESULT_OK && job->if_version > 0
               && had != job->if_version)
    {
        result = RESULT_CONFLICT;
    }

    if (result != RESULT_OK) {
        return result;
    }

    result = doc_prepare(c, job->coll, "DELETE FROM", "WHERE id=?1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite_bind_slice(st, 1, job->id);
    result = doc_done(c, sqlite3_step(st));
    sqlite3_finalize(st);

    return result == RESULT_OK ? config_touch(c, job->coll) : result;
}


enum result
sqlite_doc_put(struct store *base, enum store_coll coll,
    const struct store_doc *d, int64_t if_version, int64_t *version)
{
    struct doc_job  job = {
        .coll = coll, .doc = d, .id = d->id, .if_version = if_version
    };
    enum result     result;

    result = sqlite_write((struct store_sqlite *) base, put_run, &job);
    *version = result == RESULT_OK ? job.version : 0;
    return result;
}


enum result
sqlite_doc_delete(struct store *base, enum store_coll coll, struct slice id,
    int64_t if_version)
{
    struct doc_job  job = {
        .coll = coll, .id = id, .if_version = if_version
    };

    return sqlite_write((struct store_sqlite *) base, delete_run, &job);
}


static enum result
doc_read(sqlite3_stmt *st, struct arena *a, struct store_doc *out)
{
    out->id = arena_copy(a, sqlite_column_slice(st, 0));
    out->version = sqlite3_column_int64(st, 1);
    out->org_id = sqlite_column_int(st, 2);
    out->created_us = sqlite_column_int(st, 3);
    out->updated_us = sqlite_column_int(st, 4);
    out->expires_us = sqlite_column_int(st, 5);
    out->body = arena_copy(a, sqlite_column_slice(st, 6));

    return out->id.p == NULL || out->body.p == NULL ? RESULT_TOO_BIG
                                                    : RESULT_OK;
}


enum result
sqlite_doc_get(struct store *base, enum store_coll coll, struct slice id,
    struct arena *a, struct store_doc *out)
{
    struct sqlite_conn  *c;
    sqlite3_stmt        *st;
    enum result          result;
    int                  rc;

    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    st = doc_stmt(c, coll, SQLITE_DOC_GET, &rc);

    if (st == NULL) {
        result = sqlite_result(c, rc, "document");

    } else {
        sqlite_bind_slice(st, 1, id);
        rc = sqlite3_step(st);

        result = rc == SQLITE_ROW ? doc_read(st, a, out)
            : rc == SQLITE_DONE ? RESULT_NOT_FOUND
            : sqlite_result(c, rc, "document");
        sqlite3_reset(st);
    }

    sqlite_read_end(c);
    return result;
}


static enum result
list_prepare(struct sqlite_conn *c, enum store_coll coll, int64_t org_id,
    struct slice after, bool descending, sqlite3_stmt **out)
{
    char         tail[128];
    enum result  result;

    snprintf(tail, sizeof(tail), "WHERE %s%s ORDER BY id %s LIMIT ?3",
        after.n == 0 ? "1" : descending ? "id<?1" : "id>?1",
        org_id == LOGDOC_NONE ? "" : " AND org=?2",
        descending ? "DESC" : "ASC");

    result = doc_prepare(c, coll, "SELECT " DOC_COLUMNS " FROM", tail, out);

    if (result == RESULT_OK && after.n > 0) {
        sqlite_bind_slice(*out, 1, after);
    }

    if (result == RESULT_OK && org_id != LOGDOC_NONE) {
        sqlite3_bind_int64(*out, 2, org_id);
    }

    return result;
}


enum result
sqlite_doc_list(struct store *base, enum store_coll coll, int64_t org_id,
    struct slice after, bool descending, unsigned limit, struct arena *a,
    struct store_doc **out, size_t *n)
{
    struct sqlite_conn  *c;
    struct store_doc    *docs;
    sqlite3_stmt        *st = NULL;
    enum result          result;
    int                  rc = SQLITE_DONE;

    *n = 0;
    docs = arena_alloc(a, limit * sizeof(docs[0]));
    if (docs == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = list_prepare(c, coll, org_id, after, descending, &st);

    if (result == RESULT_OK) {
        sqlite3_bind_int64(st, 3, limit);
    }

    while (result == RESULT_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        result = doc_read(st, a, &docs[*n]);
        *n += result == RESULT_OK;
    }

    if (result == RESULT_OK) {
        result = sqlite_result(c, rc, "document");
    }

    sqlite3_finalize(st);
    sqlite_read_end(c);
    *out = docs;
    return result;
}


enum result
sqlite_config_version(struct store *base, int64_t *v)
{
    struct sqlite_conn  *c;
    sqlite3_stmt        *st;
    enum result          result;
    int                  rc;

    *v = 0;
    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = sqlite_prepare(c,
        "SELECT value FROM counter WHERE name='config'", &st);

    if (result == RESULT_OK) {
        rc = sqlite3_step(st);

        if (rc == SQLITE_ROW) {
            *v = sqlite3_column_int64(st, 0);
        }

        result = sqlite_result(c, rc, "query");
        sqlite3_finalize(st);
    }

    sqlite_read_end(c);
    return result;
}
