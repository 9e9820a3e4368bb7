/*
 * POST /events takes one event or an array of them.  Each is accepted or
 * refused by itself, in order: the answer says of each what became of it, 202
 * when all were taken, 207 when some were, else the one's own problem.
 */

#include "api_events.h"

#include <stdio.h>
#include <stdlib.h>

#include "audit.h"
#include "changes.h"
#include "clock.h"
#include "json.h"
#include "lane.h"
#include "outbound.h"

#define MAX_EVENTS  1000                   /* of one call */

struct posting {
    struct api_call      *c;
    struct events        *events;
    struct event_caller   caller;
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

    arena_init(&a, 64 * 1024 * 1024);
    p->last = event_accept(p->events, &p->caller, json, &a, &accepted,
        &p->fault);

    if (p->accepted + p->refused > 0) {
        (void) buf_adds(&p->c->out, ",");
    }

    if (p->last == RESULT_OK) {
        p->accepted++;
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

        if (n == 0 || p->accepted + p->refused == MAX_EVENTS) {
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


void
api_events_post(struct api_call *c)
{
    struct slice    body = skip_space(http_body(c->http));
    struct posting  p = { .c = c };
    bool            array;

    if (!api_params_end(c)) {
        return;
    }

    if (!store_can_dispatch(c->env->store)) {
        (void) api_problem(c, 503, "The %s store keeps no deliveries: use "
            "SQLite for events.", store_name(c->env->store));
        return;
    }

    if (!json_valid(body)) {
        (void) api_problem(c, 400, "The body is not JSON, or deeper than %d "
            "levels.", JSON_MAX_DEPTH);
        return;
    }

    array = body.p[0] == '[';
    auth_scope(&c->caller, &p.caller.scope);
    p.caller.id = slice_of(c->caller.key_id);
    p.events = outbound_take(c->env->outbound);

    if (array) {
        (void) buf_adds(&c->out, "{\"data\":[");
        post_array(&p, body);
        (void) buf_adds(&c->out, "]}");
    } else {
        post_one(&p, body);
    }

    outbound_give(c->env->outbound, p.events);
    outbound_work(c->env->outbound);

    if (!array) {
        answer_one(&p);
    } else {
        api_send(c, p.refused == 0 ? 202 : p.accepted == 0 ? 422 : 207,
            API_JSON);
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


void
api_events_get(struct api_call *c)
{
    struct store_doc  d;
    json_t           *body = NULL;
    char             *text, at[CLOCK_RFC3339 + 1];
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

    clock_text(d.created_us, at);
    (void) json_object_set_new(body, "accepted_at", json_string(at));
    (void) json_object_del(body, "digest");

    if (!(c->caller.rights & AUTH_UNMASK)) {
        (void) json_object_del(body, "raw");
    }

    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);

    if (text == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    (void) buf_adds(&c->out, text);
    free(text);
    api_send(c, 200, API_JSON);
}


/* -- deliveries ----------------------------------------------------------- */

/* The log of ids[0]; answers 404. */
static bool
read_log(struct api_call *c, struct logdoc *d)
{
    struct scope  scope;
    uint8_t       id[UUID_BYTES];
    enum result   r;

    auth_scope(&c->caller, &scope);
    r = uuid_parse(c->ids[0], id) != RESULT_OK ? RESULT_NOT_FOUND
        : store_log_get(c->env->store, &scope, id, &c->arena, d);

    return r == RESULT_OK || api_problem_result(c, r);
}


static bool
audit(struct api_call *c, const struct logdoc *d, const char *action,
    const json_t *body)
{
    struct audit_entry  entry = {
        .caller = &c->caller, .ip = c->ip, .request_id = c->request_id,
        .action = action, .type = "integration_directory",
        .target = c->ids[0], .org_id = d->org_id
    };
    const char         *reason = json_string_value(
        json_object_get(body, "reason"));
    enum result         r;

    entry.reason = slice_of(reason);
    r = audit_write(c->env->store, &entry, c->env->config->retention_audit_us);
    return r == RESULT_OK || api_problem_result(c, r);
}


/* The body is optional; *out is NULL without one. */
static bool
optional_body(struct api_call *c, json_t **out)
{
    *out = NULL;
    return http_body(c->http).n == 0 || api_body(c, out);
}


/* A copy that goes out anew: unedited, so the same message id. */
static void
copy_for_resend(struct api_call *c, struct logdoc *d)
{
    char         *first = arena_alloc(&c->arena, UUID_TEXT + 1);
    const char   *none = "";

    if (first != NULL) {
        uuid_text(d->id, first);
    }

    d->resend_of = slice_of(first == NULL ? none : first);

    if (d->message_id.n == 0) {
        d->message_id = d->resend_of;
    }

    d->started_us = clock_wall_us();
    uuid_make(d->id, d->started_us);
    d->status = LOG_PENDING;
    d->attempts = 0;
    d->token = 0;
    d->lease_until_us = LOGDOC_NONE;
    d->next_attempt_us = d->started_us;
    d->flags = 0;
    d->error_code = d->error_message = SLICE_NONE;
    d->error_fingerprint = 0;
    d->http_status = LOGDOC_NONE;
    d->duration_us = d->connect_us = d->first_byte_us = LOGDOC_NONE;
    d->expires_us = LOGDOC_NONE;
    d->response = (struct log_body) { .bytes = LOGDOC_NONE };
    memset(d->digest, 0, sizeof(d->digest));
}


/* As its integration is now; it may be gone, then dispatch says so. */
static void
stand_in_line(struct api_call *c, struct logdoc *d)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    bool                       held;

    if (routes_get(outbound_routes(c->env->outbound), d->integration_id, &pin,
            &i, &held) != RESULT_OK)
    {
        return;
    }

    if (lane_fill(d, i, NULL, &c->arena) != RESULT_OK) {
        d->lane_flags = 0;
    }

    routes_release(pin);
}


static bool
may_resend(struct api_call *c, const struct logdoc *d)
{
    if (d->kind == LOG_KIND_API) {
        return api_problem(c, 409, "This is an inbound call: it is replayed, "
            "not resent.");
    }

    if (d->status == LOG_PENDING || d->status == LOG_RETRYING) {
        return api_problem(c, 409, "It is still under way.");
    }

    if (d->request.data.n == 0 || d->request.cut.n > 0) {
        return api_problem(c, 409, "Its body was not kept whole, so it cannot "
            "be sent again.");
    }

    return true;
}


void
api_logs_resend(struct api_call *c)
{
    struct logdoc      d;
    struct events     *events;
    enum store_insert  outcome;
    json_t            *body = NULL;
    char               id[UUID_TEXT + 1];
    enum result        r;

    if (!api_params_end(c) || !optional_body(c, &body) || !read_log(c, &d)
        || !may_resend(c, &d) || !audit(c, &d, "log.resend", body))
    {
        json_decref(body);
        return;
    }

    json_decref(body);
    copy_for_resend(c, &d);
    stand_in_line(c, &d);
    r = store_logs_insert(c->env->store, &d, 1, &outcome);

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    events = outbound_take(c->env->outbound);
    events_queue(events, &d, 1);
    outbound_give(c->env->outbound, events);
    outbound_work(c->env->outbound);

    uuid_text(d.id, id);
    (void) buf_addf(&c->out, "{\"_id\":\"%s\",\"resend_of\":\"%.*s\"}", id,
        SLICE_ARG(d.resend_of));
    (void) http_head_add(&c->head, "Location", API_BASE "/logs/%s", id);
    api_send(c, 202, API_JSON);
}


static void
move(struct api_call *c, const struct logdoc *d, enum store_move move_to,
    int64_t at_us, struct slice reason)
{
    struct events    *events;
    struct logdoc     moved = *d;
    struct scope      scope;
    enum log_status   status;
    enum result       r;

    auth_scope(&c->caller, &scope);
    r = store_move(c->env->store, &scope, d->id, move_to, at_us, reason,
        &status);

    if (r == RESULT_CONFLICT) {
        (void) api_problem(c, 409, "It is %s%s.", log_status_text(status),
            status == LOG_PENDING || status == LOG_RETRYING
                ? " and being sent now" : "");
        return;
    }

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    moved.status = status;
    moved.next_attempt_us = move_to == STORE_CANCEL ? LOGDOC_NONE : at_us;
    events = outbound_take(c->env->outbound);
    events_queue(events, &moved, 1);
    outbound_give(c->env->outbound, events);
    outbound_work(c->env->outbound);

    (void) buf_addf(&c->out, "{\"_id\":\"%.*s\",\"status\":\"%s\"}",
        SLICE_ARG(c->ids[0]), log_status_text(moved.status));
    api_send(c, 200, API_JSON);
}


void
api_logs_cancel(struct api_call *c)
{
    struct logdoc  d;
    json_t        *body = NULL;
    struct slice   reason;

    if (api_params_end(c) && optional_body(c, &body) && read_log(c, &d)
        && audit(c, &d, "log.cancel", body))
    {
        reason = slice_of(json_string_value(json_object_get(body, "reason")));
        move(c, &d, STORE_CANCEL, LOGDOC_NONE, reason.n > 0 ? reason
            : SLICE_LIT("cancelled by hand"));
    }

    json_decref(body);
}


void
api_logs_reschedule(struct api_call *c)
{
    struct logdoc  d;
    json_t        *body = NULL;
    const char    *at;
    int64_t        at_us;

    if (api_params_end(c) && api_body(c, &body)) {
        at = json_string_value(json_object_get(body, "deliver_at"));

        if (at == NULL || clock_parse(at, &at_us) != RESULT_OK
            || at_us > clock_wall_us() + INT64_C(366) * 86400 * 1000000)
        {
            (void) api_problem_fields(c, &(struct api_error) {
                .pointer = "#/deliver_at", .code = "time",
                .detail = "must be RFC 3339, within a year from now" }, 1);

        } else if (read_log(c, &d) && audit(c, &d, "log.reschedule", body)) {
            move(c, &d, STORE_RESCHEDULE, at_us, SLICE_NONE);
        }
    }

    json_decref(body);
}
