/*
 * An item as it came: checked, mapped by fusion_map, and found among what is
 * known.  All faults of an item are noted, not only the first.
 */

#include "fusion_private.h"

#include <stdio.h>
#include <string.h>

#include "event_private.h"
#include "fusion.h"
#include "http_outcome.h"
#include "json_member.h"

#define MAX_TAG           200
#define MAX_HEADER_BYTES  (32 * 1024)      /* of an item, names too */


static void
warn(struct item *x, const char *field, const char *message)
{
    struct fusion_fault  *f;

    if (x->c->nwarnings < FUSION_MAX_FAULTS) {
        f = &x->c->warnings[x->c->nwarnings++];
        f->index = x->index;
        (void) snprintf(f->field, sizeof(f->field), "%s", field);
        (void) snprintf(f->message, sizeof(f->message), "%s", message);
    }
}


/* -- checking ------------------------------------------------------------ */

#define WRONG(field, ...)  (void) fusion_wrong(x->c, x->index, field,         \
    __VA_ARGS__)


static void
check_task(struct item *x)
{
    const json_t  *v = member(x->root, "task");

    if (!json_is_integer(v)) {
        WRONG("task", "must be a whole number");

    } else if (json_integer_value(v) != 4) {
        WRONG("task", "task %lld is not served here, only 4 (webhook)",
            (long long) json_integer_value(v));
    }

    if (!json_is_integer(member(x->root, "task_type"))) {
        WRONG("task_type", "must be a whole number");
    }

    if (!json_is_object(member(x->root, "data"))) {
        WRONG("data", "must be an object");
    }
}


static void
check_numbers(struct item *x)
{
    const json_t  *v = member(x->root, "override_priority");

    if (v != NULL && (!json_is_integer(v) || json_integer_value(v) < 0
                      || json_integer_value(v) > 2))
    {
        WRONG("override_priority",
            "must be 0 (LOW), 1 (MODERATE) or 2 (HIGH)");
    }

    v = member(x->root, "retry");
    x->attempts = LOGDOC_NONE;

    if (v == NULL) {
        return;
    }

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        WRONG("retry", "must be a number of attempts, at most 10");

    } else if (json_integer_value(v) > FUSION_MAX_RETRY) {
        x->attempts = FUSION_MAX_RETRY;
        warn(x, "retry", "is read as 10, the most");

    } else {
        x->attempts = json_integer_value(v);

        if (x->attempts == 0) {
            x->attempts = 1;
            warn(x, "retry", "is read as 1: there is a first attempt");
        }
    }
}


static void
check_tag(struct item *x)
{
    const json_t  *v = member(x->root, "log_tag");

    if (v != NULL && (!json_is_string(v)
                      || json_string_length(v) > MAX_TAG))
    {
        WRONG("log_tag", "must be text of at most %d bytes", MAX_TAG);
    }
}


static bool
url_is_right(struct item *x, const char *field, const json_t *v)
{
    const char  *why;
    bool         literal;

    if (!json_is_string(v)
        || strlen(json_string_value(v)) != json_string_length(v))
    {
        WRONG(field, "must be a URL");
        return false;
    }

    if (http_url_check(json_string_value(v),
            strcmp(x->c->config->fusion_plain, "yes") == 0,
            x->c->config->outbound_ports, &literal, &why) != RESULT_OK)
    {
        WRONG(field, "%s", why);
        return false;
    }

    return true;
}


static void
check_handlers(struct item *x)
{
    static const char *const  names[][2] = {
        { "success_task_handler", "success" },
        { "failed_task_handler", "failed" }, { "subscribe", "subscribe" }
    };

    x->handlers = json_object();

    for (size_t i = 0; i < 3; i++) {
        const json_t  *v = member(x->root, names[i][0]);

        if (v != NULL && url_is_right(x, names[i][0], v)) {
            (void) json_object_set(x->handlers, names[i][1], (json_t *) v);
        }
    }
}


