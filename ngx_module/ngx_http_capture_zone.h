/*
 * The zone: what rings that are gone had counted, and what happens to the
 * spool, which belongs to no ring.  Shared by old and new workers of one nginx.
 */

#ifndef NGX_HTTP_CAPTURE_ZONE_H
#define NGX_HTTP_CAPTURE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "ngx_http_capture_ring.h"

struct capture_zone;

/*
 * Counters of rings that are gone and of the spool, in memory shared by old and
 * new workers.  SIZE bytes at ADDR, zeroed by nginx when new, kept on reload.
 */
size_t capture_zone_size(void);
struct capture_zone *capture_zone_attach(void *addr);

/* Random, of this zone's life: segments that carry another were found cold. */
uint64_t capture_zone_id(struct capture_zone *zone);

/*
 * Adds a ring's counts since LAST (NULL: all of them), once: a ring that was
 * folded whole is told by its id, so a crash before its unlink counts nothing
 * twice.
 */
void capture_zone_fold(struct capture_zone *zone,
    const struct capture_ring_state *now,
    const struct capture_ring_state *last);

/* Segments' records: found cold, acknowledged after replay, given up. */
void capture_zone_found(struct capture_zone *zone, uint64_t n);
void capture_zone_replayed(struct capture_zone *zone, uint64_t n);
void capture_zone_dropped(struct capture_zone *zone, enum capture_drop why,
    uint64_t n);

/* Sum over every ring in the directory and the zone. */
int capture_zone_totals(const char *ring_dir, struct capture_zone *zone,
    struct capture_totals *out);

#endif /* NGX_HTTP_CAPTURE_ZONE_H */
