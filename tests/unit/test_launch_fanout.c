/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_fanout.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HOSTS = 200 };

struct rig {
    char texts[MAX_HOSTS][8];
    const char *names[MAX_HOSTS];
    struct launch_fanout *f;
};

static void init(struct rig *r, size_t count, uint32_t min_nodes)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(r->texts[i], sizeof(r->texts[i]), "n%zu", i);
        r->names[i] = r->texts[i];
    }
    const struct launch_fanout_config config = {
        .count = count, .names = r->names, .min_nodes = min_nodes, .grace_ms = 1000};
    r->f = launch_fanout_new(&config, 0);
}

/* All effects, as "start 0, begin 1, signal 2 15, kill 3, say, exit 0". */
static char *take_all(struct rig *r)
{
    static const char *const words[] = {"start", "begin", "signal", "kill", "say", "exit"};
    struct mu_buf out = {0};
    const struct launch_effect *e;
    while ((e = launch_fanout_take(r->f)) != NULL) {
        mu_buf_printf(&out, "%s%s", out.len > 0 ? ", " : "", words[e->type]);
        if (e->type == LAUNCH_SAY) {
            assert_true(e->text != NULL && e->text[0] != '\0');
        } else if (e->type == LAUNCH_EXIT) {
            mu_buf_printf(&out, " %d", e->status);
        } else {
            mu_buf_printf(&out, " %zu", e->host);
        }
        if (e->type == LAUNCH_SIGNAL) {
            mu_buf_printf(&out, " %d", e->signo);
        }
    }
    return mu_buf_take_text(&out);
}

static void assert_effects(struct rig *r, const char *expected)
{
    mu_autofree char *found = take_all(r);
    assert_string_equal(found, expected);
}

static void begin_three(struct rig *r, uint32_t min_nodes)
{
    init(r, 3, min_nodes);
    assert_effects(r, "start 0, start 1, start 2");
    launch_fanout_hello(r->f, 1, 10);
    launch_fanout_hello(r->f, 0, 10);
    assert_effects(r, "");
    launch_fanout_hello(r->f, 2, 10);
    assert_effects(r, "begin 0, begin 1, begin 2");
    assert_int_equal(launch_fanout_deadline(r->f), INT64_MAX);
}

static void test_begins_when_all_answer(void **state)
{
    (void)state;
    struct rig r;
    begin_three(&r, 3);
    launch_fanout_hello(r.f, 2, 11); /* once more means nothing */
    launch_fanout_ended(r.f, 1, 0, 0, "", 20);
    launch_fanout_ended(r.f, 0, 0, 0, "", 20);
    assert_effects(&r, "");
    launch_fanout_ended(r.f, 2, 0, 0, "", 20);
    assert_effects(&r, "exit 0");
    launch_fanout_ended(r.f, 2, 0, 0, "", 20);
    assert_effects(&r, "");
    launch_fanout_free(r.f);
}

static void test_logins_at_once_are_limited(void **state)
{
    (void)state;
    struct rig r;
    init(&r, MAX_HOSTS, MAX_HOSTS);
    size_t started = 0;
    const struct launch_effect *e;
    while ((e = launch_fanout_take(r.f)) != NULL) {
        assert_int_equal(e->type, LAUNCH_START);
        assert_int_equal(e->host, started++);
    }
    assert_int_equal(started, LAUNCH_AT_ONCE);
    launch_fanout_hello(r.f, 5, 1);
    assert_effects(&r, "start 64");
    for (size_t i = 0; i < MAX_HOSTS; i++) {
        launch_fanout_hello(r.f, i, 1); /* those not started are started by then */
    }
    size_t begun = 0;
    while ((e = launch_fanout_take(r.f)) != NULL) {
        begun += e->type == LAUNCH_BEGIN;
    }
    assert_int_equal(begun, MAX_HOSTS);
    launch_fanout_free(r.f);
}

static void test_one_that_fails_stops_the_rest(void **state)
{
    (void)state;
    struct rig r;
    init(&r, 3, 3);
    assert_effects(&r, "start 0, start 1, start 2");
    launch_fanout_hello(r.f, 0, 10);
    launch_fanout_ended(r.f, 1, 255, 0, "n1: no", 100);
    assert_effects(&r, "say");
    assert_int_equal(launch_fanout_deadline(r.f), 100 + LAUNCH_SETTLE_MS);
    launch_fanout_tick(r.f, 100 + LAUNCH_SETTLE_MS);
    assert_effects(&r, "say, kill 0, kill 2");
    launch_fanout_ended(r.f, 0, 0, SIGKILL, "n0: killed", 2200);
    assert_effects(&r, "");
    launch_fanout_ended(r.f, 2, 0, SIGKILL, "n2: killed", 2200);
    assert_effects(&r, "say, exit 1");
    launch_fanout_free(r.f);
    /* Nobody is left to wait for: at once. */
    init(&r, 2, 2);
    assert_effects(&r, "start 0, start 1");
    launch_fanout_hello(r.f, 0, 10);
    launch_fanout_ended(r.f, 1, 127, 0, "n1: no", 100);
    assert_effects(&r, "say, kill 0");
    launch_fanout_ended(r.f, 0, 1, 0, "n0: no", 100);
    assert_effects(&r, "say, exit 1");
    launch_fanout_free(r.f);
}

