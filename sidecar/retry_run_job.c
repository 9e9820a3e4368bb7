/*
 * A job in memory: its document, kept under our lease, and taking it over.
 * Whoever takes a job over counts its items anew and looks for each planned
 * copy before it makes one.
 */

#include "retry_run_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "changes.h"
#include "clock.h"
#include "log.h"


bool
job_is(const struct job *j, const char *state)
{
    const char  *is = json_string_value(json_object_get(j->doc.v, "state"));

    return is != NULL && strcmp(is, state) == 0;
}


void
job_become(struct job *j, const char *state)
{
    (void) json_object_set_new(j->doc.v, "state", json_string(state));
    j->dirty = true;
}


int64_t
job_int(const struct job *j, const char *name)
{
    return json_integer_value(json_object_get(j->doc.v, name));
}


int64_t
job_lease(const struct retry_run *run)
{
    int64_t  us = run->config->dispatch_lease_us;

    return us < RUN_LEASE_US ? us : RUN_LEASE_US;
}


/* From now on, once the document is written. */
static void
job_lease_take(const struct retry_run *run, struct job *j)
{
    (void) json_object_set_new(j->doc.v, "_lease", json_pack("{s:s,s:I}",
        "owner", run->owner, "until_us",
        (json_int_t) (clock_wall_us() + job_lease(run))));
}


void
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


bool
job_is_over(const struct job *j)
{
    return job_is(j, "done") || job_is(j, "cancelled") || job_is(j, "failed");
}


bool
job_is_anothers(const struct retry_run *run, const struct job *j)
{
    const json_t  *lease = json_object_get(j->doc.v, "_lease");
    const char    *owner = json_string_value(json_object_get(lease, "owner"));

    return owner != NULL && strcmp(owner, run->owner) != 0
           && json_integer_value(json_object_get(lease, "until_us"))
              > clock_wall_us();
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


enum result
job_write(struct retry_run *run, struct job *j, bool keep)
{
    enum result  r;

    job_numbers(j);

    if (keep) {
        job_lease_take(run, j);
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
enum result
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


void
job_unmark(struct retry_run *run, const char *id, int64_t version)
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

    if (r == RESULT_NOT_FOUND || (r == RESULT_OK && job_is_over(j))) {
        job_unmark(run, j->id, j->mark);
        return RESULT_NOT_FOUND;
    }

    if (r != RESULT_OK || job_is_anothers(run, j)) {
        return r == RESULT_OK ? RESULT_CONFLICT : r;
    }

    plan = json_string_value(json_object_get(j->doc.v, "plan"));
    (void) snprintf(j->plan, sizeof(j->plan), "%.36s",
        plan == NULL ? "" : plan);
    j->chunks = job_int(j, "_chunks");
    j->consecutive = job_int(j, "consecutive_failures");

    job_lease_take(run, j);
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


void
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
