/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_compare(): who is the odd one out of three nodes, and what two that differ are told.
 */
#include "tests/unit/check_rig.h"

enum { NODES = 3, MAX_CHANGES = 3 };

struct cluster {
    json_t *facts[NODES];
    struct check_findings list;
};

static void cluster_init(struct cluster *c, const char *base)
{
    static const char *const names[NODES] = {"'n1'", "'n2'", "'n3'"};
    *c = (struct cluster){0};
    for (size_t i = 0; i < NODES; i++) {
        c->facts[i] = check_rig_json(base);
        check_rig_set(c->facts[i], "node", names[i]);
    }
}

static void cluster_fini(struct cluster *c)
{
    check_findings_fini(&c->list);
    for (size_t i = 0; i < NODES; i++) {
        json_decref(c->facts[i]);
    }
}

static void judge(struct cluster *c, size_t nodes)
{
    check_findings_fini(&c->list);
    for (size_t i = 0; i < nodes; i++) {
        check_local(c->facts[i], &c->list);
    }
    check_compare(c->facts, nodes, &c->list);
}

/* Set on n3 alone: what is found among all three, and among n1 and n3 alone where that differs. */
static const struct row {
    const char *of_three;
    const char *of_two; /* NULL: the same */
    struct {
        const char *path;
        const char *value;
    } changes[MAX_CHANGES];
    const char *found;
} rows[] = {
    {"!n3:muster", "!*:muster", {{"muster", "'1.1'"}}, "1.1"},
    {"!n3:arch", "!*:arch", {{"arch", "'aarch64'"}}, "aarch64"},
    {"n3:kernel", "*:kernel", {{"kernel", "'6.1.0'"}}, "6.1.0"},
    {"n3:gpu-driver", "*:gpu-driver", {{"gpus.driver", "'570.1'"}}, "570.1 (CUDA 12.4)"},
    {"n3:gpu-driver", "*:gpu-driver", {{"gpus.cuda", "'12.8'"}}, "550.54 (CUDA 12.8)"},
    {"n3:gpu-model",
     "*:gpu-model",
     {{"gpus.devices.0.model", "'A100'"}},
     "A100 with 79 GiB and H100 with 79 GiB"},
    {"n3:gpu-model",
     "*:gpu-model",
     {{"gpus.devices.0.memory", "42000000000"}, {"gpus.devices.1.memory", "42000000000"}},
     "H100 with 39 GiB"},
    {"", NULL, {{"gpus.devices.0.memory", "84900000000"}}, NULL},
    {"n3:gpu-count", NULL, {{"gpus.count", "1"}, {"scheduler", NULL}}, "1 GPUs can be used"},
    {"!n3:gpu-count", NULL, {{"gpus.count", "1"}}, "Slurm gave"}, /* said once */
    {"!n3:nvcc", "!*:nvcc", {{"programs.0.version", "'12.4'"}}, "12.4"},
    {"!n3:require", NULL, {{"programs", "[{'name': 'nvcc'}]"}}, NULL},
    {"!n3:python", "!*:python", {{"python.version", "'3.12.0'"}}, "3.12.0"},
    {"!n3:python", /* another interpreter, its path and its packages: one cause */
     "!*:python",
     {{"python.version", "'3.12.0'"},
      {"python.executable", "'/usr/bin/python3'"},
      {"python.packages_hash", "'dd'"}},
     NULL},
    {"!n3:python",
     "!*:python", /* needed or not: the others have it */
     {{"python", "{'error': 'no python3'}"}, {"needs_python", "false"}},
     "none that runs"},
    {"n3:python-path", "*:python-path", {{"python.executable", "'/usr/bin/python3'"}}, "/usr/bin"},
    {"!n3:torch",
     "!*:torch",
     {{"python.packages", "['numpy==2.0', 'nvidia-nccl-cu12==2.21.5', 'torch==2.10.0']"},
      {"python.packages_hash", "'dd'"}},
     "torch==2.10.0"},
    {"!n3:torch",
     "!*:torch",
     {{"python.packages", "['numpy==2.0']"}, {"python.packages_hash", "'dd'"}},
     "not installed"},
    {"!n3:nccl",
     "!*:nccl",
     {{"python.packages", "['numpy==2.0', 'nvidia-nccl-cu12==2.20', 'torch==2.11.0']"},
      {"python.packages_hash", "'dd'"}},
     "nvidia-nccl-cu12==2.20"},
    {"n3:packages",
     NULL,
     {{"python.packages", "['a==1', 'nvidia-nccl-cu12==2.21.5', 'numpy==1.9', 'torch==2.11.0']"},
      {"python.packages_hash", "'dd'"}},
     "a 1 in addition, numpy 1.9 instead of 2.0"},
    {"n3:packages",
     NULL,
     {{"python.packages", "['nvidia-nccl-cu12==2.21.5', 'torch==2.11.0']"},
      {"python.packages_hash", "'dd'"}},
     "numpy missing"},
    {"!n3:script", "!*:script", {{"script.hash", "'ee'"}}, "100 bytes, hash ee"},
    {"!n3:script", "!*:script", {{"script.hash", "'ee'"}, {"script.files_hash", "'ff'"}}, NULL},
    {"n3:script-dir", "*:script-dir", {{"script.files_hash", "'ff'"}}, "2 files, hash ff"},
    {"", NULL, {{"script.path", "'/other/train.py'"}}, NULL}, /* the same in another place */
    {"n3:cpus", NULL, {{"cpus", "{'machine': 70, 'allowed': 70}"}}, "70 CPUs may be used"},
    {"", NULL, {{"cpus", "{'machine': 96, 'allowed': 96}"}}, NULL},
    {"n3:memory", NULL, {{"memory", "{'total': 1500000000000}"}}, "1.4 TiB of memory"},
    {"n3:memory", NULL, {{"memory.limit", "1000000000000"}}, "of the machine's"}, /* said once */
    {"n3:shm", NULL, {{"places.shm.size", "100000000000"}}, "/dev/shm has 93.1 GiB"},
    {"n3:nofile", NULL, {{"limits.nofile.soft", "512"}}, "512 files may be open"},
    {"n3:memlock",
     NULL,
     {{"limits.memlock.soft", "65536"}, {"ipc_lock", "true"}},
     "limited to 64.0 KiB"},
    {"n3:nproc", NULL, {{"limits.nproc.soft", "4096"}}, "4096 processes"},
    {"", NULL, {{"limits.nproc.soft", "7900000"}}, NULL},
    {"", "n1:core", {{"limits.core.soft", "-1"}}, NULL}, /* more than most is no fault */
    {"n3:nic-speed", NULL, {{"nics.0.mbits", "1000"}}, "1000 Mb/s"},
    {"n3:rdma-rate", NULL, {{"rdma.0.gbits", "200"}}, "200 Gb/s"},
    {"n3:rdma", NULL, {{"rdma", "[]"}}, "0 RDMA ports are active"},
    {"n3:name", NULL, {{"name.is_loopback", "true"}}, "loopback"},
    {"n3:name", NULL, {{"name", "{'resolves': false}"}}, "no address"},
    {"n3:name", NULL, {{"name", "{'is_late': true}"}}, "seconds"},
};

