/* Owners, references and secrets of configuration documents. */

#include "api_change.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_integration.h"
#include "clock.h"
#include "replay.h"
#include "uuid.h"

#define CHANGE_PAGE  200


static int64_t
member_int(const json_t *body, const char *name)
{
    const json_t  *v = json_object_get(body, name);

    return json_is_integer(v) ? json_integer_value(v) : LOGDOC_NONE;
}


/* A document with its body parsed; NULL and *r when there is none. */
static json_t *
doc_body(struct api_call *c, enum store_coll coll, int64_t id,
    struct store_doc *d, enum result *r)
{
    char     text[24];
    json_t  *body;

    (void) snprintf(text, sizeof(text), "%lld", (long long) id);
    *r = store_doc_get(c->env->store, coll, slice_of(text), &c->arena, d);
    if (*r != RESULT_OK) {
        return NULL;
    }

    body = json_loadb(d->body.p, d->body.n, 0, NULL);
    *r = body == NULL ? RESULT_INTERNAL : RESULT_OK;
    return body;
}


/* The caller may act for that org, and it exists. */
static bool
check_org(struct api_call *c, struct api_change *ch)
{
    struct store_doc  d;
    json_t           *body;
    int64_t           org = member_int(ch->body, "org_id");
    enum result       r;

    ch->doc.org_id = org;

    if (!(c->caller.rights & AUTH_PLATFORM) && org != c->caller.org_id) {
        docs_error(&ch->errors, "org_id", "reference", "is no org of yours");
        return true;
    }

    if (org == 0) {
        return true;
    }

    body = doc_body(c, STORE_ORG, org, &d, &r);
    json_decref(body);

    if (r == RESULT_NOT_FOUND) {
        docs_error(&ch->errors, "org_id", "reference", "there is no such org");
        return true;
    }

    return r == RESULT_OK || api_problem_result(c, r);
}


/* Each lab is the org's, and the caller's. */
static bool
check_labs(struct api_call *c, struct api_change *ch)
{
    json_t           *labs = json_object_get(ch->body, "lab_ids");
    const json_t     *lab;
    size_t            i;

    if (labs == NULL || json_is_null(labs)) {
        if (c->caller.nlabs >= 0) {
            docs_error(&ch->errors, "lab_ids", "reference",
                "must name some of your labs");
        } else if (labs == NULL) {
            (void) json_object_set_new(ch->body, "lab_ids", json_null());
        }
        return true;
    }

    json_array_foreach(labs, i, lab) {
        struct store_doc  d;
        enum result       r;
        bool              mine;
        json_t           *body;

        body = doc_body(c, STORE_LAB, json_integer_value(lab), &d, &r);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
            return api_problem_result(c, r);
        }

        mine = r == RESULT_OK && d.org_id == ch->doc.org_id
               && docs_visible(c, &docs_labs, &d, body);
        json_decref(body);

        if (!mine) {
            docs_error(&ch->errors, "lab_ids", "reference",
                "%lld is no lab of this org",
                (long long) json_integer_value(lab));
            return true;
        }
    }

    return true;
}


static bool
check_category(struct api_call *c, struct api_change *ch)
{
    struct store_doc  d;
    enum result       r;
    json_t           *body;

    body = doc_body(c, STORE_CATEGORY,
        member_int(ch->body, "action_category_id"), &d, &r);
    json_decref(body);

    if (r == RESULT_NOT_FOUND) {
        docs_error(&ch->errors, "action_category_id", "reference",
            "there is no such category");
        return true;
    }

    return r == RESULT_OK || api_problem_result(c, r);
}


static void
default_true(json_t *body, const char *name)
{
    if (json_object_get(body, name) == NULL) {
        (void) json_object_set_new(body, name, json_true());
    }
}


static void
copy_member(struct api_change *ch, const char *name)
{
    json_t  *v = json_object_get(ch->before, name);

    if (v != NULL) {
        (void) json_object_set(ch->body, name, v);
    }
}


/* Does another developer have this key already?  The drain could not tell them
 * apart. */
