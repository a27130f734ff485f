/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/core_file.h"

#include "muster/buf.h"
#include "muster/file.h"
#include "muster/mem.h"

#include <string.h>
#include <unistd.h>

/* The first line of a file; "" if it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
    if (mu_file_read(path, line, size) < 0) {
        line[0] = '\0';
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* What a % and this letter stand for; false: nobody knows any more. */
static bool append_letter(char letter, const struct core_file_of *of, bool *ret_has_pid,
                          struct mu_buf *out)
{
    char name[256];
    switch (letter) {
    case '%':
        mu_buf_append_u8(out, '%');
        return true;
    case 'p':
        *ret_has_pid = true;
        mu_buf_printf(out, "%d", (int)of->pid);
        return true;
    case 's':
        mu_buf_printf(out, "%d", of->signo);
        return true;
    case 'u':
        mu_buf_printf(out, "%u", (unsigned)getuid());
        return true;
    case 'g':
        mu_buf_printf(out, "%u", (unsigned)getgid());
        return true;
    case 'h':
        if (gethostname(name, sizeof(name)) != 0) {
            return false;
        }
        name[sizeof(name) - 1] = '\0';
        mu_buf_printf(out, "%s", name);
        return true;
    default:
        return false;
    }
}

char *core_file_expand(const char *pattern, bool uses_pid, const struct core_file_of *of)
{
    struct mu_buf out = {0};
    bool has_pid = false;
    bool is_known = pattern[0] != '\0';
    if (pattern[0] != '/') {
        mu_buf_printf(&out, "%s/", of->cwd);
    }
    for (const char *c = pattern; *c != '\0' && is_known; c++) {
        if (*c != '%') {
            mu_buf_append_u8(&out, (uint8_t)*c);
        } else if (c[1] != '\0') {
            c++;
            is_known = append_letter(*c, of, &has_pid, &out);
        }
    }
    if (uses_pid && !has_pid) {
        mu_buf_printf(&out, ".%d", (int)of->pid);
    }
    if (!is_known) {
        mu_buf_fini(&out);
        return NULL;
    }
    return mu_buf_take_text(&out);
}

char *core_file_describe(const struct core_file_of *of)
{
    char pattern[256];
    char uses_pid[16];
    if (!read_line("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern))) {
        return NULL;
    }
    if (pattern[0] == '|') {
        return mu_asprintf("core handed to %.*s", (int)strcspn(pattern + 1, " "), pattern + 1);
    }
    read_line("/proc/sys/kernel/core_uses_pid", uses_pid, sizeof(uses_pid));
    mu_autofree char *path = core_file_expand(pattern, uses_pid[0] == '1', of);
    if (path == NULL || access(path, F_OK) != 0) {
        return NULL;
    }
    return mu_asprintf("core dumped to %s", path);
}
