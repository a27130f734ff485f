/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many failures is the culprit, and what the screen and the report say of it. */
#include "tests/unit/member_rig.h"

#include "muster/job_report.h"

#include <jansson.h>

static const struct outcome exited_1 = {.kind = OUTCOME_EXITED, .code = 1};
static const struct outcome segfault = {.kind = OUTCOME_SIGNALED, .code = SIGSEGV};
static const struct outcome killed = {.kind = OUTCOME_SIGNALED, .code = SIGKILL};
static const struct outcome terminated = {.kind = OUTCOME_SIGNALED, .code = SIGTERM};

static void end_both(uint32_t round)
{
    hear_stopped(0, round, 0);
    hear_stopped(1, round, 0);
}

/* A peer's broken connection is heard of 2 ms before the crash that broke it. */
static void test_consequence_yields(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 1, exited_1, CAUSE_PEER_LOST);
    expect("0 STOP r1 sig 15 grace 1000; 1 STOP r1 sig 15 grace 1000");
    now += 2;
    hear_exited_of(1, 1, 1, segfault, CAUSE_SEGFAULT);
    hear_exited_of(0, 1, 0, terminated, CAUSE_STOPPED);
    hear_exited_of(1, 1, 0, exited_1, CAUSE_EXCEPTION); /* after SIGTERM: of no weight */
    expect("");
    end_both(1);
    expect("0 END 139 report; 1 END 139; over 139");
    expect_said("job 'j' failed: rank 3 on node2 (local rank 1, pid 501) killed by SIGSEGV");
}

static void test_counts_by_cause(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 1, exited_1, CAUSE_PEER_LOST);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    hear_exited_of(1, 1, 1, killed, CAUSE_SIGNAL);
    hear_exited_of(1, 1, 0, terminated, CAUSE_STOPPED);
    end_both(1);
    expect_said("  then      2 more failures, as a consequence of it: connection to a peer lost "
                "(2); 1 was stopped\n");
    assert_int_equal(member_look(m).failure->rank, 3);
}

/* One mistake, of which every rank fails by itself, before it hears of the others. */
static void test_each_by_itself(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_EXCEPTION);
    struct ctl_msg own = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .kind = (uint8_t)exited_1.kind,
                                     .code = exited_1.code,
                                     .cause = CAUSE_EXCEPTION,
                                     .blame = CAUSE_OWN}};
    assert_int_equal(hear(1, &own), 0);
    hear_exited_of(1, 1, 1, exited_1, CAUSE_PEER_LOST);
    hear_exited_of(0, 1, 1, terminated, CAUSE_STOPPED);
    end_both(1);
    expect_said("  then      2 more failures, 1 of them as a consequence of it: ");
}

static void test_first_of_its_own_doing_stays(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_EXCEPTION);
    hear_exited_of(1, 1, 1, segfault, CAUSE_SEGFAULT);
    end_both(1);
    assert_int_equal(member_look(m).failure->rank, 0);
    assert_int_equal(member_look(m).exit_status, 1);
}

static void test_first_consequence_stays(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(1, 1, 0, exited_1, CAUSE_TIMEOUT);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    hear_exited_of(0, 1, 1, terminated, CAUSE_STOPPED);
    hear_exited_of(1, 1, 1, terminated, CAUSE_STOPPED);
    end_both(1);
    assert_int_equal(member_look(m).failure->rank, 2);
    expect_said("  note      others cause this, but no other worker is known to have failed by "
                "itself; without an\n"
                "            error of their own: rank 1 on node1, rank 3 on node2\n");
}

/* The peers of a lost node fail before its connection is known to be lost. */
static void test_lost_node_beats_consequences(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    now += 3;
    lose(1);
    hear_stopped(0, 1, 0);
    assert_true(member_look(m).failure->is_node);
    expect_said("job 'j' failed: node node2 (10.0.0.1) was lost: connection reset\n");
}

/* Nor is a restart spent, since a spare takes its place. */
static void test_lost_node_costs_no_restart(void **state)
{
    (void)state;
    run_two(0);
    join("node3");
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(member_look(m).round, 2);
    assert_int_equal(member_look(m).restarts, 0);
}

static void test_lost_node_does_not_beat_a_cause(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, segfault, CAUSE_SEGFAULT);
    lose(1);
    hear_stopped(0, 1, 0);
    assert_int_equal(member_look(m).exit_status, 139);
}

/* A node that is given up since it does not stop is no cause of anything. */
static void test_slow_node_is_no_culprit(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    hear_stopped(0, 1, 0);
    pass(now + 16000, 2);
    assert_int_equal(state_now(), MEMBER_ENDED);
    assert_false(member_look(m).failure->is_node);
    assert_int_equal(member_look(m).failure->collateral_by[CAUSE_NODE_LOST], 1);
}