static bool
developer_key_free(struct api_call *c, struct api_change *ch, const char *hex,
    bool *taken)
{
    struct slice       after = SLICE_LIT("");
    struct store_doc  *docs;
    struct arena       arena;
    size_t             n = CHANGE_PAGE;
    enum result        r = RESULT_OK;

    *taken = false;
    arena_init(&arena, API_MAX_ARENA);

    while (n == CHANGE_PAGE && !*taken) {
        r = store_doc_list(c->env->store, STORE_DEVELOPER, LOGDOC_NONE, after,
            false, CHANGE_PAGE, &arena, &docs, &n);
        if (r != RESULT_OK) {
            break;
        }

        for (size_t i = 0; i < n; i++) {
            *taken |= memmem(docs[i].body.p, docs[i].body.n, hex,
                          AUTH_HMAC_HEX) != NULL
                      && !slice_eq(docs[i].id, slice_of(ch->id));
        }

        after = n > 0 ? docs[n - 1].id : after;
    }

    arena_cleanup(&arena);
    return r == RESULT_OK || api_problem_result(c, r);
}


/* The key that came, or a new one on create; what is stored is its hash. */
static bool
developer_secret(struct api_call *c, struct api_change *ch)
{
    json_t       *given = json_object_get(ch->body, "auth_key");
    struct slice  key;
    uint8_t       mac[32];
    char          hex[AUTH_HMAC_HEX + 1], hint[5] = "";
    bool          taken;

    if (given == NULL && ch->before != NULL) {
        copy_member(ch, "key_hmac");
        copy_member(ch, "key_hint");
        return true;
    }

    if (given == NULL) {
        auth_key_make(ch->secret);
        key = slice_of(ch->secret);
    } else {
        key.p = json_string_value(given);
        key.n = json_string_length(given);
    }

    auth_developer_key_hmac(c->env->secret, key, mac);
    auth_hex(mac, sizeof(mac), hex);
    memcpy(hint, key.p + key.n - 4, 4);

    if (!developer_key_free(c, ch, hex, &taken)) {
        return false;
    }

    if (taken) {
        docs_error(&ch->errors, "auth_key", "taken",
            "is another developer's key");
        return true;
    }

    (void) json_object_set_new(ch->body, "key_hmac", json_string(hex));
    (void) json_object_set_new(ch->body, "key_hint", json_string(hint));
    (void) json_object_del(ch->body, "auth_key");
    return true;
}


/* What replays of his calls carry: sealed, left as it was when not given. */
static bool
developer_replays(struct api_call *c, struct api_change *ch)
{
    const json_t  *given = json_object_get(ch->body, "replay_credentials");
    char          *sealed;

    if (given == NULL) {
        copy_member(ch, "replay_sealed");
        copy_member(ch, "replay_credentials_set");
        return true;
    }

    if (!json_is_null(given)) {
        sealed = replay_seal(c->env->secret, ch->id, given);
        if (sealed == NULL) {
            return api_problem_result(c, RESULT_INTERNAL);
        }

        (void) json_object_set_new(ch->body, "replay_sealed",
            json_string(sealed));
        (void) json_object_set_new(ch->body, "replay_credentials_set",
            json_true());
        free(sealed);
    }

    (void) json_object_del(ch->body, "replay_credentials");
    return true;
}


static bool
developer_complete(struct api_call *c, struct api_change *ch)
{
    default_true(ch->body, "enabled");
    if (json_object_get(ch->body, "flags") == NULL) {
        (void) json_object_set_new(ch->body, "flags", json_object());
    }

    return check_org(c, ch) && check_labs(c, ch)
           && (ch->errors.n > 0 || (developer_secret(c, ch)
                                    && developer_replays(c, ch)));
}


