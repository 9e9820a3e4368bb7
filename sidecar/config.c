/*
 * Settings.  One table says everything about a key; libconfuse reads the
 * grammar, every value goes through the table's type.  libconfuse's traps met
 * here: the last of two equal keys wins (refused), a stray brace and an unset
 * ${VARIABLE} pass (an empty value is refused), a directory or a huge file ends
 * the process in the scanner (read and checked before), "=" needs quotes.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <confuse.h>

#include "buf.h"

#define CONFIG_MAX_FILE  (1024 * 1024)
#define CONFIG_ENV       "INTEGRATIOND_"

enum config_type {
    CONFIG_TEXT,                           /* char *, never empty */
    CONFIG_OPTIONAL,                       /* char *, NULL when not given */
    CONFIG_INT,
    CONFIG_SIZE,                           /* bytes: k m g */
    CONFIG_TIME,                           /* microseconds: us ms s m h d */
    CONFIG_ROLES,
    CONFIG_WORD                            /* char *, one of words */
};

struct config_key {
    const char        *name;
    enum config_type   type;
    size_t             offset;
    int64_t            min, max;           /* numbers, sizes, times (us) */
    const char        *text;               /* the default, NULL: not set */
    bool               reload;             /* taken over by SIGHUP */
    const char        *words;              /* "a|b|c" of CONFIG_WORD */
    const char        *sentence;
};

#define AT(member)  offsetof(struct config, member)
#define MS          INT64_C(1000)
#define SECOND      INT64_C(1000000)
#define MINUTE      (60 * SECOND)
#define DAY         (24 * 60 * MINUTE)

/* in the order in which a reader wants them: sample and reference follow it */
static const struct config_key  config_keys[] = {
    { "store", CONFIG_TEXT, AT(store), 0, 0,
      "sqlite:/var/lib/integrationd/dash.db", false, NULL,
      "Where logs are kept: sqlite:PATH, or mongodb://.. for MongoDB, "
      "DocumentDB and what speaks their protocol." },
    { "secret_file", CONFIG_OPTIONAL, AT(secret_file), 0, 0, NULL, false, NULL,
      "File of 32 random bytes, mode 0400, from which all keys are derived; "
      "made beside a new SQLite file when not given, required with Mongo." },
    { "roles", CONFIG_ROLES, AT(roles), 0, 0, "drain,api", false, NULL,
      "Which stages this process runs: drain, api, or both." },
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
    { "drain_threads", CONFIG_INT, AT(drain_threads), 1, 16, "2", false, NULL,
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
      false, NULL, "How long one query may search before it answers in part." },
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

#define CONFIG_KEYS  (sizeof(config_keys) / sizeof(config_keys[0]))

struct config_unit {
    const char  *name;
    int64_t      factor;
};

static const struct config_unit  time_units[] = {
    { "us", 1 }, { "ms", MS }, { "s", SECOND }, { "m", MINUTE },
    { "h", 60 * MINUTE }, { "d", DAY }, { NULL, 0 }
};

static const struct config_unit  size_units[] = {
    { "", 1 }, { "b", 1 }, { "k", 1024 }, { "m", 1024 * 1024 },
    { "g", INT64_C(1) << 30 }, { NULL, 0 }
};

/* what one reading needs; libconfuse's callbacks carry no argument */
struct config_parse {
    struct config  *config;
    const char     *path;
    int             line[CONFIG_KEYS];     /* where given, 0: not yet */
    char           *err;
    size_t          errlen;
    bool            failed;
};

static _Thread_local struct config_parse  *config_now;


static char **
config_string(struct config *c, const struct config_key *k)
{
    return (char **) (void *) ((char *) c + k->offset);
}


static int64_t *
config_number(struct config *c, const struct config_key *k)
{
    return (int64_t *) (void *) ((char *) c + k->offset);
}


/* "90s" with the units of U; what is wrong in WHY. */
static bool
config_scaled(const char *text, const struct config_unit *u, int64_t *out)
{
    size_t   digits = strspn(text, "0123456789");
    int64_t  n;

    if (digits == 0
        || slice_int((struct slice) { text, digits }, &n) != RESULT_OK)
    {
        return false;
    }

    for ( /* void */ ; u->name != NULL; u++) {
        if (strcasecmp(u->name, text + digits) == 0) {
            return !__builtin_mul_overflow(n, u->factor, out);
        }
    }

    return false;
}


static bool
config_word(const char *words, const char *text)
{
    size_t  n = strlen(text);

    for (const char *p = words; p != NULL; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, text, n) == 0 && (p[n] == '|' || p[n] == '\0')) {
            return n > 0;
        }
    }

    return false;
}


