/* Who calls: the checks before every handler, /login, /logout and /me. */

#ifndef API_SESSION_H
#define API_SESSION_H

#include "api_http.h"

/* Fills c->caller; answers 401, 403, 429 or 503. */
must_check bool api_authenticate(struct api_call *c);

void api_login(struct api_call *c);
void api_logout(struct api_call *c);
void api_me(struct api_call *c);

#endif /* API_SESSION_H */
