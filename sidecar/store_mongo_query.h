/* The filter grammar as queries of the Mongo protocol. */

#ifndef STORE_MONGO_QUERY_H
#define STORE_MONGO_QUERY_H

#include <bson/bson.h>

#include "filter.h"

/* What a query looks through, beside the filter's own from and to. */
struct mongo_range {
    const char     *time;                  /* "started_us", "at_us" */
    bool            buckets;               /* leave out what they don't know */
    int64_t         from_us, to_us;        /* [from,to); LOGDOC_NONE: open */
    bool            has_after;             /* keyset: strictly beyond */
    bool            ascending;
    int64_t         after_us;
    const uint8_t  *after_id;
};

/*
 * Adds {"$and": [..]} to OUT (initialised); q is not part of it, for it
 * looks into references of any name: the caller asks filter_match.
 */
must_check enum result mongo_query(const struct filter *f,
    const struct mongo_range *r, bson_t *out);

/* Only the scope: {"$and": [..]}. */
must_check enum result mongo_query_scope(const struct scope *sc, bson_t *out);

/* False when a term stands on a field without an index, or q is set. */
bool mongo_query_is_indexed(const struct filter *f);

#endif /* STORE_MONGO_QUERY_H */
