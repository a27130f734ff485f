/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_get(void **state)
{
    (void)state;
    char a[] = "NAME=value";
    char b[] = "NAMES=x";
    char c[] = "EMPTY=";
    char d[] = "NAME=second";
    char e[] = "EQUALS=a=b";
    char f[] = "ODD";
    char *envp[] = {f, b, a, c, d, e, NULL};
    assert_string_equal(mu_env_get(envp, "NAME"), "value");
    assert_string_equal(mu_env_get(envp, "EMPTY"), "");
    assert_string_equal(mu_env_get(envp, "EQUALS"), "a=b");
    assert_null(mu_env_get(envp, "NAM"));
    assert_null(mu_env_get(envp, "ODD"));
    assert_null(mu_env_get(envp + 6, "NAME"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_get)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
