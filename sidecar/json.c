/* Prints JSON and checks its grammar without building anything. */

#include "json.h"

#include <inttypes.h>

#include "clock.h"


struct json_reader {
    const char  *p, *end;
    int          depth;
};


static void
json_space(struct json_reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n'
                             || *r->p == '\r'))
    {
        r->p++;
    }
}


static bool
json_take(struct json_reader *r, char c)
{
    if (r->p < r->end && *r->p == c) {
        r->p++;
        return true;
    }

    return false;
}


static bool
json_word(struct json_reader *r, const char *word)
{
    size_t  n = strlen(word);

    if ((size_t) (r->end - r->p) < n || memcmp(r->p, word, n) != 0) {
        return false;
    }

    r->p += n;
    return true;
}


static bool
is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')
           || (c >= 'A' && c <= 'F');
}


static bool
json_escape(struct json_reader *r)
{
    if (r->p == r->end) {
        return false;
    }

    if (*r->p != 'u') {
        return *r->p != '\0' && strchr("\"\\/bfnrt", *r->p++) != NULL;
    }

    if (r->end - r->p < 5) {
        return false;
    }

    for (int i = 1; i <= 4; i++) {
        if (!is_hex(r->p[i])) {
            return false;
        }
    }

    r->p += 5;
    return true;
}


/* Behind the opening quote. */
static bool
json_string(struct json_reader *r)
{
    while (r->p < r->end) {
        unsigned char  c = (unsigned char) *r->p++;

        if (c == '"') {
            return true;
        }

        if (c < 0x20 || (c == '\\' && !json_escape(r))) {
            return false;
        }
    }

    return false;
}


static bool
json_digits(struct json_reader *r)
{
    const char  *start = r->p;

    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        r->p++;
    }

    return r->p > start;
}


static bool
json_number(struct json_reader *r)
{
    (void) json_take(r, '-');

    if (!json_take(r, '0') && !json_digits(r)) {
        return false;
    }

    if (json_take(r, '.') && !json_digits(r)) {
        return false;
    }

    if (json_take(r, 'e') || json_take(r, 'E')) {
        if (!json_take(r, '+')) {
            (void) json_take(r, '-');
        }

        return json_digits(r);
    }

    return true;
}


static bool json_value(struct json_reader *r);


/* Behind the opening bracket of an array (CLOSE ']') or an object ('}'). */
static bool
json_members(struct json_reader *r, char close)
{
    json_space(r);
    if (json_take(r, close)) {
        return true;
    }

    for ( ;; ) {
        json_space(r);

        if (close == '}') {
            if (!json_take(r, '"') || !json_string(r)) {
                return false;
            }

            json_space(r);
            if (!json_take(r, ':')) {
                return false;
            }
        }

        if (!json_value(r)) {
            return false;
        }

        json_space(r);
        if (json_take(r, close)) {
            return true;
        }

        if (!json_take(r, ',')) {
            return false;
        }
    }
}


static bool
json_value(struct json_reader *r)
{
    bool  ok;

    json_space(r);
    if (r->p == r->end) {
        return false;
    }

    switch (*r->p) {
    case '{':
    case '[':
        if (r->depth == JSON_MAX_DEPTH) {
            return false;
        }

        r->depth++;
        ok = json_members(r, *r->p++ == '{' ? '}' : ']');
        r->depth--;
        return ok;
    case '"':
        r->p++;
        return json_string(r);
    case 't':
        return json_word(r, "true");
    case 'f':
        return json_word(r, "false");
    case 'n':
        return json_word(r, "null");
    default:
        return json_number(r);
    }
}


bool
json_valid(struct slice s)
{
    struct json_reader  r = { s.p, s.p + s.n, 0 };

    if (s.n == 0 || !json_value(&r)) {
        return false;
    }

    json_space(&r);
    return r.p == r.end && slice_utf8(s);
}


static void
json_char(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        (void) buf_adds(b, "\\\"");
        break;
    case '\\':
        (void) buf_adds(b, "\\\\");
        break;
    case '\n':
        (void) buf_adds(b, "\\n");
        break;
    case '\r':
        (void) buf_adds(b, "\\r");
        break;
    case '\t':
        (void) buf_adds(b, "\\t");
        break;
    default:
        (void) buf_addf(b, "\\u%04x", c);
        break;
    }
}


static bool
json_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}


/* Valid UTF-8: runs of plain bytes are copied at once. */
static void
json_text_valid(struct buf *b, struct slice s)
{
    size_t  from = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (!json_plain((unsigned char) s.p[i])) {
            (void) buf_add(b, s.p + from, i - from);
            json_char(b, (unsigned char) s.p[i]);
            from = i + 1;
        }
    }

    if (s.n > from) {
        (void) buf_add(b, s.p + from, s.n - from);
    }
}


/* Length of the valid sequence at the start of S, 0 when it is none. */
static size_t
utf8_prefix(struct slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++) {
        if (slice_utf8((struct slice) { s.p, n })) {
            return n;
        }
    }

    return 0;
}


void
json_text(struct buf *b, struct slice s)
{
    size_t  n;

    (void) buf_add(b, "\"", 1);

    if (slice_utf8(s)) {
        json_text_valid(b, s);

    } else {
        for (size_t i = 0; i < s.n; i += n == 0 ? 1 : n) {
            n = utf8_prefix((struct slice) { s.p + i, s.n - i });
            if (n == 0) {
                (void) buf_adds(b, "\xef\xbf\xbd");
            } else {
                json_text_valid(b, (struct slice) { s.p + i, n });
            }
        }
    }

    (void) buf_add(b, "\"", 1);
}


void
json_time(struct buf *b, int64_t us)
{
    char  text[CLOCK_RFC3339 + 1];

    if (us == INT64_MIN) {
        (void) buf_adds(b, "null");
        return;
    }

    clock_text(us, text);
    (void) buf_addf(b, "\"%s\"", text);
}


void
json_int(struct buf *b, int64_t n)
{
    if (n == INT64_MIN) {
        (void) buf_adds(b, "null");
        return;
    }

    (void) buf_addi(b, n);
}


void
json_ms(struct buf *b, int64_t us)
{
    if (us == INT64_MIN || us < 0) {
        (void) buf_adds(b, "null");

    } else if (us % 1000 == 0) {
        (void) buf_addi(b, us / 1000);

    } else {
        (void) buf_addf(b, "%" PRId64 ".%03" PRId64, us / 1000, us % 1000);
    }
}


void
json_base64(struct buf *b, struct slice s)
{
    static const char     digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char  *p = (const unsigned char *) s.p;
    char                 *to;

    (void) buf_add(b, "\"", 1);

    to = buf_room(b, (s.n + 2) / 3 * 4);
    for (size_t i = 0; to != NULL && i < s.n; i += 3) {
        unsigned  left = (unsigned) (s.n - i);
        unsigned  v = (unsigned) p[i] << 16;

        v |= left > 1 ? (unsigned) p[i + 1] << 8 : 0;
        v |= left > 2 ? (unsigned) p[i + 2] : 0;
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[v & 63] : '=';
        b->n += 4;
    }

    (void) buf_add(b, "\"", 1);
}
