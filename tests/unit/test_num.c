/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/num.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void test_int_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"7", 7},
        {"-7", -7},
        {"007", 7},
        {"9223372036854775807", INT64_MAX},
        {"-0", 0},
        {"10", 10},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        int64_t v = 99;
        assert_int_equal(mu_parse_int(cases[i].text, INT64_MIN, INT64_MAX, &v, NULL), 0);
        assert_true(v == cases[i].value);
    }
}

static void test_int_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        " 1",
        "1 ",
        "+1",
        "-",
        "--1",
        "0x1",
        "1e3",
        "1.0",
        "1,0",
        "abc",
        "1a",
        "9223372036854775808",
        "\t1",
        "1\n",
        "- 1",
        "٣",
        "99999999999999999999999999",
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        int64_t v = 99;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(mu_parse_int(cases[i], INT64_MIN, INT64_MAX, &v, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_int_equal(v, 99);
    }
}

static void test_int_bounds(void **state)
{
    (void)state;
    int64_t v = 99;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(mu_parse_int("1", 1, 3, &v, &err), 0);
    assert_int_equal(mu_parse_int("3", 1, 3, &v, &err), 0);
    assert_int_equal(v, 3);
    assert_int_equal(err.code, MU_E_NONE);
    assert_int_equal(mu_parse_int("4", 1, 3, &v, &err), -1);
    assert_string_equal(err.text, "'4' is not a whole number from 1 to 3");
    assert_int_equal(mu_parse_int("0", 1, 3, &v, &err), -1);
    assert_int_equal(v, 3);
}

static void test_duration_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"5", 5000},    {"0", 0},        {"0.5", 500},    {"1.5s", 1500},
        {"500ms", 500}, {"10m", 600000}, {"2h", 7200000}, {"1d", 86400000},
        {"0.0004", 0},  {"0.0005", 1},   {"1.", 1000},    {"3650d", 315360000000},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        int64_t ms = -1;
        assert_int_equal(mu_parse_duration(cases[i].text, &ms, NULL), 0);
        assert_true(ms == cases[i].ms);
    }
}

static void test_duration_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",    "s",     "-1",    "+1",
        ".5",  "1 s",   "1S",    "1min",
        "1w",  "1e3",   "0x10",  "inf",
        "nan", "1s1",   "1,5",   " 1",
        "1 ",  "3651d", "1e999", "99999999999999999999999999999999999999999999999999999999999d",
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        int64_t ms = 99;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(mu_parse_duration(cases[i], &ms, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_non_null(strstr(err.text, cases[i]));
        assert_int_equal(ms, 99);
    }
}

static void test_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"4K", 4096},
        {"512M", INT64_C(536870912)},
        {"4G", INT64_C(4294967296)},
        {"1048576T", INT64_C(1) << 60},
        {"1152921504606846976", INT64_C(1) << 60},
    };
    for (size_t i = 0; i < MU_COUNT(good); i++) {
        int64_t bytes = -1;
        assert_int_equal(mu_parse_size(good[i].text, &bytes, NULL), 0);
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        "1k",
        "1 K",
        "1KB",
        "1.",
        "1P",
        "1KK",
        " 1",
        "1048577T",
        "9"
        "9999999999999999999999",
    };
    for (size_t i = 0; i < MU_COUNT(bad); i++) {
        int64_t bytes = 99;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(mu_parse_size(bad[i], &bytes, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_true(bytes == 99);
    }
}

static void test_size_as_text(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1023, "1023"},
        {4096, "4K"},
        {4097, "4097"},
        {UINT64_C(64) << 30, "64G"},
        {UINT64_C(1) << 60, "1048576T"},
        {UINT64_MAX, "18446744073709551615"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        char text[MU_SIZE_TEXT];
        mu_format_size(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_range(void **state)
{
    (void)state;
    int64_t min = -1;
    int64_t max = -1;
    assert_int_equal(mu_parse_range("4", 10, &min, &max, NULL), 0);
    assert_true(min == 4 && max == 4);
    assert_int_equal(mu_parse_range("2:10", 10, &min, &max, NULL), 0);
    assert_true(min == 2 && max == 10);
    assert_int_equal(mu_parse_range("1:1", 10, &min, &max, NULL), 0);
    assert_true(min == 1 && max == 1);

    static const char *const cases[] = {
        "",      ":",    "1:",   ":1",    "0",    "0:1",
        "2:1",   "1:11", "11",   "1:2:3", "a:b",  "1:b",
        "1 : 2", "-1:2", "1:-2", " 1",    "+1:2", "000000000000000000000000000000001",
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mu_err err = MU_ERR_INIT;
        min = max = 99;
        assert_int_equal(mu_parse_range(cases[i], 10, &min, &max, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_true(min == 99 && max == 99);
    }
}

static void test_time(void **state)
{
    (void)state;
    char text[MU_TIME_SIZE];
    assert_true(mu_time_format(1700000000999, text));
    assert_string_equal(text, "2023-11-14T22:13:20Z");
    assert_true(mu_time_format(INT64_C(253402300799999), text));
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    assert_false(mu_time_format(0, text));
    assert_false(mu_time_format(-5, text));
    assert_false(mu_time_format(INT64_MAX, text));
}

static void test_find_number(void **state)
{
    (void)state;
    uint64_t value = 0;
    assert_true(mu_find_number("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n",
                               "oom_kill", &value));
    assert_int_equal(value, 3);
    assert_true(mu_find_number("oom_kill_disable 0\nunder_oom 0\noom_kill 5", "oom_kill", &value));
    assert_int_equal(value, 5);
    assert_false(mu_find_number("oom_kill_disable 0\nunder_oom 0\n", "oom_kill", &value));
    assert_false(mu_find_number("oom_kill x\n", "oom_kill", &value));
    assert_false(mu_find_number("", "oom_kill", &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int_accepts),
        cmocka_unit_test(test_int_refuses),
        cmocka_unit_test(test_int_bounds),
        cmocka_unit_test(test_duration_accepts),
        cmocka_unit_test(test_duration_refuses),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_size_as_text),
        cmocka_unit_test(test_find_number),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
