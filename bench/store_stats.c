/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/store_stats.h"

#include "bench/store_peer.h"
#include "muster/mem.h"

#include <dirent.h>
#include <inttypes.h>

int64_t stats_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The first number of schedstat: nanoseconds on a CPU. 0 if the thread has just ended. */
static int64_t cpu_of_thread(const char *tasks, const char *tid)
{
    mu_autofree char *name = mu_asprintf("%s/%s/schedstat", tasks, tid);
    FILE *f = fopen(name, "re");
    if (f == NULL) {
        return 0;
    }
    char line[80];
    int64_t ns = fgets(line, sizeof(line), f) != NULL ? strtoll(line, NULL, 10) : 0;
    fclose(f);
    return ns;
}

int64_t stats_cpu_ns(pid_t pid)
{
    mu_autofree char *tasks = mu_asprintf("/proc/%d/task", (int)pid);
    DIR *dir = opendir(tasks);
    if (dir == NULL) {
        peer_fail(tasks);
    }
    int64_t sum = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            sum += cpu_of_thread(tasks, entry->d_name);
        }
    }
    closedir(dir);
    return sum;
}

double stats_memory(pid_t pid, const char *line_name)
{
    mu_autofree char *name = mu_asprintf("/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(name, "re");
    char line[256];
    bool is_found = false;
    double kb = 0;
    while (f != NULL && !is_found && fgets(line, sizeof(line), f) != NULL) {
        is_found = strncmp(line, line_name, strlen(line_name)) == 0;
        kb = is_found ? (double)strtoull(line + strlen(line_name), NULL, 10) : 0;
    }
    if (!is_found) {
        peer_fail(name);
    }
    fclose(f);
    return kb * 1024;
}

/* Values below STATS_STEPS share the first bucket; no answer comes as fast. */
static size_t bucket_of(int64_t ns)
{
    uint64_t v = ns > STATS_STEPS ? (uint64_t)ns : STATS_STEPS;
    size_t power = 63 - (size_t)__builtin_clzll(v / STATS_STEPS);
    size_t bucket = power * STATS_STEPS + (v >> power) % STATS_STEPS;
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

static double middle_us(size_t bucket)
{
    size_t power = bucket / STATS_STEPS;
    uint64_t low = (uint64_t)(STATS_STEPS + bucket % STATS_STEPS) << power;
    return ((double)low + (double)(UINT64_C(1) << power) / 2) / 1000;
}

void stats_add(struct stats_latencies *l, int64_t ns)
{
    l->count[bucket_of(ns)]++;
}

void stats_merge(struct stats_latencies *l, const struct stats_latencies *more)
{
    for (size_t i = 0; i < STATS_BUCKETS; i++) {
        l->count[i] += more->count[i];
    }
}

double stats_percentile_us(const struct stats_latencies *l, double share)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STATS_BUCKETS; i++) {
        sum += l->count[i];
    }
    uint64_t seen = 0;
    for (size_t i = 0; i < STATS_BUCKETS; i++) {
        seen += l->count[i];
        if (seen > 0 && (double)seen >= (double)sum * share) {
            return middle_us(i);
        }
    }
    return 0;
}
