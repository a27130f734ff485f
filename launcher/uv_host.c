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

/*
 * A host's own name often stands for a loopback address in its /etc/hosts (Debian: 127.0.1.1),
 * where no other node could reach it: then every interface is meant.
 */
static struct sockaddr_storage address_to_serve(const char *host, struct sockaddr_storage addr)
{
    const struct sockaddr *sa = (const struct sockaddr *)&addr;
    if (!mu_addr_is_loopback(sa) || mu_addr_is_loopback_name(host)) {
        return addr;
    }
    struct sockaddr_storage every = {.ss_family = addr.ss_family};
    set_port(&every, mu_addr_port(sa));
    return every;
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
        struct sockaddr_storage serve = address_to_serve(spec->host, addrs[i]);
        struct coordinator_config config = {.run_id = spec->run_id,
                                            .embedded_agent = spec->agent_id,
                                            .store_bytes = spec->store_bytes};
        struct coordinator *c = coordinator_new(loop, &config);
        if (coordinator_listen(c, (const struct sockaddr *)&serve, ret_port, err) == 0) {
            return c;
        }
        coordinator_close(c);
    }
    return NULL;
}
