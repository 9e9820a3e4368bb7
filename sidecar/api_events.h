/* Events in. */

#ifndef API_EVENTS_H
#define API_EVENTS_H

#include "api_http.h"

void api_events_post(struct api_call *c);

/* One event for one integration, which is the caller's; answers. */
void api_events_post_to(struct api_call *c, struct slice integration);

void api_events_get(struct api_call *c);

#endif /* API_EVENTS_H */
