/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes of a check, met: each says in the store where it answers probes, dials the others, and
 * writes down what it found; the first one reads all of it and tells the others the verdict.
 *
 * Everything has a deadline, and a node that says nothing holds nobody up for long. Blocks, and
 * answers the probes of others while it waits for them.
 *
 * Threading: one thread.
 */
#pragma once

#include "launcher/check_links.h"
#include "launcher/check_notes.h"
#include "muster/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct check_meet_spec {
    size_t rank;
    size_t count;
    const char *name; /* of this node; borrowed, as all texts here */
    const char *door; /* the coordinator's address, and its port that this node came in by */
    uint16_t door_port;
    const char *address; /* of this node, to be dialed by others; NULL: the one that leads there */
};

struct check_meet;

/* Connect to the store and listen. NULL: MU_E_CONNECT and its like, MU_E_SYSTEM. */
struct check_meet *check_meet_open(const struct check_meet_spec *spec, struct mu_err *err);

/* NULL is allowed. */
void check_meet_close(struct check_meet *m);

/* Say who this node is and what it knows of itself, find out who else is here, and dial them. */
int check_meet_probe(struct check_meet *m, const json_t *facts, struct mu_err *err);

/*
 * The first node: what everybody found, and everybody's facts. Valid until check_meet_close(); the
 * array has an entry for each node, NULL for one that sent nothing.
 */
int check_meet_collect(struct check_meet *m, const struct check_links **ret_links,
                       json_t *const **ret_facts, struct mu_err *err);

/* The first node: `verdict`, an exit status, to all. */
int check_meet_tell(struct check_meet *m, int verdict, struct mu_err *err);

/* The others: wait for it. */
int check_meet_wait(struct check_meet *m, int *ret_verdict, struct mu_err *err);
