/* SPDX-License-Identifier: Apache-2.0 */
/* Another round or the end: each rule by itself, and which goes before which. */
#include "rendezvous/restart_policy.h"

#include "muster/mem.h"
#include "rendezvous/member.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SECOND = 1000, HOUR = 3600 * SECOND };

static struct restart_history history;
static struct job_policy policy;
static struct member_failure failure;
static struct restart_case that;
static int64_t now;

static int setup(void **state)
{
    (void)state;
    history = (struct restart_history){0};
    policy = (struct job_policy){.min_nodes = 2,
                                 .max_nodes = 2,
                                 .max_restarts = 3,
                                 .max_node_losses = 2,
                                 .min_uptime_ms = 10 * SECOND};
    failure = (struct member_failure){.is_set = true,
                                      .outcome = {.kind = OUTCOME_EXITED, .code = 1},
                                      .cause = CAUSE_EXIT,
                                      .sentence = (char *)(uintptr_t) "",
                                      .message = (char *)(uintptr_t) ""};
    that = (struct restart_case){.failure = &failure, .uptime_ms = HOUR, .has_enough = true};
    now = 1000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    restart_history_fini(&history);
    return 0;
}

static struct restart_decision decide(void)
{
    return restart_decide(&history, &policy, &that, now);
}

static void expect(enum restart_verdict verdict)
{
    assert_int_equal(decide().verdict, verdict);
}

static void expect_end(const char *why)
{
    struct restart_decision d = decide();
    assert_int_equal(d.verdict, RESTART_NONE);
    assert_string_equal(d.why, why);
}

static void exits_with(int code)
{
    failure.outcome = (struct outcome){.kind = OUTCOME_EXITED, .code = code};
}

static void killed_by(int signo)
{
    failure.outcome = (struct outcome){.kind = OUTCOME_SIGNALED, .code = signo};
    failure.cause = CAUSE_SIGNAL;
}

static void says(const char *sentence)
{
    failure.sentence = (char *)(uintptr_t)sentence;
}

/* ---- the budget ---- */

static void test_budget(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(restart_used(&history, &policy, now), i);
        expect(RESTART_COUNTED);
        now += 100 * HOUR;
    }
    expect_end("no restart is left, 3 of 3 are used");
    assert_false(decide().is_notable);
    assert_int_equal(history.count, 3);
    policy.max_restarts = 0;
    expect_end("--max-restarts is 0");
}

static void test_window(void **state)
{
    (void)state;
    policy.restart_window_ms = HOUR;
    for (int i = 0; i < 100; i++) { /* three in any hour, for ever */
        expect(RESTART_COUNTED);
        now += HOUR / 3;
    }
    assert_int_equal(history.count, 100);
    assert_int_equal(restart_used(&history, &policy, now), 2);
    expect(RESTART_COUNTED);
    expect_end("no restart is left, 3 of 3 are used within 1 h");
    now += HOUR / 3 - 1; /* the oldest is as old as the window in another millisecond */
    expect(RESTART_NONE);
    now += 1;
    expect(RESTART_COUNTED);
}

/* ---- stop, retry, programs that are none ---- */

static void test_stop_codes(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(exit_codes_parse("3", &policy.stop_codes, &err), 0);
    exits_with(3);
    expect_end("exit status 3 is one of --stop-exit-codes");
    assert_true(decide().is_notable);
    failure.was_ending = true; /* its status was ours */
    expect(RESTART_COUNTED);
    failure.was_ending = false;
    killed_by(3);
    expect(RESTART_COUNTED);
    failure.is_node = true;
    exits_with(3);
    expect(RESTART_COUNTED);
}

