/*
 * Text and numbers, header blocks, pairs and flags.  Header blocks are arrays
 * of {name, value} (FerretDB has no nested arrays), kept whole as one value
 * when a line is not "Name: value CRLF", so that what is read back is byte for
 * byte what was recorded.
 */

#include "store_mongo_value.h"

#define DECODE_MAX_LINES  4096             /* of a header block; then whole */


bool
mongo_put_text(bson_t *b, const char *key, struct slice s)
{
    if (s.n == 0) {
        return true;
    }

    if (s.n > MONGO_MAX_DOC) {
        return false;
    }

    if (memchr(s.p, '\0', s.n) == NULL && slice_utf8(s)) {
        return bson_append_utf8(b, key, -1, s.p, (int) s.n);
    }

    return bson_append_binary(b, key, -1, BSON_SUBTYPE_BINARY,
                              (const uint8_t *) s.p, (uint32_t) s.n);
}


bool
mongo_put_int(bson_t *b, const char *key, int64_t v)
{
    return v == LOGDOC_NONE || bson_append_int64(b, key, -1, v);
}


struct slice
mongo_get_text(const bson_iter_t *it)
{
    const uint8_t   *bytes;
    bson_subtype_t   subtype;
    uint32_t         n;
    struct slice     s = SLICE_NONE;

    if (BSON_ITER_HOLDS_UTF8(it)) {
        s.p = bson_iter_utf8(it, &n);
        s.n = n;

    } else if (BSON_ITER_HOLDS_BINARY(it)) {
        bson_iter_binary(it, &subtype, &n, &bytes);
        s.p = (const char *) bytes;
        s.n = n;
    }

    return s;
}


int64_t
mongo_get_int(const bson_iter_t *it)
{
    double  d;

    if (BSON_ITER_HOLDS_INT(it)) {
        return bson_iter_as_int64(it);
    }

    /* counts of some servers come as doubles */
    if (BSON_ITER_HOLDS_DOUBLE(it)) {
        d = bson_iter_double(it);
        return d > -9e15 && d < 9e15 ? (int64_t) d : LOGDOC_NONE;
    }

    return LOGDOC_NONE;
}


bool
mongo_copy_text(const bson_iter_t *it, struct arena *a, struct slice *out)
{
    struct slice  s = mongo_get_text(it);

    *out = s.n == 0 ? SLICE_NONE : arena_copy(a, s);
    return s.n == 0 || out->p != NULL;
}


/* -- header blocks --------------------------------------------------------- */

/* Takes one "Name: value CRLF" off the block; false when it is not one. */
static bool
header_next(struct slice *block, struct slice *name, struct slice *value)
{
    const char  *end, *colon;
    size_t       n;

    end = memchr(block->p, '\r', block->n);
    n = end == NULL ? 0 : (size_t) (end - block->p);

    if (end == NULL || n + 1 >= block->n || end[1] != '\n') {
        return false;
    }

    colon = memchr(block->p, ':', n);
    if (colon == NULL || colon == block->p || colon + 1 == end
        || colon[1] != ' ' || memchr(block->p, '\n', n) != NULL)
    {
        return false;
    }

    *name = (struct slice) { block->p, (size_t) (colon - block->p) };
    *value = (struct slice) { colon + 2, (size_t) (end - colon - 2) };
    block->p += n + 2;
    block->n -= n + 2;
    return true;
}


static bool
headers_split(struct slice block)
{
    struct slice  name, value;
    unsigned      lines = 0;

    while (block.n > 0) {
        if (!header_next(&block, &name, &value)
            || ++lines > DECODE_MAX_LINES)
        {
            return false;
        }
    }

    return true;
}


bool
mongo_put_headers(bson_t *b, struct slice block)
{
    bson_t         list, pair;
    struct slice   name, value;
    const char    *key;
    char           number[16];
    uint32_t       i = 0;
    bool           ok = true;

    if (block.n == 0) {
        return true;
    }

    if (!headers_split(block)) {
        return mongo_put_text(b, "headers", block);
    }

    ok = bson_append_array_begin(b, "headers", -1, &list);

    while (ok && block.n > 0 && header_next(&block, &name, &value)) {
        bson_uint32_to_string(i++, &key, number, sizeof(number));
        ok = bson_append_document_begin(&list, key, -1, &pair)
             && mongo_put_text(&pair, "name", name)
             && mongo_put_text(&pair, "value", value)
             && bson_append_document_end(&list, &pair);
    }

    return ok && bson_append_array_end(b, &list);
}


