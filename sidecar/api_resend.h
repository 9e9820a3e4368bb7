/* What people do to a delivery: send it again, cancel it, move it. */

#ifndef API_RESEND_H
#define API_RESEND_H

#include "api_http.h"

void api_logs_resend(struct api_call *c);
void api_logs_resend_plan(struct api_call *c);      /* sends nothing */
void api_logs_cancel(struct api_call *c);
void api_logs_reschedule(struct api_call *c);

#endif /* API_RESEND_H */
