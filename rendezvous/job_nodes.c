/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/job_nodes.h"

#include "rendezvous/job_view.h"

#include <string.h>

static void append_text(const char *text, struct mu_buf *out)
{
    mu_buf_append(out, text, strlen(text));
}

static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\') {
            return false;
        }
    }
    return true;
}

static void append_string(const char *text, struct mu_buf *out)
{
    if (is_plain(text)) {
        mu_buf_append_u8(out, '"');
        append_text(text, out);
        mu_buf_append_u8(out, '"');
        return;
    }
    json_t *string = job_view_text_json(text);
    char *json = json_dumps(string, JSON_COMPACT | JSON_ENCODE_ANY);
    append_text(json, out);
    free(json);
    json_decref(string);
}

/* A member of an object, and the next one's comma: `name` comes with both quotes and the colon. */
static void append_number(const char *name, int64_t value, struct mu_buf *out)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    digits[--at] = ',';
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    append_text(name, out);
    mu_buf_append(out, digits + at, sizeof(digits) - at);
}

static void append_word(const char *name, const char *value, struct mu_buf *out)
{
    append_text(name, out);
    append_string(value, out);
    mu_buf_append_u8(out, ',');
}

static void append_seconds(const char *name, int64_t ms, struct mu_buf *out)
{
    mu_buf_printf(out, "%s%.3f,", name, (double)ms / 1e3);
}

/* What ends an array or an object takes the place of the last comma. */
static void append_end(char end, struct mu_buf *out)
{
    if (out->data[out->len - 1] == ',') {
        out->len--;
    }
    mu_buf_append_u8(out, (uint8_t)end);
    mu_buf_append_u8(out, ',');
}

static const char *worker_state(const struct member_node *n, const struct member_worker *w)
{
    switch (w->outcome.kind) {
    case OUTCOME_RUNNING:
        if (w->pid == 0) {
            return n->state == MEMBER_NODE_GONE ? "unknown" : "starting";
        }
        return n->state == MEMBER_NODE_GONE ? "unknown" : "running";
    case OUTCOME_EXITED:
        return w->outcome.code == 0 ? "succeeded" : "failed";
    case OUTCOME_SIGNALED:
        return "killed";
    case OUTCOME_EXEC_FAILED:
        return "not executed";
    case OUTCOME_UNKNOWN:
        break;
    }
    return "unknown";
}

static void append_worker(const struct member_node *n, uint32_t local_rank, struct mu_buf *out)
{
    const struct member_worker *w = &n->workers[local_rank];
    append_number("{\"rank\":", (int64_t)n->first_rank + local_rank, out);
    append_number("\"local_rank\":", local_rank, out);
    append_number("\"pid\":", w->pid, out);
    append_word("\"state\":", worker_state(n, w), out);
    if (w->outcome.kind == OUTCOME_RUNNING) {
        append_text("\"exit_status\":null,\"exit\":null", out);
    } else {
        char how[128];
        outcome_describe(w->outcome, how, sizeof(how));
        append_number("\"exit_status\":", outcome_exit_status(w->outcome), out);
        append_word("\"exit\":", how, out);
    }
    append_end('}', out);
}

bool job_nodes_is_spare(const struct member_view *view, const struct member_node *n)
{
    bool has_round = view->state == MEMBER_RUNNING || view->state == MEMBER_STOPPING;
    return has_round && n->state == MEMBER_NODE_JOINED;
}

static const char *node_state(const struct member_view *view, const struct member_node *n)
{
    bool is_away = n->is_away && n->state != MEMBER_NODE_GONE;
    return is_away                       ? "away"
           : job_nodes_is_spare(view, n) ? "spare"
                                         : member_node_state_name(n->state);
}

static void append_node(const struct member_view *view, const struct member_node *n, int64_t now_ms,
                        struct mu_buf *out)
{
    bool is_placed = n->node_rank >= 0;
    append_word("{\"name\":", n->name, out);
    append_word("\"address\":", n->address, out);
    append_word("\"state\":", node_state(view, n), out);
    append_number("\"pid\":", n->pid, out);
    append_number("\"slots\":", n->slots, out);
    append_word("\"role\":", n->role, out);
    append_seconds("\"joined_s\":", now_ms - n->joined_ms, out);
    append_seconds("\"heard_s\":", now_ms - n->heard_ms, out);
    if (is_placed) {
        append_number("\"node_rank\":", n->node_rank, out);
    } else {
        append_text("\"node_rank\":null,", out);
    }
    append_text("\"workers\":[", out);
    for (uint32_t i = 0; is_placed && i < n->slots; i++) {
        append_worker(n, i, out);
    }
    append_end(']', out);
    append_end('}', out);
}

void job_nodes_append(const struct member_view *view, int64_t now_ms, struct mu_buf *out)
{
    mu_buf_append_u8(out, '[');
    for (uint32_t i = 0; i < view->node_count; i++) {
        append_node(view, view->nodes[i], now_ms, out);
    }
    append_end(']', out);
    out->len--; /* its comma is the caller's business */
}
