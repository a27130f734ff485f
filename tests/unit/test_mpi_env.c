/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/mpi_env.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* As mpirun 4.1.4, and srun 22.05 with --mpi=pmix and --mpi=pmi2 set them. */
static void test_launchers(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "OMPI_COMM_WORLD_RANK=0",
        "OMPI_MCA_ess=^singleton",
        "PMIX_NAMESPACE=1",
        "PMIX_SERVER_URI41=x",
        "PMI_FD=11",
        "PMI_RANK=0",
        "PRTE_MCA_x=1",
        "ORTE_SCHIZO_DETECTION=ORTE",
    };
    for (size_t i = 0; i < MU_COUNT(entries); i++) {
        assert_true(mpi_env_is_launchers(entries[i]));
    }
}

static void test_not_launchers(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "PATH=/bin", "OMP_NUM_THREADS=1",   "XPMI_FD=1", "MPI_HOME=/usr", "SLURM_JOB_ID=1", "PMI",
        "OPMI_X=1",  "SLURM_MPI_TYPE=pmix", "",
    };
    for (size_t i = 0; i < MU_COUNT(entries); i++) {
        assert_false(mpi_env_is_launchers(entries[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launchers),
        cmocka_unit_test(test_not_launchers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
