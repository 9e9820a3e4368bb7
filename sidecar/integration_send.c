/*
 * From a claimed log and its integration to a send.  What is the same for all
 * sends of an integration, its secrets opened, is made once and borrowed by
 * each; a change of the integration is another one.  The payload is the log's.
 */

#include "integration.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "integration_private.h"

#define MAX_SECRET  (64 * 1024)

/* In plain: zeroed when it is freed. */
struct integration_ready {
    struct arena      arena;
    struct send_http  http;                /* its keys: all, dead ones too */
    int64_t           until_us[SIGN_MAX_KEYS];
    struct send_mllp  mllp;
    const char       *lines[SEND_MAX_HEADERS];
    struct slice      destination;
};

/* The making of one. */
struct opening {
    const struct integration  *i;
    const struct secret       *secret;
    struct integration_ready  *r;
    const char                *why;
};

struct building {
    const struct integration  *i;
    const struct logdoc       *d;
    struct send               *s;
    const char                *why;
};


/* -- what all sends share -------------------------------------------------- */

/* The plain text of a sealed value; "" when none. */
static struct slice
open_secret(struct opening *o, const char *name, struct slice sealed)
{
    struct slice  plain;
    struct buf    buf;
    char          place[160];

    if (sealed.n == 0) {
        return SLICE_LIT("");
    }

    integration_secret_place(o->i->id, name, place);
    buf_init(&buf, MAX_SECRET);

    if (seal_open(o->secret, slice_of(place), sealed, &buf) != RESULT_OK) {
        o->why = "a secret of the integration cannot be opened: was "
                 "secret_file replaced? set it anew";
    }

    plain = arena_copy(&o->r->arena, (struct slice) { buf.p, buf.n });

    if (buf.p != NULL) {
        OPENSSL_cleanse(buf.p, buf.n);
    }

    buf_cleanup(&buf);

    if (plain.p == NULL) {
        o->why = "out of memory";
        return SLICE_LIT("");
    }

    return plain;
}


/* SHOWN, or what is sealed beside it because it has *** in it. */
static const char *
open_masked(struct opening *o, const char *name, struct slice shown,
    struct slice sealed)
{
    return sealed.n == 0 ? shown.p : open_secret(o, name, sealed).p;
}


static void
open_keys(struct opening *o)
{
    struct send_http  *h = &o->r->http;
    struct slice       text;
    const char        *why;

    for (unsigned n = 0; n < o->i->nsecrets; n++) {
        text = open_secret(o, "signing_secret", o->i->secrets[n]);

        if (sign_key_parse(text, &h->keys[h->nkeys], &why) != RESULT_OK) {
            o->why = o->why == NULL ? why : o->why;
            continue;
        }

        o->r->until_us[h->nkeys++] = o->i->secret_until_us[n];
    }
}


static void
open_headers(struct opening *o)
{
    struct send_http  *h = &o->r->http;

    for (unsigned n = 0; n < o->i->nheaders; n++) {
        const struct integration_header  *from = &o->i->headers[n];
        struct slice                      value = from->value;

        if (from->sealed.n > 0) {
            value = open_secret(o, "headers", from->sealed);
        }

        o->r->lines[n] = arena_printf(&o->r->arena, "%.*s%s%.*s",
            SLICE_ARG(from->name), value.n == 0 ? ";" : ": ",
            SLICE_ARG(value)).p;

        if (o->r->lines[n] == NULL) {
            o->why = "out of memory";
        }
    }

    h->headers = o->r->lines;
    h->nheaders = o->i->nheaders;
}


static void
open_http(struct opening *o)
{
    const struct integration  *i = o->i;
    struct send_http          *h = &o->r->http;

    h->url = open_masked(o, "url", i->url, i->sealed_url);
    h->method = i->method.p;
    h->content_type = i->content_type.p;
    h->plain_allowed = i->plain_allowed;
    h->proxy = i->proxy.n == 0 ? NULL
        : open_masked(o, "proxy", i->proxy, i->sealed_proxy);
    h->auth = i->auth;
    h->user = i->user.p;
    h->secret = open_secret(o, "auth_secret", i->secret).p;
    h->token_url = open_masked(o, "token_url", i->token_url,
        i->sealed_token_url);
    h->scope = i->scope.p;
    h->cert_pem = i->cert_pem;
    h->key_pem = open_secret(o, "client_key", i->key_pem);
    h->ca_pem = i->ca_pem;
    h->connect_ms = (unsigned) i->connect_ms;
    h->total_ms = (unsigned) i->total_ms;
    o->r->destination = i->id;

    open_headers(o);
    open_keys(o);
}


