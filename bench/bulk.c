/*
 * The store's own bulk insert: the rows that a drain has left in one store go
 * as they are, from memory, into an empty store of the same schema and the same
 * settings, by prepared statements or by the driver's insert_many, so many logs
 * a transaction.  What the drain is held against.  Left out are labels, parts of
 * references and the buckets of the heatmap, a few rows a transaction.
 *
 *   bulk sqlite:/from sqlite:/to BATCH | bulk mongodb://from mongodb://to BATCH
 *
 * prints logs, logs/s, us of CPU time a log
 */

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "store_mongo_client.h"

#define BULK_COLUMNS  24
#define BULK_TABLES   4

struct rows {
    const char     *select, *insert;
    int             id;                    /* the column of the log's id */
    int             columns;
    size_t          n, at, room;
    sqlite3_value **values;
    sqlite3_stmt   *st;
};

static struct rows  tables[BULK_TABLES] = {
    { .select = "SELECT * FROM integration_directory ORDER BY id",
      .insert = "INSERT INTO integration_directory VALUES(" },
    { .select = "SELECT * FROM detail ORDER BY id",
      .insert = "INSERT INTO detail VALUES(" },
    { .select = "SELECT * FROM body ORDER BY id",
      .insert = "INSERT INTO body VALUES(" },
    { .select = "SELECT * FROM ref ORDER BY id, key",
      .insert = "INSERT INTO ref VALUES(", .id = 2 },
};


struct taken {
    int64_t  wall_us, cpu_us;
};


static struct taken
taken_now(void)
{
    struct timespec  cpu;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (struct taken) { clock_mono_us(),
        (int64_t) cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000 };
}


static void
taken_since(struct taken *t)
{
    struct taken  now = taken_now();

    t->wall_us = now.wall_us - t->wall_us;
    t->cpu_us = now.cpu_us - t->cpu_us;
}


static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bulk: %s: %s\n", what, why);
    exit(1);
}


static struct store *
open_or_die(const char *uri, bool read_only)
{
    struct store_options  o = { .uri = uri, .readers = 1,
                                .read_only = read_only };
    struct store         *s;
    char                  err[1024];

    if (store_open(&o, &s, err, sizeof(err)) != RESULT_OK) {
        die(uri, err);
    }

    return s;
}


static sqlite3 *
sqlite_open(const char *uri)
{
    sqlite3  *db;

    if (sqlite3_open(uri + sizeof("sqlite:") - 1, &db) != SQLITE_OK) {
        die(uri, sqlite3_errmsg(db));
    }

    return db;
}


static void
exec(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        die(sql, sqlite3_errmsg(db));
    }
}


static void
rows_load(sqlite3 *db, struct rows *r)
{
    sqlite3_stmt  *st;

    if (sqlite3_prepare_v2(db, r->select, -1, &st, NULL) != SQLITE_OK) {
        die(r->select, sqlite3_errmsg(db));
    }

    r->columns = sqlite3_column_count(st);

    while (sqlite3_step(st) == SQLITE_ROW) {
        if (r->n == r->room) {
            r->room = r->room * 2 + 1024;
            r->values = realloc(r->values, r->room * (size_t) r->columns
                * sizeof(*r->values));
            if (r->values == NULL) {
                die(r->select, "no memory");
            }
        }

        for (int i = 0; i < r->columns; i++) {
            r->values[r->n * (size_t) r->columns + (size_t) i] =
                sqlite3_value_dup(sqlite3_column_value(st, i));
        }

        r->n++;
    }

    sqlite3_finalize(st);
}


static void
rows_prepare(sqlite3 *db, struct rows *r)
{
    char    sql[256];
    size_t  n;

    n = (size_t) snprintf(sql, sizeof(sql), "%s", r->insert);

    for (int i = 0; i < r->columns; i++) {
        n += (size_t) snprintf(sql + n, sizeof(sql) - n, "?%c",
            i + 1 < r->columns ? ',' : ')');
    }

    if (sqlite3_prepare_v2(db, sql, -1, &r->st, NULL) != SQLITE_OK) {
        die(sql, sqlite3_errmsg(db));
    }
}


/* Inserts the rows of the log ID. */
static void
rows_insert(sqlite3 *db, struct rows *r, int64_t id)
{
    sqlite3_value  **row;

    for ( ; r->at < r->n; r->at++) {
        row = &r->values[r->at * (size_t) r->columns];

        if (sqlite3_value_int64(row[r->id]) > id) {
            return;
        }

        for (int i = 0; i < r->columns; i++) {
            (void) sqlite3_bind_value(r->st, i + 1, row[i]);
        }

        if (sqlite3_step(r->st) != SQLITE_DONE) {
            die(r->insert, sqlite3_errmsg(db));
        }

        (void) sqlite3_reset(r->st);
    }
}


