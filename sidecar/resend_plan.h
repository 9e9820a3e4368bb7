/* What sending one delivery again would do, told before it is done. */

#ifndef RESEND_PLAN_H
#define RESEND_PLAN_H

#include <jansson.h>

#include "resend.h"

/* A sentence for a person; NULL for RESEND_OK. */
const char *resend_refusal(enum resend_why w);

/*
 * {"log_id","status","eligible","why","to":{..}|null,"message_id","bytes"}; TO
 * is as the integration is now, null when it was deleted.  NULL: no memory.
 * EDITED: with a body of so many bytes, else -1.
 */
json_t *resend_plan(const struct logdoc *d, struct routes *routes,
    int64_t edited);

#endif /* RESEND_PLAN_H */
