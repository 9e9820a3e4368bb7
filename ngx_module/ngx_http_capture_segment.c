/* A segment: written by write(2) into its space, read through a window. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "ngx_http_capture_crc.h"
#include "ngx_http_capture_record.h"

#define SEGMENT_MAGIC    0x314c4f4f50535043ull     /* "CPSPOOL1" */
#define FRAME_MAGIC      0x31535043u               /* "CPS1" */
#define HEAD_COPY        64
#define PROGRESS_OFF     128
#define WINDOW           (256 * 1024)

struct segment_head {
    uint64_t  magic;
    uint64_t  salt;
    int64_t   created_s;
    uint32_t  crc;                         /* of the words above */
    uint32_t  pad;
};

struct segment_progress {
    struct capture_progress  p;
    uint32_t  crc;
    uint32_t  pad;
};

struct segment_frame {
    uint32_t  magic;
    uint32_t  len;                         /* of the command */
    uint32_t  head_crc;                    /* salt, len, id */
    uint32_t  crc;                         /* salt, command */
    uint8_t   id[16];
};

_Static_assert(sizeof(struct segment_frame) == 32, "frame head");
_Static_assert(PROGRESS_OFF + sizeof(struct segment_progress)
               <= CAPTURE_SEGMENT_HEAD, "segment head");


static uint64_t
padded(uint64_t len)
{
    return (len + 7) & ~(uint64_t) 7;
}


static uint32_t
salted(const struct capture_segment *g, const void *p, size_t len)
{
    return capture_crc32c(capture_crc32c(0, &g->salt, sizeof(g->salt)), p,
                          len);
}


static uint32_t
frame_head_crc(const struct capture_segment *g, const struct segment_frame *f)
{
    uint32_t  crc;

    crc = salted(g, &f->len, sizeof(f->len));
    return capture_crc32c(crc, f->id, sizeof(f->id));
}


static int
write_all(int fd, const void *p, size_t len, uint64_t off)
{
    ssize_t  n;

    n = pwrite(fd, p, len, (off_t) off);
    if (n == (ssize_t) len) {
        return 0;
    }

    errno = n >= 0 ? ENOSPC : errno;
    return -1;
}


void
capture_segment_close(struct capture_segment *g)
{
    if (g->fd != -1) {
        (void) close(g->fd);
        g->fd = -1;
    }

    free(g->window);
    g->window = NULL;
    g->window_size = 0;
    g->window_len = 0;
}


void
capture_segment_note(struct capture_segment *g)
{
    struct segment_progress  line;

    memset(&line, 0, sizeof(line));
    line.p = g->progress;
    line.crc = salted(g, &line.p, sizeof(line.p));
    (void) write_all(g->fd, &line, sizeof(line), PROGRESS_OFF);
}


/* Writing */

static int
head_write(struct capture_segment *g)
{
    struct segment_head  head;

    memset(&head, 0, sizeof(head));
    head.magic = SEGMENT_MAGIC;
    head.salt = g->salt;
    head.created_s = (int64_t) time(NULL);
    head.crc = capture_crc32c(0, &head, offsetof(struct segment_head, crc));

    return write_all(g->fd, &head, sizeof(head), 0) == 0
           && write_all(g->fd, &head, sizeof(head), HEAD_COPY) == 0 ? 0 : -1;
}


static int
segment_allocate(int fd, uint64_t size)
{
    int  err;

    do {
        err = posix_fallocate(fd, 0, (off_t) size);
    } while (err == EINTR);

    errno = err;
    return err == 0 ? 0 : -1;
}


