/*
 * The one 32-byte secret of an installation (secret_file, 0400) and what HKDF
 * (RFC 5869) derives from it.
 */

#ifndef SECRET_H
#define SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "result.h"

struct secret;

enum secret_use { SECRET_PEPPER, SECRET_SEAL, SECRET_CURSOR, SECRET_SESSION,
                  SECRET_REPLAY, SECRET_RECORD, SECRET_USES };

/* Reads PATH; CREATE makes it (0400) when missing.  Refuses other modes. */
must_check enum result secret_load(const char *path, int create,
    struct secret **out, char *err, size_t errlen);
void secret_destroy(struct secret *s);

/* HMAC-SHA256 with the derived key of USE. */
void secret_hmac(const struct secret *s, enum secret_use use,
    struct slice data, uint8_t mac[32]);

#endif /* SECRET_H */
