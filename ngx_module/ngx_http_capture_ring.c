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

#include "ngx_http_capture_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ngx_http_capture_crc.h"

#define RING_MAGIC      0x31474e4952504143ull      /* "CAPRING1" */
#define RING_HEADER     4096
#define RING_RULES      (256 * 1024)
#define RING_DATA       (RING_HEADER + RING_RULES)
#define RING_MAX_DATA   ((uint64_t) 1 << 40)
#define RING_NAME       64
#define RING_STEP       ((uint64_t) 256 * 1024)

/* gcc's thread sanitizer knows no fences; a locked word orders as well */
#if defined(__SANITIZE_THREAD__)
static _Atomic int  ring_fence_word;
#define ring_fence(order)                                                     \
    ((void) (order), (void) atomic_fetch_add(&ring_fence_word, 0))
#else
#define ring_fence(order)  atomic_thread_fence(order)
#endif

#define LOOP_WORDS  (sizeof(struct capture_loop_counters) / sizeof(uint64_t))
#define SHIP_WORDS  (sizeof(struct capture_ship_counters) / sizeof(uint64_t))

struct ring_latch_loop {
    _Alignas(64) _Atomic uint64_t  seq;
    _Atomic uint64_t               words[2][LOOP_WORDS];
};

struct ring_latch_ship {
    _Alignas(64) _Atomic uint64_t  seq;
    _Atomic uint64_t               words[2][SHIP_WORDS];
};

struct ring_shared {
    uint64_t           magic;
    uint64_t           id;                 /* random */
    uint64_t           data_size;
    uint32_t           loop_words, ship_words, frame_size;
    _Atomic uint32_t   rules_used;         /* bytes of the rule area */

    /* the loop's line */
    _Alignas(64) _Atomic uint64_t  committed;
    _Atomic uint64_t   write_off;          /* of the last commit's end */
    struct ring_latch_loop  loop;

    /* the shipper's line */
    _Alignas(64) _Atomic uint64_t  released;
    _Atomic uint64_t   released_off;
    _Atomic uint32_t   spool_full;
    _Atomic int64_t    acked_us;
    _Atomic uint64_t   run_id[CAPTURE_RUN_ID / 8];
    struct ring_latch_ship  ship;

    /* both */
    _Alignas(64) _Atomic uint32_t  asleep;
    _Atomic uint64_t   wake_off;           /* not woken before; 0: at once */
};

_Static_assert(sizeof(struct ring_shared) <= RING_HEADER, "ring header");
_Static_assert(sizeof(struct capture_frame) % 8 == 0, "frame alignment");

struct capture_ring {
    struct ring_shared  *shared;
    uint8_t             *map;
    uint8_t             *data;
    uint64_t             size;
    int                  fd;
    int                  dirfd;            /* -1: anonymous */
    char                 name[RING_NAME];

    /* the producer's own */
    uint64_t             write_off;
    uint64_t             write_seq;
    uint64_t             free_off;         /* released_off as last seen */
    struct capture_loop_counters  loop;

    /* the consumer's own */
    struct capture_ship_counters  ship;
};


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


static void
shared_read(struct ring_shared *s, struct capture_ring_state *out)
{
    out->id = s->id;

    /* the shipper's first: it never takes what is not committed yet */
    latch_read(&s->ship.seq, s->ship.words[0], SHIP_WORDS, &out->ship);
    latch_read(&s->loop.seq, s->loop.words[0], LOOP_WORDS, &out->loop);
    out->committed = atomic_load_explicit(&s->committed, memory_order_acquire);
}


/* Mapping */

