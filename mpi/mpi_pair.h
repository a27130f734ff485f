/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ranks measure what is between them: a message goes there and back. Threading: the main
 * thread.
 */
#pragma once

#include <stddef.h>

enum { MPI_PAIR_BYTES = 4 * 1024 * 1024 }; /* the largest message */

struct mpi_pair_result {
    float latency_s; /* of 8 bytes, one way: half the median of there and back */
    float bandwidth; /* bytes a second, one way: the best of several */
};

/*
 * Both ranks call it, each with a buffer of MPI_PAIR_BYTES; the one with the lower rank decides how
 * often and with how much, so that it takes about `seconds`, and has the result. A very slow
 * network needs longer: a handful of messages are sent in any case.
 */
void mpi_pair_lead(int partner, double seconds, char *buffer, struct mpi_pair_result *ret_result);
void mpi_pair_follow(int partner, char *buffer);
