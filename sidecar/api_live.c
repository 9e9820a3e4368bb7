/*
 * Live events.  The reader thread owns the position in idash:changes; a new
 * client joins at it, or asks for what it missed and is caught up by the same
 * thread, so nothing falls between.  Whoever cannot be served without a gap is
 * told "reset" and fetches anew.
 */

#include "api_live.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "changes.h"
#include "clock.h"
#include "json.h"
#include "log.h"

#define LIVE_BLOCK_MS   "200"
#define LIVE_COUNT      "500"
#define LIVE_SKIP_US    10000              /* between two looks for nobody */
#define LIVE_CATCH_UP   500                /* entries; more is a reset */
#define LIVE_LIFE_US    INT64_C(900000000) /* then bye */
#define LIVE_CHECK_US   INT64_C(5000000)   /* between two looks at a key */
#define LIVE_WINDOW_US  INT64_C(1000000)
#define LIVE_FRAME      2048
#define LIVE_RETRY_MS   2000

/* an id of the stream */
struct live_id {
    uint64_t  ms, seq;
};

/* what an entry of the stream tells */
struct live_entry {
    struct live_id      id;
    enum { LIVE_LOG, LIVE_JOB, LIVE_UNKNOWN }  what;
    struct logdoc       log;
    struct change_job   job;
};

struct live_client {
    struct live_client  *next;
    struct http_events  *events;
    struct auth_caller   caller;
    struct arena         arena;            /* the filter's texts */
    struct filter        filter;
    bool                 logs, jobs;       /* topics */
    bool                 behind;           /* to be caught up from .at */
    bool                 reset;            /* to be told so */
    bool                 refused;          /* its key no longer stands */
    struct live_id       at;
    int64_t              window_us, ping_us, check_us, end_us;
    int64_t              frames, missed;   /* in this window */
};

struct api_live {
    const struct config  *config;
    struct auth          *auth;
    struct redis         *redis;           /* the reader's alone */
    pthread_t             thread;
    bool                  started;

    pthread_mutex_t       mutex;           /* of all below */
    struct live_client   *clients;
    unsigned              nclients;
    bool                  stopping;
    bool                  placed;          /* at is known */
    struct live_id        at;              /* all up to here was handed on */
};


static int
id_compare(struct live_id a, struct live_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }

    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}


static bool
id_parse(struct slice s, struct live_id *id)
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


