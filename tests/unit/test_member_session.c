/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that break and are made again, and coordinators that are started anew.
 */
#include "tests/unit/member_rig.h"

/* The agent of run_two()'s `place` speaks on a new connection. */
static struct ctl_hello session_of(uint32_t place)
{
    struct ctl_hello h = hello;
    h.node_name = place == 0 ? mu_slice_of("node1") : mu_slice_of("node2");
    h.agent_id = 100 + place;
    h.current_round = h.is_busy = 1;
    h.place = place;
    h.node_count = 2;
    h.first_rank = h.role_first_rank = 2 * place;
    h.world_size = h.role_world_size = 4;
    return h;
}

static int64_t come_back(const struct ctl_hello *h)
{
    struct mu_err err = MU_ERR_INIT;
    int64_t node = member_join(m, h, "10.0.0.1", now, &err);
    if (node < 0) {
        fail_msg("refused: %s", err.text);
    }
    rig_take();
    return node;
}

static void break_off(uint32_t node)
{
    member_lost(m, node, false, "connection reset by peer", now);
    rig_take();
}

static void test_comes_back(void **state)
{
    (void)state;
    run_two(0);
    break_off(1);
    expect("");
    expect_said("the connection to node2 (10.0.0.1) broke: connection reset by peer; it has 5.0 s");
    now += 4000;
    hear_heartbeat(0);
    forget();
    struct ctl_hello h = session_of(1);
    assert_int_equal(come_back(&h), 1);
    expect("1 WELCOME back");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    hear_exit(1, 1, 0, 0);
    hear_exit(1, 1, 0, 7); /* said again: the first counts */
    hear_exit(1, 1, 1, 0);
    hear_exit(0, 1, 0, 0);
    hear_exit(0, 1, 1, 0);
    stop_both(1);
    expect("0 END 0; 1 END 0; over 0");
}

/* Before it is known that the first connection is dead: the same, and no second node. */
static void test_comes_back_early(void **state)
{
    (void)state;
    run_two(0);
    struct ctl_hello h = session_of(1);
    assert_int_equal(come_back(&h), 1);
    expect("1 WELCOME back");
    assert_int_equal(member_look(m).node_count, 2);
}

static void test_does_not_come_back(void **state)
{
    (void)state;
    run_two(1);
    break_off(1);
    pass(5999, 1);
    forget();
    assert_int_equal(state_now(), MEMBER_RUNNING);
    tick_at(6000);
    expect("drop 1; 0 STOP r1 sig 15 grace 1000");
    expect_said("connection reset by peer, and it did not come back for 5.0 s");
    /* Its workers have a fifth of the timeout more to be gone. */
    hear_stopped(0, 1, 0);
    now += 500;
    join("node3");
    expect("2 WELCOME");
    tick_at(6999);
    expect("");
    tick_at(7000);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 2 ASSIGN r2 node 1/2 ranks 2/4");
}

/* Once it is given up it is a newcomer, and stops what it has. */
static void test_comes_back_too_late(void **state)
{
    (void)state;
    run_two(1);
    break_off(1);
    pass(6000, 1);
    hear_stopped(0, 1, 0);
    forget();
    struct ctl_hello h = session_of(1);
    assert_int_equal(come_back(&h), 2);
    expect("2 WELCOME");
    expect_said("node2 still has workers of round 1");
}

/* STOP and ASSIGN that were lost with the connection are sent again. */
static void test_catches_up(void **state)
{
    (void)state;
    run_two(1);
    break_off(1);
    hear_exit(0, 1, 0, 3);
    forget();
    now += 400;
    struct ctl_hello h = session_of(1);
    come_back(&h);
    expect("1 WELCOME back; 1 STOP r1 sig 15 grace 600");
    hear_stopped(0, 1, 0);
    break_off(1);
    forget();
    h.is_busy = 0;
    come_back(&h);
    expect("1 WELCOME back; 1 STOP r1 sig 15 grace 600");
    hear_stopped(1, 1, 0);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
    break_off(1);
    come_back(&h);
    expect("1 WELCOME back; 1 ASSIGN r2 node 1/2 ranks 2/4");
}

