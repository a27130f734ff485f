/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/run_program.h"

#include "muster/clock.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { LONG_MS = 60000, SHORT_MS = 200 };

static char *env[] = {(char *)(uintptr_t) "COLOUR=blue", NULL};

/* `sh -c script`; the limits are small. */
static int run_shell(const char *script, int64_t timeout_ms, struct run_program_result *result,
                     struct mu_err *err)
{
    char *argv[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t)script, NULL};
    struct run_program_limits limits = {.timeout_ms = timeout_ms, .out_max = 1000, .err_max = 10};
    memset(result, 0, sizeof(*result));
    mu_err_clear(err);
    return run_program(argv, env, &limits, result, err);
}

static void assert_text(const struct mu_buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_memory_equal(b->data, text, b->len);
}

static void test_what_it_says_and_how_it_ends(void **state)
{
    (void)state;
    struct run_program_result result;
    struct mu_err err;
    assert_int_equal(run_shell("cat; echo $COLOUR; echo why >&2; exit 7", LONG_MS, &result, &err),
                     0);
    assert_text(&result.out, "blue\n");
    assert_text(&result.err, "why\n");
    assert_int_equal(outcome_exit_status(result.outcome), 7);
    run_program_fini(&result);

    assert_int_equal(run_shell("kill -TERM $$", LONG_MS, &result, &err), 0);
    assert_true(outcome_is_signal(result.outcome, 15));
    run_program_fini(&result);
}

static void test_killed_when_its_time_is_over(void **state)
{
    (void)state;
    static const char *const scripts[] = {"exec sleep 60", "exec sleep 60 >&- 2>&-"};
    for (size_t i = 0; i < MU_COUNT(scripts); i++) {
        struct run_program_result result;
        struct mu_err err;
        int64_t start = mu_clock_ms();
        assert_int_equal(run_shell(scripts[i], SHORT_MS, &result, &err), -1);
        assert_int_equal(err.code, MU_E_TIMEOUT);
        assert_true(outcome_is_signal(result.outcome, 9));
        assert_true(mu_clock_ms() - start >= SHORT_MS);
        assert_true(mu_clock_ms() - start < 30000);
        run_program_fini(&result);
    }
}

static void test_too_much_to_take(void **state)
{
    (void)state;
    struct run_program_result result;
    struct mu_err err;
    assert_int_equal(run_shell("yes; sleep 60", LONG_MS, &result, &err), -1);
    assert_int_equal(err.code, MU_E_LIMIT);
    run_program_fini(&result);

    assert_int_equal(
        run_shell("echo 0123456789abc >&2; yes | head -n 9999 >&2; echo k", LONG_MS, &result, &err),
        0);
    assert_text(&result.out, "k\n");
    assert_text(&result.err, "0123456789");
    run_program_fini(&result);
}

static void test_not_there(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t) "/nowhere/at-all", NULL};
    struct run_program_limits limits = {.timeout_ms = LONG_MS, .out_max = 10, .err_max = 100};
    struct run_program_result result = {0};
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(run_program(argv, env, &limits, &result, &err), 0);
    assert_int_equal(outcome_exit_status(result.outcome), 127);
    assert_text(&result.err, "could not be executed\n");
    run_program_fini(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_says_and_how_it_ends),
        cmocka_unit_test(test_killed_when_its_time_is_over),
        cmocka_unit_test(test_too_much_to_take),
        cmocka_unit_test(test_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
