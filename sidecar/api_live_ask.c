/* GET /stream: the request, and the first frame. */

#include "api_live_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

#define LIVE_RETRY_MS   2000


/* Fields that a change carries; the others cannot be told live. */
static bool
filter_is_live(const struct filter *f, struct slice *name)
{
    static const bool  known[FILTER_FIELD_COUNT] = {
        [FILTER_STATUS] = true, [FILTER_KIND] = true, [FILTER_HTTP] = true,
        [FILTER_ACTION] = true, [FILTER_CATEGORY] = true,
        [FILTER_LAB] = true, [FILTER_ORG] = true, [FILTER_DEVELOPER] = true,
        [FILTER_INTEGRATION] = true, [FILTER_ENDPOINT] = true,
        [FILTER_METHOD] = true, [FILTER_ERROR] = true,
        [FILTER_ATTEMPTS] = true, [FILTER_DURATION_MS] = true,
        [FILTER_ID] = true
    };

    for (unsigned i = 0; i < f->nterms; i++) {
        if (!known[f->terms[i].field]) {
            *name = slice_of(filter_fields[f->terms[i].field].param);
            return false;
        }
    }

    *name = SLICE_LIT("q");
    return f->q.n == 0;
}


static bool
topics_parse(struct api_call *c, bool *logs, bool *jobs)
{
    struct slice  topics;

    if (!api_param(c, "topics", &topics)) {
        return false;
    }

    *logs = topics.p == NULL || slice_eq(topics, SLICE_LIT("logs"))
            || slice_eq(topics, SLICE_LIT("logs,jobs"))
            || slice_eq(topics, SLICE_LIT("jobs,logs"));

    *jobs = topics.p != NULL && !slice_eq(topics, SLICE_LIT("logs"));

    if (!*logs && !slice_eq(topics, SLICE_LIT("jobs"))) {
        return api_problem_param(c, SLICE_LIT("topics"), "unknown_value",
            "Must be logs, jobs or logs,jobs.");
    }

    return true;
}


/* The header that a reconnecting EventSource sends, or the parameter. */
static bool
last_id_parse(struct api_call *c, struct live_id *id, bool *given)
{
    struct slice  header = http_header(c->http, "Last-Event-ID"), param;

    if (!api_param(c, "last_event_id", &param)) {
        return false;
    }

    if (header.n > 0) {
        param = header;
    }

    *given = param.n > 0;
    if (*given && !live_id_parse(param, id)) {
        return api_problem_param(c, SLICE_LIT("last_event_id"), "invalid",
            "Is not an id of this stream.");
    }

    return true;
}


/* Filter and topics; the texts stay in c->arena until client_join takes it. */
static bool
client_parse(struct api_call *c, struct live_client *cl)
{
    struct slice  name;
    bool          given;

    if (!topics_parse(c, &cl->logs, &cl->jobs)
        || !last_id_parse(c, &cl->at, &given)
        || !api_filter(c, &cl->filter) || !api_params_end(c))
    {
        return false;
    }

    if (!filter_is_live(&cl->filter, &name)) {
        return api_problem_param(c, name, "not_live",
            "Changes do not carry this: follow without it and fetch /logs.");
    }

    cl->behind = given;
    return true;
}


/* The first frame, then into the list: under the lock, so that the position is
 * the one from which the reader goes on. */
static bool
client_join(struct api_live *l, struct live_client *cl, struct api_call *c)
{
    char  text[48], frame[160];

    api_head_init(c, 200);
    (void) http_head_add(&c->head, "Content-Type", "text/event-stream");
    (void) http_head_add(&c->head, "X-Accel-Buffering", "no");

    cl->events = http_answer_events(c->http, &c->head);
    c->answered = true;
    if (cl->events == NULL) {
        return false;
    }

    cl->arena = c->arena;
    arena_init(&c->arena, API_MAX_ARENA);

    if (!cl->behind) {
        cl->at = l->at;
    }

    live_id_text(cl->at, text);
    (void) snprintf(frame, sizeof(frame), "retry: %d\nid: %s\ndata:\n\n",
        LIVE_RETRY_MS, text);
    cl->reset = !http_events_push(cl->events, slice_of(frame));

    cl->next = l->clients;
    l->clients = cl;
    l->nclients++;
    return true;
}


static struct live_client *
client_create(struct api_call *c)
{
    struct live_client  *cl;
    int64_t              now = clock_mono_us(), left;

    cl = calloc(1, sizeof(*cl));
    if (cl == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return NULL;
    }

    cl->window_us = now;
    cl->ping_us = now + c->env->config->sse_ping_us;
    cl->check_us = now + LIVE_CHECK_US;
    cl->end_us = now + LIVE_LIFE_US;

    if (c->caller.expires_us != LOGDOC_NONE) {
        left = c->caller.expires_us - clock_wall_us();
        cl->end_us = left < LIVE_LIFE_US ? now + left : cl->end_us;
    }

    if (!client_parse(c, cl)) {
        free(cl);
        return NULL;
    }

    cl->caller = c->caller;
    auth_scope(&cl->caller, &cl->filter.scope);
    return cl;
}


void
api_live_stream(struct api_call *c)
{
    struct api_live     *l = c->env->live;
    struct live_client  *cl;
    bool                 joined = false;

    cl = client_create(c);
    if (cl == NULL) {
        return;
    }

    (void) pthread_mutex_lock(&l->mutex);
    if (!l->stopping && l->nclients < (unsigned) l->config->sse_clients) {
        joined = client_join(l, cl, c);
    }
    (void) pthread_mutex_unlock(&l->mutex);

    if (!joined) {
        free(cl);
        if (!c->answered) {
            (void) api_problem(c, 503, "Too many live streams are open.");
        }
    }
}
