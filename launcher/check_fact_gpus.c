/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact.h"
#include "launcher/check_fact_xid.h"

#include "launcher/gpu_memory.h"
#include "launcher/gpu_nvml.h"
#include "muster/mem.h"

#include <string.h>

enum {
    MAX_NAME = 96, /* NVML_DEVICE_NAME_V2_BUFFER_SIZE */
    MAX_PROCESSES = 8,
};

static void put_health(const struct nvml *nvml, nvml_device device, json_t *fact)
{
    unsigned long long count;
    unsigned corrected;
    unsigned uncorrected;
    unsigned is_pending = 0;
    unsigned has_failed = 0;
    int is_retiring = 0;
    if (nvml->get_ecc != NULL &&
        nvml->get_ecc(device, NVML_UNCORRECTED, NVML_VOLATILE, &count) == NVML_OK) {
        check_fact_put_int(fact, "ecc_uncorrected", count < INT64_MAX ? (int64_t)count : INT64_MAX);
    }
    if (nvml->get_remapped != NULL &&
        nvml->get_remapped(device, &corrected, &uncorrected, &is_pending, &has_failed) == NVML_OK) {
        check_fact_put_flag(fact, "remap_failed", has_failed != 0);
    }
    if (nvml->get_retired_pending != NULL &&
        nvml->get_retired_pending(device, &is_retiring) != NVML_OK) {
        is_retiring = 0; /* newer GPUs remap instead */
    }
    check_fact_put_flag(fact, "remap_pending", is_pending != 0 || is_retiring != 0);
    if (nvml->get_slowdown != NULL && nvml->get_slowdown(device, &count) == NVML_OK) {
        check_fact_put_flag(fact, "is_too_hot", (count & NVML_SLOW_TOO_HOT) != 0);
        check_fact_put_flag(fact, "is_power_braked", (count & NVML_SLOW_POWER_BRAKE) != 0);
    }
}

static void put_kind(const struct nvml *nvml, nvml_device device, json_t *fact)
{
    char name[MAX_NAME] = "";
    unsigned mode;
    unsigned pending;
    if (nvml->get_name != NULL && nvml->get_name(device, name, sizeof(name)) == NVML_OK) {
        check_fact_put_text(fact, "model", name);
    }
    if (nvml->get_mig_mode != NULL && nvml->get_mig_mode(device, &mode, &pending) == NVML_OK) {
        check_fact_put_flag(fact, "mig", mode != 0);
        check_fact_put_flag(fact, "mig_pending", pending != mode);
    }
}

static void put_use(const struct host_view *host, const struct gpu_use *use, json_t *fact)
{
    if (!use->is_known) {
        return;
    }
    json_t *processes = json_array();
    for (size_t i = 0; i < use->process_count && i < MAX_PROCESSES; i++) {
        char comm[64] = "";
        int pid = (int)use->processes[i].pid;
        if (host_view_text(host, comm, sizeof(comm), "/proc/%d/comm", pid) != 0) {
            comm[0] = '\0'; /* of another pid namespace */
        }
        json_t *process = json_object();
        check_fact_put_int(process, "pid", pid);
        check_fact_put_text(process, "name", comm);
        json_array_append_new(processes, process);
    }
    check_fact_put_int(fact, "used", (int64_t)(use->used & INT64_MAX));
    check_fact_put_int(fact, "memory", (int64_t)(use->total & INT64_MAX));
    json_object_set_new(fact, "processes", processes);
}

static json_t *describe(const struct host_view *host, const struct nvml *nvml,
                        const struct gpu *gpu, const struct gpu_use *use)
{
    json_t *fact = json_object();
    nvml_device device;
    check_fact_put_text(fact, "name", use->name);
    int rc = gpu_nvml_find(nvml, gpu, &device);
    if (rc == NVML_OK) {
        put_kind(nvml, device, fact);
        put_use(host, use, fact);
        if (!gpu->is_mig) { /* a part has no health of its own */
            put_health(nvml, device, fact);
        }
    } else if (rc != NVML_NO_PERMISSION && rc != -1) {
        check_fact_put_int(fact, "nvml_error", rc);
    }
    return fact;
}

static void put_versions(const struct nvml *nvml, json_t *fact)
{
    char driver[MAX_NAME] = "";
    int cuda;
    if (nvml->get_driver != NULL && nvml->get_driver(driver, sizeof(driver)) == NVML_OK) {
        check_fact_put_text(fact, "driver", driver);
    }
    if (nvml->get_cuda != NULL && nvml->get_cuda(&cuda) == NVML_OK) {
        mu_autofree char *text = mu_asprintf("%d.%d", cuda / 1000, cuda % 1000 / 10);
        check_fact_put_text(fact, "cuda", text);
    }
}

/* The list and the reading are of the same devices in the same order. */
static void put_devices(const struct host_view *host, const struct nvml *nvml,
                        const struct gpu_list *list, json_t *fact)
{
    json_t *devices = json_array();
    struct gpu_memory memory = {0};
    struct gpu_meter *meter = gpu_meter_open(host);
    if (meter != NULL) {
        gpu_meter_read(meter, &memory);
    }
    for (size_t i = 0; i < list->count && i < memory.count && i < CHECK_FACT_MAX_GPUS; i++) {
        json_array_append_new(devices, describe(host, nvml, &list->items[i], &memory.items[i]));
    }
    gpu_memory_fini(&memory);
    gpu_meter_close(meter);
    json_object_set_new(fact, "devices", devices);
}

json_t *check_fact_gpus(const struct host_view *host)
{
    static const char *const makers[] = {"NVIDIA", "AMD", "Intel"};
    struct gpu_list list;
    gpu_list_find(host, GPU_WANT_ANY, &list);
    if (list.total == 0) {
        gpu_list_fini(&list);
        return NULL;
    }
    json_t *fact = json_object();
    check_fact_put_text(fact, "maker", makers[list.maker]);
    check_fact_put_int(fact, "count", (int64_t)list.count);
    check_fact_put_int(fact, "machine", (int64_t)list.total);
    check_fact_put_text(fact, "limited_by", list.limited_by);
    struct nvml nvml;
    int code;
    if (list.maker == GPU_NVIDIA) {
        int rc = nvml_open_code(host, &nvml, &code);
        check_fact_put_int(fact, "nvml", code);
        if (rc == 0) {
            put_versions(&nvml, fact);
            put_devices(host, &nvml, &list, fact);
            nvml_close(&nvml);
        }
        json_object_set_new(fact, "xids", check_fact_xids(host, &list));
    }
    gpu_list_fini(&list);
    return fact;
}
