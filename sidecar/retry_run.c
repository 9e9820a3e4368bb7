/*
 * One thread, all jobs in turn.  Of a job it holds the counters and the chunks
 * that are not settled.  Order of writes for what is sent: the ids of the
 * copies into the items, the copies as PENDING logs, the due queue; the
 * counters follow when there is time.  Whoever takes a job over counts its
 * items anew and looks for each planned copy before it makes one.
 *
 * Every failed write drops the job from memory: it is read anew, so a runner
 * that was frozen meanwhile learns that it is not the runner any more.
 */

#include "retry_run.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "changes.h"
#include "clock.h"
#include "log.h"
#include "retry_items.h"

#define RUN_JOBS        16                 /* at once */
#define RUN_CHUNKS      4                  /* of a job, not settled */
#define RUN_GROUP       20                 /* copies of one write */
#define RUN_TURN_US     50000
#define RUN_IDLE_US     300000
#define RUN_LOOK_US     200000             /* the job's document, a copy's log */
#define RUN_SLOW_US     1000000            /* a copy that waits long */
#define RUN_SAVE_US     500000
#define RUN_LEASE_US    INT64_C(15000000)
#define RUN_LINGER_US   INT64_C(60000000)  /* for what a cancelled job sent */
#define RUN_ARENA       (96 * 1024 * 1024)

struct job {
    struct job          *next;
    struct retry_doc     doc;
    char                 id[UUID_TEXT + 1];
    char                 plan[UUID_TEXT + 1];
    int64_t              mark;             /* version of its mark */
    int64_t              chunks, next_chunk;
    struct retry_items  *live;             /* oldest first */
    int64_t              sent, succeeded, failed, skipped, consecutive;
    double               tokens;
    int64_t              turn_us, look_us, save_us, lease_us, ended_us;
    bool                 dirty, drop;
};

struct retry_run {
    const struct config  *config;
    struct store         *store;
    struct outbound      *outbound;
    struct redis         *redis;           /* for changes */
    char                  owner[UUID_TEXT + 1];
    struct job           *jobs;
    unsigned              njobs;
    struct arena          arena;
    pthread_t             thread;
    bool                  started;
    _Atomic bool          stop;
};


static bool
job_is(const struct job *j, const char *state)
{
    const char  *is = json_string_value(json_object_get(j->doc.v, "state"));

    return is != NULL && strcmp(is, state) == 0;
}


static void
job_become(struct job *j, const char *state)
{
    (void) json_object_set_new(j->doc.v, "state", json_string(state));
    j->dirty = true;
}


static int64_t
job_int(const struct job *j, const char *name)
{
    return json_integer_value(json_object_get(j->doc.v, name));
}


static int64_t
lease_of(const struct retry_run *run)
{
    int64_t  us = run->config->dispatch_lease_us;

    return us < RUN_LEASE_US ? us : RUN_LEASE_US;
}


/* Sent and not yet settled. */
static int64_t
job_open(const struct job *j)
{
    return j->sent - j->succeeded - j->failed;
}


static void
job_free(struct job *j)
{
    struct retry_items  *c;

    while ((c = j->live) != NULL) {
        j->live = c->next;
        retry_items_free(c);
    }

    retry_doc_cleanup(&j->doc);
    free(j);
}


/* -- keeping ------------------------------------------------------------- */

static void
job_numbers(struct job *j)
{
    int64_t  left = job_int(j, "total") - j->sent - j->skipped;
    int64_t  rate = job_int(j, "rate_per_s");
    int64_t  now_us = clock_wall_us();

    const struct {
        const char  *name;
        int64_t      n;
    } numbers[] = {
        { "done", j->succeeded + j->failed + j->skipped },
        { "sent", j->sent }, { "succeeded", j->succeeded },
        { "failed", j->failed }, { "skipped", j->skipped },
        { "consecutive_failures", j->consecutive }
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void) json_object_set_new(j->doc.v, numbers[i].name,
            json_integer(numbers[i].n));
    }

    retry_time(j->doc.v, "updated_at", now_us);
    retry_time(j->doc.v, "eta", job_is(j, "running") && rate > 0
        ? now_us + left * 1000000 / rate : LOGDOC_NONE);
}


