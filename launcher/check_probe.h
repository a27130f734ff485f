/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can the nodes of a check reach each other? Each has one of these: a port on which it answers
 * probes, and dials to the ports of others, all without blocking for one of them.
 *
 * A probe is 16 bytes there (magic, number, the key of the node that is meant) and 16 back (magic,
 * number, the wall clock there). A peer that says anything else is closed.
 *
 * Threading: one thread, which check_probe_run() keeps.
 */
#pragma once

#include "launcher/check_links.h"
#include "muster/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct check_probe;

enum check_probe_kind {
    CHECK_PROBE_TRIPS, /* connect, and several round trips */
    CHECK_PROBE_KNOCK, /* only connect, with half the patience: something else listens there */
};

/* Listens on every interface, on a free port. NULL: MU_E_SYSTEM. `key` is what peers must know. */
struct check_probe *check_probe_open(uint64_t key, struct mu_err *err);

/* NULL is allowed. */
void check_probe_close(struct check_probe *p);

uint16_t check_probe_port(const struct check_probe *p);

/*
 * Have `addr` tried when check_probe_run() is called; `key` is that of the node there. The result
 * goes to `ret_link`, which must stay where it is until then.
 */
void check_probe_dial(struct check_probe *p, enum check_probe_kind kind,
                      const struct sockaddr_storage *addr, uint64_t key,
                      struct check_link *ret_link);

/* The time that `clock` of clock_gettime(2) shows, in microseconds. */
int64_t check_probe_now_us(int clock);

/*
 * Dial and answer until every dial has its result, and then, if `fd` is not negative, answer until
 * it can be read. Ends at `until_us` of CLOCK_MONOTONIC in any case: dials that are not over are
 * CHECK_LINK_UNTRIED. Returns whether that was not needed.
 */
bool check_probe_run(struct check_probe *p, int fd, int64_t until_us);