static void test_retry_codes(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(exit_codes_parse("75", &policy.retry_codes, &err), 0);
    exits_with(75);
    that.uptime_ms = 10 * SECOND;
    for (int i = 0; i < 50; i++) {
        expect(RESTART_FREE);
    }
    assert_string_equal(decide().why, "exit status 75 asks for a restart, which costs none");
    assert_int_equal(history.count, 0);
    that.uptime_ms = 10 * SECOND - 1; /* too soon: the budget, but it is not "the same way" */
    for (int i = 0; i < 3; i++) {
        expect(RESTART_COUNTED);
    }
    expect_end("exit status 75 asks for a restart, which costs one so soon after the start, but no "
               "restart is left, 3 of 3 are used");
    assert_true(decide().is_notable);
    that.uptime_ms = HOUR;
    expect(RESTART_FREE);
}

static void test_no_program(void **state)
{
    (void)state;
    failure.cause = CAUSE_EXEC;
    failure.outcome =
        (struct outcome){.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_SCRIPT, .code = 2};
    expect_end("what cannot be executed would fail the same way again");
    failure.outcome.stage = OUTCOME_STAGE_PROGRAM;
    expect(RESTART_NONE);
    failure.outcome.stage = OUTCOME_STAGE_FORK; /* no process could be made just then */
    expect(RESTART_COUNTED);
}

/* ---- the same way ---- */

static void test_same_way(void **state)
{
    (void)state;
    that.uptime_ms = SECOND;
    failure.cause = CAUSE_EXCEPTION;
    says("ValueError: rank 3 of 8 at 0x7f00aBcd");
    failure.rank = 3;
    expect(RESTART_COUNTED);
    says("ValueError: rank 17 of 8 at 0x11"); /* another rank of another node is heard of first */
    failure.rank = 17;
    failure.node = 2;
    expect_end("failed the same way twice within 10 s of its start (ValueError: rank 17 of 8 at "
               "0x11): restarting would not help (--min-uptime 0 does it nevertheless)");
    assert_int_equal(history.count, 1);
}

static void test_not_the_same_way(void **state)
{
    (void)state;
    policy.max_restarts = 1000;
    that.uptime_ms = SECOND;
    for (int i = 0; i < 10; i++) { /* in turns */
        says(i % 2 == 0 ? "KeyError: 'a'" : "KeyError: 'b'");
        expect(RESTART_COUNTED);
    }
    for (int i = 0; i < 10; i++) {
        exits_with(2 + i);
        expect(RESTART_COUNTED);
    }
    for (int i = 0; i < 10; i++) { /* one that ran long in between */
        that.uptime_ms = i % 2 == 0 ? HOUR : SECOND;
        expect(RESTART_COUNTED);
    }
    that.uptime_ms = SECOND;
    policy.min_uptime_ms = 0;
    for (int i = 0; i < 10; i++) { /* switched off */
        expect(RESTART_COUNTED);
    }
    that.uptime_ms = -1;
    expect(RESTART_COUNTED);
    expect(RESTART_COUNTED);
}

/* Somebody killed it, or others did: that says nothing about the next round. */
static void test_from_outside(void **state)
{
    (void)state;
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP};
    policy.max_restarts = 1000;
    that.uptime_ms = SECOND;
    for (size_t i = 0; i < MU_COUNT(signals); i++) {
        killed_by(signals[i]);
        expect(RESTART_COUNTED);
        expect(RESTART_COUNTED);
        exits_with(128 + signals[i]);
        expect(RESTART_COUNTED);
        expect(RESTART_COUNTED);
    }
    exits_with(1);
    failure.blame = CAUSE_COLLATERAL;
    expect(RESTART_COUNTED);
    expect(RESTART_COUNTED);
    failure.blame = CAUSE_OWN;
    failure.is_node = true;
    expect(RESTART_COUNTED);
    expect(RESTART_COUNTED);
    failure.is_node = false;
    killed_by(SIGSEGV);
    expect(RESTART_COUNTED);
    expect(RESTART_NONE);
}

/* What had failed before our signal ended it: its words count, not the signal. */
static void test_was_ending(void **state)
{
    (void)state;
    that.uptime_ms = SECOND;
    failure.cause = CAUSE_EXCEPTION;
    says("KeyError: 'a'");
    killed_by(SIGTERM);
    failure.cause = CAUSE_EXCEPTION;
    failure.was_ending = true;
    expect(RESTART_COUNTED);
    failure.outcome.code = SIGKILL;
    expect(RESTART_NONE);
}

