/*
 * Concurrency, rate and breaker of each destination.
 *
 * The breaker opens at 10 failures in a row, or at 70 % of at least 10 sends
 * in 5 minutes; while it is open one probe at a time is let through, after 30 s
 * at first, then twice as long each time, at most ten times that.
 *
 * What finds all slots taken waits here as long as it would soon go; the rest
 * is put off, each a slot's time behind the one before, so that a long queue
 * of one destination comes back in order and as fast as it can be sent.
 */

#include "limiter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define TABLE_SIZE        4096             /* heads; chained */
#define NOTES             65536            /* the newest of each slot stays */
#define BREAK_IN_A_ROW    10
#define BREAK_AT_LEAST    10
#define BREAK_PERCENT     70
#define WINDOW_US         (INT64_C(300) * 1000000)
#define PROBE_STEPS       10               /* times the first, at most */
#define PROBING_US        INT64_C(1000000)
#define WAIT_US           INT64_C(1000000) /* what goes so soon waits here */
#define WAIT_LONG_US      INT64_C(5000000) /* it did not: put off after all */
#define DEFER_MOST_US     (INT64_C(30) * 1000000)
#define DEFER_LEAST_US    INT64_C(1000)
#define USUAL_US          INT64_C(50000)   /* a send, before any is known */
#define TOKENS_US         INT64_C(100000)  /* rate: as many at once */

struct entry {
    struct entry  *next;
    char           id[64];
    int64_t        concurrency, in_flight, waiting;
    int64_t        average_us;             /* of a send; 0: not known */
    int64_t        ended_us;               /* the last send, or none is */
    int64_t        defer_us;               /* the last that was put off */
    int64_t        tokens, tokens_us;      /* of the rate, until when */
    int64_t        rate_until_us;          /* none are given before */
    int64_t        fail_since_us, fail_last_us, ok_last_us;
    struct limiter_wait  *first, **last;
    int64_t        hold_us;                /* Retry-After of the endpoint */
    int64_t        probe_us;               /* breaker: next probe */
    int64_t        promised_us;            /* probe that is awaited */
    int64_t        probe_step_us;
    int64_t        window_us;              /* start of the counts below */
    unsigned       sent, failed, in_a_row;
    bool           open, probing;
};

struct note {
    uint8_t        log_id[UUID_BYTES];
    struct entry  *entry;                  /* NULL: none; else for ever */
};

struct limiter {
    pthread_mutex_t  lock;
    struct entry    *table[TABLE_SIZE];
    struct note     *notes;
    int64_t          probe_us;
    int64_t          open;
    bool             closed;               /* nothing waits any more */
};


/*
 * GCRA: KEYS[1] holds the theoretical arrival time in ms.  ARGV: the interval
 * and the burst's tolerance in ms, how many are wanted.  Answers how many may
 * go, or minus the ms to wait.
 */
static const char  gcra_script[] =
    "local t=redis.call('TIME') "
    "local now=t[1]*1000+t[2]/1000 "
    "local step=tonumber(ARGV[1]) "
    "local tat=tonumber(redis.call('GET',KEYS[1]) or now) "
    "if tat<now then tat=now end "
    "local n=math.floor((now+ARGV[2]-tat)/step)+1 "
    "if n<1 then return -math.ceil(tat-now-ARGV[2]) end "
    "n=math.min(n,tonumber(ARGV[3])) "
    "redis.call('SET',KEYS[1],string.format('%.6f',tat+n*step),'PX',"
    "math.ceil(tat+n*step-now+ARGV[2]+1000)) "
    "return n";


enum result
limiter_create(int64_t probe_us, struct limiter **out)
{
    struct limiter  *l;

    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return RESULT_MEMORY;
    }

    l->notes = calloc(NOTES, sizeof(*l->notes));
    if (l->notes == NULL) {
        free(l);
        return RESULT_MEMORY;
    }

    l->probe_us = probe_us;
    (void) pthread_mutex_init(&l->lock, NULL);
    *out = l;
    return RESULT_OK;
}


void
limiter_destroy(struct limiter *l)
{
    struct entry  *e;

    if (l == NULL) {
        return;
    }

    for (size_t i = 0; i < TABLE_SIZE; i++) {
        while ((e = l->table[i]) != NULL) {
            l->table[i] = e->next;
            free(e);
        }
    }

    (void) pthread_mutex_destroy(&l->lock);
    free(l->notes);
    free(l);
}


