/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the GPUs of each maker are found, see gpu_list.h. Each adds to an empty list what it finds,
 * and sets its maker and found_in if that is anything. Threading: any.
 */
#pragma once

#include "launcher/gpu_list.h"

void gpu_probe_nvidia(const struct host_view *host, struct gpu_list *list);
void gpu_probe_amd(const struct host_view *host, struct gpu_list *list);
void gpu_probe_intel(const struct host_view *host, struct gpu_list *list);

/*
 * NVML: GPUs and MIG devices with PCI addresses and UUIDs. -1, nothing added, if the library is not
 * there or does not work.
 */
int gpu_probe_nvml(const struct host_view *host, struct gpu_list *list);
