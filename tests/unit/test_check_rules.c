/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_local(): a fault gives exactly its finding, a healthy node none.
 */
#include "tests/unit/check_rig.h"

/* "PATH VALUE" pairs are set one after the other; a VALUE of NULL takes away. */
struct change {
    const char *path;
    const char *value;
};

enum { MAX_CHANGES = 4 };

struct row {
    const char *expected;
    struct change changes[MAX_CHANGES];
    const char *found; /* a part of what is said, or NULL */
};

static void check_rows(const char *base, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *facts = check_rig_json(base);
        for (size_t k = 0; k < MAX_CHANGES && rows[i].changes[k].path != NULL; k++) {
            check_rig_set(facts, rows[i].changes[k].path, rows[i].changes[k].value);
        }
        struct check_findings list = {0};
        check_local(facts, &list);
        check_rig_expect(&list, rows[i].expected);
        if (rows[i].found != NULL && strstr(list.items[0].found, rows[i].found) == NULL) {
            fail_msg("'%s' is not in '%s'", rows[i].found, list.items[0].found);
        }
        check_findings_fini(&list);
        json_decref(facts);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static const struct row node[] = {
        {"", {{"limits", NULL}}, NULL},
        {"!n1:as", {{"limits.as.soft", "8388608000"}}, "limited to 7.8 GiB"},
        {"!n1:as", {{"limits.as", "{'soft': 1048576, 'hard': 1048576}"}}, "1.0 MiB"},
        {"!n1:memlock", {{"limits.memlock.soft", "65536"}}, "64.0 KiB"},
        {"", {{"limits.memlock.soft", "65536"}, {"ipc_lock", "true"}}, NULL},
        {"", {{"limits.memlock.soft", "65536"}, {"rdma", "[]"}}, NULL},
        {"n1:nofile", {{"limits.nofile", "{'soft': 1024, 'hard': 4096}"}}, "1024 files"},
        {"", {{"limits.nofile", "{'soft': 4096, 'hard': 4096}"}}, NULL},
        {"n1:stack", {{"limits.stack.soft", "1048576"}}, "1.0 MiB"},
        {"", {{"limits.stack.soft", "-1"}}, NULL},
        {"n1:memlock", /* said once */
         {{"limits.memlock", "{'soft': 65536, 'hard': 65536}"},
          {"short_limits", "[{'name': 'memlock', 'wanted': -1, 'hard': 65536}]"}},
         "the hard limit of memlock is 65536"},
        {"n1:data", {{"short_limits", "[{'name': 'data', 'wanted': 9, 'hard': 5}, {}]"}}, NULL},
    };
    static const struct row plain[] = {
        {"vm:as", {{"limits.as.soft", "1048576"}}, NULL},
    };
    check_rows(check_rig_node, node, MU_COUNT(node));
    check_rows(check_rig_plain, plain, MU_COUNT(plain));
}

static void test_cpus_and_memory(void **state)
{
    (void)state;
    static const struct row node[] = {
        {"!n1:cpus", {{"cpus.allowed", "1"}}, "1 of the machine's 160 CPUs"},
        {"!n1:cpus", {{"cpus.quota", "4"}}, "4 of the machine's 160 CPUs"},
        {"n1:cpus", {{"cpus.allowed", "12"}}, "for 8 workers"},
        {"", {{"cpus.allowed", "16"}}, NULL},
        {"", {{"cpus.allowed", "40"}, {"gpus.machine", "8"}}, NULL}, /* a part of a node */
        {"n1:memory", {{"memory.limit", "1000000000000"}}, "931.3 GiB of the machine's 1.8 TiB"},
        {"", {{"memory.limit", "1000000000000"}, {"gpus.machine", "8"}}, NULL},
        {"", {{"memory.limit", "1000000000000"}, {"scheduler", "{'name': 'Kubernetes'}"}}, NULL},
        {"", {{"memory.limit", NULL}}, NULL},
        {"n1:memory",
         {{"memory.limit", "1000000000000"}, {"gpus", NULL}, {"scheduler.gpus", "0"}},
         NULL},
        {"",
         {{"memory.limit", "1000000000000"},
          {"gpus", NULL},
          {"scheduler.gpus", "0"},
          {"cpus.allowed", "40"}},
         NULL},
    };
    static const struct row plain[] = {
        {"vm:cpus", {{"workers", "4"}}, "2 CPUs for 4 workers"},
        {"", {{"workers", NULL}}, NULL},
        {"", {{"cpus", "{'machine': 64, 'allowed': 2}"}}, NULL}, /* nobody forgot anything */
        {"!vm:cpus",                                             /* mpirun binds to a core */
         {{"cpus", "{'machine': 64, 'allowed': 1}"}, {"scheduler", "{'name': 'Open MPI'}"}},
         "1 of the machine's 64"},
        {"", {{"scheduler", "{'name': 'the host file', 'gpus': 8}"}}, NULL}, /* slots */
    };
    check_rows(check_rig_node, node, MU_COUNT(node));
    check_rows(check_rig_plain, plain, MU_COUNT(plain));
}

