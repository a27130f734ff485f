/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/job_view.h"

#include "muster/buf.h"
#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/num.h"
#include "rendezvous/job_nodes.h"

#include <string.h>

const char *job_view_state(const struct member_view *view)
{
    if (view->state != MEMBER_ENDED) {
        return member_state_name(view->state);
    }
    if (view->exit_status == 0) {
        return "succeeded";
    }
    return view->exit_status > 128 && !view->failure->is_set ? "stopped" : "failed";
}

static double seconds(int64_t ms)
{
    return (double)ms / 1e3;
}

/* Control bytes but for the ends of lines: nobody means them, and JSON makes six of each. */
static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f;
}

/* JSON would refuse the whole text for one byte of it. */
json_t *job_view_text_json(const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    struct mu_buf clean = {0};
    for (size_t at = 0; at < len;) {
        unsigned char c = (unsigned char)text[at];
        size_t size = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        json_t *one = size <= len - at && !is_control(c) ? json_stringn(text + at, size) : NULL;
        mu_buf_append(&clean, one != NULL ? text + at : "?", one != NULL ? size : 1);
        at += one != NULL ? size : 1;
        json_decref(one);
    }
    json_t *o = json_stringn(clean.data != NULL ? (const char *)clean.data : "", clean.len);
    mu_buf_fini(&clean);
    return o;
}

/* null for a text that is not there. */
static json_t *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? job_view_text_json(text) : json_null();
}

static json_t *collateral_json(const struct member_failure *f)
{
    json_t *o = json_object();
    for (int k = 0; k < CAUSE_KIND_COUNT; k++) {
        if (f->collateral_by[k] > 0) {
            json_object_set_new(o, cause_kind_name((enum cause_kind)k),
                                json_integer(f->collateral_by[k]));
        }
    }
    return o;
}

/* What only a worker has. */
static void add_worker(json_t *o, const struct member_failure *f)
{
    char when[MU_TIME_SIZE];
    bool is_signal = outcome_is_signal(f->outcome, 0);
    json_object_set_new(o, "rank", json_integer(f->rank));
    json_object_set_new(o, "local_rank", json_integer(f->local_rank));
    json_object_set_new(o, "pid", json_integer(f->pid));
    json_object_set_new(o, "exit_status", json_integer(member_failure_status(f)));
    json_object_set_new(o, "signal", is_signal ? json_integer(f->outcome.code) : json_null());
    json_object_set_new(o, "core_dumped", json_boolean(f->outcome.core_dumped));
    json_object_set_new(o, "time",
                        mu_time_format(f->unix_ms, when) ? json_string(when) : json_null());
    json_object_set_new(o, "message", job_view_text_json(f->message));
    json_object_set_new(o, "error_file", text_or_null(f->error_file));
    json_object_set_new(o, "log_file", text_or_null(f->log_file));
    json_object_set_new(o, "quote", job_view_text_json(f->quote));
    json_object_set_new(o, "stderr_tail", job_view_text_json(f->tail));
}

static json_t *failure_json(const struct member_failure *f)
{
    if (!f->is_set) {
        return json_null();
    }
    char how[128];
    outcome_describe(f->outcome, how, sizeof(how));
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:o}", "kind", f->is_node ? "node" : "worker",
                  "node", f->node_name, "role", f->role, "reason",
                  job_view_text_json(f->is_node ? f->why : how), "cause", cause_kind_name(f->cause),
                  "cause_text", text_or_null(f->sentence), "hint", text_or_null(f->hint));
    if (!f->is_node) {
        add_worker(o, f);
    }
    json_object_set_new(o, "is_consequence", json_boolean(f->blame != CAUSE_OWN));
    json_object_set_new(o, "collateral", json_integer(f->collateral));
    json_object_set_new(o, "collateral_causes", collateral_json(f));
    json_object_set_new(o, "stopped", json_integer(f->stopped));
    return o;
}

/* ---- events ---- */

/* "2026-11-24T12:01:12.345Z", or null. */
static json_t *moment_json(int64_t unix_ms)
{
    char text[MU_TIME_SIZE];
    if (!mu_time_format(unix_ms, text)) {
        return json_null();
    }
    size_t len = strlen(text) - 1;
    snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(unix_ms % 1000));
    return json_string(text);
}

