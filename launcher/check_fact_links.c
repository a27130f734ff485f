/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces with hardware behind them, and the ports of RDMA devices, as /sys has them.
 */
#include "launcher/check_fact.h"

#include "muster/mem.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WORD = 64 };

/* One that somebody gave it: not what every interface makes up for itself. */
static bool has_address(const struct ifaddrs *all, const char *name)
{
    for (const struct ifaddrs *a = all; a != NULL; a = a->ifa_next) {
        if (a->ifa_addr == NULL || strcmp(a->ifa_name, name) != 0) {
            continue;
        }
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a->ifa_addr;
        if (a->ifa_addr->sa_family == AF_INET ||
            (a->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))) {
            return true;
        }
    }
    return false;
}

static bool has_hardware(const struct host_view *host, const char *name)
{
    char target[MAX_WORD];
    return host_view_link(host, target, sizeof(target), "/sys/class/net/%s/device", name) == 0;
}

static void put_nics(const struct host_view *host, json_t *facts)
{
    struct ifaddrs *addresses = NULL;
    if (getifaddrs(&addresses) != 0) {
        addresses = NULL;
    }
    json_t *nics = json_array();
    char **names = host_view_names(host, "/sys/class/net", "");
    for (char **name = names; *name != NULL && json_array_size(nics) < CHECK_FACT_MAX_LINKS;
         name++) {
        char state[MAX_WORD];
        if (!has_hardware(host, *name) ||
            host_view_text(host, state, sizeof(state), "/sys/class/net/%s/operstate", *name) != 0) {
            continue;
        }
        json_t *nic = json_object();
        check_fact_put_text(nic, "name", *name);
        check_fact_put_text(nic, "state", state);
        check_fact_put_flag(nic, "has_address", has_address(addresses, *name));
        int64_t speed = host_view_int(host, -1, "/sys/class/net/%s/speed", *name);
        if (speed > 0) { /* virtual ones say -1 or nothing */
            check_fact_put_int(nic, "mbits", speed);
        }
        json_array_append_new(nics, nic);
    }
    host_view_free_names(names);
    freeifaddrs(addresses);
    json_object_set_new(facts, "nics", nics);
}

/* "4: ACTIVE" */
static const char *word_of(const char *state)
{
    const char *colon = strstr(state, ": ");
    return colon != NULL ? colon + 2 : state;
}

static void put_port(const struct host_view *host, json_t *ports, const char *device,
                     const char *port)
{
    char text[MAX_WORD];
    char where[256];
    snprintf(where, sizeof(where), "/sys/class/infiniband/%s/ports/%s", device, port);
    if (host_view_text(host, text, sizeof(text), "%s/state", where) != 0) {
        return;
    }
    json_t *p = json_object();
    mu_autofree char *name = mu_asprintf("%s/%s", device, port);
    check_fact_put_text(p, "name", name);
    check_fact_put_text(p, "state", word_of(text));
    if (host_view_text(host, text, sizeof(text), "%s/link_layer", where) == 0) {
        check_fact_put_text(p, "layer", text);
    }
    if (host_view_text(host, text, sizeof(text), "%s/rate", where) == 0) {
        int64_t gbits = strtoll(text, NULL, 10); /* "400 Gb/sec (4X NDR)" */
        if (gbits > 0) {
            check_fact_put_int(p, "gbits", gbits);
        }
    }
    snprintf(where, sizeof(where), "/sys/class/infiniband/%s/device/net", device);
    char **nics = host_view_names(host, where, "");
    check_fact_put_text(p, "nic", nics[0]);
    host_view_free_names(nics);
    json_array_append_new(ports, p);
}

static void put_rdma(const struct host_view *host, json_t *facts)
{
    json_t *ports = json_array();
    char **devices = host_view_names(host, "/sys/class/infiniband", "");
    for (char **device = devices; *device != NULL; device++) {
        mu_autofree char *path = mu_asprintf("/sys/class/infiniband/%s/ports", *device);
        char **names = host_view_names(host, path, "");
        for (char **port = names; *port != NULL && json_array_size(ports) < CHECK_FACT_MAX_LINKS;
             port++) {
            put_port(host, ports, *device, *port);
        }
        host_view_free_names(names);
    }
    host_view_free_names(devices);
    json_object_set_new(facts, "rdma", ports);
}

void check_fact_links(const struct host_view *host, json_t *facts)
{
    put_nics(host, facts);
    put_rdma(host, facts);
}
