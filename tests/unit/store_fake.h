/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that follows a script, in a thread of its own, for tests of the store's client: after
 * the handshake it reads one request for each step, which must be the one the step names, and does
 * what the step says. When the script is over, nothing more may come.
 *
 *     static const struct fake_step script[] = {{C10D_WAIT, FAKE_RAISE, ""},
 *                                               {C10D_CANCEL_WAIT, FAKE_REPLY, "01"}};
 *     struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script), .cancel = cancel});
 */
#pragma once

#include "muster/mem.h"
#include "muster/store_client.h"
#include "rendezvous/c10d_wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

enum fake_act {
    FAKE_REPLY, /* send the reply, in hex; it may be empty */
    FAKE_RAISE, /* raise the plan's cancel, then reply */
    FAKE_CLOSE, /* reply, then close */
    FAKE_STALL, /* read nothing, this request included, until the test is over */
};

struct fake_step {
    enum c10d_query query;
    enum fake_act act;
    const char *reply;
};

#define FAKE_SCRIPT(s) .steps = (s), .count = sizeof(s) / sizeof((s)[0])

struct fake_plan {
    const struct fake_step *steps;
    size_t count;
    struct store_cancel *cancel;
    const char *greeting;   /* in hex, in place of PING's answer; NULL: the answer */
    int turn_away;          /* so many connections are closed at once before */
    bool is_raised_by_ping; /* the cancel, when PING has come */
};

struct fake {
    struct fake_plan plan;
    int listener;
    uint16_t port;
    int stop[2]; /* pipe: readable or closed ends the thread */
    pthread_t thread;
    struct mu_buf in;
    char failure[128]; /* what came that was not in the script; cmocka knows one thread only */
};

static inline void fake_send(int fd, const char *hex)
{
    for (; hex[0] != '\0'; hex += 2) {
        const char digits[3] = {hex[0], hex[1], '\0'};
        uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) { /* byte by byte: pieces are the worst case */
            return;
        }
    }
}

/* False when the test is over, or the client has gone. */
static inline bool fake_wait(const struct fake *f, int fd)
{
    struct pollfd p[] = {{.fd = f->stop[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    poll(p, MU_COUNT(p), -1);
    return p[0].revents == 0;
}

/* The next whole request, taken off the input. */
static inline bool fake_read(struct fake *f, int fd, struct c10d_request *ret_request)
{
    struct c10d_scan scan = {0};
    size_t len;
    for (;;) {
        enum c10d_status status =
            f->in.len == 0 ? C10D_MORE
                           : c10d_decode(&scan, f->in.data, f->in.len, ret_request, &len, NULL);
        if (status == C10D_DONE) {
            mu_buf_consume(&f->in, len); /* only numbers of the request are used */
            return true;
        }
        ssize_t n = -1;
        if (status == C10D_MORE && fake_wait(f, fd)) {
            n = recv(fd, mu_buf_reserve(&f->in, 4096), 4096, 0);
        }
        if (n <= 0) {
            return false;
        }
        f->in.len += (size_t)n;
    }
}

static inline bool fake_greet(struct fake *f, int fd)
{
    struct c10d_request request;
    if (!fake_read(f, fd, &request) || request.query != C10D_VALIDATE ||
        !fake_read(f, fd, &request) || request.query != C10D_PING) {
        return false;
    }
    if (f->plan.is_raised_by_ping) {
        store_cancel_raise(f->plan.cancel);
    }
    if (f->plan.greeting != NULL) {
        fake_send(fd, f->plan.greeting);
        return true;
    }
    uint32_t nonce = (uint32_t)request.number;
    return send(fd, &nonce, sizeof(nonce), MSG_NOSIGNAL) == sizeof(nonce);
}

static inline void fake_follow_script(struct fake *f, int fd)
{
    struct c10d_request request;
    for (size_t i = 0; i < f->plan.count; i++) {
        const struct fake_step *step = &f->plan.steps[i];
        if (step->act == FAKE_STALL) {
            fake_wait(f, -1);
            return;
        }
        if (!fake_read(f, fd, &request) || request.query != step->query) {
            snprintf(f->failure, sizeof(f->failure), "step %zu (%s) did not come", i,
                     c10d_query_name(step->query));
            return;
        }
        if (step->act == FAKE_RAISE) {
            store_cancel_raise(f->plan.cancel);
        }
        fake_send(fd, step->reply);
        if (step->act == FAKE_CLOSE) {
            return;
        }
    }
    if (fake_read(f, fd, &request)) {
        snprintf(f->failure, sizeof(f->failure), "%s came after the script",
                 c10d_query_name(request.query));
    }
}

static inline void *fake_main(void *arg)
{
    struct fake *f = arg;
    while (fake_wait(f, f->listener)) {
        int fd = accept(f->listener, NULL, NULL);
        f->in.len = 0;
        if (f->plan.turn_away-- <= 0 && fake_greet(f, fd)) {
            fake_follow_script(f, fd);
        }
        close(fd);
    }
    return NULL;
}

static inline struct fake *fake_start(const struct fake_plan *plan)
{
    struct fake *f = mu_alloc(sizeof(*f));
    f->plan = *plan;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&a, &size), 0);
    f->port = ntohs(a.sin_port);
    assert_int_equal(pipe(f->stop), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
    return f;
}

/* Ends the server and fails if something else came than its script says. */
static inline void fake_stop(struct fake *f)
{
    char failure[sizeof(f->failure)];
    close(f->stop[1]);
    pthread_join(f->thread, NULL);
    memcpy(failure, f->failure, sizeof(failure));
    close(f->stop[0]);
    close(f->listener);
    mu_buf_fini(&f->in);
    free(f);
    assert_string_equal(failure, "");
}

static inline struct store_conn *fake_open(const struct fake *f, int64_t timeout_ms)
{
    struct mu_err err = MU_ERR_INIT;
    struct store_conn *c =
        store_conn_open_cancelable("127.0.0.1", f->port, NULL, timeout_ms, f->plan.cancel, &err);
    if (c == NULL) {
        fail_msg("%s", err.text);
    }
    return c;
}
