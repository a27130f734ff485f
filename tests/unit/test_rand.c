/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void test_name(void **state)
{
    (void)state;
    char a[9] = "zzzzzzzz";
    char b[9];
    mu_rand_name(a, 8);
    mu_rand_name(b, 8);
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789_"), 8);
    assert_int_equal(a[8], '\0');
    assert_string_not_equal(a, b); /* once in 3e12 */
    mu_rand_name(a, 0);
    assert_string_equal(a, "");
}

/* Every character turns up: 10000 draws miss one of 37 once in e^270. */
static void test_name_uses_all_letters(void **state)
{
    (void)state;
    static char text[10001];
    mu_rand_name(text, sizeof(text) - 1);
    for (const char *p = "abcdefghijklmnopqrstuvwxyz0123456789_"; *p != '\0'; p++) {
        assert_non_null(strchr(text, *p));
    }
}

static void test_uuid(void **state)
{
    (void)state;
    char a[MU_RAND_UUID_SIZE];
    char b[MU_RAND_UUID_SIZE];
    mu_rand_uuid(a);
    mu_rand_uuid(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    for (size_t i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            assert_int_equal(a[i], '-');
        } else {
            assert_non_null(strchr("0123456789abcdef", a[i]));
        }
    }
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_name_uses_all_letters),
        cmocka_unit_test(test_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