static void
job_announce(struct retry_run *run, const struct job *j)
{
    static const char *const  shown[] = { "id", "state", "total", "done",
                                          "sent", "succeeded", "failed",
                                          "skipped", "eta" };
    json_t                   *v = json_object();
    char                     *text, *labs;

    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        (void) json_object_set(v, shown[i],
            json_object_get(j->doc.v, shown[i]));
    }

    text = json_dumps(v, JSON_COMPACT);
    labs = json_dumps(json_object_get(j->doc.v, "_labs"),
        JSON_COMPACT | JSON_ENCODE_ANY);

    if (text == NULL || labs == NULL
        || changes_job(run->redis, run->config, j->doc.org_id, labs, text)
           != RESULT_OK)
    {
        log_rate(LOG_WARN, "retry", "live clients miss the progress of a "
            "job");
    }

    free(text);
    free(labs);
    json_decref(v);
}


static enum result
job_write(struct retry_run *run, struct job *j, bool keep)
{
    enum result  r;

    job_numbers(j);

    if (keep) {
        (void) json_object_set_new(j->doc.v, "_lease", json_pack("{s:s,s:I}",
            "owner", run->owner, "until_us",
            (json_int_t) (clock_wall_us() + lease_of(run))));
    } else {
        (void) json_object_del(j->doc.v, "_lease");
    }

    r = retry_doc_put(run->store, &j->doc);

    if (r == RESULT_OK) {
        j->dirty = false;
        j->save_us = j->lease_us = clock_mono_us();
        job_announce(run, j);
    }

    return r;
}


static bool
chunk_settled(const struct retry_items *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->item[i].state == RETRY_WAITING
            || c->item[i].state == RETRY_SENT)
        {
            return false;
        }
    }

    return true;
}


/* Counters and items; items that are settled leave the memory. */
static enum result
job_save(struct retry_run *run, struct job *j)
{
    struct retry_items  **at = &j->live, *c;
    enum result           r = RESULT_OK;

    while ((c = *at) != NULL && r == RESULT_OK) {
        r = retry_items_put(run->store, c);

        if (r == RESULT_OK && chunk_settled(c)) {
            *at = c->next;
            retry_items_free(c);
        } else {
            at = &c->next;
        }
    }

    return r != RESULT_OK ? r : job_write(run, j, true);
}


/* -- taking over --------------------------------------------------------- */

static void
count_item(struct job *j, const struct retry_item *it)
{
    j->sent += it->state == RETRY_SENT || it->state == RETRY_SUCCEEDED
               || it->state == RETRY_FAILED;
    j->succeeded += it->state == RETRY_SUCCEEDED;
    j->failed += it->state == RETRY_FAILED;
    j->skipped += it->state == RETRY_SKIPPED;
}


