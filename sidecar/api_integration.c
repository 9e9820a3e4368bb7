/* Integrations in the API: their check, rotation of secrets, trial runs. */

#include "api_integration.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_audit.h"
#include "api_events.h"
#include "clock.h"
#include "integration.h"
#include "outbound.h"

#define OVERLAP_US      (INT64_C(24) * 3600 * 1000000)
#define OVERLAP_MAX_S   (7 * 86400)


bool
api_integration_check(struct api_call *c, json_t **body, const json_t *before,
    const char *id, struct docs_errors *e, char *secret, size_t len)
{
    struct integration_fault   faults[DOCS_MAX_ERRORS];
    struct events             *events;
    json_t                    *out = NULL;
    char                       plain[64];
    size_t                     n;
    enum result                r;

    events = outbound_take(c->env->outbound);
    r = integration_check(*body, before, slice_of(id), c->env->secret,
        events_jq(events), c->env->config, &out, faults, DOCS_MAX_ERRORS, &n);
    outbound_give(c->env->outbound, events);

    if (r == RESULT_INVALID) {
        for (size_t i = 0; i < n; i++) {
            docs_error(e, faults[i].pointer + 2, "invalid", "%s",
                faults[i].detail);
        }

        return true;
    }

    if (r != RESULT_OK) {
        return api_problem_result(c, r);
    }

    if (before == NULL) {
        r = integration_rotate(out, slice_of(id), c->env->secret, 0, plain);

        if (r != RESULT_OK) {
            json_decref(out);
            return api_problem_result(c, r);
        }

        (void) snprintf(secret, len, "%s", plain);
    }

    json_decref(*body);
    *body = out;
    return true;
}


/* The stored document of ids[0], its body parsed, if it is the caller's. */
static bool
read_own(struct api_call *c, struct store_doc *d, json_t **body)
{
    enum result  r;

    *body = NULL;
    r = c->ids[0].n > DOCS_ID ? RESULT_NOT_FOUND
        : store_doc_get(c->env->store, STORE_INTEGRATION, c->ids[0],
              &c->arena, d);

    if (r == RESULT_OK) {
        *body = json_loadb(d->body.p, d->body.n, 0, NULL);
        r = *body == NULL ? RESULT_INTERNAL
            : docs_visible(c, &docs_integrations, d, *body) ? RESULT_OK
                                                            : RESULT_NOT_FOUND;
    }

    if (r != RESULT_OK) {
        json_decref(*body);
        *body = NULL;
        return api_problem_result(c, r);
    }

    return true;
}


static bool
audit(struct api_call *c, const struct store_doc *d, const char *action,
    const char *detail)
{
    return api_audit(c, action, store_coll_name(STORE_INTEGRATION), d->id,
        d->org_id, SLICE_NONE, detail);
}


/* "overlap_s" of the body, a day when it is not given. */
static bool
overlap_of(struct api_call *c, int64_t *us)
{
    json_t  *body = NULL;
    json_t  *v;

    *us = OVERLAP_US;

    if (http_body(c->http).n == 0) {
        return true;
    }

    if (!api_body(c, &body)) {
        return false;
    }

    v = json_object_get(body, "overlap_s");

    if (v != NULL
        && (!json_is_integer(v) || json_integer_value(v) < 0
            || json_integer_value(v) > OVERLAP_MAX_S))
    {
        json_decref(body);
        return api_problem_fields(c, &(struct api_error) {
            .pointer = "#/overlap_s", .code = "range",
            .detail = "must be a whole number of seconds, at most 604800" },
            1);
    }

    *us = v == NULL ? OVERLAP_US : json_integer_value(v) * INT64_C(1000000);
    json_decref(body);
    return true;
}


/* If-Match may be left out: a rotation undoes nobody's edit. */
static bool
version_is_meant(struct api_call *c, const struct store_doc *d)
{
    int64_t  version;

    if (http_header(c->http, "If-Match").p == NULL) {
        return true;
    }

    return api_if_match(c, &version)
           && (version < 0 || version == d->version
               || api_problem(c, 412, "It was changed meanwhile: version %lld "
                      "is stored.", (long long) d->version));
}


