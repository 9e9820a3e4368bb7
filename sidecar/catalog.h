/*
 * The catalogue in memory: orgs, labs, categories, actions, developers, as the
 * drain and the API look them up.  Reloaded when store_config_version grows
 * (asked at most once a second).
 *
 * Bodies of the documents in the store (JSON; ids are store_doc.id):
 *   org        {"name"}
 *   lab        {"name","org_id","time_zone","retention_ok_days",
 *               "retention_fail_days"}
 *   action_category       {"name"}
 *   action_category_list  {"name","action_category_id","enabled"}
 *   developer_authentication {"name","org_id","lab_ids":[..]|null (all of org),
 *               "key_hmac":hex,"key_hint":last 4,"flags":{},"enabled"}
 *               key_hmac = HMAC(pepper, SHA-256(key)), both binary inside
 *   api_key    {"name","org_id","lab_ids":[..]|null,"role","unmask":bool,
 *               "hmac":hex,"expires_at","revoked_at","created_by"};
 *               id is the 8 characters after "idash_"
 */

#ifndef CATALOG_H
#define CATALOG_H

#include "secret.h"
#include "store.h"

struct catalog;

must_check enum result catalog_create(struct store *s,
    const struct secret *secret, struct catalog **out);
void catalog_destroy(struct catalog *c);

struct catalog_developer {
    char      id[64];
    char      name[128];
    int64_t   org_id;
    int64_t   labs[64];                    /* nlabs -1: all labs of the org */
    int       nlabs;
    bool      enabled;
};

/* By the 64 hex digits the module sent. */
must_check enum result catalog_developer_by_key(struct catalog *c,
    struct slice key_sha256_hex, struct catalog_developer *out);

/* Category of an action; NOT_FOUND for an unknown action. */
must_check enum result catalog_action(struct catalog *c, int64_t action_id,
    int64_t *category_id);

/* Org of a lab and its retention (microseconds; LOGDOC_NONE: default). */
must_check enum result catalog_lab(struct catalog *c, int64_t lab_id,
    int64_t *org_id, int64_t *retention_ok_us, int64_t *retention_fail_us);

#endif /* CATALOG_H */