static bool
config_roles(const char *text, unsigned *roles)
{
    size_t  n;

    *roles = 0;

    for ( /* void */ ; *text != '\0'; text += n + (text[n] == ',')) {
        text += strspn(text, " ");
        n = strcspn(text, ", ");

        if (n == 5 && strncmp(text, "drain", n) == 0) {
            *roles |= CONFIG_ROLE_DRAIN;

        } else if (n == 3 && strncmp(text, "api", n) == 0) {
            *roles |= CONFIG_ROLE_API;

        } else {
            return false;
        }
    }

    return *roles != 0;
}


/* A time or size as a person writes it. */
static void
config_show(const struct config_key *k, int64_t n, char *text, size_t len)
{
    const struct config_unit  *u, *best;

    if (k->type == CONFIG_INT) {
        (void) snprintf(text, len, "%lld", (long long) n);
        return;
    }

    u = k->type == CONFIG_TIME ? time_units : size_units;

    for (best = u; u->name != NULL; u++) {
        if (n != 0 && n % u->factor == 0) {
            best = u;
        }
    }

    (void) snprintf(text, len, "%lld%s", (long long) (n / best->factor),
        best->name);
}


static enum result
config_set_number(struct config *c, const struct config_key *k,
    const char *text, char *why, size_t whylen)
{
    char     min[32], max[32];
    int64_t  n;
    bool     ok;

    switch (k->type) {

    case CONFIG_TIME:
        ok = config_scaled(text, time_units, &n);
        break;

    case CONFIG_SIZE:
        ok = config_scaled(text, size_units, &n);
        break;

    default:
        ok = slice_int(slice_of(text), &n) == RESULT_OK;
    }

    if (ok && n >= k->min && n <= k->max) {
        *config_number(c, k) = n;
        return RESULT_OK;
    }

    config_show(k, k->min, min, sizeof(min));
    config_show(k, k->max, max, sizeof(max));
    (void) snprintf(why, whylen, "\"%.60s\" is not %s from %s to %s; write for "
        "example %s = %s", text,
        k->type == CONFIG_TIME ? "a time"
        : k->type == CONFIG_SIZE ? "a size" : "a whole number",
        min, max, k->name, k->text);
    return RESULT_INVALID;
}


static enum result
config_set(struct config *c, const struct config_key *k, const char *text,
    char *why, size_t whylen)
{
    char  *copy;

    if (text[0] == '\0' || !slice_utf8(slice_of(text))) {
        (void) snprintf(why, whylen, "the value is %s; write %s = \"%s\"%s",
            text[0] == '\0' ? "empty" : "not UTF-8", k->name,
            k->text == NULL ? ".." : k->text,
            k->text == NULL ? " or leave the line out" : "");
        return RESULT_INVALID;
    }

    switch (k->type) {

    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_TIME:
        return config_set_number(c, k, text, why, whylen);

    case CONFIG_ROLES:
        if (config_roles(text, &c->roles)) {
            return RESULT_OK;
        }

        (void) snprintf(why, whylen, "\"%.60s\" names a role that there is "
            "not; write %s = \"%s\"", text, k->name, k->text);
        return RESULT_INVALID;

    case CONFIG_WORD:
        if (!config_word(k->words, text)) {
            (void) snprintf(why, whylen, "\"%.60s\" is not one of %s", text,
                k->words);
            return RESULT_INVALID;
        }

        break;

    case CONFIG_TEXT:
    case CONFIG_OPTIONAL:
        break;
    }

    copy = strdup(text);
    if (copy == NULL) {
        (void) snprintf(why, whylen, "out of memory");
        return RESULT_MEMORY;
    }

    free(*config_string(c, k));
    *config_string(c, k) = copy;
    return RESULT_OK;
}