/* Its traceback was there before the order to stop, its exit status was not. */
static void test_was_ending(void **state)
{
    (void)state;
    run_two(0);
    hear_exited_of(0, 1, 0, exited_1, CAUSE_PEER_LOST);
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .local_rank = 1,
                                     .pid = 77,
                                     .kind = OUTCOME_SIGNALED,
                                     .code = SIGTERM,
                                     .cause = CAUSE_EXCEPTION,
                                     .was_ending = 1,
                                     .sentence = mu_slice_of("ValueError: bad")}};
    assert_int_equal(hear(1, &msg), 0);
    end_both(1);
    assert_int_equal(member_look(m).exit_status, 1);
    expect_said("rank 3 on node2 (local rank 1, pid 77) failed (and was killed by SIGTERM (signal "
                "15) before it had ended)\n  cause     ValueError: bad\n");
}

/* What only points at something costs lines that say something. */
static void test_underlines_are_left_out(void **state)
{
    (void)state;
    run_two(0);
    struct ctl_msg msg = {
        .type = CTL_EXITED,
        .exited = {.round = 1,
                   .kind = OUTCOME_EXITED,
                   .code = 1,
                   .quote = mu_slice_of("    x = a / b\n        ~~^~~\n[rank2]:     f()\n"
                                        "[rank2]:     ^^^\n^ here\n[rank2]: \n    \n~~~\nend")}};
    assert_int_equal(hear(0, &msg), 0);
    end_both(1);
    expect_said("  its own words:\n    |     x = a / b\n    | [rank2]:     f()\n    | ^ here\n"
                "    | [rank2]: \n    |     \n    | ~~~\n    | end\n");
}

/* Everything a screen can have, at its largest: it stays one screen, and nothing of it is raw. */
static void test_screen_is_bounded(void **state)
{
    (void)state;
    run_two(0);
    struct mu_buf text = {0};
    for (int i = 0; i < 500; i++) {
        mu_buf_printf(&text, "a\033[31m \xc3\xa9 %d\n%*d\n", i, 300, i);
    }
    struct mu_slice all = {(const char *)text.data, 4096};
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .kind = OUTCOME_EXITED,
                                     .code = 1,
                                     .unix_ms = 1700000000000,
                                     .sentence = all,
                                     .hint = all,
                                     .message = all,
                                     .error_file = mu_slice_of("/tmp/x\n/error.json"),
                                     .log_file = mu_slice_of("/tmp/stderr.log"),
                                     .quote = all,
                                     .tail = all}};
    assert_int_equal(hear(0, &msg), 0);
    hear_exited_of(1, 1, 0, exited_1, CAUSE_PEER_LOST);
    hear_exited_of(1, 1, 1, exited_1, CAUSE_TIMEOUT);
    said.len = 0;
    end_both(1);
    const char *screen = rig_text(&said);
    assert_null(strchr(screen, '\033'));
    assert_non_null(
        strstr(screen, "  error     /tmp/x /error.json\n  log       /tmp/stderr.log\n"));
    assert_non_null(strstr(screen, "; 2023-11-14T22:13:20Z\n"));
    size_t lines = 0;
    const char *line = strstr(screen, "job 'j'");
    for (; line != NULL && line[0] != '\0'; lines++) {
        size_t len = strcspn(line, "\n");
        assert_true(len <= 110); /* bytes, of at most 100 columns */
        line += len + (line[len] == '\n');
    }
    assert_true(lines <= 30);
    mu_buf_fini(&text);
}

/* Text that is folded where there is no space: between characters. */
static void test_characters_stay_whole(void **state)
{
    (void)state;
    static const char characters[] = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa5"; /* 2, 3, 4 bytes */
    run_two(0);
    struct mu_buf text = {0};
    mu_buf_printf(&text, "a");
    for (int i = 0; i < 25; i++) {
        mu_buf_printf(&text, "%s", characters);
    }
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .kind = OUTCOME_EXITED,
                                     .code = 1,
                                     .sentence = {(const char *)text.data, text.len}}};
    assert_int_equal(hear(0, &msg), 0);
    said.len = 0;
    end_both(1);
    const char *screen = rig_text(&said);
    for (const char *at = characters; *at != '\0';) {
        size_t size = *at == '\xc3' ? 2 : *at == '\xe2' ? 3 : 4;
        mu_autofree char *one = mu_strndup(at, size);
        size_t whole = 0;
        for (const char *c = strstr(screen, "  cause "); (c = strstr(c, one)) != NULL; c++) {
            whole++;
        }
        assert_int_equal(whole, 25);
        at += size;
    }
    mu_buf_fini(&text);
}

/* ---- END: who was it, and the report for who wants one ---- */

