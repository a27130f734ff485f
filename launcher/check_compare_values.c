/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables: what is compared.
 */
#include "launcher/check_compare.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

#define GIB (INT64_C(1024) * 1024 * 1024)

static char *copy_of(const char *text)
{
    return text != NULL ? mu_strdup(text) : NULL;
}

/* ---- what is to be the same ---- */

static char *read_muster(const json_t *facts)
{
    return copy_of(check_rule_text(facts, "muster"));
}

static char *read_arch(const json_t *facts)
{
    return copy_of(check_rule_text(facts, "arch"));
}

static char *read_kernel(const json_t *facts)
{
    return copy_of(check_rule_text(facts, "kernel"));
}

static char *read_driver(const json_t *facts)
{
    const json_t *gpus = json_object_get(facts, "gpus");
    const char *driver = check_rule_text(gpus, "driver");
    const char *cuda = check_rule_text(gpus, "cuda");
    if (driver == NULL || cuda == NULL) {
        return copy_of(driver);
    }
    return mu_asprintf("%s (CUDA %s)", driver, cuda);
}

/* Every kind once. Sizes are rounded, for what ECC takes and the driver keeps differs a little. */
static char *read_model(const json_t *facts)
{
    struct mu_buf kinds = {0};
    size_t i;
    const json_t *device;
    json_array_foreach (json_object_get(json_object_get(facts, "gpus"), "devices"), i, device) {
        const char *model = check_rule_text(device, "model");
        int64_t memory = check_rule_int(device, "memory", 0);
        if (model == NULL) {
            continue;
        }
        mu_autofree char *kind =
            mu_asprintf("%s with %lld GiB%s", model, (long long)((memory + GIB / 2) / GIB),
                        check_rule_flag(device, "mig") ? " (MIG)" : "");
        mu_buf_append_u8(&kinds, '\0');
        kinds.len--;
        if (strstr((const char *)kinds.data, kind) == NULL) {
            mu_buf_printf(&kinds, "%s%s", kinds.len > 0 ? " and " : "", kind);
        }
    }
    if (kinds.len == 0) {
        mu_buf_fini(&kinds);
        return NULL;
    }
    return mu_buf_take_text(&kinds);
}

static char *read_nvcc(const json_t *facts)
{
    size_t i;
    const json_t *program;
    json_array_foreach (json_object_get(facts, "programs"), i, program) {
        const char *name = check_rule_text(program, "name");
        if (name != NULL && strcmp(name, "nvcc") == 0) {
            return copy_of(check_rule_text(program, "version"));
        }
    }
    return NULL;
}

/* Of a node that has none the others say whether the job needs one. */
static char *read_python(const json_t *facts)
{
    const json_t *python = json_object_get(facts, "python");
    bool is_broken = check_rule_text(python, "error") != NULL || check_rule_flag(python, "is_late");
    return copy_of(is_broken ? "none that runs" : check_rule_text(python, "version"));
}

static char *read_python_path(const json_t *facts)
{
    const json_t *python = json_object_get(facts, "python");
    return check_rule_text(python, "version") != NULL
               ? copy_of(check_rule_text(python, "executable"))
               : NULL;
}

/* All packages that begin like that; "not installed" if the list is known and has none. */
static char *read_package(const json_t *facts, const char *begin)
{
    const json_t *packages = json_object_get(json_object_get(facts, "python"), "packages");
    struct mu_buf found = {0};
    size_t i;
    const json_t *package;
    if (!json_is_array(packages)) {
        return NULL;
    }
    json_array_foreach (packages, i, package) {
        const char *text = json_string_value(package);
        if (text != NULL && strncmp(text, begin, strlen(begin)) == 0) {
            mu_buf_printf(&found, "%s%s", found.len > 0 ? ", " : "", text);
        }
    }
    if (found.len == 0) {
        mu_buf_printf(&found, "not installed");
    }
    return mu_buf_take_text(&found);
}