/* Numbers of old callers become text. */
static void
add_header(struct item *x, const char *field, const char *name,
    const json_t *v)
{
    const char    *why;
    struct slice   value = json_slice(v);

    if (json_is_integer(v)) {
        value = arena_printf(x->c->arena, "%lld",
            (long long) json_integer_value(v));

    } else if (!json_is_string(v)) {
        WRONG(field, "%.60s: must be text", name);
        return;
    }

    if (http_header_check(slice_of(name), value, &why) != RESULT_OK) {
        WRONG(field, "%.60s: %s", name, why);
        return;
    }

    (void) json_object_set_new(x->headers, name, json_stringn(value.p,
        value.n));
}


static void
check_headers(struct item *x, const char *field, const json_t *list)
{
    const char  *name;
    json_t      *v;
    size_t       bytes = 0;

    if (list == NULL) {
        return;
    }

    if (!json_is_object(list)
        || json_object_size(list) + json_object_size(x->headers)
               > SEND_MAX_HEADERS)
    {
        WRONG(field, "must be an object of at most %d headers",
            SEND_MAX_HEADERS);
        return;
    }

    json_object_foreach((json_t *) list, name, v) {
        add_header(x, field, name, v);
    }

    json_object_foreach(x->headers, name, v) {
        bytes += strlen(name) + json_string_length(v);
    }

    if (bytes > MAX_HEADER_BYTES) {
        WRONG(field, "are longer than %d bytes together", MAX_HEADER_BYTES);
    }
}


static void
check_time(struct item *x, bool scheduled)
{
    const json_t  *v = member(x->root, "deliver_at");
    const char    *code, *why;

    x->due_us = x->now_us;

    if (scheduled && v == NULL) {
        WRONG("deliver_at", "is required");

    } else if (scheduled && event_time(v, x->now_us, &x->due_us, &code, &why)
                                != RESULT_OK)
    {
        WRONG("deliver_at", "%s", why);
    }
}


/* -- mapping ------------------------------------------------------------- */

/* {url, method, headers, payload, action_id, lab_id, log_id, refs}: what the
 * program gives, or those names inside data. */
static enum result
map_item(struct item *x)
{
    const char   *program = x->c->config->fusion_map;
    struct slice  data;
    struct buf    out;
    enum result   r;

    if (program == NULL) {
        x->map = json_incref(json_object_get(x->root, "data"));

        if (json_member_range(x->text, "data", &data) != RESULT_OK
            || json_member_range(data, "payload", &x->payload) != RESULT_OK)
        {
            x->payload = SLICE_NONE;
        }

        return RESULT_OK;
    }

    buf_init(&out, JQ_MAX_OUTPUT);
    r = jq_child_run(events_jq(x->c->events), JQ_TRANSFORM, slice_of(program),
        x->text, &out);

    if (r == RESULT_OK) {
        data = arena_copy(x->c->arena, (struct slice) { out.p, out.n });
        x->map = json_loadb(data.p, data.n, 0, NULL);

        if (!json_is_object(x->map)) {
            WRONG("data", "fusion_map gave no object");

        } else if (json_member_range(data, "payload", &x->payload)
                   != RESULT_OK)
        {
            x->payload = SLICE_NONE;
        }

    } else if (r != RESULT_UNAVAILABLE) {
        WRONG("data", "fusion_map: %.*s", (int) (out.n > 150 ? 150 : out.n),
            out.p == NULL ? "" : out.p);
        r = RESULT_OK;
    }

    buf_cleanup(&out);
    return r;
}


static void
check_method(struct item *x)
{
    const json_t  *v = member(x->map, "method");

    if (v != NULL && (!json_is_string(v)
                      || !http_method_is_known(json_string_value(v))))
    {
        WRONG("data.method", "must be " HTTP_METHODS);
    }

    if (x->payload.n == 0 && (v == NULL || !json_is_string(v)
                              || strcmp(json_string_value(v), "GET") != 0))
    {
        WRONG("data.payload", "is required");
    }

    if (x->payload.n > SEND_MAX_BODY) {
        WRONG("data.payload", "is longer than 1 MB");
    }
}


