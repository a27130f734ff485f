/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/store_loop.h"

#include "bench/store_peer.h"
#include "muster/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    EVENTS = 512,
    INPUT = 64 * 1024,
    AHEAD = 400, /* connections opened before the answers of earlier ones: less than any backlog */
    STORM_ADDRESSES = 64 * 8192, /* connection numbers; see peer_connect() */
};

enum waiting_for { HELLO, ANSWER, SUM, RELEASE };

struct conn {
    int fd;
    enum waiting_for waiting_for;
    size_t missing; /* bytes of the answer; 0: it is one line */
    uint64_t turn;
    int64_t asked_ns;
    struct mu_buf request; /* owned */
    size_t answer;         /* as `missing`, of each of SHAPES_ONE */
};

struct loop {
    pthread_t thread;
    struct loops *all; /* borrowed */
    enum shapes_step step;
    unsigned first; /* number of its first connection */
    unsigned count;
    unsigned opened;
    struct conn *conns; /* owned */
    int epoll;
    uint64_t operations;
    struct stats_latencies latencies;
    char input[INPUT];
};

struct loops {
    struct loop_config config;
    atomic_int phase;
    atomic_uint opened;
    atomic_uint turns;
    struct loop *loops;  /* owned */
    uint64_t first_turn; /* keys of turns are new ones, whatever ran against this server before */
};

static enum loop_phase phase_of(const struct loop *l)
{
    return (enum loop_phase)atomic_load_explicit(&l->all->phase, memory_order_relaxed);
}

/* ---- one connection ---- */

/* The request that comes first in an operation. */
static void ask(const struct loop *l, struct conn *c)
{
    c->asked_ns = stats_now_ns();
    c->waiting_for = ANSWER;
    c->missing = c->answer;
    if (l->step == SHAPES_BARRIER) {
        c->request.len = 0;
        shapes_barrier(c->turn++, l->all->config.connections, &c->request);
        c->missing = 1;
    } else if (l->step == SHAPES_MEET) {
        c->request.len = 0;
        shapes_meet_add(c->turn++, &c->request);
        c->waiting_for = SUM;
        c->missing = sizeof(uint64_t);
    }
    peer_send(c->fd, &c->request);
}

/* The sum of ADD has come: the last to come tells the others. */
static void on_sum(const struct loop *l, struct conn *c)
{
    uint64_t turn = c->turn - 1;
    struct mu_reader r = mu_reader_of(l->input, sizeof(uint64_t));
    c->request.len = 0;
    if (mu_read_u64(&r) == l->all->config.connections) {
        shapes_meet_set(turn, &c->request);
    }
    shapes_meet_wait(turn, &c->request);
    c->waiting_for = RELEASE;
    c->missing = 1;
    peer_send(c->fd, &c->request);
}

static void measure(struct loop *l, const struct conn *c)
{
    if (phase_of(l) == LOOP_MEASURING) {
        l->operations++;
        stats_add(&l->latencies, stats_now_ns() - c->asked_ns);
    }
}

static void on_answered(struct loop *l, struct conn *c)
{
    switch (c->waiting_for) {
    case HELLO:
        l->opened++;
        atomic_fetch_add(&l->all->opened, 1);
        if (l->step == SHAPES_CONNECT) {
            measure(l, c);
        }
        return;
    case SUM:
        on_sum(l, c);
        return;
    case ANSWER:
    case RELEASE:
        measure(l, c);
        if (c == l->all->loops->conns) {
            atomic_fetch_add_explicit(&l->all->turns, 1, memory_order_relaxed);
        }
        ask(l, c);
        return;
    }
}

static void on_readable(struct loop *l, struct conn *c)
{
    ssize_t n = recv(c->fd, l->input, sizeof(l->input), MSG_DONTWAIT);
    if (n == 0) {
        errno = ECONNRESET;
    }
    if (n <= 0) {
        peer_fail("receive");
    }
    if (c->missing == 0) {
        if (l->input[n - 1] == '\n') {
            on_answered(l, c);
        }
        return;
    }
    /* An answer of eight bytes that comes in pieces would break on_sum(); none ever does. */
    if ((size_t)n > c->missing || (c->waiting_for == SUM && (size_t)n < c->missing)) {
        fprintf(stderr, "store bench: %zd bytes where %zu were expected\n", n, c->missing);
        exit(1);
    }
    c->missing -= (size_t)n;
    if (c->missing == 0) {
        on_answered(l, c);
    }
}

