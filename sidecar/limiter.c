/*
 * Concurrency, rate and breaker of each destination.
 *
 * The breaker opens at 10 failures in a row, or at 70 % of at least 10 sends
 * in 5 minutes; while it is open one probe at a time is let through, after 30 s
 * at first, then twice as long each time, at most 5 minutes.
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
#define PROBE_FIRST_US    (INT64_C(30) * 1000000)
#define PROBE_LAST_US     (INT64_C(300) * 1000000)
#define BUSY_US           INT64_C(200000)  /* all slots taken: ask again */

struct entry {
    struct entry  *next;
    char           id[64];
    int64_t        in_flight;
    int64_t        hold_us;                /* Retry-After of the endpoint */
    int64_t        probe_us;               /* breaker: next probe */
    int64_t        probe_step_us;
    int64_t        window_us;              /* start of the counts below */
    unsigned       sent, failed, in_a_row;
    bool           open, probing;
};

struct note {
    uint8_t  log_id[UUID_BYTES];
    char     id[64];
};

struct limiter {
    pthread_mutex_t  lock;
    struct entry    *table[TABLE_SIZE];
    struct note     *notes;
    int64_t          open;
};


/*
 * GCRA: KEYS[1] holds the theoretical arrival time in ms.  ARGV: the interval
 * and the burst's tolerance in ms.  Answers 0, or the ms to wait.
 */
static const char  gcra_script[] =
    "local t=redis.call('TIME') "
    "local now=t[1]*1000+t[2]/1000 "
    "local tat=tonumber(redis.call('GET',KEYS[1]) or now) "
    "if tat<now then tat=now end "
    "local wait=tat-now-tonumber(ARGV[2]) "
    "if wait>0 then return math.ceil(wait) end "
    "redis.call('SET',KEYS[1],tat+ARGV[1],'PX',"
    "math.ceil(tat+ARGV[1]-now+ARGV[2]+1000)) "
    "return 0";


enum result
limiter_create(struct limiter **out)
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
        return now_us + BUSY_US * 5;
    }

    return e->probe_us > now_us ? e->probe_us : 0;
}


/* The ms to wait by the rate of all instances, 0 when it may go (also when
 * Redis cannot say: a limit must not stop delivery). */
static int64_t
rate_wait_ms(struct redis *r, const struct integration *i)
{
    char          key[96], interval[32], burst[32];
    const char   *argv[] = { "EVAL", gcra_script, "1", key, interval, burst };
    redisReply   *reply;
    int64_t       wait = 0;

    if (r == NULL || i->rate_per_s <= 0 || redis_context(r) == NULL) {
        return 0;
    }

    (void) snprintf(key, sizeof(key), "idash:rate:%.*s", SLICE_ARG(i->id));
    (void) snprintf(interval, sizeof(interval), "%.6f",
        1000.0 / (double) i->rate_per_s);
    (void) snprintf(burst, sizeof(burst), "%.6f",
        i->rate_per_s > 10 ? 100.0 : 0.0);

    reply = redis_argv(r, 6, argv, NULL);

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        wait = reply->integer;
    }

    freeReplyObject(reply);
    return wait;
}


int64_t
limiter_enter(struct limiter *l, struct redis *r, const struct integration *i,
    int64_t now_us, uint32_t random)
{
    struct entry  *e;
    int64_t        until = 0, wait;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, i->id, true);

    if (e == NULL) {
        until = now_us + BUSY_US;

    } else if ((until = entry_held(e, now_us)) == 0) {
        if (e->in_flight >= i->concurrency) {
            /* spread, so that the waiting do not all ask at once */
            until = now_us + BUSY_US + (int64_t) (random % BUSY_US);

        } else {
            e->in_flight++;
            e->probing = e->open;
        }
    }

    pthread_mutex_unlock(&l->lock);

    if (until != 0) {
        return until;
    }

    wait = rate_wait_ms(r, i);
    if (wait == 0) {
        return 0;
    }

    pthread_mutex_lock(&l->lock);
    e->in_flight--;
    e->probing = false;
    pthread_mutex_unlock(&l->lock);

    return now_us + wait * 1000;
}


int64_t
limiter_held(struct limiter *l, struct slice id, int64_t now_us)
{
    struct entry  *e;
    int64_t        until;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);
    until = e == NULL ? 0 : entry_held(e, now_us);
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

    e->probe_step_us = e->probe_step_us == 0 ? PROBE_FIRST_US
                                             : e->probe_step_us * 2;
    e->probe_step_us = e->probe_step_us > PROBE_LAST_US ? PROBE_LAST_US
                                                        : e->probe_step_us;
    e->probe_us = now_us + e->probe_step_us
                  + e->probe_step_us / 10 * (int64_t) (random >> 16) / 65536;

    if (e->open) {
        return LIMITER_SAME;
    }

    e->open = true;
    l->open++;
    return LIMITER_OPENED;
}


enum limiter_change
limiter_leave(struct limiter *l, struct slice id, bool ok, bool charged,
    int64_t hold_until_us, int64_t now_us, uint32_t random)
{
    struct entry        *e;
    enum limiter_change   change = LIMITER_SAME;

    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        e->in_flight--;
        e->probing = false;

        if (hold_until_us > e->hold_us) {
            e->hold_us = hold_until_us;
        }

        if (ok || charged) {
            window_count(e, ok, now_us);
            change = breaker_step(l, e, ok, now_us, random);
        }
    }

    pthread_mutex_unlock(&l->lock);
    return change;
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
    struct note  *n = note_of(l, log_id);

    if (integration_id.n >= sizeof(n->id)) {
        return;
    }

    pthread_mutex_lock(&l->lock);
    memcpy(n->log_id, log_id, UUID_BYTES);
    memcpy(n->id, integration_id.p, integration_id.n);
    n->id[integration_id.n] = '\0';
    pthread_mutex_unlock(&l->lock);
}


bool
limiter_noted(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    char integration_id[64])
{
    struct note  *n = note_of(l, log_id);
    bool          found;

    pthread_mutex_lock(&l->lock);
    found = memcmp(n->log_id, log_id, UUID_BYTES) == 0;

    if (found) {
        memcpy(integration_id, n->id, sizeof(n->id));
    }

    pthread_mutex_unlock(&l->lock);
    return found;
}


bool
limiter_state(struct limiter *l, struct slice id, struct limiter_state *out)
{
    struct entry  *e;

    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&l->lock);
    e = entry_find(l, id, false);

    if (e != NULL) {
        out->in_flight = e->in_flight;
        out->failures = e->in_a_row;
        out->open = e->open;
        out->probe_us = e->probe_us;
    }

    pthread_mutex_unlock(&l->lock);
    return e != NULL;
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
