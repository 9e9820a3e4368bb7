/*
 * Walks the members of an object; jansson parses each name and value and says
 * where it ended, so there is no second idea of what JSON is.
 */

#include "json_member.h"

#include <string.h>

#include <jansson.h>


static struct slice
skip_space(struct slice s)
{
    while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL && s.p[0] != '\0') {
        s.p++;
        s.n--;
    }

    return s;
}


static struct slice
skip(struct slice s, size_t n)
{
    return (struct slice) { s.p + n, s.n - n };
}


/* One value at the start of S: its length, and whether it is the text NAME. */
static size_t
value_length(struct slice s, const char *name, bool *is_name)
{
    json_error_t   error;
    json_t        *v;
    size_t         n;

    v = json_loadb(s.p, s.n, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK
        | JSON_ALLOW_NUL, &error);
    if (v == NULL) {
        return 0;
    }

    n = (size_t) error.position;

    if (is_name != NULL) {
        *is_name = json_is_string(v)
                   && strcmp(json_string_value(v), name) == 0
                   && json_string_length(v) == strlen(name);
    }

    json_decref(v);
    return n;
}


enum result
json_member_range(struct slice json, const char *name, struct slice *out)
{
    struct slice  s = skip_space(json);
    size_t        n;
    bool          is_name = false;

    /* no JSON has a NUL; jansson passes over one and loses count */
    if (s.n == 0 || s.p[0] != '{' || memchr(s.p, '\0', s.n) != NULL) {
        return RESULT_INVALID;
    }

    for (s = skip_space(skip(s, 1)); s.n > 0 && s.p[0] == '"'; /* void */) {
        n = value_length(s, name, &is_name);
        s = skip_space(skip(s, n));

        if (n == 0 || s.n == 0 || s.p[0] != ':') {
            return RESULT_INVALID;
        }

        s = skip_space(skip(s, 1));
        n = value_length(s, NULL, NULL);

        if (n == 0) {
            return RESULT_INVALID;
        }

        if (is_name) {
            *out = (struct slice) { s.p, n };
            return RESULT_OK;
        }

        s = skip_space(skip(s, n));
        if (s.n == 0 || s.p[0] != ',') {
            break;
        }

        s = skip_space(skip(s, 1));
        if (s.n == 0 || s.p[0] != '"') {
            return RESULT_INVALID;
        }
    }

    return s.n > 0 && s.p[0] == '}' ? RESULT_NOT_FOUND : RESULT_INVALID;
}
