/*
 * The MLLP transport against a scripted peer on loopback: every row of the
 * acknowledgement table, release 2, late answers, hostile peers.
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

#include "logdoc.h"
#include "transport.h"

#define HANG_S  30

#define HEAD    "MSH|^~\\&|A|B|C|D|20260315||ACK|1|P|2.5.1\r"
#define F(text) "\x0b" HEAD text "\r\x1c\r"
#define COMMIT  "\x0b\x06\x1c\r"
#define NAK     "\x0b\x15\x1c\r"

/* -- the peer: reads a frame, says its line, closes or goes on ----------- */

struct script {
    struct slice     says;
    bool             closes;               /* after its answer */
    bool             hangs_up;             /* without an answer */
    unsigned         drip_ms;              /* between bytes */
};

static struct {
    int              fd;
    unsigned         port;
    pthread_t        thread;
    pthread_mutex_t  lock;                 /* of all below */
    struct script    script;
    unsigned         connections, open, frames, commits;
    char             seen[4096];
} peer;


/* A whole frame other than our commit of its answer; false at the end. */
static bool
frame_read(int fd)
{
    char    seen[sizeof(peer.seen)];
    size_t  n = 0;
    char    c, last = 0;

    while (read(fd, &c, 1) == 1) {
        if (n < sizeof(seen) - 1) {
            seen[n++] = c;
        }

        if (last == 0x1c && c == 0x0d) {
            seen[n] = '\0';
            pthread_mutex_lock(&peer.lock);
            peer.commits += n == 4;
            peer.frames += n != 4;

            if (n != 4) {
                memcpy(peer.seen, seen, n + 1);
            }

            pthread_mutex_unlock(&peer.lock);

            if (n != 4) {
                return true;
            }

            n = 0;
            c = 0;
        }

        last = c;
    }

    return false;
}


static void
answer(int fd, const struct script *script)
{
    size_t  step = script->drip_ms == 0 ? script->says.n : 1;

    for (size_t i = 0; i < script->says.n; i += step) {
        if (write(fd, script->says.p + i, step) < 1) {
            return;
        }

        if (script->drip_ms != 0) {
            (void) poll(NULL, 0, (int) script->drip_ms);
        }
    }
}


static void *
serve_one(void *arg)
{
    struct script  script;
    int            fd = (int) (intptr_t) arg;

    while (frame_read(fd)) {
        pthread_mutex_lock(&peer.lock);
        script = peer.script;
        pthread_mutex_unlock(&peer.lock);

        if (!script.hangs_up) {
            answer(fd, &script);
        }

        if (script.closes || script.hangs_up) {
            break;
        }
    }

    (void) close(fd);
    pthread_mutex_lock(&peer.lock);
    peer.open--;
    pthread_mutex_unlock(&peer.lock);
    return NULL;
}


static void *
serve(void *arg)
{
    pthread_t  thread;
    int        fd;

    (void) arg;

    while ((fd = accept(peer.fd, NULL, NULL)) != -1) {
        pthread_mutex_lock(&peer.lock);
        peer.connections++;
        peer.open++;
        pthread_mutex_unlock(&peer.lock);

        if (pthread_create(&thread, NULL, serve_one, (void *) (intptr_t) fd)
            == 0)
        {
            (void) pthread_detach(thread);
        }
    }

    return NULL;
}


/* Until the peer has closed its side of every connection. */
static void
wait_closed(void)
{
    unsigned  open = 1;

    for (int i = 0; i < HANG_S * 1000 && open > 0; i++) {
        (void) poll(NULL, 0, 1);
        pthread_mutex_lock(&peer.lock);
        open = peer.open;
        pthread_mutex_unlock(&peer.lock);
    }

    assert_int_equal(open, 0);
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


static int
setup(void **state)
{
    struct transport_config  c = { .guard = &guard, .stop_ms = 100 };
    struct sockaddr_in       a = { .sin_family = AF_INET };
    socklen_t                len = sizeof(a);
    struct slice             at;

    (void) state;
    (void) signal(SIGPIPE, SIG_IGN);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer.fd, (struct sockaddr *) &a, len), 0);
    assert_int_equal(listen(peer.fd, 16), 0);
    assert_int_equal(getsockname(peer.fd, (struct sockaddr *) &a, &len), 0);
    peer.port = ntohs(a.sin_port);
    (void) pthread_mutex_init(&peer.lock, NULL);
    (void) sem_init(&ended, 0, 0);
    assert_int_equal(netguard_allow(&guard, "127.0.0.0/8", &at), RESULT_OK);
    assert_int_equal(transport_mllp.start(&c, on_done, NULL, &transport),
        RESULT_OK);
    return pthread_create(&peer.thread, NULL, serve, NULL);
}


static int
teardown(void **state)
{
    (void) state;
    transport_mllp.stop(transport);
    (void) shutdown(peer.fd, SHUT_RDWR);
    (void) pthread_join(peer.thread, NULL);
    return close(peer.fd);
}


