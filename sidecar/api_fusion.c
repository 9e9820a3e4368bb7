/*
 * POST /queue/ /schedule/ /jobInfo/ /cancelJob/ /rescheduleJob/ /retryTask/ in
 * Fusion's own words: {"code":200,..} or {"code":422,"errors":[{"index",
 * "field","message"}]}, the code being the status.  A job is a log.
 */

#include "api_fusion.h"

#include <stdio.h>
#include <stdlib.h>

#include "callback.h"
#include "clock.h"
#include "direct.h"
#include "event_private.h"
#include "fusion.h"
#include "json.h"
#include "outbound.h"

#define MAX_JOBS  1000

struct fusion_route {
    const char  *path;
    void       (*run)(struct api_call *c, struct fusion_call *f);
};

/* One job of a call that names some. */
struct work {
    struct api_call     *c;
    struct fusion_call  *f;
    const json_t        *body;
    struct logdoc        log;
    struct arena         arena;            /* of log */
    size_t               index;
    int64_t              at_us;
    struct buf           done;             /* what was done, printed */
    unsigned             code;             /* of the first fault */
};


/* -- answers ------------------------------------------------------------- */

static void
print_faults(struct buf *b, const char *name, const struct fusion_fault *f,
    size_t n)
{
    (void) buf_addf(b, "\"%s\":[", name);

    for (size_t i = 0; i < n; i++) {
        (void) buf_addf(b, "%s{\"index\":%zu,\"field\":", i == 0 ? "" : ",",
            f[i].index);
        json_text(b, slice_of(f[i].field));
        (void) buf_adds(b, ",\"message\":");
        json_text(b, slice_of(f[i].message));
        (void) buf_adds(b, "}");
    }

    (void) buf_adds(b, "]");
}


static void
send_code(struct api_call *c, unsigned code)
{
    (void) buf_adds(&c->out, "}\n");
    api_send(c, code, API_JSON);
}


static void
refuse(struct api_call *c, struct fusion_call *f, unsigned code)
{
    buf_reset(&c->out);
    (void) buf_addf(&c->out, "{\"code\":%u,", code);
    print_faults(&c->out, "errors", f->faults, f->nfaults);
    send_code(c, code);
}


static void
refuse_result(struct api_call *c, struct fusion_call *f, enum result r)
{
    bool  wait = r == RESULT_UNAVAILABLE || r == RESULT_TIMEOUT
                 || r == RESULT_AGAIN;

    (void) fusion_wrong(f, 0, "", wait ? "the store does not answer, try "
        "again" : "the call could not be answered");
    refuse(c, f, wait ? 503 : 500);
}


static void
print_job(struct buf *b, const uint8_t id[UUID_BYTES])
{
    char  text[UUID_TEXT + 1];

    uuid_text(id, text);
    (void) buf_addf(b, "%s\"%s\"", b->n == 0 || b->p[b->n - 1] == '[' ? ""
        : ",", text);
}


/* -- new jobs ------------------------------------------------------------ */

static void
run_new(struct api_call *c, struct fusion_call *f, bool scheduled)
{
    struct slice  body = http_body(c->http);
    enum result   r = fusion_queue(f, body, scheduled);

    if (r == RESULT_INVALID) {
        refuse(c, f, json_valid(body) ? 422 : 400);
        return;
    }

    if (r != RESULT_OK) {
        refuse_result(c, f, r);
        return;
    }

    (void) buf_adds(&c->out, "{\"code\":200,\"job_ids\":[");

    for (size_t i = 0; i < f->njobs; i++) {
        print_job(&c->out, f->jobs[i]);
    }

    (void) buf_adds(&c->out, "]");

    if (f->nwarnings > 0) {
        (void) buf_adds(&c->out, ",");
        print_faults(&c->out, "warnings", f->warnings, f->nwarnings);
    }

    send_code(c, 200);
}


static void
run_queue(struct api_call *c, struct fusion_call *f)
{
    run_new(c, f, false);
}


static void
run_schedule(struct api_call *c, struct fusion_call *f)
{
    run_new(c, f, true);
}


/* -- jobs by id ---------------------------------------------------------- */

static bool
is_open(const struct logdoc *d)
{
    return d->status == LOG_PENDING || d->status == LOG_RETRYING;
}


static void
fault_of(struct work *w, unsigned code, const char *field,
    const char *message)
{
    (void) fusion_wrong(w->f, w->index, field, "%s", message);
    w->code = w->code == 0 ? code : w->code;
}


/* Fusion's jobs are direct deliveries of its developer. */
static enum result
find_job(struct work *w, const json_t *v)
{
    const struct scope  mine = { .org_id = w->f->org_id };
    uint8_t             id[UUID_BYTES];
    enum result         r;

    r = uuid_parse((struct slice) { json_string_value(v),
        json_string_length(v) }, id) != RESULT_OK ? RESULT_NOT_FOUND
        : store_log_get(w->c->env->store, &mine, id, &w->arena, &w->log);

    if (r == RESULT_OK && (!direct_is(&w->log)
                           || !slice_eq(w->log.developer_id,
                                  w->f->developer_id)))
    {
        r = RESULT_NOT_FOUND;
    }

    if (r == RESULT_NOT_FOUND) {
        fault_of(w, 404, "job_id", "there is no such job");
    }

    return r;
}


