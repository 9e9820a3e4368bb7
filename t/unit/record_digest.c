/* Digests of records: what they depend on, and what older versions kept. */

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
#include <openssl/sha.h>

#include "record_digest.h"

static const uint8_t  id[UUID_BYTES] = "an id, 16 bytes";
static char           large[5000];


static struct record_digest *
keyed(const char *secret)
{
    struct record_digest  *d;
    struct secret         *s;
    char                   path[] = "/tmp/digest.XXXXXX", err[256];
    int                    fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, secret, 32), 32);
    assert_int_equal(fchmod(fd, 0400), 0);
    close(fd);
    assert_int_equal(secret_load(path, 0, &s, err, sizeof(err)), RESULT_OK);
    unlink(path);
    assert_int_equal(record_digest_create(s, &d), RESULT_OK);
    secret_destroy(s);
    return d;
}


static void
test_depends(void **state)
{
    const struct slice  pairs[] = { SLICE_LIT("id"), SLICE_LIT("1"),
        SLICE_LIT("body"), { large, sizeof(large) },
        SLICE_LIT("a"), SLICE_LIT("bc") };
    struct slice        other[6];
    struct record_digest  *d = keyed("thirty-two bytes, always the one");
    struct record_digest  *e = keyed("thirty-two bytes, quite another.");
    uint8_t             first[16], got[16], other_id[UUID_BYTES];

    (void) state;
    memset(large, 'x', sizeof(large));
    assert_int_equal(record_digest_make(d, id, pairs, 6, first), RESULT_OK);

    /* a context that was used makes the same */
    assert_int_equal(record_digest_make(d, id, pairs, 4, got), RESULT_OK);
    assert_memory_not_equal(got, first, 16);
    assert_int_equal(record_digest_make(d, id, pairs, 6, got), RESULT_OK);
    assert_memory_equal(got, first, 16);

    assert_int_equal(record_digest_make(e, id, pairs, 6, got), RESULT_OK);
    assert_memory_not_equal(got, first, 16);

    memcpy(other_id, id, sizeof(id));
    other_id[UUID_BYTES - 1] ^= 1;
    assert_int_equal(record_digest_make(d, other_id, pairs, 6, got),
        RESULT_OK);
    assert_memory_not_equal(got, first, 16);

    /* the same bytes, in other pieces */
    memcpy(other, pairs, sizeof(pairs));
    other[4] = SLICE_LIT("ab");
    other[5] = SLICE_LIT("c");
    assert_int_equal(record_digest_make(d, id, other, 6, got), RESULT_OK);
    assert_memory_not_equal(got, first, 16);

    /* any byte of the large one */
    for (size_t i = 0; i < sizeof(large); i += 499) {
        large[i] = 'y';
        assert_int_equal(record_digest_make(d, id, pairs, 6, got), RESULT_OK);
        assert_memory_not_equal(got, first, 16);
        large[i] = 'x';
    }

    record_digest_destroy(d);
    record_digest_destroy(e);
}


/* Half of SHA-256 over lengths and bytes; it stands in stores. */
static void
test_before(void **state)
{
    const struct slice  pairs[] = { SLICE_LIT("a"), SLICE_LIT("bc"),
        SLICE_LIT("d"), { large, sizeof(large) } };
    static uint8_t      plain[sizeof(large) + 64];
    uint8_t             full[32], got[16];
    uint64_t            len;
    size_t              n = 0;

    (void) state;
    memset(large, 'z', sizeof(large));

    for (int i = 0; i < 4; i++) {
        len = pairs[i].n;
        memcpy(plain + n, &len, sizeof(len));
        n += sizeof(len);
        memcpy(plain + n, pairs[i].p, pairs[i].n);
        n += pairs[i].n;
    }

    SHA256(plain, n, full);
    assert_int_equal(record_digest_before(pairs, 4, got), RESULT_OK);
    assert_memory_equal(got, full, 16);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_depends),
        cmocka_unit_test(test_before),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("record_digest", tests, NULL, NULL);
}
