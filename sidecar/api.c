/*
 * The table of routes and what happens around every handler: parse, find the
 * route, authenticate, check the right, run, count.
 */

#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "api_audit.h"
#include "api_config.h"
#include "api_events.h"
#include "api_integration.h"
#include "api_counts.h"
#include "api_fusion.h"
#include "api_http.h"
#include "api_idempotency.h"
#include "api_live.h"
#include "api_logs.h"
#include "api_records.h"
#include "api_replay.h"
#include "api_resend.h"
#include "api_retry.h"
#include "api_session.h"
#include "api_system.h"
#include "clock.h"
#include "log.h"
#include "nginx_status.h"

#define API_OPEN   0                       /* no key is asked for */
#define API_SENDS  0x8000                  /* traffic: Idempotency-Key counts */
#define API_SEND   (AUTH_OPERATE | API_SENDS)

struct api {
    struct api_env       env;
    struct http_server  *server;
};

struct api_route {
    const char  *method;
    const char  *pattern;                  /* {} is one segment */
    void       (*handler)(struct api_call *c);
    unsigned     right;
};

static const struct api_route  routes[] = {
    { "GET",  "/healthz", api_healthz, API_OPEN },
    { "GET",  "/readyz", api_readyz, API_OPEN },
    { "GET",  "/metrics", api_metrics, AUTH_READ },
    { "GET",  "/system", api_system, AUTH_READ },
    { "POST", "/login", api_login, AUTH_READ },
    { "POST", "/logout", api_logout, AUTH_READ },
    { "GET",  "/me", api_me, AUTH_READ },
    { "GET",  "/logs", api_logs_list, AUTH_READ },
    { "GET",  "/logs/{}", api_logs_get, AUTH_READ },
    { "GET",  "/logs/{}/attempts", api_logs_attempts, AUTH_READ },
    { "GET",  "/logs/{}/body/request", api_logs_body_request, AUTH_READ },
    { "GET",  "/logs/{}/body/response", api_logs_body_response, AUTH_READ },
    { "GET",  "/summary", api_summary, AUTH_READ },
    { "GET",  "/heatmap", api_heatmap, AUTH_READ },
    { "GET",  "/stream", api_live_stream, AUTH_READ },

    { "POST", "/events", api_events_post, API_SEND },
    { "GET",  "/events/{}", api_events_get, AUTH_READ },
    { "POST", "/logs/{}/resend", api_logs_resend, API_SEND },
    { "POST", "/logs/{}/resend-plan", api_logs_resend_plan, AUTH_OPERATE },
    { "POST", "/logs/{}/replay-plan", api_logs_replay_plan, AUTH_OPERATE },
    { "POST", "/logs/{}/cancel", api_logs_cancel, AUTH_OPERATE },
    { "POST", "/logs/{}/reschedule", api_logs_reschedule, AUTH_OPERATE },
    { "POST", "/logs/{}/replay", api_logs_replay, API_SEND },
    { "GET",  "/replays/{}", api_replay_get, AUTH_READ },
    { "POST", "/retry-plans", api_plan_create, AUTH_OPERATE },
    { "GET",  "/retry-plans/{}", api_plan_get, AUTH_READ },
    { "POST", "/retry-jobs", api_job_create, API_SEND },
    { "GET",  "/retry-jobs", api_job_list, AUTH_READ },
    { "GET",  "/retry-jobs/{}", api_job_get, AUTH_READ },
    { "GET",  "/retry-jobs/{}/items", api_job_items, AUTH_READ },
    { "POST", "/retry-jobs/{}/pause", api_job_pause, AUTH_OPERATE },
    { "POST", "/retry-jobs/{}/resume", api_job_resume, AUTH_OPERATE },
    { "POST", "/retry-jobs/{}/cancel", api_job_cancel, AUTH_OPERATE },
    { "POST", "/integrations/{}/test", api_integration_test, API_SEND },
    { "POST", "/integrations/{}/send", api_integration_send, API_SEND },
    { "POST", "/integrations/{}/rotate-secret", api_integration_rotate,
        AUTH_CONFIG },

    { "GET",  "/audit", api_audit_list, AUTH_AUDIT },
    { "GET",  "/dead-letters", api_dead_list, AUTH_READ },
    { "POST", "/dead-letters/{}/replay", api_dead_replay, API_SEND },

#define CRUD(path, name, read, write)                                         \
    { "GET",    path, api_##name##_list, read },                              \
    { "POST",   path, api_##name##_create, write },                           \
    { "GET",    path "/{}", api_##name##_get, read },                         \
    { "PUT",    path "/{}", api_##name##_update, write },                     \
    { "DELETE", path "/{}", api_##name##_delete, write }

    CRUD("/orgs", org, AUTH_READ, AUTH_CONFIG),
    CRUD("/labs", lab, AUTH_READ, AUTH_CONFIG),
    CRUD("/action-categories", category, AUTH_READ, AUTH_CONFIG),
    CRUD("/actions", action, AUTH_READ, AUTH_CONFIG),
    CRUD("/developers", developer, AUTH_READ, AUTH_CONFIG),
    CRUD("/integrations", integration, AUTH_READ, AUTH_CONFIG),
    CRUD("/api-keys", key, AUTH_KEYS, AUTH_KEYS),
    CRUD("/views", view, AUTH_READ, AUTH_READ)
};

#define ROUTES  (sizeof(routes) / sizeof(routes[0]))


/* Cuts the next segment of "/a/b" off. */
static struct slice
segment_next(struct slice *path)
{
    struct slice  s = { path->p + 1, path->n - 1 };
    const char   *slash = s.n == 0 ? NULL : memchr(s.p, '/', s.n);

    if (slash != NULL) {
        s.n = (size_t) (slash - s.p);
    }

    path->p += s.n + 1;
    path->n -= s.n + 1;
    return s;
}


static bool
route_match(struct api_call *c, const char *pattern)
{
    struct slice  want = slice_of(pattern), path = c->path;

    c->nids = 0;

    while (want.n > 0 && path.n > 0) {
        struct slice  w = segment_next(&want), s;

        if (path.p[0] != '/') {
            return false;
        }

        s = segment_next(&path);

        if (!slice_eq(w, SLICE_LIT("{}"))) {
            if (!slice_eq(w, s)) {
                return false;
            }
            continue;
        }

        s = api_decode(&c->arena, s, false);
        if (s.n == 0 || c->nids == API_MAX_IDS) {
            return false;
        }
        c->ids[c->nids++] = s;
    }

    return want.n == 0 && path.n == 0;
}


static bool
method_match(const struct api_call *c, const struct api_route *r)
{
    return slice_eq(c->method, slice_of(r->method))
           || (slice_eq(c->method, SLICE_LIT("HEAD"))
               && strcmp(r->method, "GET") == 0);
}


/* Answers 404, or 405 with what is allowed. */
static const struct api_route *
route_find(struct api_call *c)
{
    char    allow[64] = "";
    size_t  n = 0;

    for (size_t i = 0; i < ROUTES; i++) {
        if (!route_match(c, routes[i].pattern)) {
            continue;
        }

        if (method_match(c, &routes[i])) {
            return &routes[i];
        }

        n += (size_t) snprintf(allow + n, sizeof(allow) - n, "%s%s",
            n == 0 ? "" : ", ", routes[i].method);
    }

    if (n == 0) {
        (void) api_problem(c, 404, "There is nothing under this path.");
        return NULL;
    }

    (void) http_head_add(&c->head, "Allow", "%s", allow);
    (void) api_problem(c, 405, "This path allows %s.", allow);
    return NULL;
}


static void
call_run(struct api_call *c)
{
    const struct api_route  *r;

    if (http_refused(c->http) != 0) {
        (void) http_head_add(&c->head, "Connection", "close");
        (void) api_problem(c, http_refused(c->http),
            "The request was refused before it was read.");
        return;
    }

    if (!api_call_parse(c)) {
        return;
    }

    if (api_fusion(c)) {
        return;
    }

    r = route_find(c);
    if (r == NULL) {
        return;
    }

    if (r->right != API_OPEN) {
        if (!api_authenticate(c)) {
            return;
        }

        if (!(c->caller.rights & r->right)) {
            (void) api_problem(c, 403, "Your role, %s, lacks a right for "
                "this.", auth_role_text(c->caller.role));
            return;
        }
    }

    if (!(r->right & API_SENDS)) {
        r->handler(c);

    } else if (api_idempotency_begin(c)) {
        r->handler(c);
        api_idempotency_end(c);
    }
}


/* nginx' $request_id when it sends one, so that both logs can be joined. */
static void
call_request_id(struct api_call *c)
{
    struct slice  h = http_header(c->http, "X-Request-Id");
    uint8_t       random[API_REQUEST_ID / 2];
    bool          hex = h.n == API_REQUEST_ID;

    for (size_t i = 0; hex && i < h.n; i++) {
        hex = (h.p[i] >= '0' && h.p[i] <= '9')
              || (h.p[i] >= 'a' && h.p[i] <= 'f');
    }

    if (hex) {
        memcpy(c->request_id, h.p, API_REQUEST_ID);
        return;
    }

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        memset(random, 0, sizeof(random));
    }

    for (size_t i = 0; i < sizeof(random); i++) {
        (void) snprintf(c->request_id + 2 * i, 3, "%02x", random[i]);
    }
}


/* The socket is nginx' alone, so what it says of its client is believed. */
static void
call_client(struct api_call *c)
{
    struct slice  ip = http_header(c->http, "X-Real-IP");
    struct slice  proto = http_header(c->http, "X-Forwarded-Proto");

    c->ip = "unix:";
    c->secure = slice_eq(proto, SLICE_LIT("https"));

    if (ip.n > 0 && ip.n < sizeof(c->ip_text)) {
        memcpy(c->ip_text, ip.p, ip.n);
        c->ip_text[ip.n] = '\0';
        c->ip = c->ip_text;
    }
}


static void
call_count(struct api_call *c, int64_t started_us)
{
    unsigned  class = c->head.status / 100;

    if (class < 6) {
        c->env->counters.by_class[class]++;
    }

    c->env->counters.duration_us += (uint64_t) (clock_mono_us() - started_us);
}


static void
api_handle(struct http_request *http, void *arg)
{
    struct api       *a = arg;
    struct api_call  *c;
    int64_t           started_us = clock_mono_us();

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return;
    }

    c->env = &a->env;
    c->http = http;
    c->method = http_method(http);
    c->deadline_us = started_us + a->env.config->api_deadline_us;
    arena_init(&c->arena, API_MAX_ARENA);
    buf_init(&c->out, API_MAX_OUT);
    call_request_id(c);
    call_client(c);

    call_run(c);

    if (!c->answered) {
        (void) api_problem_result(c, RESULT_MEMORY);
    }

    api_audit_end(c);
    call_count(c, started_us);
    arena_cleanup(&c->arena);
    buf_cleanup(&c->out);
    free(c);
}


static enum result
api_listen(struct api *a, char *err, size_t errlen)
{
    const struct config  *c = a->env.config;
    struct http_options   o;
    enum result           result;
    char                 *end;

    memset(&o, 0, sizeof(o));
    o.listen = c->listen;
    o.mode = (unsigned) strtoul(c->listen_mode, &end, 8);
    o.threads = (unsigned) c->api_threads;
    /* live streams count among the connections */
    o.connections = (unsigned) (c->api_connections + c->sse_clients);
    o.body_max = (size_t) c->api_body_max;
    o.handler = api_handle;
    o.arg = a;

    if (*end != '\0' || end == c->listen_mode || o.mode > 0777) {
        (void) snprintf(err, errlen, "listen_mode: \"%s\" is no mode; write "
            "it in octal, as 0660", c->listen_mode);
        return RESULT_INVALID;
    }

    result = http_server_start(&o, &a->server, err, errlen);
    if (result == RESULT_OK && http_server_port(a->server) != 0) {
        log_write(LOG_NOTICE, "api", "listening on port %u",
            http_server_port(a->server));
    }

    return result;
}


enum result
api_start(const struct config *c, struct store *s, struct catalog *cat,
    const struct secret *secret, struct drain *drain,
    struct outbound *outbound, struct dispatch *dispatch, struct api **out,
    char *err, size_t errlen)
{
    struct api   *a;
    enum result   result;

    *out = NULL;
    err[0] = '\0';

    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return RESULT_MEMORY;
    }

    a->env.config = c;
    a->env.store = s;
    a->env.catalog = cat;
    a->env.secret = secret;
    a->env.drain = drain;
    a->env.outbound = outbound;
    a->env.dispatch = dispatch;
    a->env.started_us = clock_mono_us();

    result = auth_create(s, secret, &a->env.auth);
    if (result != RESULT_OK) {
        goto out;
    }

    result = nginx_status_create(c, &a->env.nginx_status);
    if (result != RESULT_OK) {
        goto out;
    }

    result = api_live_create(c, a->env.auth, &a->env.live);
    if (result != RESULT_OK) {
        (void) snprintf(err, errlen, "live stream: %s", result_text(result));
        goto out;
    }

    result = api_listen(a, err, errlen);

out:

    if (result != RESULT_OK) {
        api_stop(a);
        return result;
    }

    *out = a;
    return RESULT_OK;
}


void
api_stop(struct api *a)
{
    if (a == NULL) {
        return;
    }

    /* clients hear bye while the server can still send it */
    api_live_stop(a->env.live);
    http_server_stop(a->server);
    api_live_destroy(a->env.live);
    nginx_status_destroy(a->env.nginx_status);
    auth_destroy(a->env.auth);
    free(a);
}
