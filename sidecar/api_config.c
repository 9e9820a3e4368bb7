/*
 * One create, read, update and delete for all configuration collections.  An
 * update replaces the whole document and needs If-Match; each write has its
 * entry in the audit log first, with what was and what is to be.
 */

#include "api_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_audit.h"
#include "api_change.h"
#include "api_docs.h"
#include "audit.h"
#include "clock.h"

#define CONFIG_LIMIT      50
#define CONFIG_LIMIT_MAX  200


/* Reads the document of ids[0]; a foreign one is not there.  The caller frees
 * *body. */
static bool
doc_read(struct api_call *c, const struct docs_kind *k, struct store_doc *d,
    json_t **body)
{
    enum result  r;

    *body = NULL;

    r = c->ids[0].n > DOCS_ID ? RESULT_NOT_FOUND
        : store_doc_get(c->env->store, k->coll, c->ids[0], &c->arena, d);
    if (r != RESULT_OK) {
        return api_problem_result(c, r);
    }

    *body = json_loadb(d->body.p, d->body.n, 0, NULL);
    if (*body == NULL) {
        return api_problem_result(c, RESULT_INTERNAL);
    }

    if (!docs_visible(c, k, d, *body)) {
        json_decref(*body);
        *body = NULL;
        return api_problem_result(c, RESULT_NOT_FOUND);
    }

    return true;
}


static void
config_get(struct api_call *c, const struct docs_kind *k)
{
    struct store_doc  d;
    json_t           *body;

    if (!api_params_end(c) || !doc_read(c, k, &d, &body)) {
        return;
    }

    if (api_print_json(c, docs_shown(k, &d, body))) {
        (void) http_head_add(&c->head, "ETag", "\"%lld\"",
            (long long) d.version);
        api_send(c, 200, API_JSON);
    }

    json_decref(body);
}


/* -- lists ----------------------------------------------------------------- */

struct config_list {
    int64_t        org_id;                 /* NONE: every owner */
    int64_t        limit;
    struct cursor  cursor;
    bool           has_cursor;
    uint64_t       hash;
};


static bool
list_parse(struct api_call *c, const struct docs_kind *k,
    struct config_list *l)
{
    int64_t  org;

    memset(l, 0, sizeof(*l));

    if (!api_param_int(c, "limit", 1, CONFIG_LIMIT_MAX, CONFIG_LIMIT,
            &l->limit)
        || !api_param_int(c, "org_id", 0, INT32_MAX, LOGDOC_NONE, &org))
    {
        return false;
    }

    l->org_id = org;
    if (k->owner == DOCS_GLOBAL) {
        l->org_id = LOGDOC_NONE;

    } else if (!(c->caller.rights & AUTH_PLATFORM)
               || k->owner == DOCS_PERSONAL)
    {
        l->org_id = c->caller.org_id;
    }

    l->hash = (uint64_t) k->coll << 40 ^ (uint64_t) l->org_id;
    return api_cursor(c, l->hash, &l->cursor, &l->has_cursor)
           && api_params_end(c);
}


static bool
list_row(struct api_call *c, const struct docs_kind *k,
    const struct store_doc *d, bool *first)
{
    json_t  *body = json_loadb(d->body.p, d->body.n, 0, NULL);
    bool     ok = true;

    if (body != NULL && docs_visible(c, k, d, body)) {
        (void) buf_adds(&c->out, *first ? "" : ",");
        *first = false;
        ok = api_print_json(c, docs_shown(k, d, body));
    }

    json_decref(body);
    return ok;
}


static void
config_list(struct api_call *c, const struct docs_kind *k)
{
    struct config_list   l;
    struct cursor        next;
    struct store_doc    *docs = NULL;
    size_t               n = 0, shown;
    bool                 first = true, more;
    enum result          r;

    if (!list_parse(c, k, &l)) {
        return;
    }

    r = store_doc_list(c->env->store, k->coll, l.org_id,
        (struct slice) { l.cursor.name, l.cursor.name_n }, false,
        (unsigned) l.limit + 1, &c->arena, &docs, &n);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    more = n > (size_t) l.limit;
    shown = more ? (size_t) l.limit : n;
    (void) buf_adds(&c->out, "{\"data\":[");

    for (size_t i = 0; i < shown; i++) {
        if (!list_row(c, k, &docs[i], &first)) {
            return;
        }
    }

    memset(&next, 0, sizeof(next));
    next.hash = l.hash;
    if (more && docs[shown - 1].id.n <= CURSOR_MAX_NAME) {
        next.name_n = docs[shown - 1].id.n;
        memcpy(next.name, docs[shown - 1].id.p, next.name_n);
    }

    (void) buf_adds(&c->out, "],");
    api_page(c, more ? &next : NULL, NULL, more);
    (void) buf_adds(&c->out, "}");
    api_send_cached(c, API_JSON);
}


