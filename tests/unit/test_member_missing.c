/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that a scheduler promised and that have not come: their names, and why. */
#include "tests/unit/member_rig.h"

static char name0[] = "gpu54";
static char name1[] = "gpu56";
static char name2[] = "gpu91";
static char *const names[] = {name0, name1, name2};

static int setup_named(void **state)
{
    (void)state;
    rig_setup_as(100);
    member_free(m);
    struct member_config config = {.coordinator_id = 7,
                                   .embedded_agent = 100,
                                   .expected = names,
                                   .expected_count = MU_COUNT(names)};
    m = member_new(mu_slice_of("j"), &config);
    hello.min_nodes = 3;
    hello.max_nodes = 3;
    return 0;
}

static uint32_t come(const char *name, int32_t sched_rank)
{
    struct mu_err err = MU_ERR_INIT;
    hello.node_name = mu_slice_of(name);
    hello.sched_rank = sched_rank;
    int64_t node = member_join(m, &hello, "10.77.0.1", now, &err);
    assert_true(node >= 0);
    hello.agent_id++;
    hello.pid++;
    return (uint32_t)node;
}

/* The progress line that the lead is told at `at_ms`. */
static const char *line_at(int64_t at_ms)
{
    static char line[2048];
    line[0] = '\0';
    while (member_take(m) != NULL) {
    }
    now = at_ms;
    member_tick(m, now);
    const struct member_effect *e;
    while ((e = member_take(m)) != NULL) {
        if (e->kind == MEMBER_SEND && e->msg.type == CTL_WAITING && e->msg.waiting.is_lead) {
            snprintf(line, sizeof(line), MU_SLICE_FMT, MU_SLICE_ARG(e->msg.waiting.text));
        }
    }
    return line;
}

static void test_names_who_is_missing(void **state)
{
    (void)state;
    uint32_t places[3];
    assert_int_equal(member_missing(m, places, 3), 0); /* nobody is waiting yet */
    come("gpu54", 0);
    come("gpu56", 1);
    assert_int_equal(member_missing(m, places, 3), 1);
    assert_int_equal(places[0], 2);
    assert_string_equal(line_at(3000),
                        "2/3 nodes joined (gpu54, gpu56); waiting for gpu91: never seen "
                        "[2 s, giving up after 60 s]");
}

static void test_reason_is_news(void **state)
{
    (void)state;
    come("gpu54", 0);
    assert_string_equal(line_at(3000),
                        "1/3 nodes joined (gpu54); waiting for 2 more: gpu56: never seen; gpu91: "
                        "never seen [2 s, giving up after 60 s]");
    member_note_missing(m, 2, "10.77.0.3 does not answer", 3100);
    assert_string_equal(line_at(4900), ""); /* not more than one line in two seconds */
    assert_string_equal(line_at(5000),
                        "1/3 nodes joined (gpu54); waiting for 2 more: gpu56: never seen; gpu91: "
                        "10.77.0.3 does not answer [4 s, giving up after 60 s]");
    member_note_missing(m, 2, "10.77.0.3 does not answer", 6000); /* no news */
    assert_string_equal(line_at(9900), "");
    come("gpu91", 2);
    assert_string_equal(line_at(10000),
                        "2/3 nodes joined (gpu54, gpu91); waiting for gpu56: never seen [9 s, "
                        "giving up after 60 s]");
}

/* Under another name than the scheduler's: its place says who it is. */
static void test_place_counts_more_than_name(void **state)
{
    (void)state;
    come("login", 2);
    come("gpu56", -1);
    uint32_t places[3];
    assert_int_equal(member_missing(m, places, 3), 1);
    assert_string_equal(member_missing_name(m, places[0]), "gpu54");
}

static void test_nobody_can_say(void **state)
{
    (void)state;
    come("gpu54", 0);
    come("another", -1);
    uint32_t places[3];
    assert_int_equal(member_missing(m, places, 3), 0);
    assert_string_equal(line_at(3000),
                        "2/3 nodes joined (another, gpu54); waiting for 1 more [2 s, "
                        "giving up after 60 s]");
}

static void test_one_that_went(void **state)
{
    (void)state;
    come("gpu54", 0);
    uint32_t node = come("gpu91", 2);
    member_lost(m, node, true, "closed", now);
    assert_string_equal(line_at(3000),
                        "1/3 nodes joined (gpu54); waiting for 2 more: gpu56: never seen; gpu91: "
                        "gone [2 s, giving up after 60 s]");
}

static void test_end_says_it(void **state)
{
    (void)state;
    come("gpu54", 0);
    come("gpu56", 1);
    member_note_missing(m, 2, "10.77.0.3 does not answer: down, cut off or filtered", now);
    for (uint32_t i = 0; i < 2; i++) {
        struct ctl_msg beat = {.type = CTL_HEARTBEAT, .heartbeat = {.beat = 2}};
        for (int64_t at = 2000; at < 61000; at += 1000) {
            struct mu_err err = MU_ERR_INIT;
            assert_int_equal(member_message(m, i, &beat, at, &err), 0);
        }
    }
    while (member_take(m) != NULL) {
    }
    now = 61000;
    member_tick(m, now);
    unsigned told = 0;
    const struct member_effect *e;
    while ((e = member_take(m)) != NULL) {
        if (e->kind == MEMBER_SEND && e->msg.type == CTL_END) {
            mu_autofree char *text = mu_slice_dup(e->msg.end.text);
            assert_non_null(strstr(text, "did not form within 60.0 s: 2/3 nodes joined (gpu54, "
                                         "gpu56), 1 missing: gpu91: 10.77.0.3 does not answer: "
                                         "down, cut off or filtered"));
            told++;
        }
    }
    assert_int_equal(told, 2);
}

static void test_nothing_after_all_are_here(void **state)
{
    (void)state;
    come("gpu54", 0);
    come("gpu56", 1);
    member_note_missing(m, 2, "10.77.0.3 does not answer", now);
    come("gpu91", 2);
    uint32_t places[3];
    assert_int_equal(member_missing(m, places, 3), 0);
    member_note_missing(m, 2, "late news", now);
    assert_true(member_look(m).state == MEMBER_RUNNING);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup_named, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names_who_is_missing),
        TEST(test_reason_is_news),
        TEST(test_place_counts_more_than_name),
        TEST(test_nobody_can_say),
        TEST(test_one_that_went),
        TEST(test_end_says_it),
        TEST(test_nothing_after_all_are_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
