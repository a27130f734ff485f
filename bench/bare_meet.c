/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical limit of a rendezvous: one thread, epoll, and the very bytes that a coordinator
 * sends, without looking at what it is told but for the type of a message.
 *
 *     bare_meet AGENTS
 *
 * Prints the port it listens on (loopback). HELLO is answered with WELCOME, and when so many have
 * said it, all get ASSIGN; after EXITED all get STOP; when all have said STOPPED, all get ASSIGN.
 * Ends when its standard input does.
 */
#include "muster/ctl_msg.h"
#include "muster/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { EVENTS = 1024, INPUT = 4096, TYPE_AT = 4 };

static int *fds; /* of those who have said HELLO */
static unsigned agents;
static unsigned joined;
static unsigned stopped;
static struct mu_buf welcome;
static struct mu_buf assign;
static struct mu_buf stop;

static void require(bool claim, const char *what)
{
    if (!claim) {
        perror(what);
        exit(1);
    }
}

static void make_messages(void)
{
    ctl_msg_encode(&(struct ctl_msg){.type = CTL_WELCOME}, &welcome);
    ctl_msg_encode(&(struct ctl_msg){.type = CTL_ASSIGN, .assign = {.round = 1}}, &assign);
    struct ctl_msg msg = {.type = CTL_STOP,
                          .stop = {.round = 1,
                                   .reason = mu_slice_of("rank 40000 on node5000 (local rank 0, "
                                                         "pid 140000) exited with 1")}};
    ctl_msg_encode(&msg, &stop);
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    require(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "bare_meet: epoll_ctl");
}

static int listen_on_loopback(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 65535) == 0 &&
                getsockname(fd, (struct sockaddr *)&addr, &len) == 0 &&
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0,
            "bare_meet: listen");
    printf("%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

static void say(int fd, const struct mu_buf *what)
{
    require(write(fd, what->data, what->len) == (ssize_t)what->len, "bare_meet: write");
}

static void say_to_all(const struct mu_buf *what)
{
    for (unsigned i = 0; i < agents; i++) {
        say(fds[i], what);
    }
}

static void hear_message(int fd, const uint8_t *frame, size_t len)
{
    if (frame[TYPE_AT] == CTL_HELLO) {
        require(joined < agents, "bare_meet: too many agents");
        fds[joined++] = fd;
        say(fd, &welcome);
        if (joined == agents) {
            say_to_all(&assign);
        }
    } else if (frame[TYPE_AT] == CTL_EXITED) {
        say_to_all(&stop);
    } else if (frame[TYPE_AT] == CTL_STOPPED && ++stopped == agents) {
        stopped = 0;
        say_to_all(&assign);
    } else if (frame[TYPE_AT] == CTL_HEARTBEAT) {
        require(write(fd, frame, len) == (ssize_t)len, "bare_meet: write");
    }
}

/* Messages are small and come whole. */
static void hear(int fd)
{
    uint8_t input[INPUT];
    ssize_t got = read(fd, input, sizeof(input));
    if (got <= TYPE_AT) {
        close(fd);
        return;
    }
    struct mu_reader r = mu_reader_of(input, (size_t)got);
    mu_read_bytes(&r, input[0] == CTL_FIRST_BYTE ? CTL_PREFACE_LEN : 0);
    while (mu_reader_left(&r) > TYPE_AT) {
        const uint8_t *frame = r.pos;
        size_t len = mu_read_u32(&r);
        mu_read_bytes(&r, len);
        hear_message(fd, frame, TYPE_AT + len);
    }
}

int main(int argc, char **argv)
{
    agents = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (agents == 0) {
        fprintf(stderr, "usage: bare_meet AGENTS\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    fds = mu_calloc(agents, sizeof(*fds));
    make_messages();
    int epoll = epoll_create1(0);
    int listener = listen_on_loopback();
    require(epoll >= 0, "bare_meet: epoll");
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
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    watch(epoll, fd);
                }
            } else {
                hear(fd);
            }
        }
    }
}
