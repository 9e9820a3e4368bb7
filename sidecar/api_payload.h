/* What the bodies of all calls that send again have in common. */

#ifndef API_PAYLOAD_H
#define API_PAYLOAD_H

#include "api_docs.h"

#define API_MAX_REASON  500

/* The body is optional; *out is NULL without one. */
must_check bool api_body_optional(struct api_call *c, json_t **out);

/* Members other than ALLOWED (NULL-terminated) are faults. */
void api_members(const json_t *body, const char *const *allowed,
    struct docs_errors *e);

/* "reason", as a slice of BODY; a fault when it is too long, or REQUIRED and
 * not there. */
struct slice api_reason(const json_t *body, bool required,
    struct docs_errors *e);

/* The body of a call that acts on something: members of ALLOWED alone, and the
 * reason, a slice of *body.  It may be left out: *body is NULL.  The caller
 * frees it, also when this has answered. */
must_check bool api_ask(struct api_call *c, const char *const *allowed,
    json_t **body, struct slice *reason);

/*
 * The bytes that "body" and "encoding" stand for, in the arena; p NULL when
 * there is none.  What replaces JSON must be JSON, what replaces HL7 begin with
 * MSH: LIKE is the original.
 */
struct slice api_payload(struct arena *a, const json_t *body,
    struct slice like, struct docs_errors *e);

/* Answers 422 when there are faults. */
must_check bool api_faultless(struct api_call *c, const struct docs_errors *e);

/* The log of ids[0], in the caller's scope; answers 404. */
must_check bool api_log_read(struct api_call *c, struct logdoc *d);

#endif /* API_PAYLOAD_H */
