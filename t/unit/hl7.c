/* HL7: published messages byte for byte, escapes, acknowledgements. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/sha.h>

#include "clock.h"
#include "hl7.h"
#include "mllp.h"

#define ID1  "019cf0b2-4e40-7abc-8def-0123456789ab"
#define ID2  "019cf0b2-4e41-7fff-bfff-ffffffffffff"

static const char  m1[] =
    "{\"message\":\"ADT^A04^ADT_A01\",\"segments\":["
    "[\"EVN\",\"A04\",\"20260315093000+0000\"],"
    "[\"PID\",1,null,[[\"P-1001\",null,null,\"LAB12\",\"MR\"]],null,"
    "[[\"N\\u00fa\\u00f1ez\",\"Ana\"]],null,\"19840229\",\"F\",null,null,"
    "[[\"Calle Mayor 1\",null,\"Madrid\",null,\"28013\",\"ESP\"]],null,"
    "\"+34600000001\"],"
    "[\"PV1\",1,\"O\"]]}";

static const char  m2[] =
    "{\"message\":\"ORU^R01^ORU_R01\",\"segments\":["
    "[\"PID\",1,null,[[\"P-1001\",null,null,\"LAB12\",\"MR\"]],null,"
    "[[\"N\\u00fa\\u00f1ez\",\"Ana\"]],null,\"19840229\",\"F\"],"
    "[\"ORC\",\"RE\",\"B9\",\"R5\"],"
    "[\"OBR\",1,\"B9\",\"R5\",[[\"2345-7\",\"Glucose\",\"LN\"]],null,null,"
    "\"20260315081500+0000\",null,null,null,null,null,null,"
    "\"20260315082000+0000\",null,[[\"12\",\"Rao\"]],null,null,null,null,null,"
    "\"20260315092500+0000\",null,null,\"F\"],"
    "[\"OBX\",1,\"NM\",[[\"2345-7\",\"Glucose\",\"LN\"]],null,\"5.4\","
    "\"mmol/L\",\"3.9-5.5\",\"N\",null,null,\"F\",null,null,"
    "\"20260315092500+0000\"],"
    "[\"OBX\",2,\"SN\",[[\"CRP\",\"C-reactive protein\",\"L\"]],null,"
    "[[\"<\",5]],\"mg/L\",\"<5\",\"N\",null,null,\"F\",null,null,"
    "\"20260315092500+0000\"],"
    "[\"OBX\",3,\"FT\",[[\"NOTE\",\"Comment\",\"L\"]],null,"
    "\"a|b^c&d~e\\\\f\\nx\\u000by\",null,null,null,null,null,\"F\"]]}";


static enum result
build(const char *json, const char *uuid, enum hl7_charset charset,
    struct buf *out, const char **why, unsigned *at)
{
    struct hl7_header  h = {
        .sending_app = "IDASH", .sending_facility = "LAB12",
        .receiving_app = "MIRTH", .receiving_facility = "HIS",
        .processing_id = "P", .version = "2.5.1", .charset = charset
    };
    uint8_t            id[UUID_BYTES];
    char               control[HL7_CONTROL_ID + 1];
    json_t            *message;
    enum result        r;

    assert_int_equal(uuid_parse(slice_of(uuid), id), RESULT_OK);
    hl7_control_id(id, control);
    h.control_id = control;
    assert_int_equal(clock_parse("2026-03-15T09:30:00Z", &h.time_us),
        RESULT_OK);

    message = json_loads(json, 0, NULL);
    assert_non_null(message);
    r = hl7_build(message, &h, out, why, at);
    json_decref(message);
    return r;
}


static void
check_message(const char *json, const char *uuid, size_t bytes,
    const char *sha256)
{
    struct buf     out;
    const char    *why = NULL;
    unsigned       at;
    unsigned char  digest[SHA256_DIGEST_LENGTH];
    char           hex[65];

    buf_init(&out, HL7_MAX_MESSAGE);
    assert_int_equal(build(json, uuid, HL7_UTF8, &out, &why, &at), RESULT_OK);
    assert_int_equal(out.n, bytes);
    (void) SHA256((unsigned char *) out.p, out.n, digest);

    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        (void) sprintf(hex + 2 * i, "%02x", digest[i]);
    }

    assert_string_equal(hex, sha256);
    buf_cleanup(&out);
}


static void
messages_byte_for_byte(void **state)
{
    (void) state;

    check_message(m1, ID1, 251,
        "1f97414d6fc5df6e4ff8a47a83a854f2a5486baea86c38aed150a8b38bcea81c");
    check_message(m2, ID2, 510,
        "5a12ffdf48d05eaea20deadc4d8d33bfa2df96301d35c24c4b3d48b4bcd14b7d");
}


static void
control_ids(void **state)
{
    static const char *const  pairs[][2] = {
        { ID1, "06EF1CJE82NW6YY0938N" }, { ID2, "06EF1CJE87ZZZZZZZZZZ" },
    };
    uint8_t  id[UUID_BYTES];
    char     text[HL7_CONTROL_ID + 1];

    (void) state;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(uuid_parse(slice_of(pairs[i][0]), id), RESULT_OK);
        hl7_control_id(id, text);
        assert_string_equal(text, pairs[i][1]);
    }
}


static void
values_come_back(void **state)
{
    struct buf    out;
    struct arena  a;
    struct slice  m;
    const char   *why;
    unsigned      at;

    (void) state;

    buf_init(&out, HL7_MAX_MESSAGE);
    arena_init(&a, 4096);
    assert_int_equal(build(m2, ID2, HL7_UTF8, &out, &why, &at), RESULT_OK);
    m = (struct slice) { out.p, out.n };

    assert_true(slice_eq(hl7_get(m, "MSH", 1, 1, 1), slice_of("|")));
    assert_true(slice_eq(hl7_get(m, "MSH", 2, 1, 1), slice_of("^~\\&")));
    assert_true(slice_eq(hl7_get(m, "MSH", 9, 1, 3), slice_of("ORU_R01")));
    assert_true(slice_eq(hl7_get(m, "MSH", 10, 1, 1),
        slice_of("06EF1CJE87ZZZZZZZZZZ")));
    assert_true(slice_eq(hl7_get(m, "PID", 3, 1, 4), slice_of("LAB12")));
    assert_true(slice_eq(hl7_get(m, "OBX", 1, 1, 1), slice_of("1")));
    assert_int_equal(hl7_get(m, "PID", 99, 1, 1).n, 0);
    assert_int_equal(hl7_get(m, "ZZZ", 1, 1, 1).n, 0);

    assert_true(slice_eq(hl7_unescape(m,
        slice_of("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\.br\\x\\X0B\\y"), &a),
        slice_of("a|b^c&d~e\\f\nx\x0by")));
    assert_true(slice_eq(hl7_unescape(m, slice_of("\\X000d\\\\Zx\\\\H"), &a),
        slice_of("\r\\Zx\\\\H")));

    arena_cleanup(&a);
    buf_cleanup(&out);
}


static void
nulls_deletes_and_charsets(void **state)
{
    struct buf   out;
    const char  *why = NULL;
    unsigned     at;

    (void) state;

    buf_init(&out, 4096);
    assert_int_equal(build("{\"message\":\"ADT^A08\",\"segments\":["
        "[\"PID\",1,null,[[\"a\",null]],{\"delete\":true},"
        "[\"x\",[\"y\",[\"s\",\"t\"]]],true,null,null]]}", ID1, HL7_UTF8, &out,
        &why, &at), RESULT_OK);
    out.p[out.n - 1] = '\0';
    assert_string_equal(strchr(out.p, '\r') + 1,
        "PID|1||a|\"\"|x~y^s&t|Y");

    buf_reset(&out);
    assert_int_equal(build("{\"message\":\"ADT^A08\",\"segments\":["
        "[\"PID\",\"N\\u00fa\\u00f1ez\"]]}", ID1, HL7_LATIN1, &out, &why, &at),
        RESULT_OK);
    out.p[out.n - 1] = '\0';
    assert_string_equal(strchr(out.p, '\r') + 1, "PID|N\xfa\xf1" "ez");

    buf_reset(&out);
    assert_int_equal(build("{\"message\":\"ADT^A08\",\"segments\":["
        "[\"EVN\",1],[\"PID\",\"\\u20ac\"]]}", ID1, HL7_LATIN1, &out, &why,
        &at), RESULT_INVALID);
    assert_int_equal(at, 2);
    assert_non_null(why);
    buf_cleanup(&out);
}


static void
bad_messages(void **state)
{
    static const char *const  bad[] = {
        "{}", "[]", "{\"message\":\"ADT\"}",
        "{\"message\":\"ADT\",\"segments\":[]}",
        "{\"message\":\"a|b\",\"segments\":[[\"PID\"]]}",
        "{\"message\":\"ADT\\r\",\"segments\":[[\"PID\"]]}",
        "{\"message\":\"ADT\",\"segments\":[[\"MSH\",1]]}",
        "{\"message\":\"ADT\",\"segments\":[[\"pid\",1]]}",
        "{\"message\":\"ADT\",\"segments\":[[1]]}",
        "{\"message\":\"ADT\",\"segments\":[\"PID|1\"]}",
        "{\"message\":\"ADT\",\"segments\":[[\"PID\",{\"a\":1}]]}",
        "{\"message\":\"ADT\",\"segments\":[[\"PID\",[[[[1]]]]]]}",
    };
    struct buf   out;
    const char  *why;
    unsigned     at;

    (void) state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_init(&out, 4096);
        why = NULL;
        if (build(bad[i], ID1, HL7_UTF8, &out, &why, &at) == RESULT_OK
            || why == NULL)
        {
            fail_msg("%s must be refused with a reason", bad[i]);
        }
        buf_cleanup(&out);
    }
}


static void
acknowledgements(void **state)
{
    static const struct {
        const char        *ack;
        enum outcome_kind  kind;
        const char        *reason;
        bool               read_on;
    } cases[] = {
        { "MSA|AA|ID1\r", OUTCOME_DELIVERED, NULL, false },
        { "MSA|AA|ID1", OUTCOME_DELIVERED, NULL, false },
        { "MSA|AA|ID1\n", OUTCOME_DELIVERED, NULL, false },
        { "MSA|CA|ID1\r", OUTCOME_DELIVERED, NULL, true },
        { "MSA|aa|ID1", OUTCOME_RETRY, "BAD_ACK", false },
        { "MSA|AAX|ID1", OUTCOME_RETRY, "BAD_ACK", false },
        { "MSA|AA^X|ID1", OUTCOME_RETRY, "BAD_ACK", false },
        { "MSA|ZZ|ID1", OUTCOME_RETRY, "BAD_ACK", false },
        { "NTE|1", OUTCOME_RETRY, "BAD_ACK", false },
        { "", OUTCOME_RETRY, "BAD_ACK", false },
        { "MSA|AA|ID2", OUTCOME_RETRY, "ACK_MISMATCH", true },
        { "MSA|AA|ID1 ", OUTCOME_RETRY, "ACK_MISMATCH", true },
        { "MSA|AA|", OUTCOME_RETRY, "ACK_MISMATCH", true },
        { "MSA|AR|ID2", OUTCOME_REJECTED, "NACK_REJECT", false },
        { "MSA|CR|ID1", OUTCOME_REJECTED, "NACK_REJECT", false },
        { "MSA|AE|ID1", OUTCOME_REJECTED, "NACK_ERROR", false },
        { "MSA|AE|ID1\rERR|||207^x\r", OUTCOME_RETRY, "NACK_ERROR", false },
        { "MSA|AE|ID1\rERR|||206\r", OUTCOME_RETRY, "NACK_ERROR", false },
        { "MSA|AE|ID1\rERR|||205\r", OUTCOME_REJECTED, "NACK_ERROR", false },
    };
    struct hl7_rules    rules = { .want = HL7_WANT_APP,
        .reject_is_final = true, .check_id = HL7_ID_STRICT };
    struct hl7_verdict  v;
    char                ack[256];

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(ack, sizeof(ack),
            "MSH|^~\\&|A|B|C|D|20260315||ACK|1|P|2.5.1\r%s", cases[i].ack);
        v = hl7_judge(slice_of(ack), "ID1", &rules);

        if (v.read_on != cases[i].read_on
            || v.outcome.kind != cases[i].kind
            || (cases[i].reason != NULL
                && strcmp(v.outcome.reason, cases[i].reason) != 0))
        {
            fail_msg("case %zu, %s: kind %d, reason %s", i, cases[i].ack,
                v.outcome.kind, v.outcome.reason);
        }
    }
}


static void
rules_change_the_verdict(void **state)
{
    struct slice  head = slice_of("MSH#^~\\&#A#B#C#D#20260315##ACK#1#P#2.5.1\r"
        "MSA#AA#ID1\r");
    struct slice  ar = slice_of("MSH|^~\\&|A\rMSA|AR|ID1");
    struct slice  other = slice_of("MSH|^~\\&|A\rMSA|AA|ID9");
    struct slice  ca = slice_of("MSH|^~\\&|A\rMSA|CA|ID1");
    struct slice  dup = slice_of("MSH|^~\\&|A\rMSA|AE|ID1\rERR|||205");
    struct hl7_rules    rules = { .want = HL7_WANT_APP };
    struct hl7_verdict  v;

    (void) state;

    v = hl7_judge(head, "ID1", &rules);
    assert_int_equal(v.outcome.kind, OUTCOME_DELIVERED);

    v = hl7_judge(ar, "ID1", &rules);
    assert_int_equal(v.outcome.kind, OUTCOME_RETRY);
    assert_string_equal(v.outcome.reason, "NACK_REJECT");

    rules.check_id = HL7_ID_WARN;
    v = hl7_judge(other, "ID1", &rules);
    assert_int_equal(v.outcome.kind, OUTCOME_DELIVERED);
    assert_true(v.id_differs && !v.read_on);

    rules.want = HL7_WANT_COMMIT;
    v = hl7_judge(ca, "ID1", &rules);
    assert_true(v.committed && !v.read_on);
    assert_int_equal(v.outcome.kind, OUTCOME_DELIVERED);

    rules.duplicate_is_success = true;
    v = hl7_judge(dup, "ID1", &rules);
    assert_int_equal(v.outcome.kind, OUTCOME_REJECTED);
    rules.unanswered_before = true;
    v = hl7_judge(dup, "ID1", &rules);
    assert_int_equal(v.outcome.kind, OUTCOME_DELIVERED);
    assert_true(v.duplicate);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(messages_byte_for_byte),
        cmocka_unit_test(control_ids),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(nulls_deletes_and_charsets),
        cmocka_unit_test(bad_messages),
        cmocka_unit_test(acknowledgements),
        cmocka_unit_test(rules_change_the_verdict),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
