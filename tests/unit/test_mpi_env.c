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

static void hide(const char *entry)
{
    char *envp[] = {(char *)(uintptr_t)entry, NULL};
    mpi_env_hide_descriptor(envp);
}

static void test_descriptor(void **state)
{
    (void)state;
    int fd = dup(STDIN_FILENO);
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    char entry[32];
    snprintf(entry, sizeof(entry), "PMI_FD=%d", fd);
    hide(entry);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    hide(entry); /* nothing there */
    static const char *const others[] = {"PMI_FD=1", "PMI_FD=x", "PMI_FD=-1", "PMI_FD=", "A=1"};
    for (size_t i = 0; i < MU_COUNT(others); i++) {
        hide(others[i]);
    }
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFD), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launchers),
        cmocka_unit_test(test_not_launchers),
        cmocka_unit_test(test_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
