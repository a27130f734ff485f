/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical limit of a store on sockets: one thread, epoll, one read and one write for each
 * operation, nothing else done.
 *
 *     bare_echo ANSWER [TOGETHER]
 *
 * Prints the port it listens on (loopback). Whatever comes in one read is answered with ANSWER
 * bytes, but for the first read of a connection, the hello, which is answered with 4. With
 * TOGETHER, the barrier: so many reads are answered when the last of them has come. Ends when its
 * standard input does.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, LARGEST = 65536, HELLO_ANSWER = 4, FD_LIMIT = 1 << 20 };

static char bytes[LARGEST];
static bool *has_said_hello; /* by descriptor */
static int *waiting;         /* descriptors to be answered, fewer than `together` */
static size_t waiting_count;
static size_t together = 1;

static void require(bool claim, const char *what)
{
    if (!claim) {
        perror(what);
        exit(1);
    }
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    require(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "bare_echo: epoll_ctl");
}

static int listen_on_loopback(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 65535) == 0 &&
                getsockname(fd, (struct sockaddr *)&addr, &len) == 0,
            "bare_echo: listen");
    printf("%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        require(fd < FD_LIMIT, "bare_echo: too many connections");
        has_said_hello[fd] = false;
        watch(epoll, fd);
    }
}

static void say(int fd, size_t len)
{
    require(write(fd, bytes, len) == (ssize_t)len || errno == EPIPE || errno == ECONNRESET,
            "bare_echo: write");
}

static void answer(int fd, size_t len)
{
    char input[LARGEST];
    ssize_t got = read(fd, input, sizeof(input));
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            close(fd);
            waiting_count = 0; /* the others will follow */
        }
        return;
    }
    if (!has_said_hello[fd]) {
        has_said_hello[fd] = true;
        say(fd, HELLO_ANSWER);
        return;
    }
    waiting[waiting_count++] = fd;
    if (waiting_count >= together) {
        for (size_t i = 0; i < waiting_count; i++) {
            say(waiting[i], len);
        }
        waiting_count = 0;
    }
}

int main(int argc, char **argv)
{
    size_t len = argc >= 2 ? strtoul(argv[1], NULL, 10) : 0;
    together = argc >= 3 ? strtoul(argv[2], NULL, 10) : 1;
    if (len < 1 || len > LARGEST || together < 1 || together > FD_LIMIT) {
        fprintf(stderr, "usage: bare_echo ANSWER [TOGETHER]\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    has_said_hello = calloc(FD_LIMIT, sizeof(bool));
    int epoll = epoll_create1(0);
    int listener = listen_on_loopback();
    waiting = calloc(together, sizeof(int));
    require(has_said_hello != NULL && waiting != NULL && epoll >= 0, "bare_echo");
    watch(epoll, listener);
    watch(epoll, STDIN_FILENO);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                return 0;
            }
            if (fd == listener) {
                accept_all(epoll, listener);
            } else {
                answer(fd, len);
            }
        }
    }
}
