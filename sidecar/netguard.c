/*
 * Ranges that no webhook may reach (IANA special-purpose registries, RFC 6890
 * and its updates).  IPv4 is judged as ::ffff:0:0/96, so a mapped address and
 * its plain form are one; addresses that embed another (NAT64, translated,
 * 6to4, Teredo) are refused whole.
 */

#include "netguard.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

static const struct range {
    const char  *cidr;
    const char  *what;
} ranges[] = {
    { "0.0.0.0/8", "this network" },
    { "10.0.0.0/8", "private" },
    { "100.64.0.0/10", "carrier-grade NAT" },
    { "127.0.0.0/8", "loopback" },
    { "169.254.0.0/16", "link-local and cloud metadata" },
    { "172.16.0.0/12", "private" },
    { "192.0.0.0/24", "IETF protocol assignments" },
    { "192.0.2.0/24", "documentation" },
    { "192.88.99.0/24", "6to4 relay" },
    { "192.168.0.0/16", "private" },
    { "198.18.0.0/15", "benchmarking" },
    { "198.51.100.0/24", "documentation" },
    { "203.0.113.0/24", "documentation" },
    { "224.0.0.0/4", "multicast" },
    { "240.0.0.0/4", "reserved and broadcast" },
    { "::/96", "unspecified, loopback, IPv4-compatible" },
    { "::ffff:0:0:0/96", "IPv4-translated" },
    { "64:ff9b::/96", "NAT64" },
    { "64:ff9b:1::/48", "local NAT64" },
    { "100::/64", "discard" },
    { "2001::/32", "Teredo" },
    { "2001:db8::/32", "documentation" },
    { "2002::/16", "6to4" },
    { "3fff::/20", "documentation" },
    { "5f00::/16", "segment routing" },
    { "fc00::/7", "unique local" },
    { "fe80::/10", "link-local" },
    { "fec0::/10", "site-local" },
    { "ff00::/8", "multicast" },
};

#define NRANGES  (sizeof(ranges) / sizeof(ranges[0]))


static void
map_ipv4(const struct in_addr *v4, struct in6_addr *out)
{
    memset(out, 0, sizeof(*out));
    out->s6_addr[10] = 0xff;
    out->s6_addr[11] = 0xff;
    memcpy(out->s6_addr + 12, v4, 4);
}


static bool
cidr_holds(const struct netguard_cidr *c, const struct in6_addr *a)
{
    unsigned  bytes = c->bits / 8;
    unsigned  rest = c->bits % 8;
    uint8_t   mask = (uint8_t) (0xff00 >> rest);

    return memcmp(c->addr.s6_addr, a->s6_addr, bytes) == 0
           && (rest == 0
               || ((c->addr.s6_addr[bytes] ^ a->s6_addr[bytes]) & mask) == 0);
}


/* No bit may be set behind the mask: 10.1.2.3/8 is somebody's mistake. */
static bool
cidr_is_clean(const struct netguard_cidr *c)
{
    for (unsigned bit = c->bits; bit < 128; bit++) {
        if (c->addr.s6_addr[bit / 8] & (0x80 >> bit % 8)) {
            return false;
        }
    }

    return true;
}


static enum result
cidr_parse(struct slice s, struct netguard_cidr *out)
{
    struct in_addr  v4;
    const char     *slash;
    char            text[INET6_ADDRSTRLEN];
    size_t          n;
    int64_t         bits, max;

    slash = memchr(s.p, '/', s.n);
    n = slash == NULL ? s.n : (size_t) (slash - s.p);

    if (n >= sizeof(text)) {
        return RESULT_INVALID;
    }

    memcpy(text, s.p, n);
    text[n] = '\0';

    if (inet_pton(AF_INET, text, &v4) == 1) {
        map_ipv4(&v4, &out->addr);
        max = 32;

    } else if (inet_pton(AF_INET6, text, &out->addr) == 1) {
        max = 128;

    } else {
        return RESULT_INVALID;
    }

    bits = max;

    if (slash != NULL
        && (slice_int((struct slice) { slash + 1, s.n - n - 1 }, &bits)
                != RESULT_OK
            || bits < 0 || bits > max))
    {
        return RESULT_INVALID;
    }

    out->bits = (unsigned) (bits + 128 - max);
    return cidr_is_clean(out) ? RESULT_OK : RESULT_INVALID;
}


enum result
netguard_allow(struct netguard *g, const char *list, struct slice *at)
{
    size_t  n;

    for (list += strspn(list, ", \t"); *list != '\0';
         list += n, list += strspn(list, ", \t"))
    {
        n = strcspn(list, ", \t");
        *at = (struct slice) { list, n };

        if (g->nallow == NETGUARD_MAX_ALLOW) {
            return RESULT_TOO_BIG;
        }

        if (cidr_parse(*at, &g->allow[g->nallow]) != RESULT_OK) {
            return RESULT_INVALID;
        }

        g->nallow++;
    }

    return RESULT_OK;
}


static bool
sockaddr_map(const struct sockaddr *sa, socklen_t len, struct in6_addr *out)
{
    struct sockaddr_in   v4;
    struct sockaddr_in6  v6;

    if (sa->sa_family == AF_INET && len >= (socklen_t) sizeof(v4)) {
        memcpy(&v4, sa, sizeof(v4));
        map_ipv4(&v4.sin_addr, out);
        return true;
    }

    if (sa->sa_family == AF_INET6 && len >= (socklen_t) sizeof(v6)) {
        memcpy(&v6, sa, sizeof(v6));
        *out = v6.sin6_addr;
        return true;
    }

    return false;
}


enum result
netguard_own(struct netguard *g)
{
    struct ifaddrs  *all, *i;
    socklen_t        len;

    if (getifaddrs(&all) != 0) {
        return RESULT_UNAVAILABLE;
    }

    g->nown = 0;

    for (i = all; i != NULL && g->nown < NETGUARD_MAX_ALLOW; i = i->ifa_next) {
        if (i->ifa_addr == NULL) {
            continue;
        }

        len = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                : sizeof(struct sockaddr_in6);

        if (sockaddr_map(i->ifa_addr, len, &g->own[g->nown].addr)) {
            g->own[g->nown++].bits = 128;
        }
    }

    freeifaddrs(all);
    return RESULT_OK;
}


static bool
any_holds(const struct netguard_cidr *list, unsigned n,
    const struct in6_addr *a)
{
    for (unsigned i = 0; i < n; i++) {
        if (cidr_holds(&list[i], a)) {
            return true;
        }
    }

    return false;
}


bool
netguard_permits(const struct netguard *g, const struct sockaddr *sa,
    socklen_t len, const char **why)
{
    struct netguard_cidr  c;
    struct in6_addr       a;

    if (!sockaddr_map(sa, len, &a)) {
        *why = "not an IPv4 or IPv6 address";
        return false;
    }

    if (any_holds(g->allow, g->nallow, &a)) {
        return true;
    }

    if (any_holds(g->own, g->nown, &a)) {
        *why = "an address of this host";
        return false;
    }

    for (size_t i = 0; i < NRANGES; i++) {
        if (cidr_parse(slice_of(ranges[i].cidr), &c) != RESULT_OK) {
            *why = "the guard's own table is broken";
            return false;
        }

        if (cidr_holds(&c, &a)) {
            *why = ranges[i].what;
            return false;
        }
    }

    return true;
}
