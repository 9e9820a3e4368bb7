/*
 * Bodies of a log, with its headers: their lengths, and all of them as one
 * frame of zstd, or as they are when they are small.  And what packing needs
 * from one batch to the next: contexts of zstd, buffers of rows.
 */

#include "store_sqlite.h"

#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

#define PACK_BODY_MAX   (64 * 1024 * 1024)
#define PACK_RAW        0
#define PACK_ZSTD       1
#define PACK_LEVEL      1
#define PACK_SMALL      256                /* not worth a frame */
#define PACK_KEEP       (1024 * 1024)      /* a larger scratch is given back */
#define PACK_KEEP_ROWS  (4 * 1024 * 1024)
#define PACK_KEPT       4                  /* buffers of rows */

struct pack_context {
    struct pack_context  *next;
    ZSTD_CCtx            *zstd;
    struct buf            plain;
};

struct sqlite_packer {
    pthread_mutex_t       lock;
    struct pack_context  *free;
    struct buf            kept[PACK_KEPT];
    unsigned              nkept;
};

/* What a thread unpacks with: made once, it is larger than most bodies. */
static pthread_key_t    unpack_key;
static pthread_once_t   unpack_once = PTHREAD_ONCE_INIT;
static bool             unpack_keyed;


enum result
sqlite_packer_create(struct store_sqlite *s)
{
    s->packer = calloc(1, sizeof(*s->packer));
    if (s->packer == NULL) {
        return RESULT_MEMORY;
    }

    pthread_mutex_init(&s->packer->lock, NULL);
    return RESULT_OK;
}


static void
context_destroy(struct pack_context *x)
{
    if (x != NULL) {
        ZSTD_freeCCtx(x->zstd);
        buf_cleanup(&x->plain);
        free(x);
    }
}


void
sqlite_packer_lend(struct store_sqlite *s, struct buf *b, size_t cap)
{
    struct sqlite_packer  *k = s->packer;

    buf_init(b, cap);

    pthread_mutex_lock(&k->lock);
    if (k->nkept > 0) {
        *b = k->kept[--k->nkept];
        b->cap = cap;
    }
    pthread_mutex_unlock(&k->lock);
}


void
sqlite_packer_take_back(struct store_sqlite *s, struct buf *b)
{
    struct sqlite_packer  *k = s->packer;
    bool                   keep = b->size > 0 && b->size <= PACK_KEEP_ROWS;

    buf_reset(b);

    pthread_mutex_lock(&k->lock);
    keep = keep && k->nkept < PACK_KEPT;
    if (keep) {
        k->kept[k->nkept++] = *b;
    }
    pthread_mutex_unlock(&k->lock);

    if (!keep) {
        buf_cleanup(b);
    }
}


void
sqlite_packer_idle(struct store_sqlite *s)
{
    struct sqlite_packer  *k = s->packer;

    pthread_mutex_lock(&k->lock);
    while (k->nkept > 0) {
        buf_cleanup(&k->kept[--k->nkept]);
    }
    pthread_mutex_unlock(&k->lock);
}


void
sqlite_packer_destroy(struct store_sqlite *s)
{
    struct pack_context  *x, *next;

    if (s->packer == NULL) {
        return;
    }

    sqlite_packer_idle(s);

    for (x = s->packer->free; x != NULL; x = next) {
        next = x->next;
        context_destroy(x);
    }

    pthread_mutex_destroy(&s->packer->lock);
    free(s->packer);
    s->packer = NULL;
}


/* A new one takes longer than packing does, so they are kept. */
static struct pack_context *
context_borrow(struct sqlite_packer *k)
{
    struct pack_context  *x;

    pthread_mutex_lock(&k->lock);
    x = k->free;
    if (x != NULL) {
        k->free = x->next;
    }
    pthread_mutex_unlock(&k->lock);

    if (x != NULL) {
        return x;
    }

    x = calloc(1, sizeof(*x));
    if (x == NULL) {
        return NULL;
    }

    buf_init(&x->plain, PACK_BODY_MAX);
    x->zstd = ZSTD_createCCtx();

    if (x->zstd == NULL) {
        context_destroy(x);
        return NULL;
    }

    return x;
}


static void
context_return(struct sqlite_packer *k, struct pack_context *x)
{
    if (x->plain.size > PACK_KEEP) {
        buf_cleanup(&x->plain);
        buf_init(&x->plain, PACK_BODY_MAX);
    }

    pthread_mutex_lock(&k->lock);
    x->next = k->free;
    k->free = x;
    pthread_mutex_unlock(&k->lock);
}


#define PACK_BODIES(d)                                                        \
    &(d)->request.headers, &(d)->response.headers, &(d)->request.data,        \
    &(d)->response.data

#define PACK_NBODIES  4


