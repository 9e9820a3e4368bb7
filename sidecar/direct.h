/*
 * Deliveries without an integration: a Fusion item to its own URL, or the
 * callback of one.  The log has URL and method; what else the item said stands
 * in its event's document, headers sealed.
 */

#ifndef DIRECT_H
#define DIRECT_H

#include "config.h"
#include "integration.h"

#define DIRECT_ID        "direct:"         /* how their limits are named */
#define DIRECT_CALLBACK  "callback"        /* field of a callback's log */

bool direct_is(const struct logdoc *d);

/* The value of a field of D, "" none. */
struct slice direct_field(const struct logdoc *d, const char *name);

/*
 * Headers of an item, {"Name":"value"}, as its event EVENT_ID keeps them.
 */
must_check enum result direct_seal(const struct secret *secret,
    struct slice event_id, const json_t *headers, struct buf *out);

/* ATTEMPTS in all: the webhook's schedule, whose last delay repeats. */
void direct_schedule(struct retry_schedule *s, unsigned attempts);

/*
 * An integration for this delivery alone; integration_free frees it.
 * RESULT_INVALID: *why it can never be sent.
 */
must_check enum result direct_load(struct store *s, const struct config *c,
    const struct secret *secret, const struct logdoc *d,
    struct integration **out, const char **why);

#endif /* DIRECT_H */
