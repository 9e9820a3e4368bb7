/*
 * Frame to command, byte for byte against t/golden/record.bin; bounds, hostile
 * frames, the trace id.  CAPTURE_GOLDEN_WRITE=1 writes the golden file anew.
 */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ngx_http_capture_record.h"

#define FRAME_MAX  (4 * 1024 * 1024)

static struct capture_encoder  *encoder;
static struct capture_out       out;
static struct capture_rules     rules;
static unsigned char            blob[256];
static struct capture_frame    *frame;


static int
setup(void **state)
{
    static const struct capture_name  headers[] = {
        { "Authorization", 13 }, { "X-Api-Key", 9 }
    };
    static const struct capture_name  args[] = { { "token", 5 } };
    size_t  n;

    (void) state;
    encoder = capture_encoder_create("idash:capture");
    frame = calloc(1, FRAME_MAX);
    n = capture_rules_build(headers, 2, args, 1, blob, sizeof(blob));
    return encoder != NULL && frame != NULL
           && capture_rules_parse(&rules, blob, n) == 0 ? 0 : -1;
}


static int
teardown(void **state)
{
    (void) state;
    capture_encoder_destroy(encoder);
    capture_out_free(&out);
    free(frame);
    return 0;
}


static void
start(void)
{
    static const uint8_t  id[16] = {
        0x01, 0x97, 0x3a, 0x5c, 0x2e, 0x10, 0x71, 0x23,
        0x9a, 0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78
    };

    memset(frame, 0, sizeof(*frame));
    memcpy(frame->id, id, sizeof(id));
    frame->start_us = INT64_C(1748965469712291);
    frame->duration_us = 12345;
    frame->first_byte_us = 12001;
    frame->request_bytes = 17;
    frame->response_bytes = 100000;
    frame->sent_bytes = 100321;
    frame->status = 201;
    frame->flags = CAPTURE_COMPLETE | CAPTURE_TLS;
    frame->response_cut = RECORD_CUT_SIZE;
    frame->client_port = 50123;
}


static void
piece(uint16_t type, const char *name, const void *value, size_t len)
{
    struct capture_piece  p;
    char                 *at = (char *) (frame + 1) + frame->pieces_len;

    p.type = type;
    p.name_len = (uint16_t) (name == NULL ? 0 : strlen(name));
    p.len = (uint32_t) len;
    memcpy(at, &p, sizeof(p));
    at += sizeof(p);
    memcpy(at, name == NULL ? "" : name, p.name_len);
    memcpy(at + p.name_len, value, len);

    frame->pieces++;
    frame->pieces_len += (uint32_t) (sizeof(p) + p.name_len + len);
}


static void
text(uint16_t type, const char *value)
{
    piece(type, NULL, value, strlen(value));
}


static void
encode(void)
{
    out.n = 0;
    assert_int_equal(capture_record_encode(encoder, frame, &rules, &out), 0);
    assert_true(capture_record_check(out.p, out.n));
}


/* The value of field NAME in the command, *len -1 when it is not there. */
static const char *
field(const char *name, long *len)
{
    const char  *p = out.p, *end = out.p + out.n;
    const char  *value;
    long         n, i;
    int          wanted;

    *len = -1;
    wanted = 0;
    p = (const char *) memchr(p, '\n', out.n) + 1;

    for (i = 0; p < end; i++) {
        assert_int_equal(*p, '$');
        n = strtol(p + 1, NULL, 10);
        value = (const char *) memchr(p, '\n', (size_t) (end - p)) + 1;
        p = value + n + 2;

        if (wanted) {
            *len = n;
            return value;
        }

        wanted = i >= 3 && i % 2 == 1 && n == (long) strlen(name)
                 && memcmp(value, name, (size_t) n) == 0;
    }

    return NULL;
}


static void
is(const char *name, const char *want)
{
    const char  *value;
    long         len;

    value = field(name, &len);

    if (want == NULL) {
        assert_null(value);
        return;
    }

    assert_non_null(value);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(value, want, strlen(want));
}


/* The golden file lies in the tree that the program was built in. */
static void
golden_path(char *path, size_t size)
{
    char     self[512], *slash;
    ssize_t  n;

    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';

    while ((slash = strrchr(self, '/')) != NULL) {
        *slash = '\0';
        assert_true(snprintf(path, size, "%s/t/golden", self) < (int) size);
        if (access(path, F_OK) == 0) {
            assert_true(snprintf(path, size, "%s/t/golden/record.bin", self)
                        < (int) size);
            return;
        }
    }

    fail_msg("no t/golden above the program");
}


