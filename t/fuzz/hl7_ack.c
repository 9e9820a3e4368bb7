/* Foreign bytes as an HL7 acknowledgement: get, unescape, verdict. */

#include <stdint.h>
#include <stdlib.h>

#include "hl7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const  segments[] = { "MSH", "MSA", "ERR", "OBX" };
    struct slice        ack = { (const char *) data, size };
    struct hl7_rules    rules = { .want = HL7_WANT_APP };
    struct hl7_verdict  v;
    struct arena        a;
    struct slice        value;

    rules.check_id = size % 3 == 0 ? HL7_ID_STRICT : HL7_ID_WARN;
    rules.duplicate_is_success = rules.unanswered_before = size % 2 == 0;
    v = hl7_judge(ack, "ID1", &rules);

    if (v.outcome.kind == OUTCOME_NOT_SENT) {
        abort();
    }

    arena_init(&a, 1024 * 1024);

    for (unsigned i = 0; i < 32; i++) {
        value = hl7_get(ack, segments[i % 4], i / 4 + 1, 1, 1 + i % 2);
        if (value.n > size || hl7_unescape(ack, value, &a).n > value.n) {
            abort();
        }
    }

    arena_cleanup(&a);
    return 0;
}
