/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/nvml.h"

#include "muster/mem.h"

#include <dlfcn.h>
#include <string.h>

static bool find_functions(struct nvml *nvml)
{
    /*
     * The later of two names for one field counts only if the earlier is not there. The third
     * version of the list of processes has had another layout in some drivers (535), the second
     * never.
     */
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
        {"nvmlDeviceGetHandleByPciBusId_v2", offsetof(struct nvml, get_by_pci), true},
        {"nvmlDeviceGetHandleByUUID", offsetof(struct nvml, get_by_uuid), true},
        {"nvmlDeviceGetMemoryInfo_v2", offsetof(struct nvml, get_memory), true},
        {"nvmlDeviceGetMemoryInfo", offsetof(struct nvml, get_memory_v1), true},
        {"nvmlDeviceGetComputeRunningProcesses_v2", offsetof(struct nvml, get_processes), true},
        {"nvmlDeviceGetComputeRunningProcesses_v3", offsetof(struct nvml, get_processes), true},
        {"nvmlSystemGetDriverVersion", offsetof(struct nvml, get_driver), true},
        {"nvmlSystemGetCudaDriverVersion_v2", offsetof(struct nvml, get_cuda), true},
        {"nvmlDeviceGetName", offsetof(struct nvml, get_name), true},
        {"nvmlDeviceGetTotalEccErrors", offsetof(struct nvml, get_ecc), true},
        {"nvmlDeviceGetRemappedRows", offsetof(struct nvml, get_remapped), true},
        {"nvmlDeviceGetRetiredPagesPendingStatus", offsetof(struct nvml, get_retired_pending),
         true},
        {"nvmlDeviceGetCurrentClocksThrottleReasons", offsetof(struct nvml, get_slowdown), true},
        {"nvmlDeviceGetMigMode", offsetof(struct nvml, get_mig_mode), true},
    };
    for (size_t i = 0; i < MU_COUNT(functions); i++) {
        void *symbol = dlsym(nvml->library, functions[i].name);
        void *known;
        if (symbol == NULL && !functions[i].is_optional) {
            return false;
        }
        memcpy(&known, (char *)nvml + functions[i].offset, sizeof(known));
        if (known == NULL) {
            memcpy((char *)nvml + functions[i].offset, &symbol, sizeof(symbol));
        }
    }
    return true;
}

int nvml_open_code(const struct host_view *host, struct nvml *ret_nvml, int *ret_code)
{
    struct nvml nvml = {0};
    *ret_code = -1;
    if (host->nvml_library != NULL) {
        nvml.library = dlopen(host->nvml_library, RTLD_NOW | RTLD_LOCAL);
    }
    if (nvml.library == NULL) {
        return -1;
    }
    if (!find_functions(&nvml) || (*ret_code = nvml.init()) != NVML_OK) {
        dlclose(nvml.library);
        return -1;
    }
    *ret_nvml = nvml;
    return 0;
}

int nvml_open(const struct host_view *host, struct nvml *ret_nvml)
{
    int ignored;
    return nvml_open_code(host, ret_nvml, &ignored);
}

void nvml_close(struct nvml *nvml)
{
    nvml->shutdown();
    dlclose(nvml->library);
    *nvml = (struct nvml){0};
}
