/* Redaction: tables of texts with their masked form. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_http_capture_redact.h"

#define NAME(s)  { s, sizeof(s) - 1 }

static const struct capture_name  headers[] = {
    NAME("Authorization"), NAME("Proxy-Authorization"), NAME("Cookie"),
    NAME("Set-Cookie"), NAME("X-Api-Key")
};
static const struct capture_name  args[] = {
    NAME("access_token"), NAME("token"), NAME("api_key"), NAME("apikey"),
    NAME("password")
};

static unsigned char         blob[4096];
static struct capture_rules  rules;

typedef void (*redact_pt)(const struct capture_rules *r, const char *p,
    size_t len, struct capture_spans *spans);

struct pair {
    const char  *in, *out;
};


static int
setup(void **state)
{
    size_t  n;

    (void) state;
    n = capture_rules_build(headers, 5, args, 5, blob, sizeof(blob));
    return n > 0 && n <= sizeof(blob)
           && capture_rules_parse(&rules, blob, n) == 0 ? 0 : -1;
}


static void
check(redact_pt redact, const struct pair *pairs, size_t n)
{
    struct capture_spans  spans;
    char                  out[4096];
    size_t                len;

    for (size_t i = 0; i < n; i++) {
        redact(&rules, pairs[i].in, strlen(pairs[i].in), &spans);
        len = capture_spans_length(&spans, strlen(pairs[i].in));
        assert_true(len < sizeof(out));
        assert_ptr_equal(capture_spans_copy(&spans, pairs[i].in,
                                            strlen(pairs[i].in), out),
                         out + len);
        out[len] = '\0';
        assert_string_equal(out, pairs[i].out);
    }
}

#define CHECK(f, pairs)  check(f, pairs, sizeof(pairs) / sizeof((pairs)[0]))


static void
test_uri(void **state)
{
    static const struct pair  pairs[] = {
        { "", "" },
        { "/", "/" },
        { "/a/b?lab=12", "/a/b?lab=12" },
        { "/a?token=abc", "/a?token=***" },
        { "/a?token=", "/a?token=" },
        { "/a?token", "/a?token" },
        { "/a?x=1&token=abc&y=2", "/a?x=1&token=***&y=2" },
        { "/a?token=a&token=b", "/a?token=***&token=***" },
        { "/a?TOKEN=abc", "/a?TOKEN=***" },
        { "/a?xtoken=abc&tokens=1", "/a?xtoken=abc&tokens=1" },
        { "/a?token=a=b=c&d=e", "/a?token=***&d=e" },
        { "/a?token=a?b#frag", "/a?token=***#frag" },
        { "/a#access_token=s3cret&state=1", "/a#access_token=***&state=1" },
        { "/a?%74oken=abc", "/a?%74oken=***" },
        { "/a?access%5Ftoken=abc", "/a?access%5Ftoken=***" },
        { "/a?access%5ftoken=abc", "/a?access%5ftoken=***" },
        { "/a?access+token=abc", "/a?access+token=***" },
        { "/a?+token=abc", "/a?+token=***" },
        { "/a?token+=abc", "/a?token+=***" },
        { "/a?api-key=abc", "/a?api-key=***" },
        { "/a?token%3dabc", "/a?token%3d***" },
        { "/a?token[]=abc", "/a?token[]=***" },
        { "/a?user[password]=abc", "/a?user[password]=***" },
        { "/a?user%5Bpassword%5D=abc", "/a?user%5Bpassword%5D=***" },
        { "/a?user.password=abc", "/a?user.password=***" },
        { "/a?password[hint]=abc", "/a?password[hint]=***" },
        { "/a?x=1;token=abc", "/a?x=1;token=***" },
        { "/a;token=abc/b?c=d", "/a;token=***/b?c=d" },
        { "/a?u=http%3A%2F%2Fb%3Ftoken%3Dabc%26c%3Dd&e=f",
          "/a?u=http%3A%2F%2Fb%3Ftoken%3D***%26c%3Dd&e=f" },
        { "/a?u=http://b?token=abc&c=d", "/a?u=http://b?token=***&c=d" },
        { "http://user:pw@h/a?b=c", "http://***@h/a?b=c" },
        { "http://h/a@b?c=d", "http://h/a@b?c=d" },
        { "/a?token=cut%", "/a?token=***" },
        { "/a?token=%00%ff\x80", "/a?token=***" },
        { "/a?&&&token=x&&", "/a?&&&token=***&&" }
    };

    (void) state;
    CHECK(capture_redact_uri, pairs);
}


