/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event as torchrun's --event-log-handler console prints it: a line of JSON with torchelastic's
 * names, for programs that read those. Pure. Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Of a worker; the agent's own events have none of it. */
struct event_line_worker {
    uint32_t global_rank;
    uint32_t local_rank;
    uint32_t role_rank;
    uint32_t role_world_size;
    int64_t pid;
    bool has_failed;   /* `exit_code` counts */
    int32_t exit_code; /* negative: the signal that killed it */
};

/* Texts are borrowed; bytes that are no UTF-8 are shown as '?'. */
struct event_line {
    const char *state;                      /* START, SUCCEEDED, FAILED, TERMINATED, RENDEZVOUS */
    const struct event_line_worker *worker; /* NULL: of the agent */
    const char *run_id;
    const char *role;
    const char *node_name;
    const char *backend;
    const char *program;  /* a path; its last part is shown */
    const char *error;    /* what is known of the failure; NULL: nothing */
    int64_t timestamp_ms; /* Unix time */
    int64_t run_time_ms;  /* since the agent began */
    int64_t duration_ms;  /* of what the event is about; -1: it has none */
    uint32_t node_rank;   /* these two: not known, unless is_placed */
    uint32_t node_count;
    uint32_t restarts;
    bool is_placed;
};

/* The line with its newline, owned by the caller. */
char *event_line_format(const struct event_line *e);
