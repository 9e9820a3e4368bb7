/*
 * Insert, acknowledge, in this order.  While the store is away the batch is
 * kept and its deliveries are not counted, so that an outage never makes a dead
 * letter; what fails on a store that takes other writes is tried alone, and
 * alone it is refused or put off.
 */

#include "drain_batch.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "changes.h"
#include "clock.h"
#include "deadletter.h"
#include "log.h"
#include "record.h"
#include "record_digest.h"
#include "replay.h"
#include "tenant.h"

#define DRAIN_SLOW_US      2000000         /* an insert that asks for less */
#define DRAIN_SLICE_US     20000           /* sleeps look up so often */
#define DRAIN_RECORD       8192            /* first guess of a record's size */
#define DRAIN_LARGEST      (4 * 1024 * 1024)
#define DRAIN_ALONE_TRIES  5

enum drain_fate {
    FATE_STORED,                           /* acknowledge */
    FATE_DEAD,                             /* dead letter, then acknowledge */
    FATE_LATER                             /* stays pending */
};

/* what becomes of an entry */
struct drain_item {
    enum drain_fate      fate;
    size_t               doc;              /* index, SIZE_MAX: none */
    enum store_insert    outcome;
    char                 reason[160];
};

struct drain_work {
    struct drain_shared  *shared;
    struct redis         *redis;
    struct queue         *queue;
    struct breaker        breaker;
    _Atomic bool          store_up;
    _Atomic int64_t       beat_us;
    struct aimd           aimd;
    size_t                average;         /* bytes of a record */

    struct arena          arena;
    struct record         record;
    struct record_digest *digest;
    size_t                room;            /* of the four arrays */
    struct logdoc        *docs;
    enum store_insert    *outcome;
    struct drain_item    *items;
    struct queue_entry   *acks;
};


enum result
drain_work_create(struct drain_shared *d, struct redis *r, struct queue *q,
    struct drain_work **out)
{
    struct drain_work  *w;
    enum result         result;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return RESULT_MEMORY;
    }

    w->shared = d;
    w->redis = r;
    w->queue = q;
    w->average = DRAIN_RECORD;
    w->store_up = true;
    aimd_init(&w->aimd, (unsigned) d->config->drain_batch);
    arena_init(&w->arena, 4 * drain_work_max(w));
    drain_work_beat(w);

    result = record_digest_create(d->secret, &w->digest);
    if (result != RESULT_OK) {
        drain_work_destroy(w);
        return result;
    }

    *out = w;
    return RESULT_OK;
}


static void
drain_work_free(struct drain_work *w)
{
    free(w->docs);
    free(w->outcome);
    free(w->items);
    free(w->acks);
    w->docs = NULL;
    w->outcome = NULL;
    w->items = NULL;
    w->acks = NULL;
    w->room = 0;
    arena_cleanup(&w->arena);
}


void
drain_work_destroy(struct drain_work *w)
{
    if (w != NULL) {
        drain_work_free(w);
        record_digest_destroy(w->digest);
        free(w);
    }
}


void
drain_work_idle(struct drain_work *w)
{
    if (w->room > 0) {
        drain_work_free(w);
        queue_idle(w->queue);
        (void) malloc_trim(0);
    }
}


static enum result
drain_work_room(struct drain_work *w, size_t n)
{
    if (n <= w->room) {
        return RESULT_OK;
    }

    drain_work_free(w);
    w->docs = malloc(n * sizeof(*w->docs));
    w->outcome = malloc(n * sizeof(*w->outcome));
    w->items = malloc(n * sizeof(*w->items));
    w->acks = malloc(n * sizeof(*w->acks));

    if (w->docs == NULL || w->outcome == NULL || w->items == NULL
        || w->acks == NULL)
    {
        drain_work_free(w);
        return RESULT_MEMORY;
    }

    w->room = n;
    return RESULT_OK;
}


size_t
drain_work_max(const struct drain_work *w)
{
    size_t  bytes = (size_t) w->shared->config->drain_batch_bytes;

    return bytes < DRAIN_LARGEST ? bytes + DRAIN_LARGEST : 2 * bytes;
}


unsigned
drain_work_count(const struct drain_work *w)
{
    size_t  fit;

    fit = (size_t) w->shared->config->drain_batch_bytes / w->average;
    fit = fit == 0 ? 1 : fit;
    return fit < w->aimd.size ? (unsigned) fit : w->aimd.size;
}


void
drain_work_beat(struct drain_work *w)
{
    w->beat_us = clock_mono_us();
}


