/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an MPI launcher (mpirun, `srun --mpi`) gives the process it starts, and what would make each
 * worker believe to be that process. Descriptors of it, that PMI_FD names for one, reach no worker
 * anyway: shepherd.c. Threading: any.
 */
#pragma once

#include <stdbool.h>

/*
 * Is "NAME=value" one of them: OMPI_*, PMIX_*, PMI_*, PRTE_*, ORTE_*? The user's settings for Open
 * MPI (OMPI_MCA_*) cannot be told from what mpirun adds to them, and are.
 */
bool mpi_env_is_launchers(const char *entry);
