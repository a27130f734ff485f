/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run one short program to its end and take what it writes. Before the loop runs, for it waits; the
 * program dies with the thread that called. Threading: one thread.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"
#include "muster/outcome.h"

#include <stddef.h>
#include <stdint.h>

struct run_program_limits {
    int64_t timeout_ms; /* then it is killed */
    size_t out_max;     /* bytes of standard output: so many are an error */
    size_t err_max;     /* bytes of standard error that are kept: the first ones */
};

/* Zero-initialised is valid. */
struct run_program_result {
    struct mu_buf out;
    struct mu_buf err;
    struct outcome outcome;
};

/*
 * Execute `argv` (argv[0] is a path) with the environment `envp` and without standard input.
 * However it ended is a success. MU_E_SYSTEM: it could not be started, MU_E_TIMEOUT: it was killed
 * when its time was over, MU_E_LIMIT: it wrote too much. `result` has what it wrote until then, and
 * is released with run_program_fini() in any case.
 */
int run_program(char *const *argv, char *const *envp, const struct run_program_limits *limits,
                struct run_program_result *result, struct mu_err *err);

void run_program_fini(struct run_program_result *result);
