/*
 * The recorded call with what the editor changed, made again by the thread that
 * replays; api_replay_ask.c says what goes.
 */

#include "api_replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_audit.h"
#include "api_idempotency.h"
#include "api_payload.h"
#include "api_replay_ask.h"
#include "logdoc_json.h"
#include "replay.h"

#define AUDIT_TYPE  "integration_directory"

struct replaying {
    struct api_call     *c;
    struct logdoc        log;
    json_t              *body;             /* as sent to us */
    struct replay_ask    ask;
};


static bool
may_replay(struct replaying *x)
{
    const char  *base = x->c->env->config->replay_base_url, *why;

    if (base == NULL || base[0] == '\0') {
        return api_problem_type(x->c, 409, "replay-off", "Replay is not "
            "configured: replay_base_url names nginx' address.");
    }

    why = replay_ask_refusal(&x->log,
        json_object_get(x->body, "body") != NULL);
    return why == NULL || api_problem(x->c, 409, "%s", why);
}


/* The editor has seen the log as it is. */
static bool
base_is_current(struct replaying *x)
{
    struct api_call  *c = x->c;
    const char       *base = json_string_value(
        json_object_get(x->body, "base_etag"));
    char              tag[API_ETAG];

    if (base == NULL) {
        docs_error(&x->ask.e, "base_etag", "required",
            "send the ETag of the log");
        return true;
    }

    buf_reset(&c->out);
    logdoc_json(&c->out, &x->log, c->caller.rights & AUTH_UNMASK
        ? LOGDOC_FULL : LOGDOC_MASKED);
    api_etag(&c->out, tag);
    buf_reset(&c->out);
    base += strncmp(base, "W/", 2) == 0 ? 2 : 0;

    return strcmp(base, tag) == 0 || api_problem(c, 412, "The log is not as "
        "it was when it was read: read it again.");
}


static void
replay_answer(struct api_call *c, const struct retry_doc *d, unsigned status)
{
    if (api_print_json(c, retry_doc_public(d->v))) {
        api_send(c, status, API_JSON);
    }
}


static void
replay_keep(struct replaying *x)
{
    struct retry_doc  d = { .v = NULL };
    uint8_t           planned[UUID_BYTES];
    enum result       r;

    api_idempotency_id(x->c, planned);
    r = replay_ask_keep(&x->ask, x->c->env->store, planned, &d);

    if (r != RESULT_OK) {
        (void) api_problem_result(x->c, r);
    } else {
        (void) http_head_add(&x->c->head, "Location", API_BASE "/replays/%s",
            d.id + sizeof("replay:") - 1);
        replay_answer(x->c, &d, 202);
    }

    retry_doc_cleanup(&d);
}


static void
replay_plan(struct replaying *x)
{
    if (api_print_json(x->c, replay_ask_plan(&x->ask,
            x->c->env->config->replay_base_url)))
    {
        api_send(x->c, 200, API_JSON);
    }
}


/* Everything but the act; false when answered. */
static bool
replay_read(struct replaying *x, bool plan, struct slice *reason)
{
    static const char *const  members[] = {
        "method", "query", "headers", "body", "encoding", "reason",
        "base_etag", NULL
    };
    struct api_call          *c = x->c;
    struct slice              developer;

    if (!api_params_end(c) || !api_body(c, &x->body)
        || !api_log_read(c, &x->log) || !may_replay(x)
        || !base_is_current(x))
    {
        return false;
    }

    x->ask.arena = &c->arena;
    x->ask.log = &x->log;
    x->ask.edit = x->body;
    developer = arena_copy(&c->arena, x->log.developer_id);

    if (developer.n > 0) {
        x->ask.credentials = replay_credentials(c->env->store, c->env->secret,
            developer.p);
    }

    api_members(x->body, members, &x->ask.e);
    *reason = api_reason(x->body, !plan, &x->ask.e);

    return replay_ask_make(&x->ask) ? api_faultless(c, &x->ask.e)
                                    : api_problem_result(c, RESULT_MEMORY);
}


static void
replay(struct api_call *c, bool plan)
{
    struct replaying  *x = arena_alloc(&c->arena, sizeof(*x));
    struct slice       reason;

    if (x == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    memset(x, 0, sizeof(*x));
    x->c = c;

    if (replay_read(x, plan, &reason)) {
        if (plan) {
            replay_plan(x);

        } else if (api_audit(c, "log.replay", AUDIT_TYPE, c->ids[0],
                       x->log.org_id, reason, ""))
        {
            replay_keep(x);
        }
    }

    replay_ask_cleanup(&x->ask);
    json_decref(x->body);
}


void
api_logs_replay(struct api_call *c)
{
    replay(c, false);
}


void
api_logs_replay_plan(struct api_call *c)
{
    replay(c, true);
}


void
api_replay_get(struct api_call *c)
{
    struct retry_doc  d = { .v = NULL };
    struct scope      scope;
    uint8_t           id[UUID_BYTES];
    char              text[UUID_TEXT + 1], log[UUID_TEXT + 1];
    enum result       r;

    if (!api_params_end(c)) {
        return;
    }

    auth_scope(&c->caller, &scope);
    r = uuid_parse(c->ids[0], id) != RESULT_OK ? RESULT_NOT_FOUND : RESULT_OK;

    if (r == RESULT_OK) {
        uuid_text(id, text);
        retry_doc_id(&d, "replay", text, -1);
        r = retry_doc_get(c->env->store, &d);
        r = r == RESULT_OK && !retry_visible(&d, &scope) ? RESULT_NOT_FOUND
                                                         : r;
    }

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
    } else {
        if (replay_log(c->env->store, text, log)) {
            (void) json_object_set_new(d.v, "log_id", json_string(log));
        }

        replay_answer(c, &d, 200);
    }

    retry_doc_cleanup(&d);
}