int64_t
drain_work_beat_us(const struct drain_work *w)
{
    return w->beat_us;
}


bool
drain_work_store_up(const struct drain_work *w)
{
    return w->store_up;
}


void
drain_work_ping(struct drain_work *w)
{
    w->store_up = store_ping(w->shared->store) == RESULT_OK;
}


static void
drain_work_failed(struct drain_work *w, const char *what, enum result r)
{
    uint64_t  random = 0;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
        random = (uint64_t) clock_mono_us();
    }

    log_rate(LOG_ERROR, "drain", "%s: %s; %u failures in a row", what,
        result_text(r), w->breaker.failures + 1);
    breaker_fail(&w->breaker, clock_mono_us(), random);
    aimd_fail(&w->aimd);
    w->store_up = false;
    w->shared->errors++;
}


static void
drain_work_well(struct drain_work *w)
{
    if (w->breaker.failures > 1) {
        log_write(LOG_NOTICE, "drain", "the store takes writes again");
    }

    breaker_ok(&w->breaker);
    w->store_up = true;
}


/* Reading alone proves little: a full disk still answers queries. */
static enum result
drain_work_probe(struct drain_work *w)
{
    struct store_doc  d;
    int64_t           version;

    memset(&d, 0, sizeof(d));
    d.id = SLICE_LIT("drain_probe");
    d.org_id = LOGDOC_NONE;
    d.created_us = clock_wall_us();
    d.updated_us = d.created_us;
    d.expires_us = LOGDOC_NONE;
    d.body = SLICE_LIT("{}");
    return store_doc_put(w->shared->store, STORE_META, &d, -1, &version);
}


/* Until the breaker lets a probe through and the probe is well. */
static enum result
drain_work_wait(struct drain_work *w, const struct queue_entry *e, size_t n)
{
    const struct timespec  slice = { 0, DRAIN_SLICE_US * 1000 };
    int64_t                keep_us = 0, now;
    enum result            r;

    while (!w->shared->stop) {
        drain_work_beat(w);
        now = clock_mono_us();

        if (now >= keep_us) {
            (void) queue_keep(w->queue, e, n);
            keep_us = now + w->shared->config->drain_min_idle_us / 3;
        }

        if (now >= w->breaker.next_us) {
            r = drain_work_probe(w);
            if (r == RESULT_OK) {
                return RESULT_OK;
            }

            drain_work_failed(w, "the store takes no writes", r);
        }

        (void) nanosleep(&slice, NULL);
    }

    return RESULT_UNAVAILABLE;
}


/* The outcome of N documents; E are all entries that are in our hands. */
static enum result
drain_insert(struct drain_work *w, const struct queue_batch *b, size_t at,
    size_t n)
{
    int64_t      begin;
    unsigned     tries = 0;
    enum result  r;

    for ( ;; ) {
        drain_work_beat(w);
        begin = clock_mono_us();
        r = store_logs_insert(w->shared->store, w->docs + at, n,
            w->outcome + at);

        if (r == RESULT_OK) {
            drain_work_well(w);

            if (clock_mono_us() - begin > DRAIN_SLOW_US) {
                aimd_fail(&w->aimd);

            } else {
                aimd_ok(&w->aimd);
            }

            return RESULT_OK;
        }

        drain_work_failed(w, "logs cannot be stored", r);

        if (drain_work_wait(w, b->entries, b->n) != RESULT_OK) {
            return RESULT_UNAVAILABLE;
        }

        tries++;

        if (n > 1 ? tries == 2 : tries == DRAIN_ALONE_TRIES) {
            return r;                      /* the store is, these are not */
        }
    }
}


static struct drain_item *
drain_item_of(struct drain_work *w, const struct queue_batch *b, size_t doc)
{
    for (size_t i = 0; i < b->n; i++) {
        if (w->items[i].doc == doc) {
            return &w->items[i];
        }
    }

    return NULL;
}


/* One by one: what fails now is the one that fails. */
static enum result
drain_insert_alone(struct drain_work *w, const struct queue_batch *b, size_t n)
{
    struct drain_item  *item;
    enum result         r;

    for (size_t i = 0; i < n; i++) {
        r = drain_insert(w, b, i, 1);

        if (w->shared->stop && r != RESULT_OK) {
            return RESULT_UNAVAILABLE;
        }

        if (r == RESULT_OK) {
            continue;
        }

        item = drain_item_of(w, b, i);
        w->outcome[i] = STORE_REFUSED;

        if (r == RESULT_UNAVAILABLE || r == RESULT_TIMEOUT) {
            item->fate = FATE_LATER;       /* its deliveries are counted */
        }
    }

    return RESULT_OK;
}