static void test_a_login_that_hangs(void **state)
{
    (void)state;
    struct rig r;
    init(&r, 2, 2);
    assert_effects(&r, "start 0, start 1");
    launch_fanout_hello(r.f, 0, 10);
    assert_int_equal(launch_fanout_deadline(r.f), LAUNCH_PROGRESS_MS);
    launch_fanout_tick(r.f, LAUNCH_PROGRESS_MS);
    assert_effects(&r, "say");
    for (int64_t at = 2 * LAUNCH_PROGRESS_MS; at < LAUNCH_REACH_MS; at += LAUNCH_PROGRESS_MS) {
        launch_fanout_tick(r.f, at);
        assert_effects(&r, "say");
    }
    launch_fanout_tick(r.f, LAUNCH_REACH_MS);
    assert_effects(&r, "say, kill 1, say");
    launch_fanout_ended(r.f, 1, 0, SIGKILL, "n1: killed", LAUNCH_REACH_MS);
    assert_effects(&r, "kill 0");
    launch_fanout_ended(r.f, 0, 0, SIGKILL, "n0: killed", LAUNCH_REACH_MS);
    assert_effects(&r, "say, exit 1");
    launch_fanout_free(r.f);
}

static void test_status_is_the_agents(void **state)
{
    static const struct {
        int ends[3];
        int signo; /* of the first */
        int status;
    } cases[] = {
        {{7, 7, 7}, 0, 7},       {{0, 9, 0}, 0, 9},       {{255, 7, 7}, 0, 7}, {{0, 7, 255}, 0, 7},
        {{255, 255, 0}, 0, 255}, {{0, 143, 143}, 9, 143}, {{0, 0, 0}, 9, 1},
    };
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct rig r;
        begin_three(&r, 1);
        for (size_t k = 0; k < 3; k++) {
            launch_fanout_ended(r.f, k, cases[i].ends[k], k == 0 ? cases[i].signo : 0, "", 20);
        }
        mu_autofree char *found = take_all(&r);
        char expected[32];
        snprintf(expected, sizeof(expected), "exit %d", cases[i].status);
        assert_non_null(strstr(found, expected));
        launch_fanout_free(r.f);
    }
}

static void test_who_does_not_end_is_ended(void **state)
{
    (void)state;
    struct rig r;
    begin_three(&r, 3);
    launch_fanout_ended(r.f, 1, 2, 0, "", 100);
    assert_effects(&r, "");
    assert_int_equal(launch_fanout_deadline(r.f), 100 + LAUNCH_LINGER_MS);
    launch_fanout_tick(r.f, 100 + LAUNCH_LINGER_MS);
    assert_effects(&r, "say, signal 0 15, signal 2 15");
    int64_t end = launch_fanout_deadline(r.f);
    assert_int_equal(end, 100 + 2 * LAUNCH_LINGER_MS + 1000);
    launch_fanout_tick(r.f, end);
    assert_effects(&r, "kill 0, kill 2");
    launch_fanout_ended(r.f, 0, 0, SIGKILL, "", end);
    launch_fanout_ended(r.f, 2, 0, SIGKILL, "", end);
    assert_effects(&r, "exit 2");
    launch_fanout_free(r.f);
    /* An elastic job goes on with two. */
    begin_three(&r, 2);
    launch_fanout_ended(r.f, 1, 2, 0, "", 100);
    assert_effects(&r, "");
    assert_int_equal(launch_fanout_deadline(r.f), INT64_MAX);
    launch_fanout_free(r.f);
}

static void test_signals(void **state)
{
    (void)state;
    struct rig r;
    begin_three(&r, 3);
    launch_fanout_pass(r.f, SIGUSR1, 20);
    assert_effects(&r, "signal 0 10, signal 1 10, signal 2 10");
    launch_fanout_signal(r.f, SIGINT, 30);
    assert_effects(&r, "signal 0 2, signal 1 2, signal 2 2");
    assert_int_equal(launch_fanout_deadline(r.f), INT64_MAX);
    launch_fanout_ended(r.f, 0, 130, 0, "", 40);
    launch_fanout_signal(r.f, SIGINT, 50);
    assert_effects(&r, "signal 1 2, signal 2 2");
    assert_int_equal(launch_fanout_deadline(r.f), 50 + LAUNCH_KILL_MS);
    launch_fanout_signal(r.f, SIGINT, 60);
    assert_effects(&r, "signal 1 2, signal 2 2, kill 1, kill 2");
    launch_fanout_ended(r.f, 1, 0, SIGKILL, "", 70);
    launch_fanout_ended(r.f, 2, 0, SIGKILL, "", 70);
    assert_effects(&r, "exit 130");
    launch_fanout_free(r.f);
}

static void test_a_signal_before_it_begins(void **state)
{
    (void)state;
    struct rig r;
    init(&r, MAX_HOSTS, 1);
    mu_autofree char *started = take_all(&r);
    launch_fanout_hello(r.f, 0, 1);
    assert_effects(&r, "start 64");
    launch_fanout_signal(r.f, SIGTERM, 10);
    mu_autofree char *killed = take_all(&r);
    assert_non_null(strstr(killed, "kill 0, kill 1,"));
    assert_null(strstr(killed, "kill 65")); /* it was never started */
    launch_fanout_hello(r.f, 1, 11);
    for (size_t i = 0; i <= 64; i++) {
        launch_fanout_ended(r.f, i, 0, SIGKILL, "", 20);
    }
    assert_effects(&r, "exit 143");
    launch_fanout_free(r.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_when_all_answer),
        cmocka_unit_test(test_logins_at_once_are_limited),
        cmocka_unit_test(test_one_that_fails_stops_the_rest),
        cmocka_unit_test(test_a_login_that_hangs),
        cmocka_unit_test(test_status_is_the_agents),
        cmocka_unit_test(test_who_does_not_end_is_ended),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_a_signal_before_it_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
