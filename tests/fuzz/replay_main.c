/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over kept inputs, in any build: what fuzzing found stays tested.
 *
 *     replay_fuzz_x FILE|DIRECTORY...
 */
#include "muster/buf.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long replayed;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    struct mu_buf b = {0};
    size_t n;
    do {
        n = fread(mu_buf_reserve(&b, 65536), 1, 65536, f);
        b.len += n;
    } while (n > 0);
    int rc = ferror(f) ? -1 : 0;
    fclose(f);
    if (rc == 0) {
        /* Memory of the very size, so that reading past the end is seen. */
        uint8_t *copy = malloc(b.len > 0 ? b.len : 1);
        if (copy == NULL) {
            abort();
        }
        memcpy(copy, b.data, b.len);
        LLVMFuzzerTestOneInput(copy, b.len);
        free(copy);
        replayed++;
    } else {
        fprintf(stderr, "replay: %s: cannot be read\n", path);
    }
    mu_buf_fini(&b);
    return rc;
}

static int replay(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return replay_file(path);
    }
    int rc = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        struct mu_buf b = {0};
        mu_buf_printf(&b, "%s/%s", path, entry->d_name);
        mu_buf_append_u8(&b, '\0');
        rc |= replay_file((const char *)b.data);
        mu_buf_fini(&b);
    }
    closedir(dir);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        rc |= replay(argv[i]);
    }
    printf("%s: %lu inputs replayed\n", argv[0], replayed);
    return rc == 0 && replayed > 0 ? 0 : 1;
}
