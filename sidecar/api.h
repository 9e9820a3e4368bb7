/* The API stage: REST and server-sent events on a unix socket or loopback. */

#ifndef API_H
#define API_H

#include "catalog.h"
#include "config.h"
#include "dispatch.h"
#include "drain.h"
#include "outbound.h"
#include "secret.h"
#include "store.h"

struct api;

/* DRAIN and DISPATCH may be NULL: they run elsewhere. */
must_check enum result api_start(const struct config *c, struct store *s,
    struct catalog *cat, const struct secret *secret, struct drain *drain,
    struct outbound *outbound, struct dispatch *dispatch, struct api **out,
    char *err, size_t errlen);
void api_stop(struct api *a);

#endif /* API_H */
