/*
 * The writer: one thread, one connection, a queue.  What waits when it is free
 * goes into one transaction, for at most 2 ms of work, so that one fsync pays
 * for many callers and none waits for long.  When a group fails and had more
 * than one job, each is tried alone: one poisonous job harms nobody else.
 */

#include "store_sqlite.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define WRITER_GROUP_US  2000              /* work of one transaction */
#define WRITER_IDLE_S    10                /* then memory is given back */

struct sqlite_job {
    struct sqlite_job  *next;
    sqlite_job_pt       run;
    void               *arg;
    enum result         result;
    bool                done;
};

struct sqlite_writer {
    pthread_t            thread;
    pthread_mutex_t      lock;
    pthread_cond_t       work;             /* the queue has something */
    pthread_cond_t       done;             /* a group has ended */
    struct sqlite_job   *first, **last;
    bool                 stop;
    struct sqlite_conn   conn;
};


static int
writer_exec(struct sqlite_conn *c, enum sqlite_stmt which)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, which, &rc);
    return st == NULL ? rc : sqlite_stmt_done(st);
}


/* Some errors have rolled back already. */
static void
writer_rollback(struct sqlite_conn *c)
{
    if (!sqlite3_get_autocommit(c->db)) {
        (void) writer_exec(c, SQL_ROLLBACK);
    }

    sqlite_dict_forget(c->store);
}


static bool
job_changed_nothing(enum result r)
{
    return r == RESULT_CONFLICT || r == RESULT_NOT_FOUND
           || r == RESULT_INVALID || r == RESULT_AGAIN;
}


/* Runs jobs from FIRST up to *END (set when time is up) and commits.  BEGUN:
 * the lock was had. */
static enum result
group_commit(struct sqlite_conn *c, struct sqlite_job *first,
    struct sqlite_job **end, bool *begun)
{
    struct sqlite_job  *job;
    enum result         result;
    int64_t             until;
    int                 rc;

    rc = writer_exec(c, SQL_BEGIN);
    *begun = rc == SQLITE_DONE;
    if (!*begun) {
        return sqlite_result(c, rc, "begin");
    }

    until = clock_mono_us() + WRITER_GROUP_US;

    for (job = first; job != *end; job = job->next) {
        if (job != first && clock_mono_us() >= until) {
            *end = job;
            break;
        }

        result = job->run(c, job->arg);

        if (result != RESULT_OK && !job_changed_nothing(result)) {
            writer_rollback(c);
            return result;
        }

        job->result = result;
    }

    rc = writer_exec(c, SQL_COMMIT);
    if (rc != SQLITE_DONE) {
        result = sqlite_result(c, rc, "commit");
        writer_rollback(c);
        /* a conflict cannot come from a commit */
        return result == RESULT_CONFLICT ? RESULT_INTERNAL : result;
    }

    return RESULT_OK;
}


/* Brings every job of the list to its end; returns what is left of it. */
static struct sqlite_job *
group_run(struct sqlite_conn *c, struct sqlite_job *first)
{
    struct sqlite_job  *end = NULL, *job;
    enum result         result;
    bool                begun;

    result = group_commit(c, first, &end, &begun);

    if (result == RESULT_OK) {
        return end;
    }

    if (first->next == end) {
        first->result = result;
        return end;
    }

    /* one by one, but where another has the lock all have waited for it */
    for (job = first; job != end; job = job->next) {
        struct sqlite_job  *next = job->next;

        result = begun ? group_commit(c, job, &next, &begun) : result;
        if (result != RESULT_OK) {
            job->result = result;
        }
    }

    return end;
}


/* Sleeps until there is work; false when idle for long or stopped. */
static bool
writer_wait(struct sqlite_writer *w, bool for_ever)
{
    struct timespec  until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WRITER_IDLE_S;

    while (w->first == NULL && !w->stop) {
        if (for_ever) {
            pthread_cond_wait(&w->work, &w->lock);

        } else if (pthread_cond_timedwait(&w->work, &w->lock, &until) != 0) {
            return false;
        }
    }

    return true;
}


