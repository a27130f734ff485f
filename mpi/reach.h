/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which of its addresses others really reach a machine. Blocks. Threading: any.
 */
#pragma once

#include "mpi/own_addresses.h"

#include <stdint.h>

/*
 * Listen on a free port, on every address of this machine: who connects has reached it, and nobody
 * needs to accept that. Returns a descriptor, to be closed when all have tried; -1: not possible.
 */
int reach_open(uint16_t *ret_port);

/* Which of `places` can be connected to at `port` within the time: a bit for each. All at once. */
uint32_t reach_probe(const struct own_addresses *places, uint16_t port, int64_t timeout_ms);
