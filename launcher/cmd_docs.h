/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said about the subcommands beside their options: usage, examples, environment, exit
 * statuses. Help and the manual show the same. Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "muster/buf.h"

/* `muster --help`: all commands. */
void cmd_docs_help_all(struct mu_buf *text);

/* `muster COMMAND --help`. */
void cmd_docs_help(enum options_command command, struct mu_buf *text);

/* What `muster` alone says, in two lines. */
void cmd_docs_usage(struct mu_buf *text);

/*
 * A part of the manual of `command` as mdoc(7): "options", "environment", "exit" or "examples". -1,
 * and nothing appended, if there is no such part.
 */
int cmd_docs_man(enum options_command command, const char *part, struct mu_buf *text);

/* The command with options that is called `name`; 0 if none is. */
enum options_command cmd_docs_command_of(const char *name);
