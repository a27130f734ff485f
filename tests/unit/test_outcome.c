/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/outcome.h"

#include "muster/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void describes_and_maps(void **state)
{
    (void)state;
    const struct {
        struct outcome o;
        const char *text;
        int exit_status;
    } cases[] = {
        {{.kind = OUTCOME_RUNNING}, "running", 1},
        {{.kind = OUTCOME_EXITED, .code = 0}, "exited with status 0", 0},
        {{.kind = OUTCOME_EXITED, .code = 3}, "exited with status 3", 3},
        {{.kind = OUTCOME_SIGNALED, .code = 9}, "killed by SIGKILL (signal 9)", 137},
        {{.kind = OUTCOME_SIGNALED, .code = 11, .core_dumped = true},
         "killed by SIGSEGV (signal 11, core dumped)",
         139},
        {{.kind = OUTCOME_SIGNALED, .code = 37}, "killed by SIGRTMIN+3 (signal 37)", 165},
        {{.kind = OUTCOME_SIGNALED, .code = 99}, "killed by signal 99", 227},
        {{.kind = OUTCOME_EXEC_FAILED, .code = ENOENT},
         "program not found: No such file or directory",
         127},
        {{.kind = OUTCOME_EXEC_FAILED, .code = ENOTDIR}, "program not found: Not a directory", 127},
        {{.kind = OUTCOME_EXEC_FAILED, .code = EACCES},
         "is not executable: Permission denied",
         126},
        {{.kind = OUTCOME_EXEC_FAILED, .code = ENOEXEC},
         "is not executable: Exec format error",
         126},
        {{.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_SCRIPT, .code = ENOENT},
         "script not found: No such file or directory",
         127},
        {{.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_SCRIPT, .code = EACCES},
         "script cannot be read: Permission denied",
         126},
        {{.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_FORK, .code = EAGAIN},
         "no process could be made: Resource temporarily unavailable",
         126},
        {{.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_SETUP, .code = ENOENT},
         "could not be set up: No such file or directory",
         126},
        {{.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_SETUP}, "could not be set up", 126},
        {{.kind = OUTCOME_UNKNOWN}, "ended in an unknown way", 1},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        char text[128];
        outcome_describe(cases[i].o, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(outcome_exit_status(cases[i].o), cases[i].exit_status);
        assert_int_equal(outcome_is_success(cases[i].o), cases[i].exit_status == 0);
    }
}

static void tells_signals(void **state)
{
    (void)state;
    const struct outcome killed = {.kind = OUTCOME_SIGNALED, .code = 9};
    const struct outcome exited = {.kind = OUTCOME_EXITED, .code = 9};
    assert_true(outcome_is_signal(killed, 9));
    assert_true(outcome_is_signal(killed, 0));
    assert_false(outcome_is_signal(killed, 15));
    assert_false(outcome_is_signal(exited, 9));
    assert_false(outcome_is_signal(exited, 0));
    assert_int_equal(outcome_python_status(killed), -9);
    assert_int_equal(outcome_python_status(exited), 9);
    assert_int_equal(outcome_python_status((struct outcome){.kind = OUTCOME_UNKNOWN}), 1);
}

/* An outcome may come from another node: whatever is in it, only success gives 0. */
static void only_success_is_zero(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 127, 128, 255, 256, 512, -1, -128, INT32_MAX, INT32_MIN};
    for (int kind = 0; kind <= OUTCOME_KIND_LAST + 1; kind++) {
        for (int stage = 0; stage <= OUTCOME_STAGE_LAST + 1; stage++) {
            for (size_t i = 0; i < MU_COUNT(codes); i++) {
                struct outcome o = {.kind = (enum outcome_kind)kind,
                                    .stage = (enum outcome_stage)stage,
                                    .code = codes[i]};
                char text[8];
                int status = outcome_exit_status(o);
                assert_true(status >= 0 && status <= 255);
                assert_int_equal(status == 0, outcome_is_success(o));
                assert_int_equal(outcome_python_status(o) == 0, outcome_is_success(o));
                outcome_describe(o, text, sizeof(text));
                assert_true(strlen(text) < sizeof(text));
            }
        }
    }
}

static void names_signals(void **state)
{
    (void)state;
    const struct {
        int signo;
        const char *name;
    } cases[] = {{1, "SIGHUP"},     {9, "SIGKILL"},   {31, "SIGSYS"},
                 {32, "signal 32"}, {34, "SIGRTMIN"}, {64, "SIGRTMIN+30"},
                 {65, "signal 65"}, {0, "signal 0"},  {-3, "signal -3"}};
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        char text[32];
        outcome_signal_name(cases[i].signo, text, sizeof(text));
        assert_string_equal(text, cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_and_maps),
        cmocka_unit_test(tells_signals),
        cmocka_unit_test(only_success_is_zero),
        cmocka_unit_test(names_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
