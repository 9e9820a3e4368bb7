/*
 * Retention in slices, and figures.  A slice is one short transaction: the
 * writer serves others in between, and freed pages go back to the file system
 * a few at a time.
 */

#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "clock.h"

#define EXPIRE_SLICE       200
#define EXPIRE_HEAT_US     (INT64_C(400) * HEATMAP_DAY_US)

struct expire_job {
    int64_t   now_us;
    unsigned  max;
    unsigned  done;
};


/* One statement with up to two numbers. */
static enum result
expire_exec(struct sqlite_conn *c, const char *sql, int64_t one, int64_t two)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, one);
    (void) sqlite3_bind_int64(st, 2, two);

    do {
        rc = sqlite3_step(st);
    } while (rc == SQLITE_ROW);

    sqlite3_finalize(st);
    result = sqlite_result(c, rc, "retention");
    return result == RESULT_CONFLICT ? RESULT_INTERNAL : result;
}


/* The entries of table ref that lead to the row. */
static enum result
log_unref(struct sqlite_conn *c, int64_t id, int64_t part, struct slice data)
{
    struct logdoc  *d;
    sqlite3_stmt   *st;
    enum result     result;
    int64_t         keys[SQLITE_MAX_KEYS];
    unsigned        n;
    int             rc = SQLITE_DONE;

    d = malloc(sizeof(*d));
    if (d == NULL) {
        return RESULT_MEMORY;
    }

    logdoc_init(d);
    n = sqlite_unpack_detail(data, d) == RESULT_OK ? sqlite_pack_keys(d, keys)
                                                   : 0;
    free(d);

    result = sqlite_prepare(c,
        "DELETE FROM ref WHERE part=?1 AND key=?2 AND id=?3", &st);
    if (result != RESULT_OK) {
        return result;
    }

    for (unsigned i = 0; i < n && rc == SQLITE_DONE; i++) {
        sqlite3_bind_int64(st, 1, part);
        sqlite3_bind_int64(st, 2, keys[i]);
        sqlite3_bind_int64(st, 3, id);
        rc = sqlite_stmt_done(st);
    }

    sqlite3_finalize(st);
    return sqlite_result(c, rc, "retention");
}


static enum result
log_delete(struct sqlite_conn *c, int64_t id)
{
    static const char *const  deletes[] = {
        /* a failure that holds its lane goes too, and lets it go */
        "DELETE FROM delivery WHERE uid=(SELECT uid FROM"
            " integration_directory WHERE id=?1)",
        "DELETE FROM integration_retry_log WHERE id=?1",
        "DELETE FROM body WHERE id=?1",
        "DELETE FROM detail WHERE id=?1",
        "DELETE FROM integration_directory WHERE id=?1",
    };
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, "SELECT d.part,t.data FROM"
        " integration_directory d JOIN detail t ON t.id=d.id WHERE d.id=?1",
        &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, id);
    rc = sqlite3_step(st);

    result = rc == SQLITE_ROW
        ? log_unref(c, id, sqlite3_column_int64(st, 0),
              sqlite_column_slice(st, 1))
        : sqlite_result(c, rc, "retention");
    sqlite3_finalize(st);

    for (size_t i = 0;
         i < sizeof(deletes) / sizeof(deletes[0]) && result == RESULT_OK; i++) {
        result = expire_exec(c, deletes[i], id, 0);
    }

    return result;
}


static enum result
logs_expire(struct sqlite_conn *c, struct expire_job *job)
{
    sqlite3_stmt  *st;
    enum result    result;
    int64_t        ids[EXPIRE_SLICE];
    unsigned       n = 0;
    int            rc;

    result = sqlite_prepare(c, "SELECT id FROM integration_directory"
        " INDEXED BY dir_expires WHERE expires<=?1 ORDER BY expires LIMIT ?2",
        &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, job->now_us / HEATMAP_HOUR_US);
    sqlite3_bind_int64(st, 2, job->max - job->done);

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        ids[n++] = sqlite3_column_int64(st, 0);
    }

    sqlite3_finalize(st);
    result = sqlite_result(c, rc, "retention");

    for (unsigned i = 0; i < n && result == RESULT_OK; i++) {
        result = log_delete(c, ids[i]);
    }

    job->done += n;
    return result;
}