/* One {name, value}; false when it is no document. */
static bool
pair_get(const bson_iter_t *it, struct log_pair *pair)
{
    bson_iter_t  sub;

    pair->name = SLICE_NONE;
    pair->value = SLICE_NONE;

    if (!BSON_ITER_HOLDS_DOCUMENT(it) || !bson_iter_recurse(it, &sub)) {
        return false;
    }

    while (bson_iter_next(&sub)) {
        if (strcmp(bson_iter_key(&sub), "name") == 0) {
            pair->name = mongo_get_text(&sub);

        } else if (strcmp(bson_iter_key(&sub), "value") == 0) {
            pair->value = mongo_get_text(&sub);
        }
    }

    return true;
}


static size_t
headers_write(const bson_iter_t *array, char *out)
{
    bson_iter_t      it;
    struct log_pair  pair;
    size_t           n = 0;

    if (!bson_iter_recurse(array, &it)) {
        return 0;
    }

    while (bson_iter_next(&it)) {
        if (!pair_get(&it, &pair)) {
            continue;
        }

        if (out != NULL) {
            if (pair.name.n > 0) {
                memcpy(out + n, pair.name.p, pair.name.n);
            }
            memcpy(out + n + pair.name.n, ": ", 2);
            if (pair.value.n > 0) {
                memcpy(out + n + pair.name.n + 2, pair.value.p, pair.value.n);
            }
            memcpy(out + n + pair.name.n + 2 + pair.value.n, "\r\n", 2);
        }

        n += pair.name.n + pair.value.n + 4;
    }

    return n;
}


bool
mongo_get_headers(const bson_iter_t *it, struct arena *a, struct slice *out)
{
    char    *p;
    size_t   n;

    if (!BSON_ITER_HOLDS_ARRAY(it)) {
        return mongo_copy_text(it, a, out);
    }

    n = headers_write(it, NULL);
    p = arena_alloc(a, n + 1);
    if (p == NULL) {
        return false;
    }

    p[headers_write(it, p)] = '\0';
    *out = (struct slice) { p, n };
    return true;
}


/* -- references and fields ------------------------------------------------- */

/* Fit to be the name of a field on every server, and to be filtered by. */
static bool
name_is_key(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')
            && !(c >= '0' && c <= '9') && c != '_' && c != '-')
        {
            return false;
        }
    }

    return s.n > 0 && s.n <= 64;
}


static bool
pair_is_first(const struct log_pair *pairs, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (slice_eq(pairs[j].name, pairs[i].name)) {
            return false;
        }
    }

    return true;
}


/* All values of the name: one as itself, several as an array, which equality
 * on the field looks into. */
static bool
pair_put(bson_t *b, const struct log_pair *pairs, unsigned n, unsigned first)
{
    char         key[65], number[16];
    const char  *index;
    unsigned     same = 0;
    uint32_t     k = 0;
    bson_t       list;
    bool         ok;

    memcpy(key, pairs[first].name.p, pairs[first].name.n);
    key[pairs[first].name.n] = '\0';

    for (unsigned i = first; i < n; i++) {
        same += slice_eq(pairs[i].name, pairs[first].name);
    }

    if (same == 1 && pairs[first].value.n > 0) {
        return mongo_put_text(b, key, pairs[first].value);
    }

    if (same == 1) {
        return bson_append_utf8(b, key, -1, "", 0);
    }

    ok = bson_append_array_begin(b, key, -1, &list);

    for (unsigned i = first; ok && i < n; i++) {
        if (slice_eq(pairs[i].name, pairs[first].name)) {
            bson_uint32_to_string(k++, &index, number, sizeof(number));
            ok = pairs[i].value.n > 0
                 ? mongo_put_text(&list, index, pairs[i].value)
                 : bson_append_utf8(&list, index, -1, "", 0);
        }
    }

    return ok && bson_append_array_end(b, &list);
}


