/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/net_iface.h"

#include "launcher/net_network.h"
#include "muster/addr.h"
#include "muster/buf.h"
#include "muster/mem.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 8 }; /* interfaces in a message; hosts of containers have hundreds */

int net_iface_read(struct net_iface_list *ret_list, struct mu_err *err)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "read the network interfaces of this node");
    }
    size_t count = 0;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        count++;
    }
    struct net_iface_list list = {.items = mu_calloc(count + 1, sizeof(*list.items))};
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        struct net_iface *item = &list.items[list.count++];
        snprintf(item->name, sizeof(item->name), "%s", i->ifa_name);
        item->is_up = (i->ifa_flags & IFF_UP) != 0;
        item->has_carrier = (i->ifa_flags & IFF_RUNNING) != 0;
        int family = i->ifa_addr != NULL ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (family == AF_INET || family == AF_INET6) { /* AF_PACKET: the interface itself */
            memcpy(&item->addr, i->ifa_addr, mu_addr_len(i->ifa_addr));
        }
    }
    freeifaddrs(all);
    *ret_list = list;
    return 0;
}

void net_iface_free(struct net_iface_list *list)
{
    free(list->items);
    *list = (struct net_iface_list){0};
}

static const struct sockaddr *address_of(const struct net_iface *i)
{
    return (const struct sockaddr *)&i->addr;
}

/* Can another node send to it, and a program be told of it by its number alone? */
static bool has_usable_address(const struct net_iface *i)
{
    const struct sockaddr_in6 *in6 = (const void *)&i->addr;
    return i->addr.ss_family == AF_INET ||
           (i->addr.ss_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr));
}

static bool works(const struct net_iface *i)
{
    return i->is_up && i->has_carrier && has_usable_address(i);
}

static struct net_choice choice_of(const struct net_iface_list *list, const struct net_iface *i)
{
    struct net_choice choice = {0};
    size_t len = strlen(i->name);
    memcpy(choice.name, i->name, sizeof(choice.name));
    mu_addr_format_host(address_of(i), choice.address, sizeof(choice.address));
    for (size_t k = 0; k < list->count && !choice.is_prefix; k++) {
        const char *other = list->items[k].name;
        choice.is_prefix = strncmp(other, i->name, len) == 0 && other[len] != '\0';
    }
    return choice;
}

bool net_iface_of_address(const struct net_iface_list *list, const char *address,
                          struct net_choice *ret_choice)
{
    for (size_t k = 0; k < list->count; k++) {
        const struct net_iface *i = &list->items[k];
        char text[INET6_ADDRSTRLEN];
        mu_addr_format_host(address_of(i), text, sizeof(text)); /* "?" for none */
        if (strcmp(text, address) == 0 && !mu_addr_is_loopback(address_of(i)) &&
            i->addr.ss_family != AF_UNSPEC) {
            *ret_choice = choice_of(list, i);
            return true;
        }
    }
    return false;
}

/* ---- --iface ---- */

static bool is_called(const struct net_iface *i, struct mu_slice name)
{
    return mu_slice_eq(mu_slice_of(i->name), name);
}

static const struct net_iface *find_named(const struct net_iface_list *list, struct mu_slice name,
                                          int family)
{
    const struct net_iface *found = NULL;
    for (size_t k = 0; k < list->count; k++) {
        const struct net_iface *i = &list->items[k];
        bool is_better =
            found == NULL || (found->addr.ss_family != family && i->addr.ss_family == family);
        if (is_called(i, name) && works(i) && is_better) {
            found = i;
        }
    }
    return found;
}

/* Why an interface will not do. */
static const char *fault_of(const struct net_iface_list *list, struct mu_slice name)
{
    const char *fault = "no such interface here";
    for (size_t k = 0; k < list->count; k++) {
        const struct net_iface *i = &list->items[k];
        if (is_called(i, name)) {
            fault = !i->is_up         ? "it is down"
                    : !i->has_carrier ? "it has no carrier (is it plugged in?)"
                                      : "it has no address";
        }
    }
    return fault;
}

static bool is_repeated(const struct net_iface_list *list, size_t index)
{
    for (size_t k = 0; k < index; k++) {
        if (strcmp(list->items[k].name, list->items[index].name) == 0) {
            return true;
        }
    }
    return false;
}

/* "eth0 (10.0.0.3, fd00::3)" */
static void describe_one(const struct net_iface_list *list, const char *name, struct mu_buf *text)
{
    const char *before = " (";
    mu_buf_printf(text, "%s", name);
    for (size_t k = 0; k < list->count; k++) {
        const struct net_iface *i = &list->items[k];
        if (strcmp(i->name, name) == 0 && has_usable_address(i)) {
            char address[INET6_ADDRSTRLEN];
            mu_addr_format_host(address_of(i), address, sizeof(address));
            mu_buf_printf(text, "%s%s", before, address);
            before = ", ";
        }
    }
    mu_buf_printf(text, before[0] == ',' ? ")" : "");
}

