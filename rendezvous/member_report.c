/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people read about a job: the progress of forming, and one report of a failure.
 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/names.h"
#include "rendezvous/rank_assign.h"

#include <errno.h>

enum { NAMES_SHOWN = 8 };

static char *take_text(struct mu_buf *b)
{
    mu_buf_append_u8(b, '\0');
    return (char *)b->data;
}

static int by_name(const void *a, const void *b)
{
    return mu_names_natural_compare(*(const char *const *)a, *(const char *const *)b);
}

/* "node1, node2 and 14 more", of the nodes that are here or of those that left. */
static uint32_t list_nodes(const struct member *m, bool is_live, struct mu_buf *out)
{
    mu_autofree const char **names = mu_calloc(m->node_count, sizeof(char *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (member_node_is_live(m->nodes[i]) == is_live) {
            names[count++] = m->nodes[i]->name;
        }
    }
    qsort(names, count, sizeof(char *), by_name);
    for (uint32_t i = 0; i < count && i < NAMES_SHOWN; i++) {
        mu_buf_printf(out, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (count > NAMES_SHOWN) {
        mu_buf_printf(out, " and %u more", count - NAMES_SHOWN);
    }
    return count;
}

static bool has_wanted_rank(const struct member *m, int32_t rank)
{
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (member_node_is_live(m->nodes[i]) && m->nodes[i]->wanted_rank == rank) {
            return true;
        }
    }
    return false;
}

/* Who is missing, as far as it can be known: ranks nobody claimed, nodes that left, strangers. */
static void describe_missing(const struct member *m, struct mu_buf *out)
{
    bool is_explicit = false;
    for (uint32_t i = 0; i < m->node_count; i++) {
        is_explicit = is_explicit || m->nodes[i]->wanted_rank != RANK_NONE;
    }
    uint32_t shown = 0;
    for (uint32_t r = 0; is_explicit && r < m->max_nodes && shown < NAMES_SHOWN; r++) {
        if (!has_wanted_rank(m, (int32_t)r)) {
            mu_buf_printf(out, "%s%u", shown == 0 ? "; never seen: node rank " : ", ", r);
            shown++;
        }
    }
    struct mu_buf left = {0};
    if (list_nodes(m, false, &left) > 0) {
        mu_buf_printf(out, "; gone: %.*s", (int)left.len, (const char *)left.data);
    }
    mu_buf_fini(&left);
    for (size_t i = 0; i < MEMBER_NOTED_REFUSALS; i++) {
        if (m->refusals[i] != NULL) {
            mu_buf_printf(out, "; turned away: %s", m->refusals[i]);
        }
    }
}

static void describe_joined(const struct member *m, struct mu_buf *out)
{
    struct mu_buf here = {0};
    uint32_t live = list_nodes(m, true, &here);
    if (m->min_nodes == m->max_nodes) {
        mu_buf_printf(out, "%u/%u nodes joined", live, m->max_nodes);
    } else {
        mu_buf_printf(out, "%u of %u to %u nodes joined", live, m->min_nodes, m->max_nodes);
    }
    mu_buf_printf(out, " (%.*s)", (int)here.len, here.len > 0 ? (const char *)here.data : "");
    mu_buf_fini(&here);
}

char *member_text_waiting(const struct member *m)
{
    struct mu_buf b = {0};
    uint32_t usable = member_usable(m);
    describe_joined(m, &b);
    if (usable < m->min_nodes) {
        mu_buf_printf(&b, "; waiting for %u more", m->min_nodes - usable);
        describe_missing(m, &b);
        mu_buf_printf(&b, " [%lld s, giving up after %lld s]",
                      (long long)(m->now_ms - m->state_since_ms) / 1000,
                      (long long)m->join_timeout_ms / 1000);
    } else if (m->busy_count > 0) {
        mu_buf_printf(&b, "; waiting for %u to stop workers of an earlier round", m->busy_count);
    } else {
        mu_buf_printf(&b, "; starting in %lld s unless more join",
                      (long long)(m->last_call_end_ms - m->now_ms + 999) / 1000);
    }
    return take_text(&b);
}

char *member_text_not_formed(const struct member *m)
{
    struct mu_buf b = {0};
    mu_buf_printf(&b, "job '%s' did not form within %.1f s: ", m->run_id,
                  (double)m->join_timeout_ms / 1e3);
    describe_joined(m, &b);
    if (member_usable(m) < m->min_nodes) {
        mu_buf_printf(&b, ", %u missing", m->min_nodes - member_usable(m));
        describe_missing(m, &b);
    }
    mu_buf_printf(&b, "; start an agent on every node with the same endpoint and --rdzv-id, or "
                      "change --nnodes or --join-timeout");
    return take_text(&b);
}

char *member_text_failure(const struct member *m)
{
    const struct member_failure *f = &m->failure;
    struct mu_buf b = {0};
    if (f->is_node) {
        mu_buf_printf(&b, "%s", f->why);
    } else {
        char how[128];
        outcome_describe(f->outcome, how, sizeof(how));
        mu_buf_printf(&b, "rank %u on %s (local rank %u, pid %u) %s", f->rank, f->why,
                      f->local_rank, f->pid, how);
    }
    return take_text(&b);
}

char *member_text_summary(const struct member *m)
{
    if (m->stop_signo != 0) {
        return mu_asprintf("job '%s' was stopped by %s", m->run_id, m->stop_why);
    }
    if (m->exit_status == 0) {
        return mu_asprintf("job '%s' succeeded", m->run_id);
    }
    if (!m->failure.is_set) {
        return member_text_not_formed(m);
    }
    char *failure = member_text_failure(m);
    char *text = mu_asprintf("job '%s' failed: %s", m->run_id, failure);
    free(failure);
    return text;
}

/* A line is what ends in \n or \r (progress bars). Empty ones are not shown. */
static const char *next_line(const char *line, size_t *ret_len)
{
    line += strspn(line, "\r\n");
    *ret_len = strcspn(line, "\r\n");
    return *ret_len > 0 ? line : NULL;
}

/* One line, without the control bytes that would reach a terminal. */
static void append_visible(const char *text, size_t len, struct mu_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_visible = (c >= 0x20 && c != 0x7f) || c == '\t';
        mu_buf_append_u8(out, is_visible ? c : '?');
    }
    mu_buf_append_u8(out, '\n');
}

/* The last lines. */
static void quote_tail(const char *tail, struct mu_buf *out)
{
    size_t len = 0;
    size_t count = 0;
    for (const char *l = tail; (l = next_line(l, &len)) != NULL; l += len) {
        count++;
    }
    for (const char *l = tail; (l = next_line(l, &len)) != NULL; l += len) {
        if (count-- > MU_REPORT_TAIL_LINES) {
            continue;
        }
        mu_buf_printf(out, "    | ");
        append_visible(l, len, out);
    }
}

char *member_text_report(const struct member *m)
{
    const struct member_failure *f = &m->failure;
    if (m->exit_status == 0 || m->stop_signo != 0 || !f->is_set) {
        return NULL;
    }
    struct mu_buf b = {0};
    char *failure = member_text_failure(m);
    mu_buf_printf(&b, "job '%s' failed: %s\n", m->run_id, failure);
    free(failure);
    mu_buf_printf(&b, "  round     %u, after %u of %u restarts\n", m->round, m->restarts,
                  m->max_restarts);
    if (m->state == MEMBER_FORMING) {
        mu_buf_printf(&b, "  waited    %.1f s for a replacement: none joined\n",
                      (double)m->join_timeout_ms / 1e3);
    }
    if (f->collateral > 0) {
        mu_buf_printf(&b, "  then      %u more failure%s, as a consequence of it\n", f->collateral,
                      f->collateral == 1 ? "" : "s");
    }
    bool is_exec = !f->is_node && f->outcome.kind == OUTCOME_EXEC_FAILED;
    if (f->message != NULL && f->message[0] != '\0') {
        mu_buf_printf(&b, is_exec ? "  what      " : "  error     ");
        append_visible(f->message, strcspn(f->message, "\r\n"), &b);
    }
    if (is_exec) {
        bool is_missing = f->outcome.code == ENOENT && (f->outcome.stage == OUTCOME_STAGE_PROGRAM ||
                                                        f->outcome.stage == OUTCOME_STAGE_SCRIPT);
        if (is_missing) {
            mu_buf_printf(&b, "  hint      is it on that node, under the same path?\n");
        }
    } else if (f->tail != NULL && f->tail[0] != '\0') {
        mu_buf_printf(&b, "  last lines of its stderr:\n");
        quote_tail(f->tail, &b);
    } else if (!f->is_node) {
        mu_buf_printf(&b, "  it wrote nothing to stderr\n");
    }
    mu_buf_printf(&b, "  every worker of the job was stopped; exit status %d", m->exit_status);
    return take_text(&b);
}