/* Names that cannot be keys go to a list of {name, value} beside. */
static bool
pairs_odd_put(bson_t *b, const char *key, const struct log_pair *pairs,
    unsigned n)
{
    char         number[16];
    const char  *index;
    bson_t       list, pair;
    uint32_t     k = 0;
    bool         ok = true;

    for (unsigned i = 0; ok && i < n; i++) {
        if (name_is_key(pairs[i].name)) {
            continue;
        }

        if (k == 0) {
            ok = bson_append_array_begin(b, key, -1, &list);
        }

        bson_uint32_to_string(k++, &index, number, sizeof(number));
        ok = ok && bson_append_document_begin(&list, index, -1, &pair)
             && mongo_put_text(&pair, "name", pairs[i].name)
             && mongo_put_text(&pair, "value", pairs[i].value)
             && bson_append_document_end(&list, &pair);
    }

    return ok && (k == 0 || bson_append_array_end(b, &list));
}


bool
mongo_put_pairs(bson_t *b, const char *key, const char *odd,
    const struct log_pair *pairs, unsigned n)
{
    bson_t  sub;
    bool    ok;

    if (n == 0) {
        return true;
    }

    if (n > LOGDOC_MAX_PAIRS) {
        return false;
    }

    ok = bson_append_document_begin(b, key, -1, &sub);

    for (unsigned i = 0; ok && i < n; i++) {
        if (name_is_key(pairs[i].name) && pair_is_first(pairs, i)) {
            ok = pair_put(&sub, pairs, n, i);
        }
    }

    return ok && bson_append_document_end(b, &sub)
           && pairs_odd_put(b, odd, pairs, n);
}


static bool
pair_add(struct arena *a, struct slice name, struct slice value,
    struct log_pair *pairs, unsigned *n)
{
    struct log_pair  *pair;

    if (*n == LOGDOC_MAX_PAIRS) {
        return false;
    }

    pair = &pairs[(*n)++];
    pair->name = arena_copy(a, name);
    pair->value = arena_copy(a, value);
    return pair->name.p != NULL && pair->value.p != NULL;
}


bool
mongo_get_pairs(const bson_iter_t *at, struct arena *a, struct log_pair *pairs,
    unsigned *n)
{
    bson_iter_t      it, list;
    struct log_pair  pair;
    bool             ok = true;

    if (!bson_iter_recurse(at, &it)) {
        return false;
    }

    while (ok && bson_iter_next(&it)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&it)) {           /* of the odd ones */
            ok = pair_get(&it, &pair)
                 && pair_add(a, pair.name, pair.value, pairs, n);

        } else if (!BSON_ITER_HOLDS_ARRAY(&it)) {
            ok = pair_add(a, slice_of(bson_iter_key(&it)),
                          mongo_get_text(&it), pairs, n);

        } else if (bson_iter_recurse(&it, &list)) {
            while (ok && bson_iter_next(&list)) {
                ok = pair_add(a, slice_of(bson_iter_key(&it)),
                              mongo_get_text(&list), pairs, n);
            }
        }
    }

    return ok;
}


/* -- flags ----------------------------------------------------------------- */

bool
mongo_put_flags(bson_t *b, uint32_t flags)
{
    char         number[16];
    const char  *index;
    bson_t       list;
    uint32_t     k = 0;
    bool         ok;

    if (flags == 0) {
        return true;
    }

    ok = bson_append_array_begin(b, "flags", -1, &list);

    for (unsigned i = 0; ok && i < LOG_FLAG_COUNT; i++) {
        if (flags & (1u << i)) {
            bson_uint32_to_string(k++, &index, number, sizeof(number));
            ok = bson_append_utf8(&list, index, -1, log_flag_text(i), -1);
        }
    }

    return ok && bson_append_array_end(b, &list);
}


uint32_t
mongo_get_flags(const bson_iter_t *at)
{
    bson_iter_t  it;
    uint32_t     flags = 0;

    if (BSON_ITER_HOLDS_ARRAY(at) && bson_iter_recurse(at, &it)) {
        while (bson_iter_next(&it)) {
            flags |= log_flag_parse(mongo_get_text(&it));
        }
    }

    return flags;
}
