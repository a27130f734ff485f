/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `--launch ssh`: the end that starts the agents, and `muster launched`, the end that ssh starts on
 * each host (launch_order.h). Threading: the main thread.
 */
#pragma once

#include "launcher/options.h"

#include <stdbool.h>

/* Is the subcommand to be run on other hosts, and not here? */
bool cmd_launch_is_wanted(const struct options *opts);

/* Run it there. Returns the exit status; what went wrong has been said. */
int cmd_launch(const struct options *opts, int argc, char **argv);

/* `muster launched`: take an order and carry it out. */
int cmd_launched(int argc, char **argv);

/* The descriptor for uv_leash.h; -1: nobody holds one. */
int cmd_launch_leash(void);