void
api_integration_rotate(struct api_call *c)
{
    struct store_doc  d;
    json_t           *body = NULL;
    char              plain[64], detail[64], *text = NULL;
    int64_t           overlap, version;
    enum result       r;

    if (!api_params_end(c) || !read_own(c, &d, &body)
        || !version_is_meant(c, &d) || !overlap_of(c, &overlap))
    {
        goto out;
    }

    (void) snprintf(detail, sizeof(detail), "{\"overlap_s\":%lld}",
        (long long) (overlap / 1000000));

    if (!audit(c, &d, "integration.rotate_secret", detail)) {
        goto out;
    }

    r = integration_rotate(body, d.id, c->env->secret, overlap, plain);
    text = r == RESULT_OK ? json_dumps(body, JSON_COMPACT) : NULL;

    if (text == NULL) {
        (void) api_problem_result(c, r == RESULT_OK ? RESULT_MEMORY : r);
        goto out;
    }

    d.body = slice_of(text);
    d.updated_us = clock_wall_us();
    r = store_doc_put(c->env->store, STORE_INTEGRATION, &d, d.version,
        &version);

    if (r == RESULT_CONFLICT) {
        (void) api_problem(c, 412, "It was changed meanwhile: try again.");

    } else if (r != RESULT_OK) {
        (void) api_problem_result(c, r);

    } else {
        (void) buf_addf(&c->out, "{\"signing_secret\":\"%s\",\"overlap_s\":"
            "%lld,\"version\":%lld}", plain, (long long) (overlap / 1000000),
            (long long) version);
        (void) http_head_add(&c->head, "ETag", "\"%lld\"",
            (long long) version);
        api_send(c, 200, API_JSON);
    }

out:

    free(text);
    json_decref(body);
}


/* One program over the sample: adds its result or message to OUT. */
static bool
trial(struct api_call *c, struct events *events, json_t *out,
    const char *name, enum jq_mode mode, struct slice program,
    struct slice sample)
{
    struct buf   buf;
    json_t      *value;
    enum result  r;

    buf_init(&buf, JQ_MAX_OUTPUT);
    r = jq_child_run(events_jq(events), mode, program, sample, &buf);

    if (r == RESULT_UNAVAILABLE) {
        buf_cleanup(&buf);
        return api_problem_result(c, r);
    }

    value = r == RESULT_OK ? json_loadb(buf.p, buf.n, JSON_DECODE_ANY, NULL)
                           : json_stringn(buf.p, buf.n);
    (void) json_object_set_new(out, name, json_pack("{s:b,s:o}", "ok",
        r == RESULT_OK, r == RESULT_OK ? "result" : "error",
        value == NULL ? json_null() : value));
    buf_cleanup(&buf);
    return true;
}


/* Nothing is sent: what a sample event would become. */
void
api_integration_test(struct api_call *c)
{
    struct store_doc   d;
    struct events     *events;
    json_t            *body = NULL, *ask = NULL, *event, *out = json_object();
    struct integration *i = NULL;
    struct slice       program;
    const char        *filter, *transform;
    char              *sample = NULL, *text = NULL;
    bool               ok = true;

    if (!api_params_end(c) || !read_own(c, &d, &body) || !api_body(c, &ask)) {
        goto out;
    }

    event = json_object_get(ask, "event");

    if (!json_is_object(event)) {
        (void) api_problem_fields(c, &(struct api_error) {
            .pointer = "#/event", .code = "required",
            .detail = "must be a sample event" }, 1);
        goto out;
    }

    /* programs of the request are tried before they are saved */
    filter = json_string_value(json_object_get(
        json_object_get(ask, "filter") != NULL ? ask : body, "filter"));
    transform = json_string_value(json_object_get(
        json_object_get(ask, "transform") != NULL ? ask : body, "transform"));
    sample = json_dumps(event, JSON_COMPACT);

    if (sample == NULL || out == NULL
        || integration_load(&d, &i) != RESULT_OK)
    {
        (void) api_problem_result(c, RESULT_MEMORY);
        goto out;
    }

    if (!audit(c, &d, "integration.test", "")) {
        goto out;
    }

    events = outbound_take(c->env->outbound);

    if (filter != NULL && filter[0] != '\0') {
        ok = trial(c, events, out, "filter", JQ_FILTER,
            slice_of(filter), slice_of(sample));
    }

    program = integration_program(i,
        transform == NULL ? SLICE_LIT("") : slice_of(transform), event);

    if (ok && program.n > 0) {
        ok = trial(c, events, out, "transform", JQ_TRANSFORM, program,
            slice_of(sample));

    } else if (ok) {
        (void) json_object_set_new(out, "transform", json_pack("{s:b,s:O}",
            "ok", 1, "result", json_object_get(event, "payload") == NULL
                ? json_null() : json_object_get(event, "payload")));
    }

    outbound_give(c->env->outbound, events);
    text = ok ? json_dumps(out, JSON_COMPACT) : NULL;

    if (text != NULL) {
        (void) buf_adds(&c->out, text);
        api_send(c, 200, API_JSON);
    }

out:

    integration_free(i);
    free(text);
    free(sample);
    json_decref(out);
    json_decref(ask);
    json_decref(body);
}


/* An event for this integration alone: its endpoint is tried for real. */
void
api_integration_send(struct api_call *c)
{
    struct store_doc  d;
    json_t           *body = NULL;

    if (api_params_end(c) && read_own(c, &d, &body)
        && audit(c, &d, "integration.send", ""))
    {
        api_events_post_to(c, d.id);
    }

    json_decref(body);
}
