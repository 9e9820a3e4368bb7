/* The ring: wrap, full, torn, hostile, counters, two threads. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ngx_http_capture_ring.h"
#include "ngx_http_capture_source.h"
#include "ngx_http_capture_zone.h"

#define SIZE  65536

static char  dir[] = "/tmp/capring.XXXXXX";


static int
setup(void **state)
{
    (void) state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}


static unsigned
clear(const char *suffix)
{
    struct dirent  *e;
    unsigned        n = 0;
    DIR            *d = opendir(dir);

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (strstr(e->d_name, suffix) != NULL && e->d_name[0] != '.') {
            (void) unlinkat(dirfd(d), e->d_name, 0);
            n++;
        }
    }
    closedir(d);
    return n;
}


static int
teardown(void **state)
{
    (void) state;
    (void) clear("");
    return rmdir(dir);
}


static struct capture_ring *
create(void)
{
    const char           *warning;
    struct capture_ring  *ring = capture_ring_create(dir, SIZE, &warning);

    assert_non_null(ring);
    assert_null(warning);
    return ring;
}


/* A frame of LEN bytes behind its head, each of them FILL. */
static int
put(struct capture_ring *ring, size_t len, int fill)
{
    struct capture_frame  *f;

    f = capture_ring_reserve(ring, sizeof(*f) + len);
    if (f == NULL) {
        return 0;
    }

    memset((char *) f + 8, 0, sizeof(*f) - 8);
    memset(f + 1, fill, len);
    f->pieces_len = (uint32_t) len;
    f->status = (uint16_t) fill;
    capture_ring_commit(ring, f);
    return 1;
}


static void
take(struct capture_ring *ring, struct capture_cursor *c, uint64_t n)
{
    capture_ring_ship_begin(ring)->acked += n;
    capture_ring_ship_end(ring);
    capture_ring_release(ring, c);
}


static void
test_wrap(void **state)
{
    struct capture_ring         *ring = create();
    const struct capture_frame  *f;
    struct capture_cursor        c;
    const unsigned char         *p;
    size_t                       len;
    int                          bad;

    (void) state;
    srandom(1);

    /* many times round, each frame contiguous and whole */
    for (unsigned i = 0; i < 20000; i++) {
        len = (size_t) random() % 5000;
        assert_true(put(ring, len, (int) (i & 0xff)));

        capture_ring_first(ring, &c);
        assert_int_equal(c.seq, i);
        f = capture_ring_next(ring, &c, &bad);
        assert_non_null(f);
        assert_int_equal(f->pieces_len, len);

        p = (const unsigned char *) (f + 1);
        for (size_t k = 0; k < len; k++) {
            assert_int_equal(p[k], i & 0xff);
        }

        assert_null(capture_ring_next(ring, &c, &bad));
        assert_int_equal(bad, 0);
        take(ring, &c, 1);
    }

    capture_ring_destroy(ring);
    assert_int_equal(clear(".ring"), 0);
}


static void
test_full(void **state)
{
    struct capture_ring   *ring = create();
    struct capture_cursor  c;
    size_t                 used, size;
    unsigned               n;
    int                    bad;

    (void) state;
    assert_null(capture_ring_reserve(ring, SIZE + 1));
    assert_null(capture_ring_reserve(ring, 8));

    for (n = 0; put(ring, 1000, 'x'); n++) { /* void */ }

    assert_int_equal(capture_ring_full_reason(ring), CAPTURE_DROP_RING);
    capture_ring_set_spool_full(ring, 1);
    assert_int_equal(capture_ring_full_reason(ring), CAPTURE_DROP_SPOOL_FULL);

    capture_ring_usage(ring, &used, &size);
    assert_int_equal(size, SIZE);
    assert_int_equal(used,
                     n * ((sizeof(struct capture_frame) + 1007) & ~(size_t) 7));
    assert_true(size - used < sizeof(struct capture_frame) + 1000);

    /* one goes, one fits */
    capture_ring_first(ring, &c);
    assert_non_null(capture_ring_next(ring, &c, &bad));
    take(ring, &c, 1);
    assert_true(put(ring, 1000, 'y'));
    assert_false(put(ring, 1000, 'z'));

    capture_ring_destroy(ring);
    assert_int_equal(clear(".ring"), 1);
}


