/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a worker finds itself: on the CPUs, with the memory policy and the resource limits of its
 * command. The kernel is asked, by real workers.
 */
#include "launcher/uv_procs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>

#include "tests/unit/procs_rig.h"

/* Where the shell that runs this is, and how its stack's memory is to be allocated. */
static const char where[] = "sed -n s/^Cpus_allowed_list://p /proc/$$/status >&2;"
                            "sed -n '/stack/s/ [^ ]*=.*//p' /proc/$$/numa_maps >&2; echo end >&2";

static bool has_policies(void)
{
    int mode;
    return syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 &&
           access("/proc/self/numa_maps", R_OK) == 0;
}

static int last_cpu(void)
{
    struct cpu_mask allowed = {0};
    assert_int_equal(sched_getaffinity(0, sizeof(allowed), (cpu_set_t *)(void *)&allowed), 0);
    int last = -1;
    for (int cpu = cpu_mask_next(&allowed, 0); cpu >= 0;
         cpu = cpu_mask_next(&allowed, (unsigned)cpu + 1)) {
        last = cpu;
    }
    return last;
}

/* One worker bound like this; its answer in `tail`. Returns how many could not be bound. */
static uint32_t ask(const struct cpu_mask *cpus, int mem_node, char *tail, size_t size,
                    int *ret_code)
{
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "/bin/sh", "-c", where);
    r.commands[0].cpus = cpus;
    r.commands[0].mem_node = mem_node;
    rig_start(&r);
    rig_until_text(&r, 0, "end");
    RIG_UNTIL(&r, r.gone > 0);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, 0);
    size_t n = uv_procs_stderr_tail(r.procs, 0, tail, size - 1);
    tail[n] = '\0';
    struct uv_procs_loss unbound = uv_procs_unbound(r.procs);
    *ret_code = unbound.code;
    rig_close(&r);
    assert_int_equal(uv_loop_close(&loop), 0);
    return unbound.workers;
}

static void test_bound(void **state)
{
    (void)state;
    char tail[256];
    char expected[32];
    int code;
    struct cpu_mask cpus = {0};
    cpu_mask_add(&cpus, (unsigned)last_cpu());
    snprintf(expected, sizeof(expected), "\t%d\n", last_cpu());
    assert_int_equal(ask(&cpus, 0, tail, sizeof(tail), &code), 0);
    assert_true(strncmp(tail, expected, strlen(expected)) == 0);
    if (!has_policies()) {
        print_message("not asserted: this kernel has no memory policies\n");
        return;
    }
    assert_non_null(strstr(tail, " prefer"));
    assert_int_equal(ask(&cpus, -1, tail, sizeof(tail), &code), 0);
    assert_non_null(strstr(tail, " default"));
}

static void test_not_bound(void **state)
{
    (void)state;
    char tail[256];
    int code;
    assert_int_equal(ask(NULL, 0, tail, sizeof(tail), &code), 0);
    assert_true(!has_policies() || strstr(tail, " default") != NULL);
    tail[strcspn(tail, "\n")] = '\0';
    struct cpu_mask own = {0};
    struct cpu_mask seen;
    assert_int_equal(sched_getaffinity(0, sizeof(own), (cpu_set_t *)(void *)&own), 0);
    assert_int_equal(cpu_mask_parse(tail + strspn(tail, "\t "), &seen), 0);
    assert_true(cpu_mask_eq(&own, &seen));
}

/* It runs all the same, and that it is not bound is known. */
static void test_cannot_be_bound(void **state)
{
    (void)state;
    char tail[256];
    int code;
    struct cpu_mask cpus = {0};
    cpu_mask_add(&cpus, CPU_MASK_BITS - 1);
    assert_int_equal(ask(&cpus, 0, tail, sizeof(tail), &code), 1);
    assert_int_equal(code, EINVAL);
    assert_true(!has_policies() || strstr(tail, " default") != NULL);
}

/* A policy that muster was started with, by numactl or the scheduler, is somebody's wish. */
static void test_policy_is_kept(void **state)
{
    (void)state;
    unsigned long node = 1;
    if (!has_policies() || syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &node, 65) != 0) {
        print_message("skipped: no memory policy can be set here\n");
        skip();
    }
    char tail[256];
    int code;
    struct cpu_mask cpus = {0};
    cpu_mask_add(&cpus, (unsigned)last_cpu());
    assert_int_equal(ask(&cpus, 0, tail, sizeof(tail), &code), 0);
    assert_int_equal(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0), 0);
    assert_non_null(strstr(tail, " interleave:0"));
}

/* What a shell says of its limits: `hard` is the hard limit of this process on descriptors. */
static void test_limits(void **state)
{
    (void)state;
    static const char show[] = "ulimit -n >&2; ulimit -H -n >&2; ulimit -c >&2; echo end >&2";
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct limit_list limits;
    assert_int_equal(limit_list_parse("core=0,nofile=77", &limits, NULL), 0);
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "/bin/sh", "-c", show);
    r.commands[0].limits = &limits;
    rig_start(&r);
    rig_until_text(&r, 0, "end");
    RIG_UNTIL(&r, r.gone > 0);
    char tail[128];
    char expected[128];
    size_t n = uv_procs_stderr_tail(r.procs, 0, tail, sizeof(tail) - 1);
    tail[n] = '\0';
    snprintf(expected, sizeof(expected), "77\n%llu\n0\nend\n", (unsigned long long)before.rlim_max);
    assert_string_equal(tail, expected);
    assert_int_equal(uv_procs_unlimited(r.procs).workers, 0);
    rig_close(&r);
    assert_int_equal(uv_loop_close(&loop), 0);
    struct rlimit after;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_int_equal(after.rlim_cur, before.rlim_cur);
}

/* It runs all the same, and that it lacks a limit is known. */
static void test_limit_cannot_be_set(void **state)
{
    (void)state;
    struct limit_list limits = {
        .count = 2,
        .wishes = {{.resource = 99, .wanted = 1}, {.resource = RLIMIT_CORE, .wanted = 0}}};
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "/bin/sh", "-c", "ulimit -c >&2; echo end >&2");
    r.commands[0].limits = &limits;
    rig_start(&r);
    rig_until_text(&r, 0, "0\nend");
    RIG_UNTIL(&r, r.gone > 0);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, 0);
    assert_int_equal(uv_procs_unlimited(r.procs).workers, 1);
    assert_int_equal(uv_procs_unlimited(r.procs).code, EINVAL);
    assert_int_equal(uv_procs_unbound(r.procs).workers, 0);
    rig_close(&r);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),           cmocka_unit_test(test_not_bound),
        cmocka_unit_test(test_cannot_be_bound), cmocka_unit_test(test_policy_is_kept),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_limit_cannot_be_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
