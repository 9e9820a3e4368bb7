/*
 * Which processes of integrationd there are: each leaves a document in the
 * store every few seconds, so that GET /system of any of them can list all.
 * One that stops in order takes its document along; one that was killed is
 * told of until its document is too old.
 */

#ifndef PROCESSES_H
#define PROCESSES_H

#include <jansson.h>

#include "dispatch.h"
#include "drain.h"

#define PROCESSES_MAX      200             /* that are listed */
#define PROCESSES_LOST_US  INT64_C(30000000)       /* silent for so long */

struct processes;

/* DRAIN and DISPATCH may be NULL; they outlive it. */
must_check enum result processes_start(const struct config *c,
    struct store *s, struct drain *drain, struct dispatch *dispatch,
    struct processes **out);
void processes_stop(struct processes *p);

/* Of this one; LOGDOC_NONE: not known. */
int64_t processes_resident(void);

/* An array of what each said of itself, with "lost"; *more: there are
 * others. */
must_check enum result processes_list(struct store *s, json_t **out,
    bool *more);

#endif /* PROCESSES_H */
