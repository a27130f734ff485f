/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator: one listening port, the jobs behind it, and everybody who connects.
 *
 * The first byte of a connection tells what it speaks: 0x00 c10d, 0x9d the control protocol.
 * Whoever sends anything else, or nothing for MU_PREFACE_TIMEOUT_MS, is dropped and counted.
 *
 * As many connections are served as there are descriptors, but for some that are kept for what else
 * this process does: beyond that they are turned away at once, counted, and may try again.
 *
 * It lives in `muster serve`, which accepts any number of jobs, or inside the agent on the master
 * node, which accepts its own.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct coordinator;

struct coordinator_config {
    const char *run_id;      /* the one job accepted; NULL: any. Copied */
    uint64_t embedded_agent; /* agent_id of the agent in this process; 0: stand-alone */
    uint64_t store_bytes;    /* that each store may hold */
    const char *master_addr; /* numeric: where workers are to connect. Copied; NULL: not said */
    char *const *expected;   /* borrowed; names of the job's nodes in the scheduler's order */
    size_t expected_count;   /* 0: not known. Not with more than one job */
};

/* Owned by the caller; released with coordinator_close(). */
struct coordinator *coordinator_new(uv_loop_t *loop, const struct coordinator_config *config);

/*
 * Listen on `addr`; port 0 takes a free one. Once more for a second port, which is as good as the
 * first. MU_E_CONNECT if that cannot be (see err.sys).
 */
int coordinator_listen(struct coordinator *c, const struct sockaddr *addr, uint16_t *ret_port,
                       struct mu_err *err);

/* Random; told to every agent, so that the one in this process recognises its own. */
uint64_t coordinator_id(const struct coordinator *c);

/*
 * The numeric address of this machine by which an agent on another one reached us; "" if none has
 * yet.
 */
const char *coordinator_reached_at(const struct coordinator *c);

/*
 * Stop every job: `signo` to all workers, then the end. Jobs that only form end at once. No node
 * joins any more.
 */
void coordinator_stop(struct coordinator *c, int signo, const char *why);

/*
 * Places among the expected nodes of those that the job waits for, at most `max`; 0 if it does not,
 * or if nobody can say who is missing.
 */
size_t coordinator_missing(const struct coordinator *c, uint32_t *ret_places, size_t max);

/* What was found out about the node that is missing there: for people. */
void coordinator_note_missing(struct coordinator *c, uint32_t place, const char *what);

/* The number of jobs that have not ended. */
unsigned coordinator_count_jobs(const struct coordinator *c);

/*
 * Close the port and every connection: agents that were told the end of their job get two seconds
 * to hang up by themselves. Frees itself after its last close callback. NULL is allowed.
 */
void coordinator_close(struct coordinator *c);
