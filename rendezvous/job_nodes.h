/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes of a status document, with their workers. They are most of it: ten megabytes for ten
 * thousand nodes, written out at once, for a tree of objects would stop the loop ten times as long.
 */
#pragma once

#include "muster/buf.h"
#include "rendezvous/member.h"

/* Others have places in the round, this node has none. */
bool job_nodes_is_spare(const struct member_view *view, const struct member_node *n);

/* Append the JSON array. */
void job_nodes_append(const struct member_view *view, int64_t now_ms, struct mu_buf *out);
