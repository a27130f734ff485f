/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/limit_list.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct limit_list parsed(const char *text)
{
    struct limit_list list;
    struct mu_err err = MU_ERR_INIT;
    if (limit_list_parse(text, &list, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    return list;
}

static void test_values(void **state)
{
    (void)state;
    struct limit_list list =
        parsed("memlock=unlimited, stack=hard ,nofile=65536,as=64G,CORE=0,nproc=4K");
    static const struct limit_wish expected[] = {
        {RLIMIT_MEMLOCK, false, RLIM_INFINITY},
        {RLIMIT_STACK, true, RLIM_INFINITY},
        {RLIMIT_NOFILE, false, 65536},
        {RLIMIT_AS, false, (rlim_t)64 << 30},
        {RLIMIT_CORE, false, 0},
        {RLIMIT_NPROC, false, 4096},
    };
    assert_int_equal(list.count, MU_COUNT(expected));
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.wishes[i].resource, expected[i].resource);
        assert_int_equal(list.wishes[i].is_hard, expected[i].is_hard);
        assert_int_equal(list.wishes[i].wanted, expected[i].wanted);
    }
    assert_int_equal(parsed("").count, 0);
    assert_int_equal(parsed(NULL).count, 0);
}

/* All limits of the kernel have a name, and the list has room for all of them. */
static void test_every_name(void **state)
{
    (void)state;
    assert_int_equal(RLIM_NLIMITS, LIMIT_LIST_MAX);
    struct mu_buf text = {0};
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        assert_non_null(limit_list_name(resource));
        mu_buf_printf(&text, "%s%s=1", resource > 0 ? "," : "", limit_list_name(resource));
    }
    mu_autofree char *all = mu_buf_take_text(&text);
    struct limit_list list = parsed(all);
    assert_int_equal(list.count, LIMIT_LIST_MAX);
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        assert_int_equal(list.wishes[resource].resource, resource);
    }
    assert_null(limit_list_name(RLIM_NLIMITS));
    assert_null(limit_list_name(-1));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"core", "'core' is not NAME=VALUE, as in memlock=unlimited,nofile=65536"},
        {"core=0,", "'' is not NAME=VALUE, as in memlock=unlimited,nofile=65536"},
        {"core=", "'' is no value of core: give a number, one with K, M, G or T, unlimited, or "
                  "hard"},
        {"core=-1", "'-1' is no value of core: give a number, one with K, M, G or T, unlimited, or "
                    "hard"},
        {"memlock=64GB", "'64GB' is no value of memlock: give a number, one with K, M, G or T, "
                         "unlimited, or hard"},
        {"as=1:2", "'1:2' is no value of as: give a number, one with K, M, G or T, unlimited, or "
                   "hard"},
        {"v=unlimited", "there is no limit 'v': the limits are as, core, cpu, data, fsize, locks, "
                        "memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, "
                        "stack"},
        {"core=1,core=hard", "core is given twice"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct limit_list list = {.count = 99};
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(limit_list_parse(cases[i].text, &list, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_string_equal(err.text, cases[i].said);
        assert_int_equal(list.count, 99);
    }
}

static void test_hard_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        rlim_t hard;
        rlim_t soft;
        bool is_short;
    } cases[] = {
        {"as=100", 200, 100, false},
        {"as=200", 200, 200, false},
        {"as=300", 200, 200, true},
        {"as=300", RLIM_INFINITY, 300, false},
        {"as=unlimited", 200, 200, true},
        {"as=unlimited", RLIM_INFINITY, RLIM_INFINITY, false},
        {"as=hard", 200, 200, false},
        {"as=hard", RLIM_INFINITY, RLIM_INFINITY, false},
        {"as=0", 0, 0, false},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct limit_list list = parsed(cases[i].text);
        assert_int_equal(limit_wish_soft(&list.wishes[0], cases[i].hard), cases[i].soft);
        assert_int_equal(limit_wish_is_short(&list.wishes[0], cases[i].hard), cases[i].is_short);
    }
}

/* Hard limits of this very process: lowered first, which cannot be undone. */
static int in_a_process_with_low_limits(void)
{
    if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){8192, 65536}) != 0 ||
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 100}) != 0) {
        return 1;
    }
    struct limit_list list = parsed("memlock=1G,core=0,nofile=hard,rss=7");
    struct mu_buf said = {0};
    limit_list_say_short(&list, &said);
    mu_autofree char *text = mu_buf_take_text(&said);
    if (strcmp(text,
               "--limit memlock=1G: the hard limit on this node is 64K, and workers get that; "
               "root can raise it, in /etc/security/limits.conf or for what starts jobs "
               "(Slurm: LimitMEMLOCK= in slurmd's unit)\n") != 0) {
        fprintf(stderr, "%s", text);
        return 2;
    }
    struct rlimit memlock;
    struct rlimit nofile;
    struct rlimit core;
    if (limit_list_apply(&list) != 0 || getrlimit(RLIMIT_MEMLOCK, &memlock) != 0 ||
        getrlimit(RLIMIT_NOFILE, &nofile) != 0 || getrlimit(RLIMIT_CORE, &core) != 0) {
        return 3;
    }
    if (memlock.rlim_cur != 65536 || memlock.rlim_max != 65536 || nofile.rlim_cur != 100 ||
        core.rlim_cur != 0) {
        return 4;
    }
    struct limit_list counted = parsed("nofile=unlimited");
    limit_list_say_short(&counted, &said);
    mu_autofree char *line = mu_buf_take_text(&said);
    return strstr(line, "--limit nofile=unlimited: the hard limit on this node is 100, ") == line
               ? 0
               : 5;
}

static void test_apply(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(in_a_process_with_low_limits());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* One that the kernel refuses does not keep the others from being set. */
static void test_apply_fails(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_CORE, &before), 0);
    struct limit_list list = {
        .count = 2,
        .wishes = {{.resource = 99, .wanted = 1}, {.resource = RLIMIT_CORE, .wanted = 0}}};
    assert_int_equal(limit_list_apply(&list), EINVAL);
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_CORE, &now), 0);
    assert_int_equal(now.rlim_cur, 0);
    assert_int_equal(setrlimit(RLIMIT_CORE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_every_name),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_hard_limits),
        cmocka_unit_test(test_apply),   cmocka_unit_test(test_apply_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
