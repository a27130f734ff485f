/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/numa_binding.h"

#include "muster/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

enum { MAX_GPUS = 16 };

/* 2 sockets of 4 NUMA nodes of 6 cores of 2 threads; 3 cores share a cache. 96 CPUs. */
static const struct host_rig_shape big = {
    .sockets = 2, .nodes = 4, .cores = 6, .threads = 2, .cache_cores = 3};
/* 2 sockets of 1 node of 8 cores without second threads. */
static const struct host_rig_shape small = {
    .sockets = 2, .nodes = 1, .cores = 8, .threads = 1, .cache_cores = 8};

struct scene {
    struct host_rig host;
    struct gpu gpus[MAX_GPUS];
    struct gpu_list list;
    struct numa_binding_spec spec;
    struct numa_binding *binding;
    struct mu_err err;
};

/* Nodes of GPUs 0, 1, ...; the last is -2. */
static void scene_init(struct scene *s, const struct host_rig_shape *shape, const char *allowed,
                       const int *nodes)
{
    memset(s, 0, sizeof(*s));
    host_rig_init(&s->host, allowed);
    host_rig_topology(&s->host, shape);
    for (size_t i = 0; nodes[i] != -2; i++) {
        assert_true(i < MAX_GPUS);
        s->gpus[i].numa_node = nodes[i];
        snprintf(s->gpus[i].pci, sizeof(s->gpus[i].pci), "0000:%02zx:00.0", i + 1);
        s->list.count++;
    }
    s->list.items = s->gpus;
    s->list.total = s->list.count;
}
#define SCENE_INIT(s, shape, allowed, ...) \
    scene_init(s, shape, allowed, (const int[]){__VA_ARGS__, -2})
#define NO_GPUS -2

static void scene_fini(struct scene *s)
{
    numa_binding_free(s->binding);
    host_rig_fini(&s->host);
}

static int plan(struct scene *s, const char *mode, size_t workers)
{
    numa_binding_free(s->binding);
    s->binding = NULL;
    s->spec.mode = mode;
    s->spec.workers = workers;
    mu_err_clear(&s->err);
    return numa_binding_plan(&s->host.host, &s->spec, &s->list, &s->binding, &s->err);
}

/* CPUs and cores of each worker: "0-5,48-53/3 ..." */
static void assert_cpus(struct scene *s, const char *mode, size_t workers, const char *expected)
{
    if (plan(s, mode, workers) != 0) {
        fail_msg("%s: %s", mode, s->err.text);
    }
    assert_non_null(s->binding);
    assert_int_equal(s->binding->count, workers);
    struct mu_buf text = {0};
    for (size_t i = 0; i < workers; i++) {
        mu_buf_printf(&text, i > 0 ? " " : "");
        cpu_mask_format(&s->binding->workers[i].cpus, &text);
        mu_buf_printf(&text, "/%u", s->binding->workers[i].cores);
    }
    mu_buf_append_u8(&text, '\0');
    assert_string_equal((char *)text.data, expected);
    mu_buf_fini(&text);
}

static void assert_unbound(struct scene *s, const char *mode, size_t workers)
{
    assert_int_equal(plan(s, mode, workers), 0);
    assert_null(s->binding);
}

static void assert_refused(struct scene *s, const char *mode, size_t workers, const char *why)
{
    assert_int_equal(plan(s, mode, workers), -1);
    assert_int_equal(s->err.code, MU_E_USAGE);
    assert_string_equal(s->err.text, why);
}

