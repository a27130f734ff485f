/* SPDX-License-Identifier: Apache-2.0 */
/* From an endpoint to a connection: addresses are raced, and what became of each is told. */
#include "launcher/uv_dial.h"
#include "muster/mem.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CROWD = 4 };

struct rig {
    uv_loop_t loop;
    struct uv_dial *dial;
    struct uv_conn *conn;
    enum ladder_answer answer;
    char why[512];
    size_t resolved;
    bool is_done;
};

static void on_resolved(void *arg, const struct sockaddr_storage *addrs, size_t count)
{
    (void)addrs;
    ((struct rig *)arg)->resolved = count;
}

static void on_connected(void *arg, struct uv_conn *conn)
{
    struct rig *r = arg;
    r->conn = conn;
    r->is_done = true;
}

static void on_failed(void *arg, enum ladder_answer answer, const char *why)
{
    struct rig *r = arg;
    r->answer = answer;
    snprintf(r->why, sizeof(r->why), "%s", why);
    r->is_done = true;
}

static void begin(struct rig *r, int64_t patience_ms)
{
    static const struct uv_dial_handlers handlers = {
        .resolved = on_resolved, .connected = on_connected, .failed = on_failed};
    memset(r, 0, sizeof(*r));
    assert_int_equal(uv_loop_init(&r->loop), 0);
    struct uv_dial_spec spec = {.patience_ms = patience_ms, .after_refusal_ms = 200, .hint = ""};
    r->dial = uv_dial_new(&r->loop, &spec, &handlers, r);
}

/* One attempt, to its end. */
static void dial(struct rig *r, const char *host, uint16_t port)
{
    struct mu_endpoint e = {.port = port};
    snprintf(e.host, sizeof(e.host), "%s", host);
    r->is_done = false;
    uv_dial_start(r->dial, &e);
    while (!r->is_done) {
        uv_run(&r->loop, UV_RUN_ONCE);
    }
}

static void end(struct rig *r)
{
    uv_dial_close(r->dial);
    if (r->conn != NULL) {
        uv_conn_close(r->conn);
    }
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
}

/* A listener on `host`, port 0: any; -1 if the machine has no such address. */
static int listen_on(const char *host, uint16_t port, int backlog, uint16_t *ret_port)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);
    assert_int_equal(mu_addr_from_numeric(host, port, &a), 0);
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, mu_addr_len((struct sockaddr *)&a)) != 0) {
        return -1;
    }
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = mu_addr_port((struct sockaddr *)&a);
    return fd;
}

/* Fill a listener's queue: from then on it is as silent as a machine that is gone. */
static void silence(uint16_t port, int crowd[CROWD])
{
    struct sockaddr_storage a;
    assert_int_equal(mu_addr_from_numeric("127.0.0.1", port, &a), 0);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(crowd[i], (struct sockaddr *)&a, sizeof(struct sockaddr_in));
    }
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void test_nobody_listens(void **state)
{
    (void)state;
    uint16_t port = 0;
    close(listen_on("127.0.0.1", 0, 1, &port));
    struct rig r;
    begin(&r, 5000);
    dial(&r, "127.0.0.1", port);
    assert_int_equal(r.answer, LADDER_FREE);
    assert_string_equal(r.why, "connection refused: nothing listens there");
    dial(&r, "localhost", port);
    assert_int_equal(r.resolved, 2);
    assert_memory_equal(r.why, "127.0.0.1: connection ", 22); /* by name: which address it was */
    assert_non_null(strstr(r.why, "; ::1: "));
    end(&r);
}

static void test_silence(void **state)
{
    (void)state;
    uint16_t port = 0;
    int crowd[CROWD];
    int fd = listen_on("127.0.0.1", 0, 0, &port);
    silence(port, crowd);
    struct rig r;
    begin(&r, 300);
    uint64_t began = uv_now(&r.loop);
    dial(&r, "127.0.0.1", port);
    assert_true(uv_now(&r.loop) - began >= 300);
    assert_int_equal(r.answer, LADDER_DEAD);
    assert_true(uv_dial_was_silent(r.dial));
    end(&r);
    close_all(crowd, CROWD);
    close(fd);
}

/* The first address says nothing: the second is tried long before patience with that is over. */
static void test_second_address_wins(void **state)
{
    (void)state;
    uint16_t port = 0;
    int crowd[CROWD];
    int fd = listen_on("127.0.0.1", 0, 0, &port);
    int other = listen_on("::1", port, 8, &port);
    if (other < 0) {
        close(fd);
        skip(); /* no IPv6 here, or the port is taken there */
        return;
    }
    silence(port, crowd);
    struct rig r;
    begin(&r, 60000);
    uint64_t began = uv_now(&r.loop);
    dial(&r, "localhost", port);
    assert_non_null(r.conn);
    assert_string_equal(uv_conn_peer(r.conn), "::1");
    assert_true(uv_now(&r.loop) - began >= UV_DIAL_NEXT_MS);
    assert_true(uv_now(&r.loop) - began < 30000);
    end(&r);
    close_all(crowd, CROWD);
    close(other);
    close(fd);
}

/* One address says that nobody listens: the machine is up, so silence of the other is no mystery.
 */
static void test_refusal_shortens_patience(void **state)
{
    (void)state;
    uint16_t port = 0;
    int crowd[CROWD];
    int other = listen_on("::1", 0, 8, &port);
    if (other < 0) {
        skip(); /* no IPv6 here */
    }
    close(other);
    int fd = listen_on("127.0.0.1", 0, 0, &port);
    silence(port, crowd);
    struct rig r;
    begin(&r, 60000);
    uint64_t began = uv_now(&r.loop);
    dial(&r, "localhost", port);
    assert_non_null(strstr(r.why, "::1: connection refused"));
    assert_true(uv_now(&r.loop) - began < 30000);
    assert_int_equal(r.answer, LADDER_DEAD); /* one was silent: nobody can say that it is over */
    end(&r);
    close_all(crowd, CROWD);
    close(fd);
}

static void test_closed_amid_an_attempt(void **state)
{
    (void)state;
    uint16_t port = 0;
    int crowd[CROWD];
    int fd = listen_on("127.0.0.1", 0, 0, &port);
    silence(port, crowd);
    struct rig r;
    begin(&r, 60000);
    struct mu_endpoint e = {.host = "localhost", .port = port};
    uv_dial_start(r.dial, &e);
    uv_run(&r.loop, UV_RUN_NOWAIT);
    uv_run(&r.loop, UV_RUN_NOWAIT);
    r.is_done = false;
    uv_dial_close(r.dial);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_false(r.is_done);
    assert_int_equal(uv_loop_close(&r.loop), 0);
    close_all(crowd, CROWD);
    close(fd);
}

static void test_name_does_not_resolve(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, 60000);
    dial(&r, "no..such..name", 1);
    assert_int_equal(r.answer, LADDER_UNRESOLVED);
    assert_non_null(strstr(r.why, "the name 'no..such..name' does not resolve: "));
    assert_int_equal(r.resolved, 0);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_second_address_wins),
        cmocka_unit_test(test_refusal_shortens_patience),
        cmocka_unit_test(test_closed_amid_an_attempt),
        cmocka_unit_test(test_name_does_not_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
