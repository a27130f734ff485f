/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/run_dir.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/rand.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANDOM_LEN = 8, SHOWN_ID_LEN = 128, NEW_NAME_TRIES = 100 };

struct run_dir {
    char *path;     /* owned; NULL if there is none */
    char *temp_dir; /* owned; the log_dir if we made up one */
};

static int fail_mkdir(const char *path, int sys, struct mu_err *err)
{
    if (sys == EEXIST || sys == ENOTDIR) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "make directory %s: a file that is no directory is in the way", path);
    }
    return mu_err_set(err, MU_E_SYSTEM, sys, "make directory %s", path);
}

/* `path` and its parents; what is there already is fine. */
static int make_path(const char *path, struct mu_err *err)
{
    mu_autofree char *part = mu_strdup(path);
    for (char *p = part; *p != '\0';) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char end = *p;
        *p = '\0';
        struct stat st;
        if (mkdir(part, 0777) != 0) {
            int sys = errno;
            if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)) {
                return fail_mkdir(part, sys, err);
            }
        }
        *p = end;
    }
    return 0;
}

/* A directory <parent>/<stem>_<8 random> that was not there before; owned by the caller. */
static char *make_new(const char *parent, const char *stem, mode_t mode, struct mu_err *err)
{
    char *path = NULL;
    for (int i = 0; i < NEW_NAME_TRIES; i++) {
        char suffix[RANDOM_LEN + 1];
        mu_rand_name(suffix, RANDOM_LEN);
        path = mu_asprintf("%s/%s_%s", parent, stem, suffix);
        if (mkdir(path, mode) == 0) {
            return path;
        }
        if (errno != EEXIST) {
            break;
        }
        free(path);
        path = NULL;
    }
    mu_err_set(err, MU_E_SYSTEM, path != NULL ? errno : EEXIST, "make directory %s/%s_*", parent,
               stem);
    free(path);
    return NULL;
}

/* The run id as part of one file name; owned by the caller. */
static char *stem_of(const char *run_id)
{
    char *stem = mu_strndup(run_id, SHOWN_ID_LEN);
    for (char *p = stem; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '_';
        }
    }
    return stem;
}

int run_dir_check(const char *log_dir, struct mu_err *err)
{
    if (log_dir == NULL || strcmp(log_dir, "/dev/null") == 0) {
        return 0;
    }
    if (log_dir[0] == '\0') {
        return mu_err_set(err, MU_E_USAGE, 0, "the name of the log directory is empty");
    }
    mu_autofree char *path = mu_strdup(log_dir);
    struct stat st;
    while (stat(path, &st) != 0) {
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash == path) {
            return 0;
        }
        *slash = '\0';
    }
    return S_ISDIR(st.st_mode) ? 0 : fail_mkdir(path, ENOTDIR, err);
}

/* As Python's tempfile: where $TMPDIR cannot be used, for want of the directory or of permission,
 * another will do. Owned by the caller. */
static char *make_temp(const char *tmpdir, struct mu_err *err)
{
    const char *const places[] = {tmpdir, "/tmp", "/var/tmp", "/usr/tmp", "."};
    struct mu_err first = MU_ERR_INIT;
    bool has_failed = false;
    for (size_t i = 0; i < MU_COUNT(places); i++) {
        if (places[i] == NULL || places[i][0] == '\0') {
            continue;
        }
        char *path = make_new(places[i], "muster", 0700, has_failed ? NULL : &first);
        if (path != NULL) {
            return path;
        }
        has_failed = true;
    }
    *err = first;
    return NULL;
}

static char *make_base(struct run_dir *dir, const char *log_dir, const char *tmpdir,
                       struct mu_err *err)
{
    if (log_dir == NULL) {
        dir->temp_dir = make_temp(tmpdir, err);
        return dir->temp_dir != NULL ? mu_strdup(dir->temp_dir) : NULL;
    }
    bool is_made = run_dir_check(log_dir, err) == 0 && make_path(log_dir, err) == 0;
    return is_made ? mu_strdup(log_dir) : NULL;
}

struct run_dir *run_dir_new(const char *log_dir, const char *run_id, const char *tmpdir,
                            struct mu_err *err)
{
    struct run_dir *dir = mu_alloc(sizeof(*dir));
    if (log_dir != NULL && strcmp(log_dir, "/dev/null") == 0) {
        return dir;
    }
    mu_autofree char *base = make_base(dir, log_dir, tmpdir, err);
    if (base != NULL) {
        mu_autofree char *absolute = realpath(base, NULL);
        mu_autofree char *stem = stem_of(run_id);
        if (absolute == NULL) {
            mu_err_set(err, MU_E_SYSTEM, errno, "log directory %s", base);
        } else {
            dir->path = make_new(absolute, stem, log_dir == NULL ? 0700 : 0777, err);
        }
    }
    if (dir->path == NULL) {
        run_dir_free(dir);
        return NULL;
    }
    return dir;
}

const char *run_dir_path(const struct run_dir *dir)
{
    return dir->path;
}

/* attempt_<n>, or attempt_<n>_<k> if it is taken; owned by the caller. */
static char *make_attempt(const struct run_dir *dir, uint32_t restart_count, struct mu_err *err)
{
    for (unsigned k = 0; k <= MU_MAX_RESTARTS; k++) {
        char *path = k == 0 ? mu_asprintf("%s/attempt_%u", dir->path, restart_count)
                            : mu_asprintf("%s/attempt_%u_%u", dir->path, restart_count, k);
        if (mkdir(path, 0777) == 0) {
            return path;
        }
        int sys = errno;
        mu_autofree char *failed = path;
        if (sys != EEXIST) {
            mu_err_set(err, MU_E_SYSTEM, sys, "make directory %s", failed);
            return NULL;
        }
    }
    mu_err_set(err, MU_E_LIMIT, 0, "%s holds too many attempts", dir->path);
    return NULL;
}

int run_dir_add_attempt(struct run_dir *dir, uint32_t restart_count, size_t workers,
                        char **ret_path, struct mu_err *err)
{
    if (dir->path == NULL) {
        *ret_path = NULL;
        return 0;
    }
    char *attempt = make_attempt(dir, restart_count, err);
    for (size_t i = 0; attempt != NULL && i < workers; i++) {
        mu_autofree char *worker = mu_asprintf("%s/%zu", attempt, i);
        if (mkdir(worker, 0777) != 0) {
            mu_err_set(err, MU_E_SYSTEM, errno, "make directory %s", worker);
            free(attempt);
            attempt = NULL;
        }
    }
    if (attempt == NULL) {
        return -1;
    }
    *ret_path = attempt;
    return 0;
}

/* rmdir() itself refuses what is not empty, so there is nothing to check and nothing to lose. */
static int remove_if_empty(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_DP) {
        (void)rmdir(path);
    }
    return 0;
}

void run_dir_free(struct run_dir *dir)
{
    if (dir == NULL) {
        return;
    }
    if (dir->path != NULL) {
        enum { DESCRIPTORS = 8 };
        (void)nftw(dir->path, remove_if_empty, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    }
    if (dir->temp_dir != NULL) {
        (void)rmdir(dir->temp_dir);
    }
    free(dir->path);
    free(dir->temp_dir);
    free(dir);
}
