/* The signed header of a replay, from both sides. */

#include "replay.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "logdoc_json.h"
#include "seal.h"

#define REPLAY_FRESH_US  INT64_C(600000000)
#define REPLAY_SEALED    (16 * 1024)
#define REPLAY_ARENA     (2 * 1024 * 1024)

/* hop by hop, framing, what says who and where from, ours */
static const char *const  dropped[] = {
    "Host", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
    "Accept-Encoding", "X-Real-IP", "X-Request-Id", "Forwarded", "Via",
    REPLAY_HEADER
};


bool
replay_header_dropped(struct slice name)
{
    static const struct slice  forwarded = { "X-Forwarded-", 12 };

    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        if (slice_eq_nocase(name, slice_of(dropped[i]))) {
            return true;
        }
    }

    return name.n > forwarded.n
           && slice_eq_nocase((struct slice) { name.p, forwarded.n },
                  forwarded);
}


static void
token_mac(const struct secret *s, struct slice signed_part, char hex[65])
{
    uint8_t  mac[32];

    secret_hmac(s, SECRET_REPLAY, signed_part, mac);

    for (size_t i = 0; i < sizeof(mac); i++) {
        (void) snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    }
}


void
replay_sign(const struct secret *s, const char *replay, const char *log,
    int64_t now_us, char token[REPLAY_TOKEN])
{
    char  hex[65];
    int   n;

    n = snprintf(token, REPLAY_TOKEN, "v1.%.36s.%.36s.%lld", replay, log,
        (long long) now_us);
    token_mac(s, (struct slice) { token, (size_t) n }, hex);
    (void) snprintf(token + n, REPLAY_TOKEN - (size_t) n, ".%s", hex);
}


struct token {
    char     replay[UUID_TEXT + 1], log[UUID_TEXT + 1];
    int64_t  us;
};


static bool
token_uuid(struct slice *rest, char text[UUID_TEXT + 1])
{
    uint8_t  id[UUID_BYTES];

    if (rest->n <= UUID_TEXT || rest->p[UUID_TEXT] != '.'
        || uuid_parse((struct slice) { rest->p, UUID_TEXT }, id) != RESULT_OK)
    {
        return false;
    }

    uuid_text(id, text);
    rest->p += UUID_TEXT + 1;
    rest->n -= UUID_TEXT + 1;
    return true;
}


static bool
token_parse(const struct secret *s, struct slice text, struct token *t)
{
    struct slice  rest = text;
    char          hex[65];
    const char   *dot;

    if (text.n < 70 || text.n >= REPLAY_TOKEN || memcmp(text.p, "v1.", 3) != 0
        || text.p[text.n - 65] != '.')
    {
        return false;
    }

    token_mac(s, (struct slice) { text.p, text.n - 65 }, hex);
    if (CRYPTO_memcmp(hex, text.p + text.n - 64, 64) != 0) {
        return false;
    }

    rest.p += 3;
    rest.n -= 3;
    if (!token_uuid(&rest, t->replay) || !token_uuid(&rest, t->log)) {
        return false;
    }

    dot = memchr(rest.p, '.', rest.n);
    return dot != NULL && slice_int((struct slice) { rest.p,
        (size_t) (dot - rest.p) }, &t->us) == RESULT_OK;
}


/* The replay's log is the first that says so, for good: a document of its own,
 * so that the sender may write the replay's at the same time.  NOT_FOUND: there
 * is no such replay, or it has another log. */
static enum result
claim_once(struct store *store, const struct token *t, const char *log)
{
    struct retry_doc  d;
    const char       *has;
    enum result       r;

    retry_doc_id(&d, "replay", t->replay, -1);
    r = retry_doc_get(store, &d);
    retry_doc_cleanup(&d);

    if (r != RESULT_OK) {
        return r;
    }

    retry_doc_id(&d, "claim", t->replay, -1);
    d.org_id = LOGDOC_NONE;
    d.v = json_pack("{s:s}", "log", log);
    r = retry_doc_put(store, &d);

    if (r == RESULT_CONFLICT) {
        r = retry_doc_get(store, &d);
        has = json_string_value(json_object_get(d.v, "log"));
        r = r == RESULT_OK && (has == NULL || strcmp(has, log) != 0)
                ? RESULT_NOT_FOUND : r;
    }

    retry_doc_cleanup(&d);
    return r;
}


/* A call without a key is his whose call it was. */
static void
inherit_owner(struct store *store, const struct token *t, struct logdoc *d,
    struct arena *a)
{
    const struct scope  all = { .platform = true };
    struct arena        own;
    struct logdoc       of;
    uint8_t             id[UUID_BYTES];

    if (d->developer_id.n > 0 || uuid_parse(slice_of(t->log), id) != RESULT_OK)
    {
        return;
    }

    arena_init(&own, REPLAY_ARENA);

