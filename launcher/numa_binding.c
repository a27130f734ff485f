/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/numa_binding.h"

#include "launcher/cpu_topology.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

/* Something a worker is bound near: a GPU, or a place on a node where there are none. */
struct device {
    const struct gpu *gpu; /* borrowed; NULL: none */
    const struct cpu_group *node;
    size_t place;      /* among the devices of the node, by index */
    size_t neighbours; /* devices of the node, this one included */
};

struct plan {
    const struct host_view *host;
    const struct numa_binding_spec *spec;
    struct cpu_mask allowed;
    struct cpu_group *nodes; /* owned */
    size_t node_count;
    struct device *devices; /* owned; at least one for each worker */
    size_t device_count;
};

static bool is_mode(const struct numa_binding_spec *spec, const char *mode)
{
    return strcmp(spec->mode, mode) == 0;
}

/* Nodes of the machine, whoever may use them. */
static unsigned count_nodes(const struct host_view *host)
{
    struct cpu_mask nodes = {0};
    host_view_mask(host, &nodes, "/sys/devices/system/node/online");
    return cpu_mask_count(&nodes);
}

bool numa_binding_is_wanted(const struct host_view *host, const struct numa_binding_spec *spec)
{
    if (!is_mode(spec, "auto")) {
        return !is_mode(spec, "none");
    }
    /* A single worker has nobody to share the machine with. */
    return spec->workers > 1 && count_nodes(host) > 1;
}

/* ---- the devices, and the nodes they are on ---- */

static int find_nodes_of_gpus(struct plan *p, const struct gpu_list *gpus, struct mu_err *err)
{
    bool has_one_node = count_nodes(p->host) <= 1;
    for (size_t i = 0; i < p->device_count; i++) {
        const struct gpu *gpu = &gpus->items[i];
        struct device *device = &p->devices[i];
        device->gpu = gpu;
        for (size_t k = 0; k < p->node_count; k++) {
            if (p->nodes[k].id == gpu->numa_node) {
                device->node = &p->nodes[k];
            }
        }
        if (gpu->numa_node < 0 && has_one_node) {
            device->node = &p->nodes[0]; /* such machines often do not say it of their GPUs */
        }
        if (device->node != NULL || i >= p->spec->workers) {
            continue;
        }
        const char *name = gpu->pci[0] != '\0' ? gpu->pci : "of an unknown address";
        if (gpu->numa_node < 0) {
            return mu_err_set(err, MU_E_USAGE, 0,
                              "--numa-binding %s: this machine does not say on which of its NUMA "
                              "nodes GPU %s is; use --numa-binding none",
                              p->spec->mode, name);
        }
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--numa-binding %s: GPU %s is on NUMA node %d, of whose CPUs this "
                          "process may use none; ask the scheduler for CPUs there, or use "
                          "--numa-binding none",
                          p->spec->mode, name, gpu->numa_node);
    }
    return 0;
}

static void number_devices(struct plan *p)
{
    for (size_t i = 0; i < p->device_count; i++) {
        for (size_t k = 0; k < p->device_count; k++) {
            bool is_near = p->devices[k].node == p->devices[i].node;
            p->devices[i].neighbours += is_near;
            p->devices[i].place += is_near && k < i;
        }
    }
}

static int find_devices(struct plan *p, const struct gpu_list *gpus, struct mu_err *err)
{
    size_t workers = p->spec->workers;
    if (gpus->count > 0 && gpus->count < workers) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--numa-binding %s: %zu workers, but only %zu GPU%s for them to be near; "
                          "use --numa-binding none, or a worker for each GPU",
                          p->spec->mode, workers, gpus->count, gpus->count == 1 ? "" : "s");
    }
    p->device_count = gpus->count > 0 ? gpus->count : workers;
    p->devices = mu_calloc(p->device_count, sizeof(*p->devices));
    if (gpus->count > 0) {
        if (find_nodes_of_gpus(p, gpus, err) != 0) {
            return -1;
        }
    } else {
        for (size_t i = 0; i < workers; i++) {
            p->devices[i].node = &p->nodes[i * p->node_count / workers];
        }
    }
    number_devices(p);
    return 0;
}

