/*
 * The finisher: takes what transports and claimer are done with, asks retry.c
 * what follows, writes it by lease token, and only then moves the queue.
 */

#include "dispatch_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "callback.h"
#include "changes.h"
#include "clock.h"
#include "log.h"

#define AWAY_US  INT64_C(200000)

/* What one log comes to, beside the store's own record; the members of a batch
 * share a delivery. */
struct ending {
    struct delivery        *x;
    const struct logdoc    *doc;
    struct retry_decision   decision;
    struct outcome          outcome;
    struct log_attempt      attempt;
};

/* What is written in one step. */
struct chunk {
    size_t                n;
    struct ending        *e;
    struct store_finish  *f;
    struct due_item      *moved, *gone;
    struct logdoc        *told;
};


/* -- deciding ------------------------------------------------------------ */

static void
attempt_fill(struct ending *e)
{
    struct log_attempt  *t = &e->attempt;
    struct send         *s = e->x->send;
    bool                 bare = e->x->integration->is_logs_disabled;

    static const char *const  words[] = {
        [OUTCOME_DELIVERED] = "DELIVERED", [OUTCOME_COMMITTED] = "COMMITTED",
        [OUTCOME_RETRY] = "RETRY", [OUTCOME_REJECTED] = "REJECTED",
        [OUTCOME_NOT_SENT] = "NOT_SENT"
    };

    memset(t, 0, sizeof(*t));
    memcpy(t->log_id, e->doc->id, UUID_BYTES);
    t->number = e->doc->attempts;
    t->outcome = slice_of(words[e->outcome.kind]);
    t->error_code = slice_of(e->decision.code);
    t->error_message = slice_of(s->message);
    t->http_status = s->http_status;
    t->started_us = s->started_us;
    t->duration_us = s->duration_us;
    t->connect_us = s->connect_us;
    t->first_byte_us = s->first_byte_us;
    t->next_attempt_us = e->decision.next_us;
    t->request.data = SLICE_NONE;          /* the log's own body was sent */
    t->request.bytes = (int64_t) s->body.n;
    t->response.headers = bare ? SLICE_NONE : s->response_headers;
    t->response.data = bare ? SLICE_NONE : s->response_body;
    t->response.bytes = s->response_bytes;
    t->response.cut = s->response_cut ? SLICE_LIT("size") : SLICE_LIT("");

    if (e->outcome.kind == OUTCOME_DELIVERED
        || e->outcome.kind == OUTCOME_COMMITTED)
    {
        t->error_message = SLICE_NONE;
    }
}


static void
decide_sent(struct ending *e, int64_t now_us)
{
    const struct integration  *i = e->x->integration;
    struct retry_case          c = {
        .schedule = &i->schedule, .auto_retry = i->is_auto_retry,
        .attempts = (unsigned) e->doc->attempts,
        .accepted_us = e->x->since_us, .now_us = now_us,
        .random = dispatch_random()
    };

    e->outcome = e->x->send->outcome;
    e->decision = retry_decide(&c, &e->outcome);
}


/* What never reached a transport. */
static void
decide_unsent(struct ending *e)
{
    struct delivery  *x = e->x;

    memset(&e->decision, 0, sizeof(e->decision));
    e->outcome.kind = OUTCOME_NOT_SENT;
    e->decision.next_us = LOGDOC_NONE;
    e->decision.code = x->code;

    if (x->give_back) {
        e->decision.status = e->doc->attempts <= 1 ? LOG_PENDING
                                                   : LOG_RETRYING;
        e->decision.next_us = x->back_us;

    } else {
        e->decision.status = x->cancel ? LOG_CANCELLED : LOG_FAIL;
    }
}


static bool
is_terminal(enum log_status s)
{
    return s != LOG_PENDING && s != LOG_RETRYING;
}


