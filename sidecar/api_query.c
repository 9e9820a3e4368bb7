/* Taking a target apart: path, parameters, filters, cookies. */

#include "api_http.h"

#include <stdio.h>


static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


struct slice
api_decode(struct arena *a, struct slice s, bool plus)
{
    char    *to;
    size_t   n = 0;

    to = arena_alloc(a, s.n + 1);
    if (to == NULL) {
        return SLICE_NONE;
    }

    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (c == '%') {
            if (s.n - i < 3 || hex_value(s.p[i + 1]) < 0
                || hex_value(s.p[i + 2]) < 0)
            {
                return SLICE_NONE;
            }

            c = (char) (hex_value(s.p[i + 1]) << 4 | hex_value(s.p[i + 2]));
            i += 2;

        } else if (c == '+' && plus) {
            c = ' ';
        }

        to[n++] = c;
    }

    to[n] = '\0';
    return (struct slice) { to, n };
}


static bool
param_parse(struct api_call *c, struct slice pair)
{
    struct api_param  *p;
    struct slice       value = SLICE_LIT("");
    const char        *eq;

    if (c->nparams == API_MAX_PARAMS) {
        return api_problem(c, 400, "More than %d parameters.", API_MAX_PARAMS);
    }

    eq = memchr(pair.p, '=', pair.n);
    if (eq != NULL) {
        value.p = eq + 1;
        value.n = pair.n - (size_t) (eq + 1 - pair.p);
        pair.n = (size_t) (eq - pair.p);
    }

    p = &c->params[c->nparams];
    p->name = api_decode(&c->arena, pair, true);
    p->value = api_decode(&c->arena, value, true);
    p->used = false;

    if (p->name.p == NULL || p->value.p == NULL) {
        return api_problem_param(c, p->name.p == NULL ? pair : p->name,
            "encoding", "A % must be followed by two hex digits.");
    }

    c->nparams++;
    return true;
}


bool
api_call_parse(struct api_call *c)
{
    struct slice  target = http_target(c->http);
    const char   *mark;
    struct slice  rest = SLICE_NONE;

    c->path = target;
    mark = memchr(target.p, '?', target.n);
    if (mark != NULL) {
        c->path.n = (size_t) (mark - target.p);
        rest.p = mark + 1;
        rest.n = target.n - c->path.n - 1;
    }

    if (c->path.n >= sizeof(API_BASE) - 1
        && memcmp(c->path.p, API_BASE, sizeof(API_BASE) - 1) == 0)
    {
        c->path.p += sizeof(API_BASE) - 1;
        c->path.n -= sizeof(API_BASE) - 1;
    }

    while (rest.n > 0) {
        const char    *amp = memchr(rest.p, '&', rest.n);
        struct slice   pair = rest;

        pair.n = amp == NULL ? rest.n : (size_t) (amp - rest.p);
        rest.p += pair.n + (amp != NULL);
        rest.n -= pair.n + (amp != NULL);

        if (pair.n > 0 && !param_parse(c, pair)) {
            return false;
        }
    }

    return true;
}


bool
api_param(struct api_call *c, const char *name, struct slice *value)
{
    *value = SLICE_NONE;

    for (unsigned i = 0; i < c->nparams; i++) {
        struct api_param  *p = &c->params[i];

        if (!slice_eq(p->name, slice_of(name))) {
            continue;
        }

        if (value->p != NULL) {
            return api_problem_param(c, p->name, "repeated",
                "May be given once.");
        }

        p->used = true;
        *value = p->value;
    }

    return true;
}


bool
api_param_int(struct api_call *c, const char *name, int64_t min, int64_t max,
    int64_t fallback, int64_t *value)
{
    struct slice  text;
    char          detail[120];

    if (!api_param(c, name, &text)) {
        return false;
    }

    *value = fallback;
    if (text.p == NULL) {
        return true;
    }

    if (slice_int(text, value) != RESULT_OK || *value < min || *value > max) {
        (void) snprintf(detail, sizeof(detail),
            "Must be a whole number from %lld to %lld.", (long long) min,
            (long long) max);
        return api_problem_param(c, slice_of(name), "range", detail);
    }

    return true;
}


bool
api_param_word(struct api_call *c, const char *name, const char *const *words,
    int *index)
{
    struct slice  text;
    char          detail[160] = "Must be one of";

    if (!api_param(c, name, &text)) {
        return false;
    }

    *index = -1;
    if (text.p == NULL) {
        return true;
    }

    for (int i = 0; words[i] != NULL; i++) {
        if (slice_eq(text, slice_of(words[i]))) {
            *index = i;
            return true;
        }
    }

    for (int i = 0; words[i] != NULL; i++) {
        size_t  n = strlen(detail);

        (void) snprintf(detail + n, sizeof(detail) - n, "%s %s",
            i == 0 ? "" : ",", words[i]);
    }

    return api_problem_param(c, slice_of(name), "unknown_value", detail);
}


bool
api_filter(struct api_call *c, struct filter *f)
{
    struct scope  scope;

    auth_scope(&c->caller, &scope);
    filter_init(f, &scope);

    for (unsigned i = 0; i < c->nparams; i++) {
        struct api_param  *p = &c->params[i];
        const char        *why;

        if (p->used) {
            continue;
        }

        switch (filter_add(f, p->name, p->value, &why)) {
        case RESULT_OK:
            p->used = true;
            break;
        case RESULT_NOT_FOUND:
            break;
        default:
            return api_problem_param(c, p->name, "invalid", why);
        }
    }

    return true;
}


bool
api_params_end(struct api_call *c)
{
    for (unsigned i = 0; i < c->nparams; i++) {
        if (!c->params[i].used) {
            return api_problem_param(c, c->params[i].name, "unknown_parameter",
                "There is no such parameter here.");
        }
    }

    return true;
}


struct slice
api_cookie(struct slice header, const char *name)
{
    size_t  n = strlen(name);

    while (header.n > 0) {
        const char    *semi = memchr(header.p, ';', header.n);
        struct slice   pair = header;

        pair.n = semi == NULL ? header.n : (size_t) (semi - header.p);
        header.p += pair.n + (semi != NULL);
        header.n -= pair.n + (semi != NULL);

        while (pair.n > 0 && pair.p[0] == ' ') {
            pair.p++;
            pair.n--;
        }

        if (pair.n > n && pair.p[n] == '=' && memcmp(pair.p, name, n) == 0) {
            return (struct slice) { pair.p + n + 1, pair.n - n - 1 };
        }
    }

    return SLICE_NONE;
}


bool
api_cursor(struct api_call *c, uint64_t hash, struct cursor *cursor,
    bool *given)
{
    struct slice  text;

    memset(cursor, 0, sizeof(*cursor));

    if (!api_param(c, "cursor", &text)) {
        return false;
    }

    *given = text.p != NULL;
    if (!*given) {
        return true;
    }

    if (cursor_parse(c->env->secret, text, cursor) != RESULT_OK) {
        return api_problem_param(c, SLICE_LIT("cursor"), "cursor-invalid",
            "Is not a cursor of this server: take it from page.next.");
    }

    if (cursor->hash != hash) {
        return api_problem_param(c, SLICE_LIT("cursor"),
            "cursor-filter-mismatch",
            "Belongs to another filter: start again without a cursor.");
    }

    return true;
}
