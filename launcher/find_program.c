/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/find_program.h"

#include "muster/env.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What execvp() uses without PATH, less the current directory. */
static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

/* The caller tells the two apart by `sys`; the sentence needs no strerror() at its end. */
static char *fail(struct mu_err *err, int sys)
{
    if (err != NULL) {
        err->sys = sys;
    }
    return NULL;
}

/* 0, or why `path` cannot be executed: EACCES if something is there, else ENOENT. */
static int check_executable(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return errno == EACCES ? EACCES : ENOENT;
    }
    bool is_executable = S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
    return is_executable ? 0 : EACCES;
}

static char *find_given(const char *path, struct mu_err *err)
{
    switch (check_executable(path)) {
    case 0:
        return mu_strdup(path);
    case ENOENT:
        mu_err_set(err, MU_E_USAGE, 0, "program '%s' does not exist", path);
        return fail(err, ENOENT);
    default:
        mu_err_set(err, MU_E_USAGE, 0, "program '%s' is not an executable file", path);
        return fail(err, EACCES);
    }
}

char *find_program(const char *name, char *const *envp, struct mu_err *err)
{
    if (strchr(name, '/') != NULL) {
        return find_given(name, err);
    }
    const char *path = mu_env_get(envp, "PATH");
    path = path != NULL ? path : default_path;
    mu_autofree char *refused = NULL; /* the first that is there but cannot be executed */
    for (const char *p = path; name[0] != '\0'; p++) {
        size_t len = strcspn(p, ":");
        /* An empty entry is the current directory. */
        mu_autofree char *dir = len > 0 ? mu_strndup(p, len) : mu_strdup(".");
        mu_autofree char *candidate = mu_asprintf("%s/%s", dir, name);
        int rc = check_executable(candidate);
        if (rc == 0) {
            return mu_strdup(candidate);
        }
        if (rc == EACCES && refused == NULL && access(candidate, F_OK) == 0) {
            refused = mu_strdup(candidate);
        }
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    if (refused != NULL) {
        mu_err_set(err, MU_E_USAGE, 0, "program '%s' was found, but %s is not an executable file",
                   name, refused);
        return fail(err, EACCES);
    }
    mu_err_set(err, MU_E_USAGE, 0, "program '%s' is not on PATH (%.200s)", name, path);
    return fail(err, ENOENT);
}

/* `path`, which is released, as seen from the current directory; owned by the caller. */
static char *make_absolute(char *path)
{
    if (path == NULL || path[0] == '/') {
        return path;
    }
    mu_autofree char *relative = path;
    mu_autofree char *cwd = getcwd(NULL, 0);
    return cwd != NULL ? mu_asprintf("%s/%s", cwd, relative) : mu_strdup(relative);
}

char *find_interpreter(const char *wanted, char *const *envp, struct mu_err *err)
{
    if (wanted == NULL) {
        wanted = mu_env_get(envp, "PYTHON_EXEC");
    }
    if (wanted != NULL && wanted[0] != '\0') {
        char *found = find_program(wanted, envp, err);
        if (found == NULL) {
            mu_err_wrap(err, "Python interpreter");
        }
        return make_absolute(found);
    }
    struct mu_err first = MU_ERR_INIT;
    char *found = find_program("python3", envp, &first);
    if (found == NULL) {
        found = find_program("python", envp, NULL);
    }
    if (found == NULL) {
        mu_err_set(err, first.code, 0, "Python interpreter: %s", first.text);
        return fail(err, first.sys);
    }
    return make_absolute(found);
}

char *find_program_of(const struct options *opts, char *const *envp, struct mu_err *err)
{
    return opts->no_python ? find_program(opts->script, envp, err)
                           : find_interpreter(opts->python, envp, err);
}
