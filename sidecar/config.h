/*
 * Settings: one table in config_table.c (key, type, default, sentence)
 * reads the file, prints the sample and the reference, and checks the values.
 * A key can be overridden by the environment: INTEGRATIOND_<KEY>.
 */

#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "result.h"

#define CONFIG_ROLE_DRAIN     0x01
#define CONFIG_ROLE_DISPATCH  0x02
#define CONFIG_ROLE_API       0x04

struct config {
    char     *store;                       /* sqlite:PATH | mongodb://.. */
    char     *secret_file;                 /* NULL: beside a SQLite file */
    unsigned  roles;
    int64_t   shutdown_timeout_us;

    char     *redis;                       /* host:port or /path/to.sock */
    char     *redis_user, *redis_password_file;
    int64_t   redis_db;
    int64_t   redis_timeout_us;

    char     *capture_stream;              /* idash:capture */
    char     *capture_group;               /* integrationd */
    char     *consumer;                    /* NULL: host-pid-random, kept */
    int64_t   drain_threads, drain_batch, drain_batch_bytes;
    int64_t   drain_min_idle_us;           /* XAUTOCLAIM */
    int64_t   drain_reclaim_us;            /* how often */
    int64_t   drain_max_deliveries;        /* then a dead letter */

    char     *listen;                      /* /path.sock or 127.0.0.1:port */
    char     *listen_mode;                 /* "0660" of the socket */
    int64_t   api_threads, api_connections, api_body_max, api_deadline_us;
    int64_t   sse_clients, sse_ping_us, sse_rate;
    char     *changes_stream;              /* idash:changes */
    int64_t   changes_keep;                /* about so many entries */

    char     *events_stream;               /* idash:events */
    int64_t   dispatch_in_flight;          /* sends at once in this process */
    int64_t   dispatch_lease_us, dispatch_reconcile_us;
    int64_t   dispatch_poll_us, dispatch_probe_us, dispatch_give_up_us;
    char     *outbound_allow;              /* CIDRs that the guard lets pass */
    char     *outbound_ports;              /* beside 443 and 8443 */
    char     *redact_headers, *redact_args;      /* names; NULL: the usual */
    char     *jq_path;                     /* NULL: beside integrationd */
    int64_t   jq_timeout_us;
    int64_t   idempotency_keep_us;
    char     *replay_base_url;
    int64_t   replay_lease_us;
    char     *capture_status;              /* addresses, by comma; NULL none */

    char     *fusion_developer;            /* NULL: no calls of Fusion's */
    char     *fusion_map;                  /* jq, NULL: names inside data */
    char     *fusion_plain;                /* "yes": http:// too */

    int64_t   retention_ok_us, retention_fail_us, retention_audit_us;
    int64_t   dead_letter_max_bytes, retention_dead_us;

    char     *log_file, *log_level, *log_format;
};

/*
 * Reads PATH (NULL: defaults and environment only).  On failure ERR is
 * "file:line: key: what is wrong; what to write".
 */
must_check enum result config_load(const char *path, struct config **out,
    char *err, size_t errlen);
void config_destroy(struct config *c);

/* True when keys differ that SIGHUP cannot take over; *name is the first. */
bool config_needs_restart(struct config *before, struct config *after,
    const char **name);

/* The sample file, every key with its sentence and default, on stdout. */
void config_print_sample(void);
/* The reference for the man page and README: markdown table. */
void config_print_reference(void);
/* The same as the items of a list of mdoc(7). */
void config_print_man(void);

#endif /* CONFIG_H */
