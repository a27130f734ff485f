/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What probes between the nodes of a check found, and what that means: by node where one node
 * explains it, else by pair. Pure. Threading: any.
 */
#pragma once

#include "launcher/check_findings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHECK_LINKS_ALL_PAIRS = 64, /* nodes, up to which each probes every other */
    CHECK_LINKS_MAX_PEERS = 64, /* that a node but the first probes */
};

enum check_link_state {
    CHECK_LINK_UNTRIED,
    CHECK_LINK_OK,
    CHECK_LINK_REFUSED,
    CHECK_LINK_SILENT, /* no answer in three seconds */
    CHECK_LINK_NO_ROUTE,
    CHECK_LINK_RESET, /* connected, and closed before an answer */
    CHECK_LINK_STATES,
};

/* One direction of a pair: who dials measures. */
struct check_link {
    enum check_link_state state;
    uint32_t rtt_us; /* the fastest round trip; with what follows valid if CHECK_LINK_OK */
    uint32_t rtt_median_us;
    int64_t clock_us; /* the peer's wall clock minus ours, wrong by half of rtt_us at most */
};

struct check_links_node {
    const char *name;    /* borrowed */
    const char *address; /* borrowed; numeric, that the others dialed */
    bool has_reported;
    enum check_link_state door; /* the coordinator's own port, from here */
};

struct check_links {
    size_t count;
    struct check_links_node *nodes; /* owned, by rank */
    struct check_link *links;       /* owned; [from * count + to] */
    const char *door;               /* borrowed; HOST:PORT of the coordinator */
};

/* All links untried; `count` nodes to be filled in. */
void check_links_init(struct check_links *l, size_t count);
void check_links_fini(struct check_links *l);

struct check_link *check_links_at(const struct check_links *l, size_t from, size_t to);

/*
 * Whom node `rank` of `count` is to dial: everybody, or, with more than CHECK_LINKS_ALL_PAIRS
 * nodes, the first node and those 1, 2, 4, 8, ... places further on; the first node everybody in
 * any case. In the order in which to dial. Returns how many; `peers` has room for count - 1.
 */
size_t check_links_plan(size_t rank, size_t count, uint32_t *peers);

/* "refused", "no answer", ... */
const char *check_link_state_name(enum check_link_state state);

/* Names of nodes for people: "a, b and c", or "a, b, c and 7 more". */
void check_links_append_names(const struct check_links *l, const uint32_t *ranks, size_t count,
                              struct mu_buf *text);

/* What does not connect: "reach" and "coordinator" are what these findings are about. */
void check_reach_judge(const struct check_links *l, struct check_findings *findings);

/* What is slow: "delay". Clocks that differ: "clock". */
void check_pace_judge(const struct check_links *l, struct check_findings *findings);
