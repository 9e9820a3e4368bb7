/* key: API keys, made and revoked on the store itself. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "audit.h"
#include "auth_key.h"
#include "cli_open.h"
#include "clock.h"

#define KEY_PAGE      100
#define KEY_MAX_LABS  64
#define DAY_US        (INT64_C(86400) * 1000000)

static const char *const  key_roles[] = {
    "viewer", "operator", "admin", "auditor"
};


static int
key_role(const struct cli *c, const char **role)
{
    *role = cli_value(c, "role");

    for (size_t i = 0; *role != NULL && i < 4; i++) {
        if (strcmp(*role, key_roles[i]) == 0) {
            return CLI_OK;
        }
    }

    return cli_complain(CLI_USAGE, "key create: --role must be viewer, "
        "operator, admin or auditor");
}


/* "1,2,3" as an array, JSON null when not given. */
static int
key_labs(const struct cli *c, json_t **out)
{
    const char  *text = cli_value(c, "labs");
    size_t       n;
    int64_t      lab;
    json_t      *labs;

    *out = NULL;

    if (text == NULL) {
        *out = json_null();
        return CLI_OK;
    }

    labs = json_array();

    for ( /* void */ ; ; text += n + 1) {
        n = strcspn(text, ",");

        if (slice_int((struct slice) { text, n }, &lab) != RESULT_OK || lab < 1
            || json_array_size(labs) == KEY_MAX_LABS
            || json_array_append_new(labs, json_integer(lab)) != 0)
        {
            json_decref(labs);
            return cli_complain(CLI_USAGE, "key create: --labs must be ids of "
                "at most %d labs, 1,2,3", KEY_MAX_LABS);
        }

        if (text[n] == '\0') {
            break;
        }
    }

    *out = labs;
    return CLI_OK;
}


static json_t *
key_body(const struct cli *c, const char *role, int64_t org, json_t *labs,
    int64_t expires_us, const uint8_t mac[32])
{
    char         hex[AUTH_HMAC_HEX + 1], at[CLOCK_RFC3339 + 1];
    const char  *name = cli_value(c, "name");
    const char  *user = getenv("USER");

    auth_hex(mac, 32, hex);

    if (expires_us != LOGDOC_NONE) {
        clock_text(expires_us, at);
    }

    return json_pack("{s:s,s:I,s:O,s:s,s:b,s:s,s:s?,s:n,s:s}",
        "name", name == NULL ? "" : name, "org_id", (json_int_t) org,
        "lab_ids", labs, "role", role,
        "unmask", cli_value(c, "unmask") != NULL, "hmac", hex,
        "expires_at", expires_us == LOGDOC_NONE ? NULL : at,
        "revoked_at", "created_by", user == NULL ? "cli" : user);
}


/* Before the act: no entry, no act. */
static int
key_audit(struct cli *c, const char *action, struct slice id, int64_t org)
{
    struct audit_entry  e = {
        .action = action, .type = store_coll_name(STORE_API_KEY),
        .target = id, .org_id = org
    };

    return cli_audit(c, &e);
}


static int
key_store(struct cli *c, json_t *body, struct slice id, int64_t org,
    int64_t expires_us)
{
    struct store_doc  d;
    int64_t           version;
    char             *text;
    enum result       r = RESULT_MEMORY;

    text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

    if (text != NULL) {
        memset(&d, 0, sizeof(d));
        d.id = id;
        d.org_id = org;
        d.created_us = clock_wall_us();
        d.updated_us = d.created_us;
        d.expires_us = expires_us == LOGDOC_NONE ? LOGDOC_NONE
                                                 : expires_us + 30 * DAY_US;
        d.body = slice_of(text);
        r = store_doc_put(c->store, STORE_API_KEY, &d, 0, &version);
    }

    free(text);
    return r == RESULT_OK ? CLI_OK
           : cli_complain(CLI_FAILED, "key create: %s", result_text(r));
}


static int
key_create(struct cli *c)
{
    const char   *role;
    char          key[AUTH_KEY_TEXT + 1];
    uint8_t       mac[32];
    struct slice  id;
    json_t       *labs = NULL, *body;
    int64_t       org, days, expires;
    int           status;

    status = key_role(c, &role);
    status = status == CLI_OK ? cli_number(c, "org", -1, 0, INT64_MAX, &org)
                              : status;
    status = status == CLI_OK ? cli_number(c, "expires", 0, 1, 36500, &days)
                              : status;
    status = status == CLI_OK ? key_labs(c, &labs) : status;

    if (status != CLI_OK) {
        return status;
    }

    if (org < 0) {
        json_decref(labs);
        return cli_complain(CLI_USAGE, "key create: --org is needed; 0 sees "
            "every org");
    }

    auth_key_make(key);
    expires = days == 0 ? LOGDOC_NONE : clock_wall_us() + days * DAY_US;

    if (auth_key_parse(slice_of(key), &id) != RESULT_OK) {
        json_decref(labs);
        return cli_complain(CLI_FAILED, "key create: a key that is none");
    }

    auth_key_hmac(c->secret, slice_of(key), mac);
    body = key_body(c, role, org, labs, expires, mac);

    status = key_audit(c, "api_key.create", id, org);
    status = status == CLI_OK ? key_store(c, body, id, org, expires) : status;

    if (status == CLI_OK && cli_value(c, "json") != NULL) {
        (void) printf("{\"id\":\"%.*s\",\"key\":\"%s\"}\n", SLICE_ARG(id), key);

    } else if (status == CLI_OK) {
        (void) printf("%s\n", key);
    }

    OPENSSL_cleanse(key, sizeof(key));
    json_decref(labs);
    json_decref(body);
    return status;
}


