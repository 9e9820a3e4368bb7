/*
 * The ring: a page of shared words, the rule area, and the frames, which are
 * mapped twice in a row so that none is ever split.  The one word that makes a
 * frame exist is `committed`; whatever dies before its store leaves nothing
 * half seen.  Counters are written as a pair of copies of which a sequence
 * number names the valid one: a crash in the middle leaves the older copy.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ring_private.h"

#include <string.h>

#include "ngx_http_capture_crc.h"

/* gcc's thread sanitizer knows no fences; a locked word orders as well */
#if defined(__SANITIZE_THREAD__)
static _Atomic int  ring_fence_word;
#define ring_fence(order)                                                     \
    ((void) (order), (void) atomic_fetch_add(&ring_fence_word, 0))
#else
#define ring_fence(order)  atomic_thread_fence(order)
#endif


/* Latches: the writer fills the copy that is not named, then names it. */

static void
latch_write(_Atomic uint64_t *seq, _Atomic uint64_t *copies, size_t words,
    const void *from)
{
    const uint64_t    *values = from;
    _Atomic uint64_t  *copy;
    uint64_t           now;

    now = atomic_load_explicit(seq, memory_order_relaxed);
    copy = copies + ((now + 1) & 1) * words;

    /* no reader of this copy may see new words under the old number */
    ring_fence(memory_order_release);

    for (size_t i = 0; i < words; i++) {
        atomic_store_explicit(copy + i, values[i], memory_order_relaxed);
    }

    atomic_store_explicit(seq, now + 1, memory_order_release);
}


static void
latch_read(_Atomic uint64_t *seq, _Atomic uint64_t *copies, size_t words,
    void *to)
{
    _Atomic uint64_t  *copy;
    uint64_t          *values = to;
    uint64_t           now, then;

    then = atomic_load_explicit(seq, memory_order_acquire);

    do {
        now = then;
        copy = copies + (now & 1) * words;

        for (size_t i = 0; i < words; i++) {
            values[i] = atomic_load_explicit(copy + i, memory_order_relaxed);
        }

        ring_fence(memory_order_acquire);
        then = atomic_load_explicit(seq, memory_order_relaxed);
    } while (then != now);
}


void
capture_ring_read_shared(struct ring_shared *s, struct capture_ring_state *out)
{
    out->id = s->id;

    /* the shipper's first: it never takes what is not committed yet */
    latch_read(&s->ship.seq, s->ship.words[0], SHIP_WORDS, &out->ship);
    latch_read(&s->loop.seq, s->loop.words[0], LOOP_WORDS, &out->loop);
    out->committed = atomic_load_explicit(&s->committed, memory_order_acquire);
}


/* Rule sets: length, bytes, padded to 8 */

int
capture_ring_add_rules(struct capture_ring *ring, const void *rules, size_t len)
{
    uint32_t   used, length;
    uint8_t   *area;
    size_t     need, at, skip;
    int        number;

    area = ring->map + RING_HEADER;
    used = atomic_load_explicit(&ring->shared->rules_used,
                                memory_order_relaxed);

    if (len > RING_RULES) {
        return -1;
    }

    need = (sizeof(length) + len + 7) & ~(size_t) 7;
    if (need > RING_RULES - used) {
        return -1;
    }

    number = 0;

    for (at = 0; at < used; at += skip) {
        memcpy(&length, area + at, sizeof(length));
        skip = (sizeof(length) + length + 7) & ~(size_t) 7;
        number++;
    }

    length = (uint32_t) len;
    memcpy(area + used, &length, sizeof(length));
    if (len > 0) {
        memcpy(area + used + sizeof(length), rules, len);
    }

    atomic_store_explicit(&ring->shared->rules_used, used + (uint32_t) need,
                          memory_order_release);
    return number;
}


const void *
capture_ring_rules(struct capture_ring *ring, uint32_t number, size_t *len)
{
    uint32_t        length;
    const uint8_t  *area;
    size_t          used, at;

    area = ring->map + RING_HEADER;
    used = atomic_load_explicit(&ring->shared->rules_used,
                                memory_order_acquire);
    if (used > RING_RULES) {
        return NULL;
    }

    for (at = 0; used - at >= sizeof(length); number--) {
        memcpy(&length, area + at, sizeof(length));
        if (length > used - at - sizeof(length)) {
            return NULL;
        }

        if (number == 0) {
            *len = length;
            return area + at + sizeof(length);
        }

        at += (sizeof(length) + length + 7) & ~(size_t) 7;
        if (at > used) {
            return NULL;
        }
    }

    return NULL;
}


/* Producer */

