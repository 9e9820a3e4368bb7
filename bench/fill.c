/*
 * Deliveries that wait: N PENDING logs straight into a store, due now, spread
 * over integrations, with bodies of so many bytes.  What dispatch drains.
 *
 *   fill STORE N BYTES KIND INTEGRATION ..       kind: webhook | hl7
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "store.h"

#define FILL_BATCH  500

static struct logdoc      docs[FILL_BATCH];
static enum store_insert  outcome[FILL_BATCH];


static void
die(const char *what, const char *why)
{
    fprintf(stderr, "fill: %s: %s\n", what, why);
    exit(1);
}


static void
fill_one(struct logdoc *d, int64_t us, const char *kind, const char *id,
    struct slice body)
{
    logdoc_init(d);
    d->started_us = us;
    uuid_make(d->id, us);
    d->kind = strcmp(kind, "hl7") == 0 ? LOG_KIND_HL7 : LOG_KIND_WEBHOOK;
    d->status = LOG_PENDING;
    d->action_id = 1;
    d->action_category_id = 1;
    d->lab_id = 11;
    d->org_id = 3;
    d->integration_id = slice_of(id);
    d->endpoint = SLICE_LIT("bench");
    d->method = SLICE_LIT("POST");
    d->url = SLICE_LIT("http://127.0.0.1/");
    d->priority = 1;
    d->attempts = 0;
    d->next_attempt_us = us;

    if (d->kind == LOG_KIND_HL7) {
        d->lane = slice_of(id);
        d->lane_flags = LOG_LANE_ORDERED;
    }

    d->request.data = body;
    d->request.bytes = (int64_t) body.n;
}


/* As JSON, or as what a HL7 message is built from. */
static struct slice
body_make(const char *kind, size_t bytes)
{
    char  *p = malloc(bytes + 256);
    int    n;

    if (p == NULL) {
        die("body", "no memory");
    }

    if (strcmp(kind, "hl7") == 0) {
        n = snprintf(p, bytes + 256, "{\"message\":\"ADT^A04^ADT_A01\","
            "\"segments\":[[\"EVN\",\"A04\"],[\"PID\",1,null,\"P-1\"],"
            "[\"PV1\",1,\"O\"]]}");
        return (struct slice) { p, (size_t) n };
    }

    n = snprintf(p, bytes, "{\"bill_id\":\"B-1\",\"total\":10,\"pad\":\"");
    memset(p + n, 'x', bytes - (size_t) n - 2);

    /* not all the same, or it would compress to nothing */
    for (size_t i = (size_t) n; i < bytes - 2; i++) {
        p[i] = "abcdefghijklmnopqrstuvwxyz012345"[rand() % 32];
    }

    memcpy(p + bytes - 2, "\"}", 2);
    return (struct slice) { p, bytes };
}


int
main(int argc, char **argv)
{
    struct store_options  o = { .readers = 1 };
    struct store         *s;
    struct slice          body;
    char                  err[1024];
    size_t                n, left, some;
    int64_t               us;

    if (argc < 6) {
        die("usage", "STORE N BYTES KIND INTEGRATION ..");
    }

    o.uri = argv[1];

    if (store_open(&o, &s, err, sizeof(err)) != RESULT_OK) {
        die(argv[1], err);
    }

    n = strtoul(argv[2], NULL, 10);
    body = body_make(argv[4], strtoul(argv[3], NULL, 10));
    us = clock_wall_us() - (int64_t) n;

    for (left = n; left > 0; left -= some) {
        some = left < FILL_BATCH ? left : FILL_BATCH;

        for (size_t i = 0; i < some; i++) {
            fill_one(&docs[i], us++, argv[4],
                argv[5 + (left + i) % (size_t) (argc - 5)], body);
        }

        if (store_logs_insert(s, docs, some, outcome) != RESULT_OK) {
            die(argv[1], "insert failed");
        }
    }

    store_close(s);
    return 0;
}
