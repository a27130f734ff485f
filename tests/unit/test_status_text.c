/* SPDX-License-Identifier: Apache-2.0 */
/* The status document as people and scripts see it, whatever is in it. */
#include "launcher/status_text.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char document[] =
    "{'port': {'accepted': 900, 'turned_away': 3, 'backlog_full': 0, 'store_slow_dropped': 1},"
    " 'jobs': [{'run_id': 'j', 'state': 'failed', 'since_s': 200.7, 'round': 2, 'restarts': 1,"
    " 'max_restarts': 1, 'min_nodes': 1, 'max_nodes': 2, 'nodes_joined': 3, 'spares': 1, "
    "'world_size': 3,"
    " 'exit_status': 139,"
    " 'failure': {'kind': 'worker', 'node': 'b', 'reason': 'killed by SIGSEGV (signal 11)',"
    "   'rank': 2, 'local_rank': 0, 'pid': 77, 'cause_text': 'segmentation fault'},"
    " 'nodes': ["
    "  {'name': 'spare', 'address': '10.0.0.3', 'pid': 3, 'state': 'spare', 'node_rank': null,"
    "   'workers': []},"
    "  {'name': 'b', 'address': '10.0.0.2', 'pid': 2, 'state': 'stopped', 'node_rank': 1,"
    "   'workers': [{'rank': 2, 'local_rank': 0, 'pid': 77, 'state': 'killed',"
    "                'exit': 'killed by SIGSEGV (signal 11)'}]},"
    "  {'name': 'a', 'address': '10.0.0.1', 'pid': 1, 'state': 'stopped', 'node_rank': 0,"
    "   'workers': [{'rank': 0, 'local_rank': 0, 'pid': 55, 'state': 'running', 'exit': null},"
    "               {'rank': 1, 'local_rank': 1, 'pid': 0, 'state': 'starting',"
    "                'exit': null}]}]}]}";

static const char table[] =
    "job j: failed for 3 min 20 s, 2 of 1:2 nodes and 1 spare, 3 workers, round 2, 1 of 1 "
    "restarts, exit "
    "status 139\n"
    "  failure   rank 2 on b (local rank 0, pid 77) killed by SIGSEGV (signal 11)\n"
    "  cause     segmentation fault\n"
    "    RANK  LOCAL       PID  STATE        EXIT\n"
    "node 0: a (10.0.0.1, agent pid 1) stopped\n"
    "       0      0        55  running      \n"
    "       1      1         -  starting     \n"
    "node 1: b (10.0.0.2, agent pid 2) stopped\n"
    "       2      0        77  killed       killed by SIGSEGV (signal 11)\n"
    "no rank: spare (10.0.0.3, agent pid 3) spare\n"
    "connections: 3 turned away for want of descriptors\n"
    "connections: 1 store clients closed for not reading\n";

/* JSON with ' for ". */
static json_t *parse(const char *text)
{
    mu_autofree char *json = mu_strdup(text);
    for (char *c = json; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_error_t error;
    json_t *o = json_loads(json, JSON_DECODE_ANY, &error);
    if (o == NULL) {
        fail_msg("%s in %s", error.text, text);
    }
    return o;
}

/* Owned by the caller. */
static char *render_with(void (*render_fn)(const json_t *, struct mu_buf *), const char *text)
{
    json_t *o = parse(text);
    struct mu_buf out = {0};
    render_fn(o, &out);
    json_decref(o);
    mu_buf_append_u8(&out, '\0');
    return (char *)out.data;
}

static char *render(const char *text)
{
    return render_with(status_text_render, text);
}

static void test_table(void **state)
{
    (void)state;
    mu_autofree char *text = render(document);
    assert_string_equal(text, table);
}

static void test_ages(void **state)
{
    (void)state;
    static const struct {
        const char *since;
        const char *want;
    } cases[] = {{"0.4", " 0 s,"},         {"59.9", " 59 s,"},      {"60", " 1 min 0 s,"},
                 {"3599", "59 min 59 s,"}, {"7500", " 2 h 5 min,"}, {"1e300", " for ?,"},
                 {"-1", " for ?,"}};
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *document_text =
            mu_asprintf("{'jobs': [{'since_s': %s}]}", cases[i].since);
        mu_autofree char *text = render(document_text);
        assert_non_null(strstr(text, cases[i].want));
    }
}

