/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_memory.h"

#include "launcher/gpu_nvml.h"
#include "launcher/nvml.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PROCESSES = 4096 }; /* on one GPU; what is beyond is not seen */

struct gpu_meter {
    struct nvml nvml;
    struct gpu_list gpus;
};

bool gpu_memory_has_devices(const struct host_view *host)
{
    char **names = host_view_names(host, "/proc/driver/nvidia/gpus", "");
    bool has_devices = names[0] != NULL;
    host_view_free_names(names);
    /* Containers without that part of /proc; the Linux of a Windows machine. */
    return has_devices || host_view_access(host, "/dev/nvidiactl") == 0 ||
           host_view_access(host, "/dev/dxg") == 0;
}

struct gpu_meter *gpu_meter_open(const struct host_view *host)
{
    struct gpu_meter *m = mu_alloc(sizeof(*m));
    gpu_list_find(host, GPU_WANT_GPU, &m->gpus);
    if (m->gpus.maker == GPU_NVIDIA && m->gpus.count > 0 && nvml_open(host, &m->nvml) == 0) {
        return m;
    }
    gpu_list_fini(&m->gpus);
    free(m);
    return NULL;
}

void gpu_meter_close(struct gpu_meter *m)
{
    if (m != NULL) {
        nvml_close(&m->nvml);
        gpu_list_fini(&m->gpus);
        free(m);
    }
}

static bool read_sizes(const struct nvml *nvml, nvml_device device, struct gpu_use *use)
{
    struct nvml_memory memory = {.version = NVML_MEMORY_VERSION};
    struct nvml_memory_v1 old;
    if (nvml->get_memory != NULL && nvml->get_memory(device, &memory) == NVML_OK) {
        use->used = memory.used;
        use->total = memory.total;
        return true;
    }
    if (nvml->get_memory_v1 != NULL && nvml->get_memory_v1(device, &old) == NVML_OK) {
        use->used = old.used;
        use->total = old.total;
        return true;
    }
    return false;
}

static void read_processes(const struct nvml *nvml, nvml_device device, struct gpu_use *use)
{
    struct nvml_process *list = NULL;
    unsigned count;
    int rc = NVML_INSUFFICIENT_SIZE;
    for (unsigned room = 64; rc == NVML_INSUFFICIENT_SIZE && room <= MAX_PROCESSES; room *= 4) {
        list = mu_realloc(list, room * sizeof(*list));
        count = room;
        rc = nvml->get_processes != NULL ? nvml->get_processes(device, &count, list) : -1;
    }
    if (rc == NVML_OK && count > 0) {
        use->process_count = count;
        use->processes = mu_calloc(count, sizeof(*use->processes));
        for (unsigned i = 0; i < count; i++) {
            use->processes[i].pid = (pid_t)list[i].pid;
            use->processes[i].bytes = list[i].bytes != ~0ULL ? list[i].bytes : 0;
        }
    }
    free(list);
}

void gpu_meter_read(struct gpu_meter *m, struct gpu_memory *ret_memory)
{
    struct gpu_memory memory = {.items = mu_calloc(m->gpus.count, sizeof(*memory.items)),
                                .count = m->gpus.count};
    for (size_t i = 0; i < memory.count; i++) {
        const struct gpu *gpu = &m->gpus.items[i];
        struct gpu_use *use = &memory.items[i];
        snprintf(use->name, sizeof(use->name), "GPU %zu (%s)", i,
                 gpu->pci[0] != '\0' && !gpu->is_mig ? gpu->pci : gpu->uuid);
        nvml_device device;
        use->is_known =
            gpu_nvml_find(&m->nvml, gpu, &device) == NVML_OK && read_sizes(&m->nvml, device, use);
        if (use->is_known) {
            read_processes(&m->nvml, device, use);
        }
    }
    *ret_memory = memory;
}

void gpu_memory_fini(struct gpu_memory *memory)
{
    for (size_t i = 0; i < memory->count; i++) {
        free(memory->items[i].processes);
    }
    free(memory->items);
    *memory = (struct gpu_memory){0};
}
