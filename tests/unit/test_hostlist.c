/* SPDX-License-Identifier: Apache-2.0 */
/* What is expected is what `scontrol show hostnames` of Slurm 22.05 prints. */
#include "launcher/hostlist.h"

#include "muster/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static struct mu_err err;

/* The names of `text`, between single spaces. */
static void gives(const char *text, const char *names)
{
    char all[1024] = "";
    struct hostlist list;
    assert_int_equal(hostlist_parse(text, &list, &err), 0);
    for (size_t i = 0; i < list.count; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? " " : "", list.names[i]);
    }
    assert_string_equal(all, names);
    hostlist_fini(&list);
}

static void refused(const char *text, const char *why)
{
    struct hostlist list;
    err = (struct mu_err)MU_ERR_INIT;
    assert_int_equal(hostlist_parse(text, &list, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_string_equal(err.text, why);
}

static void test_plain_names(void **state)
{
    (void)state;
    gives("", "");
    gives("n1", "n1");
    gives("n1,login,n2.cluster.example", "n1 login n2.cluster.example");
    gives("n1,", "n1");
    gives(",n1,,n2,,", "n1 n2");
    gives("n1 n2\tn3\n", "n1 n2 n3");
    gives("n1,n1", "n1 n1");
}

static void test_ranges(void **state)
{
    (void)state;
    gives("osk-gpu[54,56,91]", "osk-gpu54 osk-gpu56 osk-gpu91");
    gives("nid[001-004,007],login1", "nid001 nid002 nid003 nid004 nid007 login1");
    gives("[1-3]", "1 2 3");
    gives("a[5]", "a5");
    gives("a[1-3,2]", "a1 a2 a3 a2");
    gives("a5[1-2]", "a51 a52");
}

/* The first number says how many digits there are at least. */
static void test_widths(void **state)
{
    (void)state;
    gives("a[8-11]", "a8 a9 a10 a11");
    gives("a[08-11]", "a08 a09 a10 a11");
    gives("a[001,2]", "a001 a2");
    gives("a[099-101]", "a099 a100 a101");
    gives("a[99-0101]", "a99 a100 a101");
    gives("a[1-01]", "a1");
    gives("a[0-2]", "a0 a1 a2");
}

static void test_several_brackets(void **state)
{
    (void)state;
    gives("a[1-2]b[3-4]", "a1b3 a1b4 a2b3 a2b4");
    gives("a[1-2][3-4]", "a13 a14 a23 a24");
    gives("a[1-2]b[3-4]c[5-6]", "a1b3c5 a1b3c6 a2b3c5 a2b3c6 a1b4c5 a1b4c6 a2b4c5 a2b4c6");
    gives("r[0-1]n[08,9-10],x", "r0n08 r0n9 r0n10 r1n08 r1n9 r1n10 x");
}

/* Slurm 23.11 and later. */
static void test_suffixes(void **state)
{
    (void)state;
    gives("n-[1-2]-ib,m", "n-1-ib n-2-ib m");
    gives("a[1-2]b[3-4]c", "a1b3c a1b4c a2b3c a2b4c");
}

static void test_what_is_no_list(void **state)
{
    (void)state;
    refused("a[1-2", "neither ',' nor ']' at character 6 of 'a[1-2'");
    refused("a[", "no number at character 3 of 'a['");
    refused("n1,b]", "a ']' without '[' at character 5 of 'n1,b]'");
    refused("a[]", "no number at character 3 of 'a[]'");
    refused("a[1,]", "no number at character 5 of 'a[1,]'");
    refused("a[,1]", "no number at character 3 of 'a[,1]'");
    refused("a[3-1]", "a range that runs backwards at character 3 of 'a[3-1]'");
    refused("a[1-]", "no number at character 5 of 'a[1-]'");
    refused("a[-1]", "no number at character 3 of 'a[-1]'");
    refused("a[1--2]", "no number at character 5 of 'a[1--2]'");
    refused("a[0x1]", "neither ',' nor ']' at character 4 of 'a[0x1]'");
    refused("a[[1-2]]", "no number at character 3 of 'a[[1-2]]'");
    refused("a[1 - 2]", "neither ',' nor ']' at character 4 of 'a[1 - 2]'");
    refused("a\001", "a character that no name has at character 2 of 'a\001'");
    refused("a[1-1234567890123456789]", "no number at character 5 of 'a[1-1234567890123456789]'");
    refused("[1][1][1][1][1][1][1][1][1]",
            "too many brackets at character 25 of '[1][1][1][1][1][1][1][1][1]'");
}

static void test_limits(void **state)
{
    (void)state;
    struct hostlist list;
    assert_int_equal(hostlist_parse("a[0-65535]", &list, &err), 0);
    assert_int_equal(list.count, MU_MAX_NODES);
    assert_string_equal(list.names[65535], "a65535");
    hostlist_fini(&list);
    refused("a[0-65536]", "a range too long at character 3 of 'a[0-65536]'");
    refused("a[0-65535],b",
            "more names than a job may have nodes at character 12 of 'a[0-65535],b'");
    refused("[0-9999][0-9999][0-9999]",
            "more names than a job may have nodes at character 1 of '[0-9999][0-9999][0-9999]'");

    char text[MU_MAX_NAME + 8];
    memset(text, 'a', sizeof(text));
    snprintf(text + MU_MAX_NAME, 2, "%s", "");
    gives(text, text);
    snprintf(text + MU_MAX_NAME - 1, 6, "[9]");
    assert_int_equal(hostlist_parse(text, &list, &err), 0);
    assert_int_equal(strlen(list.names[0]), MU_MAX_NAME);
    hostlist_fini(&list);
    snprintf(text + MU_MAX_NAME - 1, 6, "[10]");
    assert_int_equal(hostlist_parse(text, &list, &err), -1);
    assert_non_null(strstr(err.text, "a name too long at character 1"));
}

static void test_find(void **state)
{
    (void)state;
    struct hostlist list;
    assert_int_equal(hostlist_parse("n[1-3]", &list, &err), 0);
    assert_int_equal(hostlist_find(&list, "n3"), 2);
    assert_int_equal(hostlist_find(&list, "n"), -1);
    hostlist_fini(&list);
    assert_int_equal(hostlist_find(&list, "n1"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_names), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_widths),      cmocka_unit_test(test_several_brackets),
        cmocka_unit_test(test_suffixes),    cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests_name("hostlist", tests, NULL, NULL);
}
