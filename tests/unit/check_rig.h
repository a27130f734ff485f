/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of invented nodes: healthy ones, changed in one place.
 */
#pragma once

#include "launcher/check_findings.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* A node of the cluster muster was started for, given whole by Slurm. */
static const char check_rig_node[] =
    "{'node': 'n1', 'hostname': 'n1', 'muster': '1.0', 'kernel': '5.15.0', 'arch': 'x86_64',"
    " 'workers': 8, 'needs_python': true, 'scheduler': {'name': 'Slurm', 'gpus': 2,"
    " 'is_batch': true},"
    " 'cpus': {'machine': 160, 'allowed': 160},"
    " 'memory': {'total': 2000000000000, 'limit': 1960000000000}, 'ipc_lock': false,"
    " 'limits': {'as': {'soft': -1, 'hard': -1}, 'core': {'soft': 0, 'hard': -1},"
    "  'memlock': {'soft': -1, 'hard': -1}, 'nofile': {'soft': 1024, 'hard': 524288},"
    "  'nproc': {'soft': 8000000, 'hard': 8000000}, 'stack': {'soft': 8388608, 'hard': -1}},"
    " 'nics': [{'name': 'eth0', 'state': 'up', 'has_address': true, 'mbits': 25000},"
    "  {'name': 'eth1', 'state': 'down', 'has_address': false}],"
    " 'rdma': [{'name': 'mlx5_0/1', 'state': 'ACTIVE', 'gbits': 400},"
    "  {'name': 'mlx5_1/1', 'state': 'DOWN', 'gbits': 10}],"
    " 'name': {'took_ms': 1, 'resolves': true, 'is_loopback': false},"
    " 'places': {'shm': {'is_memory': true, 'is_writable': true, 'size': 1000000000000,"
    "   'free': 1000000000000},"
    "  'dirs': [{'use': 'TMPDIR', 'path': '/tmp', 'device': 1, 'free': 90000000000,"
    "    'inodes': 1000000},"
    "   {'use': '--log-dir', 'path': 'logs', 'device': 2, 'free': 90000000000}]},"
    " 'script': {'path': '/home/u/train.py', 'size': 100, 'hash': 'aa', 'files': 2,"
    "  'files_hash': 'bb'},"
    " 'python': {'version': '3.11.2', 'executable': '/venv/bin/python3', 'packages_hash': 'cc',"
    "  'has_all_packages': true, 'packages': ['numpy==2.0', 'nvidia-nccl-cu12==2.21.5',"
    "   'torch==2.11.0']},"
    " 'programs': [{'name': 'nvcc', 'path': '/usr/bin/nvcc', 'version': '12.8'}],"
    " 'gpus': {'maker': 'NVIDIA', 'count': 2, 'machine': 2, 'nvml': 0, 'driver': '550.54',"
    "  'cuda': '12.4', 'xids': [], 'devices': ["
    "   {'name': 'GPU 0 (0000:1b:00.0)', 'model': 'H100', 'memory': 85000000000, 'used': 600000000,"
    "    'processes': [], 'ecc_uncorrected': 0, 'remap_failed': false, 'remap_pending': false,"
    "    'is_too_hot': false, 'is_power_braked': false, 'mig': false, 'mig_pending': false},"
    "   {'name': 'GPU 1 (0000:2b:00.0)', 'model': 'H100', 'memory': 85000000000, 'used': 0,"
    "    'processes': [], 'ecc_uncorrected': 0, 'remap_failed': false, 'remap_pending': false,"
    "    'is_too_hot': false, 'is_power_braked': false, 'mig': false, 'mig_pending': false}]}}";

/* A virtual machine or a container, as they come: no GPUs, no RDMA, no scheduler. */
static const char check_rig_plain[] =
    "{'node': 'vm', 'hostname': 'vm', 'muster': '1.0', 'kernel': '6.1.0', 'arch': 'x86_64',"
    " 'workers': 2, 'needs_python': true, 'cpus': {'machine': 2, 'allowed': 2, 'quota': 2},"
    " 'memory': {'total': 1000000000, 'limit': 500000000}, 'ipc_lock': false,"
    " 'limits': {'as': {'soft': -1, 'hard': -1}, 'core': {'soft': 0, 'hard': -1},"
    "  'memlock': {'soft': 65536, 'hard': 65536}, 'nofile': {'soft': 1024, 'hard': 1048576},"
    "  'nproc': {'soft': 7000, 'hard': 7000}, 'stack': {'soft': 8388608, 'hard': -1}},"
    " 'nics': [{'name': 'eth0', 'state': 'up', 'has_address': true}], 'rdma': [],"
    " 'name': {'took_ms': 0, 'resolves': true, 'is_loopback': true},"
    " 'places': {'shm': {'is_memory': true, 'is_writable': true, 'size': 500000000,"
    "   'free': 500000000},"
    "  'dirs': [{'use': 'TMPDIR', 'path': '/tmp', 'device': 1, 'free': 9000000000}]},"
    " 'script': {'path': '/srv/a.py', 'size': 1, 'hash': 'aa', 'files': 1, 'files_hash': 'bb'},"
    " 'python': {'version': '3.11.2', 'executable': '/usr/bin/python3', 'packages_hash': 'cc',"
    "  'packages': []}}";

/* JSON with ' for ". */
static inline json_t *check_rig_json(const char *text)
{
    mu_autofree char *copy = mu_strdup(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_t *json = json_loads(copy, JSON_DECODE_ANY, NULL);
    if (json == NULL) {
        fail_msg("no JSON: %s", text);
    }
    return json;
}

/* Set what `path` names ("gpus.devices.0.used") to `value`; NULL: take it away. */
static inline void check_rig_set(json_t *facts, const char *path, const char *value)
{
    mu_autofree char *copy = mu_strdup(path);
    char *rest = copy;
    char *key = strsep(&rest, ".");
    json_t *at = facts;
    for (; rest != NULL; key = strsep(&rest, ".")) {
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
        assert_non_null(at);
    }
    if (value == NULL) {
        assert_int_equal(json_object_del(at, key), 0);
    } else if (json_is_array(at)) {
        json_array_set_new(at, strtoul(key, NULL, 10), check_rig_json(value));
    } else {
        json_object_set_new(at, key, check_rig_json(value));
    }
}

/* Exactly these words, in order of the list, with commas between them. */
static inline void check_rig_expect(const struct check_findings *list, const char *expected)
{
    struct mu_buf text = {0};
    for (size_t i = 0; i < list->count; i++) {
        const struct check_finding *f = &list->items[i];
        mu_buf_printf(&text, "%s%s%s:%s", i > 0 ? "," : "", f->severity == CHECK_ERROR ? "!" : "",
                      f->node != NULL ? f->node : "*", f->what);
        assert_true(f->found[0] != '\0' && f->expected[0] != '\0' && f->fix[0] != '\0');
        assert_null(strstr(f->found, "(null)"));
    }
    mu_autofree char *words = mu_buf_take_text(&text);
    assert_string_equal(words, expected);
}

/* What a path of keys leads to, as compact JSON; "" if to nothing. */
static inline void check_rig_assert(const json_t *facts, const char *path, const char *expected)
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