struct capture_frame *
capture_ring_reserve(struct capture_ring *ring, size_t size)
{
    struct capture_frame  *f;
    uint64_t               used;

    if (size < sizeof(*f) || size > UINT32_MAX - 7) {
        return NULL;
    }

    size = (size + 7) & ~(size_t) 7;
    used = ring->write_off - ring->free_off;

    if (size > ring->size - used) {
        ring->free_off = atomic_load_explicit(&ring->shared->released_off,
                                              memory_order_acquire);
        used = ring->write_off - ring->free_off;

        if (size > ring->size - used) {
            return NULL;
        }
    }

    f = (struct capture_frame *) (void *)
            (ring->data + ring->write_off % ring->size);
    f->size = (uint32_t) size;
    return f;
}


static uint32_t
frame_crc(const struct capture_frame *f)
{
    struct capture_frame  head;

    memcpy(&head, f, sizeof(head));
    head.crc = 0;
    return capture_crc32c(0, &head, sizeof(head));
}


void
capture_ring_commit(struct capture_ring *ring, struct capture_frame *f)
{
    f->magic = CAPTURE_FRAME_MAGIC;
    f->seq = ring->write_seq;
    f->crc = frame_crc(f);

    ring->write_off += f->size;
    ring->write_seq++;

    atomic_store_explicit(&ring->shared->write_off, ring->write_off,
                          memory_order_relaxed);
    atomic_store_explicit(&ring->shared->committed, ring->write_seq,
                          memory_order_release);
}


enum capture_drop
capture_ring_full_reason(struct capture_ring *ring)
{
    return atomic_load_explicit(&ring->shared->spool_full,
                                memory_order_relaxed)
        ? CAPTURE_DROP_SPOOL_FULL : CAPTURE_DROP_RING;
}


struct capture_loop_counters *
capture_ring_loop_begin(struct capture_ring *ring)
{
    return &ring->loop;
}


void
capture_ring_loop_end(struct capture_ring *ring)
{
    latch_write(&ring->shared->loop.seq, ring->shared->loop.words[0],
                LOOP_WORDS, &ring->loop);
}


/* Consumer */

void
capture_ring_first(struct capture_ring *ring, struct capture_cursor *c)
{
    c->seq = atomic_load(&ring->shared->released);
    c->off = atomic_load(&ring->shared->released_off);
}


const struct capture_frame *
capture_ring_next(struct capture_ring *ring, struct capture_cursor *c, int *bad)
{
    const struct capture_frame  *f;
    uint64_t                     written, room;

    *bad = 0;

    if (c->seq >= atomic_load_explicit(&ring->shared->committed,
                                       memory_order_acquire))
    {
        return NULL;
    }

    written = atomic_load_explicit(&ring->shared->write_off,
                                   memory_order_relaxed);
    room = written - c->off;
    f = (const struct capture_frame *) (const void *)
            (ring->data + c->off % ring->size);

    if (written < c->off || room > ring->size || room < sizeof(*f)
        || f->magic != CAPTURE_FRAME_MAGIC || f->seq != c->seq
        || f->size < sizeof(*f) || f->size > room || f->size % 8 != 0
        || f->pieces_len > f->size - sizeof(*f) || f->crc != frame_crc(f))
    {
        *bad = 1;
        return NULL;
    }

    c->off += f->size;
    c->seq++;
    return f;
}


uint64_t
capture_ring_skip(struct capture_ring *ring, struct capture_cursor *c)
{
    uint64_t  committed, again, lost;

    /* the offset belongs to a count that did not move meanwhile */
    do {
        committed = atomic_load(&ring->shared->committed);
        c->off = atomic_load(&ring->shared->write_off);
        again = atomic_load(&ring->shared->committed);
    } while (committed != again);

    lost = committed - c->seq;
    c->seq = committed;
    return lost;
}


void
capture_ring_release(struct capture_ring *ring, const struct capture_cursor *c)
{
    atomic_store_explicit(&ring->shared->released, c->seq,
                          memory_order_release);
    atomic_store_explicit(&ring->shared->released_off, c->off,
                          memory_order_release);
}


uint64_t
capture_ring_committed(struct capture_ring *ring)
{
    return atomic_load_explicit(&ring->shared->committed,
                                memory_order_acquire);
}


uint64_t
capture_ring_released(struct capture_ring *ring)
{
    return atomic_load_explicit(&ring->shared->released,
                                memory_order_acquire);
}


uint64_t
capture_ring_taken(struct capture_ring *ring)
{
    uint64_t  taken;

    taken = ring->ship.acked + ring->ship.spooled;

    for (unsigned i = 0; i < CAPTURE_DROP_COUNT; i++) {
        taken += ring->ship.drops[i];
    }

    return taken;
}


