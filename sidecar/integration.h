/*
 * An integration (labIntegration): one action of one lab to one endpoint.  The
 * table of its fields in integration_table.c reads, checks and prints it;
 * the API, the CLI's import and dispatch all go through here.
 */

#ifndef INTEGRATION_H
#define INTEGRATION_H

#include <jansson.h>

#include "hl7.h"
#include "retry.h"
#include "seal.h"
#include "store.h"
#include "transport.h"

enum integration_transport { INTEGRATION_HTTP, INTEGRATION_MLLP };
enum on_fail { ON_FAIL_AUTO, ON_FAIL_SKIP, ON_FAIL_HOLD };

struct integration_ready;

struct integration_header {
    struct slice  name, value;
    struct slice  sealed;                  /* the value shown as *** */
};

/* A snapshot for routing and sending.  All text lives in ARENA. */
struct integration {
    struct arena   arena;
    struct slice   id;                     /* UUID text */
    int64_t        version;
    struct slice   name;
    int64_t        org_id, lab_id, action_id;
    struct slice   developer_id;
    bool           enabled;
    bool           is_auto_retry, is_logs_disabled;
    enum integration_transport  transport;

    struct slice   filter, transform;      /* jq; "" none */
    int64_t        priority;               /* default of its deliveries */
    bool           ordered;                /* next only after the one before */
    struct slice   order_key;              /* of a reference, or a path; "" */
    int            on_fail;                /* enum on_fail, as configured */
    bool           holds;                  /* a failure stops its lane */
    bool           is_batch;
    int64_t        batch_size, batch_window_ms;
    bool           gone;                   /* disabled because of a 410 */
    struct slice   schedule_text;
    struct retry_schedule  schedule;

    int64_t        concurrency;            /* in flight at once */
    int64_t        rate_per_s;             /* 0: no limit */

    /* http */
    struct slice   url, method, content_type, proxy;
    struct slice   sealed_url, sealed_proxy, sealed_token_url;   /* if masked */
    bool           plain_allowed;
    struct integration_header  headers[SEND_MAX_HEADERS];
    unsigned       nheaders;
    struct slice   secrets[SIGN_MAX_KEYS]; /* sealed; newest first */
    int64_t        secret_until_us[SIGN_MAX_KEYS];   /* NONE: for ever */
    unsigned       nsecrets;
    enum send_auth auth;
    struct slice   user, secret, token_url, scope;   /* secret is sealed */
    struct slice   cert_pem, key_pem, ca_pem;        /* key is sealed */
    int64_t        connect_ms, total_ms;

    /* mllp */
    struct slice   host;
    int64_t        port;
    bool           tls, release_2, lenient_end, hl7_raw;
    enum hl7_want  ack_want;
    int            ack_profile;            /* 0 mirth, 1 standard */
    int            ack_check_id;           /* of struct hl7_rules */
    bool           ack_duplicate;
    enum hl7_charset  charset;
    struct slice   hl7_version, sending_app, sending_facility, receiving_app,
                   receiving_facility, processing_id;
    int64_t        first_byte_ms, ack_ms;

    struct integration_ready  *ready;      /* what sends share; NULL: not yet */
    struct integration_ready **sends;      /* to it: readers have I const */
};

/* One fault: JSON pointer of the field and what to write instead. */
struct integration_fault {
    char  pointer[128];
    char  code[32];
    char  detail[256];
};

/*
 * Checks a document from outside (create or replace) and gives the one to
 * store: defaults filled in, secrets sealed, write-only values left as they
 * were in OLD (NULL on create) when not given.  RESULT_INVALID: *n faults.
 * Programs are compiled by JQ (NULL: not checked).  Secrets in headers, URLs
 * and the proxy are kept sealed; *** in IN stands for what OLD has there.
 */
struct config;
struct jq_child;
must_check enum result integration_check(const json_t *in, const json_t *old,
    struct slice id, const struct secret *secret, struct jq_child *jq,
    const struct config *config, json_t **out,
    struct integration_fault *faults, size_t max, size_t *n);

/*
 * Puts a new signing secret in front; the ones before sign along until now +
 * OVERLAP_US.  PLAIN is for the answer, once.  STORED is changed.
 */
must_check enum result integration_rotate(json_t *stored, struct slice id,
    const struct secret *secret, int64_t overlap_us, char plain[64]);

/* Sets "enabled" false and "disabled_reason" in the store (410). */
must_check enum result integration_disable(struct store *s, struct slice id,
    const char *reason);

/* The stored document as clients see it: secrets as {"set":true}, in headers
 * and URLs as ***. */
json_t *integration_public(const json_t *stored);

/* The stored document as a snapshot; the caller frees it. */
must_check enum result integration_load(const struct store_doc *d,
    struct integration **out);
void integration_free(struct integration *i);
/* Zeroed, with an arena of that cap; NULL: out of memory. */
struct integration *integration_create(size_t cap);

/* What makes the payload of EVENT: TRANSFORM, else hl7_map() over mllp unless
 * the payload is a message already, else nothing: it goes as it came. */
struct slice integration_program(const struct integration *i,
    struct slice transform, const json_t *event);

/*
 * Makes a send of a claimed log, signs nothing yet.  Secrets are opened by the
 * first send of I and kept until integration_free; so only one thread makes
 * sends of it.  The send borrows from I and D.
 */
must_check enum result integration_send(const struct integration *i,
    const struct secret *secret, const struct logdoc *d, struct send **out,
    const char **why);

/* The fields as members of a schema of sidecar/openapi.yaml. */
void integration_print_openapi(void);

#endif /* INTEGRATION_H */
