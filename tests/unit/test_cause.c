/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/cause.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define EXITED(n)   ((struct outcome){.kind = OUTCOME_EXITED, .code = (n)})
#define SIGNALED(n) ((struct outcome){.kind = OUTCOME_SIGNALED, .code = (n)})

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(cause_kind_name(CAUSE_OOM_KILL), "oom_kill");
    assert_string_equal(cause_kind_name((enum cause_kind)200), "unknown");
    assert_string_equal(cause_kind_phrase(CAUSE_PEER_LOST), "connection to a peer lost");
    assert_string_equal(cause_kind_phrase((enum cause_kind)200), "unknown cause");
    for (int k = 0; k < CAUSE_KIND_COUNT; k++) {
        assert_non_null(cause_kind_name((enum cause_kind)k));
    }
}

static void test_consequences(void **state)
{
    (void)state;
    for (int k = 0; k < CAUSE_KIND_COUNT; k++) {
        bool want = k == CAUSE_PEER_LOST || k == CAUSE_STORE_LOST || k == CAUSE_TIMEOUT;
        assert_int_equal(cause_is_consequence((enum cause_kind)k), want);
    }
}

static void test_blame(void **state)
{
    (void)state;
    static const struct cause_stop none = {0};
    static const struct cause_stop term = {.signo = SIGTERM};
    static const struct cause_stop interrupt = {.signo = SIGINT};
    static const struct cause_stop killed = {.signo = SIGTERM, .is_killed = true};
    static const struct cause_stop failed = {.signo = SIGTERM, .had_failed = true};
    const struct {
        enum cause_kind kind;
        struct outcome o;
        struct cause_stop stop;
        enum cause_blame want;
    } cases[] = {
        {CAUSE_EXCEPTION, EXITED(1), none, CAUSE_OWN},
        {CAUSE_PEER_LOST, EXITED(1), none, CAUSE_COLLATERAL},
        {CAUSE_SIGNAL, SIGNALED(SIGTERM), none, CAUSE_OWN}, /* somebody else's SIGTERM */
        {CAUSE_SIGNAL, SIGNALED(SIGKILL), none, CAUSE_OWN},
        {CAUSE_EXIT, EXITED(143), none, CAUSE_OWN},
        /* told to stop: what was asked for */
        {CAUSE_EXIT, SIGNALED(SIGTERM), term, CAUSE_ORDERED},
        {CAUSE_EXIT, SIGNALED(SIGINT), interrupt, CAUSE_ORDERED},
        {CAUSE_EXIT, SIGNALED(SIGTERM), interrupt, CAUSE_ORDERED},
        {CAUSE_EXIT, EXITED(143), term, CAUSE_ORDERED},
        {CAUSE_EXIT, EXITED(130), interrupt, CAUSE_ORDERED},
        {CAUSE_EXIT, SIGNALED(SIGKILL), killed, CAUSE_ORDERED},
        /* what follows from it */
        {CAUSE_EXCEPTION, EXITED(1), term, CAUSE_COLLATERAL},
        {CAUSE_ABORT, SIGNALED(SIGABRT), term, CAUSE_COLLATERAL},
        {CAUSE_EXIT, EXITED(130), term, CAUSE_COLLATERAL},
        /* what no stop signal does */
        {CAUSE_SEGFAULT, SIGNALED(SIGSEGV), term, CAUSE_OWN},
        {CAUSE_SIGNAL, SIGNALED(SIGKILL), term, CAUSE_OWN},
        {CAUSE_EXEC, {.kind = OUTCOME_EXEC_FAILED, .code = 2}, term, CAUSE_OWN},
        /* it had failed before */
        {CAUSE_EXCEPTION, EXITED(1), failed, CAUSE_OWN},
        {CAUSE_EXCEPTION, SIGNALED(SIGTERM), failed, CAUSE_OWN},
        {CAUSE_PEER_LOST, EXITED(1), failed, CAUSE_COLLATERAL},
        {CAUSE_UNKNOWN, {.kind = OUTCOME_UNKNOWN}, term, CAUSE_COLLATERAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum cause_blame got = cause_blame_of(cases[i].kind, cases[i].o, cases[i].stop);
        if (got != cases[i].want) {
            fail_msg("case %zu: %s, not %s", i, cause_blame_name(got),
                     cause_blame_name(cases[i].want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_consequences),
        cmocka_unit_test(test_blame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
