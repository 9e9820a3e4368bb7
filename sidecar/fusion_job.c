/*
 * From an item that is right to its document and its log.  The document holds
 * all that the log is made of, so that a crash between the two is mended.
 */

#include "fusion_private.h"

#include <string.h>

#include "direct.h"
#include "fusion.h"


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


/* What the log is made of, now or after a crash; NULL: no memory. */
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

    if (json_object_size(x->headers) > 0) {
        if (direct_seal(x->c->secret, event_id, x->headers, &sealed)
            == RESULT_OK)
        {
            set_text(f, "headers", (struct slice) { sealed.p, sealed.n });
        } else {
            json_decref(f);
            f = NULL;
        }
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
            ? arena_copy(a, json_slice(v))
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
enum result
fusion_job_log(const json_t *doc, struct arena *a, struct logdoc *d)
{
    const json_t  *f = json_object_get(doc, "fusion");
    const json_t  *id = json_array_get(json_object_get(doc, "log_ids"), 0);

    logdoc_init(d);

    if (uuid_parse(json_slice(id), d->id) != RESULT_OK
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
    d->developer_id = arena_copy(a, json_slice(json_object_get(f,
        "developer_id")));
    d->url = arena_copy(a, json_slice(json_object_get(f, "url")));
    d->endpoint = host_of(d->url.p, a);
    d->method = arena_copy(a, json_slice(json_object_get(f, "method")));
    d->priority = number_of(f, "priority");
    d->next_attempt_us = number_of(f, "due_us");
    d->attempts = 0;
    d->event_id = arena_copy(a, json_slice(json_object_get(doc, "event_id")));
    d->message_id = arena_copy(a, json_object_get(f, "message_id") == NULL
        ? json_slice(id) : json_slice(json_object_get(f, "message_id")));
    d->resend_of = arena_copy(a, json_slice(json_object_get(f, "resend_of")));
    d->request.data = arena_copy(a, json_slice(json_object_get(f, "payload")));
    d->request.bytes = (int64_t) d->request.data.n;
    fill_refs(d, json_object_get(f, "refs"), a);
    add_field(d, "task_type", arena_printf(a, "%lld",
        (long long) number_of(f, "task_type")));
    add_field(d, "log_tag", arena_copy(a, json_slice(json_object_get(f,
        "log_tag"))));
    return d->request.data.n > 0 && d->request.data.p == NULL ? RESULT_MEMORY
                                                              : RESULT_OK;
}


enum result
fusion_job_make(struct item *x, struct job *job)
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
    return job->doc == NULL ? RESULT_MEMORY
        : fusion_job_log(job->doc, x->c->arena, &job->log);
}
