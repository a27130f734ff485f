/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/status_text.h"

#include "muster/mem.h"

#include <limits.h>
#include <string.h>

enum { DAY_LEN = sizeof("2026-11-24") - 1 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "?";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static bool has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

enum status_exit status_text_exit(const json_t *document)
{
    const json_t *jobs = json_object_get(document, "jobs");
    enum status_exit worst = STATUS_EXIT_RUNNING;
    size_t i;
    json_t *job;
    if (json_array_size(jobs) == 0) {
        return STATUS_EXIT_FORMING;
    }
    json_array_foreach (jobs, i, job) {
        const char *state = text_of(job, "state");
        if (strcmp(state, "failed") == 0 || strcmp(state, "stopped") == 0) {
            return STATUS_EXIT_FAILED;
        }
        if (strcmp(state, "forming") == 0) {
            worst = STATUS_EXIT_FORMING;
        }
    }
    return worst;
}

/* "5 s", "3 min 20 s", "2 h 5 min" */
static void append_age(struct mu_buf *out, double seconds)
{
    if (!(seconds >= 0 && seconds < 1e12)) {
        mu_buf_printf(out, "?");
        return;
    }
    long long s = (long long)seconds;
    if (s < 60) {
        mu_buf_printf(out, "%lld s", s);
    } else if (s < 3600) {
        mu_buf_printf(out, "%lld min %lld s", s / 60, s % 60);
    } else {
        mu_buf_printf(out, "%lld h %lld min", s / 3600, s % 3600 / 60);
    }
}

static void render_failure(const json_t *failure, struct mu_buf *out)
{
    if (strcmp(text_of(failure, "kind"), "node") == 0) {
        mu_buf_printf(out, "  failure   %s\n", text_of(failure, "reason"));
        return;
    }
    mu_buf_printf(out, "  failure   rank %lld on %s (local rank %lld, pid %lld) %s\n",
                  number_of(failure, "rank"), text_of(failure, "node"),
                  number_of(failure, "local_rank"), number_of(failure, "pid"),
                  text_of(failure, "reason"));
    if (has(failure, "cause_text")) {
        mu_buf_printf(out, "  cause     %s\n", text_of(failure, "cause_text"));
    }
}

/* Nodes a job waits for. */
static void render_missing(const json_t *missing, struct mu_buf *out)
{
    enum { SHOWN = 32 };
    size_t i;
    json_t *node;
    json_array_foreach (missing, i, node) {
        if (i < SHOWN) {
            mu_buf_printf(out, "  missing   %s: %s\n", text_of(node, "name"), text_of(node, "why"));
        }
    }
    if (json_array_size(missing) > SHOWN) {
        mu_buf_printf(out, "  missing   and %zu more\n", json_array_size(missing) - SHOWN);
    }
}

static void render_head(const json_t *job, struct mu_buf *out)
{
    mu_buf_printf(out, "job %s: %s for ", text_of(job, "run_id"), text_of(job, "state"));
    append_age(out, json_number_value(json_object_get(job, "since_s")));
    long long min = number_of(job, "min_nodes");
    long long max = number_of(job, "max_nodes");
    long long spares = number_of(job, "spares");
    mu_buf_printf(out, ", %lld of %lld", number_of(job, "nodes_joined") - spares, min);
    if (max != min) {
        mu_buf_printf(out, ":%lld", max);
    }
    mu_buf_printf(out, " nodes");
    if (spares > 0) {
        mu_buf_printf(out, " and %lld spare%s", spares, spares == 1 ? "" : "s");
    }
    mu_buf_printf(out, ", %lld workers, round %lld, %lld of %lld restarts",
                  number_of(job, "world_size"), number_of(job, "round"),
                  number_of(job, has(job, "restarts_used") ? "restarts_used" : "restarts"),
                  number_of(job, "max_restarts"));
    if (has(job, "exit_status")) {
        mu_buf_printf(out, ", exit status %lld", number_of(job, "exit_status"));
    }
    mu_buf_append_u8(out, '\n');
    if (has(job, "failure")) {
        render_failure(json_object_get(job, "failure"), out);
    }
    render_missing(json_object_get(job, "missing"), out);
}

static void render_workers(const json_t *node, struct mu_buf *out)
{
    const json_t *workers = json_object_get(node, "workers");
    size_t i;
    json_t *w;
    json_array_foreach (workers, i, w) {
        char pid[24] = "-";
        if (number_of(w, "pid") != 0) {
            snprintf(pid, sizeof(pid), "%lld", number_of(w, "pid"));
        }
        mu_buf_printf(out, "  %6lld  %5lld  %8s  %-13s%s\n", number_of(w, "rank"),
                      number_of(w, "local_rank"), pid, text_of(w, "state"),
                      has(w, "exit") ? text_of(w, "exit") : "");
    }
}

static void render_node(const json_t *node, struct mu_buf *out)
{
    if (has(node, "node_rank")) {
        mu_buf_printf(out, "node %lld: ", number_of(node, "node_rank"));
    } else {
        mu_buf_printf(out, "no rank: ");
    }
    mu_buf_printf(out, "%s (%s, agent pid %lld) %s\n", text_of(node, "name"),
                  text_of(node, "address"), number_of(node, "pid"), text_of(node, "state"));
    render_workers(node, out);
}

/* A node in the order it is shown: by rank, those without one last, as they came. */
struct shown {
    const json_t *node;
    long long rank;
    size_t came;
};

static int in_order(const void *pa, const void *pb)
{
    const struct shown *a = pa;
    const struct shown *b = pb;
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return a->came < b->came ? -1 : 1;
}

static void render_nodes(const json_t *nodes, struct mu_buf *out)
{
    size_t count = json_array_size(nodes);
    mu_autofree struct shown *shown = mu_calloc(count, sizeof(*shown));
    size_t i;
    json_t *node;
    json_array_foreach (nodes, i, node) {
        long long rank = has(node, "node_rank") ? number_of(node, "node_rank") : LLONG_MAX;
        shown[i] = (struct shown){.node = node, .rank = rank, .came = i};
    }
    qsort(shown, count, sizeof(*shown), in_order);
    mu_buf_printf(out, "  %6s  %5s  %8s  %-13s%s\n", "RANK", "LOCAL", "PID", "STATE", "EXIT");
    for (i = 0; i < count; i++) {
        render_node(shown[i].node, out);
    }
}

/* What went wrong at the port; nothing if nothing did. */
static void render_trouble(const json_t *document, struct mu_buf *out)
{
    static const struct {
        const char *name;
        const char *words;
    } troubles[] = {
        {"turned_away", "turned away for want of descriptors"},
        {"accept_failed", "that the system could not take"},
        {"backlog_full", "times the queue of new ones was full (net.core.somaxconn)"},
        {"store_broken", "store clients closed for breaking the protocol"},
        {"store_over_limit", "store clients closed at a limit"},
        {"store_slow_dropped", "store clients closed for not reading"},
    };
    const json_t *port = json_object_get(document, "port");
    for (size_t i = 0; i < MU_COUNT(troubles); i++) {
        if (number_of(port, troubles[i].name) > 0) {
            mu_buf_printf(out, "connections: %lld %s\n", number_of(port, troubles[i].name),
                          troubles[i].words);
        }
    }
}

/* "12:01:12.345" of "2026-11-24T12:01:12.345Z": the day is that of the line before, mostly. */
static void render_event(const json_t *event, char *day, struct mu_buf *out)
{
    const char *time = text_of(event, "time");
    if (strlen(time) > DAY_LEN + 1 && time[DAY_LEN] == 'T') {
        if (strncmp(day, time, DAY_LEN) != 0) {
            snprintf(day, DAY_LEN + 1, "%s", time);
            mu_buf_printf(out, "%s UTC\n", day);
        }
        time += DAY_LEN + 1;
    }
    mu_buf_printf(out, "  %.*s  round %lld  %-13s %s\n", (int)strcspn(time, "Z"), time,
                  number_of(event, "round"), text_of(event, "kind"), text_of(event, "text"));
}

void status_text_events(const json_t *document, struct mu_buf *out)
{
    const json_t *jobs = json_object_get(document, "jobs");
    size_t i;
    size_t k;
    json_t *job;
    json_t *event;
    if (json_array_size(jobs) == 0) {
        mu_buf_printf(out, "no job yet\n");
    }
    json_array_foreach (jobs, i, job) {
        char day[DAY_LEN + 1] = "";
        mu_buf_printf(out, "%s", i > 0 ? "\n" : "");
        render_head(job, out);
        if (number_of(job, "events_dropped") > 0) {
            mu_buf_printf(out, "  %lld earlier ones are not kept\n",
                          number_of(job, "events_dropped"));
        }
        json_array_foreach (json_object_get(job, "events"), k, event) {
            render_event(event, day, out);
        }
    }
}

void status_text_render(const json_t *document, struct mu_buf *out)
{
    const json_t *jobs = json_object_get(document, "jobs");
    size_t i;
    json_t *job;
    if (json_array_size(jobs) == 0) {
        mu_buf_printf(out, "no job yet\n");
    }
    json_array_foreach (jobs, i, job) {
        if (i > 0) {
            mu_buf_append_u8(out, '\n');
        }
        render_head(job, out);
        render_nodes(json_object_get(job, "nodes"), out);
    }
    render_trouble(document, out);
}
