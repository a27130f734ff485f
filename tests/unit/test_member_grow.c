/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that join a job which runs on fewer than it may: `--scale-up`. */
#include "tests/unit/member_rig.h"

/* Nodes 0 and 1 run, one worker each, of up to `max`; effects forgotten. */
static void run_small(uint32_t max, enum job_scale_up scale_up)
{
    hello.min_nodes = 1;
    hello.max_nodes = max;
    hello.slots = 1;
    hello.scale_up = (uint8_t)scale_up;
    join("node1");
    join("node2");
    pass(4000, 2);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    forget();
}

static void hear_stopped_worker(uint32_t node, struct outcome o, enum cause_blame blame)
{
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = member_look(m).round,
                                     .pid = 500,
                                     .kind = (uint8_t)o.kind,
                                     .code = o.code,
                                     .cause = CAUSE_EXIT,
                                     .blame = (uint8_t)blame}};
    assert_int_equal(hear(node, &msg), 0);
}

static void stop_all(uint32_t nodes)
{
    uint32_t round = member_look(m).round;
    struct outcome term = {.kind = OUTCOME_SIGNALED, .code = SIGTERM};
    for (uint32_t i = 0; i < nodes; i++) {
        hear_stopped_worker(i, term, CAUSE_ORDERED);
        hear_stopped(i, round, 0);
    }
}

static void test_at_once_when_max_are_here(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    expect("2 WELCOME; 0 STOP r1 sig 15 grace 1000; 1 STOP r1 sig 15 grace 1000");
    expect_said("node3 joined: a new round with 3 nodes instead of 2, which costs no restart");
    stop_all(2);
    expect("round 2; 0 ASSIGN r2 node 0/3 ranks 0/3; 1 ASSIGN r2 node 1/3 ranks 1/3; "
           "2 ASSIGN r2 node 2/3 ranks 2/3");
    assert_int_equal(member_look(m).restarts, 0);
    assert_false(member_look(m).failure->is_set);
}

/* Two failures of the same way, but with a round between them that did not fail. */
static void test_growth_is_no_failure(void **state)
{
    (void)state;
    struct outcome exited_3 = {.kind = OUTCOME_EXITED, .code = 3};
    hello.min_uptime_ms = 60000;
    hello.max_restarts = 5;
    run_small(3, JOB_SCALE_UP_NOW);
    hear_stopped_worker(0, exited_3, CAUSE_OWN);
    stop_all(2);
    assert_int_equal(member_look(m).round, 2);
    join("node3");
    stop_all(2);
    assert_int_equal(member_look(m).round, 3);
    hear_stopped_worker(0, exited_3, CAUSE_OWN);
    stop_all(3);
    assert_int_equal(member_look(m).round, 4);
    hear_stopped_worker(0, exited_3, CAUSE_OWN);
    stop_all(3);
    assert_int_equal(state_now(), MEMBER_ENDED);
}

static void test_after_the_last_call(void **state)
{
    (void)state;
    run_small(5, JOB_SCALE_UP_NOW);
    join("node3");
    expect("2 WELCOME; 2 WAITING");
    expect_said("job 'j' runs on 2 nodes; node3 will be in a new round in 3 s, or once 5 nodes "
                "are there");
    pass(5000, 3);
    join("node4"); /* the time counts from the first */
    forget();
    pass(6999, 4);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(7000, 4);
    assert_int_equal(state_now(), MEMBER_STOPPING);
    expect_said("node3, node4 joined: a new round with 4 nodes instead of 2");
}

/* The newcomers of a round that failed meanwhile are in: the next one has a last call of its own.
 */
static void test_last_call_ends_with_the_round(void **state)
{
    (void)state;
    hello.max_restarts = 1;
    run_small(5, JOB_SCALE_UP_NOW);
    int64_t begin = now;
    join("node3");
    now = begin + 2000;
    hear_exit(0, 1, 0, 3);
    stop_all(2);
    assert_int_equal(member_look(m).round, 2);
    join("node4");
    int64_t joined = now;
    pass(joined + hello.last_call_ms - 1, 4);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(joined + hello.last_call_ms, 4);
    assert_int_equal(state_now(), MEMBER_STOPPING);
}