static int
ring_map(struct capture_ring *ring, int fd, uint64_t data_size)
{
    uint8_t  *base, *twin;
    size_t    total;

    total = RING_DATA + 2 * (size_t) data_size;

    /* the address range first, then the file twice into it */
    base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return -1;
    }

    if (mmap(base, RING_DATA + (size_t) data_size, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    {
        (void) munmap(base, total);
        return -1;
    }

    twin = base + RING_DATA + data_size;

    if (mmap(twin, (size_t) data_size, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, fd, RING_DATA) == MAP_FAILED)
    {
        (void) munmap(base, total);
        return -1;
    }

    (void) madvise(base, total, MADV_DONTDUMP);

    ring->map = base;
    ring->shared = (struct ring_shared *) (void *) base;
    ring->data = base + RING_DATA;
    ring->size = data_size;
    return 0;
}


static void
ring_unmap(struct capture_ring *ring)
{
    if (ring->map != NULL) {
        (void) munmap(ring->map, RING_DATA + 2 * (size_t) ring->size);
    }
}


static int
ring_allocate(int fd, off_t size)
{
    int  err;

    do {
        err = posix_fallocate(fd, 0, size);
    } while (err == EINTR);

    errno = err;
    return err == 0 ? 0 : -1;
}


/* A directory in /dev/shm may have been made by anybody: only ours will do. */
static int
ring_open_dir(const char *dir)
{
    struct stat  st;
    int          fd;

    fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    if (fstat(fd, &st) == -1 || (st.st_mode & 022) != 0
        || (st.st_uid != geteuid() && st.st_uid != 0))
    {
        (void) close(fd);
        errno = EPERM;
        return -1;
    }

    return fd;
}


/* Made and locked under a name that adopters do not look at. */
static int
ring_create_file(struct capture_ring *ring, uint64_t id, off_t size)
{
    char  hidden[RING_NAME];
    int   fd, err;

    (void) snprintf(ring->name, sizeof(ring->name), "%ld-%016llx.ring",
                    (long) getpid(), (unsigned long long) id);
    (void) snprintf(hidden, sizeof(hidden), "%ld-%016llx.new",
                    (long) getpid(), (unsigned long long) id);

    fd = openat(ring->dirfd, hidden,
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1) {
        return -1;
    }

    if (flock(fd, LOCK_EX | LOCK_NB) == -1 || ring_allocate(fd, size) == -1) {
        err = errno;
        (void) unlinkat(ring->dirfd, hidden, 0);
        (void) close(fd);
        errno = err;
        return -1;
    }

    return fd;
}


static int
ring_publish_file(struct capture_ring *ring, uint64_t id)
{
    char  hidden[RING_NAME];

    if (ring->dirfd == -1) {
        return 0;
    }

    (void) snprintf(hidden, sizeof(hidden), "%ld-%016llx.new",
                    (long) getpid(), (unsigned long long) id);

    if (renameat(ring->dirfd, hidden, ring->dirfd, ring->name) == -1) {
        (void) unlinkat(ring->dirfd, hidden, 0);
        return -1;
    }

    return 0;
}


static int
ring_create_anonymous(struct capture_ring *ring, off_t size)
{
    int  fd;

    if (ring->dirfd != -1) {
        (void) close(ring->dirfd);
        ring->dirfd = -1;
    }

    fd = memfd_create("ngx-capture-ring", MFD_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    if (ftruncate(fd, size) == -1) {
        (void) close(fd);
        return -1;
    }

    return fd;
}


static uint64_t
ring_random(void)
{
    uint64_t  id;

    if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
        id = (uint64_t) getpid() << 32 ^ (uint64_t) (uintptr_t) &id;
    }

    return id;
}


static struct capture_ring *
ring_new(void)
{
    struct capture_ring  *ring;

    ring = calloc(1, sizeof(*ring));
    if (ring != NULL) {
        ring->fd = -1;
        ring->dirfd = -1;
    }

    return ring;
}


static void
ring_free(struct capture_ring *ring)
{
    ring_unmap(ring);

    if (ring->fd != -1) {
        (void) close(ring->fd);
    }

    if (ring->dirfd != -1) {
        (void) close(ring->dirfd);
    }

    free(ring);
}


struct capture_ring *
capture_ring_create(const char *dir, size_t size, const char **warning)
{
    struct capture_ring  *ring;
    uint64_t              id, page;
    off_t                 total;
    int                   err;

    *warning = NULL;

    page = (uint64_t) sysconf(_SC_PAGESIZE);
    size = (size_t) ((size + page - 1) / page * page);
    if (size == 0 || size > RING_MAX_DATA) {
        errno = EINVAL;
        return NULL;
    }

    ring = ring_new();
    if (ring == NULL) {
        return NULL;
    }

    id = ring_random();
    total = (off_t) (RING_DATA + size);

    ring->dirfd = ring_open_dir(dir);
    if (ring->dirfd != -1) {
        ring->fd = ring_create_file(ring, id, total);
    }

    if (ring->fd == -1) {
        *warning = errno == ENOSPC
            ? "the ring's file system is full: the ring is anonymous memory "
              "and a killed worker loses it; enlarge it or lower "
              "capture_buffer"
            : "the ring's directory cannot be used: the ring is anonymous "
              "memory and a killed worker loses it; check owner and mode of "
              "capture_buffer's path";
        ring->fd = ring_create_anonymous(ring, total);
    }

    if (ring->fd == -1 || ring_map(ring, ring->fd, size) == -1) {
        goto failed;
    }

    ring->shared->magic = RING_MAGIC;
    ring->shared->id = id;
    ring->shared->data_size = size;
    ring->shared->loop_words = LOOP_WORDS;
    ring->shared->ship_words = SHIP_WORDS;
    ring->shared->frame_size = sizeof(struct capture_frame);

    if (ring_publish_file(ring, id) == -1) {
        goto failed;
    }

    /* keeps raw requests out of the swap where the limit allows it */
    (void) mlock(ring->map, RING_DATA + size);

    return ring;

failed:

    err = errno;
    ring_free(ring);
    errno = err;
    return NULL;
}


/* Adoption: nothing in the file is believed before it is checked. */

static int
ring_check_file(int fd, uint64_t *data_size)
{
    struct ring_shared  head;
    struct stat         st;
    uint64_t            page;

    page = (uint64_t) sysconf(_SC_PAGESIZE);

    if (fstat(fd, &st) == -1) {
        return -1;
    }

    errno = EPROTO;

    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()
        || st.st_size < (off_t) (RING_DATA + page)
        || pread(fd, &head, sizeof(head), 0) != (ssize_t) sizeof(head))
    {
        return -1;
    }

    if (head.magic != RING_MAGIC || head.loop_words != LOOP_WORDS
        || head.ship_words != SHIP_WORDS
        || head.frame_size != sizeof(struct capture_frame)
        || head.data_size > RING_MAX_DATA || head.data_size % page != 0
        || head.data_size != (uint64_t) st.st_size - RING_DATA)
    {
        return -1;
    }

    *data_size = head.data_size;
    return 0;
}


