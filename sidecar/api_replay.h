/* An inbound call made again, edited. */

#ifndef API_REPLAY_H
#define API_REPLAY_H

#include "api_http.h"

void api_logs_replay(struct api_call *c);
void api_logs_replay_plan(struct api_call *c);      /* sends nothing */
void api_replay_get(struct api_call *c);

#endif /* API_REPLAY_H */