static void
test_headers(void **state)
{
    static const struct pair  pairs[] = {
        { "Host: x\r\nAuthorization: Bearer abc\r\nA: b\r\n",
          "Host: x\r\nAuthorization: ***\r\nA: b\r\n" },
        { "authorization:abc\r\n", "authorization:***\r\n" },
        { "COOKIE: a=b; c=d\r\nCookie: e=f\r\n",
          "COOKIE: ***\r\nCookie: ***\r\n" },
        { "X_Api_Key: k\r\n", "X_Api_Key: ***\r\n" },
        { "X-Api-Key : k\r\n", "X-Api-Key : ***\r\n" },
        { "X-Api-Key:\r\n", "X-Api-Key:\r\n" },
        { "X-Api-Keys: k\r\n", "X-Api-Keys: k\r\n" },
        { "Cookie: a=b\r\n folded=secret\r\nA: b\r\n",
          "Cookie: ***\r\nA: b\r\n" },
        { "Referer: https://h/p?token=abc&x=1\r\nA: b\r\n",
          "Referer: https://h/p?token=***&x=1\r\nA: b\r\n" },
        { "Location: https://u:p@h/cb#access_token=abc\r\n",
          "Location: https://***@h/cb#access_token=***\r\n" },
        { "Referer: https://h/p?to%6ben=abc\r\n",
          "Referer: https://h/p?to%6ben=***\r\n" },
        { "Accept: a/b;q=0.9\r\n", "Accept: a/b;q=0.9\r\n" },
        { "X-Auth: password=abc\r\n", "X-Auth: password=***\r\n" },
        { "no colon here\r\n", "***\r\n" },
        { "Authorization: cut", "Authorization: ***" },
        { "Referer: /a?token=cut", "Referer: /a?token=***" },
        { "Set-Cookie: a=b\nA: b\n", "Set-Cookie: ***\nA: b\n" },
        { "", "" }, { "\r\n", "\r\n" }
    };

    (void) state;
    CHECK(capture_redact_headers, pairs);
}


static void
test_values(void **state)
{
    static const struct pair  pairs[] = {
        { "plain", "plain" },
        { "token=abc&x=1", "token=***&x=1" },
        { "/a?token=abc", "/a?token=***" },
        { "x=1&password=", "x=1&password=" }
    };

    (void) state;
    CHECK(capture_redact_value, pairs);
}


/* What cannot be read hides everything. */
static void
test_unreadable(void **state)
{
    struct capture_rules  saved = rules;
    static const struct pair  lines[] = {
        { "A: b\r\nC: d\r\n", "A: ***\r\nC: ***\r\n" }
    };
    static const struct pair  uris[] = { { "/a?b=c", "/a?***" } };
    static const struct pair  values[] = { { "abc", "***" } };

    (void) state;
    assert_int_equal(capture_rules_parse(&rules, NULL, 0), -1);
    CHECK(capture_redact_headers, lines);
    CHECK(capture_redact_uri, uris);
    CHECK(capture_redact_value, values);
    rules = saved;
}


/* More secrets than spans: the last span hides the rest. */
static void
test_overflow(void **state)
{
    struct capture_spans  spans;
    char                  text[8192], out[8192];
    size_t                n, len;

    (void) state;
    n = 0;

    for (unsigned i = 0; i < 200; i++) {
        n += (size_t) sprintf(text + n, "Cookie: canary%u\r\n", i);
    }

    capture_redact_headers(&rules, text, n, &spans);
    len = capture_spans_length(&spans, n);
    assert_ptr_equal(capture_spans_copy(&spans, text, n, out), out + len);
    assert_null(memmem(out, len, "canary", 6));
    assert_memory_equal(out + len - 2, "\r\n", 2);
    assert_int_equal(spans.n, CAPTURE_MAX_SPANS);
}


/* Each byte of a blob changed or missing: parsed or refused, never overrun. */
static void
test_blobs(void **state)
{
    struct capture_rules  r;
    unsigned char        *copy;
    size_t                n;

    (void) state;
    n = capture_rules_build(headers, 5, args, 5, NULL, 0);

    for (size_t i = 0; i < n; i++) {
        copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, blob, n);
        copy[i] ^= 0xff;
        (void) capture_rules_parse(&r, copy, n);
        free(copy);

        copy = malloc(i + 1);
        assert_non_null(copy);
        memcpy(copy, blob, i);
        assert_int_equal(capture_rules_parse(&r, copy, i), -1);
        assert_int_equal(r.all, 1);
        free(copy);
    }
}


static void
test_build_bounds(void **state)
{
    static char          text[CAPTURE_MAX_RULE + 1];
    struct capture_name  name = { text, 0 };

    (void) state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(capture_rules_build(&name, 1, NULL, 0, NULL, 0), 0);
    name.len = CAPTURE_MAX_RULE + 1;
    assert_int_equal(capture_rules_build(&name, 1, NULL, 0, NULL, 0), 0);
    name.len = CAPTURE_MAX_RULE;
    assert_true(capture_rules_build(&name, 1, NULL, 0, NULL, 0) > name.len);
    assert_true(capture_rules_build(NULL, 0, NULL, 0, NULL, 0) > 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_uri),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_blobs),
        cmocka_unit_test(test_build_bounds)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
