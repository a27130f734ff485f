/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact.h"

#include "muster/env.h"
#include "muster/mem.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static int64_t bytes_of(const struct statfs *fs, uint64_t blocks)
{
    uint64_t size = (uint64_t)fs->f_bsize;
    return size == 0 || blocks < (uint64_t)INT64_MAX / size ? (int64_t)(blocks * size) : INT64_MAX;
}

static json_t *shm_fact(const struct host_view *host)
{
    mu_autofree char *path = mu_asprintf("%s/dev/shm", host->root);
    json_t *fact = json_object();
    struct statfs fs;
    if (statfs(path, &fs) != 0) {
        check_fact_put_text(fact, "error", strerror(errno));
        return fact;
    }
    check_fact_put_flag(fact, "is_memory", fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    check_fact_put_flag(fact, "is_writable", access(path, W_OK | X_OK) == 0);
    check_fact_put_int(fact, "size", bytes_of(&fs, fs.f_blocks));
    check_fact_put_int(fact, "free", bytes_of(&fs, fs.f_bavail));
    return fact;
}

/* What is there of a path that may have to be made: it, or the directory above it. */
static char *existing_part(const char *path)
{
    char *part = mu_strdup(path);
    struct stat st;
    char *slash;
    while (stat(part, &st) != 0 && errno == ENOENT && (slash = strrchr(part, '/')) != NULL &&
           slash != part) {
        *slash = '\0';
    }
    if (strchr(part, '/') == NULL && stat(part, &st) != 0) {
        free(part);
        part = mu_strdup(".");
    }
    return part;
}

/* Why no file can be made there; 0: one can. */
static int problem_of(const char *path, struct stat *ret_st)
{
    if (stat(path, ret_st) != 0) {
        return errno;
    }
    if (!S_ISDIR(ret_st->st_mode)) {
        return ENOTDIR;
    }
    return access(path, W_OK | X_OK) == 0 ? 0 : errno;
}

/* `path` as users wrote it; `full` where it is looked for. */
static json_t *dir_fact(const char *use, const char *path, const char *full)
{
    json_t *fact = json_object();
    check_fact_put_text(fact, "use", use);
    check_fact_put_text(fact, "path", path);
    struct statfs fs;
    struct stat st;
    int problem = problem_of(full, &st);
    if (problem != 0) {
        check_fact_put_text(fact, "error", strerror(problem));
        return fact;
    }
    check_fact_put_int(fact, "device", (int64_t)(st.st_dev & INT64_MAX));
    if (statfs(full, &fs) == 0 && fs.f_blocks > 0) {
        check_fact_put_int(fact, "free", bytes_of(&fs, fs.f_bavail));
        if (fs.f_files > 0) { /* some file systems have no such bound */
            check_fact_put_int(fact, "inodes", (int64_t)(fs.f_ffree & INT64_MAX));
        }
    }
    return fact;
}

json_t *check_fact_places(const struct host_view *host, const struct check_spec *spec)
{
    json_t *dirs = json_array();
    const char *tmp = mu_env_get(host->envp, "TMPDIR");
    tmp = tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp";
    mu_autofree char *full_tmp = mu_asprintf("%s%s", host->root, tmp);
    json_array_append_new(dirs, dir_fact("TMPDIR", tmp, full_tmp));
    if (spec->log_dir != NULL && strcmp(spec->log_dir, "/dev/null") != 0) {
        mu_autofree char *wanted = mu_asprintf("%s%s", host->root, spec->log_dir);
        mu_autofree char *full_log = existing_part(wanted);
        json_array_append_new(dirs, dir_fact("--log-dir", spec->log_dir, full_log));
    }
    return json_pack("{s:o, s:o}", "shm", shm_fact(host), "dirs", dirs);
}
