/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_probe.h"

#include "muster/addr.h"
#include "muster/buf.h"
#include "muster/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAME = 16,
    TRIPS = 5,
    MAX_TRIPS = 20, /* while the best one is slow: a busy machine is no slow network */
    SLOW_US = 2000,
    LONG_ENOUGH_US = 1000 * 1000, /* for all of them */
    MAX_DIALS = 16,               /* at a time: more would measure each other */
    MAX_CALLERS = 512,
    PATIENCE_US = 3 * 1000 * 1000, /* one lost SYN is sent again after one second */
    KNOCK_PATIENCE_US = 1500 * 1000,
    BACKLOG = 1024,
};
static const uint32_t magic = 0x6b68636d; /* "mchk" */

struct dial {
    struct sockaddr_storage addr;
    uint64_t key;
    enum check_probe_kind kind;
    struct check_link *link; /* borrowed */
    int fd;                  /* owned; -1: not begun, or over */
    bool is_connected;
    int64_t deadline_us;
    int64_t began_us; /* the round trips */
    int64_t sent_us;
    int64_t sent_wall_us;
    uint32_t trips;
    uint32_t rtt_us[MAX_TRIPS];
    uint8_t partial[FRAME];
    size_t have;
};

struct caller {
    int fd; /* owned; -1: a free place */
    uint32_t served;
    uint8_t partial[FRAME];
    size_t have;
};

struct check_probe {
    uint64_t key;
    int listener; /* owned */
    uint16_t port;
    struct dial *dials; /* owned */
    size_t dial_count;
    size_t next_dial; /* those before it have begun */
    size_t over_count;
    struct caller callers[MAX_CALLERS];
    size_t caller_count; /* places that were ever used */
};

int64_t check_probe_now_us(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- life ---- */

static int listen_on(int family, uint16_t *ret_port)
{
    struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
    socklen_t len = mu_addr_len((const struct sockaddr *)&any);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int no = 0;
    if (fd >= 0 &&
        (family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) == 0) &&
        bind(fd, (const struct sockaddr *)&any, len) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&any, &len) == 0) {
        *ret_port = mu_addr_port((const struct sockaddr *)&any);
        return fd;
    }
    int why = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = why;
    return -1;
}

struct check_probe *check_probe_open(uint64_t key, struct mu_err *err)
{
    struct check_probe *p = mu_alloc(sizeof(*p));
    p->key = key;
    p->listener = listen_on(AF_INET6, &p->port);
    if (p->listener < 0) { /* a kernel without IPv6 */
        p->listener = listen_on(AF_INET, &p->port);
    }
    if (p->listener < 0) {
        mu_err_set(err, MU_E_SYSTEM, errno, "listen on a free port");
        free(p);
        return NULL;
    }
    return p;
}

uint16_t check_probe_port(const struct check_probe *p)
{
    return p->port;
}

static void drop(int *fd)
{
    close(*fd);
    *fd = -1;
}

void check_probe_close(struct check_probe *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->caller_count; i++) {
        if (p->callers[i].fd >= 0) {
            drop(&p->callers[i].fd);
        }
    }
    for (size_t i = 0; i < p->dial_count; i++) {
        if (p->dials[i].fd >= 0) {
            drop(&p->dials[i].fd);
        }
    }
    close(p->listener);
    free(p->dials);
    free(p);
}

void check_probe_dial(struct check_probe *p, enum check_probe_kind kind,
                      const struct sockaddr_storage *addr, uint64_t key,
                      struct check_link *ret_link)
{
    p->dials = mu_realloc(p->dials, (p->dial_count + 1) * sizeof(*p->dials));
    p->dials[p->dial_count++] =
        (struct dial){.addr = *addr, .key = key, .kind = kind, .link = ret_link, .fd = -1};
    *ret_link = (struct check_link){.state = CHECK_LINK_UNTRIED};
}

static void hurry(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* ---- what both sides read: one frame ---- */

enum got { GOT_NOTHING, GOT_FRAME, GOT_END };

static enum got read_frame(int fd, uint8_t partial[FRAME], size_t *have)
{
    ssize_t n = recv(fd, partial + *have, FRAME - *have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return GOT_NOTHING;
    }
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        return GOT_END;
    }
    *have += (size_t)n;
    if (*have < FRAME) {
        return GOT_NOTHING;
    }
    *have = 0;
    return GOT_FRAME;
}

