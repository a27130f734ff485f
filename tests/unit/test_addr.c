/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/addr.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

static void test_endpoint_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
        const char *formatted;
    } cases[] = {
        {"node1", "node1", 29500, "node1:29500"},
        {"node1:80", "node1", 80, "node1:80"},
        {"node1:0", "node1", 0, "node1:0"},
        {"node1:65535", "node1", 65535, "node1:65535"},
        {"a.b-c_d.example:1", "a.b-c_d.example", 1, "a.b-c_d.example:1"},
        {"10.0.0.1:80", "10.0.0.1", 80, "10.0.0.1:80"},
        {"::1", "::1", 29500, "[::1]:29500"},
        {"fe80::1", "fe80::1", 29500, "[fe80::1]:29500"},
        {"fe80::1%eth0", "fe80::1%eth0", 29500, "[fe80::1%eth0]:29500"},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.1", 29500, "[::ffff:10.0.0.1]:29500"},
        {"[::1]", "::1", 29500, "[::1]:29500"},
        {"[::1]:80", "::1", 80, "[::1]:80"},
        {"[fe80::1%ib0]:80", "fe80::1%ib0", 80, "[fe80::1%ib0]:80"},
        {"[::]:29500", "::", 29500, "[::]:29500"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mu_endpoint e;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(mu_endpoint_parse(cases[i].text, 29500, &e, &err), 0);
        assert_string_equal(e.host, cases[i].host);
        assert_int_equal(e.port, cases[i].port);
        char text[300];
        mu_endpoint_format(&e, text, sizeof(text));
        assert_string_equal(text, cases[i].formatted);
    }
}

static void test_endpoint_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",           ":",         ":80",      "host:",       "host:x",    "host:65536",
        "host:-1",    "host: 80",  "host :80", "ho st",       "host/x:80", "http://host",
        "user@host",  "[::1",      "[::1]80",  "[::1]:",      "[]:80",     "[]",
        "host\r:80",  "host\n",    "\x01host", "node1:80:90", "x::b:c",    "node1:29500:",
        "[node1]:80", "[1.2.3.4]", "]",        "::1]",        "::1%",      "host%eth0:x",
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mu_endpoint e = {.host = "old", .port = 7};
        struct mu_err err = MU_ERR_INIT;
        if (mu_endpoint_parse(cases[i], 29500, &e, &err) == 0) {
            fail_msg("'%s' was taken for an endpoint", cases[i]);
        }
        assert_int_equal(err.code, MU_E_USAGE);
        assert_string_equal(e.host, "old");
        assert_int_equal(e.port, 7);
    }
}

static void test_endpoint_longest_host(void **state)
{
    (void)state;
    char text[MU_MAX_NAME + 2];
    memset(text, 'a', sizeof(text));
    struct mu_endpoint e;
    text[MU_MAX_NAME] = '\0';
    assert_int_equal(mu_endpoint_parse(text, 1, &e, NULL), 0);
    assert_int_equal(strlen(e.host), MU_MAX_NAME);
    text[MU_MAX_NAME] = 'a';
    text[MU_MAX_NAME + 1] = '\0';
    assert_int_equal(mu_endpoint_parse(text, 1, &e, NULL), -1);
}

static void test_format_truncates(void **state)
{
    (void)state;
    struct mu_endpoint e = {.host = "node1", .port = 29500};
    char text[4];
    mu_endpoint_format(&e, text, sizeof(text));
    assert_string_equal(text, "nod");
}

static void test_number_is_no_host(void **state)
{
    (void)state;
    static const char *const texts[] = {"29500", "29500:29500", "0"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        struct mu_endpoint endpoint;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(mu_endpoint_parse(texts[i], 1, &endpoint, &err), -1);
        assert_non_null(strstr(err.text, "HOST:PORT"));
    }
}

static void test_numeric(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        int family;
        const char *shown;
        bool is_loopback;
    } cases[] = {
        {"10.0.0.1", AF_INET, "10.0.0.1", false},
        {"127.0.0.1", AF_INET, "127.0.0.1", true},
        {"127.8.9.1", AF_INET, "127.8.9.1", true},
        {"0.0.0.0", AF_INET, "0.0.0.0", false},
        {"::1", AF_INET6, "::1", true},
        {"::", AF_INET6, "::", false},
        {"fd00::1", AF_INET6, "fd00::1", false},
        {"::ffff:10.0.0.1", AF_INET6, "10.0.0.1", false},
        {"::ffff:127.0.0.1", AF_INET6, "127.0.0.1", true},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct sockaddr_storage ss;
        const struct sockaddr *sa = (const struct sockaddr *)&ss;
        assert_int_equal(mu_addr_from_numeric(cases[i].host, 4321, &ss), 0);
        assert_int_equal(sa->sa_family, cases[i].family);
        assert_int_equal(mu_addr_port(sa), 4321);
        assert_int_equal(mu_addr_len(sa), cases[i].family == AF_INET ? sizeof(struct sockaddr_in)
                                                                     : sizeof(struct sockaddr_in6));
        char text[64];
        mu_addr_format_host(sa, text, sizeof(text));
        assert_string_equal(text, cases[i].shown);
        assert_int_equal(mu_addr_is_loopback(sa), cases[i].is_loopback);
        assert_int_equal(mu_addr_is_loopback_name(cases[i].host), cases[i].is_loopback);
    }
}

static void test_names_are_not_numeric(void **state)
{
    (void)state;
    struct sockaddr_storage ss;
    assert_int_equal(mu_addr_from_numeric("node1", 1, &ss), -1);
    assert_int_equal(mu_addr_from_numeric("", 1, &ss), -1);
    assert_int_equal(mu_addr_from_numeric("10.0.0", 1, &ss), -1);
    assert_true(mu_addr_is_loopback_name("localhost"));
    assert_true(mu_addr_is_loopback_name("LocalHost"));
    assert_false(mu_addr_is_loopback_name("localhost.example"));
    assert_false(mu_addr_is_loopback_name("127.example"));
    assert_false(mu_addr_is_loopback_name(""));
}

static void test_other_family(void **state)
{
    (void)state;
    struct sockaddr sa = {.sa_family = AF_UNIX};
    char text[8];
    mu_addr_format_host(&sa, text, sizeof(text));
    assert_string_equal(text, "?");
    assert_int_equal(mu_addr_port(&sa), 0);
    assert_false(mu_addr_is_loopback(&sa));
}

static void test_own_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool is_own;
    } cases[] = {
        {"127.0.0.1", true}, {"127.3.2.1", true}, {"192.0.2.1", false}, {"2001:db8::1", false}};
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct sockaddr_storage addr;
        assert_int_equal(mu_addr_from_numeric(cases[i].host, 1, &addr), 0);
        assert_int_equal(mu_addr_is_own((const struct sockaddr *)&addr), cases[i].is_own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_addresses),    cmocka_unit_test(test_endpoint_accepts),
        cmocka_unit_test(test_endpoint_refuses), cmocka_unit_test(test_endpoint_longest_host),
        cmocka_unit_test(test_format_truncates), cmocka_unit_test(test_number_is_no_host),
        cmocka_unit_test(test_numeric),          cmocka_unit_test(test_names_are_not_numeric),
        cmocka_unit_test(test_other_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
