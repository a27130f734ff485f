/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say what is started again and what is not. */
#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { MAX_WORDS = 8 };

/* What `muster run OPTIONS... t.py` makes of it; `variable` is the environment, or NULL. */
static int parse(struct options *opts, char *variable, const char *const *words, struct mu_err *err)
{
    static char *argv[MAX_WORDS + 3];
    static char *envp[2];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "muster";
    for (size_t i = 0; words[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)words[i];
    }
    argv[argc++] = (char *)(uintptr_t) "t.py";
    argv[argc] = NULL;
    envp[0] = variable;
    return options_parse(opts, OPTIONS_RUN, argc, argv, envp, err) != 0 ? -1
                                                                        : options_check(opts, err);
}

#define WORDS(...)                     \
    (const char *const[MAX_WORDS + 1]) \
    {                                  \
        __VA_ARGS__                    \
    }

static void expect_refused(const char *const *words, char *variable, const char *text)
{
    struct options o;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(parse(&o, variable, words, &err), -1);
    assert_string_equal(err.text, text);
    assert_int_equal(mu_err_exit_status(&err), 2);
}

static void test_defaults(void **state)
{
    (void)state;
    struct options o;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(parse(&o, NULL, WORDS(NULL), &err), 0);
    assert_int_equal(o.restart_window_ms, 0);
    assert_int_equal(o.min_uptime_ms, 10000);
    assert_int_equal(o.max_node_losses, 10);
    for (int code = 0; code < 256; code++) {
        assert_false(exit_codes_has(&o.stop_codes, code) || exit_codes_has(&o.retry_codes, code));
    }
}

static void test_values(void **state)
{
    (void)state;
    struct options o;
    struct mu_err err = MU_ERR_INIT;
    char variable[] = "MUSTER_RETRY_EXIT_CODES=75,100-102";
    assert_int_equal(parse(&o, variable,
                           WORDS("--stop_exit_codes", "2,64-70", "--restart-window=1h",
                                 "--min-uptime", "0", "--max-node-losses=0"),
                           &err),
                     0);
    assert_int_equal(o.restart_window_ms, 3600000);
    assert_int_equal(o.min_uptime_ms, 0);
    assert_int_equal(o.max_node_losses, 0);
    assert_true(exit_codes_has(&o.stop_codes, 2) && exit_codes_has(&o.stop_codes, 70));
    assert_false(exit_codes_has(&o.stop_codes, 71));
    assert_true(exit_codes_has(&o.retry_codes, 75) && exit_codes_has(&o.retry_codes, 101));
}

static void test_refused(void **state)
{
    (void)state;
    char variable[] = "MUSTER_RETRY_EXIT_CODES=no";
    expect_refused(WORDS("--stop-exit-codes=0"), NULL,
                   "--stop-exit-codes: '0' is not a list of exit codes from 1 to 255 such as "
                   "2,64-78");
    expect_refused(WORDS("--retry-exit-codes=3-1"), NULL,
                   "--retry-exit-codes: '3-1' is not a list of exit codes from 1 to 255 such as "
                   "2,64-78");
    expect_refused(WORDS(NULL), variable,
                   "MUSTER_RETRY_EXIT_CODES: 'no' is not a list of exit codes from 1 to 255 such "
                   "as 2,64-78");
    expect_refused(WORDS("--retry-exit-codes=1-75", "--stop-exit-codes=75-80"), NULL,
                   "--stop-exit-codes and --retry-exit-codes both have 75: one ends the job with "
                   "it, the other starts it again");
    expect_refused(WORDS("--min-uptime=soon"), NULL,
                   "--min-uptime: 'soon' is not a time span such as 30, 1.5s, 500ms, 10m or 2h");
    expect_refused(WORDS("--max-node-losses=-1"), NULL,
                   "--max-node-losses: '-1' is not a whole number from 0 to 1000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
