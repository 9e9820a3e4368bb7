/*
 * The ring of a worker: finished requests, raw, in a file on tmpfs that is
 * mapped shared, so that it outlives worker and master.  One producer (the
 * event loop), one consumer (the shipper thread).  No nginx type, no allocation
 * in reserve and commit, no system call but the eventfd wake.
 *
 * committed  frames that the loop finished            (loop writes)
 * acked      frames Redis or the spool has, or that were dropped by the shipper
 * released   frames whose space is free again          (shipper writes)
 */

#ifndef NGX_HTTP_CAPTURE_RING_H
#define NGX_HTTP_CAPTURE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "record_fields.h"

struct capture_ring;

/* X(symbol, word): why a captured record was dropped */
#define CAPTURE_DROPS(X)                                                      \
    X(RING,       "ring")          /* the ring was full                  */   \
    X(MEMORY,     "memory")        /* no memory for the record           */   \
    X(SPOOL_FULL, "spool_full")    /* ring full behind a full spool      */   \
    X(ENCODE,     "encode")        /* frame unreadable or over bounds    */   \
    X(POISON,     "poison")        /* Redis refuses this one record      */   \
    X(EXIT,       "exit")          /* no spool and no Redis at exit      */

enum capture_drop {
#define CAPTURE_DROP_ENUM_(symbol, word)  CAPTURE_DROP_##symbol,
    CAPTURE_DROPS(CAPTURE_DROP_ENUM_)
#undef CAPTURE_DROP_ENUM_
    CAPTURE_DROP_COUNT
};

/* Written by the event loop alone. */
struct capture_loop_counters {
    uint64_t  seen;                        /* requests where capture is set */
    uint64_t  sampled_out;                 /* capture $var said no */
    uint64_t  filtered;                    /* capture_if said no */
    uint64_t  request_cut, response_cut;   /* bodies not kept whole */
    uint64_t  drops[CAPTURE_DROP_COUNT];   /* before the ring */
};

/* Written by the shipper alone. */
struct capture_ship_counters {
    uint64_t  acked;                       /* records Redis holds */
    uint64_t  spooled;                     /* records in the spool now */
    uint64_t  drops[CAPTURE_DROP_COUNT];   /* after the ring */
    uint64_t  resent, replayed, errors, reconnects, bytes;
    uint64_t  oldest_us;                   /* start of the oldest unsent */
};

/* A consistent sum: captured == acked + queued + spooled + dropped. */
struct capture_totals {
    uint64_t  captured, acked, queued, spooled, dropped;
    struct capture_loop_counters  loop;
    struct capture_ship_counters  ship;
};

/*
 * A frame is a fixed head and pieces.  Everything in it is raw: the shipper
 * redacts, hashes and encodes.  Numbers are host order: a ring never leaves
 * its machine.
 */
#define CAPTURE_FRAME_MAGIC   0x31465043u  /* "CPF1" */

#define CAPTURE_COMPLETE      0x0001
#define CAPTURE_WEBHOOK       0x0002       /* capture_kind webhook */
#define CAPTURE_TLS           0x0004

struct capture_frame {
    uint32_t  magic;
    uint32_t  size;                        /* head + pieces, 8-aligned */
    uint64_t  seq;                         /* the ring's count of this frame */
    uint32_t  crc;                         /* CRC32C of the head, crc = 0 */
    uint32_t  rules;                       /* rule set of the location */
    uint8_t   id[16];                      /* UUIDv7, network order */
    int64_t   start_us;                    /* since 1970 */
    int64_t   duration_us;
    int64_t   first_byte_us;               /* -1: no header was sent */
    int64_t   request_bytes, response_bytes, sent_bytes;   /* -1: unknown */
    uint16_t  status;
    uint16_t  flags;
    uint8_t   request_cut, response_cut;   /* enum record_cut */
    uint16_t  client_port;
    uint32_t  pieces;                      /* their count */
    uint32_t  pieces_len;                  /* their bytes */
};

enum capture_piece_type {
    CAPTURE_PIECE_METHOD = 1,
    CAPTURE_PIECE_HOST,
    CAPTURE_PIECE_URI,                     /* path?query as received */
    CAPTURE_PIECE_PROTOCOL,
    CAPTURE_PIECE_ROUTE,
    CAPTURE_PIECE_ACTION,
    CAPTURE_PIECE_KEY,                     /* plain: hashed by the shipper */
    CAPTURE_PIECE_CLIENT_IP,
    CAPTURE_PIECE_UP_ADDR,
    CAPTURE_PIECE_UP_STATUS,
    CAPTURE_PIECE_UP_CONNECT,
    CAPTURE_PIECE_UP_HEADER,
    CAPTURE_PIECE_UP_RESPONSE,
    CAPTURE_PIECE_REF,                     /* has a name */
    CAPTURE_PIECE_FIELD,                   /* has a name */
    CAPTURE_PIECE_REQ_HEADERS,             /* "Name: value\r\n".. */
    CAPTURE_PIECE_RES_HEADERS,
    CAPTURE_PIECE_REQ_BODY,
    CAPTURE_PIECE_RES_BODY
};

struct capture_piece {                     /* then name, then value, no pad */
    uint16_t  type;
    uint16_t  name_len;
    uint32_t  len;                         /* of the value */
};

/*
 * Creates DIR/PID-RANDOM.ring (0600, O_EXCL, flock held for life) of SIZE
 * bytes of frames (rounded up to whole pages), fully allocated, MADV_DONTDUMP.
 * When the tmpfs is full or DIR cannot be used, the ring is anonymous memory
 * and *warning says so (static text, else NULL).  Returns NULL with errno when
 * there is no memory at all.
 */
