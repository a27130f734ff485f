/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of MPI, by muster-mpi: the one program of the project that is linked to it.
 * Before the loop runs; blocks. Threading: the main thread.
 */
#pragma once

#include "launcher/options.h"
#include "launcher/sched.h"

/*
 * The path of muster-mpi, owned by the caller: $MUSTER_MPI_HELPER, else beside this program, else
 * on PATH. MU_E_USAGE if it is not there.
 */
char *cmd_mpi_program(struct mu_err *err);

/*
 * Under mpirun, if no option says where the coordinator is, fill in `sched`'s places and hosts:
 * every rank asks, and gets the answer once all of them have. Fails with a sentence for the user
 * if that is not possible within --join-timeout.
 */
int cmd_mpi_meet(const struct options *opts, struct sched *sched, struct mu_err *err);

/*
 * `muster check --fabric`: become `muster-mpi fabric`, if MPI started this process. Returns -1 if
 * it did not, or if that cannot be.
 */
int cmd_check_fabric(const struct options *opts, struct mu_err *err);