static void test_modes(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &big, "0-95", 3, 3, 1, 1, 7, 7, 5, 5); /* as in a DGX A100 */
    assert_cpus(&s, "node", 8,
                "18-23,66-71/3 18-23,66-71/3 6-11,54-59/3 6-11,54-59/3 "
                "42-47,90-95/3 42-47,90-95/3 30-35,78-83/3 30-35,78-83/3");
    assert_int_equal(s.binding->workers[0].mem_node, 3);
    assert_string_equal(s.binding->mode, "node");
    assert_cpus(&s, "socket", 8,
                "0-23,48-71/6 0-23,48-71/6 0-23,48-71/6 0-23,48-71/6 "
                "24-47,72-95/6 24-47,72-95/6 24-47,72-95/6 24-47,72-95/6");
    assert_int_equal(s.binding->workers[0].mem_node, -1);
    assert_cpus(&s, "exclusive", 8,
                "18-20,66-68/3 21-23,69-71/3 6-8,54-56/3 9-11,57-59/3 "
                "42-44,90-92/3 45-47,93-95/3 30-32,78-80/3 33-35,81-83/3");
    assert_cpus(&s, "core-complex", 8,
                "18-20,66-68/3 21-23,69-71/3 6-8,54-56/3 9-11,57-59/3 "
                "42-44,90-92/3 45-47,93-95/3 30-32,78-80/3 33-35,81-83/3");
    assert_unbound(&s, "none", 8);
    scene_fini(&s);
}

/* Fewer workers than GPUs: the shares stay those of the GPUs. */
static void test_shares_with_a_rest(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", 0, 1, 0, 0, 1);
    assert_cpus(&s, "exclusive", 5, "0-2/3 8-11/4 3-5/3 6-7/2 12-15/4");
    assert_cpus(&s, "exclusive", 2, "0-2/3 8-11/4");
    assert_cpus(&s, "core-complex", 3, "0-7/4 8-15/8 0-7/4");
    scene_fini(&s);
}

static void test_within_the_cpuset(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &big, "2-8,50,54", 0, 1);
    assert_cpus(&s, "node", 2, "2-5,50/4 6-8,54/3");
    assert_cpus(&s, "socket", 2, "2-8,50,54/3 2-8,50,54/3");
    assert_cpus(&s, "exclusive", 2, "2-5,50/4 6-8,54/3");
    /* Caches 0-2,48-50 and 3-5,51-53: two CPUs are left of the first, three of the second. */
    assert_cpus(&s, "core-complex", 2, "3-5/3 6-8,54/3");
    scene_fini(&s);
    SCENE_INIT(&s, &big, "0-5", 0, 1);
    assert_refused(&s, "node", 2,
                   "--numa-binding node: GPU 0000:02:00.0 is on NUMA node 1, of whose CPUs this "
                   "process may use none; ask the scheduler for CPUs there, or use --numa-binding "
                   "none");
    assert_cpus(&s, "node", 1, "0-5/6"); /* a GPU without a worker is nobody's trouble */
    scene_fini(&s);
}

static void test_what_cannot_be(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", 0, -1);
    assert_refused(&s, "node", 2,
                   "--numa-binding node: this machine does not say on which of its NUMA nodes GPU "
                   "0000:02:00.0 is; use --numa-binding none");
    assert_refused(&s, "socket", 3,
                   "--numa-binding socket: 3 workers, but only 2 GPUs for them to be near; use "
                   "--numa-binding none, or a worker for each GPU");
    scene_fini(&s);
    SCENE_INIT(&s, &small, "0-1,8", 0, 0, 0);
    assert_refused(&s, "exclusive", 1,
                   "--numa-binding exclusive: NUMA node 0 has 3 GPUs, but this process may use "
                   "only 2 of its cores; use --numa-binding node");
    scene_fini(&s);
}

/* Machines with one node often leave it unsaid. */
static void test_one_node(void **state)
{
    (void)state;
    static const struct host_rig_shape one = {
        .sockets = 1, .nodes = 1, .cores = 8, .threads = 2, .cache_cores = 4};
    struct scene s;
    SCENE_INIT(&s, &one, "0-15", -1, -1);
    assert_cpus(&s, "node", 2, "0-15/4 0-15/4");
    assert_cpus(&s, "exclusive", 2, "0-3,8-11/4 4-7,12-15/4");
    assert_unbound(&s, "auto", 2);
    assert_false(numa_binding_is_wanted(&s.host.host, &s.spec));
    scene_fini(&s);
}

