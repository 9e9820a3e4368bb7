/*
 * The spool: order, bounds, hold, and what is left after damage.  Each byte of
 * a segment is flipped and each length cut: the rest is found again.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ngx_http_capture_segment.h"
#include "ngx_http_capture_source.h"
#include "ngx_http_capture_spool.h"
#include "ngx_http_capture_zone.h"

#define FRAME_HEAD  32

static char                  dir[] = "/tmp/capspool.XXXXXX";
static int                   dirfd_;
static struct capture_zone  *zone;
static void                 *memory;
static char                  no_rings[64];


static int
setup(void **state)
{
    (void) state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void) snprintf(no_rings, sizeof(no_rings), "%s/none", dir);
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
    memory = calloc(1, capture_zone_size());
    if (dirfd_ == -1 || memory == NULL) {
        return -1;
    }

    zone = capture_zone_attach(memory);
    return 0;
}


static unsigned
files(const char *suffix, int unlink_them)
{
    struct dirent  *e;
    unsigned        n = 0;
    DIR            *d = opendir(dir);

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.' && strstr(e->d_name, suffix) != NULL) {
            n++;
            if (unlink_them) {
                (void) unlinkat(dirfd_, e->d_name, 0);
            }
        }
    }
    closedir(d);
    return n;
}


/* A fresh directory and fresh counts for each test. */
static int
fresh(void **state)
{
    (void) state;
    (void) files("", 1);
    memset(memory, 0, capture_zone_size());
    zone = capture_zone_attach(memory);
    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    (void) files("", 1);
    free(memory);
    close(dirfd_);
    return rmdir(dir);
}


/* A command that says N, with a value of PAD bytes. */
static size_t
command(char *out, unsigned n, size_t pad)
{
    char    number[16];
    size_t  len;

    (void) snprintf(number, sizeof(number), "%08u", n);
    len = (size_t) sprintf(out, "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n"
                           "$8\r\n%s\r\n$%zu\r\n", number, pad);
    memset(out + len, 'x', pad);
    len += pad;
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}


static unsigned
number_of(const char *p)
{
    return (unsigned) strtoul(p + 4 + 10 + 7 + 7 + 4, NULL, 10);
}


static int
append(struct capture_spool *s, unsigned n, size_t pad)
{
    static char           buf[64 * 1024];
    static const uint8_t  id[16] = { 1 };

    return capture_spool_append(s, id, buf, command(buf, n, pad));
}


static struct capture_spool *
spool(uint64_t max, uint64_t segment, int drop_old)
{
    struct capture_spool  *s = capture_spool_open(dir, max, segment, drop_old,
                                                  zone);

    assert_non_null(s);
    return s;
}


static struct capture_totals
totals(void)
{
    struct capture_totals  t;

    assert_int_equal(capture_zone_totals(no_rings, zone, &t), 0);
    assert_int_equal(t.captured,
                     t.acked + t.queued + t.spooled + t.dropped);
    return t;
}


/* Reads until there is no more; acknowledges each; checks rising numbers. */
static unsigned
drain(struct capture_spool *s, unsigned first, int64_t now)
{
    const char  *p;
    size_t       len;
    uint64_t     end;
    unsigned     n = 0, rounds = 0;

    do {
        while (capture_spool_next(s, &p, &len, &end)) {
            assert_int_equal(number_of(p), first + n);
            capture_spool_acked(s, end);
            n++;
            rounds = 0;
        }
        capture_spool_flush(s, "run", now);
        capture_spool_release(s, now, 1);
    } while (rounds++ < 3);

    return n;
}


static void
test_order(void **state)
{
    struct capture_spool  *s = spool(16 << 20, 256 << 10, 0);

    (void) state;

    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(append(s, i, 1000), 0);
    }

    assert_true(files(".seg", 0) >= 4);
    assert_int_equal(drain(s, 0, 1), 1000);
    assert_int_equal(files(".seg", 0), 0);

    /* again, after it was empty */
    assert_int_equal(append(s, 5, 10), 0);
    assert_int_equal(drain(s, 5, 1), 1);
    capture_spool_close(s);
}


/* Nothing is unlinked before the hold, and another Redis gets it all again. */
static void
test_hold(void **state)
{
    struct capture_spool  *s = spool(16 << 20, 256 << 10, 0);
    const char            *p;
    size_t                 len;
    uint64_t               end;
    unsigned               again;

    (void) state;
    capture_zone_found(zone, 10);

    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(append(s, i, 10), 0);
    }

    while (capture_spool_next(s, &p, &len, &end)) {
        capture_spool_acked(s, end);
    }
    capture_spool_flush(s, "one", 100);
    assert_int_equal(totals().acked, 10);

    capture_spool_release(s, 100 + CAPTURE_HOLD_US - 1, 0);
    assert_int_equal(files(".seg", 0), 1);

    capture_spool_connected(s, "one");
    assert_int_equal(capture_spool_next(s, &p, &len, &end), 0);

    capture_spool_connected(s, "two");
    again = 0;
    while (capture_spool_next(s, &p, &len, &end)) {
        assert_int_equal(number_of(p), again);
        capture_spool_acked(s, end);
        again++;
    }
    assert_int_equal(again, 10);
    assert_int_equal(totals().acked, 10);

    capture_spool_flush(s, "two", 200);
    capture_spool_release(s, 200 + CAPTURE_HOLD_US, 0);
    assert_int_equal(files(".seg", 0), 0);
    capture_spool_close(s);
}


