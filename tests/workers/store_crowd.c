/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crowd of store clients that wait for one key, and one among them that does not read.
 *
 *     store_crowd PORT PID COUNT
 *
 * PID is the server. Opens COUNT connections that each WAIT for "/go", one that asks for 64 MB and
 * reads nothing, and one that sets the key; then every waiter must have its answer. Prints a JSON
 * object: what a connection costs the server in memory, and how long things took. Exit status 0 if
 * all were released.
 *
 * Source addresses are 127.0.0.1, .2, ...: 5,000 connections each, for finding one of few free
 * ports takes the kernel long.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    PER_ADDRESS = 5000,
    VALUE = 1 << 20,
    GETS = 64, /* of such a value, by who does not read */
    EVENTS = 512,
    BATCH = 1000,
    TIMEOUT_MS = 60000,
};

static const uint8_t hello[] = "\x00\xce\xf7\x85\x3c\x0d\x01\x02\x03\x04"; /* VALIDATE, PING */
static const uint8_t wait_go[] = "\x06\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0/go";
static const uint8_t set_go[] = "\x01\x03\0\0\0\0\0\0\0/go\x01\0\0\0\0\0\0\0x";
static const uint8_t get_big[] = "\x03\x04\0\0\0\0\0\0\0/big";
static const uint8_t set_big[] =
    "\x01\x04\0\0\0\0\0\0\0/big\0\0\x10\0\0\0\0\0"; /* and VALUE bytes */

static void fail(const char *what)
{
    fprintf(stderr, "store_crowd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Resident memory of the server, in bytes. */
static double server_memory(const char *pid)
{
    char path[64];
    char line[256];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%s/status", pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kb = strtol(line + 6, NULL, 10);
        }
    }
    if (f == NULL || kb == 0) {
        fail(path);
    }
    fclose(f);
    return (double)kb * 1024;
}

static void say(int fd, const void *data, size_t len)
{
    const char *pos = data;
    while (len > 0) {
        ssize_t n = send(fd, pos, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            fail("send");
        }
        pos += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void hear(int fd, size_t len)
{
    char bytes[16];
    if (recv(fd, bytes, len, MSG_WAITALL) != (ssize_t)len) {
        fail("receive");
    }
}

static int connect_to(uint16_t port, unsigned number)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / PER_ADDRESS)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        fail("connect");
    }
    say(fd, hello, sizeof(hello) - 1);
    return fd;
}

/*
 * Every client waits, and has been greeted. In batches: one by one both processes would wait for
 * each other, and more at once than the kernel's queue of new connections holds would be sent away.
 */
static int gather(uint16_t port, unsigned count, int *fds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned first = 0; first < count; first += BATCH) {
        unsigned end = first + BATCH < count ? first + BATCH : count;
        for (unsigned i = first; i < end; i++) {
            fds[i] = connect_to(port, i);
            say(fds[i], wait_go, sizeof(wait_go) - 1);
        }
        for (unsigned i = first; i < end; i++) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fds[i]};
            hear(fds[i], sizeof(uint32_t));
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0) {
                fail("epoll_ctl");
            }
        }
    }
    return epoll;
}

static unsigned count_released(int epoll, unsigned count)
{
    unsigned released = 0;
    while (released < count) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, TIMEOUT_MS);
        if (n <= 0) {
            break;
        }
        for (int i = 0; i < n; i++) {
            char answer = 1;
            released += recv(events[i].data.fd, &answer, 1, 0) == 1 && answer == 0;
        }
    }
    return released;
}

/* Asks for more than its socket takes, and does not read. */
static int get_stuck(uint16_t port)
{
    static char value[VALUE];
    int fd = connect_to(port, 0);
    say(fd, set_big, sizeof(set_big) - 1);
    say(fd, value, sizeof(value));
    for (int i = 0; i < GETS; i++) {
        say(fd, get_big, sizeof(get_big) - 1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    unsigned count = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    if (count == 0) {
        fprintf(stderr, "usage: store_crowd PORT PID COUNT\n");
        return 2;
    }
    uint16_t port = (uint16_t)strtoul(argv[1], NULL, 10);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int *fds = calloc(count, sizeof(*fds));
    if (fds == NULL) {
        fail("allocate");
    }
    double memory = server_memory(argv[2]);
    double begun = now_s();
    int epoll = gather(port, count, fds);
    int setter = connect_to(port, 0);
    hear(setter, sizeof(uint32_t)); /* in one loop, after all of theirs */
    double opened = now_s();
    double each = (server_memory(argv[2]) - memory) / count;
    int stuck = get_stuck(port);
    double set = now_s();
    say(setter, set_go, sizeof(set_go) - 1);
    unsigned released = count_released(epoll, count);
    double done = now_s();
    close(stuck);
    free(fds);
    printf("{\"count\": %u, \"bytes_each\": %.0f, \"open_s\": %.3f, \"released\": %u, "
           "\"release_s\": %.3f}\n",
           count, each, opened - begun, released, done - set);
    return released == count ? 0 : 1;
}
