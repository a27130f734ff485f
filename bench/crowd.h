/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of agents of one job in one process: real connections, the real control protocol, no
 * workers. They say what they are told to say, and count what they hear. Whatever goes wrong ends
 * the program.
 */
#pragma once

#include "muster/ctl_msg.h"

#include <stdint.h>

struct crowd_config {
    uint16_t port;      /* of 127.0.0.1 */
    const char *run_id; /* borrowed for as long as the crowd lives */
    unsigned agents;    /* nodes that the job needs */
    unsigned slots;     /* workers of each */
    unsigned max_restarts;
};

/* What can be seen of one. */
struct crowd_agent {
    int fd;            /* -1: not connected */
    uint64_t received; /* bytes, of this connection */
    struct ctl_assign assign;
    struct mu_buf partial; /* owned; a message whose end is not here yet */
};

struct crowd;

struct crowd *crowd_new(const struct crowd_config *config);
void crowd_free(struct crowd *c); /* closes all connections */

/* Connect and say HELLO, as an agent that was never here; by all, some hundred ahead of WELCOME. */
void crowd_join(struct crowd *c, unsigned agent);
void crowd_join_all(struct crowd *c);

void crowd_leave(struct crowd *c, unsigned agent); /* close its connection */

/* To be said of the round that the agent was assigned last. */
void crowd_say_started(struct crowd *c, unsigned agent);
void crowd_say_exited(struct crowd *c, unsigned agent,
                      int code); /* its first worker, with a tail */
void crowd_say_stopped(struct crowd *c, unsigned agent);
void crowd_say_alive(struct crowd *c, unsigned agent, uint64_t beat);

/* The pid that a worker is said to have. */
uint32_t crowd_pid(const struct crowd *c, unsigned agent, unsigned slot);

/* Read until `count` messages of `type` have come that no other call has waited for. */
void crowd_await(struct crowd *c, enum ctl_type type, unsigned count);

const struct crowd_agent *crowd_look(const struct crowd *c, unsigned agent);
