/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

static void test_no_quota(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    assert_true(cpu_quota(&r.host) == INT64_MAX); /* no control groups at all */
    host_rig_write(&r, "0::/a/b\n", "/proc/self/cgroup");
    assert_true(cpu_quota(&r.host) == INT64_MAX);
    host_rig_write(&r, "max 100000\n", "/sys/fs/cgroup/a/b/cpu.max");
    assert_true(cpu_quota(&r.host) == INT64_MAX);
    host_rig_write(&r, "nonsense", "/sys/fs/cgroup/a/cpu.max");
    assert_true(cpu_quota(&r.host) == INT64_MAX);
    host_rig_fini(&r);
}

static void test_the_least_of_those_above(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "0::/a/b/c\n", "/proc/self/cgroup");
    host_rig_write(&r, "800000 100000\n", "/sys/fs/cgroup/a/b/c/cpu.max");
    host_rig_write(&r, "350000 100000\n", "/sys/fs/cgroup/a/b/cpu.max");
    host_rig_write(&r, "max 100000\n", "/sys/fs/cgroup/a/cpu.max");
    assert_int_equal(cpu_quota(&r.host), 3); /* 3.5 */
    host_rig_write(&r, "20000 100000\n", "/sys/fs/cgroup/a/cpu.max");
    assert_int_equal(cpu_quota(&r.host), 1); /* 0.2 */
    host_rig_fini(&r);
}

/* A container without a namespace of its own sees the path outside and the files inside. */
static void test_the_top_in_a_container(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "0::/kubepods/pod1/x\n", "/proc/self/cgroup");
    host_rig_write(&r, "400000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cpu_quota(&r.host), 4);
    host_rig_write(&r, "0::/../../x\n", "/proc/self/cgroup");
    assert_int_equal(cpu_quota(&r.host), 4);
    host_rig_fini(&r);
}

static void test_version_1(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "9:name=systemd:/\n3:cpuset:/x\n1:cpu,cpuacct:/docker/7\n0::/\n",
                   "/proc/self/cgroup");
    host_rig_write(&r, "-1\n", "/sys/fs/cgroup/cpu/docker/7/cpu.cfs_quota_us");
    host_rig_write(&r, "100000\n", "/sys/fs/cgroup/cpu/docker/7/cpu.cfs_period_us");
    assert_true(cpu_quota(&r.host) == INT64_MAX);
    host_rig_write(&r, "200000\n", "/sys/fs/cgroup/cpu/docker/7/cpu.cfs_quota_us");
    assert_int_equal(cpu_quota(&r.host), 2);
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_quota),
        cmocka_unit_test(test_the_least_of_those_above),
        cmocka_unit_test(test_the_top_in_a_container),
        cmocka_unit_test(test_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
