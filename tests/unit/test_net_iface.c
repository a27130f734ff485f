/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/net_iface.h"

#include "launcher/net_network.h"
#include "muster/addr.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

enum { MAX_ITEMS = 16 };

static struct net_iface items[MAX_ITEMS];
static struct net_iface_list list = {.items = items};
static struct net_choice choice;
static struct mu_err err;

static void add(const char *name, const char *address, bool is_up, bool has_carrier)
{
    struct net_iface *i = &items[list.count++];
    *i = (struct net_iface){.is_up = is_up, .has_carrier = has_carrier};
    snprintf(i->name, sizeof(i->name), "%s", name);
    if (address != NULL) {
        assert_int_equal(mu_addr_from_numeric(address, 0, &i->addr), 0);
    }
}

/* As getifaddrs() has it: first every interface, then IPv4, then IPv6. */
static int setup(void **state)
{
    (void)state;
    list.count = 0;
    mu_err_clear(&err);
    choice = (struct net_choice){0};
    add("lo", NULL, true, true);
    add("eth0", NULL, true, true);
    add("eth0.7", NULL, true, true);
    add("eth1", NULL, false, false);
    add("ib0", NULL, true, false);
    add("ib1", NULL, true, true);
    add("lo", "127.0.0.1", true, true);
    add("eth0", "10.0.0.3", true, true);
    add("eth0.7", "10.7.0.3", true, true);
    add("eth1", "10.1.0.3", false, false);
    add("lo", "::1", true, true);
    add("eth0", "fe80::3", true, true);
    add("eth0", "fd00::3", true, true);
    add("ib1", "fe80::31", true, true);
    return 0;
}

static int by_name(const char *names, int family)
{
    const struct net_iface_wish wish = {.names = names};
    return net_iface_choose(&list, &wish, family, &choice, &err);
}

static int by_network(const char *networks)
{
    const struct net_iface_wish wish = {.networks = networks};
    return net_iface_choose(&list, &wish, AF_INET, &choice, &err);
}

#define NODE_HAS                                                                         \
    "; this node has lo (127.0.0.1, ::1), eth0 (10.0.0.3, fd00::3), eth0.7 (10.7.0.3), " \
    "eth1 (10.1.0.3), ib0, ib1"

static void chosen_by_name(void **state)
{
    (void)state;
    assert_int_equal(by_name("eth0", AF_INET), 0);
    assert_string_equal(choice.name, "eth0");
    assert_string_equal(choice.address, "10.0.0.3");
    assert_true(choice.is_prefix); /* of eth0.7 */
    assert_int_equal(by_name("eth0", AF_INET6), 0);
    assert_string_equal(choice.address, "fd00::3");
    /* It has none of that family: then the other. */
    assert_int_equal(by_name("eth0.7", AF_INET6), 0);
    assert_string_equal(choice.address, "10.7.0.3");
    assert_false(choice.is_prefix);
}

static void first_that_works(void **state)
{
    (void)state;
    assert_int_equal(by_name("ib7, eth1,ib0,ib1, eth0.7 ,eth0", AF_INET), 0);
    assert_string_equal(choice.name, "eth0.7");
}

