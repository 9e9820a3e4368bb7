/*
 * Capped byte buffers, borrowed slices and an arena.  Every growing buffer
 * states its cap at init: past it an append fails, frees the buffer and all
 * later appends fail too, so a builder checks once at its end.
 */

#ifndef BUF_H
#define BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "result.h"

/* Borrowed bytes; p may be NULL when n is 0. */
struct slice {
    const char  *p;
    size_t       n;
};

#define SLICE_LIT(s)  ((struct slice) { (s), sizeof(s) - 1 })
#define SLICE_NONE    ((struct slice) { NULL, 0 })
#define SLICE_ARG(s)  (int) (s).n, (s).p == NULL ? "" : (s).p  /* for %.*s */

static inline struct slice
slice_of(const char *s)
{
    struct slice  r = { s, s == NULL ? 0 : strlen(s) };

    return r;
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case ignored. */
bool slice_eq_nocase(struct slice a, struct slice b);

/* Decimal, sign allowed, whole slice, no overflow. */
must_check enum result slice_int(struct slice s, int64_t *out);

/* True when the bytes are UTF-8 (no surrogates, no overlong; NUL is fine). */
bool slice_utf8(struct slice s);

struct buf {
    char    *p;
    size_t   n;
    size_t   size;
    size_t   cap;
    bool     failed;
};

void buf_init(struct buf *b, size_t cap);
void buf_cleanup(struct buf *b);
void buf_reset(struct buf *b);             /* n = 0, keeps the memory */
enum result buf_add(struct buf *b, const void *p, size_t n);
enum result buf_adds(struct buf *b, const char *s);
/* The decimal number: formatting it costs several times as much. */
enum result buf_addi(struct buf *b, int64_t v);
enum result buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum result buf_vaddf(struct buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* Room for n more bytes, contiguous, or NULL; the caller then adds to b->n. */
char *buf_room(struct buf *b, size_t n);
/* NUL-terminated, the caller frees it; *n may be NULL.  NULL when failed. */
char *buf_take(struct buf *b, size_t *n);

/*
 * An arena owns what one record, row or request needs and is emptied at once.
 * Allocation past the cap returns NULL.
 */
struct arena_block;

struct arena {
    struct arena_block  *head;
    size_t               used;
    size_t               cap;
};

void arena_init(struct arena *a, size_t cap);
void arena_cleanup(struct arena *a);
void arena_wipe(struct arena *a);          /* cleanup, zeroed before */
void arena_reset(struct arena *a);         /* keeps the first block */
void *arena_alloc(struct arena *a, size_t n);    /* 16-aligned, not zeroed */
/* Copies, with a NUL behind that n does not count; p is NULL on failure. */
struct slice arena_copy(struct arena *a, struct slice s);
struct slice arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* BUF_H */