/* A copy that was planned may have been made by who died since. */
static enum result
item_recover(struct retry_run *run, struct job *j, struct retry_item *it)
{
    const struct scope  all = { .platform = true };
    struct events      *events;
    struct logdoc      *d = arena_alloc(&run->arena, sizeof(*d));
    enum result         r;

    if (it->state != RETRY_WAITING || uuid_is_null(it->copy)) {
        return RESULT_OK;
    }

    if (d == NULL) {
        return RESULT_MEMORY;
    }

    r = store_log_get(run->store, &all, it->copy, &run->arena, d);

    if (r == RESULT_OK) {
        events = outbound_take(run->outbound);
        events_queue(events, d, 1);
        outbound_give(run->outbound, events);
        it->state = RETRY_SENT;
        it->sent_us = d->started_us;
        j->dirty = true;
    }

    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


static enum result
job_read_items(struct retry_run *run, struct job *j)
{
    struct retry_items  **tail = &j->live, *c;
    enum result           r = RESULT_OK;

    for (int64_t n = 0; n < j->chunks && r == RESULT_OK; n++) {
        r = retry_items_get(run->store, j->id, j->plan, n, &c);

        if (r != RESULT_OK) {
            return r;
        }

        if (c->doc.version == 0) {         /* not begun */
            retry_items_free(c);
            break;
        }

        j->next_chunk = n + 1;
        arena_reset(&run->arena);

        for (size_t i = 0; i < c->count && r == RESULT_OK; i++) {
            r = item_recover(run, j, &c->item[i]);
            count_item(j, &c->item[i]);
        }

        if (chunk_settled(c)) {
            retry_items_free(c);
        } else {
            *tail = c;
            tail = &c->next;
        }
    }

    return r;
}


static bool
is_over(const struct job *j)
{
    return job_is(j, "done") || job_is(j, "cancelled") || job_is(j, "failed");
}


static bool
is_anothers(const struct retry_run *run, const struct job *j)
{
    const json_t  *lease = json_object_get(j->doc.v, "_lease");
    const char    *owner = json_string_value(json_object_get(lease, "owner"));

    return owner != NULL && strcmp(owner, run->owner) != 0
           && json_integer_value(json_object_get(lease, "until_us"))
              > clock_wall_us();
}


static void
mark_delete(struct retry_run *run, const char *id, int64_t version)
{
    struct retry_doc  d;
    enum result       r;

    retry_doc_id(&d, "run", id, -1);
    r = store_doc_delete(run->store, STORE_RETRY_JOB, slice_of(d.id),
        version);

    if (r != RESULT_OK && r != RESULT_NOT_FOUND && r != RESULT_CONFLICT) {
        log_rate(LOG_WARN, "retry", "job %s stays marked: %s", id,
            result_text(r));
    }
}


/* The job's document under our lease, its items counted. */
static enum result
job_take(struct retry_run *run, struct job *j)
{
    const char   *plan;
    enum result   r;

    retry_doc_id(&j->doc, "job", j->id, -1);
    r = retry_doc_get(run->store, &j->doc);

    if (r == RESULT_NOT_FOUND || (r == RESULT_OK && is_over(j))) {
        mark_delete(run, j->id, j->mark);
        return RESULT_NOT_FOUND;
    }

    if (r != RESULT_OK || is_anothers(run, j)) {
        return r == RESULT_OK ? RESULT_CONFLICT : r;
    }

    plan = json_string_value(json_object_get(j->doc.v, "plan"));
    (void) snprintf(j->plan, sizeof(j->plan), "%.36s",
        plan == NULL ? "" : plan);
    j->chunks = job_int(j, "_chunks");
    j->consecutive = job_int(j, "consecutive_failures");

    (void) json_object_set_new(j->doc.v, "_lease", json_pack("{s:s,s:I}",
        "owner", run->owner, "until_us",
        (json_int_t) (clock_wall_us() + lease_of(run))));
    r = retry_doc_put(run->store, &j->doc);
    r = r != RESULT_OK ? r : job_read_items(run, j);
    j->turn_us = j->look_us = j->save_us = j->lease_us = clock_mono_us();
    return r;
}


static bool
is_loaded(const struct retry_run *run, const char *id)
{
    for (const struct job *j = run->jobs; j != NULL; j = j->next) {
        if (strcmp(j->id, id) == 0) {
            return true;
        }
    }

    return false;
}


static void
job_load(struct retry_run *run, const char *id, int64_t mark)
{
    struct job   *j;
    enum result   r;

    if (run->njobs == RUN_JOBS || is_loaded(run, id)) {
        return;
    }

    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return;
    }

    memcpy(j->id, id, UUID_TEXT);
    j->mark = mark;
    r = job_take(run, j);

    if (r != RESULT_OK) {
        if (r != RESULT_NOT_FOUND && r != RESULT_CONFLICT) {
            log_rate(LOG_WARN, "retry", "job %s cannot be taken: %s", id,
                result_text(r));
        }
        job_free(j);
        return;
    }

    j->next = run->jobs;
    run->jobs = j;
    run->njobs++;
}


