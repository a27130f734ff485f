/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/line_filter.h"

#include "launcher/line_prefix.h"
#include "launcher/line_stream.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void lists_have_commas(void **state)
{
    (void)state;
    const struct {
        const char *list;
        size_t count;
        const char *texts[3];
    } cases[] = {
        {NULL, 0, {NULL}},
        {"", 0, {NULL}},
        {"apple", 1, {"apple"}},
        {"apple,orange", 2, {"apple", "orange"}},
        {"a,,b", 1, {"a,b"}},
        {"a,,,b", 2, {"a,", "b"}},
        {",,", 1, {","}},
        {",a,", 1, {"a"}},
        {"a b, c", 2, {"a b", " c"}},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct line_filter f;
        line_filter_init(&f, cases[i].list);
        assert_int_equal(f.count, cases[i].count);
        for (size_t k = 0; k < f.count; k++) {
            assert_true(mu_slice_eq(f.texts[k], mu_slice_of(cases[i].texts[k])));
        }
        line_filter_fini(&f);
    }
}

/* `text` in pieces of `step` bytes through the filter. */
static void filter(const char *list, const char *text, size_t step, struct mu_buf *out)
{
    struct line_filter f;
    struct line_filter_stream s = {0};
    line_filter_init(&f, list);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += step) {
        line_filter_add(&s, &f, "[0]:", text + at, step < len - at ? step : len - at, out);
    }
    line_filter_end(&s, &f, "[0]:", out);
    line_filter_stream_fini(&s);
    line_filter_fini(&f);
    mu_buf_append_u8(out, '\0');
}

static void matching_lines_are_whole(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct mu_buf out = {0};
        filter("ple,ran", "apple one\nbanana\n\r\noranges\r\nlemon\rpple\rx\nlast apple", step,
               &out);
        assert_string_equal((char *)out.data,
                            "[0]:apple one\n[0]:oranges\n[0]:pple\n[0]:last apple\n");
        mu_buf_fini(&out);
    }
}

static void long_lines_are_judged_in_pieces(void **state)
{
    (void)state;
    struct line_filter f;
    struct line_filter_stream s = {0};
    struct mu_buf out = {0};
    line_filter_init(&f, "y");
    char *text = mu_alloc(LINE_STREAM_MAX);
    memset(text, 'x', LINE_STREAM_MAX);
    line_filter_add(&s, &f, "", text, LINE_STREAM_MAX - 1, &out);
    assert_int_equal(s.held.len, LINE_STREAM_MAX - 1);
    line_filter_add(&s, &f, "", "y", 1, &out);
    assert_int_equal(s.held.len, 0);
    assert_int_equal(out.len, LINE_STREAM_MAX + 1);
    line_filter_stream_fini(&s);
    line_filter_fini(&f);
    mu_buf_fini(&out);
    free(text);
}

static void prefixes_are_templates(void **state)
{
    (void)state;
    const struct line_prefix_names names = {.role_name = "tr$rank", .local_rank = 2, .rank = 34};
    const char *const cases[][2] = {
        {LINE_PREFIX_DEFAULT, "[tr$rank2]:"},
        {"", ""},
        {"<${rank}> ", "<34> "},
        {"$rank|$local_rank|$role_name|", "34|2|tr$rank|"},
        {"$$rank $ $", "$rank $ $"},
        {"$ranks ${ranks} ${rank ${} $1", "$ranks ${ranks} ${rank ${} $1"},
        {"$$$rank", "$34"},
        {"100%s", "100%s"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *text = line_prefix_expand(cases[i][0], &names);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_have_commas),
        cmocka_unit_test(matching_lines_are_whole),
        cmocka_unit_test(long_lines_are_judged_in_pieces),
        cmocka_unit_test(prefixes_are_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
