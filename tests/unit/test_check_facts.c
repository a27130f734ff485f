/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of invented machines.
 */
#include "launcher/check_facts.h"

#include "launcher/check_fact.h"
#include "tests/unit/check_rig.h"
#include "tests/unit/host_rig.h"

#include <sys/wait.h>

static void test_machine(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0-3");
    host_rig_write(&r, "n7\n", "/proc/sys/kernel/hostname");
    host_rig_write(&r, "5.15.0-1\n", "/proc/sys/kernel/osrelease");
    host_rig_write(&r, "0-159\n", "/sys/devices/system/cpu/online");
    host_rig_write(&r, "0::/job\n", "/proc/self/cgroup");
    host_rig_write(&r, "250000 100000\n", "/sys/fs/cgroup/job/cpu.max");
    host_rig_write(&r, "1073741824\n", "/sys/fs/cgroup/job/memory.max");
    host_rig_write(&r, "MemTotal:       4194304 kB\nMemFree: 1 kB\n", "/proc/meminfo");
    host_rig_write(&r, "Name:\tx\nCapEff:\t0000000000004000\n", "/proc/self/status");
    host_rig_write(&r,
                   "Limit                     Soft Limit           Hard Limit           Units\n"
                   "Max stack size            8388608              unlimited            bytes\n"
                   "Max core file size        0                    unlimited            bytes\n"
                   "Max processes             nonsense             63000                processes\n"
                   "Max open files            1024                 4096                 files\n"
                   "Max locked memory         65536                65536                bytes\n"
                   "Max address space         unlimited            unlimited            bytes\n",
                   "/proc/self/limits");
    json_t *facts = json_object();
    check_fact_machine(&r.host, NULL, facts);
    check_rig_assert(facts, "hostname", "\"n7\"");
    check_rig_assert(facts, "kernel", "\"5.15.0-1\"");
    check_rig_assert(facts, "cpus", "{\"allowed\":4,\"machine\":160,\"quota\":2}");
    check_rig_assert(facts, "memory", "{\"limit\":1073741824,\"total\":4294967296}");
    check_rig_assert(facts, "ipc_lock", "true");
    check_rig_assert(facts, "limits.as", "{\"hard\":-1,\"soft\":-1}");
    check_rig_assert(facts, "limits.memlock", "{\"hard\":65536,\"soft\":65536}");
    check_rig_assert(facts, "limits.stack", "{\"hard\":-1,\"soft\":8388608}");
    check_rig_assert(facts, "limits.nproc", "");
    check_rig_assert(facts, "short_limits", "");
    json_decref(facts);

    facts = json_object();
    check_fact_machine(&r.host, "stack=unlimited,nofile=hard,memlock=unlimited", facts);
    check_rig_assert(facts, "limits.stack.soft", "-1");
    check_rig_assert(facts, "limits.nofile.soft", "4096");
    check_rig_assert(facts, "limits.memlock.soft", "65536");
    check_rig_assert(facts, "short_limits",
                     "[{\"hard\":65536,\"name\":\"memlock\",\"wanted\":-1}]");
    json_decref(facts);
    host_rig_fini(&r);

    host_rig_init(&r, "0"); /* a machine that tells nothing */
    facts = json_object();
    check_fact_machine(&r.host, NULL, facts);
    check_rig_assert(facts, "cpus", "{\"allowed\":1}");
    check_rig_assert(facts, "memory", "{}");
    json_decref(facts);
    host_rig_fini(&r);
}

static void test_links(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    host_rig_link(&r, "/sys/class/net/invented0/device", "../../../0000:01:00.0");
    host_rig_write(&r, "down\n", "/sys/class/net/invented0/operstate");
    host_rig_link(&r, "/sys/class/net/invented1/device", "../../../0000:01:00.1");
    host_rig_write(&r, "up\n", "/sys/class/net/invented1/operstate");
    host_rig_write(&r, "25000\n", "/sys/class/net/invented1/speed");
    host_rig_write(&r, "up\n", "/sys/class/net/docker0/operstate"); /* no hardware */
    host_rig_write(&r, "4: ACTIVE\n", "/sys/class/infiniband/mlx5_0/ports/1/state");
    host_rig_write(&r, "400 Gb/sec (4X NDR)\n", "/sys/class/infiniband/mlx5_0/ports/1/rate");
    host_rig_write(&r, "2: INIT\n", "/sys/class/infiniband/mlx5_10/ports/2/state");
    json_t *facts = json_object();
    check_fact_links(&r.host, facts);
    check_rig_assert(
        facts, "nics",
        "[{\"has_address\":false,\"name\":\"invented0\",\"state\":\"down\"},"
        "{\"has_address\":false,\"mbits\":25000,\"name\":\"invented1\",\"state\":\"up\"}]");
    check_rig_assert(facts, "rdma",
                     "[{\"gbits\":400,\"name\":\"mlx5_0/1\",\"state\":\"ACTIVE\"},"
                     "{\"name\":\"mlx5_10/2\",\"state\":\"INIT\"}]");
    json_decref(facts);
    host_rig_fini(&r);
}

