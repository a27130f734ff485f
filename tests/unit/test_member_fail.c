/* SPDX-License-Identifier: Apache-2.0 */
/* Failures, restarts, lost nodes, stop orders and the report. Forming: test_member.c */
#include "tests/unit/member_rig.h"

/* Both nodes say that round `round` is over on them. */
static void test_worker_fails(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(1, 1, 1, 3);
    expect("0 STOP r1 sig 15 grace 1000; 1 STOP r1 sig 15 grace 1000");
    hear_killed(0, 1, 0, SIGTERM); /* ordered: no failure */
    hear_killed(0, 1, 1, SIGABRT); /* a consequence */
    hear_exit(1, 1, 0, 1);
    hear_stopped(1, 1, 0);
    expect("");
    hear_stopped(0, 1, 0);
    expect("0 END 3 report; 1 END 3; over 3");
    expect_said("job 'j' failed: rank 3 on node2 (local rank 1, pid 501) exited with status 3\n"
                "  round     1, after 0 of 0 restarts\n"
                "  then      2 more failures, as a consequence of it: exit status (2); 1 was "
                "stopped\n"
                "  last lines of its stderr:\n"
                "    | first\n"
                "    | last words\n"
                "  every worker of the job was stopped; exit status 3\n");
}

static void test_report_is_one_screen(void **state)
{
    (void)state;
    run_two(0);
    struct mu_buf tail = {0};
    for (int i = 0; i < 100; i++) {
        mu_buf_printf(&tail, "line %d\033[2J\r\n\r", i);
    }
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .kind = OUTCOME_EXITED,
                                     .code = 1,
                                     .tail = {(const char *)tail.data, tail.len}}};
    assert_int_equal(hear(0, &msg), 0);
    mu_buf_fini(&tail);
    stop_both(1);
    assert_null(strstr(rig_text(&said), "line 87"));
    assert_null(strchr(rig_text(&said), '\033'));
    expect_said("    | line 88?[2J\n    | line 89?[2J\n");
}

static void test_restart(void **state)
{
    (void)state;
    run_two(1);
    hear_killed(0, 1, 0, SIGSEGV);
    forget();
    stop_both(1);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
    expect_said("restart 1 of 1: rank 0 on node1 (local rank 0, pid 500) killed by SIGSEGV");
    hear_exit(0, 1, 1, 9); /* of the round before: late */
    expect("");
    hear_exit(0, 2, 1, 9);
    forget();
    stop_both(2);
    expect("0 END 9 report; 1 END 9; over 9");
}

static void test_success_of_some_is_not_success(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(0, 1, 0, 0);
    hear_exit(0, 1, 1, 0);
    hear_stopped(0, 1, 0);
    hear_exit(1, 1, 0, 0);
    hear_exit(1, 1, 1, 4);
    expect("1 STOP r1 sig 15 grace 1000"); /* node 0 has nothing left to stop */
    hear_stopped(1, 1, 0);
    expect("0 END 4 report; 1 END 4; over 4");
}

static void test_unknown_is_not_success(void **state)
{
    (void)state;
    run_two(0);
    hear_exited(0, 1, 0, (struct outcome){.kind = OUTCOME_UNKNOWN});
    forget();
    stop_both(1);
    expect("0 END 1 report; 1 END 1; over 1");
}

static void test_node_lost(void **state)
{
    (void)state;
    run_two(0);
    lose(1);
    expect("drop 1; 0 STOP r1 sig 15 grace 1000");
    hear_stopped(0, 1, 0);
    expect("0 END 1 report; over 1");
    expect_said("job 'j' failed: node node2 (10.0.0.1) was lost: connection reset\n");
}

/* No restart is spent for a node whose place another takes. */
static void test_spare_takes_over(void **state)
{
    (void)state;
    run_two(0);
    join("node3");
    forget();
    lose(0);
    expect("drop 0; 1 STOP r1 sig 15 grace 1000");
    hear_stopped(1, 1, 0);
    expect("round 2; 2 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
    assert_int_equal(member_look(m).restarts, 0);
}

static void test_replacement(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_FORMING);
    forget();
    now += 50000;
    hear_heartbeat(0);
    join("node9");
    expect("0 HEARTBEAT; 2 WELCOME; round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; "
           "2 ASSIGN r2 node 1/2 ranks 2/4");
}

static void test_no_replacement(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    forget();
    pass(now + 60000, 1);
    assert_int_equal(state_now(), MEMBER_ENDED);
    expect_said("  waited    60.0 s for a replacement: none joined");
}

/* A worker failed, then the node was lost too: the worker's status is the job's. */
static void test_culprit_is_the_first(void **state)
{
    (void)state;
    run_two(1);
    hear_exit(1, 1, 0, 42);
    lose(1);
    hear_stopped(0, 1, 0);
    pass(now + 60000, 1);
    assert_int_equal(member_look(m).exit_status, 42);
}

static void test_elastic_goes_on(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    run_two(0);
    lose(0);
    hear_stopped(1, 1, 0);
    expect("drop 0; 1 STOP r1 sig 15 grace 1000; round 2; 1 ASSIGN r2 node 0/1 ranks 0/2");
    lose(1);
    expect("drop 1; over 1");
}

