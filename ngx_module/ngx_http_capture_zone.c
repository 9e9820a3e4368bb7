/*
 * Folded counts are a pair of copies, of which a sequence number names the
 * valid one; the id of the ring that was folded last is among them, so that
 * folding and saying so are one store.  The writers' lock holds the owner's
 * thread id and is taken over when that thread is gone.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_zone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TOTALS_TRIES  100
#define LOCK_TRIES    2000                 /* of a ms: then it is ours */

struct folded {
    uint64_t  last_ring;                   /* id of the last one folded whole */
    uint64_t  committed;
    struct capture_loop_counters  loop;
    struct capture_ship_counters  ship;
};

#define FOLDED_WORDS  (sizeof(struct folded) / sizeof(uint64_t))

struct capture_zone {
    _Atomic uint64_t  id;
    _Atomic int       lock;                /* thread id of the writer */
    _Atomic uint64_t  seq;
    _Atomic uint64_t  words[2][FOLDED_WORDS];
    _Atomic uint64_t  found, replayed, dropped[CAPTURE_DROP_COUNT];
};


size_t
capture_zone_size(void)
{
    return sizeof(struct capture_zone);
}


struct capture_zone *
capture_zone_attach(void *addr)
{
    struct capture_zone  *zone = addr;
    uint64_t              id, none;

    none = 0;

    if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
        id = (uint64_t) time(NULL) << 20 ^ (uint64_t) getpid();
    }

    (void) atomic_compare_exchange_strong(&zone->id, &none, id | 1);
    return zone;
}


uint64_t
capture_zone_id(struct capture_zone *zone)
{
    return atomic_load(&zone->id);
}


void
capture_zone_found(struct capture_zone *zone, uint64_t n)
{
    (void) atomic_fetch_add(&zone->found, n);
}


void
capture_zone_replayed(struct capture_zone *zone, uint64_t n)
{
    (void) atomic_fetch_add(&zone->replayed, n);
}


void
capture_zone_dropped(struct capture_zone *zone, enum capture_drop why,
    uint64_t n)
{
    (void) atomic_fetch_add(&zone->dropped[why], n);
}


/* Folding */

static void
zone_lock(struct capture_zone *zone)
{
    static const struct timespec  pause = { 0, 1000000 };
    int                           owner, self;

    self = (int) gettid();

    for (int tries = 0; /* void */ ; tries++) {
        owner = 0;
        if (atomic_compare_exchange_strong(&zone->lock, &owner, self)) {
            return;
        }

        /*
         * An owner that died, or our own number, used before by one that did,
         * or one that another process has now: folding takes microseconds.
         */
        if ((owner == self || tries >= LOCK_TRIES
             || (kill(owner, 0) == -1 && errno == ESRCH))
            && atomic_compare_exchange_strong(&zone->lock, &owner, self))
        {
            return;
        }

        (void) nanosleep(&pause, NULL);
    }
}


static uint64_t
folded_read(struct capture_zone *zone, struct folded *out)
{
    uint64_t  seq, words[FOLDED_WORDS];

    do {
        seq = atomic_load(&zone->seq);

        for (size_t i = 0; i < FOLDED_WORDS; i++) {
            words[i] = atomic_load(&zone->words[seq & 1][i]);
        }
    } while (atomic_load(&zone->seq) != seq);

    memcpy(out, words, sizeof(*out));
    return seq;
}


static void
folded_write(struct capture_zone *zone, uint64_t seq, const struct folded *in)
{
    uint64_t  words[FOLDED_WORDS];

    memcpy(words, in, sizeof(words));

    for (size_t i = 0; i < FOLDED_WORDS; i++) {
        atomic_store(&zone->words[(seq + 1) & 1][i], words[i]);
    }

    atomic_store(&zone->seq, seq + 1);
}


/* Counters are all words: SUM += SIGN * MORE. */
static void
words_add(void *sum, const void *more, size_t size, int sign)
{
    uint64_t  a, b;
    char     *to = sum;
    const char *from = more;

    for (size_t i = 0; i < size; i += sizeof(a)) {
        memcpy(&a, to + i, sizeof(a));
        memcpy(&b, from + i, sizeof(b));
        a = sign > 0 ? a + b : a - b;
        memcpy(to + i, &a, sizeof(a));
    }
}


