/* Batch retries: a plan says what would go, a job sends it. */

#include "api_retry.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_idempotency.h"
#include "api_audit.h"
#include "api_payload.h"
#include "clock.h"
#include "json.h"
#include "outbound.h"
#include "retry_items.h"
#include "retry_plan.h"

#define PLAN_DEADLINE_US  INT64_C(20000000)
#define PLAN_QUERY        4096
#define JOB_RATE_MAX      1000
#define JOB_STOP_MAX      10000
#define JOBS_LIMIT        50
#define JOBS_LIMIT_MAX    200
#define JOBS_SCAN         2000             /* jobs looked at for a page */
#define AUDIT_TYPE        "retry_job"


/* Sends the shown form of a document. */
static void
send_doc(struct api_call *c, const struct retry_doc *d, unsigned status)
{
    if (!api_print_json(c, retry_doc_public(d->v))) {
        return;
    }

    if (status == 200) {
        api_send_cached(c, API_JSON);
    } else {
        api_send(c, status, API_JSON);
    }
}


/* -- plans --------------------------------------------------------------- */

static void
escape(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char  ch = (unsigned char) s.p[i];

        if ((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
            || (ch >= 'A' && ch <= 'Z') || strchr("-_.~!:[]", ch) != NULL)
        {
            (void) buf_add(b, s.p + i, 1);
        } else {
            (void) buf_addf(b, "%%%02X", ch);
        }
    }
}


struct asking {
    struct api_call     *c;
    struct filter       *f;
    struct buf           query;            /* as it is shown */
    struct docs_errors   e;
};


static void
ask_term(struct asking *a, struct slice name, struct slice value)
{
    static const char *const  not_here[] = { "limit", "cursor", "sort",
                                             "format", "count" };
    const char               *why = "has no such parameter";
    enum result               r = RESULT_NOT_FOUND;
    bool                      page = false;

    for (size_t i = 0; i < sizeof(not_here) / sizeof(not_here[0]); i++) {
        page |= slice_eq(name, slice_of(not_here[i]));
    }

    if (!page && name.p != NULL && value.p != NULL) {
        r = filter_add(a->f, name, value, &why);
    }

    if (r != RESULT_OK) {
        docs_error(&a->e, "filter", r == RESULT_NOT_FOUND ? "parameter"
            : "value", "%.*s: %s", SLICE_ARG(name),
            r == RESULT_NOT_FOUND ? "is no filter" : why);
        return;
    }

    if (slice_eq(name, SLICE_LIT("to"))) {
        return;                            /* printed last, frozen */
    }

    (void) buf_adds(&a->query, a->query.n == 0 ? "" : "&");
    escape(&a->query, name);
    (void) buf_adds(&a->query, "=");
    escape(&a->query, value);
}


static void
ask_text(struct asking *a, struct slice s)
{
    while (s.n > 0) {
        const char    *amp = memchr(s.p, '&', s.n), *eq;
        struct slice   pair = s, value = SLICE_LIT("");

        pair.n = amp == NULL ? s.n : (size_t) (amp - s.p);
        s.p += pair.n + (amp != NULL);
        s.n -= pair.n + (amp != NULL);

        if (pair.n == 0) {
            continue;
        }

        eq = memchr(pair.p, '=', pair.n);

        if (eq != NULL) {
            value = (struct slice) { eq + 1,
                pair.n - (size_t) (eq + 1 - pair.p) };
            pair.n = (size_t) (eq - pair.p);
        }

        ask_term(a, api_decode(&a->c->arena, pair, true),
            api_decode(&a->c->arena, value, true));
    }
}


static void
ask_value(struct asking *a, const char *name, const json_t *v)
{
    struct slice  text = { json_string_value(v), json_string_length(v) };

    if (json_is_integer(v)) {
        text = arena_printf(&a->c->arena, "%lld",
            (long long) json_integer_value(v));
    }

    if (text.p == NULL) {
        docs_error(&a->e, "filter", "value", "%s: must be a text, or an array "
            "of them", name);
        return;
    }

    ask_term(a, arena_copy(&a->c->arena, slice_of(name)),
        arena_copy(&a->c->arena, text));
}


static void
ask_object(struct asking *a, json_t *filter)
{
    const char  *name;
    json_t      *v, *one;
    size_t       i;

    json_object_foreach(filter, name, v) {
        if (!json_is_array(v)) {
            ask_value(a, name, v);
            continue;
        }

        json_array_foreach(v, i, one) {
            ask_value(a, name, one);
        }
    }
}


