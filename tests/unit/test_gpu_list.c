/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_list.h"

#include "muster/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

static void set_env(struct host_rig *r, const char *const *entries)
{
    size_t i = 0;
    for (; entries[i] != NULL; i++) {
        assert_true(i + 1 < MU_COUNT(r->env));
        r->env[i] = (char *)(uintptr_t)entries[i];
    }
    r->env[i] = NULL;
}
#define SET_ENV(r, ...) set_env(r, (const char *const[]){__VA_ARGS__, NULL})

/* What is found, as "PCI@node PCI@node | where"; a device without an address is its UUID, or ?. */
static void assert_found(struct host_rig *r, enum gpu_want want, const char *expected)
{
    struct gpu_list list;
    struct mu_buf text = {0};
    gpu_list_find(&r->host, want, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct gpu *gpu = &list.items[i];
        const char *name = gpu->pci[0] != '\0' && !gpu->is_mig ? gpu->pci : gpu->uuid;
        mu_buf_printf(&text, "%s@%d ", name[0] != '\0' ? name : "?", gpu->numa_node);
    }
    mu_buf_printf(&text, "| %s", list.found_in != NULL ? list.found_in : "nowhere");
    if (list.limited_by != NULL) {
        mu_buf_printf(&text, ", %s of %zu", list.limited_by, list.total);
    }
    mu_buf_append_u8(&text, '\0');
    assert_string_equal((char *)text.data, expected);
    mu_buf_fini(&text);
    gpu_list_fini(&list);
}

#define A "0000:1b:00.0"
#define B "0000:4e:00.0"
#define C "0001:03:00.0"

/* Three GPUs whose device files are in another order than their addresses. */
static void three_gpus(struct host_rig *r)
{
    host_rig_init(r, "0-7");
    host_rig_nvidia(r, C, 0, "GPU-cc11", 1);
    host_rig_nvidia(r, A, 1, "GPU-aa11", 0);
    host_rig_nvidia(r, B, 2, "GPU-aa22", -1);
}

static void test_none(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    assert_found(&r, GPU_WANT_ANY, "| nowhere");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=0,1"); /* says nothing where there is no driver */
    assert_found(&r, GPU_WANT_ANY, "| nowhere");
    host_rig_fini(&r);
}

static void test_proc(void **state)
{
    (void)state;
    struct host_rig r;
    three_gpus(&r);
    assert_found(&r, GPU_WANT_ANY, A "@0 " B "@-1 " C "@1 | /proc/driver/nvidia/gpus");
    assert_found(&r, GPU_WANT_XPU, "| nowhere");
    host_rig_fini(&r);
}

/* A container, or Slurm, shows all in /proc and lets us open some. */
static void test_those_that_may_be_opened(void **state)
{
    (void)state;
    struct host_rig r;
    three_gpus(&r);
    mu_autofree char *path = host_rig_place(&r, "/dev/nvidia1");
    assert_int_equal(unlink(path), 0);
    assert_found(&r, GPU_WANT_GPU, B "@-1 " C "@1 | /proc/driver/nvidia/gpus");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=1"); /* of those */
    assert_found(&r, GPU_WANT_GPU, C "@1 | /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 2");
    host_rig_fini(&r);
}

/* Nothing has used a GPU since the machine started: CUDA will make the device files. */
static void test_no_device_files_yet(void **state)
{
    (void)state;
    struct host_rig r;
    three_gpus(&r);
    for (int i = 0; i < 3; i++) {
        mu_autofree char *name = mu_asprintf("/dev/nvidia%d", i);
        mu_autofree char *path = host_rig_place(&r, name);
        assert_int_equal(unlink(path), 0);
    }
    assert_found(&r, GPU_WANT_ANY, A "@0 " B "@-1 " C "@1 | /proc/driver/nvidia/gpus");
    host_rig_fini(&r);
}