static void
jobs_find(struct retry_run *run)
{
    struct found {
        char     id[UUID_TEXT + 1];
        int64_t  version;
    }                   found[2 * RUN_JOBS];
    struct store_doc  *docs;
    size_t             n, nfound = 0;

    arena_reset(&run->arena);

    if (store_doc_list(run->store, STORE_RETRY_JOB, LOGDOC_NONE,
            SLICE_LIT("run:"), false, 2 * RUN_JOBS, &run->arena, &docs, &n)
        != RESULT_OK)
    {
        return;
    }

    /* copied first: loading uses the arena */
    for (size_t i = 0; i < n && docs[i].id.n == 4 + UUID_TEXT
         && memcmp(docs[i].id.p, "run:", 4) == 0; i++)
    {
        memcpy(found[nfound].id, docs[i].id.p + 4, UUID_TEXT);
        found[nfound].id[UUID_TEXT] = '\0';
        found[nfound++].version = docs[i].version;
    }

    for (size_t i = 0; i < nfound; i++) {
        job_load(run, found[i].id, found[i].version);
    }
}


/* -- sending ------------------------------------------------------------- */

static void
item_skip(struct job *j, struct retry_item *it, enum resend_why why)
{
    it->state = RETRY_SKIPPED;
    (void) snprintf(it->why, sizeof(it->why), "%s", resend_why_text(why));
    memset(it->copy, 0, sizeof(it->copy));
    j->skipped++;
    j->dirty = true;
}


/* Looked at once more: may it go now?  D becomes its copy. */
static enum result
item_prepare(struct retry_run *run, struct job *j, struct retry_item *it,
    struct logdoc *d, bool *go)
{
    const struct scope  all = { .platform = true };
    struct routes      *routes = outbound_routes(run->outbound);
    enum resend_why     why = RESEND_GONE;
    enum result         r;

    *go = false;
    r = store_log_get(run->store, &all, it->log, &run->arena, d);

    if (r == RESULT_OK) {
        (void) snprintf(it->endpoint, sizeof(it->endpoint), "%.*s",
            SLICE_ARG(d->endpoint));
        r = resend_one_of_many(run->store, routes, d, &run->arena, &why);

    } else if (r == RESULT_NOT_FOUND) {
        r = RESULT_OK;
    }

    if (r != RESULT_OK || why != RESEND_OK) {
        if (r == RESULT_OK) {
            item_skip(j, it, why);
        }
        return r;
    }

    if (uuid_is_null(it->copy)) {
        uuid_make(it->copy, clock_wall_us());
    }

    *go = true;
    return resend_copy(d, it->copy, SLICE_NONE, routes, &run->arena);
}


static enum result
group_send(struct retry_run *run, struct job *j, struct retry_items *c,
    struct retry_item *const *items, const struct logdoc *docs, size_t n)
{
    enum store_insert  outcome[RUN_GROUP];
    struct events     *events;
    enum result        r;

    /* from here on a crash finds the ids */
    r = retry_items_put(run->store, c);

    if (r != RESULT_OK || n == 0) {
        return r;
    }

    r = store_logs_insert(run->store, docs, n, outcome);
    if (r != RESULT_OK) {
        return r;
    }

    events = outbound_take(run->outbound);
    events_queue(events, docs, n);
    outbound_give(run->outbound, events);
    outbound_work(run->outbound);

    for (size_t i = 0; i < n; i++) {
        items[i]->state = RETRY_SENT;
        items[i]->sent_us = docs[i].started_us;
        items[i]->check_us = clock_mono_us() + RUN_TURN_US;
    }