static size_t
hash_of(struct slice id)
{
    uint64_t  h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.n; i++) {
        h = (h ^ (unsigned char) id.p[i]) * UINT64_C(1099511628211);
    }

    return (size_t) (h ^ h >> 32);
}


static struct entry *
entry_find(struct limiter *l, struct slice id, bool make)
{
    struct entry  **head = &l->table[hash_of(id) % TABLE_SIZE], *e;

    for (e = *head; e != NULL; e = e->next) {
        if (slice_eq(slice_of(e->id), id)) {
            return e;
        }
    }

    if (!make || id.n >= sizeof(e->id)) {
        return NULL;
    }

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    memcpy(e->id, id.p, id.n);
    e->concurrency = 1;                    /* until limiter_enter says more */
    e->last = &e->first;
    e->next = *head;
    *head = e;
    return e;
}


/* 0, or until when the destination is held. */
static int64_t
entry_held(const struct entry *e, int64_t now_us)
{
    if (e->hold_us > now_us) {
        return e->hold_us;
    }

    if (!e->open) {
        return 0;
    }

    if (e->probing) {
        return now_us + PROBING_US;
    }

    return e->probe_us > now_us ? e->probe_us : 0;
}


/* What is in flight and has not ended for longer tells more than what did. */
static int64_t
entry_average(const struct entry *e, int64_t now_us)
{
    int64_t  usual = e->average_us > 0 ? e->average_us : USUAL_US;
    int64_t  silent = e->in_flight > 0 ? now_us - e->ended_us : 0;

    return silent > usual && silent > WAIT_US ? silent : usual;
}


static int64_t
entry_slots(const struct entry *e, int64_t free)
{
    int64_t  most = free / 2 < 1 ? 1 : free / 2;

    return e->open ? 1 : e->concurrency < most ? e->concurrency : most;
}


/* So many may wait here: what would go within WAIT_US, as long as it leaves
 * ROOM (what FREE is beyond the reserve) for others; none behind an endpoint
 * that has not answered for as long. */
static int64_t
entry_seats(const struct entry *e, int64_t room, int64_t now_us)
{
    int64_t  soon = e->concurrency * WAIT_US / entry_average(e, now_us);

    if (e->open || (e->in_flight > 0 && now_us - e->ended_us > WAIT_US)) {
        return 0;
    }

    soon = e->average_us == 0 ? e->concurrency : soon;
    return room <= 0 ? 0 : soon < e->waiting + room ? soon
                                                    : e->waiting + room;
}


/* Behind the last that was put off, by the time that a send of it takes. */
static int64_t
entry_defer(struct entry *e, int64_t step_us, int64_t now_us, uint32_t random)
{
    int64_t  at = now_us + DEFER_LEAST_US * 20 + e->waiting * step_us / 2;

    at = e->defer_us > at ? e->defer_us : at;
    at += step_us < DEFER_LEAST_US ? DEFER_LEAST_US : step_us;

    if (at > now_us + DEFER_MOST_US) {
        return now_us + DEFER_MOST_US - (int64_t) (random % 4000000);
    }

    e->defer_us = at;
    return at;
}


static int64_t
entry_step(const struct entry *e, int64_t now_us)
{
    return entry_average(e, now_us)
           / (e->concurrency < 1 ? 1 : e->concurrency);
}


/* 0, or when to ask again: behind an open breaker one comes for the probe, the
 * others one after another after it, not all at once. */
static int64_t
entry_until(struct entry *e, int64_t now_us, uint32_t random)
{
    int64_t  until = entry_held(e, now_us), at, step;

    if (until == 0 || !e->open || until == e->hold_us) {
        return until;
    }

    if (until == e->probe_us && e->promised_us != until) {
        e->promised_us = until;
        return until;
    }

    step = entry_step(e, now_us);
    at = (e->defer_us > until ? e->defer_us : until)
         + (step < DEFER_LEAST_US ? DEFER_LEAST_US : step);

    if (at > until + DEFER_MOST_US) {
        return until + DEFER_MOST_US - (int64_t) (random % 4000000);
    }

    e->defer_us = at;
    return at;
}


