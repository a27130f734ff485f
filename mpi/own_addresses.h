/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses by which other machines may reach this one, best first. Threading: any.
 */
#pragma once

#include "muster/limits.h"

#include <ifaddrs.h>
#include <stddef.h>
#include <stdint.h>

enum { OWN_ADDRESSES_MAX = 8 }; /* more are left out */

struct own_addresses {
    char texts[OWN_ADDRESSES_MAX][64]; /* numeric */
    size_t count;
};

/*
 * Of the interfaces in `list` (getifaddrs(3)) that are up: those of the default route's interface
 * first (`default_iface`, "": there is none), then private networks, then others; IPv4 before IPv6;
 * last the bridges of containers and virtual machines, whose addresses are the same on many
 * machines. Loopback and link-local addresses mean nothing to others and are left out.
 */
void own_addresses_order(const struct ifaddrs *list, const char *default_iface,
                         struct own_addresses *ret);

/*
 * The interface of the default route, of /proc/net/route's text: that with the least metric. ""
 * without one, or if its name is too long for `size`.
 */
void own_addresses_default_iface(const char *routes, char *name, size_t size);

/* Of this machine; 127.0.0.1 if there are no others. */
void own_addresses_find(struct own_addresses *ret);

/* Put those whose bit is set in front of the others, the order within both as it was. */
void own_addresses_prefer(struct own_addresses *list, uint32_t preferred);
