/*
 * The seed.  Action IDs are the join key of everything and never change; new
 * rows get new numbers and raise SEED_VERSION.
 */

#include "catalog_seed.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

#define SEED_VERSION  1

struct seed_category {
    int          id;
    const char  *name;
};

struct seed_action {
    int          id;
    int          category_id;
    const char  *name;
};

static const struct seed_category  seed_categories[] = {
    { 1, "Billing & Orders" },
    { 2, "Sample Lifecycle" },
    { 3, "Reporting & Results" },
    { 4, "Registration" },
    { 5, "Appointments & Home Collection" },
    { 6, "Mirth / HL7 Handoff" },
};

static const struct seed_action  seed_actions[] = {
    {  1, 1, "Bill Generation" },
    {  2, 1, "Bill Cancellation" },
    {  3, 1, "Bill Settlement" },
    {  4, 1, "Outsource Billing" },

    { 20, 2, "Sample Receive" },
    { 21, 2, "Sample Redraw" },
    { 22, 2, "Sample Dismiss" },
    { 23, 2, "Sample Uncollect" },
    { 24, 2, "Sample Collect" },

    { 40, 3, "Report Signed" },
    { 41, 3, "Report Submitted" },
    { 42, 3, "Fax Delivery" },
    { 43, 3, "Patient Portal" },

    { 57, 4, "Patient Registration" },
    { 58, 4, "Patient Profile Create" },
    { 59, 4, "Demographic Update" },

    { 70, 5, "Appointment Booking" },
    { 71, 5, "Appointment Confirmation" },
    { 72, 5, "Appointment Dismissal" },
    { 73, 5, "Home Collection Scheduling" },

    { 90, 6, "HL7 Data Push" },
};


static enum result
seed_put(struct store *s, enum store_coll coll, const char *id, json_t *body,
    int64_t if_version, unsigned *added)
{
    struct store_doc   d;
    int64_t            version;
    char              *text;
    enum result        r;

    text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);

    if (text == NULL) {
        return RESULT_MEMORY;
    }

    memset(&d, 0, sizeof(d));
    d.id = slice_of(id);
    d.org_id = LOGDOC_NONE;
    d.created_us = clock_wall_us();
    d.updated_us = d.created_us;
    d.expires_us = LOGDOC_NONE;
    d.body = slice_of(text);

    r = store_doc_put(s, coll, &d, if_version, &version);
    free(text);

    if (r == RESULT_CONFLICT) {
        return RESULT_OK;                  /* there already: not ours */
    }

    *added += r == RESULT_OK;
    return r;
}


static enum result
seed_version(struct store *s, int64_t *version)
{
    struct store_doc  d;
    struct arena      a;
    json_t           *body;
    enum result       r;

    *version = 0;
    arena_init(&a, 65536);
    r = store_doc_get(s, STORE_META, SLICE_LIT("catalog_seed"), &a, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        *version = json_integer_value(json_object_get(body, "version"));
        json_decref(body);
    }

    arena_cleanup(&a);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


enum result
catalog_seed(struct store *s, unsigned *added)
{
    unsigned     mark = 0;
    int64_t      version;
    char         id[16];
    enum result  r;

    *added = 0;
    r = seed_version(s, &version);

    if (r != RESULT_OK || version >= SEED_VERSION) {
        return r;
    }

    for (size_t i = 0; r == RESULT_OK
         && i < sizeof(seed_categories) / sizeof(seed_categories[0]); i++)
    {
        (void) snprintf(id, sizeof(id), "%d", seed_categories[i].id);
        r = seed_put(s, STORE_CATEGORY, id,
            json_pack("{s:s}", "name", seed_categories[i].name), 0, added);
    }

    for (size_t i = 0; r == RESULT_OK
         && i < sizeof(seed_actions) / sizeof(seed_actions[0]); i++)
    {
        (void) snprintf(id, sizeof(id), "%d", seed_actions[i].id);
        r = seed_put(s, STORE_ACTION, id,
            json_pack("{s:s,s:i,s:b}", "name", seed_actions[i].name,
                "action_category_id", seed_actions[i].category_id,
                "enabled", 1),
            0, added);
    }

    return r == RESULT_OK ? seed_put(s, STORE_META, "catalog_seed",
                                json_pack("{s:i}", "version", SEED_VERSION),
                                -1, &mark)
                          : r;
}
