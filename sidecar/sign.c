/*
 * Standard Webhooks signatures.  OpenSSL does the cryptography and the base64;
 * what is here is the text around it and the checks of keys.
 */

#include "sign.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define HMAC_PREFIX     "whsec_"
#define ED25519_PREFIX  "whsk_"
#define SEED_LEN        32
#define KEY_TEXT_MAX    128

/* HMAC-SHA256 without a key: to look it up by name takes longer than it. */
static EVP_MAC_CTX     *hmac;
static pthread_once_t   hmac_once = PTHREAD_ONCE_INIT;


/* Strict standard base64 with padding; the length, or -1. */
static int
base64_decode(struct slice text, uint8_t *out, size_t size)
{
    uint8_t  all[KEY_TEXT_MAX];
    size_t   pad;
    int      n;

    if (text.n == 0 || text.n % 4 != 0 || text.n > KEY_TEXT_MAX) {
        return -1;
    }

    pad = (size_t) (text.p[text.n - 1] == '=')
          + (size_t) (text.p[text.n - 2] == '=');

    /* EVP skips white space: a key has none */
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || (text.p[i] == '=' && i < text.n - pad)) {
            return -1;
        }
    }

    n = EVP_DecodeBlock(all, (const uint8_t *) text.p, (int) text.n);
    if (n < 0 || (size_t) n - pad > size) {
        return -1;
    }

    n -= (int) pad;
    memcpy(out, all, (size_t) n);
    OPENSSL_cleanse(all, sizeof(all));
    return n;
}


/* The second half of a whsk_ key must be the public key of its first. */
static enum result
ed25519_check(const uint8_t pair[64])
{
    uint8_t    public[SEED_LEN];
    size_t     n = sizeof(public);
    EVP_PKEY  *pkey;
    int        ok;

    pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, pair, SEED_LEN);
    ok = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, public, &n) == 1
         && memcmp(public, pair + SEED_LEN, SEED_LEN) == 0;
    EVP_PKEY_free(pkey);

    return ok ? RESULT_OK : RESULT_INVALID;
}


static bool
has_prefix(struct slice s, const char *prefix)
{
    return s.n >= strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0;
}


static struct slice
after_prefix(struct slice s, const char *prefix)
{
    return (struct slice) { s.p + strlen(prefix), s.n - strlen(prefix) };
}


enum result
sign_key_parse(struct slice text, struct sign_key *key, const char **why)
{
    int  n;

    memset(key, 0, sizeof(*key));

    if (has_prefix(text, HMAC_PREFIX)) {
        n = base64_decode(after_prefix(text, HMAC_PREFIX), key->secret,
            sizeof(key->secret));
        if (n < 24) {
            *why = "\"whsec_\" must be followed by 24 to 64 bytes in base64";
            return RESULT_INVALID;
        }

        key->kind = SIGN_HMAC;
        key->len = (size_t) n;
        return RESULT_OK;
    }

    if (has_prefix(text, ED25519_PREFIX)) {
        n = base64_decode(after_prefix(text, ED25519_PREFIX), key->secret,
            sizeof(key->secret));
        if (n != 64 || ed25519_check(key->secret) != RESULT_OK) {
            *why = "\"whsk_\" must be followed by an Ed25519 seed and its "
                   "public key, 64 bytes in base64";
            return RESULT_INVALID;
        }

        key->kind = SIGN_ED25519;
        key->len = SEED_LEN;
        return RESULT_OK;
    }

    *why = "must begin with \"whsec_\" (HMAC-SHA256) or \"whsk_\" (Ed25519)";
    return RESULT_INVALID;
}


enum result
sign_key_make(char text[64])
{
    uint8_t  secret[32];

    if (RAND_bytes(secret, sizeof(secret)) != 1) {
        return RESULT_INTERNAL;
    }

    memcpy(text, HMAC_PREFIX, sizeof(HMAC_PREFIX));
    (void) EVP_EncodeBlock((uint8_t *) text + strlen(HMAC_PREFIX), secret,
        sizeof(secret));
    OPENSSL_cleanse(secret, sizeof(secret));
    return RESULT_OK;
}