/* ---- the modes ---- */

static void bind_to_socket(const struct plan *p, const struct device *device,
                           struct cpu_mask *ret_cpus)
{
    int socket = cpu_topology_socket(p->host, cpu_mask_next(&device->node->cpus, 0));
    for (size_t i = 0; i < p->node_count; i++) {
        const struct cpu_mask *cpus = &p->nodes[i].cpus;
        if (cpu_topology_socket(p->host, cpu_mask_next(cpus, 0)) == socket) {
            cpu_mask_unite(ret_cpus, cpus);
        }
    }
}

static int bind_exclusively(const struct plan *p, const struct device *device,
                            struct cpu_mask *ret_cpus, struct mu_err *err)
{
    struct cpu_group *cores;
    size_t count = cpu_topology_cores(p->host, &device->node->cpus, &cores);
    size_t share = count / device->neighbours;
    size_t rest = count % device->neighbours;
    size_t first = device->place * share + (device->place < rest ? device->place : rest);
    size_t end = first + share + (device->place < rest ? 1 : 0);
    for (size_t i = first; i < end; i++) {
        cpu_mask_unite(ret_cpus, &cores[i].cpus);
    }
    free(cores);
    if (share == 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--numa-binding exclusive: NUMA node %d has %zu %s, but this process may "
                          "use only %zu of its cores; use --numa-binding node",
                          device->node->id, device->neighbours,
                          device->gpu != NULL ? "GPUs" : "workers", count);
    }
    return 0;
}

static int compare_sizes(const void *a, const void *b)
{
    const struct cpu_group *x = a;
    const struct cpu_group *y = b;
    int x_count = (int)cpu_mask_count(&x->cpus);
    int y_count = (int)cpu_mask_count(&y->cpus);
    return x_count != y_count ? y_count - x_count : x->id - y->id;
}

static void bind_to_cache(const struct plan *p, const struct device *device,
                          struct cpu_mask *ret_cpus)
{
    struct cpu_group *caches;
    size_t count = cpu_topology_caches(p->host, &device->node->cpus, &caches);
    qsort(caches, count, sizeof(*caches), compare_sizes);
    *ret_cpus = caches[device->place % count].cpus;
    free(caches);
}

static int bind_worker(const struct plan *p, size_t local_rank, struct numa_binding_worker *worker,
                       struct mu_err *err)
{
    const struct device *device = &p->devices[local_rank];
    if (device->gpu != NULL) {
        memcpy(worker->pci, device->gpu->pci, sizeof(worker->pci));
    }
    worker->node = device->node->id;
    worker->mem_node = worker->node;
    if (is_mode(p->spec, "socket")) {
        worker->mem_node = -1; /* it may run on several nodes: best is the one it runs on */
        bind_to_socket(p, device, &worker->cpus);
        return 0;
    }
    if (is_mode(p->spec, "exclusive")) {
        return bind_exclusively(p, device, &worker->cpus, err);
    }
    if (is_mode(p->spec, "core-complex")) {
        bind_to_cache(p, device, &worker->cpus);
        return 0;
    }
    worker->cpus = device->node->cpus;
    return 0;
}

/* Each worker's part of the cores of its set. Sets are equal or apart. */
static void count_cores(const struct plan *p, struct numa_binding *binding)
{
    for (size_t i = 0; i < binding->count; i++) {
        const struct cpu_mask *cpus = &binding->workers[i].cpus;
        if (binding->workers[i].cores > 0) {
            continue; /* one before it is bound to the same */
        }
        struct cpu_group *cores;
        size_t count = cpu_topology_cores(p->host, cpus, &cores);
        free(cores);
        size_t sharers = 1;
        for (size_t k = i + 1; k < binding->count; k++) {
            sharers += cpu_mask_eq(&binding->workers[k].cpus, cpus);
        }
        for (size_t k = i; k < binding->count; k++) {
            if (cpu_mask_eq(&binding->workers[k].cpus, cpus)) {
                binding->workers[k].cores = count > sharers ? (unsigned)(count / sharers) : 1;
            }
        }
    }
}