static void test_newcomer_is_lost_again(void **state)
{
    (void)state;
    run_small(4, JOB_SCALE_UP_NOW);
    lose(join("node3"));
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(9000, 2);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    join("node3"); /* with a time of its own */
    pass(11999, 4);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(12000, 4);
    assert_int_equal(state_now(), MEMBER_STOPPING);
}

static void test_newcomer_is_lost_while_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    lose(2);
    forget();
    stop_all(2);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/2; 1 ASSIGN r2 node 1/2 ranks 1/2");
    assert_int_equal(member_look(m).restarts, 0);
}

/* It still has workers of an earlier round: the others do not wait for their end. */
static void test_busy_newcomer(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    hello.current_round = 9;
    hello.is_busy = 1;
    hello.node_count = 1;
    hello.world_size = hello.role_world_size = hello.slots;
    join("node3");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    hear_stopped(2, 9, 0);
    assert_int_equal(state_now(), MEMBER_STOPPING);
}

static void test_failure_in_the_last_call(void **state)
{
    (void)state;
    hello.max_restarts = 1;
    run_small(4, JOB_SCALE_UP_NOW);
    join("node3");
    hear_exit(0, 1, 0, 3);
    forget();
    stop_all(2);
    expect("round 2; 0 ASSIGN r2 node 0/3 ranks 0/3; 1 ASSIGN r2 node 1/3 ranks 1/3; "
           "2 ASSIGN r2 node 2/3 ranks 2/3");
    assert_int_equal(member_look(m).restarts, 1);
    pass(20000, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING); /* node3 is in already */
}

/* It failed by itself before the order came: that counts. */
static void test_failure_while_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    hear_stopped_worker(0, (struct outcome){.kind = OUTCOME_EXITED, .code = 3}, CAUSE_OWN);
    stop_all(2);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 3);
}

static void test_consequences_of_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    hear_stopped_worker(0, (struct outcome){.kind = OUTCOME_EXITED, .code = 1}, CAUSE_COLLATERAL);
    stop_all(2);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_int_equal(member_look(m).round, 2);
    assert_int_equal(member_look(m).restarts, 0);
}

static void test_node_lost_while_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_int_equal(member_look(m).world_size, 2);
    assert_int_equal(member_look(m).restarts, 0);
}

static void test_stop_signal_while_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    hear_leave(1, SIGTERM);
    stop_all(2);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 128 + SIGTERM);
}

static void test_success_in_the_last_call(void **state)
{
    (void)state;
    run_small(4, JOB_SCALE_UP_NOW);
    join("node3");
    hear_exit(0, 1, 0, 0);
    hear_stopped(0, 1, 0);
    pass(20000, 3); /* a worker has finished: the round is left alone */
    join("node4");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    hear_exit(1, 1, 0, 0);
    hear_stopped(1, 1, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 0);
}

/* All had ended by themselves when the order came. */
static void test_success_while_stopping(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    for (uint32_t i = 0; i < 2; i++) {
        hear_stopped_worker(i, (struct outcome){.kind = OUTCOME_EXITED}, CAUSE_OWN);
        hear_stopped(i, 1, 0);
    }
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 0);
}

/* Who saves its state at SIGTERM and ends with 0 has not done its work. */
static void test_obedience_is_not_success(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    join("node3");
    hear_stopped_worker(0, (struct outcome){.kind = OUTCOME_EXITED}, CAUSE_OWN);
    hear_stopped_worker(1, (struct outcome){.kind = OUTCOME_EXITED}, CAUSE_ORDERED);
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 0);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_int_equal(member_look(m).round, 2);
    assert_int_equal(member_look(m).world_size, 3);
}