static void
finish_fill(struct store_finish *f, struct ending *e, const struct dispatch *d)
{
    struct delivery  *x = e->x;
    int64_t           keep;

    memset(f, 0, sizeof(*f));
    memcpy(f->id, e->doc->id, UUID_BYTES);
    f->token = e->doc->token;
    f->doc = x->members == NULL && x->doc.batch_id.n > 0 ? NULL : e->doc;
    f->status = e->decision.status;
    f->attempt_used = e->decision.attempt_used;
    f->next_attempt_us = e->decision.next_us;
    f->expires_us = LOGDOC_NONE;
    f->error_code = slice_of(e->decision.code);
    f->error_message = slice_of(x->send != NULL ? x->send->message : x->why);

    if (e->decision.detail != NULL) {
        f->error_message = arena_printf(&x->arena, "%s: %s",
            e->decision.detail, x->send != NULL ? x->send->message : x->why);
    }

    if (e->decision.code == NULL) {
        f->error_message = SLICE_NONE;
    }

    if (is_terminal(f->status)) {
        keep = f->status == LOG_SUCCESS || f->status == LOG_COMMITTED
                   ? d->config->retention_ok_us : d->config->retention_fail_us;
        f->expires_us = clock_wall_us() + keep;
        f->drop_bodies = x->integration != NULL
                         && x->integration->is_logs_disabled;
        f->hold = f->status == LOG_FAIL && x->integration != NULL
                  && x->integration->holds;
    }

    if (x->send != NULL) {
        f->flags = (x->send->unconfirmed ? LOG_FLAG_UNCONFIRMED : 0)
                   | (x->send->duplicate ? LOG_FLAG_DUPLICATE : 0);

        if (e->decision.attempt_used) {
            attempt_fill(e);
            f->attempt = &e->attempt;
        }
    }
}


/* -- after the store ----------------------------------------------------- */

static void
count(struct dispatch *d, const struct ending *e)
{
    switch (e->decision.status) {

    case LOG_SUCCESS:
    case LOG_COMMITTED:
        atomic_fetch_add(&d->delivered, 1);
        break;

    case LOG_FAIL:
        atomic_fetch_add(e->outcome.kind == OUTCOME_REJECTED ? &d->rejected
                                                             : &d->failed, 1);
        break;

    default:
        atomic_fetch_add(e->decision.attempt_used ? &d->retried
                                                  : &d->given_back, 1);
        break;
    }
}


static void
tell_hold(struct dispatch *d, const struct ending *e)
{
    char  id[UUID_TEXT + 1];

    uuid_text(e->doc->id, id);
    atomic_fetch_add(&d->held_lanes, 1);
    log_write(LOG_WARN, "dispatch", "integration %.*s: %s failed and holds "
        "what comes after it in order: resend or cancel it",
        SLICE_ARG(e->x->integration->id), id);
}


static void
move_queue(struct dispatch *d, struct chunk *c)
{
    size_t           nmoved = 0, ngone = 0;
    struct due_item  item;
    enum result      moved = RESULT_OK, gone = RESULT_OK;

    for (size_t i = 0; i < c->n; i++) {
        const struct store_finish  *f = &c->f[i];

        if (f->late) {
            continue;
        }

        memcpy(item.id, f->id, UUID_BYTES);
        item.priority = c->e[i].doc->priority;
        item.due_us = f->next_attempt_us;

        if (is_terminal(f->status)) {
            c->gone[ngone++] = item;
        } else {
            c->moved[nmoved++] = item;
        }

        /* who is first in its lane now was put off until somebody says so */
        if (f->next) {
            memcpy(item.id, f->next_id, UUID_BYTES);
            item.priority = f->next_priority;
            item.due_us = f->next_due_us;
            c->moved[nmoved++] = item;
        }
    }

    if (nmoved > 0) {
        moved = due_add(d->finish_redis, c->moved, nmoved, false);
    }

    if (ngone > 0) {
        gone = due_remove(d->finish_redis, c->gone, ngone);
    }

    if (moved != RESULT_OK || gone != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "the due queue could not be written; "
            "the reconciler will mend it");
    }

    /* the claimer does not know when they are due */
    if (nmoved > 0) {
        dispatch_signal(d);
    }
}


