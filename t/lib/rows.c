/*
 * What the store holds, for the judge of the storm tests: every log, oldest
 * first, as "id sha256-of-kept-request-body bytes cut http status".
 *
 *     rows sqlite:/path | rows mongodb://.. [STEP]
 *
 * STEP: the body of every so many-th log only, "-" for the others: a server
 * that reads all it has to find one log would need hours.
 */

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "store.h"

#define ROWS_PAGE   500
#define ROWS_ARENA  (64 * 1024 * 1024)


static void
rows_print(const struct logdoc *d, bool body)
{
    unsigned char  digest[SHA256_DIGEST_LENGTH];
    char           id[UUID_TEXT + 1];

    uuid_text(d->id, id);
    SHA256((const unsigned char *) d->request.data.p, d->request.data.n,
        digest);

    printf("%s ", id);
    for (size_t i = 0; body && i < sizeof(digest); i++) {
        printf("%02x", digest[i]);
    }

    printf("%s %" PRId64 " %.*s %" PRId64 " %s\n", body ? "" : "-",
        d->request.bytes == LOGDOC_NONE ? -1 : d->request.bytes,
        d->request.cut.n > 0 ? (int) d->request.cut.n : 1,
        d->request.cut.n > 0 ? d->request.cut.p : "-",
        d->http_status == LOGDOC_NONE ? -1 : d->http_status,
        log_status_text(d->status));
}


/* One page and its bodies; *more tells whether another follows. */
static enum result
rows_page(struct store *s, const struct filter *f, struct store_page *page,
    unsigned step, bool *more)
{
    static unsigned    count;
    struct store_rows  rows;
    struct logdoc      one;
    struct arena       list, bodies;
    enum result        r;

    arena_init(&list, ROWS_ARENA);
    arena_init(&bodies, ROWS_ARENA);
    page->deadline_us = clock_mono_us() + 60 * INT64_C(1000000);

    r = store_logs_find(s, f, page, &list, &rows);
    if (r == RESULT_OK && rows.partial && rows.n == 0) {
        r = RESULT_TIMEOUT;                /* no end, and no way on */
    }

    for (size_t i = 0; r == RESULT_OK && i < rows.n; i++) {
        bool  body = count++ % step == 0;

        arena_reset(&bodies);
        one = rows.rows[i];
        if (body) {
            r = store_log_get(s, &f->scope, rows.rows[i].id, &bodies, &one);
        }

        if (r == RESULT_OK) {
            rows_print(&one, body);
            page->has_after = true;
            page->after_us = one.started_us;
            memcpy(page->after_id, one.id, sizeof(one.id));
        }
    }

    *more = r == RESULT_OK && rows.n > 0 && (rows.more || rows.partial);
    arena_cleanup(&bodies);
    arena_cleanup(&list);
    return r;
}


int
main(int argc, char **argv)
{
    struct store_options  o = { .readers = 1, .read_only = true };
    struct store_page     page = { .limit = ROWS_PAGE, .ascending = true };
    struct scope          scope = { .platform = true, .org_id = 0 };
    struct filter         f;
    struct store         *s;
    enum result           r;
    bool                  more;
    int                   step;
    char                  err[512];

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: rows sqlite:/path | rows mongodb://.. "
            "[STEP]\n");
        return 2;
    }

    step = argc == 3 ? atoi(argv[2]) : 1;
    step = step < 1 ? 1 : step;

    o.uri = argv[1];
    r = store_open(&o, &s, err, sizeof(err));
    if (r != RESULT_OK) {
        fprintf(stderr, "rows: %s: %s\n", argv[1], err);
        return 1;
    }

    filter_init(&f, &scope);
    do {
        r = rows_page(s, &f, &page, (unsigned) step, &more);
    } while (more);

    store_close(s);
    if (r != RESULT_OK) {
        fprintf(stderr, "rows: %s\n", result_text(r));
        return 1;
    }
    return 0;
}
