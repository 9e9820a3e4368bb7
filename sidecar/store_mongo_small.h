/* Small documents and upkeep on the Mongo protocol: contracts in store.h. */

#ifndef STORE_MONGO_SMALL_H
#define STORE_MONGO_SMALL_H

#include "store_mongo_client.h"

#define MONGO_STATE  "store_state"         /* schema's and config's version */

enum result mongo_doc_put(struct store *s, enum store_coll c,
    const struct store_doc *d, int64_t if_version, int64_t *version);
enum result mongo_doc_get(struct store *s, enum store_coll c,
    struct slice id, struct arena *a, struct store_doc *out);
enum result mongo_doc_delete(struct store *s, enum store_coll c,
    struct slice id, int64_t if_version);
enum result mongo_doc_list(struct store *s, enum store_coll c,
    int64_t org_id, struct slice after, bool descending, unsigned limit,
    struct arena *a, struct store_doc **out, size_t *n);
enum result mongo_config_version(struct store *s, int64_t *v);

#endif /* STORE_MONGO_SMALL_H */
