/* MLLP framing: a writer that refuses forgeries and a bounded reader. */

#include "mllp.h"

#define VT  0x0b
#define FS  0x1c
#define CR  0x0d
#define LF  0x0a

enum { READ_JUNK, READ_PAYLOAD, READ_END };


enum result
mllp_frame(struct buf *out, struct slice payload)
{
    static const char  start[] = { VT };
    static const char  end[] = { FS, CR };

    if (payload.n == 0 || memchr(payload.p, VT, payload.n) != NULL
        || memchr(payload.p, FS, payload.n) != NULL)
    {
        return RESULT_INVALID;
    }

    (void) buf_add(out, start, sizeof(start));
    (void) buf_add(out, payload.p, payload.n);
    return buf_add(out, end, sizeof(end));
}


void
mllp_reader_init(struct mllp_reader *r, bool lenient_end)
{
    buf_init(&r->payload, MLLP_MAX_PAYLOAD);
    r->lenient_end = lenient_end;
    r->junk = 0;
    r->state = READ_JUNK;
}


void
mllp_reader_cleanup(struct mllp_reader *r)
{
    buf_cleanup(&r->payload);
}


void
mllp_reader_reset(struct mllp_reader *r)
{
    buf_reset(&r->payload);
    r->junk = 0;
    r->state = READ_JUNK;
}


static enum result
read_junk(struct mllp_reader *r, char c, const char **why)
{
    if (c == VT) {
        r->state = READ_PAYLOAD;
        return RESULT_AGAIN;
    }

    if (++r->junk > MLLP_MAX_JUNK) {
        *why = "more than 64 bytes before the start of a frame";
        return RESULT_INVALID;
    }

    return RESULT_AGAIN;
}


static enum result
read_payload(struct mllp_reader *r, char c, const char **why)
{
    if (c == FS) {
        r->state = READ_END;
        return RESULT_AGAIN;
    }

    if (buf_add(&r->payload, &c, 1) != RESULT_OK) {
        *why = "a frame of more than 64 KiB";
        return RESULT_INVALID;
    }

    return RESULT_AGAIN;
}


static enum result
read_end(struct mllp_reader *r, char c, const char **why)
{
    if (c != CR && !(r->lenient_end && c == LF)) {
        *why = "the end of the frame (1C) is not followed by CR";
        return RESULT_INVALID;
    }

    if (r->payload.n == 0) {
        *why = "an empty frame";
        return RESULT_INVALID;
    }

    return RESULT_OK;
}


enum result
mllp_feed(struct mllp_reader *r, struct slice in, size_t *used,
    const char **why)
{
    static enum result (*const  readers[])(struct mllp_reader *, char,
        const char **) = { read_junk, read_payload, read_end };
    enum result  result;

    for (*used = 0; *used < in.n; (*used)++) {
        result = readers[r->state](r, in.p[*used], why);
        if (result != RESULT_AGAIN) {
            *used += result == RESULT_OK;
            return result;
        }
    }

    return RESULT_AGAIN;
}
