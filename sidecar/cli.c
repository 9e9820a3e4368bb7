/* The table of commands, the reader of their options, and help. */

#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "catalog_seed.h"

#ifndef INTEGRATIOND_VERSION
#define INTEGRATIOND_VERSION  "0.1.0"
#endif

#define OPTION_CONFIG                                                         \
    { "config", 'c', "FILE", "Configuration; /etc/integrationd/"              \
      "integrationd.conf when it exists, else defaults." }
#define OPTION_HELP  { "help", 'h', NULL, "Prints this." }
#define OPTIONS_END  { NULL, 0, NULL, NULL }

struct cli_command {
    const char         *name;
    const char         *args;              /* behind the options */
    int               (*run)(struct cli *c);       /* NULL: run, version */
    const char         *sentence;
    struct cli_option   options[CLI_OPTIONS];
};

static const struct cli_command  commands[] = {
    { "run", "", NULL,
      "Runs the stages that the configuration's roles name, in the foreground.",
      { OPTION_CONFIG,
        { "roles", 'r', "LIST", "Instead of the configuration's: drain, api." },
        OPTION_HELP, OPTIONS_END } },
    { "check", "", cli_check,
      "Reads the configuration and says what is wrong, with file and line.",
      { OPTION_CONFIG,
        { "keys", 'k', NULL, "Prints the reference of all keys instead." },
        { "sample", 's', NULL, "Prints a file of all defaults instead." },
        { "man", 0, NULL, "Prints the keys as the man page has them." },
        { "integrations", 0, NULL, "Prints an integration's fields as "
          "the API describes them." },
        OPTION_HELP, OPTIONS_END } },
    { "migrate", "", cli_migrate,
      "Brings the store to this version's form, and seeds a new one.",
      { OPTION_CONFIG, OPTION_HELP, OPTIONS_END } },
    { "key", "create|list|revoke [ID]", cli_key,
      "Makes, lists and revokes keys of the API, on the store itself.  A new "
      "key is printed once.",
      { OPTION_CONFIG,
        { "role", 0, "ROLE", "viewer, operator, admin or auditor." },
        { "org", 0, "ID", "Org of the key; 0 sees everything." },
        { "labs", 0, "LIST", "Its labs, 1,2,3; all of the org when left out." },
        { "name", 0, "TEXT", "What the key is for." },
        { "expires", 0, "DAYS", "Days until it ends; never when left out." },
        { "unmask", 0, NULL, "The key may see masked bodies." },
        { "json", 0, NULL, "Prints JSON." },
        OPTION_HELP, OPTIONS_END } },
    { "logs", "[NAME=VALUE ..]", cli_logs,
      "Prints logs, newest last.  Filters are those of GET /api/v1/logs: "
      "status=FAIL kind=api http=5xx from=2026-01-02T00:00:00Z q=text.",
      { OPTION_CONFIG,
        { "limit", 'n', "N", "At most so many; 50 when left out." },
        { "follow", 'f', NULL, "Goes on with what comes; needs Redis." },
        { "json", 'j', NULL, "Prints one JSON object a line." },
        OPTION_HELP, OPTIONS_END } },
    { "retry", "[NAME=VALUE ..]", cli_retry,
      "Sends failed deliveries again: counts what the filters select, as logs "
      "does, asks, and follows the job that a sidecar with the dispatch role "
      "runs.",
      { OPTION_CONFIG,
        { "dry-run", 0, NULL, "Counts and sends nothing." },
        { "yes", 'y', NULL, "Sends without asking." },
        { "reason", 0, "TEXT", "Why, for the audit log." },
        { "rate", 0, "N", "Deliveries a second; 10 when left out." },
        { "stop-after", 0, "N", "Failures in a row that stop it; 20 when left "
          "out, 0 never." },
        { "no-wait", 0, NULL, "Does not wait for its end." },
        OPTION_HELP, OPTIONS_END } },
    { "resend", "ID", cli_resend,
      "Sends one delivery that has ended again, as a new log: says what goes "
      "to whom, asks, and follows it to its end.",
      { OPTION_CONFIG,
        { "body", 0, "FILE", "Sends this instead; - is standard input." },
        { "reason", 0, "TEXT", "Why, for the audit log; needed with --body." },
        { "dry-run", 0, NULL, "Says what would be done and does nothing." },
        { "yes", 'y', NULL, "Does it without asking." },
        { "no-wait", 0, NULL, "Does not wait for its end." },
        OPTION_HELP, OPTIONS_END } },
    { "replay", "ID", cli_replay,
      "Makes one inbound call again, through nginx at replay_base_url: says "
      "what goes, asks, and waits for the answer.",
      { OPTION_CONFIG,
        { "method", 0, "NAME", "Instead of the method that was recorded." },
        { "body", 0, "FILE", "Sends this instead; - is standard input." },
        { "reason", 0, "TEXT", "Why, for the audit log." },
        { "dry-run", 0, NULL, "Says what would be done and does nothing." },
        { "yes", 'y', NULL, "Does it without asking." },
        { "no-wait", 0, NULL, "Does not wait for the answer." },
        OPTION_HELP, OPTIONS_END } },
    { "cancel", "ID", cli_cancel,
      "Cancels one delivery that waits: says which, asks, and ends it.",
      { OPTION_CONFIG,
        { "reason", 0, "TEXT", "Why, for the audit log." },
        { "dry-run", 0, NULL, "Says what would be done and does nothing." },
        { "yes", 'y', NULL, "Does it without asking." },
        OPTION_HELP, OPTIONS_END } },
    { "import", "[FILE]", cli_import,
      "Writes the catalogue from JSON, as export prints it: orgs, labs, action "
      "categories, actions, developers and integrations, over those of the "
      "same id.  Secrets that the file does not give stay as they are; one "
      "fault, and nothing is written.",
      { OPTION_CONFIG,
        { "dry-run", 0, NULL, "Checks all, says what would change and writes "
          "nothing." },
        OPTION_HELP, OPTIONS_END } },
    { "export", "", cli_export,
      "Prints the catalogue as JSON, without any secret.",
      { OPTION_CONFIG, OPTION_HELP, OPTIONS_END } },
    { "version", "", NULL, "Prints the version.",
      { OPTION_HELP, OPTIONS_END } },
};