static void turn(struct loop *l, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        on_readable(l, events[i].data.ptr);
    }
}

/* ---- a thread ---- */

static void open_one(struct loop *l, struct conn *c, unsigned number, const struct mu_buf *hello,
                     size_t answer)
{
    c->asked_ns = stats_now_ns();
    c->fd = peer_connect(l->all->config.port, number);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        peer_fail("epoll_ctl");
    }
    c->waiting_for = HELLO;
    c->missing = answer;
    peer_send(c->fd, hello);
}

/* Opens all connections, numbered from `number` on, and waits until each has had an answer. */
static void open_all(struct loop *l, unsigned number)
{
    struct mu_buf hello = {0};
    size_t answer = shapes_hello(l->all->config.server, &hello);
    unsigned ahead = AHEAD / l->all->config.threads + 1;
    l->opened = 0;
    for (unsigned i = 0; i < l->count; i++) {
        open_one(l, &l->conns[i], number + i, &hello, answer);
        while (i >= l->opened + ahead) {
            turn(l, 1);
        }
    }
    while (l->opened < l->count) {
        turn(l, 1);
    }
    mu_buf_fini(&hello);
}

static void close_all(struct loop *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        close(l->conns[i].fd);
    }
}

/* SHAPES_CONNECT: one round of connections after the other. */
static void storm(struct loop *l)
{
    /* Not the addresses of the run before, whose ports may still be taken. */
    unsigned serial = (unsigned)getpid() * 8192U + l->first;
    while (phase_of(l) != LOOP_OVER) {
        open_all(l, serial % STORM_ADDRESSES);
        close_all(l);
        serial += l->all->config.connections;
    }
}

static void *load(void *arg)
{
    struct loop *l = arg;
    const struct loop_config *config = &l->all->config;
    if (l->step == SHAPES_CONNECT) {
        storm(l);
        return NULL;
    }
    open_all(l, l->first);
    for (unsigned i = 0; i < l->count; i++) {
        struct conn *c = &l->conns[i];
        c->turn = l->all->first_turn;
        if (l->step == SHAPES_ONE) {
            c->answer = shapes_request(config->shape, config->server, l->first + i, &c->request);
        }
    }
    while (phase_of(l) == LOOP_OPENING) {
        turn(l, 1);
    }
    for (unsigned i = 0; i < l->count; i++) {
        ask(l, &l->conns[i]);
    }
    while (phase_of(l) != LOOP_OVER) {
        turn(l, 10);
    }
    close_all(l);
    return NULL;
}

/* ---- all of them ---- */

struct loops *loops_start(const struct loop_config *config)
{
    struct loops *all = mu_alloc(sizeof(*all));
    all->config = *config;
    all->first_turn = (uint64_t)getpid() * 1000000;
    all->loops = mu_calloc(config->threads, sizeof(struct loop));
    for (unsigned i = 0; i < config->threads; i++) {
        struct loop *l = &all->loops[i];
        l->all = all;
        l->step = shapes_step(config->shape, config->server);
        l->first = config->connections * i / config->threads;
        l->count = config->connections * (i + 1) / config->threads - l->first;
        l->conns = mu_calloc(l->count, sizeof(struct conn));
        l->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (l->epoll < 0 || (errno = pthread_create(&l->thread, NULL, load, l)) != 0) {
            peer_fail("start a thread");
        }
    }
    return all;
}

unsigned loops_count_opened(const struct loops *l)
{
    return atomic_load(&l->opened);
}

unsigned loops_count_turns(const struct loops *l)
{
    return atomic_load_explicit(&l->turns, memory_order_relaxed);
}

void loops_enter(struct loops *l, enum loop_phase phase)
{
    atomic_store(&l->phase, (int)phase);
}

uint64_t loops_finish(struct loops *l, struct stats_latencies *ret_latencies)
{
    uint64_t operations = 0;
    for (unsigned i = 0; i < l->config.threads; i++) {
        struct loop *one = &l->loops[i];
        pthread_join(one->thread, NULL);
        operations += one->operations;
        stats_merge(ret_latencies, &one->latencies);
        for (unsigned k = 0; k < one->count; k++) {
            mu_buf_fini(&one->conns[k].request);
        }
        close(one->epoll);
        free(one->conns);
    }
    free(l->loops);
    free(l);
    return operations;
}