int
capture_segment_create(struct capture_segment *g, int dirfd, const char *name,
    uint64_t size, uint64_t zone)
{
    int  err;

    memset(g, 0, sizeof(*g));
    g->fd = openat(dirfd, name,
                   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (g->fd == -1) {
        return -1;
    }

    if (getrandom(&g->salt, sizeof(g->salt), 0) != sizeof(g->salt)
        || flock(g->fd, LOCK_EX | LOCK_NB) == -1
        || segment_allocate(g->fd, size) == -1 || head_write(g) == -1)
    {
        err = errno;
        (void) unlinkat(dirfd, name, 0);
        capture_segment_close(g);
        errno = err;
        return -1;
    }

    memcpy(g->name, name, strnlen(name, sizeof(g->name) - 1));
    g->size = size;
    g->off = CAPTURE_SEGMENT_HEAD;
    g->progress.zone = zone;
    g->progress.done_off = CAPTURE_SEGMENT_HEAD;
    capture_segment_note(g);
    return 0;
}


int
capture_segment_append(struct capture_segment *g, const uint8_t id[16],
    const char *command, size_t len)
{
    struct segment_frame  head;
    struct iovec          parts[2];
    ssize_t               n;

    if (len > CAPTURE_MAX_COMMAND
        || g->size - g->off < sizeof(head) + padded(len))
    {
        return 1;
    }

    head.magic = FRAME_MAGIC;
    head.len = (uint32_t) len;
    memcpy(head.id, id, sizeof(head.id));
    head.head_crc = frame_head_crc(g, &head);
    head.crc = salted(g, command, len);

    parts[0].iov_base = &head;
    parts[0].iov_len = sizeof(head);
    parts[1].iov_base = (char *) (uintptr_t) command;
    parts[1].iov_len = len;

    n = pwritev(g->fd, parts, 2, (off_t) g->off);
    if (n != (ssize_t) (sizeof(head) + len)) {
        errno = n >= 0 ? ENOSPC : errno;
        return -1;
    }

    g->off += sizeof(head) + padded(len);
    g->records++;
    return 0;
}


void
capture_segment_finish(struct capture_segment *g)
{
    if (g->fd == -1) {
        return;
    }

    g->progress.records = g->records;
    capture_segment_note(g);
    (void) !ftruncate(g->fd, (off_t) g->off);
    capture_segment_close(g);
}


/* Reading */

static int
head_read(struct capture_segment *g, off_t at)
{
    struct segment_head  head;

    if (pread(g->fd, &head, sizeof(head), at) != (ssize_t) sizeof(head)
        || head.magic != SEGMENT_MAGIC
        || head.crc != capture_crc32c(0, &head,
                                      offsetof(struct segment_head, crc)))
    {
        return -1;
    }

    g->salt = head.salt;
    return 0;
}


static void
progress_read(struct capture_segment *g)
{
    struct segment_progress  line;

    if (pread(g->fd, &line, sizeof(line), PROGRESS_OFF)
        == (ssize_t) sizeof(line)
        && line.crc == salted(g, &line.p, sizeof(line.p))
        && line.p.done_off >= CAPTURE_SEGMENT_HEAD
        && line.p.done_off <= g->size && line.p.done_off % 8 == 0)
    {
        g->progress = line.p;
        return;
    }

    memset(&g->progress, 0, sizeof(g->progress));
    g->progress.done_off = CAPTURE_SEGMENT_HEAD;
}


int
capture_segment_open(struct capture_segment *g, int dirfd, const char *name)
{
    struct stat  st;
    int          err;

    memset(g, 0, sizeof(*g));
    g->fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (g->fd == -1) {
        return -1;
    }

    /* unlinked between the listing and the lock: somebody else read it */
    if (flock(g->fd, LOCK_EX | LOCK_NB) == -1 || fstat(g->fd, &st) == -1) {
        err = errno;
        capture_segment_close(g);
        errno = err;
        return -1;
    }

    if (st.st_nlink == 0 || strlen(name) >= sizeof(g->name)) {
        capture_segment_close(g);
        errno = ENOENT;
        return -1;
    }

    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()
        || (head_read(g, 0) != 0 && head_read(g, HEAD_COPY) != 0))
    {
        capture_segment_close(g);
        errno = EPROTO;
        return -1;
    }

    memcpy(g->name, name, strlen(name) + 1);
    g->size = (uint64_t) st.st_size;
    g->off = CAPTURE_SEGMENT_HEAD;
    progress_read(g);
    return 0;
}


/* LEN bytes at OFF, or NULL: past the end (errno 0), or errno. */
static const char *
window_at(struct capture_segment *g, uint64_t off, size_t len)
{
    size_t   want;
    char    *p;
    ssize_t  n;

    errno = 0;

    if (off > g->size || g->size - off < len) {
        return NULL;
    }

    if (off >= g->window_off && off - g->window_off <= g->window_len
        && g->window_len - (off - g->window_off) >= len)
    {
        return g->window + (off - g->window_off);
    }

    want = len > WINDOW ? len : WINDOW;
    if (want > g->window_size) {
        p = realloc(g->window, want);
        if (p == NULL) {
            return NULL;
        }

        g->window = p;
        g->window_size = want;
    }

    g->window_len = 0;
    n = pread(g->fd, g->window, g->window_size, (off_t) off);
    if (n < (ssize_t) len) {
        errno = n == -1 ? errno : EIO;
        return NULL;
    }

    g->window_off = off;
    g->window_len = (size_t) n;
    return g->window;
}


/* 1 with the command of a whole frame at g->off, 0 when none is there. */
static int
frame_at(struct capture_segment *g, const char **command, size_t *len)
{
    struct segment_frame   f;
    const char            *p;

    p = window_at(g, g->off, sizeof(f));
    if (p == NULL) {
        return errno == 0 ? 0 : -1;
    }

    memcpy(&f, p, sizeof(f));
    if (f.magic != FRAME_MAGIC || f.len > CAPTURE_MAX_COMMAND
        || f.head_crc != frame_head_crc(g, &f))
    {
        return 0;
    }

    p = window_at(g, g->off, sizeof(f) + f.len);
    if (p == NULL) {
        return errno == 0 ? 0 : -1;
    }

    p += sizeof(f);
    if (f.crc != salted(g, p, f.len) || !capture_record_check(p, f.len)) {
        return 0;
    }

    *command = p;
    *len = f.len;
    return 1;
}


int
capture_segment_next(struct capture_segment *g, const char **command,
    size_t *len, uint64_t *torn)
{
    const char  *p;
    uint64_t     word;
    int          rc, damaged;

    damaged = 0;

    while (g->off < g->size) {
        rc = frame_at(g, command, len);
        if (rc == -1) {
            return -1;
        }

        if (rc == 1) {
            *torn += (uint64_t) damaged;
            g->off += sizeof(struct segment_frame) + padded(*len);
            g->records++;
            return 1;
        }

        /* space that was allocated and never written is no damage */
        p = window_at(g, g->off, sizeof(word));
        if (p == NULL && errno != 0) {
            return -1;
        }

        word = 1;
        if (p != NULL) {
            memcpy(&word, p, sizeof(word));
        }

        damaged |= word != 0;
        g->off += sizeof(word);
    }

    *torn += (uint64_t) damaged;
    g->off = g->size;
    return 0;
}


void
capture_segment_seek(struct capture_segment *g, uint64_t off, uint64_t records)
{
    g->off = off < CAPTURE_SEGMENT_HEAD ? CAPTURE_SEGMENT_HEAD : off;
    g->records = records;
}
