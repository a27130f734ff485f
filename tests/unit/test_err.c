/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/err.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void test_set(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(mu_err_set(&err, MU_E_LIMIT, 0, "%d is too many", 7), -1);
    assert_int_equal(err.code, MU_E_LIMIT);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.text, "7 is too many");
}

static void test_set_with_errno(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(mu_err_set(&err, MU_E_SYSTEM, ENOENT, "open %s", "x"), -1);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.text, "open x: No such file or directory");
}

static void test_set_from_its_own_text(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    mu_err_set(&err, MU_E_USAGE, 0, "a");
    mu_err_set(&err, MU_E_SYSTEM, 0, "%s, %s", err.text, "b");
    assert_string_equal(err.text, "a, b");
    assert_int_equal(err.code, MU_E_SYSTEM);
}

static void test_wrap(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    mu_err_set(&err, MU_E_CONNECT, ECONNREFUSED, "connect");
    assert_int_equal(mu_err_wrap(&err, "job %d", 3), -1);
    assert_int_equal(mu_err_wrap(&err, "join"), -1);
    assert_string_equal(err.text, "join: job 3: connect: Connection refused");
    assert_int_equal(err.code, MU_E_CONNECT);
    assert_int_equal(err.sys, ECONNREFUSED);
}

static void test_null(void **state)
{
    (void)state;
    assert_int_equal(mu_err_set(NULL, MU_E_SYSTEM, EIO, "x"), -1);
    assert_int_equal(mu_err_wrap(NULL, "x"), -1);
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    char text[2 * sizeof(err.text)];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mu_err_set(&err, MU_E_SYSTEM, EIO, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    mu_err_wrap(&err, "short");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_int_equal(strncmp(err.text, "short: aaa", 10), 0);
    mu_err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_exit_status(void **state)
{
    (void)state;
    static const enum mu_err_code ones[] = {MU_E_SYSTEM, MU_E_CONNECT, MU_E_TIMEOUT, MU_E_PROTOCOL,
                                            MU_E_LIMIT,  MU_E_REFUSED, MU_E_LOST,    MU_E_CANCELED};
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(mu_err_exit_status(&err), 0);
    err.code = MU_E_USAGE;
    assert_int_equal(mu_err_exit_status(&err), 2);
    for (size_t i = 0; i < MU_COUNT(ones); i++) {
        err.code = ones[i];
        assert_int_equal(mu_err_exit_status(&err), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),         cmocka_unit_test(test_set_with_errno),
        cmocka_unit_test(test_wrap),        cmocka_unit_test(test_set_from_its_own_text),
        cmocka_unit_test(test_null),        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
