/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of invented machines.
 */
#include "launcher/check_facts.h"

#include "launcher/check_fact.h"
#include "launcher/check_findings.h"

#include "tests/unit/check_rig.h"
#include "tests/unit/host_rig.h"

#include <limits.h>
#include <sys/wait.h>

#define A "0000:1b:00.0"
#define B "0000:4e:00.0"

/* What a path of keys leads to, as compact JSON; "" if to nothing. */
static void assert_fact(const json_t *facts, const char *path, const char *expected)
{
    mu_autofree char *copy = mu_strdup(path);
    char *rest = copy;
    char *key;
    const json_t *at = facts;
    while ((key = strsep(&rest, ".")) != NULL) {
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
    }
    char *text = at != NULL ? json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS)
                            : mu_strdup("");
    if (strcmp(text, expected) != 0) {
        fail_msg("%s is %s, not %s", path, text, expected);
    }
    free(text);
}

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
    assert_fact(facts, "hostname", "\"n7\"");
    assert_fact(facts, "kernel", "\"5.15.0-1\"");
    assert_fact(facts, "cpus", "{\"allowed\":4,\"machine\":160,\"quota\":2}");
    assert_fact(facts, "memory", "{\"limit\":1073741824,\"total\":4294967296}");
    assert_fact(facts, "ipc_lock", "true");
    assert_fact(facts, "limits.as", "{\"hard\":-1,\"soft\":-1}");
    assert_fact(facts, "limits.memlock", "{\"hard\":65536,\"soft\":65536}");
    assert_fact(facts, "limits.stack", "{\"hard\":-1,\"soft\":8388608}");
    assert_fact(facts, "limits.nproc", "");
    assert_fact(facts, "short_limits", "");
    json_decref(facts);

    facts = json_object();
    check_fact_machine(&r.host, "stack=unlimited,nofile=hard,memlock=unlimited", facts);
    assert_fact(facts, "limits.stack.soft", "-1");
    assert_fact(facts, "limits.nofile.soft", "4096");
    assert_fact(facts, "limits.memlock.soft", "65536");
    assert_fact(facts, "short_limits", "[{\"hard\":65536,\"name\":\"memlock\",\"wanted\":-1}]");
    json_decref(facts);
    host_rig_fini(&r);

    host_rig_init(&r, "0"); /* a machine that tells nothing */
    facts = json_object();
    check_fact_machine(&r.host, NULL, facts);
    assert_fact(facts, "cpus", "{\"allowed\":1}");
    assert_fact(facts, "memory", "{}");
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
    assert_fact(facts, "nics",
                "[{\"has_address\":false,\"name\":\"invented0\",\"state\":\"down\"},"
                "{\"has_address\":false,\"mbits\":25000,\"name\":\"invented1\",\"state\":\"up\"}]");
    assert_fact(facts, "rdma",
                "[{\"gbits\":400,\"name\":\"mlx5_0/1\",\"state\":\"ACTIVE\"},"
                "{\"name\":\"mlx5_10/2\",\"state\":\"INIT\"}]");
    json_decref(facts);
    host_rig_fini(&r);
}

/* ---- GPUs ---- */

static const char *fake_nvml(void)
{
    static char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof(path), "%s/../fake/libnvidia-ml.so.1", self);
    return path;
}

static void add_gpus(struct host_rig *r)
{
    host_rig_nvidia(r, A, 0, "GPU-a", 0);
    host_rig_nvidia(r, B, 1, "GPU-b", 1);
    r->host.nvml_library = fake_nvml();
    setenv("FAKE_NVML", A " GPU-a;" B " GPU-b", 1);
    mu_autofree char *use = mu_asprintf("%s/use", r->root);
    setenv("FAKE_NVML_USE", use, 1);
    unsetenv("FAKE_NVML_HEALTH");
    host_rig_write(r, B " 2048 77:2000 78:10\n", "/use");
    host_rig_write(r, "python3\n", "/proc/77/comm");
}