/* Nothing started at all is as soon as can be. And without a restart left, that is the reason. */
static void test_never_started(void **state)
{
    (void)state;
    that.uptime_ms = -1;
    policy.max_restarts = 1;
    expect(RESTART_COUNTED);
    expect_end("no restart is left, 1 of 1 are used");
    policy.max_restarts = 2;
    expect_end("failed the same way twice within 10 s of its start (exited with status 1): "
               "restarting would not help (--min-uptime 0 does it nevertheless)");
}

/* ---- nodes, coordinators ---- */

static void test_lost_node(void **state)
{
    (void)state;
    failure.is_node = true;
    failure.outcome.kind = OUTCOME_UNKNOWN;
    that.is_lost_node = true;
    expect(RESTART_GO_ON);
    assert_int_equal(history.count, 0);
    that.has_enough = false;
    expect(RESTART_COUNTED);
    policy.max_restarts = 0;
    expect(RESTART_NONE);
    that.has_enough = true;
    expect(RESTART_GO_ON);
}

static void test_lost_coordinator(void **state)
{
    (void)state;
    that.is_from_other = true;
    expect(RESTART_COUNTED); /* a failure of its own */
    failure.blame = CAUSE_COLLATERAL;
    expect(RESTART_FREE);
    assert_int_equal(history.count, 1);
    expect(RESTART_COUNTED); /* once */
}

static void test_losses(void **state)
{
    (void)state;
    assert_int_equal(restart_losses(&history, &policy, "a", now), 0);
    restart_note_loss(&history, &policy, "a", 1, now);
    restart_note_loss(&history, &policy, "b", 1, now);
    restart_note_loss(&history, &policy, "a", 1, now + 5); /* two agents, one machine */
    assert_int_equal(restart_losses(&history, &policy, "a", now), 1);
    restart_note_loss(&history, &policy, "a", 2, now + 10);
    assert_int_equal(restart_losses(&history, &policy, "a", now + HOUR - 1), 2);
    assert_int_equal(restart_losses(&history, &policy, "a", now + HOUR + 5), 1);
    assert_int_equal(restart_losses(&history, &policy, "b", now + HOUR), 0);
    policy.restart_window_ms = 20;
    assert_int_equal(restart_losses(&history, &policy, "a", now + 19), 2);
    assert_int_equal(restart_losses(&history, &policy, "a", now + 25), 1);
}

/* However often nodes are lost, memory has an end. */
static void test_many_losses(void **state)
{
    (void)state;
    for (uint32_t round = 1; round <= 200000; round++) {
        restart_note_loss(&history, &policy, "a", round, now);
    }
    assert_true(history.loss_cap <= 4096);
    assert_true(restart_losses(&history, &policy, "a", now) >= 2048);
    assert_int_equal(restart_losses(&history, &policy, "a", now + HOUR), 0);
}

static void test_spans(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } spans[] = {{0, "0 s"},         {500, "0.5 s"},     {10000, "10 s"},  {90000, "90 s"},
                 {60000, "1 min"},   {600000, "10 min"}, {3600000, "1 h"}, {5400000, "90 min"},
                 {86400000, "24 h"}, {150000, "2.5 min"}};
    for (size_t i = 0; i < MU_COUNT(spans); i++) {
        char text[32];
        restart_span_text(spans[i].ms, text, sizeof(text));
        assert_string_equal(text, spans[i].text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_budget),           TEST(test_window),       TEST(test_stop_codes),
        TEST(test_retry_codes),      TEST(test_no_program),   TEST(test_same_way),
        TEST(test_not_the_same_way), TEST(test_from_outside), TEST(test_was_ending),
        TEST(test_never_started),    TEST(test_lost_node),    TEST(test_lost_coordinator),
        TEST(test_losses),           TEST(test_many_losses),  TEST(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