static void
hmac_make(void)
{
    OSSL_PARAM  params[2];
    EVP_MAC    *alg = EVP_MAC_fetch(NULL, "HMAC", NULL);
    char        digest[] = "SHA256";

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
        0);
    params[1] = OSSL_PARAM_construct_end();
    hmac = alg == NULL ? NULL : EVP_MAC_CTX_new(alg);
    EVP_MAC_free(alg);

    if (hmac != NULL && EVP_MAC_CTX_set_params(hmac, params) != 1) {
        EVP_MAC_CTX_free(hmac);
        hmac = NULL;
    }
}


static enum result
sign_hmac(const struct sign_key *key, struct slice head, struct slice body,
    uint8_t *mac, size_t *n)
{
    EVP_MAC_CTX  *ctx;
    int           ok;

    (void) pthread_once(&hmac_once, hmac_make);
    ctx = hmac == NULL ? NULL : EVP_MAC_CTX_dup(hmac);
    ok = ctx != NULL && EVP_MAC_init(ctx, key->secret, key->len, NULL) == 1
         && EVP_MAC_update(ctx, (const uint8_t *) head.p, head.n) == 1
         && (body.n == 0
             || EVP_MAC_update(ctx, (const uint8_t *) body.p, body.n) == 1)
         && EVP_MAC_final(ctx, mac, n, 64) == 1;
    EVP_MAC_CTX_free(ctx);

    return ok ? RESULT_OK : RESULT_INTERNAL;
}


/* Ed25519 signs in one shot, so head and body are joined first. */
static enum result
sign_ed25519(const struct sign_key *key, struct slice head, struct slice body,
    uint8_t *mac, size_t *n)
{
    struct buf   all;
    EVP_PKEY    *pkey;
    EVP_MD_CTX  *ctx;
    int          ok;

    buf_init(&all, head.n + body.n);
    (void) buf_add(&all, head.p, head.n);
    (void) buf_add(&all, body.p, body.n);

    *n = 64;
    pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret,
        SEED_LEN);
    ctx = EVP_MD_CTX_new();
    ok = !all.failed && pkey != NULL && ctx != NULL
         && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1
         && EVP_DigestSign(ctx, mac, n, (const uint8_t *) all.p, all.n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    buf_cleanup(&all);

    return ok ? RESULT_OK : RESULT_INTERNAL;
}


enum result
sign_header(const struct sign_key *keys, unsigned n, struct slice id,
    int64_t time_s, struct slice body, char out[SIGN_MAX_TEXT])
{
    uint8_t      mac[64];
    char         head_text[256];
    size_t       mac_len;
    int          head_len;
    char        *p;
    enum result  r;
    struct slice head;

    if (n == 0 || n > SIGN_MAX_KEYS || id.n == 0 || id.n > 200
        || memchr(id.p, '.', id.n) != NULL)
    {
        return RESULT_INVALID;
    }

    head_len = snprintf(head_text, sizeof(head_text), "%.*s.%lld.",
        SLICE_ARG(id), (long long) time_s);
    head = (struct slice) { head_text, (size_t) head_len };
    p = out;

    for (unsigned i = 0; i < n; i++) {
        r = keys[i].kind == SIGN_HMAC
                ? sign_hmac(&keys[i], head, body, mac, &mac_len)
                : sign_ed25519(&keys[i], head, body, mac, &mac_len);
        if (r != RESULT_OK) {
            return r;
        }

        p += sprintf(p, "%s%s,", i == 0 ? "" : " ",
            keys[i].kind == SIGN_HMAC ? "v1" : "v1a");
        p += EVP_EncodeBlock((uint8_t *) p, mac, (int) mac_len);
    }

    return RESULT_OK;
}
