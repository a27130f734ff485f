/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --event-log-handler: console prints what torchrun would, other handlers are torchrun's own.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/event_line.h"
#include "muster/clock.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

void uv_agent_events_begin(struct uv_agent *a)
{
    const char *handler = a->opts->event_log_handler;
    a->events.is_printing = strcmp(handler, "console") == 0;
    a->events.began_ms = (int64_t)uv_now(&a->loop);
    a->events.waits_since_ms = a->events.began_ms;
    /* The third is torchrun's rendezvous, which muster has none of; it is silent there too. */
    if (!a->events.is_printing && strcmp(handler, "null") != 0 &&
        strcmp(handler, "dynamic_rendezvous") != 0) {
        mu_log(MU_LOG_WARN,
               "--event-log-handler '%s' is neither null nor console, and muster has no plugins of "
               "Python: no events; `muster status` and --log-level info tell what happens",
               handler);
    }
}

static void print(struct uv_agent *a, const char *state, const struct event_line_worker *worker,
                  const char *error, int64_t duration_ms)
{
    const struct options *o = a->opts;
    const struct assignment *place = &a->events.assignment;
    struct event_line event = {.state = state,
                               .worker = worker,
                               .run_id = o->rdzv_id,
                               .role = o->role,
                               .node_name = o->node_name,
                               .backend = o->rdzv_backend,
                               .program = a->program != NULL ? a->program : "",
                               .error = error,
                               .timestamp_ms = mu_clock_unix_ms(),
                               .run_time_ms = (int64_t)uv_now(&a->loop) - a->events.began_ms,
                               .duration_ms = duration_ms,
                               .node_rank = place->node_rank,
                               .node_count = place->node_count,
                               .restarts = place->restart_count,
                               .is_placed = place->round != 0};
    mu_autofree char *line = event_line_format(&event);
    mu_log_raw(line, strlen(line));
}

static struct event_line_worker worker_of(const struct uv_agent *a, uint32_t local_rank, pid_t pid)
{
    const struct assignment *place = &a->events.assignment;
    return (struct event_line_worker){.global_rank = place->first_rank + local_rank,
                                      .local_rank = local_rank,
                                      .role_rank = place->role_first_rank + local_rank,
                                      .role_world_size = place->role_world_size,
                                      .pid = pid};
}

void uv_agent_events_assigned(struct uv_agent *a, const struct assignment *assignment)
{
    a->events.assignment = *assignment;
    if (a->events.is_printing) {
        print(a, "RENDEZVOUS", NULL, NULL, (int64_t)uv_now(&a->loop) - a->events.waits_since_ms);
    }
}

void uv_agent_events_started(struct uv_agent *a, uint32_t local_rank, pid_t pid)
{
    if (a->events.is_printing) {
        struct event_line_worker worker = worker_of(a, local_rank, pid);
        print(a, "START", &worker, NULL, -1);
    }
}

void uv_agent_events_exited(struct uv_agent *a, uint32_t local_rank, struct outcome o,
                            const char *error)
{
    a->events.waits_since_ms = (int64_t)uv_now(&a->loop);
    if (!a->events.is_printing) {
        return;
    }
    pid_t pid = a->procs != NULL ? uv_procs_pid(a->procs, local_rank) : 0;
    struct event_line_worker worker = worker_of(a, local_rank, pid);
    bool is_success = outcome_is_success(o);
    worker.has_failed = !is_success;
    worker.exit_code = outcome_python_status(o);
    bool is_stopping = agent_get_state(a->engine) == AGENT_STOPPING;
    const char *failure = is_stopping ? "TERMINATED" : "FAILED";
    print(a, is_success ? "SUCCEEDED" : failure, &worker, error, -1);
}

void uv_agent_events_end(struct uv_agent *a)
{
    if (a->events.is_printing) {
        print(a, a->exit_status == 0 ? "SUCCEEDED" : "FAILED", NULL, NULL, -1);
    }
}
