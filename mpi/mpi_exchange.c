/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/mpi_commands.h"

#include "mpi/own_addresses.h"
#include "mpi/reach.h"
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

/* Where rank 0 is, and a port of its at which others may find out whether they reach it. */
struct meeting {
    struct own_addresses places;
    uint16_t port; /* 0: there is none */
};

/*
 * Some of the ranks try all addresses, and those that all of them reach come first: a machine has
 * networks that others are not on, and the coordinator listens on one.
 */
static void find_places(int rank, int size, struct own_addresses *ret_places)
{
    enum { TRIERS = 64, TIMEOUT_MS = 1000 };
    struct meeting m = {0};
    int door = -1;
    if (rank == 0) {
        own_addresses_find(&m.places);
        door = reach_open(&m.port);
    }
    MPI_Bcast(&m, (int)sizeof(m), MPI_BYTE, 0, MPI_COMM_WORLD);
    uint32_t mine = UINT32_MAX;
    uint32_t all = 0;
    if (rank > 0 && m.port != 0 && rank % (size / TRIERS + 1) == 0) {
        mine = reach_probe(&m.places, m.port, TIMEOUT_MS);
    }
    MPI_Allreduce(&mine, &all, 1, MPI_UINT32_T, MPI_BAND, MPI_COMM_WORLD);
    mu_cleanup_close(&door); /* all have tried */
    own_addresses_prefer(&m.places, all);
    *ret_places = m.places;
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
    find_places(rank, size, &places);
    mu_autofree char *names = mu_calloc((size_t)size, sizeof(name));
    MPI_Allgather(name, (int)sizeof(name), MPI_BYTE, names, (int)sizeof(name), MPI_BYTE,
                  MPI_COMM_WORLD);
    MPI_Finalize();
    return print(rank, size, &places, names); /* now that nothing can go wrong any more */
}
