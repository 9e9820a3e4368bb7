/*
 * A ring as the shipper reads it, its own or an orphan: where it stands, which
 * rules its frames carry, what was acknowledged and may not be freed yet.
 *
 * Every frame gets exactly one outcome, in order.  Outcomes count once: what is
 * sent again after a Redis lost it was counted before.
 */

#ifndef NGX_HTTP_CAPTURE_SOURCE_H
#define NGX_HTTP_CAPTURE_SOURCE_H

#include <stdint.h>

#include "ngx_http_capture_redact.h"
#include "ngx_http_capture_ring.h"

#define CAPTURE_HOLD_US        3000000     /* until an ack is surely on disk */
#define CAPTURE_MARKS          64
#define CAPTURE_SOURCE_RULES   64          /* sets kept parsed */

struct capture_mark {
    struct capture_cursor  upto;
    int64_t                acked_us;
};

struct capture_source {
    struct capture_ring   *ring;
    struct capture_cursor  pos;            /* the next frame to send */
    char                   run_id[CAPTURE_RUN_ID + 1];   /* that acked last */
    int                    adopted;

    struct capture_mark    marks[CAPTURE_MARKS];         /* oldest first */
    unsigned               first_mark, nmarks;

    struct capture_rules   rules[CAPTURE_SOURCE_RULES];
    uint64_t               rules_known;    /* a bit a parsed set */
    struct capture_rules   rules_other;
};

/* Of a worker's own new ring, or of one just adopted. */
void capture_source_init(struct capture_source *s, struct capture_ring *ring,
    int adopted, int64_t now_us);

/* Never NULL; masks everything when the set cannot be read. */
const struct capture_rules *capture_source_rules(struct capture_source *s,
    uint32_t number);

/* What became of the frames up to a cursor, from pos on. */
enum capture_outcome {
    CAPTURE_ACKED,
    CAPTURE_SPOOLED,
    CAPTURE_DROPPED
};

/*
 * Moves pos over N frames to UPTO.  WHY is the reason of a drop.  The counters
 * of the ring are changed between capture_ring_ship_begin and _end: the caller
 * calls _end once for many.
 */
void capture_source_outcome(struct capture_source *s,
    const struct capture_cursor *upto, uint64_t n,
    enum capture_outcome outcome, enum capture_drop why);

/* After outcomes: remembers when Redis RUN_ID acknowledged up to pos. */
void capture_source_acked(struct capture_source *s, const char *run_id,
    int64_t now_us);

/*
 * Frees what may be freed.  ALL: everything up to pos (known on disk); else
 * what was acknowledged CAPTURE_HOLD_US ago.
 */
void capture_source_release(struct capture_source *s, int64_t now_us, int all);

/*
 * The room is needed: frees what was acknowledged first until no more than half
 * of the ring is used, so that what Redis may not have written yet stays the
 * longest.
 */
void capture_source_relieve(struct capture_source *s);

/*
 * A connection stands.  Another Redis than the one that acknowledged may not
 * have what is held: then pos goes back to what is not released.  Returns how
 * many frames will be sent again.
 */
uint64_t capture_source_connected(struct capture_source *s,
    const char *run_id);

/* Frames from pos on; frames acknowledged but not released. */
uint64_t capture_source_waiting(struct capture_source *s);
uint64_t capture_source_held(struct capture_source *s);

#endif /* NGX_HTTP_CAPTURE_SOURCE_H */
