/*
 * Keys are found by their id and compared as HMACs in constant time; an unknown
 * id costs a comparison too.  Every refusal is the same to the caller.
 */

#include "auth.h"

#include <openssl/crypto.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth_key.h"
#include "clock.h"

#define AUTH_SLOTS     4096                /* addresses that are remembered */
#define AUTH_MINUTE    INT64_C(60000000)
#define AUTH_DOC_MAX   (64 * 1024)

struct auth_failures {
    uint64_t  address;                     /* hash */
    int64_t   minute;
    unsigned  n;
};

struct auth {
    struct store         *store;
    const struct secret  *secret;
    pthread_mutex_t       mutex;
    struct auth_failures  failures[AUTH_SLOTS];
};

/* a key as its document describes it */
struct auth_key {
    struct auth_caller  caller;
    uint8_t             mac[32];
    bool                usable;            /* neither revoked nor expired */
};

static const struct {
    const char  *name;
    unsigned     rights;
}  roles[AUTH_ROLES] = {
    [AUTH_VIEWER] = { "viewer", AUTH_READ },
    [AUTH_OPERATOR] = { "operator", AUTH_READ | AUTH_OPERATE | AUTH_UNMASK },
    [AUTH_ADMIN] = { "admin", AUTH_READ | AUTH_OPERATE | AUTH_UNMASK
                              | AUTH_CONFIG | AUTH_KEYS | AUTH_AUDIT },
    [AUTH_AUDITOR] = { "auditor", AUTH_READ | AUTH_AUDIT }
};

static const char *const  rights[AUTH_RIGHTS] = {
    "read", "operate", "config", "keys", "audit", "unmask", "platform"
};


enum result
auth_create(struct store *s, const struct secret *secret, struct auth **out)
{
    struct auth  *a;

    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return RESULT_MEMORY;
    }

    a->store = s;
    a->secret = secret;
    (void) pthread_mutex_init(&a->mutex, NULL);
    *out = a;
    return RESULT_OK;
}


void
auth_destroy(struct auth *a)
{
    if (a != NULL) {
        (void) pthread_mutex_destroy(&a->mutex);
        free(a);
    }
}


const char *
auth_role_text(enum auth_role r)
{
    return roles[r].name;
}


int
auth_role_parse(struct slice s)
{
    for (int i = 0; i < AUTH_ROLES; i++) {
        if (slice_eq(s, slice_of(roles[i].name))) {
            return i;
        }
    }

    return -1;
}


const char *
auth_right_text(unsigned bit)
{
    return rights[bit];
}


void
auth_scope(const struct auth_caller *c, struct scope *out)
{
    memset(out, 0, sizeof(*out));
    out->platform = (c->rights & AUTH_PLATFORM) != 0;
    out->org_id = c->org_id;
    out->labs = c->nlabs < 0 ? NULL : c->labs;
    out->nlabs = c->nlabs < 0 ? 0 : (unsigned) c->nlabs;
}


/* Counts one failure; AGAIN when the address has too many. */
static enum result
auth_failed(struct auth *a, const char *ip)
{
    struct auth_failures  *f;
    uint64_t               h = 0xcbf29ce484222325ull;
    int64_t                minute = clock_mono_us() / AUTH_MINUTE;
    bool                   many;

    for (const char *p = ip; *p != '\0'; p++) {
        h = (h ^ (unsigned char) *p) * 0x100000001b3ull;
    }

    (void) pthread_mutex_lock(&a->mutex);

    f = &a->failures[h % AUTH_SLOTS];
    if (f->address != h || f->minute != minute) {
        *f = (struct auth_failures) { .address = h, .minute = minute };
    }

    many = f->n >= AUTH_FAILURES;
    f->n += !many;

    (void) pthread_mutex_unlock(&a->mutex);
    return many ? RESULT_AGAIN : RESULT_NOT_FOUND;
}


