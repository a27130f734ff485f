/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/mpi_commands.h"

#include "mpi/own_addresses.h"
#include "muster/buf.h"
#include "muster/mem.h"
#include "muster/names.h"

#include <mpi.h>

/*
 * A few hundred bytes: plain TCP starts faster than drivers of InfiniBand and GPUs do. Settings of
 * the user's win.
 */
static void choose_transport(void)
{
    static const char *const settings[][2] = {
        {"OMPI_MCA_pml", "ob1"},
        {"OMPI_MCA_btl", "self,tcp"},
        {"OMPI_MCA_coll_hcoll_enable", "0"},
    };
    for (size_t i = 0; i < MU_COUNT(settings); i++) {
        setenv(settings[i][0], settings[i][1], 0);
    }
}

static int print(int rank, int size, const struct own_addresses *places, const char *names)
{
    struct mu_buf out = {0};
    mu_buf_printf(&out, "muster-mpi 1\nrank %d\nsize %d\n", rank, size);
    for (size_t i = 0; i < places->count; i++) {
        mu_buf_printf(&out, "address %s\n", places->texts[i]);
    }
    for (int i = 0; i < size; i++) {
        mu_buf_printf(&out, "host %s\n", names + (size_t)i * (MU_MAX_NAME + 1));
    }
    mu_buf_printf(&out, "end\n");
    bool is_written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    mu_buf_fini(&out);
    return is_written ? 0 : 1;
}

int mpi_exchange(void)
{
    int rank;
    int size;
    char name[MU_MAX_NAME + 1] = {0};
    struct own_addresses places = {0};
    choose_transport();
    MPI_Init(NULL, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (gethostname(name, sizeof(name) - 1) != 0 || !mu_names_is_presentable(mu_slice_of(name))) {
        snprintf(name, sizeof(name), "node");
    }
    if (rank == 0) {
        own_addresses_find(&places);
    }
    mu_autofree char *names = mu_calloc((size_t)size, sizeof(name));
    MPI_Bcast(&places, (int)sizeof(places), MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Allgather(name, (int)sizeof(name), MPI_BYTE, names, (int)sizeof(name), MPI_BYTE,
                  MPI_COMM_WORLD);
    MPI_Finalize();
    return print(rank, size, &places, names); /* now that nothing can go wrong any more */
}
