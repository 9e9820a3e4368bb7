/*
 * What comes back of a transfer: which addresses may answer, head and body up
 * to their limits, and what it came to.
 */

#include "transport_http_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "logdoc.h"


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


void
transfer_listen(struct transfer *x)
{
#define SET(option, value)  (void) curl_easy_setopt(x->easy, option, value)

    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, x);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);

#undef SET
}


/* -- at the end ---------------------------------------------------------- */

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


struct http_facts
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


void
transfer_keep(struct transfer *x, const struct http_facts *f)
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
