/* The secret file, and keys that differ by use. */

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

#include "secret.h"

static char  dir[64], path[96], err[512];


static int
setup(void **state)
{
    (void) state;
    strcpy(dir, "/tmp/secret.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/secret", dir);
    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    unlink(path);
    return rmdir(dir);
}


static void
write_file(const void *p, size_t n, mode_t mode)
{
    FILE  *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}


static void
test_made_once(void **state)
{
    struct secret  *a, *b;
    struct stat     st;
    uint8_t         x[32], y[32];

    (void) state;
    assert_int_equal(secret_load(path, 0, &a, err, sizeof(err)),
        RESULT_NOT_FOUND);
    assert_int_equal(secret_load(path, 1, &a, err, sizeof(err)), RESULT_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(secret_load(path, 1, &b, err, sizeof(err)), RESULT_OK);

    secret_hmac(a, SECRET_PEPPER, SLICE_LIT("x"), x);
    secret_hmac(b, SECRET_PEPPER, SLICE_LIT("x"), y);
    assert_memory_equal(x, y, 32);
    secret_hmac(a, SECRET_CURSOR, SLICE_LIT("x"), y);
    assert_memory_not_equal(x, y, 32);
    secret_hmac(a, SECRET_PEPPER, SLICE_LIT("y"), y);
    assert_memory_not_equal(x, y, 32);

    secret_destroy(a);
    secret_destroy(b);
}


/* Stored hashes depend on these bytes: they may never change. */
static void
test_known(void **state)
{
    static const uint8_t  want[32] = {
        0x46, 0xd3, 0x46, 0x2d, 0xd3, 0x07, 0xc7, 0xac,
        0xca, 0x26, 0x39, 0x4c, 0x9e, 0x95, 0x72, 0x9a,
        0x48, 0xdc, 0xbf, 0x51, 0xf2, 0x1e, 0x83, 0xd9,
        0x30, 0xf3, 0xc7, 0x82, 0x46, 0x2a, 0x17, 0x20
    };
    struct secret  *s;
    uint8_t         key[32] = { 0 }, mac[32];

    (void) state;
    write_file(key, 32, 0400);
    assert_int_equal(secret_load(path, 0, &s, err, sizeof(err)), RESULT_OK);
    secret_hmac(s, SECRET_PEPPER, SLICE_LIT("key"), mac);
    assert_memory_equal(mac, want, 32);
    secret_destroy(s);
}


static void
test_refused(void **state)
{
    struct secret  *s;
    uint8_t         key[33] = { 0 };

    (void) state;
    write_file(key, 32, 0440);
    assert_int_equal(secret_load(path, 1, &s, err, sizeof(err)),
        RESULT_INVALID);
    assert_non_null(strstr(err, "chmod 0400"));
    write_file(key, 31, 0400);
    assert_int_equal(secret_load(path, 1, &s, err, sizeof(err)),
        RESULT_INVALID);
    assert_non_null(strstr(err, "exactly 32 bytes"));
    unlink(path);
    write_file(key, 33, 0600);
    assert_int_equal(secret_load(path, 1, &s, err, sizeof(err)),
        RESULT_INVALID);
    unlink(path);
    assert_int_equal(secret_load(dir, 1, &s, err, sizeof(err)),
        RESULT_INVALID);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
