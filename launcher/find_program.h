/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a program is, the way execvp() would look for it. Blocks on the file system; not for the
 * loop. Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "muster/err.h"

/*
 * The path of `name`, owned by the caller: itself if it has a slash, else the first executable file
 * of that name on PATH of `envp`. A relative one stays so: it is what an interpreted program sees
 * of itself. Fails with MU_E_USAGE and err->sys ENOENT (no such program) or EACCES (it is there but
 * cannot be executed).
 */
char *find_program(const char *name, char *const *envp, struct mu_err *err);

/*
 * The absolute path of the Python interpreter, as find_program(): `wanted` if it is not NULL, else
 * $PYTHON_EXEC, else python3, else python. Links are not resolved (a virtual environment's python
 * is one).
 */
char *find_interpreter(const char *wanted, char *const *envp, struct mu_err *err);

/* What the workers of a job execute: the program with --no-python, else the interpreter. */
char *find_program_of(const struct options *opts, char *const *envp, struct mu_err *err);