struct capture_ship_counters *
capture_ring_ship_begin(struct capture_ring *ring)
{
    return &ring->ship;
}


void
capture_ring_ship_end(struct capture_ring *ring)
{
    latch_write(&ring->shared->ship.seq, ring->shared->ship.words[0],
                SHIP_WORDS, &ring->ship);
}


void
capture_ring_set_acked(struct capture_ring *ring, const char *run_id,
    int64_t mono_us)
{
    uint64_t  words[CAPTURE_RUN_ID / 8] = { 0 };

    memcpy(words, run_id, strnlen(run_id, CAPTURE_RUN_ID));

    for (unsigned i = 0; i < CAPTURE_RUN_ID / 8; i++) {
        atomic_store_explicit(&ring->shared->run_id[i], words[i],
                              memory_order_relaxed);
    }

    atomic_store_explicit(&ring->shared->acked_us, mono_us,
                          memory_order_relaxed);
}


void
capture_ring_get_acked(struct capture_ring *ring,
    char run_id[CAPTURE_RUN_ID + 1], int64_t *mono_us)
{
    uint64_t  word;

    for (unsigned i = 0; i < CAPTURE_RUN_ID / 8; i++) {
        word = atomic_load(&ring->shared->run_id[i]);
        memcpy(run_id + i * 8, &word, 8);
    }

    run_id[CAPTURE_RUN_ID] = '\0';
    *mono_us = atomic_load(&ring->shared->acked_us);
}


/*
 * The two fences see to it that either the producer finds the flag or the
 * consumer finds the frame.
 */
int
capture_ring_sleep(struct capture_ring *ring, uint64_t seq)
{
    atomic_store_explicit(&ring->shared->wake_off, 0, memory_order_relaxed);
    atomic_store_explicit(&ring->shared->asleep, 1, memory_order_relaxed);
    ring_fence(memory_order_seq_cst);

    if (atomic_load_explicit(&ring->shared->committed, memory_order_acquire)
        != seq)
    {
        capture_ring_awake(ring);
        return 0;
    }

    return 1;
}


int
capture_ring_doze(struct capture_ring *ring, const struct capture_cursor *c,
    size_t bytes)
{
    uint64_t  wake;
    size_t    used, size, room;

    capture_ring_usage(ring, &used, &size);
    room = used < size ? (size - used) / 2 : 0;
    wake = c->off + (bytes < room ? bytes : room);

    atomic_store_explicit(&ring->shared->wake_off, wake, memory_order_relaxed);
    atomic_store_explicit(&ring->shared->asleep, 1, memory_order_relaxed);
    ring_fence(memory_order_seq_cst);

    if (atomic_load_explicit(&ring->shared->write_off, memory_order_acquire)
        >= wake)
    {
        capture_ring_awake(ring);
        return 0;
    }

    return 1;
}


void
capture_ring_awake(struct capture_ring *ring)
{
    atomic_store_explicit(&ring->shared->asleep, 0, memory_order_relaxed);
}


int
capture_ring_asleep(struct capture_ring *ring)
{
    ring_fence(memory_order_seq_cst);

    if (!atomic_load_explicit(&ring->shared->asleep, memory_order_relaxed)
        || ring->write_off < atomic_load_explicit(&ring->shared->wake_off,
                                                  memory_order_relaxed))
    {
        return 0;
    }

    return (int) atomic_exchange_explicit(&ring->shared->asleep, 0,
                                          memory_order_relaxed);
}


void
capture_ring_set_spool_full(struct capture_ring *ring, int full)
{
    atomic_store_explicit(&ring->shared->spool_full, (uint32_t) (full != 0),
                          memory_order_relaxed);
}


void
capture_ring_usage(struct capture_ring *ring, size_t *used, size_t *size)
{
    uint64_t  freed, bytes;

    /* freed first: it may be older than what is written, never newer */
    freed = atomic_load_explicit(&ring->shared->released_off,
                                 memory_order_acquire);
    bytes = atomic_load_explicit(&ring->shared->write_off,
                                 memory_order_acquire) - freed;

    *used = (size_t) (bytes < ring->size ? bytes : ring->size);
    *size = (size_t) ring->size;
}


int
capture_ring_anonymous(struct capture_ring *ring)
{
    return ring->dirfd == -1;
}


/* Pictures */

void
capture_ring_state(struct capture_ring *ring, struct capture_ring_state *out)
{
    capture_ring_read_shared(ring->shared, out);
}
