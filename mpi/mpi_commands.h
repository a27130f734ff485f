/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of muster-mpi. Each makes the process an MPI process, does its work with all the
 * other ranks, and ends that. Returns the exit status. Threading: the main thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where rank 0 is, and what the hosts are called: launcher/mpi_exchange.h has the format. */
int mpi_exchange(void);

struct mpi_fabric_wish {
    bool is_json;
    int64_t seconds; /* for the measurements, in all */
};

/* The network between the nodes; 1 if something is slow. Rank 0 prints. */
int mpi_fabric(const struct mpi_fabric_wish *wish);
