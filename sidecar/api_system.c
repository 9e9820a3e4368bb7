/*
 * Ready means that progress was made: the store answers a query and the drain
 * went round its loop within READY_US, not that threads exist.
 */

#include "api_system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api_live.h"
#include "clock.h"
#include "json.h"
#include "nginx_status.h"
#include "outbound.h"
#include "processes.h"

#define READY_US          INT64_C(30000000)
#define INTEGRATIONS_MAX  200               /* in the answer of /system */
#define HELD_MAX          10                /* of them are counted for */
#define HELD_CAP          1000
#define HELD_TIME_US      INT64_C(50000)    /* for one */

struct system_state {
    struct drain_stats  drain;
    struct dispatch_stats  dispatch;
    struct store_stats  store;
    bool                has_drain, has_dispatch, store_up, store_known,
                        drain_moves;
    json_t             *processes, *nginx;  /* of /system alone */
    bool                more_processes, nginx_down, nginx_dropped;
    unsigned            live_clients;
    int64_t             resident;
};


static void
system_read(struct api_call *c, struct system_state *s, bool sizes)
{
    memset(s, 0, sizeof(*s));
    s->store_up = store_ping(c->env->store) == RESULT_OK;
    s->drain_moves = true;

    if (c->env->dispatch != NULL) {
        s->has_dispatch = true;
        dispatch_stats(c->env->dispatch, &s->dispatch);
    }

    if (c->env->drain != NULL) {
        s->has_drain = true;
        drain_stats(c->env->drain, &s->drain);
        s->drain_moves = clock_wall_us() - s->drain.last_us < READY_US;
    }

    if (sizes) {
        s->store_known = s->store_up
            && store_stats(c->env->store, &s->store) == RESULT_OK;
        s->live_clients = api_live_clients(c->env->live);
        s->resident = processes_resident();
    }
}


void
api_healthz(struct api_call *c)
{
    if (api_params_end(c)) {
        (void) buf_adds(&c->out, "{\"status\":\"ok\"}");
        api_send(c, 200, API_JSON);
    }
}


/* Nobody is asked for a key here, so nothing but words is told. */
void
api_readyz(struct api_call *c)
{
    struct system_state  s;
    bool                 ready;

    if (!api_params_end(c)) {
        return;
    }

    system_read(c, &s, false);
    ready = s.store_up && s.drain_moves
            && (!s.has_drain || (s.drain.store_up && s.drain.redis_up));

    (void) buf_addf(&c->out, "{\"status\":\"%s\",\"store\":\"%s\","
        "\"drain\":\"%s\",\"redis\":\"%s\"}", ready ? "ok" : "unavailable",
        s.store_up ? "ok" : "unavailable",
        !s.has_drain ? "elsewhere" : s.drain_moves ? "ok" : "stalled",
        !s.has_drain ? "unknown" : s.drain.redis_up ? "ok" : "unavailable");

    if (!ready) {
        (void) http_head_add(&c->head, "Retry-After", "5");
    }

    api_send(c, ready ? 200 : 503, API_JSON);
}


static bool
platform_only(struct api_call *c)
{
    return (c->caller.rights & AUTH_PLATFORM)
           || api_problem(c, 403, "This shows every tenant: a key of org 0 is "
                  "needed.");
}


static void
metric(struct buf *b, const char *name, const char *type, const char *help,
    int64_t value)
{
    if (value != LOGDOC_NONE) {
        (void) buf_addf(b, "# HELP integrationd_%s %s\n"
            "# TYPE integrationd_%s %s\nintegrationd_%s %" PRId64 "\n", name,
            help, name, type, name, value);
    }
}


