/* Batch retries: plans, jobs, their items. */

#ifndef API_RETRY_H
#define API_RETRY_H

#include "api_http.h"

void api_plan_create(struct api_call *c);
void api_plan_get(struct api_call *c);

void api_job_create(struct api_call *c);
void api_job_list(struct api_call *c);
void api_job_get(struct api_call *c);
void api_job_items(struct api_call *c);
void api_job_pause(struct api_call *c);
void api_job_resume(struct api_call *c);
void api_job_cancel(struct api_call *c);

#endif /* API_RETRY_H */
