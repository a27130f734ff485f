/* SPDX-License-Identifier: Apache-2.0 */
/* Where the counters are, and what they say. Real OOM kills: tests/e2e/test_deaths.py */
#include "launcher/oom_watch.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char v2[] = "25 30 0:23 / /proc rw - proc proc rw\n"
                         "29 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
static const char v1[] = "40 38 0:34 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                         "41 38 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                         "50 38 0:45 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char docker_v1[] = "1 2 0:3 /docker/abc /sys/fs/cgroup/memory ro master:4 - cgroup "
                                "cgroup rw,memory\n";

static void expect(const char *cgroup, const char *mountinfo, int version, const char *dir,
                   const char *name)
{
    char *got_dir = NULL;
    char *got_name = NULL;
    assert_int_equal(oom_watch_locate(cgroup, mountinfo, &got_dir, &got_name), version);
    if (version != 0) {
        assert_string_equal(got_dir, dir);
        assert_string_equal(got_name, name);
    }
    free(got_dir);
    free(got_name);
}

static void test_locate(void **state)
{
    (void)state;
    expect("0::/user.slice/job_7/step_0\n", v2, 2, "/sys/fs/cgroup/user.slice/job_7/step_0",
           "/user.slice/job_7/step_0");
    expect("0::/\n", v2, 2, "/sys/fs/cgroup", "/");
    expect("0::/../other\n", v2, 2, "/sys/fs/cgroup", "/../other");
    expect("9:name=systemd:/x\n4:cpu,memory:/slurm/job7\n0::/y\n", v1, 1,
           "/sys/fs/cgroup/memory/slurm/job7", "/slurm/job7");
    expect("9:memoryless:/x\n0::/y\n", v1, 2, "/sys/fs/cgroup/unified/y", "/y");
    expect("4:memory:/docker/abc/inner\n", docker_v1, 1, "/sys/fs/cgroup/memory/inner",
           "/docker/abc/inner");
    expect("4:memory:/docker/abc\n", docker_v1, 1, "/sys/fs/cgroup/memory", "/docker/abc");
    expect("4:memory:/elsewhere\n", docker_v1, 1, "/sys/fs/cgroup/memory", "/elsewhere");
    expect("4:memory:/x\n", v2, 0, NULL, NULL);
    expect("0::/x\n", "", 0, NULL, NULL);
    expect("", v2, 0, NULL, NULL);
    expect("nonsense\n::\n:\n", v2, 0, NULL, NULL);
    expect("0::/x", "- cgroup2\n - \n - cgroup2", 0, NULL, NULL);
}

/* Nobody is killed while this test runs, or so it is hoped: nothing is claimed. */
static void test_nothing_is_claimed(void **state)
{
    (void)state;
    struct oom_watch *w = oom_watch_new();
    for (size_t i = 0; i < 2; i++) {
        struct oom_finding f = oom_watch_ended(w, true);
        assert_false(f.is_grown);
        assert_true(f.limit >= 0);
    }
    oom_watch_free(w);
    oom_watch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locate),
        cmocka_unit_test(test_nothing_is_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