static const char *
key_state(const json_t *body)
{
    const char  *expires = json_string_value(json_object_get(body,
                               "expires_at"));
    int64_t      us;

    if (json_is_string(json_object_get(body, "revoked_at"))) {
        return "revoked";
    }

    return expires != NULL && clock_parse(expires, &us) == RESULT_OK
           && us < clock_wall_us() ? "expired" : "valid";
}


static void
key_print(const struct cli *c, const struct store_doc *d, json_t *body)
{
    char  at[CLOCK_RFC3339 + 1], *text;

    clock_text(d->created_us, at);

    if (cli_value(c, "json") == NULL) {
        (void) printf("%-8.*s  %-8s  %-8s  org %-6lld  %s  %s\n",
            SLICE_ARG(d->id), key_state(body),
            json_string_value(json_object_get(body, "role")),
            (long long) json_integer_value(json_object_get(body, "org_id")),
            at, json_string_value(json_object_get(body, "name")));
        return;
    }

    (void) json_object_del(body, "hmac");
    (void) json_object_set_new(body, "id", json_stringn(d->id.p, d->id.n));
    (void) json_object_set_new(body, "state", json_string(key_state(body)));
    (void) json_object_set_new(body, "created_at", json_string(at));
    text = json_dumps(body, JSON_COMPACT);
    (void) printf("%s\n", text == NULL ? "" : text);
    free(text);
}


static int
key_list(struct cli *c)
{
    struct store_doc  *docs;
    struct arena       a;
    char               after[64] = "";
    size_t             n = KEY_PAGE;
    json_t            *body;
    enum result        r = RESULT_OK;

    arena_init(&a, 4 * 1024 * 1024);

    while (r == RESULT_OK && n == KEY_PAGE) {
        arena_reset(&a);
        r = store_doc_list(c->store, STORE_API_KEY, LOGDOC_NONE,
            slice_of(after), false, KEY_PAGE, &a, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n; i++) {
            body = json_loadb(docs[i].body.p, docs[i].body.n, 0, NULL);
            key_print(c, &docs[i], body);
            json_decref(body);
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[i].id));
        }
    }

    arena_cleanup(&a);
    return r == RESULT_OK ? CLI_OK
           : cli_complain(CLI_FAILED, "key list: %s", result_text(r));
}


static int
key_revoke(struct cli *c)
{
    struct store_doc  d;
    struct arena      a;
    char              at[CLOCK_RFC3339 + 1], *text = NULL;
    json_t           *body = NULL;
    int64_t           version;
    int               status = CLI_FAILED;
    enum result       r;

    if (c->nargs != 2) {
        return cli_complain(CLI_USAGE, "key revoke: give the key's id, the 8 "
            "characters behind idash_");
    }

    arena_init(&a, 1024 * 1024);
    r = store_doc_get(c->store, STORE_API_KEY, slice_of(c->args[1]), &a, &d);

    if (r == RESULT_OK) {
        clock_text(clock_wall_us(), at);
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        (void) json_object_set_new(body, "revoked_at", json_string(at));
        text = json_dumps(body, JSON_COMPACT);
        r = text == NULL ? RESULT_MEMORY : RESULT_OK;
    }

    if (r == RESULT_OK
        && key_audit(c, "api_key.revoke", d.id, d.org_id) == CLI_OK)
    {
        d.body = slice_of(text);
        d.updated_us = clock_wall_us();
        r = store_doc_put(c->store, STORE_API_KEY, &d, d.version, &version);
        status = r == RESULT_OK ? CLI_OK : CLI_FAILED;
    }

    if (r == RESULT_OK && status == CLI_OK) {
        (void) printf("revoked %s\n", c->args[1]);

    } else if (r != RESULT_OK) {
        status = cli_complain(CLI_FAILED, "key revoke %s: %s", c->args[1],
            result_text(r));
    }

    free(text);
    json_decref(body);
    arena_cleanup(&a);
    return status;
}


int
cli_key(struct cli *c)
{
    const char  *what = c->nargs > 0 ? c->args[0] : "";
    bool         create = strcmp(what, "create") == 0;
    bool         list = strcmp(what, "list") == 0;
    int          status;

    if (!create && !list && strcmp(what, "revoke") != 0) {
        return cli_complain(CLI_USAGE, "key: say create, list or revoke");
    }

    if ((create || list) && c->nargs != 1) {
        return cli_complain(CLI_USAGE, "key %s: what is \"%s\"?", what,
            c->args[1]);
    }

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_load_secret(c) : status;
    status = status == CLI_OK ? cli_open_store(c, list) : status;

    if (status != CLI_OK) {
        return status;
    }

    return create ? key_create(c) : list ? key_list(c) : key_revoke(c);
}
