/* Keys: made, taken apart, hashed. */

#include "auth_key.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

static const char  base62[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";


/* N random characters, each of the 62 as likely: 248 is 4 x 62. */
static void
auth_random_text(char *p, size_t n)
{
    uint8_t  random[64];
    size_t   done = 0;

    while (done < n) {
        if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
            abort();                       /* a guessable key is worse */
        }

        for (size_t i = 0; i < sizeof(random) && done < n; i++) {
            if (random[i] < 248) {
                p[done++] = base62[random[i] % 62];
            }
        }
    }

    OPENSSL_cleanse(random, sizeof(random));
}


void
auth_key_make(char text[AUTH_KEY_TEXT + 1])
{
    memcpy(text, "idash_", 6);
    auth_random_text(text + 6, AUTH_KEY_ID);
    text[6 + AUTH_KEY_ID] = '_';
    auth_random_text(text + 6 + AUTH_KEY_ID + 1, 43);
    text[AUTH_KEY_TEXT] = '\0';
}


enum result
auth_key_parse(struct slice text, struct slice *id)
{
    if (text.n != AUTH_KEY_TEXT || memcmp(text.p, "idash_", 6) != 0) {
        return RESULT_INVALID;
    }

    for (size_t i = 6; i < text.n; i++) {
        if (i == 6 + AUTH_KEY_ID ? text.p[i] != '_'
                                 : memchr(base62, text.p[i], 62) == NULL)
        {
            return RESULT_INVALID;
        }
    }

    *id = (struct slice) { text.p + 6, AUTH_KEY_ID };
    return RESULT_OK;
}


void
auth_key_hmac(const struct secret *s, struct slice key, uint8_t mac[32])
{
    secret_hmac(s, SECRET_PEPPER, key, mac);
}


void
auth_developer_hmac(const struct secret *s, const uint8_t sha256[32],
    uint8_t mac[32])
{
    secret_hmac(s, SECRET_PEPPER, (struct slice) { (const char *) sha256, 32 },
        mac);
}


void
auth_developer_key_hmac(const struct secret *s, struct slice key,
    uint8_t mac[32])
{
    uint8_t  digest[32];

    (void) SHA256((const unsigned char *) (key.p == NULL ? "" : key.p), key.n,
        digest);
    auth_developer_hmac(s, digest, mac);
    OPENSSL_cleanse(digest, sizeof(digest));
}


void
auth_hex(const uint8_t *p, size_t n, char *text)
{
    static const char  hex[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *text++ = hex[p[i] >> 4];
        *text++ = hex[p[i] & 15];
    }

    *text = '\0';
}


static int
auth_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


enum result
auth_unhex(struct slice text, uint8_t *p, size_t n)
{
    int  high, low;

    if (text.n != 2 * n) {
        return RESULT_INVALID;
    }

    for (size_t i = 0; i < n; i++) {
        high = auth_digit(text.p[2 * i]);
        low = auth_digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return RESULT_INVALID;
        }

        p[i] = (uint8_t) (high << 4 | low);
    }

    return RESULT_OK;
}