static bool
labs_read(const json_t *labs, struct auth_caller *c)
{
    size_t  n = json_array_size(labs);

    c->nlabs = -1;

    if (labs == NULL || json_is_null(labs)) {
        return true;
    }

    if (!json_is_array(labs) || n > AUTH_MAX_LABS) {
        return false;
    }

    c->nlabs = (int) n;
    for (size_t i = 0; i < n; i++) {
        const json_t  *lab = json_array_get(labs, i);

        if (!json_is_integer(lab)) {
            return false;
        }
        c->labs[i] = json_integer_value(lab);
    }

    return true;
}


static const char *
member_text(const json_t *doc, const char *name)
{
    const char  *text = json_string_value(json_object_get(doc, name));

    return text == NULL ? "" : text;
}


/* False when the document is damaged: then nobody comes in by it. */
static bool
key_read(const json_t *doc, struct auth_key *key)
{
    struct auth_caller  *c = &key->caller;
    const json_t        *org = json_object_get(doc, "org_id");
    const char          *expires = member_text(doc, "expires_at");
    int                  role;

    role = auth_role_parse(slice_of(member_text(doc, "role")));

    if (role < 0 || !json_is_integer(org)
        || !labs_read(json_object_get(doc, "lab_ids"), c)
        || auth_unhex(slice_of(member_text(doc, "hmac")), key->mac, 32)
           != RESULT_OK)
    {
        return false;
    }

    c->role = (enum auth_role) role;
    c->rights = roles[role].rights;
    c->org_id = json_integer_value(org);
    c->expires_us = LOGDOC_NONE;
    (void) snprintf(c->name, sizeof(c->name), "%s", member_text(doc, "name"));

    if (json_is_true(json_object_get(doc, "unmask"))) {
        c->rights |= AUTH_UNMASK;
    }

    /* some labs of org 0 make no sense: such a key sees nothing */
    if (c->org_id == 0 && c->nlabs < 0) {
        c->rights |= AUTH_PLATFORM;
    }

    if (expires[0] != '\0' && clock_parse(expires, &c->expires_us) != RESULT_OK)
    {
        return false;
    }

    key->usable = member_text(doc, "revoked_at")[0] == '\0'
                  && (c->expires_us == LOGDOC_NONE
                      || c->expires_us > clock_wall_us());
    return true;
}


static enum result
key_get(struct auth *a, struct slice id, struct auth_key *key)
{
    struct store_doc  doc;
    struct arena      arena;
    enum result       result;
    json_t           *body = NULL;

    memset(key, 0, sizeof(*key));
    arena_init(&arena, AUTH_DOC_MAX);

    result = store_doc_get(a->store, STORE_API_KEY, id, &arena, &doc);
    if (result != RESULT_OK) {
        goto out;
    }

    body = json_loadb(doc.body.p, doc.body.n, 0, NULL);
    result = body != NULL && key_read(body, key) ? RESULT_OK
                                                 : RESULT_NOT_FOUND;
    (void) snprintf(key->caller.key_id, sizeof(key->caller.key_id), "%.*s",
        SLICE_ARG(id));

out:

    json_decref(body);
    arena_cleanup(&arena);
    return result;
}


/* What a lookup that did not find means for the caller. */
static enum result
auth_refuse(struct auth *a, const char *ip, enum result found)
{
    if (found == RESULT_OK || found == RESULT_NOT_FOUND
        || found == RESULT_INVALID)
    {
        return auth_failed(a, ip);
    }

    return RESULT_UNAVAILABLE;
}


enum result
auth_bearer(struct auth *a, struct slice token, const char *ip,
    struct auth_caller *out)
{
    struct auth_key  key;
    struct slice     id;
    enum result      found;
    uint8_t          mac[32];
    bool             same;

    memset(&key, 0, sizeof(key));

    found = auth_key_parse(token, &id);
    if (found == RESULT_OK) {
        found = key_get(a, id, &key);
    }

    /* also for an unknown id, whose mac is 0 */
    auth_key_hmac(a->secret, token, mac);
    same = CRYPTO_memcmp(mac, key.mac, sizeof(mac)) == 0;

