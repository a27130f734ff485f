/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/core_file.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct core_file_of of = {.pid = 123, .signo = 11, .cwd = "/data"};

static void expect(const char *pattern, bool uses_pid, const char *want)
{
    mu_autofree char *got = core_file_expand(pattern, uses_pid, &of);
    assert_string_equal(got != NULL ? got : "unknown", want);
}

static void test_patterns(void **state)
{
    (void)state;
    expect("core", false, "/data/core");
    expect("core", true, "/data/core.123");
    expect("core.%p", true, "/data/core.123");
    expect("/var/cores/%p-%s-100%%", false, "/var/cores/123-11-100%");
    expect("cores/x%", false, "/data/cores/x");
    expect("core.%e.%p", false, "unknown"); /* the name of whichever thread it was */
    expect("core.%t", false, "unknown");
    expect("", false, "unknown");
}

static void test_no_claim_without_a_file(void **state)
{
    (void)state;
    const struct core_file_of nowhere = {.pid = 0x7ffffff0, .signo = 11, .cwd = "/nonexistent"};
    mu_autofree char *words = core_file_describe(&nowhere);
    assert_true(words == NULL || strncmp(words, "core handed to ", 15) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_no_claim_without_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
