/*
 * Leases of what takes long: an HL7 receiver may answer after minutes, a lease
 * may be shorter than an HTTP timeout.  Deadlines of the transports and of the
 * limiter end all of it, so none is renewed for ever; what fails here only lets
 * another try begin.
 */

#include "dispatch_private.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define RENEWALS  4                        /* in the time of one lease */


int64_t
dispatch_renew_tick(const struct dispatch *d)
{
    return d->config->dispatch_lease_us / RENEWALS;
}


void
dispatch_own(struct delivery *x)
{
    struct dispatch  *d = x->d;

    pthread_mutex_lock(&d->lock);
    x->owned = true;
    x->renew_us = clock_mono_us();
    x->own_prev = NULL;
    x->own_next = d->owned;

    if (d->owned != NULL) {
        d->owned->own_prev = x;
    }

    d->owned = x;
    pthread_mutex_unlock(&d->lock);
}


void
dispatch_disown(struct delivery *x)
{
    if (!x->owned) {
        return;
    }

    if (x->own_next != NULL) {
        x->own_next->own_prev = x->own_prev;
    }

    if (x->own_prev != NULL) {
        x->own_prev->own_next = x->own_next;
    } else {
        x->d->owned = x->own_next;
    }

    x->owned = false;
}


static void
lease_fill(struct store_lease *l, const struct delivery *x)
{
    memcpy(l->id, x->doc.id, UUID_BYTES);
    l->token = x->doc.token;
    l->batched = x->members != NULL
                 && uuid_parse(x->doc.batch_id, l->id) == RESULT_OK;
}


/* Those renewed before DUE, as copies: they may end meanwhile. */
static struct store_lease *
leases_take(struct dispatch *d, int64_t due, size_t *n)
{
    struct store_lease  *list;
    struct delivery     *x;
    int64_t              now = clock_mono_us();
    size_t               all = 0;

    *n = 0;
    pthread_mutex_lock(&d->lock);

    for (x = d->owned; x != NULL; x = x->own_next) {
        all += x->renew_us <= due;
    }

    list = all == 0 ? NULL : malloc(all * sizeof(*list));

    for (x = d->owned; list != NULL && x != NULL; x = x->own_next) {
        if (x->renew_us <= due) {
            lease_fill(&list[(*n)++], x);
            x->renew_us = now;
        }
    }

    pthread_mutex_unlock(&d->lock);
    return list;
}


static void
renew(struct dispatch *d, int64_t due, int64_t lease_us)
{
    struct store_lease  *list;
    size_t               n;
    enum result          r = RESULT_OK;

    list = leases_take(d, due, &n);

    if (n > 0) {
        r = store_renew(d->store, list, n, dispatch_now(d) + lease_us, NULL);
    }

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "leases of what is being sent cannot "
            "be renewed: %s; it may be sent again", result_text(r));
    }

    free(list);
}


void
dispatch_renew(struct dispatch *d)
{
    renew(d, clock_mono_us() - dispatch_renew_tick(d),
        d->config->dispatch_lease_us);
}


void
dispatch_renew_last(struct dispatch *d)
{
    if (d->config->shutdown_timeout_us > d->config->dispatch_lease_us / 2) {
        renew(d, INT64_MAX, d->config->shutdown_timeout_us
            + d->config->dispatch_lease_us);
    }
}
