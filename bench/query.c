/*
 * Queries on a large store: fills a SQLite file (or STORE_URI) with N logs of
 * 30 days, then times each kind of query.  Prints "name value unit", first the
 * rate of inserts, then p50 and p99 of each.  query.pl runs it, and asks the
 * same of the API.
 *
 *   query [N] [file]      1000000 logs; the file is kept when it was named
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "store.h"

#define BATCH    500
#define RUNS     200
#define RUNS_MIN 20
#define RUNS_US  2000000                   /* of one query, then it is enough */
#define DAYS     30
#define ORGS     10
#define LABS     100                       /* ten of each org */

struct world {
    struct store  *s;
    struct arena   arena;
    int64_t        from_us, to_us;
    int64_t        n;
    uint64_t       random;
};

static const struct scope  everybody = { .platform = true };


static uint64_t
rnd(struct world *w, uint64_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % n;
}


static int64_t
cpu_us(clockid_t clock)
{
    struct timespec  t;

    clock_gettime(clock, &t);
    return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}


static int64_t
thread_cpu_us(void)
{
    return cpu_us(CLOCK_THREAD_CPUTIME_ID);
}


static int64_t
process_cpu_us(void)
{
    return cpu_us(CLOCK_PROCESS_CPUTIME_ID);
}


static void
die(const char *what, enum result r)
{
    fprintf(stderr, "query: %s: %s\n", what, result_text(r));
    exit(1);
}


/* PREFIX and a number of at least WIDTH digits. */
static struct slice
text(struct world *w, const char *prefix, int width, uint64_t n)
{
    char  line[256];

    snprintf(line, sizeof(line), "%s%0*" PRIu64, prefix, width, n);
    return arena_copy(&w->arena, slice_of(line));
}


static void
ref_add(struct world *w, struct logdoc *d, const char *name, uint64_t n)
{
    d->refs[d->nrefs].name = slice_of(name);
    d->refs[d->nrefs++].value = text(w, "", 1, n);
}


/* About 1.5 KB of JSON that compresses as such bodies do. */
static struct slice
body_make(struct world *w)
{
    char    json[2048];
    size_t  n = 0;

    n += (size_t) snprintf(json, sizeof(json), "{\"patient\":%" PRIu64
        ",\"tests\":[", rnd(w, 1000000));

    for (int i = 0; i < 12; i++) {
        n += (size_t) snprintf(json + n, sizeof(json) - n, "%s{\"code\":\"T%"
            PRIu64 "\",\"name\":\"Complete blood count\",\"value\":%" PRIu64
            ".%" PRIu64 ",\"unit\":\"mg/dL\"}", i == 0 ? "" : ",",
            rnd(w, 900), rnd(w, 200), rnd(w, 100));
    }

    snprintf(json + n, sizeof(json) - n, "]}");
    return arena_copy(&w->arena, slice_of(json));
}