static void why_not(void **state)
{
    (void)state;
    assert_int_equal(by_name("ib7", AF_INET), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_string_equal(err.text, "--iface ib7: no such interface here" NODE_HAS);
    by_name("eth1", AF_INET);
    assert_string_equal(err.text, "--iface eth1: it is down" NODE_HAS);
    by_name("ib0", AF_INET);
    assert_string_equal(err.text, "--iface ib0: it has no carrier (is it plugged in?)" NODE_HAS);
    by_name("ib1", AF_INET); /* nothing but a link-local one */
    assert_string_equal(err.text, "--iface ib1: it has no address" NODE_HAS);
    by_name("ib7,eth1", AF_INET);
    assert_string_equal(err.text,
                        "--iface ib7,eth1: ib7: no such interface here, eth1: it is down" NODE_HAS);
    by_name("eth", AF_INET); /* a name, not a beginning */
    assert_string_equal(err.text, "--iface eth: no such interface here" NODE_HAS);
    by_name("ib7,,eth0", AF_INET);
    assert_string_equal(err.text, "--iface 'ib7,,eth0' has an empty name");
    assert_string_equal(choice.name, "");
}

static void what_is_given(void **state)
{
    (void)state;
    struct net_iface_wish wish = {.names = "eth0", .networks = "10.0.0.0/8"};
    assert_int_equal(net_iface_choose(&list, &wish, AF_INET, &choice, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_string_equal(err.text, "--iface eth0 and --cidr 10.0.0.0/8 are two ways to say the "
                                  "same; give one of them");
    wish.networks = ""; /* MUSTER_CIDR= */
    assert_true(net_iface_is_wished(&wish));
    assert_int_equal(net_iface_choose(&list, &wish, AF_INET, &choice, &err), 0);
    assert_string_equal(choice.name, "eth0");
    wish.names = NULL;
    assert_false(net_iface_is_wished(&wish));
    assert_int_equal(net_iface_choose(&list, &wish, AF_INET, &choice, &err), 0);
    assert_string_equal(choice.name, "");
}

/* A host of containers: the interfaces with an address come first, and not all are listed. */
static void many_interfaces(void **state)
{
    (void)state;
    list.count = 0;
    char name[IF_NAMESIZE];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "veth%d", i);
        add(name, NULL, true, true);
    }
    add("eth0", NULL, true, true);
    add("eth0", "10.0.0.3", true, true);
    by_name("ib0", AF_INET);
    assert_string_equal(err.text, "--iface ib0: no such interface here; this node has eth0 "
                                  "(10.0.0.3), veth0, veth1, veth2, veth3, veth4, veth5, veth6 and "
                                  "5 more");
    list.count = 0;
    by_name("ib0", AF_INET);
    assert_string_equal(err.text, "--iface ib0: no such interface here; this node has none");
}

static void chosen_by_network(void **state)
{
    (void)state;
    assert_int_equal(by_network("10.0.0.0/16"), 0);
    assert_string_equal(choice.name, "eth0");
    assert_string_equal(choice.address, "10.0.0.3");
    assert_int_equal(by_network("192.168.0.0/16, 10.1.0.0/16,10.7.0.0/16"), 0);
    assert_string_equal(choice.name, "eth0.7"); /* eth1 is down */
    assert_int_equal(by_network("fd00::/64"), 0);
    assert_string_equal(choice.address, "fd00::3");
    assert_int_equal(by_network("10.7.1.1/15"), 0); /* what is beyond the bits does not count */
    assert_string_equal(choice.name, "eth0.7");
}

static void no_such_network(void **state)
{
    (void)state;
    assert_int_equal(by_network("10.9.0.0/16"), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_string_equal(err.text, "--cidr 10.9.0.0/16: no interface has an address there" NODE_HAS);
    by_network("10.1.0.0/16");
    assert_string_equal(err.text,
                        "--cidr 10.1.0.0/16: eth1 has an address there, but is down" NODE_HAS);
    by_network("fe80::/10");
    assert_string_equal(
        err.text, "--cidr fe80::/10: ib1 has an address there, but a link-local one" NODE_HAS);
    assert_int_equal(by_network("10.0.0.0/8,10.1.0.0"), -1); /* also behind the one that fits */
    assert_string_equal(err.text, "--cidr: '10.1.0.0' is not a network: ADDRESS/BITS, as in "
                                  "10.1.0.0/16 or fd00:1::/64");
}

static void networks(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",        "/",           "/8",         "10.0.0.0/",
                                        "10.0/8",  "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1",
                                        "node1/8", "10.0.0.0/8 x"};
    struct net_network n;
    for (size_t i = 0; i < MU_COUNT(wrong); i++) {
        assert_int_equal(net_network_parse(mu_slice_of(wrong[i]), &n, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
    }
    static const struct {
        const char *network;
        const char *address;
        bool is_in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.128/25", "10.0.0.127", false},
        {"10.0.0.128/25", "10.0.0.255", true},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "fd00::1", false},
        {"10.0.0.1/32", "10.0.0.1", true},
        {"10.0.0.1/32", "10.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"fd00:1::/64", "fd00:1::5:6", true},
        {"fd00:1::/64", "fd00:1:0:1::1", false},
        {"fd00:1::1/128", "fd00:1::1", true},
        {"::/0", "fd00::1", true},
        {"::/0", "10.0.0.1", false},
        {"fd00::/9", "fd7f::1", true},
        {"fd00::/9", "fd80::1", false},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct sockaddr_storage addr;
        assert_int_equal(net_network_parse(mu_slice_of(cases[i].network), &n, &err), 0);
        assert_int_equal(mu_addr_from_numeric(cases[i].address, 0, &addr), 0);
        assert_int_equal(net_network_has(&n, (const struct sockaddr *)&addr), cases[i].is_in);
    }
}

static void of_an_address(void **state)
{
    (void)state;
    assert_true(net_iface_of_address(&list, "10.7.0.3", &choice));
    assert_string_equal(choice.name, "eth0.7");
    assert_true(net_iface_of_address(&list, "fd00::3", &choice));
    assert_string_equal(choice.name, "eth0");
    assert_true(choice.is_prefix);
    assert_true(net_iface_of_address(&list, "fe80::31", &choice)); /* a cable between two nodes */
    assert_string_equal(choice.name, "ib1");
    assert_false(net_iface_of_address(&list, "127.0.0.1", &choice));
    assert_false(net_iface_of_address(&list, "::1", &choice));
    assert_false(net_iface_of_address(&list, "10.9.9.9", &choice));
    assert_false(net_iface_of_address(&list, "?", &choice));
    assert_string_equal(choice.name, "ib1");
}

/* Whatever machine this is, it has a loopback interface with its address. */
static void real_machine(void **state)
{
    (void)state;
    struct net_iface_list real;
    assert_int_equal(net_iface_read(&real, &err), 0);
    bool has_loopback = false;
    for (size_t k = 0; k < real.count; k++) {
        char text[INET6_ADDRSTRLEN];
        mu_addr_format_host((const struct sockaddr *)&real.items[k].addr, text, sizeof(text));
        has_loopback |= strcmp(text, "127.0.0.1") == 0 && real.items[k].is_up;
    }
    assert_true(has_loopback);
    net_iface_free(&real);
    const struct net_iface_wish wish = {.names = "lo"};
    assert_int_equal(net_iface_choose_here(&wish, AF_INET, &choice, &err), 0);
    assert_string_equal(choice.address, "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(chosen_by_name, setup),
        cmocka_unit_test_setup(first_that_works, setup),
        cmocka_unit_test_setup(why_not, setup),
        cmocka_unit_test_setup(what_is_given, setup),
        cmocka_unit_test_setup(many_interfaces, setup),
        cmocka_unit_test_setup(chosen_by_network, setup),
        cmocka_unit_test_setup(no_such_network, setup),
        cmocka_unit_test_setup(networks, setup),
        cmocka_unit_test_setup(of_an_address, setup),
        cmocka_unit_test_setup(real_machine, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
