/*
 * One document of collection idempotency a key: first a claim with the hash of
 * the call and the id of what it will make, then the answer.  A claim that was
 * left by a crash is taken over after a minute, with the same id.
 */

#include "api_idempotency.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define ONCE_MAX_KEY     255
#define ONCE_MAX_ANSWER  (1024 * 1024)
#define ONCE_HEX         (2 * SHA256_DIGEST_LENGTH)
#define ONCE_CLAIM_US    INT64_C(60000000)
#define ONCE_TRIES       8


static void
hex_of(const unsigned char sum[SHA256_DIGEST_LENGTH], char hex[ONCE_HEX + 1])
{
    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        (void) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    }
}


/* Of method, path and body; the path says which thing is meant. */
static void
call_hash(struct api_call *c, char hex[ONCE_HEX + 1])
{
    unsigned char   sum[SHA256_DIGEST_LENGTH];
    struct slice    body = http_body(c->http);
    struct buf      b;

    buf_init(&b, API_MAX_OUT);
    (void) buf_addf(&b, "%.*s %.*s\n", SLICE_ARG(c->method),
        SLICE_ARG(c->path));
    (void) buf_add(&b, body.p, body.n);
    (void) SHA256((const unsigned char *) (b.failed ? "" : b.p), b.n, sum);
    buf_cleanup(&b);
    hex_of(sum, hex);
}


/* False when the key is not one; NULL out: none was sent. */
static bool
key_id(struct api_call *c, struct slice *out)
{
    unsigned char  sum[SHA256_DIGEST_LENGTH];
    struct slice   key = http_header(c->http, "Idempotency-Key");
    char           hex[ONCE_HEX + 1];

    *out = SLICE_NONE;
    if (key.p == NULL) {
        return true;
    }

    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] < 0x20 || key.p[i] > 0x7e) {
            key.n = 0;
        }
    }

    if (key.n == 0 || key.n > ONCE_MAX_KEY) {
        return api_problem(c, 400, "Idempotency-Key must be 1 to %d printable "
            "ASCII characters.", ONCE_MAX_KEY);
    }

    (void) SHA256((const unsigned char *) key.p, key.n, sum);
    hex_of(sum, hex);
    *out = arena_printf(&c->arena, "call:%s:%s", c->caller.key_id, hex);
    return out->p != NULL || api_problem_result(c, RESULT_MEMORY);
}


/* Writes what is known of the call; takes V. */
static enum result
once_put(struct api_call *c, json_t *v, int64_t if_version, int64_t *version)
{
    struct store_doc  d;
    char             *text = v == NULL ? NULL : json_dumps(v, JSON_COMPACT);
    enum result       r;

    json_decref(v);
    if (text == NULL) {
        return RESULT_MEMORY;
    }

    memset(&d, 0, sizeof(d));
    d.id = c->once.id;
    d.org_id = c->caller.org_id;
    d.created_us = d.updated_us = clock_wall_us();
    d.expires_us = d.created_us + c->env->config->idempotency_keep_us;
    d.body = slice_of(text);
    r = store_doc_put(c->env->store, STORE_IDEMPOTENCY, &d, if_version,
        version);
    free(text);
    return r;
}


static enum result
once_claim(struct api_call *c, int64_t if_version)
{
    char  id[UUID_TEXT + 1];

    uuid_text(c->once.planned, id);
    return once_put(c, json_pack("{s:s,s:s,s:I}", "hash", c->once.hash,
        "planned", id, "until_us",
        (json_int_t) (clock_wall_us() + ONCE_CLAIM_US)), if_version,
        &c->once.version);
}


static void
once_kept(struct api_call *c, unsigned status, struct slice body)
{
    const char   *location = NULL;
    json_t       *v;
    enum result   r;

    c->on_send = NULL;

    if (status < 200 || status > 299 || body.n > ONCE_MAX_ANSWER) {
        return;
    }

    for (unsigned i = 0; i < c->head.n; i++) {
        if (strcmp(c->head.extra[i].name, "Location") == 0) {
            location = c->head.extra[i].value;
        }
    }

    v = json_pack("{s:s,s:i,s:s%,s:s?}", "hash", c->once.hash, "status",
        (int) status, "body", body.n == 0 ? "" : body.p, body.n, "location",
        location);
    r = once_put(c, v, c->once.version, &c->once.version);
    c->once.kept = true;

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "api", "%s: the answer under an idempotency key "
            "could not be kept: %s", c->request_id, result_text(r));
    }
}


