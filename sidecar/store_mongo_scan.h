/*
 * Documents of the Mongo protocol: reading many, one callback each, changing
 * those that a query finds.
 */

#ifndef STORE_MONGO_SCAN_H
#define STORE_MONGO_SCAN_H

#include "store_mongo_client.h"

struct mongo_scan {
    const char    *coll;
    const bson_t  *query;
    const char    *sort[2];                /* NULL: as they come */
    bool           ascending;
    int64_t        limit;                  /* 0: none */
    int64_t        skip;                   /* few: the server walks them */
    /* names of fields; EXCLUDE turns the list round; NULL ends it */
    const char *const  *fields;
    bool           exclude;
    int64_t        deadline_us;            /* clock_mono_us(); 0: 5 s */
};

/* Called for each document, valid for the call; not RESULT_OK ends the scan
 * and is its result (RESULT_AGAIN: ends it well). */
typedef enum result (*mongo_each_pt)(const bson_t *doc, void *data);

/* RESULT_TIMEOUT: the deadline passed, not all was looked at. */
must_check enum result mongo_scan(struct mongo_store *m,
    const struct mongo_scan *scan, mongo_each_pt each, void *data);

#define MONGO_MANY    0x01                 /* all that match, else one */
#define MONGO_UPSERT  0x02                 /* none matches: make it */

/*
 * One update command.  *matched, when not NULL: how many the query met.
 * RESULT_CONFLICT: two upserts at once, the other made it; else
 * RESULT_UNAVAILABLE: unknown.
 */
must_check enum result mongo_update(struct mongo_store *m, const char *coll,
    const bson_t *query, const bson_t *update, unsigned how,
    int64_t *matched);
/* The same, and destroys both. */
must_check enum result mongo_change(struct mongo_store *m, const char *coll,
    bson_t *query, bson_t *update, unsigned how, int64_t *matched);

/* {"_id": ID} */
void mongo_query_id(bson_t *out, struct slice id);
/* {"_id": {"$in": [..]}}; the i-th id is at IDS + i * STRIDE. */
void mongo_query_ids(bson_t *out, const uint8_t *ids, size_t stride,
    size_t n);
/* {NAME: {OP: V}}, as one member more. */
void mongo_query_bound(bson_t *out, const char *name, const char *op,
    int64_t v);

/* The document's "_id"; false when it is no UUID. */
bool mongo_doc_id(const bson_t *doc, uint8_t id[UUID_BYTES]);
/* A member that is a number; LOGDOC_NONE when it is none or not there. */
int64_t mongo_doc_int(const bson_t *doc, const char *name);

#endif /* STORE_MONGO_SCAN_H */