/* ---- files ---- */

static void test_places(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    struct check_spec spec = {.log_dir = "/logs/a/b"};
    json_t *places = check_fact_places(&r.host, &spec);
    check_rig_assert(places, "shm", "{\"error\":\"No such file or directory\"}");
    check_rig_assert(places, "dirs.0.error", "\"No such file or directory\"");
    check_rig_assert(places, "dirs.1.path", "\"/logs/a/b\"");
    check_rig_assert(places, "dirs.1.error", ""); /* it can be made */
    json_decref(places);

    host_rig_write(&r, "", "/dev/shm/x");
    host_rig_write(&r, "", "/scratch/x");
    host_rig_write(&r, "", "/logs/a");
    char tmpdir[] = "TMPDIR=/scratch";
    r.env[0] = tmpdir;
    places = check_fact_places(&r.host, &spec);
    assert_true(json_is_integer(json_object_get(json_object_get(places, "shm"), "size")));
    check_rig_assert(places, "dirs.0.path", "\"/scratch\"");
    check_rig_assert(places, "dirs.0.error", "");
    check_rig_assert(places, "dirs.1.error", "\"Not a directory\"");
    json_decref(places);
    spec.log_dir = "/dev/null";
    places = check_fact_places(&r.host, &spec);
    check_rig_assert(places, "dirs.1", "");
    json_decref(places);
    host_rig_fini(&r);
}

static char *hash_of(const struct host_rig *r, const char *key)
{
    mu_autofree char *path = mu_asprintf("%s/src/train.py", r->root);
    json_t *script = check_fact_script(path);
    const char *hash = json_string_value(json_object_get(script, key));
    char *copy = mu_strdup(hash != NULL ? hash : "none");
    json_decref(script);
    return copy;
}

static void assert_hash(const struct host_rig *r, const char *key, const char *before, bool is_same)
{
    mu_autofree char *now = hash_of(r, key);
    assert_true((strcmp(now, before) == 0) == is_same);
}

static void test_script(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    json_t *script = check_fact_script("/no/such/file.py");
    check_rig_assert(script, "error", "\"No such file or directory\"");
    check_rig_assert(script, "path", "\"/no/such/file.py\"");
    json_decref(script);

    host_rig_write(&r, "import model\n", "/src/train.py");
    host_rig_write(&r, "x = 1\n", "/src/model.py");
    host_rig_write(&r, "notes\n", "/src/README");
    host_rig_link(&r, "/src/broken.py", "nowhere");
    mu_autofree char *one = hash_of(&r, "hash");
    mu_autofree char *all = hash_of(&r, "files_hash");
    assert_string_not_equal(one, "none");
    assert_string_not_equal(all, "none");
    host_rig_write(&r, "other notes\n", "/src/README");
    assert_hash(&r, "files_hash", all, true);
    host_rig_write(&r, "x = 2\n", "/src/model.py");
    assert_hash(&r, "files_hash", all, false);
    assert_hash(&r, "hash", one, true);
    host_rig_write(&r, "x = 1\n", "/src/model.py");
    host_rig_write(&r, "import models\n", "/src/train.py");
    assert_hash(&r, "files_hash", all, true); /* the script has a hash of its own */
    assert_hash(&r, "hash", one, false);
    for (int i = 0; i < 1000; i++) { /* too many to be compared */
        host_rig_write(&r, "", "/src/part%d.py", i);
    }
    assert_hash(&r, "files_hash", "none", true);
    host_rig_fini(&r);
}

/* ---- Python and programs ---- */

static json_t *parse_python(const char *text, char **ret_origin)
{
    *ret_origin = NULL;
    return check_fact_python(mu_slice_of(text), ret_origin);
}