static enum result
docs_expire(struct sqlite_conn *c, enum store_coll coll,
    struct expire_job *job)
{
    const char   *name = store_coll_name(coll);
    enum result   result;
    int64_t       until = job->now_us;
    char          sql[256];

    if (job->done >= job->max) {
        return RESULT_OK;
    }

    /* the audit log's trigger looks at the real clock */
    if (coll == STORE_AUDIT && until > clock_wall_us()) {
        until = clock_wall_us();
    }

    snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE rowid IN (SELECT rowid"
        " FROM %s WHERE expires<=?1 ORDER BY expires LIMIT ?2)", name, name);
    result = expire_exec(c, sql, until, job->max - job->done);

    if (result == RESULT_OK) {
        job->done += (unsigned) sqlite3_changes(c->db);
    }

    return result;
}


/* Partitions of table ref that are empty, and buckets older than 400 days. */
static enum result
rest_expire(struct sqlite_conn *c, int64_t now_us)
{
    int64_t      bucket = (now_us - EXPIRE_HEAT_US) / HEATMAP_BUCKET_US;
    enum result  result;

    result = expire_exec(c, "DELETE FROM ref_part WHERE part IN (SELECT part"
        " FROM ref_part p WHERE part<(SELECT max(part) FROM ref_part)"
        " AND NOT EXISTS (SELECT 1 FROM ref r WHERE r.part=p.part)"
        " ORDER BY part LIMIT 4)", 0, 0);

    if (result == RESULT_OK) {
        result = expire_exec(c, "DELETE FROM heatmap WHERE hour<?1 AND"
            " hour<(SELECT min(hour) FROM heatmap)+12", bucket, 0);
    }

    if (result == RESULT_OK) {
        result = expire_exec(c, "DELETE FROM heatmap_todo WHERE at<?1",
            bucket, 0);
    }

    return result;
}


static enum result
expire_run(struct sqlite_conn *c, void *arg)
{
    struct expire_job  *job = arg;
    enum result         result;

    job->done = 0;
    result = logs_expire(c, job);

    for (int i = 0; i < STORE_COLL_COUNT && result == RESULT_OK; i++) {
        result = docs_expire(c, (enum store_coll) i, job);
    }

    if (result == RESULT_OK) {
        result = rest_expire(c, job->now_us);
    }

    return result;
}


static enum result
vacuum_run(struct sqlite_conn *c, void *arg)
{
    (void) arg;
    return expire_exec(c, "PRAGMA incremental_vacuum(64)", 0, 0);
}


enum result
sqlite_expire(struct store *base, int64_t now_us, unsigned max,
    unsigned *done)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    struct expire_job     job = { .now_us = now_us };
    enum result           result = RESULT_OK;

    *done = 0;

    while (*done < max && result == RESULT_OK) {
        job.max = max - *done < EXPIRE_SLICE ? max - *done : EXPIRE_SLICE;
        result = sqlite_write(s, expire_run, &job);

        if (result != RESULT_OK) {
            return result;
        }

        *done += job.done;

        if (job.done > 0) {
            result = sqlite_write(s, vacuum_run, NULL);
        }

        if (job.done < job.max) {
            break;
        }
    }

    return result;
}


static enum result
stats_number(struct sqlite_conn *c, const char *sql, int64_t *out)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = sqlite_column_int(st, 0);
    }

    result = sqlite_result(c, rc, "stats");
    sqlite3_finalize(st);
    return result;
}


static int64_t
file_bytes(const char *path, const char *tail)
{
    struct stat  info;
    char         name[4096];

    snprintf(name, sizeof(name), "%s%s", path, tail);
    return stat(name, &info) == 0 ? (int64_t) info.st_blocks * 512 : 0;
}


enum result
sqlite_stats(struct store *base, struct store_stats *out)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    struct sqlite_conn   *c;
    enum result           result;

    result = sqlite_read_begin(s, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    /* the smallest index: the count reads few pages */
    result = stats_number(c,
        "SELECT count(*) FROM integration_directory INDEXED BY dir_kind",
        &out->logs);

    if (result == RESULT_OK) {
        result = stats_number(c, "SELECT min(id) FROM integration_directory",
            &out->oldest_us);
    }

    if (result == RESULT_OK) {
        result = stats_number(c, "SELECT count(*) FROM dead_letter",
            &out->dead_letters);
    }

    sqlite_read_end(c);
    out->bytes = file_bytes(s->path, "") + file_bytes(s->path, "-wal");
    return result;
}
