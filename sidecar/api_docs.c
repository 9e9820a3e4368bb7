/* The table of configuration collections, validation, visibility, printing. */

#include "api_docs.h"

#include <stdio.h>

#include "clock.h"
#include "integration.h"

#define ID_MAX   INT64_C(2147483647)
#define NAME     { "name", DOCS_NAME, true, 1, 120 }
#define END      { NULL, DOCS_NAME, false, 0, 0 }

static const struct docs_field  org_fields[] = { NAME, END };

static const struct docs_field  lab_fields[] = {
    NAME,
    { "org_id", DOCS_INT, true, 1, ID_MAX },
    { "time_zone", DOCS_ZONE, false, 1, 64 },
    { "retention_ok_days", DOCS_INT, false, 1, 36500 },
    { "retention_fail_days", DOCS_INT, false, 1, 36500 },
    END
};

static const struct docs_field  category_fields[] = { NAME, END };

static const struct docs_field  action_fields[] = {
    NAME,
    { "action_category_id", DOCS_INT, true, 1, ID_MAX },
    { "enabled", DOCS_BOOL, false, 0, 0 },
    END
};

static const struct docs_field  developer_fields[] = {
    NAME,
    { "org_id", DOCS_INT, true, 1, ID_MAX },
    { "lab_ids", DOCS_LABS, false, 0, AUTH_MAX_LABS },
    { "auth_key", DOCS_SECRET, false, 16, 512 },
    { "replay_credentials", DOCS_CREDENTIALS, false, 0, 16 },
    { "flags", DOCS_OBJECT, false, 0, 64 },
    { "enabled", DOCS_BOOL, false, 0, 0 },
    END
};

static const struct docs_field  key_fields[] = {
    NAME,
    { "org_id", DOCS_INT, true, 0, ID_MAX },
    { "lab_ids", DOCS_LABS, false, 0, AUTH_MAX_LABS },
    { "role", DOCS_ROLE, true, 0, 0 },
    { "unmask", DOCS_BOOL, false, 0, 0 },
    { "expires_at", DOCS_TIME, false, 0, 0 },
    END
};

static const struct docs_field  view_fields[] = {
    NAME,
    { "query", DOCS_NAME, true, 0, 4000 },
    { "shared", DOCS_BOOL, false, 0, 0 },
    END
};

static const char *const  hide_none[] = { NULL };
static const char *const  hide_developer[] = { "key_hmac", "replay_sealed",
                                               NULL };
static const char *const  hide_key[] = { "hmac", NULL };

const struct docs_kind  docs_orgs = {
    STORE_ORG, "/orgs", "org", DOCS_ORG, true, org_fields, hide_none
};
const struct docs_kind  docs_labs = {
    STORE_LAB, "/labs", "lab", DOCS_OF_ORG, true, lab_fields, hide_none
};
const struct docs_kind  docs_categories = {
    STORE_CATEGORY, "/action-categories", "action_category", DOCS_GLOBAL, true,
    category_fields, hide_none
};
const struct docs_kind  docs_actions = {
    STORE_ACTION, "/actions", "action", DOCS_GLOBAL, true, action_fields,
    hide_none
};
const struct docs_kind  docs_developers = {
    STORE_DEVELOPER, "/developers", "developer", DOCS_OF_ORG, false,
    developer_fields, hide_developer
};
const struct docs_kind  docs_integrations = {
    STORE_INTEGRATION, "/integrations", "integration", DOCS_OF_ORG, false,
    NULL, hide_none
};
const struct docs_kind  docs_keys = {
    STORE_API_KEY, "/api-keys", "api_key", DOCS_OF_ORG, false, key_fields,
    hide_key
};
const struct docs_kind  docs_views = {
    STORE_VIEW, "/views", "view", DOCS_PERSONAL, false, view_fields, hide_none
};


void
docs_error(struct docs_errors *e, const char *member, const char *code,
    const char *fmt, ...)
{
    struct api_error  *error;
    va_list            ap;

    if (e->n == DOCS_MAX_ERRORS) {
        return;
    }

    error = &e->list[e->n++];
    (void) snprintf(error->pointer, sizeof(error->pointer), "#/%s", member);
    error->code = code;

    va_start(ap, fmt);
    (void) vsnprintf(error->detail, sizeof(error->detail), fmt, ap);
    va_end(ap);
}


static bool
text_clean(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char) s[i] < 0x20 || s[i] == 0x7f) {
            return false;
        }
    }

    return true;
}


