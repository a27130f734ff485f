/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/event_line.h"

#include "muster/mem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Paths and names are any bytes, JSON is not. */
static json_t *text_of(const char *text)
{
    json_t *value = json_string(text);
    if (value == NULL) {
        mu_autofree char *copy = mu_strdup(text);
        for (char *c = copy; *c != '\0'; c++) {
            *c = ((unsigned char)*c & 0x80) != 0 ? '?' : *c;
        }
        value = json_string(copy);
    }
    return value;
}

static json_t *number_if(bool is_known, json_int_t value)
{
    return is_known ? json_integer(value) : json_null();
}

/* A document inside of a string, as torchelastic has it. */
static json_t *packed(json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT);
    json_t *value = json_string(text);
    free(text);
    json_decref(document);
    return value;
}

/* One number in a list, which torchelastic makes of it by a slip that readers now rely on. */
static void set_listed(json_t *object, const char *name, json_t *value)
{
    json_t *list = json_array();
    json_array_append_new(list, value);
    json_object_set_new(object, name, list);
}

static json_t *details_of(const struct event_line *e)
{
    const char *slash = strrchr(e->program, '/');
    json_t *details = json_object();
    json_object_set_new(details, "group_world_size", number_if(e->is_placed, e->node_count));
    json_object_set_new(details, "entry_point", text_of(slash != NULL ? slash + 1 : e->program));
    const struct event_line_worker *w = e->worker;
    if (w != NULL) {
        set_listed(details, "local_rank", json_integer(w->local_rank));
        set_listed(details, "role_rank", json_integer(w->role_rank));
        set_listed(details, "role_world_size", json_integer(w->role_world_size));
        set_listed(details, "exit_code", number_if(w->has_failed, w->exit_code));
        set_listed(details, "worker_pid", number_if(w->has_failed, w->pid));
    }
    return packed(details);
}

static json_t *error_of(const struct event_line *e)
{
    if (e->error == NULL) {
        return json_null();
    }
    json_t *error = json_object();
    json_object_set_new(error, "message", text_of(e->error));
    return packed(error);
}

char *event_line_format(const struct event_line *e)
{
    const struct event_line_worker *w = e->worker;
    char pid[24];
    snprintf(pid, sizeof(pid), "%lld", w != NULL ? (long long)w->pid : 0);
    mu_autofree char *name = mu_asprintf("torchelastic.worker.status.%s", e->state);

    json_t *metadata = json_object();
    json_object_set_new(metadata, "run_id", text_of(e->run_id));
    json_object_set_new(metadata, "global_rank",
                        number_if(w != NULL, w != NULL ? w->global_rank : 0));
    json_object_set_new(metadata, "group_rank", number_if(e->is_placed, e->node_rank));
    json_object_set_new(metadata, "worker_id", w != NULL ? json_string(pid) : json_null());
    json_object_set_new(metadata, "role", text_of(e->role));
    json_object_set_new(metadata, "hostname", text_of(e->node_name));
    json_object_set_new(metadata, "state", json_string(e->state));
    json_object_set_new(metadata, "total_run_time", json_integer(e->run_time_ms / 1000));
    json_object_set_new(metadata, "rdzv_backend", text_of(e->backend));
    json_object_set_new(metadata, "raw_error", error_of(e));
    json_object_set_new(metadata, "metadata", details_of(e));
    json_object_set_new(metadata, "agent_restarts", json_integer(e->restarts));
    json_object_set_new(metadata, "duration_ms", number_if(e->duration_ms >= 0, e->duration_ms));

    json_t *event = json_object();
    json_object_set_new(event, "name", json_string(name));
    json_object_set_new(event, "source", json_string(w != NULL ? "WORKER" : "AGENT"));
    json_object_set_new(event, "timestamp", json_integer(e->timestamp_ms));
    json_object_set_new(event, "metadata", metadata);
    mu_autofree char *text = json_dumps(event, 0);
    json_decref(event);
    return mu_asprintf("%s\n", text);
}
