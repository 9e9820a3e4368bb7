/* Rings of workers that are gone: found in the directory, sent, removed. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ship_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SCAN_PERIOD     (3 * SECOND)
#define STALE_NEW_S     60


static int
has_suffix(const char *name, const char *suffix)
{
    size_t  len, n;

    len = strlen(name);
    n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}


/* A ring whose worker died before it was published. */
static void
adopt_unpublished(int dirfd, const char *name)
{
    struct stat  st;
    int          fd;

    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    if (fstat(fd, &st) == 0 && st.st_mtime < time(NULL) - STALE_NEW_S
        && flock(fd, LOCK_EX | LOCK_NB) == 0)
    {
        (void) unlinkat(dirfd, name, 0);
    }

    (void) close(fd);
}


static void
adopt_unreadable(struct capture_ship *ship, int dirfd, const char *name)
{
    char  aside[300];

    (void) snprintf(aside, sizeof(aside), "%s.unreadable", name);

    if (renameat(dirfd, name, dirfd, aside) == 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_RING, CAPTURE_LOG_ERR,
                     "%s/%s is no ring that this version can read: it is set "
                     "aside as %s", ship->ring_dir, name, aside);
    }
}


static int
adopt_ring(struct capture_ship *ship, int dirfd, const char *name, int64_t now)
{
    struct capture_ring  *ring;

    ring = capture_ring_open(dirfd, name);
    if (ring == NULL) {
        if (errno == EPROTO) {
            adopt_unreadable(ship, dirfd, name);
        }
        return 0;
    }

    capture_source_init(&ship->orphan, ring, 1, now);
    ship->has_orphan = 1;

    (void) capture_source_connected(&ship->orphan,
                                    capture_redis_run_id(ship->redis));

    if (capture_source_waiting(&ship->orphan) > 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_ADOPT, CAPTURE_LOG_NOTICE,
                     "adopting the ring %s of a worker that is gone: %llu "
                     "records", name,
                     (unsigned long long)
                     capture_source_waiting(&ship->orphan));
    }

    return 1;
}


void
capture_ship_adopt(struct capture_ship *ship, int64_t now)
{
    struct dirent  *entry;
    DIR            *dir;

    if (ship->has_orphan || !ship->up || now < ship->scan_us
        || atomic_load(&ship->hurry) || atomic_load(&ship->stopping))
    {
        return;
    }

    ship->scan_us = now + SCAN_PERIOD;
    dir = opendir(ship->ring_dir);
    if (dir == NULL) {
        return;
    }

    while (!ship->has_orphan && (entry = readdir(dir)) != NULL) {
        if (has_suffix(entry->d_name, ".ring")) {
            (void) adopt_ring(ship, dirfd(dir), entry->d_name, now);

        } else if (has_suffix(entry->d_name, ".new")) {
            adopt_unpublished(dirfd(dir), entry->d_name);
        }
    }

    (void) closedir(dir);
}


void
capture_ship_orphan_done(struct capture_ship *ship)
{
    struct capture_ring_state  state;

    if (!ship->has_orphan || capture_source_waiting(&ship->orphan) > 0
        || capture_source_held(&ship->orphan) > 0)
    {
        return;
    }

    capture_ring_state(ship->orphan.ring, &state);
    capture_zone_fold(ship->zone, &state, NULL);
    capture_ring_destroy(ship->orphan.ring);
    ship->has_orphan = 0;
    ship->scan_us = 0;
}