    if (store_log_get(store, &all, id, &own, &of) == RESULT_OK) {
        d->org_id = of.org_id;
        d->lab_id = of.lab_id;
        d->developer_id = arena_copy(a, of.developer_id);
        d->flags &= ~(uint32_t) (LOG_FLAG_UNKNOWN_KEY | LOG_FLAG_LAB_MISMATCH);
    }

    arena_cleanup(&own);
}


enum result
replay_claim(const struct secret *s, struct store *store, struct logdoc *d,
    struct arena *a)
{
    struct slice  block = d->request.headers, name, value;
    struct slice  found = SLICE_NONE;
    struct token  t;
    char          log[UUID_TEXT + 1];
    enum result   r = RESULT_NOT_FOUND;
    int           n = 0;

    while (logdoc_header_next(&block, &name, &value)) {
        if (slice_eq_nocase(name, SLICE_LIT(REPLAY_HEADER))) {
            found = value;
            n++;
        }
    }

    if (n == 0) {
        return RESULT_OK;
    }

    uuid_text(d->id, log);

    if (n == 1 && s != NULL && token_parse(s, found, &t)
        && t.us <= d->started_us + REPLAY_FRESH_US
        && t.us >= d->started_us - REPLAY_FRESH_US)
    {
        r = claim_once(store, &t, log);
    }

    if (r == RESULT_NOT_FOUND) {
        d->flags |= LOG_FLAG_BAD_REPLAY;
        log_rate(LOG_WARN, "drain", "log %s came with a wrong " REPLAY_HEADER,
            log);
        return RESULT_OK;
    }

    d->replay_of = arena_copy(a, slice_of(t.log));
    inherit_owner(store, &t, d, a);
    return r;
}


bool
replay_log(struct store *store, const char *replay, char log[UUID_TEXT + 1])
{
    const struct scope  all = { .platform = true };
    struct retry_doc    d;
    struct logdoc       of;
    struct arena        a;
    const char         *has;
    uint8_t             id[UUID_BYTES];
    bool                there;

    arena_init(&a, REPLAY_ARENA);
    retry_doc_id(&d, "claim", replay, -1);
    there = retry_doc_get(store, &d) == RESULT_OK;
    has = json_string_value(json_object_get(d.v, "log"));
    there = there && uuid_parse(slice_of(has), id) == RESULT_OK
            && store_log_get(store, &all, id, &a, &of) == RESULT_OK;

    if (there) {
        uuid_text(id, log);
    }

    retry_doc_cleanup(&d);
    arena_cleanup(&a);
    return there;
}


enum result
replay_mark(struct store *s, const char *replay)
{
    struct retry_doc  d;
    enum result       r;

    retry_doc_id(&d, "call", replay, -1);
    d.org_id = LOGDOC_NONE;
    d.version = -1;
    d.v = json_object();
    r = retry_doc_put(s, &d);
    retry_doc_cleanup(&d);
    return r;
}


/* -- credentials --------------------------------------------------------- */

static void
place_of(const char *developer, char place[128])
{
    (void) snprintf(place, 128, "developer_authentication/%.64s/replay",
        developer);
}


char *
replay_seal(const struct secret *s, const char *developer,
    const json_t *credentials)
{
    char        *plain = json_dumps(credentials, JSON_COMPACT), place[128];
    char        *text = NULL;
    struct buf   b;

    buf_init(&b, REPLAY_SEALED);
    place_of(developer, place);

    if (plain != NULL && seal_close(s, slice_of(place), slice_of(plain), &b)
        == RESULT_OK)
    {
        text = buf_take(&b, NULL);
    }

    buf_cleanup(&b);

    if (plain != NULL) {
        OPENSSL_cleanse(plain, strlen(plain));
    }

    free(plain);
    return text;
}


static json_t *
credentials_open(const struct secret *s, const char *developer,
    const char *sealed)
{
    char         place[128];
    struct buf   b;
    json_t      *v = NULL;

    buf_init(&b, REPLAY_SEALED);
    place_of(developer, place);

    if (sealed != NULL && seal_open(s, slice_of(place), slice_of(sealed), &b)
        == RESULT_OK)
    {
        v = json_loadb(b.p, b.n, 0, NULL);
        OPENSSL_cleanse(b.p, b.n);
    }

    buf_cleanup(&b);
    return v;
}


bool
replay_sealed_same(const struct secret *s, const char *developer,
    const char *sealed, const json_t *credentials)
{
    json_t  *v = credentials_open(s, developer, sealed);
    bool     same = v != NULL && json_equal(v, credentials);

    json_decref(v);
    return same;
}


json_t *
replay_credentials(struct store *store, const struct secret *s,
    const char *developer)
{
    struct store_doc  d;
    struct arena      a;
    json_t           *body = NULL, *v;

    arena_init(&a, REPLAY_ARENA);

    if (store_doc_get(store, STORE_DEVELOPER, slice_of(developer), &a, &d)
        == RESULT_OK)
    {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
    }

    v = credentials_open(s, developer, json_string_value(json_object_get(body,
        "replay_sealed")));
    json_decref(body);
    arena_cleanup(&a);
    return v;
}
