/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network interfaces of this node, and which of them is meant: by --iface, by --cidr, or by an
 * address. Nothing is looked up in DNS, in neither direction.
 *
 * Only net_iface_read() asks the system; the rest works on its list, which tests invent. Threading:
 * any.
 */
#pragma once

#include "muster/err.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* One address of an interface, or one without (then of family AF_UNSPEC). */
struct net_iface {
    char name[IF_NAMESIZE];
    bool is_up;       /* switched on */
    bool has_carrier; /* and connected to something */
    struct sockaddr_storage addr;
};

struct net_iface_list {
    struct net_iface *items; /* owned; in the system's order, an interface once for each address */
    size_t count;
};

/* What the user says of it: --iface or --cidr, lists with commas. NULL or empty: not given. */
struct net_iface_wish {
    const char *names;
    const char *networks;
};

/* An interface, as it is told to workers and to other nodes. */
struct net_choice {
    char name[IF_NAMESIZE];         /* "": none */
    char address[INET6_ADDRSTRLEN]; /* numeric */
    bool is_prefix;                 /* of another interface's name */
};

/* Owned by the caller, released with net_iface_free(). MU_E_SYSTEM if the kernel does not say. */
int net_iface_read(struct net_iface_list *ret_list, struct mu_err *err);
void net_iface_free(struct net_iface_list *list);

/*
 * The interface with this numeric address. False if there is none, also for an address that leads
 * nowhere but here (127.0.0.1, ::1).
 */
bool net_iface_of_address(const struct net_iface_list *list, const char *address,
                          struct net_choice *ret_choice);

bool net_iface_is_wished(const struct net_iface_wish *wish); /* is anything given? */

/*
 * The first of the interfaces wished for that is up and has an address, one of `family` (AF_INET,
 * AF_INET6) rather than another; link-local addresses of IPv6 do not count. Without a wish the
 * choice has no name. MU_E_USAGE if there is none: a sentence that says why, and which ones this
 * node has; and if both lists are given.
 */
int net_iface_choose(const struct net_iface_list *list, const struct net_iface_wish *wish,
                     int family, struct net_choice *ret_choice, struct mu_err *err);

/* The same among the interfaces that this node has now. */
int net_iface_choose_here(const struct net_iface_wish *wish, int family,
                          struct net_choice *ret_choice, struct mu_err *err);
