/*
 * A writer and reader of a store, for tests of its faults: commands on stdin,
 * one answer a line on stdout.  Log I is the same in every process, so that what
 * was written before a crash can be checked and written again after it.
 *
 *   open URI             RESULT TEXT
 *   insert FROM N SIZE   RESULT NEW SAME DIFFERENT REFUSED, in batches of 100
 *   odd FROM N           the same, every tenth log of a kind that is hard to keep
 *   check FROM N SIZE [STEP]   GOOD BAD MISSING    (odd: SIZE is -1)
 *   count                RESULT N
 *   cells                RESULT COUNTED EXACT      (sums over everything)
 *   agree [LABELS]       RESULT CELLS DIFFERENT    (bucket by bucket, by so many
 *                                                   kinds of label)
 *   put COLL ID FILE     RESULT                (COLL: number of enum store_coll)
 *   recount AGE_US       RESULT BUCKETS            (AGE_US: Mongo only)
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "store_mongo_client.h"

#define BASE_US   INT64_C(1767225600000000)        /* 2026-01-01 */
#define STEP_US   INT64_C(10000)
#define BATCH     100
#define BIG       (20 * 1024 * 1024)
#define ODD_KINDS 5

static struct store  *store;
static struct arena   arena;
static char          *big;
static char           filler[1024 * 1024];


static void
log_make(struct logdoc *d, int64_t i, int64_t size)
{
    logdoc_init(d);
    d->started_us = BASE_US + i * STEP_US;
    uuid_make(d->id, d->started_us);
    d->id[8] = 0x80;
    for (int k = 0; k < 7; k++) {
        d->id[9 + k] = (uint8_t) (i >> (8 * k));
    }
    memcpy(d->digest, d->id, sizeof(d->digest));

    d->kind = LOG_KIND_API;
    d->status = i % 7 == 0 ? LOG_FAIL : LOG_SUCCESS;
    d->http_status = i % 7 == 0 ? 500 : 200;
    d->duration_us = 100 + i;
    d->org_id = 1;
    d->lab_id = i % 3;
    d->action_id = 57;
    d->endpoint = i % 2 ? SLICE_LIT("GET /a") : SLICE_LIT("POST /b");
    d->url = SLICE_LIT("/a?lab=1");
    d->request.headers = SLICE_LIT("Host: a\r\nAccept: */*\r\n");
    d->request.data.p = filler + i % 1000;
    d->request.data.n = (size_t) size;
    d->request.bytes = size;
}


static void
log_make_odd(struct logdoc *d, int64_t i)
{
    log_make(d, i, 200);
    if (i % 10 != 0) {
        return;
    }

    switch (i / 10 % ODD_KINDS) {
    case 0:
        d->request.data = (struct slice) { big, BIG };
        break;
    case 1:
        d->response.data = SLICE_LIT("\xff\xfe bad \xc3\x28");
        d->url = SLICE_LIT("/\xc0\x80");
        break;
    case 2:
        d->response.data = SLICE_LIT("a\0b\0");
        d->endpoint = SLICE_LIT("GET /\0x");
        break;
    case 3:
        d->request.headers = SLICE_LIT("$a.b: $ne\r\n.x.: \xff\r\n");
        d->refs[0].name = SLICE_LIT("$a.b");
        d->refs[0].value = SLICE_LIT("$where");
        d->fields[0].name = SLICE_LIT("x.y");
        d->fields[0].value = SLICE_LIT("\0");
        d->nrefs = d->nfields = 1;
        break;
    default:
        d->request.headers = SLICE_LIT("no colon\r\n folded\n\0");
        d->response.data = SLICE_LIT("{\"$date\":\"bad\",\"a.b\":NaN}");
    }
}


static void
command_insert(int64_t from, int64_t n, int64_t size)
{
    enum store_insert   outcome[BATCH];
    struct logdoc      *docs = calloc(BATCH, sizeof(*docs));
    int64_t             sum[4] = { 0, 0, 0, 0 };
    enum result         r = docs == NULL ? RESULT_MEMORY : RESULT_OK;

    for (int64_t at = 0; r == RESULT_OK && at < n; at += BATCH) {
        size_t  k, batch = (size_t) (n - at < BATCH ? n - at : BATCH);

        for (k = 0; k < batch; k++) {
            if (size < 0) {
                log_make_odd(&docs[k], from + at + (int64_t) k);
            } else {
                log_make(&docs[k], from + at + (int64_t) k, size);
            }
        }

        r = store_logs_insert(store, docs, batch, outcome);
        for (k = 0; r == RESULT_OK && k < batch; k++) {
            sum[outcome[k]]++;
        }
    }

    free(docs);
    printf("%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
           r == RESULT_OK ? "ok" : "failed", sum[STORE_NEW], sum[STORE_SAME],
           sum[STORE_DIFFERENT], sum[STORE_REFUSED]);
}


