/* SPDX-License-Identifier: Apache-2.0 */
/* Probes over loopback: a probe's port dials itself, and others who are not what they should be. */
#include "launcher/check_probe.h"
#include "muster/addr.h"
#include "muster/mem.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEY = 4711, PATIENCE_US = 20 * 1000 * 1000 };

static struct check_probe *open_probe(void)
{
    struct mu_err err = MU_ERR_INIT;
    struct check_probe *p = check_probe_open(KEY, &err);
    if (p == NULL) {
        fail_msg("%s", err.text);
    }
    return p;
}

static struct sockaddr_storage loopback(uint16_t port)
{
    struct sockaddr_storage addr;
    assert_int_equal(mu_addr_from_numeric("127.0.0.1", port, &addr), 0);
    return addr;
}

static int64_t deadline(void)
{
    return check_probe_now_us(CLOCK_MONOTONIC) + PATIENCE_US;
}

/* A socket of ours that is bound to a free port. */
static int bind_port(uint16_t *ret_port)
{
    struct sockaddr_storage addr = loopback(0);
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *ret_port = mu_addr_port((struct sockaddr *)&addr);
    return fd;
}

static void test_round_trips(void **state)
{
    (void)state;
    struct check_probe *p = open_probe();
    struct check_link links[40]; /* more than are under way at a time */
    struct sockaddr_storage addr = loopback(check_probe_port(p));
    for (size_t i = 0; i < MU_COUNT(links); i++) {
        check_probe_dial(p, CHECK_PROBE_TRIPS, &addr, KEY, &links[i]);
    }
    assert_true(check_probe_run(p, -1, deadline()));
    for (size_t i = 0; i < MU_COUNT(links); i++) {
        assert_int_equal(links[i].state, CHECK_LINK_OK);
        assert_true(links[i].rtt_us <= links[i].rtt_median_us);
        int64_t size_us = links[i].clock_us < 0 ? -links[i].clock_us : links[i].clock_us;
        assert_true(size_us <= links[i].rtt_us / 2 + 1); /* it is the same clock */
    }
    check_probe_close(p);
}

static void test_wrong_key_is_closed(void **state)
{
    (void)state;
    struct check_probe *p = open_probe();
    struct check_link link;
    struct sockaddr_storage addr = loopback(check_probe_port(p));
    check_probe_dial(p, CHECK_PROBE_TRIPS, &addr, KEY + 1, &link);
    assert_true(check_probe_run(p, -1, deadline()));
    assert_int_equal(link.state, CHECK_LINK_RESET);
    check_probe_close(p);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    uint16_t port;
    int fd = bind_port(&port);
    struct check_probe *p = open_probe();
    struct check_link links[2];
    struct sockaddr_storage addr = loopback(port);
    check_probe_dial(p, CHECK_PROBE_TRIPS, &addr, KEY, &links[0]);
    check_probe_dial(p, CHECK_PROBE_KNOCK, &addr, 0, &links[1]);
    assert_true(check_probe_run(p, -1, deadline()));
    assert_int_equal(links[0].state, CHECK_LINK_REFUSED);
    assert_int_equal(links[1].state, CHECK_LINK_REFUSED);
    check_probe_close(p);
    close(fd);
}

/* Who accepts and says nothing costs its three seconds; a knock asks no more of it. */
static void test_somebody_says_nothing(void **state)
{
    (void)state;
    uint16_t port;
    int fd = bind_port(&port);
    assert_int_equal(listen(fd, 8), 0);
    struct check_probe *p = open_probe();
    struct check_link links[2];
    struct sockaddr_storage addr = loopback(port);
    check_probe_dial(p, CHECK_PROBE_TRIPS, &addr, KEY, &links[0]);
    check_probe_dial(p, CHECK_PROBE_KNOCK, &addr, 0, &links[1]);
    assert_true(check_probe_run(p, -1, deadline()));
    assert_int_equal(links[0].state, CHECK_LINK_SILENT);
    assert_int_equal(links[1].state, CHECK_LINK_OK);
    check_probe_close(p);
    close(fd);
}

/* Somebody who does not speak our language is closed, and holds up nobody who does. */
static void test_garbage(void **state)
{
    (void)state;
    static const char garbage[64] = "GET / HTTP/1.1\r\nHost: somewhere else entirely";
    struct check_probe *p = open_probe();
    struct sockaddr_storage addr = loopback(check_probe_port(p));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
    struct check_link link;
    check_probe_dial(p, CHECK_PROBE_TRIPS, &addr, KEY, &link);
    assert_true(check_probe_run(p, -1, deadline()));
    assert_int_equal(link.state, CHECK_LINK_OK);
    char byte;
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
    check_probe_close(p);
}

/* What it waits for beside is seen once the dials are over; the time limit holds. */
static void test_waits_for_another_descriptor(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct check_probe *p = open_probe();
    assert_false(check_probe_run(p, fds[0], check_probe_now_us(CLOCK_MONOTONIC) + 20000));
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(check_probe_run(p, fds[0], deadline()));
    check_probe_close(p);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),    cmocka_unit_test(test_wrong_key_is_closed),
        cmocka_unit_test(test_nobody_listens), cmocka_unit_test(test_somebody_says_nothing),
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_waits_for_another_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