/* A batch that fails half way goes on behind what was taken. */
static void
test_rewind(void **state)
{
    struct capture_spool  *s = spool(16 << 20, 256 << 10, 0);
    const char            *p;
    size_t                 len;
    uint64_t               end;

    (void) state;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(append(s, i, 10), 0);
    }

    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(capture_spool_next(s, &p, &len, &end), 1);
        if (i < 4) {
            capture_spool_acked(s, end);
        }
    }
    assert_int_equal(capture_spool_next(s, &p, &len, &end), 0);

    capture_spool_flush(s, "run", 1);
    capture_spool_rewind(s);
    assert_int_equal(capture_spool_next(s, &p, &len, &end), 1);
    assert_int_equal(number_of(p), 4);
    capture_spool_dropped(s, end, CAPTURE_DROP_POISON);
    assert_int_equal(drain(s, 5, 1), 5);
    capture_spool_close(s);
}


/* What an earlier life of the shared memory spooled is counted when found. */
static void
test_cold(void **state)
{
    struct capture_spool  *s = spool(16 << 20, 256 << 10, 0);

    (void) state;
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(append(s, i, 10), 0);
    }
    capture_spool_close(s);

    memset(memory, 0, capture_zone_size());
    zone = capture_zone_attach(memory);
    s = spool(16 << 20, 256 << 10, 0);
    assert_int_equal(drain(s, 0, 1), 7);
    assert_int_equal(totals().captured, 7);
    assert_int_equal(totals().acked, 7);
    capture_spool_close(s);
}


static void
test_drop_new(void **state)
{
    struct capture_spool  *s = spool(512 << 10, 128 << 10, 0);
    unsigned               n;
    int                    rc;

    (void) state;
    for (n = 0; (rc = append(s, n, 1000)) == 0; n++) {
        assert_true(n < 1000);
    }

    assert_int_equal(rc, 1);
    assert_int_equal(capture_spool_given_up(s), 0);
    assert_int_equal(drain(s, 0, 1), n);

    /* it takes records again */
    assert_int_equal(append(s, 77, 10), 0);
    assert_int_equal(drain(s, 77, 1), 1);
    capture_spool_close(s);
}


static void
test_drop_old(void **state)
{
    struct capture_spool  *s = spool(512 << 10, 128 << 10, 1);
    uint64_t               lost;

    (void) state;
    capture_zone_found(zone, 2000);

    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(append(s, i, 1000), 0);
    }

    lost = capture_spool_given_up(s);
    assert_true(lost > 1000);
    assert_int_equal(totals().dropped, lost);
    assert_int_equal(drain(s, (unsigned) lost, 1), 2000 - lost);
    assert_int_equal(totals().spooled, 0);
    capture_spool_close(s);
}


/* A second worker reads what the first has closed, not what it writes. */
static void
test_two(void **state)
{
    struct capture_spool  *a = spool(16 << 20, 64 << 10, 0);
    struct capture_spool  *b = spool(16 << 20, 64 << 10, 0);
    unsigned               n;

    (void) state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(append(a, i, 1000), 0);
    }

    n = drain(b, 0, 1);
    assert_true(n > 0 && n < 100);
    assert_int_equal(drain(a, n, 1), 100 - n);
    capture_spool_close(a);
    capture_spool_close(b);
}


