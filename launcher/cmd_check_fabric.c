/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_mpi.h"

#include "muster/env.h"
#include "muster/mem.h"

#include <errno.h>
#include <unistd.h>

int cmd_check_fabric(const struct options *opts, struct mu_err *err)
{
    if (mu_env_get(environ, "OMPI_COMM_WORLD_RANK") == NULL &&
        mu_env_get(environ, "PMIX_RANK") == NULL && mu_env_get(environ, "PMI_RANK") == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--fabric measures with MPI, and nothing here says that MPI started this "
                          "process: `mpirun --map-by ppr:1:node muster check --fabric`, or `srun "
                          "--mpi=pmix --ntasks-per-node=1 muster check --fabric`");
    }
    mu_autofree char *program = cmd_mpi_program(err);
    if (program == NULL) {
        return mu_err_wrap(err, "muster-mpi is what measures; install it beside muster");
    }
    static char command[] = "fabric";
    static char json[] = "--json";
    char *argv[] = {program, command, opts->json ? json : NULL, NULL};
    execve(program, argv, environ);
    return mu_err_set(err, MU_E_SYSTEM, errno, "execute %s", program);
}
