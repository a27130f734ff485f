/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/own_addresses.h"

#include "muster/addr.h"
#include "muster/buf.h"
#include "muster/file.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    const struct sockaddr *addr; /* borrowed */
    unsigned order;              /* less is better */
    size_t found;                /* the kernel's order, where all else is equal */
};

/* Container runtimes and hypervisors make them, with the same address everywhere. */
static bool is_bridge(const char *iface)
{
    static const char *const beginnings[] = {"docker",  "br-",    "virbr", "veth",
                                             "lxcbr",   "lxdbr",  "cni",   "cali",
                                             "flannel", "podman", "vmnet"};
    for (size_t i = 0; i < MU_COUNT(beginnings); i++) {
        if (strncmp(iface, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_private_v4(uint32_t a)
{
    return a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8;
}

/* Does it mean something on other machines, and is it of a private network? */
static bool judge(const struct sockaddr *addr, bool *ret_private)
{
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)addr;
        uint32_t a = ntohl(v4->sin_addr.s_addr);
        *ret_private = is_private_v4(a);
        return a >> 24 != 127 && a >> 16 != 0xa9fe && a != 0;
    }
    if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)addr;
        *ret_private = (v6->sin6_addr.s6_addr[0] & 0xfe) == 0xfc;
        return !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
    }
    return false;
}

static int compare(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    return a->found < b->found ? -1 : a->found > b->found;
}

void own_addresses_order(const struct ifaddrs *list, const char *default_iface,
                         struct own_addresses *ret)
{
    size_t count = 0;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        count++;
    }
    mu_autofree struct candidate *all = mu_calloc(count + 1, sizeof(*all));
    size_t n = 0;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        unsigned wanted = IFF_UP | IFF_RUNNING;
        bool is_private;
        if (i->ifa_addr == NULL || (i->ifa_flags & (wanted | IFF_LOOPBACK)) != wanted ||
            !judge(i->ifa_addr, &is_private)) {
            continue;
        }
        bool is_default = default_iface[0] != '\0' && strcmp(i->ifa_name, default_iface) == 0;
        all[n] = (struct candidate){.addr = i->ifa_addr, .found = n};
        all[n++].order = (is_bridge(i->ifa_name) && !is_default ? 8U : 0U) +
                         (is_default ? 0U : 4U) + (is_private ? 0U : 2U) +
                         (i->ifa_addr->sa_family == AF_INET ? 0U : 1U);
    }
    qsort(all, n, sizeof(*all), compare);
    ret->count = n < OWN_ADDRESSES_MAX ? n : OWN_ADDRESSES_MAX;
    for (size_t i = 0; i < ret->count; i++) {
        mu_addr_format_host(all[i].addr, ret->texts[i], sizeof(ret->texts[i]));
    }
}

void own_addresses_default_iface(const char *routes, char *name, size_t size)
{
    long best = LONG_MAX;
    struct mu_slice rest = mu_slice_of(routes);
    struct mu_slice line;
    name[0] = '\0';
    while (lines_next(&rest, &line)) {
        mu_autofree char *text = mu_slice_dup(line);
        char *save;
        char *fields[7] = {NULL}; /* Iface Destination Gateway Flags RefCnt Use Metric */
        char *field = strtok_r(text, "\t ", &save);
        for (size_t i = 0; i < MU_COUNT(fields) && field != NULL; i++) {
            fields[i] = field;
            field = strtok_r(NULL, "\t ", &save);
        }
        if (fields[6] == NULL || strcmp(fields[1], "00000000") != 0 || strlen(fields[0]) >= size) {
            continue;
        }
        long metric = strtol(fields[6], NULL, 10);
        if (metric < best) {
            best = metric;
            snprintf(name, size, "%s", fields[0]);
        }
    }
}

void own_addresses_find(struct own_addresses *ret)
{
    enum { MAX_ROUTES = 1024 * 1024 };
    char name[IF_NAMESIZE];
    mu_autofree char *routes = mu_file_text("/proc/net/route", MAX_ROUTES, NULL);
    own_addresses_default_iface(routes != NULL ? routes : "", name, sizeof(name));
    struct ifaddrs *list = NULL;
    *ret = (struct own_addresses){0};
    if (getifaddrs(&list) == 0) {
        own_addresses_order(list, name, ret);
        freeifaddrs(list);
    }
    if (ret->count == 0) {
        snprintf(ret->texts[ret->count++], sizeof(ret->texts[0]), "127.0.0.1");
    }
}

void own_addresses_prefer(struct own_addresses *list, uint32_t preferred)
{
    struct own_addresses old = *list;
    list->count = 0;
    for (unsigned wanted = 2; wanted-- > 0;) {
        for (size_t i = 0; i < old.count; i++) {
            if ((preferred >> i & 1) == wanted) {
                memcpy(list->texts[list->count++], old.texts[i], sizeof(old.texts[i]));
            }
        }
    }
}
