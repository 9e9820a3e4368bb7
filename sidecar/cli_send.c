/*
 * resend, replay, cancel: one log in the hands of a person at a terminal.
 * Each says first what it would do and to whom; each is audited; what is sent
 * is sent by whichever sidecar has the dispatch role.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_replay_ask.h"
#include "audit.h"
#include "cli_open.h"
#include "clock.h"
#include "event.h"
#include "replay.h"
#include "resend_plan.h"
#include "transport.h"

#define SEND_ARENA    (64 * 1024 * 1024)
#define SEND_POLL_US  200000
#define SEND_TYPE     "integration_directory"
#define REPLAY_WAIT   INT64_C(600000000)   /* for somebody who sends it */

static const struct scope  everything = { .platform = true };

struct sending {
    struct cli     *c;
    const char     *verb;                  /* "resend" */
    struct arena    arena;
    struct logdoc   log;
    char            id[UUID_TEXT + 1];
    struct routes  *routes;
    struct events  *events;
    json_t         *edit;                  /* as REST takes it, or NULL */
};


/* -- what all three begin and end with ------------------------------------ */

static int
body_read(struct sending *s, const char *path)
{
    FILE        *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    struct buf   b;
    char        *room;
    size_t       n;
    json_t      *text;

    if (f == NULL) {
        return cli_complain(CLI_USAGE, "%s: --body: %s: %s", s->verb, path,
            strerror(errno));
    }

    buf_init(&b, SEND_MAX_BODY + 1);

    do {
        room = buf_room(&b, 4096);
        n = room == NULL ? 0 : fread(room, 1, 4096, f);
        b.n += n;
    } while (n > 0);

    if (f != stdin) {
        (void) fclose(f);
    }

    text = b.failed || b.n > SEND_MAX_BODY || b.n == 0 ? NULL
           : json_stringn(b.p, b.n);
    n = b.n;
    buf_cleanup(&b);

    if (text == NULL) {
        return cli_complain(CLI_USAGE, "%s: --body: %s: %s", s->verb, path,
            n == 0 ? "is empty" : "must be UTF-8 of at most 1 MB");
    }

    (void) json_object_set_new(s->edit, "body", text);
    (void) json_object_set_new(s->edit, "encoding", json_string("text"));
    return CLI_OK;
}


static int
edit_read(struct sending *s)
{
    const char  *body = cli_value(s->c, "body");
    const char  *method = cli_value(s->c, "method");

    s->edit = json_object();

    if (method != NULL) {
        (void) json_object_set_new(s->edit, "method", json_string(method));
    }

    return body == NULL ? CLI_OK : body_read(s, body);
}


static int
log_read(struct sending *s)
{
    uint8_t      id[UUID_BYTES];
    enum result  r;

    if (s->c->nargs != 1
        || uuid_parse(slice_of(s->c->args[0]), id) != RESULT_OK)
    {
        return cli_complain(CLI_USAGE, "%s: name one log by its id, as logs "
            "prints it", s->verb);
    }

    uuid_text(id, s->id);
    r = store_log_get(s->c->store, &everything, id, &s->arena, &s->log);

    return r == RESULT_OK ? CLI_OK
           : cli_complain(CLI_FAILED, "%s: %s: %s", s->verb, s->id,
                 r == RESULT_NOT_FOUND ? "there is no such log"
                                       : result_text(r));
}


static int
sending_open(struct sending *s, struct cli *c, const char *verb)
{
    int  status;

    memset(s, 0, sizeof(*s));
    s->c = c;
    s->verb = verb;
    arena_init(&s->arena, SEND_ARENA);
    logdoc_init(&s->log);

    status = cli_load_config(c);
    status = status != CLI_OK ? status : cli_load_secret(c);
    status = status != CLI_OK ? status : edit_read(s);
    status = status != CLI_OK ? status : cli_open_store(c, false);
    status = status != CLI_OK ? status : log_read(s);

    if (status == CLI_OK
        && (routes_create(c->store, &s->routes) != RESULT_OK
            || events_create(c->config, c->store, s->routes, c->secret,
                   &s->events) != RESULT_OK))
    {
        return cli_complain(CLI_FAILED, "%s: integrations cannot be read",
            verb);
    }

    return status;
}


static void
sending_close(struct sending *s)
{
    if (s->events != NULL) {
        events_destroy(s->events);
    }

    if (s->routes != NULL) {
        routes_destroy(s->routes);
    }

    json_decref(s->edit);
    arena_cleanup(&s->arena);
}


