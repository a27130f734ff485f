/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any --iface or --cidr, on an invented node: an interface that is up is chosen, by what was asked
 * for, or there is a sentence. The first byte chooses the option and the family.
 */
#include "launcher/net_iface.h"

#include "launcher/net_network.h"
#include "muster/addr.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

/* A network contains its own address, and with no bits all of its family. */
static void check_networks(const char *text)
{
    struct mu_slice entry;
    while (mu_slice_next_entry(&text, &entry)) {
        struct net_network network;
        struct mu_err err = MU_ERR_INIT;
        if (net_network_parse(entry, &network, &err) != 0) {
            MU_REQUIRE(err.code == MU_E_USAGE && err.text[0] != '\0');
            continue;
        }
        struct sockaddr_storage own = {.ss_family = (sa_family_t)network.family};
        if (network.family == AF_INET) {
            memcpy(&((struct sockaddr_in *)&own)->sin_addr, network.bytes, 4);
            MU_REQUIRE(network.bits <= 32);
            MU_REQUIRE(net_network_has(&network, (const struct sockaddr *)&own));
        } else {
            struct in6_addr *in6 = &((struct sockaddr_in6 *)&own)->sin6_addr;
            memcpy(in6, network.bytes, 16);
            MU_REQUIRE(network.family == AF_INET6 && network.bits <= 128);
            MU_REQUIRE(net_network_has(&network, (const struct sockaddr *)&own) !=
                       IN6_IS_ADDR_V4MAPPED(in6));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct net_iface items[] = {
        {.name = "lo", .is_up = true, .has_carrier = true},
        {.name = "eth0", .is_up = true, .has_carrier = true},
        {.name = "eth0", .is_up = true, .has_carrier = true},
        {.name = "eth0.5", .is_up = true, .has_carrier = false},
        {.name = "ib0", .is_up = false},
        {.name = "ib1", .is_up = true, .has_carrier = true},
    };
    if (size == 0) {
        return 0;
    }
    mu_addr_from_numeric("127.0.0.1", 0, &items[0].addr);
    mu_addr_from_numeric("10.0.0.3", 0, &items[1].addr);
    mu_addr_from_numeric("fd00::3", 0, &items[2].addr);
    mu_addr_from_numeric("10.5.0.3", 0, &items[3].addr);
    mu_addr_from_numeric("10.6.0.3", 0, &items[4].addr);
    const struct net_iface_list list = {.items = items, .count = MU_COUNT(items)};

    mu_autofree char *text = mu_strndup((const char *)data + 1, size - 1);
    bool is_name = (data[0] & 1) != 0;
    const struct net_iface_wish wish = {.names = is_name ? text : NULL,
                                        .networks = is_name ? NULL : text};
    struct net_choice choice = {0};
    struct mu_err err = MU_ERR_INIT;
    int rc = net_iface_choose(&list, &wish, (data[0] & 2) != 0 ? AF_INET6 : AF_INET, &choice, &err);
    MU_REQUIRE((rc == 0) == (err.code == MU_E_NONE));
    MU_REQUIRE(rc == 0 || (err.code == MU_E_USAGE && err.text[0] != '\0'));
    if (text[0] == '\0') {
        MU_REQUIRE(rc == 0 && choice.name[0] == '\0'); /* nothing was asked for */
        return 0;
    }
    bool is_lo = strcmp(choice.name, "lo") == 0;
    MU_REQUIRE(rc != 0 || is_lo || strcmp(choice.name, "eth0") == 0);
    MU_REQUIRE(rc != 0 || choice.is_prefix != is_lo);
    struct net_choice same;
    MU_REQUIRE(rc != 0 || net_iface_of_address(&list, choice.address, &same) != is_lo);
    check_networks(text);
    return 0;
}
