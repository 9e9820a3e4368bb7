/* Sealing of secrets at rest (NIST SP 800-38D, random 96-bit nonces). */

#include "seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX      "idash1:"
#define NONCE_LEN   12
#define TAG_LEN     16
#define MAX_PLAIN   (64 * 1024)

/* To look it up by name takes longer than to open a secret. */
static EVP_CIPHER      *gcm;
static pthread_once_t   gcm_once = PTHREAD_ONCE_INIT;


static void
gcm_fetch(void)
{
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}


static void
seal_key(const struct secret *s, uint8_t key[32])
{
    secret_hmac(s, SECRET_SEAL, SLICE_LIT("aes-256-gcm 1"), key);
}


enum result
seal_close(const struct secret *s, struct slice place, struct slice plain,
    struct buf *out)
{
    EVP_CIPHER_CTX  *ctx;
    uint8_t          key[32], *raw;
    char            *text;
    size_t           raw_len = NONCE_LEN + plain.n + TAG_LEN;
    int              n, ok;

    if (plain.n > MAX_PLAIN) {
        return RESULT_TOO_BIG;
    }

    raw = malloc(raw_len);
    if (raw == NULL) {
        return RESULT_MEMORY;
    }

    (void) pthread_once(&gcm_once, gcm_fetch);
    seal_key(s, key);
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx != NULL && RAND_bytes(raw, NONCE_LEN) == 1
         && gcm != NULL
         && EVP_EncryptInit_ex2(ctx, gcm, key, raw, NULL) == 1
         && EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *) place.p,
                (int) place.n) == 1
         && EVP_EncryptUpdate(ctx, raw + NONCE_LEN, &n,
                (const uint8_t *) (plain.n == 0 ? "" : plain.p),
                (int) plain.n) == 1
         && EVP_EncryptFinal_ex(ctx, raw + NONCE_LEN + plain.n, &n) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN,
                raw + NONCE_LEN + plain.n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    OPENSSL_cleanse(key, sizeof(key));

    if (ok) {
        (void) buf_adds(out, PREFIX);
        text = buf_room(out, (raw_len + 2) / 3 * 4 + 1);

        if (text != NULL) {
            out->n += (size_t) EVP_EncodeBlock((uint8_t *) text, raw,
                (int) raw_len);
        }
    }

    free(raw);
    return !ok ? RESULT_INTERNAL : out->failed ? RESULT_TOO_BIG : RESULT_OK;
}


/* The raw bytes of the base64 text, or -1. */
static int
unbase64(struct slice text, uint8_t *raw)
{
    int  n, pad = 0;

    if (text.n == 0 || text.n % 4 != 0) {
        return -1;
    }

    pad += text.p[text.n - 1] == '=';
    pad += text.p[text.n - 2] == '=';
    n = EVP_DecodeBlock(raw, (const uint8_t *) text.p, (int) text.n);
    return n < 0 ? -1 : n - pad;
}


static bool
open_raw(const struct secret *s, struct slice place, uint8_t *raw, size_t n,
    uint8_t *plain)
{
    EVP_CIPHER_CTX  *ctx;
    uint8_t          key[32];
    size_t           len = n - NONCE_LEN - TAG_LEN;
    int              got, ok;

    (void) pthread_once(&gcm_once, gcm_fetch);
    seal_key(s, key);
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx != NULL
         && gcm != NULL
         && EVP_DecryptInit_ex2(ctx, gcm, key, raw, NULL) == 1
         && EVP_DecryptUpdate(ctx, NULL, &got, (const uint8_t *) place.p,
                (int) place.n) == 1
         && EVP_DecryptUpdate(ctx, plain, &got, raw + NONCE_LEN, (int) len)
                == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN,
                raw + NONCE_LEN + len) == 1
         && EVP_DecryptFinal_ex(ctx, plain + got, &got) == 1;
    EVP_CIPHER_CTX_free(ctx);
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}


enum result
seal_open(const struct secret *s, struct slice place, struct slice sealed,
    struct buf *plain)
{
    struct slice  text;
    uint8_t      *raw;
    char         *room;
    size_t        len;
    int           n;
    enum result   r = RESULT_INVALID;

    if (sealed.n < sizeof(PREFIX) || sealed.n > MAX_PLAIN * 2
        || memcmp(sealed.p, PREFIX, sizeof(PREFIX) - 1) != 0)
    {
        return RESULT_INVALID;
    }

    text = (struct slice) { sealed.p + sizeof(PREFIX) - 1,
        sealed.n - (sizeof(PREFIX) - 1) };

    raw = malloc(text.n);
    if (raw == NULL) {
        return RESULT_MEMORY;
    }

    n = unbase64(text, raw);

    if (n >= NONCE_LEN + TAG_LEN) {
        len = (size_t) n - NONCE_LEN - TAG_LEN;
        room = buf_room(plain, len + 1);

        if (room == NULL) {
            r = RESULT_TOO_BIG;

        } else if (open_raw(s, place, raw, (size_t) n, (uint8_t *) room)) {
            plain->n += len;
            r = RESULT_OK;
        }
    }

    free(raw);
    return r;
}
