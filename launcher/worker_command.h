/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker executes: everything resolved before the fork, so that the child needs nothing
 * but system calls.
 */
#pragma once

#include "launcher/cpu_mask.h"
#include "launcher/limit_list.h"

struct worker_command {
    const char *program; /* path handed to execve, found on PATH already where that applies */
    char *const *argv;   /* NULL-terminated */
    char *const *envp;   /* NULL-terminated "NAME=value" */
    const char *script;  /* file the interpreter will read, tested before the exec; NULL for none */
    const struct cpu_mask *cpus; /* the CPUs it may run on; NULL: those of this process */
    int mem_node;                /* with `cpus`: the NUMA node its memory is preferred on; or -1 */
    const struct limit_list *limits; /* resource limits; NULL: those of this process */
};
