/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_rule.h"

#include "launcher/nvml.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

/* A display or a monitoring service holds a few hundred MiB, an idle GPU's driver less. */
#define BUSY_BYTES (INT64_C(1024) * 1024 * 1024)

/* What makes a GPU one to be named: a flag that is set, or a number above 0. */
static bool is_set(const json_t *device, const char *key)
{
    return check_rule_flag(device, key) || check_rule_int(device, key, 0) > 0;
}

static const struct fault {
    const char *key; /* of the device's facts */
    enum check_severity severity;
    const char *what;
    const char *found; /* before the names */
    const char *expected;
    const char *fix;
} faults[] = {
    {"nvml_error", CHECK_ERROR, "gpu-lost", "the driver cannot reach", "every GPU answers",
     "drain the node and reboot it; look for Xid in dmesg"},
    {"remap_failed", CHECK_ERROR, "gpu-memory", "bad memory could not be replaced in",
     "no failed row remapping",
     "drain the node and have the GPU replaced: nvidia-smi -q -d "
     "ROW_REMAPPER"},
    {"remap_pending", CHECK_WARNING, "gpu-memory", "bad memory waits to be replaced in",
     "no pending page retirement or row remapping",
     "reset the GPU when it is idle (nvidia-smi --gpu-reset -i N), or reboot"},
    {"ecc_uncorrected", CHECK_WARNING, "gpu-memory",
     "memory errors that could not be corrected since the driver was loaded in",
     "no uncorrected ECC errors",
     "reset the GPU when it is idle (nvidia-smi --gpu-reset -i N); replace it if they come back"},
    {"is_too_hot", CHECK_WARNING, "gpu-slow", "the hardware slows down, too hot:", "full clocks",
     "see to the cooling: nvidia-smi -q -d TEMPERATURE,PERFORMANCE"},
    {"is_power_braked", CHECK_WARNING, "gpu-slow", "the power supply slows down", "full clocks",
     "see to power supplies and cables: nvidia-smi -q -d POWER,PERFORMANCE"},
    {"mig_pending", CHECK_WARNING, "gpu-mig", "a change of MIG mode waits for a reset of",
     "the mode that was asked for", "nvidia-smi --gpu-reset -i N"},
};

static const json_t *devices_of(const struct check_rule *r)
{
    return json_object_get(json_object_get(r->facts, "gpus"), "devices");
}

/* One finding for a kind of fault. A GPU of which worse is said already (`said`) is not named. */
static void check_fault(const struct check_rule *r, const struct fault *fault, bool *said,
                        size_t max)
{
    struct check_rule_names names = {0};
    bool is_memory = strcmp(fault->what, "gpu-memory") == 0;
    size_t i;
    const json_t *device;
    json_array_foreach (devices_of(r), i, device) {
        const char *name = check_rule_text(device, "name");
        if (name != NULL && i < max && is_set(device, fault->key) && !(is_memory && said[i])) {
            check_rule_names_add(&names, name);
            said[i] = true;
        }
    }
    if (names.count > 0) {
        mu_autofree char *text = check_rule_names_take(&names);
        check_rule_say(r, fault->severity, fault->what, fault->expected, fault->fix, "%s %s",
                       fault->found, text);
    }
}

/* The kernel's log tells of the same events: only what nothing else has told of. */
static void check_xids(const struct check_rule *r, const bool *said, size_t max)
{
    size_t i;
    const json_t *xid;
    json_array_foreach (json_object_get(json_object_get(r->facts, "gpus"), "xids"), i, xid) {
        const char *pci = check_rule_text(xid, "pci");
        const char *means = check_rule_text(xid, "means");
        bool is_said = pci == NULL || means == NULL;
        size_t k;
        const json_t *device;
        json_array_foreach (devices_of(r), k, device) {
            const char *name = check_rule_text(device, "name");
            is_said = is_said || (k < max && said[k] && name != NULL && strstr(name, pci) != NULL);
        }
        if (!is_said) {
            check_rule_say(r, CHECK_WARNING, "gpu-xid", "no hardware errors of the last day",
                           "look at dmesg; reset the GPU or drain the node if it comes back",
                           "the kernel's log has Xid %lld of the GPU at %s: %s",
                           (long long)check_rule_int(xid, "xid", 0), pci, means);
        }
    }
}

static void put_holders(const json_t *device, struct check_rule_names *names)
{
    size_t i;
    const json_t *process;
    json_array_foreach (json_object_get(device, "processes"), i, process) {
        const char *name = check_rule_text(process, "name");
        mu_autofree char *text =
            name != NULL && name[0] != '\0'
                ? mu_asprintf("%lld (%s)", (long long)check_rule_int(process, "pid", 0), name)
                : mu_asprintf("%lld", (long long)check_rule_int(process, "pid", 0));
        check_rule_names_add(names, text);
    }
}

