/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/hostfile.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The hosts as "user@name/slots:line ...", or the error. */
static char *read_text(const char *text)
{
    struct hostfile f;
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf out = {0};
    if (hostfile_parse("hosts", text, strlen(text), &f, &err) != 0) {
        assert_int_equal(err.code, MU_E_USAGE);
        return mu_strdup(err.text);
    }
    for (size_t i = 0; i < f.count; i++) {
        const struct hostfile_host *h = &f.hosts[i];
        mu_buf_printf(&out, "%s%s%s%s/%u:%zu", i > 0 ? " " : "", h->user,
                      h->user[0] != '\0' ? "@" : "", h->name, h->slots, h->line);
    }
    hostfile_fini(&f);
    return mu_buf_take_text(&out);
}

static void assert_reads(const char *text, const char *expected)
{
    mu_autofree char *found = read_text(text);
    assert_string_equal(found, expected);
}

static void test_formats(void **state)
{
    (void)state;
    assert_reads("node1\nnode2\n", "node1/0:1 node2/0:2");
    assert_reads("worker-1 slots=8\nworker-2 slots=4", "worker-1/8:1 worker-2/4:2");
    assert_reads("a slots=2 max_slots=4\nb max-slots=9 slots = 3\r\n", "a/2:1 b/3:2");
    assert_reads("a:8\nada@b:2\nada@c slots=1\n", "a/8:1 ada@b/2:2 ada@c/1:3");
    assert_reads("# all of them\n\n  a.example.org  slots=2 # the first\n\t\n10.0.0.2\n",
                 "a.example.org/2:3 10.0.0.2/0:5");
    assert_reads("[fd00::1]:4\n[fd00::2] slots=2\nfd00::3\nfe80::1%eth0\n[::1]\n",
                 "fd00::1/4:1 fd00::2/2:2 fd00::3/0:3 fe80::1%eth0/0:4 ::1/0:5");
}

static void test_repeated_hosts_add_up_as_for_mpirun(void **state)
{
    (void)state;
    assert_reads("b slots=2\na\nb slots=3\n", "b/5:1 a/0:2");
    assert_reads("a\na\nb\n", "a/2:1 b/0:3");
    assert_reads("a\na slots=3\n", "a/4:1");
    assert_reads("ada@a\nbob@a\n", "hosts:2: 'a' is named with two users");
    assert_reads("a slots=1024\na\n", "hosts:2: 'a' has too many slots in all");
}

static void test_what_is_wrong_is_said_with_its_line(void **state)
{
    static const char *const cases[][2] = {
        {"a\nb slot=8\n", "hosts:2: 'slot' is not known here: expected `slots=8` behind the host"},
        {"a slots\n", "hosts:1: 'slots' is not known here: expected `slots=8` behind the host"},
        {"a 8\n", "hosts:1: '8' is not known here: expected `slots=8` behind the host"},
        {"a slots=0\n", "hosts:1: '0' is no number of slots from 1 to 1024"},
        {"a slots=\n", "hosts:1: '' is no number of slots from 1 to 1024"},
        {"a slots=99999999999999999999\n",
         "hosts:1: '99999999999999999999' is no number of slots from 1 to 1024"},
        {"a:x\n", "hosts:1: 'x' is no number of slots from 1 to 1024"},
        {"a:\n", "hosts:1: '' is no number of slots from 1 to 1024"},
        {"[::1]:\n", "hosts:1: '' is no number of slots from 1 to 1024"},
        {"a slots=2 slots=2\n", "hosts:1: 'slots' gives the slots of this host a second time"},
        {"-oProxyCommand=x\n", "hosts:1: '-oProxyCommand=x' is no host: expected `HOST slots=8`, "
                               "`HOST:8` or `USER@HOST`"},
        {"ada@-x\n", "hosts:1: 'ada@-x' is no host: expected `HOST slots=8`, `HOST:8` or "
                     "`USER@HOST`"},
        {"-x@a\n", "hosts:1: '-x@a' is no host: expected `HOST slots=8`, `HOST:8` or `USER@HOST`"},
        {"a;b\n", "hosts:1: 'a;b' is no host: expected `HOST slots=8`, `HOST:8` or `USER@HOST`"},
        {"[::1]8\n", "hosts:1: '[::1]8' is no host: expected `HOST slots=8`, `HOST:8` or "
                     "`USER@HOST`"},
        {"@\n", "hosts:1: '@' is no host: expected `HOST slots=8`, `HOST:8` or `USER@HOST`"},
        {"# nobody\n", "hosts: no host in it; expected lines like `node1 slots=8`"},
        {"", "hosts: no host in it; expected lines like `node1 slots=8`"},
    };
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        assert_reads(cases[i][0], cases[i][1]);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct mu_buf text = {0};
    for (int i = 0; i < MU_MAX_NODES; i++) {
        mu_buf_printf(&text, "n%d\n", i);
    }
    struct hostfile f;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(hostfile_parse("f", (char *)text.data, text.len, &f, &err), 0);
    assert_int_equal(f.count, MU_MAX_NODES);
    assert_string_equal(f.hosts[65535].name, "n65535");
    hostfile_fini(&f);
    mu_buf_printf(&text, "more\n");
    assert_int_equal(hostfile_parse("f", (char *)text.data, text.len, &f, &err), -1);
    assert_string_equal(err.text, "f:65537: 'more' is one host more than a job may have");
    mu_buf_fini(&text);
    assert_int_equal(hostfile_read("/nonexistent/hosts", &f, &err), -1);
    assert_string_equal(err.text, "--hostfile /nonexistent/hosts: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_repeated_hosts_add_up_as_for_mpirun),
        cmocka_unit_test(test_what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
