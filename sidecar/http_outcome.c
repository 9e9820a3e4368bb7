/* The table of HTTP outcomes, and the checks of URL and headers. */

#include "http_outcome.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_MAX_S  86400
#define MAX_URL            4096


static const struct code_row {
    CURLcode     code;
    const char  *reason;
    const char  *text;
} code_rows[] = {
    { CURLE_COULDNT_RESOLVE_HOST, "dns", "the host's name has no address" },
    { CURLE_COULDNT_CONNECT, "connect", "no connection was taken" },
    { CURLE_SSL_CONNECT_ERROR, "tls", "the TLS handshake failed" },
    { CURLE_PEER_FAILED_VERIFICATION, "tls_verify",
        "the certificate does not verify" },
    { CURLE_SSL_CERTPROBLEM, "own_cert",
        "the integration's client certificate or key is not usable" },
    { CURLE_SSL_CACERT_BADFILE, "own_cert",
        "the integration's CA certificate is not usable" },
    { CURLE_COULDNT_RESOLVE_PROXY, "proxy", "the proxy's name has no address" },
    { CURLE_PROXY, "proxy", "the proxy refused" },
    { CURLE_UNSUPPORTED_PROTOCOL, "bad_reply", "the answer is not HTTP/1" },
    { CURLE_WEIRD_SERVER_REPLY, "bad_reply", "the answer is not HTTP" },
    { CURLE_HTTP2, "broken", "the HTTP/2 connection broke" },
    { CURLE_HTTP2_STREAM, "broken", "the HTTP/2 stream was reset" },
    { CURLE_PARTIAL_FILE, "broken", "the connection ended within the answer" },
    { CURLE_GOT_NOTHING, "broken", "the connection ended without an answer" },
    { CURLE_SEND_ERROR, "broken", "the connection broke while sending" },
    { CURLE_RECV_ERROR, "broken", "the connection broke, or endless headers" },
};


static struct outcome
retry(const char *reason)
{
    return (struct outcome) { .kind = OUTCOME_RETRY, .reason = reason };
}


/* Below 1 the header was absent, past or junk. */
static int64_t
retry_after(const struct http_facts *f)
{
    int64_t  s = f->retry_after_s;

    if (s < 1) {
        return 0;
    }

    return f->now_us + (s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : s)
                           * INT64_C(1000000);
}


static struct outcome
status_outcome(const struct http_facts *f, const char **text)
{
    struct outcome  o;
    long            s = f->status;

    if (s >= 200 && s <= 299) {
        *text = "delivered";
        return (struct outcome) { .kind = OUTCOME_DELIVERED, .reason = NULL };
    }

    if (s == 410) {
        *text = "gone: the endpoint wants nothing more";
        return (struct outcome) { .kind = OUTCOME_REJECTED, .reason = "gone" };
    }

    if (s >= 300 && s <= 399) {
        *text = "a redirect, which is never followed";
        return retry("redirect");
    }

    if (s == 401 && f->oauth2) {
        *text = "the token was refused, a new one too";
        return retry("auth");
    }

    if (s == 429 || s == 502 || s == 503 || s == 504) {
        *text = "the endpoint is overloaded or away";
        o = retry("throttled");
        o.earliest_us = retry_after(f);
        return o;
    }

    if (s >= 400 && s <= 499) {
        *text = "the endpoint refused the request";
        return retry("http_4xx");
    }

    if (s >= 500 && s <= 599) {
        *text = "the endpoint failed";
        o = retry("http_5xx");
        o.earliest_us = retry_after(f);
        return o;
    }

    *text = "a status that HTTP does not have";
    return retry("bad_reply");
}


static struct outcome
timeout_outcome(const struct http_facts *f, const char **text)
{
    *text = f->secured     ? "no complete answer in time"
            : f->connected ? "no TLS handshake in time"
                           : "no connection in time";
    return retry("timeout");
}


static struct outcome
refused_outcome(const struct http_facts *f, const char **text)
{
    struct outcome  o = retry("address_refused");

    *text = "the address is private or special and not allowed";

    /* a name may point elsewhere tomorrow, an address will not */
    o.kind = f->literal ? OUTCOME_REJECTED : OUTCOME_RETRY;
    return o;
}


