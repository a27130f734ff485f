/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/reach.h"

#include "muster/addr.h"
#include "muster/clock.h"
#include "muster/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* One that takes all who come at once, up to what the kernel allows. */
enum { BACKLOG = 4096 };

static int listen_on(const char *everywhere, uint16_t *ret_port)
{
    struct sockaddr_storage addr = {0};
    struct sockaddr *sa = (struct sockaddr *)&addr;
    socklen_t len = sizeof(addr);
    int no = 0;
    MU_REQUIRE(mu_addr_from_numeric(everywhere, 0, &addr) == 0);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && addr.ss_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    }
    if (fd >= 0 && bind(fd, sa, mu_addr_len(sa)) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, sa, &len) == 0) {
        *ret_port = mu_addr_port(sa);
        return fd;
    }
    mu_cleanup_close(&fd);
    return -1;
}

int reach_open(uint16_t *ret_port)
{
    int fd = listen_on("::", ret_port); /* IPv4 as well */
    return fd >= 0 ? fd : listen_on("0.0.0.0", ret_port);
}

/* Begin to connect; -1 if it has failed already. */
static int begin(const char *place, uint16_t port)
{
    struct sockaddr_storage addr = {0};
    const struct sockaddr *sa = (const struct sockaddr *)&addr;
    if (mu_addr_from_numeric(place, port, &addr) != 0) {
        return -1;
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, sa, mu_addr_len(sa)) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool is_connected(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

uint32_t reach_probe(const struct own_addresses *places, uint16_t port, int64_t timeout_ms)
{
    int64_t end_ms = mu_clock_ms() + timeout_ms;
    struct pollfd polled[OWN_ADDRESSES_MAX];
    uint32_t reached = 0;
    size_t open = 0;
    for (size_t i = 0; i < places->count; i++) {
        polled[i] = (struct pollfd){.fd = begin(places->texts[i], port), .events = POLLOUT};
        open += polled[i].fd >= 0;
    }
    for (int64_t left = timeout_ms; open > 0 && left > 0; left = end_ms - mu_clock_ms()) {
        int n = poll(polled, places->count, (int)left);
        for (size_t i = 0; n > 0 && i < places->count; i++) {
            if (polled[i].fd >= 0 && polled[i].revents != 0) {
                reached |= is_connected(polled[i].fd) ? 1U << i : 0;
                close(polled[i].fd);
                polled[i].fd = -1;
                open--;
            }
        }
    }
    for (size_t i = 0; i < places->count; i++) {
        mu_cleanup_close(&polled[i].fd);
    }
    return reached;
}
