/*
 * Blobs of a log: detail (what lists show and no index needs) and body
 * (headers and bodies, zstd).  Numbers are varints, 0 for none, else the
 * zigzag value + 1; texts are a length and the bytes.  The first byte after
 * the digest is the format, so that fields can be added.
 */

#include "store_sqlite.h"

#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

#define PACK_FORMAT     1
#define PACK_BODY_MAX   (64 * 1024 * 1024)
#define PACK_RAW        0
#define PACK_ZSTD       1
#define PACK_LEVEL      1
#define PACK_SMALL      256                /* not worth a frame */
#define PACK_KEEP       (1024 * 1024)      /* a larger scratch is given back */
#define PACK_KEEP_ROWS  (4 * 1024 * 1024)
#define PACK_KEPT       4                  /* buffers of rows */
#define PACK_NUMBER     10                 /* bytes of one, at most */

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

struct unpack {
    const uint8_t  *p, *end;
    bool            bad;
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


/* Each writes where P is and gives the place behind. */

static uint8_t *
put_uint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t) (v | 0x80);
        v >>= 7;
    }

    *p++ = (uint8_t) v;
    return p;
}


static uint8_t *
put_int(uint8_t *p, int64_t v)
{
    uint64_t  zigzag = ((uint64_t) v << 1) ^ (uint64_t) (v >> 63);

    return put_uint(p, v == LOGDOC_NONE ? 0 : zigzag + 1);
}


static uint8_t *
put_text(uint8_t *p, struct slice s)
{
    p = put_uint(p, s.n);

    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }

    return p + s.n;
}


static uint8_t *
put_pairs(uint8_t *p, const struct log_pair *pairs, unsigned n)
{
    p = put_uint(p, n);

    for (unsigned i = 0; i < n; i++) {
        p = put_text(p, pairs[i].name);
        p = put_text(p, pairs[i].value);
    }

    return p;
}


/* Bytes that they take, at most. */
static size_t
pairs_most(const struct log_pair *pairs, unsigned n)
{
    size_t  most = PACK_NUMBER;

    for (unsigned i = 0; i < n; i++) {
        most += 2 * PACK_NUMBER + pairs[i].name.n + pairs[i].value.n;
    }

    return most;
}


static uint64_t
get_uint(struct unpack *u)
{
    uint64_t  v = 0;

    for (unsigned shift = 0; shift < 64 && u->p < u->end; shift += 7) {
        uint8_t  byte = *u->p++;

        v |= (uint64_t) (byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return v;
        }
    }

    u->bad = true;
    return 0;
}


static int64_t
get_int(struct unpack *u)
{
    uint64_t  v = get_uint(u);

    if (v == 0) {
        return LOGDOC_NONE;
    }

    v--;
    return (int64_t) (v >> 1 ^ (~(v & 1) + 1));
}


static struct slice
get_text(struct unpack *u)
{
    uint64_t      n = get_uint(u);
    struct slice  s = SLICE_NONE;

    if (n > (uint64_t) (u->end - u->p)) {
        u->bad = true;
        return s;
    }

    s.p = (const char *) u->p;
    s.n = (size_t) n;
    u->p += n;
    return s;
}


static unsigned
get_pairs(struct unpack *u, struct log_pair *pairs)
{
    uint64_t  n = get_uint(u);

    if (n > LOGDOC_MAX_PAIRS) {
        u->bad = true;
        return 0;
    }

    for (uint64_t i = 0; i < n; i++) {
        pairs[i].name = get_text(u);
        pairs[i].value = get_text(u);
    }

    return (unsigned) n;
}


/* The texts in their order on disk: packing and reading share the list. */
#define PACK_TEXTS(d)                                                         \
    &(d)->scheme, &(d)->host, &(d)->url, &(d)->protocol, &(d)->route,         \
    &(d)->request.cut, &(d)->response.cut,                                    \
    &(d)->upstream_addr, &(d)->upstream_status, &(d)->upstream_connect,       \
    &(d)->upstream_header, &(d)->upstream_response,                           \
    &(d)->error_code, &(d)->error_message, &(d)->event_id, &(d)->batch_id,    \
    &(d)->replay_of, &(d)->resend_of, &(d)->message_id, &(d)->trace_id,       \
    &(d)->client_ip

#define PACK_INTS(d)                                                          \
    &(d)->request.bytes, &(d)->response.bytes, &(d)->sent_bytes,              \
    &(d)->connect_us, &(d)->first_byte_us, &(d)->next_attempt_us,             \
    &(d)->client_port, &(d)->expires_us, &(d)->priority


#define PACK_NTEXTS     21
#define PACK_NINTS      9


