/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who serves the coordinator? The agent whose machine has the endpoint's address and finds the port
 * free there. Nobody compares host names: an address is ours if it can be bound, and the
 * coordinator is ours if it answers with our id (uv_agent.c checks that on WELCOME).
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/uv_coordinator.h"

#include "muster/addr.h"

#include <stdbool.h>

struct uv_host_spec {
    const char *host; /* of the endpoint, as given: "127.0.0.1" and "node1" are treated apart */
    const char *run_id;
    uint64_t agent_id;
    uint64_t store_bytes;
    const char *master_addr; /* numeric: where workers are to reach it, too; "": nothing special */
    char *const *expected;   /* names of the job's nodes, see uv_coordinator.h */
    size_t expected_count;
    uint16_t side_port; /* a second one, if it is free; 0: none */
};

/*
 * Is one of `addrs` this machine's? Returns which of `ports` are taken on any of those that are, a
 * bit each. Of `spec` only the host and the address for workers matter.
 */
uint32_t uv_host_look(const struct uv_host_spec *spec, const struct sockaddr_storage *addrs,
                      size_t count, const uint16_t *ports, size_t port_count, bool *ret_is_here);

/*
 * Try to serve on one of `addrs`, the addresses of the endpoint. Returns a listening coordinator,
 * owned by the caller, and its port; or NULL if no address is this machine's, or the port is taken
 * (by a coordinator, with luck): connect there instead. `err` says why, in both cases.
 */
struct coordinator *uv_host_try(uv_loop_t *loop, const struct uv_host_spec *spec,
                                const struct sockaddr_storage *addrs, size_t count,
                                uint16_t *ret_port, struct mu_err *err);