static bool
ask_parse(struct asking *a, const json_t *body)
{
    static const char *const  members[] = { "filter", NULL };
    json_t                   *filter = json_object_get(body, "filter");
    struct slice              text = { json_string_value(filter),
                                       json_string_length(filter) };
    int64_t                   now_us = clock_wall_us();
    char                      to[CLOCK_RFC3339 + 1];

    api_members(body, members, &a->e);

    if (json_is_string(filter)) {
        if (text.n > 0 && text.p[0] == '?') {
            text.p++;
            text.n--;
        }
        ask_text(a, text);

    } else if (json_is_object(filter)) {
        ask_object(a, filter);

    } else {
        docs_error(&a->e, "filter", "required",
            "must be a query string, or an object of filters");
    }

    if (a->f->to_us == LOGDOC_NONE || a->f->to_us > now_us) {
        a->f->to_us = now_us;
    }

    clock_text(a->f->to_us, to);
    (void) buf_addf(&a->query, "%sto=%s", a->query.n == 0 ? "" : "&", to);
    return api_faultless(a->c, &a->e)
           && (!a->query.failed || api_problem(a->c, 422, "The filter is too "
               "long."));
}


static bool
plan_problem(struct api_call *c, enum result r, size_t looked)
{
    if (r == RESULT_TIMEOUT) {
        return api_problem_type(c, 503, "plan-deadline", "After %lld seconds "
            "%zu logs were looked at, and there are more: narrow the "
            "selection.", (long long) (PLAN_DEADLINE_US / 1000000), looked);
    }

    if (r == RESULT_TOO_BIG) {
        return api_problem_fields(c, &(struct api_error) {
            .pointer = "#/filter", .code = "too_many",
            .detail = "selects more than 100000 logs: narrow it" }, 1);
    }

    return api_problem_result(c, r);
}


static void
plan_make(struct api_call *c, struct asking *a)
{
    struct retry_ask  ask = {
        .filter = a->f, .org_id = c->caller.org_id,
        .deadline_us = clock_mono_us() + PLAN_DEADLINE_US
    };
    struct retry_doc  d = { .v = NULL };
    char             *query = buf_take(&a->query, NULL);
    uint8_t           id[UUID_BYTES];
    enum result       r;

    ask.query = query == NULL ? "" : query;
    uuid_make(id, clock_wall_us());
    r = retry_plan_make(c->env->store, outbound_routes(c->env->outbound), &ask,
        id, &d);
    free(query);

    if (r != RESULT_OK) {
        (void) plan_problem(c, r, ask.looked);
    } else {
        (void) http_head_add(&c->head, "Location", API_BASE
            "/retry-plans/%s", d.id + 5);
        send_doc(c, &d, 201);
    }

    retry_doc_cleanup(&d);
}


void
api_plan_create(struct api_call *c)
{
    struct asking  a = { .c = c };
    struct scope   scope;
    json_t        *body;

    if (!api_params_end(c) || !api_body(c, &body)) {
        return;
    }

    auth_scope(&c->caller, &scope);
    a.f = arena_alloc(&c->arena, sizeof(*a.f));
    buf_init(&a.query, PLAN_QUERY);

    if (a.f == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);

    } else {
        filter_init(a.f, &scope);

        if (ask_parse(&a, body)) {
            plan_make(c, &a);
        }
    }

    buf_cleanup(&a.query);
    json_decref(body);
}


/* A document of the caller by ids[0]; answers 404.  The caller cleans up. */
static bool
read_doc(struct api_call *c, const char *kind, struct retry_doc *d)
{
    struct scope  scope;
    uint8_t       id[UUID_BYTES];
    char          text[UUID_TEXT + 1];
    enum result   r;

    auth_scope(&c->caller, &scope);
    memset(d, 0, sizeof(*d));

    if (c->ids[0].n != UUID_TEXT || uuid_parse(c->ids[0], id) != RESULT_OK) {
        return api_problem_result(c, RESULT_NOT_FOUND);
    }

    uuid_text(id, text);
    retry_doc_id(d, kind, text, -1);
    r = retry_doc_get(c->env->store, d);
    r = r == RESULT_OK && !retry_visible(d, &scope) ? RESULT_NOT_FOUND : r;
    return r == RESULT_OK || api_problem_result(c, r);
}


void
api_plan_get(struct api_call *c)
{
    struct retry_doc  d = { .v = NULL };

    if (api_params_end(c) && read_doc(c, "plan", &d)) {
        send_doc(c, &d, 200);
    }

    retry_doc_cleanup(&d);
}


/* -- jobs ---------------------------------------------------------------- */

