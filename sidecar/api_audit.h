/*
 * Audit entries of calls: one before the act, and a second of the same request
 * when the act that was allowed is then answered by an error.
 */

#ifndef API_AUDIT_H
#define API_AUDIT_H

#include "api_http.h"

/* The entry without which the act does not happen; answers 503.  DETAIL is JSON
 * or "". */
must_check bool api_audit(struct api_call *c, const char *action,
    const char *type, struct slice target, int64_t org_id,
    struct slice reason, const char *detail);

/* Once the call is answered: how what was audited ended. */
void api_audit_end(struct api_call *c);

#endif /* API_AUDIT_H */