/* A frame always fits into an empty send buffer; who leaves ours unread is none of us. */
static bool write_frame(int fd, uint32_t number, uint64_t word)
{
    struct mu_buf out = {0};
    mu_buf_append_u32(&out, magic);
    mu_buf_append_u32(&out, number);
    mu_buf_append_u64(&out, word);
    bool is_sent = send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
    mu_buf_fini(&out);
    return is_sent;
}

/* ---- answering ---- */

static void take_callers(struct check_probe *p)
{
    int fd;
    while ((fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        size_t i = 0;
        while (i < p->caller_count && p->callers[i].fd >= 0) {
            i++;
        }
        if (i == MAX_CALLERS) {
            close(fd);
            continue;
        }
        p->caller_count += i == p->caller_count ? 1 : 0;
        p->callers[i] = (struct caller){.fd = fd};
        hurry(fd);
    }
}

static void answer(struct check_probe *p, struct caller *c)
{
    enum got got = read_frame(c->fd, c->partial, &c->have);
    if (got == GOT_NOTHING) {
        return;
    }
    struct mu_reader r = mu_reader_of(c->partial, FRAME);
    bool is_ours = got == GOT_FRAME && mu_read_u32(&r) == magic;
    uint32_t number = mu_read_u32(&r);
    if (!is_ours || mu_read_u64(&r) != p->key || ++c->served > MAX_TRIPS ||
        !write_frame(c->fd, number, (uint64_t)check_probe_now_us(CLOCK_REALTIME))) {
        drop(&c->fd);
    }
}

/* ---- dialing ---- */

static enum check_link_state state_of(int why)
{
    switch (why) {
    case ECONNREFUSED:
        return CHECK_LINK_REFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return CHECK_LINK_NO_ROUTE;
    case ETIMEDOUT:
        return CHECK_LINK_SILENT;
    default:
        return CHECK_LINK_RESET;
    }
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void end_dial(struct check_probe *p, struct dial *d, enum check_link_state state)
{
    if (d->fd >= 0) {
        drop(&d->fd);
    }
    p->over_count++;
    d->link->state = state;
    if (d->trips > 0) { /* what was lost after the first is no other finding */
        d->link->state = CHECK_LINK_OK;
        qsort(d->rtt_us, d->trips, sizeof(d->rtt_us[0]), compare_u32);
        d->link->rtt_us = d->rtt_us[0];
        d->link->rtt_median_us = d->rtt_us[d->trips / 2];
    }
}

static void ask(struct check_probe *p, struct dial *d)
{
    d->deadline_us = check_probe_now_us(CLOCK_MONOTONIC) + PATIENCE_US;
    d->sent_wall_us = check_probe_now_us(CLOCK_REALTIME);
    d->sent_us = check_probe_now_us(CLOCK_MONOTONIC);
    if (!write_frame(d->fd, d->trips, d->key)) {
        end_dial(p, d, CHECK_LINK_RESET);
    }
}

static void begin(struct check_probe *p, struct dial *d)
{
    const struct sockaddr *sa = (const struct sockaddr *)&d->addr;
    d->deadline_us = check_probe_now_us(CLOCK_MONOTONIC) +
                     (d->kind == CHECK_PROBE_KNOCK ? KNOCK_PATIENCE_US : PATIENCE_US);
    d->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0) {
        end_dial(p, d, CHECK_LINK_UNTRIED);
        return;
    }
    hurry(d->fd);
    if (connect(d->fd, sa, mu_addr_len(sa)) != 0 && errno != EINPROGRESS) {
        end_dial(p, d, state_of(errno));
    }
}

static void finish_connect(struct check_probe *p, struct dial *d)
{
    int why = 0;
    socklen_t len = sizeof(why);
    getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &why, &len);
    if (why != 0) {
        end_dial(p, d, state_of(why));
    } else if (d->kind == CHECK_PROBE_KNOCK) {
        end_dial(p, d, CHECK_LINK_OK);
    } else {
        d->is_connected = true;
        d->began_us = check_probe_now_us(CLOCK_MONOTONIC);
        ask(p, d);
    }
}

