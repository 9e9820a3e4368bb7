/*
 * Readers: connections that only query, opened when first needed, each lent to
 * one call at a time inside one read transaction, so that all statements of a
 * call see the same state.
 */

#include "store_sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

struct sqlite_reader {
    struct sqlite_conn     conn;           /* db NULL: not opened yet */
    struct sqlite_reader  *next;           /* of those that are free */
};

struct sqlite_readers {
    pthread_mutex_t        lock;
    pthread_cond_t         free_one;
    struct sqlite_reader  *free;
    unsigned               n;
    struct sqlite_reader   all[];
};


enum result
sqlite_readers_create(struct store_sqlite *s, unsigned max)
{
    struct sqlite_readers  *r;
    pthread_condattr_t      attr;

    r = calloc(1, sizeof(*r) + max * sizeof(r->all[0]));
    if (r == NULL) {
        return RESULT_MEMORY;
    }

    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->free_one, &attr);
    pthread_condattr_destroy(&attr);

    r->n = max;

    /* the first is lent first: an idle process opens one */
    for (unsigned i = max; i-- > 0; ) {
        r->all[i].next = r->free;
        r->free = &r->all[i];
    }

    s->readers = r;
    return RESULT_OK;
}


void
sqlite_readers_destroy(struct store_sqlite *s)
{
    struct sqlite_readers  *r = s->readers;

    if (r == NULL) {
        return;
    }

    for (unsigned i = 0; i < r->n; i++) {
        if (r->all[i].conn.db != NULL) {
            sqlite_conn_close(&r->all[i].conn);
        }
    }

    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->free_one);
    free(r);
    s->readers = NULL;
}


static struct sqlite_reader *
reader_borrow(struct sqlite_readers *r, int64_t deadline_us)
{
    struct sqlite_reader  *one;
    struct timespec        until;

    until.tv_sec = deadline_us / 1000000;
    until.tv_nsec = deadline_us % 1000000 * 1000;

    pthread_mutex_lock(&r->lock);

    while (r->free == NULL) {
        if (pthread_cond_timedwait(&r->free_one, &r->lock, &until) != 0) {
            break;
        }
    }

    one = r->free;
    if (one != NULL) {
        r->free = one->next;
    }

    pthread_mutex_unlock(&r->lock);
    return one;
}


static void
reader_return(struct sqlite_readers *r, struct sqlite_reader *one)
{
    pthread_mutex_lock(&r->lock);
    one->next = r->free;
    r->free = one;
    pthread_cond_signal(&r->free_one);
    pthread_mutex_unlock(&r->lock);
}


static enum result
reader_open(struct store_sqlite *s, struct sqlite_reader *one)
{
    enum result  result;
    char         err[512];

    if (one->conn.db != NULL) {
        return RESULT_OK;
    }

    result = sqlite_conn_open(s, false, &one->conn, err, sizeof(err));

    if (result != RESULT_OK) {
        log_rate(LOG_ERROR, "store", "%s", err);
    }

    return result;
}


static int
read_exec(struct sqlite_conn *c, enum sqlite_stmt which)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, which, &rc);
    return st == NULL ? rc : sqlite_stmt_done(st);
}


enum result
sqlite_read_begin(struct store_sqlite *s, int64_t deadline_us,
    struct sqlite_conn **out)
{
    struct sqlite_reader  *one;
    enum result            result;
    int                    rc;

    if (deadline_us == 0) {
        deadline_us = clock_mono_us() + SQLITE_READ_US;
    }

    one = reader_borrow(s->readers, deadline_us);
    if (one == NULL) {
        return RESULT_TIMEOUT;
    }

    result = reader_open(s, one);

    if (result == RESULT_OK) {
        one->conn.deadline_us = deadline_us;
        one->conn.expired = false;
        one->conn.any_seen = false;
        rc = read_exec(&one->conn, SQL_READ_BEGIN);
        result = sqlite_result(&one->conn, rc, "query");
    }

    if (result != RESULT_OK) {
        reader_return(s->readers, one);
        return result;
    }

    *out = &one->conn;
    return RESULT_OK;
}


void
sqlite_read_end(struct sqlite_conn *c)
{
    c->deadline_us = 0;
    (void) read_exec(c, SQL_READ_END);
    reader_return(c->store->readers, (struct sqlite_reader *) c);
}


enum result
sqlite_prepare(struct sqlite_conn *c, const char *sql, sqlite3_stmt **out)
{
    return sqlite_result(c, sqlite3_prepare_v2(c->db, sql, -1, out, NULL),
        "query");
}
