/* Writes the entries of a call, and remembers the last one until its end. */

#include "api_audit.h"

#include <stdio.h>

#include "audit.h"
#include "log.h"


static enum result
entry_write(const struct api_call *c, struct slice reason, struct slice detail,
    bool failed)
{
    const struct api_act      *act = &c->act;
    const struct audit_entry   entry = {
        .caller = &c->caller, .ip = c->ip, .request_id = c->request_id,
        .action = act->action.p, .type = act->type.p, .target = act->target,
        .org_id = act->org_id, .reason = reason, .detail = detail,
        .failed = failed
    };

    return audit_write(c->env->store, &entry,
        c->env->config->retention_audit_us);
}


bool
api_audit(struct api_call *c, const char *action, const char *type,
    struct slice target, int64_t org_id, struct slice reason,
    const char *detail)
{
    enum result  r;

    /* the handler's own texts are gone when the call ends */
    c->act.action = arena_copy(&c->arena, slice_of(action));
    c->act.type = arena_copy(&c->arena, slice_of(type));
    c->act.target = arena_copy(&c->arena, target);
    c->act.org_id = org_id;

    if (c->act.action.p == NULL || c->act.type.p == NULL) {
        return api_problem_result(c, RESULT_MEMORY);
    }

    r = entry_write(c, reason, slice_of(detail), false);
    c->act.allowed = r == RESULT_OK;
    return r == RESULT_OK || api_problem_result(c, r);
}


void
api_audit_end(struct api_call *c)
{
    char         detail[32];
    enum result  r;

    if (!c->act.allowed || c->head.status < 400) {
        return;
    }

    (void) snprintf(detail, sizeof(detail), "{\"status\":%u}",
        c->head.status);
    r = entry_write(c, SLICE_NONE, slice_of(detail), true);

    if (r != RESULT_OK) {
        log_rate(LOG_ERROR, "api", "%s: %s failed, and the audit log does not "
            "say so: %s", c->request_id, c->act.action.p, result_text(r));
    }
}
