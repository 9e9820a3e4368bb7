/* Sums over buckets and logs on the Mongo protocol: contracts in store.h. */

#ifndef STORE_MONGO_COUNTS_H
#define STORE_MONGO_COUNTS_H

#include "store_mongo_client.h"

enum result mongo_cells(struct store *s, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us, bool with_hist,
    struct arena *a, struct store_cell **out, size_t *n);
enum result mongo_cells_exact(struct store *s, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us,
    int64_t deadline_us, struct arena *a, struct store_cell **out,
    size_t *n, bool *partial);
enum result mongo_error_groups(struct store *s, const struct filter *f,
    unsigned limit, int64_t deadline_us, struct arena *a,
    struct store_error_group **out, size_t *n, bool *partial);
enum result mongo_open_counts(struct store *s, const struct scope *sc,
    int64_t *pending, int64_t *retrying);

#endif /* STORE_MONGO_COUNTS_H */
