/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/local_world.h"

#include "launcher/cpu_quota.h"
#include "muster/env.h"
#include "muster/limits.h"

#include <inttypes.h>

static int64_t bounded(int64_t count)
{
    return count < MU_MAX_LOCAL_WORLD ? count : MU_MAX_LOCAL_WORLD;
}

static int64_t count_cpus(const struct host_view *host, struct local_world *world)
{
    struct cpu_mask allowed;
    host_view_allowed(host, &allowed);
    int64_t count = cpu_mask_count(&allowed);
    int64_t quota = cpu_quota(host);
    snprintf(world->source, sizeof(world->source), "%s",
             quota < count ? "the control group's CPU quota" : "the CPUs this process may use");
    return bounded(quota < count ? quota : count);
}

/* A process sees the first of its MIG devices only, unless each gets one of its own. */
static void fold_mig(const struct options *opts, struct gpu_list *gpus)
{
    if (!opts->virtual_local_rank && gpus->count > 1 && gpus->items[0].is_mig) {
        gpus->count = 1;
    }
}

static void say_source(const struct host_view *host, struct local_world *world)
{
    const struct gpu_list *gpus = &world->gpus;
    if (gpus->limited_by == NULL) {
        snprintf(world->source, sizeof(world->source), "the GPUs in %s", gpus->found_in);
        return;
    }
    const char *value = mu_env_get(host->envp, gpus->limited_by);
    int used = snprintf(world->source, sizeof(world->source), "%s=%.64s", gpus->limited_by,
                        value != NULL ? value : "");
    if (gpus->found_in != NULL) {
        snprintf(world->source + used, sizeof(world->source) - (size_t)used, " of %zu GPU%s in %s",
                 gpus->total, gpus->total == 1 ? "" : "s", gpus->found_in);
    }
}

static int fail_without(const struct host_view *host, const char *word, const struct gpu_list *gpus,
                        struct mu_err *err)
{
    if (gpus->total > 0) {
        const char *value = mu_env_get(host->envp, gpus->limited_by);
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--nproc-per-node %s: this machine has %zu GPU%s, but %s='%.64s' leaves "
                          "none of them; correct it or unset it",
                          word, gpus->total, gpus->total == 1 ? "" : "s", gpus->limited_by,
                          value != NULL ? value : "");
    }
    const char *where = word[0] == 'x' ? "Intel: /sys/class/drm"
                                       : "NVIDIA: /proc/driver/nvidia, NVML, /dev, PCI; AMD: "
                                         "/sys/class/kfd and /dev/dri";
    return mu_err_set(err, MU_E_USAGE, 0,
                      "--nproc-per-node %s: no GPU of this machine can be used (%s); load the "
                      "driver, ask the scheduler or container for GPUs, or give a number",
                      word, where);
}

static int count_workers(struct options *opts, const struct host_view *host,
                         struct local_world *world, struct mu_err *err)
{
    static const struct {
        enum gpu_want want;
        const char *word;
    } wants[] = {
        [-OPTIONS_NPROC_AUTO] = {GPU_WANT_ANY, "auto"},
        [-OPTIONS_NPROC_GPU] = {GPU_WANT_GPU, "gpu"},
        [-OPTIONS_NPROC_XPU] = {GPU_WANT_XPU, "xpu"},
    };
    int64_t word = opts->nproc_per_node;
    if (word == OPTIONS_NPROC_CPU) {
        opts->nproc_per_node = count_cpus(host, world);
        return 0;
    }
    gpu_list_find(host, wants[-word].want, &world->gpus);
    fold_mig(opts, &world->gpus);
    if (world->gpus.count > 0) {
        opts->nproc_per_node = bounded((int64_t)world->gpus.count);
        say_source(host, world);
        return 0;
    }
    if (word == OPTIONS_NPROC_AUTO) {
        opts->nproc_per_node = count_cpus(host, world);
        return 0;
    }
    return fail_without(host, wants[-word].word, &world->gpus, err);
}

/*
 * A scheduler gave nodes, no GPUs, and no option says how many workers: as many as there are GPUs
 * all the same (it may not know of them), else one, and not one for each CPU.
 */
static void count_ungiven(struct options *opts, const struct host_view *host,
                          struct local_world *world)
{
    gpu_list_find(host, GPU_WANT_ANY, &world->gpus);
    fold_mig(opts, &world->gpus);
    if (world->gpus.count > 0) {
        opts->nproc_per_node = bounded((int64_t)world->gpus.count);
        say_source(host, world);
        return;
    }
    world->is_ungiven = true;
}

int local_world_resolve(struct options *opts, const struct host_view *host,
                        struct local_world *ret_world, struct mu_err *err)
{
    struct local_world world = {0};
    bool is_by_cpu = opts->nproc_per_node == OPTIONS_NPROC_CPU;
    if (opts->sched != NULL && opts->origin[OPTION_nproc_per_node] == OPTIONS_FROM_DEFAULT) {
        count_ungiven(opts, host, &world);
    }
    if (opts->nproc_per_node < 0 && count_workers(opts, host, &world, err) != 0) {
        local_world_fini(&world);
        return -1;
    }
    struct numa_binding_spec spec = {.mode = opts->numa_binding,
                                     .workers = (size_t)opts->nproc_per_node,
                                     .is_virtual = opts->virtual_local_rank};
    if (numa_binding_is_wanted(host, &spec)) {
        if (world.gpus.found_in == NULL && !is_by_cpu) {
            gpu_list_fini(&world.gpus);
            gpu_list_find(host, GPU_WANT_ANY, &world.gpus);
            fold_mig(opts, &world.gpus);
        }
        if (numa_binding_plan(host, &spec, &world.gpus, &world.binding, err) != 0) {
            local_world_fini(&world);
            return -1;
        }
    }
    *ret_world = world;
    return 0;
}

void local_world_fini(struct local_world *world)
{
    gpu_list_fini(&world->gpus);
    numa_binding_free(world->binding);
    *world = (struct local_world){0};
}
