/*
 * A few threads and a bounded queue of jobs: where requests that touch the
 * store run, so that no event loop waits.
 */

#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include <stdbool.h>

#include "result.h"

struct http_pool;

/* QUEUE: jobs that may wait. */
must_check enum result http_pool_create(unsigned threads, unsigned queue,
    struct http_pool **out);

/* False when the queue is full or the pool stops: the job will not run. */
must_check bool http_pool_add(struct http_pool *p, void (*run)(void *arg),
    void *arg);

/* Takes no more jobs, runs those that wait, joins the threads. */
void http_pool_stop(struct http_pool *p);

/* After http_pool_stop; until then http_pool_add may still be called. */
void http_pool_destroy(struct http_pool *p);

#endif /* HTTP_POOL_H */
