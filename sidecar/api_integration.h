/* Integrations in the API: their check, rotation of secrets, trial runs and
 * sends. */

#ifndef API_INTEGRATION_H
#define API_INTEGRATION_H

#include "api_docs.h"

/*
 * Replaces *body by the document to store; faults go to E.  A create makes a
 * signing secret, whose text goes to SECRET once.  False when answered.
 */
must_check bool api_integration_check(struct api_call *c, json_t **body,
    const json_t *before, const char *id, struct docs_errors *e,
    char *secret, size_t len);

void api_integration_rotate(struct api_call *c);
void api_integration_test(struct api_call *c);
void api_integration_send(struct api_call *c);

#endif /* API_INTEGRATION_H */
