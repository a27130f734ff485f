/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/addr.h"

#include "muster/mem.h"
#include "muster/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* An IPv6 address, perhaps with a zone as in fe80::1%eth0. */
static bool is_v6(const char *host)
{
    char bare[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%");
    if (len >= sizeof(bare) || (host[len] == '%' && host[len + 1] == '\0')) {
        return false;
    }
    memcpy(bare, host, len);
    bare[len] = '\0';
    struct in6_addr addr;
    return inet_pton(AF_INET6, bare, &addr) == 1;
}

/* No blanks, no control characters, nothing of a URL. */
static bool is_plain(const char *host)
{
    for (const char *p = host; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("/@[]", *p) != NULL) {
            return false;
        }
    }
    return host[0] != '\0';
}

int mu_endpoint_parse(const char *text, uint16_t default_port, struct mu_endpoint *ret_endpoint,
                      struct mu_err *err)
{
    bool has_brackets = text[0] == '[';
    const char *start = has_brackets ? text + 1 : text;
    size_t len = strcspn(start, has_brackets ? "]" : ":");
    const char *after = start + len;
    bool is_closed = !has_brackets || *after == ']';
    if (has_brackets && is_closed) {
        after++;
    } else if (*after == ':' && strchr(after + 1, ':') != NULL) {
        len = strlen(start); /* two colons without brackets: IPv6 without a port */
        after = start + len;
    }

    struct mu_endpoint endpoint = {.port = default_port};
    bool is_good = is_closed && len <= MU_MAX_NAME && (*after == '\0' || *after == ':');
    if (is_good) {
        memcpy(endpoint.host, start, len);
        bool needs_v6 = has_brackets || strchr(endpoint.host, ':') != NULL;
        is_good = is_plain(endpoint.host) && (!needs_v6 || is_v6(endpoint.host));
    }
    if (!is_good) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'%s' is not an address: HOST, HOST:PORT or [IPV6]:PORT", text);
    }
    /* The system would take a lone number for an address: 29500 for 0.0.115.60. */
    if (strspn(endpoint.host, "0123456789") == len) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' has a number for a host; give HOST:PORT", text);
    }
    if (*after == ':') {
        int64_t port;
        if (mu_parse_int(after + 1, 0, UINT16_MAX, &port, err) != 0) {
            return mu_err_wrap(err, "port of '%s'", text);
        }
        endpoint.port = (uint16_t)port;
    }
    *ret_endpoint = endpoint;
    return 0;
}

void mu_endpoint_format(const struct mu_endpoint *endpoint, char *text, size_t size)
{
    bool has_colon = strchr(endpoint->host, ':') != NULL;
    snprintf(text, size, has_colon ? "[%s]:%u" : "%s:%u", endpoint->host, endpoint->port);
}

void mu_addr_format_host(const struct sockaddr *addr, char *text, size_t size)
{
    snprintf(text, size, "?");
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        inet_ntop(AF_INET, &in->sin_addr, text, (socklen_t)size);
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, (socklen_t)size);
        } else {
            inet_ntop(AF_INET6, &in6->sin6_addr, text, (socklen_t)size);
        }
    }
}

uint16_t mu_addr_port(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
    }
    if (addr->sa_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    }
    return 0;
}

void mu_addr_set_port(struct sockaddr_storage *addr, uint16_t port)
{
    if (addr->ss_family == AF_INET) {
        ((struct sockaddr_in *)addr)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
    }
}

int mu_addr_from_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret_addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memset(ret_addr, 0, sizeof(*ret_addr));
        memcpy(ret_addr, &in, sizeof(in));
        return 0;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        memset(ret_addr, 0, sizeof(*ret_addr));
        memcpy(ret_addr, &in6, sizeof(in6));
        return 0;
    }
    return -1;
}

socklen_t mu_addr_len(const struct sockaddr *addr)
{
    return addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

bool mu_addr_is_loopback(const struct sockaddr *addr)
{
    char text[INET6_ADDRSTRLEN];
    mu_addr_format_host(addr, text, sizeof(text));
    return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0;
}

bool mu_addr_is_loopback_name(const char *host)
{
    struct sockaddr_storage addr;
    if (mu_addr_from_numeric(host, 0, &addr) == 0) {
        return mu_addr_is_loopback((const struct sockaddr *)&addr);
    }
    return strcasecmp(host, "localhost") == 0;
}

bool mu_addr_is_own(const struct sockaddr *addr)
{
    struct sockaddr_storage any_port = {0};
    memcpy(&any_port, addr, mu_addr_len(addr));
    if (addr->sa_family == AF_INET) {
        ((struct sockaddr_in *)&any_port)->sin_port = 0;
    } else {
        ((struct sockaddr_in6 *)&any_port)->sin6_port = 0;
    }
    mu_autoclose int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (const struct sockaddr *)&any_port, mu_addr_len(addr)) == 0;
}
