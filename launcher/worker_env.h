/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of one node execute in one round: for each local rank the argument vector and
 * the complete environment, as torchrun 2.13 makes them. Pure: reads nothing but what is passed.
 * Threading: any.
 */
#pragma once

#include "launcher/net_iface.h"
#include "launcher/numa_binding.h"
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
    const char *timer_file;  /* where file timers are taken; NULL: the parent's, if it has one */
    char *const *parent_env;
    const char *program; /* absolute path of the interpreter, or of the program with --no-python */
    const struct numa_binding *binding; /* for as many workers; NULL: they are not bound */
    const struct net_choice *net;       /* the interface to use; NULL or without a name: not said */
};

struct worker_env;

/*
 * Can these options give each of opts->nproc_per_node workers what they promise? MU_E_USAGE if
 * --virtual-local-rank has fewer entries in CUDA_VISIBLE_DEVICES to deal out than there are
 * workers. To be asked before worker_env_new().
 */
int worker_env_check(const struct options *opts, char *const *parent_env, struct mu_err *err);

/* Commands for opts->nproc_per_node workers; released with worker_env_free(). */
struct worker_env *worker_env_new(const struct worker_env_spec *spec);

size_t worker_env_count(const struct worker_env *we);

/* The command of a local rank, borrowed from `we`. */
const struct worker_command *worker_env_command(const struct worker_env *we, size_t local_rank);

/*
 * The OMP_NUM_THREADS that was chosen for a worker because there are several and nobody said
 * otherwise: 1, as torchrun has it, or, bound to CPUs, its share of their cores. 0: none was.
 */
unsigned worker_env_threads(const struct worker_env *we, size_t local_rank);

void worker_env_free(struct worker_env *we); /* NULL is fine */

/*
 * Python's string.Template with local_rank as its only name: ${local_rank} and $local_rank become
 * the number, $$ becomes $, any other $ stays. Owned by the caller.
 */
char *worker_env_substitute(const char *text, size_t local_rank);
