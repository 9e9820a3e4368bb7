/* Threads that take jobs from a ring, first come first served. */

#include "http_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define POOL_MAX_THREADS  64

struct http_job {
    void  (*run)(void *arg);
    void   *arg;
};

struct http_pool {
    pthread_mutex_t   mutex;
    pthread_cond_t    work;
    struct http_job  *jobs;                /* ring of SIZE */
    unsigned          size, first, n;
    bool              stopping;
    pthread_t         threads[POOL_MAX_THREADS];
    unsigned          nthreads;
};


static bool
pool_next(struct http_pool *p, struct http_job *job)
{
    bool  got;

    (void) pthread_mutex_lock(&p->mutex);

    while (p->n == 0 && !p->stopping) {
        (void) pthread_cond_wait(&p->work, &p->mutex);
    }

    got = p->n > 0;
    if (got) {
        *job = p->jobs[p->first];
        p->first = (p->first + 1) % p->size;
        p->n--;
    }

    (void) pthread_mutex_unlock(&p->mutex);
    return got;
}


static void *
pool_thread(void *arg)
{
    struct http_pool  *p = arg;
    struct http_job    job;

    while (pool_next(p, &job)) {
        job.run(job.arg);
    }

    return NULL;
}


/* Signals are main's: the threads block them all. */
static enum result
pool_spawn(struct http_pool *p, unsigned threads)
{
    sigset_t  all, old;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    while (p->nthreads < threads
           && pthread_create(&p->threads[p->nthreads], NULL, pool_thread, p)
              == 0)
    {
        p->nthreads++;
    }

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p->nthreads == threads ? RESULT_OK : RESULT_UNAVAILABLE;
}


enum result
http_pool_create(unsigned threads, unsigned queue, struct http_pool **out)
{
    struct http_pool  *p;

    *out = NULL;

    if (threads == 0 || threads > POOL_MAX_THREADS || queue == 0) {
        return RESULT_INVALID;
    }

    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return RESULT_MEMORY;
    }

    p->jobs = calloc(queue, sizeof(p->jobs[0]));
    if (p->jobs == NULL) {
        free(p);
        return RESULT_MEMORY;
    }

    p->size = queue;
    (void) pthread_mutex_init(&p->mutex, NULL);
    (void) pthread_cond_init(&p->work, NULL);

    if (pool_spawn(p, threads) != RESULT_OK) {
        http_pool_stop(p);
        http_pool_destroy(p);
        return RESULT_UNAVAILABLE;
    }

    *out = p;
    return RESULT_OK;
}


bool
http_pool_add(struct http_pool *p, void (*run)(void *arg), void *arg)
{
    bool  added;

    (void) pthread_mutex_lock(&p->mutex);

    added = !p->stopping && p->n < p->size;
    if (added) {
        p->jobs[(p->first + p->n) % p->size] = (struct http_job) { run, arg };
        p->n++;
        (void) pthread_cond_signal(&p->work);
    }

    (void) pthread_mutex_unlock(&p->mutex);
    return added;
}


void
http_pool_stop(struct http_pool *p)
{
    (void) pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    (void) pthread_cond_broadcast(&p->work);
    (void) pthread_mutex_unlock(&p->mutex);

    while (p->nthreads > 0) {
        (void) pthread_join(p->threads[--p->nthreads], NULL);
    }
}


void
http_pool_destroy(struct http_pool *p)
{
    if (p == NULL) {
        return;
    }

    (void) pthread_cond_destroy(&p->work);
    (void) pthread_mutex_destroy(&p->mutex);
    free(p->jobs);
    free(p);
}
