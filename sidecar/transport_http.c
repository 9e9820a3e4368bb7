/*
 * Webhooks over HTTP: one thread, one libcurl multi handle, many transfers.
 *
 * Guarantees: every submitted send is done exactly once; it ends within its
 * total deadline, tokens included, whatever the peers do; no address that the
 * guard forbids gets a packet; what is sent is what was signed.  No retry here,
 * no redirect followed, no answer kept beyond SEND_MAX_RESPONSE.
 */

#include "transport.h"

#include <curl/curl.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "http_outcome.h"
#include "http_token.h"
#include "log.h"
#include "logdoc.h"

#define MAX_RESPONSE_HEADERS  (16 * 1024)
#define RECEIVE_BYTES         4096L         /* libcurl's, of each send: 16 KB */
#define UPLOAD_BYTES          16384L        /* over TLS: 64 KB */
#define POLL_MS               1000
#define CONNECTION_LIFE_S     600
#define SLOW_BYTES            100L
#define SLOW_SECONDS          10L

struct transfer {
    struct transfer    *next, *prev;       /* in flight; free: next only */
    struct transport   *t;
    CURL               *easy;
    struct send        *send;
    struct http_token  *token;             /* OAuth2: that it needs or fetches */
    unsigned            serial;            /* of the bearer that it carries */
    bool                fetches;           /* it asks for the token itself */
    struct curl_slist  *headers;
    struct buf          head, body;
    int64_t             body_bytes;
    bool                refused, literal, head_done, cut, bad_line;
};

struct transport {
    struct transport_config  config;
    transport_done           done;
    void                    *arg;
    CURLM                   *multi;
    pthread_t                thread;

    pthread_mutex_t          lock;         /* of the three below */
    struct send             *queue, **tail;
    bool                     stopping;

    /* the thread's own */
    struct transfer         *active, *free;
    struct http_tokens       tokens;
};

static void transfer_begin(struct transport *t, struct send *s);


/* -- callbacks of libcurl ------------------------------------------------ */

static curl_socket_t
on_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer  *x = data;
    const char       *why = NULL;

    (void) purpose;

    /* one forbidden address spoils the name: no other is tried */
    if (x->refused
        || !netguard_permits(x->t->config.guard, &address->addr,
               address->addrlen, &why))
    {
        x->refused = true;
        return CURL_SOCKET_BAD;
    }

    return socket(address->family, address->socktype | SOCK_CLOEXEC,
        address->protocol);
}


/* Also for a kept connection, where no socket is opened. */
static int
on_request(void *data, char *ip, char *local, int port, int local_port)
{
    struct transfer      *x = data;
    struct sockaddr_in    v4 = { .sin_family = AF_INET };
    struct sockaddr_in6   v6 = { .sin6_family = AF_INET6 };
    const char           *why;
    bool                  permitted = false;

    (void) local;
    (void) port;
    (void) local_port;

    if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
        permitted = netguard_permits(x->t->config.guard,
            (struct sockaddr *) &v4, sizeof(v4), &why);

    } else if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
        permitted = netguard_permits(x->t->config.guard,
            (struct sockaddr *) &v6, sizeof(v6), &why);
    }

    x->refused = !permitted;
    return permitted ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}


static size_t
on_header(char *line, size_t size, size_t n, void *data)
{
    struct transfer  *x = data;
    long              status = 0;

    (void) size;

    /* a status line begins anew after 100 and 103 */
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_reset(&x->head);
        x->head_done = false;
        return n;
    }

    if (n <= 2) {
        (void) curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        x->head_done = x->head_done || status >= 200 || status == 101;
        return n;
    }

    if (!x->head_done && x->head.n + n <= MAX_RESPONSE_HEADERS) {
        (void) buf_add(&x->head, line, n);
    }

    return n;
}