static void test_places(void **state)
{
    (void)state;
    static const struct row node[] = {
        {"!n1:shm", {{"places.shm.size", "67108864"}}, "64.0 MiB"},
        {"n1:shm", {{"places.shm.size", "4000000000"}}, "3.7 GiB"},
        {"n1:shm", {{"places.shm.free", "1000"}}, "full"},
        {"n1:shm", {{"places.shm.is_memory", "false"}}, "on a disk"},
        {"!n1:shm", {{"places.shm.is_writable", "false"}}, NULL},
        {"!n1:shm", {{"places.shm", "{'error': 'No such file or directory'}"}}, "No such file"},
        {"n1:tmpdir", {{"places.dirs.0.free", "1000"}}, "TMPDIR /tmp"},
        {"n1:tmpdir", {{"places.dirs.0.inodes", "3"}}, "3 more files"},
        {"n1:tmpdir", {{"places.dirs.0.error", "'Read-only file system'"}}, "Read-only"},
        {"!n1:log-dir", {{"places.dirs.1.error", "'Permission denied'"}}, "--log-dir logs"},
        {"n1:log-dir", {{"places.dirs.1.free", "1000"}}, NULL},
        {"n1:tmpdir", /* one file system, one finding */
         {{"places.dirs.0.free", "9"}, {"places.dirs.1.free", "9"}, {"places.dirs.1.device", "1"}},
         NULL},
        {"!n1:disk", {{"places", "{'is_late': true}"}}, NULL},
        {"n1:name", {{"name", "{'is_late': true}"}}, NULL},
        {"n1:name", {{"name.took_ms", "5000"}}, NULL},
        {"", {{"name.resolves", "false"}}, NULL}, /* alone it needs no name */
    };
    static const struct row plain[] = {
        {"vm:shm", {{"places.shm.size", "67108864"}}, "64.0 MiB"}, /* Docker's default */
    };
    check_rows(check_rig_node, node, MU_COUNT(node));
    check_rows(check_rig_plain, plain, MU_COUNT(plain));
}

static void test_gpus(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"!n1:gpu-count", {{"gpus.count", "1"}}, "Slurm gave 2 GPUs, 1 can be used"},
        {"!n1:gpu-count", {{"gpus", NULL}}, "0 can be used"},
        {"!n1:gpu-count",
         {{"gpus.count", "1"}, {"gpus.limited_by", "'CUDA_VISIBLE_DEVICES'"}},
         "CUDA_VISIBLE_DEVICES leaves 1"},
        {"!n1:gpu-count", /* there are no more to choose from */
         {{"gpus.count", "1"}, {"gpus.machine", "1"}, {"gpus.limited_by", "'X'"}},
         "1 can be used"},
        {"", {{"gpus", NULL}, {"scheduler", NULL}}, NULL},
        {"!n1:gpu-driver", {{"gpus", "{'is_late': true}"}}, "does not answer"},
        {"!n1:gpu-driver", {{"gpus.nvml", "18"}}, "different versions"},
        {"n1:gpu-driver", {{"gpus.nvml", "-1"}}, "cannot be loaded"},
        {"!n1:gpu-driver", {{"gpus.nvml", "9"}}, "error 9"},
        {"!n1:gpu-lost", {{"gpus.devices.1.nvml_error", "15"}}, "GPU 1 (0000:2b:00.0)"},
        {"n1:gpu-memory", {{"gpus.devices.0.ecc_uncorrected", "2"}}, "GPU 0"},
        {"n1:gpu-memory", {{"gpus.devices.0.remap_pending", "true"}}, "waits"},
        {"!n1:gpu-memory",
         {{"gpus.devices.0.remap_failed", "true"},
          {"gpus.devices.0.remap_pending", "true"},
          {"gpus.devices.0.ecc_uncorrected", "2"}},
         NULL},
        {"n1:gpu-slow", {{"gpus.devices.0.is_too_hot", "true"}}, "too hot: GPU 0"},
        {"n1:gpu-slow", {{"gpus.devices.1.is_power_braked", "true"}}, "GPU 1"},
        {"n1:gpu-mig", {{"gpus.devices.1.mig_pending", "true"}}, NULL},
        {"n1:gpu-mig", {{"gpus.devices.1.mig", "true"}}, "on for 1 GPUs and off for 1"},
        {"n1:gpu-busy",
         {{"gpus.devices.1.used", "30000000000"},
          {"gpus.devices.1.processes", "[{'pid': 77, 'name': 'python3'}, {'pid': 78}]"}},
         "27.9 GiB are in use on GPU 1 (0000:2b:00.0) by process 77 (python3), 78"},
        {"n1:gpu-busy", {{"gpus.devices.0.used", "2000000000"}}, "nobody knows by whom"},
        {"n1:gpu-xid",
         {{"gpus.xids", "[{'pci': '0000:1b:00', 'xid': 74, 'means': 'an error of NVLink'}]"}},
         "Xid 74 of the GPU at 0000:1b:00: an error of NVLink"},
        {"!n1:gpu-lost", /* and not its Xid too */
         {{"gpus.xids", "[{'pci': '0000:2b:00', 'xid': 79, 'means': 'x'}]"},
          {"gpus.devices.1.nvml_error", "15"}},
         NULL},
    };
    check_rows(check_rig_node, rows, MU_COUNT(rows));
}

