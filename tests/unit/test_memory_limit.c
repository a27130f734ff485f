/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/memory_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

static void test_version_2(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    assert_true(memory_limit(&r.host) == INT64_MAX); /* no control groups at all */
    host_rig_write(&r, "0::/a/b\n", "/proc/self/cgroup");
    host_rig_write(&r, "max\n", "/sys/fs/cgroup/a/b/memory.max");
    assert_true(memory_limit(&r.host) == INT64_MAX);
    host_rig_write(&r, "8589934592\n", "/sys/fs/cgroup/a/memory.max");
    assert_int_equal(memory_limit(&r.host), INT64_C(8) << 30); /* of the group above */
    host_rig_write(&r, "nonsense\n", "/sys/fs/cgroup/a/memory.max");
    assert_true(memory_limit(&r.host) == INT64_MAX);
    host_rig_fini(&r);
}

static void test_version_1(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "5:memory:/slurm/job_7\n3:cpu,cpuacct:/\n", "/proc/self/cgroup");
    host_rig_write(&r, "9223372036854771712\n", /* what the kernel says for none */
                   "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes");
    assert_true(memory_limit(&r.host) == INT64_MAX);
    host_rig_write(&r, "1073741824\n", "/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes");
    assert_int_equal(memory_limit(&r.host), INT64_C(1) << 30);
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
