/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that a scheduler promised and that are not here: their names, and what was found out about
 * them (uv_probe.c of the agent that serves this coordinator).
 *
 * A node is the one of a place if its agent says that place (sched_rank), else if it has its name.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

enum {
    MISSING_SHOWN = 8,
    NEWS_AFTER_MS = 200,      /* others may be found out about in the same moment */
    NEWS_EVERY_MS = 2 * 1000, /* and in the next sweeps */
};

static long place_of(const struct member *m, const struct member_node *n)
{
    const struct member_config *c = &m->config;
    if (n->sched_rank >= 0 && (size_t)n->sched_rank < c->expected_count) {
        return n->sched_rank;
    }
    for (size_t i = 0; i < c->expected_count; i++) {
        if (strcmp(c->expected[i], n->name) == 0) {
            return (long)i;
        }
    }
    return -1;
}

size_t member_missing(const struct member *m, uint32_t *ret_places, size_t max)
{
    size_t expected = m->config.expected_count;
    if (m->state != MEMBER_FORMING || !m->is_configured || expected == 0 ||
        member_usable(m) >= m->policy.min_nodes) {
        return 0;
    }
    mu_autofree bool *is_here = mu_calloc(expected, sizeof(bool));
    for (uint32_t i = 0; i < m->node_count; i++) {
        long place = member_node_is_live(m->nodes[i]) ? place_of(m, m->nodes[i]) : 0;
        if (place < 0) {
            return 0; /* somebody is here under another name: nobody can say who is not */
        }
        is_here[place] = is_here[place] || member_node_is_live(m->nodes[i]);
    }
    size_t count = 0;
    for (size_t i = 0; i < expected && count < max; i++) {
        if (!is_here[i]) {
            ret_places[count++] = (uint32_t)i;
        }
    }
    return count;
}

const char *member_missing_name(const struct member *m, uint32_t place)
{
    return m->config.expected[place];
}

const char *member_missing_why(const struct member *m, uint32_t place)
{
    if (m->findings != NULL && m->findings[place] != NULL) {
        return m->findings[place];
    }
    for (size_t i = 0; i < MEMBER_NOTED_GONE; i++) {
        if (m->gone[i] != NULL && strcmp(m->gone[i], m->config.expected[place]) == 0) {
            return "gone";
        }
    }
    return "never seen";
}

void member_note_missing(struct member *m, uint32_t place, const char *what, int64_t now_ms)
{
    MU_REQUIRE(place < m->config.expected_count);
    m->now_ms = now_ms;
    if (m->findings == NULL) {
        m->findings = mu_calloc(m->config.expected_count, sizeof(m->findings[0]));
    }
    char **finding = &m->findings[place];
    if (*finding != NULL && strcmp(*finding, what) == 0) {
        return;
    }
    free(*finding);
    *finding = mu_strdup(what);
    int64_t soon_ms = now_ms + NEWS_AFTER_MS;
    int64_t least_ms = m->said_waiting_ms + NEWS_EVERY_MS;
    soon_ms = soon_ms > least_ms ? soon_ms : least_ms;
    if (m->state == MEMBER_FORMING && soon_ms < m->next_waiting_ms) {
        m->next_waiting_ms = soon_ms;
    }
}

void member_missing_clear(struct member *m)
{
    for (size_t i = 0; m->findings != NULL && i < m->config.expected_count; i++) {
        free(m->findings[i]);
    }
    free(m->findings);
    m->findings = NULL;
}

bool member_text_missing(const struct member *m, struct mu_buf *out)
{
    mu_autofree uint32_t *places = mu_calloc(m->config.expected_count + 1, sizeof(places[0]));
    size_t count = member_missing(m, places, m->config.expected_count);
    for (size_t i = 0; i < count && i < MISSING_SHOWN; i++) {
        mu_buf_printf(out, "%s%s: %s", i > 0 ? "; " : "", member_missing_name(m, places[i]),
                      member_missing_why(m, places[i]));
    }
    if (count > MISSING_SHOWN) {
        mu_buf_printf(out, "; and %zu more", count - MISSING_SHOWN);
    }
    return count > 0;
}