/* -- writes ---------------------------------------------------------------- */

static bool
change_audit(struct api_call *c, const struct docs_kind *k,
    const struct store_doc *d, const char *verb, const json_t *before,
    const json_t *after)
{
    char   action[64], *detail;
    bool   ok;

    (void) snprintf(action, sizeof(action), "%s.%s", k->noun, verb);
    detail = audit_change(
        before == NULL ? NULL : docs_shown(k, d, before),
        after == NULL ? NULL : docs_shown(k, d, after));

    ok = detail == NULL ? api_problem_result(c, RESULT_MEMORY)
        : api_audit(c, action, store_coll_name(k->coll), d->id, d->org_id,
              SLICE_NONE, detail);
    free(detail);
    return ok;
}


/* Writes the document; a version that moved on meanwhile is 412, an id that is
 * taken 409. */
static bool
change_put(struct api_call *c, struct api_change *ch, int64_t if_version)
{
    enum result  r;
    char        *text = json_dumps(ch->body, JSON_COMPACT);

    if (text == NULL) {
        return api_problem_result(c, RESULT_MEMORY);
    }

    ch->doc.body = slice_of(text);
    ch->doc.updated_us = clock_wall_us();
    r = store_doc_put(c->env->store, ch->kind->coll, &ch->doc, if_version,
        &ch->doc.version);
    free(text);

    if (r == RESULT_CONFLICT) {
        return if_version == 0
            ? api_problem(c, 409, "The id is taken.")
            : api_problem(c, 412, "It was changed meanwhile: read it again.");
    }

    return r == RESULT_OK || api_problem_result(c, r);
}


/* The document as it is now; a secret that was made is shown this once. */
static void
change_answer(struct api_call *c, struct api_change *ch, unsigned status)
{
    json_t  *shown = docs_shown(ch->kind, &ch->doc, ch->body);

    if (shown != NULL && ch->secret[0] != '\0') {
        (void) json_object_set_new(shown,
            ch->kind->coll == STORE_API_KEY       ? "key"
            : ch->kind->coll == STORE_INTEGRATION ? "signing_secret"
                                                  : "auth_key",
            json_string(ch->secret));
    }

    if (!api_print_json(c, shown)) {
        return;
    }

    (void) http_head_add(&c->head, "ETag", "\"%lld\"",
        (long long) ch->doc.version);
    if (status == 201) {
        (void) http_head_add(&c->head, "Location", API_BASE "%s/%s",
            ch->kind->path, ch->id);
    }

    api_send(c, status, API_JSON);
}


/* Shape, then references; false when answered. */
static bool
change_check(struct api_call *c, struct api_change *ch)
{
    docs_validate(ch->kind, ch->body, &ch->errors);

    if (!api_change_complete(c, ch)) {
        return false;
    }

    if (ch->errors.n > 0) {
        return api_problem_fields(c, ch->errors.list, ch->errors.n);
    }

    ch->doc.id = slice_of(ch->id);
    return true;
}


/* Before the audit entry is written: what cannot happen leaves none.  Who is
 * quicker meanwhile is met by the write itself. */
static bool
id_free(struct api_call *c, const struct api_change *ch)
{
    struct store_doc  there;
    enum result       r;

    r = store_doc_get(c->env->store, ch->kind->coll, ch->doc.id, &c->arena,
        &there);
    if (r == RESULT_OK) {
        return api_problem(c, 409, "The id is taken.");
    }

    return r == RESULT_NOT_FOUND || api_problem_result(c, r);
}


static void
config_create(struct api_call *c, const struct docs_kind *k)
{
    struct api_change  ch;

    memset(&ch, 0, sizeof(ch));
    ch.kind = k;

    if (!api_params_end(c) || !api_body(c, &ch.body)) {
        return;
    }

    ch.doc.created_us = clock_wall_us();
    ch.doc.expires_us = LOGDOC_NONE;

    if (change_check(c, &ch) && id_free(c, &ch)
        && change_audit(c, k, &ch.doc, "create", NULL, ch.body)
        && change_put(c, &ch, 0))
    {
        change_answer(c, &ch, 201);
    }

    json_decref(ch.body);
}


/* The version that If-Match names is the one that is stored. */
static bool
version_check(struct api_call *c, const struct store_doc *d, int64_t version)
{
    return version < 0 || version == d->version
           || api_problem(c, 412, "It was changed meanwhile: version %lld is "
                  "stored.", (long long) d->version);
}


