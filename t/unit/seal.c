/* Sealed secrets: round trips, and every way in which one must not open. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "seal.h"

static struct secret  *one, *two;
static char            dir[] = "/tmp/seal-XXXXXX";


static struct secret *
a_secret(const char *name)
{
    struct secret  *s;
    char            path[128], err[256];

    (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(secret_load(path, 1, &s, err, sizeof(err)), RESULT_OK);
    assert_int_equal(unlink(path), 0);
    return s;
}


static int
setup(void **state)
{
    (void) state;
    assert_non_null(mkdtemp(dir));
    one = a_secret("one");
    two = a_secret("two");
    return rmdir(dir);
}


static int
teardown(void **state)
{
    (void) state;
    secret_destroy(one);
    secret_destroy(two);
    return 0;
}


static void
round_trips(void **state)
{
    static char  big[5000];
    struct buf   sealed, again, plain;

    (void) state;
    memset(big, 'x', sizeof(big));

    for (size_t n = 0; n < sizeof(big); n = n * 2 + 1) {
        buf_init(&sealed, 65536);
        buf_init(&again, 65536);
        buf_init(&plain, 65536);
        assert_int_equal(seal_close(one, SLICE_LIT("a/b"),
            (struct slice) { big, n }, &sealed), RESULT_OK);
        assert_int_equal(seal_close(one, SLICE_LIT("a/b"),
            (struct slice) { big, n }, &again), RESULT_OK);
        assert_true(sealed.n == again.n
            && memcmp(sealed.p, again.p, sealed.n) != 0);
        assert_int_equal(seal_open(one, SLICE_LIT("a/b"),
            (struct slice) { sealed.p, sealed.n }, &plain), RESULT_OK);
        assert_int_equal(plain.n, n);
        assert_true(n == 0 || memcmp(plain.p, big, n) == 0);
        buf_cleanup(&sealed);
        buf_cleanup(&again);
        buf_cleanup(&plain);
    }
}


static void
must_not_open(const struct secret *s, const char *place, const char *p,
    size_t n)
{
    struct buf  plain;

    buf_init(&plain, 65536);
    assert_int_equal(seal_open(s, slice_of(place), (struct slice) { p, n },
        &plain), RESULT_INVALID);
    assert_int_equal(plain.n, 0);
    buf_cleanup(&plain);
}


static void
other_places_keys_and_bytes(void **state)
{
    struct buf  sealed;
    char        copy[256];

    (void) state;

    buf_init(&sealed, 65536);
    assert_int_equal(seal_close(one, SLICE_LIT("a/b"), SLICE_LIT("secret"),
        &sealed), RESULT_OK);
    must_not_open(one, "a/c", sealed.p, sealed.n);
    must_not_open(two, "a/b", sealed.p, sealed.n);

    for (size_t i = 0; i < sealed.n; i++) {
        must_not_open(one, "a/b", sealed.p, i);
        memcpy(copy, sealed.p, sealed.n);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';

        /* the last digit of an unpadded tail holds unused bits */
        if (i < sealed.n - 3) {
            must_not_open(one, "a/b", copy, sealed.n);
        }
    }

    must_not_open(one, "a/b", "", 0);
    must_not_open(one, "a/b", "secret", 6);
    buf_cleanup(&sealed);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(other_places_keys_and_bytes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
