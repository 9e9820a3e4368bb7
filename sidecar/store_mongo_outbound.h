/* Deliveries on the Mongo protocol: claim, finish, move, what is due. */

#ifndef STORE_MONGO_OUTBOUND_H
#define STORE_MONGO_OUTBOUND_H

#include "store_mongo_client.h"

enum result mongo_claim(struct store *s, int64_t now_us,
    int64_t lease_until_us, struct arena *a, struct store_claim *claims,
    size_t n);
enum result mongo_renew(struct store *s, const struct store_lease *leases,
    size_t n, int64_t lease_until_us, size_t *kept);
enum result mongo_finish(struct store *s, struct store_finish *f, size_t n);
enum result mongo_move(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status);
enum result mongo_due(struct store *s, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
    struct store_due **out, size_t *n);

#endif /* STORE_MONGO_OUTBOUND_H */
