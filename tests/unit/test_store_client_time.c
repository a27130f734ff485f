/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store client's deadlines: every phase of connecting, transfers that stall, waits in a loop of
 * one's own. A name server is played by this program: its getaddrinfo() is the one that is linked.
 */
#include "tests/unit/store_fake.h"

#include <netdb.h>
#include <semaphore.h>
#include <signal.h>

/* SHORT_MS is what is waited out; LONG_MS only bounds a failure. */
enum { SHORT_MS = 100, LONG_MS = 20000 };

static const char *const one_key[] = {"k"};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the name server ---- */

static sem_t asked;    /* a "slow" look-up has begun */
static sem_t answered; /* it may end */
static sem_t freed;    /* its addresses are gone */
static uint16_t dead_port;
static struct store_cancel *cancel_when_asked;

struct made_address {
    struct addrinfo info;
    struct sockaddr_in address;
};

static struct addrinfo *make_address(uint16_t port, struct addrinfo *next)
{
    struct made_address *a = mu_alloc(sizeof(*a));
    a->address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a->info = (struct addrinfo){.ai_family = AF_INET,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addrlen = sizeof(a->address),
                                .ai_addr = (struct sockaddr *)&a->address,
                                .ai_next = next};
    return &a->info;
}

/* Names: "slow" (answers when told), "two" (two addresses, the first a dead one), "none". */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_addresses)
{
    uint16_t port = (uint16_t)strtoul(service, NULL, 10);
    if (strcmp(host, "127.0.0.1") == 0) {
        *ret_addresses = make_address(port, NULL);
        return 0;
    }
    if ((hints->ai_flags & AI_NUMERICHOST) != 0) {
        return EAI_NONAME;
    }
    if (strcmp(host, "slow") == 0) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (sigismember(&mask, SIGTERM) == 0) {
            return EAI_SYSTEM; /* signals belong to the program's own threads */
        }
        if (cancel_when_asked != NULL) {
            store_cancel_raise(cancel_when_asked);
        }
        sem_post(&asked);
        sem_wait(&answered);
        *ret_addresses = make_address(port, NULL);
        return 0;
    }
    if (strcmp(host, "two") == 0) {
        *ret_addresses = make_address(dead_port, make_address(port, NULL));
        return 0;
    }
    return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *addresses)
{
    while (addresses != NULL) {
        struct addrinfo *next = addresses->ai_next;
        free(mu_container_of(addresses, struct made_address, info));
        addresses = next;
    }
    sem_post(&freed);
}

/* ---- connecting ---- */

/* A port that takes no more connections: the kernel drops what comes, like a host that is away. */
struct black_hole {
    int listener;
    int first;
    uint16_t port;
};

static struct black_hole open_black_hole(void)
{
    struct black_hole b;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    b.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    b.first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(b.listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(b.listener, 0), 0);
    assert_int_equal(getsockname(b.listener, (struct sockaddr *)&a, &size), 0);
    assert_int_equal(connect(b.first, (struct sockaddr *)&a, sizeof(a)), 0);
    b.port = ntohs(a.sin_port);
    return b;
}

static void close_black_hole(struct black_hole *b)
{
    close(b->first);
    close(b->listener);
}

/* Opening must fail so, after the time it was given and not much later. */
static void expect_no_open(const char *host, uint16_t port, enum mu_err_code code, const char *text)
{
    struct mu_err err = MU_ERR_INIT;
    int64_t start = now_ms();
    assert_null(store_conn_open(host, port, NULL, SHORT_MS, &err));
    assert_in_range(now_ms() - start, SHORT_MS - 1, LONG_MS);
    assert_int_equal(err.code, code);
    if (strstr(err.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, text);
    }
}

static void test_name_that_is_never_resolved(void **state)
{
    (void)state;
    expect_no_open("slow", 1, MU_E_CONNECT,
                   "store slow:1: resolve: no answer: Connection timed out");
    sem_wait(&asked);
    while (sem_trywait(&freed) == 0) {
    }
    sem_post(&answered); /* too late: what was left behind cleans up */
    sem_wait(&freed);
    expect_no_open("none", 1, MU_E_CONNECT, "resolve: Name or service not known");
}

static void test_name_that_takes_time(void **state)
{
    (void)state;
    struct fake *f = fake_start(&(struct fake_plan){0});
    sem_post(&answered);
    struct store_conn *c = store_conn_open("slow", f->port, NULL, LONG_MS, NULL);
    assert_non_null(c);
    sem_wait(&asked);
    store_conn_close(c);
    fake_stop(f);
}

static void test_canceled_look_up(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    cancel_when_asked = store_cancel_new(NULL);
    assert_null(store_conn_open_cancelable("slow", 1, NULL, INT64_MAX, cancel_when_asked, &err));
    assert_int_equal(err.code, MU_E_CANCELED);
    sem_wait(&asked);
    while (sem_trywait(&freed) == 0) {
    }
    sem_post(&answered);
    sem_wait(&freed);
    store_cancel_free(cancel_when_asked);
    cancel_when_asked = NULL;
}

