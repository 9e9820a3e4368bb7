/*
 * The HTTP transport against a scripted server on loopback: every outcome,
 * hostile answers, signature on the wire, tokens, the address guard.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "logdoc.h"
#include "transport.h"

#define HANG_S  30                         /* no case may take longer */

/* -- the server: one answer a connection, then close --------------------- */

enum { ENDLESS_BODY = 1, ENDLESS_HEAD, SILENT, DRIP };

static struct {
    int              fd;
    char             port[8];
    const char      *answers[8];           /* in turn; the last repeats */
    int              mode;
    unsigned         served;
    char             seen[65536];          /* of the last request */
    pthread_t        thread;
    pthread_mutex_t  lock;
} server;


static void
serve_mode(int fd, int mode)
{
    static char    junk[8192];
    struct pollfd  p = { fd, POLLRDHUP, 0 };

    memset(junk, 'x', sizeof(junk));

    if (mode == ENDLESS_BODY) {
        (void) !write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
        while (write(fd, junk, sizeof(junk)) > 0) { }

    } else if (mode == ENDLESS_HEAD) {
        (void) !write(fd, "HTTP/1.1 200 OK\r\n", 17);
        memcpy(junk + sizeof(junk) - 2, "\r\n", 2);
        memcpy(junk, "X: ", 3);
        while (write(fd, junk, sizeof(junk)) > 0) { }

    } else if (mode == SILENT) {
        (void) poll(&p, 1, HANG_S * 1000);

    } else {
        (void) !write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
            40);
        while (write(fd, "x", 1) == 1 && poll(&p, 1, 200) == 0) { }
    }
}


static void
serve_one(int fd)
{
    const char  *answer;
    size_t       n = 0, want = 0;
    ssize_t      got;
    char        *end, *length;
    int          mode;

    pthread_mutex_lock(&server.lock);

    for (server.seen[0] = '\0'; n < sizeof(server.seen) - 1; /* void */) {
        got = read(fd, server.seen + n, sizeof(server.seen) - 1 - n);
        if (got <= 0) {
            break;
        }

        n += (size_t) got;
        server.seen[n] = '\0';
        end = strstr(server.seen, "\r\n\r\n");

        if (end != NULL && want == 0) {
            length = strcasestr(server.seen, "content-length:");
            want = (size_t) (end - server.seen) + 4
                   + (length == NULL ? 0 : strtoul(length + 15, NULL, 10));
        }

        if (want != 0 && n >= want) {
            break;
        }
    }

    answer = server.answers[server.served];
    mode = server.mode;

    if (server.served < 7 && server.answers[server.served + 1] != NULL) {
        server.served++;
    }

    pthread_mutex_unlock(&server.lock);

    if (mode != 0) {
        serve_mode(fd, mode);
    } else {
        (void) !write(fd, answer, strlen(answer));
    }

    (void) close(fd);
}


static void *
serve(void *arg)
{
    struct timeval  tv = { 2, 0 };
    int             fd;

    (void) arg;

    while ((fd = accept(server.fd, NULL, NULL)) != -1) {
        /* the lock is held meanwhile: a client that says nothing must not */
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        serve_one(fd);
    }

    return NULL;
}


static void
server_set(int mode, const char *first, const char *second, const char *third)
{
    pthread_mutex_lock(&server.lock);
    memset(server.answers, 0, sizeof(server.answers));
    server.answers[0] = first;
    server.answers[1] = second;
    server.answers[2] = third;
    server.mode = mode;
    server.served = 0;
    pthread_mutex_unlock(&server.lock);
}


/* -- the transport ------------------------------------------------------- */

static struct transport  *transport;
static struct netguard    guard;
static sem_t              ended;

static void
on_done(void *arg, struct send *s)
{
    (void) arg;
    (void) s;
    (void) sem_post(&ended);
}


static void
start(const char *allow)
{
    struct transport_config  c = { .guard = &guard, .max_connections = 8,
        .stop_ms = 100, .allow_ports = server.port, .user_agent = "test" };
    struct slice             at;

    memset(&guard, 0, sizeof(guard));
    assert_int_equal(netguard_allow(&guard, allow, &at), RESULT_OK);
    assert_int_equal(transport_http.start(&c, on_done, NULL, &transport),
        RESULT_OK);
}


