/*
 * The commands of integrationd.  A command is an entry of the table in cli.c:
 * its options say how they are read and what --help and the man page print.
 */

#ifndef CLI_H
#define CLI_H

#include <stdbool.h>

#include "cli_open.h"

/* Runs the process of `integrationd run` with C; main.c has it. */
typedef int cli_run_pt(struct cli *c);

/* The exit status: 0 well, 1 at run time, 2 usage or configuration. */
int cli_main(int argc, char **argv, cli_run_pt *run);

#endif /* CLI_H */