/* Calls EACH with every job that the body names, one after the other. */
static void
run_jobs(struct api_call *c, struct fusion_call *f, bool timed,
    enum result (*each)(struct work *w))
{
    struct work    w = { .c = c, .f = f };
    json_t        *body = json_valid(http_body(c->http))
                       ? json_loadb(http_body(c->http).p, http_body(c->http).n,
                             JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t  *ids = json_object_get(body, "job_ids"), *one;
    const char    *code, *why;
    size_t         n;
    enum result    r = RESULT_OK;

    one = json_object_get(body, "job_id");
    n = json_is_array(ids) ? json_array_size(ids) : one != NULL;
    w.body = body;

    if (!json_is_object(body)) {
        (void) fusion_wrong(f, 0, "", "the body must be a JSON object");
        refuse(c, f, body == NULL ? 400 : 422);
        json_decref(body);
        return;
    }

    if (n == 0 || n > MAX_JOBS) {
        (void) fusion_wrong(f, 0, "job_id", "job_id or job_ids, at most %d, "
            "is required", MAX_JOBS);
    }

    if (timed && event_time(json_object_get(body, "deliver_at"),
            clock_wall_us(), &w.at_us, &code, &why) != RESULT_OK)
    {
        (void) fusion_wrong(f, 0, "deliver_at", "%s", why);
    }

    if (f->nfaults > 0) {
        refuse(c, f, 422);
        json_decref(body);
        return;
    }

    buf_init(&w.done, API_MAX_OUT / 2);
    arena_init(&w.arena, API_MAX_ARENA);

    for (; w.index < n && (r == RESULT_OK || r == RESULT_NOT_FOUND);
         w.index++)
    {
        arena_reset(&w.arena);
        r = find_job(&w, json_is_array(ids) ? json_array_get(ids, w.index)
                                            : one);
        r = r != RESULT_OK ? r : each(&w);
    }

    if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        refuse_result(c, f, r);

    } else {
        (void) buf_addf(&c->out, "{\"code\":%u,\"%s\":[%.*s]",
            w.code == 0 ? 200 : w.code, w.at_us == 0 && each != NULL
                && w.done.n > 0 && w.done.p[0] == '{' ? "jobs" : "job_ids",
            (int) w.done.n, w.done.n == 0 ? "" : w.done.p);

        if (f->nfaults > 0) {
            (void) buf_adds(&c->out, ",");
            print_faults(&c->out, "errors", f->faults, f->nfaults);
        }

        send_code(c, w.code == 0 ? 200 : w.code);
    }

    buf_cleanup(&w.done);
    arena_cleanup(&w.arena);
    json_decref(body);
}


/* A claim counts an attempt, whose record comes with its end. */
static enum result
job_state(struct work *w, const char **out)
{
    const struct scope   mine = { .org_id = w->f->org_id };
    struct log_attempt  *attempts;
    size_t               n;
    enum result          r = RESULT_OK;

    *out = "failed";

    if (w->log.status == LOG_SUCCESS || w->log.status == LOG_COMMITTED) {
        *out = "finished";

    } else if (is_open(&w->log)) {
        r = store_attempts(w->c->env->store, &mine, w->log.id, &w->arena,
            &attempts, &n);
        *out = r == RESULT_OK && w->log.attempts > (int64_t) n
               && w->log.next_attempt_us <= clock_wall_us() ? "started"
                                                            : "queued";
    }

    return r;
}


static enum result
info_one(struct work *w)
{
    struct buf    *b = &w->done;
    const char    *state;
    char           id[UUID_TEXT + 1];
    struct slice   tag = direct_field(&w->log, "log_tag");
    enum result    r = job_state(w, &state);

    uuid_text(w->log.id, id);
    (void) buf_addf(b, "%s{\"job_id\":\"%s\",\"status\":\"%s\",\"task\":4,"
        "\"task_type\":%.*s,\"log_tag\":", b->n == 0 ? "" : ",", id, state,
        SLICE_ARG(direct_field(&w->log, "task_type")));

    if (tag.n > 0) {
        json_text(b, tag);
    } else {
        (void) buf_adds(b, "null");
    }

    (void) buf_addf(b, ",\"result\":\"%s\",\"attempts\":%lld,"
        "\"http_status\":", log_status_text(w->log.status),
        (long long) w->log.attempts);
    json_int(b, w->log.http_status);
    (void) buf_adds(b, ",\"created_at\":");
    json_time(b, w->log.started_us);
    (void) buf_adds(b, ",\"next_attempt_at\":");
    json_time(b, w->log.next_attempt_us);
    (void) buf_adds(b, ",\"error\":");

    if (w->log.error_code.n > 0) {
        json_text(b, w->log.error_code);
    } else {
        (void) buf_adds(b, "null");
    }

    (void) buf_adds(b, "}");
    return r;
}


static void
run_info(struct api_call *c, struct fusion_call *f)
{
    run_jobs(c, f, false, info_one);
}


