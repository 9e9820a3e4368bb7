/*
 * What the files of retry_run*.c share: the runner and a job that it holds.
 */

#ifndef RETRY_RUN_PRIVATE_H
#define RETRY_RUN_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "outbound.h"
#include "retry_items.h"

#define RUN_JOBS        16                 /* at once */
#define RUN_CHUNKS      4                  /* of a job, not settled */
#define RUN_GROUP       20                 /* copies of one write */
#define RUN_TURN_US     50000
#define RUN_IDLE_US     300000
#define RUN_LOOK_US     200000             /* job's document, copy's log */
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

bool job_is(const struct job *j, const char *state);
void job_become(struct job *j, const char *state);
int64_t job_int(const struct job *j, const char *name);
void job_free(struct job *j);

/* Nothing more will be sent of it. */
bool job_is_over(const struct job *j);

/* Another runner has it, under a lease that has not ended. */
bool job_is_anothers(const struct retry_run *run, const struct job *j);

/* How long a lease of ours lasts. */
int64_t job_lease(const struct retry_run *run);

/* Writes the counters; KEEP: under our lease, else without one. */
must_check enum result job_write(struct retry_run *run, struct job *j,
    bool keep);

/* Items, then counters; items that are settled leave the memory. */
must_check enum result job_save(struct retry_run *run, struct job *j);

/* No runner looks for it any more, unless its mark has changed since. */
void job_unmark(struct retry_run *run, const char *id, int64_t version);

/* Takes what is marked and no other runner's, as long as there is room. */
void jobs_find(struct retry_run *run);

/* Sends what its rate allows, a group at most. */
must_check enum result job_send(struct retry_run *run, struct job *j,
    int64_t now);

/* Looks at what was sent and is not settled. */
must_check enum result job_settle(struct retry_run *run, struct job *j,
    int64_t now);

#endif /* RETRY_RUN_PRIVATE_H */
