/*
 * What to look for: the filter grammar of REST, the CLI and saved views as
 * values that both stores translate.  EQ, CLASS and NULL terms on one field
 * (and, for references, one name) are or-ed; NE, NOT_CLASS and NOT_NULL all
 * exclude; everything else is and-ed.
 *
 * A null is never EQ, GT .. and always NE: http=!404 shows logs without an
 * answer too.  For a reference, EQ: some reference of that name has the text;
 * NE: none has it.
 *
 * What a term holds: numbers in num (DURATION_MS in milliseconds, compared with
 * duration_us as num * 1000, never EQ; ERROR the fingerprint's 64 bits; FLAG
 * one bit of logdoc.flags), enums as their value in num; all else in text (ID
 * is a well-formed UUID).  NULL occurs on HTTP, ACTION, CATEGORY, LAB, ORG and
 * ERROR.
 */

#ifndef FILTER_H
#define FILTER_H

#include "logdoc.h"

#define FILTER_MAX_TERMS  64

enum filter_op {
    FILTER_EQ, FILTER_NE, FILTER_GT, FILTER_GTE, FILTER_LT, FILTER_LTE,
    FILTER_CLASS, FILTER_NOT_CLASS,        /* http=5xx: num is 5 */
    FILTER_NULL, FILTER_NOT_NULL           /* http=none */
};

enum filter_field {
    FILTER_STATUS, FILTER_KIND, FILTER_HTTP, FILTER_ACTION, FILTER_CATEGORY,
    FILTER_LAB, FILTER_ORG, FILTER_DEVELOPER, FILTER_INTEGRATION,
    FILTER_ENDPOINT, FILTER_METHOD, FILTER_ERROR, FILTER_EVENT, FILTER_BATCH,
    FILTER_TRACE, FILTER_REPLAY_OF, FILTER_RESEND_OF, FILTER_ATTEMPTS,
    FILTER_DURATION_MS, FILTER_REF, FILTER_ID, FILTER_FLAG, FILTER_FIELD_COUNT
};

struct filter_term {
    enum filter_field  field;
    enum filter_op     op;
    struct slice       name;               /* FILTER_REF: bill_id .. */
    struct slice       text;
    int64_t            num;                /* numbers; enums as their value */
};

/* Which tenant asks.  Part of every query, by _id too. */
struct scope {
    bool            platform;              /* org 0: everything */
    int64_t         org_id;
    const int64_t  *labs;                  /* NULL: all labs of the org */
    unsigned        nlabs;
};

struct filter {
    struct scope        scope;
    int64_t             from_us, to_us;    /* [from,to) on started_at; NONE */
    struct slice        q;                 /* literal text; "" none */
    struct filter_term  terms[FILTER_MAX_TERMS];
    unsigned            nterms;
};

/* One row of the table of fields: also the documentation's source. */
struct filter_field_info {
    const char         *param;             /* "status", "ref" */
    enum filter_field   field;
    enum { FILTER_T_ENUM, FILTER_T_INT, FILTER_T_TEXT } type;
    bool                ordered;           /* [gt] [gte] [lt] [lte] allowed */
    bool                bucket;            /* heatmap buckets know it */
    const char         *help;
};

extern const struct filter_field_info  filter_fields[FILTER_FIELD_COUNT];

/*
 * Adds one "name=value" of a query string, decoded ("status", "!SUCCESS").
 * Handles from, to, q and every filter field; RESULT_NOT_FOUND: not a filter's
 * name; RESULT_INVALID: *why is static text that says what is allowed.  Slices
 * are borrowed.
 */
must_check enum result filter_add(struct filter *f, struct slice name,
    struct slice value, const char **why);

void filter_init(struct filter *f, const struct scope *scope);

/* Is a thing of that org and lab (LOGDOC_NONE: null) visible in the scope? */
bool scope_sees(const struct scope *sc, int64_t org_id, int64_t lab_id);

/* True when only fields that heatmap buckets know are used (and no q). */
bool filter_is_bucket(const struct filter *f);

/*
 * The pure meaning, for live streams and tests: does the log match?  q is
 * looked for, ASCII case ignored, in url, values of refs, error message and ids
 * (id, event, batch, message, trace), not in bodies.
 */
bool filter_match(const struct filter *f, const struct logdoc *d);

/* A hash of all but the cursor's own fields, for cursor checks. */
uint64_t filter_hash(const struct filter *f);

#endif /* FILTER_H */
