/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_door.h"

#include "launcher/check_probe.h"
#include "launcher/sched.h"
#include "muster/mem.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 8, PAUSE_US = 100 * 1000 };

struct addresses {
    struct sockaddr_storage of[MAX_ADDRESSES];
    size_t count;
};

uint16_t check_door_port(const char *run_id, uint16_t port)
{
    uint16_t ports[SCHED_PORTS];
    mu_autofree char *seed = mu_asprintf("muster check %s %u", run_id, port);
    sched_ladder(seed, ports);
    return ports[0] != port ? ports[0] : ports[1];
}

static void look_up(const char *host, struct addresses *a)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    a->count = 0;
    if (mu_addr_from_numeric(host, 0, &a->of[0]) == 0) {
        a->count = 1;
    } else if (getaddrinfo(host, "0", &hints, &list) == 0) {
        for (const struct addrinfo *i = list; i != NULL && a->count < MAX_ADDRESSES;
             i = i->ai_next) {
            memcpy(&a->of[a->count++], i->ai_addr, i->ai_addrlen);
        }
        freeaddrinfo(list);
    }
}

/* An address that can be bound is this machine's: the coordinator is here. */
static bool is_here(const struct addresses *a)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct sockaddr *sa = (const struct sockaddr *)&a->of[i];
        mu_autoclose int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && bind(fd, sa, mu_addr_len(sa)) == 0) {
            return true;
        }
    }
    return false;
}

struct knocks {
    bool is_main_open;
    bool is_main_silent; /* at one of the addresses, not even a refusal */
    bool is_side_open;
};

/* Does one of the ports let us in, at one of the addresses? */
static struct knocks knock(const struct addresses *a, const struct check_door_spec *spec)
{
    enum { MOST = MAX_ADDRESSES * (SCHED_PORTS + 1) };
    struct check_link results[MOST] = {0};
    bool is_side[MOST] = {false};
    size_t n = 0;
    struct mu_err ignored = MU_ERR_INIT;
    struct check_probe *p = check_probe_open(0, &ignored);
    struct knocks k = {.is_main_open = p == NULL}; /* the agent has better words for that */
    for (size_t i = 0; i < a->count && p != NULL; i++) {
        char host[MU_MAX_NAME + 1];
        mu_addr_format_host((const struct sockaddr *)&a->of[i], host, sizeof(host));
        for (size_t at = 0; at <= spec->port_count && at <= SCHED_PORTS; at++) {
            struct sockaddr_storage to;
            is_side[n] = at == spec->port_count;
            if (mu_addr_from_numeric(host, is_side[n] ? spec->side_port : spec->ports[at], &to) ==
                0) {
                check_probe_dial(p, CHECK_PROBE_KNOCK, &to, 0, &results[n++]);
            }
        }
    }
    if (p != NULL) {
        check_probe_run(p, -1, INT64_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        bool is_open = results[i].state == CHECK_LINK_OK;
        k.is_main_open = k.is_main_open || (is_open && !is_side[i]);
        k.is_main_silent =
            k.is_main_silent || (results[i].state == CHECK_LINK_SILENT && !is_side[i]);
        k.is_side_open = k.is_side_open || (is_open && is_side[i]);
    }
    check_probe_close(p);
    return k;
}

enum check_door check_door_find(const struct check_door_spec *spec)
{
    int64_t until_us = check_probe_now_us(CLOCK_MONOTONIC) + spec->patience_ms * 1000;
    struct addresses a;
    look_up(spec->host, &a);
    if (a.count == 0 || is_here(&a)) {
        return CHECK_DOOR_MAIN;
    }
    bool was_side_open = false;
    do {
        struct knocks k = knock(&a, spec);
        if (k.is_main_open) {
            return CHECK_DOOR_MAIN;
        }
        /* A refusal counts the second time: the two ports do not open in the same moment. */
        if (k.is_side_open && (k.is_main_silent || was_side_open)) {
            return CHECK_DOOR_SIDE;
        }
        was_side_open = k.is_side_open;
        usleep(PAUSE_US);
    } while (check_probe_now_us(CLOCK_MONOTONIC) < until_us);
    return was_side_open ? CHECK_DOOR_SIDE : CHECK_DOOR_MAIN;
}
