/*
 * A program sends its key on every call; the web page exchanges the key once
 * for a cookie that scripts cannot read.  A cookie goes along with requests
 * that other sites cause, so unsafe methods must show that this origin asked.
 */

#include "api_session.h"

#include <inttypes.h>

#include "clock.h"
#include "json.h"

#define COOKIE_SECURE  "__Host-idash"
#define COOKIE_PLAIN   "idash"


/* Over TLS only the cookie that a plain-text neighbour cannot have planted. */
static const char *
cookie_name(const struct api_call *c)
{
    return c->secure ? COOKIE_SECURE : COOKIE_PLAIN;
}


static bool
method_safe(struct slice method)
{
    return slice_eq(method, SLICE_LIT("GET"))
           || slice_eq(method, SLICE_LIT("HEAD"));
}


/* Origin is scheme://host[:port] of this request? */
static bool
origin_same(const struct api_call *c, struct slice origin)
{
    struct slice  host = http_header(c->http, "Host");
    struct slice  scheme = c->secure ? SLICE_LIT("https://")
                                     : SLICE_LIT("http://");

    return host.n > 0 && origin.n == scheme.n + host.n
           && memcmp(origin.p, scheme.p, scheme.n) == 0
           && slice_eq_nocase((struct slice) { origin.p + scheme.n, host.n },
                  host);
}


static bool
csrf_check(struct api_call *c)
{
    struct slice  site = http_header(c->http, "Sec-Fetch-Site");
    struct slice  origin = http_header(c->http, "Origin");

    if (method_safe(c->method)) {
        return true;
    }

    if (site.p != NULL ? slice_eq(site, SLICE_LIT("same-origin"))
                       : origin.p != NULL && origin_same(c, origin))
    {
        return true;
    }

    return api_problem(c, 403, "A session may be used from its own page only.");
}


static bool
auth_refused(struct api_call *c, enum result r)
{
    switch (r) {
    case RESULT_OK:
        return true;
    case RESULT_NOT_FOUND:
        c->env->counters.auth_failures++;
        return api_problem(c, 401, "A valid key is required.");
    case RESULT_AGAIN:
        c->env->counters.auth_failures++;
        return api_problem(c, 429, "Too many wrong keys from your address.");
    default:
        return api_problem_result(c, r);
    }
}


/* The token of "Bearer token"; p NULL for another scheme. */
static struct slice
bearer_token(struct slice header)
{
    struct slice  scheme = SLICE_LIT("Bearer ");

    if (header.n <= scheme.n
        || !slice_eq_nocase((struct slice) { header.p, scheme.n }, scheme))
    {
        return SLICE_NONE;
    }

    header.p += scheme.n;
    header.n -= scheme.n;

    while (header.n > 0 && header.p[0] == ' ') {
        header.p++;
        header.n--;
    }

    return header;
}


bool
api_authenticate(struct api_call *c)
{
    struct slice  header = http_header(c->http, "Authorization");
    struct slice  cookie;
    enum result   r;

    if (header.p != NULL) {
        r = auth_bearer(c->env->auth, bearer_token(header), c->ip, &c->caller);
        return auth_refused(c, r);
    }

    cookie = api_cookie(http_header(c->http, "Cookie"), cookie_name(c));
    if (cookie.p == NULL) {
        return api_problem(c, 401, "A valid key is required.");
    }

    r = auth_session(c->env->auth, cookie, c->ip, &c->caller);
    return auth_refused(c, r) && csrf_check(c);
}


static void
me_print(struct api_call *c)
{
    const struct auth_caller  *k = &c->caller;
    bool                       first = true;

    (void) buf_adds(&c->out, "{\"key_id\":");
    json_text(&c->out, slice_of(k->key_id));
    (void) buf_adds(&c->out, ",\"name\":");
    json_text(&c->out, slice_of(k->name));
    (void) buf_addf(&c->out, ",\"role\":\"%s\",\"org_id\":%" PRId64
        ",\"lab_ids\":", auth_role_text(k->role), k->org_id);

    if (k->nlabs < 0) {
        (void) buf_adds(&c->out, "null");
    } else {
        (void) buf_adds(&c->out, "[");
        for (int i = 0; i < k->nlabs; i++) {
            (void) buf_addf(&c->out, "%s%" PRId64, i == 0 ? "" : ",",
                k->labs[i]);
        }
        (void) buf_adds(&c->out, "]");
    }

    (void) buf_adds(&c->out, ",\"rights\":[");

    for (unsigned i = 0; i < AUTH_RIGHTS; i++) {
        if (k->rights & 1u << i) {
            (void) buf_addf(&c->out, "%s\"%s\"", first ? "" : ",",
                auth_right_text(i));
            first = false;
        }
    }

    (void) buf_addf(&c->out, "],\"session\":%s,\"expires_at\":",
        k->session ? "true" : "false");
    json_time(&c->out, k->expires_us);
    (void) buf_adds(&c->out, "}");
}


void
api_me(struct api_call *c)
{
    if (api_params_end(c)) {
        me_print(c);
        api_send(c, 200, API_JSON);
    }
}


void
api_login(struct api_call *c)
{
    enum result  r;
    int64_t      expires_us;
    char         text[AUTH_SESSION_TEXT];

    if (!api_params_end(c)) {
        return;
    }

    if (c->caller.session) {
        (void) api_problem(c, 400, "Log in with a key, not with a session.");
        return;
    }

    r = auth_session_make(c->env->auth, &c->caller, text, &expires_us);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    (void) http_head_add(&c->head, "Set-Cookie",
        "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%" PRId64 "%s",
        cookie_name(c), text, (expires_us - clock_wall_us()) / 1000000,
        c->secure ? "; Secure" : "");

    c->caller.session = true;
    c->caller.expires_us = expires_us;
    me_print(c);
    api_send(c, 200, API_JSON);
}


void
api_logout(struct api_call *c)
{
    if (!api_params_end(c)) {
        return;
    }

    (void) http_head_add(&c->head, "Set-Cookie",
        "%s=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0%s", cookie_name(c),
        c->secure ? "; Secure" : "");
    api_send_empty(c);
}