static void test_one_is_different(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(rows); i++) {
        struct cluster c;
        cluster_init(&c, check_rig_node);
        for (size_t k = 0; k < MAX_CHANGES && rows[i].changes[k].path != NULL; k++) {
            check_rig_set(c.facts[2], rows[i].changes[k].path, rows[i].changes[k].value);
        }
        judge(&c, NODES);
        check_rig_expect(&c.list, rows[i].of_three);
        if (rows[i].found != NULL && strstr(c.list.items[0].found, rows[i].found) == NULL) {
            fail_msg("'%s' is not in '%s'", rows[i].found, c.list.items[0].found);
        }
        /* Two nodes have no majority. */
        json_t *second = c.facts[1];
        c.facts[1] = c.facts[2];
        c.facts[2] = second;
        judge(&c, 2);
        check_rig_expect(&c.list, rows[i].of_two != NULL ? rows[i].of_two : rows[i].of_three);
        cluster_fini(&c);
    }
}

static void test_what_is_said(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, check_rig_node);
    check_rig_set(c.facts[1], "kernel", "'6.1.0'");
    judge(&c, NODES);
    assert_string_equal(c.list.items[0].found, "the kernel: 6.1.0");
    assert_string_equal(c.list.items[0].expected, "5.15.0, as on 2 other nodes");
    check_rig_set(c.facts[2], "kernel", "'4.18.0'");
    judge(&c, NODES);
    check_rig_expect(&c.list, "*:kernel");
    assert_string_equal(c.list.items[0].found,
                        "the kernel: 4.18.0 on n3; 5.15.0 on n1; 6.1.0 on n2");
    cluster_fini(&c);
}

static void test_healthy(void **state)
{
    (void)state;
    static const char *const bases[] = {check_rig_node, check_rig_plain};
    for (size_t i = 0; i < MU_COUNT(bases); i++) {
        struct cluster c;
        cluster_init(&c, bases[i]);
        judge(&c, NODES);
        check_rig_expect(&c.list, "");
        cluster_fini(&c);
    }
}

/* A node that sent nothing, or something else, is left out: the others are compared. */
static void test_without_some(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, check_rig_node);
    check_rig_set(c.facts[2], "muster", "'2.0'");
    json_decref(c.facts[1]);
    c.facts[1] = NULL;
    judge(&c, NODES);
    check_rig_expect(&c.list, "!*:muster");
    c.facts[1] = check_rig_json("['x']");
    judge(&c, NODES);
    check_rig_expect(&c.list, "!*:muster");
    json_decref(c.facts[1]);
    c.facts[1] = check_rig_json("{'node': 'n2'}"); /* nothing is known of it */
    judge(&c, NODES);
    check_rig_expect(&c.list, "!*:muster,n2:gpu-count");
    cluster_fini(&c);
    check_compare(NULL, 0, &c.list);
    check_rig_expect(&c.list, "");
}

/* A list of packages that is too long to be sent has the important ones. */
static void test_packages_without_a_list(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, check_rig_node);
    check_rig_set(c.facts[2], "python.has_all_packages", "false");
    check_rig_set(c.facts[2], "python.packages_hash", "'dd'");
    judge(&c, NODES);
    check_rig_expect(&c.list, "n3:packages");
    assert_non_null(strstr(c.list.items[0].found, "others than"));
    check_rig_set(c.facts[2], "python.packages", "['numpy==1.9', 'torch==2.11.0']");
    judge(&c, NODES);
    check_rig_expect(&c.list, "!n3:nccl,n3:packages");
    assert_non_null(strstr(c.list.items[1].found, "differ: numpy 1.9 instead of 2.0"));
    check_rig_set(c.facts[2], "python.packages", "['torch==2.10.0']");
    judge(&c, NODES);
    check_rig_expect(&c.list, "!n3:torch");
    cluster_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_is_different),
        cmocka_unit_test(test_what_is_said),
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_without_some),
        cmocka_unit_test(test_packages_without_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
