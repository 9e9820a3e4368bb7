/*
 * The installation's secret and its derived keys.  HKDF is run once at load;
 * what leaves this file is only a MAC, or for sealing later a key by use.
 */

#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define SECRET_BYTES  32

struct secret {
    EVP_MAC      *mac;
    EVP_MAC_CTX  *keyed[SECRET_USES];      /* copied for each HMAC */
};

/* the info of HKDF: changing a word changes every stored hash */
static const char *const  secret_info[SECRET_USES] = {
    [SECRET_PEPPER]  = "integrationd pepper 1",
    [SECRET_SEAL]    = "integrationd seal 1",
    [SECRET_CURSOR]  = "integrationd cursor 1",
    [SECRET_SESSION] = "integrationd session 1",
    [SECRET_REPLAY]  = "integrationd replay 1",
    [SECRET_RECORD]  = "integrationd record 1"
};


/*
 * A new secret is written whole under another name and linked: a crash leaves
 * none or all of it, and of two starting processes one wins.
 */
static enum result
secret_make(const char *path, char *err, size_t errlen)
{
    uint8_t      key[SECRET_BYTES];
    char         tmp[4096];
    int          fd, n;
    enum result  r = RESULT_INTERNAL;

    n = snprintf(tmp, sizeof(tmp), "%s.%ld.new", path, (long) getpid());
    if (n < 0 || (size_t) n >= sizeof(tmp)) {
        (void) snprintf(err, errlen, "%.200s: the path is too long", path);
        return RESULT_INVALID;
    }

    (void) unlink(tmp);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);

    if (fd < 0 || getrandom(key, sizeof(key), 0) != (ssize_t) sizeof(key)
        || write(fd, key, sizeof(key)) != (ssize_t) sizeof(key)
        || fsync(fd) != 0
        || (link(tmp, path) != 0 && errno != EEXIST))
    {
        (void) snprintf(err, errlen, "%.200s: cannot be made: %s; create it "
            "with 32 random bytes and mode 0400", path, strerror(errno));

    } else {
        r = RESULT_OK;
    }

    OPENSSL_cleanse(key, sizeof(key));

    if (fd >= 0) {
        (void) close(fd);
        (void) unlink(tmp);
    }

    return r;
}


/* LoadCredential= shows 0440 for its ACL: no one else is in that directory. */
static bool
secret_is_credential(const char *path)
{
    const char  *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t       n = dir == NULL ? 0 : strlen(dir);

    return n > 0 && strncmp(path, dir, n) == 0 && path[n] == '/';
}


static enum result
secret_read(const char *path, uint8_t key[SECRET_BYTES], char *err,
    size_t errlen)
{
    uint8_t      more[SECRET_BYTES + 1];
    struct stat  st;
    ssize_t      n;
    int          fd;
    enum result  r = RESULT_INVALID;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        (void) snprintf(err, errlen, "%.200s: %s", path, strerror(errno));
        return errno == ENOENT ? RESULT_NOT_FOUND : RESULT_INVALID;
    }

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void) snprintf(err, errlen, "%.200s: is not a regular file", path);
        goto out;
    }

    if ((st.st_mode & 077) != 0
        && !((st.st_mode & 037) == 0 && secret_is_credential(path)))
    {
        (void) snprintf(err, errlen, "%.200s: others may read or write it "
            "(mode %04o); chmod 0400 it", path, (unsigned) st.st_mode & 07777);
        goto out;
    }

    n = read(fd, more, sizeof(more));

    if (n != SECRET_BYTES) {
        (void) snprintf(err, errlen, "%.200s: must hold exactly 32 bytes",
            path);
        goto out;
    }

    memcpy(key, more, SECRET_BYTES);
    r = RESULT_OK;

out:

    OPENSSL_cleanse(more, sizeof(more));
    (void) close(fd);
    return r;
}


/* HKDF-SHA256 without salt (RFC 5869). */
static enum result
secret_derive(const uint8_t key[SECRET_BYTES], const char *info,
    uint8_t out[SECRET_BYTES])
{
    EVP_KDF      *kdf;
    EVP_KDF_CTX  *ctx;
    OSSL_PARAM    params[4];
    char          digest[] = "SHA256";
    int           ok;

    kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest,
        0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
        (void *) (uintptr_t) key, SECRET_BYTES);
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
        (void *) (uintptr_t) info, strlen(info));
    params[3] = OSSL_PARAM_construct_end();

    ok = ctx != NULL && EVP_KDF_derive(ctx, out, SECRET_BYTES, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok ? RESULT_OK : RESULT_INTERNAL;
}


static EVP_MAC_CTX *
secret_keyed(EVP_MAC *mac, const uint8_t key[SECRET_BYTES])
{
    EVP_MAC_CTX  *ctx;
    OSSL_PARAM    params[2];
    char          digest[] = "SHA256";

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
        0);
    params[1] = OSSL_PARAM_construct_end();

    ctx = EVP_MAC_CTX_new(mac);

    if (ctx == NULL || EVP_MAC_init(ctx, key, SECRET_BYTES, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


static enum result
secret_keys(struct secret *s, const uint8_t key[SECRET_BYTES])
{
    uint8_t      derived[SECRET_BYTES];
    enum result  r = RESULT_OK;

    s->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (s->mac == NULL) {
        return RESULT_INTERNAL;
    }

    for (int i = 0; i < SECRET_USES && r == RESULT_OK; i++) {
        r = secret_derive(key, secret_info[i], derived);

        if (r == RESULT_OK) {
            s->keyed[i] = secret_keyed(s->mac, derived);
            r = s->keyed[i] == NULL ? RESULT_INTERNAL : RESULT_OK;
        }
    }

    OPENSSL_cleanse(derived, sizeof(derived));
    return r;
}


enum result
secret_load(const char *path, int create, struct secret **out, char *err,
    size_t errlen)
{
    uint8_t         key[SECRET_BYTES];
    struct secret  *s = NULL;
    enum result     r;

    r = secret_read(path, key, err, errlen);

    if (r == RESULT_NOT_FOUND && create) {
        r = secret_make(path, err, errlen);
        r = r == RESULT_OK ? secret_read(path, key, err, errlen) : r;
    }

    if (r != RESULT_OK) {
        return r;
    }

    s = calloc(1, sizeof(*s));
    r = s == NULL ? RESULT_MEMORY : secret_keys(s, key);
    OPENSSL_cleanse(key, sizeof(key));

    if (r != RESULT_OK) {
        (void) snprintf(err, errlen, "%.200s: keys cannot be derived: %s",
            path, result_text(r));
        secret_destroy(s);
        return r;
    }

    *out = s;
    return RESULT_OK;
}


void
secret_destroy(struct secret *s)
{
    if (s == NULL) {
        return;
    }

    for (int i = 0; i < SECRET_USES; i++) {
        EVP_MAC_CTX_free(s->keyed[i]);
    }

    EVP_MAC_free(s->mac);
    free(s);
}


void
secret_hmac(const struct secret *s, enum secret_use use, struct slice data,
    uint8_t mac[32])
{
    EVP_MAC_CTX  *ctx;
    size_t        n = 0;

    ctx = EVP_MAC_CTX_dup(s->keyed[use]);

    if (ctx == NULL
        || EVP_MAC_update(ctx, (const unsigned char *) data.p, data.n) != 1
        || EVP_MAC_final(ctx, mac, &n, 32) != 1 || n != 32)
    {
        /* out of memory: a wrong MAC must not look like one that matches */
        abort();
    }

    EVP_MAC_CTX_free(ctx);
}