static void
test_directory(void **state)
{
    char  path[64];

    (void) state;
    (void) snprintf(path, sizeof(path), "%s/open", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_null(capture_spool_open(path, 1 << 20, 1 << 18, 0, zone));
    assert_int_equal(errno, EPERM);
    assert_int_equal(rmdir(path), 0);
    assert_null(capture_spool_open(path, 1 << 20, 1 << 18, 0, zone));
    assert_int_equal(errno, ENOENT);
}


static void
test_set_aside(void **state)
{
    struct capture_spool  *s = spool(1 << 20, 1 << 18, 0);
    static const uint8_t   id[16] = { 0xab };

    (void) state;
    assert_int_equal(capture_spool_set_aside(s, id, "abc", 3), 0);
    assert_int_equal(capture_spool_set_aside(s, id, "abc", 3), -1);
    assert_int_equal(files(".refused", 0), 1);
    capture_spool_close(s);
}


/* r37 spool_bytes */

#define RECORDS  40

static unsigned
recovered(unsigned *wrong)
{
    struct capture_segment  g;
    const char             *p;
    char                    want[512];
    size_t                  len;
    uint64_t                torn = 0;
    unsigned                n = 0;

    if (capture_segment_open(&g, dirfd_, "t.seg") != 0) {
        assert_int_equal(errno, EPROTO);
        return 0;
    }

    while (capture_segment_next(&g, &p, &len, &torn) == 1) {
        *wrong += len != command(want, number_of(p), number_of(p) % 50)
                  || memcmp(p, want, len) != 0;
        n++;
    }

    capture_segment_close(&g);
    return n;
}


static void
segment_write(void)
{
    struct capture_segment  g;
    static const uint8_t    id[16] = { 9 };
    char                    buf[512];

    (void) unlinkat(dirfd_, "t.seg", 0);
    assert_int_equal(capture_segment_create(&g, dirfd_, "t.seg", 65536, 1), 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        assert_int_equal(capture_segment_append(&g, id, buf,
                                                command(buf, i, i % 50)), 0);
    }
    capture_segment_finish(&g);
}


static void
test_flip(void **state)
{
    unsigned char  byte, flipped;
    unsigned       least = RECORDS, wrong = 0, n;
    off_t          size;
    int            fd;

    (void) state;
    segment_write();
    fd = openat(dirfd_, "t.seg", O_RDWR);
    size = lseek(fd, 0, SEEK_END);
    assert_int_equal(recovered(&wrong), RECORDS);

    for (off_t i = 0; i < size; i++) {
        assert_int_equal(pread(fd, &byte, 1, i), 1);
        flipped = byte ^ 0x55;
        assert_int_equal(pwrite(fd, &flipped, 1, i), 1);
        n = recovered(&wrong);
        least = n < least ? n : least;
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
    }

    print_message("# r37.recovered %u of %u, %ld bytes flipped\n", least,
                  RECORDS, (long) size);
    assert_true(least >= RECORDS - 1);
    assert_int_equal(wrong, 0);
    close(fd);
}


static void
test_cut(void **state)
{
    char      buf[512];
    unsigned  whole = RECORDS, wrong = 0, n;
    off_t     size, end;
    int       fd;

    (void) state;
    segment_write();
    fd = openat(dirfd_, "t.seg", O_RDWR);
    size = lseek(fd, 0, SEEK_END);
    end = size;

    for (off_t i = size; i >= 0; i--) {
        assert_int_equal(ftruncate(fd, i), 0);
        n = recovered(&wrong);

        /* the padding of the last one is no part of it */
        if (i == end && whole > 0) {
            size_t  len = command(buf, whole - 1, (whole - 1) % 50);

            end -= (off_t) (FRAME_HEAD + ((len + 7) & ~(size_t) 7));
            assert_int_equal(n, whole);
            whole--;
        } else {
            assert_true(n == whole || n == whole + 1);
        }
    }

    assert_int_equal(whole, 0);
    assert_int_equal(wrong, 0);
    close(fd);
    print_message("# r37.cut %ld lengths\n", (long) size);
}


/* A captured body that looks like frames cannot pass for them. */
static void
test_forged(void **state)
{
    struct capture_segment  g;
    static const uint8_t    id[16] = { 9 };
    static char             big[20000], cmd[32000];
    unsigned                wrong = 0;
    size_t                  len, at, inner;
    int                     fd;

    (void) state;
    (void) unlinkat(dirfd_, "t.seg", 0);
    segment_write();

    /* the bytes of a real segment, as the body of a record of another */
    fd = openat(dirfd_, "t.seg", O_RDONLY);
    inner = (size_t) read(fd, big, sizeof(big));
    close(fd);
    (void) unlinkat(dirfd_, "t.seg", 0);

    len = (size_t) sprintf(cmd, "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n"
                           "$8\r\n00000000\r\n$%zu\r\n", inner);
    memcpy(cmd + len, big, inner);
    memcpy(cmd + len + inner, "\r\n", 2);
    len += inner + 2;

    for (at = 0; at < 8; at++) {
        assert_int_equal(capture_segment_create(&g, dirfd_, "t.seg", 65536, 1),
                         0);
        assert_int_equal(capture_segment_append(&g, id, cmd, len), 0);
        capture_segment_finish(&g);

        /* torn: now every byte of it is looked at */
        fd = openat(dirfd_, "t.seg", O_RDWR);
        assert_int_equal(pwrite(fd, "x", 1, CAPTURE_SEGMENT_HEAD + 4), 1);
        close(fd);
        assert_int_equal(recovered(&wrong), 0);
        (void) unlinkat(dirfd_, "t.seg", 0);
        memmove(cmd + len - inner - 2, cmd + len - inner - 1, inner - 1);
    }
}


int
main(void)
{
#define TEST(f)  cmocka_unit_test_setup(f, fresh)
    const struct CMUnitTest  tests[] = {
        TEST(test_order), TEST(test_hold), TEST(test_rewind), TEST(test_cold),
        TEST(test_drop_new), TEST(test_drop_old), TEST(test_two),
        TEST(test_directory), TEST(test_set_aside), TEST(test_flip),
        TEST(test_cut), TEST(test_forged)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
