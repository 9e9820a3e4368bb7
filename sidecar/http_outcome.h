/*
 * What an HTTP attempt came to: the table from curl's code and the status to
 * an outcome.  Pure.  Also the checks of URL and headers before anything is
 * sent, which the configuration uses too.
 */

#ifndef HTTP_OUTCOME_H
#define HTTP_OUTCOME_H

#include <curl/curl.h>

#include "buf.h"
#include "outcome.h"
#include "result.h"

struct http_facts {
    CURLcode   code;
    long       status;                     /* 0: no complete header */
    bool       refused;                    /* the address guard said no */
    bool       literal;                    /* the host is an address */
    bool       cut_by_us;                  /* the body was longer than kept */
    bool       oauth2;
    bool       proxy_failed;               /* it, not the endpoint, is away */
    bool       connected, secured;         /* got so far */
    bool       answered;                   /* a first byte came */
    int64_t    retry_after_s;              /* CURLINFO_RETRY_AFTER, raw */
    int64_t    now_us;                     /* wall */
};

/* *text is static: what a person reads beside the reason. */
struct outcome http_outcome(const struct http_facts *f, const char **text);

/* Methods that a send may have; "GET, POST, .." for people. */
#define HTTP_METHODS  "GET, POST, PUT, PATCH or DELETE"
bool http_method_is_known(const char *method);

/*
 * RESULT_INVALID with static *why: not https (or http where PLAIN), user info,
 * no host, a port that is neither the scheme's, 443, 8443 nor in ALLOW_PORTS
 * ("8080 9000"), longer than 4 KB, control characters.  *literal: the host is
 * an address.
 */
must_check enum result http_url_check(const char *url, bool plain,
    const char *allow_ports, bool *literal, const char **why);

/*
 * RESULT_INVALID: the name is no token (RFC 9110, 5.6.2), the value holds CR,
 * LF, NUL or another control character, or the header is ours or framing.
 */
must_check enum result http_header_check(struct slice name,
    struct slice value, const char **why);

#endif /* HTTP_OUTCOME_H */