static void
test_exactly_full(void **state)
{
    struct capture_ring   *ring = create();
    struct capture_cursor  c;
    int                    bad;

    (void) state;
    assert_true(put(ring, SIZE - sizeof(struct capture_frame), 'x'));
    assert_false(put(ring, 0, 'y'));

    capture_ring_first(ring, &c);
    assert_non_null(capture_ring_next(ring, &c, &bad));
    take(ring, &c, 1);
    assert_true(put(ring, SIZE - sizeof(struct capture_frame), 'z'));
    capture_ring_first(ring, &c);
    assert_non_null(capture_ring_next(ring, &c, &bad));
    capture_ring_destroy(ring);
    (void) clear(".ring");
}


/* A reserve that nobody commits is not there. */
static void
test_forgotten(void **state)
{
    struct capture_ring         *ring = create();
    const struct capture_frame  *f;
    struct capture_cursor        c;
    int                          bad;

    (void) state;
    assert_non_null(capture_ring_reserve(ring, 500));
    capture_ring_first(ring, &c);
    assert_null(capture_ring_next(ring, &c, &bad));
    assert_int_equal(bad, 0);

    assert_true(put(ring, 10, 7));
    f = capture_ring_next(ring, &c, &bad);
    assert_non_null(f);
    assert_int_equal(f->status, 7);
    capture_ring_destroy(ring);
    (void) clear(".ring");
}


static void
test_rules(void **state)
{
    struct capture_ring  *ring = create();
    static char           big[200 * 1024];
    size_t                len;

    (void) state;
    assert_int_equal(capture_ring_add_rules(ring, "abc", 3), 0);
    assert_int_equal(capture_ring_add_rules(ring, "", 0), 1);
    assert_int_equal(capture_ring_add_rules(ring, big, sizeof(big)), 2);
    assert_int_equal(capture_ring_add_rules(ring, big, sizeof(big)), -1);
    assert_int_equal(capture_ring_add_rules(ring, "defg", 4), 3);

    assert_memory_equal(capture_ring_rules(ring, 0, &len), "abc", 3);
    assert_int_equal(len, 3);
    assert_non_null(capture_ring_rules(ring, 1, &len));
    assert_int_equal(len, 0);
    assert_memory_equal(capture_ring_rules(ring, 3, &len), "defg", 4);
    assert_null(capture_ring_rules(ring, 4, &len));
    assert_null(capture_ring_rules(ring, UINT32_MAX, &len));
    capture_ring_destroy(ring);
}


static void
find(char name[256])
{
    struct dirent  *e;
    DIR            *d = opendir(dir);

    name[0] = '\0';
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (strstr(e->d_name, ".ring") != NULL) {
            (void) snprintf(name, 256, "%s", e->d_name);
        }
    }
    closedir(d);
    assert_true(name[0] != '\0');
}


