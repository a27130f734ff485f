/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/store_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PER_ADDRESS = 8192, ADDRESSES = 200 };

void peer_fail(const char *what)
{
    fprintf(stderr, "store bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

void peer_raise_file_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int peer_connect(uint16_t port, unsigned number)
{
    unsigned host = number / PER_ADDRESS % ADDRESSES;
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        peer_fail("socket");
    }
    /* The port is chosen by connect(), so that it must only be free towards this server. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        peer_fail("connect");
    }
    return fd;
}

void peer_send(int fd, const struct mu_buf *request)
{
    size_t done = 0;
    while (done < request->len) {
        ssize_t n = send(fd, request->data + done, request->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            peer_fail("send");
        }
        done += n > 0 ? (size_t)n : 0;
    }
}

void peer_receive(int fd, size_t len)
{
    char input[4096];
    while (len > 0) {
        ssize_t n = recv(fd, input, len < sizeof(input) ? len : sizeof(input), 0);
        if (n == 0) {
            errno = ECONNRESET;
        }
        if (n <= 0) {
            peer_fail("receive");
        }
        len -= (size_t)n;
    }
}
