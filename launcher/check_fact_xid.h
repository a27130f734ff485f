/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVIDIA's driver wrote into the kernel's log about broken hardware: "Xid" lines. Only those
 * that are no doing of a program, of GPUs that are ours, of the last day. Many systems let only
 * root read the log: then there are none. Blocks for a moment. Threading: any.
 */
#pragma once

#include "launcher/gpu_list.h"

#include <jansson.h>
#include <stdint.h>

/* [{"pci": "0000:1b:00", "xid": 79, "means": "..."}, ...], each once. Owned by the caller. */
json_t *check_fact_xids(const struct host_view *host, const struct gpu_list *gpus);

/* ---- a part that tests look at ---- */

/* One record of /dev/kmsg, `uptime_s` after the machine began: what it tells goes to `xids`. */
void check_fact_xid_read(const char *record, int64_t uptime_s, const struct gpu_list *gpus,
                         json_t *xids);
