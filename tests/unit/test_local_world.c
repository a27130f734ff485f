/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/local_world.h"

#include "muster/buf.h"
#include "muster/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

static const struct host_rig_shape two_nodes = {
    .sockets = 2, .nodes = 1, .cores = 4, .threads = 2, .cache_cores = 4};

struct scene {
    struct host_rig host;
    struct options opts;
    struct local_world world;
    struct mu_err err;
};

static void scene_init(struct scene *s, const char *allowed)
{
    memset(s, 0, sizeof(*s));
    host_rig_init(&s->host, allowed);
    options_init(&s->opts, OPTIONS_RUN);
}

static void scene_fini(struct scene *s)
{
    local_world_fini(&s->world);
    host_rig_fini(&s->host);
}

static void set_entry(struct scene *s, const char *entry)
{
    s->host.env[0] = (char *)(uintptr_t)entry;
}

static int resolve(struct scene *s, int64_t nproc)
{
    local_world_fini(&s->world);
    mu_err_clear(&s->err);
    s->opts.nproc_per_node = nproc;
    return local_world_resolve(&s->opts, &s->host.host, &s->world, &s->err);
}

static void assert_count(struct scene *s, int64_t nproc, int64_t expected, const char *source)
{
    if (resolve(s, nproc) != 0) {
        fail_msg("%s", s->err.text);
    }
    assert_int_equal(s->opts.nproc_per_node, expected);
    assert_string_equal(s->world.source, source);
}

static void assert_refused(struct scene *s, int64_t nproc, const char *why)
{
    assert_int_equal(resolve(s, nproc), -1);
    assert_int_equal(s->err.code, MU_E_USAGE);
    assert_string_equal(s->err.text, why);
}

/* Under a scheduler that gave no GPUs, and without --nproc-per-node. */
static void test_ungiven(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-7");
    static const struct sched sched = {.kind = SCHED_SLURM, .name = "Slurm"};
    assert_count(&s, 1, 1, "");
    assert_false(s.world.is_ungiven);
    s.opts.sched = &sched;
    assert_count(&s, 1, 1, "");
    assert_true(s.world.is_ungiven);
    s.opts.origin[OPTION_nproc_per_node] = OPTIONS_FROM_CLI;
    assert_count(&s, 1, 1, "");
    assert_false(s.world.is_ungiven);
    scene_fini(&s);
}

static void test_ungiven_with_gpus(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-7");
    static const struct sched sched = {.kind = SCHED_SLURM, .name = "Slurm"};
    s.opts.sched = &sched;
    host_rig_nvidia(&s.host, "0000:1b:00.0", 0, "GPU-a", 0);
    host_rig_nvidia(&s.host, "0000:3b:00.0", 1, "GPU-b", 0);
    assert_count(&s, 1, 2, "the GPUs in /proc/driver/nvidia/gpus");
    assert_false(s.world.is_ungiven);
    scene_fini(&s);
}

static void test_numbers_are_kept(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0");
    assert_count(&s, 5, 5, "");
    assert_null(s.world.binding);
    scene_fini(&s);
}

static void test_cpus(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-3,8");
    assert_count(&s, OPTIONS_NPROC_CPU, 5, "the CPUs this process may use");
    assert_count(&s, OPTIONS_NPROC_AUTO, 5, "the CPUs this process may use");
    host_rig_write(&s.host, "0::/a\n", "/proc/self/cgroup");
    host_rig_write(&s.host, "300000 100000", "/sys/fs/cgroup/a/cpu.max");
    assert_count(&s, OPTIONS_NPROC_AUTO, 3, "the control group's CPU quota");
    scene_fini(&s);
    scene_init(&s, "0-4095");
    assert_count(&s, OPTIONS_NPROC_CPU, MU_MAX_LOCAL_WORLD, "the CPUs this process may use");
    scene_fini(&s);
}

