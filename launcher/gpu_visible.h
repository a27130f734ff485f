/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The variables by which users and schedulers choose GPUs, read as the drivers' libraries read
 * them. Pure. Threading: any.
 *
 * CUDA_VISIBLE_DEVICES is a list of numbers, of UUIDs (beginnings will do) or of MIG devices; the
 * first entry says which. The list ends at the first entry that names nothing; a device named
 * twice makes all of it void; the empty text is no device. AMD reads ROCR_VISIBLE_DEVICES, then
 * numbers what that leaves and reads HIP_VISIBLE_DEVICES, or else CUDA_VISIBLE_DEVICES.
 * Intel reads ZE_AFFINITY_MASK: numbers, with .N for one tile.
 */
#pragma once

#include "launcher/gpu_list.h"

/*
 * Keep of `list`, which has all devices of the machine, those that the variables of its maker
 * choose, in their order. Without variables all are kept but MIG devices. UUIDs of which the list
 * knows none are believed: they become devices of which nothing else is known.
 */
void gpu_visible_apply(struct gpu_list *list, char *const *envp);