static void check_busy(const struct check_rule *r)
{
    struct check_rule_names gpus = {0};
    struct check_rule_names holders = {0};
    int64_t most = 0;
    size_t i;
    const json_t *device;
    json_array_foreach (devices_of(r), i, device) {
        const char *name = check_rule_text(device, "name");
        int64_t used = check_rule_int(device, "used", 0);
        if (name != NULL && used >= BUSY_BYTES) {
            check_rule_names_add(&gpus, name);
            put_holders(device, &holders);
            most = used > most ? used : most;
        }
    }
    if (gpus.count == 0) {
        mu_buf_fini(&holders.text);
        return;
    }
    char size[CHECK_RULE_SIZE];
    bool has_holders = holders.count > 0;
    mu_autofree char *gpu_text = check_rule_names_take(&gpus);
    mu_autofree char *holder_text = check_rule_names_take(&holders);
    check_rule_say(r, CHECK_WARNING, "gpu-busy", "GPUs that nobody uses",
                   has_holders ? "end the processes, if they are leftovers of an earlier job"
                               : "look for leftovers of an earlier job, in other containers too: "
                                 "nvidia-smi",
                   "up to %s are in use on %s%s%s", check_rule_size(most, size), gpu_text,
                   has_holders ? " by process " : ", nobody knows by whom", holder_text);
}

/* Some GPUs are parted and others are not: workers would not be alike. */
static void check_mig(const struct check_rule *r)
{
    size_t with = 0;
    size_t without = 0;
    size_t i;
    const json_t *device;
    json_array_foreach (devices_of(r), i, device) {
        with += json_is_true(json_object_get(device, "mig"));
        without += json_is_false(json_object_get(device, "mig"));
    }
    if (with > 0 && without > 0) {
        check_rule_say(r, CHECK_WARNING, "gpu-mig", "all GPUs of a job alike",
                       "nvidia-smi -mig 0 (or 1) for all of them",
                       "MIG is on for %zu GPUs and off for %zu", with, without);
    }
}

static void check_driver(const struct check_rule *r)
{
    const json_t *gpus = json_object_get(r->facts, "gpus");
    int64_t code = check_rule_int(gpus, "nvml", NVML_OK);
    if (check_rule_flag(gpus, "is_late")) {
        check_rule_say(r, CHECK_ERROR, "gpu-driver", "an answer within seconds",
                       "reboot the node; look for Xid and NVRM in dmesg",
                       "the GPU driver does not answer");
    } else if (code == NVML_VERSION_MISMATCH) {
        check_rule_say(r, CHECK_ERROR, "gpu-driver", "library and kernel module of one version",
                       "reboot the node, or load the new module: the driver was updated",
                       "NVIDIA's library and its kernel module are of different versions");
    } else if (code < 0) {
        check_rule_say(r, CHECK_WARNING, "gpu-driver", "libnvidia-ml.so.1, which NCCL needs",
                       "install it; containers: NVIDIA_DRIVER_CAPABILITIES=compute,utility",
                       "there are GPUs, but NVIDIA's library NVML cannot be loaded");
    } else if (code != NVML_OK) {
        check_rule_say(r, CHECK_ERROR, "gpu-driver", "NVML works", "see what nvidia-smi says",
                       "NVIDIA's library NVML fails with error %lld", (long long)code);
    }
}

static void check_count(const struct check_rule *r)
{
    const json_t *scheduler = json_object_get(r->facts, "scheduler");
    const char *name = check_rule_text(scheduler, "name");
    int64_t given = check_rule_int(scheduler, "gpus", 0);
    int64_t count = check_rule_gpus(r->facts);
    const json_t *gpus = json_object_get(r->facts, "gpus");
    /* Slots of a host file or of mpirun need not be GPUs. */
    bool is_meant = count > 0 || check_rule_flag(scheduler, "is_batch");
    if (name == NULL || count >= given || !is_meant || check_rule_flag(gpus, "is_late")) {
        return;
    }
    const char *chosen_by = check_rule_text(gpus, "limited_by");
    if (chosen_by != NULL && check_rule_int(gpus, "machine", 0) >= given) {
        mu_autofree char *fix =
            mu_asprintf("see what sets %s: the job's script, or a module", chosen_by);
        check_rule_say(r, CHECK_ERROR, "gpu-count", "every GPU that was given", fix,
                       "%s gave %lld GPUs, %s leaves %lld", name, (long long)given, chosen_by,
                       (long long)count);
        return;
    }
    check_rule_say(r, CHECK_ERROR, "gpu-count", "every GPU that was given",
                   "see what nvidia-smi -L and ls /dev/nvidia* say; drain the node",
                   "%s gave %lld GPUs, %lld can be used", name, (long long)given, (long long)count);
}

void check_rules_gpus(const struct check_rule *r)
{
    size_t max = json_array_size(devices_of(r));
    mu_autofree bool *said = mu_calloc(max + 1, sizeof(*said));
    check_driver(r);
    check_count(r);
    for (size_t i = 0; i < MU_COUNT(faults); i++) {
        check_fault(r, &faults[i], said, max);
    }
    check_xids(r, said, max);
    check_busy(r);
    check_mig(r);
}
