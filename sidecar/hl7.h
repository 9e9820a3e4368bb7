/*
 * HL7 v2 messages: built from event JSON, read as far as an acknowledgement
 * needs (MSH, MSA, ERR), and the verdict on an acknowledgement.  Pure.
 */

#ifndef HL7_H
#define HL7_H

#include <jansson.h>

#include "buf.h"
#include "outcome.h"
#include "result.h"
#include "uuid.h"

#define HL7_CONTROL_ID   20                /* MSH-10, without the NUL */
#define HL7_MAX_MESSAGE  (1024 * 1024)

enum hl7_charset { HL7_UTF8, HL7_LATIN1 };

/* Ours of MSH; texts are plain, the encoder escapes. */
struct hl7_header {
    const char        *sending_app, *sending_facility;      /* MSH-3, 4 */
    const char        *receiving_app, *receiving_facility;  /* MSH-5, 6 */
    int64_t            time_us;                             /* MSH-7, UTC */
    const char        *control_id;                          /* MSH-10 */
    const char        *processing_id;                       /* MSH-11 P, T */
    const char        *version;                             /* MSH-12 */
    const char        *accept_ack, *application_ack;        /* MSH-15, 16 */
    enum hl7_charset   charset;                             /* MSH-18 */
};

/* 100 bits of the UUIDv7 (48 of time, rand_a, upper 40 of rand_b) in Crockford
 * base32: the same for every attempt of a log. */
void hl7_control_id(const uint8_t id[UUID_BYTES],
    char text[HL7_CONTROL_ID + 1]);

/*
 * Builds {"message":"ADT^A04^ADT_A01","segments":[["PID","1",null,..],..]}:
 * a field is null, a scalar or a list of repeats; a repeat a scalar or a list
 * of components; a component a scalar or a list of sub-components;
 * {"delete":true} is HL7's "".  MSH is written from H.  Segments end in CR.
 * RESULT_INVALID: *why (static) and *at (segment number from 1, 0: message).
 */
must_check enum result hl7_build(const json_t *message,
    const struct hl7_header *h, struct buf *out, const char **why,
    unsigned *at);

/*
 * The raw text of segment SEG's field (MSH-1 counts as by the standard),
 * repeat and component from 1; empty when absent.  Segments are parted by CR,
 * LF or CRLF; separators are MSH's own.
 */
struct slice hl7_get(struct slice message, const char *seg, unsigned field,
    unsigned repeat, unsigned component);

/* Escapes of VALUE decoded (F S T R E .br X..), in the arena. */
struct slice hl7_unescape(struct slice message, struct slice value,
    struct arena *a);

enum hl7_want { HL7_WANT_APP, HL7_WANT_COMMIT, HL7_WANT_BOTH, HL7_WANT_NONE };

struct hl7_rules {
    enum hl7_want  want;
    bool           reject_is_final;        /* profile mirth; false: standard */
    enum { HL7_ID_STRICT, HL7_ID_WARN, HL7_ID_OFF } check_id;
    bool           duplicate_is_success;   /* AE with 205 after no ACK */
    bool           unanswered_before;      /* an earlier attempt got no ACK */
};

struct hl7_verdict {
    bool            read_on;               /* another ACK must come: wait */
    bool            committed;             /* this was a CA */
    bool            duplicate;             /* flag of the log */
    bool            id_differs;            /* with HL7_ID_WARN */
    struct outcome  outcome;               /* unless read_on */
};

/* Judges one acknowledgement to the message SENT_ID: table in the guide of
 * the transport, section "ACK rules". */
struct hl7_verdict hl7_judge(struct slice ack, const char *sent_id,
    const struct hl7_rules *rules);

#endif /* HL7_H */
