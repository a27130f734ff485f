/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML, loaded for the one question and unloaded. Names and layouts are those of NVIDIA's nvml.h,
 * whose functions with a version in their name never change.
 */
#include "launcher/gpu_probe.h"

#include "muster/mem.h"

#include <ctype.h>
#include <dlfcn.h>
#include <string.h>

typedef void *nvml_device;

struct nvml_pci { /* nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3 */
    char bus_id_legacy[16];
    unsigned domain;
    unsigned bus;
    unsigned device;
    unsigned device_id;
    unsigned subsystem_id;
    char bus_id[32]; /* "00000000:1B:00.0" */
};

/* All return 0 for success. */
struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*get_count)(unsigned *count);
    int (*get_device)(unsigned index, nvml_device *device);
    int (*get_pci)(nvml_device device, struct nvml_pci *pci);
    int (*get_uuid)(nvml_device device, char *uuid, unsigned size);
    int (*get_mig_max)(nvml_device device, unsigned *count); /* optional, as is the next */
    int (*get_mig)(nvml_device device, unsigned index, nvml_device *mig);
};

static bool load(void *library, struct nvml *nvml)
{
    static const struct {
        const char *name;
        size_t offset;
        bool is_optional;
    } functions[] = {
        {"nvmlInit_v2", offsetof(struct nvml, init), false},
        {"nvmlShutdown", offsetof(struct nvml, shutdown), false},
        {"nvmlDeviceGetCount_v2", offsetof(struct nvml, get_count), false},
        {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, get_device), false},
        {"nvmlDeviceGetPciInfo_v3", offsetof(struct nvml, get_pci), false},
        {"nvmlDeviceGetUUID", offsetof(struct nvml, get_uuid), false},
        {"nvmlDeviceGetMaxMigDeviceCount", offsetof(struct nvml, get_mig_max), true},
        {"nvmlDeviceGetMigDeviceHandleByIndex", offsetof(struct nvml, get_mig), true},
    };
    for (size_t i = 0; i < MU_COUNT(functions); i++) {
        void *symbol = dlsym(library, functions[i].name);
        if (symbol == NULL && !functions[i].is_optional) {
            return false;
        }
        memcpy((char *)nvml + functions[i].offset, &symbol, sizeof(symbol));
    }
    return true;
}

/* As /sys writes it: four digits of domain, lower case. */
static void copy_pci(const struct nvml_pci *pci, char *text, size_t size)
{
    unsigned function = 0;
    const char *dot = memchr(pci->bus_id, '.', sizeof(pci->bus_id) - 1);
    if (dot != NULL && isdigit((unsigned char)dot[1])) {
        function = (unsigned)(dot[1] - '0');
    }
    snprintf(text, size, "%04x:%02x:%02x.%x", pci->domain, pci->bus, pci->device, function);
}

static void add_device(const struct nvml *nvml, nvml_device device, struct gpu_list *list)
{
    struct gpu *gpu = gpu_list_add(list);
    if (gpu == NULL) {
        return;
    }
    char address[sizeof(gpu->pci)] = "";
    struct nvml_pci pci = {0};
    if (nvml->get_pci(device, &pci) == 0) {
        copy_pci(&pci, address, sizeof(address));
    }
    memcpy(gpu->pci, address, sizeof(gpu->pci));
    if (nvml->get_uuid(device, gpu->uuid, sizeof(gpu->uuid)) != 0) {
        gpu->uuid[0] = '\0';
    }
    unsigned count = 0;
    if (nvml->get_mig_max == NULL || nvml->get_mig == NULL ||
        nvml->get_mig_max(device, &count) != 0) {
        return;
    }
    for (unsigned i = 0; i < count && i < GPU_LIST_MAX; i++) {
        nvml_device mig;
        struct gpu *part = nvml->get_mig(device, i, &mig) == 0 ? gpu_list_add(list) : NULL;
        if (part != NULL) {
            part->is_mig = true;
            memcpy(part->pci, address, sizeof(part->pci));
            if (nvml->get_uuid(mig, part->uuid, sizeof(part->uuid)) != 0) {
                part->uuid[0] = '\0';
            }
        }
    }
}

int gpu_probe_nvml(const struct host_view *host, struct gpu_list *list)
{
    void *library =
        host->nvml_library != NULL ? dlopen(host->nvml_library, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        return -1;
    }
    struct nvml nvml = {0};
    int rc = -1;
    if (load(library, &nvml) && nvml.init() == 0) {
        unsigned count = 0;
        rc = nvml.get_count(&count) == 0 ? 0 : -1;
        for (unsigned i = 0; i < count && i < GPU_LIST_MAX; i++) {
            nvml_device device;
            if (nvml.get_device(i, &device) == 0) { /* not one that we may not use, or is lost */
                add_device(&nvml, device, list);
            }
        }
        list->found_in = list->count > 0 ? "NVML" : NULL;
        nvml.shutdown();
    }
    dlclose(library);
    return rc;
}