    j->sent += (int64_t) n;
    j->tokens -= (double) n;
    j->dirty = true;
    return RESULT_OK;
}


static enum result
chunk_send(struct retry_run *run, struct job *j, struct retry_items *c,
    size_t most, size_t *left)
{
    struct retry_item  *items[RUN_GROUP];
    struct logdoc      *docs = malloc(RUN_GROUP * sizeof(*docs));
    size_t              n = 0, looked = 0;
    enum result         r = docs == NULL ? RESULT_MEMORY : RESULT_OK;

    *left = 0;
    arena_reset(&run->arena);

    for (size_t i = 0; i < c->count && r == RESULT_OK; i++) {
        bool  go;

        if (c->item[i].state != RETRY_WAITING) {
            continue;
        }

        if (n == most || looked == 2 * RUN_GROUP) {
            (*left)++;
            continue;
        }

        looked++;
        items[n] = &c->item[i];
        r = item_prepare(run, j, items[n], &docs[n], &go);

        /* large bodies: the rest another time */
        if (n > 0 && (r == RESULT_TOO_BIG || r == RESULT_MEMORY)) {
            memset(c->item[i].copy, 0, UUID_BYTES);
            (*left)++;
            r = RESULT_OK;
            break;
        }

        n += r == RESULT_OK && go;
    }

    r = r != RESULT_OK || looked == 0 ? r
        : group_send(run, j, c, items, docs, n);
    free(docs);
    return r;
}


static struct retry_items *
chunk_waiting(const struct job *j, unsigned *live)
{
    struct retry_items  *found = NULL;

    *live = 0;

    for (struct retry_items *c = j->live; c != NULL; c = c->next) {
        (*live)++;

        for (size_t i = 0; i < c->count && found == NULL; i++) {
            if (c->item[i].state == RETRY_WAITING) {
                found = c;
            }
        }
    }

    return found;
}