static void test_links(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"n1:nic", {{"nics.0.state", "'down'"}}, "eth0 is down"},
        {"n1:rdma", {{"rdma.0.state", "'INIT'"}}, "mlx5_0/1 has a link"},
        {"n1:rdma", {{"rdma.0.state", "'DOWN'"}}, "none of their ports"},
        {"n1:nic", {{"rdma.0.state", "'DOWN'"}, {"nics.0.state", "'down'"}}, NULL},
        {"", {{"rdma", NULL}, {"nics", NULL}}, NULL},
    };
    check_rows(check_rig_node, rows, MU_COUNT(rows));
}

static void test_files(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"!n1:script", {{"script", "{'path': '/x.py', 'error': 'No such file'}"}}, "/x.py"},
        {"!n1:script", {{"script", "{'is_late': true}"}}, NULL},
        {"!n1:script",
         {{"python.module", "'pkg.train'"}, {"python.has_module", "false"}},
         "no module pkg.train"},
        {"", {{"python.module", "'pkg.train'"}, {"python.has_module", "true"}}, NULL},
        {"!n1:python", {{"python", "{'error': 'no python3'}"}}, "no python3"},
        {"!n1:python", {{"python", "{'is_late': true}"}}, NULL},
        {"", {{"python", "{'error': 'no python3'}"}, {"needs_python", "false"}}, NULL},
        {"!n1:require",
         {{"programs", "[{'name': 'nvcc'}, {'name': 'ninja'}, {'name': 'x', 'path': '/x'}]"}},
         "nvcc, ninja is not on the PATH"},
        {"!n1:require", {{"programs.0.error", "'it was killed'"}}, "it was killed"},
        {"!n1:require", {{"programs", "{'is_late': true}"}}, NULL},
    };
    check_rows(check_rig_node, rows, MU_COUNT(rows));
}

static void test_healthy(void **state)
{
    (void)state;
    static const struct row rows[] = {{"", {{NULL, NULL}}, NULL}};
    check_rows(check_rig_node, rows, MU_COUNT(rows));
    check_rows(check_rig_plain, rows, MU_COUNT(rows));
}

/* What is no object, has no name or has other types than ours says nothing. */
static void test_other_things(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        "[]",
        "3",
        "{}",
        "{'node': 3}",
        "{'node': 'a'}",
        "{'node': 'a', 'gpus': [], 'limits': 3, 'places': {'dirs': {}, 'shm': []}, 'cpus': 'x',"
        " 'memory': null, 'nics': {}, 'rdma': 'x', 'script': [], 'python': 1, 'programs': [1, {}]}",
        "{'node': 'a', 'gpus': {'devices': [1, [], {}, {'name': 3}], 'xids': [{}, 1]},"
        " 'places': {'dirs': [1, {'use': 1}]}}",
    };
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        json_t *facts = check_rig_json(texts[i]);
        struct check_findings list = {0};
        check_local(facts, &list);
        check_rig_expect(&list, "");
        check_findings_fini(&list);
        json_decref(facts);
    }
    struct check_findings list = {0};
    check_local(NULL, &list);
    check_rig_expect(&list, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cpus_and_memory),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_other_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
