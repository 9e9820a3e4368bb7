/*
 * An event as it comes: known members of the right kinds, an action that is
 * there and a lab that is the caller's.  Every fault names its member.
 */

#include "event_private.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "json.h"
#include "json_member.h"
#include "json_slice.h"


enum result
event_wrong(struct accepting *x, const char *pointer, const char *code,
    const char *detail)
{
    (void) snprintf(x->fault->pointer, sizeof(x->fault->pointer), "%s",
        pointer);
    (void) snprintf(x->fault->code, sizeof(x->fault->code), "%s", code);
    (void) snprintf(x->fault->detail, sizeof(x->fault->detail), "%s", detail);
    return RESULT_INVALID;
}


static bool
is_known(const char *name)
{
    static const char *const  names[] = { "action_id", "lab_id", "refs",
        "payload", "idempotency_key", "priority", "deliver_at" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }

    return false;
}


static enum result
check_refs(struct accepting *x)
{
    const json_t  *refs = json_object_get(x->root, "refs"), *v;
    const char    *name;
    char           pointer[128];

    if (refs == NULL) {
        return RESULT_OK;
    }

    if (!json_is_object(refs) || json_object_size(refs) > 16) {
        return event_wrong(x, "#/refs", "type",
            "must be an object of at most 16 references");
    }

    json_object_foreach((json_t *) refs, name, v) {
        if ((!json_is_string(v) && !json_is_integer(v))
            || strlen(name) > 64
            || (json_is_string(v) && json_string_length(v) > 256))
        {
            (void) snprintf(pointer, sizeof(pointer), "#/refs/%.64s", name);
            return event_wrong(x, pointer, "type",
                "must be text of at most 256 bytes or a whole number");
        }
    }

    return RESULT_OK;
}


static enum result
check_numbers(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "action_id");

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return event_wrong(x, "#/action_id", "required",
            "must be the integer id of an action");
    }

    x->action_id = json_integer_value(v);
    v = json_object_get(x->root, "lab_id");

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return event_wrong(x, "#/lab_id", "required",
            "must be the integer id of a lab");
    }

    x->lab_id = json_integer_value(v);
    v = json_object_get(x->root, "priority");
    x->priority = LOGDOC_NONE;

    if (v != NULL) {
        if (!json_is_integer(v) || json_integer_value(v) < 0
            || json_integer_value(v) > 2)
        {
            return event_wrong(x, "#/priority", "range",
                "must be 2 (HIGH), 1 (MODERATE) or 0 (LOW)");
        }

        x->priority = json_integer_value(v);
    }

    return RESULT_OK;
}


static enum result
check_payload(struct accepting *x)
{
    if (json_object_get(x->root, "payload") == NULL) {
        return event_wrong(x, "#/payload", "required", "is required");
    }

    if (json_member_range(x->json, "payload", &x->payload) != RESULT_OK) {
        return event_wrong(x, "#/payload", "json",
            "cannot be found in the text");
    }

    return RESULT_OK;
}


enum result
event_time(const json_t *v, int64_t now_us, int64_t *out, const char **code,
    const char **why)
{
    *code = "time";
    *why = "must be RFC 3339 such as 2026-01-02T03:04:05Z, or Unix seconds";

    if (json_is_integer(v) && json_integer_value(v) >= 0
        && json_integer_value(v) < INT64_MAX / 1000000)
    {
        *out = json_integer_value(v) * 1000000;

    } else if (!json_is_string(v)
               || clock_parse(json_string_value(v), out) != RESULT_OK)
    {
        return RESULT_INVALID;
    }

    if (*out > now_us + EVENT_MAX_AHEAD_US) {
        *code = "range";
        *why = "must be within a year from now";
        return RESULT_INVALID;
    }

    *out = *out < now_us ? now_us : *out;
    return RESULT_OK;
}