static void test_cuda_visible_devices(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *found;
    } cases[] = {
        {"", ""},
        {"0", A "@0 "},
        {"2,0", C "@1 " A "@0 "},
        {" 1 , 2", B "@-1 " C "@1 "},
        {"1gpu2,2ampere", B "@-1 " C "@1 "}, /* as strtoul() reads it */
        {"0,-1,1", A "@0 "},                 /* the first that is none ends it */
        {"-1", ""},
        {"0,3,1", A "@0 "},
        {"NoDevFiles", ""},
        {"0,1,0", ""}, /* twice: void */
        {"0,,1", A "@0 "},
        {"99999999999999999999", ""},
        {"GPU-aa22", B "@-1 "},
        {"GPU-c,GPU-aa1", C "@1 " A "@0 "}, /* beginnings will do */
        {"GPU-aa", ""},                     /* whose? */
        {"GPU-aa11,1", A "@0 "},            /* one kind of name */
        {"1,GPU-aa11", B "@-1 "},
        {"GPU-aa11,GPU-aa11", ""},
        {"GPU-zz", ""},
    };
    struct host_rig r;
    three_gpus(&r);
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *entry = mu_asprintf("CUDA_VISIBLE_DEVICES=%s", cases[i].value);
        mu_autofree char *expected =
            mu_asprintf("%s| /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 3", cases[i].found);
        SET_ENV(&r, entry);
        assert_found(&r, GPU_WANT_ANY, expected);
    }
    host_rig_fini(&r);
}

static void test_nvml(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    r.host.nvml_library = host_rig_nvml();
    unsetenv("FAKE_NVML");
    assert_found(&r, GPU_WANT_ANY, "| nowhere");
    setenv("FAKE_NVML", B " GPU-b;" A " GPU-a", 1);
    host_rig_write(&r, "1", "/sys/bus/pci/devices/" B "/numa_node");
    assert_found(&r, GPU_WANT_ANY, A "@-1 " B "@1 | NVML");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=GPU-b");
    assert_found(&r, GPU_WANT_ANY, B "@1 | NVML, CUDA_VISIBLE_DEVICES of 2");
    r.host.nvml_library = "/no/such/libnvidia-ml.so.1";
    assert_found(&r, GPU_WANT_ANY, "| nowhere");
    host_rig_fini(&r);
}

/* /proc knows a UUID only once the GPU was used. */
static void test_nvml_where_proc_lacks_names(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_nvidia(&r, A, 0, "GPU-\?\?\?\?\?\?\?\?-\?\?\?\?", 0);
    host_rig_nvidia(&r, B, 1, "GPU-b", 1);
    r.host.nvml_library = host_rig_nvml();
    setenv("FAKE_NVML", A " GPU-a;" B " GPU-b", 1);
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=1");
    assert_found(&r, GPU_WANT_ANY, B "@1 | /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 2");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=GPU-a");
    assert_found(&r, GPU_WANT_ANY, A "@0 | NVML, CUDA_VISIBLE_DEVICES of 2");
    host_rig_fini(&r);
}

static void test_mig(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_nvidia(&r, A, 0, "GPU-a", 0);
    host_rig_nvidia(&r, B, 1, "GPU-b", 1);
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=MIG-b2,MIG-a1"); /* without NVML: believed */
    assert_found(&r, GPU_WANT_ANY,
                 "MIG-b2@-1 MIG-a1@-1 | /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 2");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=MIG-b2,MIG-b2");
    assert_found(&r, GPU_WANT_ANY, "| /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 2");
    r.host.nvml_library = host_rig_nvml();
    setenv("FAKE_NVML", A " GPU-a MIG-a1;" B " GPU-b MIG-b1 MIG-b2", 1);
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=MIG-b2,MIG-a1");
    assert_found(&r, GPU_WANT_ANY, "MIG-b2@1 MIG-a1@0 | NVML, CUDA_VISIBLE_DEVICES of 2");
    r.env[0] = NULL; /* not chosen by name: whole GPUs */
    assert_found(&r, GPU_WANT_ANY, A "@0 " B "@1 | /proc/driver/nvidia/gpus");
    host_rig_fini(&r);
}

