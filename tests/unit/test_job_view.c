/* SPDX-License-Identifier: Apache-2.0 */
/* The status document of a job: its fields are an interface. */
#include "tests/unit/member_rig.h"

#include "rendezvous/job_view.h"

static json_t *view(void)
{
    struct member_view v = member_look(m);
    struct mu_buf text = {0};
    job_view_append(&v, NULL, now, &text);
    json_t *o = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    mu_buf_fini(&text);
    assert_non_null(o);
    return o;
}

/* The value at a path such as "nodes.0.name", borrowed. */
static json_t *at(const json_t *o, const char *path)
{
    char key[64];
    json_t *found = (json_t *)o;
    while (*path != '\0') {
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        found = json_is_array(found) ? json_array_get(found, (size_t)(key[0] - '0'))
                                     : json_object_get(found, key);
        path += len + (path[len] == '.');
    }
    if (found == NULL) {
        fail_msg("no %s", path);
    }
    return found;
}

static void expect_text(const json_t *o, const char *path, const char *want)
{
    assert_string_equal(json_string_value(at(o, path)), want);
}

static void expect_number(const json_t *o, const char *path, long long want)
{
    assert_true(json_is_integer(at(o, path)));
    assert_int_equal(json_integer_value(at(o, path)), want);
}

static void test_forming(void **state)
{
    (void)state;
    join("node1");
    now += 2500;
    json_t *o = view();
    expect_text(o, "run_id", "j");
    expect_text(o, "state", "forming");
    assert_true(json_real_value(at(o, "since_s")) == 2.5);
    expect_number(o, "round", 0);
    expect_number(o, "min_nodes", 2);
    expect_number(o, "max_nodes", 2);
    expect_number(o, "nodes_joined", 1);
    assert_true(json_is_null(at(o, "exit_status")));
    assert_true(json_is_null(at(o, "failure")));
    expect_text(o, "nodes.0.name", "node1");
    expect_text(o, "nodes.0.address", "10.0.0.1");
    expect_text(o, "nodes.0.state", "joined");
    expect_text(o, "nodes.0.role", "default");
    expect_number(o, "nodes.0.pid", 10);
    expect_number(o, "nodes.0.slots", 2);
    assert_true(json_is_null(at(o, "nodes.0.node_rank")));
    assert_int_equal(json_array_size(at(o, "nodes.0.workers")), 0);
    json_decref(o);
}

static void test_running(void **state)
{
    (void)state;
    run_two(3);
    struct ctl_msg msg = {
        .type = CTL_STARTED,
        .started = {.round = 1, .pids = {.ptr = "\xf5\x01\0\0\xf6\x01\0\0", .len = 8}}};
    assert_int_equal(hear(1, &msg), 0);
    hear_exit(1, 1, 0, 0);
    json_t *o = view();
    expect_text(o, "state", "running");
    expect_number(o, "world_size", 4);
    expect_number(o, "max_restarts", 3);
    expect_text(o, "nodes.0.state", "starting");
    expect_text(o, "nodes.0.workers.0.state", "starting");
    expect_text(o, "nodes.1.state", "running");
    expect_number(o, "nodes.1.node_rank", 1);
    expect_text(o, "nodes.1.workers.0.state", "succeeded");
    expect_number(o, "nodes.1.workers.0.exit_status", 0);
    expect_text(o, "nodes.1.workers.1.state", "running");
    expect_number(o, "nodes.1.workers.1.rank", 3);
    expect_number(o, "nodes.1.workers.1.local_rank", 1);
    expect_number(o, "nodes.1.workers.1.pid", 502);
    assert_true(json_is_null(at(o, "nodes.1.workers.1.exit")));
    expect_number(o, "spares", 0);
    json_decref(o);
    join("node3");
    o = view();
    expect_number(o, "nodes_joined", 3);
    expect_number(o, "spares", 1);
    expect_text(o, "nodes.2.state", "spare");
    json_decref(o);
}

