/* Every key: its type, bounds, default and sentence.  A key is one row here. */

#include "config_table.h"

#include <stdio.h>

#define AT(member)  offsetof(struct config, member)
#define MS          INT64_C(1000)
#define SECOND      INT64_C(1000000)
#define MINUTE      (60 * SECOND)
#define DAY         (24 * 60 * MINUTE)

const struct config_key  config_keys[] = {
    { "store", CONFIG_TEXT, AT(store), 0, 0,
      "sqlite:/var/lib/integrationd/dash.db", false, NULL,
      "Where logs are kept: sqlite:PATH, or mongodb://HOST/DB for MongoDB, "
      "DocumentDB and what speaks their protocol." },
    { "secret_file", CONFIG_OPTIONAL, AT(secret_file), 0, 0, NULL, false, NULL,
      "File of 32 random bytes, mode 0400, from which all keys are derived; "
      "made beside a new SQLite file when not given, required with Mongo." },
    { "roles", CONFIG_ROLES, AT(roles), 0, 0, "drain,dispatch,api", false, NULL,
      "Which stages this process runs: drain, dispatch, api, or some." },
    { "shutdown_timeout", CONFIG_TIME, AT(shutdown_timeout_us),
      100 * MS, 10 * MINUTE, "20s", false, NULL,
      "How long work in flight may take to finish after SIGTERM." },

    { "redis", CONFIG_TEXT, AT(redis), 0, 0, "127.0.0.1:6379", false, NULL,
      "Redis' host:port, or the path of its unix socket." },
    { "redis_user", CONFIG_OPTIONAL, AT(redis_user), 0, 0, NULL, false, NULL,
      "User of Redis' ACL; without it the default user logs in." },
    { "redis_password_file", CONFIG_OPTIONAL, AT(redis_password_file), 0, 0,
      NULL, false, NULL,
      "File whose first line is Redis' password." },
    { "redis_db", CONFIG_INT, AT(redis_db), 0, 1000000, "0", false, NULL,
      "Number of Redis' database." },
    { "redis_timeout", CONFIG_TIME, AT(redis_timeout_us), 2 * SECOND, MINUTE,
      "5s", false, NULL,
      "How long one answer of Redis may take before the connection is given "
      "up; more than the second that a read waits." },

    { "capture_stream", CONFIG_TEXT, AT(capture_stream), 0, 0, "idash:capture",
      false, NULL, "Stream that nginx writes its records to." },
    { "capture_group", CONFIG_TEXT, AT(capture_group), 0, 0, "integrationd",
      false, NULL, "Consumer group that all sidecars of one store share." },
    { "consumer", CONFIG_OPTIONAL, AT(consumer), 0, 0, NULL, false, NULL,
      "Name of this process in the group, unique and the same after a "
      "restart; made once and kept beside a SQLite file when not given." },
    { "drain_threads", CONFIG_INT, AT(drain_threads), 1, 16, "3", false, NULL,
      "Threads that move records to the store." },
    { "drain_batch", CONFIG_INT, AT(drain_batch), 1, 5000, "500", false, NULL,
      "Records that are stored at once, at most." },
    { "drain_batch_bytes", CONFIG_SIZE, AT(drain_batch_bytes), 64 * 1024,
      64 * 1024 * 1024, "4m", false, NULL,
      "Bytes that are read and stored at once, about." },
    { "drain_min_idle", CONFIG_TIME, AT(drain_min_idle_us), 100 * MS, DAY,
      "60s", false, NULL,
      "After how long records that another consumer left are taken over." },
    { "drain_reclaim", CONFIG_TIME, AT(drain_reclaim_us), 100 * MS, DAY, "15s",
      false, NULL, "How often such records are looked for." },
    { "drain_max_deliveries", CONFIG_INT, AT(drain_max_deliveries), 2, 1000,
      "5", false, NULL,
      "After so many deliveries without success a record becomes a dead "
      "letter; from two on it is handled alone." },

    { "listen", CONFIG_TEXT, AT(listen), 0, 0, "/run/integrationd/api.sock",
      false, NULL,
      "Where the API listens: the path of a unix socket, or 127.0.0.1:port; "
      "nginx stands in front." },
    { "listen_mode", CONFIG_TEXT, AT(listen_mode), 0, 0, "0660", false, NULL,
      "Mode of the unix socket." },
    { "api_threads", CONFIG_INT, AT(api_threads), 1, 64, "4", false, NULL,
      "Threads that query the store for the API." },
    { "api_connections", CONFIG_INT, AT(api_connections), 8, 65000, "512",
      false, NULL, "Connections that the API holds at once." },
    { "api_body_max", CONFIG_SIZE, AT(api_body_max), 1024, 64 * 1024 * 1024,
      "1m", false, NULL, "Longest request body that the API reads." },
    { "api_deadline", CONFIG_TIME, AT(api_deadline_us), 100 * MS, MINUTE, "5s",
      false, NULL, "How long one query may search before it answers in part; a "
      "page of logs 200 ms at most." },
    { "sse_clients", CONFIG_INT, AT(sse_clients), 1, 60000, "256", false, NULL,
      "Live streams that the API serves at once." },
    { "sse_ping", CONFIG_TIME, AT(sse_ping_us), 100 * MS, 10 * MINUTE, "15s",
      false, NULL, "How often a quiet live stream says that it lives." },
    { "sse_rate", CONFIG_INT, AT(sse_rate), 1, 10000, "100", false, NULL,
      "Events a second that one live stream is sent, at most." },
    { "changes_stream", CONFIG_TEXT, AT(changes_stream), 0, 0, "idash:changes",
      false, NULL, "Stream in Redis that tells of every change of a log." },
    { "changes_keep", CONFIG_INT, AT(changes_keep), 100, 10000000, "100000",
      false, NULL, "About how many changes are kept there." },

    { "events_stream", CONFIG_TEXT, AT(events_stream), 0, 0, "idash:events",
      false, NULL, "Stream that business applications add events to." },
    { "redact_headers", CONFIG_OPTIONAL, AT(redact_headers), 0, 0, NULL, false,
      NULL, "More names of headers whose values are secrets of an integration, "
      "beside Authorization, Proxy-Authorization, Cookie, Set-Cookie and "
      "X-Api-Key: sealed, and shown as ***." },
    { "redact_args", CONFIG_OPTIONAL, AT(redact_args), 0, 0, NULL, false,
      NULL, "The same of arguments in its URLs, beside access_token, token, "
      "api_key, apikey and password." },
    { "dispatch_in_flight", CONFIG_INT, AT(dispatch_in_flight), 1, 10000,
      "256", false, NULL, "Deliveries that are being sent at once, at most." },
    { "dispatch_lease", CONFIG_TIME, AT(dispatch_lease_us), 1 * SECOND,
      60 * MINUTE, "90s", false, NULL,
      "How long a dispatcher owns a delivery before another may take it over; "
      "while it is being sent, the lease is renewed." },
    { "dispatch_reconcile", CONFIG_TIME, AT(dispatch_reconcile_us),
      100 * MS, 60 * MINUTE, "60s", false, NULL,
      "How often the queue of due deliveries is compared with the store." },
    { "dispatch_poll", CONFIG_TIME, AT(dispatch_poll_us), 10 * MS,
      60 * MINUTE, "1s", false, NULL, "How often the queue is looked at when "
      "nothing is known to be due; what is added by any process is seen at "
      "once." },
    { "dispatch_probe", CONFIG_TIME, AT(dispatch_probe_us), 100 * MS,
      60 * MINUTE, "30s", false, NULL, "After how long an endpoint whose "
      "circuit opened is tried again, each time twice as long, up to ten "
      "times; and how often what is held is looked at." },
    { "dispatch_give_up", CONFIG_TIME, AT(dispatch_give_up_us), 1 * SECOND,
      365 * DAY, "120h", false, NULL,
      "An integration that only failed for so long is disabled." },
    { "outbound_allow", CONFIG_OPTIONAL, AT(outbound_allow), 0, 0, NULL, false,
      NULL,
      "Private address ranges that deliveries may reach all the same, such as "
      "10.1.0.0/16; separated by commas." },
    { "outbound_ports", CONFIG_OPTIONAL, AT(outbound_ports), 0, 0, NULL, false,
      NULL,
      "Ports that webhooks may use beside 443 and 8443, separated by commas." },
    { "jq_path", CONFIG_OPTIONAL, AT(jq_path), 0, 0, NULL, false, NULL,
      "Path of integrationd-jq; it lies beside integrationd when not given." },
    { "jq_timeout", CONFIG_TIME, AT(jq_timeout_us), 10 * MS, 10 * SECOND,
      "200ms", false, NULL, "How long one jq program may run." },
    { "idempotency_keep", CONFIG_TIME, AT(idempotency_keep_us), MINUTE,
      365 * DAY, "24h", false, NULL,
      "How long an idempotency key gives the first answer again." },
    { "replay_base_url", CONFIG_OPTIONAL, AT(replay_base_url), 0, 0, NULL,
      false, NULL,
      "Where inbound calls are made again: nginx, as http://127.0.0.1:8080; "
      "without it they are not." },
    { "replay_lease", CONFIG_TIME, AT(replay_lease_us), 3 * SECOND,
      60 * MINUTE, "45s", false, NULL,
      "After how long an inbound call that was being made again when its "
      "process died is said to be interrupted; two thirds of it, at most 30s, "
      "are the time of the call." },
    { "capture_status", CONFIG_OPTIONAL, AT(capture_status), 0, 0, NULL,
      false, NULL,
      "Where each nginx answers capture_status, by comma, as "
      "http://127.0.0.1:8080/capture_status; GET /system shows what they "
      "count." },

    { "fusion_developer", CONFIG_OPTIONAL, AT(fusion_developer), 0, 0, NULL,
      false, NULL, "Id of the developer whose calls Fusion's are (/queue/ and "
      "the others); its org owns them. Not given: they are not served." },
    { "fusion_map", CONFIG_OPTIONAL, AT(fusion_map), 0, 0, NULL, false, NULL,
      "jq over an item of /queue/ that gives {url, method, headers, payload, "
      "action_id, lab_id, log_id, refs}; not given: those names inside data." },
    { "fusion_allow_http", CONFIG_WORD, AT(fusion_plain), 0, 0, "no", false,
      "no|yes", "Whether URLs of Fusion's items may be http." },

    { "retention_ok", CONFIG_TIME, AT(retention_ok_us), MINUTE, 36500 * DAY,
      "30d", true, NULL,
      "How long a log that succeeded is kept, where its lab says nothing." },
    { "retention_fail", CONFIG_TIME, AT(retention_fail_us), MINUTE,
      36500 * DAY, "90d", true, NULL,
      "How long a log that failed is kept, where its lab says nothing." },
    { "retention_audit", CONFIG_TIME, AT(retention_audit_us), DAY,
      36500 * DAY, "2190d", true, NULL,
      "How long the audit log is kept." },
    { "retention_dead", CONFIG_TIME, AT(retention_dead_us), MINUTE,
      36500 * DAY, "30d", true, NULL, "How long dead letters are kept." },
    { "dead_letter_max_bytes", CONFIG_SIZE, AT(dead_letter_max_bytes),
      64 * 1024, INT64_C(1) << 40, "64m", true, NULL,
      "Bytes of all dead letters together; over it the oldest are deleted." },

    { "log_file", CONFIG_OPTIONAL, AT(log_file), 0, 0, NULL, true, NULL,
      "File of log lines, opened anew by SIGUSR1; standard error when not "
      "given." },
    { "log_level", CONFIG_WORD, AT(log_level), 0, 0, "notice", true,
      "error|warn|notice|info|debug", "Least important lines to log." },
    { "log_format", CONFIG_WORD, AT(log_format), 0, 0, "text", true,
      "text|json", "Form of log lines." },
};