/* The first complaint stays. */
static void
config_complain(struct config_parse *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
config_complain(struct config_parse *p, int line, const char *fmt, ...)
{
    va_list  ap;
    int      n;

    if (p->failed) {
        return;
    }

    p->failed = true;
    n = snprintf(p->err, p->errlen, "%.256s:%d: ", p->path, line);

    if (n > 0 && (size_t) n < p->errlen) {
        va_start(ap, fmt);
        (void) vsnprintf(p->err + n, p->errlen - (size_t) n, fmt, ap);
        va_end(ap);
    }
}


static const struct config_key *
config_find(const char *name)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (strcmp(config_keys[i].name, name) == 0) {
            return &config_keys[i];
        }
    }

    return NULL;
}


/* libconfuse calls it after each "key = value" of the file. */
static int
config_on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    struct config_parse      *p = config_now;
    const struct config_key  *k = config_find(cfg_opt_name(opt));
    char                      why[256];
    char                     *text = cfg_opt_getnstr(opt, 0);
    size_t                    i = (size_t) (k - config_keys);

    if (p->line[i] != 0) {
        config_complain(p, cfg->line, "%s: is given a second time, first in "
            "line %d; leave one of them", k->name, p->line[i]);
        return -1;
    }

    p->line[i] = cfg->line;

    if (config_set(p->config, k, text == NULL ? "" : text, why, sizeof(why))
        != RESULT_OK)
    {
        config_complain(p, cfg->line, "%s: %s", k->name, why);
        return -1;
    }

    return 0;
}


static void
config_on_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
config_on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    char  text[256];

    (void) vsnprintf(text, sizeof(text), fmt, ap);

    if (strncmp(text, "no such option", 14) == 0) {
        config_complain(config_now, cfg->line, "%.100s: the keys are listed by "
            "integrationd check --keys", text);

    } else {
        config_complain(config_now, cfg->line, "%.160s; a line is key = "
            "\"value\"", text);
    }
}


static enum result
config_parse_text(struct config_parse *p, const char *text)
{
    cfg_opt_t  opts[CONFIG_KEYS + 1];
    cfg_opt_t  end = CFG_END();
    cfg_t     *cfg;
    int        rc;

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        cfg_opt_t  one = CFG_STR(NULL, NULL, CFGF_NONE);

        opts[i] = one;
        opts[i].name = config_keys[i].name;
    }

    opts[CONFIG_KEYS] = end;

    cfg = cfg_init(opts, CFGF_NONE);
    if (cfg == NULL) {
        (void) snprintf(p->err, p->errlen, "%s: out of memory", p->path);
        return RESULT_MEMORY;
    }

    (void) cfg_set_error_function(cfg, config_on_error);

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        (void) cfg_set_validate_func(cfg, config_keys[i].name,
            config_on_value);
    }

    config_now = p;
    rc = cfg_parse_buf(cfg, text);
    config_now = NULL;

    if (rc != CFG_SUCCESS) {
        config_complain(p, cfg->line, "cannot be read");
    }

    (void) cfg_free(cfg);
    return p->failed ? RESULT_INVALID : RESULT_OK;
}


/* NUL-terminated, the caller frees it. */
static char *
config_slurp(const char *path, char *err, size_t errlen)
{
    struct stat  st;
    struct buf   b;
    char        *room, *text = NULL;
    ssize_t      n = -1;
    int          fd;

    buf_init(&b, CONFIG_MAX_FILE + 4096);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0) {
        (void) snprintf(err, errlen, "%.256s:0: %s; name another file with "
            "--config", path, strerror(errno));
        goto out;
    }

    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX_FILE) {
        (void) snprintf(err, errlen, "%.256s:0: is no regular file of at most "
            "1 MB", path);
        goto out;
    }

    do {
        room = buf_room(&b, 4096);
        n = room == NULL ? -1 : read(fd, room, 4096);
        b.n += n > 0 ? (size_t) n : 0;
    } while (n > 0);

    if (n < 0) {
        (void) snprintf(err, errlen, "%.256s:0: cannot be read", path);

    } else if (memchr(b.p, '\0', b.n) != NULL) {
        (void) snprintf(err, errlen, "%.256s:0: holds a zero byte; it must be "
            "text", path);

    } else {
        text = buf_take(&b, NULL);
    }

