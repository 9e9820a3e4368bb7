/*
 * One segment of the spool as a file: a head twice (either will do), a line of
 * progress, then frames of magic, length, CRC, id and command.  The CRCs are
 * seeded with the segment's random salt, so that nothing inside a captured body
 * can pass for a frame.
 */

#ifndef NGX_HTTP_CAPTURE_SEGMENT_H
#define NGX_HTTP_CAPTURE_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#define CAPTURE_SEGMENT_NAME   64
#define CAPTURE_SEGMENT_HEAD   192         /* where the first frame begins */

/* What is known of a segment's records; kept in the file. */
struct capture_progress {
    uint64_t  zone;                        /* that counts them */
    uint64_t  records;                     /* 0: not known */
    uint64_t  done_off;                    /* records before it are counted */
    uint64_t  done;                        /* their number */
};

struct capture_segment {
    int       fd;                          /* -1: none; its lock is held */
    char      name[CAPTURE_SEGMENT_NAME];
    uint64_t  salt;
    uint64_t  size;                        /* of the file */
    uint64_t  off;                         /* of the next frame */
    uint64_t  records;                     /* written, or read so far */
    struct capture_progress  progress;

    /* the reader's window of the file */
    char     *window;
    size_t    window_size, window_len;
    uint64_t  window_off;
};

/*
 * Creates DIR/NAME (0600, O_EXCL), locked and allocated to SIZE bytes.  0, or
 * -1 with errno and nothing left behind.
 */
int capture_segment_create(struct capture_segment *g, int dirfd,
    const char *name, uint64_t size, uint64_t zone);

/* 0, 1 when it does not fit, -1 with errno. */
int capture_segment_append(struct capture_segment *g, const uint8_t id[16],
    const char *command, size_t len);

/* Cuts the file behind the last frame, notes the count, closes, unlocks. */
void capture_segment_finish(struct capture_segment *g);

/* Opens and locks for reading; errno EWOULDBLOCK: busy, EPROTO: unreadable. */
int capture_segment_open(struct capture_segment *g, int dirfd,
    const char *name);

/*
 * The next whole frame: 1 with its command, borrowed; 0 at the end; -1 with
 * errno when the disk fails.  *TORN grows by each damaged place passed.
 */
int capture_segment_next(struct capture_segment *g, const char **command,
    size_t *len, uint64_t *torn);

/* Next begins at OFF, a place where a frame ended, or the first for 0. */
void capture_segment_seek(struct capture_segment *g, uint64_t off,
    uint64_t records);

/* Writes g->progress into the file; best effort. */
void capture_segment_note(struct capture_segment *g);

/* Closes and unlocks; g may be used again. */
void capture_segment_close(struct capture_segment *g);

#endif /* NGX_HTTP_CAPTURE_SEGMENT_H */
