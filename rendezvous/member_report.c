/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people read about a job: the progress of forming, and in one line how it ended. The screen
 * about a failure is in member_screen.c.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"
#include "muster/names.h"
#include "rendezvous/rank_assign.h"

enum { NAMES_SHOWN = 8 };

static int by_name(const void *a, const void *b)
{
    return mu_names_natural_compare(*(const char *const *)a, *(const char *const *)b);
}

/* "node1, node2 and 14 more", of the nodes that are here. */
static uint32_t list_live(const struct member *m, struct mu_buf *out)
{
    mu_autofree const char **names = mu_calloc(m->node_count, sizeof(char *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (member_node_is_live(m->nodes[i])) {
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

void member_note_gone(struct member *m, const char *name)
{
    char **gone = m->gone;
    size_t at = MEMBER_NOTED_GONE - 1;
    while (at > 0 && (gone[at] == NULL || strcmp(gone[at], name) != 0)) {
        at--; /* in the place of its namesake, else of the oldest */
    }
    free(gone[at]);
    memmove(&gone[at], &gone[at + 1], (MEMBER_NOTED_GONE - 1 - at) * sizeof(gone[0]));
    gone[MEMBER_NOTED_GONE - 1] = mu_strdup(name);
}

static bool is_back(const struct member *m, const char *name)
{
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (member_node_is_live(m->nodes[i]) && strcmp(m->nodes[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void describe_gone(const struct member *m, struct mu_buf *out)
{
    const char *before = "; gone: ";
    for (size_t i = 0; i < MEMBER_NOTED_GONE; i++) {
        if (m->gone[i] != NULL && !is_back(m, m->gone[i])) {
            mu_buf_printf(out, "%s%s", before, m->gone[i]);
            before = ", ";
        }
    }
}

char *member_text_places(struct member_node *const *placed, uint32_t count)
{
    struct mu_buf b = {0};
    for (uint32_t i = 0; i < count && i < NAMES_SHOWN; i++) {
        mu_buf_printf(&b, "%s%s", i > 0 ? ", " : "", placed[i]->name);
    }
    if (count > NAMES_SHOWN) {
        mu_buf_printf(&b, " and %u more", count - NAMES_SHOWN);
    }
    return mu_buf_take_text(&b);
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

static void describe_strangers(const struct member *m, struct mu_buf *out)
{
    for (size_t i = 0; i < MEMBER_NOTED_REFUSALS; i++) {
        if (m->refusals[i] != NULL) {
            mu_buf_printf(out, "; turned away: %s", m->refusals[i]);
        }
    }
}

/* Who is missing, as far as it can be known: ranks nobody claimed, nodes that left. */
static void describe_missing(const struct member *m, struct mu_buf *out)
{
    bool is_explicit = false;
    for (uint32_t i = 0; i < m->node_count; i++) {
        is_explicit = is_explicit || m->nodes[i]->wanted_rank != RANK_NONE;
    }
    uint32_t shown = 0;
    for (uint32_t r = 0; is_explicit && r < m->policy.max_nodes && shown < NAMES_SHOWN; r++) {
        if (!has_wanted_rank(m, (int32_t)r)) {
            mu_buf_printf(out, "%s%u", shown == 0 ? "; never seen: node rank " : ", ", r);
            shown++;
        }
    }
    describe_gone(m, out);
}

/* By name, if a scheduler told them. */
static void describe_names(const struct member *m, const char *before, struct mu_buf *out)
{
    struct mu_buf names = {0};
    if (member_text_missing(m, &names)) {
        mu_buf_printf(out, "%s", before);
        mu_buf_append(out, names.data, names.len);
    } else {
        describe_missing(m, out);
    }
    mu_buf_fini(&names);
}

/* "; waiting for node3: never seen", "; waiting for 2 more: node3: ...; node4: ...". */
static void describe_waiting(const struct member *m, uint32_t count, struct mu_buf *out)
{
    uint32_t places[2];
    bool is_one = count == 1 && member_missing(m, places, MU_COUNT(places)) == 1;
    mu_buf_printf(out, "; waiting for ");
    if (!is_one) {
        mu_buf_printf(out, "%u more", count);
    }
    describe_names(m, is_one ? "" : ": ", out);
}

/* Of the nodes that are here, those beyond MAX. */
static uint32_t count_spares(const struct member *m)
{
    return m->live_count > m->policy.max_nodes ? m->live_count - m->policy.max_nodes : 0;
}

static void describe_joined(const struct member *m, struct mu_buf *out)
{
    struct mu_buf here = {0};
    uint32_t spares = count_spares(m);
    uint32_t nodes = list_live(m, &here) - spares;
    if (m->policy.min_nodes == m->policy.max_nodes) {
        mu_buf_printf(out, "%u/%u nodes", nodes, m->policy.max_nodes);
    } else {
        mu_buf_printf(out, "%u of %u to %u nodes", nodes, m->policy.min_nodes, m->policy.max_nodes);
    }
    if (m->policy.spares > 0) {
        mu_buf_printf(out, " and %u/%u spares", spares, m->policy.spares);
    }
    mu_buf_printf(out, " joined");
    mu_buf_printf(out, " (%.*s)", (int)here.len, here.len > 0 ? (const char *)here.data : "");
    mu_buf_fini(&here);
}

char *member_text_waiting(const struct member *m)
{
    struct mu_buf b = {0};
    uint32_t usable = member_usable(m);
    describe_joined(m, &b);
    if (usable < m->policy.min_nodes) {
        describe_waiting(m, m->policy.min_nodes - usable, &b);
        describe_strangers(m, &b);
        mu_buf_printf(&b, " [%lld s, giving up after %lld s]",
                      (long long)(m->now_ms - m->state_since_ms) / 1000,
                      (long long)m->join_timeout_ms / 1000);
    } else if (m->busy_count > 0) {
        mu_buf_printf(&b, "; waiting for %u to stop workers of an earlier round", m->busy_count);
    } else {
        mu_buf_printf(&b, "; starting in %lld s unless more join",
                      (long long)(m->last_call_end_ms - m->now_ms + 999) / 1000);
    }
    return mu_buf_take_text(&b);
}

static char *describe_not_formed(const struct member *m)
{
    struct mu_buf b = {0};
    mu_buf_printf(&b, "job '%s' did not form within %.1f s: ", m->run_id,
                  (double)m->join_timeout_ms / 1e3);
    describe_joined(m, &b);
    if (member_usable(m) < m->policy.min_nodes) {
        mu_buf_printf(&b, ", %u missing", m->policy.min_nodes - member_usable(m));
        describe_names(m, ": ", &b);
        describe_strangers(m, &b);
    }
    if (m->config.expected_count == 0) {
        mu_buf_printf(&b, "; start an agent on every node with the same endpoint and --rdzv-id, "
                          "or change --nnodes or --join-timeout");
    }
    return mu_buf_take_text(&b);
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
        mu_buf_printf(&b, "rank %u on %s (local rank %u, pid %u) %s%s%s", f->rank, f->node_name,
                      f->local_rank, f->pid, f->was_ending ? "failed (and was " : "", how,
                      f->was_ending ? " before it had ended)" : "");
    }
    return mu_buf_take_text(&b);
}

char *member_text_failure_and_cause(const struct member *m)
{
    const char *sentence = m->failure.sentence;
    char *failure = member_text_failure(m);
    if (sentence == NULL || sentence[0] == '\0') {
        return failure;
    }
    char *text = mu_asprintf("%s: %s", failure, sentence);
    free(failure);
    return text;
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
        return describe_not_formed(m);
    }
    mu_autofree char *failure = member_text_failure_and_cause(m);
    bool is_told = m->no_restart_why != NULL;
    return mu_asprintf("job '%s' failed: %s%s%s", m->run_id, failure,
                       is_told ? "; not restarted: " : "", is_told ? m->no_restart_why : "");
}
