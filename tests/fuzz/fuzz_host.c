/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine and whoever set up the environment say: lists of CPUs, the variables that choose
 * GPUs, control groups and mounts, the pattern of cores. The first byte says which, a second one
 * how many GPUs there are; the rest is text, whose parts are divided by NUL bytes.
 */
#include "launcher/cgroup.h"
#include "launcher/core_file.h"
#include "launcher/cpu_mask.h"
#include "launcher/gpu_visible.h"
#include "launcher/oom_watch.h"
#include "muster/mem.h"
#include "muster/num.h"
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

/* The next part of the text, owned by the caller: of its own size, so that reading past it shows.
 */
static char *take_part(struct mu_slice *rest)
{
    size_t len = strnlen(rest->ptr, rest->len);
    char *part = mu_slice_dup((struct mu_slice){.ptr = rest->ptr, .len = len});
    size_t used = len < rest->len ? len + 1 : len;
    rest->ptr += used;
    rest->len -= used;
    return part;
}

/* A set that was read is read again from what it is written as. */
static void read_cpus(const char *text)
{
    struct cpu_mask mask;
    struct cpu_mask again;
    if (cpu_mask_parse(text, &mask) != 0) {
        return;
    }
    struct mu_buf out = {0};
    cpu_mask_format(&mask, &out);
    mu_autofree char *formatted = mu_buf_take_text(&out);
    MU_REQUIRE(cpu_mask_parse(formatted, &again) == 0 && cpu_mask_eq(&mask, &again));
}

static struct gpu_list make_list(unsigned count, enum gpu_maker maker)
{
    struct gpu_list list = {.maker = maker};
    for (unsigned i = 0; i < count; i++) {
        struct gpu *gpu = gpu_list_add(&list);
        gpu->numa_node = (int)i;
        gpu->is_mig = maker == GPU_NVIDIA && i % 4 == 3;
        snprintf(gpu->pci, sizeof(gpu->pci), "0000:%02x:00.0", i);
        if (count % 2 == 0) {
            snprintf(gpu->uuid, sizeof(gpu->uuid), "%s-%x", gpu->is_mig ? "MIG" : "GPU", i);
        }
    }
    return list;
}

/* What is chosen is there, or is a UUID to be believed; of NVIDIA and AMD nothing comes twice. */
static void choose_gpus(struct mu_slice rest, uint8_t how)
{
    static const char *const names[] = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
                                        "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"};
    char *envp[MU_COUNT(names) + 1] = {NULL};
    for (size_t i = 0; i < MU_COUNT(names) && rest.len > 0; i++) {
        mu_autofree char *value = take_part(&rest);
        envp[i] = mu_asprintf("%s=%s", names[i], value);
    }
    enum gpu_maker maker = (enum gpu_maker)(how % 3);
    unsigned count = how / 3 % 16;
    struct gpu_list list = make_list(count, maker);
    gpu_visible_apply(&list, envp);
    MU_REQUIRE(list.count <= GPU_LIST_MAX);
    for (size_t i = 0; i < list.count; i++) {
        const struct gpu *gpu = &list.items[i];
        MU_REQUIRE(memchr(gpu->uuid, '\0', sizeof(gpu->uuid)) != NULL);
        MU_REQUIRE(gpu->numa_node < (int)count);
        MU_REQUIRE(gpu->numa_node >= 0 || gpu->uuid[0] != '\0');
        for (size_t k = 0; k < i && maker != GPU_INTEL && gpu->numa_node >= 0; k++) {
            MU_REQUIRE(list.items[k].numa_node != gpu->numa_node);
        }
    }
    gpu_list_fini(&list);
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        free(envp[i]);
    }
}

static void read_cgroups(struct mu_slice rest)
{
    mu_autofree char *cgroup = take_part(&rest);
    mu_autofree char *mountinfo = take_part(&rest);
    mu_autofree char *dir = NULL;
    mu_autofree char *name = NULL;
    mu_autofree char *path = cgroup_path(cgroup, "cpu");
    MU_REQUIRE(path == NULL || (path[0] == '/' && strchr(path, '\n') == NULL));
    if (oom_watch_locate(cgroup, mountinfo, &dir, &name) != 0) {
        MU_REQUIRE(dir[0] == '/' && name[0] == '/' && strchr(dir, '\n') == NULL);
    }
    uint64_t value;
    (void)mu_find_number(mountinfo, "oom_kill", &value);
}

static void expand_core(const char *pattern, uint8_t how)
{
    struct core_file_of of = {.pid = 12345, .signo = how, .cwd = "/cwd"};
    mu_autofree char *path = core_file_expand(pattern, how % 2 == 0, &of);
    MU_REQUIRE(path == NULL || path[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct mu_slice rest = {.ptr = (const char *)data + 2, .len = size - 2};
    if (data[0] % 4 == 1) {
        choose_gpus(rest, data[1]);
        return 0;
    }
    if (data[0] % 4 == 2) {
        read_cgroups(rest);
        return 0;
    }
    mu_autofree char *text = take_part(&rest);
    if (data[0] % 4 == 0) {
        read_cpus(text);
    } else {
        expand_core(text, data[1]);
    }
    return 0;
}
