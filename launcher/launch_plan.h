/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster run --launch ssh`: what is executed here for each host, and what it is told. Pure.
 * Threading: any.
 */
#pragma once

#include "launcher/hostfile.h"
#include "launcher/options.h"
#include "muster/buf.h"
#include "muster/err.h"

#include <stddef.h>

struct launch_spec {
    const struct options *opts; /* checked; with the scheduler read from --hostfile */
    int argc;                   /* of the subcommand, argv[0] is its name */
    char *const *argv;
    char *const *envp;
    const char *program;   /* the path of muster, on every host */
    const char *directory; /* in which to run, on every host */
};

struct launch_plan;

/*
 * Borrows all of `spec`. MU_E_USAGE for options that contradict --launch, a host file that cannot
 * be read or has not --nnodes hosts, an --ssh-command that is none, an --export of what is not set.
 */
struct launch_plan *launch_plan_new(const struct launch_spec *spec, struct mu_err *err);
void launch_plan_free(struct launch_plan *plan); /* NULL-safe */

size_t launch_plan_count(const struct launch_plan *plan);                  /* of the hosts */
const char *launch_plan_name(const struct launch_plan *plan, size_t host); /* as in the file */
const char *launch_plan_program(const struct launch_plan *plan);           /* of --ssh-command */

/* What to execute for a host: an array of texts that belong to the plan; it itself is owned. */
char **launch_plan_command(const struct launch_plan *plan, size_t host);

/* The frame (launch_order.h) for a host. */
int launch_plan_order(const struct launch_plan *plan, size_t host, struct mu_buf *out,
                      struct mu_err *err);
