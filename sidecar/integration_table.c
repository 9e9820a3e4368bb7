/*
 * The fields of an integration: one table (name, type, place, bounds, default,
 * sentence) that checks what comes in, fills the snapshot and prints the
 * reference.  What no single field can say stands in integration_send.c and
 * in the cross checks of integration_check.c.
 */

#include "integration_private.h"

#include <stddef.h>
#include <stdio.h>

#include "integration.h"
#include "jq_child.h"

#define AT(member)  offsetof(struct integration, member)

const struct field  integration_fields[] = {
    { "name", F_TEXT, AT(name), 1, 200, NULL, NULL,
        "What people call it; the endpoint of its logs." },
    { "org_id", F_INT, AT(org_id), 0, INT64_MAX, NULL, NULL, "Its owner." },
    { "lab_id", F_INT, AT(lab_id), 0, INT64_MAX, NULL, NULL,
        "Whose events it receives." },
    { "action_id", F_INT, AT(action_id), 0, INT64_MAX, NULL, NULL,
        "Which events it receives." },
    { "developer_id", F_TEXT, AT(developer_id), 0, 64, "", NULL,
        "The partner behind the endpoint; disabled, it holds deliveries." },
    { "enabled", F_BOOL, AT(enabled), 0, 0, "true", NULL,
        "Off: deliveries are held, not lost." },
    { "transport", F_WORD, AT(transport), 0, 0, "http", "http|mllp",
        "How it is reached." },
    { "is_auto_retry", F_BOOL, AT(is_auto_retry), 0, 0, "true", NULL,
        "Off: one attempt." },
    { "is_logs_disabled", F_BOOL, AT(is_logs_disabled), 0, 0, "false", NULL,
        "On: delivered and counted, bodies are not kept." },
    { "filter", F_JQ, AT(filter), 0, JQ_MAX_PROGRAM, "", NULL,
        "jq over the event; false, null or nothing: not for this one." },
    { "transform", F_JQ, AT(transform), 0, JQ_MAX_PROGRAM, "", NULL,
        "jq over the event with one output, the payload; its numbers are "
        "doubles, long ids go as text.  Empty: as it came; mllp: the message "
        "of its action." },
    { "priority", F_INT, AT(priority), 0, 2, "1", NULL,
        "2 HIGH, 1 MODERATE, 0 LOW, where the event says nothing." },
    { "ordered", F_BOOL, AT(ordered), 0, 0, "false", NULL,
        "The next delivery begins only after the one before has ended." },
    { "order_key", F_TEXT, AT(order_key), 0, 200, "", NULL,
        "ordered: only among equal values of this reference (patient_id) or "
        "member of the event (.payload.patient.id)." },
    { "on_fail", F_WORD, AT(on_fail), 0, 0, "auto", "auto|skip|hold",
        "ordered: after a failure the next goes (skip) or all wait until it "
        "is sent again or cancelled (hold); auto: hold, mllp: skip." },
    { "is_batch", F_BOOL, AT(is_batch), 0, 0, "false", NULL,
        "http: several events are sent together as one JSON array." },
    { "batch_size", F_INT, AT(batch_size), 1, 1000, "100", NULL,
        "is_batch: so many events close a batch; 1 MB does too." },
    { "batch_window_ms", F_INT, AT(batch_window_ms), 0, 86400000, "5000",
        NULL, "is_batch: how long the first event waits for others." },
    { "schedule", F_SCHEDULE, AT(schedule_text), 0, 400, "", NULL,
        "Delays between attempts such as 5s,5m,2h; empty: the transport's." },
    { "concurrency", F_INT, AT(concurrency), 1, 256, "10", NULL,
        "Sends in flight at once; mllp: one." },
    { "rate_per_s", F_INT, AT(rate_per_s), 0, 100000, "0", NULL,
        "Sends a second by all dispatchers together; 0: no limit." },

    { "url", F_URL, AT(url), 0, 4096, "", NULL,
        "http: where to; https, or http with allow_http.  Secrets in it "
        "(token=) are shown as ***, which sent back leaves them." },
    { "request_type", F_TEXT, AT(method), 0, 8, "POST", NULL,
        "http: GET, POST, PUT, PATCH or DELETE." },
    { "content_type", F_TEXT, AT(content_type), 0, 200, "application/json",
        NULL, "http: Content-Type of the payload." },
    { "allow_http", F_BOOL, AT(plain_allowed), 0, 0, "false", NULL,
        "http: take http:// too." },
    { "proxy", F_PROXY, AT(proxy), 0, 500, "", NULL,
        "http: a forward proxy, which must guard addresses itself; user and "
        "password in it are shown as ***." },
    { "auth", F_WORD, AT(auth), 0, 0, "none", "none|basic|bearer|oauth2|header",
        "http: how we sign in." },
    { "auth_user", F_TEXT, AT(user), 0, 500, "", NULL,
        "http: user of basic, client id of oauth2, name of the header." },
    { "auth_secret", F_SECRET, AT(secret), 0, 4096, "", NULL,
        "http: password, token, client secret or the header's value; "
        "write-only." },
    { "token_url", F_URL, AT(token_url), 0, 4096, "", NULL,
        "http: token endpoint of oauth2 (client credentials)." },
    { "scope", F_TEXT, AT(scope), 0, 1000, "", NULL,
        "http: scope asked of oauth2." },
    { "client_cert", F_PEM, AT(cert_pem), 0, 65536, "", NULL,
        "PEM of our certificate for mutual TLS." },
    { "client_key", F_SECRET, AT(key_pem), 0, 32768, "", NULL,
        "PEM of its key; write-only." },
    { "ca_cert", F_PEM, AT(ca_pem), 0, 262144, "", NULL,
        "PEM of the CA that certifies the endpoint; empty: the system's." },
    { "connect_timeout_ms", F_INT, AT(connect_ms), 100, 30000, "5000", NULL,
        "How long connecting may take." },
    { "timeout_ms", F_INT, AT(total_ms), 1000, 30000, "15000", NULL,
        "http: how long an attempt may take in all." },

    { "host", F_TEXT, AT(host), 0, 253, "", NULL, "mllp: name or address." },
    { "port", F_INT, AT(port), 0, 65535, "0", NULL, "mllp: TCP port." },
    { "tls", F_BOOL, AT(tls), 0, 0, "false", NULL, "mllp: over TLS." },
    { "mllp_release_2", F_BOOL, AT(release_2), 0, 0, "false", NULL,
        "mllp: release 2, every frame is committed." },
    { "lenient_end", F_BOOL, AT(lenient_end), 0, 0, "false", NULL,
        "mllp: take FS LF as the end of a frame." },
    { "hl7_raw", F_BOOL, AT(hl7_raw), 0, 0, "false", NULL,
        "mllp: the payload is the text of a message; else it is built." },
    { "ack", F_WORD, AT(ack_want), 0, 0, "app", "app|commit|both|none",
        "mllp: which acknowledgement ends a delivery." },
    { "ack_profile", F_WORD, AT(ack_profile), 0, 0, "mirth", "mirth|standard",
        "mllp: AR is final (mirth) or tried again (standard)." },
    { "ack_check_id", F_WORD, AT(ack_check_id), 0, 0, "strict",
        "strict|warn|off", "mllp: must MSA-2 repeat our MSH-10?" },
    { "ack_duplicate", F_BOOL, AT(ack_duplicate), 0, 0, "true", NULL,
        "mllp: AE with 205 after a lost answer is a success." },
    { "charset", F_WORD, AT(charset), 0, 0, "UTF-8", "UTF-8|ISO-8859-1",
        "mllp: MSH-18." },
    { "hl7_version", F_TEXT, AT(hl7_version), 0, 10, "2.5.1", NULL,
        "mllp: MSH-12." },
    { "sending_application", F_TEXT, AT(sending_app), 0, 180, "IDASH", NULL,
        "mllp: MSH-3." },
    { "sending_facility", F_TEXT, AT(sending_facility), 0, 180, "", NULL,
        "mllp: MSH-4." },
    { "receiving_application", F_TEXT, AT(receiving_app), 0, 180, "", NULL,
        "mllp: MSH-5." },
    { "receiving_facility", F_TEXT, AT(receiving_facility), 0, 180, "", NULL,
        "mllp: MSH-6." },
    { "processing_id", F_TEXT, AT(processing_id), 0, 1, "P", NULL,
        "mllp: MSH-11, P, T or D." },
    { "ack_first_byte_ms", F_INT, AT(first_byte_ms), 100, 120000, "15000",
        NULL, "mllp: how long the first byte of the answer may take." },
    { "ack_timeout_ms", F_INT, AT(ack_ms), 100, 120000, "30000", NULL,
        "mllp: how long the whole answer may take." },
};

_Static_assert(sizeof(integration_fields)
    == INTEGRATION_FIELDS * sizeof(integration_fields[0]),
    "INTEGRATION_FIELDS is the number of rows");


int
integration_word(const char *words, struct slice word)
{
    const char  *p = words;
    size_t       n;

    for (int i = 0; ; i++) {
        n = strcspn(p, "|");
        if (slice_eq((struct slice) { p, n }, word)) {
            return i;
        }

        if (p[n] == '\0') {
            return -1;
        }

        p += n + 1;
    }
}


void
integration_secret_place(struct slice id, const char *name, char place[160])
{
    (void) snprintf(place, 160, "labIntegration/%.*s/%s", SLICE_ARG(id), name);
}