/* The first answer again. */
static bool
once_again(struct api_call *c, const json_t *v)
{
    const json_t  *body = json_object_get(v, "body");
    const char    *location = json_string_value(
        json_object_get(v, "location"));

    (void) buf_add(&c->out, json_string_value(body), json_string_length(body));
    (void) http_head_add(&c->head, "Idempotency-Replayed", "true");

    if (location != NULL) {
        (void) http_head_add(&c->head, "Location", "%s", location);
    }

    api_send(c, (unsigned) json_integer_value(json_object_get(v, "status")),
        API_JSON);
    return false;
}


/* What is under the key already; *again: it is ours now. */
static bool
once_judge(struct api_call *c, const struct store_doc *d, enum result *r)
{
    const char  *hash, *planned;
    json_t      *v = json_loadb(d->body.p, d->body.n, 0, NULL);
    bool         go_on = false;
    int64_t      now = clock_wall_us();

    hash = json_string_value(json_object_get(v, "hash"));
    planned = json_string_value(json_object_get(v, "planned"));
    *r = RESULT_OK;

    if (hash == NULL) {
        *r = RESULT_INTERNAL;
        go_on = api_problem_result(c, *r);

    } else if (d->expires_us != LOGDOC_NONE && d->expires_us <= now) {
        go_on = true;

    } else if (strcmp(hash, c->once.hash) != 0) {
        (void) api_problem_type(c, 422, "idempotency-mismatch", "This "
            "Idempotency-Key was sent with another request.");

    } else if (planned == NULL) {
        go_on = once_again(c, v);

    } else if (json_integer_value(json_object_get(v, "until_us")) > now
               || uuid_parse(slice_of(planned), c->once.planned)
                  != RESULT_OK)
    {
        (void) http_head_add(&c->head, "Retry-After", "1");
        (void) api_problem_type(c, 409, "idempotency-in-flight", "The first "
            "request under this Idempotency-Key is still under way.");

    } else {
        go_on = true;
    }

    json_decref(v);

    if (go_on) {
        *r = once_claim(c, d->version);
    }

    return go_on;
}


static bool
once_enter(struct api_call *c)
{
    struct store_doc  d;
    enum result       r;

    for (int i = 0; i < ONCE_TRIES; i++) {
        r = once_claim(c, 0);

        if (r == RESULT_CONFLICT) {
            r = store_doc_get(c->env->store, STORE_IDEMPOTENCY, c->once.id,
                &c->arena, &d);

            if (r == RESULT_OK && !once_judge(c, &d, &r)) {
                return false;
            }
        }

        if (r == RESULT_OK) {
            return true;
        }

        /* somebody was quicker, or let go of it: look again */
        if (r != RESULT_CONFLICT && r != RESULT_NOT_FOUND) {
            return api_problem_result(c, r);
        }
    }

    return api_problem_result(c, RESULT_UNAVAILABLE);
}


bool
api_idempotency_begin(struct api_call *c)
{
    if (!key_id(c, &c->once.id)) {
        return false;
    }

    if (c->once.id.n == 0) {
        return true;
    }

    uuid_make(c->once.planned, clock_wall_us());
    call_hash(c, c->once.hash);

    if (!once_enter(c)) {
        c->once.id = SLICE_NONE;
        return false;
    }

    c->on_send = once_kept;
    return true;
}


void
api_idempotency_end(struct api_call *c)
{
    enum result  r;

    c->on_send = NULL;

    if (c->once.id.n == 0 || c->once.kept) {
        return;
    }

    r = store_doc_delete(c->env->store, STORE_IDEMPOTENCY, c->once.id,
        c->once.version);

    if (r != RESULT_OK && r != RESULT_NOT_FOUND && r != RESULT_CONFLICT) {
        log_rate(LOG_WARN, "api", "%s: an idempotency key stays taken for a "
            "minute: %s", c->request_id, result_text(r));
    }
}


void
api_idempotency_id(struct api_call *c, uint8_t id[UUID_BYTES])
{
    if (c->once.id.n > 0) {
        memcpy(id, c->once.planned, UUID_BYTES);
    } else {
        uuid_make(id, clock_wall_us());
    }
}
