/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether all nodes run the same file. Copies that have grown apart are what is looked for, not
 * forgeries: size and a 64-bit hash are enough, and need no library.
 */
#include "launcher/check_fact.h"

#include "muster/fnv.h"
#include "muster/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_FILE = 64 * 1024 * 1024,
    MAX_BESIDE = 32 * 1024 * 1024, /* of all files beside the script; with more nothing is said */
    MAX_FILES = 1000,
    MAX_ENTRIES = 20000, /* of the directory */
    CHUNK = 64 * 1024,
};

/* False if it cannot be read, or has more than *budget bytes, which are then used up. */
static bool hash_file(const char *path, int64_t *budget, uint64_t *hash)
{
    mu_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    mu_autofree char *chunk = mu_alloc(CHUNK);
    ssize_t n;
    while ((n = read(fd, chunk, CHUNK)) > 0) {
        *budget -= n;
        if (*budget < 0) {
            return false;
        }
        *hash = mu_fnv(*hash, chunk, (size_t)n);
    }
    return n == 0;
}

static void put_hash(json_t *fact, const char *key, uint64_t hash)
{
    char text[24];
    snprintf(text, sizeof(text), "%016" PRIx64, hash);
    check_fact_put_text(fact, key, text);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of Python files in a directory, sorted; NULL if there are too many. */
static char **list_modules(const char *dir, size_t *ret_count)
{
    DIR *stream = opendir(dir);
    char **names = mu_calloc(MAX_FILES, sizeof(*names));
    size_t count = 0;
    size_t seen = 0;
    bool is_small = stream != NULL;
    const struct dirent *entry;
    while (is_small && (entry = readdir(stream)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        bool is_module = dot != NULL && strcmp(dot, ".py") == 0 && entry->d_name[0] != '.';
        is_small = ++seen <= MAX_ENTRIES && count + is_module <= MAX_FILES;
        if (is_small && is_module) {
            names[count++] = mu_strdup(entry->d_name);
        }
    }
    if (stream != NULL) {
        closedir(stream);
    }
    qsort(names, count, sizeof(*names), compare_names);
    *ret_count = count;
    if (!is_small) {
        for (size_t i = 0; i < count; i++) {
            free(names[i]);
        }
        free(names);
        return NULL;
    }
    return names;
}

/* Files that cannot be read (links into nowhere, an editor's locks) count by their names alone. */
static void put_beside(json_t *fact, const char *path)
{
    const char *slash = strrchr(path, '/');
    mu_autofree char *dir = mu_strndup(path, (size_t)(slash != NULL ? slash - path : 0));
    size_t count;
    char **names = list_modules(dir[0] != '\0' ? dir : "/", &count);
    if (names == NULL) {
        return;
    }
    uint64_t hash = MU_FNV_INIT;
    int64_t budget = MAX_BESIDE;
    for (size_t i = 0; i < count; i++) {
        mu_autofree char *file = mu_asprintf("%s/%s", dir, names[i]);
        hash = mu_fnv(hash, names[i], strlen(names[i]) + 1);
        if (budget >= 0 && strcmp(file, path) != 0) { /* the script itself is told of already */
            hash_file(file, &budget, &hash);
        }
        free(names[i]);
    }
    free(names);
    if (budget >= 0) {
        check_fact_put_int(fact, "files", (int64_t)count);
        put_hash(fact, "files_hash", hash);
    }
}

json_t *check_fact_script(const char *path)
{
    json_t *fact = json_object();
    struct stat st;
    mu_autofree char *full = realpath(path, NULL);
    check_fact_put_text(fact, "path", full != NULL ? full : path);
    if (full == NULL || stat(full, &st) != 0 || access(full, R_OK) != 0) {
        check_fact_put_text(fact, "error", strerror(errno));
        return fact;
    }
    uint64_t hash = MU_FNV_INIT;
    int64_t budget = MAX_FILE;
    if (!S_ISREG(st.st_mode)) {
        return fact; /* a directory with a __main__.py, or whatever Python makes of it */
    }
    check_fact_put_int(fact, "size", (int64_t)st.st_size);
    if (hash_file(full, &budget, &hash)) {
        put_hash(fact, "hash", hash);
    }
    const char *dot = strrchr(full, '.');
    if (dot != NULL && strcmp(dot, ".py") == 0) {
        put_beside(fact, full);
    }
    return fact;
}