static const char torch_begin[] = "torch==";
static const char nccl_begin[] = "nvidia-nccl-";

static char *read_torch(const json_t *facts)
{
    return read_package(facts, torch_begin);
}

static char *read_nccl(const json_t *facts)
{
    return read_package(facts, nccl_begin);
}

bool check_compare_is_own(const char *package)
{
    return strncmp(package, torch_begin, strlen(torch_begin)) == 0 ||
           strncmp(package, nccl_begin, strlen(nccl_begin)) == 0;
}

static char *read_script(const json_t *facts)
{
    const json_t *script = json_object_get(facts, "script");
    int64_t size = check_rule_int(script, "size", -1);
    const char *hash = check_rule_text(script, "hash");
    return size >= 0 ? mu_asprintf("%lld bytes, hash %s", (long long)size,
                                   hash != NULL ? hash : "unknown")
                     : NULL;
}

static char *read_beside(const json_t *facts)
{
    const json_t *script = json_object_get(facts, "script");
    const char *hash = check_rule_text(script, "files_hash");
    return hash != NULL ? mu_asprintf("%lld files, hash %s",
                                      (long long)check_rule_int(script, "files", 0), hash)
                        : NULL;
}

const struct check_same *check_compare_same(size_t *ret_count)
{
    static const char fix_env[] = "one environment for all nodes, on a shared file system or in "
                                  "the same container image";
    static const struct check_same same[] = {
        {"muster", CHECK_ERROR, "muster", read_muster, "install one version on all nodes", NULL},
        {"arch", CHECK_ERROR, "the architecture", read_arch, "nodes of one kind", NULL},
        {"kernel", CHECK_WARNING, "the kernel", read_kernel,
         "update and reboot the node that was left out", NULL},
        {"gpu-driver", CHECK_WARNING, "the GPU driver", read_driver,
         "install one driver on all nodes", NULL},
        {"gpu-model", CHECK_WARNING, "the GPUs", read_model,
         "nodes of one kind (Slurm: --constraint); the slowest sets the pace", NULL},
        {"nvcc", CHECK_ERROR, "nvcc", read_nvcc, "load the same CUDA module on all nodes", NULL},
        {"python", CHECK_ERROR, "Python", read_python, fix_env, NULL},
        {"python-path", CHECK_WARNING, "the interpreter", read_python_path,
         "activate the environment where the job is submitted, or give --python", "python"},
        {"torch", CHECK_ERROR, "PyTorch", read_torch, fix_env, NULL},
        {"nccl", CHECK_ERROR, "NCCL", read_nccl, fix_env, "torch"},
        {"script", CHECK_ERROR, "the script", read_script,
         "copy it to all nodes, or keep it on a shared file system", NULL},
        {"script-dir", CHECK_WARNING, "the Python files beside the script", read_beside,
         "copy them to all nodes, or keep them on a shared file system", "script"},
    };
    *ret_count = MU_COUNT(same);
    return same;
}

/* ---- what is not to be less ---- */

static int64_t read_gpu_count(const json_t *facts)
{
    const json_t *gpus = json_object_get(facts, "gpus");
    return check_rule_flag(gpus, "is_late") ? -1 : check_rule_gpus(facts);
}

static int64_t read_cpus(const json_t *facts)
{
    int64_t cpus = check_rule_cpus(facts);
    return cpus > 0 ? cpus : -1;
}

static int64_t read_memory(const json_t *facts)
{
    const json_t *memory = json_object_get(facts, "memory");
    int64_t total = check_rule_int(memory, "total", -1);
    int64_t limit = check_rule_int(memory, "limit", INT64_MAX);
    return limit < total ? limit : total;
}

static int64_t read_shm(const json_t *facts)
{
    return check_rule_int(json_object_get(json_object_get(facts, "places"), "shm"), "size", -1);
}

static int64_t read_soft(const json_t *facts, const char *name)
{
    const json_t *limit = json_object_get(json_object_get(facts, "limits"), name);
    if (!json_is_object(limit)) {
        return -1;
    }
    int64_t soft = check_rule_int(limit, "soft", -1);
    return soft < 0 ? INT64_MAX : soft;
}

