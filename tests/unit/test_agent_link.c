/* SPDX-License-Identifier: Apache-2.0 */
/* The connection: made, refused, lost, silent, and signals meanwhile. Workers: test_agent.c */
#include "tests/unit/agent_rig.h"

/* 20 ms, then twice as long each time, up to a second; then it is over. */
static void test_backoff(void **state)
{
    (void)state;
    agent_start(a, now);
    forget();
    int64_t longest = 0;
    int attempts = 0;
    while (agent_get_state(a) != AGENT_DONE) {
        agent_disconnected(a, true, "connection refused", now);
        int64_t wait = agent_deadline(a) - now;
        assert_true(wait > 0 && (attempts > 0 || wait <= 30));
        longest = wait > longest ? wait : longest;
        now += wait;
        agent_tick(a, now);
        attempts++;
    }
    assert_int_equal(now, 61000);
    assert_true(longest > 900 && longest <= 1500);
    assert_true(attempts > 40);
    take();
    assert_non_null(strstr(text_of(&said),
                           "cannot reach the coordinator at 10.0.0.1:29500: connection refused; "
                           "trying for 2 s, giving up after 60 s"));
    expect_said("could not reach the coordinator at 10.0.0.1:29500 within 60.0 s: connection "
                "refused");
}

static void test_join_timeout(void **state)
{
    (void)state;
    agent_start(a, now);
    forget();
    pass(60999, false);
    expect("");
    pass(61000, false);
    expect("exit 1");
    expect_said("could not reach the coordinator at 10.0.0.1:29500 within 60.0 s");
    agent_connected(a, now); /* the attempt that was under way */
    agent_disconnected(a, false, "late", now);
    expect("disconnect");
}

static void test_refused(void **state)
{
    (void)state;
    agent_start(a, now);
    agent_connected(a, now);
    forget();
    hear(&(struct ctl_msg){.type = CTL_REFUSED, .refused = {.text = mu_slice_of("wrong run id")}});
    expect("disconnect; exit 1");
    expect_said("10.0.0.1:29500 turned this node away: wrong run id");
}

static void test_refused_for_now(void **state)
{
    (void)state;
    agent_start(a, now);
    agent_connected(a, now);
    forget();
    hear(&(struct ctl_msg){.type = CTL_REFUSED,
                           .refused = {.kind = CTL_REFUSAL_RETRY, .text = mu_slice_of("ended")}});
    expect("disconnect");
    pass(now + 100, false);
    expect("connect");
}

/* The rig's agent, for a job of `nodes` nodes. */
static void start_of(uint32_t nodes)
{
    struct agent_config config = {.run_id = "j",
                                  .node_name = "node1",
                                  .role = "default",
                                  .coordinator = "10.0.0.1:29500",
                                  .agent_id = 100,
                                  .slots = 2,
                                  .node_rank = -1,
                                  .sched_rank = -1,
                                  .policy.min_nodes = nodes,
                                  .policy.max_nodes = nodes,
                                  .join_timeout_ms = 60000,
                                  .node_timeout_ms = 5000};
    agent_free(a);
    a = agent_new(&config);
    agent_start(a, now);
}

/* Our own port is somebody else's: on one node nobody will come and make it better. */
static void test_port_is_taken(void **state)
{
    (void)state;
    start_of(1);
    agent_endpoint_is_here(a);
    agent_disconnected(a, false, "a stranger answers", now);
    forget();
    pass(4000, false);
    expect("connect; exit 1");
    expect_said(
        "could not reach the coordinator at 10.0.0.1:29500 within 3.0 s: a stranger answers");
}

static void test_port_is_taken_for_now(void **state)
{
    (void)state;
    const struct ctl_msg refused = {
        .type = CTL_REFUSED, .refused = {.kind = CTL_REFUSAL_RETRY, .text = mu_slice_of("ended")}};
    start_of(1);
    agent_endpoint_is_here(a);
    agent_connected(a, now);
    hear(&refused); /* the coordinator of the job before, about to leave */
    agent_endpoint_is_here(a);
    agent_connected(a, now);
    hear(&refused);
    now = 60999;
    agent_tick(a, now);
    assert_int_equal(agent_get_state(a), AGENT_CONNECTING);
    now = 61000;
    agent_tick(a, now);
    assert_int_equal(agent_get_state(a), AGENT_DONE);

    now = 1000;
    start_of(2); /* another node may have the address too, and serve there */
    agent_endpoint_is_here(a);
    now = 60999;
    agent_tick(a, now);
    assert_int_equal(agent_get_state(a), AGENT_CONNECTING);
}

/* Something else holds the port and says nothing. */
static void test_no_welcome(void **state)
{
    (void)state;
    agent_start(a, now);
    agent_connected(a, now);
    forget();
    pass(now + 4999, false);
    expect("");
    pass(now + 200, false);
    expect("disconnect; connect");
}

