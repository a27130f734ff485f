/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/mpi_env.h"

#include "muster/env.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

bool mpi_env_is_launchers(const char *entry)
{
    static const char *const beginnings[] = {"OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_"};
    for (size_t i = 0; i < MU_COUNT(beginnings); i++) {
        if (strncmp(entry, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

void mpi_env_hide_descriptor(char *const *envp)
{
    const char *text = mu_env_get(envp, "PMI_FD");
    int64_t fd;
    if (text != NULL && mu_parse_int(text, STDERR_FILENO + 1, INT_MAX, &fd, NULL) == 0) {
        (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC); /* if there is none, there is nothing to hide */
    }
}
