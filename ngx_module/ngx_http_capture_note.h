/*
 * What the shipper has to say to the error log: one pending sentence a kind, at
 * most one a second, handed to the loop, which alone may write logs.
 */

#ifndef NGX_HTTP_CAPTURE_NOTE_H
#define NGX_HTTP_CAPTURE_NOTE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_NOTE_LEN  384

/* nginx' levels */
#define CAPTURE_LOG_ERR     4
#define CAPTURE_LOG_WARN    5
#define CAPTURE_LOG_NOTICE  6

enum capture_note {
    CAPTURE_NOTE_UP,
    CAPTURE_NOTE_DOWN,
    CAPTURE_NOTE_DENIED,
    CAPTURE_NOTE_FULL,
    CAPTURE_NOTE_POISON,
    CAPTURE_NOTE_RING,
    CAPTURE_NOTE_ADOPT,
    CAPTURE_NOTE_SPOOL,
    CAPTURE_NOTE_TORN,
    CAPTURE_NOTE_MEMORY,
    CAPTURE_NOTE_EXIT,
    CAPTURE_NOTE_COUNT
};

struct capture_notes {
    pthread_mutex_t  lock;
    struct {
        int          pending;
        int          level;
        unsigned     repeats;              /* since the last one handed over */
        int64_t      shown_us;             /* 0: never */
        char         text[CAPTURE_NOTE_LEN];
    } kinds[CAPTURE_NOTE_COUNT];
};

int capture_notes_init(struct capture_notes *notes);
void capture_notes_cleanup(struct capture_notes *notes);

/* Of the shipper: replaces what is pending of the kind. */
void capture_note(struct capture_notes *notes, enum capture_note kind,
    int level, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Of the loop: never waits.  1 with a text, 0 when there is none to show. */
int capture_note_take(struct capture_notes *notes, int64_t now_us, int *level,
    char *buf, size_t size);

#endif /* NGX_HTTP_CAPTURE_NOTE_H */