/* What of the facts of a node is found, in words of check_rig_expect(). */
static void assert_found(const struct host_rig *r, const char *expected)
{
    json_t *facts = json_pack("{s:s}", "node", "n");
    json_t *gpus = check_fact_gpus(&r->host);
    if (gpus != NULL) {
        json_object_set_new(facts, "gpus", gpus);
    }
    struct check_findings list = {0};
    check_local(facts, &list);
    check_rig_expect(&list, expected);
    check_findings_fini(&list);
    json_decref(facts);
}

static void test_gpus(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    assert_null(check_fact_gpus(&r.host));
    add_gpus(&r);
    json_t *gpus = check_fact_gpus(&r.host);
    assert_fact(gpus, "maker", "\"NVIDIA\"");
    assert_fact(gpus, "count", "2");
    assert_fact(gpus, "machine", "2");
    assert_fact(gpus, "nvml", "0");
    assert_fact(gpus, "driver", "\"550.54.15\"");
    assert_fact(gpus, "cuda", "\"12.4\"");
    assert_fact(gpus, "devices.0.model", "\"NVIDIA H100 80GB HBM3\"");
    assert_fact(gpus, "devices.0.memory", "85520809984");
    assert_fact(gpus, "devices.0.used", "0");
    assert_fact(gpus, "devices.0.is_too_hot", "false");
    assert_fact(gpus, "devices.1.name", "\"GPU 1 (" B ")\"");
    assert_fact(gpus, "devices.1.used", "2147483648");
    assert_fact(gpus, "devices.1.processes",
                "[{\"name\":\"python3\",\"pid\":77},{\"name\":\"\",\"pid\":78}]");
    json_decref(gpus);
    assert_found(&r, "n:gpu-busy");
    host_rig_write(&r, "", "/use");
    assert_found(&r, "");

    static const struct {
        const char *health;
        const char *found;
    } rows[] = {
        {A " lost=15", "!n:gpu-lost"},
        {A " lost=4", ""}, /* not ours to ask */
        {B " ecc=3", "n:gpu-memory"},
        {A " failed=1;" B " ecc=1", "!n:gpu-memory,n:gpu-memory"},
        {B " pending=1", "n:gpu-memory"},
        {A " slow=64;" B " slow=64", "n:gpu-slow"},
        {B " slow=128", "n:gpu-slow"},
        {A " slow=4", ""}, /* a power cap is no fault */
        {A " mig=1", "n:gpu-mig,n:gpu-mig"},
        {A " mig-pending=1", "n:gpu-mig"},
        {A " mig=1 mig-pending=1;" B " mig=1 mig-pending=1", ""},
        {"driver mismatch=18", "!n:gpu-driver"},
    };
    for (size_t i = 0; i < MU_COUNT(rows); i++) {
        setenv("FAKE_NVML_HEALTH", rows[i].health, 1);
        assert_found(&r, rows[i].found);
    }
    unsetenv("FAKE_NVML_HEALTH");
    r.host.nvml_library = NULL;
    assert_found(&r, "n:gpu-driver");
    host_rig_fini(&r);
}