/* As many sends as the rate of all instances lets go, or minus the ms to wait.
 * When Redis cannot say, one: a limit must not stop delivery. */
static int64_t
rate_ask(struct redis *r, const struct integration *i, int64_t want)
{
    char          key[96], interval[32], burst[32], wanted[24];
    const char   *argv[] = { "EVAL", gcra_script, "1", key, interval, burst,
        wanted };
    redisReply   *reply;
    int64_t       answer = 1;

    if (r == NULL || redis_context(r) == NULL) {
        return 1;
    }

    (void) snprintf(key, sizeof(key), "idash:rate:%.*s", SLICE_ARG(i->id));
    (void) snprintf(interval, sizeof(interval), "%.6f",
        1000.0 / (double) i->rate_per_s);
    (void) snprintf(burst, sizeof(burst), "%.6f",
        i->rate_per_s > 10 ? (double) TOKENS_US / 1000 : 0.0);
    (void) snprintf(wanted, sizeof(wanted), "%lld", (long long) want);

    reply = redis_argv(r, 7, argv, NULL);

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        answer = reply->integer == 0 ? -1 : reply->integer;
    }

    freeReplyObject(reply);
    return answer;
}


/* 0: it may go by the rate.  Called by one thread, the claimer, without lock
 * while Redis answers. */
static int64_t
rate_enter(struct limiter *l, struct entry *e, struct redis *r,
    const struct integration *i, int64_t now_us, uint32_t random)
{
    int64_t  step = 1000000 / i->rate_per_s, got, until = 0;
    bool     ask;

    pthread_mutex_lock(&l->lock);
    ask = e->rate_until_us <= now_us;

    if (ask && e->tokens > 0 && e->tokens_us > now_us) {
        e->tokens--;
        ask = false;

    } else if (!ask) {
        until = entry_defer(e, step, now_us, random);
    }

    pthread_mutex_unlock(&l->lock);

    if (!ask) {
        return until;
    }

    got = rate_ask(r, i, i->rate_per_s > 10 ? (TOKENS_US + step) / step : 1);
    pthread_mutex_lock(&l->lock);

    if (got > 0) {
        e->tokens = got - 1;
        e->tokens_us = now_us + TOKENS_US;

    } else {
        e->rate_until_us = now_us - got * 1000;
        e->defer_us = e->defer_us > e->rate_until_us ? e->defer_us
                                                     : e->rate_until_us;
        until = entry_defer(e, step, now_us, random);
    }

    pthread_mutex_unlock(&l->lock);
    return until;
}


/* Under the lock: in flight, waiting, or put off until *until_us. */
static enum limiter_answer
entry_enter(struct limiter *l, struct entry *e, struct limiter_wait *w,
    int64_t free, int64_t room, int64_t now_us, uint32_t random,
    int64_t *until_us)
{
    *until_us = entry_until(e, now_us, random);

    if (*until_us != 0) {
        return LIMITER_LATER;
    }

    w->at_us = now_us;
    e->ended_us = e->in_flight == 0 ? now_us : e->ended_us;

    if (e->first == NULL && e->in_flight < entry_slots(e, free)) {
        e->in_flight++;
        e->probing = e->open;
        return LIMITER_GO;
    }

    if (!l->closed && e->waiting < entry_seats(e, room, now_us)) {
        w->next = NULL;
        *e->last = w;
        e->last = &w->next;
        e->waiting++;
        return LIMITER_WAIT;
    }

    *until_us = entry_defer(e, entry_step(e, now_us), now_us, random);
    return LIMITER_LATER;
}


enum limiter_answer
limiter_enter(struct limiter *l, struct redis *r, const struct integration *i,
    struct limiter_wait *w, int64_t free, int64_t room, int64_t now_us,
    uint32_t random, int64_t *until_us)
{
    enum limiter_answer  answer = LIMITER_LATER;
    struct entry        *e;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, i->id, true);
    *until_us = 0;

    if (e == NULL) {
        *until_us = now_us + PROBING_US;

    } else {
        e->concurrency = i->concurrency;
        *until_us = entry_until(e, now_us, random);
    }

    pthread_mutex_unlock(&l->lock);

    if (*until_us == 0 && i->rate_per_s > 0) {
        *until_us = rate_enter(l, e, r, i, now_us, random);
    }

    if (*until_us != 0) {
        return LIMITER_LATER;
    }

    pthread_mutex_lock(&l->lock);
    answer = entry_enter(l, e, w, free, room, now_us, random, until_us);

    /* the token of what does not go yet serves the next */
    e->tokens += answer == LIMITER_LATER && i->rate_per_s > 0;
    pthread_mutex_unlock(&l->lock);

    return answer;
}


