/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands. Each handler gets its own name as argv[0], logs its own failure, and returns the
 * exit status of the process. Threading: the main thread.
 */
#pragma once

#include "launcher/options.h"
#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>

struct cmd {
    const char *name;
    const char *summary; /* one line, without a full stop */
    int (*handler)(int argc, char **argv);
};

int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_help(int argc, char **argv);

/* All subcommands in the order they are shown. */
const struct cmd *cmd_table(size_t *ret_count);

/* Run the subcommand that argv[0] names, of the table alone; 2 and a message if there is none. */
int cmd_run_named(int argc, char **argv);

/* The whole program: choose the subcommand and run it. Returns the exit status. */
int cmd_main(int argc, char **argv);

/*
 * What every subcommand with options begins with: parse and check them, answer --help, set the log
 * level. False if that was all; *ret_status is then the exit status, and what went wrong has been
 * said. `opts` borrows from argv and the environment.
 */
bool cmd_begin(enum options_command command, int argc, char **argv, struct options *ret_opts,
               int *ret_status);

/* Release what cmd_begin() made for `opts`, if it returned true. */
void cmd_end(struct options *opts);

/* Say what went wrong, once; returns the exit status that goes with it. */
int cmd_fail(const struct mu_err *err);

/* Write all of `text` to standard output. MU_E_SYSTEM on failure. */
int cmd_print(const struct mu_buf *text, struct mu_err *err);