static enum result
check_times(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "deliver_at");
    const char    *code, *why;

    x->deliver_us = x->now_us;

    return v == NULL || event_time(v, x->now_us, &x->deliver_us, &code, &why)
           == RESULT_OK ? RESULT_OK
        : event_wrong(x, "#/deliver_at", code, why);
}


static enum result
check_key(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "idempotency_key");

    x->key = x->caller->key;               /* what the call says for it */

    if (v == NULL) {
        return RESULT_OK;
    }

    if (!json_is_string(v) || json_string_length(v) == 0
        || json_string_length(v) > 255)
    {
        return event_wrong(x, "#/idempotency_key", "length",
            "must be text of 1 to 255 bytes");
    }

    x->key = json_slice(v);
    return RESULT_OK;
}


static bool
lab_in_scope(const struct scope *s, int64_t lab_id, int64_t org_id)
{
    if (s->platform) {
        return true;
    }

    if (org_id != s->org_id) {
        return false;
    }

    for (unsigned i = 0; s->labs != NULL && i < s->nlabs; i++) {
        if (s->labs[i] == lab_id) {
            return true;
        }
    }

    return s->labs == NULL;
}


/* A member of a stored document, LOGDOC_NONE when there is none. */
static enum result
doc_member(struct accepting *x, enum store_coll coll, int64_t id,
    const char *name, int64_t *out)
{
    struct store_doc  d;
    json_t           *body, *v;
    char              text[24];
    enum result       r;

    (void) snprintf(text, sizeof(text), "%lld", (long long) id);
    r = store_doc_get(x->e->store, coll, slice_of(text), x->a, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        v = json_object_get(body, name);
        *out = json_is_integer(v) ? json_integer_value(v) : LOGDOC_NONE;
        json_decref(body);
    }

    return r;
}


/* An action or lab that is not there is the caller's mistake; another tenant's
 * lab is not there. */
static enum result
check_owners(struct accepting *x)
{
    enum result  r;

    r = doc_member(x, STORE_ACTION, x->action_id, "action_category_id",
        &x->category_id);

    if (r == RESULT_NOT_FOUND) {
        return event_wrong(x, "#/action_id", "unknown",
            "there is no such action");
    }

    if (r != RESULT_OK) {
        return r;
    }

    r = doc_member(x, STORE_LAB, x->lab_id, "org_id", &x->org_id);

    if (r == RESULT_NOT_FOUND
        || (r == RESULT_OK
            && !lab_in_scope(&x->caller->scope, x->lab_id, x->org_id)))
    {
        return event_wrong(x, "#/lab_id", "unknown", "there is no such lab");
    }

    return r;
}


enum result
event_check(struct accepting *x)
{
    json_error_t   error;
    const char    *name;
    json_t        *v;
    enum result    r;

    if (x->json.n > EVENT_MAX) {
        return event_wrong(x, "#", "size", "an event has at most 2 MB");
    }

    if (!json_valid(x->json)) {
        return event_wrong(x, "#", "json", "is not JSON of at most 32 levels");
    }

    x->root = json_loadb(x->json.p, x->json.n, JSON_REJECT_DUPLICATES, &error);

    if (x->root == NULL) {
        return event_wrong(x, "#", "json", error.text);
    }

    if (!json_is_object(x->root)) {
        return event_wrong(x, "#", "type", "an event is a JSON object");
    }

    json_object_foreach(x->root, name, v) {
        if (!is_known(name)) {
            char  pointer[128];

            (void) snprintf(pointer, sizeof(pointer), "#/%.100s", name);
            return event_wrong(x, pointer, "unknown",
                "is no member of an event");
        }
    }

    r = check_numbers(x);
    r = r != RESULT_OK ? r : check_payload(x);
    r = r != RESULT_OK ? r : check_times(x);
    r = r != RESULT_OK ? r : check_key(x);
    r = r != RESULT_OK ? r : check_refs(x);
    return r != RESULT_OK ? r : check_owners(x);
}