static void test_end_names_the_culprit(void **state)
{
    (void)state;
    hello.wants_report = 1;
    hello.max_restarts = 0;
    join("node1");
    hello.wants_report = 0;
    join("node2");
    forget();
    hear_exited_of(1, 1, 1, segfault, CAUSE_SEGFAULT);
    hear_stopped(0, 1, 0);
    struct ctl_msg msg = {.type = CTL_STOPPED, .stopped = {.round = 1}};
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_message(m, 1, &msg, now, &err), 0);
    const struct member_effect *e;
    unsigned ends = 0;
    while ((e = member_take(m)) != NULL) {
        if (e->kind != MEMBER_SEND || e->msg.type != CTL_END) {
            continue;
        }
        ends++;
        const struct ctl_end *end = &e->msg.end;
        assert_int_equal(end->culprit, e->node == 1 ? 1 : CTL_CULPRIT_ELSEWHERE);
        assert_int_equal(end->report.len > 0, e->node == 0);
        if (e->node == 0) {
            json_t *o = json_loadb(end->report.ptr, end->report.len, 0, NULL);
            assert_int_equal(json_integer_value(json_object_get(o, "report_format")), 1);
            assert_string_equal(json_string_value(json_object_get(o, "state")), "failed");
            const json_t *f = json_object_get(o, "failure");
            assert_string_equal(json_string_value(json_object_get(f, "cause")), "segfault");
            assert_int_equal(json_integer_value(json_object_get(f, "signal")), SIGSEGV);
            assert_int_equal(json_integer_value(json_object_get(f, "rank")), 3);
            json_decref(o);
        }
    }
    assert_int_equal(ends, 2);
}

/* The worst that an agent can send: the report still fits into a frame. */
static void test_report_is_bounded(void **state)
{
    (void)state;
    run_two(0);
    mu_autofree char *bytes = mu_alloc(MU_CTL_MAX_TEXT + 1);
    memset(bytes, '"', MU_CTL_MAX_TEXT);
    struct mu_slice all = {bytes, MU_CTL_MAX_TEXT};
    mu_autofree char *name = mu_strndup(bytes, MU_MAX_NAME);
    for (int i = 0; i < 100; i++) {
        join(name); /* an event of its own */
    }
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = 1,
                                     .kind = OUTCOME_EXITED,
                                     .code = 1,
                                     .sentence = all,
                                     .hint = all,
                                     .message = all,
                                     .error_file = all,
                                     .log_file = all,
                                     .quote = all,
                                     .tail = all}};
    assert_int_equal(hear(0, &msg), 0);
    end_both(1);
    struct member_view v = member_look(m);
    mu_autofree char *text = job_report_text(&v, "summary");
    assert_true(strlen(text) <= MU_REPORT_MAX);
    json_t *o = json_loads(text, 0, NULL);
    const json_t *events = json_object_get(o, "events");
    assert_in_range(json_array_size(events), 3, 49);
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    assert_string_equal(json_string_value(json_object_get(last, "kind")), "end");
    const json_t *f = json_object_get(o, "failure");
    assert_int_equal(json_string_length(json_object_get(f, "stderr_tail")), MU_REPORT_TAIL);
    assert_string_equal(json_string_value(json_object_get(o, "summary")), "summary");
    json_decref(o);
}

static void test_report_alone(void **state)
{
    (void)state;
    mu_autofree char *text = job_report_text_alone("j", 143, "cut\033 off");
    json_t *o = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "run_id")), "j");
    assert_string_equal(json_string_value(json_object_get(o, "state")), "stopped");
    assert_string_equal(json_string_value(json_object_get(o, "summary")), "cut? off");
    assert_int_equal(json_integer_value(json_object_get(o, "exit_status")), 143);
    assert_true(json_is_null(json_object_get(o, "failure")));
    json_decref(o);
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    run_two(0);
    struct ctl_exited good = {.round = 1, .kind = OUTCOME_EXITED, .code = 1};
    struct ctl_msg msg = {.type = CTL_EXITED, .exited = good};
    msg.exited.cause = CAUSE_KIND_COUNT;
    assert_int_equal(hear(0, &msg), -1);
    msg.exited = good;
    msg.exited.blame = CAUSE_BLAME_LAST + 1;
    assert_int_equal(hear(0, &msg), -1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_consequence_yields),
        TEST(test_counts_by_cause),
        TEST(test_each_by_itself),
        TEST(test_first_of_its_own_doing_stays),
        TEST(test_first_consequence_stays),
        TEST(test_lost_node_beats_consequences),
        TEST(test_lost_node_costs_no_restart),
        TEST(test_lost_node_does_not_beat_a_cause),
        TEST(test_slow_node_is_no_culprit),
        TEST(test_was_ending),
        TEST(test_underlines_are_left_out),
        TEST(test_screen_is_bounded),
        TEST(test_characters_stay_whole),
        TEST(test_end_names_the_culprit),
        TEST(test_report_is_bounded),
        TEST(test_report_alone),
        TEST(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
