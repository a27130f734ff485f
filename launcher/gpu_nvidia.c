/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_probe.h"

#include "muster/env.h"
#include "muster/num.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROC_DIR "/proc/driver/nvidia/gpus"

/* The value of "Name: \t value" in `text`, copied; "" if there is none such. */
static void find_field(const char *text, const char *name, char *value, size_t size)
{
    value[0] = '\0';
    const char *at = strstr(text, name);
    if (at != NULL) {
        at += strlen(name);
        at += strspn(at, ": \t");
        snprintf(value, size, "%.*s", (int)strcspn(at, " \t\n"), at);
    }
}

/*
 * One GPU of /proc: errno of opening its device file, 0 if it can be. It is not opened, which could
 * take seconds; the permissions and the device cgroup answer to access() as well.
 */
static int probe_proc_gpu(const struct host_view *host, const char *name, struct gpu *ret_gpu)
{
    char text[4096];
    char minor[16];
    struct gpu gpu = {.numa_node = -1};
    snprintf(gpu.pci, sizeof(gpu.pci), "%s", name);
    if (host_view_text(host, text, sizeof(text), PROC_DIR "/%s/information", name) != 0) {
        *ret_gpu = gpu;
        return 0;
    }
    find_field(text, "GPU UUID", gpu.uuid, sizeof(gpu.uuid));
    if (strchr(gpu.uuid, '?') != NULL) {
        gpu.uuid[0] = '\0'; /* nobody has used it yet, so the driver has not read it */
    }
    find_field(text, "Device Minor", minor, sizeof(minor));
    *ret_gpu = gpu;
    return isdigit((unsigned char)minor[0]) ? host_view_access(host, "/dev/nvidia%s", minor) : 0;
}

static void probe_proc(const struct host_view *host, struct gpu_list *list)
{
    char **names = host_view_names(host, PROC_DIR, "");
    /* Before the first use there may be no device files at all: CUDA makes them. */
    bool has_device = false;
    for (size_t i = 0; names[i] != NULL; i++) {
        struct gpu gpu;
        has_device |= probe_proc_gpu(host, names[i], &gpu) != ENOENT;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        struct gpu gpu;
        int refusal = probe_proc_gpu(host, names[i], &gpu);
        struct gpu *added = refusal == 0 || !has_device ? gpu_list_add(list) : NULL;
        if (added != NULL) {
            *added = gpu;
            list->found_in = PROC_DIR;
        }
    }
    host_view_free_names(names);
}

static void probe_dev(const struct host_view *host, struct gpu_list *list)
{
    static const char prefix[] = "nvidia";
    char **names = host_view_names(host, "/dev", prefix);
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *number = names[i] + sizeof(prefix) - 1;
        bool is_gpu = number[0] != '\0' && number[strspn(number, "0123456789")] == '\0';
        if (is_gpu && host_view_access(host, "/dev/%s", names[i]) == 0 &&
            gpu_list_add(list) != NULL) {
            list->found_in = "/dev/nvidiaN";
        }
    }
    host_view_free_names(names);
}

static void probe_pci(const struct host_view *host, struct gpu_list *list)
{
    enum { VENDOR = 0x10de, CLASS_DISPLAY = 0x03 };
    char **names = host_view_names(host, "/sys/bus/pci/devices", "");
    for (size_t i = 0; names[i] != NULL; i++) {
        char vendor[16] = "";
        char class[16] = "";
        char driver[32] = "";
        host_view_text(host, vendor, sizeof(vendor), "/sys/bus/pci/devices/%s/vendor", names[i]);
        host_view_text(host, class, sizeof(class), "/sys/bus/pci/devices/%s/class", names[i]);
        host_view_link(host, driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", names[i]);
        bool is_gpu = strtoul(vendor, NULL, 16) == VENDOR &&
                      strtoul(class, NULL, 16) >> 16 == CLASS_DISPLAY &&
                      strcmp(driver, "nvidia") == 0;
        struct gpu *gpu = is_gpu ? gpu_list_add(list) : NULL;
        if (gpu != NULL) {
            snprintf(gpu->pci, sizeof(gpu->pci), "%s", names[i]);
            list->found_in = "/sys/bus/pci";
        }
    }
    host_view_free_names(names);
}

/* Does CUDA_VISIBLE_DEVICES speak of something that /proc did not tell? */
static bool is_name_missing(const struct host_view *host, const struct gpu_list *list)
{
    const char *visible = mu_env_get(host->envp, "CUDA_VISIBLE_DEVICES");
    if (visible == NULL || strncmp(visible, "GPU-", 4) != 0) {
        return visible != NULL && strncmp(visible, "MIG-", 4) == 0;
    }
    bool is_missing = false;
    for (size_t i = 0; i < list->count; i++) {
        is_missing |= list->items[i].uuid[0] == '\0';
    }
    return is_missing;
}

void gpu_probe_nvidia(const struct host_view *host, struct gpu_list *list)
{
    probe_proc(host, list);
    if (list->count == 0 || is_name_missing(host, list)) {
        struct gpu_list by_nvml = {0};
        if (gpu_probe_nvml(host, &by_nvml) == 0 && by_nvml.count > 0) {
            gpu_list_fini(list);
            *list = by_nvml;
        }
    }
    if (list->count == 0) {
        probe_dev(host, list);
    }
    if (list->count == 0) {
        probe_pci(host, list);
    }
    list->maker = GPU_NVIDIA;
}
