/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the programs of the benchmark tell what happened when: one line each, appended in one write
 * to the file that the environment variable BENCH_OUT names.
 *
 *     EVENT NANOSECONDS PID NODE VALUE
 *
 * NODE is the environment variable BENCH_NODE: which of the launchers the process belongs to.
 */
#pragma once

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* CLOCK_MONOTONIC in nanoseconds: one clock for all processes of the machine. */
static inline int64_t record_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* An environment variable, or `fallback`; borrowed. */
static inline const char *record_env(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value != NULL ? value : fallback;
}

/* Append a line; nobody is there to hear of a failure, so the process ends with status 99. */
static inline void record(const char *event, int64_t ns, pid_t pid, const char *value)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "%s %" PRId64 " %d %s %s\n", event, ns, (int)pid,
                       record_env("BENCH_NODE", "0"), value);
    int fd = open(record_env("BENCH_OUT", "/dev/null"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || len < 0 || len >= (int)sizeof(line) || write(fd, line, (size_t)len) != len) {
        _exit(99);
    }
    close(fd);
}
