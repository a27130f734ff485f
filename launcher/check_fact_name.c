/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact.h"

#include "muster/clock.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

json_t *check_fact_name(const char *name)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    json_t *fact = json_object();
    int64_t begin_ms = mu_clock_ms();
    int rc = getaddrinfo(name, NULL, &hints, &found);
    check_fact_put_int(fact, "took_ms", mu_clock_ms() - begin_ms);
    check_fact_put_flag(fact, "resolves", rc == 0);
    if (rc != 0) {
        check_fact_put_text(fact, "error", gai_strerror(rc));
        return fact;
    }
    bool is_here_only = true;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        is_here_only = is_here_only && is_loopback(a->ai_addr);
    }
    check_fact_put_flag(fact, "is_loopback", is_here_only);
    freeaddrinfo(found);
    return fact;
}