/* All nodes are lost: the job of a stand-alone coordinator ends by its deadline. */
static void test_all_lost(void **state)
{
    (void)state;
    run_two(3);
    lose(0);
    lose(1);
    assert_int_equal(state_now(), MEMBER_FORMING);
    pass(now + 60000, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
}

/* An agent that just stops its workers: restarts are spent, it does not go on for ever. */
static void test_agent_stops_by_itself(void **state)
{
    (void)state;
    run_two(1);
    hear_stopped(0, 1, 0);
    expect("1 STOP r1 sig 15 grace 1000");
    hear_stopped(1, 1, 0);
    forget();
    hear_stopped(0, 2, 0);
    hear_stopped(1, 2, 0);
    expect("1 STOP r2 sig 15 grace 1000; 0 END 1 report; 1 END 1; over 1");
    expect_said("node node1 (10.0.0.1) was lost: its agent stopped the workers");
}

/* Cut off from us, its agent ended the workers; they saved their state and ended with 0. */
static void test_agent_stops_obedient_workers(void **state)
{
    (void)state;
    run_two(0);
    for (uint32_t i = 0; i < 2; i++) {
        struct ctl_msg msg = {
            .type = CTL_EXITED,
            .exited = {
                .round = 1, .local_rank = i, .kind = OUTCOME_EXITED, .blame = CAUSE_ORDERED}};
        hear_exit(0, 1, i, 0);
        assert_int_equal(hear(1, &msg), 0);
    }
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 0);
    expect_said("node node2 (10.0.0.1) was lost: its agent stopped the workers");
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 1);
}

static void test_does_not_stop(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(0, 1, 0, 3);
    hear_stopped(0, 1, 0);
    forget();
    pass(now + 1000 + 15000 - 1, 2);
    assert_int_equal(state_now(), MEMBER_STOPPING);
    pass(now + 1, 2);
    assert_int_equal(state_now(), MEMBER_ENDED);
    expect_said("did not stop its workers in time");
}

/* Not given up because the coordinator itself stood still. */
static void test_pause_while_stopping(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(0, 1, 0, 3);
    tick_at(now + 100000);
    assert_int_equal(state_now(), MEMBER_STOPPING);
    stop_both(1);
    assert_int_equal(member_look(m).exit_status, 3);
}

/* Processes that survive SIGKILL: the node gets no ranks until they are gone. */
static void test_unkillable(void **state)
{
    (void)state;
    run_two(2);
    hear_exit(0, 1, 0, 1);
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 1);
    assert_int_equal(state_now(), MEMBER_FORMING);
    expect_said("node2: 1 processes of round 1 could not be killed");
    forget();
    hear_stopped(1, 1, 0);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
}

static void test_unkillable_replaced(void **state)
{
    (void)state;
    run_two(1);
    hear_exit(0, 1, 0, 1);
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 1);
    forget();
    join("node3");
    expect("2 WELCOME; round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 2 ASSIGN r2 node 1/2 ranks 2/4");
    hear_stopped(1, 1, 0); /* it is a spare now */
    expect("");
}

static void test_leave_stops_the_job(void **state)
{
    (void)state;
    run_two(3);
    hear_leave(1, SIGINT);
    expect("0 STOP r1 sig 2 grace 1000; 1 STOP r1 sig 2 grace 1000");
    hear_exit(0, 1, 0, 1); /* no failure any more */
    hear_leave(0, SIGTERM);
    expect("");
    hear_leave(1, SIGKILL);
    expect("0 STOP r1 sig 9 grace 0; 1 STOP r1 sig 9 grace 0");
    stop_both(1);
    expect("0 END 130; 1 END 130; over 130");
    expect_said("job 'j' was stopped by SIGINT on node2");
}

static void test_leave_while_waiting_for_a_replacement(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    forget();
    hear_leave(0, SIGTERM);
    expect("0 END 143; over 143");
}

static void test_stop_during_restart(void **state)
{
    (void)state;
    run_two(3);
    hear_exit(0, 1, 0, 1);
    forget();
    member_stop(m, SIGTERM, "SIGTERM", now);
    rig_take();
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 143);
}

/* Repeated orders give nobody more time. */
static void test_deadline_of_stopping_does_not_move(void **state)
{
    (void)state;
    run_two(0);
    hear_leave(1, SIGTERM);
    int64_t end = now + 1000 + 15000;
    for (int i = 0; i < 30 && state_now() == MEMBER_STOPPING; i++) {
        pass(now + 1000, 2);
        hear_leave(1, SIGKILL);
    }
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_true(now <= end);
}

static void test_joins_while_stopping(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    run_two(0);
    lose(0);
    join("node3");
    forget();
    hear_stopped(1, 1, 0);
    expect("round 2; 2 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
}

static void test_messages_after_the_end(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(0, 1, 0, 1);
    stop_both(1);
    forget();
    hear_exit(1, 1, 0, 2);
    hear_stopped(1, 1, 0);
    hear_leave(1, SIGTERM);
    lose(0);
    tick_at(now + 100000);
    member_stop(m, SIGTERM, "late", now);
    rig_take();
    expect("drop 0");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_worker_fails),
        TEST(test_report_is_one_screen),
        TEST(test_restart),
        TEST(test_success_of_some_is_not_success),
        TEST(test_unknown_is_not_success),
        TEST(test_node_lost),
        TEST(test_spare_takes_over),
        TEST(test_replacement),
        TEST(test_no_replacement),
        TEST(test_culprit_is_the_first),
        TEST(test_elastic_goes_on),
        TEST(test_all_lost),
        TEST(test_agent_stops_by_itself),
        TEST(test_agent_stops_obedient_workers),
        TEST(test_does_not_stop),
        TEST(test_pause_while_stopping),
        TEST(test_unkillable),
        TEST(test_unkillable_replaced),
        TEST(test_leave_stops_the_job),
        TEST(test_leave_while_waiting_for_a_replacement),
        TEST(test_stop_during_restart),
        TEST(test_deadline_of_stopping_does_not_move),
        TEST(test_joins_while_stopping),
        TEST(test_messages_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