static int64_t
order_int(const json_t *body, const char *name, int64_t min, int64_t max,
    int64_t fallback, struct docs_errors *e)
{
    const json_t  *v = json_object_get(body, name);
    int64_t        n = json_integer_value(v);

    if (v == NULL) {
        return fallback;
    }

    if (!json_is_integer(v)) {
        docs_error(e, name, "type", "must be a whole number");

    } else if (n < min || n > max) {
        docs_error(e, name, "range", "must be from %lld to %lld",
            (long long) min, (long long) max);
    }

    return n;
}


static bool
order_parse(struct api_call *c, const json_t *body, struct retry_order *o)
{
    static const char *const  members[] = {
        "plan", "rate_per_s", "stop_after_consecutive_failures", "reason", NULL
    };
    struct docs_errors        e = { .n = 0 };
    uint8_t                   id[UUID_BYTES];

    api_members(body, members, &e);
    o->plan = json_string_value(json_object_get(body, "plan"));
    o->rate = order_int(body, "rate_per_s", 1, JOB_RATE_MAX, 10, &e);
    o->stop_after = order_int(body, "stop_after_consecutive_failures", 0,
        JOB_STOP_MAX, 20, &e);
    o->reason = api_reason(body, true, &e);
    o->key_id = c->caller.key_id;
    o->name = c->caller.name;

    if (o->plan == NULL) {
        docs_error(&e, "plan", "required", "name the plan to run");
    }

    return api_faultless(c, &e)
           && (uuid_parse(slice_of(o->plan), id) == RESULT_OK
               || api_problem_result(c, RESULT_NOT_FOUND));
}


static void
job_create(struct api_call *c, const struct retry_order *o,
    const uint8_t id[UUID_BYTES])
{
    struct retry_doc  d = { .v = NULL };
    struct scope      scope;
    char              used[UUID_TEXT + 1] = "";
    enum result       r;

    auth_scope(&c->caller, &scope);
    r = retry_job_make(c->env->store, &scope, o, id, &d, used);

    if (r == RESULT_CONFLICT) {
        (void) api_problem_type(c, 409, "plan-used", "This plan has run "
            "already, as job %s: make a new one.", used);

    } else if (r == RESULT_INVALID) {
        (void) api_problem(c, 409, "Nothing in this plan can be sent again.");

    } else if (r != RESULT_OK) {
        (void) api_problem_result(c, r);

    } else {
        (void) http_head_add(&c->head, "Location", API_BASE "/retry-jobs/%s",
            d.id + 4);
        send_doc(c, &d, 202);
    }

    retry_doc_cleanup(&d);
}


void
api_job_create(struct api_call *c)
{
    struct retry_order  o;
    struct retry_doc    plan;
    struct scope        scope;
    json_t             *body, *detail;
    uint8_t             id[UUID_BYTES];
    char                job[UUID_TEXT + 1], *text = NULL;
    enum result         r;

    if (!api_params_end(c) || !api_body(c, &body)) {
        return;
    }

    memset(&plan, 0, sizeof(plan));

    if (!order_parse(c, body, &o)) {
        goto out;
    }

    auth_scope(&c->caller, &scope);
    retry_doc_id(&plan, "plan", o.plan, -1);
    r = retry_doc_get(c->env->store, &plan);

    if (r != RESULT_OK || !retry_visible(&plan, &scope)) {
        (void) api_problem_result(c, r == RESULT_OK ? RESULT_NOT_FOUND : r);
        goto out;
    }

    detail = json_pack("{s:s,s:O,s:O,s:I}", "plan", o.plan, "filter",
        json_object_get(plan.v, "filter"), "eligible",
        json_object_get(plan.v, "eligible"), "rate_per_s",
        (json_int_t) o.rate);
    text = detail == NULL ? NULL : json_dumps(detail, JSON_COMPACT);
    json_decref(detail);

    api_idempotency_id(c, id);
    uuid_text(id, job);

    if (api_audit(c, "retry_job.create", AUDIT_TYPE, slice_of(job),
            plan.org_id, o.reason, text == NULL ? "" : text))
    {
        job_create(c, &o, id);
    }

out:

    free(text);
    retry_doc_cleanup(&plan);
    json_decref(body);
}


void
api_job_get(struct api_call *c)
{
    struct retry_doc  d = { .v = NULL };

    if (api_params_end(c) && read_doc(c, "job", &d)) {
        send_doc(c, &d, 200);
    }

    retry_doc_cleanup(&d);
}