static struct send *
a_send(unsigned destination)
{
    struct send  *s = send_create();

    assert_non_null(s);
    s->destination = arena_printf(&s->arena, "d%u", destination);
    s->body = slice_of("MSH|^~\\&|IDASH\rPID|1\r");
    s->mllp.host = "127.0.0.1";
    s->mllp.port = peer.port;
    s->mllp.control_id = "ID1";
    s->mllp.connect_ms = 2000;
    s->mllp.first_byte_ms = 300;
    s->mllp.ack_ms = 600;
    s->mllp.rules = (struct hl7_rules) { .reject_is_final = true };
    return s;
}


static void
deliver(struct send *s)
{
    struct timespec  until;

    transport_mllp.submit(transport, s);
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HANG_S;
    assert_int_equal(sem_timedwait(&ended, &until), 0);
}


static void
script_set(const char *text, size_t n, struct script script)
{
    script.says = (struct slice) { text, n };
    pthread_mutex_lock(&peer.lock);
    peer.script = script;
    peer.connections = peer.frames = peer.commits = 0;
    pthread_mutex_unlock(&peer.lock);
}

/* closes by default; or .closes = false, .hangs_up = true, .drip_ms = n */
#define SAYS(text, ...)                                                       \
    script_set(text, sizeof(text) - 1, (struct script) { __VA_ARGS__ })


static void
check(struct send *s, enum outcome_kind kind, const char *reason)
{
    if (s->outcome.kind != kind
        || (reason != NULL && strcmp(s->outcome.reason, reason) != 0))
    {
        fail_msg("kind %d, %s: %s", s->outcome.kind, s->outcome.reason,
            s->message);
    }

    send_destroy(s);
}


static void
every_answer(void **state)
{
    static const struct {
        struct slice       says;
        enum outcome_kind  kind;
        const char        *reason;
    } cases[] = {
        { { F("MSA|AA|ID1"), sizeof(F("MSA|AA|ID1")) - 1 },
            OUTCOME_DELIVERED, NULL },
        { { "\r\n" F("MSA|AA|ID1"), sizeof("\r\n" F("MSA|AA|ID1")) - 1 },
            OUTCOME_DELIVERED, NULL },
        { { F("MSA|CA|ID1") F("MSA|AA|ID1"),
              sizeof(F("MSA|CA|ID1") F("MSA|AA|ID1")) - 1 },
            OUTCOME_DELIVERED, NULL },
        { { F("MSA|CA|ID1"), sizeof(F("MSA|CA|ID1")) - 1 },
            OUTCOME_COMMITTED, NULL },
        { { F("MSA|AE|ID1"), sizeof(F("MSA|AE|ID1")) - 1 },
            OUTCOME_REJECTED, "NACK_ERROR" },
        { { F("MSA|AE|ID1\rERR|||207"),
              sizeof(F("MSA|AE|ID1\rERR|||207")) - 1 }, OUTCOME_RETRY, "NACK_ERROR" },
        { { F("MSA|AR|ID9"), sizeof(F("MSA|AR|ID9")) - 1 },
            OUTCOME_REJECTED, "NACK_REJECT" },
        { { F("MSA|AA|ID9"), sizeof(F("MSA|AA|ID9")) - 1 },
            OUTCOME_RETRY, "ACK_MISMATCH" },
        { { F("MSA|AA|ID9") F("MSA|AA|ID1"),
              sizeof(F("MSA|AA|ID9") F("MSA|AA|ID1")) - 1 },
            OUTCOME_DELIVERED, NULL },
        { { F("MSA|XX|ID1"), sizeof(F("MSA|XX|ID1")) - 1 },
            OUTCOME_RETRY, "BAD_ACK" },
        { { F("NTE|no MSA"), sizeof(F("NTE|no MSA")) - 1 },
            OUTCOME_RETRY, "BAD_ACK" },
        { { "\x0b\x1c\r", 3 }, OUTCOME_RETRY, "BAD_ACK" },
        { { "\x0b" HEAD "MSA|AA|ID1\r\x1c", sizeof(HEAD) + 12 },
            OUTCOME_RETRY, "NO_ACK" },
        { { "\x0b" "M\0\0\x1c" "x", 6 }, OUTCOME_RETRY, "BAD_ACK" },
    };
    struct send  *s;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        script_set(cases[i].says.p, cases[i].says.n,
            (struct script) { .closes = true });
        s = a_send(100 + (unsigned) i);
        deliver(s);
        assert_true(s->outcome.kind != OUTCOME_RETRY
            || s->outcome.reason != NULL);
        check(s, cases[i].kind, cases[i].reason);
    }
}


