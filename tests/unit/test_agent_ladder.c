/* SPDX-License-Identifier: Apache-2.0 */
/* The agent engine on a ladder: which rung it asks when, and what it says. */
#include "tests/unit/agent_rig.h"

static struct ladder ladder;

/* The rig's agent, for a coordinator on one of three ports of two places. */
static void start_on_ladder(void)
{
    static const char *const places[] = {"gpu54", "login"};
    static const uint16_t ports[] = {23001, 23002, 23003};
    ladder_init(&ladder, places, MU_COUNT(places), ports, MU_COUNT(ports));
    struct agent_config config = {.run_id = "4.0",
                                  .node_name = "node1",
                                  .role = "default",
                                  .coordinator = "gpu54:23001",
                                  .ladder = &ladder,
                                  .agent_id = 100,
                                  .slots = 2,
                                  .node_rank = -1,
                                  .sched_rank = -1,
                                  .policy.min_nodes = 2,
                                  .policy.max_nodes = 2,
                                  .join_timeout_ms = 60000,
                                  .last_call_ms = 3000,
                                  .node_timeout_ms = 5000,
                                  .grace_ms = 1000};
    agent_free(a);
    a = agent_new(&config);
    agent_start(a, now);
}

/* Let time pass until the agent connects; on which rung? "0.1": the first place, second port. */
static const char *rung_at(int64_t until_ms)
{
    static char text[32];
    text[0] = '\0';
    for (;;) {
        const struct agent_effect *e;
        while ((e = agent_take(a)) != NULL) {
            if (e->kind == AGENT_CONNECT) {
                snprintf(text, sizeof(text), "%zu.%zu", e->rung.place, e->rung.port);
            } else if (e->kind == AGENT_LOG) {
                mu_buf_printf(&said, "%s\n", e->text);
            }
        }
        int64_t at = agent_deadline(a);
        if (text[0] != '\0' || at > until_ms) {
            return text;
        }
        now = at;
        agent_tick(a, now);
    }
}

static void refuse_as(enum ctl_refusal kind)
{
    agent_connected(a, now);
    hear(&(struct ctl_msg){.type = CTL_REFUSED,
                           .refused = {.kind = (uint8_t)kind, .text = mu_slice_of("wrong id")}});
}

static void test_steps_over_strangers(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    refuse_as(CTL_REFUSAL_OTHER_JOB);
    assert_string_equal(rung_at(now), "0.1"); /* at once */
    refuse_as(CTL_REFUSAL_OTHER_VERSION);
    assert_string_equal(rung_at(now), "0.2");
    agent_connected(a, now);
    agent_disconnected(a, true, "connection closed", now);
    assert_string_equal(rung_at(now), "1.0");
    agent_connected(a, now);
    hear(&(struct ctl_msg){
        .type = CTL_WELCOME,
        .welcome = {.coordinator_id = 7, .heartbeat_ms = 1000, .node_timeout_ms = 5000}});
    assert_true(agent_is_welcome(a));
}

static void test_free_port_waits(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    agent_not_connected(a, LADDER_FREE, "refused", now);
    assert_string_equal(rung_at(now), "");
    assert_string_equal(rung_at(now + 30), "0.0");
}

static void test_silent_one_costs_two_seconds(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    agent_connected(a, now);
    int64_t began = now;
    assert_string_equal(rung_at(now + 60000), "0.1");
    assert_int_equal(now - began, 2000);
    agent_not_connected(a, LADDER_FREE, "refused", now);
    assert_string_equal(rung_at(now + 100), "0.1"); /* it is not asked again soon */
}

static void test_retry_stays(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    refuse_as(CTL_REFUSAL_OTHER_JOB);
    assert_string_equal(rung_at(now), "0.1");
    for (int i = 0; i < 5; i++) {
        refuse_as(CTL_REFUSAL_RETRY);
        assert_string_equal(rung_at(now), "");
        assert_string_equal(rung_at(now + 2000), "0.1");
    }
}

static void test_final_is_final(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    agent_connected(a, now);
    forget();
    hear(&(struct ctl_msg){.type = CTL_REFUSED, .refused = {.text = mu_slice_of("wrong nnodes")}});
    expect("disconnect; exit 1");
}

static void test_reconnects_where_it_was_welcome(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    refuse_as(CTL_REFUSAL_OTHER_JOB);
    assert_string_equal(rung_at(now), "0.1");
    agent_connected(a, now);
    hear(&(struct ctl_msg){
        .type = CTL_WELCOME,
        .welcome = {.coordinator_id = 7, .heartbeat_ms = 1000, .node_timeout_ms = 5000}});
    agent_disconnected(a, false, "connection reset", now);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(rung_at(now + 2000), "0.1");
        agent_not_connected(a, i % 2 == 0 ? LADDER_FREE : LADDER_DEAD, "no", now);
    }
}

static void test_server_stays(void **state)
{
    (void)state;
    start_on_ladder();
    assert_string_equal(rung_at(now), "0.0");
    refuse_as(CTL_REFUSAL_OTHER_JOB);
    assert_string_equal(rung_at(now), "0.1");
    agent_resolved(a, "10.77.0.1", true);
    agent_serves(a);
    for (int i = 0; i < 3; i++) {
        agent_not_connected(a, LADDER_FREE, "no loopback", now);
        assert_string_equal(rung_at(now + 2000), "0.1");
    }
}

/* What was tried, and what was found, is said after 2 s, every 10 s, and at the end. */
static void test_says_what_it_tried(void **state)
{
    (void)state;
    start_on_ladder();
    agent_resolved(a, "10.77.0.1", false);
    while (agent_get_state(a) != AGENT_DONE) {
        const char *rung = rung_at(100000);
        if (strcmp(rung, "0.0") == 0) {
            refuse_as(CTL_REFUSAL_OTHER_JOB);
        } else if (rung[0] == '0') {
            agent_not_connected(a, LADDER_FREE, "10.77.0.1: connection refused", now);
        } else if (rung[0] == '1') {
            agent_not_connected(a, LADDER_UNRESOLVED, "the name 'login' does not resolve", now);
        } else {
            break;
        }
    }
    assert_int_equal(now, 61000);
    take();
    const char *text = text_of(&said);
    assert_non_null(strstr(text, "cannot reach the coordinator of job '4.0': gpu54 (10.77.0.1): "
                                 "nothing listens on port 23002, another job or program on port "
                                 "23001 (wrong id); trying for 2 s, giving up after 60 s"));
    assert_non_null(strstr(text, "could not reach the coordinator within 60.0 s, of job '4.0': "
                                 "gpu54 (10.77.0.1): nothing listens on ports 23002 23003, another "
                                 "job or program on port 23001 (wrong id); login: the name 'login' "
                                 "does not resolve"));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_steps_over_strangers),
        TEST(test_free_port_waits),
        TEST(test_silent_one_costs_two_seconds),
        TEST(test_retry_stays),
        TEST(test_final_is_final),
        TEST(test_reconnects_where_it_was_welcome),
        TEST(test_server_stays),
        TEST(test_says_what_it_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