static void test_gpus(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-3");
    host_rig_nvidia(&s.host, "0000:01:00.0", 0, "GPU-a", 0);
    host_rig_nvidia(&s.host, "0000:02:00.0", 1, "GPU-b", 0);
    assert_count(&s, OPTIONS_NPROC_AUTO, 2, "the GPUs in /proc/driver/nvidia/gpus");
    assert_count(&s, OPTIONS_NPROC_GPU, 2, "the GPUs in /proc/driver/nvidia/gpus");
    assert_count(&s, OPTIONS_NPROC_CPU, 4, "the CPUs this process may use");
    set_entry(&s, "CUDA_VISIBLE_DEVICES=1");
    assert_count(&s, OPTIONS_NPROC_GPU, 1,
                 "CUDA_VISIBLE_DEVICES=1 of 2 GPUs in /proc/driver/nvidia/gpus");
    set_entry(&s, "CUDA_VISIBLE_DEVICES=");
    assert_count(&s, OPTIONS_NPROC_AUTO, 4, "the CPUs this process may use");
    assert_refused(&s, OPTIONS_NPROC_GPU,
                   "--nproc-per-node gpu: this machine has 2 GPUs, but CUDA_VISIBLE_DEVICES='' "
                   "leaves none of them; correct it or unset it");
    scene_fini(&s);
    scene_init(&s, "0-3");
    set_entry(&s, "SLURM_GPUS_ON_NODE=8");
    assert_count(&s, OPTIONS_NPROC_GPU, 8, "SLURM_GPUS_ON_NODE=8");
    scene_fini(&s);
}

static void test_no_gpus(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0");
    assert_refused(&s, OPTIONS_NPROC_GPU,
                   "--nproc-per-node gpu: no GPU of this machine can be used (NVIDIA: "
                   "/proc/driver/nvidia, NVML, /dev, PCI; AMD: /sys/class/kfd and /dev/dri); load "
                   "the driver, ask the scheduler or container for GPUs, or give a number");
    assert_refused(&s, OPTIONS_NPROC_XPU,
                   "--nproc-per-node xpu: no GPU of this machine can be used (Intel: "
                   "/sys/class/drm); load the driver, ask the scheduler or container for GPUs, or "
                   "give a number");
    scene_fini(&s);
}

/* A CUDA process sees one MIG device; with --virtual-local-rank each worker gets its own. */
static void test_mig(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-3");
    host_rig_nvidia(&s.host, "0000:01:00.0", 0, "GPU-a", 0);
    set_entry(&s, "CUDA_VISIBLE_DEVICES=MIG-1,MIG-2,MIG-3");
    static const char source[] =
        "CUDA_VISIBLE_DEVICES=MIG-1,MIG-2,MIG-3 of 1 GPU in /proc/driver/nvidia/gpus";
    assert_count(&s, OPTIONS_NPROC_GPU, 1, source);
    s.opts.virtual_local_rank = true;
    assert_count(&s, OPTIONS_NPROC_GPU, 3, source);
    scene_fini(&s);
}

static void test_binding(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "0-15");
    host_rig_topology(&s.host, &two_nodes);
    host_rig_nvidia(&s.host, "0000:01:00.0", 0, "GPU-a", 0);
    host_rig_nvidia(&s.host, "0000:02:00.0", 1, "GPU-b", 1);
    assert_count(&s, 2, 2, "");
    assert_non_null(s.world.binding);
    assert_string_equal(s.world.binding->workers[1].pci, "0000:02:00.0");
    assert_int_equal(s.world.binding->workers[1].cores, 4);
    assert_count(&s, 1, 1, "");
    assert_null(s.world.binding);
    assert_count(&s, OPTIONS_NPROC_AUTO, 2, "the GPUs in /proc/driver/nvidia/gpus");
    assert_non_null(s.world.binding);
    s.opts.numa_binding = "none";
    assert_count(&s, 2, 2, "");
    assert_null(s.world.binding);
    s.opts.numa_binding = "exclusive";
    assert_refused(&s, 3,
                   "--numa-binding exclusive: 3 workers, but only 2 GPUs for them to be near; use "
                   "--numa-binding none, or a worker for each GPU");
    s.opts.numa_binding = "node";
    assert_count(&s, OPTIONS_NPROC_CPU, 16, "the CPUs this process may use");
    assert_false(s.world.binding->has_gpus); /* they are there for the CPUs */
    scene_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ungiven),
        cmocka_unit_test(test_ungiven_with_gpus),
        cmocka_unit_test(test_numbers_are_kept),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_no_gpus),
        cmocka_unit_test(test_mig),
        cmocka_unit_test(test_binding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
