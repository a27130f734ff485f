/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML, loaded while it is needed. Names and layouts are those of NVIDIA's nvml.h, whose functions
 * with a version in their name never change.
 *
 * To load it takes tens of milliseconds, and with a driver that hangs every call may block for
 * ever; not for the loop. Threading: any; one thread at a time.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdbool.h>
#include <stddef.h>

typedef void *nvml_device;

enum {
    NVML_OK = 0,
    NVML_NO_PERMISSION = 4,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_GPU_IS_LOST = 15,
    NVML_VERSION_MISMATCH = 18,
};

/* What nvmlDeviceGetTotalEccErrors() is asked for: since the driver was loaded. */
enum { NVML_UNCORRECTED = 1, NVML_VOLATILE = 0 };

/* Why the hardware has lowered the clocks, among others. */
enum { NVML_SLOW_TOO_HOT = 0x40, NVML_SLOW_POWER_BRAKE = 0x80 };

struct nvml_pci { /* nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3 */
    char bus_id_legacy[16];
    unsigned domain;
    unsigned bus;
    unsigned device;
    unsigned device_id;
    unsigned subsystem_id;
    char bus_id[32]; /* "00000000:1B:00.0" */
};

struct nvml_process { /* nvmlProcessInfo_v2_t */
    unsigned pid;
    unsigned long long bytes; /* all ones: not known */
    unsigned gpu_instance;
    unsigned compute_instance;
};

struct nvml_memory { /* nvmlMemory_v2_t; `used` is without what the driver keeps for itself */
    unsigned version;
    unsigned long long total;
    unsigned long long reserved;
    unsigned long long free;
    unsigned long long used;
};
#define NVML_MEMORY_VERSION ((unsigned)(sizeof(struct nvml_memory) | 2U << 24))

struct nvml_memory_v1 { /* nvmlMemory_t; the driver's own is `used` too */
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
};

/* All return an enumerator as above, or another number for a failure. */
struct nvml {
    void *library; /* private */
    int (*init)(void);
    int (*shutdown)(void);
    int (*get_count)(unsigned *count);
    int (*get_device)(unsigned index, nvml_device *device);
    int (*get_pci)(nvml_device device, struct nvml_pci *pci);
    int (*get_uuid)(nvml_device device, char *uuid, unsigned size);
    /* Optional, NULL where a driver has them not: */
    int (*get_mig_max)(nvml_device device, unsigned *count);
    int (*get_mig)(nvml_device device, unsigned index, nvml_device *mig);
    int (*get_by_pci)(const char *address, nvml_device *device);
    int (*get_by_uuid)(const char *uuid, nvml_device *device);
    int (*get_memory)(nvml_device device, struct nvml_memory *memory);
    int (*get_memory_v1)(nvml_device device, struct nvml_memory_v1 *memory);
    int (*get_processes)(nvml_device device, unsigned *count, struct nvml_process *list);
    int (*get_driver)(char *version, unsigned size);
    int (*get_cuda)(int *version); /* 12080 is 12.8 */
    int (*get_name)(nvml_device device, char *name, unsigned size);
    int (*get_ecc)(nvml_device device, int type, int counter, unsigned long long *count);
    int (*get_remapped)(nvml_device device, unsigned *corrected, unsigned *uncorrected,
                        unsigned *is_pending, unsigned *has_failed);
    int (*get_retired_pending)(nvml_device device, int *is_pending);
    int (*get_slowdown)(nvml_device device, unsigned long long *reasons);
    int (*get_mig_mode)(nvml_device device, unsigned *current, unsigned *pending);
};

/* Load and initialise it. -1 if it is not there or does not work. */
int nvml_open(const struct host_view *host, struct nvml *ret_nvml);

/* The same; *ret_code is NVML's number of the failure, -1 if there is no library of that kind. */
int nvml_open_code(const struct host_view *host, struct nvml *ret_nvml, int *ret_code);

/* After one of them that succeeded. */
void nvml_close(struct nvml *nvml);
