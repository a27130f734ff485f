/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void set_port(struct sockaddr_storage *addr, uint16_t port)
{
    if (addr->ss_family == AF_INET) {
        ((struct sockaddr_in *)addr)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
    }
}

/* Every address of this machine; with AF_INET6 those of IPv4 as well. */
static struct sockaddr_storage every_address(sa_family_t family, uint16_t port)
{
    struct sockaddr_storage every = {.ss_family = family};
    set_port(&every, port);
    return every;
}

/*
 * A host's own name often stands for a loopback address in its /etc/hosts (Debian: 127.0.1.1),
 * where no other node could reach it: then every interface is meant. So it is if workers are to
 * come by another one than agents.
 */
static struct sockaddr_storage address_to_serve(const struct uv_host_spec *spec,
                                                struct sockaddr_storage addr)
{
    const struct sockaddr *sa = (const struct sockaddr *)&addr;
    struct sockaddr_storage other;
    if (mu_addr_from_numeric(spec->master_addr, 0, &other) == 0) {
        bool is_v4 = addr.ss_family == AF_INET && other.ss_family == AF_INET;
        return every_address(is_v4 ? AF_INET : AF_INET6, mu_addr_port(sa));
    }
    if (!mu_addr_is_loopback(sa) || mu_addr_is_loopback_name(spec->host)) {
        return addr;
    }
    return every_address(addr.ss_family, mu_addr_port(sa));
}

struct coordinator *uv_host_try(uv_loop_t *loop, const struct uv_host_spec *spec,
                                const struct sockaddr_storage *addrs, size_t count,
                                uint16_t *ret_port, struct mu_err *err)
{
    mu_err_set(err, MU_E_CONNECT, 0, "'%s' is not an address of this machine", spec->host);
    for (size_t i = 0; i < count; i++) {
        if (!mu_addr_is_own((const struct sockaddr *)&addrs[i])) {
            continue;
        }
        struct sockaddr_storage serve = address_to_serve(spec, addrs[i]);
        struct coordinator_config config = {
            .run_id = spec->run_id,
            .embedded_agent = spec->agent_id,
            .store_bytes = spec->store_bytes,
            .master_addr = spec->master_addr[0] != '\0' ? spec->master_addr : NULL};
        struct coordinator *c = coordinator_new(loop, &config);
        if (coordinator_listen(c, (const struct sockaddr *)&serve, ret_port, err) == 0) {
            return c;
        }
        coordinator_close(c);
    }
    return NULL;
}
