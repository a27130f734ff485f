/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cgroup.h"

#include <string.h>

bool cgroup_has_controller(struct mu_slice list, const char *name)
{
    const char *word = list.ptr;
    const char *end = list.ptr + list.len;
    while (word < end) {
        const char *comma = memchr(word, ',', (size_t)(end - word));
        struct mu_slice this = {.ptr = word, .len = (size_t)((comma != NULL ? comma : end) - word)};
        if (mu_slice_eq(this, mu_slice_of(name))) {
            return true;
        }
        word += this.len + 1;
    }
    return false;
}

char *cgroup_path(const char *text, const char *controller)
{
    for (const char *line = text; line[0] != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *end = line + len;
        const char *first = memchr(line, ':', len);
        const char *second =
            first != NULL ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
        if (second != NULL && end - second > 1 && second[1] == '/') {
            struct mu_slice list = {.ptr = first + 1, .len = (size_t)(second - first - 1)};
            if (controller != NULL ? cgroup_has_controller(list, controller) : list.len == 0) {
                return mu_slice_dup(
                    (struct mu_slice){.ptr = second + 1, .len = (size_t)(end - second - 1)});
            }
        }
        line = end + (end[0] == '\n');
    }
    return NULL;
}