static void
golden_frame(void)
{
    static const char  body[] = "{\"a\":\"\xc3\xa4\"}\0\xff\x80";

    start();
    text(CAPTURE_PIECE_METHOD, "POST");
    text(CAPTURE_PIECE_HOST, "api.example.org");
    text(CAPTURE_PIECE_URI, "/api/v1/patients?lab=12&token=canary&q=a%20b");
    text(CAPTURE_PIECE_PROTOCOL, "HTTP/1.1");
    text(CAPTURE_PIECE_ROUTE, "/api/v1/patients");
    text(CAPTURE_PIECE_ACTION, "57");
    text(CAPTURE_PIECE_KEY, "secret-key");
    text(CAPTURE_PIECE_CLIENT_IP, "203.0.113.9");
    text(CAPTURE_PIECE_UP_ADDR, "127.0.0.1:9000, 127.0.0.1:9001");
    text(CAPTURE_PIECE_UP_STATUS, "502, 201");
    text(CAPTURE_PIECE_UP_CONNECT, "-, 120");
    text(CAPTURE_PIECE_UP_HEADER, "-, 11000");
    text(CAPTURE_PIECE_UP_RESPONSE, "50, 11900");
    piece(CAPTURE_PIECE_REF, "lab_id", "12", 2);
    piece(CAPTURE_PIECE_REF, "bill_id", "B-1", 3);
    piece(CAPTURE_PIECE_FIELD, "zone", "eu", 2);
    text(CAPTURE_PIECE_REQ_HEADERS,
         "Host: api.example.org\r\nX-Api-Key: secret-key\r\n"
         "Referer: https://x/?token=canary\r\n"
         "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"
         "00f067aa0ba902b7-01\r\nX-Bin: \xe9\r\n");
    text(CAPTURE_PIECE_RES_HEADERS,
         "Content-Type: application/json\r\nX: 1\r\nX: 2\r\n");
    piece(CAPTURE_PIECE_REQ_BODY, NULL, body, sizeof(body) - 1);
    text(CAPTURE_PIECE_RES_BODY, "{\"id\":1}");
}


static void
test_golden(void **state)
{
    char     path[600], want[8192];
    ssize_t  n;
    int      fd;

    (void) state;
    golden_frame();
    encode();
    golden_path(path, sizeof(path));

    if (getenv("CAPTURE_GOLDEN_WRITE") != NULL) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, out.p, out.n), out.n);
        close(fd);
    }

    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    n = read(fd, want, sizeof(want));
    close(fd);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.p, want, (size_t) n);
}


