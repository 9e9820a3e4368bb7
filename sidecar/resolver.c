/* Lookups in threads; the last of caller and thread frees the lookup. */

#include "resolver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lookup {
    char              *host;
    char               port[8];
    int                wake;               /* our own duplicate */
    struct addrinfo   *list;
    int                error;
    atomic_int         done;
    atomic_int         holders;
};

static atomic_int  running;


static void
lookup_release(struct lookup *l)
{
    if (atomic_fetch_sub(&l->holders, 1) != 1) {
        return;
    }

    if (l->list != NULL) {
        freeaddrinfo(l->list);
    }

    if (l->wake != -1) {
        (void) close(l->wake);
    }

    free(l->host);
    free(l);
}


static void *
lookup_run(void *arg)
{
    struct lookup    *l = arg;
    struct addrinfo   hints = { .ai_socktype = SOCK_STREAM };
    uint64_t          one = 1;

    l->error = getaddrinfo(l->host, l->port, &hints, &l->list);
    atomic_store(&l->done, 1);
    (void) !write(l->wake, &one, sizeof(one));
    (void) atomic_fetch_sub(&running, 1);
    lookup_release(l);
    return NULL;
}


enum result
lookup_start(const char *host, unsigned port, int wake, struct lookup **out)
{
    struct lookup   *l;
    pthread_attr_t   attr;
    pthread_t        thread;
    int              error;

    if (atomic_fetch_add(&running, 1) >= RESOLVER_MAX) {
        (void) atomic_fetch_sub(&running, 1);
        return RESULT_AGAIN;
    }

    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        (void) atomic_fetch_sub(&running, 1);
        return RESULT_MEMORY;
    }

    l->host = strdup(host);
    l->wake = dup(wake);
    (void) snprintf(l->port, sizeof(l->port), "%u", port);
    atomic_store(&l->holders, 2);

    (void) pthread_attr_init(&attr);
    (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void) pthread_attr_setstacksize(&attr, 256 * 1024);
    error = l->host == NULL || l->wake == -1
                ? -1 : pthread_create(&thread, &attr, lookup_run, l);
    (void) pthread_attr_destroy(&attr);

    if (error != 0) {
        (void) atomic_fetch_sub(&running, 1);
        atomic_store(&l->holders, 1);
        lookup_release(l);
        return RESULT_MEMORY;
    }

    *out = l;
    return RESULT_OK;
}


enum result
lookup_result(struct lookup *l, const struct addrinfo **ai)
{
    if (!atomic_load(&l->done)) {
        return RESULT_AGAIN;
    }

    *ai = l->list;
    return l->error == 0 && l->list != NULL ? RESULT_OK : RESULT_UNAVAILABLE;
}


void
lookup_free(struct lookup *l)
{
    if (l != NULL) {
        lookup_release(l);
    }
}
