#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A job on the nodes of a host file, started by Open MPI:
#
#     examples/mpirun.sh HOSTFILE [OPTIONS OF muster run] train.py [ARGUMENTS]
#
# ppr:1:node   one muster for each node, whatever slots= says; it starts the workers, one for each GPU
# --bind-to    mpirun would put muster, and with it all workers of the node, on one core or socket
# -x           Open MPI hands on only the variables that are named; PATH, so that muster is found
exec mpirun --hostfile "${1:?HOSTFILE}" --map-by ppr:1:node --bind-to none -x PATH \
    muster run --nproc-per-node auto "${@:2}"
