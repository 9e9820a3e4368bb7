/*
 * Where a page ended, as text that a client cannot forge: base64url of
 * version, direction, filter hash, time, id and name, with an HMAC of 16 bytes.
 */

#ifndef CURSOR_H
#define CURSOR_H

#include "secret.h"
#include "uuid.h"

#define CURSOR_MAX_NAME  160
#define CURSOR_TEXT      300               /* with the NUL */

struct cursor {
    bool      back;                        /* leads to the page before */
    uint64_t  hash;                        /* filter_hash, or a list's own */
    int64_t   us;
    uint8_t   id[UUID_BYTES];
    char      name[CURSOR_MAX_NAME];       /* of lists ordered by a text */
    size_t    name_n;
};

void cursor_print(const struct secret *s, const struct cursor *c,
    char text[CURSOR_TEXT]);

/* INVALID: not one of ours. */
must_check enum result cursor_parse(const struct secret *s, struct slice text,
    struct cursor *c);

#endif /* CURSOR_H */
