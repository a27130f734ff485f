/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of files that stands for a machine: /proc, /sys and /dev below a directory in /tmp.
 */
#pragma once

#include "launcher/host_view.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct host_rig {
    char root[64];
    char *env[8]; /* NULL-terminated, what host.envp points to; borrowed texts */
    struct cpu_mask allowed;
    struct host_view host;
};

static inline void host_rig_init(struct host_rig *r, const char *allowed)
{
    memset(r, 0, sizeof(*r));
    snprintf(r->root, sizeof(r->root), "/tmp/muster-test-host-XXXXXX");
    assert_non_null(mkdtemp(r->root));
    assert_int_equal(cpu_mask_parse(allowed, &r->allowed), 0);
    r->host = (struct host_view){.root = r->root, .envp = r->env, .allowed = &r->allowed};
}

static inline int host_rig_remove(const char *path, const struct stat *st, int type,
                                  struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void host_rig_fini(struct host_rig *r)
{
    assert_int_equal(nftw(r->root, host_rig_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* `path` below the root; its directories are made. Owned by the caller. */
static inline char *host_rig_place(const struct host_rig *r, const char *path)
{
    char *full = mu_asprintf("%s%s", r->root, path);
    for (char *slash = full + strlen(r->root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    return full;
}

static inline void host_rig_write(const struct host_rig *r, const char *text, const char *path, ...)
    __attribute__((format(printf, 3, 4)));
static inline void host_rig_write(const struct host_rig *r, const char *text, const char *path, ...)
{
    char name[512];
    va_list args;
    va_start(args, path);
    vsnprintf(name, sizeof(name), path, args);
    va_end(args);
    mu_autofree char *full = host_rig_place(r, name);
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline void host_rig_link(const struct host_rig *r, const char *path, const char *target)
{
    mu_autofree char *full = host_rig_place(r, path);
    assert_int_equal(symlink(target, full), 0);
}

/* Cores are numbered through, then their second threads, as Linux does it on servers. */
struct host_rig_shape {
    unsigned sockets;
    unsigned nodes;       /* a socket */
    unsigned cores;       /* a node */
    unsigned threads;     /* a core */
    unsigned cache_cores; /* that share a cache of the last level */
};

static inline void host_rig_topology(const struct host_rig *r, const struct host_rig_shape *s)
{
    unsigned nodes = s->sockets * s->nodes;
    unsigned cores = nodes * s->cores;
    char text[64];
    snprintf(text, sizeof(text), "0-%u\n", nodes - 1);
    host_rig_write(r, nodes > 1 ? text : "0\n", "/sys/devices/system/node/online");
    for (unsigned node = 0; node < nodes; node++) {
        struct cpu_mask cpus = {0};
        for (unsigned i = 0; i < s->cores * s->threads; i++) {
            cpu_mask_add(&cpus, i / s->cores * cores + node * s->cores + i % s->cores);
        }
        struct mu_buf list = {0};
        cpu_mask_format(&cpus, &list);
        mu_buf_append(&list, "\n", 2);
        host_rig_write(r, (char *)list.data, "/sys/devices/system/node/node%u/cpulist", node);
        mu_buf_fini(&list);
    }
    for (unsigned cpu = 0; cpu < cores * s->threads; cpu++) {
        unsigned core = cpu % cores;
        struct cpu_mask siblings = {0};
        struct cpu_mask sharers = {0};
        for (unsigned t = 0; t < s->threads; t++) {
            cpu_mask_add(&siblings, t * cores + core);
            for (unsigned c = 0; c < s->cache_cores; c++) {
                cpu_mask_add(&sharers, t * cores + core / s->cache_cores * s->cache_cores + c);
            }
        }
        struct mu_buf list = {0};
        cpu_mask_format(&siblings, &list);
        mu_buf_append_u8(&list, '\0');
        host_rig_write(r, (char *)list.data,
                       "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
        static const char *const types[] = {"Data", "Instruction", "Unified"};
        for (unsigned i = 0; i < MU_COUNT(types); i++) {
            host_rig_write(r, types[i], "/sys/devices/system/cpu/cpu%u/cache/index%u/type", cpu, i);
            host_rig_write(r, i < 2 ? "1" : "3",
                           "/sys/devices/system/cpu/cpu%u/cache/index%u/level", cpu, i);
            if (i == 2) {
                list.len = 0;
                cpu_mask_format(&sharers, &list);
                mu_buf_append_u8(&list, '\0');
            }
            host_rig_write(r, (char *)list.data,
                           "/sys/devices/system/cpu/cpu%u/cache/index%u/shared_cpu_list", cpu, i);
        }
        mu_buf_fini(&list);
        snprintf(text, sizeof(text), "%u\n", core / (s->nodes * s->cores));
        host_rig_write(r, text, "/sys/devices/system/cpu/cpu%u/topology/physical_package_id", cpu);
    }
}

/* An NVIDIA GPU as /proc, /dev and /sys show it. */
static inline void host_rig_nvidia(const struct host_rig *r, const char *pci, unsigned minor,
                                   const char *uuid, int node)
{
    char text[256];
    snprintf(text, sizeof(text),
             "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\nGPU UUID: \t %s\n"
             "Bus Location: \t %s\nDevice Minor: \t %u\n",
             uuid, pci, minor);
    host_rig_write(r, text, "/proc/driver/nvidia/gpus/%s/information", pci);
    host_rig_write(r, "", "/dev/nvidia%u", minor);
    snprintf(text, sizeof(text), "%d\n", node);
    host_rig_write(r, text, "/sys/bus/pci/devices/%s/numa_node", pci);
}

/* The library that stands for NVML, beside the directory of the tests. */
static inline const char *host_rig_nvml(void)
{
    static char path[PATH_MAX];
    char self[PATH_MAX - 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof(path), "%s/../fake/libnvidia-ml.so.1", self);
    return path;
}
