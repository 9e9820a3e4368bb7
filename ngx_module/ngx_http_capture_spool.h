/*
 * The spool: commands on disk while Redis cannot take them, redacted, in
 * pre-allocated segments of their own salt.  A segment is written by one
 * worker, then read by whichever takes its lock first, oldest first, and
 * unlinked when Redis surely has all of it.  What a crash or a bad disk tore is
 * skipped and counted; everything else is found again.
 */

#ifndef NGX_HTTP_CAPTURE_SPOOL_H
#define NGX_HTTP_CAPTURE_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "ngx_http_capture_ring.h"
#include "ngx_http_capture_zone.h"

struct capture_spool;

/*
 * DIR must be a directory that only the worker's user (or root) can write.
 * MAX bounds all its files, of every worker.  ZONE counts.  NULL with errno.
 */
struct capture_spool *capture_spool_open(const char *dir, uint64_t max,
    uint64_t segment, int drop_old, struct capture_zone *zone);

/* Ends the segment being written; what is held or half read stays on disk. */
void capture_spool_close(struct capture_spool *s);

/*
 * Appends one command.  0: it is in the page cache, a killed worker does not
 * lose it.  1: full.  -1 with errno: the disk refuses.  Does not count it.
 */
int capture_spool_append(struct capture_spool *s, const uint8_t id[16],
    const char *command, size_t len);

/*
 * The next record of the oldest segment: 1 with the command, borrowed until the
 * next call, and where it ends.  0: none now, or all that can be held is.
 */
int capture_spool_next(struct capture_spool *s, const char **command,
    size_t *len, uint64_t *end);

/* Next begins again behind what has an outcome. */
void capture_spool_rewind(struct capture_spool *s);

/* The record that ends at END, in order: acknowledged, or dropped for WHY. */
void capture_spool_acked(struct capture_spool *s, uint64_t end);
void capture_spool_dropped(struct capture_spool *s, uint64_t end,
    enum capture_drop why);

/*
 * After each replay: remembers the outcomes in the segment's head, and holds a
 * segment of which every record has one.
 */
void capture_spool_flush(struct capture_spool *s, const char *run_id,
    int64_t now_us);

/* Unlinks segments acknowledged long enough ago; ALL: known to be on disk. */
void capture_spool_release(struct capture_spool *s, int64_t now_us, int all);

/* Another Redis than the one that acknowledged: held segments come again. */
void capture_spool_connected(struct capture_spool *s, const char *run_id);

/* Keeps a command that Redis refuses, for a person to look at. */
int capture_spool_set_aside(struct capture_spool *s, const uint8_t id[16],
    const char *command, size_t len);

/* Torn places met since the last call; segments given up to make room. */
uint64_t capture_spool_torn(struct capture_spool *s);
uint64_t capture_spool_given_up(struct capture_spool *s);

#endif /* NGX_HTTP_CAPTURE_SPOOL_H */
