/* Logs and attempts on a server of the Mongo protocol: contracts in store.h. */

#ifndef STORE_MONGO_LOGS_H
#define STORE_MONGO_LOGS_H

#include "store_mongo_client.h"

enum result mongo_log_get(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out);
enum result mongo_attempts(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n);
enum result mongo_logs_find(struct store *s, const struct filter *f,
    const struct store_page *p, struct arena *a, struct store_rows *out);
enum result mongo_logs_count(struct store *s, const struct filter *f,
    int64_t cap, int64_t deadline_us, int64_t *n, bool *capped);

#endif /* STORE_MONGO_LOGS_H */
