/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints as people write them: "host", "host:port", "[v6]:port", "v6". Threading: any.
 */
#pragma once

#include "muster/err.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct mu_endpoint {
    char host[MU_MAX_NAME + 1]; /* without brackets */
    uint16_t port;
};

/* Parse `text`; `default_port` is used if it names none. MU_E_USAGE on failure. */
int mu_endpoint_parse(const char *text, uint16_t default_port, struct mu_endpoint *ret_endpoint,
                      struct mu_err *err);

/* "host:port" or "[v6]:port", NUL-terminated, truncated to fit. */
void mu_endpoint_format(const struct mu_endpoint *endpoint, char *text, size_t size);

/* Numeric address of a socket address, v4-mapped IPv6 shown as IPv4; "?" for other families. */
void mu_addr_format_host(const struct sockaddr *addr, char *text, size_t size);
uint16_t mu_addr_port(const struct sockaddr *addr);
void mu_addr_set_port(struct sockaddr_storage *addr, uint16_t port);

/* A socket address from a numeric host; -1 (and nothing written) if it is a name. */
int mu_addr_from_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret_addr);
socklen_t mu_addr_len(const struct sockaddr *addr);

/* Does `host` say, literally, this machine only: 127.x.y.z, ::1, localhost? */
bool mu_addr_is_loopback_name(const char *host);
bool mu_addr_is_loopback(const struct sockaddr *addr);

/* Is it an address of this machine? It is if a socket can have it; its port does not matter. */
bool mu_addr_is_own(const struct sockaddr *addr);
