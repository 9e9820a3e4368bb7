/*
 * What makes a configuration document right beyond its shape: owners,
 * references to others, secrets that become hashes.
 */

#ifndef API_CHANGE_H
#define API_CHANGE_H

#include "api_docs.h"
#include "auth_key.h"

struct api_change {
    const struct docs_kind  *kind;
    struct store_doc         doc;          /* id, org, times; old one on PUT */
    json_t                  *before;       /* NULL on create */
    json_t                  *body;         /* as sent, then as stored */
    struct docs_errors       errors;
    char                     id[DOCS_ID + 1];
    char                     secret[AUTH_KEY_TEXT + 1];  /* shown once, "" */
};

/* Completes body and doc; false when answered (store away). */
must_check bool api_change_complete(struct api_call *c, struct api_change *ch);

/* Is something left that belongs to the document?  Answers 409. */
must_check bool api_change_unused(struct api_call *c,
    const struct docs_kind *k, const struct store_doc *d);

#endif /* API_CHANGE_H */
