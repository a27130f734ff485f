/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/own_addresses.h"

#include "mpi/reach.h"

#include "muster/addr.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <net/if.h>
#include <string.h>
#include <unistd.h>

enum { MAX = 16, UP = IFF_UP | IFF_RUNNING };

struct interfaces {
    struct ifaddrs items[MAX];
    struct sockaddr_storage addrs[MAX];
    size_t count;
};

static void add(struct interfaces *list, const char *name, const char *address, unsigned flags)
{
    struct ifaddrs *item = &list->items[list->count];
    assert_int_equal(mu_addr_from_numeric(address, 0, &list->addrs[list->count]), 0);
    *item = (struct ifaddrs){.ifa_name = (char *)(uintptr_t)name,
                             .ifa_flags = flags,
                             .ifa_addr = (struct sockaddr *)&list->addrs[list->count]};
    if (list->count++ > 0) {
        item[-1].ifa_next = item;
    }
}

static void assert_order(const struct interfaces *list, const char *default_iface,
                         const char *const *expected)
{
    struct own_addresses found = {0};
    own_addresses_order(list->items, default_iface, &found);
    for (size_t i = 0; expected[i] != NULL; i++) {
        assert_true(i < found.count);
        assert_string_equal(found.texts[i], expected[i]);
        assert_true(i + 1 < found.count || expected[i + 1] == NULL);
    }
}
#define EXPECT(list, iface, ...) assert_order(list, iface, (const char *const[]){__VA_ARGS__, NULL})

static void test_best_first(void **state)
{
    (void)state;
    struct interfaces list = {0};
    add(&list, "lo", "127.0.0.1", UP | IFF_LOOPBACK);
    add(&list, "lo", "10.9.9.9", UP | IFF_LOOPBACK);
    add(&list, "docker0", "172.17.0.1", UP);
    add(&list, "eth1", "203.0.113.5", UP);
    add(&list, "ib0", "fd00::5", UP);
    add(&list, "ib0", "192.168.4.5", UP);
    add(&list, "eth0", "fe80::1", UP);
    add(&list, "eth0", "2001:db8::5", UP);
    add(&list, "eth0", "198.51.100.5", UP);
    add(&list, "usb0", "169.254.3.1", UP);
    add(&list, "down0", "10.1.1.1", IFF_UP);
    list.items[0].ifa_addr = NULL; /* an interface without an address */
    EXPECT(&list, "eth0", "198.51.100.5", "2001:db8::5", "192.168.4.5", "fd00::5", "203.0.113.5",
           "172.17.0.1");
    EXPECT(&list, "", "192.168.4.5", "fd00::5", "203.0.113.5", "198.51.100.5", "2001:db8::5",
           "172.17.0.1");
}

/* A host whose only way out is a bridge of its own. */
static void test_bridge_of_the_default_route(void **state)
{
    (void)state;
    struct interfaces list = {0};
    add(&list, "eth1", "10.2.0.1", UP);
    add(&list, "br-lan", "10.1.0.1", UP);
    EXPECT(&list, "br-lan", "10.1.0.1", "10.2.0.1");
    EXPECT(&list, "", "10.2.0.1", "10.1.0.1");
}

static void test_no_more_than_fit(void **state)
{
    (void)state;
    struct interfaces list = {0};
    for (int i = 0; i < MAX; i++) {
        add(&list, "eth0", "10.2.0.1", UP);
    }
    struct own_addresses found;
    own_addresses_order(list.items, "", &found);
    assert_int_equal(found.count, OWN_ADDRESSES_MAX);
    own_addresses_order(NULL, "", &found);
    assert_int_equal(found.count, 0);
}

static void test_default_route(void **state)
{
    (void)state;
    static const struct {
        const char *routes;
        const char *iface;
    } cases[] = {
        {"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
         "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
         "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
         "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n",
         "eth0"},
        {"Iface\tDestination\n", ""},
        {"", ""},
        {"a_name_that_is_too_long_for_any\t00000000\t0\t0\t0\t0\t0\n", ""},
        {"eth0\t00000000\t0\n", ""},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        char name[IF_NAMESIZE];
        own_addresses_default_iface(cases[i].routes, name, sizeof(name));
        assert_string_equal(name, cases[i].iface);
    }
}

static void test_of_this_machine(void **state)
{
    (void)state;
    struct own_addresses found;
    own_addresses_find(&found);
    assert_true(found.count >= 1);
}

static void test_those_that_are_reached_come_first(void **state)
{
    (void)state;
    struct own_addresses list = {.texts = {"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}, .count = 4};
    own_addresses_prefer(&list, 0);
    own_addresses_prefer(&list, UINT32_MAX);
    assert_string_equal(list.texts[0], "1.1.1.1");
    own_addresses_prefer(&list, 0x8000000a);
    assert_int_equal(list.count, 4);
    assert_string_equal(list.texts[0], "2.2.2.2");
    assert_string_equal(list.texts[1], "4.4.4.4");
    assert_string_equal(list.texts[2], "1.1.1.1");
    assert_string_equal(list.texts[3], "3.3.3.3");
}

/* Two addresses of this machine, and what is none. */
static void test_reach(void **state)
{
    (void)state;
    enum { LONG_MS = 60000 };
    struct own_addresses list = {.texts = {"127.0.0.1", "node1", "127.0.0.2"}, .count = 3};
    uint16_t port = 0;
    int door = reach_open(&port);
    assert_true(door >= 0 && port != 0);
    assert_int_equal(reach_probe(&list, port, LONG_MS), 5);
    close(door);
    assert_int_equal(reach_probe(&list, port, LONG_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_first),
        cmocka_unit_test(test_bridge_of_the_default_route),
        cmocka_unit_test(test_no_more_than_fit),
        cmocka_unit_test(test_default_route),
        cmocka_unit_test(test_of_this_machine),
        cmocka_unit_test(test_those_that_are_reached_come_first),
        cmocka_unit_test(test_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
