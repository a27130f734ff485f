/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPUs that this node's workers will see, in the order they will number them, found without
 * CUDA and without waking a driver up where that can be avoided.
 *
 * The devices of the machine come from the first of these that knows any:
 *   NVIDIA  /proc/driver/nvidia/gpus, less those whose /dev/nvidiaN may not be opened (containers,
 *           Slurm); NVML; /dev/nvidiaN; PCI devices bound to the nvidia driver
 *   AMD     /sys/class/kfd, less those whose /dev/dri/renderDN may not be opened
 *   Intel   /sys/class/drm, without those built into a processor
 * NVML is loaded only when it is needed: it takes tens of milliseconds, or as long as a driver that
 * hangs. All are in PCI order; CUDA's own order differs only between GPUs of different kinds.
 *
 * Then the variables of gpu_visible.h choose among them, or, where none is set, Slurm's say how
 * many of the first are ours. Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GPU_LIST_MAX = 1024 }; /* no machine has more; what is beyond is not seen */

enum gpu_maker { GPU_NVIDIA, GPU_AMD, GPU_INTEL };

struct gpu {
    char pci[16];  /* "0000:1b:00.0"; "" if not known */
    char uuid[96]; /* "GPU-..." or "MIG-..."; "" if not known */
    int numa_node; /* -1 if not known */
    bool is_mig;   /* a part of the GPU at `pci`; chosen by its UUID only */
};

/* Zero-initialised is a valid empty list. */
struct gpu_list {
    enum gpu_maker maker;
    struct gpu *items; /* owned */
    size_t count;
    size_t total;           /* before a variable chose among them; 0: no device is known */
    const char *found_in;   /* what told of them; NULL: nothing did */
    const char *limited_by; /* the variable that chose, static text; NULL: none */
};

/* Which GPUs are asked for: as --nproc-per-node names them. */
enum gpu_want {
    GPU_WANT_ANY, /* NVIDIA, else AMD, else Intel */
    GPU_WANT_GPU, /* what PyTorch calls cuda: NVIDIA, else AMD */
    GPU_WANT_XPU, /* Intel */
};

/* Find them. Released with gpu_list_fini(). */
void gpu_list_find(const struct host_view *host, enum gpu_want want, struct gpu_list *ret_list);
void gpu_list_fini(struct gpu_list *list);

/*
 * How many GPUs Slurm gave this job here, less those that CUDA_VISIBLE_DEVICES leaves out; -1 if it
 * does not say.
 */
int64_t gpu_list_slurm(char *const *envp);

/* Append an unknown device, to be filled in; NULL beyond GPU_LIST_MAX. */
struct gpu *gpu_list_add(struct gpu_list *list);

/* PCI order, MIG devices behind their GPU. */
void gpu_list_sort(struct gpu_list *list);
