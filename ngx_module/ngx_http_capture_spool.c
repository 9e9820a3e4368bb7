/*
 * The spool's directory.  Names begin with the time of their making, so that
 * the oldest sorts first.  The bound is checked under a lock of the directory,
 * since workers share it.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ngx_http_capture_segment.h"
#include "ngx_http_capture_source.h"
#include "ngx_http_capture_zone.h"

#define HELD_MAX        16
#define LOOK_PERIOD_US  500000             /* between looks that found none */
#define ASIDE_MAX       (64 * 1024 * 1024) /* bytes of set aside records */
#define SEGMENT_LEAST   (64 * 1024)
#define SUFFIX          ".seg"
#define ASIDE           ".refused"

/* A segment that is acknowledged whole and must survive the hold. */
struct held {
    int      fd;
    char     name[CAPTURE_SEGMENT_NAME];
    int64_t  acked_us;
};

struct capture_spool {
    int                      dirfd;
    uint64_t                 max, segment;
    int                      drop_old;
    struct capture_zone     *zone;

    struct capture_segment   out;          /* being written, fd -1: none */
    struct capture_segment   in;           /* being read */
    int                      exhausted;    /* in gave its last record */
    int                      dirty;        /* in's progress is not noted */
    uint64_t                 read_off;     /* end of the last record given */
    uint64_t                 pass_off;     /* of the last with an outcome */
    struct held              held[HELD_MAX];
    unsigned                 nheld;
    char                     run_id[CAPTURE_RUN_ID + 1];
    int64_t                  look_us;
    uint64_t                 torn, given_up;
    unsigned                 serial;
    char                     boot[9];
};


static int64_t
mono_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* The first eight digits of the boot id: names of two boots never meet. */
static void
boot_id(char out[9])
{
    ssize_t  n;
    int      fd;

    memcpy(out, "00000000", 9);
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    n = read(fd, out, 8);
    (void) close(fd);

    if (n != 8) {
        memcpy(out, "00000000", 9);
    }
}


struct capture_spool *
capture_spool_open(const char *dir, uint64_t max, uint64_t segment,
    int drop_old, struct capture_zone *zone)
{
    struct capture_spool  *s;
    struct stat            st;
    int                    err;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    s->out.fd = -1;
    s->in.fd = -1;
    s->zone = zone;
    s->max = max;
    s->drop_old = drop_old;
    boot_id(s->boot);

    /* the bound must hold a few, or dropping the oldest drops everything */
    s->segment = segment > max / 4 ? max / 4 : segment;
    if (s->segment < SEGMENT_LEAST) {
        s->segment = SEGMENT_LEAST;
    }

    s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd == -1) {
        goto failed;
    }

    if (fstat(s->dirfd, &st) == -1) {
        goto failed;
    }

    if ((st.st_mode & 022) != 0
        || (st.st_uid != geteuid() && st.st_uid != 0))
    {
        errno = EPERM;
        goto failed;
    }

    if (faccessat(s->dirfd, ".", R_OK | W_OK | X_OK, AT_EACCESS) == -1) {
        goto failed;
    }

    return s;

failed:

    err = errno;
    if (s->dirfd != -1) {
        (void) close(s->dirfd);
    }
    free(s);
    errno = err;
    return NULL;
}


void
capture_spool_close(struct capture_spool *s)
{
    if (s == NULL) {
        return;
    }

    capture_segment_finish(&s->out);
    capture_segment_close(&s->in);

    for (unsigned i = 0; i < s->nheld; i++) {
        (void) close(s->held[i].fd);
    }

    (void) close(s->dirfd);
    free(s);
}


/* The directory */

static int
has_suffix(const char *name, const char *suffix)
{
    size_t  len, n;

    len = strlen(name);
    n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}


static DIR *
spool_dir(struct capture_spool *s)
{
    DIR  *dir;
    int   fd;

    fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd == -1 ? NULL : fdopendir(fd);

    if (fd != -1 && dir == NULL) {
        (void) close(fd);
    }

    return dir;
}