static bool
log_equal(const struct logdoc *a, const struct logdoc *b)
{
    return a->started_us == b->started_us && a->status == b->status
           && a->lab_id == b->lab_id && a->duration_us == b->duration_us
           && slice_eq(a->endpoint, b->endpoint) && slice_eq(a->url, b->url)
           && slice_eq(a->request.headers, b->request.headers)
           && slice_eq(a->request.data, b->request.data)
           && slice_eq(a->response.data, b->response.data)
           && a->nrefs == b->nrefs && a->nfields == b->nfields
           && (a->nrefs == 0
               || (slice_eq(a->refs[0].name, b->refs[0].name)
                   && slice_eq(a->refs[0].value, b->refs[0].value)))
           && (a->nfields == 0
               || (slice_eq(a->fields[0].name, b->fields[0].name)
                   && slice_eq(a->fields[0].value, b->fields[0].value)));
}


static void
command_check(int64_t from, int64_t n, int64_t size, int64_t step)
{
    struct scope    all = { .platform = true };
    struct logdoc  *want = calloc(2, sizeof(*want));
    int64_t         good = 0, bad = 0, missing = 0;
    enum result     r;

    for (int64_t i = from; want != NULL && i < from + n; i += step) {
        if (size < 0) {
            log_make_odd(&want[0], i);
        } else {
            log_make(&want[0], i, size);
        }

        arena_reset(&arena);
        r = store_log_get(store, &all, want[0].id, &arena, &want[1]);
        if (r == RESULT_NOT_FOUND) {
            missing++;
        } else if (r == RESULT_OK && log_equal(&want[0], &want[1])) {
            good++;
        } else {
            bad++;
        }
    }

    free(want);
    printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", good, bad, missing);
}


static void
command_count(void)
{
    struct scope    all = { .platform = true };
    struct filter  *f = malloc(sizeof(*f));
    int64_t         n = 0;
    bool            capped = false;
    enum result     r = RESULT_MEMORY;

    if (f != NULL) {
        filter_init(f, &all);
        r = store_logs_count(store, f, 10000000, 0, &n, &capped);
    }

    free(f);
    printf("%s %" PRId64 "\n", r == RESULT_OK && !capped ? "ok" : "failed", n);
}


static int64_t
cells_sum(const struct store_cell *cells, size_t n)
{
    int64_t  sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += cells[i].ok + cells[i].fail;
    }

    return sum;
}


static void
command_cells(void)
{
    struct scope        all = { .platform = true };
    struct filter      *f = malloc(sizeof(*f));
    struct store_cell  *cells;
    size_t              n;
    int64_t             counted = 0, exact = 0;
    bool                partial = true;
    enum result         r = RESULT_MEMORY;

    if (f != NULL) {
        filter_init(f, &all);
        arena_reset(&arena);
        r = store_cells(store, f, STORE_BY_ENDPOINT, HEATMAP_HOUR_US, 0, true,
                        &arena, &cells, &n);
        counted = r == RESULT_OK ? cells_sum(cells, n) : -1;
    }

    if (r == RESULT_OK) {
        r = store_cells_exact(store, f, STORE_BY_ENDPOINT, HEATMAP_HOUR_US, 0,
                              clock_mono_us() + 20000000, &arena, &cells, &n,
                              &partial);
        exact = r == RESULT_OK ? cells_sum(cells, n) : -1;
    }

    free(f);
    printf("%s %" PRId64 " %" PRId64 "\n",
           r == RESULT_OK && !partial ? "ok" : "failed", counted, exact);
}


static int
cell_order(const void *a, const void *b)
{
    const struct store_cell  *x = a, *y = b;
    size_t                    n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int                       c = n == 0 ? 0 : memcmp(x->key.p, y->key.p, n);

    if (c == 0 && x->key.n != y->key.n) {
        c = x->key.n < y->key.n ? -1 : 1;
    }

    return c != 0 ? c : (x->at_us > y->at_us) - (x->at_us < y->at_us);
}


static bool
cell_is_empty(const struct store_cell *c)
{
    return c->ok == 0 && c->fail == 0;
}


/* Cells of sorted lists that are not in both, or count otherwise. */
static int64_t
cells_differ(const struct store_cell *a, size_t na, const struct store_cell *b,
             size_t nb)
{
    int64_t  different = 0;
    size_t   i = 0, j = 0;
    int      c;

    while (i < na || j < nb) {
        c = i == na ? 1 : j == nb ? -1 : cell_order(&a[i], &b[j]);

        if (c == 0) {
            different += a[i].ok != b[j].ok || a[i].fail != b[j].fail
                         || memcmp(a[i].hist, b[j].hist, sizeof(a[i].hist));
        } else {
            different += !cell_is_empty(c < 0 ? &a[i] : &b[j]);
        }

        i += c <= 0;
        j += c >= 0;
    }

    return different;
}