static void
check_text(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    size_t  n = json_string_length(v);

    if (!json_is_string(v)) {
        docs_error(e, f->name, "type", "must be text");

    } else if (n < (size_t) f->min || n > (size_t) f->max) {
        docs_error(e, f->name, "length", "must be %lld to %lld bytes long",
            (long long) f->min, (long long) f->max);

    } else if (!text_clean(json_string_value(v), n)) {
        docs_error(e, f->name, "characters",
            "must not hold control characters");
    }
}


static void
check_int(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < f->min
        || json_integer_value(v) > f->max)
    {
        docs_error(e, f->name, "range",
            "must be a whole number from %lld to %lld", (long long) f->min,
            (long long) f->max);
    }
}


static void
check_labs(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    const json_t  *lab;
    size_t         i;

    if (json_is_null(v)) {
        return;
    }

    if (!json_is_array(v) || json_array_size(v) > (size_t) f->max) {
        docs_error(e, f->name, "type",
            "must be null for all labs, or an array of at most %lld ids",
            (long long) f->max);
        return;
    }

    json_array_foreach((json_t *) v, i, lab) {
        if (!json_is_integer(lab) || json_integer_value(lab) < 1) {
            docs_error(e, f->name, "type", "holds an entry that is no id");
            return;
        }
    }
}


static bool
is_pair(const json_t *pair)
{
    const json_t  *name = json_array_get(pair, 0);
    const json_t  *value = json_array_get(pair, 1);

    return json_array_size(pair) == 2 && json_string_length(name) > 0
           && json_string_length(name) <= 256
           && json_string_length(value) <= 4096 && json_is_string(value)
           && text_clean(json_string_value(name), json_string_length(name))
           && text_clean(json_string_value(value), json_string_length(value))
           && strpbrk(json_string_value(name), " :;") == NULL;
}


/* {"headers": [[name, value], ..], "query": [[name, value], ..]} */
static void
check_credentials(const struct docs_field *f, const json_t *v,
    struct docs_errors *e)
{
    const char    *name;
    const json_t  *list, *pair;
    size_t         i;

    if (json_is_null(v)) {
        return;
    }

    if (!json_is_object(v)) {
        docs_error(e, f->name, "type", "must be null or an object");
        return;
    }

    json_object_foreach((json_t *) v, name, list) {
        bool  ok = (strcmp(name, "headers") == 0 || strcmp(name, "query") == 0)
                   && json_is_array(list)
                   && json_array_size(list) <= (size_t) f->max;

        json_array_foreach((json_t *) list, i, pair) {
            ok &= is_pair(pair);
        }

        if (!ok) {
            docs_error(e, f->name, "type", "must hold headers and query, "
                "each at most %lld pairs of name and value",
                (long long) f->max);
            return;
        }
    }
}


static void
check_object(const struct docs_field *f, const json_t *v,
    struct docs_errors *e)
{
    const char    *name;
    const json_t  *member;

    if (!json_is_object(v) || json_object_size(v) > (size_t) f->max) {
        docs_error(e, f->name, "type",
            "must be an object of at most %lld members", (long long) f->max);
        return;
    }

    json_object_foreach((json_t *) v, name, member) {
        if (json_is_object(member) || json_is_array(member)) {
            docs_error(e, f->name, "type",
                "holds something else than booleans, numbers and text");
            return;
        }
    }
}


/* A name of the tz database: letters, digits and _ - + / */
static void
check_zone(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    const char  *s = json_string_value(v);

    if (s == NULL || s[0] == '\0' || json_string_length(v) > 64
        || strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                     "0123456789_-+/") != json_string_length(v))
    {
        docs_error(e, f->name, "zone",
            "must name a time zone, as Asia/Kolkata or UTC");
    }
}


static void
check_time(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    int64_t  us;

    if (!json_is_null(v)
        && (!json_is_string(v)
            || clock_parse(json_string_value(v), &us) != RESULT_OK))
    {
        docs_error(e, f->name, "time",
            "must be an RFC 3339 time, as 2027-01-31T00:00:00Z, or null");
    }
}


static void
check_role(const struct docs_field *f, const json_t *v, struct docs_errors *e)
{
    if (!json_is_string(v)
        || auth_role_parse(slice_of(json_string_value(v))) < 0)
    {
        docs_error(e, f->name, "role",
            "must be viewer, operator, admin or auditor");
    }
}


static void
check_field(const struct docs_field *f, const json_t *v,
    struct docs_errors *e)
{
    switch (f->type) {
    case DOCS_NAME:
    case DOCS_SECRET:
        check_text(f, v, e);
        break;
    case DOCS_INT:
        check_int(f, v, e);
        break;
    case DOCS_BOOL:
        if (!json_is_boolean(v)) {
            docs_error(e, f->name, "type", "must be true or false");
        }
        break;
    case DOCS_LABS:
        check_labs(f, v, e);
        break;
    case DOCS_OBJECT:
        check_object(f, v, e);
        break;
    case DOCS_CREDENTIALS:
        check_credentials(f, v, e);
        break;
    case DOCS_ZONE:
        check_zone(f, v, e);
        break;
    case DOCS_ROLE:
        check_role(f, v, e);
        break;
    case DOCS_TIME:
        check_time(f, v, e);
        break;
    }
}