static void
doc_make(struct world *w, struct logdoc *d, int64_t i)
{
    uint64_t  kind = rnd(w, 10);

    logdoc_init(d);
    d->started_us = w->from_us
        + (w->to_us - w->from_us) / w->n * i + (int64_t) rnd(w, 1000);
    uuid_make(d->id, d->started_us);
    d->kind = kind < 7 ? LOG_KIND_API : kind < 9 ? LOG_KIND_WEBHOOK
                                                 : LOG_KIND_HL7;
    d->status = rnd(w, 20) == 0 ? LOG_FAIL : LOG_SUCCESS;
    d->lab_id = 1 + (int64_t) rnd(w, LABS);
    d->org_id = 1 + d->lab_id % ORGS;
    d->action_id = 1 + (int64_t) rnd(w, 60);
    d->action_category_id = 1 + d->action_id % 6;
    d->developer_id = text(w, "0190aaaa-0000-7000-8000-", 12,
        rnd(w, 50));
    d->endpoint = text(w, "POST /api/v1/endpoint-", 1,
        (uint64_t) d->action_id);
    d->method = SLICE_LIT("POST");
    d->scheme = SLICE_LIT("https");
    d->host = SLICE_LIT("lims.example.org");
    d->protocol = SLICE_LIT("HTTP/1.1");
    d->url = text(w, "/api/v1/endpoint?order=", 1, rnd(w, 1u << 30));
    d->http_status = d->status == LOG_SUCCESS ? 200
        : rnd(w, 3) ? 422 : rnd(w, 50) ? 503 : 504;
    d->duration_us = 500 + (int64_t) (rnd(w, 1000) * rnd(w, 1000));
    d->complete = 1;
    d->client_ip = SLICE_LIT("192.0.2.77");
    d->trace_id = text(w, "", 32, w->random);
    ref_add(w, d, "bill_id", rnd(w, (uint64_t) w->n / 4 + 1));
    ref_add(w, d, "patient_id", rnd(w, (uint64_t) w->n / 20 + 1));
    d->expires_us = d->started_us + 90 * HEATMAP_DAY_US;
    memcpy(d->digest, &w->random, 8);

    if (d->status == LOG_FAIL) {
        d->error_code = text(w, "E", 1, rnd(w, 5));
        d->error_message = SLICE_LIT("the upstream has refused the order");
        d->error_fingerprint = logdoc_fingerprint(d);
    }

    d->request.headers = SLICE_LIT("Host: lims.example.org\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\nUser-Agent: orders/3.1\r\n");
    d->response.headers = SLICE_LIT("Content-Type: application/json\r\n"
        "Server: lims\r\nCache-Control: no-store\r\n");
    d->request.data = body_make(w);
    d->request.bytes = (int64_t) d->request.data.n;
    d->response.data = SLICE_LIT("{\"status\":\"accepted\",\"queue\":7}");
    d->response.bytes = (int64_t) d->response.data.n;
}


static void
fill(struct world *w)
{
    static struct logdoc      docs[BATCH];
    static enum store_insert  outcome[BATCH];
    enum result               r;
    int64_t                   spent = 0, began, made = 0;
    int64_t                   cpu = process_cpu_us();

    for (int64_t i = 0; i < w->n; i += BATCH) {
        size_t  n = w->n - i < BATCH ? (size_t) (w->n - i) : BATCH;

        made -= thread_cpu_us();
        arena_reset(&w->arena);
        for (size_t j = 0; j < n; j++) {
            doc_make(w, &docs[j], i + (int64_t) j);
        }

        made += thread_cpu_us();
        began = clock_mono_us();
        r = store_logs_insert(w->s, docs, n, outcome);
        spent += clock_mono_us() - began;

        if (r != RESULT_OK) {
            die("insert", r);
        }
    }

    printf("query.insert %.0f logs/s\n", (double) w->n * 1e6
        / (double) spent);
    printf("query.insert_cpu %.1f us/log\n", (double) (process_cpu_us()
        - cpu - made) / (double) w->n);
}


static void
roll(struct world *w)
{
    int64_t      began = clock_mono_us();
    unsigned     done, all = 0;
    enum result  r;

    do {
        r = store_recount(w->s, 100, &done);
        if (r != RESULT_OK) {
            die("recount", r);
        }

        all += done;
    } while (done > 0);

    printf("query.recount %.1f ms/block\n", all == 0 ? 0.0
        : (double) (clock_mono_us() - began) / 1e3 / all);
}


static int
time_order(const void *a, const void *b)
{
    int64_t  x = *(const int64_t *) a, y = *(const int64_t *) b;

    return x < y ? -1 : x > y;
}


/* Wall time is the figure; CPU time beside it tells a busy machine apart. */
static void
times_print(const char *name, int64_t *times, int64_t *cpu, unsigned n,
    size_t rows, unsigned partial)
{
    qsort(times, n, sizeof(times[0]), time_order);
    qsort(cpu, n, sizeof(cpu[0]), time_order);
    printf("query.%s.p50 %.2f ms\nquery.%s.p99 %.2f ms\n", name,
        (double) times[n / 2] / 1e3, name,
        (double) times[n * 99 / 100] / 1e3);
    printf("query.%s.cpu_p99 %.2f ms\n", name,
        (double) cpu[n * 99 / 100] / 1e3);
    printf("query.%s.rows %zu rows\n", name, rows / n);

    if (partial > 0) {
        printf("query.%s.partial %u of %u\n", name, partial, n);
    }

    fflush(stdout);
}