static bool has_any_address(const struct net_iface_list *list, const char *name)
{
    for (size_t k = 0; k < list->count; k++) {
        if (strcmp(list->items[k].name, name) == 0 && has_usable_address(&list->items[k])) {
            return true;
        }
    }
    return false;
}

/* "; this node has eth0 (10.0.0.3), lo (127.0.0.1), eth1": those with an address first. */
static void describe_all(const struct net_iface_list *list, struct mu_buf *text)
{
    unsigned count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < list->count; k++) {
            const char *name = list->items[k].name;
            if (is_repeated(list, k) || has_any_address(list, name) != (pass == 0)) {
                continue;
            }
            if (count < SHOWN) {
                mu_buf_printf(text, count == 0 ? "; this node has " : ", ");
                describe_one(list, name, text);
            }
            count++;
        }
    }
    if (count > SHOWN) {
        mu_buf_printf(text, " and %u more", count - SHOWN);
    } else if (count == 0) {
        mu_buf_printf(text, "; this node has none");
    }
}

static int choose_by_name(const struct net_iface_list *list, const char *names, int family,
                          struct net_choice *ret_choice, struct mu_err *err)
{
    struct mu_buf why = {0};
    bool are_several = strchr(names, ',') != NULL;
    const char *rest = names;
    struct mu_slice name;
    while (mu_slice_next_entry(&rest, &name)) {
        const struct net_iface *found = find_named(list, name, family);
        if (name.len == 0) {
            mu_buf_fini(&why);
            return mu_err_set(err, MU_E_USAGE, 0, "--iface '%s' has an empty name", names);
        }
        if (found != NULL) {
            mu_buf_fini(&why);
            *ret_choice = choice_of(list, found);
            return 0;
        }
        mu_buf_printf(&why, why.len > 0 ? ", " : "");
        if (are_several) {
            mu_buf_printf(&why, MU_SLICE_FMT ": ", MU_SLICE_ARG(name));
        }
        mu_buf_printf(&why, "%s", fault_of(list, name));
    }
    describe_all(list, &why);
    mu_autofree char *text = mu_buf_take_text(&why);
    return mu_err_set(err, MU_E_USAGE, 0, "--iface %s: %s", names, text);
}

/* ---- --cidr ---- */

static int choose_by_network(const struct net_iface_list *list, const char *networks,
                             struct net_choice *ret_choice, struct mu_err *err)
{
    const struct net_iface *idle = NULL; /* in one of the networks, but does not work */
    const struct net_iface *found = NULL;
    const char *rest = networks;
    struct mu_slice entry;
    while (mu_slice_next_entry(&rest, &entry)) { /* to the end: a typing error there is one too */
        struct net_network network;
        if (net_network_parse(entry, &network, err) != 0) {
            return mu_err_wrap(err, "--cidr");
        }
        for (size_t k = 0; k < list->count && found == NULL; k++) {
            const struct net_iface *i = &list->items[k];
            if (net_network_has(&network, address_of(i))) {
                found = works(i) ? i : NULL;
                idle = i;
            }
        }
    }
    if (found != NULL) {
        *ret_choice = choice_of(list, found);
        return 0;
    }
    struct mu_buf why = {0};
    if (idle != NULL) {
        mu_buf_printf(&why, "%s has an address there, but %s", idle->name,
                      !idle->is_up         ? "is down"
                      : !idle->has_carrier ? "has no carrier (is it plugged in?)"
                                           : "a link-local one");
    } else {
        mu_buf_printf(&why, "no interface has an address there");
    }
    describe_all(list, &why);
    mu_autofree char *text = mu_buf_take_text(&why);
    return mu_err_set(err, MU_E_USAGE, 0, "--cidr %s: %s", networks, text);
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

bool net_iface_is_wished(const struct net_iface_wish *wish)
{
    return is_given(wish->names) || is_given(wish->networks);
}

int net_iface_choose(const struct net_iface_list *list, const struct net_iface_wish *wish,
                     int family, struct net_choice *ret_choice, struct mu_err *err)
{
    if (is_given(wish->names) && is_given(wish->networks)) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--iface %s and --cidr %s are two ways to say the same; give one of them",
                          wish->names, wish->networks);
    }
    if (is_given(wish->names)) {
        return choose_by_name(list, wish->names, family, ret_choice, err);
    }
    if (is_given(wish->networks)) {
        return choose_by_network(list, wish->networks, ret_choice, err);
    }
    *ret_choice = (struct net_choice){0};
    return 0;
}

int net_iface_choose_here(const struct net_iface_wish *wish, int family,
                          struct net_choice *ret_choice, struct mu_err *err)
{
    struct net_iface_list list = {0};
    if (net_iface_is_wished(wish) && net_iface_read(&list, err) != 0) {
        return -1;
    }
    int rc = net_iface_choose(&list, wish, family, ret_choice, err);
    net_iface_free(&list);
    return rc;
}
