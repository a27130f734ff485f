/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests of its client: the engine, which a thread of this process serves over loopback;
 * or a server that misbehaves in one manner.
 */
#pragma once

#include "muster/mem.h"
#include "muster/store_client.h"
#include "rendezvous/store.h"
#include "tests/store_replies.h"

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

enum { MAX_PEERS = 8, TIMEOUT_MS = 20000 };

/* What the server does instead of serving. */
enum manner {
    MANNER_SERVE,
    MANNER_CLOSE,       /* closes each connection at once */
    MANNER_WRONG_NONCE, /* answers PING with something else */
    MANNER_RACE,        /* answers CANCEL_WAIT as if the key had just been set */
    MANNER_SILENT,      /* answers nothing after the handshake */
};

struct server {
    enum manner manner;
    int listener;
    uint16_t port;
    int stop[2]; /* pipe: readable or closed ends the thread */
    pthread_t thread;
    struct store *store;
    struct store_client clients[MAX_PEERS];
    int fds[MAX_PEERS]; /* -1: free */
};

static inline void drop_peer(struct server *s, size_t i)
{
    close(s->fds[i]);
    s->fds[i] = -1;
    store_client_fini(&s->clients[i]);
}

static inline void accept_peer(struct server *s)
{
    int fd = accept(s->listener, NULL, NULL);
    size_t i = 0;
    while (i < MAX_PEERS && s->fds[i] >= 0) {
        i++;
    }
    assert_true(fd >= 0);
    if (i == MAX_PEERS || s->manner == MANNER_CLOSE) {
        close(fd);
        return;
    }
    s->fds[i] = fd;
    store_client_init(&s->clients[i], s->store);
}

/* In a manner: the handshake's 10 bytes, then what comes. */
static inline void misbehave(const struct server *s, int fd, const uint8_t *data, size_t len)
{
    uint8_t reply[4] = {0};
    if (len >= 10 && data[0] == 0) {
        memcpy(reply, data + 6, sizeof(reply));
        reply[0] ^= s->manner == MANNER_WRONG_NONCE;
        assert_int_equal(send(fd, reply, sizeof(reply), MSG_NOSIGNAL), sizeof(reply));
    } else if (s->manner == MANNER_RACE && data[len - 1] == C10D_CANCEL_WAIT) {
        const uint8_t both[2] = {C10D_WAIT_DONE, C10D_WAIT_CANCELED};
        assert_int_equal(send(fd, both, 1, MSG_NOSIGNAL), 1); /* in two pieces */
        assert_int_equal(send(fd, both + 1, 1, MSG_NOSIGNAL), 1);
    }
}

static inline void read_peer(struct server *s, size_t i)
{
    uint8_t data[4096];
    ssize_t n = recv(s->fds[i], data, sizeof(data), 0);
    if (n <= 0) {
        drop_peer(s, i);
        return;
    }
    if (s->manner != MANNER_SERVE) {
        misbehave(s, s->fds[i], data, (size_t)n);
        return;
    }
    if (store_client_feed(&s->clients[i], data, (size_t)n, NULL) != 0) {
        drop_peer(s, i);
    }
    const struct store_client *ready;
    while ((ready = store_take_ready(s->store)) != NULL) {
        size_t k = (size_t)(ready - s->clients);
        struct mu_buf out = store_replies(&s->clients[k]);
        for (size_t at = 0; at < out.len;) {
            ssize_t sent = send(s->fds[k], out.data + at, out.len - at, MSG_NOSIGNAL);
            at += sent > 0 ? (size_t)sent : out.len;
        }
        mu_buf_fini(&out);
    }
}

static inline void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        struct pollfd p[2 + MAX_PEERS] = {{.fd = s->stop[0], .events = POLLIN},
                                          {.fd = s->listener, .events = POLLIN}};
        for (size_t i = 0; i < MAX_PEERS; i++) {
            p[2 + i] = (struct pollfd){.fd = s->fds[i], .events = POLLIN};
        }
        poll(p, MU_COUNT(p), -1);
        if (p[0].revents != 0) {
            return NULL;
        }
        for (size_t i = 0; i < MAX_PEERS; i++) {
            if (p[2 + i].revents != 0) {
                read_peer(s, i);
            }
        }
        if (p[1].revents != 0) {
            accept_peer(s);
        }
    }
}

static inline struct server *server_start(enum manner manner)
{
    struct server *s = mu_alloc(sizeof(*s));
    s->manner = manner;
    s->store = store_new(0);
    for (size_t i = 0; i < MAX_PEERS; i++) {
        s->fds[i] = -1;
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &size), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

static inline void server_stop(struct server *s)
{
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < MAX_PEERS; i++) {
        if (s->fds[i] >= 0) {
            drop_peer(s, i);
        }
    }
    close(s->stop[0]);
    close(s->listener);
    store_free(s->store);
    free(s);
}

static inline struct store_conn *open_to(const struct server *s, const char *prefix)
{
    struct mu_err err = MU_ERR_INIT;
    struct store_conn *c = store_conn_open("127.0.0.1", s->port, prefix, TIMEOUT_MS, &err);
    if (c == NULL) {
        fail_msg("%s", err.text);
    }
    return c;
}
