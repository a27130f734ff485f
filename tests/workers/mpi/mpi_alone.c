/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that is an MPI program of its own, as some libraries make it when they are loaded:
 * prints "rank R: MPI process P of N".
 */
#include <mpi.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *rank = getenv("RANK");
    int own;
    int size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    printf("rank %s: MPI process %d of %d\n", rank != NULL ? rank : "?", own, size);
    MPI_Finalize();
    return 0;
}