/* Owner, lab, action and developer must be there and the caller's. */
static bool
integration_refs(struct api_call *c, struct api_change *ch)
{
    static const struct {
        const char       *member;
        enum store_coll   coll;
    } refs[] = {
        { "lab_id", STORE_LAB }, { "action_id", STORE_ACTION }
    };
    struct store_doc  d;
    struct slice      developer;
    json_t           *body;
    enum result       r;

    for (size_t i = 0; i < 2; i++) {
        body = doc_body(c, refs[i].coll, member_int(ch->body, refs[i].member),
            &d, &r);
        json_decref(body);

        if (r == RESULT_NOT_FOUND
            || (r == RESULT_OK && refs[i].coll == STORE_LAB
                && d.org_id != ch->doc.org_id))
        {
            docs_error(&ch->errors, refs[i].member, "reference",
                "there is no such %s", i == 0 ? "lab of this org" : "action");

        } else if (r != RESULT_OK) {
            return api_problem_result(c, r);
        }
    }

    developer = slice_of(json_string_value(
        json_object_get(ch->body, "developer_id")));

    if (developer.n > 0) {
        r = store_doc_get(c->env->store, STORE_DEVELOPER, developer, &c->arena,
            &d);

        if (r == RESULT_NOT_FOUND
            || (r == RESULT_OK && d.org_id != ch->doc.org_id))
        {
            docs_error(&ch->errors, "developer_id", "reference",
                "there is no such developer of this org");

        } else if (r != RESULT_OK) {
            return api_problem_result(c, r);
        }
    }

    return true;
}


static bool
integration_complete(struct api_call *c, struct api_change *ch)
{
    return api_integration_check(c, &ch->body, ch->before, ch->id,
               &ch->errors, ch->secret, sizeof(ch->secret))
           && (ch->errors.n > 0
               || (check_org(c, ch)
                   && (ch->errors.n > 0 || integration_refs(c, ch))));
}


/* The id of a key is a part of it, so both are made here. */
static void
key_secret(struct api_call *c, struct api_change *ch)
{
    struct slice  id;
    uint8_t       mac[32];
    char          hex[AUTH_HMAC_HEX + 1];

    if (ch->before != NULL) {
        copy_member(ch, "hmac");
        copy_member(ch, "created_by");
        copy_member(ch, "revoked_at");
        return;
    }

    auth_key_make(ch->secret);
    if (auth_key_parse(slice_of(ch->secret), &id) != RESULT_OK) {
        docs_error(&ch->errors, "", "internal", "no key could be made");
        return;
    }

    (void) snprintf(ch->id, sizeof(ch->id), "%.*s", SLICE_ARG(id));
    auth_key_hmac(c->env->secret, slice_of(ch->secret), mac);
    auth_hex(mac, sizeof(mac), hex);
    (void) json_object_set_new(ch->body, "hmac", json_string(hex));
    (void) json_object_set_new(ch->body, "revoked_at", json_null());
    (void) json_object_set_new(ch->body, "created_by",
        json_string(c->caller.key_id));
}


static bool
key_complete(struct api_call *c, struct api_change *ch)
{
    const char  *expires;
    int64_t      us;

    if (json_object_get(ch->body, "unmask") == NULL) {
        (void) json_object_set_new(ch->body, "unmask", json_false());
    }

    if (json_object_get(ch->body, "expires_at") == NULL) {
        (void) json_object_set_new(ch->body, "expires_at", json_null());
    }

    expires = json_string_value(json_object_get(ch->body, "expires_at"));
    if (expires != NULL && ch->before == NULL
        && clock_parse(expires, &us) == RESULT_OK && us <= clock_wall_us())
    {
        docs_error(&ch->errors, "expires_at", "past", "has passed already");
    }

    if (ch->before != NULL
        && member_int(ch->before, "org_id") != member_int(ch->body, "org_id"))
    {
        docs_error(&ch->errors, "org_id", "fixed",
            "a key keeps its org: make a new one");
    }

    if (!check_org(c, ch) || !check_labs(c, ch)) {
        return false;
    }

    if (ch->errors.n == 0) {
        key_secret(c, ch);
    }

    return true;
}


static bool
view_complete(struct api_call *c, struct api_change *ch)
{
    if (json_object_get(ch->body, "shared") == NULL) {
        (void) json_object_set_new(ch->body, "shared", json_false());
    }

    ch->doc.org_id = c->caller.org_id;
    if (ch->before != NULL) {
        copy_member(ch, "owner");
    } else {
        (void) json_object_set_new(ch->body, "owner",
            json_string(c->caller.key_id));
    }

    return true;
}


static bool
lab_complete(struct api_call *c, struct api_change *ch)
{
    int64_t  id;

    /* who has some labs makes no more of them */
    if (c->caller.nlabs >= 0
        && (slice_int(slice_of(ch->id), &id) != RESULT_OK
            || ch->before == NULL))
    {
        return api_problem(c, 403, "Your key is for some labs only.");
    }

    return check_org(c, ch);
}