static void
open_mllp(struct opening *o)
{
    const struct integration  *i = o->i;
    struct send_mllp          *m = &o->r->mllp;

    m->host = i->host.p;
    m->port = (unsigned) i->port;
    m->tls = i->tls;
    m->lenient_end = i->lenient_end;
    m->cert_pem = i->cert_pem;
    m->key_pem = open_secret(o, "client_key", i->key_pem);
    m->ca_pem = i->ca_pem;
    m->release = i->release_2 ? MLLP_RELEASE_2 : MLLP_RELEASE_1;
    m->rules = (struct hl7_rules) {
        .want = i->ack_want, .reject_is_final = i->ack_profile == 0,
        .duplicate_is_success = i->ack_duplicate
    };
    m->rules.check_id = i->ack_check_id == 0 ? HL7_ID_STRICT
                        : i->ack_check_id == 1 ? HL7_ID_WARN : HL7_ID_OFF;
    m->connect_ms = (unsigned) i->connect_ms;
    m->first_byte_ms = (unsigned) i->first_byte_ms;
    m->ack_ms = (unsigned) i->ack_ms;

    o->r->destination = arena_printf(&o->r->arena, "%.*s:%lld/%.*s/%lld",
        SLICE_ARG(i->host), (long long) i->port, SLICE_ARG(i->id),
        (long long) i->version);

    if (o->r->destination.p == NULL) {
        o->why = "out of memory";
    }
}


void
integration_ready_free(struct integration_ready *r)
{
    if (r != NULL) {
        arena_wipe(&r->arena);
        OPENSSL_cleanse(r, sizeof(*r));
        free(r);
    }
}


/* What fails is tried again by the next send. */
static const char *
ready_make(const struct integration *i, const struct secret *secret)
{
    struct opening  o = { .i = i, .secret = secret };

    o.r = calloc(1, sizeof(*o.r));
    if (o.r == NULL) {
        return "out of memory";
    }

    arena_init(&o.r->arena, SEND_MAX_ARENA);

    if (i->transport == INTEGRATION_MLLP) {
        open_mllp(&o);
    } else {
        open_http(&o);
    }

    if (o.why != NULL) {
        integration_ready_free(o.r);
        return o.why;
    }

    *i->sends = o.r;
    return NULL;
}


/* -- one send -------------------------------------------------------------- */

static const char *
text_copy(struct building *b, struct slice s)
{
    struct slice  copy = arena_copy(&b->s->arena, s);

    if (copy.p == NULL) {
        b->why = "out of memory";
        return "";
    }

    return copy.p;
}


/* Those that sign at this time. */
static void
live_keys(struct building *b)
{
    const struct integration_ready  *r = b->i->ready;
    struct send_http                *h = &b->s->http;
    int64_t                          now = clock_wall_us();

    h->nkeys = 0;

    for (unsigned n = 0; n < r->http.nkeys; n++) {
        if (r->until_us[n] == LOGDOC_NONE || r->until_us[n] > now) {
            h->keys[h->nkeys++] = r->http.keys[n];
        }
    }
}


static void
query_add(struct buf *url, const char *name, const char *text)
{
    const char  *parts[] = { name, text };

    (void) buf_adds(url, memchr(url->p, '?', url->n) == NULL ? "?" : "&");

    for (int i = 0; i < 2; i++) {
        for (const unsigned char *p = (const unsigned char *) parts[i]; *p;
             p++)
        {
            if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                || (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL)
            {
                (void) buf_add(url, p, 1);
            } else {
                (void) buf_addf(url, "%%%02X", *p);
            }
        }

        if (i == 0) {
            (void) buf_adds(url, "=");
        }
    }
}


