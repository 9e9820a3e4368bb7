/*
 * POST /events takes one event or an array of them.  Each is accepted or
 * refused by itself, in order: the answer says of each what became of it, 202
 * when all were taken, 207 when some were, else the one's own problem.
 */

#include "api_events.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "json.h"
#include "outbound.h"

#define MAX_EVENTS  1000                   /* of one call */
#define SLICE_PACK(s)  (s).p == NULL ? "" : (s).p, (s).n

struct posting {
    struct api_call      *c;
    struct events        *events;
    struct event_caller   caller;
    bool                  array, queued;
    struct event_fault    fault;
    unsigned              accepted, refused;
    enum result           last;
};


static void
print_accepted(struct buf *b, const struct event_accepted *a)
{
    (void) buf_addf(b, "{\"event_id\":\"%s\",\"repeated\":%s,\"log_ids\":[",
        a->event_id, a->repeated ? "true" : "false");

    for (size_t i = 0; i < a->nlogs; i++) {
        (void) buf_addf(b, "%s\"%s\"", i == 0 ? "" : ",", a->log_ids[i]);
    }

    (void) buf_adds(b, "]}");
}


static void
print_refused(struct buf *b, enum result r, const struct event_fault *f)
{
    (void) buf_addf(b, "{\"error\":{\"code\":\"%s\",\"pointer\":",
        r == RESULT_INVALID ? f->code : r == RESULT_CONFLICT
            ? "idempotency_key" : "unavailable");
    json_text(b, slice_of(r == RESULT_INVALID ? f->pointer : "#"));
    (void) buf_adds(b, ",\"detail\":");
    json_text(b, slice_of(r == RESULT_INVALID ? f->detail
        : r == RESULT_CONFLICT ? "the key was used with another event"
                               : result_text(r)));
    (void) buf_adds(b, "}}");
}


static void
post_one(struct posting *p, struct slice json)
{
    struct event_accepted  accepted;
    struct arena           a;
    char                   planned[UUID_TEXT + 1];

    arena_init(&a, 64 * 1024 * 1024);

    /* done again after a crash, the call makes the same events */
    if (p->c->once.id.n > 0) {
        uuid_text(p->c->once.planned, planned);
        p->caller.key = arena_printf(&a, "call:%s#%u", planned,
            p->accepted + p->refused);
    }

    p->last = event_accept(p->events, &p->caller, json, &a, &accepted,
        &p->fault);

    if (p->accepted + p->refused > 0) {
        (void) buf_adds(&p->c->out, ",");
    }

    if (p->last == RESULT_OK) {
        p->accepted++;
        p->queued = p->queued || accepted.queued;
        print_accepted(&p->c->out, &accepted);
    } else {
        p->refused++;
        print_refused(&p->c->out, p->last, &p->fault);
    }

    arena_cleanup(&a);
}


static struct slice
skip_space(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r'
                       || s.p[0] == '\n'))
    {
        s.p++;
        s.n--;
    }

    return s;
}


/* Nothing of an array is taken when it is too long. */
static bool
check_length(struct posting *p, struct slice body)
{
    json_t  *list = json_loadb(body.p, body.n, 0, NULL);
    size_t   n = json_array_size(list);

    json_decref(list);

    return n <= MAX_EVENTS || api_problem_fields(p->c, &(struct api_error) {
        .pointer = "#", .code = "too_many",
        .detail = "an array has at most 1000 events" }, 1);
}


/* Each element by its own bytes; the whole is known to be valid JSON. */
static void
post_array(struct posting *p, struct slice s)
{
    json_error_t   error;
    json_t        *v;
    size_t         n;

    for (s = skip_space((struct slice) { s.p + 1, s.n - 1 });
         s.n > 0 && s.p[0] != ']'; s = skip_space(s))
    {
        v = json_loadb(s.p, s.n, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY,
            &error);
        n = v == NULL ? 0 : (size_t) error.position;
        json_decref(v);

        if (n == 0) {
            return;
        }

        post_one(p, (struct slice) { s.p, n });
        s = skip_space((struct slice) { s.p + n, s.n - n });

        if (s.n > 0 && s.p[0] == ',') {
            s = (struct slice) { s.p + 1, s.n - 1 };
        }
    }
}


static void
answer_one(struct posting *p)
{
    struct api_call   *c = p->c;
    struct api_error   e = { .code = p->fault.code };

    switch (p->last) {

    case RESULT_OK:
        api_send(c, 202, API_JSON);
        return;

    case RESULT_INVALID:
        buf_reset(&c->out);
        (void) snprintf(e.pointer, sizeof(e.pointer), "%.90s",
            p->fault.pointer);
        (void) snprintf(e.detail, sizeof(e.detail), "%.190s",
            p->fault.detail);
        (void) api_problem_fields(c, &e, 1);
        return;

    case RESULT_CONFLICT:
        buf_reset(&c->out);
        (void) api_problem(c, 422, "The idempotency key was used with another "
            "event.");
        return;

    default:
        buf_reset(&c->out);
        (void) api_problem_result(c, p->last);
        return;
    }
}


/* What every posting asks for; false when answered. */
static bool
posting_begin(struct posting *p, struct slice body)
{
    struct api_call  *c = p->c;

    if (!json_valid(body)) {
        return api_problem(c, 400, "The body is not JSON, or deeper than %d "
            "levels.", JSON_MAX_DEPTH);
    }

    auth_scope(&c->caller, &p->caller.scope);
    p->caller.id = slice_of(c->caller.key_id);
    return true;
}