out:

    buf_cleanup(&b);

    if (fd >= 0) {
        (void) close(fd);
    }

    return text;
}


static enum result
config_environment(struct config *c, char *err, size_t errlen)
{
    char         name[64], why[256];
    const char  *value;
    size_t       n;

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        n = (size_t) snprintf(name, sizeof(name), CONFIG_ENV "%s",
            config_keys[i].name);

        for (size_t j = 0; j < n; j++) {
            name[j] = (char) (name[j] >= 'a' && name[j] <= 'z' ? name[j] - 32
                                                               : name[j]);
        }

        value = getenv(name);

        if (value != NULL
            && config_set(c, &config_keys[i], value, why, sizeof(why))
               != RESULT_OK)
        {
            (void) snprintf(err, errlen, "environment: %s: %s", name, why);
            return RESULT_INVALID;
        }
    }

    return RESULT_OK;
}


static enum result
config_defaults(struct config *c, char *err, size_t errlen)
{
    char  why[256];

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (config_keys[i].text != NULL
            && config_set(c, &config_keys[i], config_keys[i].text, why,
                   sizeof(why)) != RESULT_OK)
        {
            (void) snprintf(err, errlen, "default of %s: %s",
                config_keys[i].name, why);
            return RESULT_INTERNAL;
        }
    }

    return RESULT_OK;
}


/* Line of a key in the file, for complaints about keys that disagree. */
static int
config_line(const struct config_parse *p, const char *name)
{
    return p->line[config_find(name) - config_keys];
}


/* What one key alone cannot tell. */
static void
config_check_all(struct config_parse *p)
{
    const struct config  *c = p->config;
    bool                  mongo;

    mongo = strncmp(c->store, "mongodb://", 10) == 0
            || strncmp(c->store, "mongodb+srv://", 14) == 0;

    if (!mongo
        && (strncmp(c->store, "sqlite:", 7) != 0 || c->store[7] != '/'))
    {
        config_complain(p, config_line(p, "store"), "store: \"%.60s\" is no "
            "store; write sqlite:/absolute/path or mongodb://host/database",
            c->store);
    }

    if (mongo && c->secret_file == NULL) {
        config_complain(p, config_line(p, "store"), "secret_file: is required "
            "with a Mongo store; write secret_file = \"/etc/integrationd/"
            "secret\"");
    }

    if (c->redis[0] != '/' && strrchr(c->redis, ':') == NULL) {
        config_complain(p, config_line(p, "redis"), "redis: \"%.60s\" has no "
            "port; write host:6379 or /path/to/redis.sock", c->redis);
    }

    if (strspn(c->listen_mode, "01234567") != strlen(c->listen_mode)
        || strlen(c->listen_mode) > 4)
    {
        config_complain(p, config_line(p, "listen_mode"), "listen_mode: "
            "\"%.60s\" is no mode; write 0660", c->listen_mode);
    }

    if (c->listen[0] != '/' && strncmp(c->listen, "127.", 4) != 0
        && strncmp(c->listen, "[::1]:", 6) != 0)
    {
        config_complain(p, config_line(p, "listen"), "listen: \"%.60s\" is "
            "neither a socket's path nor a loopback address; write "
            "/run/integrationd/api.sock or 127.0.0.1:8089, and let nginx "
            "stand in front", c->listen);
    }
}


