/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/file_timer.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct file_timer *ft;
enum { NOW = 1000000 };

static int setup(void **state)
{
    (void)state;
    ft = file_timer_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    file_timer_free(ft);
    return 0;
}

static void feed(const char *text)
{
    file_timer_feed(ft, text, strlen(text), NOW);
}

static void request(int pid, const char *scope, double seconds, int signo)
{
    mu_autofree char *line = mu_asprintf("{\"version\": 1, \"pid\": %d, \"scope_id\": \"%s\", "
                                         "\"expiration_time\": %f, \"signal\": %d}\n",
                                         pid, scope, seconds, signo);
    feed(line);
}

static void expect_expiry(int64_t now_ms, int pid, const char *scope, int signo)
{
    struct file_timer_expiry e;
    assert_true(file_timer_expire(ft, now_ms, &e));
    assert_int_equal(e.pid, pid);
    assert_int_equal(e.signo, signo);
    assert_string_equal(e.scope, scope);
}

static void expect_none(int64_t now_ms)
{
    struct file_timer_expiry e;
    assert_false(file_timer_expire(ft, now_ms, &e));
}

static void expires_on_time(void **state)
{
    (void)state;
    assert_true(file_timer_deadline(ft) == INT64_MAX);
    request(7, "step", 1002.5, SIGKILL);
    assert_int_equal(file_timer_deadline(ft), 1002500);
    expect_none(1002499);
    struct file_timer_expiry e;
    assert_true(file_timer_expire(ft, 1002600, &e));
    assert_int_equal(e.pid, 7);
    assert_int_equal(e.signo, SIGKILL);
    assert_int_equal(e.after_ms, 2500);
    assert_string_equal(e.scope, "step");
    expect_none(1002600);
    assert_int_equal(file_timer_count(ft), 0);
}

static void released(void **state)
{
    (void)state;
    request(7, "a", 1001, 9);
    request(7, "b", 1002, 9);
    request(8, "a", 1003, 9);
    request(7, "a", -1, 0);
    request(9, "never set", -1, 0);
    assert_int_equal(file_timer_deadline(ft), 1002000);
    assert_int_equal(file_timer_count(ft), 2);
    assert_int_equal(file_timer_rejected(ft), 0);
}

static void set_again(void **state)
{
    (void)state;
    request(7, "a", 1001, 9);
    request(7, "a", 1009, 15);
    expect_none(1008999);
    expect_expiry(1009000, 7, "a", 15);
    request(7, "a", 0, 9); /* 1970: no release, only long ago */
    struct file_timer_expiry e;
    assert_true(file_timer_expire(ft, NOW, &e));
    assert_int_equal(e.pid, 7);
    assert_int_equal(e.after_ms, 0);
}

/* Of one process: the first that asked for a signal; all its timers go. */
static void several_of_one(void **state)
{
    (void)state;
    request(7, "silent", 1001, 0);
    request(7, "second", 1003, 15);
    request(7, "first", 1002, 9);
    request(7, "later", 2000, 9);
    request(8, "other", 1002, 12);
    expect_expiry(1003000, 7, "first", 9);
    expect_expiry(1003000, 8, "other", 12);
    expect_none(INT64_MAX);
}

static void no_signal_wanted(void **state)
{
    (void)state;
    request(7, "a", 1001, 0);
    request(8, "b", 1002, -5);
    expect_expiry(1002000, 7, "a", 0);
    expect_expiry(1002000, 8, "b", 0);
}

static void forgotten_and_delayed(void **state)
{
    (void)state;
    request(7, "a", 1001, 9);
    request(7, "b", 1001, 9);
    request(8, "a", 1001, 9);
    file_timer_forget(ft, 7);
    file_timer_delay(ft, 500);
    expect_none(1001499);
    expect_expiry(1001500, 8, "a", 9);
    request(8, "a", 1001, 9);
    feed("{\"pid\":");
    file_timer_clear(ft);
    assert_int_equal(file_timer_count(ft), 0);
    request(8, "a", 1001, 9);
    assert_int_equal(file_timer_count(ft), 1);
}

static void in_pieces(void **state)
{
    (void)state;
    static const char line[] =
        "{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":1001,\"signal\":9}\n";
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        assert_int_equal(file_timer_count(ft), 0);
        file_timer_feed(ft, line + i, 1, NOW);
    }
    assert_int_equal(file_timer_count(ft), 1);
}

static void no_requests(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\n",
        "hello\n",
        "[]\n",
        "{}\n",
        "{\"pid\":0,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9}\n",
        "{\"pid\":-7,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9}\n",
        "{\"pid\":4294967303,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9}\n",
        "{\"pid\":\"7\",\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9}\n",
        "{\"pid\":7,\"scope_id\":5,\"expiration_time\":1,\"signal\":9}\n",
        "{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":\"soon\",\"signal\":9}\n",
        "{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":65}\n",
        "{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9} {}\n",
        "{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":NaN,\"signal\":9}\n",
    };
    for (size_t i = 0; i < MU_COUNT(lines); i++) {
        feed(lines[i]);
        assert_int_equal(file_timer_rejected(ft), i + 1);
    }
    assert_int_equal(file_timer_count(ft), 0);
    request(7, "s", 1e300, 9); /* never */
    assert_int_equal(file_timer_count(ft), 1);
    expect_none(NOW * INT64_C(1000000));
}

static void too_long(void **state)
{
    (void)state;
    static char line[2 * FILE_TIMER_MAX_LINE];
    memset(line, ' ', sizeof(line));
    file_timer_feed(ft, line, sizeof(line), NOW);
    file_timer_feed(ft, line, sizeof(line), NOW);
    assert_int_equal(file_timer_rejected(ft), 1);
    feed("{\"pid\":7,\"scope_id\":\"s\",\"expiration_time\":1,\"signal\":9}\n"); /* still that line
                                                                                  */
    assert_int_equal(file_timer_count(ft), 0);
    request(7, "s", 1001, 9);
    assert_int_equal(file_timer_count(ft), 1);
    assert_int_equal(file_timer_rejected(ft), 1);

    static char scope[FILE_TIMER_MAX_SCOPE + 2];
    memset(scope, 'x', FILE_TIMER_MAX_SCOPE + 1);
    request(7, scope, 1001, 9);
    assert_int_equal(file_timer_rejected(ft), 2);
    scope[FILE_TIMER_MAX_SCOPE] = '\0';
    request(7, scope, 1001, 9);
    assert_int_equal(file_timer_count(ft), 2);
}

static void too_many(void **state)
{
    (void)state;
    for (int i = 1; i <= FILE_TIMER_MAX + 5; i++) {
        request(i, "s", 1001, 9);
    }
    assert_int_equal(file_timer_count(ft), FILE_TIMER_MAX);
    assert_int_equal(file_timer_rejected(ft), 5);
    request(1, "s", 1002, 9); /* those that are there can be set again */
    assert_int_equal(file_timer_rejected(ft), 5);
}

static void scope_is_printable(void **state)
{
    (void)state;
    request(7, "a\\u001b[2J\\nb", 1001, 9);
    expect_expiry(1001000, 7, "a?[2J?b", 9);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(expires_on_time), TEST(released),           TEST(set_again),
        TEST(several_of_one),  TEST(no_signal_wanted),   TEST(forgotten_and_delayed),
        TEST(in_pieces),       TEST(no_requests),        TEST(too_long),
        TEST(too_many),        TEST(scope_is_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
