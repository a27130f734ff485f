/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(struct mu_slice got, const char *want)
{
    if (!mu_slice_eq(got, mu_slice_of(want))) {
        fail_msg("'" MU_SLICE_FMT "', not '%s'", MU_SLICE_ARG(got), want);
    }
}

static void test_next(void **state)
{
    (void)state;
    struct mu_slice rest = mu_slice_of("a\r\n\nb 1%\rb 2%\nlast");
    static const char *const want[] = {"a", "", "b 1%", "b 2%", "last"};
    struct mu_slice line;
    for (size_t i = 0; i < 5; i++) {
        assert_true(lines_next(&rest, &line));
        expect(line, want[i]);
    }
    assert_false(lines_next(&rest, &line));
    rest = mu_slice_of("");
    assert_false(lines_next(&rest, &line));
    rest = mu_slice_of("\n");
    assert_true(lines_next(&rest, &line));
    expect(line, "");
    assert_false(lines_next(&rest, &line));
}

static void test_find(void **state)
{
    (void)state;
    struct mu_slice text = mu_slice_of("one\ntwo three\nfour");
    const char *at = lines_find(text, "three");
    assert_ptr_equal(at, text.ptr + 8);
    expect(lines_around(text, at), "two three");
    expect(lines_around(text, text.ptr), "one");
    expect(lines_around(text, text.ptr + text.len), "four");
    assert_null(lines_find(text, "five"));
    assert_null(lines_find(mu_slice_of(""), "five"));
    assert_true(lines_starts_with(text, "one"));
    assert_false(lines_starts_with(text, "one\ntwo three\nfour, and more"));
}

static void test_last(void **state)
{
    (void)state;
    struct mu_slice text = mu_slice_of("one\ntwo\r\n\nthree\n\n");
    expect(lines_last(text, 1, 100), "three");
    expect(lines_last(text, 2, 100), "two\r\n\nthree");
    expect(lines_last(text, 3, 100), "one\ntwo\r\n\nthree");
    expect(lines_last(text, 100, 100), "one\ntwo\r\n\nthree");
    expect(lines_last(text, 100, 12), "two\r\n\nthree"); /* whole lines only ... */
    expect(lines_last(text, 100, 3), "ree");             /* ... if one fits */
    expect(lines_last(mu_slice_of("\n\n"), 5, 100), "");
    expect(lines_last(mu_slice_of(""), 5, 100), "");
}

static void test_first(void **state)
{
    (void)state;
    struct mu_slice text = mu_slice_of("one\ntwo\nthree");
    expect(lines_first(text, 1, 100), "one");
    expect(lines_first(text, 2, 100), "one\ntwo");
    expect(lines_first(text, 9, 100), "one\ntwo\nthree");
    expect(lines_first(text, 9, 8), "one\ntwo");
    expect(lines_first(text, 9, 2), "on");
    expect(lines_first(mu_slice_of(""), 9, 2), "");
}

static void strip(const char *text, const char *want)
{
    char copy[64];
    snprintf(copy, sizeof(copy), "%s", text);
    size_t len = lines_strip_escapes(copy, strlen(copy));
    expect((struct mu_slice){copy, len}, want);
}

static void test_strip_escapes(void **state)
{
    (void)state;
    strip("\033[1;35mValueError\033[0m: bad", "ValueError: bad");
    strip("\033]0;title\agone\033]8;;x\033\\link", "gonelink");
    strip("50 %\033[K\r\033[2A100 %", "50 %\r100 %");
    strip("cut\033", "cut");
    strip("cut\033[1;3", "cut");
    strip("cut\033]0;ti\nnext", "cut\nnext");
    strip("a\033cb", "ab");
    strip("", "");
    char nul[] = "in worker.\n\0Traceback";
    size_t len = lines_strip_escapes(nul, sizeof(nul) - 1);
    expect((struct mu_slice){nul, len}, "in worker.\nTraceback");
}

static void test_flatten(void **state)
{
    (void)state;
    char text[] = "a\nb\033[31m\tc\177 \xc3\xa9";
    lines_flatten(text);
    assert_string_equal(text, "a b [31m c  \xc3\xa9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),          cmocka_unit_test(test_find),
        cmocka_unit_test(test_last),          cmocka_unit_test(test_first),
        cmocka_unit_test(test_strip_escapes), cmocka_unit_test(test_flatten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
