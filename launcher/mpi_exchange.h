/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster-mpi exchange` prints: what the ranks of an MPI job told each other.
 *
 *     muster-mpi 1            the format
 *     rank 1                  of this process
 *     size 3
 *     address 10.77.0.1       of rank 0, numeric, best first; one or more
 *     host node1              of each rank, in their order
 *     host node2
 *     host node3
 *     end
 *
 * Pure. Threading: any.
 */
#pragma once

#include "launcher/hostlist.h"
#include "muster/buf.h"
#include "muster/err.h"
#include "muster/limits.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MPI_EXCHANGE_ADDRESSES = 8, /* more are left out */
    MPI_EXCHANGE_MAX_TEXT = MU_MAX_NODES * (MU_MAX_NAME + 8),
};

struct mpi_exchange {
    uint32_t rank;
    uint32_t size;
    char addresses[MPI_EXCHANGE_ADDRESSES][MU_MAX_NAME + 1];
    size_t address_count;  /* at least 1 */
    struct hostlist hosts; /* owned; `size` names */
};

/* Read all of `text`. MU_E_PROTOCOL, with the line that is wrong, unless it is as above. */
int mpi_exchange_parse(struct mu_slice text, struct mpi_exchange *ret_exchange, struct mu_err *err);

void mpi_exchange_fini(struct mpi_exchange *exchange);
