/*
 * Leases of what is sent for long.  The transport's deadlines end a send, so
 * none is renewed for ever; what fails here only lets another try begin.
 */

#include "dispatch_private.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define RENEWALS  4                        /* in the time of one lease */

struct renewal {
    uint8_t  id[UUID_BYTES];
    int64_t  token;
};


int64_t
dispatch_renew_tick(const struct dispatch *d)
{
    return d->config->dispatch_lease_us / RENEWALS;
}


void
dispatch_long_add(struct delivery *x)
{
    struct dispatch  *d = x->d;

    pthread_mutex_lock(&d->lock);
    x->renew_us = clock_mono_us();
    x->long_prev = NULL;
    x->long_next = d->longs;

    if (d->longs != NULL) {
        d->longs->long_prev = x;
    }

    d->longs = x;
    pthread_mutex_unlock(&d->lock);
}


void
dispatch_long_remove(struct delivery *x)
{
    struct dispatch  *d = x->d;

    pthread_mutex_lock(&d->lock);

    if (x->long_next != NULL) {
        x->long_next->long_prev = x->long_prev;
    }

    if (x->long_prev != NULL) {
        x->long_prev->long_next = x->long_next;

    } else if (d->longs == x) {
        d->longs = x->long_next;
    }

    x->long_next = x->long_prev = NULL;
    pthread_mutex_unlock(&d->lock);
}


/* Those whose time has come, as copies: they may end meanwhile. */
static struct renewal *
renewals_take(struct dispatch *d, size_t *n)
{
    struct renewal   *list = NULL;
    struct delivery  *x;
    int64_t           now = clock_mono_us(), due;
    size_t            all = 0;

    *n = 0;
    due = now - dispatch_renew_tick(d);

    pthread_mutex_lock(&d->lock);

    for (x = d->longs; x != NULL; x = x->long_next) {
        all += x->renew_us <= due;
    }

    list = all == 0 ? NULL : malloc(all * sizeof(*list));

    for (x = d->longs; list != NULL && x != NULL; x = x->long_next) {
        if (x->renew_us <= due) {
            memcpy(list[*n].id, x->doc.id, UUID_BYTES);
            list[(*n)++].token = x->doc.token;
            x->renew_us = now;
        }
    }

    pthread_mutex_unlock(&d->lock);
    return list;
}


void
dispatch_renew(struct dispatch *d)
{
    struct renewal  *list;
    int64_t          until;
    size_t           n;
    enum result      r = RESULT_OK;

    list = renewals_take(d, &n);
    until = dispatch_now(d) + d->config->dispatch_lease_us;

    for (size_t i = 0; i < n; i++) {
        r = store_renew(d->store, list[i].id, list[i].token, until);

        if (r != RESULT_OK && r != RESULT_CONFLICT) {
            log_rate(LOG_WARN, "dispatch", "leases of what is being sent "
                "cannot be renewed: %s; it may be sent again",
                result_text(r));
            break;
        }
    }

    free(list);
}
