/* SPDX-License-Identifier: Apache-2.0 */
/* What follows a failure, and what is kept of it: the rules themselves are in
 * test_restart_policy.c. */
#include "tests/unit/member_rig.h"

#include "rendezvous/event_ring.h"

static void hear_started(uint32_t node, uint32_t round)
{
    struct ctl_msg msg = {
        .type = CTL_STARTED,
        .started = {.round = round, .pids = {.ptr = "\xf5\x01\0\0\xf6\x01\0\0", .len = 8}}};
    assert_int_equal(hear(node, &msg), 0);
}

/* Both nodes' workers start, and worker 0 of `node` ends with `status` after `uptime_ms`. */
static void fail_after(uint32_t node, uint32_t round, int64_t uptime_ms, int status)
{
    hear_started(0, round);
    hear_started(1, round);
    now += uptime_ms;
    hear_heartbeat(0);
    hear_heartbeat(1);
    hear_exit(node, round, 0, status);
    now += 100; /* to stop, which is no part of the uptime */
    hear_stopped(0, round, 0);
    hear_stopped(1, round, 0);
}

static uint64_t set_codes(char bits[EXIT_CODES_BYTES], int code)
{
    bits[code / 8] = (char)(1 << code % 8);
    return EXIT_CODES_BYTES;
}

/* The kinds of all events, separated by spaces. */
static void expect_events(const char *want)
{
    const struct event_ring *events = member_look(m).events;
    struct mu_buf b = {0};
    for (uint32_t i = 0; i < event_ring_count(events); i++) {
        mu_buf_printf(&b, "%s%s", i > 0 ? " " : "",
                      event_kind_name(event_ring_at(events, i)->kind));
    }
    mu_autofree char *text = mu_buf_take_text(&b);
    assert_string_equal(text, want);
}

static const struct event *last_event(void)
{
    const struct event_ring *events = member_look(m).events;
    return event_ring_at(events, event_ring_count(events) - 1);
}

static void test_same_way_twice(void **state)
{
    (void)state;
    hello.min_uptime_ms = 4000;
    run_two(5);
    fail_after(0, 1, 3999, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    fail_after(1, 2, 10, 3);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_int_equal(member_look(m).exit_status, 3);
    expect_said("  round     2, after 1 of 5 restarts\n"
                "  restart   none: failed the same way twice within 4 s of its start (exited with "
                "status 3):\n");
    expect_events("joined joined round worker_failed stopping restart round worker_failed stopping "
                  "no_restart end");
    assert_non_null(strstr(last_event()->text, "exited with status 3; not restarted: failed the "
                                               "same way twice"));
}

static void test_uptime_is_of_all_workers(void **state)
{
    (void)state;
    hello.min_uptime_ms = 4000;
    run_two(5);
    fail_after(0, 1, 4000, 3); /* long enough */
    fail_after(0, 2, 10, 3);
    assert_int_equal(state_now(), MEMBER_RUNNING);
    now += 4500; /* long since the round began, but node 1 has only just started */
    hear_heartbeat(1);
    fail_after(0, 3, 10, 3);
    assert_int_equal(state_now(), MEMBER_ENDED);
}

/* A node that has not even started its workers: too soon, however long it took. */
static void test_not_all_started(void **state)
{
    (void)state;
    hello.min_uptime_ms = 1000;
    run_two(5);
    for (uint32_t round = 1; round <= 2; round++) {
        hear_started(0, round);
        now += 3000;
        hear_heartbeat(0);
        hear_heartbeat(1);
        hear_exit(0, round, 1, 3);
        hear_stopped(0, round, 0);
        hear_stopped(1, round, 0);
    }
    assert_int_equal(state_now(), MEMBER_ENDED);
}

static void test_stop_code(void **state)
{
    (void)state;
    char bits[EXIT_CODES_BYTES] = "";
    hello.stop_codes = (struct mu_slice){bits, set_codes(bits, 77)};
    run_two(5);
    fail_after(1, 1, 100000, 77);
    expect("0 HEARTBEAT; 1 HEARTBEAT; 0 STOP r1 sig 15 grace 1000; 1 STOP r1 sig 15 grace 1000; 0 "
           "END 77 report; 1 END 77; "
           "over 77");
    expect_said("  restart   none: exit status 77 is one of --stop-exit-codes\n");
}

static void test_retry_code(void **state)
{
    (void)state;
    char bits[EXIT_CODES_BYTES] = "";
    hello.retry_codes = (struct mu_slice){bits, set_codes(bits, 75)};
    hello.min_uptime_ms = 1000;
    run_two(0);
    for (uint32_t round = 1; round <= 20; round++) {
        fail_after(0, round, 1000, 75);
    }
    assert_int_equal(member_look(m).round, 21);
    assert_int_equal(member_look(m).restarts, 0);
    expect_said("restart: rank 0 on node1 (local rank 0, pid 500) exited with status 75; exit "
                "status 75 asks for a restart, which costs none\n");
    fail_after(0, 21, 999, 75);
    assert_int_equal(member_look(m).exit_status, 75);
    expect_said("  restart   none: exit status 75 asks for a restart, which costs one so soon");
}

static void test_window(void **state)
{
    (void)state;
    hello.restart_window_ms = 60000;
    hello.join_timeout_ms = 200000;
    run_two(1);
    for (uint32_t round = 1; round <= 4; round++) {
        fail_after(0, round, 3000, 1);
        assert_int_equal(state_now(), MEMBER_RUNNING);
        assert_int_equal(member_look(m).restarts_used, 1);
        expect_said("restart 1 of 1 within 1 min: rank 0 on node1");
        pass(now + 60000, 2);
    }
    assert_int_equal(member_look(m).restarts, 4);
    assert_int_equal(member_look(m).restarts_used, 0);
}

static void test_waits_for_a_replacement(void **state)
{
    (void)state;
    run_two(1);
    lose(1);
    hear_stopped(0, 1, 0);
    expect_events("joined joined round node_lost stopping restart waiting");
    assert_string_equal(last_event()->text, "waiting up to 1 min for 1 more node");
    assert_int_equal(last_event()->round, 1);
    join("node3");
    expect_events("joined joined round node_lost stopping restart waiting joined replaced round");
    assert_non_null(strstr(last_event()->text, "restart 1 of 1: node1, node3"));
}

/* ---- nodes that are lost again and again ---- */

/* node1 stays, node2 comes, is lost, and comes again. */
static void lose_often(uint32_t times)
{
    hello.min_nodes = 1;
    hello.max_node_losses = 2;
    run_two(5);
    for (uint32_t i = 0; i < times; i++) {
        hear_heartbeat(0);
        lose(1 + i);
        hear_stopped(0, member_look(m).round, 0);
        assert_int_equal(state_now(), MEMBER_RUNNING);
        if (i + 1 < times) {
            join("node2"); /* stands by until the next round */
            hear_exit(0, member_look(m).round, 0, 1);
            hear_stopped(0, member_look(m).round, 0);
        }
    }
}

static void test_lost_too_often(void **state)
{
    (void)state;
    lose_often(2);
    forget();
    hello.node_name = mu_slice_of("node2");
    refuse(MU_E_REFUSED,
           "node2 was lost 2 times within 1 h, so the job goes on without it: start the agent on "
           "another node, or raise --max-node-losses");
    assert_int_equal(last_event()->kind, EVENT_REFUSED);
    join("node3"); /* another one is welcome */
    pass(now + 3600 * 1000, 100);
    join("node2"); /* and after an hour the same */
}

static void test_lost_once_less(void **state)
{
    (void)state;
    lose_often(1);
    join("node2");
}

/* Two agents of one machine: it died once. Nor is one of its agents refused that is still in. */
static void test_two_agents_of_one_name(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    hello.max_nodes = 3;
    hello.last_call_ms = 0;
    hello.max_node_losses = 1;
    hello.max_restarts = 3;
    join("node1");
    join("node2");
    join("node2");
    uint32_t round = member_look(m).round;
    hear_exit(0, round, 0, 1);
    hear_stopped(0, round, 0); /* the two stood by */
    assert_int_equal(member_look(m).nodes[2]->node_rank, 2);
    lose(1);
    hello.node_name = mu_slice_of("node2");
    uint64_t next = hello.agent_id;
    hello.agent_id = 102;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_join(m, &hello, "10.0.0.1", now, &err), 2);
    rig_take();
    hello.agent_id = next;
    assert_int_equal(member_join(m, &hello, "10.0.0.1", now, &err), -1);
}

