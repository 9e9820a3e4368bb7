/*
 * Detail of a log: what lists show and no index needs.  Numbers are varints, 0
 * for none, else the zigzag value + 1; texts are a length and the bytes.  The
 * first byte after the digest is the format, so that fields can be added.
 * Bodies: store_sqlite_body.c.
 */

#include "store_sqlite.h"

#define PACK_FORMAT  1


/* -- each writes where P is and gives the place behind ------------------- */

uint8_t *
sqlite_put_uint(uint8_t *p, uint64_t v)
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

    return sqlite_put_uint(p, v == LOGDOC_NONE ? 0 : zigzag + 1);
}


static uint8_t *
put_text(uint8_t *p, struct slice s)
{
    p = sqlite_put_uint(p, s.n);

    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }

    return p + s.n;
}


static uint8_t *
put_pairs(uint8_t *p, const struct log_pair *pairs, unsigned n)
{
    p = sqlite_put_uint(p, n);

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
    size_t  most = SQLITE_NUMBER;

    for (unsigned i = 0; i < n; i++) {
        most += 2 * SQLITE_NUMBER + pairs[i].name.n + pairs[i].value.n;
    }

    return most;
}


uint64_t
sqlite_get_uint(struct sqlite_unpack *u)
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
get_int(struct sqlite_unpack *u)
{
    uint64_t  v = sqlite_get_uint(u);

    if (v == 0) {
        return LOGDOC_NONE;
    }

    v--;
    return (int64_t) (v >> 1 ^ (~(v & 1) + 1));
}


static struct slice
get_text(struct sqlite_unpack *u)
{
    uint64_t      n = sqlite_get_uint(u);
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
get_pairs(struct sqlite_unpack *u, struct log_pair *pairs)
{
    uint64_t  n = sqlite_get_uint(u);

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

    most = sizeof(d->digest) + (2 + PACK_NINTS) * SQLITE_NUMBER
        + pairs_most(d->refs, d->nrefs) + pairs_most(d->fields, d->nfields);

    for (size_t i = 0; i < PACK_NTEXTS; i++) {
        most += SQLITE_NUMBER + texts[i]->n;
    }

    begin = (uint8_t *) buf_room(out, most);
    if (begin == NULL) {
        return;                            /* which stays in the buffer */
    }

    memcpy(begin, d->digest, sizeof(d->digest));
    p = sqlite_put_uint(begin + sizeof(d->digest), PACK_FORMAT);
    p = sqlite_put_uint(p, d->complete != 0);

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
    struct sqlite_unpack        u;

    if (p.n < sizeof(d->digest)) {
        return RESULT_INTERNAL;
    }

    memcpy(d->digest, p.p, sizeof(d->digest));
    u.p = (const uint8_t *) p.p + sizeof(d->digest);
    u.end = (const uint8_t *) p.p + p.n;
    u.bad = false;

    if (sqlite_get_uint(&u) != PACK_FORMAT) {
        return RESULT_INTERNAL;
    }

    d->complete = sqlite_get_uint(&u) != 0;

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