#define COMMANDS  (sizeof(commands) / sizeof(commands[0]))


int
cli_migrate(struct cli *c)
{
    char      err[1024] = "";
    unsigned  added = 0;
    int       status;

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_load_secret(c) : status;
    status = status == CLI_OK ? cli_open_store(c, false) : status;

    if (status != CLI_OK) {
        return status;
    }

    if (store_migrate(c->store, err, sizeof(err)) != RESULT_OK) {
        return cli_complain(CLI_FAILED, "migrate: %s", err);
    }

    if (catalog_seed(c->store, &added) != RESULT_OK) {
        return cli_complain(CLI_FAILED, "migrate: the catalogue cannot be "
            "written");
    }

    (void) printf("%s store is up to date; %u categories and actions added\n",
        store_name(c->store), added);
    return CLI_OK;
}


static void
cli_help_all(FILE *to)
{
    (void) fprintf(to, "usage: integrationd COMMAND [OPTION ..]\n\n");

    for (size_t i = 0; i < COMMANDS; i++) {
        (void) fprintf(to, "  %-8s %.*s\n", commands[i].name,
            (int) strcspn(commands[i].sentence, ".:"), commands[i].sentence);
    }

    (void) fprintf(to, "\nintegrationd COMMAND --help tells more.\n");
}


