/*
 * One thread, all jobs in turn.  Of a job it holds the counters and the chunks
 * that are not settled.  Order of writes for what is sent: the ids of the
 * copies into the items, the copies as PENDING logs, the due queue; the
 * counters follow when there is time.  Jobs are taken and kept in
 * retry_run_job.c, their items sent and settled in retry_run_send.c.
 *
 * Every failed write drops the job from memory: it is read anew, so a runner
 * that was frozen meanwhile learns that it is not the runner any more.
 */

#include "retry_run.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "redis.h"
#include "retry_run_private.h"


/* Sent and not yet settled. */
static int64_t
job_open(const struct job *j)
{
    return j->sent - j->succeeded - j->failed;
}


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

        if (job_is_anothers(run, j)) {
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

    if (job_is_over(j) && json_is_null(json_object_get(j->doc.v, "ended_at"))) {
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
           || (job_is_over(j) && now - j->ended_us > RUN_LINGER_US);
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

    if (r == RESULT_OK && now - j->lease_us > job_lease(run) / 3) {
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
            job_unmark(run, j->id, j->mark);
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

        if (job_save(run, j) != RESULT_OK
            || job_write(run, j, false) != RESULT_OK)
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
    enum result        r;

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

    r = redis_create(c, &run->redis);
    if (r != RESULT_OK) {
        retry_run_stop(run);
        return r;
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
