/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory of the GPUs that this node's workers will see is in use, and by which processes,
 * as NVML tells it. MIG devices are asked for by their UUID; a device of which neither UUID nor PCI
 * address is known is left out.
 *
 * NVML's pids are those of its own pid namespace, or there are none: in a container often only the
 * sum is to be had.
 *
 * Blocks, with a driver that hangs for ever; not for the loop. Threading: any; one at a time.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdint.h>
#include <sys/types.h>

struct gpu_process {
    pid_t pid;
    uint64_t bytes; /* 0 if not known */
};

struct gpu_use {
    char name[112]; /* for people: "GPU 3 (0000:41:00.0)"; the same in every reading */
    bool is_known;  /* else NVML did not answer for this one */
    uint64_t used;  /* bytes, processes that cannot be seen included */
    uint64_t total; /* bytes that it has */
    struct gpu_process *processes; /* owned */
    size_t process_count;
};

/* One reading. Zero-initialised is a valid empty one. */
struct gpu_memory {
    struct gpu_use *items; /* owned */
    size_t count;
};

struct gpu_meter;

/* Whether this machine has an NVIDIA device at all. Loads nothing and takes microseconds. */
bool gpu_memory_has_devices(const struct host_view *host);

/* Find the GPUs and load NVML. NULL if there is none or it does not work. Owned by the caller. */
struct gpu_meter *gpu_meter_open(const struct host_view *host);
void gpu_meter_close(struct gpu_meter *m); /* NULL-safe */

/* Read all of them, in the order of the workers. Released with gpu_memory_fini(). */
void gpu_meter_read(struct gpu_meter *m, struct gpu_memory *ret_memory);
void gpu_memory_fini(struct gpu_memory *memory);
