/*
 * The items of a job: sent in groups at the job's rate, then looked at until
 * each has its first outcome.  The ids of the copies are durable before the
 * copies are.
 */

#include "retry_run_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"


/* -- sending ------------------------------------------------------------- */

static void
item_skip(struct job *j, struct retry_item *it, enum resend_why why)
{
    it->state = RETRY_SKIPPED;
    (void) snprintf(it->why, sizeof(it->why), "%s", resend_why_text(why));
    memset(it->copy, 0, sizeof(it->copy));
    j->skipped++;
    j->dirty = true;
}


/* Looked at once more: may it go now?  D becomes its copy. */
static enum result
item_prepare(struct retry_run *run, struct job *j, struct retry_item *it,
    struct logdoc *d, bool *go)
{
    const struct scope  all = { .platform = true };
    struct routes      *routes = outbound_routes(run->outbound);
    enum resend_why     why = RESEND_GONE;
    enum result         r;

    *go = false;
    r = store_log_get(run->store, &all, it->log, &run->arena, d);

    if (r == RESULT_OK) {
        (void) snprintf(it->endpoint, sizeof(it->endpoint), "%.*s",
            SLICE_ARG(d->endpoint));
        r = resend_one_of_many(run->store, routes, d, &run->arena, &why);

    } else if (r == RESULT_NOT_FOUND) {
        r = RESULT_OK;
    }

    if (r != RESULT_OK || why != RESEND_OK) {
        if (r == RESULT_OK) {
            item_skip(j, it, why);
        }
        return r;
    }

    if (uuid_is_null(it->copy)) {
        uuid_make(it->copy, clock_wall_us());
    }

    *go = true;
    return resend_copy(d, it->copy, SLICE_NONE, routes, &run->arena);
}


static enum result
group_send(struct retry_run *run, struct job *j, struct retry_items *c,
    struct retry_item *const *items, const struct logdoc *docs, size_t n)
{
    enum store_insert  outcome[RUN_GROUP];
    struct events     *events;
    enum result        r;

    /* from here on a crash finds the ids */
    r = retry_items_put(run->store, c);

    if (r != RESULT_OK || n == 0) {
        return r;
    }

    r = store_logs_insert(run->store, docs, n, outcome);
    if (r != RESULT_OK) {
        return r;
    }

    events = outbound_take(run->outbound);
    events_queue(events, docs, n);
    outbound_give(run->outbound, events);
    outbound_work(run->outbound);

    for (size_t i = 0; i < n; i++) {
        items[i]->state = RETRY_SENT;
        items[i]->sent_us = docs[i].started_us;
        items[i]->check_us = clock_mono_us() + RUN_TURN_US;
    }

    j->sent += (int64_t) n;
    j->tokens -= (double) n;
    j->dirty = true;
    return RESULT_OK;
}


static enum result
chunk_send(struct retry_run *run, struct job *j, struct retry_items *c,
    size_t most)
{
    struct retry_item  *items[RUN_GROUP];
    struct logdoc      *docs = malloc(RUN_GROUP * sizeof(*docs));
    size_t              n = 0, looked = 0;
    enum result         r = docs == NULL ? RESULT_MEMORY : RESULT_OK;

    arena_reset(&run->arena);

    for (size_t i = 0; i < c->count && r == RESULT_OK; i++) {
        bool  go;

        if (c->item[i].state != RETRY_WAITING) {
            continue;
        }

        if (n == most || looked == 2 * RUN_GROUP) {
            break;
        }

        looked++;
        items[n] = &c->item[i];
        r = item_prepare(run, j, items[n], &docs[n], &go);

        /* large bodies: the rest another time */
        if (n > 0 && (r == RESULT_TOO_BIG || r == RESULT_MEMORY)) {
            memset(c->item[i].copy, 0, UUID_BYTES);
            r = RESULT_OK;
            break;
        }

        n += r == RESULT_OK && go;
    }

    r = r != RESULT_OK || looked == 0 ? r
        : group_send(run, j, c, items, docs, n);
    free(docs);
    return r;
}