static enum result
chunk_next(struct retry_run *run, struct job *j)
{
    struct retry_items  **tail = &j->live, *c;
    enum result           r;

    r = retry_items_get(run->store, j->id, j->plan, j->next_chunk, &c);

    if (r == RESULT_NOT_FOUND) {
        job_become(j, "failed");
        (void) json_object_set_new(j->doc.v, "error", json_pack("{s:s,s:s}",
            "code", "plan_gone", "message",
            "what the plan had selected is not kept any more"));
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    while (*tail != NULL) {
        tail = &(*tail)->next;
    }

    *tail = c;
    j->next_chunk++;
    return RESULT_OK;
}


static enum result
job_send(struct retry_run *run, struct job *j, int64_t now)
{
    double               rate = (double) job_int(j, "rate_per_s");
    double               most = rate / 4 < 1 ? 1 : rate / 4;
    struct retry_items  *c;
    unsigned             live;
    size_t               left, n;

    j->tokens += rate * (double) (now - j->turn_us) / 1e6;
    j->tokens = j->tokens > most ? most : j->tokens;
    j->turn_us = now;
    c = chunk_waiting(j, &live);

    if (c == NULL) {
        return live >= RUN_CHUNKS || j->next_chunk >= j->chunks ? RESULT_OK
            : chunk_next(run, j);
    }

    if (j->tokens < 1) {
        return RESULT_OK;
    }

    n = j->tokens > RUN_GROUP ? RUN_GROUP : (size_t) j->tokens;
    return chunk_send(run, j, c, n, &left);
}


/* -- settling ------------------------------------------------------------ */

static void
item_settle(struct job *j, struct retry_item *it, bool well, const char *why)
{
    it->state = well ? RETRY_SUCCEEDED : RETRY_FAILED;
    (void) snprintf(it->why, sizeof(it->why), "%s", why);
    j->succeeded += well;
    j->failed += !well;
    j->consecutive = well ? 0 : j->consecutive + 1;
    j->dirty = true;
}


/* By its first attempt; what follows is its own schedule's. */
static enum result
item_look(struct retry_run *run, struct job *j, struct retry_item *it,
    int64_t now)
{
    const struct scope  all = { .platform = true };
    struct logdoc      *d;
    char                why[32];
    enum result         r;

    arena_reset(&run->arena);
    d = arena_alloc(&run->arena, sizeof(*d));
    r = d == NULL ? RESULT_MEMORY
        : store_log_get(run->store, &all, it->copy, &run->arena, d);

    if (r == RESULT_NOT_FOUND) {
        item_settle(j, it, false, resend_why_text(RESEND_GONE));
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (d->status == LOG_PENDING) {
        it->check_us = now + (clock_wall_us() - it->sent_us > 5 * RUN_SLOW_US
            ? RUN_SLOW_US : RUN_LOOK_US);
        return RESULT_OK;
    }

    (void) snprintf(why, sizeof(why), "%.*s", SLICE_ARG(d->error_code));
    item_settle(j, it, d->status == LOG_SUCCESS || d->status == LOG_COMMITTED,
        why);
    return RESULT_OK;
}


static enum result
job_settle(struct retry_run *run, struct job *j, int64_t now)
{
    enum result  r = RESULT_OK;

    for (struct retry_items *c = j->live; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->count && r == RESULT_OK; i++) {
            if (c->item[i].state == RETRY_SENT && c->item[i].check_us <= now) {
                r = item_look(run, j, &c->item[i], now);
            }
        }
    }

    if (job_is(j, "running")
        && job_int(j, "stop_after_consecutive_failures") > 0
        && j->consecutive >= job_int(j, "stop_after_consecutive_failures"))
    {
        log_write(LOG_NOTICE, "retry", "job %s stopped: %lld failures in a "
            "row", j->id, (long long) j->consecutive);
        job_become(j, "stopped");
    }

    return r;
}


/* -- a turn -------------------------------------------------------------- */

/* What a person did to it meanwhile; CONFLICT: it is another runner's. */
static enum result
job_look(struct retry_run *run, struct job *j, int64_t now)
{
    struct retry_doc  d;
    enum result       r;

    if (now - j->look_us < RUN_LOOK_US) {
        return RESULT_OK;
    }

    j->look_us = now;
    retry_doc_id(&d, "job", j->id, -1);
    r = retry_doc_get(run->store, &d);

    if (r == RESULT_OK && d.version != j->doc.version) {
        retry_doc_cleanup(&j->doc);
        j->doc = d;
        d.v = NULL;

        if (is_anothers(run, j)) {
            return RESULT_CONFLICT;
        }

        j->consecutive = job_int(j, "consecutive_failures") == 0
                             ? 0 : j->consecutive;
        j->dirty = true;
    }

    retry_doc_cleanup(&d);
    return r;
}


static void
job_states(struct job *j)
{
    if (job_is(j, "queued")) {
        job_become(j, "running");

        if (json_is_null(json_object_get(j->doc.v, "started_at"))) {
            retry_time(j->doc.v, "started_at", clock_wall_us());
        }
    }

    if (job_is(j, "cancelling")) {
        job_become(j, "cancelled");
    }

    if (job_is(j, "running")
        && j->succeeded + j->failed + j->skipped >= job_int(j, "total"))
    {
        job_become(j, "done");
    }

    if (is_over(j) && json_is_null(json_object_get(j->doc.v, "ended_at"))) {
        retry_time(j->doc.v, "ended_at", clock_wall_us());
        j->ended_us = clock_mono_us();
        log_write(LOG_NOTICE, "retry", "job %s is %s: %lld sent, %lld "
            "succeeded, %lld failed, %lld skipped", j->id, json_string_value(
                json_object_get(j->doc.v, "state")), (long long) j->sent,
            (long long) j->succeeded, (long long) j->failed,
            (long long) j->skipped);
    }
}


/* Nothing is left for a runner. */
static bool
job_rests(const struct job *j, int64_t now)
{
    if (job_is(j, "running") || job_is(j, "queued")) {
        return false;
    }

    return job_open(j) <= 0
           || (is_over(j) && now - j->ended_us > RUN_LINGER_US);
}


static enum result
job_turn(struct retry_run *run, struct job *j)
{
    int64_t      now = clock_mono_us();
    enum result  r;

    r = job_look(run, j, now);
    if (r != RESULT_OK) {
        return r;
    }

    job_states(j);
    r = job_settle(run, j, now);

    if (r == RESULT_OK && now - j->lease_us > lease_of(run) / 3) {
        r = job_save(run, j);              /* no sending on an old lease */
    }

    if (r == RESULT_OK && job_is(j, "running")) {
        r = job_send(run, j, now);
    }

    job_states(j);

    if (r == RESULT_OK && job_rests(j, now)) {
        r = job_save(run, j);
        r = r != RESULT_OK ? r : job_write(run, j, false);

        if (r == RESULT_OK) {
            mark_delete(run, j->id, j->mark);
            j->drop = true;
        }

    } else if (r == RESULT_OK && j->dirty && now - j->save_us > RUN_SAVE_US) {
        r = job_save(run, j);
    }

    return r;
}


static void
jobs_turn(struct retry_run *run)
{
    struct job  **at = &run->jobs, *j;
    enum result   r;

    while ((j = *at) != NULL) {
        r = job_turn(run, j);

        if (r == RESULT_OK && !j->drop) {
            at = &j->next;
            continue;
        }

        if (r != RESULT_OK) {
            log_rate(LOG_WARN, "retry", "job %s is read anew: %s", j->id,
                result_text(r));
        }

        *at = j->next;
        run->njobs--;
        job_free(j);
    }
}


static void
jobs_let_go(struct retry_run *run)
{
    struct job  *j;

    while ((j = run->jobs) != NULL) {
        run->jobs = j->next;

        if (job_save(run, j) == RESULT_OK
            && job_write(run, j, false) != RESULT_OK)
        {
            log_write(LOG_NOTICE, "retry", "job %s waits for its lease",
                j->id);
        }

        job_free(j);
    }

    run->njobs = 0;
}


static void *
run_thread(void *arg)
{
    struct retry_run  *run = arg;
    int64_t            find_us = 0, now, us;
    struct timespec    pause;

    while (!atomic_load(&run->stop)) {
        now = clock_mono_us();

        if (now >= find_us) {
            jobs_find(run);
            find_us = now + RUN_IDLE_US;
        }

        jobs_turn(run);
        us = run->njobs > 0 ? RUN_TURN_US : RUN_IDLE_US / 2;
        pause = (struct timespec) { 0, us * 1000 };
        (void) nanosleep(&pause, NULL);
    }

    jobs_let_go(run);
    return NULL;
}


enum result
retry_run_start(const struct config *c, struct store *s, struct outbound *o,
    struct retry_run **out)
{
    struct retry_run  *run;
    uint8_t            id[UUID_BYTES];
    sigset_t           all, old;

    run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return RESULT_MEMORY;
    }

    run->config = c;
    run->store = s;
    run->outbound = o;
    arena_init(&run->arena, RUN_ARENA);
    uuid_make(id, clock_wall_us());
    uuid_text(id, run->owner);

    if (redis_create(c, &run->redis) != RESULT_OK) {
        retry_run_stop(run);
        return RESULT_MEMORY;
    }

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    run->started = pthread_create(&run->thread, NULL, run_thread, run) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (!run->started) {
        retry_run_stop(run);
        return RESULT_UNAVAILABLE;
    }

    *out = run;
    return RESULT_OK;
}


void
retry_run_stop(struct retry_run *run)
{
    if (run == NULL) {
        return;
    }

    atomic_store(&run->stop, true);

    if (run->started) {
        (void) pthread_join(run->thread, NULL);
    }

    redis_destroy(run->redis);
    arena_cleanup(&run->arena);
    free(run);
}
