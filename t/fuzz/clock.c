/* Times (RFC 3339), UUIDs and numbers as texts of a client. */

#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "uuid.h"

#define DATE    "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]"
#define TIME    "[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?"
#define OFFSET  "([Zz]|[+-][0-9]{2}:[0-9]{2})"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int holds)
{
    if (!holds) {
        abort();
    }
}


static void
clock_check(const char *text)
{
    static regex_t  shape;
    static int      compiled;
    char            printed[CLOCK_RFC3339 + 1];
    int64_t         us, again;

    if (!compiled) {
        compiled = regcomp(&shape, "^" DATE TIME OFFSET "$", REG_EXTENDED) == 0;
        must(compiled);
    }

    if (clock_parse(text, &us) != RESULT_OK) {
        return;
    }

    must(regexec(&shape, text, 0, NULL, 0) == 0);

    clock_text(us, printed);
    must(strlen(printed) == CLOCK_RFC3339);
    must(clock_parse(printed, &again) == RESULT_OK);

    /* years of more or fewer than four digits have no text of their own */
    if (us > INT64_C(-62167219200000000) && us < INT64_C(253402300800000000)) {
        must(us - again >= 0 && us - again < 1000);
    }
}


static void
uuid_check(struct slice s)
{
    uint8_t  id[UUID_BYTES], again[UUID_BYTES];
    char     text[UUID_TEXT + 1];

    if (uuid_parse(s, id) != RESULT_OK) {
        return;
    }

    uuid_text(id, text);
    must(slice_eq_nocase(s, (struct slice) { text, UUID_TEXT }));
    must(uuid_parse(slice_of(text), again) == RESULT_OK);
    must(memcmp(id, again, sizeof(id)) == 0);
    must(uuid_time_us(id) >= 0);
}


static void
int_check(struct slice s)
{
    int64_t  n, again;
    char     text[32];

    if (slice_int(s, &n) == RESULT_OK) {
        (void) snprintf(text, sizeof(text), "%lld", (long long) n);
        must(slice_int(slice_of(text), &again) == RESULT_OK && n == again);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice  s = { (const char *) data, size };
    char         *text;

    text = malloc(size + 1);               /* exact: an overrun is seen */
    if (text == NULL) {
        return 0;
    }

    memcpy(text, data, size);
    text[size] = '\0';
    clock_check(text);
    free(text);

    uuid_check(s);
    int_check(s);
    return 0;
}