/* A child fills a ring, takes some of it, and dies without a word. */
static void
orphan(unsigned frames, unsigned taken)
{
    struct capture_ring   *ring;
    struct capture_cursor  c;
    const char            *warning;
    pid_t                  pid;
    int                    bad, status;

    pid = fork();
    assert_true(pid >= 0);

    if (pid == 0) {
        ring = capture_ring_create(dir, SIZE, &warning);
        for (unsigned i = 0; i < frames; i++) {
            (void) put(ring, 100 + i, (int) i);
        }
        capture_ring_first(ring, &c);
        for (unsigned i = 0; i < taken; i++) {
            (void) capture_ring_next(ring, &c, &bad);
        }
        take(ring, &c, taken);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}


static void
test_adopt(void **state)
{
    struct capture_ring         *ring, *live;
    const struct capture_frame  *f;
    struct capture_source        s;
    struct capture_cursor        c;
    char                         name[256];
    int                          fd, bad;

    (void) state;
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    orphan(10, 4);
    find(name);

    ring = capture_ring_open(fd, name);
    assert_non_null(ring);

    /* locked now: nobody else gets it */
    assert_null(capture_ring_open(fd, name));
    assert_int_equal(errno, EWOULDBLOCK);

    capture_source_init(&s, ring, 1, 1);
    assert_int_equal(capture_source_waiting(&s), 6);
    c = s.pos;

    for (unsigned i = 4; i < 10; i++) {
        f = capture_ring_next(ring, &c, &bad);
        assert_non_null(f);
        assert_int_equal(f->status, i);
        capture_source_outcome(&s, &c, 1, CAPTURE_ACKED, CAPTURE_DROP_RING);
    }

    capture_ring_ship_end(ring);
    capture_source_acked(&s, "run", 1);
    assert_int_equal(capture_ring_taken(ring), 10);

    /* held; another Redis gets them again, and they count no second time */
    capture_source_release(&s, 2, 0);
    assert_int_equal(capture_source_held(&s), 6);
    assert_int_equal(capture_source_connected(&s, "run"), 0);
    assert_int_equal(capture_source_connected(&s, "other"), 6);
    c = s.pos;
    while (capture_ring_next(ring, &c, &bad) != NULL) {
        capture_source_outcome(&s, &c, 1, CAPTURE_ACKED, CAPTURE_DROP_RING);
    }
    assert_int_equal(capture_ring_taken(ring), 10);
    assert_int_equal(capture_ring_ship_begin(ring)->resent, 6);
    capture_source_acked(&s, "other", 3);
    capture_source_release(&s, 3 + CAPTURE_HOLD_US * 2, 0);
    assert_int_equal(capture_source_held(&s), 0);
    capture_ring_destroy(ring);
    assert_int_equal(clear(".ring"), 0);

    /* a ring whose worker lives is left alone */
    live = create();
    find(name);
    assert_null(capture_ring_open(fd, name));
    assert_int_equal(errno, EWOULDBLOCK);
    capture_ring_destroy(live);
    close(fd);
}


/* Over half full: what was acknowledged first is freed, no more than is needed. */
static void
test_relieve(void **state)
{
    struct capture_ring    *ring = create();
    struct capture_source   s;
    struct capture_cursor   c;
    int                     bad;

    (void) state;
    capture_source_init(&s, ring, 1, 0);

    /* ten frames of 4 KB, one a second: 40 of 64 KB */
    for (int i = 0; i < 10; i++) {
        assert_true(put(ring, 4096, i));
        c = s.pos;
        assert_non_null(capture_ring_next(ring, &c, &bad));
        capture_source_outcome(&s, &c, 1, CAPTURE_ACKED, CAPTURE_DROP_RING);
        capture_ring_ship_end(ring);
        capture_source_acked(&s, "run", 1 + i * CAPTURE_HOLD_US / 3);
    }

    assert_int_equal(capture_source_held(&s), 10);
    capture_source_relieve(&s);
    assert_in_range(capture_source_held(&s), 6, 8);

    /* under half: as it is */
    bad = (int) capture_source_held(&s);
    capture_source_relieve(&s);
    assert_int_equal(capture_source_held(&s), bad);
    capture_ring_destroy(ring);
    (void) clear(".ring");
}


/*
 * Any byte of an orphan's header or frames changed, any length cut: it opens
 * and gives whole frames, or it does not.  ASan sees the rest.
 */
static void
test_hostile(void **state)
{
    const struct capture_frame  *f;
    struct capture_source        s;
    struct capture_ring         *ring;
    struct capture_cursor        c;
    unsigned char                byte, flipped;
    char                         name[256];
    off_t                        size, at;
    unsigned                     opened, intact;
    int                          fd, file, bad;

    (void) state;
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    orphan(10, 2);
    find(name);
    file = openat(fd, name, O_RDWR);
    assert_true(file >= 0);
    size = lseek(file, 0, SEEK_END);
    opened = 0;
    intact = 0;

    for (off_t i = 0; i < 4096 + 3000; i++) {
        at = i < 4096 ? i : i - 4096 + 4096 + 256 * 1024;
        assert_int_equal(pread(file, &byte, 1, at), 1);
        flipped = byte ^ 0xff;
        assert_int_equal(pwrite(file, &flipped, 1, at), 1);

        ring = capture_ring_open(fd, name);
        if (ring != NULL) {
            opened++;
            capture_source_init(&s, ring, 1, 1);
            c = s.pos;
            while ((f = capture_ring_next(ring, &c, &bad)) != NULL) {
                assert_true(f->pieces_len <= SIZE);
                intact++;
            }
            if (bad) {
                (void) capture_ring_skip(ring, &c);
            }

            /* opened without its lock being kept: no unlink, no punch */
            capture_ring_destroy(ring);
        }

        if (faccessat(fd, name, F_OK, 0) != 0) {
            orphan(10, 2);
            find(name);
            close(file);
            file = openat(fd, name, O_RDWR);
            continue;
        }

        assert_int_equal(pwrite(file, &byte, 1, at), 1);
    }

    assert_true(opened > 1000);
    assert_true(intact > 1000);

    for (off_t i = 0; i < size; i += 4093) {
        assert_int_equal(ftruncate(file, i), 0);
        assert_null(capture_ring_open(fd, name));
        assert_int_equal(errno, EPROTO);
        close(file);
        (void) clear(".ring");
        orphan(3, 1);
        find(name);
        file = openat(fd, name, O_RDWR);
    }

    close(file);
    close(fd);
    (void) clear(".ring");
}


/* Without its directory the ring works, says so, and is its owner's alone. */
static void
test_anonymous(void **state)
{
    const char           *warning;
    struct capture_ring  *ring;
    char                  open_to_all[64];

    (void) state;
    ring = capture_ring_create("/nonexistent", SIZE, &warning);
    assert_non_null(ring);
    assert_non_null(warning);
    assert_int_equal(capture_ring_anonymous(ring), 1);
    assert_true(put(ring, 10, 1));
    capture_ring_destroy(ring);

    /* anybody could put a ring there */
    (void) snprintf(open_to_all, sizeof(open_to_all), "%s/open", dir);
    assert_int_equal(mkdir(open_to_all, 0700), 0);
    assert_int_equal(chmod(open_to_all, 0777), 0);
    ring = capture_ring_create(open_to_all, SIZE, &warning);
    assert_non_null(ring);
    assert_non_null(warning);
    capture_ring_destroy(ring);
    assert_int_equal(rmdir(open_to_all), 0);
}


static void
sums(const struct capture_totals *t)
{
    assert_int_equal(t->captured,
                     t->acked + t->queued + t->spooled + t->dropped);
}


static void
test_totals(void **state)
{
    struct capture_zone       *zone;
    struct capture_totals      t;
    struct capture_ring_state  now;
    struct capture_ring       *ring;
    void                      *memory = calloc(1, capture_zone_size());

    (void) state;
    assert_non_null(memory);
    zone = capture_zone_attach(memory);
    ring = create();

    for (unsigned i = 0; i < 10; i++) {
        assert_true(put(ring, 10, 1));
    }

    capture_ring_loop_begin(ring)->drops[CAPTURE_DROP_RING] = 3;
    capture_ring_loop_end(ring);
    capture_ring_ship_begin(ring)->acked = 4;
    capture_ring_ship_begin(ring)->spooled = 3;
    capture_ring_ship_begin(ring)->drops[CAPTURE_DROP_POISON] = 1;
    capture_ring_ship_end(ring);

    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    sums(&t);
    assert_int_equal(t.captured, 13);
    assert_int_equal(t.queued, 2);
    assert_int_equal(t.dropped, 4);

    /* folding moves the counts; twice is once */
    capture_ring_state(ring, &now);
    capture_zone_fold(zone, &now, NULL);
    capture_zone_fold(zone, &now, NULL);
    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    sums(&t);
    assert_int_equal(t.captured, 13);

    /* the spool drains, and one more than there is: still a sum */
    capture_zone_replayed(zone, 2);
    capture_zone_dropped(zone, CAPTURE_DROP_SPOOL_FULL, 1);
    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    sums(&t);
    assert_int_equal(t.spooled, 0);
    assert_int_equal(t.acked, 6);
    capture_zone_replayed(zone, 2);
    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    sums(&t);
    assert_int_equal(t.spooled, 0);

    capture_zone_found(zone, 5);
    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    sums(&t);
    assert_int_equal(t.captured, 18);

    capture_ring_destroy(ring);
    (void) clear(".ring");
    free(memory);
}


/* The lock of a worker that died, whose number another process has now. */
static void
test_lock_left_behind(void **state)
{
    struct capture_ring_state  now;
    struct capture_zone       *zone;
    struct capture_totals      t;
    int                        other = (int) getppid();
    char                      *memory = calloc(1, capture_zone_size());

    (void) state;
    assert_non_null(memory);
    zone = capture_zone_attach(memory);
    memcpy(memory + sizeof(uint64_t), &other, sizeof(other));

    memset(&now, 0, sizeof(now));
    now.id = 7;
    now.committed = 3;
    now.ship.acked = 3;
    capture_zone_fold(zone, &now, NULL);

    assert_int_equal(capture_zone_totals(dir, zone, &t), 0);
    assert_int_equal(t.captured, 3);
    assert_int_equal(t.acked, 3);
    free(memory);
}


/* One that dozes is woken by bytes, not by the first frame. */
static void
test_doze(void **state)
{
    struct capture_ring    *ring;
    struct capture_cursor   c;
    unsigned                n = 0;

    (void) state;
    ring = create();
    capture_ring_populate(ring);
    capture_ring_first(ring, &c);

    /* asleep: by the first */
    assert_int_equal(capture_ring_sleep(ring, c.seq), 1);
    assert_int_equal(capture_ring_asleep(ring), 1);
    assert_int_equal(capture_ring_asleep(ring), 0);

    assert_int_equal(capture_ring_doze(ring, &c, 2000), 1);
    for ( ;; ) {
        assert_true(put(ring, 100, 'a'));
        n++;
        if (capture_ring_asleep(ring)) {
            break;
        }
    }

    assert_in_range(n, 5, 20);
    assert_int_equal(capture_ring_asleep(ring), 0);

    /* as much as that waits already: no doze */
    assert_int_equal(capture_ring_doze(ring, &c, 2000), 0);
    assert_int_equal(capture_ring_asleep(ring), 0);

    /* nor with a ring that is nearly full, and sleep needs no bytes */
    assert_int_equal(capture_ring_doze(ring, &c, 1 << 20), 1);
    while (put(ring, 100, 'a')) { /* void */ }
    assert_int_equal(capture_ring_asleep(ring), 1);
    assert_int_equal(capture_ring_doze(ring, &c, 1 << 20), 0);
    assert_int_equal(capture_ring_sleep(ring, capture_ring_committed(ring)),
                     1);
    assert_int_equal(capture_ring_asleep(ring), 1);

    capture_ring_destroy(ring);
    (void) clear(".ring");
}


/* Two threads at full speed, and one that reads the counters. */

#define MANY  100000

static struct capture_ring  *shared;
static _Atomic int           finished;


static void *
consume(void *arg)
{
    const struct capture_frame  *f;
    struct capture_cursor        c;
    const unsigned char         *p;
    uint64_t                     seen = 0;
    int                          bad;

    (void) arg;
    capture_ring_first(shared, &c);

    while (seen < MANY) {
        f = capture_ring_next(shared, &c, &bad);
        assert_false(bad);

        if (f == NULL) {
            if (seen & 1 ? capture_ring_doze(shared, &c, 1000)
                         : capture_ring_sleep(shared, c.seq))
            {
                usleep(10);
                capture_ring_awake(shared);
            }
            continue;
        }

        p = (const unsigned char *) (f + 1);
        assert_int_equal(p[0], (uint8_t) seen);
        assert_int_equal(p[f->pieces_len - 1], (uint8_t) seen);
        seen++;
        take(shared, &c, 1);
    }

    finished = 1;
    return NULL;
}


static void *
observe(void *arg)
{
    struct capture_ring_state  s;

    (void) arg;
    while (!finished) {
        capture_ring_state(shared, &s);
        assert_true(s.ship.acked <= s.committed);
        assert_int_equal(s.loop.request_cut, s.loop.response_cut);
    }
    return NULL;
}


static void
test_threads(void **state)
{
    pthread_t  consumer, observer;
    unsigned   i, full;

    (void) state;
    shared = create();
    finished = 0;
    assert_int_equal(pthread_create(&consumer, NULL, consume, NULL), 0);
    assert_int_equal(pthread_create(&observer, NULL, observe, NULL), 0);
    full = 0;

    for (i = 0; i < MANY; ) {
        if (put(shared, 1 + i % 700, (uint8_t) i)) {
            i++;
            capture_ring_loop_begin(shared)->request_cut++;
            capture_ring_loop_begin(shared)->response_cut++;
            capture_ring_loop_end(shared);
        } else {
            full++;
        }
        (void) capture_ring_asleep(shared);
    }

    assert_int_equal(pthread_join(consumer, NULL), 0);
    assert_int_equal(pthread_join(observer, NULL), 0);
    assert_int_equal(capture_ring_committed(shared), MANY);
    print_message("# the ring was full %u times\n", full);
    capture_ring_destroy(shared);
}


static void
test_speed(void **state)
{
    struct capture_ring   *ring = create();
    struct capture_frame  *f;
    struct capture_cursor  c;
    struct timespec        a, b;
    int                    bad;

    (void) state;
    clock_gettime(CLOCK_MONOTONIC, &a);

    for (unsigned i = 0; i < 200000; i++) {
        f = capture_ring_reserve(ring, 1024);
        assert_non_null(f);
        f->pieces_len = 0;
        capture_ring_commit(ring, f);

        if (i % 50 == 49) {
            capture_ring_first(ring, &c);
            while (capture_ring_next(ring, &c, &bad) != NULL) { /* void */ }
            take(ring, &c, 50);
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &b);
    print_message("# reserve, commit, next, release: %.0f ns\n",
                  ((double) (b.tv_sec - a.tv_sec) * 1e9
                   + (double) (b.tv_nsec - a.tv_nsec)) / 200000);
    capture_ring_destroy(ring);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_exactly_full),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_relieve),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_lock_left_behind),
        cmocka_unit_test(test_doze),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_speed)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
