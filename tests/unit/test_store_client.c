/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client library against the store engine, which a thread of this process serves over loopback;
 * and against servers that misbehave.
 */
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

enum { MAX_PEERS = 8, TIMEOUT_MS = 20000, SHORT_MS = 30 };

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

static void drop_peer(struct server *s, size_t i)
{
    close(s->fds[i]);
    s->fds[i] = -1;
    store_client_fini(&s->clients[i]);
}

static void accept_peer(struct server *s)
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
static void misbehave(const struct server *s, int fd, const uint8_t *data, size_t len)
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

static void read_peer(struct server *s, size_t i)
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

static void *serve(void *arg)
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

static struct server *server_start(enum manner manner)
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

static void server_stop(struct server *s)
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

static struct store_conn *open_to(const struct server *s, const char *prefix)
{
    struct mu_err err = MU_ERR_INIT;
    struct store_conn *c = store_conn_open("127.0.0.1", s->port, prefix, TIMEOUT_MS, &err);
    if (c == NULL) {
        fail_msg("%s", err.text);
    }
    return c;
}

static void expect_buf(const struct mu_buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_memory_equal(b->data, text, b->len);
}

static void test_calls(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    int64_t n = 0;
    bool is_so = false;
    const char *const keys[] = {"k", "l"};
    const struct mu_slice values[] = {{"1", 1}, {"22", 2}};
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("value"), &err), 0);
    assert_int_equal(store_conn_get(c, "k", &v, &err), 0);
    expect_buf(&v, "value");
    assert_int_equal(store_conn_append(c, "k", mu_slice_of("s"), &err), 0);
    assert_int_equal(
        store_conn_compare_set(c, "k", mu_slice_of("values"), mu_slice_of("x"), &v, &err), 0);
    expect_buf(&v, "x");
    assert_int_equal(store_conn_compare_set(c, "k", mu_slice_of("?"), mu_slice_of("y"), &v, &err),
                     0);
    expect_buf(&v, "x");
    assert_int_equal(store_conn_add(c, "n", -5, &n, &err), 0);
    assert_int_equal(n, -5);
    assert_int_equal(store_conn_check(c, keys, 2, &is_so, &err), 0);
    assert_false(is_so);
    assert_int_equal(store_conn_multi_set(c, keys, values, 2, &err), 0);
    assert_int_equal(store_conn_check(c, keys, 2, &is_so, &err), 0);
    assert_true(is_so);
    assert_int_equal(store_conn_wait(c, keys, 2, -1, &err), 0);
    struct mu_buf got[2] = {{0}};
    assert_int_equal(store_conn_multi_get(c, keys, 2, got, &err), 0);
    expect_buf(&got[0], "1");
    expect_buf(&got[1], "22");
    assert_int_equal(store_conn_num_keys(c, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(store_conn_delete(c, "k", &is_so, &err), 0);
    assert_true(is_so);
    assert_int_equal(store_conn_delete(c, "k", &is_so, &err), 0);
    assert_false(is_so);
    assert_int_equal(store_conn_barrier(c, "b", 1, &err), 0);
    mu_buf_fini(&v);
    mu_buf_fini(&got[0]);
    mu_buf_fini(&got[1]);
    store_conn_close(c);
    server_stop(s);
}

static void test_queues(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, "p");
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    int64_t n = 0;
    assert_int_equal(store_conn_queue_pop(c, "q", false, &v, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_int_equal(store_conn_queue_push(c, "q", mu_slice_of("one"), &err), 0);
    assert_int_equal(store_conn_queue_push(c, "q", mu_slice_of("two"), &err), 0);
    assert_int_equal(store_conn_queue_len(c, "q", &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(store_conn_queue_pop(c, "q", true, &v, &err), 0);
    expect_buf(&v, "one");
    assert_int_equal(store_conn_queue_pop(c, "q", false, &v, &err), 0);
    expect_buf(&v, "two");
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_queue_pop(c, "q", true, &v, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    mu_buf_fini(&v);
    store_conn_close(c);
    server_stop(s);
}

static void test_prefix_and_list(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *plain = open_to(s, NULL);
    struct store_conn *prefixed = open_to(s, "p");
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    size_t count = 0;
    assert_int_equal(store_conn_set(prefixed, "k", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_get(plain, "p/k", &v, &err), 0); /* as PyTorch names it */
    expect_buf(&v, "v");
    assert_int_equal(store_conn_set(plain, "other", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_list_keys(plain, &v, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(store_conn_list_keys(prefixed, &v, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(v.len, 2);
    assert_string_equal((const char *)v.data, "k");
    mu_buf_fini(&v);
    store_conn_close(plain);
    store_conn_close(prefixed);
    server_stop(s);
}

struct setter {
    const struct server *server;
    const char *key;
};

static void *set_later(void *arg)
{
    const struct setter *setter = arg;
    struct store_conn *c = open_to(setter->server, NULL);
    int64_t waiting = 0;
    while (waiting == 0) { /* the other one says that it is about to wait */
        store_conn_add(c, "about", 0, &waiting, NULL);
    }
    store_conn_set(c, setter->key, mu_slice_of("v"), NULL);
    store_conn_close(c);
    return NULL;
}

static void test_waiting(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    const char *const keys[] = {"late"};
    int64_t n;
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_non_null(strstr(err.text, "wait 'late': not complete after 30 ms"));
    assert_int_equal(store_conn_wait(c, keys, 1, 0, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    pthread_t thread;
    struct setter setter = {.server = s, .key = "late"};
    assert_int_equal(pthread_create(&thread, NULL, set_later, &setter), 0);
    assert_int_equal(store_conn_add(c, "about", 1, &n, &err), 0);
    assert_int_equal(store_conn_get(c, "late", &v, &err), 0); /* and the client still works */
    expect_buf(&v, "v");
    pthread_join(thread, NULL);
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), 0); /* the first still counts */
    mu_buf_fini(&v);
    store_conn_close(c);
    server_stop(s);
}

static void test_usage(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    char key[8193];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(store_conn_set(c, key, mu_slice_of(""), &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    struct mu_slice large = {.ptr = key, .len = (size_t)8 * 1024 * 1024 + 1};
    assert_int_equal(store_conn_set(c, "k", large, NULL), -1);
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("v"), &err), 0); /* nothing was sent */
    store_conn_close(c);
    server_stop(s);
}

/* The server refuses ADD on a word by closing: this call fails, and all later ones. */
static void test_lost(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    int64_t n;
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("word"), &err), 0);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_non_null(strstr(err.text, "add 'k'"));
    assert_int_equal(store_conn_add(c, "n", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_non_null(strstr(err.text, "was lost before"));
    store_conn_close(c);
    store_conn_close(NULL);
    server_stop(s);
}

static void test_cancel_race(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_RACE);
    struct store_conn *c = open_to(s, NULL);
    const char *const keys[] = {"k"};
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, NULL), 0);
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, NULL), 0); /* nothing was left over */
    store_conn_close(c);
    server_stop(s);
}

static void test_bad_servers(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    struct server *s = server_start(MANNER_WRONG_NONCE);
    assert_null(store_conn_open("127.0.0.1", s->port, NULL, TIMEOUT_MS, &err));
    assert_int_equal(err.code, MU_E_PROTOCOL);
    server_stop(s);

    s = server_start(MANNER_CLOSE);
    assert_null(store_conn_open("127.0.0.1", s->port, NULL, SHORT_MS, &err));
    assert_int_equal(err.code, MU_E_CONNECT);
    server_stop(s);

    s = server_start(MANNER_SILENT);
    struct store_conn *c = open_to(s, NULL);
    int64_t n;
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST); /* a late answer would be taken for another's */
    store_conn_close(c);
    uint16_t port = s->port;
    server_stop(s);

    assert_null(store_conn_open("127.0.0.1", port, NULL, SHORT_MS, &err)); /* nobody listens */
    assert_int_equal(err.code, MU_E_CONNECT);
    assert_non_null(strstr(err.text, "Connection refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),       cmocka_unit_test(test_queues),
        cmocka_unit_test(test_waiting),     cmocka_unit_test(test_prefix_and_list),
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_lost),
        cmocka_unit_test(test_cancel_race), cmocka_unit_test(test_bad_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
