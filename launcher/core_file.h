/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the kernel put the core of a process: core(5). Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct core_file_of {
    pid_t pid;
    int signo;
    const char *cwd; /* of the process */
};

/*
 * In words: "core dumped to /data/core.123", "core handed to /usr/lib/systemd/systemd-coredump";
 * owned by the caller. NULL if it cannot be told, or the file is not there. Blocks on /proc.
 */
char *core_file_describe(const struct core_file_of *of);

/*
 * The path that a pattern of core_pattern stands for, owned by the caller; NULL if it depends on
 * what nobody knows any more (the time, the name of the thread).
 */
char *core_file_expand(const char *pattern, bool uses_pid, const struct core_file_of *of);