static int
setup(void **state)
{
    struct sockaddr_in  a = { .sin_family = AF_INET };
    socklen_t           len = sizeof(a);

    (void) state;
    (void) signal(SIGPIPE, SIG_IGN);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *) &a, len), 0);
    assert_int_equal(listen(server.fd, 16), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *) &a, &len), 0);
    (void) snprintf(server.port, sizeof(server.port), "%d",
        ntohs(a.sin_port));
    (void) pthread_mutex_init(&server.lock, NULL);
    (void) sem_init(&ended, 0, 0);
    start("127.0.0.0/8");
    return pthread_create(&server.thread, NULL, serve, NULL);
}


static int
teardown(void **state)
{
    (void) state;
    transport_http.stop(transport);
    (void) shutdown(server.fd, SHUT_RDWR);
    (void) pthread_join(server.thread, NULL);
    return close(server.fd);
}


static struct send *
a_send(const char *host, const char *path)
{
    struct send  *s = send_create();

    assert_non_null(s);
    s->destination = slice_of("integration-1");
    s->message_id = "019cf0b2-4e40-7abc-8def-0123456789ab";
    s->body = slice_of("{\"a\":1}");
    s->http.method = "POST";
    s->http.url = arena_printf(&s->arena, "http://%s:%s%s", host, server.port,
        path).p;
    assert_non_null(s->http.url);
    s->http.plain_allowed = true;
    s->http.connect_ms = 2000;
    s->http.total_ms = 10000;
    return s;
}


static void
deliver(struct send *s)
{
    struct timespec  until;

    transport_http.submit(transport, s);
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HANG_S;
    assert_int_equal(sem_timedwait(&ended, &until), 0);
}