static void
test_fields(void **state)
{
    (void) state;
    golden_frame();
    encode();
    is("v", RECORD_FORMAT);
    is("id", "01973a5c-2e10-7123-9abc-def012345678");
    is("kind", "api");
    is("start_us", "1748965469712291");
    is("scheme", "https");
    is("status", "201");
    is("complete", "1");
    is("uri", "/api/v1/patients?lab=12&token=***&q=a%20b");
    is("action", "57");
    /* printf %s secret-key | sha256sum */
    is("key_sha256",
       "85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa");
    is("ref.lab_id", "12");
    is("field.zone", "eu");
    is("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
    is("response_cut", "size");
    is("request_cut", NULL);
    assert_null(memmem(out.p, out.n, "canary", 6));
    assert_null(memmem(out.p, out.n, "secret-key", 10));
}


static void
test_least(void **state)
{
    (void) state;
    start();
    frame->first_byte_us = -1;
    frame->request_bytes = -1;
    frame->response_bytes = -1;
    frame->sent_bytes = -1;
    frame->status = 0;
    frame->flags = CAPTURE_WEBHOOK;
    frame->response_cut = 0;
    frame->client_port = 0;
    encode();
    is("kind", "webhook");
    is("status", "0");
    is("complete", "0");
    is("first_byte_us", NULL);
    is("sent_bytes", NULL);
    is("client_port", NULL);
    is("method", NULL);
}


static void
test_bounds(void **state)
{
    static char  big[RECORD_MAX_BODY + 10];
    char         name[RECORD_MAX_NAME + 2];
    long         len;

    (void) state;
    memset(big, 'x', sizeof(big));
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';

    start();
    frame->request_bytes = sizeof(big);
    piece(CAPTURE_PIECE_REQ_BODY, NULL, big, sizeof(big));
    piece(CAPTURE_PIECE_URI, NULL, big, RECORD_MAX_URI + 1);
    piece(CAPTURE_PIECE_REF, name, "long name", 9);
    piece(CAPTURE_PIECE_REF, "a", big, RECORD_MAX_VALUE + 1);
    piece(CAPTURE_PIECE_REF, "a", "again", 5);
    piece(CAPTURE_PIECE_FIELD, "a", "other kind", 10);
    piece(CAPTURE_PIECE_REF, "", "no name", 7);
    piece(CAPTURE_PIECE_URI, NULL, "repeated", 8);
    piece(999, NULL, "of a later module", 17);
    text(CAPTURE_PIECE_ACTION, "12a");
    encode();

    (void) field("request_body", &len);
    assert_int_equal(len, RECORD_MAX_BODY);
    is("request_cut", "size");
    (void) field("uri", &len);
    assert_int_equal(len, RECORD_MAX_URI);
    (void) field("ref.a", &len);
    assert_int_equal(len, RECORD_MAX_VALUE);
    is("field.a", "other kind");
    is("ref.", NULL);
    is("action", NULL);
    assert_null(memmem(out.p, out.n, "long name", 9));
    assert_null(memmem(out.p, out.n, "again", 5));
    assert_null(memmem(out.p, out.n, "later", 5));

    start();
    for (unsigned i = 0; i < RECORD_MAX_PAIRS + 3; i++) {
        (void) snprintf(name, sizeof(name), "r%u", i);
        piece(CAPTURE_PIECE_REF, name, "v", 1);
    }
    encode();
    is("ref.r63", "v");
    is("ref.r64", NULL);
}


/* A mask may be longer than the secret: the bound holds all the same. */
static void
test_masks_in_bounds(void **state)
{
    char    value[RECORD_MAX_VALUE + 1];
    long    len;

    (void) state;
    memset(value, 'x', sizeof(value));
    memcpy(value, "token=a&token=b&", 16);
    start();
    piece(CAPTURE_PIECE_REF, "a", value, RECORD_MAX_VALUE);
    encode();
    assert_non_null(field("ref.a", &len));
    assert_true(len <= RECORD_MAX_VALUE);
    assert_true(len > RECORD_MAX_VALUE - 8);
}


static void
test_hostile(void **state)
{
    uint32_t  whole;
    size_t    before;

    (void) state;
    golden_frame();
    whole = frame->pieces_len;

    for (uint32_t n = 0; n < whole; n++) {
        frame->pieces_len = n;
        out.n = 5;
        before = out.n;
        assert_int_equal(capture_record_encode(encoder, frame, &rules, &out),
                         -1);
        assert_int_equal(out.n, before);
    }

    frame->pieces_len = whole;
    frame->pieces = UINT32_MAX;
    out.n = 0;
    assert_int_equal(capture_record_encode(encoder, frame, &rules, &out), -1);
}


static void
trace(const char *block, const char *want)
{
    start();
    text(CAPTURE_PIECE_REQ_HEADERS, block);
    encode();
    is("trace_id", want);
}


static void
test_trace(void **state)
{
#define ID  "4bf92f3577b34da6a3ce929d0e0e4736"
    static const char  good[] =
        "Traceparent: 00-" ID "-00f067aa0ba902b7-00\r\n";
    char  twice[2 * sizeof(good)];

    (void) state;
    trace(good, ID);
    (void) snprintf(twice, sizeof(twice), "%s%s", good, good);
    trace(twice, NULL);
    trace("traceparent: cc-" ID "-00f067aa0ba902b7-00-more\r\n", ID);
    trace("traceparent: 00-" ID "-00f067aa0ba902b7-00-more\r\n", NULL);
    trace("traceparent: ff-" ID "-00f067aa0ba902b7-00\r\n", NULL);
    trace("traceparent: 00-" ID "-0000000000000000-00\r\n", NULL);
    trace("traceparent: 00-00000000000000000000000000000000-"
          "00f067aa0ba902b7-00\r\n", NULL);
    trace("traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-"
          "00f067aa0ba902b7-00\r\n", NULL);
    trace("traceparent: 00-" ID "-00f067aa0ba902b7-0\r\n", NULL);
    trace("traceparent:\r\n", NULL);
}


/* Cut or with a byte changed, a command is not one any more. */
static void
test_check(void **state)
{
    char  *copy;

    (void) state;
    golden_frame();
    encode();

    for (size_t n = 0; n < out.n; n++) {
        copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, out.p, n);
        assert_false(capture_record_check(copy, n));
        free(copy);
    }

    copy = malloc(out.n + 1);
    assert_non_null(copy);
    memcpy(copy, out.p, out.n);
    copy[out.n] = 'x';
    assert_false(capture_record_check(copy, out.n + 1));
    free(copy);

#define REFUSED(s)  assert_false(capture_record_check(s, sizeof(s) - 1))
    REFUSED("*1\r\n$8\r\nFLUSHALL\r\n");
    REFUSED("*5\r\n$4\r\nSADD\r\n$1\r\nk\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n");
    REFUSED("*5\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n");
    REFUSED("*5\r\n$4\r\nXADD\r\n$01\r\nk\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n");
    REFUSED("*05\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_masks_in_bounds),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_check)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