static void test_next_restart(void **state)
{
    (void)state;
    hello.max_restarts = 1;
    run_small(3, JOB_SCALE_UP_NEXT_RESTART);
    join("node3");
    expect("2 WELCOME; 2 WAITING");
    expect_said("job 'j' runs on 2 nodes; node3 waits for its next round");
    pass(20000, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    hear_exit(0, 1, 0, 3);
    stop_all(2);
    assert_int_equal(member_look(m).world_size, 3);
}

static void test_never(void **state)
{
    (void)state;
    hello.max_restarts = 1;
    run_small(3, JOB_SCALE_UP_NEVER);
    join("node3");
    expect_said("job 'j' runs on other nodes; node3 stands by to take the place of one");
    forget();
    hear_exit(0, 1, 0, 3);
    stop_all(2);
    expect("0 STOP r1 sig 15 grace 1000; 1 STOP r1 sig 15 grace 1000; round 2; "
           "0 ASSIGN r2 node 0/2 ranks 0/2; 1 ASSIGN r2 node 1/2 ranks 1/2; 2 WAITING");
    lose(0);
    forget();
    hear_stopped(1, 2, 0);
    expect("round 3; 2 ASSIGN r3 node 0/2 ranks 0/2; 1 ASSIGN r3 node 1/2 ranks 1/2");
    lose(1);
    hear_stopped(2, 3, 0);
    assert_int_equal(member_look(m).world_size, 1); /* shrunk, and never grows again */
    join("node4");
    pass(60000, 5);
    assert_int_equal(member_look(m).world_size, 1);
}

/* What the agent of place `place` of 2 says on a new connection; one worker each. */
static struct ctl_hello session_of(uint32_t place, uint32_t round)
{
    struct ctl_hello h = hello;
    h.node_name = mu_slice_of(place == 0 ? "node1" : "node2");
    h.agent_id = 100 + place;
    h.current_round = round;
    h.is_busy = 1;
    h.place = h.first_rank = h.role_first_rank = place;
    h.node_count = h.world_size = h.role_world_size = 2;
    return h;
}

static void come_back(uint32_t place, uint32_t round)
{
    struct ctl_hello h = session_of(place, round);
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_join(m, &h, "10.0.0.1", now, &err), place);
    rig_take();
}

/* The round that is stopped would have to wait for it. */
static void test_somebody_is_away(void **state)
{
    (void)state;
    run_small(3, JOB_SCALE_UP_NOW);
    member_lost(m, 1, false, "connection reset", now);
    join("node3");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    come_back(1, 1);
    assert_int_equal(state_now(), MEMBER_STOPPING);
}

/* A coordinator that is new knows how many nodes the round has that it takes over. */
static void test_adopted_round_grows(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    hello.max_nodes = 3;
    hello.slots = 1;
    come_back(0, 4);
    come_back(1, 4);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    hello.agent_id = 200;
    forget();
    join("node3");
    expect("2 WELCOME; 0 STOP r4 sig 15 grace 1000; 1 STOP r4 sig 15 grace 1000");
    stop_all(2);
    expect("round 5; 0 ASSIGN r5 node 0/3 ranks 0/3; 1 ASSIGN r5 node 1/3 ranks 1/3; "
           "2 ASSIGN r5 node 2/3 ranks 2/3");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_growth_is_no_failure),
        TEST(test_at_once_when_max_are_here),
        TEST(test_after_the_last_call),
        TEST(test_last_call_ends_with_the_round),
        TEST(test_newcomer_is_lost_again),
        TEST(test_newcomer_is_lost_while_stopping),
        TEST(test_busy_newcomer),
        TEST(test_failure_in_the_last_call),
        TEST(test_failure_while_stopping),
        TEST(test_consequences_of_stopping),
        TEST(test_node_lost_while_stopping),
        TEST(test_stop_signal_while_stopping),
        TEST(test_success_in_the_last_call),
        TEST(test_success_while_stopping),
        TEST(test_obedience_is_not_success),
        TEST(test_next_restart),
        TEST(test_never),
        TEST(test_somebody_is_away),
        TEST(test_adopted_round_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