static void
every_status(void **state)
{
    static const struct {
        const char        *answer;
        enum outcome_kind  kind;
        const char        *reason;
        int64_t            status;
    } cases[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", OUTCOME_DELIVERED,
            NULL, 200 },
        { "HTTP/1.1 204 No\r\n\r\n", OUTCOME_DELIVERED, NULL, 204 },
        { "HTTP/1.0 202 Ok\r\n\r\nbody", OUTCOME_DELIVERED, NULL, 202 },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
            "Content-Length: 0\r\n\r\n", OUTCOME_DELIVERED, NULL, 200 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
            OUTCOME_DELIVERED, NULL, 200 },
        { "HTTP/1.1 410 Gone\r\nContent-Length: 99\r\n\r\nshort",
            OUTCOME_REJECTED, "gone", 410 },
        { "HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nshort",
            OUTCOME_RETRY, "throttled", 503 },
        { "HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/\r\n"
            "Content-Length: 0\r\n\r\n", OUTCOME_RETRY, "redirect", 301 },
        { "HTTP/1.1 304 Not\r\n\r\n", OUTCOME_RETRY, "redirect", 304 },
        { "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "http_4xx", 400 },
        { "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "http_4xx", 401 },
        { "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "http_4xx", 404 },
        { "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", OUTCOME_REJECTED,
            "gone", 410 },
        { "HTTP/1.1 429 Many\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "throttled", 429 },
        { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "http_5xx", 500 },
        { "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "throttled", 503 },
        { "HTTP/1.1 505 No\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "http_5xx", 505 },
        { "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", OUTCOME_RETRY,
            "bad_reply", 999 },
        { "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n", OUTCOME_RETRY,
            "bad_reply", 101 },
        { "hello, I am no HTTP at all\r\n", OUTCOME_RETRY, "bad_reply",
            LOGDOC_NONE },
        { "HTTP/1.1 200 OK\r\nX-Half: ", OUTCOME_RETRY, "broken",
            LOGDOC_NONE },
        { "", OUTCOME_RETRY, "broken", LOGDOC_NONE },
    };
    struct send  *s;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server_set(0, cases[i].answer, NULL, NULL);
        s = a_send("127.0.0.1", "/hook");
        deliver(s);

        if (s->outcome.kind != cases[i].kind
            || s->http_status != cases[i].status
            || (cases[i].reason != NULL
                && strcmp(s->outcome.reason, cases[i].reason) != 0))
        {
            fail_msg("%.40s: kind %d reason %s status %lld, %s",
                cases[i].answer, s->outcome.kind, s->outcome.reason,
                (long long) s->http_status, s->message);
        }

        assert_true(s->started_us != LOGDOC_NONE && s->duration_us >= 0);
        send_destroy(s);
    }
}


static void
retry_after_values(void **state)
{
    static const struct {
        const char  *value;
        int64_t      low_s, high_s;        /* 0, 0: none */
    } cases[] = {
        { "5", 5, 6 }, { "0", 0, 0 }, { "-1", 0, 0 }, { "junk", 0, 0 },
        { "99999999999999999999", 0, 0 }, { "10 s", 10, 11 },
        { "Tue, 01 Jan 2019 00:00:00 GMT", 0, 0 },
        { "Thu, 01 Jan 2065 00:00:00 GMT", 86400, 86401 },
        { "864000", 86400, 86401 },
    };
    char          answer[256];
    struct send  *s;
    int64_t       now;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(answer, sizeof(answer), "HTTP/1.1 503 x\r\n"
            "Retry-After: %s\r\nContent-Length: 0\r\n\r\n", cases[i].value);
        server_set(0, answer, NULL, NULL);
        s = a_send("127.0.0.1", "/hook");
        now = clock_wall_us();
        deliver(s);

        if (cases[i].high_s == 0) {
            assert_int_equal(s->outcome.earliest_us, 0);
        } else {
            assert_true(s->outcome.earliest_us
                >= now + cases[i].low_s * 1000000);
            assert_true(s->outcome.earliest_us
                <= clock_wall_us() + cases[i].high_s * 1000000);
        }

        send_destroy(s);
    }
}


static void
hostile_answers_end(void **state)
{
    static const struct {
        int          mode;
        unsigned     total_ms;
        const char  *reason;               /* NULL: delivered */
    } cases[] = {
        { ENDLESS_BODY, 10000, NULL },
        { ENDLESS_HEAD, 10000, "broken" },
        { SILENT, 500, "timeout" },
        { DRIP, 1000, NULL },
    };
    struct send  *s;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server_set(cases[i].mode, "", NULL, NULL);
        s = a_send("127.0.0.1", "/hook");
        s->http.total_ms = cases[i].total_ms;
        deliver(s);

        if (cases[i].reason == NULL) {
            assert_int_equal(s->outcome.kind, OUTCOME_DELIVERED);
            assert_true(s->response_body.n <= SEND_MAX_RESPONSE);
        } else {
            assert_int_equal(s->outcome.kind, OUTCOME_RETRY);
            assert_string_equal(s->outcome.reason, cases[i].reason);
        }

        assert_int_equal(s->response_cut, cases[i].mode == ENDLESS_BODY);
        send_destroy(s);
    }
}


static void
what_goes_out(void **state)
{
    static const char *const  lines[] = { "X-Lab: 12" };
    const char      *why;
    struct sign_key  check;
    struct send     *s;
    char             want[SIGN_MAX_TEXT], *at;

    (void) state;

    server_set(0, "HTTP/1.1 200 OK\r\nX-Seen: yes\r\nContent-Length: 2\r\n\r\n"
        "ok", NULL, NULL);
    s = a_send("127.0.0.1", "/hook?x=1");
    s->http.headers = lines;
    s->http.nheaders = 1;
    assert_int_equal(sign_key_parse(slice_of(
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        &s->http.keys[s->http.nkeys++], &why), RESULT_OK);
    s->http.auth = SEND_AUTH_BASIC;
    s->http.user = "lab";
    s->http.secret = arena_printf(&s->arena, "pass").p;
    deliver(s);

    assert_int_equal(s->outcome.kind, OUTCOME_DELIVERED);
    assert_true(slice_eq(s->response_body, slice_of("ok")));
    assert_non_null(memmem(s->response_headers.p, s->response_headers.n,
        "X-Seen: yes", 11));
    assert_string_equal(s->peer, "127.0.0.1");

    assert_ptr_equal(strstr(server.seen, "POST /hook?x=1 HTTP/1.1\r\n"),
        server.seen);
    assert_non_null(strstr(server.seen, "X-Lab: 12\r\n"));
    assert_non_null(strstr(server.seen, "Authorization: Basic bGFiOnBhc3M="));
    assert_non_null(strstr(server.seen,
        "webhook-id: 019cf0b2-4e40-7abc-8def-0123456789ab\r\n"));
    assert_null(strcasestr(server.seen, "expect:"));
    assert_non_null(strstr(server.seen, "\r\n\r\n{\"a\":1}"));

    /* the receiver's own computation, from what arrived */
    at = strstr(server.seen, "webhook-timestamp: ");
    assert_non_null(at);
    assert_int_equal(sign_key_parse(slice_of(
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), &check, &why),
        RESULT_OK);
    assert_int_equal(sign_header(&check, 1,
        slice_of("019cf0b2-4e40-7abc-8def-0123456789ab"), atoll(at + 19),
        slice_of("{\"a\":1}"), want), RESULT_OK);
    at = strstr(server.seen, "webhook-signature: ");
    assert_non_null(at);
    assert_memory_equal(at + 19, want, strlen(want));
    send_destroy(s);
}


static void
tokens_are_fetched_renewed_and_spoiled(void **state)
{
    static const char  token[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        "{\"access_token\":\"t-1\",\"expires_in\":600}";
    static const char  ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char  no[] = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    struct send       *s;

    (void) state;

    for (int i = 0; i < 4; i++) {
        s = a_send("127.0.0.1", "/hook");
        s->http.auth = SEND_AUTH_OAUTH2;
        s->http.user = "id";
        s->http.secret = arena_printf(&s->arena, "p&w").p;
        s->http.token_url = arena_printf(&s->arena, "http://127.0.0.1:%s/token",
            server.port).p;

        switch (i) {
        case 0: server_set(0, token, ok, NULL); break;     /* fetched */
        case 1: server_set(0, ok, NULL, NULL); break;      /* kept */
        case 2: server_set(0, no, token, ok); break;       /* renewed once */
        default: server_set(0, no, token, no); break;      /* refused twice */
        }

        deliver(s);

        if (i < 3) {
            assert_int_equal(s->outcome.kind, OUTCOME_DELIVERED);
            assert_non_null(strstr(server.seen,
                "Authorization: Bearer t-1\r\n"));
        } else {
            assert_int_equal(s->outcome.kind, OUTCOME_RETRY);
            assert_string_equal(s->outcome.reason, "auth");
        }

        send_destroy(s);
    }
}


static void
forbidden_addresses_get_no_packet(void **state)
{
    static const struct {
        const char  *host, *reason;
        enum outcome_kind  kind;
    } cases[] = {
        { "127.0.0.1", "address_refused", OUTCOME_REJECTED },
        { "localhost", "address_refused", OUTCOME_RETRY },
        { "2130706433", "address_refused", OUTCOME_REJECTED },
        { "0x7f.1", "address_refused", OUTCOME_REJECTED },
        { "0177.0.0.1", "address_refused", OUTCOME_REJECTED },
        { "[::1]", "address_refused", OUTCOME_REJECTED },
        { "[::ffff:127.0.0.1]", "address_refused", OUTCOME_REJECTED },
        { "0.0.0.0", "address_refused", OUTCOME_REJECTED },
        { "10.0.0.1", "address_refused", OUTCOME_REJECTED },
        { "169.254.169.254", "address_refused", OUTCOME_REJECTED },
    };
    struct send  *s;

    (void) state;

    transport_http.stop(transport);
    start("");
    server_set(0, "HTTP/1.1 200 OK\r\n\r\n", NULL, NULL);
    server.seen[0] = '\0';

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s = a_send(cases[i].host, "/");
        deliver(s);

        if (s->outcome.kind != cases[i].kind
            || strcmp(s->outcome.reason, cases[i].reason) != 0)
        {
            fail_msg("%s: kind %d, %s", cases[i].host, s->outcome.kind,
                s->outcome.reason);
        }

        send_destroy(s);
    }

    assert_string_equal(server.seen, "");
    transport_http.stop(transport);
    start("127.0.0.0/8");
}


static void
bad_urls_are_rejected(void **state)
{
    static const char *const  bad[] = {
        "ftp://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/",
        "http://127.0.0.1:1/", "//x", "", "http://", "gopher://x",
        "http://127.0.0.1 /", "http://\xc3\xa9.example/",
    };
    struct send  *s;

    (void) state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = a_send("127.0.0.1", "/");
        s->http.url = bad[i];
        deliver(s);
        assert_int_equal(s->outcome.kind, OUTCOME_REJECTED);
        assert_string_equal(s->outcome.reason, "config");
        send_destroy(s);
    }
}


static void
stopping_gives_back(void **state)
{
    struct send  *s;

    (void) state;

    server_set(SILENT, "", NULL, NULL);
    s = a_send("127.0.0.1", "/hook");
    transport_http.submit(transport, s);
    transport_http.stop(transport);
    transport = NULL;
    assert_int_equal(sem_trywait(&ended), 0);
    assert_int_equal(s->outcome.kind, OUTCOME_NOT_SENT);
    assert_string_equal(s->outcome.reason, "shutdown");
    send_destroy(s);
    start("127.0.0.0/8");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_status),
        cmocka_unit_test(retry_after_values),
        cmocka_unit_test(hostile_answers_end),
        cmocka_unit_test(what_goes_out),
        cmocka_unit_test(tokens_are_fetched_renewed_and_spoiled),
        cmocka_unit_test(forbidden_addresses_get_no_packet),
        cmocka_unit_test(bad_urls_are_rejected),
        cmocka_unit_test(stopping_gives_back),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
