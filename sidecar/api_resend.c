/*
 * A delivery in the hands of a person.  The original of a resend stays as it
 * is; what is audited was meant, even when the store then refuses it.
 */

#include "api_resend.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_audit.h"
#include "api_idempotency.h"
#include "api_payload.h"
#include "clock.h"
#include "outbound.h"
#include "resend_plan.h"

#define AUDIT_TYPE  "integration_directory"


/* Tells the queue, and whoever sends. */
static void
hand_on(struct api_call *c, const struct logdoc *d)
{
    struct events  *events = outbound_take(c->env->outbound);

    events_queue(events, d, 1);
    outbound_give(c->env->outbound, events);
    outbound_work(c->env->outbound);
}


/* An edited body stands in for one that was not kept. */
static bool
may_resend(struct api_call *c, const struct logdoc *d, bool edited)
{
    enum resend_why  why = resend_log(d);

    return why == RESEND_OK
           || (edited && (why == RESEND_BODY_CUT
                          || why == RESEND_BODY_NOT_KEPT))
           || api_problem(c, 409, "%s", resend_refusal(why));
}


static void
resend(struct api_call *c, struct logdoc *d, struct slice body)
{
    enum store_insert  outcome;
    uint8_t            planned[UUID_BYTES];
    char               id[UUID_TEXT + 1];
    enum result        r;

    api_idempotency_id(c, planned);
    r = resend_copy(d, planned, body, outbound_routes(c->env->outbound),
        &c->arena);
    r = r != RESULT_OK ? r : store_logs_insert(c->env->store, d, 1, &outcome);

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    hand_on(c, d);
    uuid_text(d->id, id);
    (void) buf_addf(&c->out, "{\"_id\":\"%s\",\"resend_of\":\"%.*s\","
        "\"edited\":%s}", id, SLICE_ARG(d->resend_of),
        body.p != NULL ? "true" : "false");
    (void) http_head_add(&c->head, "Location", API_BASE "/logs/%s", id);
    api_send(c, 202, API_JSON);
}


static void
plan_send(struct api_call *c, const struct logdoc *d, struct slice body)
{
    if (api_print_json(c, resend_plan(d, outbound_routes(c->env->outbound),
            body.p == NULL ? -1 : (int64_t) body.n)))
    {
        api_send(c, 200, API_JSON);
    }
}


static void
resend_or_plan(struct api_call *c, bool plan)
{
    static const char *const  members[] = { "reason", "body", "encoding",
                                            NULL };
    struct docs_errors        e = { .n = 0 };
    struct logdoc             d;
    json_t                   *ask = NULL;
    struct slice              reason, body = SLICE_NONE;

    if (!api_params_end(c) || !api_body_optional(c, &ask)
        || !api_log_read(c, &d)
        || (!plan && !may_resend(c, &d, json_object_get(ask, "body") != NULL)))
    {
        json_decref(ask);
        return;
    }

    if (ask != NULL) {
        api_members(ask, members, &e);
        body = api_payload(&c->arena, ask, d.request.data, &e);
    }

    reason = api_reason(ask, !plan && json_object_get(ask, "body") != NULL,
        &e);

    if (!api_faultless(c, &e)) {
        goto out;
    }

    if (plan) {
        plan_send(c, &d, body);

    } else if (api_audit(c, "log.resend", AUDIT_TYPE, c->ids[0], d.org_id,
                   reason, body.p != NULL ? "{\"edited\":true}" : ""))
    {
        resend(c, &d, body);
    }

out:

    json_decref(ask);
}


void
api_logs_resend(struct api_call *c)
{
    resend_or_plan(c, false);
}


void
api_logs_resend_plan(struct api_call *c)
{
    resend_or_plan(c, true);
}


static void
move(struct api_call *c, const struct logdoc *d, enum store_move move_to,
    int64_t at_us, struct slice reason)
{
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
    hand_on(c, &moved);

    (void) buf_addf(&c->out, "{\"_id\":\"%.*s\",\"status\":\"%s\"}",
        SLICE_ARG(c->ids[0]), log_status_text(moved.status));
    api_send(c, 200, API_JSON);
}


void
api_logs_cancel(struct api_call *c)
{
    static const char *const  members[] = { "reason", NULL };
    struct logdoc             d;
    json_t                   *body = NULL;
    struct slice              reason;

    if (api_params_end(c) && api_ask(c, members, &body, &reason)
        && api_log_read(c, &d)
        && api_audit(c, "log.cancel", AUDIT_TYPE, c->ids[0], d.org_id, reason,
               ""))
    {
        move(c, &d, STORE_CANCEL, LOGDOC_NONE, reason.n > 0 ? reason
            : SLICE_LIT("cancelled by hand"));
    }

    json_decref(body);
}


static bool
deliver_at(struct api_call *c, const json_t *body, int64_t *at_us)
{
    const char  *at = json_string_value(json_object_get(body, "deliver_at"));

    return (at != NULL && clock_parse(at, at_us) == RESULT_OK
            && *at_us <= clock_wall_us() + INT64_C(366) * 86400 * 1000000)
           || api_problem_fields(c, &(struct api_error) {
                  .pointer = "#/deliver_at", .code = "time",
                  .detail = "must be RFC 3339, within a year from now" }, 1);
}


void
api_logs_reschedule(struct api_call *c)
{
    static const char *const  members[] = { "deliver_at", "reason", NULL };
    struct logdoc             d;
    json_t                   *body = NULL;
    struct slice              reason;
    char                      detail[64], at[CLOCK_RFC3339 + 1];
    int64_t                   at_us;

    if (!api_params_end(c) || !api_ask(c, members, &body, &reason)
        || !deliver_at(c, body, &at_us) || !api_log_read(c, &d))
    {
        json_decref(body);
        return;
    }

    clock_text(at_us, at);
    (void) snprintf(detail, sizeof(detail), "{\"deliver_at\":\"%s\"}", at);

    if (api_audit(c, "log.reschedule", AUDIT_TYPE, c->ids[0], d.org_id, reason,
            detail))
    {
        move(c, &d, STORE_RESCHEDULE, at_us, SLICE_NONE);
    }

    json_decref(body);
}
