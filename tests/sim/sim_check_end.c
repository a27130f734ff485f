/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold at the end: of the job, of each agent, and when nothing can happen any more.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

/* Did every worker of the last round really exit with 0? */
static void check_success(struct sim *s, const struct member_view *view)
{
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct member_node *n = view->nodes[i];
        if (n->node_rank < 0) {
            continue;
        }
        if (n->agent_id == 0) {
            sim_violate(s, "success, but %s has not come back", n->name);
            return;
        }
        const struct sim_agent *a = &s->agents[n->agent_id - 1000];
        for (uint32_t w = 0; w < n->slots; w++) {
            if (a->procs.assignment.round != view->round ||
                !outcome_is_success(a->procs.workers[w].outcome)) {
                sim_violate(s, "success, but worker %u of %s did not exit with 0", w, a->name);
            } else if (a->procs.workers[w].seen != 0) {
                sim_violate(s, "success, but worker %u of %s was told to stop", w, a->name);
            }
        }
    }
}

/* A crash that was heard of is not passed over for a failure that others cause. */
static void check_blame(struct sim *s, const struct member_view *view)
{
    for (uint32_t i = 0; i < view->node_count && view->failure->blame != CAUSE_OWN; i++) {
        const struct member_node *n = view->nodes[i];
        if (n->agent_id == 0) {
            continue;
        }
        const struct sim_agent *a = &s->agents[n->agent_id - 1000];
        for (uint32_t w = 0; n->node_rank >= 0 && w < n->slots; w++) {
            struct outcome o = n->workers[w].outcome;
            bool is_of_round = a->procs.assignment.round == view->round;
            if (is_of_round && o.kind == OUTCOME_SIGNALED && o.code == SIGSEGV &&
                !cause_is_consequence(a->procs.workers[w].plan.cause)) {
                sim_violate(s, "worker %u of %s crashed, but is not the culprit", w, a->name);
            }
        }
    }
}

static void check_culprit(struct sim *s, const struct member_view *view, int exit_status)
{
    const struct member_failure *f = view->failure;
    if (!f->is_set) {
        return;
    }
    int expected = member_failure_status(f);
    if (exit_status != expected) {
        sim_violate(s, "exit status %d, but the culprit's is %d", exit_status, expected);
    }
    check_blame(s, view);
    for (uint32_t i = 0; i < view->node_count && !f->is_node; i++) {
        const struct member_node *n = view->nodes[i];
        if (n->id != f->node || n->agent_id == 0) {
            continue;
        }
        const struct sim_agent *a = &s->agents[n->agent_id - 1000];
        if (a->procs.assignment.round != view->round) {
            continue;
        }
        struct outcome o = a->procs.workers[f->local_rank].outcome;
        if (o.kind != f->outcome.kind || o.code != f->outcome.code) {
            sim_violate(s, "the culprit did not end as reported");
        }
    }
}

void sim_check_over(struct sim *s, int exit_status)
{
    struct member_view view = member_look(s->member);
    if (exit_status == 0) {
        check_success(s, &view);
    } else if (exit_status <= 128 || view.failure->is_set) {
        /* A job that was stopped ends with 128 + signo whatever failed before. */
        bool was_stopped = exit_status == 128 + SIGTERM || exit_status == 128 + SIGINT ||
                           exit_status == 128 + SIGKILL;
        if (!was_stopped) {
            check_culprit(s, &view, exit_status);
        }
    }
}

/* All are told the same by one coordinator. */
void sim_check_end_sent(struct sim *s, int exit_status)
{
    struct sim_check *c = &s->check;
    if (c->has_end && c->end_status != exit_status) {
        sim_violate(s, "one node is told exit status %d, others %d", exit_status, c->end_status);
    }
    c->has_end = true;
    c->end_status = exit_status;
}

void sim_check_end_message(struct sim *s, uint32_t agent, int exit_status)
{
    struct sim_agent *a = &s->agents[agent];
    if (agent_get_state(a->engine) != AGENT_DONE && !a->got_end) {
        a->got_end = true;
        a->end_status = exit_status;
    }
}

void sim_check_agent_exit(struct sim *s, uint32_t agent)
{
    const struct sim_agent *a = &s->agents[agent];
    if (a->got_end && a->exit_status != a->end_status) {
        sim_violate(s, "%s was told exit status %d and ends with %d", a->name, a->end_status,
                    a->exit_status);
    }
    if (!a->got_end && a->exit_status == 0) {
        sim_violate(s, "%s ends with success and nobody said so", a->name);
    }
    if (a->procs.is_open && !sim_check_is_stuck(a)) {
        sim_violate(s, "%s ends before its workers", a->name);
    }
}

static void check_must_succeed(struct sim *s)
{
    if (s->check.begun != 1) {
        sim_violate(s, "%u rounds, and nothing happened that costs one", s->check.begun);
    }
    for (uint32_t i = 0; i < s->agent_count; i++) {
        /* A coordinator in an agent goes with the end, and with it an END that was on its way. */
        bool is_late = s->config.host >= 0 && s->check.has_end && !s->agents[i].got_end;
        if (s->agents[i].exit_status != 0 && !is_late) {
            sim_violate(s, "%s ends with %d, and nothing happened that costs its place",
                        s->agents[i].name, s->agents[i].exit_status);
        }
    }
}

/* Nothing can happen any more: then everything must have ended. */
void sim_check_finished(struct sim *s)
{
    sim_check_all(s);
    for (uint32_t i = 0; i < s->agent_count; i++) {
        if (s->agents[i].life == SIM_AGENT_UP) {
            sim_violate(s, "%s has not ended", s->agents[i].name);
        }
    }
    if (s->member != NULL) {
        struct member_view view = member_look(s->member);
        if (view.max_nodes > 0 && view.state != MEMBER_ENDED) {
            sim_violate(s, "the job has not ended");
        }
    }
    if (s->config.must_succeed) {
        check_must_succeed(s);
    }
}
