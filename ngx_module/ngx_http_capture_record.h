/*
 * A frame of the ring as the Redis command that carries it: XADD with the
 * fields of record_fields.h, redacted, the caller's key hashed.  Redaction and
 * encoding are one pass, so nothing unredacted is ever written anywhere.
 */

#ifndef NGX_HTTP_CAPTURE_RECORD_H
#define NGX_HTTP_CAPTURE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "ngx_http_capture_redact.h"
#include "ngx_http_capture_ring.h"

/*
 * No command is longer: two bodies, two header blocks, a URI, all refs and
 * fields, and what stands between them.
 */
#define CAPTURE_MAX_COMMAND   (3 * 1024 * 1024)

/* A growing buffer of commands; grow keeps what is in it. */
struct capture_out {
    char    *p;
    size_t   n, size;
};

/* Room for LEN more bytes at p + n; -1 without memory. */
int capture_out_reserve(struct capture_out *out, size_t len);
void capture_out_free(struct capture_out *out);

struct capture_encoder;

/* Prepares the hash and the head of XADD STREAM *.  NULL without memory. */
struct capture_encoder *capture_encoder_create(const char *stream);
void capture_encoder_destroy(struct capture_encoder *e);

/*
 * Appends F's command to OUT.  Values past the bounds of record_fields.h are
 * cut, repeated pieces and names left out.  Returns 0, -1 when the pieces of
 * the frame do not fit their lengths (nothing was appended), -2 without memory.
 */
int capture_record_encode(struct capture_encoder *e,
    const struct capture_frame *f, const struct capture_rules *rules,
    struct capture_out *out);

/*
 * 1 when P is exactly one whole XADD of a record: what comes back from a disk
 * is sent to Redis only then.
 */
int capture_record_check(const char *p, size_t len);

#endif /* NGX_HTTP_CAPTURE_RECORD_H */
