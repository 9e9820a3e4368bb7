/* GET /audit, GET /dead-letters and putting a dead letter back. */

#ifndef API_RECORDS_H
#define API_RECORDS_H

#include "api_http.h"

void api_audit_list(struct api_call *c);
void api_dead_list(struct api_call *c);
void api_dead_replay(struct api_call *c);

#endif /* API_RECORDS_H */
