/* To whom one delivery would go again, and with what. */

#include "resend_plan.h"

#include <stdio.h>

#include "direct.h"

static const char *const  sentences[RESEND_WHYS] = {
    [RESEND_INBOUND] = "This is an inbound call: it is replayed, not resent.",
    [RESEND_CAPTURED] = "It was seen passing, not sent from here: no "
        "integration can send it again.",
    [RESEND_IN_FLIGHT] = "It is still under way.",
    [RESEND_BODY_CUT] = "Its body was not kept whole, so it cannot be sent "
        "again.",
    [RESEND_BODY_NOT_KEPT] = "Its body was not kept whole, so it cannot be "
        "sent again."
};


const char *
resend_refusal(enum resend_why w)
{
    return sentences[w];
}


static json_t *
to_integration(const struct integration *i, bool held)
{
    char  target[512];

    if (i->transport == INTEGRATION_MLLP) {
        (void) snprintf(target, sizeof(target), "%.*s:%lld",
            SLICE_ARG(i->host), (long long) i->port);
    } else {
        (void) snprintf(target, sizeof(target), "%.*s %.*s",
            SLICE_ARG(i->method), SLICE_ARG(i->url));
    }

    return json_pack("{s:s%,s:s%,s:s,s:s,s:b}", "integration_id", i->id.p,
        i->id.n, "name", i->name.p, i->name.n, "transport",
        i->transport == INTEGRATION_MLLP ? "mllp" : "http", "target", target,
        "held", held);
}


static json_t *
to_whom(const struct logdoc *d, struct routes *routes)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    char                       target[512];
    bool                       held;
    json_t                    *v;

    if (direct_is(d)) {
        (void) snprintf(target, sizeof(target), "%.*s %.*s",
            SLICE_ARG(d->method), SLICE_ARG(d->url));
        return json_pack("{s:n,s:s%,s:s,s:s,s:b}", "integration_id", "name",
            d->endpoint.n == 0 ? "" : d->endpoint.p, d->endpoint.n,
            "transport", "http", "target", target, "held", 0);
    }

    if (d->integration_id.n == 0
        || routes_get(routes, d->integration_id, &pin, &i, &held) != RESULT_OK)
    {
        return json_null();
    }

    v = to_integration(i, held);
    routes_release(pin);
    return v;
}


json_t *
resend_plan(const struct logdoc *d, struct routes *routes, int64_t edited)
{
    enum resend_why  why = resend_log(d);
    struct slice     message = d->message_id;
    char             id[UUID_TEXT + 1];

    if (edited >= 0 && (why == RESEND_BODY_CUT || why == RESEND_BODY_NOT_KEPT))
    {
        why = RESEND_OK;
    }

    uuid_text(d->id, id);
    message = message.n == 0 ? slice_of(id) : message;

    return json_pack("{s:s,s:s,s:b,s:s?,s:o,s:o,s:I}", "log_id", id, "status",
        log_status_text(d->status), "eligible", why == RESEND_OK, "why",
        why == RESEND_OK ? NULL : resend_why_text(why), "to",
        to_whom(d, routes), "message_id",
        edited >= 0 ? json_null() : json_stringn(message.p, message.n),
        "bytes", (json_int_t) (edited >= 0 ? edited
                                           : (int64_t) d->request.data.n));
}
