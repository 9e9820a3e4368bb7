/*
 * An integration as it is kept: the snapshot for routing and sending, what
 * clients see of it, and the two changes that we make ourselves.
 */

#include "integration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hl7_map.h"
#include "integration_private.h"


/* -- the snapshot -------------------------------------------------------- */

static bool
load_field(struct integration *i, const struct field *f, const json_t *v)
{
    char          *at = (char *) i + f->offset;
    struct slice   text;
    int            word;

    switch (f->type) {

    case F_INT:
        memcpy(at, &(int64_t) { json_is_integer(v) ? json_integer_value(v)
            : f->standard != NULL ? strtoll(f->standard, NULL, 10)
                                  : LOGDOC_NONE }, sizeof(int64_t));
        return true;

    case F_BOOL:
        *(bool *) at = json_is_boolean(v) ? json_is_true(v)
                                          : f->standard[0] == 't';
        return true;

    case F_WORD:
        word = integration_word(f->words, json_is_string(v) ? json_slice(v)
                                        : slice_of(f->standard));
        memcpy(at, &(int) { word < 0 ? 0 : word }, sizeof(int));
        return true;

    default:
        text = arena_copy(&i->arena, json_is_string(v) ? json_slice(v)
            : slice_of(f->standard == NULL ? "" : f->standard));
        memcpy(at, &text, sizeof(text));
        return text.p != NULL;
    }
}


static bool
load_headers(struct integration *i, const json_t *list, const json_t *sealed)
{
    const json_t  *pair;
    char           member[32];
    size_t         n;

    json_array_foreach((json_t *) list, n, pair) {
        struct integration_header  *h;

        if (i->nheaders == SEND_MAX_HEADERS) {
            break;
        }

        h = &i->headers[i->nheaders++];
        h->name = arena_copy(&i->arena, json_slice(json_array_get(pair, 0)));
        h->value = arena_copy(&i->arena, json_slice(json_array_get(pair, 1)));
        (void) snprintf(member, sizeof(member), "headers/%zu", n);
        h->sealed = arena_copy(&i->arena, json_slice(json_object_get(sealed,
            member)));

        if (h->name.p == NULL || h->value.p == NULL || h->sealed.p == NULL) {
            return false;
        }
    }

    return true;
}


/* The whole of what is shown with ***. */
static bool
load_sealed(struct integration *i, const json_t *sealed)
{
    i->sealed_url = arena_copy(&i->arena,
        json_slice(json_object_get(sealed, "url")));
    i->sealed_proxy = arena_copy(&i->arena,
        json_slice(json_object_get(sealed, "proxy")));
    i->sealed_token_url = arena_copy(&i->arena,
        json_slice(json_object_get(sealed, "token_url")));

    return i->sealed_url.p != NULL && i->sealed_proxy.p != NULL
           && i->sealed_token_url.p != NULL;
}


static bool
load_secrets(struct integration *i, const json_t *list)
{
    const json_t  *item;
    const char    *until;
    size_t         n;

    json_array_foreach((json_t *) list, n, item) {
        if (i->nsecrets == SIGN_MAX_KEYS) {
            break;
        }

        until = json_string_value(json_object_get(item, "until"));
        i->secret_until_us[i->nsecrets] = LOGDOC_NONE;

        if (until != NULL
            && clock_parse(until, &i->secret_until_us[i->nsecrets])
                   != RESULT_OK)
        {
            i->secret_until_us[i->nsecrets] = 0;
        }

        i->secrets[i->nsecrets] = arena_copy(&i->arena,
            json_slice(json_object_get(item, "sealed")));

        if (i->secrets[i->nsecrets++].p == NULL) {
            return false;
        }
    }

    return true;
}


static void
load_schedule(struct integration *i)
{
    struct retry_schedule  own;
    const char            *why;

    i->schedule = i->transport == INTEGRATION_MLLP ? retry_hl7 : retry_webhook;
    own = i->schedule;
    own.endless = false;

    if (i->schedule_text.n > 0
        && retry_schedule_parse(i->schedule_text, &own, &why) == RESULT_OK)
    {
        i->schedule = own;
    }

    if (i->transport == INTEGRATION_MLLP) {
        i->concurrency = 1;
        i->ordered = true;
        i->is_batch = false;
    }

    i->holds = i->ordered && (i->on_fail == ON_FAIL_HOLD
                              || (i->on_fail == ON_FAIL_AUTO
                                  && i->transport == INTEGRATION_HTTP));
}


struct slice
integration_program(const struct integration *i, struct slice transform,
    const json_t *event)
{
    const json_t  *payload = json_object_get(event, "payload");
    bool           message = json_is_array(json_object_get(payload,
        "segments"));

    return transform.n == 0 && i->transport == INTEGRATION_MLLP && !i->hl7_raw
        && !message ? hl7_map() : transform;
}


