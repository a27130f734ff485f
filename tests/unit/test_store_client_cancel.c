/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the store client that are ended early: by a thread, by a signal handler, at every point
 * where a call can be. Servers that follow a script raise the cancel when a request has come, so
 * that it meets a call that waits; nothing here depends on how fast anything is.
 */
#include "tests/unit/store_fake.h"
#include "tests/unit/store_server_rig.h"

#include <errno.h>
#include <sys/time.h>

enum { PATIENCE_MS = 20000 };

static const char *const one_key[] = {"k"};

static struct store_cancel *new_cancel(void)
{
    struct store_cancel *cancel = store_cancel_new(NULL);
    assert_non_null(cancel);
    return cancel;
}

/* The connection is as good as before. */
static void expect_in_step(struct store_conn *c)
{
    struct mu_err err = MU_ERR_INIT;
    int64_t sum = 0;
    if (store_conn_add(c, "n", 1, &sum, &err) != 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sum, 7);
}

#define ADD_TO_7                                 \
    {                                            \
        C10D_ADD, FAKE_REPLY, "0700000000000000" \
    }

static void test_flag(void **state)
{
    (void)state;
    struct store_cancel *cancel = new_cancel();
    assert_false(store_cancel_is_raised(cancel));
    store_cancel_clear(cancel);
    errno = ENOENT;
    store_cancel_raise(cancel);
    store_cancel_raise(cancel);
    assert_int_equal(errno, ENOENT);
    assert_true(store_cancel_is_raised(cancel));
    assert_true(store_cancel_is_raised(cancel));
    store_cancel_clear(cancel);
    assert_false(store_cancel_is_raised(cancel));
    store_cancel_free(cancel);
    store_cancel_free(NULL);
}

