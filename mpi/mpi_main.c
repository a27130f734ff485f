/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster-mpi: what muster wants of MPI, in a process of its own.
 */
#include "mpi/mpi_commands.h"
#include "muster/num.h"
#include "muster/version.h"

#include <stddef.h>

static const char usage[] =
    "usage: muster-mpi exchange\n"
    "       muster-mpi fabric [--json] [--time SECONDS]\n"
    "\n"
    "exchange  tell muster where rank 0 is; muster run does this by itself under mpirun\n"
    "fabric    measure the network between the nodes of an MPI job: latency and bandwidth of\n"
    "          every pair, an all-reduce of all; exit status 1 if something is slow\n"
    "\n"
    "mpirun --map-by ppr:1:node muster-mpi fabric\n"
    "srun --mpi=pmix --ntasks-per-node=1 muster-mpi fabric\n";

#ifdef __SANITIZE_ADDRESS__
/* MPI's libraries keep much until the end. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static int fail(const char *text)
{
    fprintf(stderr, "muster-mpi: %s\n%s", text, usage);
    return 2;
}

static int fabric(int argc, char **argv)
{
    enum { DEFAULT_SECONDS = 20, MOST_SECONDS = 3600 };
    struct mpi_fabric_wish wish = {.seconds = DEFAULT_SECONDS};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            wish.is_json = true;
        } else if (strcmp(argv[i], "--time") != 0) {
            return fail("an unknown option");
        } else if (++i == argc ||
                   mu_parse_int(argv[i], 1, MOST_SECONDS, &wish.seconds, NULL) != 0) {
            return fail("--time needs a number of seconds, 1 to 3600");
        }
    }
    return mpi_fabric(&wish);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "exchange") == 0 && argc == 2) {
        return mpi_exchange();
    }
    if (strcmp(command, "fabric") == 0) {
        return fabric(argc - 2, argv + 2);
    }
    if (strcmp(command, "--help") == 0) {
        return fputs(usage, stdout) < 0;
    }
    if (strcmp(command, "--version") == 0) {
        return printf("muster-mpi %s\n", MUSTER_VERSION) < 0;
    }
    return fail("which command?");
}
