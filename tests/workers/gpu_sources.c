/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPUs of this machine, "PCI UUID NODE" a line, and on standard error how long it took.
 *
 *     gpu_sources nvml       NVML's
 *     gpu_sources other      those found without NVML, whatever is visible
 *     gpu_sources visible    those muster counts
 */
#include "launcher/gpu_probe.h"

int main(int argc, char **argv)
{
    const char *source = argc == 2 ? argv[1] : "";
    char *no_env[] = {NULL};
    struct host_view host = host_view_of(strcmp(source, "visible") == 0 ? environ : no_env);
    struct gpu_list list = {0};
    struct timespec from;
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (strcmp(source, "nvml") == 0) {
        gpu_probe_nvml(&host, &list);
        gpu_list_sort(&list);
    } else if (strcmp(source, "other") == 0) {
        host.nvml_library = NULL;
        gpu_list_find(&host, GPU_WANT_GPU, &list);
    } else if (strcmp(source, "visible") == 0) {
        gpu_list_find(&host, GPU_WANT_GPU, &list);
    } else {
        fprintf(stderr, "usage: gpu_sources nvml|other|visible\n");
        return 99;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    for (size_t i = 0; i < list.count; i++) {
        const struct gpu *gpu = &list.items[i];
        printf("%s %s %d\n", gpu->pci[0] != '\0' ? gpu->pci : "?",
               gpu->uuid[0] != '\0' ? gpu->uuid : "?", gpu->numa_node);
    }
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    fprintf(stderr, "%s: %.2f ms, %s\n", source, ms,
            list.found_in != NULL ? list.found_in : "nothing");
    gpu_list_fini(&list);
    return 0;
}
