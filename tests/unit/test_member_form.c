/* SPDX-License-Identifier: Apache-2.0 */
/* Who is waited for and who gets which place: spares, those who come back, fewer nodes. */
#include "tests/unit/member_rig.h"

static void fail_and_stop(uint32_t lost, const char *stopped)
{
    lose(lost);
    for (const char *p = stopped; *p != '\0'; p++) {
        hear_stopped((uint32_t)(*p - '0'), member_look(m).round, 0);
    }
}

static void set_nodes(uint32_t min, uint32_t max, uint32_t spares)
{
    hello.min_nodes = min;
    hello.max_nodes = max;
    hello.spares = spares;
    hello.slots = 1;
}

/* The last in order stands by, though it came first. */
static void test_waits_for_spares(void **state)
{
    (void)state;
    set_nodes(2, 2, 1);
    join("node3");
    join("node1");
    expect("0 WELCOME; 1 WELCOME");
    join("node2");
    expect("2 WELCOME; round 1; 1 ASSIGN r1 node 0/2 ranks 0/2; 2 ASSIGN r1 node 1/2 ranks 1/2; "
           "0 WAITING");
    expect_said("job 'j' runs on other nodes; node3 stands by to take the place of one");
}

/* The last to come is the spare, and begins the round: it is told once. */
static void test_spare_comes_last(void **state)
{
    (void)state;
    set_nodes(1, 1, 1);
    join("node1");
    join("node2");
    expect("0 WELCOME; 1 WELCOME; round 1; 0 ASSIGN r1 node 0/1 ranks 0/1; 1 WAITING");
}

static void test_begins_without_spares(void **state)
{
    (void)state;
    set_nodes(2, 2, 2);
    join("node1");
    pass(2000, 1);
    join("node2");
    join("node3");
    pass(4000, 3);
    expect_said("2/2 nodes and 1/2 spares joined (node1, node2, node3); starting in 2 s unless "
                "more join");
    assert_int_equal(state_now(), MEMBER_FORMING);
    pass(5000, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    assert_int_equal(member_look(m).world_size, 2);
}

/* A number beyond the places stands for a spare. */
static void test_node_rank_of_a_spare(void **state)
{
    (void)state;
    set_nodes(2, 2, 1);
    hello.node_rank = 3;
    hello.node_name = mu_slice_of("a");
    refuse(MU_E_REFUSED, "--node-rank 3, but the job has 2 nodes and 1 spare (0 to 2)");
    hello.node_rank = 2;
    join("a");
    hello.node_rank = 0;
    join("b");
    hello.node_rank = 1;
    join("c");
    expect("0 WELCOME; 1 WELCOME; 2 WELCOME; round 1; 1 ASSIGN r1 node 0/2 ranks 0/2; "
           "2 ASSIGN r1 node 1/2 ranks 1/2; 0 WAITING");
}

static void test_spare_is_lost(void **state)
{
    (void)state;
    set_nodes(2, 2, 1);
    join("node1");
    join("node2");
    join("node3");
    forget();
    lose(2);
    expect("drop 2");
    expect_said("node3 (10.0.0.1), which stood by, left: connection reset");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_spare_takes_the_place(void **state)
{
    (void)state;
    set_nodes(3, 3, 1);
    for (int i = 0; i < 4; i++) {
        join((const char *[]){"node1", "node2", "node3", "node4"}[i]);
    }
    forget();
    fail_and_stop(1, "02");
    expect("drop 1; 0 STOP r1 sig 15 grace 1000; 2 STOP r1 sig 15 grace 1000; round 2; "
           "0 ASSIGN r2 node 0/3 ranks 0/3; 3 ASSIGN r2 node 1/3 ranks 1/3; "
           "2 ASSIGN r2 node 2/3 ranks 2/3");
    expect_said("node4 takes the place of node2, node rank 1");
    assert_int_equal(member_look(m).restarts, 0);
}

/* It was lost and is back before the others have stopped: before a spare, who came long ago. */
static void test_who_returns_has_its_place(void **state)
{
    (void)state;
    set_nodes(3, 3, 1);
    for (int i = 0; i < 4; i++) {
        join((const char *[]){"node1", "node2", "node3", "node4"}[i]);
    }
    lose(1);
    hello.pid = 77;
    join("node2");
    forget();
    hear_stopped(0, 1, 0);
    hear_stopped(2, 1, 0);
    expect("round 2; 0 ASSIGN r2 node 0/3 ranks 0/3; 4 ASSIGN r2 node 1/3 ranks 1/3; "
           "2 ASSIGN r2 node 2/3 ranks 2/3; 3 WAITING");
    expect_said("node2 has its place again, node rank 1");
}

/* Below MIN: whoever comes meanwhile, and goes again, does not make it forget. */
static void test_places_are_remembered(void **state)
{
    (void)state;
    set_nodes(4, 4, 0);
    hello.max_restarts = 1;
    for (int i = 0; i < 4; i++) {
        join((const char *[]){"node1", "node2", "node3", "node4"}[i]);
    }
    lose(1);
    fail_and_stop(2, "03");
    assert_int_equal(state_now(), MEMBER_FORMING);
    lose(join("node3")); /* 4 */
    join("other");       /* 5 */
    forget();
    now += 2000;
    member_tick(m, now);
    rig_take();
    expect_said("3/4 nodes joined (node1, node4, other); waiting for 1 more; gone: node2, node3");
    forget();
    join("node3"); /* 6 */
    expect("6 WELCOME; round 2; 0 ASSIGN r2 node 0/4 ranks 0/4; 5 ASSIGN r2 node 1/4 ranks 1/4; "
           "6 ASSIGN r2 node 2/4 ranks 2/4; 3 ASSIGN r2 node 3/4 ranks 3/4");
    for (int i = 0; i < 50; i++) {
        lose(join("node2"));
    }
    assert_true(member_look(m).node_count <= 5);
}

/* Those whose places are no more move into the holes, the others stay. */
static void test_closes_up(void **state)
{
    (void)state;
    set_nodes(2, 4, 0);
    for (int i = 0; i < 4; i++) {
        join((const char *[]){"node1", "node2", "node3", "node4"}[i]);
    }
    forget();
    fail_and_stop(1, "023");
    expect("drop 1; 0 STOP r1 sig 15 grace 1000; 2 STOP r1 sig 15 grace 1000; "
           "3 STOP r1 sig 15 grace 1000; round 2; 0 ASSIGN r2 node 0/3 ranks 0/3; "
           "3 ASSIGN r2 node 1/3 ranks 1/3; 2 ASSIGN r2 node 2/3 ranks 2/3");
    expect_said("going on with 3 nodes: node node2 (10.0.0.1) was lost");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_waits_for_spares),
        TEST(test_spare_comes_last),
        TEST(test_begins_without_spares),
        TEST(test_node_rank_of_a_spare),
        TEST(test_spare_is_lost),
        TEST(test_spare_takes_the_place),
        TEST(test_who_returns_has_its_place),
        TEST(test_places_are_remembered),
        TEST(test_closes_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
