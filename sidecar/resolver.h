/*
 * Names to addresses without blocking the caller: each lookup runs in a thread
 * of its own (getaddrinfo has no time limit), bounded in number.
 */

#ifndef RESOLVER_H
#define RESOLVER_H

#include <netdb.h>

#include "result.h"

#define RESOLVER_MAX  64                   /* lookups at once in the process */

struct lookup;

/*
 * Starts a lookup; WAKE (an eventfd that outlives the process' lookups) is
 * written when it ends.  RESULT_AGAIN: too many at once.
 */
must_check enum result lookup_start(const char *host, unsigned port, int wake,
    struct lookup **out);

/* RESULT_OK: *ai is the list, owned by the lookup; AGAIN; UNAVAILABLE: the
 * name has no address. */
must_check enum result lookup_result(struct lookup *l,
    const struct addrinfo **ai);

/* Any time; a lookup under way is left to end by itself. */
void lookup_free(struct lookup *l);

#endif /* RESOLVER_H */
