/*
 * Sending a delivery again: may it go, and what is the copy.  The original
 * never changes; the copy is a log of its own that says resend_of, and keeps
 * the message id unless its body was edited.
 */

#ifndef RESEND_H
#define RESEND_H

#include "routes.h"

enum resend_why {
    RESEND_OK, RESEND_INBOUND, RESEND_CAPTURED, RESEND_IN_FLIGHT,
    RESEND_BODY_CUT, RESEND_BODY_NOT_KEPT, RESEND_SUCCEEDED, RESEND_COMMITTED,
    RESEND_SUPERSEDED, RESEND_DISABLED, RESEND_DELETED, RESEND_DEVELOPER,
    RESEND_GONE, RESEND_WHYS
};

/* "in_flight" ..; "" for RESEND_OK */
const char *resend_why_text(enum resend_why w);

/* By the log itself, with its body read.  A success may go again. */
enum resend_why resend_log(const struct logdoc *d);

/*
 * One of many: the same, and it has not succeeded, nor has a later copy of it,
 * none is under way, none that failed stands for it, and there is somebody who
 * takes it.
 */
must_check enum result resend_one_of_many(struct store *s, struct routes *r,
    const struct logdoc *d, struct arena *a, enum resend_why *why);

/*
 * Makes D its own copy of that id, PENDING and due at the id's time.  BODY
 * replaces what was sent when p is not NULL.
 */
must_check enum result resend_copy(struct logdoc *d,
    const uint8_t id[UUID_BYTES], struct slice body, struct routes *r,
    struct arena *a);

#endif /* RESEND_H */
