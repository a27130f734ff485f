/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/mpi_env.h"

#include "muster/mem.h"

#include <string.h>

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
