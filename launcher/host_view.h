/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This machine as it is read from /proc, /sys and /dev, or a tree of files that stands for one.
 * Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/cpu_mask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* All borrowed. */
struct host_view {
    const char *root;               /* put in front of every path: "" for this machine */
    const char *nvml_library;       /* for dlopen(); NULL: none */
    char *const *envp;              /* what says which devices are ours */
    const struct cpu_mask *allowed; /* CPUs this process may use; NULL: the kernel is asked */
};

/* This machine, with the environment `envp`. */
struct host_view host_view_of(char *const *envp);

/*
 * Read a file's beginning, up to `size` - 1 bytes, without the white space at its end. Paths begin
 * with '/'. -1 if it cannot be read.
 */
int host_view_text(const struct host_view *host, char *text, size_t size, const char *path, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * The same without a change to what is read, which may have NULs in it: /proc/PID/cmdline. Returns
 * its length, or -1.
 */
ssize_t host_view_bytes(const struct host_view *host, char *text, size_t size, const char *path,
                        ...) __attribute__((format(printf, 4, 5)));

/* A file that holds one decimal number; `fallback` if it does not. */
int64_t host_view_int(const struct host_view *host, int64_t fallback, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* A file that holds a list of CPUs (or of nodes: "0-1"). -1 if it does not. */
int host_view_mask(const struct host_view *host, struct cpu_mask *ret_mask, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* 0 if the file may be read and written, permissions and device cgroup asked; else the errno. */
int host_view_access(const struct host_view *host, const char *path, ...)
    __attribute__((format(printf, 2, 3)));

/* The name at the end of a symbolic link. -1 if there is none. */
int host_view_link(const struct host_view *host, char *name, size_t size, const char *path, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Names in a directory that begin with `prefix` ("" for all), card2 before card10, without hidden
 * ones. NULL-terminated, to be released with host_view_free_names(); empty if there is none.
 */
char **host_view_names(const struct host_view *host, const char *path, const char *prefix);
void host_view_free_names(char **names);

/* The CPUs this process may use. */
void host_view_allowed(const struct host_view *host, struct cpu_mask *ret_mask);