static void
id_text(struct live_id id, char text[48])
{
    (void) snprintf(text, 48, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}


/* -- frames ---------------------------------------------------------------- */

static bool
client_push(struct live_client *cl, const char *event, struct live_id id,
    struct slice data)
{
    struct buf  b;
    char        text[48];
    bool        taken;

    buf_init(&b, LIVE_FRAME);
    id_text(id, text);
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
static void
client_log(struct live_client *cl, struct live_id id, const struct logdoc *d)
{
    struct buf  b;

    buf_init(&b, LIVE_FRAME);
    log_frame(&b, d);

    if (b.failed || !client_push(cl, "log", id, (struct slice) { b.p, b.n }))
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
    client_log(cl, id, d);
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
static void
client_job(struct live_client *cl, struct live_id id,
    const struct change_job *job)
{
    if (cl->jobs && job_visible(cl, job)
        && !client_push(cl, "job", id, job->data))
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


/* -- Redis ----------------------------------------------------------------- */

static redisReply *
live_range(struct api_live *l, const char *command, const char *from,
    const char *to, const char *count)
{
    const char  *argv[] = { command, l->config->changes_stream, from, to,
                            "COUNT", count };
    size_t       len[6];
    redisReply  *reply;

    for (int i = 0; i < 6; i++) {
        len[i] = strlen(argv[i]);
    }

    reply = redis_argv(l->redis, 6, argv, len);
    if (reply != NULL && (redis_reply_result(l->redis, reply) != RESULT_OK
                          || reply->type != REDIS_REPLY_ARRAY))
    {
        freeReplyObject(reply);
        reply = NULL;
    }

    return reply;
}


/* An entry is [id, [name, value ..]]. */
static bool
entry_id(const redisReply *entry, struct live_id *id)
{
    return entry->type == REDIS_REPLY_ARRAY && entry->elements == 2
           && entry->element[0]->type == REDIS_REPLY_STRING
           && id_parse((struct slice) { entry->element[0]->str,
                  entry->element[0]->len }, id);
}


/* Borrows the reply. */
static bool
entry_take(const redisReply *entry, struct live_entry *e)
{
    if (!entry_id(entry, &e->id)) {
        return false;
    }

    e->what = entry->element[1]->type != REDIS_REPLY_ARRAY ? LIVE_UNKNOWN
              : changes_decode(entry->element[1], &e->log) == RESULT_OK
                  ? LIVE_LOG
              : changes_job_decode(entry->element[1], &e->job) ? LIVE_JOB
                                                               : LIVE_UNKNOWN;

    if (e->what == LIVE_LOG) {
        e->log.error_fingerprint = e->log.error_code.n == 0
                                       ? 0 : logdoc_fingerprint(&e->log);
    }

    return true;
}


/* The id of the oldest (XRANGE - +) or newest (XREVRANGE + -) entry; 0-0 when
 * there is none. */
static bool
live_end(struct api_live *l, bool newest, struct live_id *id)
{
    redisReply  *reply;
    bool         ok = true;

    memset(id, 0, sizeof(*id));
    reply = newest ? live_range(l, "XREVRANGE", "+", "-", "1")
                   : live_range(l, "XRANGE", "-", "+", "1");
    if (reply == NULL) {
        return false;
    }

    if (reply->elements > 0) {
        ok = entry_id(reply->element[0], id);
    }

    freeReplyObject(reply);
    return ok;
}


/* One entry, to one client that has no gap. */
static void
client_entry(struct api_live *l, struct live_client *cl,
    const struct live_entry *e)
{
    if (cl->reset || cl->behind || id_compare(e->id, cl->at) <= 0) {
        return;
    }

    switch (e->what) {
    case LIVE_LOG:
        client_change(l, cl, e->id, &e->log);
        break;
    case LIVE_JOB:
        client_job(cl, e->id, &e->job);
        break;
    default:
        client_unknown(cl);
    }
}


static void
live_hand_on(struct api_live *l, const redisReply *entries)
{
    struct live_client  *cl;
    struct live_entry    e;

    (void) pthread_mutex_lock(&l->mutex);

    for (size_t i = 0; i < entries->elements; i++) {
        if (!entry_take(entries->element[i], &e)) {
            continue;
        }

        for (cl = l->clients; cl != NULL; cl = cl->next) {
            client_entry(l, cl, &e);
        }

        l->at = e.id;
    }

    (void) pthread_mutex_unlock(&l->mutex);
}


/*
 * Waits up to LIVE_BLOCK_MS for news.  With nobody to tell, one entry is
 * enough to know that there are some.  False: Redis is away.
 */
static bool
live_read(struct api_live *l, bool alone)
{
    char               at[48];
    const char        *argv[] = { "XREAD", "COUNT", alone ? "1" : LIVE_COUNT,
                                  "BLOCK",
                                  LIVE_BLOCK_MS, "STREAMS",
                                  l->config->changes_stream, at };
    size_t             len[8];
    redisReply        *reply;
    const redisReply  *stream;
    bool               ok;

    id_text(l->at, at);
    for (int i = 0; i < 8; i++) {
        len[i] = strlen(argv[i]);
    }

    reply = redis_argv(l->redis, 8, argv, len);
    if (reply == NULL) {
        return false;
    }

    ok = redis_reply_result(l->redis, reply) == RESULT_OK;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        stream = reply->element[0];
        if (stream->type == REDIS_REPLY_ARRAY && stream->elements == 2
            && stream->element[1]->type == REDIS_REPLY_ARRAY)
        {
            live_hand_on(l, stream->element[1]);
        }
    }

    freeReplyObject(reply);
    return ok;
}


/* Past all that nobody wants to hear; who has joined meanwhile hears it. */
static bool
live_skip(struct api_live *l)
{
    const struct timespec  pause = { 0, LIVE_SKIP_US * 1000 };
    struct live_id         newest;
    bool                   moved = false;

    if (!live_end(l, true, &newest)) {
        return false;
    }

    (void) pthread_mutex_lock(&l->mutex);

    if (l->nclients == 0 && id_compare(newest, l->at) > 0) {
        l->at = newest;
        moved = true;
    }

    (void) pthread_mutex_unlock(&l->mutex);

    if (moved) {
        (void) nanosleep(&pause, NULL);
    }

    return true;
}


/* After a connect: where are we, and did we miss something meanwhile? */
static bool
live_place(struct api_live *l)
{
    struct live_id  oldest, newest;

    if (!live_end(l, false, &oldest) || !live_end(l, true, &newest)) {
        return false;
    }

    (void) pthread_mutex_lock(&l->mutex);

    if (!l->placed) {
        l->at = newest;
        l->placed = true;

    } else if (id_compare(oldest, l->at) > 0
               || id_compare(newest, l->at) < 0)
    {
        /* trimmed past us, or another Redis that never had what we had */
        for (struct live_client *cl = l->clients; cl != NULL; cl = cl->next) {
            cl->reset = true;
        }
        l->at = newest;
    }

    (void) pthread_mutex_unlock(&l->mutex);
    return true;
}


/* -- clients --------------------------------------------------------------- */

static void
client_free(struct live_client *cl)
{
    http_events_close(cl->events);
    arena_cleanup(&cl->arena);
    free(cl);
}


/* What lies between the client's position and ours; false: Redis is away. */
static bool
client_catch_up(struct api_live *l, struct live_client *cl)
{
    struct live_id      oldest;
    struct live_entry   e;
    redisReply         *reply;
    char                from[56], to[48], count[24];

    if (id_compare(cl->at, l->at) >= 0) {
        cl->behind = false;
        return true;
    }

    from[0] = '(';
    id_text(cl->at, from + 1);
    id_text(l->at, to);
    (void) snprintf(count, sizeof(count), "%d", LIVE_CATCH_UP + 1);

    if (!live_end(l, false, &oldest)) {
        return false;
    }

    reply = live_range(l, "XRANGE", from, to, count);
    if (reply == NULL) {
        return false;
    }

    cl->behind = false;
    cl->reset = id_compare(oldest, cl->at) > 0
                || reply->elements > LIVE_CATCH_UP;

    for (size_t i = 0; i < reply->elements && !cl->reset; i++) {
        if (!entry_take(reply->element[i], &e) || e.what == LIVE_UNKNOWN) {
            cl->reset = true;              /* passed over, it were a gap */

        } else if (e.what == LIVE_JOB) {
            client_job(cl, e.id, &e.job);

        } else if (cl->logs && filter_match(&cl->filter, &e.log)) {
            client_log(cl, e.id, &e.log);
        }
    }

    cl->at = l->at;
    freeReplyObject(reply);
    return true;
}


/* Counts, pings and resets that are due.  False: the client is to go. */
static bool
client_tick(struct api_live *l, struct live_client *cl, int64_t now)
{
    char  data[64];

    if (http_events_gone(cl->events)) {
        return false;
    }

    if (cl->refused || now >= cl->end_us) {
        (void) client_push(cl, "bye", l->at, SLICE_LIT("{}"));
        return false;
    }

    if (cl->reset && client_push(cl, "reset", l->at, SLICE_LIT("{}"))) {
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
            cl->reset = !client_push(cl, "count", l->at, slice_of(data));
            cl->missed = 0;
            cl->frames = 1;
        }
    }

    /* the ping carries our position, unless the client still lacks something */
    if (now >= cl->ping_us && !cl->reset && !cl->behind) {
        cl->ping_us = now + l->config->sse_ping_us;
        (void) snprintf(data, sizeof(data), "{\"missed\":%" PRId64 "}",
            cl->missed);
        (void) client_push(cl, "ping", l->at, slice_of(data));
    }

    return true;
}


static void
live_tick(struct api_live *l, bool up)
{
    struct live_client  **at, *cl;
    int64_t               now = clock_mono_us();

    (void) pthread_mutex_lock(&l->mutex);

    for (at = &l->clients; (cl = *at) != NULL; ) {
        if (cl->behind && up && l->placed) {
            up = client_catch_up(l, cl);
        }

        if (client_tick(l, cl, now)) {
            at = &cl->next;
            continue;
        }

        *at = cl->next;
        l->nclients--;
        client_free(cl);
    }

    (void) pthread_mutex_unlock(&l->mutex);
}


/* The client whose key is to be looked at next; no one but this thread takes
 * clients out, so it stays when the lock is given up. */
static struct live_client *
live_due(struct api_live *l, int64_t now)
{
    struct live_client  *cl;

    (void) pthread_mutex_lock(&l->mutex);

    for (cl = l->clients; cl != NULL; cl = cl->next) {
        if (!cl->refused && now >= cl->check_us) {
            cl->check_us = now + LIVE_CHECK_US;
            break;
        }
    }

    (void) pthread_mutex_unlock(&l->mutex);
    return cl;
}


/* A revoked key ends its streams as it ends its sessions.  One in a turn: a
 * store that is slow must not hold up the others' events for long. */
static void
live_check(struct api_live *l)
{
    struct live_client  *cl;

    cl = live_due(l, clock_mono_us());
    if (cl != NULL && auth_again(l->auth, &cl->caller) == RESULT_NOT_FOUND) {
        cl->refused = true;
    }
}


static bool
live_stopping(struct api_live *l)
{
    bool  stopping;

    (void) pthread_mutex_lock(&l->mutex);
    stopping = l->stopping;
    (void) pthread_mutex_unlock(&l->mutex);
    return stopping;
}


static void *
live_thread(void *arg)
{
    struct api_live        *l = arg;
    const struct timespec   pause = { 0, 200000000 };
    bool                    up = false, alone;

    while (!live_stopping(l)) {
        if (!up) {
            up = redis_context(l->redis) != NULL && live_place(l);
        }

        if (up) {
            alone = api_live_clients(l) == 0;
            up = live_read(l, alone) && (!alone || live_skip(l));
        }

        if (!up) {
            (void) nanosleep(&pause, NULL);
        }

        live_check(l);
        live_tick(l, up);
    }

    return NULL;
}


/* -- the request ----------------------------------------------------------- */

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
    if (*given && !id_parse(param, id)) {
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

    id_text(cl->at, text);
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


unsigned
api_live_clients(struct api_live *l)
{
    unsigned  n;

    (void) pthread_mutex_lock(&l->mutex);
    n = l->nclients;
    (void) pthread_mutex_unlock(&l->mutex);
    return n;
}


/* -- start and stop -------------------------------------------------------- */

enum result
api_live_create(const struct config *c, struct auth *auth,
    struct api_live **out)
{
    struct api_live  *l;
    enum result       result;
    sigset_t          all, old;

    *out = NULL;

    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return RESULT_MEMORY;
    }

    l->config = c;
    l->auth = auth;
    (void) pthread_mutex_init(&l->mutex, NULL);

    result = redis_create(c, &l->redis);
    if (result != RESULT_OK) {
        api_live_destroy(l);
        return result;
    }

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    l->started = pthread_create(&l->thread, NULL, live_thread, l) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (!l->started) {
        api_live_destroy(l);
        return RESULT_UNAVAILABLE;
    }

    *out = l;
    return RESULT_OK;
}


void
api_live_stop(struct api_live *l)
{
    struct live_client  *cl;

    if (l == NULL) {
        return;
    }

    (void) pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    (void) pthread_mutex_unlock(&l->mutex);

    if (l->started) {
        (void) pthread_join(l->thread, NULL);
        l->started = false;
    }

    while ((cl = l->clients) != NULL) {
        l->clients = cl->next;
        (void) client_push(cl, "bye", l->at, SLICE_LIT("{}"));
        client_free(cl);
    }

    l->nclients = 0;
}


void
api_live_destroy(struct api_live *l)
{
    if (l == NULL) {
        return;
    }

    if (l->redis != NULL) {
        redis_destroy(l->redis);
    }

    (void) pthread_mutex_destroy(&l->mutex);
    free(l);
}