static int bind_all(const struct plan *p, struct numa_binding **ret_binding, struct mu_err *err)
{
    struct numa_binding *binding = mu_alloc(sizeof(*binding));
    binding->mode = is_mode(p->spec, "socket")         ? "socket"
                    : is_mode(p->spec, "exclusive")    ? "exclusive"
                    : is_mode(p->spec, "core-complex") ? "core-complex"
                                                       : "node";
    binding->has_gpus = p->devices[0].gpu != NULL;
    binding->count = p->spec->workers;
    binding->workers = mu_calloc(binding->count, sizeof(*binding->workers));
    for (size_t i = 0; i < binding->count; i++) {
        if (bind_worker(p, i, &binding->workers[i], err) != 0) {
            numa_binding_free(binding);
            return -1;
        }
    }
    count_cores(p, binding);
    *ret_binding = binding;
    return 0;
}

/* ---- auto ---- */

static bool is_clean(const struct plan *p, const struct gpu_list *gpus)
{
    size_t workers = p->spec->workers;
    bool has_own = p->spec->is_virtual ? workers <= gpus->count : workers == gpus->count;
    if (!has_own || p->node_count < 2) {
        return false;
    }
    for (size_t i = 0; i < workers; i++) {
        const struct device *device = &p->devices[i];
        size_t sharers = 0;
        for (size_t k = 0; k < workers; k++) {
            sharers += p->devices[k].node == device->node;
        }
        /* cpus / sharers >= allowed / workers / 2 */
        if (2 * workers * cpu_mask_count(&device->node->cpus) <
            sharers * cpu_mask_count(&p->allowed)) {
            return false;
        }
    }
    return true;
}

int numa_binding_plan(const struct host_view *host, const struct numa_binding_spec *spec,
                      const struct gpu_list *gpus, struct numa_binding **ret_binding,
                      struct mu_err *err)
{
    bool is_auto = is_mode(spec, "auto");
    struct plan p = {.host = host, .spec = spec};
    *ret_binding = NULL;
    if (is_mode(spec, "none") || (is_auto && gpus->count == 0)) {
        return 0;
    }
    host_view_allowed(host, &p.allowed);
    p.node_count = cpu_topology_nodes(host, &p.allowed, &p.nodes);
    struct mu_err refusal = MU_ERR_INIT;
    struct mu_err *reason = is_auto ? &refusal : err;
    int rc = find_devices(&p, gpus, reason);
    if (rc == 0 && (!is_auto || is_clean(&p, gpus))) {
        rc = bind_all(&p, ret_binding, reason);
    }
    free(p.devices);
    free(p.nodes);
    return is_auto ? 0 : rc;
}

void numa_binding_free(struct numa_binding *binding)
{
    if (binding != NULL) {
        free(binding->workers);
        free(binding);
    }
}

void numa_binding_describe(const struct numa_binding *binding, struct mu_buf *text)
{
    for (size_t i = 0; i < binding->count; i++) {
        const struct numa_binding_worker *worker = &binding->workers[i];
        mu_buf_printf(text, "local rank %zu: %s%s%sNUMA node %d, CPUs ", i,
                      binding->has_gpus ? "GPU " : "",
                      binding->has_gpus && worker->pci[0] == '\0' ? "?" : worker->pci,
                      binding->has_gpus ? ", " : "", worker->node);
        cpu_mask_format(&worker->cpus, text);
        mu_buf_append_u8(text, '\n');
    }
}
