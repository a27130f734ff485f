/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of exit codes, as users write them. */
#include "muster/exit_codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_lists(void **state)
{
    (void)state;
    struct exit_codes set;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(exit_codes_parse("2,64-78,255", &set, &err), 0);
    for (int code = -1; code <= 256; code++) {
        bool is_in = code == 2 || (code >= 64 && code <= 78) || code == 255;
        assert_int_equal(exit_codes_has(&set, code), is_in);
    }
    assert_int_equal(exit_codes_parse("", &set, &err), 0);
    for (int code = 0; code <= 255; code++) {
        assert_false(exit_codes_has(&set, code));
    }
    assert_int_equal(exit_codes_parse("01,7-7,1-3", &set, &err), 0);
    assert_true(exit_codes_has(&set, 1) && exit_codes_has(&set, 3) && exit_codes_has(&set, 7));
}

static void test_nonsense(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",    "256",   "1,", ",1",  "1,,2",  "3-2", "1-",
                                        "-1",   "1-2-3", " 1", "1 ",  "a",     "1;2", "99999",
                                        "0-10", "1-300", "+1", "0x1", "1,two", "2.5"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct exit_codes set = {{1}};
        struct mu_err err = MU_ERR_INIT;
        char want[128];
        snprintf(want, sizeof(want),
                 "'%s' is not a list of exit codes from 1 to 255 such as 2,64-78", texts[i]);
        assert_int_equal(exit_codes_parse(texts[i], &set, &err), -1);
        assert_string_equal(err.text, want);
        assert_int_equal(set.bits[0], 1); /* untouched */
    }
}

static void test_common(void **state)
{
    (void)state;
    struct exit_codes a;
    struct exit_codes b;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(exit_codes_parse("3,64-78", &a, &err), 0);
    assert_int_equal(exit_codes_parse("4,78-80", &b, &err), 0);
    assert_int_equal(exit_codes_common(&a, &b), 78);
    assert_int_equal(exit_codes_parse("4", &b, &err), 0);
    assert_int_equal(exit_codes_common(&a, &b), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_common),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