static void test_without_gpus(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", NO_GPUS);
    assert_cpus(&s, "node", 4, "0-7/4 0-7/4 8-15/4 8-15/4");
    assert_cpus(&s, "exclusive", 4, "0-3/4 4-7/4 8-11/4 12-15/4");
    assert_cpus(&s, "node", 3, "0-7/4 0-7/4 8-15/8");
    assert_cpus(&s, "node", 1, "0-7/8");
    assert_unbound(&s, "auto", 4);
    scene_fini(&s);
    SCENE_INIT(&s, &big, "0-95", NO_GPUS);
    assert_cpus(&s, "node", 4, "0-5,48-53/6 12-17,60-65/6 24-29,72-77/6 36-41,84-89/6");
    scene_fini(&s);
}

static void test_auto(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", 0, 0, 1, 1);
    assert_cpus(&s, "auto", 4, "0-7/4 0-7/4 8-15/4 8-15/4");
    assert_string_equal(s.binding->mode, "node");
    assert_true(numa_binding_is_wanted(&s.host.host, &s.spec));
    assert_unbound(&s, "auto", 3); /* which GPUs a worker uses is not sure */
    assert_unbound(&s, "auto", 5);
    assert_unbound(&s, "auto", 1);
    assert_false(numa_binding_is_wanted(&s.host.host, &s.spec));
    s.spec.is_virtual = true; /* now it is */
    assert_cpus(&s, "auto", 3, "0-7/4 0-7/4 8-15/8");
    s.spec.mode = "none";
    assert_false(numa_binding_is_wanted(&s.host.host, &s.spec));
    s.gpus[1].numa_node = -1;
    assert_unbound(&s, "auto", 4);
    scene_fini(&s);
}

/* A binding that takes most CPUs from a worker would do harm. */
static void test_auto_takes_no_cpus_away(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", 1, 1, 1, 1); /* half of what each could have */
    assert_cpus(&s, "auto", 4, "8-15/2 8-15/2 8-15/2 8-15/2");
    scene_fini(&s);
    SCENE_INIT(&s, &small, "0-7,8", 0, 0, 1, 1);
    assert_unbound(&s, "auto", 4);
    assert_cpus(&s, "node", 4, "0-7/4 0-7/4 8/1 8/1"); /* who asks for it gets it */
    scene_fini(&s);
    SCENE_INIT(&s, &small, "0-7", 0, 0, 1, 1);
    assert_unbound(&s, "auto", 4);
    scene_fini(&s);
}

static void test_map(void **state)
{
    (void)state;
    struct scene s;
    SCENE_INIT(&s, &small, "0-15", 1, 0);
    assert_int_equal(plan(&s, "exclusive", 2), 0);
    struct mu_buf text = {0};
    numa_binding_describe(s.binding, &text);
    s.gpus[0].pci[0] = '\0';
    assert_int_equal(plan(&s, "node", 1), 0);
    numa_binding_describe(s.binding, &text);
    s.list.count = 0;
    assert_int_equal(plan(&s, "node", 1), 0);
    numa_binding_describe(s.binding, &text);
    mu_buf_append_u8(&text, '\0');
    assert_string_equal((char *)text.data,
                        "local rank 0: GPU 0000:01:00.0, NUMA node 1, CPUs 8-15\n"
                        "local rank 1: GPU 0000:02:00.0, NUMA node 0, CPUs 0-7\n"
                        "local rank 0: GPU ?, NUMA node 1, CPUs 8-15\n"
                        "local rank 0: NUMA node 0, CPUs 0-7\n");
    mu_buf_fini(&text);
    scene_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_shares_with_a_rest),
        cmocka_unit_test(test_within_the_cpuset),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_without_gpus),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_auto_takes_no_cpus_away),
        cmocka_unit_test(test_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
