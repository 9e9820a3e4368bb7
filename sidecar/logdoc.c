/* Words, defaults and the fingerprint of a log. */

#include "logdoc.h"

#define FNV_BASIS  0xcbf29ce484222325ull
#define FNV_PRIME  0x100000001b3ull

static const char *const  kinds[LOG_KIND_COUNT] = {
    [LOG_KIND_API] = "api",
    [LOG_KIND_WEBHOOK] = "webhook",
    [LOG_KIND_HL7] = "hl7"
};

static const char *const  statuses[LOG_STATUS_COUNT] = {
    [LOG_PENDING] = "PENDING",
    [LOG_SUCCESS] = "SUCCESS",
    [LOG_RETRYING] = "RETRYING",
    [LOG_FAIL] = "FAIL",
    [LOG_CANCELLED] = "CANCELLED",
    [LOG_COMMITTED] = "COMMITTED"
};

/* index i is bit 1 << i */
static const char *const  flags[LOG_FLAG_COUNT] = {
    "lab_mismatch", "suspect", "unknown_key", "unconfirmed", "duplicate",
    "bad_replay"
};


static int
word_index(const char *const *words, int n, struct slice s)
{
    for (int i = 0; i < n; i++) {
        if (slice_eq(s, slice_of(words[i]))) {
            return i;
        }
    }

    return -1;
}


const char *
log_kind_text(enum log_kind k)
{
    return kinds[k];
}


bool
log_status_ended(enum log_status s)
{
    return s != LOG_PENDING && s != LOG_RETRYING;
}


const char *
log_status_text(enum log_status s)
{
    return statuses[s];
}


int
log_kind_parse(struct slice s)
{
    return word_index(kinds, LOG_KIND_COUNT, s);
}


int
log_status_parse(struct slice s)
{
    return word_index(statuses, LOG_STATUS_COUNT, s);
}


const char *
log_flag_text(unsigned bit)
{
    return flags[bit];
}


uint32_t
log_flag_parse(struct slice s)
{
    int  bit = word_index(flags, LOG_FLAG_COUNT, s);

    return bit < 0 ? 0 : 1u << bit;
}


static void
body_init(struct log_body *b)
{
    b->bytes = LOGDOC_NONE;
}


void
logdoc_init(struct logdoc *d)
{
    memset(d, 0, offsetof(struct logdoc, refs));

    d->action_id = LOGDOC_NONE;
    d->action_category_id = LOGDOC_NONE;
    d->lab_id = LOGDOC_NONE;
    d->org_id = LOGDOC_NONE;

    body_init(&d->request);
    body_init(&d->response);
    d->http_status = LOGDOC_NONE;
    d->sent_bytes = LOGDOC_NONE;

    d->started_us = LOGDOC_NONE;
    d->duration_us = LOGDOC_NONE;
    d->connect_us = LOGDOC_NONE;
    d->first_byte_us = LOGDOC_NONE;

    d->next_attempt_us = LOGDOC_NONE;
    d->priority = LOGDOC_NONE;
    d->lease_until_us = LOGDOC_NONE;
    d->lane_us = LOGDOC_NONE;
    d->client_port = LOGDOC_NONE;
    d->expires_us = LOGDOC_NONE;
}


static uint64_t
fnv_add(uint64_t h, const void *p, size_t n)
{
    const unsigned char  *c = p;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ c[i]) * FNV_PRIME;
    }

    return h;
}


uint64_t
logdoc_fingerprint(const struct logdoc *d)
{
    unsigned char  number[9];
    uint64_t       h, http;

    /* byte by byte, so that every machine gives the same value */
    http = (uint64_t) d->http_status;
    number[0] = (unsigned char) d->kind;
    for (int i = 0; i < 8; i++) {
        number[1 + i] = (unsigned char) (http >> (8 * i));
    }

    /* a NUL ends each text: "ab","c" is not "a","bc" */
    h = fnv_add(FNV_BASIS, number, sizeof(number));
    h = fnv_add(h, d->endpoint.p, d->endpoint.n);
    h = fnv_add(h, "", 1);
    h = fnv_add(h, d->error_code.p, d->error_code.n);

    return h == 0 ? 1 : h;
}


/* Every slice of a log, so that a copy forgets none. */
#define LOGDOC_SLICES(X)                                                      \
    X(developer_id) X(integration_id) X(endpoint) X(method) X(scheme)         \
    X(host) X(url) X(protocol) X(route)                                       \
    X(request.headers) X(request.data) X(request.cut)                         \
    X(response.headers) X(response.data) X(response.cut)                      \
    X(upstream_addr) X(upstream_status) X(upstream_connect)                   \
    X(upstream_header) X(upstream_response)                                   \
    X(error_code) X(error_message) X(lane) X(event_id) X(batch_id)            \
    X(replay_of) X(resend_of) X(message_id) X(trace_id) X(client_ip)


static bool
copy_slice(struct slice *s, struct arena *a)
{
    if (s->n == 0) {
        *s = SLICE_LIT("");
        return true;
    }

    *s = arena_copy(a, *s);
    return s->p != NULL;
}


static bool
copy_pairs(struct log_pair *pairs, unsigned n, struct arena *a)
{
    for (unsigned i = 0; i < n; i++) {
        if (!copy_slice(&pairs[i].name, a) || !copy_slice(&pairs[i].value, a))
        {
            return false;
        }
    }

    return true;
}


void
logdoc_assign(struct logdoc *to, const struct logdoc *from)
{
    memcpy(to, from, offsetof(struct logdoc, refs));
    memcpy(to->refs, from->refs, from->nrefs * sizeof(from->refs[0]));
    memcpy(to->fields, from->fields, from->nfields * sizeof(from->fields[0]));
}


enum result
logdoc_copy(struct logdoc *to, const struct logdoc *from, struct arena *a)
{
    bool  ok = true;

    logdoc_assign(to, from);

#define LOGDOC_COPY_(member)  ok = ok && copy_slice(&to->member, a);
    LOGDOC_SLICES(LOGDOC_COPY_)
#undef LOGDOC_COPY_

    ok = ok && copy_pairs(to->refs, to->nrefs, a)
         && copy_pairs(to->fields, to->nfields, a);

    return ok ? RESULT_OK : RESULT_MEMORY;
}
