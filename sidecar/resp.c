/* One pass over the bytes: what is not whole yet is looked at again. */

#include "resp.h"

#include <stdlib.h>

#define RESP_FIRST   1024                  /* items */
#define RESP_DIGITS  20                    /* of a length or a number */
#define RESP_LINE    4096                  /* of a status or an error */


void
resp_init(struct resp *r, size_t max)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->bytes, max < UINT32_MAX ? max : UINT32_MAX);
}


void
resp_cleanup(struct resp *r)
{
    buf_cleanup(&r->bytes);
    free(r->items);
    resp_init(r, r->bytes.cap);
}


void
resp_reset(struct resp *r, size_t max)
{
    buf_reset(&r->bytes);
    r->bytes.cap = max < UINT32_MAX ? max : UINT32_MAX;
    r->nitems = 0;
    r->at = 0;
    r->depth = 0;
}


static enum result
item_add(struct resp *r, enum resp_type type, size_t at, size_t n)
{
    struct resp_item  *items;
    size_t             room;

    if (r->nitems == r->room) {
        room = r->room == 0 ? RESP_FIRST : r->room * 2;
        items = realloc(r->items, room * sizeof(*items));
        if (items == NULL) {
            return RESULT_MEMORY;
        }

        r->items = items;
        r->room = room;
    }

    r->items[r->nitems++] = (struct resp_item) { (uint32_t) at, (uint32_t) n,
                                                 type };
    return RESULT_OK;
}


/* The line from AT, without its end, which is MAX bytes away at most. */
static enum result
line_take(const struct resp *r, size_t at, size_t max, struct slice *line)
{
    const char  *p = r->bytes.p + at, *end;
    size_t       n = r->bytes.n - at;

    end = memchr(p, '\r', n < max + 1 ? n : max + 1);

    if (end == NULL) {
        return n > max ? RESULT_INVALID : RESULT_AGAIN;
    }

    *line = (struct slice) { p, (size_t) (end - p) };

    if (line->n + 1 == n) {
        return RESULT_AGAIN;
    }

    return end[1] == '\n' ? RESULT_OK : RESULT_INVALID;
}


/* A length, or -1, and where what it is of begins. */
static enum result
length_take(const struct resp *r, size_t *at, int64_t *n)
{
    const char  *p = r->bytes.p;
    size_t       i = *at, last = *at + RESP_DIGITS;
    bool         nil = i < r->bytes.n && p[i] == '-';

    *n = 0;

    for (i += nil; i < r->bytes.n && p[i] >= '0' && p[i] <= '9'; i++) {
        *n = *n * 10 + (p[i] - '0');

        if (*n > INT32_MAX || i == last) {
            return RESULT_INVALID;
        }
    }

    if (r->bytes.n - i < 2) {
        return i == r->bytes.n || p[i] == '\r' ? RESULT_AGAIN : RESULT_INVALID;
    }

    if (p[i] != '\r' || p[i + 1] != '\n' || i == *at + nil
        || (nil && *n != 1))
    {
        return RESULT_INVALID;
    }

    *n = nil ? -1 : *n;
    *at = i + 2;
    return RESULT_OK;
}


static enum result
string_take(struct resp *r, size_t at)
{
    size_t       end;
    int64_t      n;
    enum result  result;

    result = length_take(r, &at, &n);
    if (result != RESULT_OK) {
        return result;
    }

    if (n < 0) {
        r->at = at;
        return item_add(r, RESP_NIL, at, 0);
    }

    end = at + (size_t) n;

    if (r->bytes.n < end + 2) {
        return RESULT_AGAIN;
    }

    if (r->bytes.p[end] != '\r' || r->bytes.p[end + 1] != '\n') {
        return RESULT_INVALID;
    }

    r->at = end + 2;
    return item_add(r, RESP_STRING, at, (size_t) n);
}


static enum result
array_take(struct resp *r, size_t at)
{
    int64_t      n;
    enum result  result;

    result = length_take(r, &at, &n);
    if (result != RESULT_OK) {
        return result;
    }

    r->at = at;

    if (n < 0) {
        return item_add(r, RESP_NIL, r->at, 0);
    }

    if (n > 0) {
        if (r->depth == RESP_DEPTH) {
            return RESULT_INVALID;
        }

        /* one more: the array itself is not due any longer, either */
        r->left[r->depth++] = (uint32_t) n + 1;
    }

    return item_add(r, RESP_ARRAY, r->at, (size_t) n);
}


static enum result
line_item(struct resp *r, enum resp_type type, size_t at, size_t max)
{
    struct slice  line;
    enum result   result;

    result = line_take(r, at, max, &line);
    if (result != RESULT_OK) {
        return result;
    }

    r->at = at + line.n + 2;
    return item_add(r, type, at, line.n);
}


static enum result
item_take(struct resp *r)
{
    switch (r->bytes.p[r->at]) {

    case '$':
        return string_take(r, r->at + 1);

    case '*':
        return array_take(r, r->at + 1);

    case ':':
        return line_item(r, RESP_INTEGER, r->at + 1, RESP_DIGITS);

    case '+':
        return line_item(r, RESP_STATUS, r->at + 1, RESP_LINE);

    case '-':
        return line_item(r, RESP_ERROR, r->at + 1, RESP_LINE);

    default:
        return RESULT_INVALID;
    }
}


enum result
resp_parse(struct resp *r)
{
    enum result  result;

    do {
        if (r->at == r->bytes.n) {
            return RESULT_AGAIN;
        }

        result = item_take(r);
        if (result != RESULT_OK) {
            return result;
        }

        while (r->depth > 0 && --r->left[r->depth - 1] == 0) {
            r->depth--;
        }
    } while (r->depth > 0);

    return RESULT_OK;
}