static size_t
on_body(char *p, size_t size, size_t n, void *data)
{
    struct transfer  *x = data;
    size_t            room = SEND_MAX_RESPONSE - x->body.n;

    (void) size;
    x->body_bytes += (int64_t) n;

    if (n > room) {
        (void) buf_add(&x->body, p, room);
        x->cut = true;
        return 0;
    }

    return buf_add(&x->body, p, n) == RESULT_OK ? n : 0;
}


/* -- one transfer -------------------------------------------------------- */

static struct transfer *
transfer_take(struct transport *t)
{
    struct transfer  *x = t->free;

    if (x != NULL) {
        t->free = x->next;

    } else {
        x = calloc(1, sizeof(*x));
        if (x == NULL) {
            return NULL;
        }

        x->easy = curl_easy_init();
        if (x->easy == NULL) {
            free(x);
            return NULL;
        }

        buf_init(&x->head, MAX_RESPONSE_HEADERS);
        buf_init(&x->body, SEND_MAX_RESPONSE);
    }

    x->t = t;
    x->prev = NULL;
    x->next = t->active;

    if (t->active != NULL) {
        t->active->prev = x;
    }

    t->active = x;
    return x;
}


static void
transfer_give(struct transfer *x)
{
    struct transport  *t = x->t;

    if (x->prev != NULL) {
        x->prev->next = x->next;
    } else {
        t->active = x->next;
    }

    if (x->next != NULL) {
        x->next->prev = x->prev;
    }

    curl_slist_free_all(x->headers);
    curl_easy_reset(x->easy);
    buf_reset(&x->head);
    buf_reset(&x->body);

    x->headers = NULL;
    x->send = NULL;
    x->token = NULL;
    x->fetches = x->refused = x->literal = false;
    x->head_done = x->cut = x->bad_line = false;
    x->body_bytes = 0;

    x->next = t->free;
    t->free = x;
}


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


/* What is left of its time; below 1: none. */
static long
left_ms(const struct send *s)
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
    long                     left = left_ms(x->send);

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
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, x);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
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


static bool
webhook_options(struct transfer *x)
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


static bool
token_options(struct transfer *x)
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


/* -- the end of a send --------------------------------------------------- */

static void
send_finish(struct transport *t, struct send *s, struct outcome o,
    const char *text)
{
    s->outcome = o;
    s->throttled = o.reason != NULL && strcmp(o.reason, "throttled") == 0;
    s->gone = o.reason != NULL && strcmp(o.reason, "gone") == 0;
    (void) snprintf(s->message, sizeof(s->message), "%s", text);

    if (s->duration_us == LOGDOC_NONE && s->started_us != LOGDOC_NONE) {
        s->duration_us = clock_wall_us() - s->started_us;
    }

    t->done(t->arg, s);
}


static void
send_fail(struct transport *t, struct send *s, enum outcome_kind kind,
    const char *reason, const char *text)
{
    send_finish(t, s, (struct outcome) { .kind = kind, .reason = reason },
        text);
}


static int64_t
info_time(struct transfer *x, CURLINFO info)
{
    curl_off_t  us = 0;

    return curl_easy_getinfo(x->easy, info, &us) == CURLE_OK && us > 0
               ? (int64_t) us : LOGDOC_NONE;
}


/* Nothing got past the proxy: it took no connection, or refused the tunnel. */
static bool
proxy_failed(struct transfer *x, CURLcode code)
{
    long  tunnel = 0;

    if (x->send->http.proxy == NULL) {
        return false;
    }

    (void) curl_easy_getinfo(x->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
    return code == CURLE_COULDNT_CONNECT || tunnel >= 300;
}


static struct http_facts
transfer_facts(struct transfer *x, CURLcode code)
{
    struct http_facts  f = { .code = code };
    curl_off_t         after = 0;
    long               status = 0;

    (void) curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    (void) curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after);

    f.status = x->head_done ? status : 0;
    f.refused = x->refused;
    f.literal = x->literal;
    f.cut_by_us = x->cut;
    f.oauth2 = x->token != NULL;
    f.proxy_failed = proxy_failed(x, code);
    f.connected = info_time(x, CURLINFO_CONNECT_TIME_T) != LOGDOC_NONE;
    f.secured = info_time(x, CURLINFO_PRETRANSFER_TIME_T) != LOGDOC_NONE;
    f.answered = info_time(x, CURLINFO_STARTTRANSFER_TIME_T) != LOGDOC_NONE;
    f.retry_after_s = (int64_t) after;
    f.now_us = clock_wall_us();
    return f;
}


