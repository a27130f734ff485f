/* SPDX-License-Identifier: Apache-2.0 */
/* Workers and signals: started, reported on, stopped, killed. The connection: test_agent_link.c */
#include "tests/unit/agent_rig.h"

static void test_life(void **state)
{
    (void)state;
    run(false);
    end_worker(0, 0);
    expect("EXITED 0 tail 0");
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("EXITED 1 tail 0; STOPPED r1 left 0");
    assert_int_equal(agent_get_state(a), AGENT_WAITING);
    hear_end(0);
    expect("exit 0");
    assert_true(agent_deadline(a) == INT64_MAX);
}

static void test_stop_with_wild_numbers(void **state)
{
    (void)state;
    run(false);
    hear_stop(1, 999, INT64_MAX);
    expect("signal 15");
    hear_stop(1, SIGINT, INT64_MIN);
    expect("kill");
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    forget();
    hear_end(256); /* not to be taken for 0 */
    expect("exit 1");
}

static void test_worker_fails(void **state)
{
    (void)state;
    run(false);
    end_worker(1, 3);
    expect("EXITED 1 tail 4; signal 15");
    hear_stop(1, SIGTERM, 1000);
    expect(""); /* once is enough */
    pass(1999, true);
    forget();
    pass(2000, true);
    expect("HEARTBEAT; kill");
    end_worker(0, 0);
    agent_workers_gone(a, now);
    expect("EXITED 0 ordered tail 0; STOPPED r1 left 0"); /* it may have work left */
    hear_assign(2);
    expect("start r2");
    hear_stop(1, SIGTERM, 1000); /* of the round before */
    expect("");
}

/* A later order never extends the grace time; another signal is passed on. */
static void test_earlier_grace_counts(void **state)
{
    (void)state;
    run(false);
    hear_stop(1, SIGTERM, 1000);
    now += 900;
    hear_stop(1, SIGINT, 1000);
    expect("signal 15; signal 2");
    pass(now + 100, true);
    expect_said("the grace time is over");
}

static void test_tail_is_cut(void **state)
{
    (void)state;
    run(false);
    static char text[MU_REPORT_TAIL + 100];
    memset(text, 'x', sizeof(text));
    struct mu_slice tail = {.ptr = text, .len = sizeof(text)};
    struct agent_exit x = {.outcome = {.kind = OUTCOME_UNKNOWN}, .tail = tail};
    agent_worker_exited(a, 0, &x, now);
    expect("EXITED 0 tail 4096; signal 15");
}

static void test_leftover(void **state)
{
    (void)state;
    run(false);
    end_worker(0, 0);
    end_worker(1, 0);
    forget();
    agent_leftover(a, 1, "pid 9, sleep", now);
    expect("signal 15");
    expect_said("the workers have ended but left 1 process behind (pid 9, sleep): stopping it");
    agent_workers_gone(a, now);
    expect("STOPPED r1 left 0");
}

/* Forked while the stop signal went round, and seen only when the workers are dead. */
static void test_leftover_of_a_stop(void **state)
{
    (void)state;
    run(false);
    hear_stop(1, SIGTERM, 1000);
    expect("signal 15");
    end_worker(0, 1);
    end_worker(1, 1);
    forget();
    agent_leftover(a, 1, "pid 9, sleep", now);
    expect("signal 15");
}

static void test_cannot_start(void **state)
{
    (void)state;
    join(false);
    hear_assign(1);
    forget();
    struct agent_exit x = {.outcome = {.kind = OUTCOME_EXEC_FAILED, .code = 2},
                           .message = mu_slice_of("no such program")};
    agent_start_failed(a, &x, now);
    expect("EXITED 0 tail 0; signal 15; STOPPED r1 left 0");
}

/* It says so, starts nothing more, and says so again to a coordinator it comes back to. */
static void test_unkillable(void **state)
{
    (void)state;
    run(false);
    hear_stop(1, SIGTERM, 0);
    end_worker(0, 0);
    forget();
    pass(now + 9999, true);
    assert_int_equal(agent_get_state(a), AGENT_STOPPING);
    forget();
    pass(now + 1, true);
    expect("HEARTBEAT; STOPPED r1 left 1");
    agent_disconnected(a, false, "reset", now);
    agent_connected(a, now);
    expect("HELLO r1");
    hear_welcome(false);
    expect("STOPPED r1 left 1");
    end_worker(1, 0);
    forget();
    agent_workers_gone(a, now);
    expect("STOPPED r1 left 0");
    hear_assign(2);
    expect("start r2");
}