/* The document of an id that the item names, if it is right. */
static enum result
find_owner(struct item *x, enum store_coll coll, const char *name,
    const char *field, const char *of, int64_t *owner)
{
    const json_t      *v = member(x->map, name);
    struct store_doc   d;
    json_t            *body;
    char               id[24];
    enum result        r;

    *owner = LOGDOC_NONE;

    if (v == NULL) {
        return RESULT_OK;
    }

    if (!json_is_integer(v)) {
        WRONG(field, "must be a whole number");
        return RESULT_OK;
    }

    (void) snprintf(id, sizeof(id), "%lld",
        (long long) json_integer_value(v));
    r = store_doc_get(x->c->store, coll, slice_of(id), x->c->arena, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        *owner = json_integer_value(json_object_get(body, of));
        json_decref(body);
    }

    if (r == RESULT_NOT_FOUND
        || (r == RESULT_OK && coll == STORE_LAB && *owner != x->c->org_id))
    {
        WRONG(field, "there is no such %s", coll == STORE_LAB ? "lab"
            : "action");
        r = RESULT_OK;
    }

    return r;
}


/* A known log goes on: an open one is sent when this item says, an ended one
 * is sent again under the same message id. */
static enum result
check_log(struct item *x)
{
    const struct scope  mine = { .org_id = x->c->org_id };
    const json_t       *v = member(x->map, "log_id");
    struct logdoc      *d = arena_alloc(x->c->arena, sizeof(*d));
    char                id[UUID_TEXT + 1];
    enum result         r;

    if (d == NULL) {
        return RESULT_MEMORY;
    }

    if (uuid_parse(json_slice(v), x->log_id) != RESULT_OK) {
        return RESULT_OK;
    }

    r = store_log_get(x->c->store, &mine, x->log_id, x->c->arena, d);

    if (r == RESULT_OK && d->kind == LOG_KIND_WEBHOOK) {
        x->goes_on = d->status == LOG_PENDING || d->status == LOG_RETRYING;
        uuid_text(x->log_id, id);
        x->resend_of = arena_copy(x->c->arena, slice_of(id));
        x->message_id = d->message_id.n > 0 ? d->message_id : x->resend_of;
    }

    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


/* All of an item; faults are noted, other results end the call. */
enum result
fusion_item_check(struct item *x, bool scheduled)
{
    size_t       before = x->c->nfaults;
    int64_t      org;
    enum result  r;

    check_task(x);

    /* of other tasks nothing else can be judged */
    if (x->c->nfaults > before) {
        return RESULT_OK;
    }

    x->headers = json_object();
    check_numbers(x);
    check_tag(x);
    check_handlers(x);
    check_time(x, scheduled);
    r = map_item(x);

    if (r != RESULT_OK || !json_is_object(x->map)) {
        return r;
    }

    check_headers(x, "data.headers", member(x->map, "headers"));
    check_headers(x, "headers", member(x->root, "headers"));
    check_method(x);

    if (member(x->map, "url") == NULL) {
        WRONG("data.url", "is required");
    } else {
        (void) url_is_right(x, "data.url", member(x->map, "url"));
    }

    r = find_owner(x, STORE_ACTION, "action_id", "data.action_id",
        "action_category_id", &x->category_id);
    r = r != RESULT_OK ? r : find_owner(x, STORE_LAB, "lab_id", "data.lab_id",
        "org_id", &org);
    return r != RESULT_OK ? r : check_log(x);
}


void
fusion_item_cleanup(struct item *x)
{
    json_decref(x->root);
    json_decref(x->map);
    json_decref(x->headers);
    json_decref(x->handlers);
}
