/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which port a node gets into a check. The coordinator of a check listens on two: its own, and a
 * side door, so that a node which a firewall keeps from the first can come and say so.
 *
 * Blocks, a name look-up included. Threading: any.
 */
#pragma once

#include "muster/addr.h"

#include <stdint.h>

enum check_door {
    CHECK_DOOR_MAIN, /* or it is open which: this is the coordinator's machine, or none answered */
    CHECK_DOOR_SIDE, /* the main one does not let this node in */
};

struct check_door_spec {
    const char *host;      /* of the coordinator */
    const uint16_t *ports; /* the coordinator has one of them */
    size_t port_count;
    uint16_t side_port;
    int64_t patience_ms; /* until one of them answers */
};

/* The side door's port of a job: the same on every node, and rarely that of another one. */
uint16_t check_door_port(const char *run_id, uint16_t port);

/* Wait until this node can get in by one of the ports. */
enum check_door check_door_find(const struct check_door_spec *spec);
