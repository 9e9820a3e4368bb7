/* Health, metrics and the state of the system. */

#ifndef API_SYSTEM_H
#define API_SYSTEM_H

#include "api_http.h"

void api_healthz(struct api_call *c);      /* the process answers */
void api_readyz(struct api_call *c);       /* the stages made progress */
void api_metrics(struct api_call *c);      /* Prometheus' text, platform keys */
void api_system(struct api_call *c);       /* the same as JSON for people */

#endif /* API_SYSTEM_H */
