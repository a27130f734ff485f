/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of the load generator: each has its share of the connections and an epoll, and each
 * connection has one operation under way.
 *
 * The caller moves all of them from one phase to the next: opening, running, measuring, over.
 */
#pragma once

#include "bench/store_shapes.h"
#include "bench/store_stats.h"

#include <stdint.h>

enum loop_phase { LOOP_OPENING, LOOP_RUNNING, LOOP_MEASURING, LOOP_OVER };

struct loop_config {
    enum shapes_server server;
    uint16_t port;
    const struct shapes *shape; /* borrowed, for as long as the loops live */
    unsigned connections;       /* of all threads; at least one each */
    unsigned threads;
};

struct loops;

/* Starts the threads, which begin to open their connections. */
struct loops *loops_start(const struct loop_config *config);

/* How many connections have been opened and had their first answer. */
unsigned loops_count_opened(const struct loops *l);

/* How many operations the first connection has ended: where all go together, their turns. */
unsigned loops_count_turns(const struct loops *l);

void loops_enter(struct loops *l, enum loop_phase phase);

/* After LOOP_OVER: joins the threads, adds up what they did while measuring, releases `l`. */
uint64_t loops_finish(struct loops *l, struct stats_latencies *ret_latencies);