/* ---- events ---- */

static void test_events_of_a_success(void **state)
{
    (void)state;
    run_two(0);
    for (uint32_t node = 0; node < 2; node++) {
        hear_exit(node, 1, 0, 0);
        hear_exit(node, 1, 1, 0);
        hear_stopped(node, 1, 0);
    }
    expect_events("joined joined round end");
    assert_string_equal(last_event()->text, "job 'j' succeeded");
    const struct event_ring *events = member_look(m).events;
    assert_string_equal(event_ring_at(events, 1)->node, "node2");
    assert_string_equal(event_ring_at(events, 1)->text,
                        "node2 (10.0.0.1, pid 10) joined job 'j' with 2 workers");
    assert_string_equal(event_ring_at(events, 2)->text,
                        "job 'j' round 1: 2 nodes, 4 workers, restart 0 of 0: node1, node2");
}

static void test_events_of_refusals(void **state)
{
    (void)state;
    run_two(0);
    hello.node_name = mu_slice_of("bad name");
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_join(m, &hello, "10.0.0.9", now, &err), -1);
    assert_non_null(strstr(last_event()->text, "a node (10.0.0.9) was refused: a node name or"));
}

static void test_many_join(void **state)
{
    (void)state;
    hello.min_nodes = 1000;
    hello.max_nodes = 1000;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        join(name);
    }
    assert_int_equal(event_ring_count(member_look(m).events), EVENT_RING_SIZE);
    assert_int_equal(event_ring_dropped(member_look(m).events), 1001 - EVENT_RING_SIZE);
    assert_non_null(strstr(last_event()->text, ": n0, n1, n2, n3, n4, n5, n6, n7 and 992 more"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_same_way_twice),
        TEST(test_uptime_is_of_all_workers),
        TEST(test_not_all_started),
        TEST(test_stop_code),
        TEST(test_retry_code),
        TEST(test_window),
        TEST(test_waits_for_a_replacement),
        TEST(test_lost_too_often),
        TEST(test_lost_once_less),
        TEST(test_two_agents_of_one_name),
        TEST(test_events_of_a_success),
        TEST(test_events_of_refusals),
        TEST(test_many_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