static void test_exit_status(void **state)
{
    (void)state;
    static const struct {
        const char *document;
        enum status_exit want;
    } cases[] = {
        {"{'jobs': []}", STATUS_EXIT_FORMING},
        {"{'jobs': [{'state': 'forming'}]}", STATUS_EXIT_FORMING},
        {"{'jobs': [{'state': 'running'}]}", STATUS_EXIT_RUNNING},
        {"{'jobs': [{'state': 'stopping'}]}", STATUS_EXIT_RUNNING},
        {"{'jobs': [{'state': 'succeeded'}]}", STATUS_EXIT_RUNNING},
        {"{'jobs': [{'state': 'failed'}]}", STATUS_EXIT_FAILED},
        {"{'jobs': [{'state': 'stopped'}]}", STATUS_EXIT_FAILED},
        {"{'jobs': [{'state': 'running'}, {'state': 'forming'}]}", STATUS_EXIT_FORMING},
        {"{'jobs': [{'state': 'forming'}, {'state': 'failed'}]}", STATUS_EXIT_FAILED},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        json_t *o = parse(cases[i].document);
        assert_int_equal(status_text_exit(o), cases[i].want);
        json_decref(o);
    }
}

static void test_events(void **state)
{
    (void)state;
    mu_autofree char *text = render_with(
        status_text_events,
        "{'jobs': [{'run_id': 'j', 'state': 'running', 'restarts': 7, 'restarts_used': 2,"
        " 'max_restarts': 3, 'events_dropped': 40, 'events': ["
        "  {'time': '2026-11-24T23:59:59.900Z', 'round': 1, 'kind': 'stopping', 'text': 'a b'},"
        "  {'time': '2026-11-24T23:59:59.910Z', 'round': 1, 'kind': 'restart', 'text': 'c'},"
        "  {'time': '2026-11-25T00:00:00.001Z', 'round': 2, 'kind': 'worker_failed', 'text': 'd'},"
        "  {'time': null, 'round': 2, 'kind': 'end', 'text': 'e'}]}]}");
    assert_non_null(strstr(text, "2 of 3 restarts\n"));
    assert_non_null(strstr(text, "\n  40 earlier ones are not kept\n"
                                 "2026-11-24 UTC\n"
                                 "  23:59:59.900  round 1  stopping      a b\n"
                                 "  23:59:59.910  round 1  restart       c\n"
                                 "2026-11-25 UTC\n"
                                 "  00:00:00.001  round 2  worker_failed d\n"
                                 "  ?  round 2  end           e\n"));
}

/* Another version, or not muster at all: nothing crashes, what is missing is "?". */
static void test_malformed(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "{}",
        "[]",
        "7",
        "null",
        "{'jobs': 3}",
        "{'jobs': {'a': 1}}",
        "{'jobs': [1, null, 'x', [], {}]}",
        "{'jobs': [{'run_id': 3, 'state': [], 'since_s': 'x', 'failure': 5, 'nodes': 'x'}]}",
        "{'jobs': [{'nodes': [1, null, {}, {'workers': 5}, {'workers': [1, {}, {'pid': 'x'}]}]}]}",
        "{'jobs': [{'nodes': [{'node_rank': 'x'}, {'node_rank': 99}, {'node_rank': -5}]}]}",
        "{'jobs': [{'nodes': [{'node_rank': 0, 'name': 'a'}, {'node_rank': 0, 'name': 'b'}]}]}",
        "{'jobs': [{'since_s': 1e300, 'exit_status': 'x', 'failure': {'kind': 'node'}}]}",
        "{'jobs': [{'since_s': -1e300}]}",
        "{'jobs': [{'events': 5, 'events_dropped': 'x'}]}",
        "{'jobs': [{'events': [1, null, {}, {'time': 'x', 'text': 5}, {'time': 'ZZZZZZZZZZT'}]}]}",
    };
    for (size_t i = 0; i < MU_COUNT(documents); i++) {
        json_t *o = parse(documents[i]);
        status_text_exit(o);
        json_decref(o);
        mu_autofree char *text = render(documents[i]);
        assert_true(text[0] != '\0');
        mu_autofree char *events = render_with(status_text_events, documents[i]);
        assert_true(events[0] != '\0');
    }
    mu_autofree char *text = render("{'jobs': [{}]}");
    assert_non_null(strstr(text, "job ?: ? for 0 s"));
    mu_autofree char *twice = render(documents[10]);
    assert_non_null(strstr(twice, "node 0: a"));
    assert_non_null(strstr(twice, "node 0: b"));
    mu_autofree char *none = render("{}");
    assert_string_equal(none, "no job yet\n");
}

static void test_missing(void **state)
{
    (void)state;
    mu_autofree char *text =
        render_with(status_text_render,
                    "{'jobs': [{'run_id': 'j', 'state': 'forming', 'since_s': 4, 'round': 0,"
                    " 'min_nodes': 2, 'max_nodes': 2, 'nodes_joined': 1, 'spares': 0,"
                    " 'missing': [{'name': 'gpu91', 'why': 'never seen'}], 'nodes': []}]}");
    assert_non_null(strstr(text, " restarts\n  missing   gpu91: never seen\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_ages),
        cmocka_unit_test(test_exit_status), cmocka_unit_test(test_events),
        cmocka_unit_test(test_malformed),   cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
