/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who descends from a process, as /proc tells it.
 *
 * Only system calls on the caller's memory, so all of it may run between fork and exec. The
 * kernel gives no snapshot: a process that forks while it is looked at can be missed, so whoever
 * must get everybody looks again until nobody is left.
 *
 * Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is used of /proc/<pid>/stat. */
struct proc_stat {
    uint64_t start_time; /* clock ticks since boot; with the pid it names one process for ever */
    pid_t pid;
    pid_t ppid;
    pid_t pgrp;
    pid_t session;
    uint32_t threads;
    char state;    /* R S D Z T t I X */
    char comm[16]; /* NUL-terminated, as the process chose it: any bytes */
};

enum proc_tree_method {
    PROC_TREE_AUTO,     /* the children files if the kernel has them */
    PROC_TREE_CHILDREN, /* /proc/<pid>/task/<tid>/children: looks at the tree alone */
    PROC_TREE_SCAN,     /* /proc/<pid>/stat of every process there is */
};

/* Parse the text of a stat file. Returns 0, or -1 if it is not one. */
int proc_tree_parse_stat(const char *text, size_t len, struct proc_stat *ret_stat);

/* Read one process's stat file. Returns 0, or -1 if there is no such process. */
int proc_tree_read_stat(pid_t pid, struct proc_stat *ret_stat);

/* False for a zombie that only waits to be reaped. */
bool proc_tree_is_alive(const struct proc_stat *st);

/* The children of `pid`, zombies included, `max` at most. Returns how many. */
size_t proc_tree_children(pid_t pid, enum proc_tree_method method, struct proc_stat *list,
                          size_t max);

/* All descendants of `root`, parents before their children, without `root`. Returns how many. */
size_t proc_tree_descendants(pid_t root, enum proc_tree_method method, struct proc_stat *list,
                             size_t max);