_Static_assert(sizeof(config_keys) == CONFIG_KEYS * sizeof(config_keys[0]),
    "CONFIG_KEYS is the number of rows");

const struct config_unit  config_time_units[] = {
    { "us", 1 }, { "ms", MS }, { "s", SECOND }, { "m", MINUTE },
    { "h", 60 * MINUTE }, { "d", DAY }, { NULL, 0 }
};

const struct config_unit  config_size_units[] = {
    { "", 1 }, { "b", 1 }, { "k", 1024 }, { "m", 1024 * 1024 },
    { "g", INT64_C(1) << 30 }, { NULL, 0 }
};


char **
config_string(struct config *c, const struct config_key *k)
{
    return (char **) (void *) ((char *) c + k->offset);
}


int64_t *
config_number(struct config *c, const struct config_key *k)
{
    return (int64_t *) (void *) ((char *) c + k->offset);
}


bool
config_is_string(const struct config_key *k)
{
    return k->type == CONFIG_TEXT || k->type == CONFIG_OPTIONAL
           || k->type == CONFIG_WORD;
}


/* A time or size as a person writes it. */
void
config_show(const struct config_key *k, int64_t n, char *text, size_t len)
{
    const struct config_unit  *u, *best;

    if (k->type == CONFIG_INT) {
        (void) snprintf(text, len, "%lld", (long long) n);
        return;
    }

    u = k->type == CONFIG_TIME ? config_time_units : config_size_units;

    for (best = u; u->name != NULL; u++) {
        if (n != 0 && n % u->factor == 0) {
            best = u;
        }
    }

    (void) snprintf(text, len, "%lld%s", (long long) (n / best->factor),
        best->name);
}
