/*
 * jq programs of integrations, run by the child process integrationd-jq under
 * limits that a runaway program cannot break.  One job at a time; a child that
 * dies or is killed is replaced for the next job.  Not for two threads at once.
 */

#ifndef JQ_CHILD_H
#define JQ_CHILD_H

#include "buf.h"
#include "jq_wire.h"
#include "result.h"

struct jq_child;

/* PATH of integrationd-jq, NULL: beside this program.  Nothing is started
 * before the first job. */
must_check enum result jq_child_create(const char *path, unsigned run_ms,
    struct jq_child **out);
void jq_child_destroy(struct jq_child *c);

/*
 * RESULT_OK: OUT holds the output ("true" or "false" of a filter).
 * RESULT_INVALID: program or input is wrong, OUT holds the message.
 * RESULT_TIMEOUT, RESULT_MEMORY: the child was ended at its limit, OUT says so.
 * RESULT_TOO_BIG: program, input or output over JQ_MAX_*, OUT says which.
 * RESULT_UNAVAILABLE: no child can be started (logged); try again later.
 */
must_check enum result jq_child_run(struct jq_child *c, enum jq_mode mode,
    struct slice program, struct slice input, struct buf *out);

#endif /* JQ_CHILD_H */