static struct retry_items *
chunk_waiting(const struct job *j, unsigned *live)
{
    struct retry_items  *found = NULL;

    *live = 0;

    for (struct retry_items *c = j->live; c != NULL; c = c->next) {
        (*live)++;

        for (size_t i = 0; i < c->count && found == NULL; i++) {
            if (c->item[i].state == RETRY_WAITING) {
                found = c;
            }
        }
    }

    return found;
}


static enum result
chunk_next(struct retry_run *run, struct job *j)
{
    struct retry_items  **tail = &j->live, *c;
    enum result           r;

    r = retry_items_get(run->store, j->id, j->plan, j->next_chunk, &c);

    if (r == RESULT_NOT_FOUND) {
        job_become(j, "failed");
        (void) json_object_set_new(j->doc.v, "error", json_pack("{s:s,s:s}",
            "code", "plan_gone", "message",
            "what the plan had selected is not kept any more"));
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    while (*tail != NULL) {
        tail = &(*tail)->next;
    }

    *tail = c;
    j->next_chunk++;
    return RESULT_OK;
}


enum result
job_send(struct retry_run *run, struct job *j, int64_t now)
{
    double               rate = (double) job_int(j, "rate_per_s");
    double               most = rate / 4 < 1 ? 1 : rate / 4;
    struct retry_items  *c;
    unsigned             live;
    size_t               n;

    j->tokens += rate * (double) (now - j->turn_us) / 1e6;
    j->tokens = j->tokens > most ? most : j->tokens;
    j->turn_us = now;
    c = chunk_waiting(j, &live);

    if (c == NULL) {
        return live >= RUN_CHUNKS || j->next_chunk >= j->chunks ? RESULT_OK
            : chunk_next(run, j);
    }

    if (j->tokens < 1) {
        return RESULT_OK;
    }

    n = j->tokens > RUN_GROUP ? RUN_GROUP : (size_t) j->tokens;
    return chunk_send(run, j, c, n);
}


/* -- settling ------------------------------------------------------------ */

static void
item_settle(struct job *j, struct retry_item *it, bool well, const char *why)
{
    it->state = well ? RETRY_SUCCEEDED : RETRY_FAILED;
    (void) snprintf(it->why, sizeof(it->why), "%s", why);
    j->succeeded += well;
    j->failed += !well;
    j->consecutive = well ? 0 : j->consecutive + 1;
    j->dirty = true;
}


/* By its first attempt; what follows is its own schedule's. */
static enum result
item_look(struct retry_run *run, struct job *j, struct retry_item *it,
    int64_t now)
{
    const struct scope  all = { .platform = true };
    struct logdoc      *d;
    char                why[32];
    enum result         r;

    arena_reset(&run->arena);
    d = arena_alloc(&run->arena, sizeof(*d));
    r = d == NULL ? RESULT_MEMORY
        : store_log_get(run->store, &all, it->copy, &run->arena, d);

    if (r == RESULT_NOT_FOUND) {
        item_settle(j, it, false, resend_why_text(RESEND_GONE));
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (d->status == LOG_PENDING) {
        it->check_us = now + (clock_wall_us() - it->sent_us > 5 * RUN_SLOW_US
            ? RUN_SLOW_US : RUN_LOOK_US);
        return RESULT_OK;
    }

    (void) snprintf(why, sizeof(why), "%.*s", SLICE_ARG(d->error_code));
    item_settle(j, it, d->status == LOG_SUCCESS || d->status == LOG_COMMITTED,
        why);
    return RESULT_OK;
}


enum result
job_settle(struct retry_run *run, struct job *j, int64_t now)
{
    enum result  r = RESULT_OK;

    for (struct retry_items *c = j->live; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->count && r == RESULT_OK; i++) {
            if (c->item[i].state == RETRY_SENT && c->item[i].check_us <= now) {
                r = item_look(run, j, &c->item[i], now);
            }
        }
    }

    if (job_is(j, "running")
        && job_int(j, "stop_after_consecutive_failures") > 0
        && j->consecutive >= job_int(j, "stop_after_consecutive_failures"))
    {
        log_write(LOG_NOTICE, "retry", "job %s stopped: %lld failures in a "
            "row", j->id, (long long) j->consecutive);
        job_become(j, "stopped");
    }

    return r;
}
