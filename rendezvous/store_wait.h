/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for which key, indexed both ways.
 *
 * An entry lists the registrations for its key, oldest first; a client owns the registrations of
 * its one pending WAIT or BARRIER as an array. A registration that has been satisfied leaves the
 * entry's list at once and stays in the array with `entry` NULL, so that what was satisfied is
 * remembered though the key may be deleted meanwhile. Leaving costs O(1) per registration, from
 * either side.
 *
 * Private to the store. Threading: the loop thread only.
 */
#pragma once

#include "rendezvous/store_state.h"

/* Make room for `count` registrations; none may be pending. MU_E_LIMIT if the store is full. */
int store_wait_begin(struct store_client *c, uint32_t count, struct mu_err *err);

/* Register the client with `e`: one of the `count` announced. */
void store_wait_add(struct store_client *c, struct store_entry *e);

/* Forget the pending WAIT or BARRIER, if any, without a reply; entries without use are dropped. */
void store_wait_end(struct store_client *c);

/* Satisfy every registration of `e`; clients that lack nothing any more get their reply. */
void store_wait_wake_all(struct store_entry *e);

/* The same for the client that has waited longest, with all its registrations of `e`. */
void store_wait_wake_one(struct store_entry *e);