int64_t
limiter_held(struct limiter *l, struct slice id, int64_t free, int64_t room,
    int64_t now_us, uint32_t random)
{
    struct entry  *e;
    int64_t        until = 0;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        until = entry_until(e, now_us, random);

        if (until == 0 && e->in_flight >= entry_slots(e, free)
            && e->waiting >= entry_seats(e, room, now_us))
        {
            until = entry_defer(e, entry_step(e, now_us), now_us, random);
        }
    }

    pthread_mutex_unlock(&l->lock);
    return until;
}


static void
window_count(struct entry *e, bool ok, int64_t now_us)
{
    if (now_us - e->window_us > WINDOW_US || now_us < e->window_us) {
        e->window_us = now_us;
        e->sent = e->failed = 0;
    }

    e->sent++;
    e->failed += !ok;
    e->in_a_row = ok ? 0 : e->in_a_row + 1;
}


static bool
must_break(const struct entry *e)
{
    return e->in_a_row >= BREAK_IN_A_ROW
           || (e->sent >= BREAK_AT_LEAST
               && e->failed * 100 >= e->sent * BREAK_PERCENT);
}


static enum limiter_change
breaker_step(struct limiter *l, struct entry *e, bool ok, int64_t now_us,
    uint32_t random)
{
    if (ok) {
        if (!e->open) {
            return LIMITER_SAME;
        }

        e->open = false;
        e->probe_step_us = 0;
        e->sent = e->failed = 0;
        l->open--;
        return LIMITER_CLOSED;
    }

    if (!e->open && !must_break(e)) {
        return LIMITER_SAME;
    }

    e->probe_step_us = e->probe_step_us == 0 ? l->probe_us
                                             : e->probe_step_us * 2;

    if (e->probe_step_us > l->probe_us * PROBE_STEPS) {
        e->probe_step_us = l->probe_us * PROBE_STEPS;
    }

    e->probe_us = now_us + e->probe_step_us
                  + e->probe_step_us / 10 * (int64_t) (random >> 16) / 65536;

    if (e->open) {
        return LIMITER_SAME;
    }

    e->open = true;
    l->open++;
    return LIMITER_OPENED;
}


static void
health_count(struct entry *e, bool ok, int64_t now_us)
{
    if (ok) {
        e->ok_last_us = now_us;
        e->fail_since_us = 0;
        return;
    }

    e->fail_last_us = now_us;
    e->fail_since_us = e->fail_since_us == 0 ? now_us : e->fail_since_us;
}


/* The first that wait go on (two, so that more come into flight when there is
 * more room than before), or all go back when none may. */
static void
entry_next(struct entry *e, int64_t now_us, uint32_t random,
    struct limiter_next *next)
{
    struct limiter_wait  *w;
    int64_t               until = entry_held(e, now_us);

    for (int i = 0; i < 2 && until == 0 && e->first != NULL
                    && e->in_flight < (e->open ? 1 : e->concurrency); i++)
    {
        w = e->first;
        e->first = w->next;
        e->last = e->first == NULL ? &e->first : e->last;
        e->waiting--;
        e->in_flight++;
        e->probing = e->open;
        w->at_us = now_us;
        w->next = next->go;
        next->go = w;
        until = entry_held(e, now_us);
    }

    /* what cannot go soon must not sit on its lease here */
    if (e->first != NULL
        && (until != 0 || now_us - e->first->at_us > WAIT_LONG_US))
    {
        for (w = e->first; w != NULL; w = w->next) {
            w->at_us = until != 0 ? until
                : entry_defer(e, entry_step(e, now_us), now_us, random);
        }

        next->back = e->first;
        e->first = NULL;
        e->last = &e->first;
        e->waiting = 0;
    }
}