static void test_failed(void **state)
{
    (void)state;
    run_two(0);
    hear_killed(1, 1, 1, SIGSEGV);
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 0);
    json_t *o = view();
    expect_text(o, "state", "failed");
    expect_number(o, "exit_status", 139);
    expect_text(o, "failure.kind", "worker");
    expect_text(o, "failure.node", "node2");
    expect_text(o, "failure.reason", "killed by SIGSEGV (signal 11)");
    expect_number(o, "failure.rank", 3);
    expect_number(o, "failure.exit_status", 139);
    expect_text(o, "failure.stderr_tail", "first\nlast words\n");
    expect_text(o, "nodes.1.workers.1.state", "killed");
    json_decref(o);
}

static void test_node_lost(void **state)
{
    (void)state;
    run_two(0);
    lose(1);
    json_t *o = view();
    expect_text(o, "state", "stopping");
    expect_number(o, "nodes_joined", 1);
    expect_text(o, "failure.kind", "node");
    expect_text(o, "failure.reason", "node node2 (10.0.0.1) was lost: connection reset");
    expect_text(o, "nodes.1.state", "gone");
    expect_text(o, "nodes.1.workers.0.state", "unknown");
    json_decref(o);
}

static void test_states_of_the_end(void **state)
{
    (void)state;
    run_two(0);
    hear_leave(0, SIGTERM);
    hear_stopped(0, 1, 0);
    hear_stopped(1, 1, 0);
    struct member_view v = member_look(m);
    assert_string_equal(job_view_state(&v), "stopped");
    v.exit_status = 0;
    assert_string_equal(job_view_state(&v), "succeeded");
    v.exit_status = 1;
    assert_string_equal(job_view_state(&v), "failed");
}

/* Whatever a worker wrote, and wherever it was cut, the rest of it is shown. */
static void test_tail_is_any_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        const char *want;
    } cases[] = {
        {"\x88\x88 50%\n", "?? 50%\n"},                /* begins within a character */
        {"\xe2\x96\x88 50%", "\xe2\x96\x88 50%"},      /* a block of a progress bar */
        {"ends \xe2\x96", "ends ??"},                  /* ends within one */
        {"\xff\xc3\xa9\xc0\xaf", "?\xc3\xa9??"},       /* no such byte; overlong form */
        {"\xed\xa0\x80|\xf4\x90\x80\x80", "???|????"}, /* surrogate; beyond the last one */
        {"", ""},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        rig_teardown(NULL);
        rig_setup_as(0);
        run_two(0);
        struct ctl_msg msg = {
            .type = CTL_EXITED,
            .exited = {
                .round = 1, .kind = OUTCOME_EXITED, .code = 1, .tail = mu_slice_of(cases[i].tail)}};
        assert_int_equal(hear(0, &msg), 0);
        json_t *o = view();
        expect_text(o, "failure.stderr_tail", cases[i].want);
        json_decref(o);
    }
}

static void test_events(void **state)
{
    (void)state;
    run_two(0);
    json_t *o = view();
    assert_int_equal(json_array_size(at(o, "events")), 3);
    expect_number(o, "events_dropped", 0);
    expect_text(o, "events.0.kind", "joined");
    expect_text(o, "events.1.node", "node2");
    expect_text(o, "events.1.text", "node2 (10.0.0.1, pid 10) joined job 'j' with 2 workers");
    expect_text(o, "events.2.kind", "round");
    expect_number(o, "events.2.round", 1);
    assert_true(json_is_null(at(o, "events.2.node")));
    assert_true(json_is_null(at(o, "events.2.time"))); /* nobody said what time it is */
    json_decref(o);

    struct member_view v = member_look(m);
    v.unix_offset_ms = INT64_C(1764000000123) - 1000;
    o = job_view_events_json(&v, 2, 100000);
    assert_int_equal(json_array_size(o), 2); /* the last ones */
    expect_text(o, "0.node", "node2");
    expect_text(o, "0.time", "2025-11-24T16:00:00.123Z");
    json_decref(o);
    o = job_view_events_json(&v, 100, 400);
    assert_in_range(json_array_size(o), 1, 2);
    json_decref(o);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_forming),   TEST(test_running),           TEST(test_failed),
        TEST(test_node_lost), TEST(test_states_of_the_end), TEST(test_tail_is_any_bytes),
        TEST(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
