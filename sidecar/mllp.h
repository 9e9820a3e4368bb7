/*
 * MLLP framing, release 1 and 2 (HL7 Minimal Lower Layer Protocol):
 * 0B payload 1C 0D, and the one-byte commit frames of release 2.  Pure.
 */

#ifndef MLLP_H
#define MLLP_H

#include "buf.h"
#include "result.h"

#define MLLP_MAX_PAYLOAD  (64 * 1024)
#define MLLP_MAX_JUNK     64               /* bytes skipped before a frame */

#define MLLP_ACK          0x06             /* release 2 commit */
#define MLLP_NAK          0x15

/*
 * Appends the frame of PAYLOAD to OUT, to be sent in one write.
 * RESULT_INVALID: the payload holds 0B or 1C and could forge a frame, or is
 * empty.
 */
must_check enum result mllp_frame(struct buf *out, struct slice payload);

struct mllp_reader {
    struct buf   payload;
    bool         lenient_end;              /* 1C alone, or 1C 0A, ends too */
    size_t       junk;
    int          state;
};

void mllp_reader_init(struct mllp_reader *r, bool lenient_end);
void mllp_reader_cleanup(struct mllp_reader *r);
void mllp_reader_reset(struct mllp_reader *r);     /* for the next frame */

/*
 * Eats from IN up to the end of one frame; *used bytes were taken.  RESULT_OK:
 * r->payload is complete, reset before going on.  RESULT_AGAIN: more is needed.
 * RESULT_INVALID: no frame can come of this, *why is static text; close.
 */
must_check enum result mllp_feed(struct mllp_reader *r, struct slice in,
    size_t *used, const char **why);

#endif /* MLLP_H */