    if (found != RESULT_OK || !same || !key.usable) {
        return auth_refuse(a, ip, found);
    }

    *out = key.caller;
    return RESULT_OK;
}


/* The MAC binds id, expiry and the key's own hash: a new key under the same id
 * ends old sessions. */
static void
session_mac(struct auth *a, const struct auth_key *key, int64_t expires_us,
    uint8_t mac[32])
{
    char  text[160], hex[AUTH_HMAC_HEX + 1];
    int   n;

    auth_hex(key->mac, 32, hex);
    n = snprintf(text, sizeof(text), "v1.%s.%" PRId64 ".%s",
        key->caller.key_id, expires_us, hex);
    secret_hmac(a->secret, SECRET_SESSION,
        (struct slice) { text, (size_t) n }, mac);
}


enum result
auth_session_make(struct auth *a, const struct auth_caller *c,
    char text[AUTH_SESSION_TEXT], int64_t *expires_us)
{
    struct auth_key  key;
    enum result      result;
    uint8_t          mac[32];
    char             hex[AUTH_HMAC_HEX + 1];

    result = key_get(a, slice_of(c->key_id), &key);
    if (result != RESULT_OK) {
        return result;
    }

    *expires_us = clock_wall_us() + AUTH_SESSION_US;
    if (c->expires_us != LOGDOC_NONE && c->expires_us < *expires_us) {
        *expires_us = c->expires_us;
    }

    session_mac(a, &key, *expires_us, mac);
    auth_hex(mac, 32, hex);
    (void) snprintf(text, AUTH_SESSION_TEXT, "v1.%s.%" PRId64 ".%s", c->key_id,
        *expires_us, hex);
    return RESULT_OK;
}


/* Cuts up to the next dot off. */
static struct slice
session_part(struct slice *rest)
{
    struct slice  part = *rest;
    const char   *dot;

    dot = rest->n == 0 ? NULL : memchr(rest->p, '.', rest->n);
    if (dot == NULL) {
        *rest = SLICE_NONE;
        return part;
    }

    part.n = (size_t) (dot - rest->p);
    rest->p += part.n + 1;
    rest->n -= part.n + 1;
    return part;
}


enum result
auth_session(struct auth *a, struct slice text, const char *ip,
    struct auth_caller *out)
{
    struct auth_key  key;
    struct slice     version, id, expiry;
    enum result      found;
    uint8_t          mac[32], given[32];
    int64_t          expires_us;

    version = session_part(&text);
    id = session_part(&text);
    expiry = session_part(&text);

    if (!slice_eq(version, SLICE_LIT("v1")) || id.n != AUTH_KEY_ID
        || slice_int(expiry, &expires_us) != RESULT_OK
        || auth_unhex(text, given, sizeof(given)) != RESULT_OK)
    {
        return auth_failed(a, ip);
    }

    found = key_get(a, id, &key);
    session_mac(a, &key, expires_us, mac);

    if (found != RESULT_OK || CRYPTO_memcmp(mac, given, sizeof(mac)) != 0) {
        return auth_refuse(a, ip, found);
    }

    /* an old session is no guess: it does not count */
    if (!key.usable || expires_us <= clock_wall_us()) {
        return RESULT_NOT_FOUND;
    }

    *out = key.caller;
    out->session = true;
    out->expires_us = expires_us;
    return RESULT_OK;
}


enum result
auth_again(struct auth *a, const struct auth_caller *c)
{
    struct auth_key            key;
    const struct auth_caller  *now = &key.caller;
    enum result                found;

    found = key_get(a, slice_of(c->key_id), &key);
    if (found != RESULT_OK) {
        return found;
    }

    if (!key.usable || now->rights != c->rights || now->org_id != c->org_id
        || now->nlabs != c->nlabs
        || (c->nlabs > 0 && memcmp(now->labs, c->labs,
                                (size_t) c->nlabs * sizeof(c->labs[0])) != 0))
    {
        return RESULT_NOT_FOUND;
    }

    return RESULT_OK;
}
