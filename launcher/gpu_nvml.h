/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU of gpu_list.h as NVML knows it. May block for ever, see nvml.h. Threading: any; one thread
 * at a time.
 */
#pragma once

#include "launcher/gpu_list.h"
#include "launcher/nvml.h"

/* By its UUID, or else its PCI address. NVML_OK, another of NVML's numbers, or -1: it has neither.
 */
int gpu_nvml_find(const struct nvml *nvml, const struct gpu *gpu, nvml_device *ret_device);