static int
reason_check(const struct sending *s, bool required)
{
    const char  *reason = cli_value(s->c, "reason");

    if (required && cli_value(s->c, "dry-run") == NULL
        && (reason == NULL || reason[0] == '\0'))
    {
        return cli_complain(CLI_USAGE, "%s: say why with --reason, or give "
            "--dry-run", s->verb);
    }

    return CLI_OK;
}


/* After the plan was printed: shall it be done?  *go tells. */
static int
ask_person(const struct sending *s, const char *question, bool *go)
{
    *go = false;

    if (cli_value(s->c, "dry-run") != NULL) {
        return CLI_OK;
    }

    *go = cli_is_meant(s->c, question);
    return *go ? CLI_OK : cli_complain(CLI_USAGE, "%s: nothing was done; give "
        "--yes to do it", s->verb);
}


static int
act_audit(struct sending *s, const char *detail, bool failed)
{
    char                action[32];
    struct audit_entry  e = {
        .action = action, .type = SEND_TYPE, .target = slice_of(s->id),
        .org_id = s->log.org_id, .reason = slice_of(cli_value(s->c, "reason")),
        .detail = slice_of(detail), .failed = failed
    };

    (void) snprintf(action, sizeof(action), "log.%s", s->verb);
    return cli_audit(s->c, &e);
}


static int
act_failed(struct sending *s, enum result r)
{
    (void) act_audit(s, "", true);
    return cli_complain(CLI_FAILED, "%s: %s: %s", s->verb, s->id,
        result_text(r));
}


/* Text of a document or an endpoint, safe on a terminal. */
static void
print_clean(const char *label, const char *text)
{
    (void) printf("  %-10s ", label);

    for ( ; *text != '\0'; text++) {
        (void) putchar((unsigned char) *text < ' ' || *text == 0x7f ? '?'
                                                                    : *text);
    }

    (void) putchar('\n');
}


static const char *
member(const json_t *v, const char *name)
{
    const char  *text = json_string_value(json_object_get(v, name));

    return text == NULL ? "" : text;
}


static void
log_print(const struct sending *s)
{
    char  text[400], at[CLOCK_RFC3339 + 1];

    clock_text(s->log.started_us, at);
    (void) snprintf(text, sizeof(text), "%s of %s: %s, %.*s", s->id, at,
        log_status_text(s->log.status), SLICE_ARG(s->log.endpoint));
    print_clean(s->verb, text);
}


/* -- resend ---------------------------------------------------------------- */

static void
resend_print(const json_t *plan)
{
    const json_t  *to = json_object_get(plan, "to");
    char           text[800];

    (void) snprintf(text, sizeof(text), "%s, \"%s\"%s", member(to, "target"),
        member(to, "name"), json_is_true(json_object_get(to, "held"))
            ? " (disabled: it would wait)" : "");
    print_clean("to", json_is_null(to) ? "an integration that was deleted"
                                       : text);
    (void) snprintf(text, sizeof(text), "%lld bytes, webhook-id %s",
        (long long) json_integer_value(json_object_get(plan, "bytes")),
        json_is_string(json_object_get(plan, "message_id"))
            ? member(plan, "message_id") : "of its own");
    print_clean("body", text);
}


static bool
has_ended(enum log_status s)
{
    return s != LOG_PENDING && s != LOG_RETRYING;
}


/* Each attempt is a line, until the last. */
static int
resend_follow(struct sending *s, const uint8_t id[UUID_BYTES])
{
    struct logdoc  d;
    int64_t        seen = 0;
    enum result    r;

    for ( ;; ) {
        arena_reset(&s->arena);
        logdoc_init(&d);
        r = store_log_get(s->c->store, &everything, id, &s->arena, &d);

        if (r != RESULT_OK) {
            return cli_complain(CLI_FAILED, "resend: the store does not "
                "answer (%s); the delivery goes on", result_text(r));
        }

        if (d.attempts != seen || has_ended(d.status)) {
            seen = d.attempts;
            (void) printf("%s after %lld attempts%s%.*s\n",
                log_status_text(d.status), (long long) d.attempts,
                d.error_code.n > 0 ? ": " : "", SLICE_ARG(d.error_code));
            (void) fflush(stdout);
        }

        if (has_ended(d.status)) {
            return d.status == LOG_SUCCESS || d.status == LOG_COMMITTED
                   ? CLI_OK : CLI_FAILED;
        }

        (void) usleep(SEND_POLL_US);
    }
}


