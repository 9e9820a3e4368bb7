/* Logs and attempts as BSON documents and back. */

#ifndef STORE_MONGO_DOC_H
#define STORE_MONGO_DOC_H

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

/*
 * Fills OUT (initialised by the caller, empty) with the document of D.  BATCH
 * names the insert that it belongs to.  RESULT_TOO_BIG: over MONGO_MAX_DOC;
 * RESULT_INVALID: no start, kind or status.
 */
must_check enum result mongo_log_encode(const struct logdoc *d,
    const char *batch, bson_t *out);

/*
 * The fields of a delivery that an attempt or a move changes, as members of a
 * $set; what is NONE is left out.  ATTEMPTED: response and timing too.
 */
bool mongo_outcome_put(const struct logdoc *d, bool attempted, bson_t *set);

/* "_id" is <log id>-<number>.  RESULT_TOO_BIG: over MONGO_MAX_DOC. */
must_check enum result mongo_attempt_encode(const struct log_attempt *t,
    bson_t *out);

/* Copies everything into the arena.  RESULT_INVALID: not one of ours. */
must_check enum result mongo_log_decode(const bson_t *b, struct arena *a,
    struct logdoc *out);

must_check enum result mongo_attempt_decode(const bson_t *b, struct arena *a,
    struct log_attempt *out);

#endif /* STORE_MONGO_DOC_H */