/* GET has no body: the payload's top-level scalars become the query. */
static void
build_query(struct building *b)
{
    struct buf   url;
    json_t      *root, *v;
    const char  *name;
    char         number[40];

    root = json_loadb(b->d->request.data.p, b->d->request.data.n, 0, NULL);
    buf_init(&url, 8192);
    /* a fragment is never sent, nor would be what came behind it */
    (void) buf_add(&url, b->s->http.url, strcspn(b->s->http.url, "#"));

    json_object_foreach(root, name, v) {
        switch (json_typeof(v)) {

        case JSON_STRING:
            query_add(&url, name, json_string_value(v));
            break;

        case JSON_INTEGER:
            (void) snprintf(number, sizeof(number), "%lld",
                (long long) json_integer_value(v));
            query_add(&url, name, number);
            break;

        case JSON_REAL:
            (void) snprintf(number, sizeof(number), "%.15g",
                json_real_value(v));
            query_add(&url, name, number);
            break;

        case JSON_TRUE:
        case JSON_FALSE:
            query_add(&url, name, json_is_true(v) ? "true" : "false");
            break;

        default:
            break;
        }
    }

    if (url.failed) {
        b->why = "the URL with the payload's values is too long";
    } else {
        b->s->http.url = text_copy(b, (struct slice) { url.p, url.n });
    }

    b->s->body = SLICE_NONE;
    json_decref(root);
    buf_cleanup(&url);
}


static void
build_http(struct building *b)
{
    b->s->http = b->i->ready->http;
    live_keys(b);

    if (strcmp(b->s->http.method, "GET") == 0) {
        build_query(b);
    }
}


/* A built message keeps its MSH-7 and MSH-10 over all attempts: the log's own
 * start and first id. */
static void
build_hl7(struct building *b, const char *control_id)
{
    const struct integration  *i = b->i;
    struct hl7_header          h = {
        .sending_app = i->sending_app.p,
        .sending_facility = i->sending_facility.p,
        .receiving_app = i->receiving_app.p,
        .receiving_facility = i->receiving_facility.p,
        .time_us = b->d->started_us, .control_id = control_id,
        .processing_id = i->processing_id.p,
        .version = i->hl7_version.p, .charset = i->charset
    };
    struct buf                 out;
    const char                *why = NULL;
    json_t                    *message;
    unsigned                   at = 0;

    message = json_loadb(b->d->request.data.p, b->d->request.data.n,
        JSON_REJECT_DUPLICATES, NULL);
    buf_init(&out, HL7_MAX_MESSAGE);

    if (hl7_build(message, &h, &out, &why, &at) != RESULT_OK) {
        b->why = arena_printf(&b->s->arena, "segment %u: %s", at, why).p;
    } else {
        b->s->body = arena_copy(&b->s->arena, (struct slice) { out.p, out.n });
    }

    json_decref(message);
    buf_cleanup(&out);
}


static void
build_mllp(struct building *b)
{
    const struct integration  *i = b->i;
    struct send_mllp          *m = &b->s->mllp;
    uint8_t                    id[UUID_BYTES];
    char                       control[HL7_CONTROL_ID + 1];
    struct slice               given;

    *m = i->ready->mllp;
    m->rules.unanswered_before = b->d->attempts > 1;

    if (i->hl7_raw) {
        given = hl7_get(b->s->body, "MSH", 10, 1, 1);
        m->control_id = text_copy(b, given);
        return;
    }

    if (uuid_parse(b->d->message_id, id) != RESULT_OK) {
        memcpy(id, b->d->id, sizeof(id));
    }

    hl7_control_id(id, control);
    m->control_id = text_copy(b, slice_of(control));
    build_hl7(b, m->control_id);
}


enum result
integration_send(const struct integration *i, const struct secret *secret,
    const struct logdoc *d, struct send **out, const char **why)
{
    struct building  b = { .i = i, .d = d };
    char             id[UUID_TEXT + 1];

    *out = NULL;
    *why = i->ready != NULL ? NULL : ready_make(i, secret);

    if (*why != NULL) {
        return RESULT_INVALID;
    }

    b.s = send_create();

    if (b.s == NULL) {
        *why = "out of memory";
        return RESULT_MEMORY;
    }

    uuid_text(d->id, id);
    b.s->message_id = text_copy(&b, d->message_id.n > 0 ? d->message_id
                                                        : slice_of(id));
    b.s->body = d->request.data;
    b.s->destination = i->ready->destination;

    if (i->transport == INTEGRATION_MLLP) {
        build_mllp(&b);
    } else {
        build_http(&b);
    }

    if (b.why != NULL || b.s->body.n > SEND_MAX_BODY) {
        /* the text must outlive the send */
        static _Thread_local char  text[256];

        (void) snprintf(text, sizeof(text), "%s",
            b.why != NULL ? b.why : "the body is longer than 1 MB");
        *why = text;
        send_destroy(b.s);
        return RESULT_INVALID;
    }

    *out = b.s;
    return RESULT_OK;
}