static void
writer_rest(struct sqlite_writer *w)
{
    pthread_mutex_unlock(&w->lock);
    (void) sqlite3_db_release_memory(w->conn.db);
    sqlite_packer_idle(w->conn.store);
    (void) malloc_trim(0);
    pthread_mutex_lock(&w->lock);
}


/* In front of what has come meanwhile. */
static void
writer_put_back(struct sqlite_writer *w, struct sqlite_job *rest)
{
    struct sqlite_job  **tail = &rest;

    while (*tail != NULL) {
        tail = &(*tail)->next;
    }

    if (rest != NULL) {
        *tail = w->first;
        w->last = w->first == NULL ? tail : w->last;
        w->first = rest;
    }
}


static void *
writer_main(void *arg)
{
    struct sqlite_writer  *w = arg;
    struct sqlite_job     *first, *job, *next, *rest;

    pthread_mutex_lock(&w->lock);

    for ( ;; ) {
        if (!writer_wait(w, false)) {
            writer_rest(w);
            (void) writer_wait(w, true);
        }

        first = w->first;
        if (first == NULL) {
            break;
        }

        w->first = NULL;
        w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        rest = group_run(&w->conn, first);
        pthread_mutex_lock(&w->lock);

        /* a caller's job is gone once the lock is free */
        for (job = first; job != rest; job = next) {
            next = job->next;
            job->done = true;
        }

        writer_put_back(w, rest);
        pthread_cond_broadcast(&w->done);
    }

    pthread_mutex_unlock(&w->lock);
    return NULL;
}


enum result
sqlite_write(struct store_sqlite *s, sqlite_job_pt run, void *arg)
{
    struct sqlite_writer  *w = s->writer;
    struct sqlite_job      job;

    if (w == NULL) {
        log_rate(LOG_ERROR, "store", "%s: was opened read-only", s->path);
        return RESULT_UNAVAILABLE;
    }

    memset(&job, 0, sizeof(job));
    job.run = run;
    job.arg = arg;

    pthread_mutex_lock(&w->lock);

    *w->last = &job;
    w->last = &job.next;
    pthread_cond_signal(&w->work);

    while (!job.done) {
        pthread_cond_wait(&w->done, &w->lock);
    }

    pthread_mutex_unlock(&w->lock);
    return job.result;
}


static void
writer_init(struct sqlite_writer *w)
{
    pthread_condattr_t  attr;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->work, &attr);
    pthread_cond_init(&w->done, &attr);
    pthread_condattr_destroy(&attr);
    w->last = &w->first;
}


enum result
sqlite_writer_start(struct store_sqlite *s, char *err, size_t errlen)
{
    struct sqlite_writer  *w;
    enum result            result;
    sigset_t               all, old;
    int                    failed;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        snprintf(err, errlen, "store: out of memory");
        return RESULT_MEMORY;
    }

    writer_init(w);
    result = sqlite_conn_open(s, true, &w->conn, err, errlen);

    if (result == RESULT_OK) {
        result = sqlite_schema_check(&w->conn, true, err, errlen);
    }

    if (result == RESULT_OK) {
        result = sqlite_checkpointer_start(s, &w->conn, err, errlen);
    }

    if (result != RESULT_OK) {
        sqlite_conn_close(&w->conn);
        free(w);
        return result;
    }

    /* signals belong to the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (failed) {
        snprintf(err, errlen, "store: no thread: %s", strerror(failed));
        sqlite_checkpointer_stop(s);
        sqlite_conn_close(&w->conn);
        free(w);
        return RESULT_MEMORY;
    }

    s->writer = w;
    return RESULT_OK;
}


/* What is queued is still written. */
void
sqlite_writer_stop(struct store_sqlite *s)
{
    struct sqlite_writer  *w = s->writer;

    if (w == NULL) {
        return;
    }

    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);

    sqlite_checkpointer_stop(s);
    sqlite_conn_close(&w->conn);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->done);
    free(w);
    s->writer = NULL;
}
