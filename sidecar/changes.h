/*
 * idash:changes: what every writer adds after a commit, so that any api
 * process can tell its clients.  About config.changes_keep entries are kept;
 * the entry's id is the id of the server-sent event.
 */

#ifndef CHANGES_H
#define CHANGES_H

#include "logdoc.h"
#include "redis.h"

/*
 * Appends one entry a log, pipelined.  Its field "log" is a line of values with
 * tabs between them: id kind status org lab action category developer
 * integration endpoint method http started_us duration_us attempts error.  A
 * refusal loses nothing but liveness.
 */
enum result changes_append(struct redis *r, const struct config *c,
    const struct logdoc *docs, size_t n);

/*
 * The progress of a job of that org: kind "job", org, labs (JSON: null or an
 * array of ids) and data, the JSON that clients get.
 */
enum result changes_job(struct redis *r, const struct config *c,
    int64_t org_id, const char *labs, const char *data);

struct change_job {
    int64_t       org_id;
    struct slice  labs, data;
};

/* False: it is no job's entry. */
bool changes_job_decode(const redisReply *fields, struct change_job *job);

/* Fills D from an entry's reply (array of name, value ..); slices borrow it. */
must_check enum result changes_decode(const redisReply *fields,
    struct logdoc *d);

#endif /* CHANGES_H */
