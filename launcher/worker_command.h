/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker executes: everything resolved before the fork, so that the child needs nothing
 * but system calls.
 */
#pragma once

struct worker_command {
    const char *program; /* path handed to execve, found on PATH already where that applies */
    char *const *argv;   /* NULL-terminated */
    char *const *envp;   /* NULL-terminated "NAME=value" */
    const char *script;  /* file the interpreter will read, tested before the exec; NULL for none */
};