static void test_servers_that_do_not_serve(void **state)
{
    (void)state;
    struct black_hole b = open_black_hole();
    expect_no_open("127.0.0.1", b.port, MU_E_CONNECT, "connect: Connection timed out");
    /* An address that is away leaves time for the others. */
    struct fake *f = fake_start(&(struct fake_plan){0});
    dead_port = b.port;
    struct store_conn *c = store_conn_open("two", f->port, NULL, 2000, NULL);
    assert_non_null(c);
    store_conn_close(c);
    fake_stop(f);
    close_black_hole(&b);

    f = fake_start(&(struct fake_plan){.greeting = "78"}); /* a part of an answer */
    expect_no_open("127.0.0.1", f->port, MU_E_TIMEOUT, "handshake: receive: no answer in time");
    fake_stop(f);

    /* "HTTP/1.1 400" at once says what it is. */
    f = fake_start(&(struct fake_plan){.greeting = "485454502f312e3120343030"});
    struct mu_err err = MU_ERR_INIT;
    assert_null(store_conn_open("127.0.0.1", f->port, NULL, LONG_MS, &err));
    assert_int_equal(err.code, MU_E_PROTOCOL);
    assert_non_null(strstr(err.text, "no TCPStore"));
    fake_stop(f);

    f = fake_start(&(struct fake_plan){.turn_away = 3}); /* a server that is just coming up */
    store_conn_close(fake_open(f, LONG_MS));
    fake_stop(f);
}

/* ---- transfers ---- */

static void expect_lost(struct store_conn *c)
{
    struct mu_err err = MU_ERR_INIT;
    int64_t n;
    assert_int_equal(store_conn_add(c, "n", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_int_equal(store_conn_fd(c), -1);
}

/* A server that does not read: the part that the kernel took cannot be taken back. */
static void test_stalled_send(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_SET, FAKE_STALL, ""}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    struct mu_slice large = {.len = (size_t)8 * 1024 * 1024};
    char *bytes = mu_alloc(large.len);
    large.ptr = bytes;
    store_conn_set_timeout(c, SHORT_MS);
    int rc = 0;
    for (int i = 0; i < 100 && rc == 0; i++) { /* the kernel's buffers may hold several */
        rc = store_conn_set(c, "k", large, &err);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_non_null(strstr(err.text, "set 'k': send: no answer in time"));
    expect_lost(c);
    free(bytes);
    store_conn_close(c);
    fake_stop(f);
}

/* One deadline for the whole reply, not one for each of its fields. */
static void test_stalled_reply(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_QUEUE_POP, FAKE_REPLY,
                                               "0100000000000000"
                                               "0500000000000000" /* 5 bytes */ "6162"}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    mu_buf_printf(&v, "before");
    store_conn_set_timeout(c, SHORT_MS);
    bool is_taken;
    assert_int_equal(store_conn_queue_try_pop(c, "k", &is_taken, &v, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(v.len, strlen("before")); /* written on success only */
    expect_lost(c);
    mu_buf_fini(&v);
    store_conn_close(c);
    fake_stop(f);
}

/* ---- a wait in a loop of one's own ---- */

static void test_started_wait(void **state)
{
    (void)state;
    static const struct fake_step script[] = {
        {C10D_WAIT, FAKE_REPLY, "00"},          {C10D_WAIT, FAKE_REPLY, ""},
        {C10D_CANCEL_WAIT, FAKE_REPLY, "01"},   {C10D_WAIT, FAKE_REPLY, ""},
        {C10D_CANCEL_WAIT, FAKE_REPLY, "0001"}, {C10D_PING, FAKE_CLOSE, ""}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    bool is_done = true;
    assert_int_equal(store_conn_wait_poll(c, &is_done, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_int_equal(store_conn_wait_stop(c, &is_done, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);

    assert_int_equal(store_conn_wait_start(c, one_key, 1, &err), 0);
    assert_int_equal(store_conn_wait_start(c, one_key, 1, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    struct pollfd p = {.fd = store_conn_fd(c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, LONG_MS), 1);
    assert_int_equal(store_conn_wait_poll(c, &is_done, &err), 0);
    assert_true(is_done);

    assert_int_equal(store_conn_wait_start(c, one_key, 1, &err), 0);
    assert_int_equal(store_conn_wait_poll(c, &is_done, &err), 0);
    assert_false(is_done);
    assert_int_equal(store_conn_ping(c, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_non_null(strstr(err.text, "ping: a wait was started"));
    assert_int_equal(store_conn_wait_stop(c, &is_done, &err), 0);
    assert_false(is_done);

    assert_int_equal(store_conn_wait_start(c, one_key, 1, &err), 0);
    assert_int_equal(store_conn_wait_stop(c, &is_done, &err), 0);
    assert_true(is_done);
    assert_int_equal(store_conn_ping(c, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_int_equal(store_conn_wait_poll(c, &is_done, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    store_conn_close(c);
    fake_stop(f);
}

/* A call that was refused in between does not make a broken wait harmless. */
static void test_started_wait_that_breaks(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_WAIT, FAKE_REPLY, "05"}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    bool is_done;
    assert_int_equal(store_conn_wait_start(c, one_key, 1, &err), 0);
    assert_int_equal(store_conn_ping(c, &err), -1);
    struct pollfd p = {.fd = store_conn_fd(c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, LONG_MS), 1);
    assert_int_equal(store_conn_wait_poll(c, &is_done, &err), -1);
    assert_int_equal(err.code, MU_E_PROTOCOL);
    expect_lost(c);
    store_conn_close(c);
    fake_stop(f);
}

int main(void)
{
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    sem_init(&freed, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_that_is_never_resolved),
        cmocka_unit_test(test_name_that_takes_time),
        cmocka_unit_test(test_canceled_look_up),
        cmocka_unit_test(test_servers_that_do_not_serve),
        cmocka_unit_test(test_stalled_send),
        cmocka_unit_test(test_stalled_reply),
        cmocka_unit_test(test_started_wait),
        cmocka_unit_test(test_started_wait_that_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