static void
job_act(struct api_call *c, enum retry_act act, const char *name)
{
    static const char *const  members[] = { "reason", NULL };
    struct retry_doc    d = { .v = NULL };
    struct scope        scope;
    json_t             *body = NULL;
    struct slice        reason;
    char                id[UUID_TEXT + 1];
    enum result         r;

    if (!api_params_end(c) || !api_ask(c, members, &body, &reason)
        || !read_doc(c, "job", &d))
    {
        goto out;
    }

    memcpy(id, d.id + 4, UUID_TEXT);
    id[UUID_TEXT] = '\0';

    if (!api_audit(c, name, AUDIT_TYPE, slice_of(id), d.org_id,
            reason, ""))
    {
        goto out;
    }

    auth_scope(&c->caller, &scope);
    r = retry_job_act(c->env->store, &scope, id, act, &d);

    if (r == RESULT_INVALID) {
        (void) api_problem_type(c, 409, "job-state", "The job is %s.",
            json_string_value(json_object_get(d.v, "state")));

    } else if (r != RESULT_OK) {
        (void) api_problem_result(c, r);

    } else {
        send_doc(c, &d, 200);
    }

out:

    retry_doc_cleanup(&d);
    json_decref(body);
}


void
api_job_pause(struct api_call *c)
{
    job_act(c, RETRY_PAUSE, "retry_job.pause");
}


void
api_job_resume(struct api_call *c)
{
    job_act(c, RETRY_RESUME, "retry_job.resume");
}


void
api_job_cancel(struct api_call *c)
{
    job_act(c, RETRY_CANCEL, "retry_job.cancel");
}


/* -- lists --------------------------------------------------------------- */

static bool
job_shown(struct api_call *c, const struct store_doc *doc, int state,
    const char *const *states, json_t *list)
{
    struct retry_doc  d = { .org_id = doc->org_id };
    struct scope      scope;
    bool              shown;

    auth_scope(&c->caller, &scope);
    d.v = json_loadb(doc->body.p, doc->body.n, 0, NULL);
    shown = d.v != NULL && retry_visible(&d, &scope)
            && (state < 0 || slice_eq(slice_of(states[state]), slice_of(
                json_string_value(json_object_get(d.v, "state")))));

    if (shown) {
        (void) json_array_append_new(list, retry_doc_public(d.v));
    }

    retry_doc_cleanup(&d);
    return shown;
}


static void
list_send(struct api_call *c, json_t *list, const struct cursor *next)
{
    char  *text = json_dumps(list, JSON_COMPACT);

    if (text == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    (void) buf_addf(&c->out, "{\"data\":%s,", text);
    free(text);
    api_page(c, next, NULL, next != NULL);
    (void) buf_adds(&c->out, "}");
    api_send_cached(c, API_JSON);
}


void
api_job_list(struct api_call *c)
{
    static const char *const  states[] = {
        "queued", "running", "paused", "stopped", "cancelling", "cancelled",
        "done", "failed", NULL
    };
    const uint64_t            hash = 0x6a6f6273ull;
    struct cursor             cursor;
    struct store_doc         *docs;
    struct slice              after;
    json_t                   *list;
    int64_t                   limit;
    size_t                    n = 0, looked = 0;
    int                       state;
    bool                      given, more = false, end = false;
    enum result               r = RESULT_OK;

    if (!api_param_int(c, "limit", 1, JOBS_LIMIT_MAX, JOBS_LIMIT, &limit)
        || !api_param_word(c, "state", states, &state)
        || !api_cursor(c, hash + (uint64_t) (state + 1), &cursor, &given)
        || !api_params_end(c))
    {
        return;
    }

    list = json_array();
    after = given ? (struct slice) { cursor.name, cursor.name_n }
                  : SLICE_LIT("job:~");

    while (r == RESULT_OK && !more && !end && looked < JOBS_SCAN) {
        r = store_doc_list(c->env->store, STORE_RETRY_JOB, LOGDOC_NONE, after,
            true, JOBS_LIMIT, &c->arena, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n && !more && !end; i++) {
            end = docs[i].id.n < 4 || memcmp(docs[i].id.p, "job:", 4) != 0;
            more = !end && json_array_size(list) == (size_t) limit;

            if (!end && !more) {
                looked++;
                after = docs[i].id;
                (void) job_shown(c, &docs[i], state, states, list);
            }
        }

        end |= n < JOBS_LIMIT && !more;
    }

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);

    } else {
        memset(&cursor, 0, sizeof(cursor));
        cursor.hash = hash + (uint64_t) (state + 1);
        cursor.name_n = after.n;
        memcpy(cursor.name, after.p, after.n);
        list_send(c, list, more || !end ? &cursor : NULL);
    }

    json_decref(list);
}


