/*
 * The capture record: the contract between the nginx module, which writes one
 * XADD a request, and integrationd, which reads it.  Plain C, no nginx type.
 *
 * Every field is a flat name and a binary-safe value.  A field whose value
 * would be empty is left out.  Numbers are decimal ASCII.  Adding a field keeps
 * RECORD_FORMAT; changing what one means raises it.
 */

#ifndef RECORD_FIELDS_H
#define RECORD_FIELDS_H

#define RECORD_FORMAT        "1"
#define RECORD_STREAM         "idash:capture"

/* "ref.lab_id", "field.anything": one stream field a capture_ref or _field */
#define RECORD_REF_PREFIX     "ref."
#define RECORD_FIELD_PREFIX   "field."

/* bounds that both halves enforce; a record beyond them is not well formed */
#define RECORD_MAX_PAIRS      64           /* capture_ref + capture_field */
#define RECORD_MAX_NAME       64           /* of a name of these, bytes */
#define RECORD_MAX_VALUE      1024         /* of a value, bytes */
#define RECORD_MAX_BODY       (1024 * 1024)
#define RECORD_MAX_HEADERS    (256 * 1024)
#define RECORD_MAX_URI        (64 * 1024)

/* X(symbol, name on the stream, required, what it holds) */
#define RECORD_FIELDS(X)                                                      \
    X(VERSION,      "v",               1, "RECORD_FORMAT")                   \
    X(ID,           "id",              1, "UUIDv7 of the request's start")    \
    X(KIND,         "kind",            1, "api or webhook")                   \
    X(START,        "start_us",        1, "start, microseconds since 1970")   \
    X(DURATION,     "duration_us",     1, "start to last byte handed over")   \
    X(FIRST_BYTE,   "first_byte_us",   0, "start to response header")         \
    X(METHOD,       "method",          0, "as the client sent it")            \
    X(SCHEME,       "scheme",          0, "http or https")                    \
    X(HOST,         "host",            0, "Host or :authority")               \
    X(URI,          "uri",             0, "path and query, redacted")         \
    X(PROTOCOL,     "protocol",        0, "HTTP/1.1, HTTP/2.0 ..")            \
    X(STATUS,       "status",          1, "status that the client was sent")  \
    X(COMPLETE,     "complete",        1, "1: the whole response was sent")   \
    X(SENT,         "sent_bytes",      0, "bytes on the wire to the client")  \
    X(ROUTE,        "route",           0, "low-cardinality endpoint label")   \
    X(ACTION,       "action",          0, "Action ID")                        \
    X(KEY,          "key_sha256",      0, "64 hex digits of the caller's key")\
    X(CLIENT_IP,    "client_ip",       0, "address, or unix:")                \
    X(CLIENT_PORT,  "client_port",     0, "")                                 \
    X(REQ_BYTES,    "request_bytes",   0, "true length of the request body")  \
    X(REQ_CUT,      "request_cut",     0, "why the kept body is not whole")   \
    X(RES_BYTES,    "response_bytes",  0, "true length of the response body") \
    X(RES_CUT,      "response_cut",    0, "why the kept body is not whole")   \
    X(UP_ADDR,      "upstream_addr",   0, "as $upstream_addr")                \
    X(UP_STATUS,    "upstream_status", 0, "as $upstream_status")              \
    X(UP_CONNECT,   "upstream_connect_us",  0, "comma separated, - if none")  \
    X(UP_HEADER,    "upstream_header_us",   0, "comma separated, - if none")  \
    X(UP_RESPONSE,  "upstream_response_us", 0, "comma separated, - if none")  \
    X(TRACE_ID,     "trace_id",        0, "32 hex digits of traceparent")     \
    X(REQ_HEADERS,  "request_headers", 0, "Name: value CRLF .., redacted")    \
    X(RES_HEADERS,  "response_headers", 0, "Name: value CRLF .., redacted")   \
    X(REQ_BODY,     "request_body",    0, "raw prefix")                       \
    X(RES_BODY,     "response_body",   0, "raw prefix")

enum record_field {
#define RECORD_ENUM_(symbol, name, required, what)  RECORD_F_##symbol,
    RECORD_FIELDS(RECORD_ENUM_)
#undef RECORD_ENUM_
    RECORD_F_COUNT
};

/* X(symbol, word on the stream, meaning): why a kept body is not the body */
#define RECORD_CUTS(X)                                                        \
    X(NONE,     "",         "kept whole")                                     \
    X(SIZE,     "size",     "longer than capture_*_body")                     \
    X(TYPE,     "type",     "not one of capture_body_types")                  \
    X(OFF,      "off",      "capture_*_body off")                             \
    X(NOT_READ, "not_read", "nginx answered without reading it")              \
    X(FILE,     "file",     "bytes were in a file and not at once readable")  \
    X(MEMORY,   "memory",   "the worker's inprogress bound was reached")      \
    X(UPGRADE,  "upgrade",  "switched protocols: headers only")

enum record_cut {
#define RECORD_CUT_ENUM_(symbol, word, what)  RECORD_CUT_##symbol,
    RECORD_CUTS(RECORD_CUT_ENUM_)
#undef RECORD_CUT_ENUM_
    RECORD_CUT_COUNT
};

#endif /* RECORD_FIELDS_H */