static enum result
move_one(struct work *w, enum store_move move, int64_t at_us)
{
    const struct scope  mine = { .org_id = w->f->org_id };
    enum log_status     status;
    enum result         r;

    r = store_move(w->c->env->store, &mine, w->log.id, move, at_us,
        SLICE_LIT("cancelled by /cancelJob/"), &status);

    if (r == RESULT_CONFLICT) {
        fault_of(w, 409, "job_id", status == LOG_PENDING
            || status == LOG_RETRYING ? "it is being sent now"
                                      : "it has ended");
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    w->log.status = status;
    w->log.next_attempt_us = move == STORE_CANCEL ? LOGDOC_NONE : at_us;
    events_queue(w->f->events, &w->log, 1);
    print_job(&w->done, w->log.id);

    /* what is not told now is found by the sweep */
    if (move == STORE_CANCEL) {
        (void) !callback_settle(w->c->env->store, w->c->env->config,
            w->f->redis, w->log.id);
    }

    return RESULT_OK;
}


static enum result
cancel_one(struct work *w)
{
    return move_one(w, STORE_CANCEL, LOGDOC_NONE);
}


static void
run_cancel(struct api_call *c, struct fusion_call *f)
{
    run_jobs(c, f, false, cancel_one);
}


static enum result
reschedule_one(struct work *w)
{
    return move_one(w, STORE_RESCHEDULE, w->at_us);
}


static void
run_reschedule(struct api_call *c, struct fusion_call *f)
{
    run_jobs(c, f, true, reschedule_one);
}


/* What waits goes now; what failed goes as a new job. */
static enum result
retry_one(struct work *w)
{
    uint8_t      id[UUID_BYTES];
    enum result  r;

    if (is_open(&w->log)) {
        return move_one(w, STORE_RESCHEDULE, clock_wall_us());
    }

    if (w->log.status == LOG_SUCCESS || w->log.status == LOG_COMMITTED) {
        fault_of(w, 409, "job_id", "it has not failed");
        return RESULT_OK;
    }

    r = fusion_again(w->f, &w->log, clock_wall_us(), id);

    if (r == RESULT_NOT_FOUND) {
        fault_of(w, 409, "job_id", "it is too old: its headers are gone");
        return RESULT_OK;
    }

    if (r == RESULT_OK) {
        print_job(&w->done, id);
    }

    return r;
}


static void
run_retry(struct api_call *c, struct fusion_call *f)
{
    run_jobs(c, f, false, retry_one);
}


static void
run_other(struct api_call *c, struct fusion_call *f)
{
    (void) fusion_wrong(f, 0, "", "this call is not served here, only "
        "webhooks (task 4) are");
    refuse(c, f, 422);
}


static const struct fusion_route  routes[] = {
    { "/queue/", run_queue },
    { "/schedule/", run_schedule },
    { "/jobInfo/", run_info },
    { "/cancelJob/", run_cancel },
    { "/rescheduleJob/", run_reschedule },
    { "/retryTask/", run_retry },
    { "/mapping/", run_other },
    { "/update_consent/", run_other }
};


/* Whose calls these are; false: it is answered. */
static bool
find_developer(struct api_call *c, struct fusion_call *f)
{
    struct store_doc  d;
    json_t           *body;
    bool              enabled;
    enum result       r;

    r = store_doc_get(c->env->store, STORE_DEVELOPER,
        slice_of(c->env->config->fusion_developer), &c->arena, &d);

    if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        refuse_result(c, f, r);
        return false;
    }

    body = r == RESULT_OK ? json_loadb(d.body.p, d.body.n, 0, NULL) : NULL;
    enabled = body != NULL && !json_is_false(json_object_get(body,
        "enabled"));
    json_decref(body);

    if (!enabled) {
        (void) fusion_wrong(f, 0, "", r == RESULT_OK
            ? "the developer of these calls is disabled"
            : "the developer of fusion_developer is not there");
        refuse(c, f, 403);
        return false;
    }

    f->developer_id = d.id;
    f->org_id = d.org_id;
    return true;
}


static void
run(struct api_call *c, const struct fusion_route *route)
{
    struct fusion_call  *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return;                            /* the caller answers */
    }

    f->config = c->env->config;
    f->store = c->env->store;
    f->secret = c->env->secret;
    f->arena = &c->arena;

    if (!slice_eq(c->method, SLICE_LIT("POST"))) {
        (void) http_head_add(&c->head, "Allow", "POST");
        (void) fusion_wrong(f, 0, "", "these calls are POST");
        refuse(c, f, 405);

    } else if (find_developer(c, f)) {
        f->events = outbound_take(c->env->outbound);
        f->redis = f->events->redis;
        route->run(c, f);
        outbound_give(c->env->outbound, f->events);
        outbound_work(c->env->outbound);
    }

    free(f);
}


bool
api_fusion(struct api_call *c)
{
    struct slice  target = http_target(c->http);

    if (c->env->config->fusion_developer == NULL || c->path.p != target.p) {
        return false;
    }

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (slice_eq(c->path, slice_of(routes[i].path))) {
            run(c, &routes[i]);
            return true;
        }
    }

    return false;
}
