/* Lanes of deliveries: names and keys. */

#include "lane.h"

#include <string.h>

#define KEY_FIELD      SLICE_LIT("order_key")
#define KEY_MAX        256
#define KEY_MAX_NAME   64


static bool
is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z')
            && !(s.p[i] >= 'A' && s.p[i] <= 'Z')
            && !(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '_'
            && s.p[i] != '-')
        {
            return false;
        }
    }

    return s.n > 0 && s.n <= KEY_MAX_NAME;
}


/* The next name of ".a.b"; false at the end or when it is none. */
static bool
next_name(struct slice *path, struct slice *name)
{
    const char  *dot;

    if (path->n == 0 || path->p[0] != '.') {
        return false;
    }

    path->p++;
    path->n--;
    dot = memchr(path->p, '.', path->n);
    *name = (struct slice) { path->p,
        dot == NULL ? path->n : (size_t) (dot - path->p) };
    path->p += name->n;
    path->n -= name->n;
    return is_name(*name);
}


static const json_t *
find_value(const json_t *event, struct slice key)
{
    struct slice  name = key;
    char          text[KEY_MAX_NAME + 1];

    if (is_name(key)) {
        event = json_object_get(event, "refs");
        key = SLICE_NONE;

    } else if (!next_name(&key, &name)) {
        return NULL;
    }

    do {
        memcpy(text, name.p, name.n);
        text[name.n] = '\0';
        event = json_object_get(event, text);
    } while (next_name(&key, &name));

    return event;
}


/* Text and whole numbers tell deliveries apart; what is neither, or absent, is
 * one value. */
static struct slice
value_text(const json_t *v, struct arena *a)
{
    struct slice  text;

    if (json_is_integer(v)) {
        return arena_printf(a, "%lld", (long long) json_integer_value(v));
    }

    text = json_is_string(v)
        ? (struct slice) { json_string_value(v), json_string_length(v) }
        : SLICE_LIT("");
    text.n = text.n > KEY_MAX ? KEY_MAX : text.n;
    return arena_copy(a, text);
}


static struct slice
kept_value(const struct logdoc *d)
{
    for (unsigned i = 0; i < d->nfields; i++) {
        if (slice_eq(d->fields[i].name, KEY_FIELD)) {
            return d->fields[i].value;
        }
    }

    return SLICE_LIT("");
}


static struct slice
key_of(struct logdoc *d, const struct integration *i, const json_t *event,
    struct arena *a)
{
    struct slice  value;

    if (i->order_key.n == 0) {
        return SLICE_LIT("");
    }

    if (event == NULL) {
        return kept_value(d);
    }

    value = value_text(find_value(event, i->order_key), a);

    if (value.n > 0 && d->nfields < LOGDOC_MAX_PAIRS) {
        d->fields[d->nfields++] = (struct log_pair) { KEY_FIELD, value };
    }

    return value;
}


enum result
lane_fill(struct logdoc *d, const struct integration *i, const json_t *event,
    struct arena *a)
{
    struct slice  key;

    d->lane = SLICE_LIT("");
    d->lane_flags = (i->ordered ? LOG_LANE_ORDERED : 0)
                    | (i->is_batch ? LOG_LANE_BATCH : 0);
    d->lane_us = d->next_attempt_us;

    if (d->lane_flags == 0 || d->status != LOG_PENDING) {
        return RESULT_OK;
    }

    key = key_of(d, i, event, a);

    if (i->is_batch) {
        d->lane = arena_copy(a, i->id);
        d->next_attempt_us += i->batch_window_ms * 1000;

    } else if (i->transport == INTEGRATION_MLLP) {
        d->lane = arena_printf(a, "%.*s:%lld/%.*s", SLICE_ARG(i->host),
            (long long) i->port, SLICE_ARG(key));

    } else {
        d->lane = arena_printf(a, "%.*s/%.*s", SLICE_ARG(i->id),
            SLICE_ARG(key));
    }

    return d->lane.p == NULL ? RESULT_MEMORY : RESULT_OK;
}
