/*
 * Fusion's items.  An item's document holds all that its log is made of, so
 * that a crash between the two is mended; order of writes: documents, notes of
 * callbacks, logs, then the answer.
 */

#include "fusion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "callback.h"
#include "clock.h"
#include "direct.h"
#include "event_private.h"
#include "http_outcome.h"
#include "json.h"
#include "json_member.h"

#define MAX_TAG    200
#define LOGS_ONCE  100
#define SPACE      " \t\r\n"

struct item {                              /* one, while it is checked */
    struct fusion_call  *c;
    size_t               index;
    struct slice         text;             /* its exact bytes */
    json_t              *root, *map;       /* map: what fusion_map gave */
    struct slice         payload;
    json_t              *headers, *handlers;
    int64_t              now_us, due_us;
    int64_t              attempts;         /* LOGDOC_NONE: the schedule's */
    int64_t              category_id;
    bool                 goes_on;          /* the log of log_id goes on */
    uint8_t              log_id[UUID_BYTES];
    struct slice         message_id, resend_of;
};

struct job {                               /* one that was found right */
    json_t         *doc;                   /* NULL: log_id goes on */
    struct logdoc   log;
    json_t         *handlers;
    int64_t         due_us;
};


enum result
fusion_wrong(struct fusion_call *c, size_t index, const char *field,
    const char *fmt, ...)
{
    struct fusion_fault  *f;
    va_list               ap;

    if (c->nfaults < FUSION_MAX_FAULTS) {
        f = &c->faults[c->nfaults++];
        f->index = index;
        (void) snprintf(f->field, sizeof(f->field), "%.60s", field);
        va_start(ap, fmt);
        (void) vsnprintf(f->message, sizeof(f->message), fmt, ap);
        va_end(ap);
    }

    return RESULT_INVALID;
}


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


/* null is as if it were not there: old callers send it */
static const json_t *
member(const json_t *o, const char *name)
{
    const json_t  *v = json_object_get(o, name);

    return json_is_null(v) ? NULL : v;
}


