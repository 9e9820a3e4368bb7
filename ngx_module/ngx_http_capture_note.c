/* Notes from the thread to the loop. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOTE_PERIOD_US  1000000


int
capture_notes_init(struct capture_notes *notes)
{
    memset(notes, 0, sizeof(*notes));
    return pthread_mutex_init(&notes->lock, NULL) == 0 ? 0 : -1;
}


void
capture_notes_cleanup(struct capture_notes *notes)
{
    (void) pthread_mutex_destroy(&notes->lock);
}


void
capture_note(struct capture_notes *notes, enum capture_note kind, int level,
    const char *fmt, ...)
{
    va_list  ap;
    char     text[CAPTURE_NOTE_LEN];

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    /* peers' words are in it: no control character reaches the log */
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char) *p < ' ' || *p == 127) {
            *p = ' ';
        }
    }

    (void) pthread_mutex_lock(&notes->lock);

    notes->kinds[kind].repeats += (unsigned) notes->kinds[kind].pending;
    notes->kinds[kind].pending = 1;
    notes->kinds[kind].level = level;
    memcpy(notes->kinds[kind].text, text, sizeof(text));

    (void) pthread_mutex_unlock(&notes->lock);
}


int
capture_note_take(struct capture_notes *notes, int64_t now_us, int *level,
    char *buf, size_t size)
{
    int  found;

    if (pthread_mutex_trylock(&notes->lock) != 0) {
        return 0;
    }

    found = 0;

    for (unsigned i = 0; i < CAPTURE_NOTE_COUNT && !found; i++) {
        if (!notes->kinds[i].pending
            || (notes->kinds[i].shown_us != 0
                && now_us - notes->kinds[i].shown_us < NOTE_PERIOD_US))
        {
            continue;
        }

        found = 1;
        *level = notes->kinds[i].level;

        if (notes->kinds[i].repeats > 0) {
            (void) snprintf(buf, size, "%s (and %u before)",
                            notes->kinds[i].text, notes->kinds[i].repeats);
        } else {
            (void) snprintf(buf, size, "%s", notes->kinds[i].text);
        }

        notes->kinds[i].pending = 0;
        notes->kinds[i].repeats = 0;
        notes->kinds[i].shown_us = now_us;
    }

    (void) pthread_mutex_unlock(&notes->lock);
    return found;
}
