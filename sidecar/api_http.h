/*
 * One call of the API: what was asked, who asks, and the answers that all
 * handlers share.  A helper that returns false has answered already: the
 * handler returns.
 */

#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdatomic.h>

#include "auth.h"
#include "catalog.h"
#include "config.h"
#include "cursor.h"
#include "dispatch.h"
#include "drain.h"
#include "http_server.h"

#define API_BASE         "/api/v1"
#define API_MAX_PARAMS   128
#define API_MAX_IDS      2
#define API_MAX_OUT      (16 * 1024 * 1024)
#define API_MAX_ARENA    (64 * 1024 * 1024)
#define API_REQUEST_ID   32
#define API_ETAG         24                /* with the NUL */
#define API_JSON         "application/json"

struct api_live;
struct nginx_status;
struct outbound;

struct api_counters {
    _Atomic uint64_t  by_class[6];         /* answers 1xx .. 5xx; 0 unused */
    _Atomic uint64_t  auth_failures;
    _Atomic uint64_t  partial;             /* queries that met the deadline */
    _Atomic uint64_t  duration_us;
};

/* What every handler may use; lives as long as the API. */
struct api_env {
    const struct config  *config;
    struct store         *store;
    struct catalog       *catalog;
    const struct secret  *secret;
    struct drain         *drain;           /* NULL: runs elsewhere */
    struct dispatch      *dispatch;        /* NULL: runs elsewhere */
    struct auth          *auth;
    struct api_live      *live;
    struct outbound      *outbound;
    struct nginx_status  *nginx_status;    /* NULL: none is configured */
    int64_t               started_us;
    struct api_counters   counters;
};

struct api_param {
    struct slice  name, value;
    bool          used;
};

/* of a call with an Idempotency-Key */
struct api_once {
    struct slice  id;                      /* of its document; "" none */
    int64_t       version;
    char          hash[65];
    uint8_t       planned[UUID_BYTES];
    bool          kept;
};

/* what the call was allowed to do; api_audit.h */
struct api_act {
    struct slice  action, type, target;
    int64_t       org_id;
    bool          allowed;                 /* there is an entry */
};

struct api_call {
    struct api_env       *env;
    struct http_request  *http;
    struct auth_caller    caller;
    struct slice          method, path;    /* path without API_BASE */
    struct slice          ids[API_MAX_IDS];    /* decoded {} of the route */
    unsigned              nids;
    struct api_param      params[API_MAX_PARAMS];
    unsigned              nparams;
    const char           *ip;
    char                  ip_text[64];
    char                  request_id[API_REQUEST_ID + 1];
    bool                  secure;          /* nginx was asked by TLS */
    bool                  answered;
    int64_t               deadline_us;     /* clock_mono_us(), of queries */
    struct arena          arena;
    struct buf            out;             /* the body that api_send sends */
    struct http_head      head;
    struct api_once       once;
    struct api_act        act;
    /* told of the answer before the client has it; NULL nobody */
    void                (*on_send)(struct api_call *c, unsigned status,
        struct slice body);
};

/* -- what was asked -------------------------------------------------------- */

/* Splits the target into path and decoded parameters; answers 400. */
must_check bool api_call_parse(struct api_call *c);

/* The one value of a parameter; p NULL when absent.  Answers 400 when it came
 * twice. */
must_check bool api_param(struct api_call *c, const char *name,
    struct slice *value);
/* A whole number within bounds, FALLBACK when absent. */
must_check bool api_param_int(struct api_call *c, const char *name, int64_t min,
    int64_t max, int64_t fallback, int64_t *value);
/* One of WORDS (NULL-terminated); *index -1 when absent. */
must_check bool api_param_word(struct api_call *c, const char *name,
    const char *const *words, int *index);
/* All parameters not yet used go into the filter, of the caller's scope. */
must_check bool api_filter(struct api_call *c, struct filter *f);
/* 400 for a parameter that nobody used. */
must_check bool api_params_end(struct api_call *c);

/* Percent-decodes into the arena; PLUS: '+' is a space.  p NULL when wrong. */
struct slice api_decode(struct arena *a, struct slice s, bool plus);

/* The value of a cookie, p NULL when there is none. */
struct slice api_cookie(struct slice header, const char *name);

/* -- answers --------------------------------------------------------------- */

struct api_error {
    char         pointer[96];              /* "#/url", or a parameter's name */
    const char  *code;
    char         detail[200];
};

/* RFC 9457.  Always returns false, so that a helper can return it. */
bool api_problem(struct api_call *c, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same of a type of its own, "#slug". */
bool api_problem_type(struct api_call *c, unsigned status, const char *slug,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* 400 that names a parameter. */
bool api_problem_param(struct api_call *c, struct slice name, const char *code,
    const char *detail);
/* 422 with a pointer for each fault of the body. */
bool api_problem_fields(struct api_call *c, const struct api_error *errors,
    size_t n);
/* The status that belongs to a result of the store. */
bool api_problem_result(struct api_call *c, enum result r);

/* Adds V's text to c->out and gives V up.  False when answered: V is NULL, or
 * there is no memory. */
must_check bool api_print_json(struct api_call *c, json_t *v);
/* Sends c->out. */
void api_send(struct api_call *c, unsigned status, const char *type);
/* The same with a weak ETag of the content, "as_of" left out; 304 when the
 * client has it. */
void api_send_cached(struct api_call *c, const char *type);
/* The tag alone, quoted, without W/. */
void api_etag(const struct buf *b, char tag[API_ETAG]);
/* 204 */
void api_send_empty(struct api_call *c);
/* What every answer carries: no-store, request id. */
void api_head_init(struct api_call *c, unsigned status);

/* -- pages ----------------------------------------------------------------- */

/* "page":{..} and the Link headers; a cursor NULL is null. */
void api_page(struct api_call *c, const struct cursor *next,
    const struct cursor *prev, bool has_more);
/* The parameter "cursor" when it belongs to HASH; *given tells. */
must_check bool api_cursor(struct api_call *c, uint64_t hash,
    struct cursor *cursor, bool *given);

/* -- configuration documents ----------------------------------------------- */

/* The version of If-Match, -1 for "*"; answers 428 when there is none. */
must_check bool api_if_match(struct api_call *c, int64_t *version);

/* Parses the body: a JSON object, no repeated members, at most 32 deep.
 * Answers 400, 415 or 422.  The caller frees *out. */
must_check bool api_body(struct api_call *c, json_t **out);

#endif /* API_HTTP_H */