static void test_python_answers(void **state)
{
    (void)state;
    static const char *const no_answers[] = {"", "\n", "hello\n", "{}\n", "{\"version\": 3}\n"};
    char *origin;
    for (size_t i = 0; i < MU_COUNT(no_answers); i++) {
        assert_null(parse_python(no_answers[i], &origin));
    }
    json_t *python = parse_python(
        "a banner of sitecustomize\n"
        "{\"version\": \"3.11.2\", \"executable\": \"/v/bin/python\", \"module\": \"a.b\","
        " \"origin\": \"/v/a/b.py\", \"packages\": [\"a==1\", 3, \"b\", \"torch==2.1\"]}\n",
        &origin);
    assert_string_equal(origin, "/v/a/b.py");
    free(origin);
    check_rig_assert(python, "version", "\"3.11.2\"");
    check_rig_assert(python, "has_module", "true");
    check_rig_assert(python, "packages", "[\"a==1\",\"torch==2.1\"]");
    check_rig_assert(python, "has_all_packages", "true");
    json_decref(python);
    python = parse_python("{\"version\": \"3.7\", \"module\": \"a\", \"origin\": null,"
                          " \"packages\": null}",
                          &origin);
    assert_null(origin);
    check_rig_assert(python, "has_module", "false");
    check_rig_assert(python, "packages", "");
    json_decref(python);
}

static void test_nvcc(void **state)
{
    (void)state;
    mu_autofree char *version = check_fact_nvcc(mu_slice_of(
        "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.8, V12.8.61\n"));
    assert_string_equal(version, "12.8");
    assert_null(check_fact_nvcc(mu_slice_of("")));
    assert_null(check_fact_nvcc(mu_slice_of("tools, release ")));
}

static void add_program(const struct host_rig *r, const char *text, const char *path)
{
    mu_autofree char *full = mu_asprintf("%s%s", r->root, path);
    host_rig_write(r, text, "%s", path);
    assert_int_equal(chmod(full, 0755), 0);
}

/* All of it: children, an interpreter, programs; and never more than may be sent. */
static void test_collect(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0-1");
    add_program(&r,
                "#!/bin/sh\nprintf '{\"version\": \"3.0\", \"packages\": [\"torch==1\"'\n"
                "i=0; while [ $i -lt 2900 ]; do printf ', \"package-number-%d==1.0\"' $i; "
                "i=$((i+1)); done\necho ']}'\n",
                "/bin/python3");
    add_program(&r, "#!/bin/sh\necho 'tools, release 12.8, V12'\n", "/bin/nvcc");
    host_rig_write(&r, "print()\n", "/train.py");
    host_rig_write(&r, "n7\n", "/proc/sys/kernel/hostname");
    mu_autofree char *path = mu_asprintf("PATH=%s/bin:/usr/bin:/bin", r.root);
    mu_autofree char *script = mu_asprintf("%s/train.py", r.root);
    r.env[0] = path;
    struct sched sched = {.name = "Slurm", .gpus = 8};
    struct check_spec spec = {.script = script, .require = "nvcc, no-such", .sched = &sched};
    json_t *facts = check_facts_collect(&r.host, &spec);
    assert_true(json_dumpb(facts, NULL, 0, JSON_COMPACT) <= CHECK_FACTS_MAX);
    check_rig_assert(facts, "node", "\"n7\"");
    check_rig_assert(facts, "scheduler", "{\"gpus\":8,\"is_batch\":true,\"name\":\"Slurm\"}");
    check_rig_assert(facts, "python.version", "\"3.0\"");
    check_rig_assert(facts, "python.has_all_packages", "false");
    check_rig_assert(facts, "python.packages", "[\"torch==1\"]");
    check_rig_assert(facts, "programs.0.version", "\"12.8\"");
    check_rig_assert(facts, "programs.1", "{\"name\":\"no-such\"}");
    check_rig_assert(facts, "script.size", "8");
    check_rig_assert(facts, "gpus", "");
    json_decref(facts);

    add_program(&r, "#!/bin/sh\necho 'no module named x' >&2\nexit 1\n", "/bin/python3");
    spec = (struct check_spec){.script = "a.module", .is_module = true, .node_name = "other"};
    facts = check_facts_collect(&r.host, &spec);
    check_rig_assert(facts, "node", "\"other\"");
    check_rig_assert(facts, "python.error", "\"no module named x\"");
    check_rig_assert(facts, "script", "");
    json_decref(facts);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine), cmocka_unit_test(test_links),

        cmocka_unit_test(test_places),  cmocka_unit_test(test_script),
        cmocka_unit_test(test_nvcc),    cmocka_unit_test(test_python_answers),
        cmocka_unit_test(test_collect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
