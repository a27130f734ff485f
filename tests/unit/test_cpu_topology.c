/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_topology.h"

#include "muster/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_rig.h"

static void assert_groups(const struct cpu_group *groups, size_t count, const char *expected)
{
    struct mu_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(&text, "%s%d:", i > 0 ? " " : "", groups[i].id);
        cpu_mask_format(&groups[i].cpus, &text);
    }
    mu_buf_append_u8(&text, 0);
    assert_string_equal((char *)text.data, expected);
    mu_buf_fini(&text);
}

static const struct host_rig_shape shape = {
    .sockets = 2, .nodes = 2, .cores = 4, .threads = 2, .cache_cores = 2};

static void test_all_of_a_machine(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0-31");
    host_rig_topology(&r, &shape);
    struct cpu_group *groups;
    size_t count = cpu_topology_nodes(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0-3,16-19 1:4-7,20-23 2:8-11,24-27 3:12-15,28-31");
    struct cpu_mask node = groups[1].cpus;
    free(groups);
    count = cpu_topology_cores(&r.host, &node, &groups);
    assert_groups(groups, count, "4:4,20 5:5,21 6:6,22 7:7,23");
    free(groups);
    count = cpu_topology_caches(&r.host, &node, &groups);
    assert_groups(groups, count, "4:4-5,20-21 6:6-7,22-23");
    free(groups);
    assert_int_equal(cpu_topology_socket(&r.host, 7), 0);
    assert_int_equal(cpu_topology_socket(&r.host, 24), 1);
    host_rig_fini(&r);
}

/* A core is named by its first thread even where only the second may be used. */
static void test_part_of_a_machine(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "5,16-18,24");
    host_rig_topology(&r, &shape);
    struct cpu_group *groups;
    size_t count = cpu_topology_nodes(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:16-18 1:5 2:24");
    free(groups);
    count = cpu_topology_cores(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:16 1:17 2:18 5:5 8:24");
    free(groups);
    count = cpu_topology_caches(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:16-17 2:18 4:5 8:24");
    free(groups);
    host_rig_fini(&r);
}

static void test_nothing_known(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0-1");
    struct cpu_group *groups;
    size_t count = cpu_topology_nodes(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0-1");
    free(groups);
    count = cpu_topology_cores(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0 1:1");
    free(groups);
    count = cpu_topology_caches(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0-1");
    free(groups);
    assert_int_equal(cpu_topology_socket(&r.host, 0), 0);
    host_rig_fini(&r);
}

/* What files say is not believed beyond what makes sense. */
static void test_strange_files(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0-1");
    host_rig_write(&r, "0,1,7,x", "/sys/devices/system/node/online");
    host_rig_write(&r, "1", "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
    host_rig_write(&r, "banana", "/sys/devices/system/cpu/cpu0/topology/physical_package_id");
    struct cpu_group *groups;
    size_t count = cpu_topology_nodes(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0-1");
    free(groups);
    count = cpu_topology_cores(&r.host, &r.allowed, &groups);
    assert_groups(groups, count, "0:0-1");
    free(groups);
    assert_int_equal(cpu_topology_socket(&r.host, 0), 0);
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_a_machine),
        cmocka_unit_test(test_part_of_a_machine),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_strange_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
