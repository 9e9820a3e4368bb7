/* Text, numbers, header blocks, pairs and flags in BSON and back. */

#ifndef STORE_MONGO_VALUE_H
#define STORE_MONGO_VALUE_H

#include <bson/bson.h>

#include "logdoc.h"

/* A document of the store is at most so large, bodies included. */
#define MONGO_MAX_DOC  (8 * 1024 * 1024)

/*
 * Text is left out when empty and becomes binary when it is no UTF-8 or holds a
 * NUL, which not every server keeps in a string; a number that is LOGDOC_NONE
 * is left out.
 */
bool mongo_put_text(bson_t *b, const char *key, struct slice s);
bool mongo_put_int(bson_t *b, const char *key, int64_t v);
/* A string or binary value, borrowed from the document; "" for others. */
struct slice mongo_get_text(const bson_iter_t *it);
/* Any number as integer; LOGDOC_NONE for others. */
int64_t mongo_get_int(const bson_iter_t *it);

/* The same, copied to the arena; false: it is full. */
bool mongo_copy_text(const bson_iter_t *it, struct arena *a,
    struct slice *out);

/* "headers": a block of lines as it came; empty, it is left out. */
bool mongo_put_headers(bson_t *b, struct slice block);
bool mongo_get_headers(const bson_iter_t *it, struct arena *a,
    struct slice *out);

/* KEY: the pairs by name; ODD: a list of those whose name is fit for no key.
 * Both are read by the same call, one after the other. */
bool mongo_put_pairs(bson_t *b, const char *key, const char *odd,
    const struct log_pair *pairs, unsigned n);
bool mongo_get_pairs(const bson_iter_t *at, struct arena *a,
    struct log_pair *pairs, unsigned *n);

/* "flags": their names. */
bool mongo_put_flags(bson_t *b, uint32_t flags);
uint32_t mongo_get_flags(const bson_iter_t *at);

#endif /* STORE_MONGO_VALUE_H */
