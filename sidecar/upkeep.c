/*
 * Upkeep: expired documents go in small slices with pauses between, never as
 * one long lock; buckets that may be wrong are recounted; dead letters stay
 * within their bound.  A failure is tried again at the next turn.
 */

#include "upkeep.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "deadletter.h"
#include "log.h"

#define UPKEEP_SLICE       500             /* documents deleted at once */
#define UPKEEP_PAUSE_US    50000           /* between slices */
#define UPKEEP_EXPIRE_US   1000000
#define UPKEEP_EMPTY_US    10000000        /* nothing had expired */
#define UPKEEP_LAST_US     (INT64_C(64) * 1000000)     /* after failures */
#define UPKEEP_BUCKETS     50
#define UPKEEP_RECOUNT_US  15000000
#define UPKEEP_DEAD_US     60000000

struct upkeep {
    struct store     *store;
    pthread_t         thread;
    pthread_mutex_t   lock;
    pthread_cond_t    wake;
    bool              stop;
    int64_t           expire_us, recount_us, dead_us;
    int64_t           expire_pause_us;     /* doubled by each failure */
    _Atomic int64_t   dead_max;
};


/*
 * Until the next slice.  A store that fails is not asked again and again, nor
 * one that has nothing: expired documents are found by nobody, and a server
 * without the index reads them all to say no.
 */
static int64_t
upkeep_expire(struct upkeep *u)
{
    unsigned     done = 0;
    enum result  r;

    r = store_expire(u->store, clock_wall_us(), UPKEEP_SLICE, &done);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "upkeep", "expired documents cannot be deleted: %s",
            result_text(r));
        u->expire_pause_us *= u->expire_pause_us < UPKEEP_LAST_US ? 2 : 1;
        return u->expire_pause_us;
    }

    if (done > 0) {
        log_write(LOG_DEBUG, "upkeep", "deleted %u expired documents", done);
    }

    u->expire_pause_us = UPKEEP_EXPIRE_US;

    if (done == 0) {
        return UPKEEP_EMPTY_US;
    }

    return done == UPKEEP_SLICE ? UPKEEP_PAUSE_US : UPKEEP_EXPIRE_US;
}


static bool
upkeep_recount(struct upkeep *u)
{
    unsigned     done = 0;
    enum result  r;

    r = store_recount(u->store, UPKEEP_BUCKETS, &done);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "upkeep", "buckets cannot be recounted: %s",
            result_text(r));
        return false;
    }

    return done == UPKEEP_BUCKETS;
}


static void
upkeep_dead(struct upkeep *u)
{
    enum result  r;

    r = deadletter_trim(u->store, u->dead_max);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "upkeep", "dead letters cannot be looked at: %s",
            result_text(r));
    }
}


static void
upkeep_turn(struct upkeep *u)
{
    int64_t  now = clock_mono_us(), pause_us;

    if (now >= u->expire_us) {
        pause_us = upkeep_expire(u);
        u->expire_us = clock_mono_us() + pause_us;
    }

    if (now >= u->recount_us) {
        u->recount_us = now + (upkeep_recount(u) ? UPKEEP_PAUSE_US
                                                 : UPKEEP_RECOUNT_US);
    }

    if (now >= u->dead_us) {
        u->dead_us = now + UPKEEP_DEAD_US;
        upkeep_dead(u);
    }
}


static bool
upkeep_sleep(struct upkeep *u)
{
    struct timespec  ts;
    int64_t          until;
    bool             stop;

    until = clock_mono_us() + UPKEEP_PAUSE_US;
    ts.tv_sec = (time_t) (until / 1000000);
    ts.tv_nsec = (long) (until % 1000000) * 1000;

    (void) pthread_mutex_lock(&u->lock);

    if (!u->stop) {
        (void) pthread_cond_timedwait(&u->wake, &u->lock, &ts);
    }

    stop = u->stop;
    (void) pthread_mutex_unlock(&u->lock);
    return !stop;
}


static void *
upkeep_main(void *arg)
{
    struct upkeep  *u = arg;

    (void) pthread_setname_np(pthread_self(), "upkeep");

    do {
        upkeep_turn(u);
    } while (upkeep_sleep(u));

    return NULL;
}


enum result
upkeep_start(const struct config *c, struct store *s, struct upkeep **out)
{
    pthread_condattr_t   attr;
    struct upkeep       *u;

    u = calloc(1, sizeof(*u));
    if (u == NULL) {
        return RESULT_MEMORY;
    }

    u->store = s;
    u->expire_pause_us = UPKEEP_EXPIRE_US;
    u->dead_max = c->dead_letter_max_bytes;
    /* what a crash touched is recounted soon after the start */
    u->recount_us = clock_mono_us() + UPKEEP_EXPIRE_US;

    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&u->wake, &attr);
    (void) pthread_condattr_destroy(&attr);
    (void) pthread_mutex_init(&u->lock, NULL);

    if (pthread_create(&u->thread, NULL, upkeep_main, u) != 0) {
        free(u);
        return RESULT_MEMORY;
    }

    *out = u;
    return RESULT_OK;
}


void
upkeep_stop(struct upkeep *u)
{
    if (u == NULL) {
        return;
    }

    (void) pthread_mutex_lock(&u->lock);
    u->stop = true;
    (void) pthread_cond_signal(&u->wake);
    (void) pthread_mutex_unlock(&u->lock);

    (void) pthread_join(u->thread, NULL);
    (void) pthread_cond_destroy(&u->wake);
    (void) pthread_mutex_destroy(&u->lock);
    free(u);
}


void
upkeep_set_dead_max(struct upkeep *u, int64_t bytes)
{
    u->dead_max = bytes;
}
