/* GET /logs and what hangs below one log. */

#ifndef API_LOGS_H
#define API_LOGS_H

#include "api_http.h"

void api_logs_list(struct api_call *c);
void api_logs_get(struct api_call *c);
void api_logs_attempts(struct api_call *c);
void api_logs_body_request(struct api_call *c);
void api_logs_body_response(struct api_call *c);

/* The id in ids[0]; answers 404 when it is none. */
must_check bool api_log_id(struct api_call *c, uint8_t id[UUID_BYTES]);

#endif /* API_LOGS_H */
