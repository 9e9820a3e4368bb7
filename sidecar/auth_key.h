/*
 * Keys of the API, "idash_<8 id>_<43 random>", and the hashes that the store
 * keeps of them and of developers' keys.  Letters and digits only; 43 of 62
 * are 256 bits.
 */

#ifndef AUTH_KEY_H
#define AUTH_KEY_H

#include "secret.h"

#define AUTH_KEY_ID     8
#define AUTH_KEY_TEXT   (6 + AUTH_KEY_ID + 1 + 43)     /* without the NUL */
#define AUTH_HMAC_HEX   64

/* A new key; its id is the 8 characters behind "idash_". */
void auth_key_make(char text[AUTH_KEY_TEXT + 1]);

/* The id of a key; INVALID when the text has not that form. */
must_check enum result auth_key_parse(struct slice text, struct slice *id);

/* HMAC(pepper, key) of an API key, compared by CRYPTO_memcmp only. */
void auth_key_hmac(const struct secret *s, struct slice key, uint8_t mac[32]);

/* HMAC(pepper, SHA-256(key)) of a developer's key, from its digest. */
void auth_developer_hmac(const struct secret *s, const uint8_t sha256[32],
    uint8_t mac[32]);
/* The same from the key itself. */
void auth_developer_key_hmac(const struct secret *s, struct slice key,
    uint8_t mac[32]);

void auth_hex(const uint8_t *p, size_t n, char *text);  /* 2n + NUL */
must_check enum result auth_unhex(struct slice text, uint8_t *p, size_t n);

#endif /* AUTH_KEY_H */