static void
folded_add(struct folded *sum, const struct capture_ring_state *s, int sign)
{
    sum->committed += sign > 0 ? s->committed : 0 - s->committed;
    words_add(&sum->loop, &s->loop, sizeof(s->loop), sign);
    words_add(&sum->ship, &s->ship, sizeof(s->ship), sign);
}


void
capture_zone_fold(struct capture_zone *zone,
    const struct capture_ring_state *now, const struct capture_ring_state *last)
{
    struct folded  sum;
    uint64_t       seq;

    zone_lock(zone);

    seq = folded_read(zone, &sum);

    if (last != NULL || sum.last_ring != now->id) {
        folded_add(&sum, now, 1);

        if (last != NULL) {
            folded_add(&sum, last, -1);

        } else {
            sum.last_ring = now->id;
        }

        /* an age is no count */
        sum.ship.oldest_us = 0;
        folded_write(zone, seq, &sum);
    }

    atomic_store(&zone->lock, 0);
}


/* Totals */

static int
is_ring(const char *name)
{
    size_t  len;

    len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".ring") == 0;
}


static void
totals_rings(DIR *dir, struct folded *sum)
{
    struct capture_ring_state  state;
    struct dirent             *entry;
    uint64_t                   oldest;

    oldest = 0;
    rewinddir(dir);

    while ((entry = readdir(dir)) != NULL) {
        if (!is_ring(entry->d_name)
            || capture_ring_state_file(dirfd(dir), entry->d_name, &state) != 0
            || state.id == sum->last_ring)
        {
            continue;
        }

        folded_add(sum, &state, 1);

        if (state.ship.oldest_us != 0
            && (oldest == 0 || state.ship.oldest_us < oldest))
        {
            oldest = state.ship.oldest_us;
        }
    }

    sum->ship.oldest_us = oldest;
}


static uint64_t
drops_sum(const uint64_t drops[CAPTURE_DROP_COUNT])
{
    uint64_t  sum;

    sum = 0;

    for (unsigned i = 0; i < CAPTURE_DROP_COUNT; i++) {
        sum += drops[i];
    }

    return sum;
}


static void
totals_sum(const struct folded *sum, uint64_t found, uint64_t replayed,
    const uint64_t spool_drops[CAPTURE_DROP_COUNT], struct capture_totals *out)
{
    uint64_t  gone, over;

    out->loop = sum->loop;
    out->ship = sum->ship;
    out->ship.replayed += replayed;

    for (unsigned i = 0; i < CAPTURE_DROP_COUNT; i++) {
        out->ship.drops[i] += spool_drops[i];
    }

    out->captured = sum->committed + drops_sum(sum->loop.drops) + found;
    out->queued = sum->committed - sum->ship.acked - sum->ship.spooled
                  - drops_sum(sum->ship.drops);
    out->acked = sum->ship.acked + replayed;
    out->dropped = drops_sum(out->loop.drops) + drops_sum(out->ship.drops);
    out->spooled = sum->ship.spooled + found;
    gone = replayed + drops_sum(spool_drops);

    /* a crash between a replay and its count has it replayed twice */
    over = gone > out->spooled ? gone - out->spooled : 0;
    over = over > out->acked ? out->acked : over;
    out->spooled += over;
    out->spooled -= gone < out->spooled ? gone : out->spooled;
    out->acked -= over;

    out->ship.acked = out->acked;
    out->ship.spooled = out->spooled;
}


int
capture_zone_totals(const char *ring_dir, struct capture_zone *zone,
    struct capture_totals *out)
{
    struct folded  sum;
    uint64_t       seq, found, replayed, drops[CAPTURE_DROP_COUNT];
    DIR           *dir;
    int            fd;

    fd = open(ring_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd == -1 ? NULL : fdopendir(fd);
    if (fd != -1 && dir == NULL) {
        (void) close(fd);
    }

    for (int i = 0; i < TOTALS_TRIES; i++) {
        seq = folded_read(zone, &sum);

        /* what leaves the spool before what enters it */
        replayed = atomic_load(&zone->replayed);
        for (unsigned k = 0; k < CAPTURE_DROP_COUNT; k++) {
            drops[k] = atomic_load(&zone->dropped[k]);
        }
        found = atomic_load(&zone->found);

        if (dir != NULL) {
            totals_rings(dir, &sum);
        }

        if (atomic_load(&zone->seq) == seq) {
            break;
        }
    }

    totals_sum(&sum, found, replayed, drops, out);

    if (dir != NULL) {
        (void) closedir(dir);
    }

    return 0;
}
