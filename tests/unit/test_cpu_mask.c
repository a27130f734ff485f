/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_text(const struct cpu_mask *mask, const char *expected)
{
    struct mu_buf text = {0};
    cpu_mask_format(mask, &text);
    mu_buf_append_u8(&text, 0);
    assert_string_equal((char *)text.data, expected);
    mu_buf_fini(&text);
}

static void test_text_and_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "0", "0-2,4,6-7", "63-64", "0-8191", "127,8191"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cpu_mask mask;
        assert_int_equal(cpu_mask_parse(texts[i], &mask), 0);
        assert_text(&mask, texts[i]);
    }
}

static void test_what_is_no_list(void **state)
{
    (void)state;
    static const char *const texts[] = {"x", "1-", "-1", "1 2", "1,,2", "0-3\n", " 1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cpu_mask mask = {0};
        cpu_mask_add(&mask, 5);
        assert_int_equal(cpu_mask_parse(texts[i], &mask), -1);
        assert_text(&mask, "5"); /* untouched */
    }
}

static void test_beyond_the_end(void **state)
{
    (void)state;
    struct cpu_mask mask;
    assert_int_equal(cpu_mask_parse("8190-99999999999999999999999,3", &mask), 0);
    assert_text(&mask, "3,8190-8191");
    cpu_mask_add(&mask, CPU_MASK_BITS);
    assert_int_equal(cpu_mask_count(&mask), 3);
    assert_false(cpu_mask_has(&mask, CPU_MASK_BITS));
    assert_int_equal(cpu_mask_next(&mask, CPU_MASK_BITS), -1);
}

static void test_sets(void **state)
{
    (void)state;
    struct cpu_mask a;
    struct cpu_mask b;
    assert_int_equal(cpu_mask_parse("0-9,100", &a), 0);
    assert_int_equal(cpu_mask_parse("5-12", &b), 0);
    struct cpu_mask both = a;
    cpu_mask_intersect(&both, &b);
    assert_text(&both, "5-9");
    cpu_mask_unite(&a, &b);
    assert_text(&a, "0-12,100");
    assert_int_equal(cpu_mask_count(&a), 14);
    assert_int_equal(cpu_mask_next(&a, 13), 100);
    assert_int_equal(cpu_mask_next(&a, 101), -1);
    assert_false(cpu_mask_eq(&a, &b));
    assert_true(cpu_mask_eq(&a, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_beyond_the_end),
        cmocka_unit_test(test_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