/* Copies what came back into the send's own arena. */
static void
keep_answer(struct transfer *x, const struct http_facts *f)
{
    struct send  *s = x->send;
    char         *ip = NULL;

    s->http_status = f->status == 0 ? LOGDOC_NONE : f->status;
    s->duration_us = x->token != NULL ? clock_mono_us() - s->begun_us
                                      : info_time(x, CURLINFO_TOTAL_TIME_T);
    s->connect_us = info_time(x, CURLINFO_CONNECT_TIME_T);
    s->first_byte_us = info_time(x, CURLINFO_STARTTRANSFER_TIME_T);
    s->response_headers = arena_copy(&s->arena,
        (struct slice) { x->head.p, x->head.n });
    s->response_body = arena_copy(&s->arena,
        (struct slice) { x->body.p, x->body.n });
    s->response_cut = x->cut;
    s->response_bytes = f->status == 0 ? LOGDOC_NONE : x->body_bytes;

    if (curl_easy_getinfo(x->easy, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK
        && ip != NULL)
    {
        (void) snprintf(s->peer, sizeof(s->peer), "%s", ip);
    }
}


/* -- tokens -------------------------------------------------------------- */

static void
waiting_add(struct http_token *token, struct send *s)
{
    s->next = token->waiting;
    token->waiting = s;
}


static void
token_fetch(struct transport *t, struct http_token *token, struct send *s)
{
    struct transfer  *x;
    const char       *why;
    bool              literal;

    if (http_url_check(s->http.token_url, s->http.plain_allowed,
            t->config.allow_ports, &literal, &why) != RESULT_OK)
    {
        send_fail(t, s, OUTCOME_REJECTED, "config", "the token URL is wrong");
        return;
    }

    x = transfer_take(t);
    if (x == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    x->send = s;
    x->token = token;
    x->fetches = true;
    x->literal = literal;

    if (!token_options(x) || curl_multi_add_handle(t->multi, x->easy) != 0) {
        transfer_give(x);
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    token->fetching = true;
}


/* The fetch ended: its own send and all that wait go on, or fail alike; when it
 * was its own send's time that ran out, the others have theirs. */
static void
token_done(struct transfer *x, CURLcode code)
{
    struct transport   *t = x->t;
    struct http_token  *token = x->token;
    struct http_facts   f = transfer_facts(x, code);
    struct send        *own = x->send, *list = own, *s;
    bool                good;

    good = f.status == 200
           && http_token_take(token,
                  (struct slice) { x->body.p, x->body.n }, clock_mono_us())
                  == RESULT_OK;

    list->next = token->waiting;
    token->waiting = NULL;
    token->fetching = false;
    transfer_give(x);

    while ((s = list) != NULL) {
        list = s->next;
        s->next = NULL;

        if (good || (code == CURLE_OPERATION_TIMEDOUT && s != own)) {
            transfer_begin(t, s);
        } else {
            send_fail(t, s, OUTCOME_RETRY, f.refused ? "address_refused"
                : "auth", "no token from the OAuth2 server");
        }
    }
}


/* True when the send waits for a token now. */
static bool
token_needed(struct transport *t, struct send *s, struct http_token **out)
{
    struct http_token  *token;
    int64_t             now = clock_mono_us();

    token = http_token_of(&t->tokens, s);
    *out = token;

    if (token == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return true;
    }

    token->used_us = now;

    if (token->fetching) {
        waiting_add(token, s);
        return true;
    }

    if (!http_token_fresh(token, now)) {
        token_fetch(t, token, s);
        return true;
    }

    return false;
}


/* -- begin and end ------------------------------------------------------- */

static void
transfer_begin(struct transport *t, struct send *s)
{
    struct http_token  *token = NULL;
    struct transfer    *x;
    const char         *why = NULL;
    bool                literal, bad;

    if (s->begun_us == 0) {
        s->begun_us = clock_mono_us();
        s->started_us = clock_wall_us();
    }

    if (left_ms(s) < 1) {
        send_fail(t, s, OUTCOME_RETRY, "timeout",
            "its time was over before there was a token");
        return;
    }

    if (s->body.n > SEND_MAX_BODY) {
        send_fail(t, s, OUTCOME_REJECTED, "config",
            "the body is longer than 1 MB");
        return;
    }

    if (http_url_check(s->http.url, s->http.plain_allowed,
            t->config.allow_ports, &literal, &why) != RESULT_OK)
    {
        send_fail(t, s, OUTCOME_REJECTED, "config", why);
        return;
    }

    if (s->http.auth == SEND_AUTH_OAUTH2 && token_needed(t, s, &token)) {
        return;
    }

    x = transfer_take(t);
    if (x == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    x->send = s;
    x->token = token;
    x->serial = token == NULL ? 0 : token->serial;
    x->literal = literal;

    if (!webhook_options(x) || curl_multi_add_handle(t->multi, x->easy) != 0) {
        bad = x->bad_line;
        transfer_give(x);

        if (bad) {
            send_fail(t, s, OUTCOME_REJECTED, "config",
                "a header would be more than one line");
        } else {
            send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        }
    }
}


static void
transfer_end(struct transfer *x, CURLcode code)
{
    struct transport   *t = x->t;
    struct send        *s = x->send;
    struct http_facts   f;
    struct outcome      o;
    const char         *text;

    (void) curl_multi_remove_handle(t->multi, x->easy);

    if (x->fetches) {
        token_done(x, code);
        return;
    }

    f = transfer_facts(x, code);

    /* once, with a new token, within the same attempt; another that was
     * refused with the same one may have brought it already */
    if (x->token != NULL && f.status == 401 && !s->renewed) {
        if (x->serial == x->token->serial) {
            http_token_spoil(x->token);
        }

        transfer_give(x);
        s->renewed = true;
        transfer_begin(t, s);
        return;
    }

    o = http_outcome(&f, &text);
    keep_answer(x, &f);
    transfer_give(x);
    send_finish(t, s, o, text);
}


static void
ended_transfers(struct transport *t)
{
    struct transfer  *x;
    CURLMsg          *m;
    int               left;

    while ((m = curl_multi_info_read(t->multi, &left)) != NULL) {
        if (m->msg == CURLMSG_DONE) {
            x = NULL;
            (void) curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE,
                (char **) &x);
            transfer_end(x, m->data.result);
        }
    }
}


/* -- the thread ---------------------------------------------------------- */

static bool
take_queue(struct transport *t, struct send **list)
{
    bool  stopping;

    pthread_mutex_lock(&t->lock);
    *list = t->queue;
    t->queue = NULL;
    t->tail = &t->queue;
    stopping = t->stopping;
    pthread_mutex_unlock(&t->lock);

    return stopping;
}


static bool
is_queued(struct transport *t)
{
    bool  queued;

    pthread_mutex_lock(&t->lock);
    queued = t->queue != NULL;
    pthread_mutex_unlock(&t->lock);

    return queued;
}


/* What is cut off here may have been received: no attempt is charged, the
 * same message id goes out again. */
static void
abandon(struct transport *t)
{
    struct http_token  *token;
    struct transfer    *x;
    struct send        *s;

    while ((x = t->active) != NULL) {
        s = x->send;
        (void) curl_multi_remove_handle(t->multi, x->easy);
        transfer_give(x);
        send_fail(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
    }

    for (token = t->tokens.first; token != NULL; token = token->next) {
        while ((s = token->waiting) != NULL) {
            token->waiting = s->next;
            s->next = NULL;
            send_fail(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
        }
    }
}


/* Until nothing is queued, not even by what ends at once; true when we stop. */
static bool
begin_queued(struct transport *t)
{
    struct send  *list, *s;
    bool          stopping;

    while (stopping = take_queue(t, &list), list != NULL) {
        while ((s = list) != NULL) {
            list = s->next;
            s->next = NULL;

            if (stopping) {
                send_fail(t, s, OUTCOME_NOT_SENT, "shutdown",
                    "we are stopping");
            } else {
                transfer_begin(t, s);
            }
        }
    }

    return stopping;
}


static void *
transport_run(void *arg)
{
    struct transport  *t = arg;
    int64_t            stop_us = 0;
    int                running;
    bool               stopping;

    for ( ;; ) {
        stopping = begin_queued(t);
        (void) curl_multi_perform(t->multi, &running);
        ended_transfers(t);
        http_tokens_sweep(&t->tokens, clock_mono_us());

        if (stopping) {
            stop_us = stop_us != 0 ? stop_us
                : clock_mono_us() + (int64_t) t->config.stop_ms * 1000;

            if ((t->active == NULL && !is_queued(t))
                || clock_mono_us() >= stop_us)
            {
                break;
            }
        }

        if (!is_queued(t)) {
            (void) curl_multi_poll(t->multi, NULL, 0, stopping ? 50 : POLL_MS,
                NULL);
        }
    }

    abandon(t);
    return NULL;
}


static void
transport_free(struct transport *t)
{
    struct transfer  *x;

    while ((x = t->free) != NULL) {
        t->free = x->next;
        curl_easy_cleanup(x->easy);
        buf_cleanup(&x->head);
        buf_cleanup(&x->body);
        free(x);
    }

    http_tokens_cleanup(&t->tokens);

    if (t->multi != NULL) {
        (void) curl_multi_cleanup(t->multi);
    }

    (void) pthread_mutex_destroy(&t->lock);
    free(t);
}


static enum result
http_start(const struct transport_config *c, transport_done done, void *arg,
    struct transport **out)
{
    struct transport  *t;

    /* counted inside libcurl; the process calls it before any thread too */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return RESULT_INTERNAL;
    }

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->config = *c;
    t->done = done;
    t->arg = arg;
    t->tail = &t->queue;
    (void) pthread_mutex_init(&t->lock, NULL);
    t->multi = curl_multi_init();

    if (t->multi == NULL) {
        transport_free(t);
        return RESULT_MEMORY;
    }

    (void) curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS,
        (long) c->max_connections);
    (void) curl_multi_setopt(t->multi, CURLMOPT_PIPELINING,
        CURLPIPE_MULTIPLEX);

    if (pthread_create(&t->thread, NULL, transport_run, t) != 0) {
        transport_free(t);
        return RESULT_UNAVAILABLE;
    }

    *out = t;
    return RESULT_OK;
}


/* Who finds the queue empty wakes the thread; what its own callbacks submit it
 * takes before it sleeps. */
static void
http_submit(struct transport *t, struct send *s)
{
    bool  first;

    s->next = NULL;

    pthread_mutex_lock(&t->lock);
    first = t->queue == NULL;
    *t->tail = s;
    t->tail = &s->next;
    pthread_mutex_unlock(&t->lock);

    if (first && !pthread_equal(pthread_self(), t->thread)) {
        (void) curl_multi_wakeup(t->multi);
    }
}


static void
http_stop(struct transport *t)
{
    if (t == NULL) {
        return;
    }

    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_mutex_unlock(&t->lock);

    (void) curl_multi_wakeup(t->multi);
    (void) pthread_join(t->thread, NULL);
    transport_free(t);
    curl_global_cleanup();
}


const struct transport_ops  transport_http = {
    .name = "http",
    .start = http_start,
    .submit = http_submit,
    .stop = http_stop,
};
