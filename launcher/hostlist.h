/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of host names as Slurm and its users write them: "osk-gpu[54,56,91]",
 * "nid[001-004,007],login1", "rack[0-1]node[0-3]-ib". What `scontrol show hostnames` prints for
 * such a text, without it: the same names in the same order, duplicates and all. What follows the
 * last bracket of a name only newer ones of Slurm accept.
 *
 * Threading: any.
 */
#pragma once

#include "muster/err.h"

#include <stddef.h>

/* Names in the order of the text. Zero-initialised is a valid empty list. */
struct hostlist {
    char **names; /* owned, each of 1 to MU_MAX_NAME characters */
    size_t count;
    size_t cap;
};

/*
 * Read all of `text` into *ret_list. Between names are commas or white space, any number of them.
 * MU_E_USAGE for brackets that do not match, ranges that run backwards or mean nothing, characters
 * that are not printable ASCII, names longer than MU_MAX_NAME, and more than MU_MAX_NODES of them:
 * the error says where. An empty text is an empty list.
 */
int hostlist_parse(const char *text, struct hostlist *ret_list, struct mu_err *err);

/* Add one name, copied. */
void hostlist_add(struct hostlist *list, const char *name, size_t len);

/* The place of `name` in the list, or -1. */
long hostlist_find(const struct hostlist *list, const char *name);

void hostlist_fini(struct hostlist *list);
