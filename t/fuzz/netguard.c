/*
 * The address guard: an operator's list of exceptions (up to the first NUL),
 * then raw socket addresses.  Without an exception nothing private passes.
 */

#include <stdint.h>
#include <stdlib.h>

#include "netguard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Second opinion, from what RFC 1918, 3927, 4193 .. say in words. */
static bool
is_inner(const uint8_t a[16])
{
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };
    static const uint8_t  zero[12];
    const uint8_t        *v4 = a + 12;

    if (memcmp(a, mapped, 12) != 0) {
        return (a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && a[1] >= 0x80)
               || a[0] == 0xff || memcmp(a, zero, 12) == 0;
    }

    return v4[0] == 0 || v4[0] == 10 || v4[0] == 127 || v4[0] >= 224
           || (v4[0] == 172 && (v4[1] & 0xf0) == 16)
           || (v4[0] == 192 && v4[1] == 168)
           || (v4[0] == 169 && v4[1] == 254)
           || (v4[0] == 100 && (v4[1] & 0xc0) == 64);
}


static void
judge(const struct netguard *g, const uint8_t *a, bool open)
{
    struct sockaddr_in6  v6 = { .sin6_family = AF_INET6 };
    struct sockaddr_in   v4 = { .sin_family = AF_INET };
    uint8_t              plain[16] = { [10] = 0xff, [11] = 0xff };
    const char          *why = NULL;
    bool                 yes;

    memcpy(&v6.sin6_addr, a, 16);
    yes = netguard_permits(g, (struct sockaddr *) &v6, sizeof(v6), &why);
    if ((!yes && why == NULL) || (yes && !open && is_inner(a))) {
        abort();
    }

    /* mapped and plain are one address */
    memcpy(plain + 12, a + 12, 4);
    memcpy(&v6.sin6_addr, plain, 16);
    memcpy(&v4.sin_addr, a + 12, 4);
    yes = netguard_permits(g, (struct sockaddr *) &v4, sizeof(v4), &why);
    if (yes != netguard_permits(g, (struct sockaddr *) &v6, sizeof(v6), &why)
        || (yes && !open && is_inner(plain))
        || netguard_permits(g, (struct sockaddr *) &v4, 1, &why))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct netguard  shut, open;
    struct slice            at = SLICE_NONE;
    size_t                  n = strnlen((const char *) data, size);
    char                   *list;
    enum result             r;

    list = malloc(n + 1);
    if (list == NULL) {
        return 0;
    }

    memcpy(list, data, n);
    list[n] = '\0';
    open.nallow = 0;
    r = netguard_allow(&open, list, &at);

    if (open.nallow > NETGUARD_MAX_ALLOW
        || (r != RESULT_OK && (at.p < list || at.p + at.n > list + n)))
    {
        abort();
    }

    for (unsigned i = 0; i < open.nallow; i++) {
        if (open.allow[i].bits > 128) {
            abort();
        }
    }

    if (open.nallow > 0) {
        judge(&open, open.allow[open.nallow - 1].addr.s6_addr, true);
        judge(&shut, open.allow[open.nallow - 1].addr.s6_addr, false);
    }

    for (n += n < size; size - n >= 16 && n < 128; n += 16) {
        judge(&open, data + n, true);
        judge(&shut, data + n, false);
    }

    free(list);
    return 0;
}