static json_t *event_json(const struct event *e, int64_t unix_offset_ms)
{
    return json_pack("{s:o, s:i, s:s, s:s?, s:o}", "time",
                     moment_json(unix_offset_ms != 0 ? e->at_ms + unix_offset_ms : 0), "round",
                     (int)e->round, "kind", event_kind_name(e->kind), "node", e->node, "text",
                     job_view_text_json(e->text));
}

json_t *job_view_events_json(const struct member_view *view, uint32_t most, size_t max_bytes)
{
    enum { MARGIN = 64 }; /* of indentation around an event */
    json_t *events = json_array();
    size_t bytes = 0;
    uint32_t count = event_ring_count(view->events);
    for (uint32_t i = count; i-- > 0 && count - i <= most;) {
        json_t *o = event_json(event_ring_at(view->events, i), view->unix_offset_ms);
        bytes += json_dumpb(o, NULL, 0, JSON_INDENT(2)) + MARGIN;
        if (bytes > max_bytes) {
            json_decref(o);
            break;
        }
        json_array_insert_new(events, 0, o);
    }
    return events;
}

json_t *job_view_summary_json(const struct member_view *view)
{
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "run_id", view->run_id, "state",
                  job_view_state(view), "round", (int)view->round, "restarts", (int)view->restarts,
                  "max_restarts", (int)view->max_restarts, "min_nodes", (int)view->min_nodes,
                  "max_nodes", (int)view->max_nodes, "world_size", (int)view->world_size);
    bool has_ended = view->state == MEMBER_ENDED;
    json_object_set_new(o, "exit_status",
                        has_ended ? json_integer(view->exit_status) : json_null());
    json_object_set_new(o, "failure", failure_json(view->failure));
    json_object_set_new(o, "not_restarted", text_or_null(view->no_restart_why));
    return o;
}

json_t *job_view_store_json(const struct store_stats *store)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "keys", (json_int_t)store->keys,
                     "bytes", (json_int_t)store->bytes, "unread_bytes", (json_int_t)store->unread,
                     "partial_bytes", (json_int_t)store->partial, "clients",
                     (json_int_t)store->clients, "waiting", (json_int_t)store->waiting, "queries",
                     (json_int_t)store->queries);
}

/* The nodes a job waits for that are known by name. */
static json_t *missing_json(const struct member_view *view)
{
    json_t *list = json_array();
    mu_autofree uint32_t *places = mu_calloc(MU_MAX_NODES, sizeof(places[0]));
    size_t count = member_missing(view->member, places, MU_MAX_NODES);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(
            list, json_pack("{s:o, s:o}", "name",
                            job_view_text_json(member_missing_name(view->member, places[i])), "why",
                            job_view_text_json(member_missing_why(view->member, places[i]))));
    }
    return list;
}

void job_view_append(const struct member_view *view, const struct store_stats *store,
                     int64_t now_ms, struct mu_buf *out)
{
    int joined = 0;
    int spares = 0;
    for (uint32_t i = 0; i < view->node_count; i++) {
        joined += view->nodes[i]->state != MEMBER_NODE_GONE;
        spares += job_nodes_is_spare(view, view->nodes[i]);
    }
    json_t *o = job_view_summary_json(view);
    json_object_set_new(o, "restarts_used", json_integer(view->restarts_used));
    json_object_set_new(o, "since_s", json_real(seconds(now_ms - view->state_since_ms)));
    json_object_set_new(o, "nodes_joined", json_integer(joined));
    json_object_set_new(o, "spares", json_integer(spares));
    json_object_set_new(o, "missing", missing_json(view));
    if (store != NULL) {
        json_object_set_new(o, "store", job_view_store_json(store));
    }
    json_object_set_new(o, "events", job_view_events_json(view, EVENT_RING_SIZE, SIZE_MAX));
    json_object_set_new(o, "events_dropped",
                        json_integer((json_int_t)event_ring_dropped(view->events)));
    job_view_append_open(o, "nodes", out);
    job_nodes_append(view, now_ms, out);
    mu_buf_append_u8(out, '}');
    json_decref(o);
}

void job_view_append_open(const json_t *object, const char *name, struct mu_buf *out)
{
    char *text = json_dumps(object, JSON_COMPACT);
    mu_buf_append(out, text, strlen(text) - 1);
    mu_buf_printf(out, ",\"%s\":", name);
    free(text);
}
