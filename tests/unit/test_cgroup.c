/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cgroup.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_path(void **state)
{
    (void)state;
    static const char hybrid[] = "9:name=systemd:/s\n4:cpu,memory:/slurm/job:7\n0::/y";
    const struct {
        const char *text;
        const char *controller;
        const char *want;
    } cases[] = {
        {hybrid, "memory", "/slurm/job:7"},
        {hybrid, "cpu", "/slurm/job:7"},
        {hybrid, NULL, "/y"},
        {hybrid, "mem", NULL},
        {hybrid, "memory2", NULL},
        {hybrid, "blkio", NULL},
        {"0::/\n", NULL, "/"},
        {"0::/\n", "memory", NULL},
        {"4:memory:/a\n4:memory:/b\n", "memory", "/a"},
        {"", NULL, NULL},
        {"\n\n0::/x\n", NULL, "/x"},
        {"nonsense\n:\n::\n0::\n0::x", NULL, NULL},
        {"4:memory\n:/x", "memory", NULL}, /* a line's end is its end */
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *got = cgroup_path(cases[i].text, cases[i].controller);
        if (cases[i].want == NULL) {
            assert_null(got);
        } else {
            assert_non_null(got);
            assert_string_equal(got, cases[i].want);
        }
    }
}

static void test_controllers(void **state)
{
    (void)state;
    assert_true(cgroup_has_controller(mu_slice_of("rw,memory"), "memory"));
    assert_true(cgroup_has_controller(mu_slice_of("memory,rw"), "memory"));
    assert_false(cgroup_has_controller(mu_slice_of("memory_x,xmemory"), "memory"));
    assert_false(cgroup_has_controller(mu_slice_of(""), "memory"));
    assert_false(cgroup_has_controller(mu_slice_of(",,"), "memory"));
    assert_false(cgroup_has_controller((struct mu_slice){.ptr = "memory", .len = 3}, "memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_controllers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
