/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who of this node's earlier rounds still holds GPU memory? That counts as held
 *
 *   - which a worker of an earlier round has, by its pid: gone from /proc while the driver is still
 *     clearing up behind it, or living, with the start time that was noted;
 *   - which a living process has that was started with the environment of such a worker (by a
 *     daemon, a container engine: whatever descends from a worker is killed with it);
 *   - of which nobody knows whose it is (pids of another namespace), as far as there is more of it
 *     than when the first round began, by more than 5 % and 256 MiB. If it grows while somebody
 *     waits, it is in use by others, for the dead give back only: then it does not count.
 *
 * What other processes have that can be seen is theirs and does not count.
 *
 * Reads /proc, which may block on a process that hangs; not for the loop. Threading: one thread.
 */
#pragma once

#include "launcher/gpu_memory.h"
#include "muster/buf.h"

struct gpu_holders;

/*
 * `run_path` is the run's directory, as workers find it in TORCHELASTIC_ERROR_FILE; NULL: none.
 * Both are copied, what `host` points to is borrowed. Owned by the caller.
 */
struct gpu_holders *gpu_holders_new(const struct host_view *host, const char *run_path);
void gpu_holders_free(struct gpu_holders *h); /* NULL-safe */

/* A worker has been started: who it is is read while it lives. */
void gpu_holders_add_worker(struct gpu_holders *h, pid_t pid);

/* What was in use when the first round began. */
void gpu_holders_set_before(struct gpu_holders *h, const struct gpu_memory *memory);

/* No worker runs, and somebody waits from now on. */
void gpu_holders_begin(struct gpu_holders *h);

/*
 * Bytes that are held of a reading; 0: the GPUs are free. Who holds how much on which is appended
 * to `text`, "31.2 GiB on GPU 3 (0000:41:00.0) held by process 4711 (python3 train.py), ...; ...",
 * without a NUL.
 */
uint64_t gpu_holders_judge(struct gpu_holders *h, const struct gpu_memory *memory,
                           struct mu_buf *text);
