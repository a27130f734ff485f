/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that are kept: for the memory that each takes, and for the time of a release.
 *
 *     store_hold --connections N --port P --pid PID [--server c10d|redis|bare] [--wait]
 *
 * Opens N connections; each has had two operations answered (hello, ADD). Prints a line of JSON
 * and waits for a line of standard input. With --wait, each then waits for one key (redis:
 * subscribes to a channel), which the server has confirmed when the second line of JSON comes;
 * after the second line of input one more connection sets the key, and the third line of JSON says
 * how long it took until all had their answer, and what CPU time of the server PID.
 */
#include "bench/store_peer.h"
#include "bench/store_shapes.h"
#include "bench/store_stats.h"
#include "muster/mem.h"

#include <errno.h>
#include <getopt.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 512 };

static struct {
    enum shapes_server server;
    uint16_t port;
    pid_t pid;
    unsigned connections;
    bool is_waiting;
} config;

static void parse(int argc, char **argv)
{
    static const struct option options[] = {{"server", 1, NULL, 's'}, {"port", 1, NULL, 'p'},
                                            {"pid", 1, NULL, 'i'},    {"connections", 1, NULL, 'c'},
                                            {"wait", 0, NULL, 'w'},   {0}};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's') {
            config.server = strcmp(optarg, "redis") == 0  ? SHAPES_REDIS
                            : strcmp(optarg, "bare") == 0 ? SHAPES_BARE
                                                          : SHAPES_C10D;
        } else if (opt == 'p') {
            config.port = (uint16_t)strtoul(optarg, NULL, 10);
        } else if (opt == 'i') {
            config.pid = (pid_t)strtol(optarg, NULL, 10);
        } else if (opt == 'c') {
            config.connections = (unsigned)strtoul(optarg, NULL, 10);
        } else if (opt == 'w') {
            config.is_waiting = true;
        }
    }
    if (config.port == 0 || config.pid == 0 || config.connections == 0) {
        fprintf(stderr, "store_hold: see the head of bench/store_hold.c\n");
        exit(2);
    }
}

/* Ends the program if whoever reads this does not want to go on. */
static void wait_for_line(void)
{
    int c;
    fflush(stdout);
    while ((c = getchar()) != '\n') {
        if (c == EOF) {
            exit(0);
        }
    }
}

static int open_one(unsigned number)
{
    struct mu_buf request = {0};
    int fd = peer_connect(config.port, number);
    size_t answer = shapes_hello(config.server, &request);
    peer_send(fd, &request);
    peer_receive(fd, answer);
    request.len = 0;
    answer = shapes_hold_add(config.server, &request);
    peer_send(fd, &request);
    peer_receive(fd, answer);
    mu_buf_fini(&request);
    return fd;
}

/* Until each connection has its answer. */
static void receive_all(int epoll, size_t answer, size_t *missing)
{
    for (unsigned i = 0; i < config.connections; i++) {
        missing[i] = answer;
    }
    for (unsigned left = config.connections; left > 0;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            char input[512];
            unsigned number = (unsigned)(events[i].data.u64 >> 32);
            ssize_t got = recv((int)(uint32_t)events[i].data.u64, input, sizeof(input), 0);
            if (got <= 0 || (size_t)got > missing[number]) {
                peer_fail("receive a release");
            }
            missing[number] -= (size_t)got;
            left -= missing[number] == 0;
        }
    }
}

static void release(const int *fds)
{
    mu_autofree size_t *missing = mu_calloc(config.connections, sizeof(*missing));
    struct mu_buf set = {0};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < config.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN,
                                    .data.u64 = (uint64_t)i << 32 | (uint32_t)fds[i]};
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0) {
            peer_fail("epoll_ctl");
        }
    }
    int setter = open_one(config.connections);
    size_t answer = shapes_hold_release(config.server, &set);
    int64_t cpu = stats_cpu_ns(config.pid);
    int64_t begun = stats_now_ns();
    peer_send(setter, &set);
    receive_all(epoll, answer, missing);
    int64_t end = stats_now_ns();
    printf("{\"release_s\": %.6f, \"release_cpu_s\": %.6f}\n", (double)(end - begun) / 1e9,
           (double)(stats_cpu_ns(config.pid) - cpu) / 1e9);
    mu_buf_fini(&set);
    close(setter);
    close(epoll);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    peer_raise_file_limit();
    mu_autofree int *fds = mu_calloc(config.connections, sizeof(*fds));
    int64_t begun = stats_now_ns();
    for (unsigned i = 0; i < config.connections; i++) {
        fds[i] = open_one(i);
    }
    printf("{\"open_s\": %.6f}\n", (double)(stats_now_ns() - begun) / 1e9);
    wait_for_line();
    if (!config.is_waiting) {
        return 0;
    }
    struct mu_buf wait = {0};
    size_t answer = shapes_hold_wait(config.server, &wait);
    for (unsigned i = 0; i < config.connections; i++) {
        peer_send(fds[i], &wait);
        peer_receive(fds[i], answer);
    }
    mu_buf_fini(&wait);
    printf("{\"waiting\": %u}\n", config.connections);
    wait_for_line();
    release(fds);
    return 0;
}
