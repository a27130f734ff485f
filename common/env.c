/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/env.h"

#include <stddef.h>
#include <string.h>

const char *mu_env_get(char *const *envp, const char *name)
{
    size_t len = strlen(name);
    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=') {
            return *envp + len + 1;
        }
    }
    return NULL;
}
