/* Prints and reads cursors. */

#include "cursor.h"

#include <openssl/crypto.h>

#define CURSOR_VERSION  1
#define CURSOR_HEAD     34                 /* version flags hash us id */
#define CURSOR_MAC      16
#define CURSOR_MAX      (CURSOR_HEAD + CURSOR_MAX_NAME + CURSOR_MAC)

static const char  digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


static void
put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t) (v >> (56 - 8 * i));
    }
}


static uint64_t
get64(const uint8_t *p)
{
    uint64_t  v = 0;

    for (int i = 0; i < 8; i++) {
        v = v << 8 | p[i];
    }

    return v;
}


static void
base64url_print(const uint8_t *p, size_t n, char *text)
{
    uint32_t  bits = 0;
    unsigned  have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        have += 8;

        while (have >= 6) {
            have -= 6;
            *text++ = digits[bits >> have & 63];
        }
    }

    if (have > 0) {
        *text++ = digits[bits << (6 - have) & 63];
    }

    *text = '\0';
}


/* Strict: no padding, and bits that do not count must be 0, so that one cursor
 * has one text. */
static enum result
base64url_parse(struct slice s, uint8_t *p, size_t max, size_t *n)
{
    uint32_t  bits = 0;
    unsigned  have = 0;

    *n = 0;

    for (size_t i = 0; i < s.n; i++) {
        const char  *at = s.p[i] == '\0' ? NULL : strchr(digits, s.p[i]);

        if (at == NULL) {
            return RESULT_INVALID;
        }

        bits = bits << 6 | (uint32_t) (at - digits);
        have += 6;

        if (have >= 8) {
            have -= 8;
            if (*n == max) {
                return RESULT_INVALID;
            }
            p[(*n)++] = (uint8_t) (bits >> have);
        }
    }

    return have < 6 && (bits & ((1u << have) - 1)) == 0 ? RESULT_OK
                                                        : RESULT_INVALID;
}


void
cursor_print(const struct secret *s, const struct cursor *c,
    char text[CURSOR_TEXT])
{
    uint8_t  raw[CURSOR_MAX], mac[32];
    size_t   n;

    raw[0] = CURSOR_VERSION;
    raw[1] = c->back;
    put64(raw + 2, c->hash);
    put64(raw + 10, (uint64_t) c->us);
    memcpy(raw + 18, c->id, UUID_BYTES);
    memcpy(raw + CURSOR_HEAD, c->name, c->name_n);
    n = CURSOR_HEAD + c->name_n;

    secret_hmac(s, SECRET_CURSOR, (struct slice) { (char *) raw, n }, mac);
    memcpy(raw + n, mac, CURSOR_MAC);
    base64url_print(raw, n + CURSOR_MAC, text);
}


enum result
cursor_parse(const struct secret *s, struct slice text, struct cursor *c)
{
    uint8_t  raw[CURSOR_MAX], mac[32];
    size_t   n;

    memset(c, 0, sizeof(*c));

    if (base64url_parse(text, raw, sizeof(raw), &n) != RESULT_OK
        || n < CURSOR_HEAD + CURSOR_MAC || raw[0] != CURSOR_VERSION)
    {
        return RESULT_INVALID;
    }

    n -= CURSOR_MAC;
    secret_hmac(s, SECRET_CURSOR, (struct slice) { (char *) raw, n }, mac);
    if (CRYPTO_memcmp(mac, raw + n, CURSOR_MAC) != 0) {
        return RESULT_INVALID;
    }

    c->back = raw[1] != 0;
    c->hash = get64(raw + 2);
    c->us = (int64_t) get64(raw + 10);
    memcpy(c->id, raw + 18, UUID_BYTES);
    c->name_n = n - CURSOR_HEAD;
    memcpy(c->name, raw + CURSOR_HEAD, c->name_n);
    return RESULT_OK;
}
