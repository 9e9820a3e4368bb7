/*
 * GET /stream: server-sent events of what changed.  One thread reads
 * idash:changes and hands each entry to the clients whose filter it matches.
 * A stream ends within seconds of its key.
 */

#ifndef API_LIVE_H
#define API_LIVE_H

#include "api_http.h"

/* Borrows all but OUT until api_live_destroy(). */
must_check enum result api_live_create(const struct config *c,
    struct auth *auth, struct api_live **out);

/* Says bye to all clients and joins the thread; new ones get 503. */
void api_live_stop(struct api_live *l);
void api_live_destroy(struct api_live *l);

unsigned api_live_clients(struct api_live *l);

void api_live_stream(struct api_call *c);

#endif /* API_LIVE_H */
