/*
 * Standard Webhooks 1.0.0 signatures: HMAC-SHA256 ("v1", key "whsec_..") and
 * Ed25519 ("v1a", key "whsk_..") over "<id>.<timestamp>.<body>".  Pure.
 */

#ifndef SIGN_H
#define SIGN_H

#include <stdint.h>

#include "buf.h"
#include "result.h"

#define SIGN_MAX_KEYS   4                  /* that sign at once, rotating */
#define SIGN_MAX_TEXT   (SIGN_MAX_KEYS * 96)

enum sign_kind { SIGN_HMAC, SIGN_ED25519 };

struct sign_key {
    enum sign_kind  kind;
    uint8_t         secret[64];            /* HMAC 24..64, Ed25519 seed 32 */
    size_t          len;
};

/*
 * Reads "whsec_<base64>" (24 to 64 bytes) or "whsk_<base64>" (seed 32 and
 * public key 32, which must belong together).  RESULT_INVALID: *why is static
 * text.  The caller wipes the key when done.
 */
must_check enum result sign_key_parse(struct slice text, struct sign_key *key,
    const char **why);

/* A fresh 32-byte HMAC secret as "whsec_..", NUL-terminated. */
must_check enum result sign_key_make(char text[64]);

/*
 * The value of webhook-signature: one "version,base64" a key, in the order
 * given (newest first), parted by a space.  ID must hold no '.'; TIME_S is
 * the attempt's Unix time in seconds.
 */
must_check enum result sign_header(const struct sign_key *keys, unsigned n,
    struct slice id, int64_t time_s, struct slice body,
    char out[SIGN_MAX_TEXT]);

#endif /* SIGN_H */
