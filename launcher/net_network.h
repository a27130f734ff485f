/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network as people write it: 10.1.0.0/16, fd00:1::/64. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct net_network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t bytes[16];
    unsigned bits; /* of `bytes` that count */
};

/* ADDRESS/BITS; bits of the address beyond those are ignored. MU_E_USAGE if it is none. */
int net_network_parse(struct mu_slice text, struct net_network *ret_network, struct mu_err *err);

/* Is the address in it? A v4-mapped IPv6 address counts as IPv4. */
bool net_network_has(const struct net_network *network, const struct sockaddr *addr);