static struct slice
text_of(const json_t *v)
{
    return (struct slice) { json_string_value(v), json_string_length(v) };
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
    struct slice   value = text_of(v);

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
    static const char *const  methods[] = { "GET", "POST", "PUT", "PATCH",
        "DELETE" };
    const json_t  *v = member(x->map, "method");
    bool           known = v == NULL;

    for (size_t i = 0; i < 5 && json_is_string(v); i++) {
        known = known || strcmp(json_string_value(v), methods[i]) == 0;
    }

    if (!known) {
        WRONG("data.method", "must be GET, POST, PUT, PATCH or DELETE");
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

    if (uuid_parse(text_of(v), x->log_id) != RESULT_OK) {
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
static enum result
check_item(struct item *x, bool scheduled)
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


/* -- making -------------------------------------------------------------- */

static void
set_text(json_t *o, const char *name, struct slice s)
{
    if (s.n > 0) {
        (void) json_object_set_new(o, name, json_stringn(s.p, s.n));
    }
}


static void
set_copy(json_t *o, const char *name, const json_t *v)
{
    if (v != NULL) {
        (void) json_object_set(o, name, (json_t *) v);
    }
}


/* What the log is made of, now or after a crash. */
static json_t *
fusion_json(struct item *x, struct slice event_id)
{
    json_t      *f = json_object();
    const json_t  *priority = member(x->root, "override_priority");
    struct buf   sealed;

    set_copy(f, "url", member(x->map, "url"));
    (void) json_object_set_new(f, "method", member(x->map, "method") == NULL
        ? json_string("POST") : json_copy((json_t *) member(x->map,
                                    "method")));
    set_text(f, "payload", x->payload);
    set_copy(f, "lab_id", member(x->map, "lab_id"));
    set_copy(f, "refs", member(x->map, "refs"));
    set_copy(f, "task_type", member(x->root, "task_type"));
    set_copy(f, "log_tag", member(x->root, "log_tag"));
    set_copy(f, "handlers", x->handlers);
    set_text(f, "developer_id", x->c->developer_id);
    set_text(f, "message_id", x->message_id);
    set_text(f, "resend_of", x->resend_of);
    (void) json_object_set_new(f, "org_id", json_integer(x->c->org_id));
    (void) json_object_set_new(f, "due_us", json_integer(x->due_us));
    (void) json_object_set_new(f, "priority",
        json_integer(priority == NULL ? 1 : json_integer_value(priority)));

    if (x->category_id != LOGDOC_NONE) {
        (void) json_object_set_new(f, "category_id",
            json_integer(x->category_id));
    }

    if (x->attempts != LOGDOC_NONE) {
        (void) json_object_set_new(f, "attempts", json_integer(x->attempts));
    }

    buf_init(&sealed, 128 * 1024);

    if (json_object_size(x->headers) > 0
        && direct_seal(x->c->secret, event_id, x->headers, &sealed)
               == RESULT_OK)
    {
        (void) json_object_set_new(f, "headers", json_stringn(sealed.p,
            sealed.n));
    }

    buf_cleanup(&sealed);
    return f;
}


/* Their limits are those of the host; so is their label. */
static struct slice
host_of(const char *url, struct arena *a)
{
    const char  *p = strstr(url, "://");

    p = p == NULL ? url : p + 3;
    return arena_copy(a, (struct slice) { p, strcspn(p, "/?#") });
}


static int64_t
number_of(const json_t *o, const char *name)
{
    const json_t  *v = json_object_get(o, name);

    return json_is_integer(v) ? json_integer_value(v) : LOGDOC_NONE;
}


static void
fill_refs(struct logdoc *d, const json_t *refs, struct arena *a)
{
    const char  *name;
    json_t      *v;

    json_object_foreach((json_t *) refs, name, v) {
        if (d->nrefs == 16 || strlen(name) > 64
            || (!json_is_string(v) && !json_is_integer(v))
            || json_string_length(v) > 256)
        {
            continue;
        }

        d->refs[d->nrefs].name = arena_copy(a, slice_of(name));
        d->refs[d->nrefs++].value = json_is_string(v)
            ? arena_copy(a, text_of(v))
            : arena_printf(a, "%lld", (long long) json_integer_value(v));
    }
}


static void
add_field(struct logdoc *d, const char *name, struct slice value)
{
    if (value.n > 0) {
        d->fields[d->nfields++] = (struct log_pair) { slice_of(name), value };
    }
}


/* The log of a document, the same each time. */
static enum result
log_of(const json_t *doc, struct arena *a, struct logdoc *d)
{
    const json_t  *f = json_object_get(doc, "fusion");
    const json_t  *id = json_array_get(json_object_get(doc, "log_ids"), 0);

    logdoc_init(d);

    if (uuid_parse(text_of(id), d->id) != RESULT_OK
        || !json_is_string(json_object_get(f, "url")))
    {
        return RESULT_INTERNAL;
    }

    d->kind = LOG_KIND_WEBHOOK;
    d->status = LOG_PENDING;
    d->started_us = uuid_time_us(d->id);
    d->action_id = number_of(doc, "action_id");
    d->lab_id = number_of(f, "lab_id");
    d->action_category_id = number_of(f, "category_id");
    d->org_id = number_of(f, "org_id");
    d->developer_id = arena_copy(a, text_of(json_object_get(f,
        "developer_id")));
    d->url = arena_copy(a, text_of(json_object_get(f, "url")));
    d->endpoint = host_of(d->url.p, a);
    d->method = arena_copy(a, text_of(json_object_get(f, "method")));
    d->priority = number_of(f, "priority");
    d->next_attempt_us = number_of(f, "due_us");
    d->attempts = 0;
    d->event_id = arena_copy(a, text_of(json_object_get(doc, "event_id")));
    d->message_id = arena_copy(a, json_object_get(f, "message_id") == NULL
        ? text_of(id) : text_of(json_object_get(f, "message_id")));
    d->resend_of = arena_copy(a, text_of(json_object_get(f, "resend_of")));
    d->request.data = arena_copy(a, text_of(json_object_get(f, "payload")));
    d->request.bytes = (int64_t) d->request.data.n;
    fill_refs(d, json_object_get(f, "refs"), a);
    add_field(d, "task_type", arena_printf(a, "%lld",
        (long long) number_of(f, "task_type")));
    add_field(d, "log_tag", arena_copy(a, text_of(json_object_get(f,
        "log_tag"))));
    return d->request.data.n > 0 && d->request.data.p == NULL ? RESULT_MEMORY
                                                              : RESULT_OK;
}


static enum result
make_job(struct item *x, struct job *job)
{
    uint8_t  event[UUID_BYTES], log[UUID_BYTES];
    char     event_id[UUID_TEXT + 1], log_id[UUID_TEXT + 1];
    int64_t  at_us = x->now_us + (int64_t) x->index;

    job->due_us = x->due_us;
    job->handlers = json_incref(x->handlers);

    if (x->goes_on) {
        memcpy(job->log.id, x->log_id, UUID_BYTES);
        return RESULT_OK;
    }

    uuid_make(event, at_us);
    uuid_make(log, at_us);
    uuid_text(event, event_id);
    uuid_text(log, log_id);
    job->doc = json_pack("{s:s,s:[s],s:o}", "event_id", event_id, "log_ids",
        log_id, "fusion", fusion_json(x, slice_of(event_id)));
    set_copy(job->doc, "action_id", member(x->map, "action_id"));
    set_copy(job->doc, "lab_id", member(x->map, "lab_id"));
    return job->doc == NULL ? RESULT_MEMORY : log_of(job->doc, x->c->arena,
        &job->log);
}


static void
item_cleanup(struct item *x)
{
    json_decref(x->root);
    json_decref(x->map);
    json_decref(x->headers);
    json_decref(x->handlers);
}


/* -- keeping ------------------------------------------------------------- */

static enum result
keep_doc(struct fusion_call *c, const json_t *doc, int64_t due_us)
{
    struct store_doc  d = { .org_id = c->org_id,
        .id = text_of(json_object_get(doc, "event_id")),
        .created_us = clock_wall_us(), .updated_us = clock_wall_us(),
        .expires_us = due_us + c->config->retention_fail_us };
    char             *text = json_dumps(doc, JSON_COMPACT);
    int64_t           version;
    enum result       r;

    if (text == NULL) {
        return RESULT_MEMORY;
    }

    d.body = slice_of(text);
    r = store_doc_put(c->store, STORE_EVENT, &d, 0, &version);
    free(text);
    return r;
}


static enum result
go_on(struct fusion_call *c, const struct job *job)
{
    const struct scope  mine = { .org_id = c->org_id };
    struct logdoc       moved;
    enum log_status     status;
    enum result         r;

    r = store_move(c->store, &mine, job->log.id, STORE_RESCHEDULE,
        job->due_us, SLICE_NONE, &status);

    if (r == RESULT_OK) {
        logdoc_init(&moved);
        memcpy(moved.id, job->log.id, UUID_BYTES);
        moved.kind = LOG_KIND_WEBHOOK;
        moved.status = status;
        moved.next_attempt_us = job->due_us;
        moved.priority = 1;
        moved.org_id = c->org_id;
        moved.started_us = uuid_time_us(moved.id);
        events_queue(c->events, &moved, 1);
    }

    /* it is being sent, or ended meanwhile: then that was its end */
    return r == RESULT_CONFLICT || r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


static enum result
keep_logs(struct fusion_call *c, struct job *jobs, size_t n)
{
    enum store_insert  outcome[LOGS_ONCE];
    struct logdoc     *logs = arena_alloc(c->arena, LOGS_ONCE
                           * sizeof(*logs));
    size_t             some = 0;
    enum result        r = logs == NULL ? RESULT_MEMORY : RESULT_OK;

    for (size_t i = 0; i <= n && r == RESULT_OK; i++) {
        if (some == LOGS_ONCE || (i == n && some > 0)) {
            r = store_logs_insert(c->store, logs, some, outcome);

            if (r == RESULT_OK) {
                events_queue(c->events, logs, some);
            }

            some = 0;
        }

        if (i < n && jobs[i].doc != NULL) {
            logs[some++] = jobs[i].log;
        }
    }

    return r;
}


static enum result
keep(struct fusion_call *c, struct job *jobs, size_t n)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        if (jobs[i].doc != NULL) {
            r = keep_doc(c, jobs[i].doc, jobs[i].due_us);
        }

        r = r != RESULT_OK ? r : callback_plan(c->store, jobs[i].log.id,
            c->org_id, jobs[i].handlers, jobs[i].due_us
                + c->config->retention_fail_us);
        r = r != RESULT_OK || jobs[i].doc != NULL ? r : go_on(c, &jobs[i]);
    }

    return r != RESULT_OK ? r : keep_logs(c, jobs, n);
}


/* -- the calls ----------------------------------------------------------- */

/* The text of each element, in the arena. */
static enum result
split(struct fusion_call *c, struct slice body, struct slice **out, size_t *n)
{
    json_t        *list = json_valid(body) ? json_loadb(body.p, body.n,
                       JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char    *p = body.p, *end = body.p + body.n;
    json_error_t   error;
    json_t        *v;
    size_t         at;

    *n = json_array_size(list);

    if (!json_is_array(list) || *n == 0 || *n > FUSION_MAX_ITEMS) {
        (void) fusion_wrong(c, 0, "", list == NULL
            ? "the body is not JSON" : "the body must be an array of 1 to %d "
              "items", FUSION_MAX_ITEMS);
        json_decref(list);
        return RESULT_INVALID;
    }

    json_decref(list);
    *out = arena_alloc(c->arena, *n * sizeof(**out));

    for (at = 0; *out != NULL && at < *n; at++) {
        p += strspn(p, SPACE);
        p++;                               /* the bracket, then a comma */
        p += strspn(p, SPACE);
        v = json_loadb(p, (size_t) (end - p), JSON_DISABLE_EOF_CHECK
            | JSON_DECODE_ANY, &error);
        json_decref(v);

        if (v == NULL) {
            return RESULT_INTERNAL;
        }

        (*out)[at] = (struct slice) { p, (size_t) error.position };
        p += error.position;
    }

    return *out == NULL ? RESULT_MEMORY : RESULT_OK;
}


static enum result
check_all(struct fusion_call *c, const struct slice *texts, size_t n,
    bool scheduled, struct job *jobs)
{
    int64_t      now = clock_wall_us();
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        struct item  x = { .c = c, .index = i, .text = texts[i],
            .now_us = now, .category_id = LOGDOC_NONE };
        size_t       before = c->nfaults;

        x.root = json_loadb(texts[i].p, texts[i].n, JSON_DECODE_ANY, NULL);

        if (!json_is_object(x.root)) {
            (void) fusion_wrong(c, i, "", "must be an object");
        } else {
            r = check_item(&x, scheduled);
        }

        if (r == RESULT_OK && c->nfaults == before && c->nfaults == 0) {
            r = make_job(&x, &jobs[i]);
        }

        item_cleanup(&x);
    }

    return r != RESULT_OK ? r : c->nfaults > 0 ? RESULT_INVALID : RESULT_OK;
}


enum result
fusion_queue(struct fusion_call *c, struct slice body, bool scheduled)
{
    struct slice  *texts = NULL, text;
    struct job    *jobs;
    size_t         n = 0;
    enum result    r;

    /* NUL-terminated, for the search of separators */
    text = arena_copy(c->arena, body);
    r = text.p == NULL ? RESULT_MEMORY : split(c, text, &texts, &n);

    if (r != RESULT_OK) {
        return r;
    }

    jobs = calloc(n, sizeof(*jobs));
    c->jobs = arena_alloc(c->arena, n * sizeof(*c->jobs));
    r = jobs == NULL || c->jobs == NULL ? RESULT_MEMORY
        : check_all(c, texts, n, scheduled, jobs);
    r = r != RESULT_OK ? r : keep(c, jobs, n);

    for (size_t i = 0; jobs != NULL && i < n; i++) {
        if (r == RESULT_OK) {
            memcpy(c->jobs[c->njobs++], jobs[i].log.id, UUID_BYTES);
        }

        json_decref(jobs[i].doc);
        json_decref(jobs[i].handlers);
    }

    free(jobs);
    return r;
}


/* A copy; its handlers are told of its end too. */
enum result
fusion_again(struct fusion_call *c, const struct logdoc *of, int64_t due_us,
    uint8_t id[UUID_BYTES])
{
    enum store_insert  outcome;
    struct store_doc   event;
    struct logdoc      d = *of;
    json_t            *doc = NULL;
    char               text[UUID_TEXT + 1];
    enum result        r;

    uuid_text(of->id, text);
    d.resend_of = arena_copy(c->arena, slice_of(text));
    d.message_id = of->message_id.n > 0 ? of->message_id : d.resend_of;
    d.started_us = clock_wall_us();
    uuid_make(d.id, d.started_us);
    memcpy(id, d.id, UUID_BYTES);
    d.status = LOG_PENDING;
    d.attempts = d.token = 0;
    d.flags = 0;
    d.lease_until_us = d.http_status = d.expires_us = LOGDOC_NONE;
    d.duration_us = d.connect_us = d.first_byte_us = LOGDOC_NONE;
    d.next_attempt_us = due_us;
    d.error_code = d.error_message = SLICE_NONE;
    d.error_fingerprint = 0;
    d.response = (struct log_body) { .bytes = LOGDOC_NONE };
    memset(d.digest, 0, sizeof(d.digest));

    r = store_doc_get(c->store, STORE_EVENT, of->event_id, c->arena, &event);

    if (r == RESULT_OK) {
        doc = json_loadb(event.body.p, event.body.n, 0, NULL);
        r = callback_plan(c->store, d.id, c->org_id, json_object_get(
            json_object_get(doc, "fusion"), "handlers"), due_us
                + c->config->retention_fail_us);
        json_decref(doc);
    }

    r = r != RESULT_OK ? r : store_logs_insert(c->store, &d, 1, &outcome);

    if (r == RESULT_OK) {
        events_queue(c->events, &d, 1);
    }

    return r;
}


enum result
fusion_complete(struct events *e, const json_t *doc, struct arena *a)
{
    const json_t       *f = json_object_get(doc, "fusion");
    enum store_insert   outcome;
    struct logdoc      *d = arena_alloc(a, sizeof(*d));
    enum result         r;

    r = d == NULL ? RESULT_MEMORY : log_of(doc, a, d);
    r = r != RESULT_OK ? r : callback_plan(e->store, d->id, d->org_id,
        json_object_get(f, "handlers"), d->next_attempt_us
            + e->config->retention_fail_us);
    r = r != RESULT_OK ? r : store_logs_insert(e->store, d, 1, &outcome);

    if (r == RESULT_OK) {
        events_queue(e, d, 1);
    }

    return r;
}
