/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/fabric_rounds.h"

#include <stdint.h>

int fabric_rounds_count(int nodes)
{
    return nodes % 2 == 0 ? nodes - 1 : nodes;
}

/*
 * The circle method: with an odd number m of places on the circle, i and j meet in round
 * (i + j) mod m. Who would meet itself meets the one outside the circle, or nobody.
 */
int fabric_rounds_partner(int nodes, int round, int node)
{
    int m = fabric_rounds_count(nodes);
    int outside = nodes % 2 == 0 ? nodes - 1 : -1;
    if (node == outside) {
        return (int)((int64_t)round * (m + 1) / 2 % m); /* half of it: (m + 1) / 2 is 1/2 mod m */
    }
    int partner = (round - node % m + m) % m;
    return partner == node ? outside : partner;
}

static int common_divisor(int a, int b)
{
    while (b != 0) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int fabric_rounds_at(int nodes, int turn)
{
    int m = fabric_rounds_count(nodes);
    int step = (int)((int64_t)m * 618 / 1000); /* the golden section: never far from anything */
    while (step > 1 && common_divisor(step, m) != 1) {
        step--;
    }
    return (int)((int64_t)turn * (step > 0 ? step : 1) % m);
}
