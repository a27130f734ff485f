/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status document (docs/PROTOCOL-control.md) as people read it, and as scripts ask for it.
 * Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <jansson.h>

/* What `muster status` exits with. */
enum status_exit {
    STATUS_EXIT_RUNNING = 0, /* or succeeded */
    STATUS_EXIT_FAILED = 1,
    STATUS_EXIT_FORMING = 2,
    STATUS_EXIT_UNREACHABLE = 3,
};

/* The worst of the document's jobs: failed, then forming (no job at all too), then running. */
enum status_exit status_text_exit(const json_t *document);

/* A table per job, appended to `out`. Fields that are missing or of another type show as "?". */
void status_text_render(const json_t *document, struct mu_buf *out);

/* The same head, and one line for each of the job's events, the oldest first. */
void status_text_events(const json_t *document, struct mu_buf *out);
