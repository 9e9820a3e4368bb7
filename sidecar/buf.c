/* Capped buffers, slices, arena. */

#include "buf.h"

#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST    256
#define ARENA_FIRST  1024
#define ARENA_BLOCK  4096

struct arena_block {
    struct arena_block  *next;
    size_t               used;
    size_t               size;
    _Alignas(16) char    data[];
};


static char
ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


bool
slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }

    for (size_t i = 0; i < a.n; i++) {
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i])) {
            return false;
        }
    }

    return true;
}


enum result
slice_int(struct slice s, int64_t *out)
{
    bool      negative;
    size_t    i;
    int64_t   value;

    negative = s.n > 0 && s.p[0] == '-';
    i = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
    value = 0;

    if (i == s.n) {
        return RESULT_INVALID;
    }

    for ( /* void */ ; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9'
            || __builtin_mul_overflow(value, 10, &value)
            || __builtin_sub_overflow(value, s.p[i] - '0', &value))
        {
            return RESULT_INVALID;
        }
    }

    /* summed as a negative number, which has one value more */
    if (!negative && value == INT64_MIN) {
        return RESULT_INVALID;
    }

    *out = negative ? value : -value;
    return RESULT_OK;
}


/* The length of the sequence at p, 0 when it is none (RFC 3629, section 4). */
static size_t
utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char  low, high;
    size_t         len;

    low = 0x80;
    high = 0xbf;

    if (p[0] < 0x80) {
        return 1;
    }

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;

    } else {
        return 0;
    }

    if (n < len || p[1] < low || p[1] > high) {
        return 0;
    }

    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return len;
}


bool
slice_utf8(struct slice s)
{
    const unsigned char  *p = (const unsigned char *) s.p;
    size_t                i, len;
    uint64_t              word;

    for (i = 0; i < s.n; i += len) {
        if (s.n - i >= 8) {
            memcpy(&word, p + i, 8);
            if ((word & 0x8080808080808080ull) == 0) {
                len = 8;
                continue;
            }
        }

        len = utf8_sequence(p + i, s.n - i);
        if (len == 0) {
            return false;
        }
    }

    return true;
}


void
buf_init(struct buf *b, size_t cap)
{
    memset(b, 0, sizeof(*b));
    b->cap = cap;
}


void
buf_cleanup(struct buf *b)
{
    free(b->p);
    buf_init(b, b->cap);
}


void
buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}


static enum result
buf_fail(struct buf *b, enum result r)
{
    free(b->p);
    b->p = NULL;
    b->n = 0;
    b->size = 0;
    b->failed = true;
    return r;
}


char *
buf_room(struct buf *b, size_t n)
{
    char    *p;
    size_t   size;

    if (b->failed) {
        return NULL;
    }

    if (n > b->cap || b->n > b->cap - n) {
        (void) buf_fail(b, RESULT_TOO_BIG);
        return NULL;
    }

    /* one more than asked, for the NUL of buf_take */
    if (b->size <= b->n + n) {
        size = b->size == 0 ? BUF_FIRST : b->size * 2;
        if (size <= b->n + n) {
            size = b->n + n + 1;
        }

        p = realloc(b->p, size);
        if (p == NULL) {
            (void) buf_fail(b, RESULT_MEMORY);
            return NULL;
        }

        b->p = p;
        b->size = size;
    }

    return b->p + b->n;
}


enum result
buf_add(struct buf *b, const void *p, size_t n)
{
    char  *room;

    room = buf_room(b, n);
    if (room == NULL) {
        return RESULT_TOO_BIG;
    }

    if (n > 0) {
        memcpy(room, p, n);
    }

    b->n += n;
    return RESULT_OK;
}


enum result
buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}


enum result
buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list   again;
    char     *room;
    int       n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);

    if (n < 0) {
        return buf_fail(b, RESULT_INTERNAL);
    }

    room = buf_room(b, (size_t) n);
    if (room == NULL) {
        return RESULT_TOO_BIG;
    }

    (void) vsnprintf(room, (size_t) n + 1, fmt, ap);
    b->n += (size_t) n;
    return RESULT_OK;
}


enum result
buf_addi(struct buf *b, int64_t v)
{
    char      digits[24];
    size_t    at = sizeof(digits);
    uint64_t  left = v < 0 ? 0 - (uint64_t) v : (uint64_t) v;

    do {
        digits[--at] = (char) ('0' + left % 10);
        left /= 10;
    } while (left > 0);

    if (v < 0) {
        digits[--at] = '-';
    }

    return buf_add(b, digits + at, sizeof(digits) - at);
}


enum result
buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list      ap;
    enum result  r;

    va_start(ap, fmt);
    r = buf_vaddf(b, fmt, ap);
    va_end(ap);

    return r;
}


char *
buf_take(struct buf *b, size_t *n)
{
    char  *p;

    if (buf_room(b, 0) == NULL) {
        return NULL;
    }

    p = b->p;
    p[b->n] = '\0';

    if (n != NULL) {
        *n = b->n;
    }

    buf_init(b, b->cap);
    return p;
}


void
arena_init(struct arena *a, size_t cap)
{
    a->head = NULL;
    a->used = 0;
    a->cap = cap;
}


void
arena_cleanup(struct arena *a)
{
    struct arena_block  *block, *next;

    for (block = a->head; block != NULL; block = next) {
        next = block->next;
        free(block);
    }

    arena_init(a, a->cap);
}


void
arena_wipe(struct arena *a)
{
    for (struct arena_block *b = a->head; b != NULL; b = b->next) {
        explicit_bzero(b->data, b->size);
    }

    arena_cleanup(a);
}


void
arena_reset(struct arena *a)
{
    struct arena_block  *first, *next;

    for (first = a->head; first != NULL && first->next != NULL; first = next) {
        next = first->next;
        free(first);
    }

    a->head = first;
    a->used = 0;

    if (first != NULL) {
        first->used = 0;
    }
}


void *
arena_alloc(struct arena *a, size_t n)
{
    struct arena_block  *block;
    size_t               size;
    void                *p;

    if (n > SIZE_MAX - 15) {
        return NULL;
    }

    n = (n + 15) & ~(size_t) 15;

    if (n > a->cap || a->used > a->cap - n) {
        return NULL;
    }

    block = a->head;

    if (block == NULL || block->size - block->used < n) {
        size = block == NULL ? ARENA_FIRST : ARENA_BLOCK;
        size = n > size ? n : size;
        block = malloc(sizeof(*block) + size);
        if (block == NULL) {
            return NULL;
        }

        block->next = a->head;
        block->used = 0;
        block->size = size;
        a->head = block;
    }

    p = block->data + block->used;
    block->used += n;
    a->used += n;
    return p;
}


struct slice
arena_copy(struct arena *a, struct slice s)
{
    char  *p;

    p = arena_alloc(a, s.n + 1);
    if (p == NULL) {
        return SLICE_NONE;
    }

    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }

    p[s.n] = '\0';
    return (struct slice) { p, s.n };
}


struct slice
arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list   ap;
    char     *p;
    int       n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);

    p = n < 0 ? NULL : arena_alloc(a, (size_t) n + 1);
    if (p == NULL) {
        return SLICE_NONE;
    }

    va_start(ap, fmt);
    (void) vsnprintf(p, (size_t) n + 1, fmt, ap);
    va_end(ap);

    return (struct slice) { p, (size_t) n };
}