static int
resend_run(struct sending *s, struct slice body)
{
    enum store_insert  outcome;
    uint8_t            id[UUID_BYTES];
    char               text[UUID_TEXT + 1];
    enum result        r;

    if (act_audit(s, body.p != NULL ? "{\"edited\":true}" : "", false)
        != CLI_OK)
    {
        return CLI_FAILED;
    }

    uuid_make(id, clock_wall_us());
    r = resend_copy(&s->log, id, body, s->routes, &s->arena);
    r = r != RESULT_OK ? r : store_logs_insert(s->c->store, &s->log, 1,
        &outcome);

    if (r != RESULT_OK) {
        return act_failed(s, r);
    }

    events_queue(s->events, &s->log, 1);
    uuid_text(id, text);
    (void) printf("log %s\n", text);
    (void) fflush(stdout);
    return cli_value(s->c, "no-wait") != NULL ? CLI_OK
                                              : resend_follow(s, id);
}


static int
resend(struct sending *s)
{
    const json_t  *edit = json_object_get(s->edit, "body");
    struct slice   body = { json_string_value(edit),
                            json_string_length(edit) };
    json_t        *plan;
    bool           can, go;
    int            status;

    plan = resend_plan(&s->log, s->routes,
        body.p == NULL ? -1 : (int64_t) body.n);
    can = json_is_true(json_object_get(plan, "eligible"));
    log_print(s);

    if (!can) {
        status = cli_complain(CLI_FAILED, "resend: %s",
            plan == NULL ? result_text(RESULT_MEMORY)
                         : resend_refusal(resend_log(&s->log)));
    } else {
        resend_print(plan);
        status = ask_person(s, "Send it?", &go);
        status = go ? resend_run(s, body) : status;
    }

    json_decref(plan);
    return status;
}


int
cli_resend(struct cli *c)
{
    struct sending  s;
    int             status = sending_open(&s, c, "resend");

    status = status != CLI_OK ? status
        : reason_check(&s, cli_value(c, "body") != NULL);
    status = status != CLI_OK ? status : resend(&s);
    sending_close(&s);
    return status;
}


/* -- replay ---------------------------------------------------------------- */

static void
replay_print(const struct sending *s, const json_t *plan)
{
    const json_t  *request = json_object_get(plan, "request"), *name;
    char           text[800];
    size_t         i;

    (void) snprintf(text, sizeof(text), "%s %s%s%s%s",
        member(request, "method"), s->c->config->replay_base_url,
        member(request, "path"),
        member(request, "raw_query")[0] == '\0' ? "" : "?",
        member(request, "raw_query"));
    print_clean("to", text);
    (void) snprintf(text, sizeof(text), "%lld bytes, %zu headers",
        (long long) json_integer_value(json_object_get(request, "bytes")),
        json_array_size(json_object_get(request, "headers")));
    print_clean("body", text);

    json_array_foreach(json_object_get(plan, "left_out"), i, name) {
        print_clean("left out", json_string_value(name));
    }

    json_array_foreach(json_object_get(plan, "filled"), i, name) {
        print_clean("filled in", json_string_value(name));
    }
}


static int
replay_follow(struct sending *s, struct retry_doc *d)
{
    int64_t      until = clock_mono_us() + REPLAY_WAIT;
    const char  *state, *id = d->id + sizeof("replay:") - 1;
    char         log[UUID_TEXT + 1];

    while (clock_mono_us() < until) {
        if (retry_doc_get(s->c->store, d) != RESULT_OK) {
            return cli_complain(CLI_FAILED, "replay: the store does not "
                "answer; the replay goes on");
        }

        state = member(d->v, "state");

        if (strcmp(state, "sent") == 0
            && replay_log(s->c->store, id, log))
        {
            (void) printf("answered %lld, log %s\n",
                (long long) json_integer_value(json_object_get(d->v,
                    "http_status")), log);
            return CLI_OK;
        }

        if (strcmp(state, "failed") == 0) {
            return cli_complain(CLI_FAILED, "replay: %s", member(
                json_object_get(d->v, "error"), "message"));
        }

        (void) usleep(SEND_POLL_US);
    }

    return cli_complain(CLI_FAILED, "replay: it is still %s: does a sidecar "
        "with the roles dispatch and drain run?", member(d->v, "state"));
}


