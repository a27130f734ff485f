/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/oom_watch.h"

#include "launcher/cgroup.h"
#include "muster/file.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIZE = 1024 * 1024 }; /* of a file of /proc or /sys */

struct counter {
    char *of;         /* owned; the text of /proc/PID/cgroup it belongs to */
    char *file;       /* owned; NULL: there is none */
    char *cgroup;     /* owned; NULL: the machine's */
    char *limit_file; /* owned; NULL: it has no limit */
    uint64_t seen;    /* at the start, and what was found to be somebody's since */
};

struct oom_watch {
    char *mountinfo;          /* owned; NULL: not to be had */
    struct counter *counters; /* owned; the first is of this process */
    size_t count;
    size_t *of_worker; /* owned; index by local rank */
    size_t workers;
};

/* ---- where the counter is ---- */

/* A field of a line that spaces divide, from 0; "" if there is none. */
static void field(const char *line, int index, char *out, size_t size)
{
    size_t len = strcspn(line, " \n");
    while (index > 0 && line[len] == ' ') {
        line += len + 1;
        len = strcspn(line, " \n");
        index--;
    }
    snprintf(out, size, "%.*s", index == 0 ? (int)len : 0, line);
}

/* Where that hierarchy is mounted, and which part of it: "36 35 0:1 ROOT POINT opts - TYPE ..." */
static bool mount_of(const char *mountinfo, bool is_v1, char *root, char *point, size_t size)
{
    for (const char *line = mountinfo; line[0] != '\0';) {
        const char *next = strchr(line, '\n');
        const char *dash = strstr(line, " - ");
        if (dash != NULL && (next == NULL || dash < next)) {
            char type[32];
            char options[512];
            field(dash + 3, 0, type, sizeof(type));
            field(dash + 3, 2, options, sizeof(options));
            bool is_it = is_v1 ? strcmp(type, "cgroup") == 0 &&
                                     cgroup_has_controller(mu_slice_of(options), "memory")
                               : strcmp(type, "cgroup2") == 0;
            if (is_it) {
                field(line, 3, root, size);
                field(line, 4, point, size);
                return root[0] == '/' && point[0] == '/';
            }
        }
        if (next == NULL) {
            break;
        }
        line = next + 1;
    }
    return false;
}

int oom_watch_locate(const char *cgroup, const char *mountinfo, char **ret_dir, char **ret_name)
{
    char root[1024];
    char point[1024];
    for (int version = 1; version <= 2; version++) {
        bool is_v1 = version == 1;
        char *path = cgroup_path(cgroup, is_v1 ? "memory" : NULL);
        if (path == NULL || !mount_of(mountinfo, is_v1, root, point, sizeof(root))) {
            free(path);
            continue;
        }
        /* A container may see a part of the hierarchy only, and yet be told the whole path. */
        size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
        const char *below = strncmp(path, root, skip) == 0 ? path + skip : "";
        below = strcmp(below, "/") == 0 || strncmp(below, "/..", 3) == 0 ? "" : below;
        *ret_dir = mu_asprintf("%s%s", point, below);
        *ret_name = path;
        return version;
    }
    return 0;
}

/* ---- reading it ---- */

static bool read_counter(const char *file, uint64_t *ret_value)
{
    mu_autofree char *text = mu_file_text(file, MAX_SIZE, NULL);
    return text != NULL && mu_find_number(text, "oom_kill", ret_value);
}

/* "max" is 0, and so is what version 1 has in its place. */
static int64_t read_limit(const char *file)
{
    mu_autofree char *text = mu_file_text(file, MAX_SIZE, NULL);
    long long value = text != NULL ? strtoll(text, NULL, 10) : 0;
    return value > 0 && value < INT64_C(1) << 60 ? value : 0;
}

static void counter_fini(struct counter *c)
{
    free(c->of);
    free(c->file);
    free(c->cgroup);
    free(c->limit_file);
}

/* The counter for those whose /proc/PID/cgroup reads like this. */
static struct counter counter_of(const struct oom_watch *w, const char *cgroup)
{
    struct counter c = {.of = mu_strdup(cgroup)};
    mu_autofree char *dir = NULL;
    int version =
        w->mountinfo != NULL ? oom_watch_locate(cgroup, w->mountinfo, &dir, &c.cgroup) : 0;
    if (version != 0) {
        c.file = mu_asprintf("%s/%s", dir, version == 2 ? "memory.events" : "memory.oom_control");
        c.limit_file =
            mu_asprintf("%s/%s", dir, version == 2 ? "memory.max" : "memory.limit_in_bytes");
        if (read_counter(c.file, &c.seen)) {
            return c;
        }
        counter_fini(&c);
        c = (struct counter){.of = mu_strdup(cgroup)};
    }
    c.file = mu_strdup("/proc/vmstat");
    if (!read_counter(c.file, &c.seen)) {
        free(c.file);
        c.file = NULL;
    }
    return c;
}

static char *cgroup_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    return mu_file_text(path, MAX_SIZE, NULL);
}

struct oom_watch *oom_watch_new(size_t workers)
{
    struct oom_watch *w = mu_alloc(sizeof(*w));
    w->mountinfo = mu_file_text("/proc/self/mountinfo", MAX_SIZE, NULL);
    w->workers = workers;
    w->of_worker = mu_calloc(workers, sizeof(w->of_worker[0]));
    w->counters = mu_calloc(1, sizeof(w->counters[0]));
    mu_autofree char *own = cgroup_of(getpid());
    w->counters[0] = counter_of(w, own != NULL ? own : "");
    w->count = 1;
    return w;
}

void oom_watch_free(struct oom_watch *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        counter_fini(&w->counters[i]);
    }
    free(w->mountinfo);
    free(w->counters);
    free(w->of_worker);
    free(w);
}

void oom_watch_started(struct oom_watch *w, size_t local_rank, pid_t pid)
{
    MU_REQUIRE(local_rank < w->workers);
    mu_autofree char *cgroup = cgroup_of(pid);
    if (cgroup == NULL || cgroup[0] == '\0') {
        return; /* it is gone already, and was where we are */
    }
    size_t i = 0;
    while (i < w->count && strcmp(w->counters[i].of, cgroup) != 0) {
        i++;
    }
    if (i == w->count) {
        w->counters = mu_realloc(w->counters, (w->count + 1) * sizeof(w->counters[0]));
        w->counters[w->count++] = counter_of(w, cgroup);
    }
    w->of_worker[local_rank] = i;
}

struct oom_finding oom_watch_ended(struct oom_watch *w, size_t local_rank, bool is_killed)
{
    MU_REQUIRE(local_rank < w->workers);
    struct counter *c = &w->counters[w->of_worker[local_rank]];
    struct oom_finding f = {.cgroup = c->cgroup};
    uint64_t now = 0;
    f.is_counted = c->file != NULL && read_counter(c->file, &now);
    f.is_grown = f.is_counted && now > c->seen;
    f.limit = f.is_grown && c->limit_file != NULL ? read_limit(c->limit_file) : 0;
    c->seen += f.is_grown && is_killed;
    return f;
}
