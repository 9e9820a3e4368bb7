/*
 * Checkpoints: what the WAL holds goes into the file, by a thread and a
 * connection of their own, so that no commit waits for tens of MB to be copied
 * and synced.  A WAL starts anew only when all of it is in the file, which a
 * busy writer would never let happen: when little is left, or when the WAL is
 * far too large, it does the rest itself between two commits.
 */

#include "store_sqlite.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECKPOINT_FRAMES  8000            /* of a page each: 64 MB */
#define CHECKPOINT_MOST    24000
#define CHECKPOINT_PASSES  2               /* the second is a tenth */

struct sqlite_checkpointer {
    pthread_t           thread;
    pthread_mutex_t     lock;
    pthread_cond_t      work;
    bool                asked, stop;
    _Atomic bool        nearly;            /* little is left to copy */
    struct sqlite_conn  conn;
};


/* As much as no reader still needs in the WAL; another may be at it. */
static void
checkpoint(struct sqlite_conn *c)
{
    int  rc;

    rc = sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
        NULL, NULL);

    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY
        && (rc & 0xff) != SQLITE_LOCKED)
    {
        (void) sqlite_result(c, rc, "checkpoint");     /* logs it */
    }
}


/* After each commit, in the writer's thread.  The log is committed whatever
 * becomes of the checkpoint. */
static int
checkpoint_hook(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct sqlite_conn          *writer = arg;
    struct sqlite_checkpointer  *k = writer->store->checkpointer;

    (void) db;
    (void) name;

    if (frames < CHECKPOINT_FRAMES) {
        return SQLITE_OK;
    }

    if (k->nearly || frames >= CHECKPOINT_MOST) {
        k->nearly = false;
        checkpoint(writer);
        return SQLITE_OK;
    }

    pthread_mutex_lock(&k->lock);
    k->asked = true;
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
    return SQLITE_OK;
}


static void *
checkpoint_main(void *arg)
{
    struct sqlite_checkpointer  *k = arg;

    pthread_mutex_lock(&k->lock);

    while (!k->stop) {
        if (!k->asked) {
            pthread_cond_wait(&k->work, &k->lock);
            continue;
        }

        pthread_mutex_unlock(&k->lock);

        for (int i = 0; i < CHECKPOINT_PASSES; i++) {
            checkpoint(&k->conn);
        }

        pthread_mutex_lock(&k->lock);
        k->asked = false;
        k->nearly = true;
    }

    pthread_mutex_unlock(&k->lock);
    return NULL;
}


enum result
sqlite_checkpointer_start(struct store_sqlite *s, struct sqlite_conn *writer,
    char *err, size_t errlen)
{
    struct sqlite_checkpointer  *k;
    enum result                  result;
    sigset_t                     all, old;
    int                          failed;

    k = calloc(1, sizeof(*k));
    if (k == NULL) {
        snprintf(err, errlen, "store: out of memory");
        return RESULT_MEMORY;
    }

    result = sqlite_conn_open(s, true, &k->conn, err, errlen);
    if (result != RESULT_OK) {
        free(k);
        return result;
    }

    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->work, NULL);

    /* signals belong to the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&k->thread, NULL, checkpoint_main, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (failed) {
        snprintf(err, errlen, "store: no thread: %s", strerror(failed));
        pthread_mutex_destroy(&k->lock);
        pthread_cond_destroy(&k->work);
        sqlite_conn_close(&k->conn);
        free(k);
        return RESULT_MEMORY;
    }

    s->checkpointer = k;
    (void) sqlite3_wal_hook(writer->db, checkpoint_hook, writer);
    return RESULT_OK;
}


void
sqlite_checkpointer_stop(struct store_sqlite *s)
{
    struct sqlite_checkpointer  *k = s->checkpointer;

    if (k == NULL) {
        return;
    }

    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);

    sqlite_conn_close(&k->conn);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->work);
    free(k);
    s->checkpointer = NULL;
}
