/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster status` shows of a job, as a JSON document. Its fields are an interface: described
 * in docs/PROTOCOL-control.md, "Status document".
 */
#pragma once

#include "rendezvous/member.h"
#include "rendezvous/store.h"

#include <jansson.h>

/* "forming", "running", "stopping", "succeeded", "failed" or "stopped". */
const char *job_view_state(const struct member_view *view);

/*
 * What is known of a job without its nodes: of fixed size, whatever the job's. A new reference,
 * owned by the caller.
 */
json_t *job_view_summary_json(const struct member_view *view);

/*
 * The last `most` of its events, the oldest first: fewer if they would take more than `max_bytes`
 * in an indented document. A new reference, owned by the caller.
 */
json_t *job_view_events_json(const struct member_view *view, uint32_t most, size_t max_bytes);

/*
 * A text that somebody else wrote, NULL for none: a worker may write anything, and a tail may begin
 * amid a character. What is no UTF-8, and control bytes but the ends of lines, become '?'. A new
 * reference, owned by the caller.
 */
json_t *job_view_text_json(const char *text);

/* Of any store: a job's, the shared one. A new reference, owned by the caller. */
json_t *job_view_store_json(const struct store_stats *store);

/* Append one job, nodes and all. `store` may be NULL. */
void job_view_append(const struct member_view *view, const struct store_stats *store,
                     int64_t now_ms, struct mu_buf *out);

/*
 * Append an object that is not empty, up to the value of one more member, which the caller appends
 * as well as the brace at the end.
 */
void job_view_append_open(const json_t *object, const char *name, struct mu_buf *out);
