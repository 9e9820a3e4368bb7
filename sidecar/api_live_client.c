/* What one client of the live stream is told. */

#include "api_live_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"

#define LIVE_WINDOW_US  INT64_C(1000000)
#define LIVE_FRAME      2048


int
live_id_compare(struct live_id a, struct live_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }

    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}


bool
live_id_parse(struct slice s, struct live_id *id)
{
    const char    *dash = s.n == 0 ? NULL : memchr(s.p, '-', s.n);
    struct slice   ms = s, seq;
    int64_t        a, b;

    if (dash == NULL || dash == s.p) {
        return false;
    }

    ms.n = (size_t) (dash - s.p);
    seq.p = dash + 1;
    seq.n = s.n - ms.n - 1;

    if (slice_int(ms, &a) != RESULT_OK || slice_int(seq, &b) != RESULT_OK
        || a < 0 || b < 0)
    {
        return false;
    }

    id->ms = (uint64_t) a;
    id->seq = (uint64_t) b;
    return true;
}


void
live_id_text(struct live_id id, char text[48])
{
    (void) snprintf(text, 48, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}


bool
live_client_push(struct live_client *cl, const char *event, struct live_id id,
    struct slice data)
{
    struct buf  b;
    char        text[48];
    bool        taken;

    buf_init(&b, LIVE_FRAME);
    live_id_text(id, text);
    (void) buf_addf(&b, "event: %s\nid: %s\ndata: ", event, text);
    (void) buf_add(&b, data.p, data.n);
    (void) buf_adds(&b, "\n\n");

    taken = !b.failed
            && http_events_push(cl->events, (struct slice) { b.p, b.n });
    buf_cleanup(&b);
    return taken;
}


static void
log_frame(struct buf *b, const struct logdoc *d)
{
    char  id[UUID_TEXT + 1];

    uuid_text(d->id, id);
    (void) buf_addf(b, "{\"id\":\"%s\",\"kind\":\"%s\",\"status\":\"%s\","
        "\"endpoint\":", id, log_kind_text(d->kind),
        log_status_text(d->status));
    json_text(b, d->endpoint);
    (void) buf_adds(b, ",\"http\":");
    json_int(b, d->http_status);
    (void) buf_adds(b, ",\"time\":");
    json_time(b, d->started_us);
    (void) buf_adds(b, ",\"duration_ms\":");
    json_ms(b, d->duration_us);
    (void) buf_adds(b, ",\"action_id\":");
    json_int(b, d->action_id);
    (void) buf_adds(b, ",\"lab_id\":");
    json_int(b, d->lab_id);
    (void) buf_addf(b, ",\"attempts\":%" PRId64 "}", d->attempts);
}


/* A full queue: the client has a gap now. */
void
live_client_log(struct live_client *cl, struct live_id id,
    const struct logdoc *d)
{
    struct buf  b;

    buf_init(&b, LIVE_FRAME);
    log_frame(&b, d);

    if (b.failed
        || !live_client_push(cl, "log", id, (struct slice) { b.p, b.n }))
    {
        cl->reset = true;
    }

    buf_cleanup(&b);
}


/* One change, for one client; above the rate it is only counted. */
static void
client_change(struct api_live *l, struct live_client *cl, struct live_id id,
    const struct logdoc *d)
{
    if (!cl->logs || !filter_match(&cl->filter, d)) {
        return;
    }

    if (cl->missed > 0 || cl->frames >= l->config->sse_rate) {
        cl->missed++;
        return;
    }

    cl->frames++;
    live_client_log(cl, id, d);
}


/* A job is seen by who sees all its labs. */
static bool
job_visible(const struct live_client *cl, const struct change_job *job)
{
    const struct scope  *sc = &cl->filter.scope;
    json_t              *labs, *lab;
    size_t               i;
    bool                 sees = true;

    if (sc->platform || sc->org_id != job->org_id || sc->labs == NULL) {
        return sc->platform || sc->org_id == job->org_id;
    }

    labs = json_loadb(job->labs.p, job->labs.n, JSON_DECODE_ANY, NULL);
    sees = json_is_array(labs);

    json_array_foreach(labs, i, lab) {
        sees &= scope_sees(sc, sc->org_id, json_integer_value(lab));
    }

    json_decref(labs);
    return sees;
}


/* Jobs are few: they do not count into the rate of logs. */
void
live_client_job(struct live_client *cl, struct live_id id,
    const struct change_job *job)
{
    if (cl->jobs && job_visible(cl, job)
        && !live_client_push(cl, "job", id, job->data))
    {
        cl->reset = true;
    }
}


/* An entry that this version cannot read: of another one's writer.  It may be
 * any log, so it is counted; who only hears jobs fetches them anew. */
static void
client_unknown(struct live_client *cl)
{
    if (cl->logs) {
        cl->missed++;
    } else {
        cl->reset = true;
    }
}


void
live_client_entry(struct api_live *l, struct live_client *cl,
    const struct live_entry *e)
{
    if (cl->reset || cl->behind || live_id_compare(e->id, cl->at) <= 0) {
        return;
    }

    switch (e->what) {
    case LIVE_LOG:
        client_change(l, cl, e->id, &e->log);
        break;
    case LIVE_JOB:
        live_client_job(cl, e->id, &e->job);
        break;
    default:
        client_unknown(cl);
    }
}


bool
live_client_tick(struct api_live *l, struct live_client *cl, int64_t now)
{
    char  data[64];

    if (http_events_gone(cl->events)) {
        return false;
    }

    if (cl->refused || now >= cl->end_us) {
        (void) live_client_push(cl, "bye", l->at, SLICE_LIT("{}"));
        return false;
    }

    if (cl->reset && live_client_push(cl, "reset", l->at, SLICE_LIT("{}"))) {
        cl->reset = false;
        cl->behind = false;
        cl->missed = 0;
        cl->at = l->at;
    }

    if (now - cl->window_us >= LIVE_WINDOW_US) {
        cl->window_us = now;
        cl->frames = 0;

        if (cl->missed > 0 && !cl->reset) {
            (void) snprintf(data, sizeof(data), "{\"n\":%" PRId64 "}",
                cl->missed);
            cl->reset = !live_client_push(cl, "count", l->at, slice_of(data));
            cl->missed = 0;
            cl->frames = 1;
        }
    }

    /* the ping carries our position, unless the client still lacks something */
    if (now >= cl->ping_us && !cl->reset && !cl->behind) {
        cl->ping_us = now + l->config->sse_ping_us;
        (void) snprintf(data, sizeof(data), "{\"missed\":%" PRId64 "}",
            cl->missed);
        (void) live_client_push(cl, "ping", l->at, slice_of(data));
    }

    return true;
}


void
live_client_free(struct live_client *cl)
{
    http_events_close(cl->events);
    arena_cleanup(&cl->arena);
    free(cl);
}