#define READ_LIMIT(name)                            \
    static int64_t read_##name(const json_t *facts) \
    {                                               \
        return read_soft(facts, #name);             \
    }
READ_LIMIT(as)
READ_LIMIT(core)
READ_LIMIT(memlock)
READ_LIMIT(nofile)
READ_LIMIT(nproc)
READ_LIMIT(stack)

/* The fastest that is used: nodes have slow ones for other ends. */
static int64_t read_nic_speed(const json_t *facts)
{
    int64_t most = -1;
    size_t i;
    const json_t *nic;
    json_array_foreach (json_object_get(facts, "nics"), i, nic) {
        const char *state = check_rule_text(nic, "state");
        int64_t speed = check_rule_int(nic, "mbits", -1);
        bool is_used =
            state != NULL && strcmp(state, "up") == 0 && check_rule_flag(nic, "has_address");
        most = is_used && speed > most ? speed : most;
    }
    return most;
}

/* Ports that are active and, where `rate` is not NULL, the least rate among them. */
static int64_t count_active(const json_t *facts, int64_t *rate)
{
    const json_t *ports = json_object_get(facts, "rdma");
    int64_t active = 0;
    size_t i;
    const json_t *port;
    json_array_foreach (ports, i, port) {
        const char *state = check_rule_text(port, "state");
        int64_t gbits = check_rule_int(port, "gbits", INT64_MAX);
        bool is_active = state != NULL && strcmp(state, "ACTIVE") == 0;
        active += is_active;
        *rate = is_active && gbits < *rate ? gbits : *rate;
    }
    return json_is_array(ports) ? active : -1;
}

static int64_t read_rdma_ports(const json_t *facts)
{
    int64_t ignored = INT64_MAX;
    return count_active(facts, &ignored);
}

static int64_t read_rdma_rate(const json_t *facts)
{
    int64_t rate = INT64_MAX;
    count_active(facts, &rate);
    return rate < INT64_MAX ? rate : -1;
}

const struct check_least *check_compare_least(size_t *ret_count)
{
    static const char fix_limit[] = "the same limits.conf, and limits of the scheduler's daemon, "
                                    "on all nodes";
    static const char fix_kind[] = "see what is missing on the node, or take nodes of one kind";
    static const struct check_least least[] = {
        {"gpu-count", "%s can be used", read_gpu_count, 100, false, " GPUs",
         "see what nvidia-smi -L says on the node"},
        {"cpus", "%s may be used", read_cpus, 50, false, " CPUs", fix_kind},
        {"memory", "%s of memory may be used", read_memory, 90, true, "", fix_kind},
        {"shm", "/dev/shm has %s", read_shm, 50, true, "", "mount it with the same size"},
        {"as", "address space is limited to %s", read_as, 100, true, "", fix_limit},
        {"core", "core dumps are limited to %s", read_core, 100, true, "", fix_limit},
        {"memlock", "locked memory is limited to %s", read_memlock, 100, true, "", fix_limit},
        {"nofile", "%s may be open", read_nofile, 100, false, " files", fix_limit},
        /* The kernel derives it from the memory, which differs a little between like nodes. */
        {"nproc", "%s may run", read_nproc, 50, false, " processes", fix_limit},
        {"stack", "stacks are limited to %s", read_stack, 100, true, "", fix_limit},
        {"nic-speed", "the fastest network interface has %s", read_nic_speed, 100, false, " Mb/s",
         "see to cable, switch port and ethtool"},
        {"rdma", "%s are active", read_rdma_ports, 100, false, " RDMA ports",
         "see to cables and switch: ibstat"},
        {"rdma-rate", "the slowest active RDMA port has %s", read_rdma_rate, 100, false, " Gb/s",
         "see to cable and switch port: ibstat"},
    };
    *ret_count = MU_COUNT(least);
    return least;
}
