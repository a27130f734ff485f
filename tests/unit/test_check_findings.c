/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_findings.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_text(const struct check_findings *list, size_t nodes, const char *expected)
{
    struct mu_buf text = {0};
    check_findings_text(list, nodes, &text);
    mu_autofree char *shown = mu_buf_take_text(&text);
    assert_string_equal(shown, expected);
}

static void test_nothing(void **state)
{
    (void)state;
    struct check_findings list = {0};
    assert_text(&list, 1, "1 node, nothing found\n");
    assert_text(&list, 3, "3 nodes, nothing found\n");
    json_t *json = check_findings_json(&list, 3);
    assert_int_equal(json_integer_value(json_object_get(json, "nodes")), 3);
    assert_int_equal(json_integer_value(json_object_get(json, "errors")), 0);
    assert_true(json_is_array(json_object_get(json, "findings")));
    json_decref(json);
    check_findings_fini(&list);
}

static void test_errors_first_and_the_same_once(void **state)
{
    (void)state;
    struct check_findings list = {0};
    check_findings_add(&list, CHECK_WARNING, "n1", "shm", "small", "large", "grow");
    check_findings_add(&list, CHECK_ERROR, "n10", "cpus", "one", "all", "ask");
    check_findings_add(&list, CHECK_ERROR, NULL, "script", "two", "one", "copy");
    check_findings_add(&list, CHECK_ERROR, "n2", "cpus", "one", "all", "ask");
    check_findings_add(&list, CHECK_ERROR, "n3", "cpus", "two", "all", "ask");
    assert_text(&list, 4,
                "error: the nodes: two [script]\n    expected: one\n    to do: copy\n"
                "error: n2 and n10: one [cpus]\n    expected: all\n    to do: ask\n"
                "error: n3: two [cpus]\n    expected: all\n    to do: ask\n"
                "warning: n1: small [shm]\n    expected: large\n    to do: grow\n"
                "4 nodes, 3 errors, 1 warning\n");
    assert_int_equal(check_findings_count(&list, CHECK_ERROR), 4);
    assert_int_equal(check_findings_count(&list, CHECK_WARNING), 1);
    json_t *json = check_findings_json(&list, 4);
    mu_autofree char *compact = json_dumps(json, JSON_COMPACT);
    assert_string_equal(
        compact,
        "{\"nodes\":4,\"errors\":3,\"warnings\":1,\"findings\":["
        "{\"severity\":\"error\",\"check\":\"script\",\"nodes\":[],\"found\":\"two\","
        "\"expected\":\"one\",\"fix\":\"copy\"},"
        "{\"severity\":\"error\",\"check\":\"cpus\",\"nodes\":[\"n2\",\"n10\"],\"found\":\"one\","
        "\"expected\":\"all\",\"fix\":\"ask\"},"
        "{\"severity\":\"error\",\"check\":\"cpus\",\"nodes\":[\"n3\"],\"found\":\"two\","
        "\"expected\":\"all\",\"fix\":\"ask\"},"
        "{\"severity\":\"warning\",\"check\":\"shm\",\"nodes\":[\"n1\"],\"found\":\"small\","
        "\"expected\":\"large\",\"fix\":\"grow\"}]}");
    json_decref(json);
    check_findings_fini(&list);
}

static void test_many_nodes(void **state)
{
    (void)state;
    struct check_findings list = {0};
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", 11 - i);
        check_findings_add(&list, CHECK_WARNING, name, "shm", "small", "large", "grow");
    }
    assert_text(&list, 20,
                "warning: n0, n1, n2, n3, n4, n5, n6 and 5 more: small [shm]\n"
                "    expected: large\n    to do: grow\n20 nodes, 1 warning\n");
    assert_text(&list, 12,
                "warning: all nodes: small [shm]\n"
                "    expected: large\n    to do: grow\n12 nodes, 1 warning\n");
    check_findings_fini(&list);
}

/* Texts are of other nodes: nothing of them reaches a terminal as it is, or breaks the JSON. */
static void test_hostile_texts(void **state)
{
    (void)state;
    struct check_findings list = {0};
    mu_autofree char *endless = mu_alloc(100001);
    memset(endless, 'x', 100000);
    check_findings_add(&list, CHECK_ERROR, "n\x1b]", "a\nb", "\xff\xfe", "%s", endless);
    struct mu_buf text = {0};
    check_findings_text(&list, 1, &text);
    mu_autofree char *shown = mu_buf_take_text(&text);
    assert_non_null(strstr(shown, "error: n?]: ?? [a?b]\n    expected: %s\n"));
    assert_true(strlen(shown) < 2000);
    json_t *json = check_findings_json(&list, 1);
    assert_non_null(json);
    json_decref(json);
    check_findings_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_errors_first_and_the_same_once),
        cmocka_unit_test(test_many_nodes),
        cmocka_unit_test(test_hostile_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
