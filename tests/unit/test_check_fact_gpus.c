/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs with faults, from NVML and the kernel's log to what is found.
 */
#include "launcher/check_fact.h"

#include "tests/unit/check_rig.h"
#include "tests/unit/host_rig.h"

#define A "0000:1b:00.0"
#define B "0000:4e:00.0"

static void add_gpus(struct host_rig *r)
{
    host_rig_nvidia(r, A, 0, "GPU-a", 0);
    host_rig_nvidia(r, B, 1, "GPU-b", 1);
    r->host.nvml_library = host_rig_nvml();
    setenv("FAKE_NVML", A " GPU-a;" B " GPU-b", 1);
    mu_autofree char *use = mu_asprintf("%s/use", r->root);
    setenv("FAKE_NVML_USE", use, 1);
    unsetenv("FAKE_NVML_HEALTH");
    host_rig_write(r, B " 2048 77:2000 78:10\n", "/use");
    host_rig_write(r, "python3\n", "/proc/77/comm");
}

/* What of the facts of a node is found, in words of check_rig_expect(). */
static void assert_found(const struct host_rig *r, const char *expected)
{
    json_t *facts = json_pack("{s:s}", "node", "n");
    json_t *gpus = check_fact_gpus(&r->host);
    if (gpus != NULL) {
        json_object_set_new(facts, "gpus", gpus);
    }
    struct check_findings list = {0};
    check_local(facts, &list);
    check_rig_expect(&list, expected);
    check_findings_fini(&list);
    json_decref(facts);
}

static void test_gpus(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    assert_null(check_fact_gpus(&r.host));
    add_gpus(&r);
    json_t *gpus = check_fact_gpus(&r.host);
    check_rig_assert(gpus, "maker", "\"NVIDIA\"");
    check_rig_assert(gpus, "count", "2");
    check_rig_assert(gpus, "machine", "2");
    check_rig_assert(gpus, "nvml", "0");
    check_rig_assert(gpus, "driver", "\"550.54.15\"");
    check_rig_assert(gpus, "cuda", "\"12.4\"");
    check_rig_assert(gpus, "devices.0.model", "\"NVIDIA H100 80GB HBM3\"");
    check_rig_assert(gpus, "devices.0.memory", "85520809984");
    check_rig_assert(gpus, "devices.0.used", "0");
    check_rig_assert(gpus, "devices.0.is_too_hot", "false");
    check_rig_assert(gpus, "devices.1.name", "\"GPU 1 (" B ")\"");
    check_rig_assert(gpus, "devices.1.used", "2147483648");
    check_rig_assert(gpus, "devices.1.processes",
                     "[{\"name\":\"python3\",\"pid\":77},{\"name\":\"\",\"pid\":78}]");
    json_decref(gpus);
    assert_found(&r, "n:gpu-busy");
    host_rig_write(&r, "", "/use");
    assert_found(&r, "");

    static const struct {
        const char *health;
        const char *found;
    } rows[] = {
        {A " lost=15", "!n:gpu-lost"},
        {A " lost=4", ""}, /* not ours to ask */
        {B " ecc=3", "n:gpu-memory"},
        {A " failed=1;" B " ecc=1", "!n:gpu-memory,n:gpu-memory"},
        {B " pending=1", "n:gpu-memory"},
        {A " slow=64;" B " slow=64", "n:gpu-slow"},
        {B " slow=128", "n:gpu-slow"},
        {A " slow=4", ""}, /* a power cap is no fault */
        {A " mig=1", "n:gpu-mig,n:gpu-mig"},
        {A " mig-pending=1", "n:gpu-mig"},
        {A " mig=1 mig-pending=1;" B " mig=1 mig-pending=1", ""},
        {"driver mismatch=18", "!n:gpu-driver"},
    };
    for (size_t i = 0; i < MU_COUNT(rows); i++) {
        setenv("FAKE_NVML_HEALTH", rows[i].health, 1);
        assert_found(&r, rows[i].found);
    }
    unsetenv("FAKE_NVML_HEALTH");
    r.host.nvml_library = NULL;
    assert_found(&r, "n:gpu-driver");
    host_rig_fini(&r);
}

/* Hardware errors of the last day, of GPUs that are ours. */
static void test_xids(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    add_gpus(&r);
    host_rig_write(&r, "", "/use");
    host_rig_write(&r, "200000.5 1.0\n", "/proc/uptime");
    host_rig_write(&r,
                   "6,1,1000,-;Linux version\n"
                   "4,2,1000000000,-;NVRM: Xid (PCI:0000:4e:00): 79, pid=1, long ago\n"
                   "4,3,190000000000,-;NVRM: Xid (PCI:0000:1b:00): 31, pid=1, a program's fault\n"
                   "4,4,190000000000,-;NVRM: Xid (PCI:0000:99:00): 79, pid=1, of others\n"
                   "4,5,190000000000,-;NVRM: Xid (PCI:0000:1b:00): 74, pid=1, NVLink\n"
                   "4,6,191000000000,-;NVRM: Xid (PCI:0000:1b:00): 74, pid=1, NVLink\n"
                   "4,7,191000000000,-;NVRM: Xid (PCI:",
                   "/dev/kmsg");
    json_t *gpus = check_fact_gpus(&r.host);
    check_rig_assert(gpus, "xids",
                     "[{\"means\":\"an error of NVLink\",\"pci\":\"0000:1b:00\",\"xid\":74}]");
    json_decref(gpus);
    assert_found(&r, "n:gpu-xid");
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_xids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
