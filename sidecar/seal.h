/*
 * Secrets at rest: AES-256-GCM under the sealing key, bound to the place they
 * stand in.  Text form "idash1:<base64>"; a value is never shown again.
 */

#ifndef SEAL_H
#define SEAL_H

#include "secret.h"

/* PLACE: "labIntegration/<id>/<field>", authenticated with the text. */
must_check enum result seal_close(const struct secret *s, struct slice place,
    struct slice plain, struct buf *out);
/* RESULT_INVALID: not sealed by this secret for this place. */
must_check enum result seal_open(const struct secret *s, struct slice place,
    struct slice sealed, struct buf *plain);

#endif /* SEAL_H */
