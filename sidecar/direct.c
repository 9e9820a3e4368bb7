/* An integration made of a log and its event, for one delivery. */

#include "direct.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_slice.h"

#define MAX_HEADERS  (64 * 1024)
#define CONNECT_MS   5000
#define TOTAL_MS     15000
#define CONCURRENCY  10


bool
direct_is(const struct logdoc *d)
{
    return d->kind == LOG_KIND_WEBHOOK && d->integration_id.n == 0;
}


struct slice
direct_field(const struct logdoc *d, const char *name)
{
    for (unsigned i = 0; i < d->nfields; i++) {
        if (slice_eq(d->fields[i].name, slice_of(name))) {
            return d->fields[i].value;
        }
    }

    return SLICE_LIT("");
}


static void
seal_place(struct slice event_id, char place[160])
{
    (void) snprintf(place, 160, "event/%.*s/headers", SLICE_ARG(event_id));
}


enum result
direct_seal(const struct secret *secret, struct slice event_id,
    const json_t *headers, struct buf *out)
{
    char         *text = json_dumps(headers, JSON_COMPACT);
    char          place[160];
    enum result   r = RESULT_MEMORY;

    seal_place(event_id, place);

    if (text != NULL) {
        r = seal_close(secret, slice_of(place), slice_of(text), out);
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }

    return r;
}


static bool
add_headers(struct integration *i, const json_t *headers)
{
    const char  *name;
    json_t      *v;

    json_object_foreach((json_t *) headers, name, v) {
        struct slice  value = arena_copy(&i->arena, json_slice(v));

        if (slice_eq_nocase(slice_of(name), SLICE_LIT("Content-Type"))) {
            i->content_type = value;
            continue;
        }

        if (i->nheaders == SEND_MAX_HEADERS || value.p == NULL) {
            return false;
        }

        i->headers[i->nheaders].name = arena_copy(&i->arena, slice_of(name));
        i->headers[i->nheaders++].value = value;
    }

    return true;
}


static enum result
open_headers(struct integration *i, const struct secret *secret,
    const struct logdoc *d, const json_t *sealed)
{
    struct buf    plain;
    json_t       *headers = NULL;
    char          place[160];
    enum result   r;

    buf_init(&plain, MAX_HEADERS);
    seal_place(d->event_id, place);
    r = seal_open(secret, slice_of(place), json_slice(sealed), &plain);

    if (r == RESULT_OK) {
        headers = json_loadb(plain.p, plain.n, 0, NULL);
        r = headers != NULL && add_headers(i, headers) ? RESULT_OK
                                                       : RESULT_INVALID;
    }

    if (plain.p != NULL) {
        OPENSSL_cleanse(plain.p, plain.n);
    }

    json_decref(headers);
    buf_cleanup(&plain);
    return r;
}


void
direct_schedule(struct retry_schedule *s, unsigned attempts)
{
    unsigned  delays = attempts == 0 ? 0 : attempts - 1;
    int64_t   last;

    *s = retry_webhook;
    last = s->delays_us[s->n - 1];

    for (unsigned i = s->n; i < delays && i < RETRY_MAX_DELAYS; i++) {
        s->delays_us[i] = last;
    }

    s->n = delays < RETRY_MAX_DELAYS ? delays : RETRY_MAX_DELAYS;
}


/* What the item said beside URL and method. */
static enum result
load_event(struct store *s, const struct secret *secret,
    const struct logdoc *d, struct integration *i, const char **why)
{
    struct store_doc  doc;
    json_t           *body, *fusion, *v;
    struct arena      a;
    enum result       r;

    arena_init(&a, 4 * 1024 * 1024);
    r = store_doc_get(s, STORE_EVENT, d->event_id, &a, &doc);

    if (r != RESULT_OK) {
        *why = "its event, which keeps its headers, is gone";
        arena_cleanup(&a);
        return r == RESULT_NOT_FOUND ? RESULT_INVALID : r;
    }

    body = json_loadb(doc.body.p, doc.body.n, 0, NULL);
    fusion = json_object_get(body, "fusion");
    v = json_object_get(fusion, "attempts");

    if (json_is_integer(v)) {
        direct_schedule(&i->schedule, (unsigned) json_integer_value(v));
        i->is_auto_retry = json_integer_value(v) > 1;
    }

    v = json_object_get(fusion, "headers");

    if (json_is_string(v)) {
        r = open_headers(i, secret, d, v);
        *why = "its headers cannot be opened: was secret_file replaced?";
    }

    json_decref(body);
    arena_cleanup(&a);
    return r;
}


/* Limits are those of scheme, host and port. */
static struct slice
limits_id(struct integration *i)
{
    const char  *p = strstr(i->url.p, "://");
    uint32_t     h = 2166136261u;
    size_t       n;

    p = p == NULL ? i->url.p : p + 3;
    n = strcspn(p, "/?#");

    for (const char *c = i->url.p; c < p + n; c++) {
        h = (h ^ (unsigned char) *c) * 16777619u;
    }

    return arena_printf(&i->arena, DIRECT_ID "%.*s-%08x",
        (int) (n > 40 ? 40 : n), p, h);
}


enum result
direct_load(struct store *s, const struct config *c,
    const struct secret *secret, const struct logdoc *d,
    struct integration **out, const char **why)
{
    struct integration  *i;
    enum result          r = RESULT_OK;

    i = integration_create(1024 * 1024);
    if (i == NULL) {
        return RESULT_MEMORY;
    }

    i->url = arena_copy(&i->arena, d->url);
    i->method = arena_copy(&i->arena, d->method);
    i->name = arena_copy(&i->arena, d->endpoint);
    i->content_type = SLICE_LIT("application/json");
    i->user = i->secret = i->token_url = i->scope = SLICE_LIT("");
    i->sealed_url = i->sealed_proxy = i->sealed_token_url = SLICE_LIT("");
    i->proxy = i->cert_pem = i->key_pem = i->ca_pem = SLICE_LIT("");
    i->enabled = i->is_auto_retry = true;
    i->transport = INTEGRATION_HTTP;
    i->auth = SEND_AUTH_NONE;
    i->plain_allowed = strcmp(c->fusion_plain, "yes") == 0;
    i->schedule = retry_webhook;
    i->concurrency = CONCURRENCY;
    i->connect_ms = CONNECT_MS;
    i->total_ms = TOTAL_MS;

    if (i->url.p == NULL || i->method.p == NULL) {
        integration_free(i);
        return RESULT_MEMORY;
    }

    i->id = limits_id(i);

    if (direct_field(d, DIRECT_CALLBACK).n == 0) {
        r = load_event(s, secret, d, i, why);
    }

    if (r != RESULT_OK) {
        integration_free(i);
        return r;
    }

    *out = i;
    return RESULT_OK;
}