static int
replay_run(struct sending *s, const struct replay_ask *x)
{
    struct retry_doc  d = { .v = NULL };
    uint8_t           id[UUID_BYTES];
    enum result       r;
    int               status;

    if (act_audit(s, "", false) != CLI_OK) {
        return CLI_FAILED;
    }

    uuid_make(id, clock_wall_us());
    r = replay_ask_keep(x, s->c->store, id, &d);

    if (r != RESULT_OK) {
        status = act_failed(s, r);
    } else {
        (void) printf("replay %s\n", d.id + sizeof("replay:") - 1);
        (void) fflush(stdout);
        status = cli_value(s->c, "no-wait") != NULL ? CLI_OK
                                                    : replay_follow(s, &d);
    }

    retry_doc_cleanup(&d);
    return status;
}


static int
replay(struct sending *s, struct replay_ask *x)
{
    json_t  *plan;
    bool     go;
    int      status;

    if (!replay_ask_make(x)) {
        return cli_complain(CLI_FAILED, "replay: out of memory");
    }

    for (size_t i = 0; i < x->e.n; i++) {
        (void) cli_complain(CLI_USAGE, "replay: %s: %s",
            x->e.list[i].pointer + 2, x->e.list[i].detail);
    }

    if (x->e.n > 0) {
        return CLI_USAGE;
    }

    plan = replay_ask_plan(x, s->c->config->replay_base_url);
    log_print(s);
    replay_print(s, plan);
    json_decref(plan);

    status = ask_person(s, "Send it?", &go);
    return go ? replay_run(s, x) : status;
}


static int
replay_check(const struct sending *s)
{
    const char  *base = s->c->config->replay_base_url, *why;

    if (base == NULL || base[0] == '\0') {
        return cli_complain(CLI_USAGE, "replay: set replay_base_url to nginx' "
            "address");
    }

    why = replay_ask_refusal(&s->log, json_object_get(s->edit, "body") != NULL);
    return why == NULL ? CLI_OK : cli_complain(CLI_FAILED, "replay: %s", why);
}


int
cli_replay(struct cli *c)
{
    struct sending      s;
    struct replay_ask  *x = calloc(1, sizeof(*x));
    struct slice        developer;
    int                 status = sending_open(&s, c, "replay");

    status = x == NULL ? CLI_FAILED : status;
    status = status != CLI_OK ? status : reason_check(&s, true);
    status = status != CLI_OK ? status : replay_check(&s);

    if (status == CLI_OK) {
        x->arena = &s.arena;
        x->log = &s.log;
        x->edit = s.edit;
        developer = arena_copy(&s.arena, s.log.developer_id);
        x->credentials = developer.n == 0 ? NULL
            : replay_credentials(c->store, c->secret, developer.p);
        status = replay(&s, x);
        replay_ask_cleanup(x);
    }

    free(x);
    sending_close(&s);
    return status;
}


/* -- cancel ---------------------------------------------------------------- */

static int
cancel_run(struct sending *s)
{
    const char       *why = cli_value(s->c, "reason");
    enum log_status   now;
    enum result       r;

    if (act_audit(s, "", false) != CLI_OK) {
        return CLI_FAILED;
    }

    r = store_move(s->c->store, &everything, s->log.id, STORE_CANCEL,
        LOGDOC_NONE, slice_of(why != NULL ? why : "cancelled by hand"), &now);

    if (r == RESULT_CONFLICT) {
        (void) act_audit(s, "", true);
        return cli_complain(CLI_FAILED, "cancel: %s is %s%s", s->id,
            log_status_text(now), has_ended(now) ? "" : " and being sent now");
    }

    if (r != RESULT_OK) {
        return act_failed(s, r);
    }

    s->log.status = now;
    s->log.next_attempt_us = LOGDOC_NONE;
    events_queue(s->events, &s->log, 1);
    (void) printf("%s\n", log_status_text(now));
    return CLI_OK;
}


int
cli_cancel(struct cli *c)
{
    struct sending  s;
    char            at[CLOCK_RFC3339 + 1];
    bool            go;
    int             status = sending_open(&s, c, "cancel");

    if (status == CLI_OK) {
        log_print(&s);

        if (s.log.next_attempt_us != LOGDOC_NONE) {
            clock_text(s.log.next_attempt_us, at);
            print_clean("due", at);
        }

        status = ask_person(&s, "Cancel it?", &go);
        status = go ? cancel_run(&s) : status;
    }

    sending_close(&s);
    return status;
}
