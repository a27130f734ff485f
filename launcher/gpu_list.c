/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_list.h"

#include "launcher/gpu_probe.h"
#include "launcher/gpu_visible.h"
#include "muster/env.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <stdlib.h>
#include <string.h>

struct gpu *gpu_list_add(struct gpu_list *list)
{
    if (list->count == GPU_LIST_MAX) {
        return NULL;
    }
    list->items = mu_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    struct gpu *gpu = &list->items[list->count++];
    *gpu = (struct gpu){.numa_node = -1};
    return gpu;
}

static int compare_gpus(const void *a, const void *b)
{
    const struct gpu *x = a;
    const struct gpu *y = b;
    int order = strcmp(x->pci, y->pci);
    return order != 0 ? order : (int)x->is_mig - (int)y->is_mig;
}

void gpu_list_sort(struct gpu_list *list)
{
    if (list->count > 0) {
        qsort(list->items, list->count, sizeof(*list->items), compare_gpus);
    }
}

void gpu_list_fini(struct gpu_list *list)
{
    free(list->items);
    *list = (struct gpu_list){0};
}

/* Number of devices in a comma-separated list, of numbers and spans of them or of words. */
static int64_t count_listed(const char *text)
{
    struct cpu_mask numbers; /* a list of the same form */
    if (cpu_mask_parse(text, &numbers) == 0) {
        return cpu_mask_count(&numbers);
    }
    int64_t count = text[0] != '\0';
    for (; *text != '\0'; text++) {
        count += *text == ',';
    }
    return count;
}

/* How many GPUs Slurm gave us here, and the variable that says so; -1 if none does. */
static int64_t slurm_count(char *const *envp, const char **ret_name)
{
    /* The lists are of physical numbers, which the devices we may open do not keep. */
    static const char *const lists[] = {"SLURM_STEP_GPUS", "SLURM_JOB_GPUS"};
    static const char on_node[] = "SLURM_GPUS_ON_NODE";
    const char *step = mu_env_get(envp, lists[0]);
    const char *number = mu_env_get(envp, on_node);
    int64_t value;
    struct mu_err ignored = MU_ERR_INIT;
    if (step != NULL) {
        *ret_name = lists[0];
        return count_listed(step);
    }
    if (number != NULL && mu_parse_int(number, 0, GPU_LIST_MAX, &value, &ignored) == 0) {
        *ret_name = on_node;
        return value;
    }
    const char *job = mu_env_get(envp, lists[1]);
    if (job != NULL) {
        *ret_name = lists[1];
        return count_listed(job);
    }
    return -1;
}

int64_t gpu_list_slurm(char *const *envp)
{
    const char *name = NULL;
    int64_t count = slurm_count(envp, &name);
    const char *cuda = mu_env_get(envp, "CUDA_VISIBLE_DEVICES");
    int64_t visible = count > 0 && cuda != NULL ? count_listed(cuda) : count;
    count = visible < count ? visible : count;
    return count < GPU_LIST_MAX ? count : GPU_LIST_MAX;
}

static void apply_slurm(struct gpu_list *list, char *const *envp)
{
    const char *name = NULL;
    int64_t count = slurm_count(envp, &name);
    const char *cuda = mu_env_get(envp, "CUDA_VISIBLE_DEVICES");
    if (count < 0 || (cuda != NULL && cuda[0] == '\0')) {
        return;
    }
    if (list->total == 0) {
        /* A kind of device that is not known here: what was allocated is all there is to go by. */
        while ((int64_t)list->count < count && gpu_list_add(list) != NULL) {
        }
        list->limited_by = list->count > 0 ? name : NULL;
    } else if ((int64_t)list->count > count) {
        list->count = (size_t)count;
        list->limited_by = name;
    }
}

static void find_nodes(const struct host_view *host, struct gpu_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct gpu *gpu = &list->items[i];
        if (gpu->pci[0] != '\0') {
            gpu->numa_node =
                (int)host_view_int(host, -1, "/sys/bus/pci/devices/%s/numa_node", gpu->pci);
        }
    }
}

void gpu_list_find(const struct host_view *host, enum gpu_want want, struct gpu_list *ret_list)
{
    struct gpu_list list = {0};
    if (want != GPU_WANT_XPU) {
        gpu_probe_nvidia(host, &list);
        if (list.count == 0) {
            gpu_probe_amd(host, &list);
        }
    }
    if (list.count == 0 && want != GPU_WANT_GPU) {
        gpu_probe_intel(host, &list);
    }
    gpu_list_sort(&list);
    for (size_t i = 0; i < list.count; i++) {
        list.total += !list.items[i].is_mig;
    }
    gpu_visible_apply(&list, host->envp);
    if (list.limited_by == NULL) {
        apply_slurm(&list, host->envp);
    }
    find_nodes(host, &list);
    *ret_list = list;
}