/* Neither ASSIGN nor STOP of a round arrived: nothing of it was started there. */
static void test_misses_a_whole_round(void **state)
{
    (void)state;
    run_two(1);
    break_off(1);
    hear_exit(0, 1, 0, 3);
    hear_stopped(0, 1, 0);
    forget();
    struct ctl_hello h = session_of(1);
    h.current_round = h.is_busy = 0;
    come_back(&h);
    expect(
        "1 WELCOME back; round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
}

/* No round begins without a node that may come back any moment. */
static void test_away_between_rounds(void **state)
{
    (void)state;
    run_two(1);
    hear_exit(0, 1, 0, 3);
    hear_stopped(1, 1, 0);
    break_off(1);
    hear_stopped(0, 1, 0);
    forget();
    assert_int_equal(state_now(), MEMBER_FORMING);
    tick_at(now + 1000);
    expect("");
    struct ctl_hello h = session_of(1);
    h.is_busy = 0;
    come_back(&h);
    expect(
        "1 WELCOME back; round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 1 ASSIGN r2 node 1/2 ranks 2/4");
}

/* The job ended meanwhile: it is told how. */
static void test_comes_back_after_the_end(void **state)
{
    (void)state;
    run_two(0);
    hear_exit(0, 1, 0, 9);
    hear_stopped(1, 1, 0);
    break_off(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
    forget();
    struct ctl_hello h = session_of(1);
    h.is_busy = 0;
    assert_true(member_knows(m, &h));
    come_back(&h);
    expect("1 WELCOME back; 1 END 9");
    h.agent_id = 999;
    assert_false(member_knows(m, &h));
}

/* Where the coordinator lives in an agent that leaves at the end, the end waits. */
static void test_end_waits_for_who_is_away(void **state)
{
    (void)state;
    run_two(0);
    for (uint32_t node = 0; node < 2; node++) {
        hear_exit(node, 1, 0, 0);
        hear_exit(node, 1, 1, 0);
    }
    hear_stopped(1, 1, 0);
    break_off(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    forget();
    struct ctl_hello h = session_of(1);
    h.is_busy = 0;
    come_back(&h);
    expect("1 WELCOME back; 0 END 0; 1 END 0; over 0");
}

static void test_end_does_not_wait_for_ever(void **state)
{
    (void)state;
    run_two(0);
    for (uint32_t node = 0; node < 2; node++) {
        hear_exit(node, 1, 0, 0);
        hear_exit(node, 1, 1, 0);
    }
    hear_stopped(1, 1, 0);
    break_off(1);
    hear_stopped(0, 1, 0);
    pass(6000, 1);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 0);
}

/* It was given up, and the job has ended without it: that is still its end, too. */
static void test_given_up_before_the_end(void **state)
{
    (void)state;
    run_two(0);
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
    forget();
    struct ctl_hello h = session_of(1);
    assert_int_equal(come_back(&h), 1);
    expect("1 WELCOME back; 1 END 1");
}

/* The place of a node that has fallen silent is not refused for good. */
static void test_successor_of_a_silent_node(void **state)
{
    (void)state;
    hello.node_rank = 0;
    join("node1");
    hello.node_rank = 1;
    join("node2");
    forget();
    now += 2001;
    hear_heartbeat(0);
    forget();
    refuse(MU_E_CANCELED, "--node-rank 1 is that of node2 (10.0.0.1, pid 10), which has not been "
                          "heard of for 2.0 s; it is free once that is given up");
    hear_heartbeat(1);
    forget();
    refuse(MU_E_REFUSED,
           "--node-rank 1 is taken by node2 (10.0.0.1, pid 10); every node needs its own");
}

/* ---- a coordinator that is new ---- */

static void test_adopts(void **state)
{
    (void)state;
    struct ctl_hello h = session_of(1);
    h.current_round = 5;
    h.restart_count = 1;
    h.max_restarts = 2;
    assert_int_equal(come_back(&h), 1);
    expect("round 5; 1 WELCOME back");
    expect_said("job 'j' is running already: taking over its round 5 of 2 nodes, 4 workers");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_true(member_look(m).is_adopted);
    assert_int_equal(member_look(m).restarts, 1);
    struct ctl_hello first = session_of(0);
    first.current_round = 5;
    assert_int_equal(come_back(&first), 0);
    expect("0 WELCOME back");
    hear_exit(0, 5, 0, 3);
    expect("0 STOP r5 sig 15 grace 1000; 1 STOP r5 sig 15 grace 1000");
    stop_both(5);
    expect("round 6; 0 ASSIGN r6 node 0/2 ranks 0/4; 1 ASSIGN r6 node 1/2 ranks 2/4");
    assert_int_equal(member_look(m).restarts, 2);
}

static void test_adopts_and_one_is_missing(void **state)
{
    (void)state;
    hello.max_restarts = 1;
    struct ctl_hello h = session_of(0);
    assert_int_equal(come_back(&h), 0);
    pass(5999, 1);
    forget();
    tick_at(6000);
    expect("drop 1; 0 STOP r1 sig 15 grace 1000");
    expect_said("node-rank-1 (its agent has not come back) was lost: the coordinator was started "
                "anew, and it did not come back for 5.0 s");
    hear_stopped(0, 1, 0);
    hello.agent_id = 300;
    join("node9");
    tick_at(7000);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_int_equal(member_look(m).round, 2);
}

/* Who missed the next round's ASSIGN comes back first: the later round is the one that runs. */
static void test_adopts_the_later_round(void **state)
{
    (void)state;
    struct ctl_hello h = session_of(0);
    h.is_busy = 0;
    come_back(&h);
    forget();
    struct ctl_hello later = session_of(1);
    later.current_round = 2;
    come_back(&later);
    expect("round 2; 3 WELCOME back");
    assert_int_equal(member_look(m).round, 2);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    for (; now < 8000; now += 500) {
        hear_heartbeat(0);
        hear_heartbeat(3);
        member_tick(m, now);
        rig_take();
        if (state_now() == MEMBER_STOPPING) {
            hear_stopped(3, 2, 0);
        }
    }
    assert_int_equal(member_look(m).round, 3); /* the first is used as a newcomer */
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

/* What is left of a round that its node was taken out of is no round to take over. */
static void test_does_not_adopt_a_remnant(void **state)
{
    (void)state;
    struct ctl_hello h = session_of(0);
    h.is_busy = CTL_BUSY_REMNANT;
    come_back(&h);
    expect("0 WELCOME");
    struct ctl_hello later = session_of(1);
    later.current_round = 2;
    assert_int_equal(come_back(&later), 2);
    expect("round 2; 2 WELCOME back");
}

/* A round that ran for hours under another coordinator is not one that failed at once. */
static void test_adopted_rounds_have_run_for_long(void **state)
{
    (void)state;
    hello.max_restarts = 5;
    hello.min_uptime_ms = 60000;
    struct ctl_hello h = session_of(1);
    come_back(&h);
    struct ctl_hello first = session_of(0);
    come_back(&first);
    hear_exit(0, 1, 0, 3);
    stop_both(1);
    assert_int_equal(member_look(m).round, 2);
    hear_exit(0, 2, 0, 3); /* the first time that it fails soon */
    stop_both(2);
    assert_int_equal(member_look(m).round, 3);
}

/* Not of a place that somebody has, nor one embedded in an agent, nor once a round has begun. */
static void test_does_not_adopt(void **state)
{
    (void)state;
    struct ctl_hello h = session_of(1);
    come_back(&h);
    h.agent_id = 555;
    forget();
    come_back(&h);
    expect("2 WELCOME; 2 WAITING");
    expect_said("node2 still has workers of round 1");
}

/* Spares come back first: the nodes that run a round may be slower. */
static void test_waits_for_a_round_to_adopt(void **state)
{
    (void)state;
    for (uint32_t place = 0; place < 2; place++) {
        struct ctl_hello h = session_of(place);
        h.agent_id += 10;
        h.coordinator_id = 5;
        h.current_round = h.is_busy = 0;
        come_back(&h);
    }
    expect("0 WELCOME; 1 WELCOME");
    for (int64_t end = now + 5999; now < end; now += 1000) {
        hear_heartbeat(0);
        hear_heartbeat(1);
        tick_at(now);
    }
    forget();
    assert_int_equal(state_now(), MEMBER_FORMING);
    tick_at(now);
    expect_said("round 1: 2 nodes");
}

static void test_embedded_does_not_adopt(void **state)
{
    (void)state;
    struct ctl_hello h = session_of(1);
    come_back(&h);
    expect("0 WELCOME");
    h = session_of(0);
    h.agent_id = 100;
    h.current_round = h.is_busy = 0;
    come_back(&h);
    expect("1 WELCOME");
    hear_stopped(0, 1, 0);
    expect("round 2; 1 ASSIGN r2 node 0/2 ranks 0/4; 0 ASSIGN r2 node 1/2 ranks 2/4");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_comes_back),
        TEST(test_comes_back_early),
        TEST(test_does_not_come_back),
        TEST(test_comes_back_too_late),
        TEST(test_catches_up),
        TEST(test_misses_a_whole_round),
        TEST(test_away_between_rounds),
        TEST(test_comes_back_after_the_end),
        TEST(test_given_up_before_the_end),
        TEST(test_successor_of_a_silent_node),
        TEST(test_adopts),
        TEST(test_adopts_and_one_is_missing),
        TEST(test_adopts_the_later_round),
        TEST(test_does_not_adopt),
        TEST(test_does_not_adopt_a_remnant),
        TEST(test_adopted_rounds_have_run_for_long),
        TEST(test_waits_for_a_round_to_adopt),
        cmocka_unit_test_setup_teardown(test_end_waits_for_who_is_away, rig_setup_embedded,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_end_does_not_wait_for_ever, rig_setup_embedded,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(test_embedded_does_not_adopt, rig_setup_embedded,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