struct outcome
http_outcome(const struct http_facts *f, const char **text)
{
    if (f->refused) {
        return refused_outcome(f, text);
    }

    if (f->status != 0 && f->status < 200) {
        *text = "an answer that switches protocols";
        return retry("bad_reply");
    }

    if (f->proxy_failed) {
        *text = "the proxy is away or refused";
        return retry("proxy");
    }

    /* a complete header decides, even when the body was cut, short or slow */
    if (f->status != 0
        && (f->code == CURLE_OK || f->cut_by_us
            || f->code == CURLE_PARTIAL_FILE
            || f->code == CURLE_OPERATION_TIMEDOUT
            || f->code == CURLE_WRITE_ERROR))
    {
        return status_outcome(f, text);
    }

    if (f->code == CURLE_OPERATION_TIMEDOUT) {
        return timeout_outcome(f, text);
    }

    /* the end of the connection within the header is no error to curl */
    if (f->code == CURLE_OK) {
        *text = "the connection ended within the header";
        return retry("broken");
    }

    /* curl's word for a line of the head or a trailer over its own limit */
    if (f->code == CURLE_OUT_OF_MEMORY && f->answered) {
        *text = "a line of the answer is too long";
        return retry("broken");
    }

    if (f->code == CURLE_URL_MALFORMAT) {
        *text = "the URL cannot be used";
        return (struct outcome) { .kind = OUTCOME_REJECTED,
            .reason = "config" };
    }

    for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++) {
        if (code_rows[i].code == f->code) {
            *text = code_rows[i].text;
            return retry(code_rows[i].reason);
        }
    }

    /* out of memory, a failed init: nobody's fault but ours */
    *text = curl_easy_strerror(f->code);
    return (struct outcome) { .kind = OUTCOME_NOT_SENT, .reason = "internal" };
}


static bool
port_is_listed(long port, const char *list)
{
    char  *end;
    long   listed;

    for (const char *p = list; p != NULL && *p != '\0'; p = end) {
        listed = strtol(p, &end, 10);

        if (end == p) {
            return false;
        }

        if (listed == port) {
            return true;
        }

        end += strspn(end, ", ");
    }

    return false;
}


static bool
is_address(const char *host)
{
    struct in6_addr  v6;
    struct in_addr   v4;

    /* curl has turned 0x7f.1 and 2130706433 into dotted form */
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1
           || inet_pton(AF_INET6, host, &v6) == 1;
}


static const char *
url_fault(CURLU *u, bool plain, const char *allow_ports, bool *literal)
{
    char        *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    const char  *why = NULL;
    long         number;

    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)
               != CURLUE_OK)
    {
        why = "must be an absolute URL such as https://example.org/hook";
        goto out;
    }

    number = strtol(port, NULL, 10);
    *literal = is_address(host);

    if (strcmp(scheme, "https") != 0
        && !(plain && strcmp(scheme, "http") == 0))
    {
        why = plain ? "must be https or http"
                    : "must be https (http with allow_http, Fusion's with "
                      "fusion_allow_http)";

    } else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK) {
        why = "must not hold a user or password: use the auth settings";

    } else if (number != 443 && number != 8443
               && !(number == 80 && strcmp(scheme, "http") == 0)
               && !port_is_listed(number, allow_ports))
    {
        why = "the port must be 443, 8443 or one that outbound_ports lists";
    }

out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return why;
}


bool
http_method_is_known(const char *method)
{
    static const char *const  methods[] = { "GET", "POST", "PUT", "PATCH",
        "DELETE" };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0) {
            return true;
        }
    }

    return false;
}


enum result
http_url_check(const char *url, bool plain, const char *allow_ports,
    bool *literal, const char **why)
{
    CURLU  *u;

    *literal = false;

    if (strlen(url) > MAX_URL) {
        *why = "must be at most 4096 bytes";
        return RESULT_INVALID;
    }

    for (const unsigned char *p = (const unsigned char *) url; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f) {
            *why = "must be ASCII without spaces or control characters";
            return RESULT_INVALID;
        }
    }

    u = curl_url();
    if (u == NULL) {
        *why = "cannot be checked without memory";
        return RESULT_MEMORY;
    }

    *why = curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK
               ? "must be an absolute URL such as https://example.org/hook"
               : url_fault(u, plain, allow_ports, literal);
    curl_url_cleanup(u);

    return *why == NULL ? RESULT_OK : RESULT_INVALID;
}


enum result
http_header_check(struct slice name, struct slice value, const char **why)
{
    static const char *const  ours[] = { "Host", "Content-Length",
        "Transfer-Encoding", "Connection", "Expect", "Upgrade", "TE",
        "Trailer", "Keep-Alive", "Proxy-Connection" };

    if (name.n == 0 || name.n > 256) {
        *why = "a header's name has 1 to 256 characters";
        return RESULT_INVALID;
    }

    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f
            || strchr("\"(),/:;<=>?@[\\]{}", name.p[i]) != NULL)
        {
            *why = "a header's name may hold letters, digits and "
                   "!#$%&'*+-.^_`|~ only";
            return RESULT_INVALID;
        }
    }

    for (size_t i = 0; i < value.n; i++) {
        unsigned char  c = (unsigned char) value.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            *why = "a header's value must not hold control characters";
            return RESULT_INVALID;
        }
    }

    if (value.n > 8192) {
        *why = "a header's value has at most 8192 bytes";
        return RESULT_INVALID;
    }

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (slice_eq_nocase(name, slice_of(ours[i]))) {
            *why = "this header is set by the transport itself";
            return RESULT_INVALID;
        }
    }

    if (name.n >= 8
        && slice_eq_nocase((struct slice) { name.p, 8 },
               SLICE_LIT("webhook-")))
    {
        *why = "headers that begin with webhook- are the signature's";
        return RESULT_INVALID;
    }

    return RESULT_OK;
}
