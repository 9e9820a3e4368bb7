/*
 * Which requests are refused before anybody reads them: framing that two
 * servers could understand differently (RFC 9112, section 6), sizes.
 */

#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include "buf.h"

#define HTTP_MAX_TARGET      4096          /* bytes of path and query: 414 */
#define HTTP_MAX_HEADERS     100           /* 431 */
#define HTTP_MAX_HEADERS_N   8192          /* bytes of names and values: 431 */

struct http_guard {
    unsigned  headers;                     /* how many so far */
    size_t    bytes;                       /* of names and values */
    unsigned  lengths, encodings, hosts, credentials;  /* how often each */
    bool      bad, unknown_encoding;
    int64_t   length;                      /* Content-Length, -1 none */
};

void http_guard_init(struct http_guard *g);
void http_guard_header(struct http_guard *g, struct slice name,
    struct slice value);

/* 0, or 400 413 414 431 501 505. */
unsigned http_guard_status(const struct http_guard *g, struct slice version,
    struct slice target, size_t body_max);

#endif /* HTTP_GUARD_H */
