/* OAuth2 tokens in memory: never stored, wiped when dropped. */

#include "http_token.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIFE_S   300
#define MAX_LIFE_S       86400
#define MAX_BEARER       8192
#define UNUSED_US        (INT64_C(3600) * 1000000)


/* Credentials in the key: changed ones fetch a token of their own. */
static bool
token_key(const struct send *s, uint8_t key[32])
{
    const char  *parts[] = { s->http.token_url, s->http.user, s->http.secret,
        s->http.scope };
    EVP_MD_CTX  *ctx = EVP_MD_CTX_new();
    bool         ok;

    ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
         && EVP_DigestUpdate(ctx, s->destination.p, s->destination.n) == 1;

    for (size_t i = 0; i < 4 && ok; i++) {
        const char  *text = parts[i] == NULL ? "" : parts[i];

        /* with the NUL, so that two parts never run into one */
        ok = EVP_DigestUpdate(ctx, text, strlen(text) + 1) == 1;
    }

    ok = ok && EVP_DigestFinal_ex(ctx, key, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}


struct http_token *
http_token_of(struct http_tokens *all, const struct send *s)
{
    struct http_token  *t;
    uint8_t             key[32];

    if (!token_key(s, key)) {
        return NULL;
    }

    for (t = all->first; t != NULL; t = t->next) {
        if (memcmp(t->key, key, sizeof(key)) == 0) {
            return t;
        }
    }

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return NULL;
    }

    memcpy(t->key, key, sizeof(key));
    t->next = all->first;
    all->first = t;
    return t;
}


bool
http_token_fresh(const struct http_token *t, int64_t now_us)
{
    return t->bearer != NULL && now_us < t->renew_us;
}


/* It goes into a header: printable ASCII only (RFC 6750, section 2.1). */
static bool
is_bearer(const char *text)
{
    size_t  n = text == NULL ? 0 : strlen(text);

    if (n == 0 || n > MAX_BEARER) {
        return false;
    }

    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f) {
            return false;
        }
    }

    return true;
}


enum result
http_token_take(struct http_token *t, struct slice json, int64_t now_us)
{
    json_t      *root;
    const char  *bearer;
    json_int_t   life;
    char        *copy;

    root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    bearer = json_string_value(json_object_get(root, "access_token"));

    if (!is_bearer(bearer)) {
        json_decref(root);
        return RESULT_INVALID;
    }

    life = json_integer_value(json_object_get(root, "expires_in"));
    life = life < 1 ? DEFAULT_LIFE_S : life > MAX_LIFE_S ? MAX_LIFE_S : life;

    copy = strdup(bearer);
    json_decref(root);

    if (copy == NULL) {
        return RESULT_MEMORY;
    }

    http_token_spoil(t);
    t->bearer = copy;
    t->serial++;
    t->renew_us = now_us + life * INT64_C(800000);
    return RESULT_OK;
}


void
http_token_spoil(struct http_token *t)
{
    if (t->bearer != NULL) {
        OPENSSL_cleanse(t->bearer, strlen(t->bearer));
        free(t->bearer);
        t->bearer = NULL;
    }
}


/* application/x-www-form-urlencoded of one value. */
static void
form_add(struct buf *b, const char *name, const char *value)
{
    (void) buf_addf(b, "%s%s=", b->n == 0 ? "" : "&", name);

    for (const unsigned char *p = (const unsigned char *) value; *p; p++) {
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
            || (*p >= '0' && *p <= '9') || strchr("-._", *p) != NULL)
        {
            (void) buf_add(b, p, 1);
        } else {
            (void) buf_addf(b, "%%%02X", *p);
        }
    }
}


struct slice
http_token_form(const struct send *s, struct arena *a)
{
    struct buf    b;
    struct slice  form;

    buf_init(&b, 64 * 1024);
    form_add(&b, "grant_type", "client_credentials");
    form_add(&b, "client_id", s->http.user == NULL ? "" : s->http.user);
    form_add(&b, "client_secret",
        s->http.secret == NULL ? "" : s->http.secret);

    if (s->http.scope != NULL && s->http.scope[0] != '\0') {
        form_add(&b, "scope", s->http.scope);
    }

    form = b.failed ? SLICE_NONE
                    : arena_copy(a, (struct slice) { b.p, b.n });

    if (b.p != NULL) {
        OPENSSL_cleanse(b.p, b.n);
    }

    buf_cleanup(&b);
    return form;
}


static void
token_free(struct http_token *t)
{
    http_token_spoil(t);
    free(t);
}


void
http_tokens_sweep(struct http_tokens *all, int64_t now_us)
{
    struct http_token  **link, *t;

    for (link = &all->first; *link != NULL; /* void */) {
        t = *link;

        if (t->fetching || t->waiting != NULL
            || now_us - t->used_us < UNUSED_US)
        {
            link = &t->next;
            continue;
        }

        *link = t->next;
        token_free(t);
    }
}


void
http_tokens_cleanup(struct http_tokens *all)
{
    struct http_token  *t;

    while ((t = all->first) != NULL) {
        all->first = t->next;
        token_free(t);
    }
}