/* The logs as they are now, for whoever watches. */
static void
tell(struct dispatch *d, struct chunk *c)
{
    size_t  m = 0;

    for (size_t i = 0; i < c->n; i++) {
        const struct store_finish  *f = &c->f[i];
        struct logdoc              *t = &c->told[m];

        if (f->late || (!f->attempt_used && !is_terminal(f->status))) {
            continue;
        }

        *t = *c->e[i].doc;
        t->status = f->status;
        t->error_code = f->error_code;
        t->next_attempt_us = f->next_attempt_us;
        t->http_status = c->e[i].attempt.http_status;
        t->duration_us = c->e[i].attempt.duration_us;
        m++;
    }

    if (m > 0) {
        (void) changes_append(d->finish_redis, d->config, c->told, m);
    }
}


/* -- a chunk ------------------------------------------------------------- */

/* The store is away: wait, and try again; false when the lease ends or we do,
 * which is the last resort. */
static bool
store_wait(const struct dispatch *d, int64_t until_us)
{
    const struct timespec  nap = { 0, AWAY_US * 1000 };

    if (clock_mono_us() >= until_us || d->ending) {
        return false;
    }

    (void) nanosleep(&nap, NULL);
    return true;
}


static bool
write_all(struct dispatch *d, struct store_finish *f, size_t n)
{
    int64_t      until = clock_mono_us() + d->config->dispatch_lease_us;
    enum result  r;

    while ((r = store_finish(d->store, f, n)) != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "outcomes wait for the store: %s",
            result_text(r));

        if (!store_wait(d, until)) {
            return false;
        }
    }

    return true;
}


static bool
chunk_init(struct chunk *c, size_t n)
{
    memset(c, 0, sizeof(*c));
    c->n = n;
    c->e = calloc(n, sizeof(*c->e));
    c->f = calloc(n, sizeof(*c->f));
    c->moved = calloc(2 * n, sizeof(*c->moved));
    c->gone = calloc(n, sizeof(*c->gone));
    c->told = calloc(n, sizeof(*c->told));

    return c->e != NULL && c->f != NULL && c->moved != NULL
           && c->gone != NULL && c->told != NULL;
}


static void
chunk_cleanup(struct chunk *c)
{
    free(c->e);
    free(c->f);
    free(c->moved);
    free(c->gone);
    free(c->told);
}


/* One outcome for all of a batch: only the first decides. */
static void
decide(struct chunk *c, size_t i, int64_t now_us, const struct dispatch *d)
{
    struct ending  *e = &c->e[i];

    e->attempt.http_status = LOGDOC_NONE;
    e->attempt.duration_us = LOGDOC_NONE;

    if (i > 0 && e->x == c->e[i - 1].x) {
        e->decision = c->e[i - 1].decision;
        e->outcome = c->e[i - 1].outcome;

    } else if (e->x->send != NULL) {
        decide_sent(e, now_us);

    } else {
        decide_unsent(e);
    }

    finish_fill(&c->f[i], e, d);
}


static void
settle(struct dispatch *d, const struct chunk *c, size_t i)
{
    const struct store_finish  *f = &c->f[i];
    const struct ending        *e = &c->e[i];

    if (f->late) {
        atomic_fetch_add(&d->late, 1);
        return;
    }

    count(d, e);

    /* what is not told now is found by the sweep */
    if (e->x->direct != NULL && is_terminal(f->status)) {
        (void) !callback_settle(d->store, d->config, d->finish_redis, f->id);
        dispatch_signal(d);
    }

    if (f->hold) {
        tell_hold(d, e);
    }
}


static void
chunk_write(struct dispatch *d, struct chunk *c)
{
    int64_t  now = dispatch_now(d);

    for (size_t i = 0; i < c->n; i++) {
        decide(c, i, now, d);
    }

    if (!write_all(d, c->f, c->n)) {
        return;
    }

    move_queue(d, c);

    for (size_t i = 0; i < c->n; i++) {
        settle(d, c, i);
    }

    tell(d, c);
}


