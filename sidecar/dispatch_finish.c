/*
 * The finisher: takes what transports and claimer are done with, asks retry.c
 * what follows, writes it by lease token, and only then moves the queue.
 */

#include "dispatch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "changes.h"
#include "clock.h"
#include "log.h"

#define AWAY_US  INT64_C(200000)

/* What one delivery comes to, beside the store's own record. */
struct ending {
    struct delivery        *x;
    struct retry_decision   decision;
    struct outcome          outcome;
    struct log_attempt      attempt;
};


/* -- deciding ------------------------------------------------------------ */

static void
attempt_fill(struct ending *e)
{
    struct log_attempt  *t = &e->attempt;
    struct delivery     *x = e->x;
    struct send         *s = x->send;

    static const char *const  words[] = {
        [OUTCOME_DELIVERED] = "DELIVERED", [OUTCOME_COMMITTED] = "COMMITTED",
        [OUTCOME_RETRY] = "RETRY", [OUTCOME_REJECTED] = "REJECTED",
        [OUTCOME_NOT_SENT] = "NOT_SENT"
    };

    memset(t, 0, sizeof(*t));
    memcpy(t->log_id, x->doc.id, UUID_BYTES);
    t->number = x->doc.attempts;
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
    t->response.headers = s->response_headers;
    t->response.data = s->response_body;
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
        .attempts = (unsigned) e->x->doc.attempts,
        .accepted_us = e->x->doc.started_us, .now_us = now_us,
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
        e->decision.status = x->doc.attempts <= 1 ? LOG_PENDING : LOG_RETRYING;
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
    memcpy(f->id, x->doc.id, UUID_BYTES);
    f->token = x->doc.token;
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


/* 410: the endpoint wants nothing more, so its integration is disabled. */
static void
disable_gone(struct dispatch *d, const struct delivery *x)
{
    enum result  r = integration_disable(d->store, x->integration->id, "gone");

    log_write(LOG_WARN, "dispatch", "integration %.*s answered 410 and is %s",
        SLICE_ARG(x->integration->id), r == RESULT_OK ? "disabled"
            : "to be disabled by hand: the store refused");
}


static void
leave_limiter(struct dispatch *d, const struct ending *e, int64_t now_us)
{
    struct delivery     *x = e->x;
    bool                 ok, charged;
    enum limiter_change   change;

    if (!x->entered) {
        return;
    }

    ok = e->outcome.kind == OUTCOME_DELIVERED
         || e->outcome.kind == OUTCOME_COMMITTED;
    charged = e->outcome.kind == OUTCOME_RETRY
              && strcmp(e->outcome.reason, "proxy") != 0;

    change = limiter_leave(d->limits, x->integration->id, ok, charged,
        x->send != NULL && x->send->throttled ? e->outcome.earliest_us : 0,
        now_us, dispatch_random());

    if (change != LIMITER_SAME) {
        log_write(change == LIMITER_OPENED ? LOG_WARN : LOG_NOTICE, "dispatch",
            "integration %.*s: circuit %s", SLICE_ARG(x->integration->id),
            change == LIMITER_OPENED ? "opened, its deliveries are held"
                                    : "closed");
    }
}


/* The oldest open delivery of an ordered destination is due at once. */
static void
wake_next(struct dispatch *d, const struct delivery *x)
{
    struct filter      f;
    struct scope       all = { .platform = true };
    struct store_page  page = { .limit = 1, .ascending = true };
    struct store_rows  rows;
    struct due_item    item;
    struct arena       a;

    filter_init(&f, &all);
    f.terms[f.nterms++] = (struct filter_term) {
        .field = FILTER_INTEGRATION, .op = FILTER_EQ,
        .text = x->integration->id };
    f.terms[f.nterms++] = (struct filter_term) {
        .field = FILTER_STATUS, .op = FILTER_EQ, .num = LOG_PENDING };
    page.deadline_us = clock_mono_us() + 2000000;
    arena_init(&a, 1024 * 1024);

    if (store_logs_find(d->store, &f, &page, &a, &rows) == RESULT_OK
        && rows.n == 1 && rows.rows[0].next_attempt_us != LOGDOC_NONE)
    {
        memcpy(item.id, rows.rows[0].id, UUID_BYTES);
        item.priority = rows.rows[0].priority;
        item.due_us = dispatch_now(d);

        if (store_move(d->store, &all, item.id, STORE_RESCHEDULE, item.due_us,
                SLICE_NONE, &(enum log_status) { LOG_PENDING }) == RESULT_OK
            && due_add(d->finish_redis, &item, 1, false) == RESULT_OK)
        {
            dispatch_signal(d);
        }
    }

    arena_cleanup(&a);
}


static void
move_queue(struct dispatch *d, const struct ending *endings,
    const struct store_finish *f, size_t n)
{
    struct due_item  moved[DISPATCH_BATCH], gone[DISPATCH_BATCH], item;
    size_t           nmoved = 0, ngone = 0;

    for (size_t i = 0; i < n; i++) {
        if (f[i].late) {
            continue;
        }

        memcpy(item.id, f[i].id, UUID_BYTES);
        item.priority = endings[i].x->doc.priority;
        item.due_us = f[i].next_attempt_us;

        if (is_terminal(f[i].status)) {
            gone[ngone++] = item;
        } else {
            moved[nmoved++] = item;
        }
    }

    if ((nmoved > 0
            && due_add(d->finish_redis, moved, nmoved, false) != RESULT_OK)
        || (ngone > 0
            && due_remove(d->finish_redis, gone, ngone) != RESULT_OK))
    {
        log_rate(LOG_WARN, "dispatch", "the due queue could not be written; "
            "the reconciler will mend it");
    }
}


/* The logs as they are now, for whoever watches. */
static void
tell(struct dispatch *d, struct ending *endings, const struct store_finish *f,
    size_t n)
{
    struct logdoc  docs[DISPATCH_BATCH];
    size_t         m = 0;

    for (size_t i = 0; i < n; i++) {
        if (f[i].late || (!f[i].attempt_used && !is_terminal(f[i].status))) {
            continue;
        }

        docs[m] = endings[i].x->doc;
        docs[m].status = f[i].status;
        docs[m].error_code = f[i].error_code;
        docs[m].next_attempt_us = f[i].next_attempt_us;
        docs[m].http_status = endings[i].attempt.http_status;
        docs[m].duration_us = endings[i].attempt.duration_us;
        m++;
    }

    if (m > 0) {
        (void) changes_append(d->finish_redis, d->config, docs, m);
    }
}


/* -- a batch ------------------------------------------------------------- */

/* Until it is written or the process ends: the lease is the last resort. */
static bool
write_all(struct dispatch *d, struct store_finish *f, size_t n)
{
    const struct timespec  nap = { 0, AWAY_US * 1000 };
    int64_t      until = clock_mono_us() + d->config->dispatch_lease_us;
    enum result  r;

    for ( ;; ) {
        r = store_finish(d->store, f, n);

        if (r == RESULT_OK) {
            return true;
        }

        log_rate(LOG_WARN, "dispatch", "outcomes wait for the store: %s",
            result_text(r));

        if (clock_mono_us() >= until || d->ending) {
            return false;
        }

        (void) nanosleep(&nap, NULL);
    }
}


static void
finish_batch(struct dispatch *d, struct delivery **list, size_t n)
{
    struct ending        endings[DISPATCH_BATCH];
    struct store_finish  f[DISPATCH_BATCH];
    int64_t              now = dispatch_now(d);
    bool                 written;

    memset(endings, 0, sizeof(endings));

    for (size_t i = 0; i < n; i++) {
        endings[i].x = list[i];
        endings[i].attempt.http_status = LOGDOC_NONE;
        endings[i].attempt.duration_us = LOGDOC_NONE;

        if (list[i]->send != NULL) {
            decide_sent(&endings[i], now);
        } else {
            decide_unsent(&endings[i]);
        }

        finish_fill(&f[i], &endings[i], d);
    }

    written = write_all(d, f, n);

    for (size_t i = 0; i < n; i++) {
        leave_limiter(d, &endings[i], now);

        if (!written) {
            continue;
        }

        if (f[i].late) {
            atomic_fetch_add(&d->late, 1);
        } else {
            count(d, &endings[i]);
        }

        if (list[i]->send != NULL && list[i]->send->gone) {
            disable_gone(d, list[i]);
        }
    }

    if (written) {
        move_queue(d, endings, f, n);
        tell(d, endings, f, n);
    }

    for (size_t i = 0; i < n; i++) {
        if (written && is_terminal(f[i].status) && list[i]->integration != NULL
            && list[i]->integration->ordered)
        {
            wake_next(d, list[i]);
        }

        delivery_destroy(list[i]);
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

        finish_batch(d, list, n);

        pthread_mutex_lock(&d->lock);
        d->in_flight -= (int64_t) n;
        d->woken = true;
        (void) pthread_cond_signal(&d->room);
        pthread_mutex_unlock(&d->lock);
    }
}
