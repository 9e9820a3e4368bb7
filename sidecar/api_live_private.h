/* The live stream's parts: what a client is told, and who reads for it. */

#ifndef API_LIVE_PRIVATE_H
#define API_LIVE_PRIVATE_H

#include "api_live.h"

#include <pthread.h>

#include "changes.h"

#define LIVE_LIFE_US    INT64_C(900000000) /* then bye */
#define LIVE_CHECK_US   INT64_C(5000000)   /* between two looks at a key */

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

int live_id_compare(struct live_id a, struct live_id b);
bool live_id_parse(struct slice s, struct live_id *id);
void live_id_text(struct live_id id, char text[48]);

/* Calls of a client need the lock of its api_live. */

/* False: its queue is full, the frame is lost. */
bool live_client_push(struct live_client *cl, const char *event,
    struct live_id id, struct slice data);

/* One log or job that it may see and asked for. */
void live_client_log(struct live_client *cl, struct live_id id,
    const struct logdoc *d);
void live_client_job(struct live_client *cl, struct live_id id,
    const struct change_job *job);

/* One entry, unless it has a gap: then all is told by catching up or a reset.
 * Above the rate logs are only counted. */
void live_client_entry(struct api_live *l, struct live_client *cl,
    const struct live_entry *e);

/* Counts, pings and resets that are due.  False: the client is to go. */
bool live_client_tick(struct api_live *l, struct live_client *cl, int64_t now);

void live_client_free(struct live_client *cl);

#endif /* API_LIVE_PRIVATE_H */