/* Parameters as in a query string; %N is a random number below N. */
static void
filter_fill(struct world *w, struct filter *f, const char *query)
{
    char         line[256], *name, *value, *rest = line, *mark;
    const char  *why;

    snprintf(line, sizeof(line), "%s", query);

    while (*line != '\0' && (name = strsep(&rest, "&")) != NULL) {
        value = strchr(name, '=');
        *value++ = '\0';
        mark = strchr(value, '%');

        if (mark != NULL) {
            *mark++ = '\0';
        }

        if (filter_add(f, arena_copy(&w->arena, slice_of(name)),
                mark == NULL ? arena_copy(&w->arena, slice_of(value))
                : arena_printf(&w->arena, "%s%" PRIu64, value,
                      1 + rnd(w, strtoull(mark, NULL, 10))), &why)
            != RESULT_OK)
        {
            fprintf(stderr, "query: %s %s\n", name, why);
            exit(1);
        }
    }
}


static void
time_find(struct world *w, const char *name, const char *query, int64_t org)
{
    const struct scope  own = { .org_id = org };
    struct store_page   p = { .limit = 50 };
    struct store_rows   rows;
    struct filter       f;
    int64_t             times[RUNS], cpu[RUNS];
    size_t              total = 0;
    unsigned            partial = 0, i;
    int64_t             end = clock_mono_us() + RUNS_US;
    enum result         r;

    for (i = 0; i < RUNS && (i < RUNS_MIN || clock_mono_us() < end); i++) {
        arena_reset(&w->arena);
        filter_init(&f, org == 0 ? &everybody : &own);
        filter_fill(w, &f, query);

        /* a page somewhere, not always the newest */
        p.has_after = i % 2;
        p.after_us = w->from_us + (w->to_us - w->from_us)
            / 100 * (int64_t) (10 + rnd(w, 90));
        uuid_make(p.after_id, p.after_us);

        cpu[i] = thread_cpu_us();
        times[i] = clock_mono_us();
        p.deadline_us = times[i] + 200000;
        r = store_logs_find(w->s, &f, &p, &w->arena, &rows);
        times[i] = clock_mono_us() - times[i];
        cpu[i] = thread_cpu_us() - cpu[i];

        if (r != RESULT_OK) {
            die(name, r);
        }

        total += rows.n;
        partial += rows.partial;
    }

    times_print(name, times, cpu, i, total, partial);
}


static void
time_cells(struct world *w, const char *name, const char *query, int64_t org,
    enum store_by by)
{
    const struct scope   own = { .org_id = org };
    struct store_cell   *cells;
    struct filter        f;
    int64_t              times[RUNS], cpu[RUNS];
    size_t               total = 0, n;
    unsigned             i;
    int64_t              end = clock_mono_us() + RUNS_US;
    enum result          r;

    for (i = 0; i < RUNS && (i < RUNS_MIN || clock_mono_us() < end); i++) {
        arena_reset(&w->arena);
        filter_init(&f, org == 0 ? &everybody : &own);
        filter_fill(w, &f, query);
        f.from_us = w->to_us - DAYS * HEATMAP_DAY_US;
        f.to_us = w->to_us;

        cpu[i] = thread_cpu_us();
        times[i] = clock_mono_us();
        r = store_cells(w->s, &f, by, 8 * HEATMAP_HOUR_US, 0, true, &w->arena,
            &cells, &n);
        times[i] = clock_mono_us() - times[i];
        cpu[i] = thread_cpu_us() - cpu[i];

        if (r != RESULT_OK) {
            die(name, r);
        }

        total += n;
    }

    times_print(name, times, cpu, i, total, 0);
}


static void
time_rest(struct world *w)
{
    struct store_error_group  *groups;
    struct store_stats         stats;
    struct filter              f;
    int64_t                    times[20], cpu[20], n;
    size_t                     ngroups = 0;
    bool                       flag;
    enum result                r;

    for (int i = 0; i < 20; i++) {
        arena_reset(&w->arena);
        filter_init(&f, &everybody);
        cpu[i] = thread_cpu_us();
        times[i] = clock_mono_us();
        r = store_error_groups(w->s, &f, 50, times[i] + 1000000, &w->arena,
            &groups, &ngroups, &flag);
        times[i] = clock_mono_us() - times[i];
        cpu[i] = thread_cpu_us() - cpu[i];
        if (r != RESULT_OK) {
            die("errors", r);
        }
    }

    times_print("errors", times, cpu, 20, ngroups * 20, 0);

    for (int i = 0; i < 20; i++) {
        filter_init(&f, &everybody);
        cpu[i] = thread_cpu_us();
        times[i] = clock_mono_us();
        r = store_logs_count(w->s, &f, 10000, times[i] + 1000000, &n, &flag);
        times[i] = clock_mono_us() - times[i];
        cpu[i] = thread_cpu_us() - cpu[i];
        if (r != RESULT_OK) {
            die("count", r);
        }
    }

    times_print("count_10000", times, cpu, 20, (size_t) n * 20, 0);

    r = store_stats(w->s, &stats);
    if (r != RESULT_OK) {
        die("stats", r);
    }

    printf("query.bytes_a_log %.0f bytes\n", (double) stats.bytes
        / (double) stats.logs);
}