static void test_signals(void **state)
{
    (void)state;
    run(false);
    agent_pass(a, SIGUSR1, now);
    expect("pass 10");
    agent_signal(a, SIGINT, now);
    expect("LEAVE 2; signal 2");
    hear_stop(1, SIGINT, 1000);
    expect("");
    agent_signal(a, SIGINT, now);
    expect("LEAVE 9; kill");
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("EXITED 0 ordered tail 0; EXITED 1 ordered tail 0; STOPPED r1 left 0");
    hear_end(130);
    expect("exit 130");
}

/* The third: the other nodes have a second to be killed in, and to be told how the job ended. */
static void test_third_signal(void **state)
{
    (void)state;
    run(true);
    agent_signal(a, SIGINT, now);
    agent_signal(a, SIGINT, now);
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    forget();
    agent_signal(a, SIGINT, now);
    expect("LEAVE 9");
    pass(now + 999, true);
    assert_int_equal(agent_get_state(a), AGENT_WAITING);
    forget();
    pass(now + 1, true);
    expect("HEARTBEAT; exit 130");
}

/* At a time limit Slurm sends SIGTERM, SIGCONT, SIGTERM within 20 ms: the grace time stays. */
static void test_signal_twice_at_once(void **state)
{
    (void)state;
    run(false);
    agent_signal(a, SIGTERM, now);
    expect("LEAVE 15; signal 15");
    now += 20;
    agent_signal(a, SIGTERM, now);
    agent_signal(a, SIGHUP, now);
    expect("");
    agent_signal(a, SIGINT, now);
    expect("LEAVE 9; kill");
}

static void test_second_signal_later(void **state)
{
    (void)state;
    run(false);
    agent_signal(a, SIGTERM, now);
    expect("LEAVE 15; signal 15");
    now += 1000;
    agent_signal(a, SIGTERM, now);
    expect("LEAVE 9; kill");
}

/* A checkpoint request before there are workers has nobody to go to. */
static void test_nothing_to_pass_to(void **state)
{
    (void)state;
    join(false);
    agent_pass(a, SIGUSR1, now);
    expect_said("SIGUSR1: there is no worker to pass it to");
    expect("");
    assert_int_equal(agent_get_state(a), AGENT_WAITING);
}

/* Other nodes take long to stop: it waits for END, but not for ever, and a fourth signal ends it.
 */
static void test_no_end(void **state)
{
    (void)state;
    run(false);
    agent_signal(a, SIGTERM, now);
    now += 1000;
    agent_signal(a, SIGTERM, now);
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    forget();
    pass(now + 20000, true);
    assert_int_equal(agent_get_state(a), AGENT_WAITING);
    forget();
    agent_signal(a, SIGTERM, now);
    expect("LEAVE 9");
    agent_signal(a, SIGTERM, now);
    expect("exit 143");
}

static void test_end_never_comes(void **state)
{
    (void)state;
    join(false);
    agent_signal(a, SIGTERM, now);
    expect("LEAVE 15");
    pass(now + 20999, true);
    forget();
    pass(now + 1, true);
    expect("HEARTBEAT; exit 143");
}

/* A question about a client: of this round it is looked at, of any other it is nobody's. */
static void test_whose(void **state)
{
    (void)state;
    struct ctl_msg whose = {.type = CTL_WHOSE,
                            .whose = {.token = 5, .round = 1, .pid = 77, .port = 4000}};
    join(false);
    hear(&whose);
    expect("OWNED 5 0");
    hear_assign(1);
    expect("start r1");
    hear(&whose);
    expect("look for pid 77 port 4000");
    agent_looked(a, 5, CTL_OWNED_SOCKET);
    expect("OWNED 5 3");
    whose.whose.round = 2;
    hear(&whose);
    expect("OWNED 5 0");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_stop_with_wild_numbers),
        TEST(test_worker_fails),
        TEST(test_earlier_grace_counts),
        TEST(test_tail_is_cut),
        TEST(test_leftover),
        TEST(test_leftover_of_a_stop),
        TEST(test_cannot_start),
        TEST(test_unkillable),
        TEST(test_signals),
        TEST(test_whose),
        TEST(test_third_signal),
        TEST(test_signal_twice_at_once),
        TEST(test_second_signal_later),
        TEST(test_nothing_to_pass_to),
        TEST(test_no_end),
        TEST(test_end_never_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