/* Raised before a call: it sends nothing, however often it is tried, until the clear. */
static void test_raised_before(void **state)
{
    (void)state;
    static const struct fake_step script[] = {ADD_TO_7};
    struct store_cancel *cancel = new_cancel();
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script), .cancel = cancel});
    struct store_conn *c = fake_open(f, PATIENCE_MS);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    int64_t n;
    store_cancel_raise(cancel);
    assert_int_equal(store_conn_wait(c, one_key, 1, -1, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_int_equal(store_conn_get(c, "k", &v, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("v"), &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_int_equal(store_conn_add(c, "n", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_non_null(strstr(err.text, "add 'n': cancelled"));
    store_cancel_clear(cancel);
    expect_in_step(c);
    store_conn_close(c);
    fake_stop(f);
    store_cancel_free(cancel);
}

/* What is called, in the next test. */
enum call { CALL_WAIT, CALL_GET, CALL_MULTI_GET, CALL_POP, CALL_BARRIER };

static int make_call(struct store_conn *c, enum call call, struct mu_err *err)
{
    struct mu_buf v = {0};
    int rc = -1;
    switch (call) {
    case CALL_WAIT:
        rc = store_conn_wait(c, one_key, 1, -1, err);
        break;
    case CALL_GET:
        rc = store_conn_get(c, "k", &v, err);
        break;
    case CALL_MULTI_GET:
        rc = store_conn_multi_get(c, one_key, 1, &v, err);
        break;
    case CALL_POP:
        rc = store_conn_queue_pop(c, "k", &v, err);
        break;
    case CALL_BARRIER:
        rc = store_conn_barrier(c, "k", 2, err);
        break;
    }
    mu_buf_fini(&v);
    return rc;
}

/* Each waiting call is taken back, and the connection stays in step. */
static void test_waiting_calls(void **state)
{
    (void)state;
    static const struct fake_step waits[] = {
        {C10D_WAIT, FAKE_RAISE, ""}, {C10D_CANCEL_WAIT, FAKE_REPLY, "01"}, ADD_TO_7};
    static const struct fake_step barrier[] = {
        {C10D_BARRIER, FAKE_RAISE, ""}, {C10D_CANCEL_WAIT, FAKE_REPLY, "01"}, ADD_TO_7};
    for (enum call call = CALL_WAIT; call <= CALL_BARRIER; call++) {
        struct store_cancel *cancel = new_cancel();
        struct fake *f = fake_start(&(struct fake_plan){
            .steps = call == CALL_BARRIER ? barrier : waits, .count = 3, .cancel = cancel});
        struct store_conn *c = fake_open(f, PATIENCE_MS);
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(make_call(c, call, &err), -1);
        assert_int_equal(err.code, MU_E_CANCELED);
        assert_non_null(strstr(err.text, "'k': cancelled"));
        store_cancel_clear(cancel);
        expect_in_step(c);
        store_conn_close(c);
        fake_stop(f);
        store_cancel_free(cancel);
    }
}

/* The server answered before it read the cancellation: it did happen, and that is not hidden. */
static void test_race(void **state)
{
    (void)state;
    static const struct fake_step script[] = {
        {C10D_WAIT, FAKE_RAISE, ""}, {C10D_CANCEL_WAIT, FAKE_REPLY, "0001"}, ADD_TO_7};
    for (enum call call = CALL_WAIT; call <= CALL_POP; call++) {
        struct store_cancel *cancel = new_cancel();
        struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script), .cancel = cancel});
        struct store_conn *c = fake_open(f, PATIENCE_MS);
        struct mu_err err = MU_ERR_INIT;
        if (call == CALL_WAIT) {
            assert_int_equal(make_call(c, call, &err), 0);
        } else { /* the second request was not sent: nothing was read, nothing taken */
            assert_int_equal(make_call(c, call, &err), -1);
            assert_int_equal(err.code, MU_E_CANCELED);
        }
        store_cancel_clear(cancel);
        expect_in_step(c);
        store_conn_close(c);
        fake_stop(f);
        store_cancel_free(cancel);
    }
}

/* A server that does not answer the cancellation holds nobody up for long. */
static void test_silent_server(void **state)
{
    (void)state;
    static const struct fake_step wait[] = {{C10D_WAIT, FAKE_RAISE, ""},
                                            {C10D_CANCEL_WAIT, FAKE_REPLY, ""}};
    static const struct fake_step add[] = {{C10D_ADD, FAKE_RAISE, "07000000"}};
    static const struct fake_step gone[] = {{C10D_WAIT, FAKE_RAISE, ""},
                                            {C10D_CANCEL_WAIT, FAKE_CLOSE, ""}};
    const struct fake_plan plans[] = {{FAKE_SCRIPT(wait)}, {FAKE_SCRIPT(add)}, {FAKE_SCRIPT(gone)}};
    for (size_t i = 0; i < MU_COUNT(plans); i++) {
        struct store_cancel *cancel = new_cancel();
        struct fake_plan plan = plans[i];
        plan.cancel = cancel;
        struct fake *f = fake_start(&plan);
        struct store_conn *c = fake_open(f, INT64_MAX);
        struct mu_err err = MU_ERR_INIT;
        int64_t n;
        int rc =
            i == 1 ? store_conn_add(c, "n", 1, &n, &err) : store_conn_wait(c, one_key, 1, -1, &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, MU_E_CANCELED);
        store_cancel_clear(cancel);
        assert_int_equal(store_conn_add(c, "n", 1, &n, &err), -1);
        assert_int_equal(err.code, MU_E_LOST);
        assert_int_equal(store_conn_fd(c), -1);
        store_conn_close(c);
        fake_stop(f);
        store_cancel_free(cancel);
    }
}

/* A short exchange that was begun is finished: its effect is known and nothing gets out of step. */
static void test_short_call_is_finished(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_ADD, FAKE_RAISE, "0700000000000000"}, ADD_TO_7};
    struct store_cancel *cancel = new_cancel();
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script), .cancel = cancel});
    struct store_conn *c = fake_open(f, PATIENCE_MS);
    expect_in_step(c);
    assert_true(store_cancel_is_raised(cancel));
    store_cancel_clear(cancel);
    expect_in_step(c);
    store_conn_close(c);
    fake_stop(f);
    store_cancel_free(cancel);
}

