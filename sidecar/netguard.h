/*
 * The address guard: which addresses outbound traffic may reach.  Judges the
 * actual socket address at connect time, never a name.  Pure.
 */

#ifndef NETGUARD_H
#define NETGUARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "buf.h"
#include "result.h"

#define NETGUARD_MAX_ALLOW  32

struct netguard_cidr {
    struct in6_addr  addr;                 /* IPv4 as ::ffff:a.b.c.d */
    unsigned         bits;                 /* of 128 */
};

/* The operator's exceptions (never a tenant's) and our own addresses. */
struct netguard {
    struct netguard_cidr  allow[NETGUARD_MAX_ALLOW];
    unsigned              nallow;
    struct netguard_cidr  own[NETGUARD_MAX_ALLOW];
    unsigned              nown;
};

/*
 * Reads "10.0.0.0/8, fd00::/8 192.0.2.1" (comma or space).  RESULT_INVALID:
 * *at is the item that is no CIDR, or the one with bits beyond its mask.
 */
must_check enum result netguard_allow(struct netguard *g, const char *list,
    struct slice *at);

/* Notes the addresses of this host's interfaces as forbidden. */
must_check enum result netguard_own(struct netguard *g);

/* False for private, special, own and unknown addresses that are not allowed;
 * *why is static text that names the range. */
bool netguard_permits(const struct netguard *g, const struct sockaddr *sa,
    socklen_t len, const char **why);

#endif /* NETGUARD_H */
