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
#include "config_table.h"

#define CONFIG_MAX_FILE  (1024 * 1024)
#define CONFIG_ENV       "INTEGRATIOND_"

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

        } else if (n == 8 && strncmp(text, "dispatch", n) == 0) {
            *roles |= CONFIG_ROLE_DISPATCH;

        } else if (n == 3 && strncmp(text, "api", n) == 0) {
            *roles |= CONFIG_ROLE_API;

        } else {
            return false;
        }
    }

    return *roles != 0;
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
        ok = config_scaled(text, config_time_units, &n);
        break;

    case CONFIG_SIZE:
        ok = config_scaled(text, config_size_units, &n);
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
