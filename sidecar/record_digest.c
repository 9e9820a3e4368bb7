/* Digests of records, by OpenSSL. */

#include "record_digest.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define DIGEST_GATHER  1024

/* Small pieces are gathered: a call of the library costs more than they do. */
struct record_gather {
    bool          (*add)(void *to, const void *p, size_t n);
    void           *to;
    unsigned char   gathered[DIGEST_GATHER];
    size_t          n;
    bool            ok;
};

struct record_digest {
    EVP_CIPHER_CTX       *ctx;
    struct record_gather  gather;
};


enum result
record_digest_create(const struct secret *s, struct record_digest **out)
{
    struct record_digest  *d;
    EVP_CIPHER            *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    uint8_t                key[32];
    bool                   ok;

    d = calloc(1, sizeof(*d));
    ok = d != NULL && gcm != NULL;

    if (ok) {
        secret_hmac(s, SECRET_RECORD, SLICE_LIT("digest"), key);
        d->ctx = EVP_CIPHER_CTX_new();
        ok = d->ctx != NULL
            && EVP_EncryptInit_ex(d->ctx, gcm, NULL, NULL, NULL) == 1
            && EVP_CIPHER_CTX_ctrl(d->ctx, EVP_CTRL_AEAD_SET_IVLEN, UUID_BYTES,
                   NULL) == 1
            && EVP_EncryptInit_ex(d->ctx, NULL, NULL, key, NULL) == 1;
        OPENSSL_cleanse(key, sizeof(key));
    }

    EVP_CIPHER_free(gcm);                  /* the context holds its own */

    if (!ok) {
        record_digest_destroy(d);
        return RESULT_MEMORY;
    }

    *out = d;
    return RESULT_OK;
}


void
record_digest_destroy(struct record_digest *d)
{
    if (d != NULL) {
        EVP_CIPHER_CTX_free(d->ctx);
        free(d);
    }
}


static void
gather_add(struct record_gather *g, const void *p, size_t n)
{
    if (n > sizeof(g->gathered) - g->n) {
        g->ok = g->ok && g->add(g->to, g->gathered, g->n);
        g->n = 0;
    }

    if (n > sizeof(g->gathered)) {
        g->ok = g->ok && g->add(g->to, p, n);

    } else if (n > 0) {
        memcpy(g->gathered + g->n, p, n);
        g->n += n;
    }
}


static bool
gather_all(struct record_gather *g, const struct slice *pairs, size_t n)
{
    uint64_t  len;

    g->n = 0;
    g->ok = true;

    for (size_t i = 0; i < n && g->ok; i++) {
        len = pairs[i].n;
        gather_add(g, &len, sizeof(len));
        gather_add(g, pairs[i].p, pairs[i].n);
    }

    return g->ok && g->add(g->to, g->gathered, g->n);
}


static bool
gmac_add(void *to, const void *p, size_t n)
{
    int  len;

    return n <= INT32_MAX && EVP_EncryptUpdate(to, NULL, &len, p, (int) n) == 1;
}


enum result
record_digest_make(struct record_digest *d, const uint8_t id[UUID_BYTES],
    const struct slice *pairs, size_t n, uint8_t out[RECORD_DIGEST])
{
    unsigned char  nothing[16];
    int            len;

    d->gather.add = gmac_add;
    d->gather.to = d->ctx;

    return EVP_EncryptInit_ex(d->ctx, NULL, NULL, NULL, id) == 1
        && gather_all(&d->gather, pairs, n)
        && EVP_EncryptFinal_ex(d->ctx, nothing, &len) == 1
        && EVP_CIPHER_CTX_ctrl(d->ctx, EVP_CTRL_AEAD_GET_TAG, RECORD_DIGEST,
               out) == 1
        ? RESULT_OK : RESULT_MEMORY;
}


static bool
sha_add(void *to, const void *p, size_t n)
{
    return EVP_DigestUpdate(to, p, n) == 1;
}


enum result
record_digest_before(const struct slice *pairs, size_t n,
    uint8_t out[RECORD_DIGEST])
{
    struct record_gather  g = { .add = sha_add };
    EVP_MD_CTX           *ctx = EVP_MD_CTX_new();
    uint8_t               full[EVP_MAX_MD_SIZE];
    bool                  ok;

    g.to = ctx;
    ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
        && gather_all(&g, pairs, n) && EVP_DigestFinal_ex(ctx, full, NULL) == 1;
    EVP_MD_CTX_free(ctx);

    if (ok) {
        memcpy(out, full, RECORD_DIGEST);
    }

    return ok ? RESULT_OK : RESULT_MEMORY;
}
