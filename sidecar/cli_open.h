/* What every command begins with: options, configuration, store, secret. */

#ifndef CLI_OPEN_H
#define CLI_OPEN_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "secret.h"
#include "store.h"

#define CLI_OK       0
#define CLI_FAILED   1
#define CLI_USAGE    2

#define CLI_OPTIONS  16
#define CLI_ARGS     64

struct cli_option {
    const char  *name;                     /* without "--" */
    char         letter;                   /* -c; '\0': none */
    const char  *value;                    /* what it takes; NULL: nothing */
    const char  *sentence;
};

struct cli {
    const char               *path;        /* of the configuration, or NULL */
    const struct cli_option  *options;     /* ends with a NULL name */
    const char               *value[CLI_OPTIONS];  /* "" for a given flag */
    const char               *args[CLI_ARGS];
    int                       nargs;
    struct config            *config;
    struct secret            *secret;
    struct store             *store;
};

/* The value of an option, NULL when it was not given. */
const char *cli_value(const struct cli *c, const char *name);

/* "integrationd: .." on standard error; returns STATUS. */
int cli_complain(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Each tells what is wrong and returns a CLI_ status; cli_close undoes all. */
int cli_load_config(struct cli *c);
int cli_load_secret(struct cli *c);
int cli_open_store(struct cli *c, bool read_only);
void cli_close(struct cli *c);

/* A whole number of an option; MISSING when it was not given. */
int cli_number(const struct cli *c, const char *name, int64_t missing,
    int64_t min, int64_t max, int64_t *out);

/* The arguments NAME=VALUE as a filter over all tenants; borrows them. */
struct filter;
int cli_filter(struct cli *c, const char *command, struct filter *f);

/* The path of config.secret_file, or what it is beside a SQLite file. */
bool cli_secret_path(const struct config *c, char *path, size_t len);

/* --yes, or a person at the terminal who answers y. */
bool cli_is_meant(const struct cli *c, const char *question);

/* Writes the entry as of the person at the terminal; says so when it cannot. */
struct audit_entry;
int cli_audit(struct cli *c, struct audit_entry *e);

/* The commands, one file each. */
int cli_check(struct cli *c);
int cli_migrate(struct cli *c);
int cli_key(struct cli *c);
int cli_logs(struct cli *c);
int cli_retry(struct cli *c);
int cli_resend(struct cli *c);
int cli_replay(struct cli *c);
int cli_cancel(struct cli *c);
int cli_import(struct cli *c);
int cli_export(struct cli *c);

#endif /* CLI_OPEN_H */
