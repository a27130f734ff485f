/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/mpi_pair.h"

#include "muster/mem.h"

#include <mpi.h>
#include <stdlib.h>

enum {
    SMALL = 8,
    MEDIUM = 64 * 1024,
    LARGE = 1024 * 1024,
    TAG = 1,
    MAX_TIMES = 200,
    MAX_LARGE = 50
};

/* What the leader wants next; no bytes: nothing more. */
struct order {
    int bytes;
    int times;
};

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

struct times {
    double median;
    double best;
};

/* Times there and back. */
static struct times exchange(int partner, int bytes, int times, char *buffer)
{
    struct order order = {.bytes = bytes, .times = times};
    double taken[MAX_TIMES];
    MU_REQUIRE(times >= 1 && times <= MAX_TIMES);
    MPI_Send(&order, (int)sizeof(order), MPI_BYTE, partner, TAG, MPI_COMM_WORLD);
    for (int i = 0; i < times; i++) {
        double start = MPI_Wtime();
        MPI_Send(buffer, bytes, MPI_BYTE, partner, TAG, MPI_COMM_WORLD);
        MPI_Recv(buffer, bytes, MPI_BYTE, partner, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        taken[i] = MPI_Wtime() - start;
    }
    qsort(taken, (size_t)times, sizeof(*taken), compare);
    return (struct times){.median = taken[times / 2], .best = taken[0]};
}

/* How often something that takes `once` goes into `seconds`, within bounds. */
static int times_for(double seconds, double once, int least, int most)
{
    double times = once > 0 ? seconds / once : most;
    return times < least ? least : times > most ? most : (int)times;
}

void mpi_pair_lead(int partner, double seconds, char *buffer, struct mpi_pair_result *ret_result)
{
    double small = exchange(partner, SMALL, 2, buffer).best; /* the connection is made here */
    int times = times_for(seconds / 4, small, 5, MAX_TIMES);
    small = exchange(partner, SMALL, times, buffer).median;
    int bytes = MEDIUM;
    double large = exchange(partner, bytes, 2, buffer).best;
    static const int sizes[] = {LARGE, MPI_PAIR_BYTES};
    for (size_t i = 0; i < MU_COUNT(sizes); i++) {
        double expected = large * sizes[i] / bytes;
        if (expected < seconds / 10) { /* a slow start is not worth waiting for */
            bytes = sizes[i];
            large = exchange(partner, bytes, 1, buffer).best;
        }
    }
    /* The best: what else the CPUs do costs much more here than with small messages. */
    large = exchange(partner, bytes, times_for(seconds / 2, large, 1, MAX_LARGE), buffer).best;
    struct order end = {0};
    MPI_Send(&end, (int)sizeof(end), MPI_BYTE, partner, TAG, MPI_COMM_WORLD);
    ret_result->latency_s = (float)(small / 2);
    ret_result->bandwidth = (float)(2.0 * bytes / large);
}

void mpi_pair_follow(int partner, char *buffer)
{
    for (;;) {
        struct order order;
        MPI_Recv(&order, (int)sizeof(order), MPI_BYTE, partner, TAG, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        if (order.bytes == 0) {
            return;
        }
        MU_REQUIRE(order.bytes > 0 && order.bytes <= MPI_PAIR_BYTES);
        for (int i = 0; i < order.times; i++) {
            MPI_Recv(buffer, order.bytes, MPI_BYTE, partner, TAG, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
            MPI_Send(buffer, order.bytes, MPI_BYTE, partner, TAG, MPI_COMM_WORLD);
        }
    }
}