static enum result
cells_agree(struct filter *f, enum store_by by, int64_t *total,
            int64_t *different)
{
    struct store_cell  *kept, *exact;
    size_t              nkept, nexact;
    bool                partial = true;
    enum result         r;

    arena_reset(&arena);
    r = store_cells(store, f, by, HEATMAP_BUCKET_US, 0, true, &arena, &kept,
                    &nkept);
    if (r == RESULT_OK) {
        r = store_cells_exact(store, f, by, HEATMAP_BUCKET_US, 0,
                              clock_mono_us() + 20000000, &arena, &exact,
                              &nexact, &partial);
    }

    if (r != RESULT_OK || partial) {
        return r == RESULT_OK ? RESULT_TIMEOUT : r;
    }

    qsort(kept, nkept, sizeof(*kept), cell_order);
    qsort(exact, nexact, sizeof(*exact), cell_order);
    *total += (int64_t) nexact;
    *different += cells_differ(kept, nkept, exact, nexact);
    return RESULT_OK;
}


static void
command_agree(int64_t labels)
{
    struct scope    all = { .platform = true };
    struct filter  *f = malloc(sizeof(*f));
    int64_t         total = 0, different = 0;
    enum result     r = f == NULL ? RESULT_MEMORY : RESULT_OK;

    if (f != NULL) {
        filter_init(f, &all);
    }

    for (int by = STORE_BY_NONE; r == RESULT_OK && by < labels; by++) {
        r = cells_agree(f, (enum store_by) by, &total, &different);
    }

    free(f);
    printf("%s %" PRId64 " %" PRId64 "\n", r == RESULT_OK ? "ok" : "failed",
           total, different);
}


static void
command_recount(int64_t age_us)
{
    unsigned     done = 0;
    enum result  r;

    if (strcmp(store_name(store), "mongo") == 0) {
        ((struct mongo_store *) store)->stale_us = age_us;
    }

    r = store_recount(store, 1000000, &done);
    printf("%s %u\n", r == RESULT_OK ? "ok" : "failed", done);
}


/* "COLL ID FILE": a document as a crash may have left it. */
static void
command_put(const char *args)
{
    struct store_doc  d = { .org_id = LOGDOC_NONE,
        .created_us = clock_wall_us(), .updated_us = clock_wall_us(),
        .expires_us = LOGDOC_NONE };
    char              id[128] = "", path[256] = "";
    int               coll = 0;
    int64_t           version;
    FILE             *f = NULL;
    size_t            n = 0;
    enum result       r = RESULT_INVALID;

    if (sscanf(args, "%d %127s %255s", &coll, id, path) == 3) {
        f = fopen(path, "r");
    }

    if (f != NULL) {
        n = fread(filler, 1, sizeof(filler), f);
        (void) fclose(f);
        d.id = slice_of(id);
        d.body = (struct slice) { filler, n };
        r = store_doc_put(store, (enum store_coll) coll, &d, -1, &version);
    }

    printf("%s\n", r == RESULT_OK ? "ok" : "failed");
}


static void
command_open(const char *uri)
{
    struct store_options  o = { .uri = uri, .readers = 1 };
    char                  err[1024] = "";
    enum result           r;

    store_close(store);
    store = NULL;
    r = store_open(&o, &store, err, sizeof(err));
    printf("%s %s\n", r == RESULT_OK ? "ok" : "failed", err);
}


static void
command(const char *line)
{
    char     word[32] = "", rest[512] = "";
    int64_t  a = 0, b = 0, c = 0, d = 1;

    (void) sscanf(line, "%31s %511s", word, rest);
    (void) sscanf(line, "%*s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64,
                  &a, &b, &c, &d);

    if (strcmp(word, "open") == 0) {
        command_open(rest);
    } else if (store == NULL) {
        printf("failed: no store is open\n");
    } else if (strcmp(word, "insert") == 0) {
        command_insert(a, b, c);
    } else if (strcmp(word, "odd") == 0) {
        command_insert(a, b, -1);
    } else if (strcmp(word, "check") == 0) {
        command_check(a, b, c, d < 1 ? 1 : d);
    } else if (strcmp(word, "count") == 0) {
        command_count();
    } else if (strcmp(word, "cells") == 0) {
        command_cells();
    } else if (strcmp(word, "agree") == 0) {
        command_agree(a < 1 ? STORE_BY_KIND + 1 : a);
    } else if (strcmp(word, "put") == 0) {
        command_put(line + 4);
    } else if (strcmp(word, "recount") == 0) {
        command_recount(a);
    } else {
        printf("failed: unknown command\n");
    }

    fflush(stdout);
}


int
main(void)
{
    char  line[1024];

    big = malloc(BIG);
    if (big == NULL) {
        return 1;
    }

    memset(big, 'x', BIG);
    for (size_t i = 0; i < sizeof(filler); i++) {
        filler[i] = (char) ('a' + i * 7 % 26);
    }

    arena_init(&arena, 256 * 1024 * 1024);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        command(line);
    }

    store_close(store);
    arena_cleanup(&arena);
    free(big);
    return 0;
}
