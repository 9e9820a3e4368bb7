/* The address guard: edges of every refused range, exceptions, bad lists. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "netguard.h"

static bool
permits(const struct netguard *g, const char *text)
{
    struct sockaddr_in   v4 = { .sin_family = AF_INET };
    struct sockaddr_in6  v6 = { .sin6_family = AF_INET6 };
    const char          *why = NULL;
    bool                 yes;

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        yes = netguard_permits(g, (struct sockaddr *) &v4, sizeof(v4), &why);

    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        yes = netguard_permits(g, (struct sockaddr *) &v6, sizeof(v6), &why);
    }

    assert_true(yes || why != NULL);
    return yes;
}


static void
edges(void **state)
{
    static const char *const  refused[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
        "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.8",
        "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.2.3",
        "::ffff:169.254.169.254", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "100::1",
        "2001::1", "2001:0:ffff::1", "2001:db8::1", "2002:7f00:1::",
        "3fff::1", "3fff:fff::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1",
        "febf::1", "fec0::1", "feff::1", "ff02::1",
    };
    static const char *const  passed[] = {
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
        "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
        "198.20.0.0", "223.255.255.255", "8.8.8.8", "::ffff:8.8.8.8",
        "2001:4860:4860::8888", "2606:4700::1111", "2003::1", "3ffe::1",
        "4000::1",
    };
    struct netguard  g = { 0 };

    (void) state;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (permits(&g, refused[i])) {
            fail_msg("%s must be refused", refused[i]);
        }
    }

    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        if (!permits(&g, passed[i])) {
            fail_msg("%s must pass", passed[i]);
        }
    }
}


static void
exceptions(void **state)
{
    struct netguard  g = { 0 };
    struct slice     at;

    (void) state;

    assert_int_equal(netguard_allow(&g, " 127.0.0.0/8,fd00:1::/32  10.9.8.7",
        &at), RESULT_OK);
    assert_int_equal(g.nallow, 3);
    assert_true(permits(&g, "127.0.0.1"));
    assert_true(permits(&g, "::ffff:127.1.2.3"));
    assert_true(permits(&g, "10.9.8.7"));
    assert_true(permits(&g, "fd00:1:2::3"));
    assert_false(permits(&g, "10.9.8.8"));
    assert_false(permits(&g, "fd00:2::1"));
    assert_false(permits(&g, "::1"));
}


static void
bad_lists(void **state)
{
    static const char *const  bad[] = {
        "10.0.0.0/33", "10.0.0.0/-1", "10.1.0.0/8", "example.org", "1.2.3",
        "::/129", "fd00::1/64", "10.0.0.0/", "0x7f.1", "10.0.0.0/8x",
    };
    struct netguard  g;
    struct slice     at;

    (void) state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&g, 0, sizeof(g));
        assert_int_equal(netguard_allow(&g, bad[i], &at), RESULT_INVALID);
        assert_true(slice_eq(at, slice_of(bad[i])));
    }
}


static void
own_and_odd(void **state)
{
    struct netguard  g = { 0 };
    struct sockaddr  unix_like = { .sa_family = AF_UNIX };
    const char      *why;

    (void) state;

    assert_int_equal(netguard_own(&g), RESULT_OK);
    assert_true(g.nown > 0);
    assert_false(permits(&g, "127.0.0.1"));
    assert_false(netguard_permits(&g, &unix_like, sizeof(unix_like), &why));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(exceptions),
        cmocka_unit_test(bad_lists),
        cmocka_unit_test(own_and_odd),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
