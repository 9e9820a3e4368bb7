/*
 * Idempotency-Key: who sends the same call twice gets the first answer again,
 * for a day.  It is kept before the client has it, so a client that lost the
 * answer, or a server that was killed in between, makes nothing go out twice.
 */

#ifndef API_IDEMPOTENCY_H
#define API_IDEMPOTENCY_H

#include "api_http.h"

/*
 * Around a handler whose route sends traffic.  BEGIN answers false: 400 a bad
 * key, 409 the first call is still under way, 422 the key was used for another
 * call, or the first answer again.  END lets go of a key whose call was refused
 * or failed: only answers of success are kept.
 */
must_check bool api_idempotency_begin(struct api_call *c);
void api_idempotency_end(struct api_call *c);

/*
 * The id of what the handler makes: of a call that is done again after a crash
 * it is the same, so that what was written then is found and not made twice.
 */
void api_idempotency_id(struct api_call *c, uint8_t id[UUID_BYTES]);

#endif /* API_IDEMPOTENCY_H */