static void test_device_files_alone(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    static const char *const names[] = {"nvidia0", "nvidia1", "nvidia10", "nvidiactl",
                                        "nvidia-uvm"};
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        host_rig_write(&r, "", "/dev/%s", names[i]);
    }
    assert_found(&r, GPU_WANT_ANY, "?@-1 ?@-1 ?@-1 | /dev/nvidiaN");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=2,0");
    assert_found(&r, GPU_WANT_ANY, "?@-1 ?@-1 | /dev/nvidiaN, CUDA_VISIBLE_DEVICES of 3");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=2,2");
    assert_found(&r, GPU_WANT_ANY, "| /dev/nvidiaN, CUDA_VISIBLE_DEVICES of 3");
    host_rig_fini(&r);
}

static void pci_device(const struct host_rig *r, const char *pci, const char *vendor,
                       const char *class, const char *driver)
{
    host_rig_write(r, vendor, "/sys/bus/pci/devices/%s/vendor", pci);
    host_rig_write(r, class, "/sys/bus/pci/devices/%s/class", pci);
    mu_autofree char *path = mu_asprintf("/sys/bus/pci/devices/%s/driver", pci);
    mu_autofree char *target = mu_asprintf("../../../bus/pci/drivers/%s", driver);
    host_rig_link(r, path, target);
}

static void test_pci(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    pci_device(&r, A, "0x10de", "0x030200", "nvidia");
    pci_device(&r, "0000:1b:00.1", "0x10de", "0x040300", "snd_hda_intel"); /* its sound */
    pci_device(&r, B, "0x10de", "0x030000", "vfio-pci");                   /* a guest's */
    pci_device(&r, "0000:00:02.0", "0x8086", "0x030000", "i915");
    assert_found(&r, GPU_WANT_ANY, A "@-1 | /sys/bus/pci");
    host_rig_fini(&r);
}

static void kfd_node(const struct host_rig *r, unsigned node, unsigned simds, unsigned bus)
{
    char text[256];
    snprintf(text, sizeof(text),
             "cpu_cores_count %d\nsimd_count %u\nlocation_id %u\ndomain 0\ndrm_render_minor %u\n"
             "unique_id %u\n",
             simds > 0 ? 0 : 64, simds, bus << 8, 128 + node, 0xabc0 + node);
    host_rig_write(r, text, "/sys/class/kfd/kfd/topology/nodes/%u/properties", node);
    if (simds > 0) {
        host_rig_write(r, "", "/dev/dri/renderD%u", 128 + node);
    }
}

static void test_amd(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    kfd_node(&r, 0, 0, 0); /* a CPU */
    kfd_node(&r, 1, 416, 0xc1);
    kfd_node(&r, 2, 416, 0xc6);
    kfd_node(&r, 3, 416, 0xd1);
    host_rig_write(&r, "", "/sys/class/kfd/kfd/topology/nodes/4/properties"); /* not ours */
    host_rig_write(&r, "3", "/sys/bus/pci/devices/0000:c6:00.0/numa_node");
    assert_found(&r, GPU_WANT_ANY,
                 "0000:c1:00.0@-1 0000:c6:00.0@3 0000:d1:00.0@-1 | /sys/class/kfd");
    SET_ENV(&r, "ROCR_VISIBLE_DEVICES=2,1", "HIP_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=0");
    assert_found(&r, GPU_WANT_GPU, "0000:c6:00.0@3 | /sys/class/kfd, HIP_VISIBLE_DEVICES of 3");
    SET_ENV(&r, "CUDA_VISIBLE_DEVICES=2");
    assert_found(&r, GPU_WANT_GPU, "0000:d1:00.0@-1 | /sys/class/kfd, CUDA_VISIBLE_DEVICES of 3");
    SET_ENV(&r, "ROCR_VISIBLE_DEVICES=GPU-000000000000abc2");
    assert_found(&r, GPU_WANT_GPU, "0000:c6:00.0@3 | /sys/class/kfd, ROCR_VISIBLE_DEVICES of 3");
    host_rig_fini(&r);
}