/* A timeout that is being told to a server that does not listen can be cancelled too. */
static void test_while_taking_back(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_WAIT, FAKE_REPLY, ""},
                                              {C10D_CANCEL_WAIT, FAKE_RAISE, ""}};
    struct store_cancel *cancel = new_cancel();
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script), .cancel = cancel});
    struct store_conn *c = fake_open(f, INT64_MAX);
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(store_conn_wait(c, one_key, 1, 1, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    assert_int_equal(store_conn_fd(c), -1);
    store_conn_close(c);
    fake_stop(f);
    store_cancel_free(cancel);
}

/* ---- signals ---- */

static struct store_cancel *signal_cancel; /* of on_alarm_raise() */
static int alarms;                         /* atomic: any thread may be the one that is hit */

static void on_alarm_raise(int number)
{
    (void)number;
    store_cancel_raise(signal_cancel);
}

static void on_alarm_count(int number)
{
    (void)number;
    __atomic_add_fetch(&alarms, 1, __ATOMIC_RELAXED);
}

/* SIGALRM from now on, every `interval_ms` or (0) once. */
static void start_alarms(void (*handler)(int), int interval_ms)
{
    const struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART */
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    const struct itimerval timer = {.it_value.tv_usec = 1000,
                                    .it_interval.tv_usec = interval_ms * 1000};
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void stop_alarms(void)
{
    const struct itimerval none = {0};
    setitimer(ITIMER_REAL, &none, NULL);
    signal(SIGALRM, SIG_DFL);
}

static void *set_after_alarms(void *arg)
{
    struct store_conn *c = arg;
    while (__atomic_load_n(&alarms, __ATOMIC_RELAXED) < 20) {
        usleep(1000);
    }
    store_conn_set(c, "k", mu_slice_of("v"), NULL);
    return NULL;
}

static void test_signals_end_nothing(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct store_conn *other = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    pthread_t thread;
    start_alarms(on_alarm_count, 1);
    assert_int_equal(pthread_create(&thread, NULL, set_after_alarms, other), 0);
    assert_int_equal(store_conn_wait(c, one_key, 1, -1, &err), 0);
    pthread_join(thread, NULL);
    stop_alarms();
    store_conn_close(c);
    store_conn_close(other);
    server_stop(s);
}

static void test_signal_handler(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct mu_err err = MU_ERR_INIT;
    signal_cancel = new_cancel();
    struct store_conn *c =
        store_conn_open_cancelable("127.0.0.1", s->port, NULL, PATIENCE_MS, signal_cancel, &err);
    assert_non_null(c);
    start_alarms(on_alarm_raise, 0);
    assert_int_equal(store_conn_wait(c, one_key, 1, -1, &err), -1);
    assert_int_equal(err.code, MU_E_CANCELED);
    stop_alarms();
    store_cancel_clear(signal_cancel);
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_wait(c, one_key, 1, -1, &err), 0);
    store_conn_close(c);
    store_cancel_free(signal_cancel);
    server_stop(s);
}

/* ---- while connecting ---- */

static void expect_canceled_open(uint16_t port, struct store_cancel *cancel)
{
    struct mu_err err = MU_ERR_INIT;
    assert_null(store_conn_open_cancelable("127.0.0.1", port, NULL, INT64_MAX, cancel, &err));
    assert_int_equal(err.code, MU_E_CANCELED);
}

static void test_connecting(void **state)
{
    (void)state;
    struct store_cancel *cancel = new_cancel();
    struct fake *f = fake_start(
        &(struct fake_plan){.cancel = cancel, .greeting = "", .is_raised_by_ping = true});
    expect_canceled_open(f->port, cancel); /* in the handshake */
    expect_canceled_open(f->port, cancel); /* before it */
    uint16_t port = f->port;
    fake_stop(f);
    signal_cancel = cancel;
    store_cancel_clear(cancel);
    start_alarms(on_alarm_raise, 0);
    expect_canceled_open(port, cancel); /* between attempts: nobody listens there any longer */
    stop_alarms();

    store_cancel_clear(cancel);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(full, 0), 0);
    assert_int_equal(getsockname(full, (struct sockaddr *)&a, &size), 0);
    assert_int_equal(connect(first, (struct sockaddr *)&a, sizeof(a)), 0);
    start_alarms(on_alarm_raise, 0);
    expect_canceled_open(ntohs(a.sin_port), cancel); /* in connect(): the queue there is full */
    stop_alarms();
    close(first);
    close(full);
    store_cancel_free(cancel);
}

/* ---- one that is raised and cleared all the time ---- */

struct storm {
    struct store_cancel *cancel;
    bool is_over;
};

static void *raise_and_clear(void *arg)
{
    struct storm *storm = arg;
    while (!__atomic_load_n(&storm->is_over, __ATOMIC_ACQUIRE)) {
        store_cancel_raise(storm->cancel);
        usleep(50); /* lets the other one run, in both states, on one CPU too */
        store_cancel_clear(storm->cancel);
        usleep(50);
    }
    return NULL;
}

/* Whatever call it meets: that fails with MU_E_CANCELED or does what it says, and the next works.
 */
static void test_storm(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct storm storm = {.cancel = new_cancel()};
    struct mu_err err = MU_ERR_INIT;
    struct store_conn *c =
        store_conn_open_cancelable("127.0.0.1", s->port, NULL, PATIENCE_MS, storm.cancel, &err);
    assert_non_null(c);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, raise_and_clear, &storm), 0);
    int64_t added = 0;
    int64_t n = 0;
    int canceled = 0;
    while (canceled < 50 || added < 50) {
        if (store_conn_wait(c, one_key, 1, -1, &err) != 0) {
            assert_int_equal(err.code, MU_E_CANCELED);
            canceled++;
        }
        if (store_conn_add(c, "n", 1, &n, &err) == 0) {
            added++;
            assert_int_equal(n, added);
        } else {
            assert_int_equal(err.code, MU_E_CANCELED);
        }
    }
    __atomic_store_n(&storm.is_over, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    store_cancel_clear(storm.cancel);
    assert_int_equal(store_conn_add(c, "n", 0, &n, &err), 0);
    assert_int_equal(n, added);
    store_conn_close(c);
    store_cancel_free(storm.cancel);
    server_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_raised_before),
        cmocka_unit_test(test_waiting_calls),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_short_call_is_finished),
        cmocka_unit_test(test_while_taking_back),
        cmocka_unit_test(test_signals_end_nothing),
        cmocka_unit_test(test_signal_handler),
        cmocka_unit_test(test_connecting),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