static enum result
drain_insert_all(struct drain_work *w, const struct queue_batch *b, size_t n)
{
    enum result  r;

    if (n > 1) {
        r = drain_insert(w, b, 0, n);

        if (r == RESULT_OK || w->shared->stop) {
            return r;
        }
    }

    return drain_insert_alone(w, b, n);
}


/* With the store away a replay would never learn of its log: the log waits for
 * the store all the same.  UNAVAILABLE: stopping. */
static enum result
drain_claim_replay(struct drain_work *w, const struct queue_batch *b)
{
    struct drain_shared  *d = w->shared;
    enum result           r;

    for (unsigned i = 0; i < DRAIN_ALONE_TRIES; i++) {
        r = replay_claim(d->secret, d->store, &w->record.doc, &w->arena);
        if (r == RESULT_OK) {
            return RESULT_OK;
        }

        drain_work_failed(w, "a replay cannot be looked up", r);

        if (drain_work_wait(w, b->entries, b->n) != RESULT_OK) {
            return RESULT_UNAVAILABLE;
        }
    }

    return RESULT_OK;                      /* its signature is good */
}


/* A log of the entry, or why there is none.  UNAVAILABLE: stopping. */
static enum result
drain_decode(struct drain_work *w, const struct queue_batch *b, size_t at,
    size_t *ndocs)
{
    const struct queue_entry  *e = &b->entries[at];
    struct drain_item         *item = &w->items[at];
    struct drain_shared       *d = w->shared;
    enum result                r;

    item->fate = FATE_DEAD;
    item->doc = SIZE_MAX;

    if (e->deliveries >= d->config->drain_max_deliveries) {
        (void) snprintf(item->reason, sizeof(item->reason), "delivered %lld "
            "times without success", (long long) e->deliveries);
        return RESULT_OK;
    }

    r = record_decode(e->fields, e->nfields, &w->arena, &w->record,
        item->reason, sizeof(item->reason));

    if (r == RESULT_OK) {
        r = record_digest_make(w->digest, w->record.doc.id, e->fields,
            e->nfields, w->record.doc.digest);
    }

    if (r == RESULT_OK) {
        r = tenant_assign(d->catalog, &w->record, d->retention_ok_us,
            d->retention_fail_us, &w->arena);
    }

    if (r != RESULT_OK) {
        item->fate = r == RESULT_INVALID ? FATE_DEAD : FATE_LATER;
        return RESULT_OK;
    }

    r = drain_claim_replay(w, b);
    if (r != RESULT_OK) {
        return r;
    }

    if (e->deliveries >= DRAIN_SUSPECT) {
        w->record.doc.flags |= LOG_FLAG_SUSPECT;
    }

    item->fate = FATE_STORED;
    item->doc = *ndocs;
    logdoc_assign(&w->docs[(*ndocs)++], &w->record.doc);
    return RESULT_OK;
}


/* A log that an older version stored has a digest of another kind. */
static enum result
drain_compare_before(struct drain_work *w, const struct queue_batch *b)
{
    size_t       doc;
    enum result  r;

    for (size_t i = 0; i < b->n; i++) {
        doc = w->items[i].doc;

        if (doc == SIZE_MAX || w->items[i].fate == FATE_LATER
            || w->outcome[doc] != STORE_DIFFERENT)
        {
            continue;
        }

        r = record_digest_before(b->entries[i].fields, b->entries[i].nfields,
            w->docs[doc].digest);
        r = r == RESULT_OK ? drain_insert(w, b, doc, 1) : r;

        if (r != RESULT_OK && w->shared->stop) {
            return RESULT_UNAVAILABLE;
        }

        if (r != RESULT_OK) {
            w->items[i].fate = FATE_LATER; /* asked again, and counted */
        }
    }

    return RESULT_OK;
}


/* What the store said of each document. */
static void
drain_judge(struct drain_work *w, const struct queue_batch *b)
{
    struct drain_shared  *d = w->shared;
    struct drain_item    *item;

    for (size_t i = 0; i < b->n; i++) {
        item = &w->items[i];

        if (item->doc == SIZE_MAX || item->fate == FATE_LATER) {
            continue;
        }

        switch (w->outcome[item->doc]) {

        case STORE_NEW:
            d->stored++;
            break;

        case STORE_SAME:
            d->same++;
            break;

        case STORE_DIFFERENT:
            log_write(LOG_ERROR, "drain", "ALERT entry %s has the id of a log "
                "with other content", b->entries[i].id);
            item->fate = FATE_DEAD;
            (void) snprintf(item->reason, sizeof(item->reason), "its id is "
                "that of a log with other content");
            break;

        case STORE_REFUSED:
            item->fate = FATE_DEAD;
            (void) snprintf(item->reason, sizeof(item->reason), "the store "
                "refuses the document");
            break;
        }
    }
}


