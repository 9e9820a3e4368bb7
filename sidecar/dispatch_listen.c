/*
 * The listener: wakes the claimer when another process has added something to
 * the due queue, so that it does not wait for the claimer's next look.
 */

#include "dispatch_private.h"

#include "log.h"

#define AWAY_US  INT64_C(200000)


void *
dispatch_listen_run(void *arg)
{
    struct dispatch  *d = arg;
    char              after[DUE_MARK] = "0-0";
    bool              told, away = true;
    enum result       r;

    while (!dispatch_stops(d)) {
        r = due_listen(d->listen_redis, after, &told);

        /* it may have been told while we could not hear */
        if (r == RESULT_OK && (told || away)) {
            dispatch_signal(d);
        }

        away = r != RESULT_OK;

        if (away) {
            log_rate(LOG_WARN, "dispatch", "the due queue is away: %s",
                result_text(r));

            pthread_mutex_lock(&d->lock);
            dispatch_wait(d, &d->listen, d->stopping ? 0 : AWAY_US);
            pthread_mutex_unlock(&d->lock);
        }
    }

    return NULL;
}