enum result
config_load(const char *path, struct config **out, char *err, size_t errlen)
{
    struct config_parse   p = { .path = path == NULL ? "defaults" : path,
                                .err = err, .errlen = errlen };
    struct config        *c;
    char                 *text = NULL;
    enum result           r;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        return RESULT_MEMORY;
    }

    p.config = c;
    r = config_defaults(c, err, errlen);

    if (r == RESULT_OK && path != NULL) {
        text = config_slurp(path, err, errlen);
        r = text == NULL ? RESULT_INVALID : config_parse_text(&p, text);
    }

    r = r == RESULT_OK ? config_environment(c, err, errlen) : r;

    if (r == RESULT_OK) {
        config_check_all(&p);
        r = p.failed ? RESULT_INVALID : RESULT_OK;
    }

    free(text);

    if (r != RESULT_OK) {
        config_destroy(c);
        return r;
    }

    *out = c;
    return RESULT_OK;
}


static bool
config_is_string(const struct config_key *k)
{
    return k->type == CONFIG_TEXT || k->type == CONFIG_OPTIONAL
           || k->type == CONFIG_WORD;
}


void
config_destroy(struct config *c)
{
    if (c == NULL) {
        return;
    }

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (config_is_string(&config_keys[i])) {
            free(*config_string(c, &config_keys[i]));
        }
    }

    free(c);
}


static bool
config_same(const struct config_key *k, struct config *a, struct config *b)
{
    const char  *x, *y;

    if (k->type == CONFIG_ROLES) {
        return a->roles == b->roles;
    }

    if (!config_is_string(k)) {
        return *config_number(a, k) == *config_number(b, k);
    }

    x = *config_string(a, k);
    y = *config_string(b, k);
    return x == y || (x != NULL && y != NULL && strcmp(x, y) == 0);
}


bool
config_needs_restart(struct config *before, struct config *after,
    const char **name)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (!config_keys[i].reload
            && !config_same(&config_keys[i], before, after))
        {
            *name = config_keys[i].name;
            return true;
        }
    }

    return false;
}


/* One sentence in lines of at most 76 columns behind "# ". */
static void
config_print_wrapped(const char *text)
{
    int  column = 0, n;

    for ( /* void */ ; *text != '\0'; text += n, text += strspn(text, " ")) {
        n = (int) strcspn(text, " ");

        if (column == 0 || column + 1 + n > 78) {
            (void) printf("%s# %.*s", column == 0 ? "" : "\n", n, text);
            column = n + 2;

        } else {
            (void) printf(" %.*s", n, text);
            column += n + 1;
        }
    }

    (void) printf("\n");
}


void
config_print_sample(void)
{
    const struct config_key  *k;

    (void) printf("# integrationd.conf: every key with its default.  A key is "
        "overridden by\n# the environment variable " CONFIG_ENV "<KEY>.\n");

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        k = &config_keys[i];
        (void) printf("\n");
        config_print_wrapped(k->sentence);

        if (k->text == NULL) {
            (void) printf("# %s = \"\"\n", k->name);

        } else {
            (void) printf("%s = \"%s\"\n", k->name, k->text);
        }
    }
}


static const char *const  config_type_words[] = {
    [CONFIG_TEXT] = "text", [CONFIG_OPTIONAL] = "text",
    [CONFIG_INT] = "number", [CONFIG_SIZE] = "size", [CONFIG_TIME] = "time",
    [CONFIG_ROLES] = "list", [CONFIG_WORD] = "word"
};


void
config_print_reference(void)
{
    const struct config_key  *k;
    char                      min[32], max[32];

    (void) printf("| key | type | default | reload | meaning |\n"
        "|---|---|---|---|---|\n");

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        k = &config_keys[i];
        (void) printf("| `%s` | %s", k->name, config_type_words[k->type]);

        if (k->max != 0) {
            config_show(k, k->min, min, sizeof(min));
            config_show(k, k->max, max, sizeof(max));
            (void) printf(" %s..%s", min, max);

        } else if (k->words != NULL) {
            (void) printf(": ");
            for (const char *p = k->words; *p != '\0'; p++) {
                (void) (*p == '|' ? printf(", ") : putchar(*p));
            }
        }

        (void) printf(" | %s%s%s | %s | %s |\n", k->text == NULL ? "" : "`",
            k->text == NULL ? "-" : k->text, k->text == NULL ? "" : "`",
            k->reload ? "yes" : "no", k->sentence);
    }
}