/* Before WELCOME nothing else means anything; nor does a WELCOME that makes no sense. */
static void test_nonsense(void **state)
{
    (void)state;
    agent_start(a, now);
    agent_connected(a, now);
    forget();
    hear_assign(1);
    hear_stop(1, SIGTERM, 0);
    hear_end(0);
    expect("");
    hear(&(struct ctl_msg){.type = CTL_WELCOME,
                           .welcome = {.heartbeat_ms = 1, .node_timeout_ms = INT64_MAX}});
    expect("disconnect");
}

static void test_signal_while_connecting(void **state)
{
    (void)state;
    agent_start(a, now);
    forget();
    agent_signal(a, SIGINT, now);
    expect("exit 130");
}

/* Dropped after a signal: that is the answer, not a loss. */
static void test_dropped_after_signal(void **state)
{
    (void)state;
    join(true);
    agent_signal(a, SIGINT, now);
    forget();
    agent_disconnected(a, true, "closed", now);
    expect("exit 130");
}

/* ASSIGN crosses LEAVE on the way: nothing is started. */
static void test_assigned_after_signal(void **state)
{
    (void)state;
    join(false);
    agent_signal(a, SIGTERM, now);
    forget();
    hear_assign(1);
    expect("STOPPED r1 left 0");
}

/* Out of reach when the signal comes: it does not come back to work. */
static void test_signal_while_out_of_reach(void **state)
{
    (void)state;
    run(false);
    agent_disconnected(a, false, "reset", now);
    agent_signal(a, SIGTERM, now);
    expect("signal 15");
    agent_connected(a, now);
    hear_welcome(false);
    expect("HELLO r1; LEAVE 15");
    agent_disconnected(a, false, "reset", now);
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("exit 143");
}

/* The coordinator lived in another agent: with it went the job. */
static void test_embedded_lost(void **state)
{
    (void)state;
    run(true);
    agent_disconnected(a, true, "connection closed", now);
    expect("signal 15");
    expect_said("lost the agent with the coordinator, at 10.0.0.1:29500: connection closed");
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("exit 1");
}

/* A stand-alone one may come back: workers go on for the node timeout. */
static void test_standalone_lost(void **state)
{
    (void)state;
    run(false);
    agent_disconnected(a, false, "connection reset", now);
    expect("");
    assert_int_equal(agent_get_state(a), AGENT_RUNNING);
    while (now < 5999) {
        now = agent_deadline(a) < 5999 ? agent_deadline(a) : 5999;
        agent_tick(a, now);
        if (now < 5999) {
            expect("connect");
            agent_disconnected(a, true, "connection refused", now);
        }
    }
    forget();
    pass(6000, false);
    expect("signal 15");
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("exit 1");
}

static void test_standalone_back(void **state)
{
    (void)state;
    run(false);
    agent_disconnected(a, false, "connection reset", now);
    agent_connected(a, now);
    expect("HELLO r1");
    hear_welcome(false);
    expect("signal 15"); /* the coordinator gave the round up */
    hear_assign(2);
    expect("LEAVE 15"); /* and must not go on before this one is stopped */
}

static void test_silence(void **state)
{
    (void)state;
    run(false);
    pass(5999, false);
    expect("HEARTBEAT; HEARTBEAT; HEARTBEAT; HEARTBEAT");
    pass(6000, false);
    expect("reset; signal 15");
    expect_said("cut off from the coordinator at 10.0.0.1:29500 for 5.0 s (it does not answer)");
    pass(6499, false);
    expect("");
    pass(6500, false);
    assert_int_equal(lease, 6000 + 750); /* as it would have been without us */
    expect("kill"); /* the grace time is a second, but others may take this place */
}

/* Only answers count, and by when their question was sent. */
static void test_lease(void **state)
{
    (void)state;
    run(false);
    assert_int_equal(lease, 1000 + 5000 + 750);
    pass(3999, false);
    hear_stop(7, SIGTERM, 0); /* of no round of ours, but a sign of life */
    hear(&(struct ctl_msg){.type = CTL_HEARTBEAT, .heartbeat = {.beat = last_beat}});
    take();
    assert_int_equal(lease, 3000 + 5000 + 750);
    hear(&(struct ctl_msg){.type = CTL_HEARTBEAT, .heartbeat = {.beat = 1}});
    hear(&(struct ctl_msg){.type = CTL_HEARTBEAT, .heartbeat = {.beat = last_beat + 1}});
    hear(&(struct ctl_msg){.type = CTL_HEARTBEAT, .heartbeat = {.beat = UINT64_MAX}});
    forget();
    assert_int_equal(lease, 3000 + 5000 + 750);
    pass(7999, false);
    assert_int_equal(agent_get_state(a), AGENT_RUNNING);
    pass(8000, false);
    assert_int_equal(agent_get_state(a), AGENT_STOPPING);
}

/* STOPPED alone, without the ends that were said to nobody, would tell of a node that gave up. */
static void test_ends_before_welcome(void **state)
{
    (void)state;
    run(false);
    agent_disconnected(a, false, "connection reset", now);
    end_worker(0, 0);
    forget();
    agent_connected(a, now);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("HELLO r1");
    hear_welcome_back(false);
    expect("STARTED; EXITED 0 tail 0; EXITED 1 tail 0; STOPPED r1 left 0");
}