static enum result
body_compress(struct pack_context *x, struct buf *out)
{
    size_t  room, n;
    char   *p;

    room = ZSTD_compressBound(x->plain.n);
    p = buf_room(out, room);
    if (p == NULL) {
        return RESULT_TOO_BIG;
    }

    n = ZSTD_compressCCtx(x->zstd, p, room, x->plain.p, x->plain.n,
        PACK_LEVEL);

    if (ZSTD_isError(n)) {
        return RESULT_MEMORY;
    }

    out->n += n;
    return RESULT_OK;
}


enum result
sqlite_pack_body(struct store_sqlite *s, const struct logdoc *d,
    struct buf *out)
{
    const struct slice *const  parts[PACK_NBODIES] = { PACK_BODIES(d) };
    uint8_t                    head[(1 + PACK_NBODIES) * SQLITE_NUMBER], *p;
    struct pack_context       *x;
    enum result                result;
    size_t                     total = 0;

    for (int i = 0; i < PACK_NBODIES; i++) {
        total += parts[i]->n;
    }

    if (total == 0) {
        return RESULT_OK;
    }

    p = sqlite_put_uint(head, total < PACK_SMALL ? PACK_RAW : PACK_ZSTD);

    for (int i = 0; i < PACK_NBODIES; i++) {
        p = sqlite_put_uint(p, parts[i]->n);
    }

    (void) buf_add(out, head, (size_t) (p - head));

    if (total < PACK_SMALL) {
        for (int i = 0; i < PACK_NBODIES; i++) {
            (void) buf_add(out, parts[i]->p, parts[i]->n);
        }

        return out->failed ? RESULT_TOO_BIG : RESULT_OK;
    }

    x = context_borrow(s->packer);
    if (x == NULL) {
        return RESULT_MEMORY;
    }

    buf_reset(&x->plain);

    for (int i = 0; i < PACK_NBODIES; i++) {
        if (parts[i]->n > 0) {
            (void) buf_add(&x->plain, parts[i]->p, parts[i]->n);
        }
    }

    if (x->plain.failed) {
        context_destroy(x);
        return RESULT_TOO_BIG;
    }

    result = body_compress(x, out);
    context_return(s->packer, x);
    return result;
}


static void
unpack_free(void *zstd)
{
    (void) ZSTD_freeDCtx(zstd);
}


static void
unpack_make_key(void)
{
    unpack_keyed = pthread_key_create(&unpack_key, unpack_free) == 0;
}


/* This thread's, or NULL. */
static ZSTD_DCtx *
unpack_context(void)
{
    ZSTD_DCtx  *zstd;

    (void) pthread_once(&unpack_once, unpack_make_key);
    zstd = unpack_keyed ? pthread_getspecific(unpack_key) : NULL;

    if (zstd == NULL && unpack_keyed) {
        zstd = ZSTD_createDCtx();

        if (pthread_setspecific(unpack_key, zstd) != 0) {
            (void) ZSTD_freeDCtx(zstd);
            zstd = NULL;
        }
    }

    return zstd;
}


/* The plain bytes of a body blob whose lengths have been read. */
static enum result
body_plain(struct sqlite_unpack *u, bool packed, size_t total, struct arena *a,
    const char **out)
{
    ZSTD_DCtx  *zstd = packed ? unpack_context() : NULL;
    char       *p;
    size_t      n;

    if (packed && zstd == NULL) {
        return RESULT_MEMORY;
    }

    p = arena_alloc(a, total + 1);
    if (p == NULL) {
        return RESULT_TOO_BIG;
    }

    if (packed) {
        n = ZSTD_decompressDCtx(zstd, p, total, u->p,
            (size_t) (u->end - u->p));

    } else {
        n = (size_t) (u->end - u->p);
        if (n == total) {
            memcpy(p, u->p, n);
        }
    }

    *out = p;
    return n == total ? RESULT_OK : RESULT_INTERNAL;
}


enum result
sqlite_unpack_body(struct slice p, struct arena *a, struct logdoc *d)
{
    struct slice *const  parts[PACK_NBODIES] = { PACK_BODIES(d) };
    const char          *plain;
    struct sqlite_unpack        u;
    enum result          result;
    uint64_t             codec, total = 0;

    if (p.n == 0) {
        return RESULT_OK;
    }

    u.p = (const uint8_t *) p.p;
    u.end = u.p + p.n;
    u.bad = false;
    codec = sqlite_get_uint(&u);

    for (int i = 0; i < PACK_NBODIES; i++) {
        uint64_t  n = sqlite_get_uint(&u);

        if (n > PACK_BODY_MAX) {
            return RESULT_INTERNAL;
        }

        parts[i]->n = (size_t) n;
        total += n;
    }

    if (u.bad || codec > PACK_ZSTD || total > PACK_BODY_MAX) {
        return RESULT_INTERNAL;
    }

    result = body_plain(&u, codec == PACK_ZSTD, (size_t) total, a, &plain);

    for (int i = 0; i < PACK_NBODIES && result == RESULT_OK; i++) {
        parts[i]->p = plain;
        plain += parts[i]->n;
    }

    return result;
}
