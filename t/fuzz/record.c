/*
 * The decoder of capture records.  Input: pairs, each a length of two bytes and
 * that many bytes (the last may be short).  What is accepted must hold what the
 * store relies on.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(const struct record *r)
{
    const struct logdoc  *d = &r->doc;

    if (!slice_utf8(d->url) || !slice_utf8(d->host) || !slice_utf8(d->endpoint)
        || !slice_utf8(d->method) || d->nrefs + d->nfields > RECORD_MAX_PAIRS
        || (d->status != LOG_SUCCESS && d->status != LOG_FAIL)
        || (d->status == LOG_FAIL) != (d->error_fingerprint != 0)
        || (r->key_sha256.n != 0 && r->key_sha256.n != 64)
        || d->request.data.n > RECORD_MAX_BODY || d->endpoint.n == 0
        || d->started_us != uuid_time_us(d->id))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct slice   pairs[2048];
    static struct record  rec;
    struct arena          arena;
    char                  why[160];
    size_t                n = 0, len;
    enum result           r;

    while (size >= 2 && n < sizeof(pairs) / sizeof(pairs[0])) {
        len = (size_t) data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        len = len > size ? size : len;
        pairs[n].p = (const char *) data;
        pairs[n++].n = len;
        data += len;
        size -= len;
    }

    arena_init(&arena, 1024 * 1024);
    memset(why, 'x', sizeof(why));
    r = record_decode(pairs, n, &arena, &rec, why, sizeof(why));

    if (r == RESULT_OK) {
        check(&rec);

    } else if (memchr(why, '\0', sizeof(why)) == NULL) {
        abort();
    }

    arena_cleanup(&arena);
    return 0;
}
