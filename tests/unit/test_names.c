/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/names.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

/* Every pair of a sorted list, both ways round: that the order is total and transitive. */
static void test_natural_order(void **state)
{
    (void)state;
    static const char *const sorted[] = {
        "",
        "0",
        "00",
        "0a",
        "01",
        "1",
        "2",
        "10",
        "99999999999999999999999998",
        "99999999999999999999999999",
        "Node",
        "gpu-1-2",
        "gpu-1-10",
        "gpu-2-1",
        "node",
        "node0",
        "node01",
        "node1",
        "node1a",
        "node02",
        "node2",
        "node9",
        "node010",
        "node10",
        "node10-1",
        "node11",
        "node100",
        "nodea",
        "z\xc3\xa9",
    };
    for (size_t i = 0; i < MU_COUNT(sorted); i++) {
        for (size_t j = 0; j < MU_COUNT(sorted); j++) {
            int expected = i < j ? -1 : i > j;
            int got = sign(mu_names_natural_compare(sorted[i], sorted[j]));
            if (got != expected) {
                print_error("'%s' and '%s': %d\n", sorted[i], sorted[j], got);
            }
            assert_int_equal(got, expected);
        }
    }
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"nnodes",       "nproc-per-node", "node-rank",
                                        "max-restarts", "role",           "run"};
    static const struct {
        const char *word;
        const char *nearest;
    } cases[] = {
        {"nprocs-per-node", "nproc-per-node"},
        {"nproc_per_node", "nproc-per-node"},
        {"NNODES", "nnodes"},
        {"nnode", "nnodes"},
        {"ndoe-rank", "node-rank"},
        {"max-restart", "max-restarts"},
        {"rum", "run"},
        {"rn", "run"},
        {"rnu", "run"},
        {"xyzzy", NULL},
        {"world-size", NULL},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        const char *got = mu_names_nearest(cases[i].word, names, MU_COUNT(names));
        if (cases[i].nearest == NULL) {
            assert_null(got);
        } else {
            assert_non_null(got);
            assert_string_equal(got, cases[i].nearest);
        }
    }
}

static void test_nearest_is_one_of_the_names(void **state)
{
    (void)state;
    static const char *const names[] = {"alpha", "beta"};
    assert_ptr_equal(mu_names_nearest("alpha", names, 2), names[0]);
    assert_ptr_equal(mu_names_nearest("betta", names, 2), names[1]);
    assert_null(mu_names_nearest("alpha", names, 0));
}

/* A word of nothing, or of one wrong letter, says nothing about what was meant. */
static void test_nearest_of_too_little(void **state)
{
    (void)state;
    static const char *const names[] = {"m", "h", "run"};
    assert_null(mu_names_nearest("", names, MU_COUNT(names)));
    assert_null(mu_names_nearest("x", names, MU_COUNT(names)));
    assert_ptr_equal(mu_names_nearest("M", names, MU_COUNT(names)), names[0]);
}

static void test_nearest_of_long_words(void **state)
{
    (void)state;
    char word[200];
    memset(word, 'a', sizeof(word));
    word[sizeof(word) - 1] = '\0';
    const char *names[] = {"aaaa", word};
    assert_null(mu_names_nearest(word, names, 1));
    word[64] = '\0'; /* the longest that is compared */
    assert_ptr_equal(mu_names_nearest(word, names, 2), names[1]);
}

static void test_presentable(void **state)
{
    (void)state;
    char longest[MU_MAX_NAME + 2];
    memset(longest, 'a', sizeof(longest));
    assert_true(mu_names_is_presentable(mu_slice_of("node-1.x_y~!")));
    assert_false(mu_names_is_presentable(mu_slice_of("my job")));
    assert_false(mu_names_is_presentable(mu_slice_of("gr\303\266\303\237e")));
    static const char *const neither[] = {"", "a\033[31m", "a\n", "a\177"};
    for (size_t i = 0; i < MU_COUNT(neither); i++) {
        assert_false(mu_names_is_presentable(mu_slice_of(neither[i])));
        assert_false(mu_names_is_label(mu_slice_of(neither[i])));
    }
    assert_false(mu_names_is_presentable((struct mu_slice){.ptr = "a\0b", .len = 3}));
    assert_false(mu_names_is_label((struct mu_slice){.ptr = "a\0b", .len = 3}));
    longest[MU_MAX_NAME] = '\0';
    assert_true(mu_names_is_presentable(mu_slice_of(longest)));
    assert_true(mu_names_is_label(mu_slice_of(longest)));
    longest[MU_MAX_NAME] = 'a';
    longest[MU_MAX_NAME + 1] = '\0';
    assert_false(mu_names_is_presentable(mu_slice_of(longest)));
    assert_false(mu_names_is_label(mu_slice_of(longest)));
}

static void test_label(void **state)
{
    (void)state;
    static const char *const good[] = {"my job", "gr\303\266\303\237e", "\347\201\253",
                                       "\360\237\232\200 a/b", "${rank}%s"};
    static const char *const bad[] = {
        "\303",             /* cut */
        "\303x",            /* no continuation */
        "\200",             /* a continuation alone */
        "\300\200",         /* longer than need be */
        "\340\200\200",     /* the same */
        "\355\240\200",     /* half of a pair of UTF-16 */
        "\364\220\200\200", /* behind the last code */
        "\302\233",         /* a control character of Latin 1: CSI */
        "\377",
    };
    for (size_t i = 0; i < MU_COUNT(good); i++) {
        assert_true(mu_names_is_label(mu_slice_of(good[i])));
    }
    for (size_t i = 0; i < MU_COUNT(bad); i++) {
        assert_false(mu_names_is_label(mu_slice_of(bad[i])));
    }
}

static void assert_shown(const char *text, size_t max, const char *shown)
{
    mu_autofree char *copy = mu_names_shown(text, max);
    assert_string_equal(copy, shown);
}

static void test_shown(void **state)
{
    (void)state;
    assert_shown("", 10, "");
    assert_shown("a b", 10, "a b");
    assert_shown("a\x1b[0m\n", 10, "a?[0m?");
    assert_shown("\xff\xc3\xa4\xc3", 10, "?\xc3\xa4?");
    assert_shown("ab\xc3\xa4", 4, "ab\xc3\xa4");
    assert_shown("ab\xc3\xa4", 3, "ab"); /* no half of a character */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_presentable),
        cmocka_unit_test(test_label),
        cmocka_unit_test(test_natural_order),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_nearest_is_one_of_the_names),
        cmocka_unit_test(test_nearest_of_too_little),
        cmocka_unit_test(test_nearest_of_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
