/*
 * The JSON checker and the finder of a member's bytes, held against jansson,
 * and the printer of strings, held against the checker.
 */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "json.h"
#include "json_member.h"

#define FLAGS  (JSON_DECODE_ANY | JSON_ALLOW_NUL)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int holds)
{
    if (!holds) {
        abort();
    }
}


static int
depth_of(const json_t *v)
{
    const char  *key;
    json_t      *child;
    size_t       i;
    int          most = 0, depth;

    json_array_foreach (v, i, child) {
        depth = depth_of(child);
        most = depth > most ? depth : most;
    }

    json_object_foreach ((json_t *) v, key, child) {
        depth = depth_of(child);
        most = depth > most ? depth : most;
    }

    return most + (json_is_array(v) || json_is_object(v));
}


static void
valid_check(struct slice s)
{
    json_error_t  error;
    json_t       *v;

    v = json_loadb(s.p, s.n, FLAGS, &error);

    if (v != NULL && memchr(s.p, '\0', s.n) != NULL) {
        must(!json_valid(s));              /* jansson ends there */

    } else if (v != NULL) {
        must(json_valid(s) == (depth_of(v) <= JSON_MAX_DEPTH));

    } else if (json_valid(s)) {
        /* numbers that no double holds, escapes of half a pair */
        must(json_error_code(&error) == json_error_numeric_overflow
             || memmem(s.p, s.n, "\\u", 2) != NULL);
    }

    json_decref(v);
}


static void
member_check(struct slice s, const char *name)
{
    json_error_t  error;
    json_t       *all, *one;
    struct slice  range = SLICE_NONE;
    enum result   r;

    r = json_member_range(s, name, &range);

    if (memchr(s.p, '\0', s.n) != NULL) {
        must(r == RESULT_INVALID);         /* jansson passes over it */
        return;
    }

    all = json_loadb(s.p, s.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
        &error);

    if (r == RESULT_OK) {
        must(range.p >= s.p && range.p + range.n <= s.p + s.n && range.n > 0);
        one = json_loadb(range.p, range.n, FLAGS, &error);
        must(one != NULL);

        if (json_is_object(all)) {
            must(json_equal(one, json_object_get(all, name)));
        }

        json_decref(one);

    } else if (json_is_object(all)) {
        must(r == RESULT_NOT_FOUND && json_object_get(all, name) == NULL);
    }

    json_decref(all);
}


static void
print_check(struct slice s)
{
    struct buf  b;

    buf_init(&b, 12 * s.n + 64);
    (void) buf_adds(&b, "[");
    json_text(&b, s);
    (void) buf_adds(&b, ",");
    json_base64(&b, s);
    (void) buf_adds(&b, "]");

    must(!b.failed);
    must(json_valid((struct slice) { b.p, b.n }));
    buf_cleanup(&b);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice  s = { (const char *) data, size };

    valid_check(s);
    member_check(s, "payload");
    member_check(s, "");
    print_check(s);
    return 0;
}
