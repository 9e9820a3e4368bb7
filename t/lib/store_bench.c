/*
 * store_logs_insert on the Mongo protocol against the driver's own insert_many
 * of the same documents, made before the clock runs, into a database with the
 * same indexes.  Pairs are interleaved; the ratio is that of the sums.
 *
 *   store_bench OURS_URI RAW_URI PAIRS
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "clock.h"
#include "store_mongo_client.h"
#include "store_mongo_doc.h"

#define BATCH  500
#define BODY   1800                        /* each way: a document of 4 KB */

static char  body[BODY];


static void
log_make(struct logdoc *d, int64_t us)
{
    logdoc_init(d);
    uuid_make(d->id, us);
    d->started_us = us;
    d->kind = LOG_KIND_API;
    d->status = us % 20 == 0 ? LOG_FAIL : LOG_SUCCESS;
    d->http_status = us % 20 == 0 ? 500 : 200;
    d->duration_us = us % 90000;
    d->org_id = 1;
    d->lab_id = us % 5;
    d->action_id = us % 12;
    d->action_category_id = us % 6;
    d->developer_id = SLICE_LIT("01970000-0000-7000-8000-000000000001");
    d->endpoint = us % 2 ? SLICE_LIT("POST /api/v1/patients")
                         : SLICE_LIT("GET /api/v1/bills");
    d->method = SLICE_LIT("POST");
    d->url = SLICE_LIT("/api/v1/patients?lab=12");
    d->refs[0].name = SLICE_LIT("bill_id");
    d->refs[0].value = SLICE_LIT("B-100200");
    d->nrefs = 1;
    d->request.headers = SLICE_LIT("Host: lims.example\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\n"
        "User-Agent: client/1.0\r\nContent-Length: 1800\r\n");
    d->response.headers = SLICE_LIT("Content-Type: application/json\r\n"
        "Content-Length: 1800\r\nServer: nginx\r\n");
    d->request.data = (struct slice) { body, BODY };
    d->response.data = d->request.data;
    d->request.bytes = d->response.bytes = BODY;
    memcpy(d->digest, d->id, sizeof(d->digest));
}


static int64_t
cpu_us(void)
{
    struct rusage  u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000)
           + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}


/* Microseconds of the driver's insert; -1: it failed. */
static int64_t
raw_insert(struct mongo_store *m, const struct logdoc *docs)
{
    struct mongo_call   call;
    bson_error_t        e;
    bson_t             *bson[BATCH];
    bson_t              opts = BSON_INITIALIZER;
    int64_t             begun, took = -1;

    if (mongo_begin(m, MONGO_LOGS, &call) != RESULT_OK) {
        return -1;
    }

    for (int i = 0; i < BATCH; i++) {
        bson[i] = bson_new();
        if (mongo_log_encode(&docs[i], "w0123456789abcdef-1", bson[i])
            != RESULT_OK)
        {
            return -1;
        }
    }

    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);
    begun = clock_mono_us();
    if (mongoc_collection_insert_many(call.coll, (const bson_t **) bson, BATCH,
                                      &opts, NULL, &e))
    {
        took = clock_mono_us() - begun;
    }

    for (int i = 0; i < BATCH; i++) {
        bson_destroy(bson[i]);
    }

    bson_destroy(&opts);
    mongo_end(m, &call);
    return took;
}


static struct store *
open_or_exit(const char *uri)
{
    struct store_options  o = { .uri = uri, .readers = 1 };
    struct store         *s;
    char                  err[1024];

    if (store_open(&o, &s, err, sizeof(err)) != RESULT_OK) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }

    return s;
}


int
main(int argc, char **argv)
{
    enum store_insert   outcome[BATCH];
    struct store       *ours, *raw;
    struct logdoc      *docs;
    int64_t             sum[2] = { 0, 0 }, least[2] = { INT64_MAX, INT64_MAX };
    int64_t             took, begun, cpu = 0, us;
    int                 pairs = argc == 4 ? atoi(argv[3]) : 0;

    docs = calloc(BATCH, sizeof(*docs));
    if (pairs < 1 || docs == NULL) {
        fprintf(stderr, "usage: store_bench OURS_URI RAW_URI PAIRS\n");
        return 2;
    }

    ours = open_or_exit(argv[1]);
    raw = open_or_exit(argv[2]);
    memset(body, 'x', sizeof(body));

    for (int i = 0; i < pairs * 2; i++) {
        us = clock_wall_us();
        for (int k = 0; k < BATCH; k++) {
            log_make(&docs[k], us + k);
        }

        for (int k = 0; k < 2; k++) {
            /* who goes first changes from pair to pair */
            bool  mine = ((i + k) & 1) == 0;

            begun = clock_mono_us();
            cpu -= mine ? cpu_us() : 0;
            if (!mine) {
                took = raw_insert((struct mongo_store *) raw, docs);
            } else {
                took = store_logs_insert(ours, docs, BATCH, outcome)
                       == RESULT_OK && outcome[BATCH - 1] == STORE_NEW
                       ? clock_mono_us() - begun : -1;
                cpu += cpu_us();
            }

            if (took < 0) {
                fprintf(stderr, "an insert failed\n");
                return 1;
            }

            sum[mine] += took;
            least[mine] = took < least[mine] ? took : least[mine];
        }
    }

    printf("%.0f %.0f %.3f %.3f %.1f\n",
           2e6 * pairs * BATCH / (double) sum[1],
           2e6 * pairs * BATCH / (double) sum[0],
           (double) sum[0] / (double) sum[1],
           (double) least[0] / (double) least[1],
           (double) cpu / (2.0 * pairs * BATCH));

    store_close(ours);
    store_close(raw);
    free(docs);
    return 0;
}