static json_t *
item_shown(const struct retry_item *it, bool cancelled)
{
    enum retry_state  state = it->state == RETRY_WAITING && cancelled
                                  ? RETRY_CANCELLED : it->state;
    char              log[UUID_TEXT + 1], copy[UUID_TEXT + 1];
    bool              sent = state == RETRY_SENT || state == RETRY_SUCCEEDED
                             || state == RETRY_FAILED;
    json_t           *v;

    uuid_text(it->log, log);
    uuid_text(it->copy, copy);
    v = json_pack("{s:s,s:s?,s:s,s:s?,s:s?}", "log_id", log, "new_log_id",
        sent ? copy : NULL, "status", retry_state_text(state), "reason",
        it->why[0] == '\0' ? NULL : it->why, "endpoint",
        it->endpoint[0] == '\0' ? NULL : it->endpoint);
    retry_time(v, "sent_at", sent ? it->sent_us : LOGDOC_NONE);
    return v;
}


/* "status", repeated: a bit each; all when there is none. */
static bool
status_parse(struct api_call *c, unsigned *wanted)
{
    int  state;

    *wanted = 0;

    for (unsigned i = 0; i < c->nparams; i++) {
        if (!slice_eq(c->params[i].name, SLICE_LIT("status"))) {
            continue;
        }

        state = retry_state_parse(c->params[i].value);
        if (state < 0) {
            return api_problem_param(c, SLICE_LIT("status"), "unknown_value",
                "Must be waiting, sent, succeeded, failed, skipped or "
                "cancelled.");
        }

        *wanted |= 1u << state;
        c->params[i].used = true;
    }

    *wanted = *wanted == 0 ? ~0u : *wanted;
    return true;
}


/* Those of a chunk from AT on; *at is where to go on. */
static bool
items_add(const struct retry_items *chunk, unsigned wanted, bool cancelled,
    int64_t limit, int64_t *at, json_t *list)
{
    size_t  i = (size_t) (*at - chunk->n * RETRY_CHUNK);

    for ( ; i < chunk->count; i++) {
        enum retry_state  s = chunk->item[i].state;

        s = s == RETRY_WAITING && cancelled ? RETRY_CANCELLED : s;

        if (wanted & 1u << s) {
            if (json_array_size(list) == (size_t) limit) {
                *at = chunk->n * RETRY_CHUNK + (int64_t) i;
                return true;
            }

            (void) json_array_append_new(list,
                item_shown(&chunk->item[i], cancelled));
        }
    }

    *at = (chunk->n + 1) * RETRY_CHUNK;
    return false;
}


static void
items_list(struct api_call *c, const struct retry_doc *d, unsigned wanted,
    int64_t limit, struct cursor *cursor)
{
    const char          *plan = json_string_value(
        json_object_get(d->v, "plan"));
    const char          *state = json_string_value(
        json_object_get(d->v, "state"));
    bool                 cancelled = state[0] == 'c', more = false;
    int64_t              chunks = json_integer_value(
        json_object_get(d->v, "_chunks"));
    struct retry_items  *chunk;
    json_t              *list = json_array();
    enum result          r = RESULT_OK;

    while (r == RESULT_OK && !more && cursor->us / RETRY_CHUNK < chunks) {
        if (clock_mono_us() > c->deadline_us) {
            more = true;
            break;
        }

        r = retry_items_get(c->env->store, d->id + 4, plan,
            cursor->us / RETRY_CHUNK, &chunk);

        if (r == RESULT_OK) {
            more = items_add(chunk, wanted, cancelled, limit, &cursor->us,
                list);
            retry_items_free(chunk);
        }
    }

    if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        (void) api_problem_result(c, r);
    } else {
        list_send(c, list, more ? cursor : NULL);
    }

    json_decref(list);
}


void
api_job_items(struct api_call *c)
{
    struct retry_doc  d = { .v = NULL };
    struct cursor     cursor;
    unsigned          wanted;
    int64_t           limit;
    bool              given;
    uint64_t          hash;

    if (!api_param_int(c, "limit", 1, JOBS_LIMIT_MAX, JOBS_LIMIT, &limit)
        || !status_parse(c, &wanted))
    {
        return;
    }

    hash = 0x6974656dull + wanted;

    for (size_t i = 0; i < c->ids[0].n; i++) {
        hash = (hash ^ (unsigned char) c->ids[0].p[i]) * 0x100000001b3ull;
    }

    if (!api_cursor(c, hash, &cursor, &given) || !api_params_end(c)
        || !read_doc(c, "job", &d))
    {
        retry_doc_cleanup(&d);
        return;
    }

    if (!given) {
        memset(&cursor, 0, sizeof(cursor));
    }

    cursor.hash = hash;
    items_list(c, &d, wanted, limit, &cursor);
    retry_doc_cleanup(&d);
}
