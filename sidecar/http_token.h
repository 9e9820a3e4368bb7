/*
 * OAuth2 client-credentials tokens (RFC 6749, section 4.4), one a destination,
 * with the sends that wait for one.  Owned by the HTTP transport's thread.
 */

#ifndef HTTP_TOKEN_H
#define HTTP_TOKEN_H

#include "transport.h"

struct http_token;

struct http_tokens {
    struct http_token  *first;
};

struct http_token {
    struct http_token  *next;
    uint8_t             key[32];           /* of destination and credentials */
    char               *bearer;            /* NULL: none yet */
    unsigned            serial;            /* grows with each bearer */
    int64_t             renew_us;          /* monotonic: 80 % of its life */
    int64_t             used_us;
    bool                fetching;
    struct send        *waiting;
};

/* The token of S's credentials, made empty when new; NULL: out of memory. */
struct http_token *http_token_of(struct http_tokens *all,
    const struct send *s);

/* True when it can be used now. */
bool http_token_fresh(const struct http_token *t, int64_t now_us);

/*
 * Takes a token response (RFC 6749, section 5.1).  RESULT_INVALID: it is none.
 */
must_check enum result http_token_take(struct http_token *t,
    struct slice json, int64_t now_us);

/* The server refused it: fetch anew. */
void http_token_spoil(struct http_token *t);

/* "grant_type=client_credentials&..", in the arena. */
struct slice http_token_form(const struct send *s, struct arena *a);

/* Drops tokens unused for an hour. */
void http_tokens_sweep(struct http_tokens *all, int64_t now_us);
void http_tokens_cleanup(struct http_tokens *all);

#endif /* HTTP_TOKEN_H */
