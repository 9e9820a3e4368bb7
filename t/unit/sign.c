/* Signatures against the published vectors of Standard Webhooks. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sign.h"

#define S1  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define S2  "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define K   "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioL" \
            "lX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define M1  "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define M2  "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
#define B1  "{\"test\": 2432232314}"
#define B2  "{\"type\":\"contact.created\","                                  \
            "\"timestamp\":\"2022-11-03T20:26:10.344522Z\","                  \
            "\"data\":{\"id\":\"1f81eb52-5198-4599-803e-771906343485\"}}"

static const struct vector {
    const char  *name, *keys[2], *id, *body, *want;
    int64_t      time_s;
} vectors[] = {
    { "V1", { S1, NULL }, M1, B1,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 1614265330 },
    { "V2", { S1, NULL }, M2, B2,
        "v1,ARw42xaAApl/nxRo+iPGYwSaMQaOwMo2eyH5JBRA+bQ=", 1674087231 },
    { "V3", { S2, NULL }, M1, B1,
        "v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI=", 1614265330 },
    { "V4", { S2, NULL }, M1, "",
        "v1,GsnVozukDiVmbnjDPsr6Y6lFW7x/ARAGr0VbaFdOnHY=", 1614265330 },
    { "V5", { S2, NULL }, M1, "{\"n\":\"N\xc3\xba\xc3\xb1" "ez\"}",
        "v1,ascp0Us9Rq06QIq00L7N40s4UH5s8k9tSHCzarV/Z4c=", 1614265330 },
    { "V1A", { K, NULL }, M1, B1,
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZ"
        "dpXwVLPo3mNl8EM+m7TBAg==", 1614265330 },
    { "rotation", { S2, S1 }, M1, B1,
        "v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI= "
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 1614265330 },
};


static void
published_vectors(void **state)
{
    struct sign_key  keys[2];
    const char      *why;
    char             got[SIGN_MAX_TEXT];
    unsigned         n;

    (void) state;

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const struct vector  *v = &vectors[i];

        for (n = 0; n < 2 && v->keys[n] != NULL; n++) {
            assert_int_equal(sign_key_parse(slice_of(v->keys[n]), &keys[n],
                &why), RESULT_OK);
        }

        assert_int_equal(sign_header(keys, n, slice_of(v->id), v->time_s,
            slice_of(v->body), got), RESULT_OK);
        assert_string_equal(got, v->want);
    }
}


static void
bad_keys(void **state)
{
    static const char *const  bad[] = {
        "", "whsec_", "whsec_AAAA", "secret", "whsec_!!!!",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka GxwdHh8=",
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        /* a seed with another's public key */
        "whsk_7Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioL"
        "lX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
    };
    struct sign_key  key;
    const char      *why;

    (void) state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why = NULL;
        assert_int_equal(sign_key_parse(slice_of(bad[i]), &key, &why),
            RESULT_INVALID);
        assert_non_null(why);
    }
}


static void
bad_id(void **state)
{
    struct sign_key  key;
    const char      *why;
    char             got[SIGN_MAX_TEXT];

    (void) state;

    assert_int_equal(sign_key_parse(slice_of(S1), &key, &why), RESULT_OK);
    assert_int_equal(sign_header(&key, 1, slice_of("a.b"), 1, SLICE_NONE, got),
        RESULT_INVALID);
    assert_int_equal(sign_header(&key, 0, slice_of(M1), 1, SLICE_NONE, got),
        RESULT_INVALID);
}


static void
made_key_signs(void **state)
{
    struct sign_key  key;
    const char      *why;
    char             a[64], b[64], got[SIGN_MAX_TEXT];

    (void) state;

    assert_int_equal(sign_key_make(a), RESULT_OK);
    assert_int_equal(sign_key_make(b), RESULT_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(sign_key_parse(slice_of(a), &key, &why), RESULT_OK);
    assert_int_equal(key.len, 32);
    assert_int_equal(sign_header(&key, 1, slice_of(M1), 1, slice_of(B1), got),
        RESULT_OK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(bad_id),
        cmocka_unit_test(made_key_signs),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
