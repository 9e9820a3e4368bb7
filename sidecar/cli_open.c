/* Options' values, configuration, secret and store of a command. */

#include "cli_open.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"

#define CLI_CONFIG  "/etc/integrationd/integrationd.conf"


const char *
cli_value(const struct cli *c, const char *name)
{
    for (int i = 0; c->options[i].name != NULL; i++) {
        if (strcmp(c->options[i].name, name) == 0) {
            return c->value[i];
        }
    }

    return NULL;
}


int
cli_complain(int status, const char *fmt, ...)
{
    va_list  ap;

    (void) fflush(stdout);
    (void) fprintf(stderr, "integrationd: ");
    va_start(ap, fmt);
    (void) vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void) fprintf(stderr, "\n");
    return status;
}


int
cli_number(const struct cli *c, const char *name, int64_t missing,
    int64_t min, int64_t max, int64_t *out)
{
    const char  *text = cli_value(c, name);

    if (text == NULL) {
        *out = missing;
        return CLI_OK;
    }

    if (slice_int(slice_of(text), out) != RESULT_OK || *out < min
        || *out > max)
    {
        return cli_complain(CLI_USAGE, "--%s: \"%s\" is not a whole number "
            "from %lld to %lld", name, text, (long long) min,
            (long long) max);
    }

    return CLI_OK;
}


int
cli_load_config(struct cli *c)
{
    char         err[1024];

    c->path = cli_value(c, "config");

    if (c->path == NULL && access(CLI_CONFIG, F_OK) == 0) {
        c->path = CLI_CONFIG;
    }

    if (config_load(c->path, &c->config, err, sizeof(err)) != RESULT_OK) {
        return cli_complain(CLI_USAGE, "%s", err);
    }

    return CLI_OK;
}


bool
cli_secret_path(const struct config *c, char *path, size_t len)
{
    int  n;

    n = c->secret_file != NULL
        ? snprintf(path, len, "%s", c->secret_file)
        : snprintf(path, len, "%s.secret", c->store + sizeof("sqlite:") - 1);

    return n > 0 && (size_t) n < len;
}


int
cli_load_secret(struct cli *c)
{
    char  path[4096], err[1024];
    bool  beside = c->config->secret_file == NULL;

    if (!cli_secret_path(c->config, path, sizeof(path))) {
        return cli_complain(CLI_USAGE, "secret_file: the path is too long");
    }

    /* one that is named and missing is a mistake, not a wish for a new one */
    if (secret_load(path, beside, &c->secret, err, sizeof(err)) != RESULT_OK) {
        return cli_complain(CLI_FAILED, "secret_file: %s", err);
    }

    return CLI_OK;
}


int
cli_open_store(struct cli *c, bool read_only)
{
    struct store_options  o;
    char                  err[1024] = "";

    memset(&o, 0, sizeof(o));
    o.uri = c->config->store;
    o.readers = 1;
    o.read_only = read_only;

    if (store_open(&o, &c->store, err, sizeof(err)) != RESULT_OK) {
        return cli_complain(CLI_FAILED, "%s", err);
    }

    return CLI_OK;
}


bool
cli_is_meant(const struct cli *c, const char *question)
{
    char  answer[16];

    if (cli_value(c, "yes") != NULL) {
        return true;
    }

    if (!isatty(STDIN_FILENO)) {
        return false;
    }

    (void) printf("%s [y/N] ", question);
    (void) fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL
           && (answer[0] == 'y' || answer[0] == 'Y');
}


int
cli_audit(struct cli *c, struct audit_entry *e)
{
    struct auth_caller  who;
    const char         *user = getenv("USER");
    enum result         r;

    memset(&who, 0, sizeof(who));
    (void) snprintf(who.key_id, sizeof(who.key_id), "cli");
    (void) snprintf(who.name, sizeof(who.name), "%s (uid %lu)",
        user == NULL ? "" : user, (unsigned long) getuid());
    who.role = AUTH_ADMIN;
    who.nlabs = -1;

    e->caller = &who;
    e->ip = "local";
    e->request_id = "";
    r = audit_write(c->store, e, c->config->retention_audit_us);
    e->caller = NULL;

    return r == RESULT_OK ? CLI_OK
           : cli_complain(CLI_FAILED, "%s: the audit log cannot be written: "
                 "%s", e->action, result_text(r));
}


void
cli_close(struct cli *c)
{
    if (c->store != NULL) {
        store_close(c->store);
    }

    secret_destroy(c->secret);
    config_destroy(c->config);
    c->store = NULL;
    c->secret = NULL;
    c->config = NULL;
}
