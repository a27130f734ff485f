/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a failure: another round, or the end?
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

/* A node that is the culprit and will not be in the next round: at most once for each node. */
static bool has_lost_culprit(const struct member *m)
{
    if (!m->failure.is_node) {
        return false;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (n->id == m->failure.node) {
            return !member_node_is_live(n) || n->is_stuck;
        }
    }
    return true;
}

void member_decide(struct member *m)
{
    const struct member_failure *f = &m->failure;
    uint32_t usable = member_usable(m);
    if (has_lost_culprit(m) && usable >= m->policy.min_nodes) {
        member_log(m, MU_LOG_NOTICE, "going on with %u nodes: %s", usable, f->why);
    } else if (m->restarts < m->policy.max_restarts) {
        m->restarts++;
        char *text = member_text_failure_and_cause(m);
        member_log(m, MU_LOG_NOTICE, "restart %u of %u: %s", m->restarts, m->policy.max_restarts,
                   text);
        free(text);
    } else {
        member_end(m, member_failure_status(f));
        return;
    }
    member_form_begin(m);
    member_form_try(m);
}
