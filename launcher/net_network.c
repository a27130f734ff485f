/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/net_network.h"

#include "muster/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int net_network_parse(struct mu_slice text, struct net_network *ret_network, struct mu_err *err)
{
    struct net_network network = {.family = AF_INET};
    char address[INET6_ADDRSTRLEN];
    char bits[8];
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    size_t address_len = slash != NULL ? (size_t)(slash - text.ptr) : 0;
    size_t bits_len = slash != NULL ? text.len - address_len - 1 : 0;
    bool is_good = slash != NULL && address_len < sizeof(address) && bits_len < sizeof(bits);
    if (is_good) {
        snprintf(address, sizeof(address), "%.*s", (int)address_len, text.ptr);
        snprintf(bits, sizeof(bits), "%.*s", (int)bits_len, slash + 1);
        network.family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
        is_good = inet_pton(network.family, address, network.bytes) == 1;
    }
    if (!is_good) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'" MU_SLICE_FMT "' is not a network: ADDRESS/BITS, as in 10.1.0.0/16 or "
                          "fd00:1::/64",
                          MU_SLICE_ARG(text));
    }
    int64_t value;
    if (mu_parse_int(bits, 0, network.family == AF_INET ? 32 : 128, &value, err) != 0) {
        return mu_err_wrap(err, "bits of the network '" MU_SLICE_FMT "'", MU_SLICE_ARG(text));
    }
    network.bits = (unsigned)value;
    *ret_network = network;
    return 0;
}

/* The bytes of an address, by its family, which is AF_INET for a v4-mapped one; NULL: of another.
 */
static const uint8_t *bytes_of(const struct sockaddr *addr, int *ret_family)
{
    *ret_family = addr->sa_family;
    if (addr->sa_family == AF_INET) {
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)addr)->sin_addr;
    }
    if (addr->sa_family != AF_INET6) {
        return NULL;
    }
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    bool is_mapped = IN6_IS_ADDR_V4MAPPED(in6);
    *ret_family = is_mapped ? AF_INET : AF_INET6;
    return is_mapped ? in6->s6_addr + 12 : in6->s6_addr;
}

bool net_network_has(const struct net_network *network, const struct sockaddr *addr)
{
    int family;
    const uint8_t *bytes = bytes_of(addr, &family);
    if (bytes == NULL || family != network->family) {
        return false;
    }
    size_t whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    return memcmp(bytes, network->bytes, whole) == 0 &&
           (rest == 0 || (bytes[whole] ^ network->bytes[whole]) >> (8 - rest) == 0);
}
