/* Dead letters as documents of the store. */

#include "deadletter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "clock.h"
#include "log.h"

#define DEADLETTER_KEEP   (4 * 1024 * 1024)
#define DEADLETTER_PAGE   4
#define DEADLETTER_ARENA  (48 * 1024 * 1024)


/* Names and values as netstrings, as many as fit; true when all did. */
static bool
deadletter_pack(const struct queue_entry *e, struct buf *b)
{
    const struct slice  *v;

    for (size_t i = 0; e->fields != NULL && i < e->nfields; i++) {
        v = &e->fields[i];

        if (b->n + v->n + 32 > DEADLETTER_KEEP) {
            return false;
        }

        buf_addf(b, "%zu:", v->n);
        buf_add(b, v->p, v->n);
        buf_add(b, ",", 1);
    }

    return e->fields != NULL;
}


/* 64 bits of the content: a stream id can repeat after a failover. */
static uint64_t
deadletter_hash(const struct buf *b)
{
    uint64_t  h = 0xcbf29ce484222325ull;

    for (size_t i = 0; i < b->n; i++) {
        h = (h ^ (unsigned char) b->p[i]) * 0x100000001b3ull;
    }

    return h;
}


static char *
deadletter_body(const char *stream, const struct queue_entry *e,
    const char *reason, const struct buf *packed, bool whole)
{
    char     at[CLOCK_RFC3339 + 1];
    json_t  *body = NULL;
    char    *coded, *text = NULL;

    coded = malloc((packed->n + 2) / 3 * 4 + 1);
    if (coded == NULL) {
        return NULL;
    }

    (void) EVP_EncodeBlock((unsigned char *) coded,
        (const unsigned char *) (packed->n == 0 ? "" : packed->p),
        (int) packed->n);
    clock_text(clock_wall_us(), at);

    body = json_pack("{s:s,s:s,s:s,s:I,s:s,s:I,s:s,s:b}",
        "reason", reason, "stream", stream, "entry", e->id,
        "deliveries", (json_int_t) e->deliveries + 1, "received_at", at,
        "bytes", (json_int_t) e->bytes, "record", coded,
        "record_cut", !whole);
    text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

    json_decref(body);
    free(coded);
    return text;
}


enum result
deadletter_put(struct store *s, const char *stream,
    const struct queue_entry *e, const char *reason, int64_t retention_us)
{
    struct store_doc  d;
    struct buf        packed;
    char              id[QUEUE_ID + 24], *body;
    int64_t           version;
    bool              whole;
    enum result       r;

    buf_init(&packed, DEADLETTER_KEEP + 64);
    whole = deadletter_pack(e, &packed);
    body = packed.failed ? NULL : deadletter_body(stream, e, reason, &packed,
                                      whole);

    if (body == NULL) {
        buf_cleanup(&packed);
        return RESULT_MEMORY;
    }

    (void) snprintf(id, sizeof(id), "%s-%016llx", e->id,
        (unsigned long long) deadletter_hash(&packed));

    memset(&d, 0, sizeof(d));
    d.id = slice_of(id);
    d.org_id = LOGDOC_NONE;
    d.created_us = clock_wall_us();
    d.updated_us = d.created_us;
    d.expires_us = d.created_us + retention_us;
    d.body = slice_of(body);

    r = store_doc_put(s, STORE_DEAD_LETTER, &d, -1, &version);

    if (r == RESULT_OK) {
        log_rate(LOG_ERROR, "drain", "entry %s became a dead letter: %s", e->id,
            reason);
    }

    free(body);
    buf_cleanup(&packed);
    return r;
}


/* One page from the newest on; what goes beyond MAX is deleted. */
static enum result
deadletter_trim_page(struct store *s, int64_t max, int64_t *total,
    const struct store_doc *docs, size_t n)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        *total += (int64_t) docs[i].body.n;

        if (*total > max) {
            r = store_doc_delete(s, STORE_DEAD_LETTER, docs[i].id, -1);
            log_rate(LOG_WARN, "drain", "dead letters are over "
                "dead_letter_max_bytes: the oldest are deleted");
            r = r == RESULT_NOT_FOUND ? RESULT_OK : r;
        }
    }

    return r;
}


enum result
deadletter_trim(struct store *s, int64_t max)
{
    struct store_doc  *docs;
    struct arena       a;
    char               before[QUEUE_ID + 32] = "";
    int64_t            total = 0;
    size_t             n = DEADLETTER_PAGE;
    enum result        r = RESULT_OK;

    arena_init(&a, DEADLETTER_ARENA);

    while (r == RESULT_OK && n == DEADLETTER_PAGE) {
        arena_reset(&a);
        r = store_doc_list(s, STORE_DEAD_LETTER, LOGDOC_NONE, slice_of(before),
            true, DEADLETTER_PAGE, &a, &docs, &n);

        if (r == RESULT_OK) {
            r = deadletter_trim_page(s, max, &total, docs, n);
        }

        if (r == RESULT_OK && n > 0) {
            (void) snprintf(before, sizeof(before), "%.*s",
                SLICE_ARG(docs[n - 1].id));
        }
    }

    arena_cleanup(&a);
    return r;
}
