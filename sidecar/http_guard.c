/*
 * libmicrohttpd takes Content-Length beside Transfer-Encoding, two lengths and
 * a space before the colon; nginx does not.  What nginx would refuse is refused
 * here too, for whoever reaches the socket without it.
 */

#include "http_guard.h"


void
http_guard_init(struct http_guard *g)
{
    memset(g, 0, sizeof(*g));
    g->length = -1;
}


/* tchar of RFC 9110, section 5.6.2 */
static bool
token_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')
            && !(c >= '0' && c <= '9')
            && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
        {
            return false;
        }
    }

    return s.n > 0;
}


static bool
value_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char  c = (unsigned char) s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }

    return true;
}


static void
length_header(struct http_guard *g, struct slice value)
{
    g->lengths++;

    /* 1*DIGIT: slice_int would take a sign */
    if (value.n == 0 || value.p[0] < '0' || value.p[0] > '9'
        || slice_int(value, &g->length) != RESULT_OK)
    {
        g->bad = true;
    }
}


void
http_guard_header(struct http_guard *g, struct slice name, struct slice value)
{
    g->headers++;
    g->bytes += name.n + value.n;

    if (!token_valid(name) || !value_valid(value)) {
        g->bad = true;
    }

    if (slice_eq_nocase(name, SLICE_LIT("Content-Length"))) {
        length_header(g, value);

    } else if (slice_eq_nocase(name, SLICE_LIT("Transfer-Encoding"))) {
        g->encodings++;
        g->unknown_encoding |= !slice_eq_nocase(value, SLICE_LIT("chunked"));

    } else if (slice_eq_nocase(name, SLICE_LIT("Host"))) {
        g->hosts++;

    } else if (slice_eq_nocase(name, SLICE_LIT("Authorization"))) {
        g->credentials++;
    }
}


static bool
target_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] == 0x7f) {
            return false;
        }
    }

    return s.n > 0 && s.p[0] == '/';
}


unsigned
http_guard_status(const struct http_guard *g, struct slice version,
    struct slice target, size_t body_max)
{
    bool  one_one = slice_eq(version, SLICE_LIT("HTTP/1.1"));

    if (!one_one && !slice_eq(version, SLICE_LIT("HTTP/1.0"))) {
        return 505;
    }

    if (target.n > HTTP_MAX_TARGET) {
        return 414;
    }

    if (g->headers > HTTP_MAX_HEADERS || g->bytes > HTTP_MAX_HEADERS_N) {
        return 431;
    }

    if (g->bad || !target_valid(target) || g->lengths > 1 || g->encodings > 1
        || (g->lengths > 0 && g->encodings > 0) || g->hosts > 1
        || g->credentials > 1
        || (one_one && g->hosts == 0) || (!one_one && g->encodings > 0))
    {
        return 400;
    }

    if (g->unknown_encoding) {
        return 501;
    }

    return g->length > (int64_t) body_max ? 413 : 0;
}
