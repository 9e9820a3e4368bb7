/* The ring's memory, as its two files see it: file and mapping, and frames. */

#ifndef NGX_HTTP_CAPTURE_RING_PRIVATE_H
#define NGX_HTTP_CAPTURE_RING_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "ngx_http_capture_ring.h"

#define RING_HEADER     4096
#define RING_RULES      (256 * 1024)
#define RING_DATA       (RING_HEADER + RING_RULES)
#define RING_NAME       64

#define LOOP_WORDS  (sizeof(struct capture_loop_counters) / sizeof(uint64_t))
#define SHIP_WORDS  (sizeof(struct capture_ship_counters) / sizeof(uint64_t))

struct ring_latch_loop {
    _Alignas(64) _Atomic uint64_t  seq;
    _Atomic uint64_t               words[2][LOOP_WORDS];
};

struct ring_latch_ship {
    _Alignas(64) _Atomic uint64_t  seq;
    _Atomic uint64_t               words[2][SHIP_WORDS];
};

struct ring_shared {
    uint64_t           magic;
    uint64_t           id;                 /* random */
    uint64_t           data_size;
    uint32_t           loop_words, ship_words, frame_size;
    _Atomic uint32_t   rules_used;         /* bytes of the rule area */

    /* the loop's line */
    _Alignas(64) _Atomic uint64_t  committed;
    _Atomic uint64_t   write_off;          /* of the last commit's end */
    struct ring_latch_loop  loop;

    /* the shipper's line */
    _Alignas(64) _Atomic uint64_t  released;
    _Atomic uint64_t   released_off;
    _Atomic uint32_t   spool_full;
    _Atomic int64_t    acked_us;
    _Atomic uint64_t   run_id[CAPTURE_RUN_ID / 8];
    struct ring_latch_ship  ship;

    /* both */
    _Alignas(64) _Atomic uint32_t  asleep;
    _Atomic uint64_t   wake_off;           /* not woken before; 0: at once */
};

_Static_assert(sizeof(struct ring_shared) <= RING_HEADER, "ring header");
_Static_assert(sizeof(struct capture_frame) % 8 == 0, "frame alignment");

struct capture_ring {
    struct ring_shared  *shared;
    uint8_t             *map;
    uint8_t             *data;
    uint64_t             size;
    int                  fd;
    int                  dirfd;            /* -1: anonymous */
    char                 name[RING_NAME];

    /* the producer's own */
    uint64_t             write_off;
    uint64_t             write_seq;
    uint64_t             free_off;         /* released_off as last seen */
    struct capture_loop_counters  loop;

    /* the consumer's own */
    struct capture_ship_counters  ship;
};

/* A consistent copy of the counters. */
void capture_ring_read_shared(struct ring_shared *s,
    struct capture_ring_state *out);

#endif /* NGX_HTTP_CAPTURE_RING_PRIVATE_H */
