/*
 * retry: what a batch retry would send, then the job that sends it.  Both are
 * documents of the store; the job runs in whichever sidecar has the dispatch
 * role, and goes on when this command ends.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "audit.h"
#include "cli_open.h"
#include "clock.h"
#include "retry_plan.h"

#define RETRY_DEADLINE  INT64_C(120000000)
#define RETRY_QUERY     8192
#define RETRY_POLL_US   500000


static int
plan_make(struct cli *c, struct filter *f, struct routes *routes,
    struct retry_doc *plan)
{
    struct retry_ask  ask = {
        .filter = f, .org_id = 0,
        .deadline_us = clock_mono_us() + RETRY_DEADLINE
    };
    struct buf        b;
    char             *query;
    uint8_t           id[UUID_BYTES];
    enum result       r;

    buf_init(&b, RETRY_QUERY);

    for (int i = 0; i < c->nargs; i++) {
        (void) buf_addf(&b, "%s%s", i == 0 ? "" : "&", c->args[i]);
    }

    (void) buf_adds(&b, "");
    query = buf_take(&b, NULL);
    ask.query = query == NULL ? "" : query;
    uuid_make(id, clock_wall_us());
    r = retry_plan_make(c->store, routes, &ask, id, plan);
    free(query);

    return r == RESULT_OK ? CLI_OK
        : r == RESULT_TOO_BIG ? cli_complain(CLI_FAILED, "retry: more than %d "
              "logs match: narrow the selection", RETRY_MAX)
        : r == RESULT_TIMEOUT ? cli_complain(CLI_FAILED, "retry: %zu logs were "
              "looked at, and there are more: narrow the selection",
              ask.looked)
        : cli_complain(CLI_FAILED, "retry: %s", result_text(r));
}


static void
plan_print(const struct retry_doc *plan)
{
    const json_t  *v;
    const char    *name;
    size_t         i;

    (void) printf("%lld match, %lld can be sent again\n",
        (long long) json_integer_value(json_object_get(plan->v, "matched")),
        (long long) json_integer_value(json_object_get(plan->v, "eligible")));

    json_object_foreach(json_object_get(plan->v, "ineligible"), name, v) {
        (void) printf("  %lld not: %s\n", (long long) json_integer_value(v),
            name);
    }

    json_array_foreach(json_object_get(plan->v, "by_endpoint"), i, v) {
        name = json_string_value(json_object_get(v, "endpoint"));
        (void) printf("  %lld to %s\n", (long long) json_integer_value(
            json_object_get(v, "eligible")), name == NULL ? "others" : name);
    }
}


static int
job_make(struct cli *c, const struct retry_doc *plan, const char *reason,
    int64_t rate, int64_t stop_after, struct retry_doc *job)
{
    const struct scope        all = { .platform = true };
    const struct retry_order  o = {
        .plan = plan->id + sizeof("plan:") - 1, .key_id = "cli",
        .name = "command line", .rate = rate, .stop_after = stop_after,
        .reason = slice_of(reason)
    };
    uint8_t                   id[UUID_BYTES];
    char                      text[UUID_TEXT + 1], used[UUID_TEXT + 1];
    struct audit_entry        e = {
        .action = "retry_job.create", .type = "retry_job",
        .org_id = plan->org_id, .reason = slice_of(reason)
    };
    enum result               r;

    uuid_make(id, clock_wall_us());
    uuid_text(id, text);
    e.target = slice_of(text);

    if (cli_audit(c, &e) != CLI_OK) {
        return CLI_FAILED;
    }

    r = retry_job_make(c->store, &all, &o, id, job, used);

    if (r != RESULT_OK) {
        e.failed = true;
        (void) cli_audit(c, &e);
        return cli_complain(CLI_FAILED, "retry: the job cannot be made: %s",
            result_text(r));
    }

    (void) printf("job %s\n", text);
    (void) fflush(stdout);
    return CLI_OK;
}


/* Until it has ended, or rests for a person. */
static int
job_follow(struct cli *c, struct retry_doc *job)
{
    static const char *const  ends[] = { "done", "cancelled", "failed",
                                         "stopped", "paused" };
    const char               *state;
    int64_t                   failed;

    for ( ;; ) {
        if (retry_doc_get(c->store, job) != RESULT_OK) {
            return cli_complain(CLI_FAILED, "retry: the store does not "
                "answer; the job goes on");
        }

        state = json_string_value(json_object_get(job->v, "state"));

        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            if (strcmp(state, ends[i]) == 0) {
                goto ended;
            }
        }

        (void) usleep(RETRY_POLL_US);
    }

ended:

    failed = json_integer_value(json_object_get(job->v, "failed"));
    (void) printf("%s: %lld sent, %lld succeeded, %lld failed, %lld skipped\n",
        state, (long long) json_integer_value(json_object_get(job->v, "sent")),
        (long long) json_integer_value(json_object_get(job->v, "succeeded")),
        (long long) failed,
        (long long) json_integer_value(json_object_get(job->v, "skipped")));
    return strcmp(state, "done") == 0 && failed == 0 ? CLI_OK : CLI_FAILED;
}


static int
plan_then_run(struct cli *c, struct filter *f, struct routes *routes)
{
    const char        *reason = cli_value(c, "reason");
    struct retry_doc   plan = { .v = NULL }, job = { .v = NULL };
    int64_t            rate, stop_after;
    int                status;

    status = cli_number(c, "rate", 10, 1, 1000, &rate);
    status = status != CLI_OK ? status : cli_number(c, "stop-after", 20, 0,
        10000, &stop_after);
    status = status != CLI_OK ? status : plan_make(c, f, routes, &plan);

    if (status != CLI_OK) {
        return status;
    }

    plan_print(&plan);

    if (cli_value(c, "dry-run") == NULL && json_integer_value(
            json_object_get(plan.v, "eligible")) > 0)
    {
        if (!cli_is_meant(c, "Send them?")) {
            status = cli_complain(CLI_USAGE, "retry: nothing was sent; give "
                "--yes to send");
        } else {
            status = job_make(c, &plan, reason, rate, stop_after, &job);
            status = status != CLI_OK || cli_value(c, "no-wait") != NULL
                         ? status : job_follow(c, &job);
        }
    }

    retry_doc_cleanup(&plan);
    retry_doc_cleanup(&job);
    return status;
}


int
cli_retry(struct cli *c)
{
    struct filter   f;
    struct routes  *routes = NULL;
    int             status;

    if (cli_value(c, "dry-run") == NULL && cli_value(c, "reason") == NULL) {
        return cli_complain(CLI_USAGE, "retry: say why with --reason, or give "
            "--dry-run");
    }

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_filter(c, "retry", &f) : status;
    status = status == CLI_OK ? cli_open_store(c, false) : status;

    if (status != CLI_OK) {
        return status;
    }

    if (f.to_us == LOGDOC_NONE || f.to_us > clock_wall_us()) {
        f.to_us = clock_wall_us();
    }

    if (routes_create(c->store, &routes) != RESULT_OK) {
        return cli_complain(CLI_FAILED, "retry: integrations cannot be read");
    }

    status = plan_then_run(c, &f, routes);
    routes_destroy(routes);
    return status;
}
