/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_host.h"

#include "muster/mem.h"

#include <errno.h>
#include <netinet/in.h>

/* Every address of this machine; with AF_INET6 those of IPv4 as well. */
static struct sockaddr_storage every_address(sa_family_t family, uint16_t port)
{
    struct sockaddr_storage every = {.ss_family = family};
    mu_addr_set_port(&every, port);
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
    char own[INET6_ADDRSTRLEN];
    mu_addr_format_host(sa, own, sizeof(own));
    if (strcmp(own, spec->master_addr) != 0 &&
        mu_addr_from_numeric(spec->master_addr, 0, &other) == 0) {
        bool is_v4 = addr.ss_family == AF_INET && other.ss_family == AF_INET;
        return every_address(is_v4 ? AF_INET : AF_INET6, mu_addr_port(sa));
    }
    if (!mu_addr_is_loopback(sa) || mu_addr_is_loopback_name(spec->host)) {
        return addr;
    }
    return every_address(addr.ss_family, mu_addr_port(sa));
}

static bool is_taken(struct sockaddr_storage addr, uint16_t port)
{
    mu_addr_set_port(&addr, port);
    mu_autoclose int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *sa = (const struct sockaddr *)&addr;
    int one = 1; /* as the coordinator's own socket: what has ended is no hindrance */
    return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
           bind(fd, sa, mu_addr_len(sa)) != 0 && errno == EADDRINUSE;
}

uint32_t uv_host_look(const struct uv_host_spec *spec, const struct sockaddr_storage *addrs,
                      size_t count, const uint16_t *ports, size_t port_count, bool *ret_is_here)
{
    uint32_t taken = 0;
    *ret_is_here = false;
    for (size_t i = 0; i < count; i++) {
        if (!mu_addr_is_own((const struct sockaddr *)&addrs[i])) {
            continue;
        }
        *ret_is_here = true;
        struct sockaddr_storage serve = address_to_serve(spec, addrs[i]);
        for (size_t p = 0; p < port_count; p++) {
            taken |= is_taken(serve, ports[p]) ? 1U << p : 0;
        }
    }
    return taken;
}

/* For those who cannot get in by the port; it is theirs to say so. */
static void open_side_door(struct coordinator *c, struct sockaddr_storage addr, uint16_t port)
{
    struct mu_err ignored = MU_ERR_INIT;
    mu_addr_set_port(&addr, port);
    if (port != 0) {
        coordinator_listen(c, (const struct sockaddr *)&addr, &port, &ignored);
    }
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
            .master_addr = spec->master_addr[0] != '\0' ? spec->master_addr : NULL,
            .expected = spec->expected,
            .expected_count = spec->expected_count};
        struct coordinator *c = coordinator_new(loop, &config);
        if (coordinator_listen(c, (const struct sockaddr *)&serve, ret_port, err) == 0) {
            open_side_door(c, serve, spec->side_port);
            return c;
        }
        coordinator_close(c);
    }
    return NULL;
}
