/* Logs and attempts as BSON documents and back. */

#ifndef STORE_MONGO_DOC_H
#define STORE_MONGO_DOC_H

#include "store_mongo_value.h"

/* What a scan leaves out of a log that needs no bodies; ends with NULL. */
extern const char *const  mongo_log_bodies[];

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