static int
ring_check_words(struct capture_ring *ring)
{
    struct ring_shared  *s = ring->shared;
    uint64_t             committed, released, written, freed, taken;

    committed = atomic_load(&s->committed);
    released = atomic_load(&s->released);
    written = atomic_load(&s->write_off);
    freed = atomic_load(&s->released_off);
    taken = capture_ring_taken(ring);

    if (released > committed || taken > committed || freed > written
        || written - freed > ring->size || freed % 8 != 0
        || atomic_load(&s->rules_used) > RING_RULES)
    {
        errno = EPROTO;
        return -1;
    }

    return 0;
}


/*
 * Released is stored before its offset: a crash between the two leaves the
 * offset behind, at frames that are still whole.
 */
static void
ring_repair(struct capture_ring *ring)
{
    const struct capture_frame  *f;
    struct capture_cursor        c;
    uint64_t                     released;
    int                          bad;

    capture_ring_first(ring, &c);
    released = c.seq;

    if (atomic_load(&ring->shared->write_off) - c.off < sizeof(*f)) {
        return;
    }

    f = (const struct capture_frame *) (const void *)
            (ring->data + c.off % ring->size);

    if (f->magic != CAPTURE_FRAME_MAGIC || f->seq >= released) {
        return;
    }

    c.seq = f->seq;
    while (c.seq < released && capture_ring_next(ring, &c, &bad) != NULL) {
        /* void */
    }

    if (c.seq == released) {
        capture_ring_release(ring, &c);
    }
}


