/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of one node execute in one round: for each local rank the argument vector and
 * the complete environment, as torchrun 2.13 makes them. Pure: reads nothing but what is passed.
 * Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "launcher/worker_command.h"
#include "muster/assignment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All borrowed, and to outlive the worker_env: strings are not copied where they can be shared. */
struct worker_env_spec {
    const struct options *opts; /* of OPTIONS_RUN, checked */
    const struct assignment *assignment;
    const char *master_addr;
    uint16_t master_port;
    const char *attempt_dir; /* see run_dir_add_attempt(); NULL: workers get no error file */
    char *const *parent_env;
    const char *program; /* absolute path of the interpreter, or of the program with --no-python */
};

struct worker_env;

/* Commands for opts->nproc_per_node workers; released with worker_env_free(). */
struct worker_env *worker_env_new(const struct worker_env_spec *spec);

size_t worker_env_count(const struct worker_env *we);

/* The command of a local rank, borrowed from `we`. */
const struct worker_command *worker_env_command(const struct worker_env *we, size_t local_rank);

/* Does it hold workers to one OpenMP thread, because there are several and nobody said otherwise?
 */
bool worker_env_limits_threads(const struct worker_env *we);

void worker_env_free(struct worker_env *we); /* NULL is fine */

/*
 * Python's string.Template with local_rank as its only name: ${local_rank} and $local_rank become
 * the number, $$ becomes $, any other $ stays. Owned by the caller.
 */
char *worker_env_substitute(const char *text, size_t local_rank);