/* A view that others share is changed by its owner, or by who configures. */
static bool
owner_check(struct api_call *c, const struct docs_kind *k, const json_t *body)
{
    const char  *owner = json_string_value(json_object_get(body, "owner"));

    return k->owner != DOCS_PERSONAL || (c->caller.rights & AUTH_CONFIG)
           || (owner != NULL && strcmp(owner, c->caller.key_id) == 0)
           || api_problem(c, 403, "It belongs to somebody else.");
}


/* What update and delete begin with; the caller frees *body. */
static bool
change_begin(struct api_call *c, const struct docs_kind *k,
    struct store_doc *d, json_t **body)
{
    int64_t  version;

    *body = NULL;

    return api_params_end(c) && doc_read(c, k, d, body)
           && api_if_match(c, &version) && version_check(c, d, version)
           && owner_check(c, k, *body);
}


static void
config_update(struct api_call *c, const struct docs_kind *k)
{
    struct api_change  ch;
    int64_t            stored;

    memset(&ch, 0, sizeof(ch));
    ch.kind = k;

    if (!change_begin(c, k, &ch.doc, &ch.before) || !api_body(c, &ch.body)) {
        goto out;
    }

    (void) snprintf(ch.id, sizeof(ch.id), "%.*s", SLICE_ARG(ch.doc.id));
    stored = ch.doc.version;

    if (change_check(c, &ch)
        && change_audit(c, k, &ch.doc, "update", ch.before, ch.body)
        && change_put(c, &ch, stored))
    {
        change_answer(c, &ch, 200);
    }

out:

    json_decref(ch.before);
    json_decref(ch.body);
}


static void
config_delete(struct api_call *c, const struct docs_kind *k)
{
    struct store_doc  d;
    json_t           *body;
    enum result       r;

    if (change_begin(c, k, &d, &body) && api_change_unused(c, k, &d)
        && change_audit(c, k, &d, "delete", body, NULL))
    {
        r = store_doc_delete(c->env->store, k->coll, d.id, d.version);

        if (r == RESULT_OK) {
            api_send_empty(c);
        } else if (r == RESULT_CONFLICT) {
            (void) api_problem(c, 412, "It was changed meanwhile.");
        } else {
            (void) api_problem_result(c, r);
        }
    }

    json_decref(body);
}


/* A key that was used stands in logs and audit: it is revoked and stays. */
static void
key_revoke(struct api_call *c)
{
    struct api_change  ch;
    char               at[CLOCK_RFC3339 + 1];

    memset(&ch, 0, sizeof(ch));
    ch.kind = &docs_keys;

    if (!change_begin(c, ch.kind, &ch.doc, &ch.before)) {
        goto out;
    }

    ch.body = json_copy(ch.before);
    clock_text(clock_wall_us(), at);

    if (ch.body == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        goto out;
    }

    if (!json_is_string(json_object_get(ch.body, "revoked_at"))) {
        (void) json_object_set_new(ch.body, "revoked_at", json_string(at));
    }

    if (change_audit(c, ch.kind, &ch.doc, "revoke", ch.before, ch.body)
        && change_put(c, &ch, ch.doc.version))
    {
        api_send_empty(c);
    }

out:

    json_decref(ch.before);
    json_decref(ch.body);
}


#define HANDLERS(name, kind, remove)                                          \
    void                                                                      \
    api_##name##_list(struct api_call *c)                                     \
    {                                                                         \
        config_list(c, kind);                                                 \
    }                                                                         \
                                                                              \
    void                                                                      \
    api_##name##_create(struct api_call *c)                                   \
    {                                                                         \
        config_create(c, kind);                                               \
    }                                                                         \
                                                                              \
    void                                                                      \
    api_##name##_get(struct api_call *c)                                      \
    {                                                                         \
        config_get(c, kind);                                                  \
    }                                                                         \
                                                                              \
    void                                                                      \
    api_##name##_update(struct api_call *c)                                   \
    {                                                                         \
        config_update(c, kind);                                               \
    }                                                                         \
                                                                              \
    void                                                                      \
    api_##name##_delete(struct api_call *c)                                   \
    {                                                                         \
        remove;                                                               \
    }

HANDLERS(org, &docs_orgs, config_delete(c, &docs_orgs))
HANDLERS(lab, &docs_labs, config_delete(c, &docs_labs))
HANDLERS(category, &docs_categories, config_delete(c, &docs_categories))
HANDLERS(action, &docs_actions, config_delete(c, &docs_actions))
HANDLERS(developer, &docs_developers, config_delete(c, &docs_developers))
HANDLERS(integration, &docs_integrations,
    config_delete(c, &docs_integrations))
HANDLERS(key, &docs_keys, key_revoke(c))
HANDLERS(view, &docs_views, config_delete(c, &docs_views))