struct capture_ring *
capture_ring_open(int dirfd, const char *name)
{
    struct capture_ring  *ring;
    uint64_t              data_size;
    int                   err;

    ring = ring_new();
    if (ring == NULL) {
        return NULL;
    }

    if (strlen(name) >= sizeof(ring->name)) {
        errno = EPROTO;
        goto failed;
    }

    memcpy(ring->name, name, strlen(name) + 1);

    ring->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    ring->fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (ring->dirfd == -1 || ring->fd == -1
        || flock(ring->fd, LOCK_EX | LOCK_NB) == -1
        || ring_check_file(ring->fd, &data_size) == -1
        || ring_map(ring, ring->fd, data_size) == -1)
    {
        goto failed;
    }

    latch_read(&ring->shared->loop.seq, ring->shared->loop.words[0],
               LOOP_WORDS, &ring->loop);
    latch_read(&ring->shared->ship.seq, ring->shared->ship.words[0],
               SHIP_WORDS, &ring->ship);

    if (ring_check_words(ring) == -1) {
        goto failed;
    }

    ring_repair(ring);
    return ring;

failed:

    err = errno;
    ring_free(ring);
    errno = err;
    return NULL;
}


/* Gives back the tmpfs pages behind the frames that are not released. */
static void
ring_punch(struct capture_ring *ring)
{
    uint64_t  page, used, start, end, off, n;

    page = (uint64_t) sysconf(_SC_PAGESIZE);
    off = atomic_load(&ring->shared->released_off);
    used = atomic_load(&ring->shared->write_off) - off;

    if (used >= ring->size) {
        return;
    }

    /* the free part, as positions that may run past the end once */
    start = (off + used) % ring->size;
    start = (start + page - 1) / page * page;
    end = (off + used) % ring->size + (ring->size - used);
    end = end / page * page;

    for ( /* void */ ; start < end; start += n) {
        n = end - start;
        if (start < ring->size && n > ring->size - start) {
            n = ring->size - start;
        }

        if (fallocate(ring->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t) (RING_DATA + start % ring->size), (off_t) n)
            == -1)
        {
            return;
        }
    }
}


void
capture_ring_destroy(struct capture_ring *ring)
{
    if (ring == NULL) {
        return;
    }

    if (ring->dirfd != -1) {
        if (capture_ring_released(ring) == capture_ring_committed(ring)) {
            (void) unlinkat(ring->dirfd, ring->name, 0);

        } else {
            ring_punch(ring);
        }
    }

    ring_free(ring);
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


/* In steps: a long call would keep the loop from mapping memory of its own. */

void
capture_ring_populate(struct capture_ring *ring)
{
#ifdef MADV_POPULATE_WRITE
    uint64_t  at, n;

    /* only what the file has for sure: anonymous memory comes as it is used */
    if (ring->dirfd == -1) {
        return;
    }

    for (at = 0; at < ring->size; at += n) {
        n = ring->size - at < RING_STEP ? ring->size - at : RING_STEP;

        if (madvise(ring->data + at, n, MADV_POPULATE_WRITE) != 0) {
            return;                        /* an old kernel: as it comes */
        }
    }
#else
    (void) ring;
#endif
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
    shared_read(ring->shared, out);
}


int
capture_ring_state_file(int dirfd, const char *name,
    struct capture_ring_state *out)
{
    struct ring_shared  *shared;
    uint64_t             data_size;
    int                  fd;

    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    if (ring_check_file(fd, &data_size) == -1) {
        (void) close(fd);
        return -1;
    }

    shared = mmap(NULL, RING_HEADER, PROT_READ, MAP_SHARED, fd, 0);
    (void) close(fd);

    if (shared == MAP_FAILED) {
        return -1;
    }

    shared_read(shared, out);
    (void) munmap(shared, RING_HEADER);
    return 0;
}
