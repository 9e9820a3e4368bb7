/*
 * One log: a document of integration_directory, inbound or outbound, and one
 * attempt of integration_retry_log.  Plain records; text is borrowed slices,
 * owned by whoever filled it in (a reader's arena, a decoded stream entry).
 */

#ifndef LOGDOC_H
#define LOGDOC_H

#include <stdint.h>

#include "buf.h"
#include "uuid.h"

#define LOGDOC_NONE       INT64_MIN        /* a number or time that is null */
#define LOGDOC_MAX_PAIRS  64

enum log_kind { LOG_KIND_API, LOG_KIND_WEBHOOK, LOG_KIND_HL7, LOG_KIND_COUNT };

enum log_status {
    LOG_PENDING, LOG_SUCCESS, LOG_RETRYING, LOG_FAIL, LOG_CANCELLED,
    LOG_COMMITTED, LOG_STATUS_COUNT
};

/* "api", "PENDING" ...; the parse returns -1 for an unknown word */
const char *log_kind_text(enum log_kind k);
const char *log_status_text(enum log_status s);
/* Nothing more will be sent. */
bool log_status_ended(enum log_status s);
int log_kind_parse(struct slice s);
int log_status_parse(struct slice s);

/* Why an operator should look at the log; JSON: array of words. */
#define LOG_FLAG_LAB_MISMATCH   0x01       /* "lab_mismatch" */
#define LOG_FLAG_SUSPECT        0x02       /* "suspect": crashed a drain */
#define LOG_FLAG_UNKNOWN_KEY    0x04       /* "unknown_key" */
#define LOG_FLAG_UNCONFIRMED    0x08       /* "unconfirmed": no ACK was asked */
#define LOG_FLAG_DUPLICATE      0x10       /* "duplicate": the peer had it */
#define LOG_FLAG_BAD_REPLAY     0x20       /* "bad_replay": signature wrong */
#define LOG_FLAG_COUNT          6

/* The word of bit 1 << BIT; the bit of a word, 0 for an unknown one. */
const char *log_flag_text(unsigned bit);
uint32_t log_flag_parse(struct slice s);

/* Why a delivery stands in a lane. */
#define LOG_LANE_ORDERED        0x01       /* goes when those before ended */
#define LOG_LANE_BATCH          0x02       /* goes together with others */

struct log_pair {                          /* a business reference or field */
    struct slice  name, value;
};

struct log_body {
    struct slice  headers;                 /* "Name: value\r\n".. as recorded */
    struct slice  data;                    /* kept bytes, raw */
    int64_t       bytes;                   /* true length, LOGDOC_NONE */
    struct slice  cut;                     /* reason word of RECORD_CUTS, "" */
};

struct logdoc {
    uint8_t          id[UUID_BYTES];
    enum log_kind    kind;
    enum log_status  status;
    uint32_t         flags;

    int64_t          action_id, action_category_id;   /* LOGDOC_NONE: null */
    int64_t          lab_id, org_id;
    struct slice     developer_id, integration_id;

    struct slice     endpoint;             /* the heatmap's label */
    struct slice     method, scheme, host, url, protocol, route;

    unsigned         nrefs, nfields;

    struct log_body  request, response;
    int64_t          http_status;          /* LOGDOC_NONE: no answer */
    int64_t          sent_bytes;
    int              complete;

    int64_t          started_us;           /* since 1970; the time of id */
    int64_t          duration_us, connect_us, first_byte_us;
    struct slice     upstream_addr, upstream_status;
    struct slice     upstream_connect, upstream_header, upstream_response;

    int64_t          attempts;             /* 0 inbound */
    int64_t          next_attempt_us;
    int64_t          priority;             /* 2 HIGH, 1, 0 LOW; NONE inbound */
    int64_t          token;                /* of the lease; 0: never leased */
    int64_t          lease_until_us;       /* NONE: not leased */
    struct slice     error_code, error_message;   /* "" when none */
    uint64_t         error_fingerprint;    /* 0 when none */

    /* outbound, while it is open: what it stands in line with, from when */
    struct slice     lane;                 /* "" none */
    uint32_t         lane_flags;
    int64_t          lane_us;              /* NONE: next_attempt_us */

    struct slice     event_id, batch_id, replay_of, resend_of, message_id;
    struct slice     trace_id;
    struct slice     client_ip;
    int64_t          client_port;
    int64_t          expires_us;           /* LOGDOC_NONE: never */
    uint8_t          digest[16];           /* of what was recorded: A7 */

    /* last, for most of them is never touched: see logdoc_init */
    struct log_pair  refs[LOGDOC_MAX_PAIRS];
    struct log_pair  fields[LOGDOC_MAX_PAIRS];
};

/* All null, times and numbers LOGDOC_NONE; references and fields are as they
 * were, and none. */
void logdoc_init(struct logdoc *d);

/* The same log, of which references and fields are most of the bytes and
 * mostly unused; text is borrowed. */
void logdoc_assign(struct logdoc *to, const struct logdoc *from);

/* A copy whose text lives in *a, NUL-terminated. */
must_check enum result logdoc_copy(struct logdoc *to,
    const struct logdoc *from, struct arena *a);

/* FNV-1a of (kind, endpoint, code, http), never 0. */
uint64_t logdoc_fingerprint(const struct logdoc *d);

struct log_attempt {                       /* id in text: "<log id>-<n>" */
    uint8_t          log_id[UUID_BYTES];
    int64_t          number;               /* from 1 */
    int64_t          started_us, duration_us, connect_us, first_byte_us;
    struct slice     outcome;              /* DELIVERED COMMITTED RETRY .. */
    struct slice     error_code, error_message;
    int64_t          http_status;
    int64_t          next_attempt_us;
    struct log_body  request, response;
};

#endif /* LOGDOC_H */
