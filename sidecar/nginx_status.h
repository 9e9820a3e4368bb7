/*
 * What the capture module of each nginx counts, asked at the addresses of the
 * setting capture_status.
 */

#ifndef NGINX_STATUS_H
#define NGINX_STATUS_H

#include <jansson.h>

#include "config.h"

#define NGINX_STATUS_MAX  16               /* addresses that are asked */

struct nginx_status;

/* NULL out: none is configured. */
must_check enum result nginx_status_create(const struct config *c,
    struct nginx_status **out);
void nginx_status_destroy(struct nginx_status *n);

/*
 * [{"url","up","error","counters":{..}|null}], at most two seconds old.
 * *down: one did not answer; *dropped: one lost records within the last hour,
 * as far as was seen from here.  N may be NULL: an empty list.
 */
json_t *nginx_status_json(struct nginx_status *n, bool *down, bool *dropped);

#endif /* NGINX_STATUS_H */
