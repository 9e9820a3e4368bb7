/*
 * What a refused key costs: an HMAC and one constant-time comparison, whether
 * its id is known or not.  This program has a CRYPTO_memcmp of its own, which
 * counts and then compares.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "auth.h"
#include "auth_key.h"
#include "clock.h"

static char            dir[64], err[512];
static struct store   *store;
static struct secret  *secret;
static struct auth    *auth;
static unsigned        compared;
static size_t          compared_bytes;


int
CRYPTO_memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char  *x = a, *y = b;
    unsigned char         differ = 0;

    compared++;
    compared_bytes = n;

    for (size_t i = 0; i < n; i++) {
        differ |= x[i] ^ y[i];
    }

    return differ;
}


static int
setup(void **state)
{
    struct store_options  o = { .readers = 1 };
    char                  path[96];

    (void) state;
    snprintf(dir, sizeof(dir), "/tmp/auth.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "sqlite:%s/dash.db", dir);
    o.uri = path;
    assert_int_equal(store_open(&o, &store, err, sizeof(err)), RESULT_OK);
    assert_int_equal(store_migrate(store, err, sizeof(err)), RESULT_OK);
    snprintf(path, sizeof(path), "%s/secret", dir);
    assert_int_equal(secret_load(path, true, &secret, err, sizeof(err)),
        RESULT_OK);
    assert_int_equal(auth_create(store, secret, &auth), RESULT_OK);
    return 0;
}


static int
file_remove(const char *name, const struct stat *st, int type,
    struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(name);
}


static int
teardown(void **state)
{
    (void) state;
    auth_destroy(auth);
    store_close(store);
    secret_destroy(secret);
    return nftw(dir, file_remove, 8, FTW_DEPTH | FTW_PHYS);
}


/* A key of that document, with an HMAC of its own put in. */
static void
key_put(char key[AUTH_KEY_TEXT + 1], const char *more)
{
    struct store_doc  d;
    struct slice      id;
    uint8_t           mac[32];
    char              hex[AUTH_HMAC_HEX + 1], body[512];
    int64_t           version;

    auth_key_make(key);
    assert_int_equal(auth_key_parse(slice_of(key), &id), RESULT_OK);
    auth_key_hmac(secret, slice_of(key), mac);
    auth_hex(mac, 32, hex);
    snprintf(body, sizeof(body), "{\"name\":\"x\",\"org_id\":3,\"role\":"
        "\"viewer\",\"lab_ids\":null,\"hmac\":\"%s\"%s}", hex, more);

    memset(&d, 0, sizeof(d));
    d.id = id;
    d.org_id = 3;
    d.created_us = d.updated_us = clock_wall_us();
    d.expires_us = LOGDOC_NONE;
    d.body = slice_of(body);
    assert_int_equal(store_doc_put(store, STORE_API_KEY, &d, 0, &version),
        RESULT_OK);
}


/* A try from an address of its own, so that none is held for too many. */
static enum result
try_key(const char *key, struct auth_caller *c)
{
    static unsigned  n;
    char             ip[32];

    snprintf(ip, sizeof(ip), "10.0.%u.%u", n / 250, n % 250);
    n++;
    compared = 0;
    compared_bytes = 0;
    return auth_bearer(auth, slice_of(key), ip, c);
}


static void
test_one_comparison(void **state)
{
    struct auth_caller  c;
    char                good[AUTH_KEY_TEXT + 1], gone[AUTH_KEY_TEXT + 1];
    char                late[AUTH_KEY_TEXT + 1], none[AUTH_KEY_TEXT + 1];
    char                wrong[AUTH_KEY_TEXT + 1], odd[AUTH_KEY_TEXT + 1];

    (void) state;
    key_put(good, "");
    key_put(gone, ",\"revoked_at\":\"2026-01-01T00:00:00.000Z\"");
    key_put(late, ",\"expires_at\":\"2026-01-01T00:00:00.000Z\"");
    key_put(odd, ",\"expires_at\":\"never\"");
    auth_key_make(none);
    memcpy(wrong, good, sizeof(wrong));
    wrong[AUTH_KEY_TEXT - 1] = wrong[AUTH_KEY_TEXT - 1] == 'a' ? 'b' : 'a';

    assert_int_equal(try_key(good, &c), RESULT_OK);
    assert_int_equal(compared, 1);
    assert_int_equal(compared_bytes, 32);
    assert_string_equal(c.name, "x");

    for (const char *const *key = (const char *const[]) { wrong, none, gone,
             late, odd, "idash_short", "", NULL }; *key != NULL; key++)
    {
        if (try_key(*key, &c) != RESULT_NOT_FOUND || compared != 1
            || compared_bytes != 32)
        {
            fail_msg("\"%s\": %u comparisons of %zu bytes", *key, compared,
                compared_bytes);
        }
    }
}


static void
test_failures_are_of_an_address(void **state)
{
    struct auth_caller  c;
    char                good[AUTH_KEY_TEXT + 1];
    enum result         r = RESULT_NOT_FOUND;
    unsigned            n;

    (void) state;
    key_put(good, "");

    /* a minute may end meanwhile, so twice as many are tried at most */
    for (n = 0; n <= 2 * AUTH_FAILURES && r == RESULT_NOT_FOUND; n++) {
        r = auth_bearer(auth, SLICE_LIT("idash_wrong"), "192.0.2.1", &c);
    }

    assert_int_equal(r, RESULT_AGAIN);
    assert_true(n > AUTH_FAILURES);
    assert_int_equal(auth_bearer(auth, SLICE_LIT("idash_wrong"), "192.0.2.2",
        &c), RESULT_NOT_FOUND);
    assert_int_equal(auth_bearer(auth, slice_of(good), "192.0.2.1", &c),
        RESULT_OK);
    assert_int_equal(auth_bearer(auth, slice_of(good), "192.0.2.3", &c),
        RESULT_OK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_one_comparison, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_of_an_address, setup,
            teardown),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