void
sqlite_pack_detail(const struct logdoc *d, struct buf *out)
{
    const struct slice *const  texts[PACK_NTEXTS] = { PACK_TEXTS(d) };
    const int64_t *const       ints[PACK_NINTS] = { PACK_INTS(d) };
    uint8_t                   *p, *begin;
    size_t                     most;

    most = sizeof(d->digest) + (2 + PACK_NINTS) * PACK_NUMBER
        + pairs_most(d->refs, d->nrefs) + pairs_most(d->fields, d->nfields);

    for (size_t i = 0; i < PACK_NTEXTS; i++) {
        most += PACK_NUMBER + texts[i]->n;
    }

    begin = (uint8_t *) buf_room(out, most);
    if (begin == NULL) {
        return;                            /* which stays in the buffer */
    }

    memcpy(begin, d->digest, sizeof(d->digest));
    p = put_uint(begin + sizeof(d->digest), PACK_FORMAT);
    p = put_uint(p, d->complete != 0);

    for (size_t i = 0; i < PACK_NINTS; i++) {
        p = put_int(p, *ints[i]);
    }

    for (size_t i = 0; i < PACK_NTEXTS; i++) {
        p = put_text(p, *texts[i]);
    }

    p = put_pairs(p, d->refs, d->nrefs);
    p = put_pairs(p, d->fields, d->nfields);
    out->n += (size_t) (p - begin);
}


enum result
sqlite_unpack_detail(struct slice p, struct logdoc *d)
{
    struct slice *const  texts[PACK_NTEXTS] = { PACK_TEXTS(d) };
    int64_t *const       ints[PACK_NINTS] = { PACK_INTS(d) };
    struct unpack        u;

    if (p.n < sizeof(d->digest)) {
        return RESULT_INTERNAL;
    }

    memcpy(d->digest, p.p, sizeof(d->digest));
    u.p = (const uint8_t *) p.p + sizeof(d->digest);
    u.end = (const uint8_t *) p.p + p.n;
    u.bad = false;

    if (get_uint(&u) != PACK_FORMAT) {
        return RESULT_INTERNAL;
    }

    d->complete = get_uint(&u) != 0;

    for (size_t i = 0; i < PACK_NINTS; i++) {
        *ints[i] = get_int(&u);
    }

    for (size_t i = 0; i < PACK_NTEXTS; i++) {
        *texts[i] = get_text(&u);
    }

    d->nrefs = get_pairs(&u, d->refs);
    d->nfields = get_pairs(&u, d->fields);

    return u.bad || u.p != u.end ? RESULT_INTERNAL : RESULT_OK;
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
    uint8_t                    head[(1 + PACK_NBODIES) * PACK_NUMBER], *p;
    struct pack_context       *x;
    enum result                result;
    size_t                     total = 0;

    for (int i = 0; i < PACK_NBODIES; i++) {
        total += parts[i]->n;
    }

    if (total == 0) {
        return RESULT_OK;
    }

    p = put_uint(head, total < PACK_SMALL ? PACK_RAW : PACK_ZSTD);

    for (int i = 0; i < PACK_NBODIES; i++) {
        p = put_uint(p, parts[i]->n);
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
body_plain(struct unpack *u, bool packed, size_t total, struct arena *a,
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
    struct unpack        u;
    enum result          result;
    uint64_t             codec, total = 0;

    if (p.n == 0) {
        return RESULT_OK;
    }

    u.p = (const uint8_t *) p.p;
    u.end = u.p + p.n;
    u.bad = false;
    codec = get_uint(&u);

    for (int i = 0; i < PACK_NBODIES; i++) {
        uint64_t  n = get_uint(&u);

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


int64_t
sqlite_key_hash(enum filter_field field, struct slice name,
    struct slice value)
{
    uint64_t  h = 0xcbf29ce484222325u ^ (unsigned) field;

    for (size_t i = 0; i < name.n; i++) {
        h = (h ^ (unsigned char) name.p[i]) * 0x100000001b3u;
    }

    h = (h ^ 0x100) * 0x100000001b3u;

    for (size_t i = 0; i < value.n; i++) {
        h = (h ^ (unsigned char) value.p[i]) * 0x100000001b3u;
    }

    return (int64_t) (h ^ h >> 29);
}


unsigned
sqlite_pack_keys(const struct logdoc *d, int64_t keys[SQLITE_MAX_KEYS])
{
    const struct {
        enum filter_field  field;
        struct slice       value;
    } ids[] = {
        { FILTER_EVENT, d->event_id }, { FILTER_BATCH, d->batch_id },
        { FILTER_TRACE, d->trace_id }, { FILTER_REPLAY_OF, d->replay_of },
        { FILTER_RESEND_OF, d->resend_of },
    };
    unsigned  n = 0;

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (ids[i].value.n > 0) {
            keys[n++] = sqlite_key_hash(ids[i].field, SLICE_NONE,
                ids[i].value);
        }
    }

    for (unsigned i = 0; i < d->nrefs; i++) {
        keys[n++] = sqlite_key_hash(FILTER_REF, d->refs[i].name,
            d->refs[i].value);
    }

    return n;
}