static bool
platform_only(struct api_call *c)
{
    return (c->caller.rights & AUTH_PLATFORM)
           || api_problem(c, 403, "This belongs to the platform: a key of org "
                  "0 is needed.");
}


/* An int id is the caller's choice, on create alone; others are UUIDs. */
static void
change_id(struct api_change *ch)
{
    json_t   *id = json_object_get(ch->body, "id");
    uint8_t   uuid[UUID_BYTES];

    if (ch->before != NULL) {
        return;
    }

    if (!ch->kind->int_id) {
        uuid_make(uuid, clock_wall_us());
        uuid_text(uuid, ch->id);
        return;
    }

    if (!json_is_integer(id) || json_integer_value(id) < 1
        || json_integer_value(id) > INT32_MAX)
    {
        docs_error(&ch->errors, "id", id == NULL ? "required" : "range",
            "must be a whole number from 1 to %d", INT32_MAX);
        return;
    }

    (void) snprintf(ch->id, sizeof(ch->id), "%lld",
        (long long) json_integer_value(id));
}


bool
api_change_complete(struct api_call *c, struct api_change *ch)
{
    int64_t  id;

    change_id(ch);

    /* what is wrong in shape is not looked up */
    if (ch->errors.n > 0) {
        return true;
    }

    (void) json_object_del(ch->body, "id");
    ch->doc.org_id = LOGDOC_NONE;

    switch (ch->kind->coll) {
    case STORE_ORG:
        ch->doc.org_id = slice_int(slice_of(ch->id), &id) == RESULT_OK
                             ? id : LOGDOC_NONE;
        return platform_only(c);
    case STORE_LAB:
        return lab_complete(c, ch);
    case STORE_CATEGORY:
        return platform_only(c);
    case STORE_ACTION:
        default_true(ch->body, "enabled");
        return platform_only(c) && check_category(c, ch);
    case STORE_DEVELOPER:
        return developer_complete(c, ch);
    case STORE_INTEGRATION:
        return integration_complete(c, ch);
    case STORE_API_KEY:
        return key_complete(c, ch);
    default:
        return view_complete(c, ch);
    }
}


/* Is there a document of COLL that names ID in MEMBER? */
static bool
referred(struct api_call *c, enum store_coll coll, int64_t org,
    const char *member, int64_t id, enum result *r)
{
    struct slice       after = SLICE_LIT("");
    struct store_doc  *docs;
    size_t             n = CHANGE_PAGE;
    bool               found = false;

    while (n == CHANGE_PAGE && !found) {
        *r = store_doc_list(c->env->store, coll, org, after, false,
            CHANGE_PAGE, &c->arena, &docs, &n);
        if (*r != RESULT_OK) {
            return false;
        }

        for (size_t i = 0; i < n; i++) {
            json_t  *body = json_loadb(docs[i].body.p, docs[i].body.n, 0,
                                NULL);

            found |= member_int(body, member) == id;
            json_decref(body);
        }

        after = n > 0 ? docs[n - 1].id : after;
    }

    return found;
}


bool
api_change_unused(struct api_call *c, const struct docs_kind *k,
    const struct store_doc *d)
{
    enum result  r = RESULT_OK;
    int64_t      id;
    bool         used = false;

    if (k->owner != DOCS_OF_ORG && k->owner != DOCS_PERSONAL
        && !platform_only(c))
    {
        return false;
    }

    if (!k->int_id || slice_int(d->id, &id) != RESULT_OK) {
        return true;
    }

    if (k->coll == STORE_CATEGORY) {
        used = referred(c, STORE_ACTION, LOGDOC_NONE, "action_category_id",
            id, &r);

    } else if (k->coll == STORE_ORG) {
        used = referred(c, STORE_LAB, id, "org_id", id, &r)
               || (r == RESULT_OK
                   && referred(c, STORE_DEVELOPER, id, "org_id", id, &r))
               || (r == RESULT_OK
                   && referred(c, STORE_API_KEY, id, "org_id", id, &r));
    }

    if (r != RESULT_OK) {
        return api_problem_result(c, r);
    }

    return !used || api_problem(c, 409, "Something still belongs to it.");
}
