/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `muster check`, which is that of the job. */
#include "launcher/options_check.h"
#include "launcher/options_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static struct options o;
static struct mu_err err;

/* Words with one space between them. */
static int check(const char *words)
{
    static char text[256];
    static char *argv[16];
    static char *envp[] = {NULL};
    int argc = 0;
    snprintf(text, sizeof(text), "check %s", words);
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    err = (struct mu_err)MU_ERR_INIT;
    return options_parse(&o, OPTIONS_CHECK, argc, argv, envp, &err) != 0 ||
                   options_check(&o, &err) != 0
               ? mu_err_exit_status(&err)
               : 0;
}

static void test_started_as_the_job_would_be(void **state)
{
    (void)state;
    assert_int_equal(check("--json --max-restarts 3 --log-dir=/logs train.py --lr 0.1 --json"), 0);
    assert_true(o.json);
    assert_string_equal(o.log_dir, "/logs");
    assert_string_equal(o.script, "train.py");
    assert_string_equal(o.script_args[0], "--lr");
}

static void test_without_a_script(void **state)
{
    (void)state;
    assert_int_equal(check("--json"), 0);
    assert_null(o.script);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(check("--dry-run"), 2);
    assert_string_equal(err.text, "unknown option '--dry-run'");
    assert_int_equal(check("--stop-exit-codes x"), 2);
    assert_string_equal(
        err.text,
        "--stop-exit-codes: 'x' is not a list of exit codes from 1 to 255 such as 2,64-78");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_started_as_the_job_would_be),
        cmocka_unit_test(test_without_a_script),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