static void intel_card(const struct host_rig *r, const char *card, const char *pci)
{
    mu_autofree char *link = mu_asprintf("/sys/class/drm/%s/device", card);
    mu_autofree char *target = mu_asprintf("../../../bus/pci/devices/%s", pci);
    host_rig_link(r, link, target);
    host_rig_write(r, "0x8086", "/sys/bus/pci/devices/%s/vendor", pci);
    host_rig_write(r, "0x038000", "/sys/bus/pci/devices/%s/class", pci);
}

static void test_intel(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    intel_card(&r, "card0", "0000:00:02.0"); /* in the processor */
    intel_card(&r, "card1", "0000:29:00.0");
    intel_card(&r, "card2", "0000:9a:00.0");
    host_rig_write(&r, "", "/sys/class/drm/card1-DP-1/status");
    host_rig_write(&r, "1", "/sys/bus/pci/devices/0000:9a:00.0/numa_node");
    assert_found(&r, GPU_WANT_XPU, "0000:29:00.0@-1 0000:9a:00.0@1 | /sys/class/drm");
    assert_found(&r, GPU_WANT_GPU, "| nowhere");
    SET_ENV(&r, "ZE_AFFINITY_MASK=1.0,1.1");
    assert_found(&r, GPU_WANT_ANY,
                 "0000:9a:00.0@1 0000:9a:00.0@1 | /sys/class/drm, ZE_AFFINITY_MASK of 2");
    host_rig_fini(&r);
}

static void test_slurm(void **state)
{
    (void)state;
    struct host_rig r;
    three_gpus(&r);
    SET_ENV(&r, "SLURM_GPUS_ON_NODE=2");
    assert_found(&r, GPU_WANT_ANY,
                 A "@0 " B "@-1 | /proc/driver/nvidia/gpus, SLURM_GPUS_ON_NODE of 3");
    SET_ENV(&r, "SLURM_GPUS_ON_NODE=3", "SLURM_JOB_GPUS=0,1,2", "SLURM_STEP_GPUS=7");
    assert_found(&r, GPU_WANT_ANY, A "@0 | /proc/driver/nvidia/gpus, SLURM_STEP_GPUS of 3");
    SET_ENV(&r, "SLURM_GPUS_ON_NODE=2", "CUDA_VISIBLE_DEVICES=2"); /* the closer one */
    assert_found(&r, GPU_WANT_ANY, C "@1 | /proc/driver/nvidia/gpus, CUDA_VISIBLE_DEVICES of 3");
    SET_ENV(&r, "SLURM_GPUS_ON_NODE=many");
    assert_found(&r, GPU_WANT_ANY, A "@0 " B "@-1 " C "@1 | /proc/driver/nvidia/gpus");
    host_rig_fini(&r);
    host_rig_init(&r, "0"); /* a kind of GPU that is not known here */
    SET_ENV(&r, "SLURM_JOB_GPUS=4,5");
    assert_found(&r, GPU_WANT_ANY, "?@-1 ?@-1 | nowhere, SLURM_JOB_GPUS of 0");
    SET_ENV(&r, "SLURM_STEP_GPUS=0-1,6");
    assert_found(&r, GPU_WANT_ANY, "?@-1 ?@-1 ?@-1 | nowhere, SLURM_STEP_GPUS of 0");
    SET_ENV(&r, "SLURM_STEP_GPUS=0", "CUDA_VISIBLE_DEVICES="); /* hidden on purpose */
    assert_found(&r, GPU_WANT_ANY, "| nowhere");
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_proc),
        cmocka_unit_test(test_those_that_may_be_opened),
        cmocka_unit_test(test_no_device_files_yet),
        cmocka_unit_test(test_cuda_visible_devices),
        cmocka_unit_test(test_nvml),
        cmocka_unit_test(test_nvml_where_proc_lacks_names),
        cmocka_unit_test(test_mig),
        cmocka_unit_test(test_device_files_alone),
        cmocka_unit_test(test_pci),
        cmocka_unit_test(test_amd),
        cmocka_unit_test(test_intel),
        cmocka_unit_test(test_slurm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