/* A batch may be longer than a chunk: it comes alone and whole. */
static size_t
chunk_size(struct delivery *const *list, size_t n, size_t *deliveries)
{
    *deliveries = 0;

    while (*deliveries < n && list[*deliveries]->members == NULL) {
        (*deliveries)++;
    }

    if (*deliveries == 0) {
        *deliveries = 1;
        return list[0]->nmembers;
    }

    return *deliveries;
}


static void
chunk_fill(struct chunk *c, struct delivery *const *list)
{
    for (size_t i = 0; i < c->n; i++) {
        struct delivery  *x = list[0]->members != NULL ? list[0] : list[i];

        c->e[i].x = x;
        c->e[i].doc = x->members != NULL ? &x->members[i] : &x->doc;
    }
}


/* 410: the endpoint wants nothing more, so its integration is disabled.  First
 * of all: whoever reads the outcome finds it disabled, and after a crash
 * between the two the delivery, sent again or not, does not enable it. */
static void
disable_gone(struct dispatch *d, const struct delivery *x)
{
    int64_t      until = clock_mono_us() + d->config->dispatch_lease_us;
    enum result  r;

    do {
        r = integration_disable(d->store, x->integration->id, "gone");
    } while (r != RESULT_OK && r != RESULT_NOT_FOUND && store_wait(d, until));

    log_write(LOG_WARN, "dispatch", "integration %.*s answered 410 and is %s",
        SLICE_ARG(x->integration->id), r == RESULT_OK ? "disabled"
            : "to be disabled by hand: the store refused");
}


static bool
disable_list(struct dispatch *d, struct delivery *const *list, size_t n)
{
    bool  any = false;

    for (size_t i = 0; i < n; i++) {
        if (list[i]->send != NULL && list[i]->send->gone
            && list[i]->direct == NULL)
        {
            disable_gone(d, list[i]);
            any = true;
        }
    }

    return any;
}


static void
finish_list(struct dispatch *d, struct delivery **list, size_t n)
{
    struct chunk  c;
    size_t        deliveries;
    bool          disabled = disable_list(d, list, n);

    for (size_t at = 0; at < n; at += deliveries) {
        if (chunk_init(&c, chunk_size(list + at, n - at, &deliveries))) {
            chunk_fill(&c, list + at);
            chunk_write(d, &c);

        } else {
            log_rate(LOG_ERROR, "dispatch", "out of memory: outcomes are "
                "lost, the deliveries are sent again");
        }

        chunk_cleanup(&c);
    }

    for (size_t i = 0; i < n; i++) {
        delivery_destroy(list[i]);
    }

    /* the keeper cancels what waits for it */
    if (disabled) {
        dispatch_sweep(d);
    }
}


/* -- the thread ---------------------------------------------------------- */

static size_t
take_done(struct dispatch *d, struct delivery **list)
{
    size_t  n = 0;

    while (n < DISPATCH_BATCH && d->done != NULL) {
        list[n++] = d->done;
        d->done = d->done->next;
    }

    if (d->done == NULL) {
        d->done_tail = &d->done;
    }

    return n;
}


void *
dispatch_finish_run(void *arg)
{
    struct dispatch  *d = arg;
    struct delivery  *list[DISPATCH_BATCH];
    size_t            n;
    bool              ending;

    for ( ;; ) {
        pthread_mutex_lock(&d->lock);

        while (d->done == NULL && !d->ending) {
            (void) pthread_cond_wait(&d->work, &d->lock);
        }

        n = take_done(d, list);
        ending = d->ending;
        pthread_mutex_unlock(&d->lock);

        if (n == 0 && ending) {
            return NULL;
        }

        finish_list(d, list, n);

        pthread_mutex_lock(&d->lock);
        d->in_flight -= (int64_t) n;

        if (d->starved) {
            d->starved = false;
            d->woken = true;
            (void) pthread_cond_signal(&d->room);
        }

        pthread_mutex_unlock(&d->lock);
    }
}