/* Hardware errors of the last day, of GPUs that are ours. */
static void test_xids(void **state)
{
    (void)state;
    struct host_rig r;
    host_rig_init(&r, "0");
    add_gpus(&r);
    host_rig_write(&r, "", "/use");
    host_rig_write(&r, "200000.5 1.0\n", "/proc/uptime");
    host_rig_write(&r,
                   "6,1,1000,-;Linux version\n"
                   "4,2,1000000000,-;NVRM: Xid (PCI:0000:4e:00): 79, pid=1, long ago\n"
                   "4,3,190000000000,-;NVRM: Xid (PCI:0000:1b:00): 31, pid=1, a program's fault\n"
                   "4,4,190000000000,-;NVRM: Xid (PCI:0000:99:00): 79, pid=1, of others\n"
                   "4,5,190000000000,-;NVRM: Xid (PCI:0000:1b:00): 74, pid=1, NVLink\n"
                   "4,6,191000000000,-;NVRM: Xid (PCI:0000:1b:00): 74, pid=1, NVLink\n"
                   "4,7,191000000000,-;NVRM: Xid (PCI:",
                   "/dev/kmsg");
    json_t *gpus = check_fact_gpus(&r.host);
    assert_fact(gpus, "xids",
                "[{\"means\":\"an error of NVLink\",\"pci\":\"0000:1b:00\",\"xid\":74}]");
    json_decref(gpus);
    assert_found(&r, "n:gpu-xid");
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
    assert_fact(places, "shm", "{\"error\":\"No such file or directory\"}");
    assert_fact(places, "dirs.0.error", "\"No such file or directory\"");
    assert_fact(places, "dirs.1.path", "\"/logs/a/b\"");
    assert_fact(places, "dirs.1.error", ""); /* it can be made */
    json_decref(places);

    host_rig_write(&r, "", "/dev/shm/x");
    host_rig_write(&r, "", "/scratch/x");
    host_rig_write(&r, "", "/logs/a");
    char tmpdir[] = "TMPDIR=/scratch";
    r.env[0] = tmpdir;
    places = check_fact_places(&r.host, &spec);
    assert_true(json_is_integer(json_object_get(json_object_get(places, "shm"), "size")));
    assert_fact(places, "dirs.0.path", "\"/scratch\"");
    assert_fact(places, "dirs.0.error", "");
    assert_fact(places, "dirs.1.error", "\"Not a directory\"");
    json_decref(places);
    spec.log_dir = "/dev/null";
    places = check_fact_places(&r.host, &spec);
    assert_fact(places, "dirs.1", "");
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
    assert_fact(script, "error", "\"No such file or directory\"");
    assert_fact(script, "path", "\"/no/such/file.py\"");
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
    assert_fact(python, "version", "\"3.11.2\"");
    assert_fact(python, "has_module", "true");
    assert_fact(python, "packages", "[\"a==1\",\"torch==2.1\"]");
    assert_fact(python, "has_all_packages", "true");
    json_decref(python);
    python = parse_python("{\"version\": \"3.7\", \"module\": \"a\", \"origin\": null,"
                          " \"packages\": null}",
                          &origin);
    assert_null(origin);
    assert_fact(python, "has_module", "false");
    assert_fact(python, "packages", "");
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
    assert_fact(facts, "node", "\"n7\"");
    assert_fact(facts, "scheduler", "{\"gpus\":8,\"is_batch\":true,\"name\":\"Slurm\"}");
    assert_fact(facts, "python.version", "\"3.0\"");
    assert_fact(facts, "python.has_all_packages", "false");
    assert_fact(facts, "python.packages", "[\"torch==1\"]");
    assert_fact(facts, "programs.0.version", "\"12.8\"");
    assert_fact(facts, "programs.1", "{\"name\":\"no-such\"}");
    assert_fact(facts, "script.size", "8");
    assert_fact(facts, "gpus", "");
    json_decref(facts);

    add_program(&r, "#!/bin/sh\necho 'no module named x' >&2\nexit 1\n", "/bin/python3");
    spec = (struct check_spec){.script = "a.module", .is_module = true, .node_name = "other"};
    facts = check_facts_collect(&r.host, &spec);
    assert_fact(facts, "node", "\"other\"");
    assert_fact(facts, "python.error", "\"no module named x\"");
    assert_fact(facts, "script", "");
    json_decref(facts);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    host_rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine), cmocka_unit_test(test_links),
        cmocka_unit_test(test_gpus),    cmocka_unit_test(test_xids),
        cmocka_unit_test(test_places),  cmocka_unit_test(test_script),
        cmocka_unit_test(test_nvcc),    cmocka_unit_test(test_python_answers),
        cmocka_unit_test(test_collect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
