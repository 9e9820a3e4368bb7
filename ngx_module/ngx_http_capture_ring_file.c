/*
 * The ring's memory: a file on tmpfs that its worker makes and locks and a
 * later worker adopts, or anonymous memory where no file can be had.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ring_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_MAGIC      0x31474e4952504143ull      /* "CAPRING1" */
#define RING_MAX_DATA   ((uint64_t) 1 << 40)
#define RING_STEP       ((uint64_t) 256 * 1024)


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

    /* its owner removed it while it was being opened */
    if (st.st_nlink == 0) {
        errno = ENOENT;
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
    struct capture_ring_state  state;
    struct capture_ring       *ring;
    uint64_t                   data_size;
    int                        err;

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

    capture_ring_state(ring, &state);
    ring->loop = state.loop;
    ring->ship = state.ship;

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

    capture_ring_read_shared(shared, out);
    (void) munmap(shared, RING_HEADER);
    return 0;
}
