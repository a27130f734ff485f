/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/slurm_conf.h"

#include "tests/unit/host_rig.h"

static struct slurm_conf conf;

static void parse(const char *text, const char *node)
{
    slurm_conf_parse(mu_slice_of(text), node, &conf);
}

static void test_defaults(void **state)
{
    (void)state;
    parse("", "n1");
    assert_int_equal(conf.kill_wait_ms, 30000);
    assert_string_equal(conf.node_addr, "");
}

static void test_kill_wait(void **state)
{
    (void)state;
    parse("ClusterName=x\nKillWait=45\nSlurmdTimeout=300\n", "n1");
    assert_int_equal(conf.kill_wait_ms, 45000);
    parse("  killwait=7 # not 8\r\n", "n1");
    assert_int_equal(conf.kill_wait_ms, 7000);
    parse("KillWait=\"9\"\n", "n1");
    assert_int_equal(conf.kill_wait_ms, 9000);
    parse("InactiveLimit=0 \\\n  KillWait=11", "n1");
    assert_int_equal(conf.kill_wait_ms, 11000);
}

static void test_what_is_no_kill_wait(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "#KillWait=45", "xKillWait=45",   "KillWait=",  "KillWait=-1",
        "KillWait=1x",  "KillWait=99999", "KillWaits=5"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        parse(texts[i], "n1");
        assert_int_equal(conf.kill_wait_ms, 30000);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const char text[] = "NodeName=DEFAULT CPUs=8\n"
                               "NodeName=n[1-3] CPUs=8 NodeAddr=10.0.0.[11-13] State=UNKNOWN\n"
                               "NodeName=a,b NodeHostname=box NodeAddr=10.1.0.1\n"
                               "NodeName=c NodeHostname=c.example\n"
                               "NodeName=d CPUs=8\n";
    static const struct {
        const char *node;
        const char *addr;
    } wants[] = {{"n1", "10.0.0.11"}, {"n3", "10.0.0.13"}, {"a", "10.1.0.1"}, {"b", "10.1.0.1"},
                 {"c", "c.example"},  {"d", ""},           {"e", ""}};
    for (size_t i = 0; i < MU_COUNT(wants); i++) {
        parse(text, wants[i].node);
        assert_string_equal(conf.node_addr, wants[i].addr);
    }
    parse("NodeName=n[1 NodeAddr=x\nNodeName=n1 NodeAddr=[\nNodeName=n1 NodeAddr=", "n1");
    assert_string_equal(conf.node_addr, "");
}

static void test_which_file(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_write(&r, "KillWait=3\n", "/run/slurm/conf/slurm.conf");
    slurm_conf_read(&r.host, "n1", &conf);
    assert_int_equal(conf.kill_wait_ms, 3000);
    host_rig_write(&r, "KillWait=2\n", "/etc/slurm/slurm.conf");
    slurm_conf_read(&r.host, "n1", &conf);
    assert_int_equal(conf.kill_wait_ms, 2000);
    host_rig_write(&r, "KillWait=1\n", "/opt/slurm.conf");
    static char given[] = "SLURM_CONF=/opt/slurm.conf";
    r.env[0] = given;
    slurm_conf_read(&r.host, "n1", &conf);
    assert_int_equal(conf.kill_wait_ms, 1000);
    static char server[] = "SLURM_CONF=none";
    r.env[0] = server;
    slurm_conf_read(&r.host, "n1", &conf);
    assert_int_equal(conf.kill_wait_ms, 2000);
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_kill_wait),
        cmocka_unit_test(test_what_is_no_kill_wait),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_which_file),
    };
    return cmocka_run_group_tests_name("slurm_conf", tests, NULL, NULL);
}
