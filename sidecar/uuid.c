/* UUIDv7 (RFC 9562, section 5.7). */

#include "uuid.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>


void
uuid_make(uint8_t id[UUID_BYTES], int64_t us)
{
    uint64_t  ms = (uint64_t) us / 1000;
    unsigned  sub = (unsigned) ((uint64_t) us % 1000);

    /* without entropy the id would repeat: getrandom cannot fail once seeded */
    while (getrandom(id, UUID_BYTES, 0) != UUID_BYTES) {
        /* interrupted before the pool was seeded */
    }

    for (int i = 0; i < 6; i++) {
        id[i] = (uint8_t) (ms >> (40 - 8 * i));
    }

    id[6] = (uint8_t) (0x70 | sub >> 8);
    id[7] = (uint8_t) sub;
    id[8] = (uint8_t) (0x80 | (id[8] & 0x3f));
}


void
uuid_text(const uint8_t id[UUID_BYTES], char text[UUID_TEXT + 1])
{
    static const char  hex[] = "0123456789abcdef";
    char              *p = text;

    for (int i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        *p++ = hex[id[i] >> 4];
        *p++ = hex[id[i] & 15];
    }

    *p = '\0';
}


static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


enum result
uuid_parse(struct slice s, uint8_t id[UUID_BYTES])
{
    size_t  at;
    int     high, low;

    if (s.n != UUID_TEXT) {
        return RESULT_INVALID;
    }

    at = 0;

    for (int i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (s.p[at++] != '-') {
                return RESULT_INVALID;
            }
        }

        high = hex_digit(s.p[at]);
        low = hex_digit(s.p[at + 1]);
        if (high < 0 || low < 0) {
            return RESULT_INVALID;
        }

        id[i] = (uint8_t) (high << 4 | low);
        at += 2;
    }

    return RESULT_OK;
}


int64_t
uuid_time_us(const uint8_t id[UUID_BYTES])
{
    uint64_t  ms = 0;

    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | id[i];
    }

    return (int64_t) (ms * 1000 + (((unsigned) id[6] & 15) << 8 | id[7]));
}


bool
uuid_is_null(const uint8_t id[UUID_BYTES])
{
    static const uint8_t  null[UUID_BYTES];

    return memcmp(id, null, UUID_BYTES) == 0;
}
