/*
 * Fusion's calls: items are checked, all before any is kept, then kept as
 * jobs.  Order of writes: documents, notes of callbacks, logs, then the answer.
 */

#include "fusion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "callback.h"
#include "clock.h"
#include "event_private.h"
#include "fusion_private.h"
#include "json.h"

#define LOGS_ONCE  100
#define SPACE      " \t\r\n"


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


/* -- keeping ------------------------------------------------------------- */

static enum result
keep_doc(struct fusion_call *c, const json_t *doc, int64_t due_us)
{
    struct store_doc  d = { .org_id = c->org_id,
        .id = json_slice(json_object_get(doc, "event_id")),
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

        x.root = json_loadb(texts[i].p, texts[i].n, JSON_DECODE_ANY, NULL);

        if (!json_is_object(x.root)) {
            (void) fusion_wrong(c, i, "", "must be an object");
        } else {
            r = fusion_item_check(&x, scheduled);
        }

        if (r == RESULT_OK && c->nfaults == 0) {
            r = fusion_job_make(&x, &jobs[i]);
        }

        fusion_item_cleanup(&x);
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

    r = d == NULL ? RESULT_MEMORY : fusion_job_log(doc, a, d);
    r = r != RESULT_OK ? r : callback_plan(e->store, d->id, d->org_id,
        json_object_get(f, "handlers"), d->next_attempt_us
            + e->config->retention_fail_us);
    r = r != RESULT_OK ? r : store_logs_insert(e->store, d, 1, &outcome);

    if (r == RESULT_OK) {
        events_queue(e, d, 1);
    }

    return r;
}
