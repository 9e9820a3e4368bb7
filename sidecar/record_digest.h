/*
 * What tells a record that came twice from another one with its id: 16 bytes of
 * names and values, kept beside the log.
 *
 * It is GMAC (AES-256-GCM over nothing, the record as its additional data), the
 * id as nonce, with a key of the secret: a quarter of SHA-256's time.  Who may
 * write into the stream, and sees a record there, cannot make another that
 * passes for it, because he has not the key and no digest is ever shown; a fast
 * hash without a key would let him.  Digests of one id alone are compared, so a
 * nonce with two messages is what is refused and never kept.
 *
 * Older versions kept the first half of SHA-256: record_digest_before.
 */

#ifndef RECORD_DIGEST_H
#define RECORD_DIGEST_H

#include "secret.h"
#include "uuid.h"

#define RECORD_DIGEST  16

struct record_digest;                      /* of one thread */

/* S is needed for the call only. */
must_check enum result record_digest_create(const struct secret *s,
    struct record_digest **out);
void record_digest_destroy(struct record_digest *d);

/* Of N names and values, with their lengths, in the order that they came. */
must_check enum result record_digest_make(struct record_digest *d,
    const uint8_t id[UUID_BYTES], const struct slice *pairs, size_t n,
    uint8_t out[RECORD_DIGEST]);

/* The same as versions before made it. */
must_check enum result record_digest_before(const struct slice *pairs,
    size_t n, uint8_t out[RECORD_DIGEST]);

#endif /* RECORD_DIGEST_H */
