/* SPDX-License-Identifier: Apache-2.0 */
/* Forming a job: joins, refusals, waiting, last call, spares, time limits. Failures:
 * test_member_fail.c */
#include "tests/unit/member_rig.h"

static void test_forms_when_all_are_here(void **state)
{
    (void)state;
    join("node10");
    expect("0 WELCOME");
    hello.slots = 3;
    join("node2");
    expect("1 WELCOME; round 1; 1 ASSIGN r1 node 0/2 ranks 0/5; 0 ASSIGN r1 node 1/2 ranks 3/5");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_all_succeed(void **state)
{
    (void)state;
    run_two(0);
    for (uint32_t i = 0; i < 4; i++) {
        hear_exit(i / 2, 1, i % 2, 0);
    }
    hear_stopped(0, 1, 0);
    expect("");
    hear_stopped(1, 1, 0);
    expect("0 END 0; 1 END 0; over 0");
    expect_said("job 'j' succeeded");
    assert_true(member_deadline(m) == INT64_MAX);
}

static void test_refusals(void **state)
{
    (void)state;
    hello.node_name = mu_slice_of("a b");
    refuse(MU_E_REFUSED, "a node name or role must be 1 to 255 visible characters");
    hello.node_name = mu_slice_of("node1");
    hello.run_id = mu_slice_of("\033[2J");
    refuse(MU_E_REFUSED, "a run id must be 1 to 255 bytes of UTF-8 without control characters");
    hello.run_id = mu_slice_of("j");
    hello.node_rank = 2;
    refuse(MU_E_REFUSED, "--node-rank 2, but the job has 2 nodes (0 to 1)");
    hello.node_rank = 1;
    join("node1");
    forget();
    hello.node_name = mu_slice_of("node2");
    refuse(MU_E_REFUSED,
           "--node-rank 1 is taken by node1 (10.0.0.1, pid 10); every node needs its own");
    hello.node_rank = 0;
    hello.max_nodes = 4;
    refuse(MU_E_REFUSED, "this node says --nnodes 2:4, job 'j' was begun with --nnodes 2:2; use "
                         "the same on every node");
    member_stop(m, SIGTERM, "a test", now);
    rig_take();
    forget();
    hello.max_nodes = 2;
    refuse(MU_E_CANCELED, "job 'j' has ended already");
}

/* A number a peer may not say is refused, whatever its neighbours are. */
static void test_refused_numbers(void **state)
{
    (void)state;
    const struct ctl_hello good = hello;
    static const char sentence[] = "a number in the request is out of range";
#define REFUSED_WITH(field, value)              \
    do {                                        \
        hello = good;                           \
        hello.node_name = mu_slice_of("node1"); \
        hello.field = (value);                  \
        refuse(MU_E_REFUSED, sentence);         \
    } while (0)
    REFUSED_WITH(agent_id, 0);
    REFUSED_WITH(slots, 0);
    REFUSED_WITH(slots, MU_MAX_LOCAL_WORLD + 1);
    REFUSED_WITH(min_nodes, 0);
    REFUSED_WITH(min_nodes, 3);
    REFUSED_WITH(max_nodes, MU_MAX_NODES + 1);
    REFUSED_WITH(max_restarts, MU_MAX_RESTARTS + 1);
    REFUSED_WITH(node_timeout_ms, MU_MIN_NODE_TIMEOUT_MS - 1);
    REFUSED_WITH(node_timeout_ms, INT64_MAX);
    REFUSED_WITH(join_timeout_ms, -1);
    REFUSED_WITH(join_timeout_ms, MU_MAX_SPAN_MS + 1);
    REFUSED_WITH(last_call_ms, INT64_MAX);
    REFUSED_WITH(grace_ms, INT64_MIN);
    REFUSED_WITH(node_rank, -2);
    REFUSED_WITH(sched_rank, -2);
    struct ctl_hello session = good;
    session.current_round = 3;
    session.node_count = 2;
    session.first_rank = 2;
    session.world_size = session.role_world_size = 4;
    assert_int_equal(good.slots, 2);
#define REFUSED_WITH_SESSION(field, value)      \
    do {                                        \
        hello = session;                        \
        hello.node_name = mu_slice_of("node1"); \
        hello.field = (value);                  \
        refuse(MU_E_REFUSED, sentence);         \
    } while (0)
    REFUSED_WITH_SESSION(current_round, MU_MAX_ROUND + 1U);
    REFUSED_WITH_SESSION(node_count, 3);
    REFUSED_WITH_SESSION(node_count, 0);
    REFUSED_WITH_SESSION(place, 2);
    REFUSED_WITH_SESSION(first_rank, 3);
    REFUSED_WITH_SESSION(first_rank, UINT32_MAX);
    REFUSED_WITH_SESSION(world_size, 1);
    REFUSED_WITH_SESSION(world_size, UINT32_MAX);
    REFUSED_WITH_SESSION(role_world_size, 5);
    REFUSED_WITH_SESSION(role_first_rank, 3);
    REFUSED_WITH_SESSION(restart_count, MU_MAX_RESTARTS + 1U);
    hello = good;
    hello.min_nodes = hello.max_nodes = 1;
    hello.join_timeout_ms = hello.last_call_ms = hello.grace_ms = MU_MAX_SPAN_MS;
    hello.node_timeout_ms = MU_MAX_SPAN_MS;
    join("node1"); /* the largest values do not overflow */
    tick_at(now + MU_MAX_SPAN_MS - 1);
    hear_exit(0, 1, 0, 1);
    tick_at(now + MU_MAX_SPAN_MS);
}

static void test_waiting_text(void **state)
{
    (void)state;
    hello.min_nodes = hello.max_nodes = 3;
    hello.node_rank = 1;
    join("node1");
    hello.node_rank = 0;
    join("node0");
    member_note_refused(m, "10.0.0.9", "wrong run id 'k'");
    forget();
    pass(3000, 2);
    expect_said("2/3 nodes joined (node0, node1); waiting for 1 more; never seen: node rank 2; "
                "turned away: 10.0.0.9: wrong run id 'k' [2 s, giving up after 60 s]");
    pass(8000, 2);
    lose(1);
    pass(13000, 1);
    expect_said("1/3 nodes joined (node1); waiting for 2 more; never seen: node rank 0, 2; "
                "gone: node0; turned away");
    hello.node_rank = 2;
    join("node2"); /* who has gone is not forgotten when another comes */
    pass(18000, 3);
    expect_said("2/3 nodes joined (node1, node2); waiting for 1 more; never seen: node rank 0; "
                "gone: node0; turned away");
}

/* The lead is told again and again, the others once. */
static void test_waiting_goes_to_the_lead(void **state)
{
    (void)state;
    hello.min_nodes = hello.max_nodes = 3;
    hello.node_timeout_ms = 50000;
    join("node1");
    join("node2");
    forget();
    tick_at(3000);
    expect("0 WAITING; 1 WAITING");
    tick_at(8000);
    expect("0 WAITING");
}

static void test_join_timeout(void **state)
{
    (void)state;
    hello.min_nodes = hello.max_nodes = 3;
    join("node1");
    join("node2");
    pass(60999, 2);
    assert_int_equal(state_now(), MEMBER_FORMING);
    forget();
    pass(61000, 2);
    expect("0 HEARTBEAT; 1 HEARTBEAT; 0 END 1; 1 END 1; over 1");
    expect_said("job 'j' did not form within 60.0 s: 2/3 nodes joined (node1, node2), 1 missing; "
                "start an agent on every node with the same endpoint and --rdzv-id, or change "
                "--nnodes or --join-timeout");
}

static void test_last_call(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    hello.max_nodes = 3;
    join("node1");
    now += 1000;
    join("node2");
    expect("0 WELCOME; 1 WELCOME");
    pass(3999, 2);
    assert_int_equal(state_now(), MEMBER_FORMING);
    expect_said("2 of 1 to 3 nodes joined (node1, node2); starting in 1 s unless more join");
    pass(4000, 2);
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_last_call_ends_at_max(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    join("node1");
    assert_int_equal(state_now(), MEMBER_FORMING);
    join("node2");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_last_call_begins_anew_below_min(void **state)
{
    (void)state;
    hello.max_nodes = 3;
    join("node1");
    join("node2");
    now += 2000;
    lose(1);
    now += 1000;
    join("node3");
    pass(6999, 3);
    assert_int_equal(state_now(), MEMBER_FORMING);
    pass(7000, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

/* Enough nodes are here: the join timeout starts the job, it does not end it. */
static void test_last_call_longer_than_join_timeout(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    hello.join_timeout_ms = 2000;
    join("node1");
    pass(3000, 1);
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_extra_node_is_a_spare(void **state)
{
    (void)state;
    run_two(0);
    join("node3");
    expect("2 WELCOME; 2 WAITING");
    expect_said("job 'j' runs on other nodes; node3 stands by to take the place of one");
    hear_leave(2, SIGTERM);
    expect("drop 2");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

/* Nodes that come and go leave nothing behind, even while a round runs. */
static void test_spares_are_forgotten(void **state)
{
    (void)state;
    run_two(0);
    for (int i = 0; i < 100; i++) {
        lose(join("spare"));
    }
    assert_true(member_look(m).node_count <= 3);
}

static void test_leave_while_forming(void **state)
{
    (void)state;
    join("node1");
    forget();
    hear_leave(0, SIGINT);
    expect("drop 0");
    assert_int_equal(state_now(), MEMBER_FORMING);
    join("node2");
    join("node3");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

static void test_host_leaves_while_forming(void **state)
{
    (void)state;
    join("node1");
    forget();
    hear_leave(0, SIGINT);
    expect("0 END 130; over 130");
    expect_said("job 'j' was stopped by SIGINT on node1");
}

/* It was given up, and has workers of the round that it had a part in. */
static void come_back_with_workers(const char *name)
{
    hello.agent_id = 101;
    hello.current_round = hello.is_busy = 1;
    hello.node_count = 2;
    hello.world_size = hello.role_world_size = 4;
    join(name);
    hello.current_round = hello.is_busy = 0;
}

/* Workers of an earlier round: it waits for them. */
static void test_joins_with_workers(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    forget();
    come_back_with_workers("node2");
    expect("2 WELCOME");
    expect_said("node2 still has workers of round 1; waiting for them to stop");
    hear_stopped(2, 3, 0);
    expect("");
    hear_stopped(2, 1, 0);
    expect("round 2; 0 ASSIGN r2 node 0/2 ranks 0/4; 2 ASSIGN r2 node 1/2 ranks 2/4");
}

static void test_joins_with_workers_that_stay(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    come_back_with_workers("node2");
    forget();
    pass(1000 + 1000 + 15000, 3);
    expect_said("did not stop the workers it came with in time");
    assert_int_equal(state_now(), MEMBER_FORMING);
    join("node3");
    assert_int_equal(state_now(), MEMBER_RUNNING);
}

/* Heartbeats are answered; silence is noticed when the timeout is over. */
static void test_heartbeats(void **state)
{
    (void)state;
    run_two(0);
    tick_at(2000);
    expect("");
    hear_heartbeat(0);
    expect("0 HEARTBEAT");
    for (; now < 5500; now += 500) {
        hear_heartbeat(0);
        member_tick(m, now);
        rig_take();
    }
    forget();
    tick_at(5999);
    expect("");
    tick_at(6000);
    expect("drop 1; 0 STOP r1 sig 15 grace 1000");
    expect_said("node node2 (10.0.0.1) was lost: not heard of for 5.0 s");
}

/* The coordinator's own process stood still: nobody is lost because of that. */
static void test_pause(void **state)
{
    (void)state;
    run_two(0);
    tick_at(60000);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(64999, 0);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    pass(65000, 0);
    assert_int_equal(state_now(), MEMBER_ENDED);
}

static void test_protocol_errors(void **state)
{
    (void)state;
    run_two(0);
    static const enum ctl_type not_for_agents[] = {CTL_HELLO,   CTL_STATUS,  CTL_WELCOME,
                                                   CTL_REFUSED, CTL_WAITING, CTL_ASSIGN,
                                                   CTL_STOP,    CTL_END,     CTL_STATUS_REPLY};
    for (size_t i = 0; i < MU_COUNT(not_for_agents); i++) {
        assert_int_equal(hear(0, &(struct ctl_msg){.type = not_for_agents[i]}), -1);
    }
    struct ctl_msg msg = {.type = CTL_STARTED, .started = {.round = 1, .pids = {"12345", 5}}};
    assert_int_equal(hear(0, &msg), -1);
    msg = (struct ctl_msg){.type = CTL_EXITED, .exited = {.round = 1, .kind = 0}};
    assert_int_equal(hear(0, &msg), -1);
    msg.exited.kind = OUTCOME_KIND_LAST + 1;
    assert_int_equal(hear(0, &msg), -1);
    msg = (struct ctl_msg){.type = CTL_EXITED,
                           .exited = {.round = 1, .local_rank = 2, .kind = OUTCOME_EXITED}};
    assert_int_equal(hear(0, &msg), -1);
    msg = (struct ctl_msg){.type = CTL_LEAVE, .leave = {.signo = 0}};
    assert_int_equal(hear(0, &msg), -1);
    expect("");
    hear_exit(0, 7, 0, 3); /* of another round: late, not wrong */
    hear_stopped(0, 7, 0);
    hear_exit(99, 1, 0, 3); /* nobody */
    expect("");
}

/* What the coordinator's node chose by --iface is told to everybody. */
static void test_welcome_names_the_address(void **state)
{
    (void)state;
    const struct member_config config = {.coordinator_id = 7, .master_addr = "10.78.0.1"};
    member_free(m);
    m = member_new(mu_slice_of("j"), &config);
    hello.node_name = mu_slice_of("node1");
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_join(m, &hello, "10.77.0.2", now, &err), 0);
    const struct member_effect *e = member_take(m);
    while (e != NULL && (e->kind != MEMBER_SEND || e->msg.type != CTL_WELCOME)) {
        e = member_take(m);
    }
    assert_non_null(e);
    assert_true(mu_slice_eq(e->msg.welcome.master_addr, mu_slice_of("10.78.0.1")));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_forms_when_all_are_here),
        TEST(test_all_succeed),
        TEST(test_refusals),
        TEST(test_refused_numbers),
        TEST(test_waiting_text),
        TEST(test_waiting_goes_to_the_lead),
        TEST(test_join_timeout),
        TEST(test_last_call),
        TEST(test_last_call_ends_at_max),
        TEST(test_last_call_begins_anew_below_min),
        TEST(test_last_call_longer_than_join_timeout),
        TEST(test_extra_node_is_a_spare),
        TEST(test_spares_are_forgotten),
        TEST(test_leave_while_forming),
        TEST(test_welcome_names_the_address),
        cmocka_unit_test_setup_teardown(test_host_leaves_while_forming, rig_setup_embedded,
                                        rig_teardown),
        TEST(test_joins_with_workers),
        TEST(test_joins_with_workers_that_stay),
        TEST(test_heartbeats),
        TEST(test_pause),
        TEST(test_protocol_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
