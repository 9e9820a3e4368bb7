/* check: the configuration, and what it points at as far as that is cheap. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_open.h"
#include "integration.h"
#include "redact.h"


/* The directory of a file that will be made must be there. */
static int
check_directory(const char *key, const char *path)
{
    struct stat  st;
    char         dir[4096];
    const char  *slash = strrchr(path, '/');
    size_t       n = slash == NULL || slash == path
                     ? 1 : (size_t) (slash - path);

    if (n >= sizeof(dir)) {
        return cli_complain(CLI_USAGE, "%s: the path is too long", key);
    }

    memcpy(dir, path, n);
    dir[n] = '\0';

    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return cli_complain(CLI_USAGE, "%s: %s: there is no such directory; "
            "make it, owned by integrationd's user", key, dir);
    }

    return CLI_OK;
}


static int
check_secret(const struct config *c)
{
    struct stat  st;
    char         path[4096];

    if (!cli_secret_path(c, path, sizeof(path)) || stat(path, &st) != 0) {
        return c->secret_file == NULL ? CLI_OK
               : cli_complain(CLI_USAGE, "secret_file: %s: %s; make it: "
                     "head -c32 /dev/urandom >FILE; chmod 0400 FILE",
                     c->secret_file, strerror(errno));
    }

    if (!S_ISREG(st.st_mode) || st.st_size != 32) {
        return cli_complain(CLI_USAGE, "secret_file: %s: must hold exactly 32 "
            "bytes", path);
    }

    return CLI_OK;
}


int
cli_check(struct cli *c)
{
    const struct config  *conf;
    int                   status;

    if (cli_value(c, "keys") != NULL) {
        config_print_reference();
        return CLI_OK;
    }

    if (cli_value(c, "sample") != NULL) {
        config_print_sample();
        return CLI_OK;
    }

    if (cli_value(c, "man") != NULL) {
        config_print_man();
        return CLI_OK;
    }

    if (cli_value(c, "integrations") != NULL) {
        integration_print_openapi();
        return CLI_OK;
    }

    status = cli_load_config(c);
    if (status != CLI_OK) {
        return status;
    }

    conf = c->config;

    if (strncmp(conf->store, "sqlite:", 7) == 0) {
        status = check_directory("store", conf->store + 7);
    }

    if (status == CLI_OK && conf->listen[0] == '/'
        && (conf->roles & CONFIG_ROLE_API))
    {
        status = check_directory("listen", conf->listen);
    }

    status = status == CLI_OK ? check_secret(conf) : status;

    if (status == CLI_OK && !redact_fits(conf->redact_headers,
                                conf->redact_args))
    {
        status = cli_complain(CLI_USAGE, "redact_headers, redact_args: at "
            "most %d names of %d bytes each", CAPTURE_MAX_RULES,
            CAPTURE_MAX_RULE);
    }

    if (status == CLI_OK) {
        (void) printf("%s is good\n", c->path == NULL ? "the default "
            "configuration" : c->path);
    }

    return status;
}
