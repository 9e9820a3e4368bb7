/* The tenant of a record. */

#include "tenant.h"


static bool
tenant_has_lab(struct catalog *c, const struct catalog_developer *dev,
    int64_t lab)
{
    int64_t  org, ok, fail;

    /* a list may name a lab that has moved: its org decides in any case */
    if (catalog_lab(c, lab, &org, &ok, &fail) != RESULT_OK
        || org != dev->org_id)
    {
        return false;
    }

    for (int i = 0; i < dev->nlabs; i++) {
        if (dev->labs[i] == lab) {
            return true;
        }
    }

    return dev->nlabs < 0;
}


/* The reference has become lab_id and is not kept a second time. */
static void
tenant_drop_ref(struct logdoc *d)
{
    for (unsigned i = 0; i < d->nrefs; i++) {
        if (slice_eq(d->refs[i].name, SLICE_LIT("lab_id"))) {
            for (unsigned j = i + 1; j < d->nrefs; j++) {
                d->refs[j - 1] = d->refs[j];
            }

            d->nrefs--;
            return;
        }
    }
}


static void
tenant_take_lab(struct catalog *c, struct record *r,
    const struct catalog_developer *dev)
{
    struct logdoc  *d = &r->doc;

    if (r->claimed_lab == LOGDOC_NONE) {
        if (dev->nlabs == 1 && tenant_has_lab(c, dev, dev->labs[0])) {
            d->lab_id = dev->labs[0];
        }

        return;
    }

    if (r->claimed_lab > 0 && tenant_has_lab(c, dev, r->claimed_lab)) {
        d->lab_id = r->claimed_lab;
        tenant_drop_ref(d);
        return;
    }

    d->flags |= LOG_FLAG_LAB_MISMATCH;
}


static void
tenant_expire(struct catalog *c, struct logdoc *d, int64_t ok_us,
    int64_t fail_us)
{
    int64_t  org, lab_ok, lab_fail, keep;
    bool     ok = d->status == LOG_SUCCESS;

    keep = ok ? ok_us : fail_us;

    if (d->lab_id != LOGDOC_NONE
        && catalog_lab(c, d->lab_id, &org, &lab_ok, &lab_fail) == RESULT_OK)
    {
        lab_ok = ok ? lab_ok : lab_fail;
        keep = lab_ok == LOGDOC_NONE ? keep : lab_ok;
    }

    d->expires_us = d->started_us + keep;
}


enum result
tenant_assign(struct catalog *c, struct record *r, int64_t ok_us,
    int64_t fail_us, struct arena *a)
{
    struct catalog_developer  dev;
    struct logdoc            *d = &r->doc;
    int64_t                   category;

    if (r->key_sha256.n == 0) {
        d->flags |= r->claimed_lab == LOGDOC_NONE ? 0 : LOG_FLAG_LAB_MISMATCH;

    } else if (catalog_developer_by_key(c, r->key_sha256, &dev) != RESULT_OK) {
        d->flags |= LOG_FLAG_UNKNOWN_KEY;

    } else {
        d->org_id = dev.org_id;
        d->developer_id = arena_copy(a, slice_of(dev.id));
        tenant_take_lab(c, r, &dev);

        if (d->developer_id.p == NULL) {
            return RESULT_MEMORY;
        }
    }

    if (d->action_id != LOGDOC_NONE
        && catalog_action(c, d->action_id, &category) == RESULT_OK)
    {
        d->action_category_id = category;
    }

    tenant_expire(c, d, ok_us, fail_us);
    return RESULT_OK;
}