/* Bytes of all files that end in SUFFIX_. */
static uint64_t
spool_bytes(struct capture_spool *s, const char *suffix)
{
    struct dirent  *entry;
    struct stat     st;
    uint64_t        total;
    DIR            *dir;

    dir = spool_dir(s);
    if (dir == NULL) {
        return UINT64_MAX;
    }

    total = 0;

    while ((entry = readdir(dir)) != NULL) {
        if (has_suffix(entry->d_name, suffix)
            && fstatat(s->dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        {
            total += (uint64_t) st.st_size;
        }
    }

    (void) closedir(dir);
    return total;
}


static int
is_held(const struct capture_spool *s, const char *name)
{
    for (unsigned i = 0; i < s->nheld; i++) {
        if (strcmp(s->held[i].name, name) == 0) {
            return 1;
        }
    }

    return s->in.fd != -1 && strcmp(s->in.name, name) == 0;
}


/* The first name after AFTER that this spool does not hold; 0 when none. */
static int
spool_oldest(struct capture_spool *s, const char *after,
    char name[CAPTURE_SEGMENT_NAME])
{
    struct dirent  *entry;
    DIR            *dir;
    int             found;

    dir = spool_dir(s);
    if (dir == NULL) {
        return 0;
    }

    found = 0;

    while ((entry = readdir(dir)) != NULL) {
        if (!has_suffix(entry->d_name, SUFFIX)
            || strlen(entry->d_name) >= CAPTURE_SEGMENT_NAME
            || strcmp(entry->d_name, after) <= 0
            || (found && strcmp(entry->d_name, name) >= 0)
            || is_held(s, entry->d_name))
        {
            continue;
        }

        memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
        found = 1;
    }

    (void) closedir(dir);
    return found;
}


/* Opening the oldest for reading */

/* Counts the frames of a segment whose writer died; -1 without memory. */
static int
segment_count(struct capture_spool *s, struct capture_segment *g)
{
    const char  *command;
    size_t       len;
    uint64_t     torn;
    int          rc;

    if (g->progress.records != 0) {
        return 0;
    }

    torn = 0;
    while ((rc = capture_segment_next(g, &command, &len, &torn)) == 1) {
        /* void */
    }

    if (rc == -1 && errno == ENOMEM) {
        return -1;
    }

    g->progress.records = g->records;
    s->torn += torn;
    capture_segment_note(g);
    capture_segment_seek(g, 0, 0);
    return 0;
}


/* Of another life of the shared memory: nobody counts its records yet. */
static int
segment_count_in(struct capture_spool *s, struct capture_segment *g)
{
    uint64_t  zone;

    if (segment_count(s, g) != 0) {
        return -1;
    }

    zone = capture_zone_id(s->zone);

    if (g->progress.zone == zone) {
        return 0;
    }

    if (g->progress.records > g->progress.done) {
        capture_zone_found(s->zone, g->progress.records - g->progress.done);
    }

    g->progress.zone = zone;
    capture_segment_note(g);
    return 0;
}


static void
segment_set_aside(struct capture_spool *s, const char *name)
{
    char  aside[CAPTURE_SEGMENT_NAME + 16];

    (void) snprintf(aside, sizeof(aside), "%s.unreadable", name);
    (void) renameat(s->dirfd, name, s->dirfd, aside);
    s->torn++;
}


/* Opens the oldest one that is free, G->fd -1 when there is none. */
static int
segment_take(struct capture_spool *s, struct capture_segment *g)
{
    char  name[CAPTURE_SEGMENT_NAME], after[CAPTURE_SEGMENT_NAME];

    after[0] = '\0';

    while (spool_oldest(s, after, name)) {
        /* what is being written becomes what is read */
        if (s->out.fd != -1 && strcmp(name, s->out.name) == 0) {
            capture_segment_finish(&s->out);
        }

        if (capture_segment_open(g, s->dirfd, name) == 0) {
            if (segment_count_in(s, g) == 0) {
                return 1;
            }

            /* without memory another look will do */
            capture_segment_close(g);
            return 0;
        }

        if (errno == EPROTO) {
            segment_set_aside(s, name);
        }

        memcpy(after, name, sizeof(after));
    }

    return 0;
}


/* Writing */

static void
spool_drop_oldest(struct capture_spool *s)
{
    struct capture_segment  g;
    uint64_t                left;

    if (!segment_take(s, &g)) {
        return;
    }

    left = g.progress.records > g.progress.done
           ? g.progress.records - g.progress.done : 0;
    (void) unlinkat(s->dirfd, g.name, 0);
    capture_zone_dropped(s->zone, CAPTURE_DROP_SPOOL_FULL, left);
    s->given_up += left;
    capture_segment_close(&g);
}


/* The directory is locked.  0, 1 when full. */
static int
spool_room(struct capture_spool *s, uint64_t size)
{
    uint64_t  used, before;

    used = spool_bytes(s, SUFFIX);

    while (used > s->max || size > s->max - used) {
        if (!s->drop_old || size > s->max) {
            return 1;
        }

        before = used;
        spool_drop_oldest(s);
        used = spool_bytes(s, SUFFIX);

        /* nothing could go: others read or write all there is */
        if (used >= before) {
            return 1;
        }
    }

    return 0;
}


static int
spool_rotate(struct capture_spool *s, size_t len)
{
    struct timespec  ts;
    uint64_t         size;
    char             name[CAPTURE_SEGMENT_NAME];
    int              rc;

    capture_segment_finish(&s->out);

    size = CAPTURE_SEGMENT_HEAD + len + 64;
    size = size > s->segment ? size : s->segment;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    (void) snprintf(name, sizeof(name), "%016llx-%s-%d-%u" SUFFIX,
                    (unsigned long long) ts.tv_sec * 1000000
                    + (unsigned long long) ts.tv_nsec / 1000,
                    s->boot, (int) getpid(), s->serial++);

    if (flock(s->dirfd, LOCK_EX) == -1) {
        return -1;
    }

    rc = spool_room(s, size);
    if (rc == 0) {
        rc = capture_segment_create(&s->out, s->dirfd, name, size,
                                    capture_zone_id(s->zone));
    }

    (void) flock(s->dirfd, LOCK_UN);
    return rc;
}


int
capture_spool_append(struct capture_spool *s, const uint8_t id[16],
    const char *command, size_t len)
{
    int  rc, err;

    if (s->out.fd != -1) {
        rc = capture_segment_append(&s->out, id, command, len);
        if (rc == 0) {
            return 0;
        }

        if (rc == -1) {
            /* what is torn at its end is cut off with it */
            err = errno;
            capture_segment_finish(&s->out);
            errno = err;
            return -1;
        }
    }

    rc = spool_rotate(s, len);
    if (rc != 0) {
        return rc;
    }

    s->look_us = 0;
    return capture_segment_append(&s->out, id, command, len);
}


/* Replaying */

/* A pass over IN begins or goes on at OFF. */
static void
reader_seek(struct capture_spool *s, uint64_t off)
{
    s->exhausted = 0;
    s->read_off = off;
    s->pass_off = off;
    capture_segment_seek(&s->in, off, 0);
}


int
capture_spool_next(struct capture_spool *s, const char **command, size_t *len,
    uint64_t *end)
{
    int64_t  now;
    int      rc;

    if (s->in.fd == -1) {
        now = mono_us();
        if (s->nheld == HELD_MAX || now < s->look_us) {
            return 0;
        }

        if (!segment_take(s, &s->in)) {
            s->look_us = now + LOOK_PERIOD_US;
            return 0;
        }

        /* from its start: nobody knows what the last reader's Redis kept */
        reader_seek(s, CAPTURE_SEGMENT_HEAD);
    }

    if (s->exhausted) {
        return 0;
    }

    rc = capture_segment_next(&s->in, command, len, &s->torn);
    if (rc == 1) {
        *end = s->in.off;
        s->read_off = s->in.off;
        return 1;
    }

    /* what is there stays there until it can be read */
    if (rc == -1 && errno == ENOMEM) {
        return 0;
    }

    /* a disk that fails to read is a tear to the end */
    s->torn += rc == -1;
    s->exhausted = 1;
    return 0;
}


void
capture_spool_rewind(struct capture_spool *s)
{
    if (s->in.fd != -1) {
        reader_seek(s, s->pass_off);
    }
}


/* 1 when the record counts: it had no outcome in an earlier pass. */
static int
outcome(struct capture_spool *s, uint64_t end)
{
    if (s->in.fd == -1) {
        return 0;
    }

    s->pass_off = end;
    if (end <= s->in.progress.done_off) {
        return 0;
    }

    s->dirty = 1;
    s->in.progress.done_off = end;
    s->in.progress.done++;
    return 1;
}


void
capture_spool_acked(struct capture_spool *s, uint64_t end)
{
    if (outcome(s, end)) {
        capture_zone_replayed(s->zone, 1);
    }
}


void
capture_spool_dropped(struct capture_spool *s, uint64_t end,
    enum capture_drop why)
{
    if (outcome(s, end)) {
        capture_zone_dropped(s->zone, why, 1);
    }
}


static void
reader_hold(struct capture_spool *s, int64_t now_us)
{
    struct held  *h;
    uint64_t      lost;

    lost = s->in.progress.records > s->in.progress.done
           ? s->in.progress.records - s->in.progress.done : 0;

    if (lost > 0) {
        capture_zone_dropped(s->zone, CAPTURE_DROP_ENCODE, lost);
        s->in.progress.done += lost;
        capture_segment_note(&s->in);
    }

    h = &s->held[s->nheld++];
    h->fd = s->in.fd;
    h->acked_us = now_us;
    memcpy(h->name, s->in.name, sizeof(h->name));

    s->in.fd = -1;
    capture_segment_close(&s->in);
}


void
capture_spool_flush(struct capture_spool *s, const char *run_id,
    int64_t now_us)
{
    if (s->in.fd == -1) {
        return;
    }

    (void) snprintf(s->run_id, sizeof(s->run_id), "%s", run_id);
    if (s->dirty) {
        capture_segment_note(&s->in);
        s->dirty = 0;
    }

    /* the last record read has its outcome, and there is no other */
    if (s->exhausted && s->pass_off >= s->read_off && s->nheld < HELD_MAX) {
        reader_hold(s, now_us);
    }
}


void
capture_spool_release(struct capture_spool *s, int64_t now_us, int all)
{
    unsigned  kept;

    kept = 0;

    for (unsigned i = 0; i < s->nheld; i++) {
        if (!all && now_us - s->held[i].acked_us < CAPTURE_HOLD_US) {
            s->held[kept++] = s->held[i];
            continue;
        }

        (void) unlinkat(s->dirfd, s->held[i].name, 0);
        (void) close(s->held[i].fd);
    }

    s->nheld = kept;
}


void
capture_spool_connected(struct capture_spool *s, const char *run_id)
{
    int  same;

    same = run_id[0] != '\0' && strcmp(run_id, s->run_id) == 0;

    if (!same) {
        /* their progress says that all is counted: they are only sent again */
        for (unsigned i = 0; i < s->nheld; i++) {
            (void) close(s->held[i].fd);
        }

        s->nheld = 0;
        s->look_us = 0;
    }

    if (s->in.fd != -1) {
        reader_seek(s, same ? s->pass_off : CAPTURE_SEGMENT_HEAD);
    }
}


int
capture_spool_set_aside(struct capture_spool *s, const uint8_t id[16],
    const char *command, size_t len)
{
    char     name[64];
    ssize_t  n;
    int      fd;

    if (spool_bytes(s, ASIDE) > ASIDE_MAX) {
        return -1;
    }

    for (unsigned i = 0; i < 16; i++) {
        (void) snprintf(name + 2 * i, 3, "%02x", id[i]);
    }
    memcpy(name + 32, ASIDE, sizeof(ASIDE));

    fd = openat(s->dirfd, name,
                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1) {
        return -1;
    }

    n = write(fd, command, len);
    (void) close(fd);

    if (n != (ssize_t) len) {
        (void) unlinkat(s->dirfd, name, 0);
        return -1;
    }

    return 0;
}


uint64_t
capture_spool_torn(struct capture_spool *s)
{
    uint64_t  n = s->torn;

    s->torn = 0;
    return n;
}


uint64_t
capture_spool_given_up(struct capture_spool *s)
{
    uint64_t  n = s->given_up;

    s->given_up = 0;
    return n;
}
