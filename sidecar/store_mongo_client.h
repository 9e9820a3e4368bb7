/*
 * The connection behind store_mongo*.c: one pool, a client for the length of a
 * call, and the driver's errors as results.  libmongoc is initialised by the
 * first open of such a store and by nothing else.
 */

#ifndef STORE_MONGO_CLIENT_H
#define STORE_MONGO_CLIENT_H

#include <mongoc/mongoc.h>
#include <pthread.h>

#include "store_ops.h"

#define MONGO_READ_MS    5000              /* maxTimeMS of a read at most */
#define MONGO_SOCKET_MS  15000             /* then a write is unknown */
#define MONGO_LOGS       "integration_directory"
#define MONGO_ATTEMPTS   "integration_retry_log"
#define MONGO_HEATMAP    "heatmap"
#define MONGO_WRITERS    "heatmap_writer"

struct mongo_writer;                       /* of store_mongo_writer.h */

struct mongo_store {
    struct store           base;           /* first: the front casts */
    mongoc_client_pool_t  *pool;
    char                  *db;
    char                   hosts[256];     /* for messages, no credentials */
    bool                   read_only;
    int64_t                stale_us;       /* a batch this old has ended */
    pthread_mutex_t        lock;           /* of the list of writers */
    struct mongo_writer   *writers;        /* idle ones */
};

/*
 * Parses the URI, adds the settings that the guarantees need (w=majority,
 * retryWrites=false, time-outs), makes the pool.  Does not connect.  ERR names
 * the setting that is wrong, never the password.
 */
must_check enum result mongo_client_init(struct mongo_store *m,
    const char *uri, char *err, size_t errlen);
void mongo_client_cleanup(struct mongo_store *m);

struct mongo_call {
    mongoc_client_t      *client;
    mongoc_collection_t  *coll;
};

/* Takes a client from the pool; every RESULT_OK needs a mongo_end. */
must_check enum result mongo_begin(struct mongo_store *m, const char *coll,
    struct mongo_call *call);
void mongo_end(struct mongo_store *m, struct mongo_call *call);

/*
 * The result that an error means, logged once a second with the hosts and what
 * to do.  WHAT is static text: "insert into integration_directory".
 */
enum result mongo_failed(const struct mongo_store *m, const char *what,
    const bson_error_t *e);
/* The same without the log line. */
enum result mongo_result(const bson_error_t *e);
/* "hosts: message; advice", one line. */
void mongo_error_text(const struct mongo_store *m, const bson_error_t *e,
    char *text, size_t len);

/*
 * The worst that a write's reply says of its documents: OK, CONFLICT (only
 * duplicates), INVALID (a document was refused), UNAVAILABLE (a transient
 * error or a write concern that was not met).  EACH, when not NULL, is called
 * with the index and result of every document that has an error.
 */
typedef void (*mongo_write_error_pt)(uint32_t index, enum result r,
    const char *message, void *data);
enum result mongo_reply_result(const bson_t *reply, mongo_write_error_pt each,
    void *data);

/* Adds maxTimeMS: what is left to the deadline, 5 s at most. */
void mongo_opts_time(bson_t *opts, int64_t deadline_us);

#endif /* STORE_MONGO_CLIENT_H */