struct capture_ring *capture_ring_create(const char *dir, size_t size,
    const char **warning);

/*
 * Maps the ring's pages, so that the loop does not fault on each one of the
 * first lap; for another thread than the loop's.
 */
void capture_ring_populate(struct capture_ring *ring);

/*
 * Opens an orphan for adoption: takes its lock and checks all that its header
 * says.  NULL with errno: EWOULDBLOCK when its worker lives, EPROTO when it is
 * no ring of this layout.
 */
struct capture_ring *capture_ring_open(int dirfd, const char *name);

/*
 * Unmaps; unlinks the file when all is released, else leaves it to adopters
 * with the pages of released frames given back.
 */
void capture_ring_destroy(struct capture_ring *ring);

/*
 * Stores a rule set (opaque to the ring, see ngx_http_capture_redact.h) in the
 * ring's own rule area and returns its number for capture_frame.rules, or -1
 * when the area (256 KB) is full.  Called at start only, before any frame.
 * capture_ring_rules returns NULL for a number that is none.
 */
int capture_ring_add_rules(struct capture_ring *ring, const void *rules,
    size_t len);
const void *capture_ring_rules(struct capture_ring *ring, uint32_t number,
    size_t *len);

/*
 * Producer.  Reserve gives a contiguous, 8-aligned place for a frame of SIZE
 * bytes (head included; the frame's size field is set, rounded up to 8) or NULL
 * when full; the caller fills the head (but magic, size, seq, crc) and pieces;
 * commit publishes it.  A reserve without commit is forgotten by the next
 * reserve.  After a NULL, full_reason tells how to count the drop.
 */
struct capture_frame *capture_ring_reserve(struct capture_ring *ring,
    size_t size);
void capture_ring_commit(struct capture_ring *ring, struct capture_frame *f);
enum capture_drop capture_ring_full_reason(struct capture_ring *ring);

/* The loop's counters, to be changed between begin and end only. */
struct capture_loop_counters *capture_ring_loop_begin(struct capture_ring *r);
void capture_ring_loop_end(struct capture_ring *ring);

/*
 * Consumer.  A cursor walks the committed frames; first sets it to the oldest
 * that is not released.  Next returns NULL at the end.  A frame that fails its
 * checks ends the walk with the cursor unmoved and *bad = 1; skip then sets the
 * cursor behind all that was committed and returns how many frames that loses.
 */
struct capture_cursor {
    uint64_t  off;                         /* bytes ever, to the frame */
    uint64_t  seq;                         /* frames ever before it */
};

void capture_ring_first(struct capture_ring *ring, struct capture_cursor *c);
const struct capture_frame *capture_ring_next(struct capture_ring *ring,
    struct capture_cursor *c, int *bad);
uint64_t capture_ring_skip(struct capture_ring *ring, struct capture_cursor *c);

/* Frees the space of every frame before the cursor. */
void capture_ring_release(struct capture_ring *ring,
    const struct capture_cursor *c);

/* Frames ever committed; frames that have an outcome (acked, spooled, drop). */
uint64_t capture_ring_committed(struct capture_ring *ring);
uint64_t capture_ring_taken(struct capture_ring *ring);
uint64_t capture_ring_released(struct capture_ring *ring);

/* The shipper's counters, as the loop's. */
struct capture_ship_counters *capture_ring_ship_begin(struct capture_ring *r);
void capture_ring_ship_end(struct capture_ring *ring);

/*
 * Which Redis (its run_id, 40 hex digits) last acknowledged, and when by
 * CLOCK_MONOTONIC: an adopter needs both to know what may be released.
 */
#define CAPTURE_RUN_ID  40

void capture_ring_set_acked(struct capture_ring *ring, const char *run_id,
    int64_t mono_us);
void capture_ring_get_acked(struct capture_ring *ring,
    char run_id[CAPTURE_RUN_ID + 1], int64_t *mono_us);

/*
 * Sleep says that the consumer is about to wait, and returns 0 when something
 * was committed since SEQ: then it must not.  Doze is the same for one that
 * will look again by itself: it is woken only when more than BYTES lie behind
 * the cursor, or half of what was free is used.  Awake takes both back.
 * Asleep, of the producer after its commits, is 1 once for each sleep that is
 * to end.
 */
int capture_ring_sleep(struct capture_ring *ring, uint64_t seq);
int capture_ring_doze(struct capture_ring *ring,
    const struct capture_cursor *c, size_t bytes);
void capture_ring_awake(struct capture_ring *ring);
int capture_ring_asleep(struct capture_ring *ring);

/* The spool takes no more: full_reason answers SPOOL_FULL. */
void capture_ring_set_spool_full(struct capture_ring *ring, int full);

/* Bytes in use and size, for the thresholds of the spool. */
void capture_ring_usage(struct capture_ring *ring, size_t *used, size_t *size);

/* 1 when the ring has no file, so that nobody can adopt it. */
int capture_ring_anonymous(struct capture_ring *ring);

/*
 * A consistent picture of one ring; of a file that some worker may own, without
 * its lock (-1 when it is no ring).  Its random id tells rings apart.
 */
struct capture_ring_state {
    uint64_t  id;
    uint64_t  committed;
    struct capture_loop_counters  loop;
    struct capture_ship_counters  ship;
};

void capture_ring_state(struct capture_ring *ring,
    struct capture_ring_state *out);
int capture_ring_state_file(int dirfd, const char *name,
    struct capture_ring_state *out);

#endif /* NGX_HTTP_CAPTURE_RING_H */
