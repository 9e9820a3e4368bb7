/* Who owns an inbound log, and how long it is kept (design section 11). */

#ifndef TENANT_H
#define TENANT_H

#include "catalog.h"
#include "record.h"

/*
 * Org and developer come from the key's hash alone.  The claimed lab counts
 * only if it is the developer's; else lab is null and the log is flagged.  A
 * developer of a single lab needs no claim.  OK_US and FAIL_US: retention where
 * the lab has none.  Developer's text lives in *a.
 */
must_check enum result tenant_assign(struct catalog *c, struct record *r,
    int64_t ok_us, int64_t fail_us, struct arena *a);

#endif /* TENANT_H */