static void
metrics_drain(struct buf *b, const struct drain_stats *d)
{
    const struct {
        const char  *name, *type, *help;
        int64_t      value;
    }  rows[] = {
        { "drain_read_total", "counter", "Entries read from the stream.",
          (int64_t) d->read },
        { "drain_stored_total", "counter", "Logs written to the store.",
          (int64_t) d->stored },
        { "drain_same_total", "counter", "Entries that were stored already.",
          (int64_t) d->same },
        { "drain_dead_total", "counter", "Entries that became dead letters.",
          (int64_t) d->dead },
        { "drain_errors_total", "counter", "Batches that failed.",
          (int64_t) d->errors },
        { "drain_reclaimed_total", "counter",
          "Entries taken over from other consumers.", (int64_t) d->reclaimed },
        { "drain_batches_total", "counter", "Batches stored.",
          (int64_t) d->batches },
        { "drain_lag", "gauge", "Entries not yet read, -1 when unknown.",
          d->lag },
        { "drain_pending", "gauge", "Entries read and not acknowledged.",
          d->pending },
        { "drain_last_progress_seconds", "gauge",
          "Wall time of the last progress.", d->last_us / 1000000 },
        { "redis_up", "gauge", "1 when Redis answers the drain.",
          d->redis_up }
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        metric(b, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    }
}


static void
metrics_dispatch(struct buf *b, const struct dispatch_stats *d)
{
    const struct {
        const char  *name, *type, *help;
        uint64_t     value;
    } rows[] = {
        { "dispatch_claimed_total", "counter", "Deliveries claimed.",
          d->claimed },
        { "dispatch_delivered_total", "counter", "Delivered or committed.",
          d->delivered },
        { "dispatch_retried_total", "counter", "Attempts to be repeated.",
          d->retried },
        { "dispatch_failed_total", "counter", "Ended without success.",
          d->failed },
        { "dispatch_rejected_total", "counter", "Ended by a final refusal.",
          d->rejected },
        { "dispatch_late_total", "counter",
          "Outcomes of a lost lease, not written.", d->late },
        { "dispatch_given_back_total", "counter",
          "Claimed and put off without an attempt.", d->given_back },
        { "dispatch_reconciled_total", "counter",
          "Looked after in the due queue by the reconciler.", d->reconciled },
        { "dispatch_held_lanes_total", "counter",
          "Failures that held what comes after them in order.",
          d->held_lanes },
        { "dispatch_given_up_total", "counter",
          "Integrations disabled because they only failed.", d->given_up },
        { "dispatch_in_flight", "gauge", "Claimed and not yet settled.",
          (uint64_t) d->in_flight },
        { "dispatch_due", "gauge", "Deliveries in the queue of all "
          "dispatchers.", (uint64_t) d->due },
        { "dispatch_overdue", "gauge", "Of them, due and not yet taken.",
          (uint64_t) d->overdue },
        { "dispatch_breakers_open", "gauge", "Endpoints that are held.",
          (uint64_t) d->breakers_open }
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        metric(b, rows[i].name, rows[i].type, rows[i].help,
            (int64_t) rows[i].value);
    }
}


static void
metrics_events(struct buf *b, struct outbound *o)
{
    const struct event_counters  *n = outbound_counters(o);
    struct intake_stats           s;

    metric(b, "events_accepted_total", "counter", "Events accepted, by REST, "
        "Redis and Fusion.", (int64_t) n->accepted);
    metric(b, "events_repeated_total", "counter", "Events whose idempotency "
        "key had been used for the same event.", (int64_t) n->repeated);
    metric(b, "events_unrouted_total", "counter", "Events accepted that no "
        "integration wants.", (int64_t) n->unrouted);
    metric(b, "events_deliveries_total", "counter", "Deliveries that accepted "
        "events became.", (int64_t) n->deliveries);

    (void) buf_adds(b, "# HELP integrationd_events_refused_total Events "
        "refused, by reason.\n"
        "# TYPE integrationd_events_refused_total counter\n");

    for (int i = 0; i < EVENT_REASONS; i++) {
        (void) buf_addf(b, "integrationd_events_refused_total{reason=\"%s\"} %"
            PRIu64 "\n", event_reason_text((enum event_reason) i),
            (uint64_t) n->refused[i]);
    }

    if (outbound_intake_stats(o, &s)) {
        metric(b, "intake_dead_total", "counter", "Entries of the stream of "
            "events that became dead letters.", (int64_t) s.dead);
        metric(b, "intake_mended_total", "counter", "Events completed after a "
            "crash.", (int64_t) s.mended);
        metric(b, "intake_lag", "gauge", "Events not yet read, -1 when "
            "unknown.", s.lag);
        metric(b, "intake_pending", "gauge", "Events read and not "
            "acknowledged.", s.pending);
    }
}


static void
metrics_http(struct buf *b, struct api_counters *n)
{
    (void) buf_adds(b, "# HELP integrationd_http_answers_total Answers of the "
        "API by class of status.\n"
        "# TYPE integrationd_http_answers_total counter\n");

    for (int i = 2; i <= 5; i++) {
        (void) buf_addf(b, "integrationd_http_answers_total{class=\"%dxx\"} %"
            PRIu64 "\n", i, (uint64_t) n->by_class[i]);
    }

    metric(b, "http_busy_microseconds_total", "counter",
        "Time that handlers took.", (int64_t) n->duration_us);
    metric(b, "auth_failures_total", "counter", "Calls with a wrong key.",
        (int64_t) n->auth_failures);
    metric(b, "partial_queries_total", "counter",
        "Queries that met their deadline.", (int64_t) n->partial);
}


void
api_metrics(struct api_call *c)
{
    struct system_state  s;
    struct buf          *b = &c->out;

    if (!api_params_end(c) || !platform_only(c)) {
        return;
    }

    system_read(c, &s, true);
    metric(b, "store_up", "gauge", "1 when the store answers.", s.store_up);

    if (s.store_known) {
        metric(b, "store_logs", "gauge", "Logs kept.", s.store.logs);
        metric(b, "store_bytes", "gauge", "Size of the store.", s.store.bytes);
        metric(b, "dead_letters", "gauge", "Dead letters kept.",
            s.store.dead_letters);
    }

    if (s.has_drain) {
        metrics_drain(b, &s.drain);
    }

    if (s.has_dispatch) {
        metrics_dispatch(b, &s.dispatch);
    }

    if (c->env->outbound != NULL) {
        metrics_events(b, c->env->outbound);
    }

    metrics_http(b, &c->env->counters);
    metric(b, "live_clients", "gauge", "Live streams open.", s.live_clients);
    metric(b, "resident_bytes", "gauge", "Resident memory.", s.resident);
    metric(b, "uptime_seconds", "gauge", "Seconds since start.",
        (clock_mono_us() - c->env->started_us) / 1000000);
    api_send(c, 200, "text/plain; version=0.0.4; charset=utf-8");
}


static bool
process_is_lost(const json_t *processes)
{
    const json_t  *v;
    size_t         i;

    json_array_foreach((json_t *) processes, i, v) {
        if (json_is_true(json_object_get(v, "lost"))) {
            return true;
        }
    }

    return false;
}


static void
alert_add(struct buf *b, bool *first, const char *code, const char *text)
{
    (void) buf_addf(b, "%s{\"code\":\"%s\",\"detail\":\"%s\"}",
        *first ? "" : ",", code, text);
    *first = false;
}


static void
system_alerts(struct buf *b, const struct system_state *s)
{
    bool  first = true;

    (void) buf_adds(b, ",\"alerts\":[");

    if (!s->store_up) {
        alert_add(b, &first, "store_down", "The store does not answer.");
    }

    if (s->has_drain && !s->drain.redis_up) {
        alert_add(b, &first, "redis_down", "Redis does not answer.");
    }

    if (!s->drain_moves) {
        alert_add(b, &first, "drain_stalled",
            "The drain made no progress for 30 seconds.");
    }

    if (s->dispatch.breakers_open > 0) {
        alert_add(b, &first, "breakers_open",
            "Endpoints fail; their deliveries are held and probed.");
    }

    if (s->dispatch.held_lanes > 0) {
        alert_add(b, &first, "lanes_held",
            "A failed delivery held what comes after it in order.");
    }

    if (s->dispatch.given_up > 0) {
        alert_add(b, &first, "given_up",
            "An integration only failed for long and was disabled.");
    }

    if (s->store_known && s->store.dead_letters > 0) {
        alert_add(b, &first, "dead_letters",
            "Records could not be stored and wait as dead letters.");
    }

    if (process_is_lost(s->processes)) {
        alert_add(b, &first, "process_lost",
            "A process of integrationd was killed or hangs.");
    }

    if (s->nginx_down) {
        alert_add(b, &first, "nginx_unknown",
            "An nginx does not tell what it captured.");
    }

    if (s->nginx_dropped) {
        alert_add(b, &first, "capture_dropped",
            "An nginx lost records within the last hour.");
    }

    (void) buf_adds(b, "]");
}


static void
system_drain(struct buf *b, const struct system_state *s)
{
    const struct drain_stats  *d = &s->drain;

    if (!s->has_drain) {
        (void) buf_adds(b, ",\"drain\":null");
        return;
    }

    (void) buf_addf(b, ",\"drain\":{\"read\":%" PRIu64 ",\"stored\":%" PRIu64
        ",\"same\":%" PRIu64 ",\"dead\":%" PRIu64 ",\"errors\":%" PRIu64
        ",\"reclaimed\":%" PRIu64 ",\"batches\":%" PRIu64, d->read, d->stored,
        d->same, d->dead, d->errors, d->reclaimed, d->batches);
    (void) buf_addf(b, ",\"lag\":%" PRId64 ",\"pending\":%" PRId64
        ",\"redis_up\":%s,\"store_up\":%s,\"last_progress_at\":", d->lag,
        d->pending, d->redis_up ? "true" : "false",
        d->store_up ? "true" : "false");
    json_time(b, d->last_us == 0 ? LOGDOC_NONE : d->last_us);
    (void) buf_adds(b, "}");
}


/* What waits behind an open circuit. */
struct held {
    char     id[sizeof(((struct limiter_state *) NULL)->id)];
    int64_t  n;
    bool     more;
};

struct integrations {
    struct buf  *b;
    unsigned     n, total;
    bool         open;                     /* those of this turn */
    struct held  held[HELD_MAX];
    unsigned     nheld;
};


static void
held_take(void *arg, const struct limiter_state *s)
{
    struct integrations  *o = arg;

    if (s->open && o->nheld < HELD_MAX) {
        memcpy(o->held[o->nheld++].id, s->id, sizeof(s->id));
    }
}


/* Apart from held_take: the store is not asked under the limiter's lock. */
static void
held_count(struct api_call *c, struct held *h)
{
    static const char *const  status[] = { "PENDING", "RETRYING" };

    struct scope   scope;
    struct filter  f;
    const char    *why;
    enum result    r;

    auth_scope(&c->caller, &scope);
    filter_init(&f, &scope);
    r = filter_add(&f, SLICE_LIT("integration_id"), slice_of(h->id), &why);

    for (int i = 0; i < 2 && r == RESULT_OK; i++) {
        r = filter_add(&f, SLICE_LIT("status"), slice_of(status[i]), &why);
    }

    r = r == RESULT_OK ? store_logs_count(c->env->store, &f, HELD_CAP,
                             clock_mono_us() + HELD_TIME_US, &h->n, &h->more)
                       : r;
    h->n = r == RESULT_OK ? h->n : LOGDOC_NONE;
}


static void
system_held(const struct integrations *o, const struct limiter_state *s)
{
    const struct held  *h = NULL;

    for (unsigned i = 0; i < o->nheld && s->open; i++) {
        h = strcmp(o->held[i].id, s->id) == 0 ? &o->held[i] : h;
    }

    if (h == NULL || h->n == LOGDOC_NONE) {
        (void) buf_adds(o->b, ",\"held\":null");
        return;
    }

    (void) buf_addf(o->b, ",\"held\":{\"value\":%" PRId64
        ",\"relation\":\"%s\"}", h->n, h->more ? "gte" : "eq");
}


static void
system_integration(void *arg, const struct limiter_state *s)
{
    struct integrations  *o = arg;

    o->total++;

    if (s->open != o->open || o->n == INTEGRATIONS_MAX) {
        return;
    }

    (void) buf_adds(o->b, o->n++ == 0 ? "{\"id\":" : ",{\"id\":");
    json_text(o->b, slice_of(s->id));
    (void) buf_addf(o->b, ",\"circuit\":\"%s\",\"in_flight\":%" PRId64
        ",\"waiting\":%" PRId64 ",\"failures\":%" PRId64 ",\"probe_at\":",
        s->open ? "open" : "closed", s->in_flight, s->waiting, s->failures);
    json_time(o->b, s->open && s->probe_us > 0 ? s->probe_us : LOGDOC_NONE);
    system_held(o, s);
    (void) buf_adds(o->b, "}");
}


static void
system_dispatch(struct buf *b, struct api_call *c,
    const struct system_state *s)
{
    struct integrations  o = { .b = b, .open = true };

    const struct dispatch_stats  *d = &s->dispatch;

    if (!s->has_dispatch) {
        (void) buf_adds(b, ",\"dispatch\":null");
        return;
    }

    (void) buf_addf(b, ",\"dispatch\":{\"claimed\":%" PRIu64
        ",\"delivered\":%" PRIu64 ",\"retried\":%" PRIu64 ",\"failed\":%"
        PRIu64 ",\"rejected\":%" PRIu64 ",\"late\":%" PRIu64
        ",\"given_back\":%" PRIu64 ",\"in_flight\":%" PRId64
        ",\"breakers_open\":%" PRId64 ",\"last_progress_at\":", d->claimed,
        d->delivered, d->retried, d->failed, d->rejected, d->late,
        d->given_back, d->in_flight, d->breakers_open);
    json_time(b, d->last_us == 0 ? LOGDOC_NONE : d->last_us);
    (void) buf_adds(b, ",\"due\":");
    json_int(b, d->due);
    (void) buf_adds(b, ",\"overdue\":");
    json_int(b, d->overdue);
    dispatch_each(c->env->dispatch, held_take, &o);

    for (unsigned i = 0; i < o.nheld; i++) {
        held_count(c, &o.held[i]);
    }

    (void) buf_adds(b, ",\"integrations\":[");
    dispatch_each(c->env->dispatch, system_integration, &o);
    o.open = false;
    o.total = 0;
    dispatch_each(c->env->dispatch, system_integration, &o);
    (void) buf_addf(b, "],\"integrations_total\":%u}", o.total);
}


static void
system_store(struct buf *b, struct api_call *c, const struct system_state *s)
{
    (void) buf_addf(b, ",\"store\":{\"kind\":\"%s\",\"up\":%s",
        store_name(c->env->store), s->store_up ? "true" : "false");

    if (s->store_known) {
        (void) buf_addf(b, ",\"logs\":%" PRId64 ",\"bytes\":%" PRId64
            ",\"dead_letters\":%" PRId64 ",\"oldest_at\":", s->store.logs,
            s->store.bytes, s->store.dead_letters);
        json_time(b, s->store.logs > 0 ? s->store.oldest_us : LOGDOC_NONE);
    }

    (void) buf_adds(b, "}");
}


/* ,"name":[..] */
static void
system_array(struct buf *b, const char *name, const json_t *list)
{
    char  *text = list == NULL ? NULL : json_dumps(list, JSON_COMPACT);

    (void) buf_addf(b, ",\"%s\":%s", name, text == NULL ? "[]" : text);
    free(text);
}


static void
system_others(struct buf *b, struct api_call *c, struct system_state *s)
{
    /* an empty list of processes beside "store": {"up":false} is no lie */
    if (!s->store_up || processes_list(c->env->store, &s->processes,
            &s->more_processes) != RESULT_OK)
    {
        json_decref(s->processes);
        s->processes = json_array();
    }

    s->nginx = nginx_status_json(c->env->nginx_status, &s->nginx_down,
        &s->nginx_dropped);
    system_array(b, "processes", s->processes);
    (void) buf_addf(b, ",\"more_processes\":%s",
        s->more_processes ? "true" : "false");
    system_array(b, "nginx", s->nginx);
}


void
api_system(struct api_call *c)
{
    struct system_state   s;
    struct buf           *b = &c->out;
    struct api_counters  *n = &c->env->counters;

    if (!api_params_end(c) || !platform_only(c)) {
        return;
    }

    system_read(c, &s, true);

    (void) buf_adds(b, "{\"as_of\":");
    json_time(b, clock_wall_us());
    (void) buf_addf(b, ",\"uptime_s\":%" PRId64 ",\"resident_bytes\":",
        (clock_mono_us() - c->env->started_us) / 1000000);
    json_int(b, s.resident);
    system_store(b, c, &s);
    system_drain(b, &s);
    system_dispatch(b, c, &s);
    (void) buf_addf(b, ",\"api\":{\"ok\":%" PRIu64 ",\"client_errors\":%"
        PRIu64 ",\"server_errors\":%" PRIu64 ",\"auth_failures\":%" PRIu64
        ",\"partial_queries\":%" PRIu64 ",\"live_clients\":%u}",
        (uint64_t) n->by_class[2], (uint64_t) n->by_class[4],
        (uint64_t) n->by_class[5], (uint64_t) n->auth_failures,
        (uint64_t) n->partial, s.live_clients);
    system_others(b, c, &s);
    system_alerts(b, &s);
    (void) buf_adds(b, "}");
    json_decref(s.processes);
    json_decref(s.nginx);
    api_send(c, 200, API_JSON);
}
