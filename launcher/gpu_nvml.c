/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPUs and MIG devices that NVML knows.
 */
#include "launcher/gpu_nvml.h"

#include "launcher/gpu_probe.h"

#include <ctype.h>
#include <string.h>

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
    if (nvml->get_pci(device, &pci) == NVML_OK) {
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
    struct nvml nvml;
    if (nvml_open(host, &nvml) != 0) {
        return -1;
    }
    unsigned count = 0;
    int rc = nvml.get_count(&count) == NVML_OK ? 0 : -1;
    for (unsigned i = 0; i < count && i < GPU_LIST_MAX; i++) {
        nvml_device device;
        if (nvml.get_device(i, &device) == NVML_OK) { /* not one that we may not use, or is lost */
            add_device(&nvml, device, list);
        }
    }
    list->found_in = list->count > 0 ? "NVML" : NULL;
    nvml_close(&nvml);
    return rc;
}

int gpu_nvml_find(const struct nvml *nvml, const struct gpu *gpu, nvml_device *ret_device)
{
    int rc = -1;
    if (gpu->uuid[0] != '\0' && nvml->get_by_uuid != NULL) {
        rc = nvml->get_by_uuid(gpu->uuid, ret_device);
    }
    if (rc != NVML_OK && !gpu->is_mig && gpu->pci[0] != '\0' && nvml->get_by_pci != NULL) {
        rc = nvml->get_by_pci(gpu->pci, ret_device);
    }
    return rc;
}