static void take_answer(struct check_probe *p, struct dial *d)
{
    int64_t now_us = check_probe_now_us(CLOCK_MONOTONIC);
    int64_t wall_us = check_probe_now_us(CLOCK_REALTIME);
    enum got got = read_frame(d->fd, d->partial, &d->have);
    if (got == GOT_NOTHING) {
        return;
    }
    struct mu_reader r = mu_reader_of(d->partial, FRAME);
    if (got == GOT_END || mu_read_u32(&r) != magic || mu_read_u32(&r) != d->trips) {
        end_dial(p, d, CHECK_LINK_RESET);
        return;
    }
    int64_t there_us = (int64_t)(mu_read_u64(&r) & INT64_MAX);
    uint32_t rtt_us = (uint32_t)(now_us - d->sent_us);
    uint32_t best_us = UINT32_MAX;
    for (uint32_t i = 0; i < d->trips; i++) {
        best_us = d->rtt_us[i] < best_us ? d->rtt_us[i] : best_us;
    }
    if (rtt_us < best_us) { /* the fastest says most about the clock */
        best_us = rtt_us;
        int64_t here_us = d->sent_wall_us + (wall_us - d->sent_wall_us) / 2;
        d->link->clock_us = there_us - here_us;
    }
    d->rtt_us[d->trips++] = rtt_us;
    bool is_enough = d->trips >= TRIPS && (best_us < SLOW_US || d->trips == MAX_TRIPS);
    if (is_enough || now_us - d->began_us > LONG_ENOUGH_US) {
        end_dial(p, d, CHECK_LINK_OK);
    } else {
        ask(p, d);
    }
}

/* ---- the loop ---- */

struct round {
    struct pollfd fds[2 + MAX_DIALS + MAX_CALLERS];
    struct dial *dials[MAX_DIALS]; /* of fds[2], ... */
    size_t dial_count;
    struct caller *callers[MAX_CALLERS]; /* of those behind */
    size_t caller_count;
    int64_t wake_us;
};

static void gather(struct check_probe *p, int fd, int64_t until_us, struct round *r)
{
    r->fds[0] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    r->fds[1] = (struct pollfd){.fd = p->over_count == p->dial_count ? fd : -1, .events = POLLIN};
    r->dial_count = 0;
    r->caller_count = 0;
    r->wake_us = until_us;
    for (size_t i = 0; i < p->next_dial; i++) {
        struct dial *d = &p->dials[i];
        if (d->fd >= 0) {
            r->fds[2 + r->dial_count] =
                (struct pollfd){.fd = d->fd, .events = d->is_connected ? POLLIN : POLLOUT};
            r->dials[r->dial_count++] = d;
            r->wake_us = d->deadline_us < r->wake_us ? d->deadline_us : r->wake_us;
        }
    }
    for (size_t i = 0; i < p->caller_count; i++) {
        if (p->callers[i].fd >= 0) {
            r->fds[2 + r->dial_count + r->caller_count] =
                (struct pollfd){.fd = p->callers[i].fd, .events = POLLIN};
            r->callers[r->caller_count++] = &p->callers[i];
        }
    }
}

static void begin_some(struct check_probe *p)
{
    size_t under_way = p->next_dial - p->over_count;
    while (p->next_dial < p->dial_count && under_way < MAX_DIALS) {
        begin(p, &p->dials[p->next_dial++]);
        under_way = p->next_dial - p->over_count;
    }
}

static void serve_dials(struct check_probe *p, struct round *r)
{
    int64_t now_us = check_probe_now_us(CLOCK_MONOTONIC);
    for (size_t i = 0; i < r->dial_count; i++) {
        struct dial *d = r->dials[i];
        if (r->fds[2 + i].revents == 0) {
            if (now_us >= d->deadline_us) {
                end_dial(p, d, CHECK_LINK_SILENT);
            }
        } else if (d->is_connected) {
            take_answer(p, d);
        } else {
            finish_connect(p, d);
        }
    }
}

bool check_probe_run(struct check_probe *p, int fd, int64_t until_us)
{
    struct round *r = mu_alloc(sizeof(*r));
    bool is_done = false;
    for (;;) {
        begin_some(p);
        int64_t left_us = until_us - check_probe_now_us(CLOCK_MONOTONIC);
        is_done = p->over_count == p->dial_count && fd < 0;
        if (is_done || left_us <= 0) {
            break;
        }
        gather(p, fd, until_us, r);
        int64_t wait_us = r->wake_us - check_probe_now_us(CLOCK_MONOTONIC);
        nfds_t count = 2 + r->dial_count + r->caller_count;
        int rc = poll(r->fds, count, wait_us > 0 ? (int)(wait_us / 1000) + 1 : 0);
        if (rc < 0) {
            continue; /* a signal that did not end this process */
        }
        serve_dials(p, r);
        for (size_t i = 0; i < r->caller_count; i++) {
            if (r->fds[2 + r->dial_count + i].revents != 0) {
                answer(p, r->callers[i]);
            }
        }
        if (r->fds[0].revents != 0) {
            take_callers(p);
        }
        if (r->fds[1].revents != 0) {
            is_done = true;
            break;
        }
    }
    free(r);
    return is_done;
}
