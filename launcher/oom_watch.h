/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's OOM kills, as its counters tell of them: of the workers' cgroup (version 2:
 * memory.events, version 1: memory.oom_control), or, where there is no memory controller, of the
 * machine (/proc/vmstat). A count that has grown since the workers were started is all that is ever
 * claimed. Counters grow before the SIGKILL is sent, so they can be read once the worker is dead.
 *
 * Blocks on /proc and /sys. Threading: one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct oom_watch;

struct oom_finding {
    bool is_counted;    /* there is a counter */
    bool is_grown;      /* since the workers were started */
    const char *cgroup; /* borrowed from the watch; NULL: it is the machine's counter */
    int64_t limit;      /* if it is: bytes the cgroup itself may use; 0: none, or not known */
};

/* Before the workers are started: they begin in the cgroup of this process. */
struct oom_watch *oom_watch_new(void);
void oom_watch_free(struct oom_watch *w); /* NULL-safe */

/*
 * A worker has ended. If it was killed (`is_killed`) and a kill was counted, that one is its own:
 * the next one needs another.
 */
struct oom_finding oom_watch_ended(struct oom_watch *w, bool is_killed);

/* ---- a part that tests look at ---- */

/*
 * The directory of the cgroup whose memory is counted, from the texts of /proc/PID/cgroup and
 * /proc/PID/mountinfo. `ret_name` is its name within that hierarchy. Both owned by the caller.
 * Returns 2 or 1, the version; 0 if there is none.
 */
int oom_watch_locate(const char *cgroup, const char *mountinfo, char **ret_dir, char **ret_name);