static bool
field_known(const struct docs_kind *k, const char *name)
{
    for (const struct docs_field *f = k->fields; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0) {
            return true;
        }
    }

    return strcmp(name, "id") == 0 && k->int_id;
}


void
docs_validate(const struct docs_kind *k, const json_t *body,
    struct docs_errors *e)
{
    const struct docs_field  *f;
    const char               *name;
    const json_t             *v;

    if (k->fields == NULL) {
        return;
    }

    json_object_foreach((json_t *) body, name, v) {
        if (!field_known(k, name)) {
            docs_error(e, strlen(name) < 64 ? name : "", "unknown",
                "there is no such member");
        }
    }

    for (f = k->fields; f->name != NULL; f++) {
        v = json_object_get(body, f->name);

        if (v != NULL) {
            check_field(f, v, e);

        } else if (f->required) {
            docs_error(e, f->name, "required", "must be given");
        }
    }
}


static bool
caller_has_lab(const struct auth_caller *k, int64_t lab)
{
    for (int i = 0; i < k->nlabs; i++) {
        if (k->labs[i] == lab) {
            return true;
        }
    }

    return k->nlabs < 0;
}


/* Who has some labs sees what belongs to these alone. */
static bool
labs_visible(const struct auth_caller *k, const json_t *labs)
{
    const json_t  *lab;
    size_t         i;

    if (k->nlabs < 0) {
        return true;
    }

    if (!json_is_array(labs)) {
        return false;
    }

    json_array_foreach((json_t *) labs, i, lab) {
        if (!caller_has_lab(k, json_integer_value(lab))) {
            return false;
        }
    }

    return true;
}


static bool
view_visible(const struct auth_caller *k, const json_t *body)
{
    const char  *owner = json_string_value(json_object_get(body, "owner"));

    return json_is_true(json_object_get(body, "shared"))
           || (owner != NULL && strcmp(owner, k->key_id) == 0);
}


bool
docs_visible(const struct api_call *c, const struct docs_kind *k,
    const struct store_doc *d, const json_t *body)
{
    const struct auth_caller  *who = &c->caller;
    int64_t                    id;

    if (k->owner == DOCS_GLOBAL) {
        return true;
    }

    if (k->owner == DOCS_PERSONAL) {
        return d->org_id == who->org_id && view_visible(who, body);
    }

    if (who->rights & AUTH_PLATFORM) {
        return true;
    }

    if (d->org_id == LOGDOC_NONE || d->org_id != who->org_id) {
        return false;
    }

    if (k->coll == STORE_LAB) {
        return slice_int(d->id, &id) == RESULT_OK && caller_has_lab(who, id);
    }

    if (k->coll == STORE_INTEGRATION) {
        return caller_has_lab(who,
            json_integer_value(json_object_get(body, "lab_id")));
    }

    return k->coll == STORE_ORG
           || labs_visible(who, json_object_get(body, "lab_ids"));
}


static json_t *
time_json(int64_t us)
{
    char  text[CLOCK_RFC3339 + 1];

    if (us == LOGDOC_NONE) {
        return json_null();
    }

    clock_text(us, text);
    return json_string(text);
}


json_t *
docs_shown(const struct docs_kind *k, const struct store_doc *d,
    const json_t *body)
{
    json_t   *shown = json_object();
    int64_t   id;

    if (shown == NULL) {
        return NULL;
    }

    if (k->int_id && slice_int(d->id, &id) == RESULT_OK) {
        (void) json_object_set_new(shown, "id", json_integer(id));
    } else {
        (void) json_object_set_new(shown, "id",
            json_stringn(d->id.p, d->id.n));
    }

    if (k->coll == STORE_INTEGRATION) {
        json_t  *public = integration_public(body);

        (void) json_object_update(shown, public);
        json_decref(public);

    } else {
        (void) json_object_update(shown, (json_t *) body);
    }

    for (const char *const *h = k->hidden; *h != NULL; h++) {
        (void) json_object_del(shown, *h);
    }

    (void) json_object_set_new(shown, "version", json_integer(d->version));
    (void) json_object_set_new(shown, "created_at", time_json(d->created_us));
    (void) json_object_set_new(shown, "updated_at", time_json(d->updated_us));
    return shown;
}
