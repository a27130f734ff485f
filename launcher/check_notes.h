/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the nodes of a check write into the store for each other, as JSON: where a node answers
 * probes, and what its own probes found. Anybody may have written it. Pure. Threading: any.
 */
#pragma once

#include "launcher/check_links.h"
#include "muster/buf.h"
#include "muster/err.h"
#include "muster/limits.h"

#include <netinet/in.h>
#include <stdint.h>

enum {
    CHECK_NOTES_MAX_NODES = 1024, /* that probe each other; of more only the facts are compared */
    CHECK_NOTES_MAX_TEXT = 128 * 1024, /* bytes of a note */
};

struct check_note {
    char name[MU_MAX_NAME + 1];
    char address[INET6_ADDRSTRLEN]; /* numeric, of this node */
    uint16_t port;                  /* where it answers probes */
    uint64_t key;                   /* for those who know it */
    char door[INET6_ADDRSTRLEN];    /* numeric, where it reached the coordinator */
    uint16_t door_port;
};

/* Owned by the caller. */
char *check_note_encode(const struct check_note *note);

/* MU_E_PROTOCOL if it is none. */
int check_note_decode(struct mu_slice text, struct check_note *ret_note, struct mu_err *err);

/* What node `from` found, its state of the door included. Owned by the caller. */
char *check_notes_encode_links(const struct check_links *l, size_t from);

/* The reverse: fills in the links of `from`, and that it has reported. MU_E_PROTOCOL. */
int check_notes_decode_links(struct mu_slice text, struct check_links *l, size_t from,
                             struct mu_err *err);
