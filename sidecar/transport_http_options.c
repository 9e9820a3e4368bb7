/*
 * What goes out: headers, signature, credentials and the options of libcurl, of
 * a webhook and of the request for its token.
 */

#include "transport_http_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"

#define RECEIVE_BYTES      4096L           /* libcurl's, of each send: 16 KB */
#define UPLOAD_BYTES       16384L          /* over TLS: 64 KB */
#define CONNECTION_LIFE_S  600
#define SLOW_BYTES         100L
#define SLOW_SECONDS       10L


/* libcurl sends what it is given: a line must be one line. */
static bool
header_add(struct transfer *x, const char *line)
{
    struct curl_slist  *list;

    if (line == NULL || strpbrk(line, "\r\n") != NULL) {
        x->bad_line = line != NULL;
        return false;
    }

    list = curl_slist_append(x->headers, line);
    if (list == NULL) {
        return false;
    }

    x->headers = list;
    return true;
}


static bool
header_addf(struct transfer *x, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
header_addf(struct transfer *x, const char *fmt, ...)
{
    struct buf  b;
    va_list     ap;
    char       *line;
    bool        ok;

    buf_init(&b, 16 * 1024);
    va_start(ap, fmt);
    (void) buf_vaddf(&b, fmt, ap);
    va_end(ap);

    line = buf_take(&b, NULL);
    ok = line != NULL && header_add(x, line);
    free(line);
    return ok;
}


static bool
sign_headers(struct transfer *x)
{
    const struct send  *s = x->send;
    char                signature[SIGN_MAX_TEXT];
    int64_t             now_s = clock_wall_us() / 1000000;

    if (s->message_id == NULL) {
        return true;
    }

    if (!header_addf(x, "webhook-id: %s", s->message_id)
        || !header_addf(x, "webhook-timestamp: %lld", (long long) now_s))
    {
        return false;
    }

    if (s->http.nkeys == 0) {
        return true;
    }

    return sign_header(s->http.keys, s->http.nkeys, slice_of(s->message_id),
               now_s, s->body, signature) == RESULT_OK
           && header_addf(x, "webhook-signature: %s", signature);
}


static bool
auth_header(struct transfer *x)
{
    const struct send_http  *h = &x->send->http;

    switch (h->auth) {

    case SEND_AUTH_BEARER:
        return header_addf(x, "Authorization: Bearer %s", h->secret);

    case SEND_AUTH_OAUTH2:
        return header_addf(x, "Authorization: Bearer %s", x->token->bearer);

    case SEND_AUTH_HEADER:
        return header_addf(x, "%s: %s", h->user, h->secret);

    case SEND_AUTH_BASIC:
        return curl_easy_setopt(x->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC)
                   == CURLE_OK
               && curl_easy_setopt(x->easy, CURLOPT_USERNAME, h->user)
                      == CURLE_OK
               && curl_easy_setopt(x->easy, CURLOPT_PASSWORD, h->secret)
                      == CURLE_OK;

    case SEND_AUTH_NONE:
        break;
    }

    return true;
}


static bool
request_headers(struct transfer *x)
{
    const struct send_http  *h = &x->send->http;
    bool                     ok;

    ok = header_add(x, "Expect:");

    for (unsigned i = 0; i < h->nheaders && ok; i++) {
        ok = header_add(x, h->headers[i]);
    }

    if (strcmp(h->method, "GET") != 0) {
        ok = ok && header_addf(x, "Content-Type: %s",
            h->content_type == NULL ? "application/json" : h->content_type);
    }

    return ok && sign_headers(x) && auth_header(x);
}


static void
blob_set(CURL *easy, CURLoption option, struct slice pem)
{
    struct curl_blob  blob = { .data = (void *) pem.p, .len = pem.n,
        .flags = CURL_BLOB_COPY };

    if (pem.n > 0) {
        (void) curl_easy_setopt(easy, option, &blob);
    }
}


long
send_left_ms(const struct send *s)
{
    return (long) s->http.total_ms
           - (long) ((clock_mono_us() - s->begun_us) / 1000);
}


/* What holds for every transfer, the token's too. */
static void
common_options(struct transfer *x, const char *url)
{
    const struct send_http  *h = &x->send->http;
    const struct transport_config  *c = &x->t->config;
    CURL                    *e = x->easy;
    long                     left = send_left_ms(x->send);

    left = left < 1 ? 1 : left;            /* 0 would be no limit */

#define SET(option, value)  (void) curl_easy_setopt(e, option, value)

    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_URL, url);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, h->plain_allowed ? "http,https" : "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, h->proxy == NULL ? "" : h->proxy);
    SET(CURLOPT_NOPROXY, h->proxy == NULL ? "*" : "");
    transfer_listen(x);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long) h->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, left);
    SET(CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
    SET(CURLOPT_MAXLIFETIME_CONN, (long) CONNECTION_LIFE_S);
    SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
    /* over TLS only, where the handshake tells: in plain HTTP one request that
     * is not answered would hold all others to its host */
    SET(CURLOPT_PIPEWAIT, strncasecmp(url, "https:", 6) == 0 ? 1L : 0L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
    SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_USERAGENT, c->user_agent);
    blob_set(e, CURLOPT_CAINFO_BLOB, h->ca_pem);
    blob_set(e, CURLOPT_SSLCERT_BLOB, h->cert_pem);
    blob_set(e, CURLOPT_SSLKEY_BLOB, h->key_pem);
}


bool
transfer_webhook(struct transfer *x)
{
    const struct send  *s = x->send;
    CURL               *e = x->easy;

    common_options(x, s->http.url);

    if (strcmp(s->http.method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);

    } else {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) s->body.n);
        SET(CURLOPT_POSTFIELDS, s->body.n == 0 ? "" : s->body.p);
        SET(CURLOPT_CUSTOMREQUEST, s->http.method);
    }

    if (!request_headers(x)) {
        return false;
    }

    SET(CURLOPT_HTTPHEADER, x->headers);
    return true;
}


bool
transfer_token(struct transfer *x)
{
    struct slice  form = http_token_form(x->send, &x->send->arena);
    CURL         *e = x->easy;

    if (form.p == NULL || !header_add(x, "Expect:")
        || !header_add(x, "Accept: application/json"))
    {
        return false;
    }

    common_options(x, x->send->http.token_url);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) form.n);
    SET(CURLOPT_POSTFIELDS, form.p);
    SET(CURLOPT_HTTPHEADER, x->headers);
    return true;

#undef SET
}