struct integration *
integration_create(size_t cap)
{
    struct integration  *i = calloc(1, sizeof(*i));

    if (i != NULL) {
        arena_init(&i->arena, cap);
        i->sends = &i->ready;
    }

    return i;
}


enum result
integration_load(const struct store_doc *d, struct integration **out)
{
    struct integration  *i;
    json_t              *body;
    bool                 ok;

    i = integration_create(2 * 1024 * 1024);
    if (i == NULL) {
        return RESULT_MEMORY;
    }

    body = json_loadb(d->body.p, d->body.n, 0, NULL);
    i->version = d->version;
    i->id = arena_copy(&i->arena, d->id);
    ok = i->id.p != NULL && json_is_object(body);

    for (size_t n = 0; n < INTEGRATION_FIELDS && ok; n++) {
        ok = load_field(i, &integration_fields[n],
            json_object_get(body, integration_fields[n].name));
    }

    i->gone = !i->enabled && slice_eq(json_slice(json_object_get(body,
        "disabled_reason")), SLICE_LIT("gone"));
    ok = ok && load_headers(i, json_object_get(body, "headers"),
             json_object_get(body, SEALED))
         && load_sealed(i, json_object_get(body, SEALED))
         && load_secrets(i, json_object_get(body, "signing_secrets"));
    json_decref(body);

    if (!ok) {
        integration_free(i);
        return RESULT_INVALID;
    }

    load_schedule(i);
    *out = i;
    return RESULT_OK;
}


void
integration_free(struct integration *i)
{
    if (i != NULL) {
        integration_ready_free(i->ready);
        arena_cleanup(&i->arena);
        free(i);
    }
}


/* -- changes by ourselves ------------------------------------------------ */

enum result
integration_rotate(json_t *stored, struct slice id,
    const struct secret *secret, int64_t overlap_us, char plain[64])
{
    json_t      *list = json_object_get(stored, "signing_secrets"), *item;
    struct buf   sealed;
    char         place[160], now[CLOCK_RFC3339 + 1], until[CLOCK_RFC3339 + 1];
    char        *text;
    size_t       i;
    enum result  r;

    buf_init(&sealed, 4096);
    integration_secret_place(id, "signing_secret", place);
    clock_text(clock_wall_us(), now);
    clock_text(clock_wall_us() + overlap_us, until);

    r = sign_key_make(plain);
    r = r != RESULT_OK ? r : seal_close(secret, slice_of(place),
        slice_of(plain), &sealed);
    text = r == RESULT_OK ? buf_take(&sealed, NULL) : NULL;

    if (text == NULL) {
        buf_cleanup(&sealed);
        return r == RESULT_OK ? RESULT_MEMORY : r;
    }

    json_array_foreach(list, i, item) {
        if (json_is_null(json_object_get(item, "until"))) {
            (void) json_object_set_new(item, "until", json_string(until));
        }
    }

    (void) json_array_insert_new(list, 0, json_pack("{s:s,s:s,s:n}", "sealed",
        text, "created_at", now, "until"));

    while (json_array_size(list) > SIGN_MAX_KEYS) {
        (void) json_array_remove(list, SIGN_MAX_KEYS);
    }

    free(text);
    return RESULT_OK;
}


enum result
integration_disable(struct store *s, struct slice id, const char *reason)
{
    struct store_doc  d;
    struct arena      a;
    json_t           *body;
    char             *text = NULL;
    int64_t           version;
    enum result       r;

    arena_init(&a, 4 * 1024 * 1024);

    for (int i = 0; i < 3; i++) {
        arena_reset(&a);
        r = store_doc_get(s, STORE_INTEGRATION, id, &a, &d);

        if (r != RESULT_OK) {
            break;
        }

        body = json_loadb(d.body.p, d.body.n, 0, NULL);

        if (json_is_false(json_object_get(body, "enabled"))) {
            json_decref(body);
            break;
        }

        (void) json_object_set_new(body, "enabled", json_false());
        (void) json_object_set_new(body, "disabled_reason",
            json_string(reason));
        text = json_dumps(body, JSON_COMPACT);
        json_decref(body);

        if (text == NULL) {
            r = RESULT_MEMORY;
            break;
        }

        d.body = slice_of(text);
        d.updated_us = clock_wall_us();
        r = store_doc_put(s, STORE_INTEGRATION, &d, d.version, &version);
        free(text);

        /* somebody else changed it meanwhile: again on what is there now */
        if (r != RESULT_CONFLICT) {
            break;
        }
    }

    arena_cleanup(&a);
    return r;
}