static enum result
drain_bury(struct drain_work *w, const struct queue_entry *e,
    const char *reason)
{
    struct queue_entry   bare = *e;
    struct drain_shared *d = w->shared;
    enum result          r;

    for ( ;; ) {
        drain_work_beat(w);
        r = deadletter_put(d->store, d->config->capture_stream, &bare, reason,
            d->retention_dead_us);

        if (r == RESULT_OK) {
            drain_work_well(w);
            d->dead++;
            return RESULT_OK;
        }

        drain_work_failed(w, "a dead letter cannot be stored", r);

        if (r == RESULT_INVALID || r == RESULT_TOO_BIG) {
            bare.fields = NULL;            /* the reason is better than none */
        }

        if (drain_work_wait(w, e, 1) != RESULT_OK) {
            return RESULT_UNAVAILABLE;
        }
    }
}


static enum result
drain_bury_all(struct drain_work *w, const struct queue_batch *b)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < b->n && r == RESULT_OK; i++) {
        if (w->items[i].fate == FATE_DEAD) {
            r = drain_bury(w, &b->entries[i], w->items[i].reason);
        }
    }

    return r;
}


/* Live clients hear of what is new; nothing depends on it. */
static void
drain_announce(struct drain_work *w, size_t ndocs)
{
    size_t  run;

    for (size_t i = 0; i < ndocs; i += run) {
        for (run = 0; i + run < ndocs && w->outcome[i + run] == STORE_NEW;
             run++)
        {
            /* void */
        }

        if (run > 0
            && changes_append(w->redis, w->shared->config, w->docs + i, run)
               != RESULT_OK)
        {
            log_rate(LOG_WARN, "drain", "live clients miss changes");
        }

        run += run == 0;
    }
}


static enum result
drain_ack(struct drain_work *w, const struct queue_batch *b)
{
    struct queue_entry  later;
    size_t              n = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (w->items[i].fate != FATE_LATER) {
            w->acks[n++] = b->entries[i];
            continue;
        }

        later = b->entries[i];
        later.deliveries++;                /* this one counts */
        (void) queue_keep(w->queue, &later, 1);
    }

    return n == 0 ? RESULT_OK : queue_ack(w->queue, w->acks, n);
}


static void
drain_measure(struct drain_work *w, const struct queue_batch *b)
{
    size_t  now = b->bytes / b->n + 1;

    /* up at once, down slowly: one batch of large ones is too many */
    w->average = now > w->average ? now : (w->average * 7 + now) / 8;
}


enum result
drain_work_run(struct drain_work *w, const struct queue_batch *b)
{
    size_t       ndocs = 0;
    enum result  r;

    if (b->n == 0) {
        return RESULT_OK;
    }

    r = drain_work_room(w, b->n);
    if (r != RESULT_OK) {
        return r;
    }

    arena_reset(&w->arena);
    drain_measure(w, b);
    w->shared->batches++;
    w->shared->read += b->n;

    for (size_t i = 0; i < b->n; i++) {
        if (b->entries[i].fields == NULL) {
            log_write(LOG_ERROR, "drain", "ALERT entry %s was trimmed before "
                "it was stored", b->entries[i].id);
            w->items[i].fate = FATE_STORED;
            w->items[i].doc = SIZE_MAX;
            continue;
        }

        r = drain_decode(w, b, i, &ndocs);
        if (r != RESULT_OK) {
            return r;
        }
    }

    r = drain_insert_all(w, b, ndocs);
    r = r == RESULT_OK ? drain_compare_before(w, b) : r;

    if (r == RESULT_OK) {
        drain_judge(w, b);
        r = drain_bury_all(w, b);
    }

    if (r == RESULT_OK) {
        drain_announce(w, ndocs);
        r = drain_ack(w, b);
    }

    if (r == RESULT_OK) {
        w->shared->last_us = clock_wall_us();
    }

    return r;
}


enum result
drain_work_bury(struct drain_work *w, const struct queue_entry *e,
    const char *reason)
{
    enum result  r;

    r = drain_bury(w, e, reason);
    return r == RESULT_OK ? queue_ack(w->queue, e, 1) : r;
}