static void
run(struct world *w)
{
    static const struct {
        const char  *name, *query;
        int64_t      org;
    } pages[] = {
        { "newest", "", 0 },
        { "own_org", "", 3 },
        { "status", "status=FAIL", 0 },
        { "status_org", "status=FAIL", 3 },
        { "kind", "kind=hl7", 0 },
        { "lab", "lab_id=%100", 0 },
        { "action", "action_id=%60", 0 },
        { "endpoint", "endpoint=POST /api/v1/endpoint-%60", 0 },
        { "developer", "developer_id=0190aaaa-0000-7000-8000-00000000000%9",
          0 },
        { "http", "http=504", 0 },
        { "http_class", "http=5xx", 0 },
        { "bill", "ref[bill_id]=%100000", 0 },
        { "patient", "ref[patient_id]=%40000", 0 },
        { "trace_unknown", "trace_id=nowhere%1000", 0 },
        { "lab_status", "lab_id=%100&status=FAIL", 0 },
        { "lab_action", "lab_id=%100&action_id=%60", 0 },
        { "many", "lab_id=%100&action_id=%60&status=FAIL&http=503", 0 },
        { "two_labs", "lab_id=%100&lab_id=%100&status=FAIL", 0 },
        { "q", "q=order=77%1000", 0 },
        { "slow", "duration_ms[gt]=998", 0 },
    };

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        time_find(w, pages[i].name, pages[i].query, pages[i].org);
    }

    time_cells(w, "heatmap", "", 0, STORE_BY_ENDPOINT);
    time_cells(w, "heatmap_org", "", 3, STORE_BY_ENDPOINT);
    time_cells(w, "heatmap_lab", "lab_id=%100", 0, STORE_BY_ENDPOINT);
    time_cells(w, "heatmap_kind", "kind=api", 0, STORE_BY_ACTION);
    time_cells(w, "heatmap_total", "", 0, STORE_BY_NONE);
    time_rest(w);
}


int
main(int argc, char **argv)
{
    struct store_options  o = { .readers = 4 };
    struct store_stats    stats;
    struct world          w = { .random = 42 };
    char                  uri[512], err[512], dir[] = "/tmp/query.XXXXXX";
    bool                  keep = argc > 2 || getenv("STORE_URI") != NULL;

    w.n = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;

    if (w.n < 1000 || (!keep && mkdtemp(dir) == NULL)) {
        fprintf(stderr, "usage: query [logs, at least 1000] [file [fill]]\n");
        return 2;
    }

    snprintf(uri, sizeof(uri), "sqlite:%s%s", argc > 2 ? argv[2] : dir,
        argc > 2 ? "" : "/query.db");
    o.uri = getenv("STORE_URI") != NULL ? getenv("STORE_URI") : uri;

    if (store_open(&o, &w.s, err, sizeof(err)) != RESULT_OK) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }

    arena_init(&w.arena, 256 * 1024 * 1024);
    w.to_us = clock_wall_us() / HEATMAP_DAY_US * HEATMAP_DAY_US;
    w.from_us = w.to_us - DAYS * HEATMAP_DAY_US;

    if (store_stats(w.s, &stats) != RESULT_OK) {
        fprintf(stderr, "query: no stats\n");
        return 1;
    }

    if (stats.logs < w.n) {
        fill(&w);
    }

    roll(&w);
    if (argc < 4) {
        run(&w);
    }

    store_close(w.s);
    arena_cleanup(&w.arena);

    if (!keep) {
        snprintf(uri, sizeof(uri), "%s/query.db", dir);
        unlink(uri);
        rmdir(dir);
    }

    return 0;
}
