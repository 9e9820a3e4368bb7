/*
 * From a claimed log and its integration to a send: secrets are opened and
 * URL, headers and keys read now, at send time; the payload is the log's own.
 */

#include "integration.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "integration_private.h"

#define MAX_SECRET  (64 * 1024)

struct building {
    const struct integration  *i;
    const struct secret       *secret;
    const struct logdoc       *d;
    struct send               *s;
    const char                *why;
};


static const char *
text_of(struct building *b, struct slice s)
{
    struct slice  copy = arena_copy(&b->s->arena, s);

    if (copy.p == NULL) {
        b->why = "out of memory";
        return "";
    }

    return copy.p;
}


/* The plain text of a sealed value, in the send's arena; "" when none. */
static struct slice
open_secret(struct building *b, const char *name, struct slice sealed)
{
    struct slice  plain;
    struct buf    buf;
    char          place[160];

    if (sealed.n == 0) {
        return SLICE_LIT("");
    }

    integration_secret_place(b->i->id, name, place);
    buf_init(&buf, MAX_SECRET);

    if (seal_open(b->secret, slice_of(place), sealed, &buf) != RESULT_OK) {
        b->why = "a secret of the integration cannot be opened: was "
                 "secret_file replaced? set it anew";
    }

    plain = arena_copy(&b->s->arena, (struct slice) { buf.p, buf.n });

    if (buf.p != NULL) {
        OPENSSL_cleanse(buf.p, buf.n);
    }

    buf_cleanup(&buf);
    return plain;
}


static void
build_keys(struct building *b)
{
    struct send_http  *h = &b->s->http;
    struct slice       text;
    const char        *why;
    int64_t            now = clock_wall_us();

    for (unsigned n = 0; n < b->i->nsecrets; n++) {
        if (b->i->secret_until_us[n] != LOGDOC_NONE
            && b->i->secret_until_us[n] <= now)
        {
            continue;
        }

        text = open_secret(b, "signing_secret", b->i->secrets[n]);

        if (sign_key_parse(text, &h->keys[h->nkeys], &why) != RESULT_OK) {
            b->why = b->why == NULL ? why : b->why;
            continue;
        }

        h->nkeys++;
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
        b->s->http.url = text_of(b, (struct slice) { url.p, url.n });
    }

    b->s->body = SLICE_NONE;
    json_decref(root);
    buf_cleanup(&url);
}


static void
build_http(struct building *b)
{
    const struct integration  *i = b->i;
    struct send_http          *h = &b->s->http;

    h->url = text_of(b, i->url);
    h->method = text_of(b, i->method);
    h->content_type = text_of(b, i->content_type);
    h->plain_allowed = i->plain_allowed;
    h->proxy = i->proxy.n == 0 ? NULL : text_of(b, i->proxy);
    h->auth = i->auth;
    h->user = text_of(b, i->user);
    h->secret = open_secret(b, "auth_secret", i->secret).p;
    h->token_url = text_of(b, i->token_url);
    h->scope = text_of(b, i->scope);
    h->cert_pem = arena_copy(&b->s->arena, i->cert_pem);
    h->key_pem = open_secret(b, "client_key", i->key_pem);
    h->ca_pem = arena_copy(&b->s->arena, i->ca_pem);
    h->connect_ms = (unsigned) i->connect_ms;
    h->total_ms = (unsigned) i->total_ms;

    for (unsigned n = 0; n < i->nheaders; n++) {
        h->headers[h->nheaders++] = arena_printf(&b->s->arena, "%.*s%s%.*s",
            SLICE_ARG(i->headers[n].name), i->headers[n].value.n == 0 ? ";"
                : ": ", SLICE_ARG(i->headers[n].value)).p;
    }

    build_keys(b);

    if (strcmp(h->method, "GET") == 0) {
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
        .sending_app = text_of(b, i->sending_app),
        .sending_facility = text_of(b, i->sending_facility),
        .receiving_app = text_of(b, i->receiving_app),
        .receiving_facility = text_of(b, i->receiving_facility),
        .time_us = b->d->started_us, .control_id = control_id,
        .processing_id = text_of(b, i->processing_id),
        .version = text_of(b, i->hl7_version), .charset = i->charset
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

    m->host = text_of(b, i->host);
    m->port = (unsigned) i->port;
    m->tls = i->tls;
    m->lenient_end = i->lenient_end;
    m->cert_pem = arena_copy(&b->s->arena, i->cert_pem);
    m->key_pem = open_secret(b, "client_key", i->key_pem);
    m->ca_pem = arena_copy(&b->s->arena, i->ca_pem);
    m->release = i->release_2 ? MLLP_RELEASE_2 : MLLP_RELEASE_1;
    m->rules = (struct hl7_rules) {
        .want = i->ack_want, .reject_is_final = i->ack_profile == 0,
        .duplicate_is_success = i->ack_duplicate,
        .unanswered_before = b->d->attempts > 1
    };
    m->rules.check_id = i->ack_check_id == 0 ? HL7_ID_STRICT
                        : i->ack_check_id == 1 ? HL7_ID_WARN : HL7_ID_OFF;
    m->connect_ms = (unsigned) i->connect_ms;
    m->first_byte_ms = (unsigned) i->first_byte_ms;
    m->ack_ms = (unsigned) i->ack_ms;

    if (i->hl7_raw) {
        given = hl7_get(b->s->body, "MSH", 10, 1, 1);
        m->control_id = text_of(b, given);
        return;
    }

    if (uuid_parse(b->d->message_id, id) != RESULT_OK) {
        memcpy(id, b->d->id, sizeof(id));
    }

    hl7_control_id(id, control);
    m->control_id = text_of(b, slice_of(control));
    build_hl7(b, m->control_id);
}


enum result
integration_send(const struct integration *i, const struct secret *secret,
    const struct logdoc *d, struct send **out, const char **why)
{
    struct building  b = { .i = i, .secret = secret, .d = d };
    char             id[UUID_TEXT + 1];

    *out = NULL;
    b.s = send_create();

    if (b.s == NULL) {
        *why = "out of memory";
        return RESULT_MEMORY;
    }

    uuid_text(d->id, id);
    b.s->message_id = text_of(&b, d->message_id.n > 0 ? d->message_id
                                                      : slice_of(id));
    b.s->body = arena_copy(&b.s->arena, d->request.data);
    b.s->destination = i->transport == INTEGRATION_MLLP
        ? arena_printf(&b.s->arena, "%.*s:%lld/%.*s/%lld", SLICE_ARG(i->host),
              (long long) i->port, SLICE_ARG(i->id), (long long) i->version)
        : arena_copy(&b.s->arena, i->id);

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