static size_t
sqlite_bulk(const char *from, const char *to, size_t batch,
    struct taken *taken)
{
    struct rows  *logs = &tables[0];
    sqlite3      *db;
    size_t        n;

    db = sqlite_open(from);
    for (int t = 0; t < BULK_TABLES; t++) {
        rows_load(db, &tables[t]);
    }

    sqlite3_close(db);
    store_close(open_or_die(to, false));
    db = sqlite_open(to);

    /* those of store_sqlite.c that are a connection's */
    exec(db, "PRAGMA synchronous=FULL; PRAGMA cache_size=-16384;"
        "PRAGMA wal_autocheckpoint=8000; PRAGMA secure_delete=FAST;"
        "PRAGMA foreign_keys=OFF");

    for (int t = 0; t < BULK_TABLES; t++) {
        rows_prepare(db, &tables[t]);
    }

    *taken = taken_now();

    for (n = 0; n < logs->n; n++) {
        if (n % batch == 0) {
            exec(db, n == 0 ? "BEGIN IMMEDIATE" : "COMMIT; BEGIN IMMEDIATE");
        }

        for (int t = 0; t < BULK_TABLES; t++) {
            rows_insert(db, &tables[t], sqlite3_value_int64(
                logs->values[n * (size_t) logs->columns]));
        }
    }

    exec(db, "COMMIT");
    taken_since(taken);

    for (int t = 0; t < BULK_TABLES; t++) {
        sqlite3_finalize(tables[t].st);
    }

    sqlite3_close(db);
    return n;
}


static const bson_t **
documents_load(struct mongo_store *m, size_t *n)
{
    struct mongo_call   call;
    mongoc_cursor_t    *cursor;
    bson_error_t        e;
    const bson_t      **all = NULL, *doc;
    bson_t              every = BSON_INITIALIZER;
    size_t              room = 0;

    *n = 0;
    if (mongo_begin(m, MONGO_LOGS, &call) != RESULT_OK) {
        die(m->hosts, "no client");
    }

    cursor = mongoc_collection_find_with_opts(call.coll, &every, NULL, NULL);

    while (mongoc_cursor_next(cursor, &doc)) {
        if (*n == room) {
            room = room * 2 + 1024;
            all = realloc(all, room * sizeof(*all));
            if (all == NULL) {
                die(m->hosts, "no memory");
            }
        }

        all[(*n)++] = bson_copy(doc);
    }

    if (mongoc_cursor_error(cursor, &e)) {
        die(m->hosts, e.message);
    }

    mongoc_cursor_destroy(cursor);
    mongo_end(m, &call);
    return all;
}


static size_t
mongo_bulk(const char *from, const char *to, size_t batch,
    struct taken *taken)
{
    struct mongo_call   call;
    struct store       *source, *target;
    bson_error_t        e;
    const bson_t      **all;
    bson_t              opts = BSON_INITIALIZER;
    size_t              n, some;

    source = open_or_die(from, true);
    all = documents_load((struct mongo_store *) source, &n);
    target = open_or_die(to, false);

    if (mongo_begin((struct mongo_store *) target, MONGO_LOGS, &call)
        != RESULT_OK)
    {
        die(to, "no client");
    }

    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);
    *taken = taken_now();

    for (size_t at = 0; at < n; at += some) {
        some = n - at < batch ? n - at : batch;

        if (!mongoc_collection_insert_many(call.coll, &all[at], some, &opts,
                NULL, &e))
        {
            die(to, e.message);
        }
    }

    taken_since(taken);
    mongo_end((struct mongo_store *) target, &call);
    store_close(source);
    store_close(target);
    return n;
}


int
main(int argc, char **argv)
{
    struct taken  taken;
    size_t        n, batch = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

    if (batch == 0) {
        fprintf(stderr, "usage: bulk FROM TO BATCH\n");
        return 2;
    }

    n = strncmp(argv[1], "sqlite:", 7) == 0
        ? sqlite_bulk(argv[1], argv[2], batch, &taken)
        : mongo_bulk(argv[1], argv[2], batch, &taken);

    printf("%zu %.0f %.2f\n", n, (double) n * 1e6 / (double) taken.wall_us,
        (double) taken.cpu_us / (double) n);
    return 0;
}
