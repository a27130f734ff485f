/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the load generator of bench/store measures: time, the server's CPU time, latencies.
 *
 * Latencies are counted in 64 steps to each power of two nanoseconds, so a percentile is right
 * within 0.8 %.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum { STATS_STEPS = 64, STATS_BUCKETS = 36 * STATS_STEPS }; /* up to an hour */

struct stats_latencies {
    uint64_t count[STATS_BUCKETS];
};

int64_t stats_now_ns(void); /* monotonic */

/* User and system time of all living threads of a process so far. Ends the program if it cannot. */
int64_t stats_cpu_ns(pid_t pid);

/*
 * Bytes of a process that one line of its smaps_rollup counts: "Pss:", its share of all pages;
 * "Anonymous:", what is in no file. Ends the program if it cannot.
 */
double stats_memory(pid_t pid, const char *line_name);

void stats_add(struct stats_latencies *l, int64_t ns);
void stats_merge(struct stats_latencies *l, const struct stats_latencies *more);

/* The value that `share` (0 to 1) of all latencies do not exceed, in microseconds; 0 of none. */
double stats_percentile_us(const struct stats_latencies *l, double share);