static void
silence_and_hang_up(void **state)
{
    struct send  *s;

    (void) state;

    SAYS("", .closes = false);
    s = a_send(1);
    deliver(s);
    assert_true(s->duration_us >= 300000);
    check(s, OUTCOME_RETRY, "ACK_TIMEOUT");

    SAYS("", .hangs_up = true);
    s = a_send(2);
    deliver(s);
    check(s, OUTCOME_RETRY, "NO_ACK");

    SAYS(F("MSA|AA|ID1"), .drip_ms = 100);
    s = a_send(3);
    deliver(s);
    check(s, OUTCOME_RETRY, "ACK_TIMEOUT");

    s = a_send(4);
    s->mllp.port = 1;
    deliver(s);
    check(s, OUTCOME_RETRY, "CONNECT");
}


static void
one_connection_is_kept(void **state)
{
    struct send  *s;

    (void) state;

    SAYS(F("MSA|AA|ID1"), .closes = false);

    for (int i = 0; i < 20; i++) {
        s = a_send(5);
        deliver(s);
        check(s, OUTCOME_DELIVERED, NULL);
    }

    assert_int_equal(peer.connections, 1);
    assert_int_equal(peer.frames, 20);
    assert_string_equal(peer.seen, "\x0bMSH|^~\\&|IDASH\rPID|1\r\x1c\r");

    /* a peer that closes after each answer is no failure either */
    SAYS(F("MSA|AA|ID1"), .closes = true);

    for (int i = 0; i < 5; i++) {
        s = a_send(5);
        deliver(s);
        check(s, OUTCOME_DELIVERED, NULL);
        wait_closed();
    }
}


/* The answer to n comes twice: the second must not answer n + 1. */
static void
a_late_answer_answers_nothing(void **state)
{
    struct send  *s;

    (void) state;

    SAYS(F("MSA|AA|ID1") F("MSA|AE|ID1"), .closes = false);
    s = a_send(6);
    deliver(s);
    check(s, OUTCOME_DELIVERED, NULL);

    SAYS(F("MSA|AA|ID1"), .closes = true);
    s = a_send(6);
    deliver(s);
    check(s, OUTCOME_DELIVERED, NULL);
}


static void
release_two(void **state)
{
    struct send  *s;

    (void) state;

    SAYS(COMMIT F("MSA|AA|ID1"), .closes = false);
    s = a_send(7);
    s->mllp.release = MLLP_RELEASE_2;
    deliver(s);
    check(s, OUTCOME_DELIVERED, NULL);

    /* the peer has read our commit once the next frame is there */
    s = a_send(7);
    s->mllp.release = MLLP_RELEASE_2;
    deliver(s);
    check(s, OUTCOME_DELIVERED, NULL);
    assert_true(peer.commits >= 1);

    SAYS(NAK, .closes = true);
    s = a_send(7);
    s->mllp.release = MLLP_RELEASE_2;
    deliver(s);
    check(s, OUTCOME_RETRY, "COMMIT_NAK");

    SAYS(COMMIT, .closes = false);
    s = a_send(7);
    s->mllp.release = MLLP_RELEASE_2;
    deliver(s);
    check(s, OUTCOME_RETRY, "ACK_TIMEOUT");
}


static void
nothing_wanted_and_forgeries(void **state)
{
    struct send  *s;

    (void) state;

    SAYS("", .closes = true);
    s = a_send(10);
    s->mllp.rules.want = HL7_WANT_NONE;
    deliver(s);
    assert_true(s->unconfirmed);
    check(s, OUTCOME_DELIVERED, NULL);

    s = a_send(11);
    s->body = (struct slice) { "MSH\x1c\r\x0bMSH", 9 };
    deliver(s);
    check(s, OUTCOME_REJECTED, "config");

    guard.nallow = 0;
    s = a_send(12);
    deliver(s);
    check(s, OUTCOME_REJECTED, "address_refused");
    s = a_send(13);
    s->mllp.host = "localhost";
    deliver(s);
    check(s, OUTCOME_RETRY, "address_refused");
    guard.nallow = 1;
}


static void
a_silent_peer_delays_no_other(void **state)
{
    struct send  *silent, *s;

    (void) state;

    SAYS("", .closes = false);
    silent = a_send(20);
    silent->mllp.first_byte_ms = silent->mllp.ack_ms = 1500;
    transport_mllp.submit(transport, silent);

    s = a_send(21);
    s->mllp.port = 1;
    deliver(s);
    check(s, OUTCOME_RETRY, "CONNECT");

    assert_int_equal(sem_wait(&ended), 0);
    check(silent, OUTCOME_RETRY, "ACK_TIMEOUT");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_answer),
        cmocka_unit_test(silence_and_hang_up),
        cmocka_unit_test(one_connection_is_kept),
        cmocka_unit_test(a_late_answer_answers_nothing),
        cmocka_unit_test(release_two),
        cmocka_unit_test(nothing_wanted_and_forgeries),
        cmocka_unit_test(a_silent_peer_delays_no_other),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