enum limiter_change
limiter_leave(struct limiter *l, struct slice id,
    const struct limiter_wait *w, const struct limiter_end *end,
    int64_t now_us, uint32_t random, struct limiter_next *next)
{
    struct entry         *e;
    int64_t               took;
    enum limiter_change   change = LIMITER_SAME;

    memset(next, 0, sizeof(*next));
    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        e->in_flight--;
        e->probing = false;
        e->ended_us = now_us;

        if (end->hold_until_us > e->hold_us) {
            e->hold_us = end->hold_until_us;
        }

        /* how long a slot is taken, our own delays included */
        if (end->ok || end->charged) {
            took = now_us > w->at_us ? now_us - w->at_us : 1;
            e->average_us = e->average_us == 0 ? took
                : e->average_us + (took - e->average_us) / 8;
        }

        if (end->ok || end->charged) {
            health_count(e, end->ok, now_us);
            window_count(e, end->ok, now_us);
            change = breaker_step(l, e, end->ok, now_us, random);
        }

        entry_next(e, now_us, random, next);
    }

    pthread_mutex_unlock(&l->lock);
    return change;
}


struct limiter_wait *
limiter_flush(struct limiter *l)
{
    struct limiter_wait  *all = NULL, **tail = &all;

    pthread_mutex_lock(&l->lock);
    l->closed = true;

    for (size_t i = 0; i < TABLE_SIZE; i++) {
        for (struct entry *e = l->table[i]; e != NULL; e = e->next) {
            if (e->first != NULL) {
                *tail = e->first;
                tail = e->last;
                e->first = NULL;
                e->last = &e->first;
                e->waiting = 0;
            }
        }
    }

    pthread_mutex_unlock(&l->lock);
    return all;
}


static struct note *
note_of(struct limiter *l, const uint8_t log_id[UUID_BYTES])
{
    return &l->notes[hash_of((struct slice) { (const char *) log_id,
        UUID_BYTES }) % NOTES];
}


void
limiter_note(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    struct slice integration_id)
{
    struct note   *n = note_of(l, log_id);
    struct entry  *e;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, integration_id, true);

    if (e != NULL) {
        memcpy(n->log_id, log_id, UUID_BYTES);
        n->entry = e;
    }

    pthread_mutex_unlock(&l->lock);
}


bool
limiter_noted(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    char integration_id[64])
{
    struct note  *n = note_of(l, log_id);
    bool          found;

    pthread_mutex_lock(&l->lock);
    found = n->entry != NULL && memcmp(n->log_id, log_id, UUID_BYTES) == 0;

    if (found) {
        memcpy(integration_id, n->entry->id, sizeof(n->entry->id));
    }

    pthread_mutex_unlock(&l->lock);
    return found;
}


static void
state_of(const struct entry *e, struct limiter_state *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->id, e->id, sizeof(out->id));
    out->in_flight = e->in_flight;
    out->waiting = e->waiting;
    out->failures = e->in_a_row;
    out->open = e->open;
    out->probe_us = e->probe_us;
    out->fail_since_us = e->fail_since_us;
    out->fail_last_us = e->fail_last_us;
    out->ok_last_us = e->ok_last_us;
}


bool
limiter_state(struct limiter *l, struct slice id, struct limiter_state *out)
{
    struct entry  *e;

    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        state_of(e, out);
    }

    pthread_mutex_unlock(&l->lock);
    return e != NULL;
}


/* Entries are never removed, so one at a time may be copied under the lock. */
void
limiter_each(struct limiter *l,
    void (*each)(void *arg, const struct limiter_state *s), void *arg)
{
    struct limiter_state  s;
    struct entry         *e;

    for (size_t i = 0; i < TABLE_SIZE; i++) {
        pthread_mutex_lock(&l->lock);
        e = l->table[i];
        pthread_mutex_unlock(&l->lock);

        while (e != NULL) {
            pthread_mutex_lock(&l->lock);
            state_of(e, &s);
            e = e->next;
            pthread_mutex_unlock(&l->lock);
            each(arg, &s);
        }
    }
}


void
limiter_forgive(struct limiter *l, struct slice id)
{
    struct entry  *e;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        e->fail_since_us = 0;
    }

    pthread_mutex_unlock(&l->lock);
}


int64_t
limiter_open(struct limiter *l)
{
    int64_t  open;

    pthread_mutex_lock(&l->lock);
    open = l->open;
    pthread_mutex_unlock(&l->lock);

    return open;
}
