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

struct oom_watch {
    char *file;       /* owned; of the counter; NULL: there is none */
    char *cgroup;     /* owned; NULL: it is the machine's */
    char *limit_file; /* owned; NULL: it has no limit */
    uint64_t seen;    /* at the start, and what was found to be somebody's since */
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

/* The counter of our cgroup. Returns false if there is none. */
static bool watch_cgroup(struct oom_watch *w)
{
    mu_autofree char *cgroup = mu_file_text("/proc/self/cgroup", MAX_SIZE, NULL);
    mu_autofree char *mountinfo = mu_file_text("/proc/self/mountinfo", MAX_SIZE, NULL);
    mu_autofree char *dir = NULL;
    mu_autofree char *name = NULL;
    int version =
        cgroup != NULL && mountinfo != NULL ? oom_watch_locate(cgroup, mountinfo, &dir, &name) : 0;
    if (version == 0) {
        return false;
    }
    mu_autofree char *file =
        mu_asprintf("%s/%s", dir, version == 2 ? "memory.events" : "memory.oom_control");
    if (!read_counter(file, &w->seen)) {
        return false;
    }
    w->limit_file =
        mu_asprintf("%s/%s", dir, version == 2 ? "memory.max" : "memory.limit_in_bytes");
    w->file = file;
    w->cgroup = name;
    file = NULL;
    name = NULL;
    return true;
}

struct oom_watch *oom_watch_new(void)
{
    static const char machine[] = "/proc/vmstat";
    struct oom_watch *w = mu_alloc(sizeof(*w));
    if (!watch_cgroup(w) && read_counter(machine, &w->seen)) {
        w->file = mu_strdup(machine);
    }
    return w;
}

void oom_watch_free(struct oom_watch *w)
{
    if (w == NULL) {
        return;
    }
    free(w->file);
    free(w->cgroup);
    free(w->limit_file);
    free(w);
}

struct oom_finding oom_watch_ended(struct oom_watch *w, bool is_killed)
{
    struct oom_finding f = {.cgroup = w->cgroup};
    uint64_t now = 0;
    f.is_counted = w->file != NULL && read_counter(w->file, &now);
    f.is_grown = f.is_counted && now > w->seen;
    f.limit = f.is_grown && w->limit_file != NULL ? read_limit(w->limit_file) : 0;
    w->seen += f.is_grown && is_killed;
    return f;
}
