/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/host_view.h"

#include "muster/file.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A list of the CPUs of a machine where every second one is missing: "0,2,4,...". */
enum { MAX_TEXT = 32 * 1024 };

struct host_view host_view_of(char *const *envp)
{
    return (struct host_view){.root = "", .nvml_library = "libnvidia-ml.so.1", .envp = envp};
}

/* The path below the root. Owned by the caller. */
static char *path_of(const struct host_view *host, const char *path, va_list args)
    __attribute__((format(printf, 2, 0)));
static char *path_of(const struct host_view *host, const char *path, va_list args)
{
    char tail[PATH_MAX];
    vsnprintf(tail, sizeof(tail), path, args);
    return mu_asprintf("%s%s", host->root, tail);
}

static int read_text(const char *path, char *text, size_t size)
{
    ssize_t len = mu_file_read(path, text, size);
    while (len > 0 && isspace((unsigned char)text[len - 1])) {
        text[--len] = '\0';
    }
    return len >= 0 ? 0 : -1;
}

int host_view_text(const struct host_view *host, char *text, size_t size, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    return read_text(full, text, size);
}

ssize_t host_view_bytes(const struct host_view *host, char *text, size_t size, const char *path,
                        ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    return mu_file_read(full, text, size);
}

int64_t host_view_int(const struct host_view *host, int64_t fallback, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    char text[32];
    int64_t value = 0;
    struct mu_err ignored = MU_ERR_INIT;
    bool is_number = read_text(full, text, sizeof(text)) == 0 &&
                     mu_parse_int(text, INT64_MIN, INT64_MAX, &value, &ignored) == 0;
    return is_number ? value : fallback;
}

int host_view_mask(const struct host_view *host, struct cpu_mask *ret_mask, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    mu_autofree char *text = mu_alloc(MAX_TEXT);
    return read_text(full, text, MAX_TEXT) == 0 ? cpu_mask_parse(text, ret_mask) : -1;
}

int host_view_access(const struct host_view *host, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    return access(full, R_OK | W_OK) == 0 ? 0 : errno;
}

int host_view_link(const struct host_view *host, char *name, size_t size, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    mu_autofree char *full = path_of(host, path, args);
    va_end(args);
    char target[PATH_MAX];
    ssize_t n = readlink(full, target, sizeof(target) - 1);
    if (n < 0) {
        return -1;
    }
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, size, "%s", slash != NULL ? slash + 1 : target);
    return 0;
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

char **host_view_names(const struct host_view *host, const char *path, const char *prefix)
{
    mu_autofree char *full = mu_asprintf("%s%s", host->root, path);
    struct dirent **entries = NULL;
    int count = scandir(full, &entries, is_shown, versionsort);
    char **names = mu_calloc((size_t)(count > 0 ? count : 0) + 1, sizeof(*names));
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0) {
            names[used++] = mu_strdup(entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    return names;
}

void host_view_free_names(char **names)
{
    for (char **name = names; *name != NULL; name++) {
        free(*name);
    }
    free(names);
}

void host_view_allowed(const struct host_view *host, struct cpu_mask *ret_mask)
{
    struct cpu_mask mask = {0};
    if (host->allowed != NULL) {
        mask = *host->allowed;
    } else if (sched_getaffinity(0, sizeof(mask), (cpu_set_t *)(void *)&mask) != 0) {
        cpu_mask_add(&mask, 0); /* there is no machine without one */
    }
    *ret_mask = mask;
}