/* The same where the coordinator has given the place to another, and waits for the workers. */
static void test_ends_before_welcome_of_newcomer(void **state)
{
    (void)state;
    run(false);
    agent_disconnected(a, false, "connection reset", now);
    forget();
    agent_connected(a, now);
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("HELLO r1");
    hear_welcome(false);
    expect("STOPPED r1 left 0");
    hear_assign(2);
    expect("start r2");
}

/* The connection broke, and the coordinator has kept our place: all is said again. */
static void test_resumed(void **state)
{
    (void)state;
    run(false);
    end_worker(1, 0);
    forget();
    agent_disconnected(a, false, "connection reset", now);
    end_worker(0, 3);
    expect("signal 15");
    agent_connected(a, now);
    expect("HELLO r1");
    hear_welcome_back(false);
    expect("STARTED; EXITED 1 tail 0; EXITED 0 tail 4");
    assert_int_equal(agent_get_state(a), AGENT_STOPPING);
    agent_workers_gone(a, now);
    expect("STOPPED r1 left 0");
    agent_disconnected(a, false, "connection reset", now);
    agent_connected(a, now);
    hear_welcome_back(false);
    expect("HELLO r1 over; STARTED; EXITED 1 tail 0; EXITED 0 tail 4; STOPPED r1 left 0");
    hear_assign(1); /* which was on its way when that round ended: not again */
    expect("");
    hear_assign(2);
    expect("start r2");
}

/* One that lives in an agent, too, may be out of reach for a moment; not if nobody is there. */
static void test_embedded_out_of_reach(void **state)
{
    (void)state;
    run(true);
    agent_disconnected(a, false, "connection reset", now);
    expect("");
    pass(now + 50, false);
    expect("connect");
    agent_connected(a, now);
    hear_welcome_back(true);
    expect("HELLO r1; STARTED");
    agent_disconnected(a, false, "connection reset", now);
    agent_disconnected(a, true, "connection refused", now);
    expect("signal 15");
    expect_said("lost the agent with the coordinator");
}

/* This process stood still: what the coordinator said meanwhile has not been read yet. */
static void test_pause(void **state)
{
    (void)state;
    run(false);
    now = 100000;
    agent_tick(a, now);
    expect("HEARTBEAT");
    assert_int_equal(agent_get_state(a), AGENT_RUNNING);
}

/* The lease is no longer for a pause that ends before it: its shepherd has not acted yet. */
static void test_pause_within_lease(void **state)
{
    (void)state;
    run(false);
    now = 1000 + 4500;
    agent_tick(a, now);
    forget();
    assert_int_equal(lease, 1000 + 5000 + 750);
    pass(5999, false);
    assert_int_equal(agent_get_state(a), AGENT_RUNNING);
    pass(6000, false);
    assert_int_equal(agent_get_state(a), AGENT_STOPPING);
}

/* What is read then may be about a round that has gone on without this node. */
static void test_pause_before_assign(void **state)
{
    (void)state;
    join(false);
    now = 100000;
    agent_tick(a, now);
    forget();
    hear_assign(1);
    expect("reset");
    assert_int_equal(agent_get_state(a), AGENT_CONNECTING);
    pass(now + 100, false);
    agent_connected(a, now);
    forget();
    hear_welcome(false);
    hear_assign(1);
    expect("start r1");
}

/* The status of the job is END's, whatever happens before the workers are gone. */
static void test_end_with_workers(void **state)
{
    (void)state;
    run(false);
    hear_end(42);
    expect("reset; signal 15");
    assert_int_equal(lease, now + 1000 + 250); /* the shepherd gives them their grace time */
    agent_disconnected(a, true, "closed", now);
    agent_signal(a, SIGTERM, now);
    pass(now + 1000, false);
    expect("kill");
    end_worker(0, 0);
    end_worker(1, 0);
    agent_workers_gone(a, now);
    expect("exit 42");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_backoff),
        TEST(test_join_timeout),
        TEST(test_refused),
        TEST(test_refused_for_now),
        TEST(test_port_is_taken),
        TEST(test_port_is_taken_for_now),
        TEST(test_no_welcome),
        TEST(test_nonsense),
        TEST(test_signal_while_connecting),
        TEST(test_dropped_after_signal),
        TEST(test_assigned_after_signal),
        TEST(test_signal_while_out_of_reach),
        TEST(test_embedded_lost),
        TEST(test_standalone_lost),
        TEST(test_standalone_back),
        TEST(test_silence),
        TEST(test_lease),
        TEST(test_ends_before_welcome),
        TEST(test_ends_before_welcome_of_newcomer),
        TEST(test_resumed),
        TEST(test_embedded_out_of_reach),
        TEST(test_pause),
        TEST(test_pause_within_lease),
        TEST(test_pause_before_assign),
        TEST(test_end_with_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