static void
cli_help(const struct cli_command *cmd)
{
    const struct cli_option  *o;
    char                      left[64];

    (void) printf("usage: integrationd %s [OPTION ..] %s\n\n%s\n\n", cmd->name,
        cmd->args, cmd->sentence);

    for (o = cmd->options; o->name != NULL; o++) {
        (void) snprintf(left, sizeof(left), "%c%c%s --%s%s%s",
            o->letter == 0 ? ' ' : '-', o->letter == 0 ? ' ' : o->letter,
            o->letter == 0 ? " " : ",", o->name, o->value == NULL ? "" : " ",
            o->value == NULL ? "" : o->value);
        (void) printf("  %-20s %s\n", left, o->sentence);
    }
}


/* The option that TEXT names ("--x", "--x=..", "-x"), or -1. */
static int
cli_find_option(const struct cli_command *cmd, const char *text)
{
    const struct cli_option  *o = cmd->options;
    size_t                    n;

    for (int i = 0; o[i].name != NULL; i++) {
        n = strlen(o[i].name);

        if (text[1] == '-' ? strncmp(text + 2, o[i].name, n) == 0
                             && (text[2 + n] == '\0' || text[2 + n] == '=')
                           : text[1] == o[i].letter && text[2] == '\0')
        {
            return i;
        }
    }

    return -1;
}


static int
cli_take_option(struct cli *c, const struct cli_command *cmd, int argc,
    char **argv, int *at)
{
    const char  *text = argv[*at], *equal;
    int          i = cli_find_option(cmd, text);

    if (i < 0) {
        return cli_complain(CLI_USAGE, "%s: there is no option %s; see "
            "integrationd %s --help", cmd->name, text, cmd->name);
    }

    equal = text[1] == '-' ? strchr(text, '=') : NULL;

    if (cmd->options[i].value == NULL) {
        c->value[i] = "";
        return equal == NULL ? CLI_OK
               : cli_complain(CLI_USAGE, "%s: %s takes no value", cmd->name,
                     text);
    }

    if (equal == NULL && *at + 1 >= argc) {
        return cli_complain(CLI_USAGE, "%s: %s needs a value: %s", cmd->name,
            text, cmd->options[i].value);
    }

    c->value[i] = equal != NULL ? equal + 1 : argv[++*at];
    return CLI_OK;
}


static int
cli_take_all(struct cli *c, const struct cli_command *cmd, int argc,
    char **argv)
{
    int   status = CLI_OK;
    bool  only_args = false;

    for (int i = 2; i < argc && status == CLI_OK; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;

        } else if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0') {
            status = cli_take_option(c, cmd, argc, argv, &i);

        } else if (cmd->args[0] == '\0' || c->nargs == CLI_ARGS) {
            status = cli_complain(CLI_USAGE, "%s: what is \"%s\"?", cmd->name,
                argv[i]);

        } else {
            c->args[c->nargs++] = argv[i];
        }
    }

    return status;
}


int
cli_main(int argc, char **argv, cli_run_pt *run)
{
    const struct cli_command  *cmd = NULL;
    struct cli                 c;
    int                        status;

    for (size_t i = 0; argc > 1 && i < COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0) {
            cmd = &commands[i];
        }
    }

    if (cmd == NULL) {
        status = argc > 1 && (strcmp(argv[1], "--help") == 0
                              || strcmp(argv[1], "-h") == 0) ? CLI_OK
                                                             : CLI_USAGE;
        cli_help_all(status == CLI_OK ? stdout : stderr);
        return status;
    }

    memset(&c, 0, sizeof(c));
    c.options = cmd->options;
    status = cli_take_all(&c, cmd, argc, argv);

    if (status != CLI_OK) {
        return status;
    }

    if (cli_value(&c, "help") != NULL) {
        cli_help(cmd);
        return CLI_OK;
    }

    if (strcmp(cmd->name, "version") == 0) {
        (void) printf("integrationd %s\n", INTEGRATIOND_VERSION);
        return CLI_OK;
    }

    status = cmd->run == NULL ? run(&c) : cmd->run(&c);
    cli_close(&c);

    if (fflush(stdout) != 0 && status == CLI_OK) {
        status = cli_complain(CLI_FAILED, "standard output cannot be written");
    }

    return status;
}