static void
post_body(struct posting *p, struct slice body)
{
    struct api_call  *c = p->c;

    p->events = outbound_take(c->env->outbound);

    if (p->array) {
        (void) buf_adds(&c->out, "{\"data\":[");
        post_array(p, body);
        (void) buf_adds(&c->out, "]}");
    } else {
        post_one(p, body);
    }

    outbound_give(c->env->outbound, p->events);

    if (p->queued) {
        outbound_work(c->env->outbound);
    }
}


void
api_events_post(struct api_call *c)
{
    struct slice    body = skip_space(http_body(c->http));
    struct posting  p = { .c = c };

    if (!api_params_end(c) || !posting_begin(&p, body)) {
        return;
    }

    p.array = body.p[0] == '[';

    if (p.array && !check_length(&p, body)) {
        return;
    }

    post_body(&p, body);

    if (!p.array) {
        answer_one(&p);
    } else {
        api_send(c, p.refused == 0 ? 202 : p.accepted == 0 ? 422 : 207,
            API_JSON);
    }
}


void
api_events_post_to(struct api_call *c, struct slice integration)
{
    struct slice    body = skip_space(http_body(c->http));
    struct posting  p = { .c = c, .caller.only = integration };

    if (posting_begin(&p, body)) {
        post_body(&p, body);
        answer_one(&p);
    }
}


static bool
event_visible(const struct api_call *c, const struct store_doc *d,
    const json_t *body)
{
    int64_t  lab = json_integer_value(json_object_get(body, "lab_id"));

    if (c->caller.rights & AUTH_PLATFORM) {
        return true;
    }

    if (d->org_id != c->caller.org_id) {
        return false;
    }

    for (int i = 0; i < c->caller.nlabs; i++) {
        if (c->caller.labs[i] == lab) {
            return true;
        }
    }

    return c->caller.nlabs < 0;
}


static json_t *
delivery_json(const struct logdoc *d)
{
    char     id[UUID_TEXT + 1], next[CLOCK_RFC3339 + 1];
    json_t  *out;

    uuid_text(d->id, id);
    out = json_pack("{s:s,s:s,s:s,s:s%,s:s%,s:I}", "log_id", id,
        "kind", log_kind_text(d->kind), "status", log_status_text(d->status),
        "integration_id", SLICE_PACK(d->integration_id),
        "endpoint", SLICE_PACK(d->endpoint),
        "attempts", (json_int_t) d->attempts);

    if (d->next_attempt_us != LOGDOC_NONE) {
        clock_text(d->next_attempt_us, next);
        (void) json_object_set_new(out, "next_attempt_at", json_string(next));
    }

    if (d->error_code.n > 0) {
        (void) json_object_set_new(out, "error", json_stringn(d->error_code.p,
            d->error_code.n));
    }

    return out;
}


/* Each log as it is now.  "accepting": some are yet to be written, "open":
 * some have not ended, else "settled". */
static enum result
show_deliveries(struct api_call *c, json_t *body)
{
    const struct scope  all = { .platform = true };
    const json_t       *ids = json_object_get(body, "log_ids"), *v;
    json_t             *list = json_array();
    const char         *state = "settled";
    struct logdoc       d;
    struct arena        a;
    uint8_t             id[UUID_BYTES];
    size_t              i;
    enum result         r = RESULT_OK;

    arena_init(&a, API_MAX_ARENA);

    json_array_foreach((json_t *) ids, i, v) {
        arena_reset(&a);
        r = uuid_parse(slice_of(json_string_value(v)), id);
        r = r != RESULT_OK ? r : store_log_get(c->env->store, &all, id, &a,
            &d);

        if (r == RESULT_OK) {
            (void) json_array_append_new(list, delivery_json(&d));
            state = (d.status == LOG_PENDING || d.status == LOG_RETRYING)
                        && state[0] == 's' ? "open" : state;

        } else if (r == RESULT_NOT_FOUND) {
            state = "accepting";           /* or long gone by its age */
            r = RESULT_OK;

        } else {
            break;
        }
    }

    arena_cleanup(&a);
    (void) json_object_set_new(body, "deliveries", list);
    (void) json_object_set_new(body, "state", json_string(state));
    return r;
}


void
api_events_get(struct api_call *c)
{
    struct store_doc  d;
    json_t           *body = NULL;
    char              at[CLOCK_RFC3339 + 1];
    enum result       r;

    if (!api_params_end(c)) {
        return;
    }

    r = c->ids[0].n != UUID_TEXT ? RESULT_NOT_FOUND
        : store_doc_get(c->env->store, STORE_EVENT, c->ids[0], &c->arena, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        r = body == NULL ? RESULT_INTERNAL
            : event_visible(c, &d, body) ? RESULT_OK : RESULT_NOT_FOUND;
    }

    if (r != RESULT_OK) {
        json_decref(body);
        (void) api_problem_result(c, r);
        return;
    }

    r = show_deliveries(c, body);

    if (r != RESULT_OK) {
        json_decref(body);
        (void) api_problem_result(c, r);
        return;
    }

    clock_text(d.created_us, at);
    (void) json_object_set_new(body, "accepted_at", json_string(at));
    (void) json_object_del(body, "digest");
    (void) json_object_del(body, "integration_ids");
    (void) json_object_del(body, "fusion");

    if (!(c->caller.rights & AUTH_UNMASK)) {
        (void) json_object_del(body, "raw");
    }

    if (api_print_json(c, body)) {
        api_send(c, 200, API_JSON);
    }
}
