/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants: what must hold whatever happens, checked after every event. They look at the
 * world from above (processes that really live), not only at what the engines believe.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

void sim_check_coordinator_new(struct sim *s)
{
    struct sim_check *c = &s->check;
    c->last_round = 0;
    c->assigned = 0;
    c->is_checked = true;
    c->state = MEMBER_FORMING;
    c->has_end = false;
    c->was_told_of_former = false;
}

/* ---- rounds ---- */

bool sim_check_is_stuck(const struct sim_agent *a)
{
    for (uint32_t i = 0; i < a->config.slots; i++) {
        if (a->procs.workers[i].plan.is_stuck) {
            return true;
        }
    }
    return false;
}

/* The agent of a node the coordinator is connected with, NULL if the connection is half dead. */
static struct sim_agent *agent_of_node(struct sim *s, uint32_t node, int64_t *ret_joined_ms)
{
    int32_t link = sim_link_of(s, node);
    if (link < 0 || !s->links[link].is_agent_open) {
        return NULL;
    }
    *ret_joined_ms = s->links[link].joined_ms;
    return &s->agents[s->links[link].agent];
}

static void on_new_round(struct sim *s, uint32_t round)
{
    struct sim_check *c = &s->check;
    if (round <= c->last_round) {
        sim_violate(s, "round %u after round %u", round, c->last_round);
    }
    bool is_adopted = member_look(s->member).is_adopted;
    c->is_blind = c->is_blind || (s->coordinator_id > 1 && !c->was_told_of_former);
    if (!is_adopted && !c->is_blind && round < c->living_cap && c->living[round] > 0) {
        sim_violate(s, "round %u begins, and there are workers of a round %u already", round,
                    round);
    }
    c->begun += !is_adopted;
    c->last_round = round;
    c->assigned = 0;
    c->is_checked = false;
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct sim_link *l = &s->links[i];
        const struct sim_agent *a = &s->agents[l->agent];
        if (l->node >= 0 && l->is_agent_open && l->is_coordinator_open && a->life == SIM_AGENT_UP &&
            a->procs.is_open && a->procs.assignment.round != round && !sim_check_is_stuck(a)) {
            sim_violate(s, "round %u begins while processes of round %u live on %s", round,
                        a->procs.assignment.round, a->name);
        }
    }
}

static void on_assign(struct sim *s, uint32_t node, const struct ctl_assign *assign)
{
    struct sim_check *c = &s->check;
    c->assigned++;
    MU_REQUIRE(node < s->place_count);
    struct sim_place *place = &s->places[node];
    if (place->round == assign->round) {
        c->assigned--; /* it is said again after a connection that was lost */
        if (place->rank != assign->node_rank) {
            sim_violate(s, "node %u gets two places in round %u", node, assign->round);
        }
        return;
    }
    if (assign->round != c->last_round) {
        sim_violate(s, "node %u gets an assignment of round %u in round %u", node, assign->round,
                    c->last_round);
    }
    /* Who took part in the round before keeps its place, unless there are no longer as many. */
    bool was_in = place->round != 0 && place->round + 1 == assign->round;
    if (was_in && place->rank < assign->node_count && place->rank != assign->node_rank) {
        sim_violate(s, "node %u had place %u and gets %u", node, place->rank, assign->node_rank);
    }
    place->rank = assign->node_rank;
    place->round = assign->round;
}

/* Some of an adopted round have not come back. */
static bool is_incomplete(const struct member_view *view)
{
    for (uint32_t i = 0; view->is_adopted && i < view->node_count; i++) {
        if (view->nodes[i]->node_rank >= 0 && view->nodes[i]->agent_id == 0) {
            return true;
        }
    }
    return false;
}

/* A permutation of 0 .. world-1, in blocks of each node's slots, in the order of node ranks. */
static void check_ranks(struct sim *s)
{
    struct sim_check *c = &s->check;
    struct member_view view = member_look(s->member);
    if (c->is_checked || view.state != MEMBER_RUNNING || view.round != c->last_round ||
        is_incomplete(&view)) {
        return;
    }
    c->is_checked = true;
    mu_autofree const struct member_node **of_rank =
        mu_calloc(view.node_count + 1, sizeof(struct member_node *));
    uint32_t placed = 0;
    for (uint32_t i = 0; i < view.node_count; i++) {
        const struct member_node *n = view.nodes[i];
        if (n->node_rank < 0) {
            continue;
        }
        placed++;
        if ((uint32_t)n->node_rank >= view.node_count || of_rank[n->node_rank] != NULL) {
            sim_violate(s, "node rank %d: twice, or of nobody's", n->node_rank);
            return;
        }
        of_rank[n->node_rank] = n;
    }
    uint32_t world = 0;
    uint32_t rank = 0;
    for (; of_rank[rank] != NULL; rank++) {
        if (of_rank[rank]->first_rank != world) {
            sim_violate(s, "node rank %u: ranks from %u and not %u", rank,
                        of_rank[rank]->first_rank, world);
        }
        world += of_rank[rank]->slots;
    }
    uint32_t assigned = view.is_adopted ? rank : c->assigned;
    if (rank != placed || rank != assigned || world != view.world_size || rank < view.min_nodes ||
        rank > view.max_nodes) {
        sim_violate(s, "%u nodes and %u workers, but %u assignments and a world of %u", rank, world,
                    assigned, view.world_size);
    }
}

/* ---- what really lives ---- */

/*
 * On a machine that was suspended nobody could stop them in time, and when it goes on the lease is
 * given another half: the whole job may have been suspended with it.
 */
bool sim_check_is_excused(const struct sim *s, const struct sim_agent *a)
{
    return a->suspended_until_ms > 0 &&
           s->now_ms <= a->suspended_until_ms + a->config.node_timeout_ms;
}

static void check_others(struct sim *s, uint32_t agent, uint32_t round)
{
    for (uint32_t i = 0; i < s->agent_count; i++) {
        const struct sim_agent *a = &s->agents[i];
        bool is_other = a->procs.assignment.round != round;
        for (uint32_t w = 0; is_other && w < a->config.slots && !sim_check_is_excused(s, a); w++) {
            if (a->procs.workers[w].is_alive) {
                sim_violate(s, "%s starts a worker of round %u, and one of round %u is alive on %s",
                            s->agents[agent].name, round, a->procs.assignment.round, a->name);
                return;
            }
        }
    }
}

void sim_check_worker_begins(struct sim *s, uint32_t agent, uint32_t round)
{
    struct sim_check *c = &s->check;
    if (round >= c->living_cap) {
        uint32_t cap = round + 16;
        c->living = mu_realloc(c->living, cap * sizeof(c->living[0]));
        memset(c->living + c->living_cap, 0, (cap - c->living_cap) * sizeof(c->living[0]));
        c->living_cap = cap;
    }
    if (c->alive != c->living[round] && !c->is_blind) {
        check_others(s, agent, round);
    }
    c->alive++;
    c->living[round]++;
}

void sim_check_worker_ends(struct sim *s, uint32_t round)
{
    s->check.alive--;
    s->check.living[round]--;
}

void sim_check_effect(struct sim *s, const struct member_effect *e)
{
    if (e->kind == MEMBER_NEW_ROUND) {
        on_new_round(s, e->round);
    } else if (e->kind == MEMBER_SEND && e->msg.type == CTL_ASSIGN) {
        on_assign(s, e->node, &e->msg.assign);
    } else if (e->kind == MEMBER_SEND && e->msg.type == CTL_END) {
        sim_check_end_sent(s, e->msg.end.exit_status);
    } else if (e->kind == MEMBER_OVER) {
        sim_check_over(s, e->exit_status);
    }
}

/* ---- after every event ---- */

static void check_member(struct sim *s)
{
    struct sim_check *c = &s->check;
    struct member_view view = member_look(s->member);
    if (view.restarts_used > view.max_restarts) {
        sim_violate(s, "%u of %u restarts", view.restarts_used, view.max_restarts);
    }
    if (view.state != MEMBER_ENDED && view.max_nodes > 0 &&
        member_deadline(s->member) == INT64_MAX) {
        sim_violate(s, "the coordinator is %s without a deadline", member_state_name(view.state));
    }
    if (view.state == MEMBER_STOPPING &&
        (c->state != MEMBER_STOPPING || c->stopping_round != view.round)) {
        c->stopping_since_ms = s->now_ms;
        c->stopping_round = view.round;
    }
    c->state = view.state;
    check_ranks(s);
}

/* What is sent has arrived by then, or its sender has given up. */
static int64_t longest_way_ms(const struct sim *s)
{
    const struct sim_config *c = &s->config;
    return 2 * (c->latency_max_ms + c->late_ms) + (c->rto_ms > 0 ? c->user_timeout_ms : 0);
}

/* Once the coordinator stops a round, every reachable node's workers are told within a latency. */
static void check_told(struct sim *s)
{
    struct sim_check *c = &s->check;
    if (c->state != MEMBER_STOPPING) {
        return;
    }
    int64_t since =
        c->stopping_since_ms > s->calm_since_ms ? c->stopping_since_ms : s->calm_since_ms;
    int64_t patience_ms = longest_way_ms(s);
    if (s->now_ms <= since + patience_ms) {
        return;
    }
    struct member_view view = member_look(s->member);
    for (uint32_t i = 0; i < view.node_count; i++) {
        const struct member_node *n = view.nodes[i];
        int64_t joined_ms = 0;
        const struct sim_agent *a = agent_of_node(s, n->id, &joined_ms);
        bool is_new = s->now_ms <= joined_ms + patience_ms;
        if (n->state == MEMBER_NODE_STOPPING && n->node_rank >= 0 && a != NULL && !is_new &&
            a->procs.is_open && !a->procs.was_told && a->procs.alive > 0) {
            sim_violate(s, "%s was not told to stop its workers", a->name);
        }
    }
}

/* Out of contact for the node timeout: an agent stops its workers, whoever else does. */
static void check_agent(struct sim *s, uint32_t index)
{
    const struct sim_agent *a = &s->agents[index];
    if (a->life != SIM_AGENT_UP) {
        return;
    }
    if (agent_deadline(a->engine) == INT64_MAX && !a->is_dialing) {
        sim_violate(s, "%s is %s without a deadline", a->name,
                    agent_state_name(agent_get_state(a->engine)));
    }
    int64_t awake = a->paused_until_ms;
    int64_t drift = a->config.node_timeout_ms / 1000;
    int64_t since = a->contact_ms > awake ? a->contact_ms : awake;
    if (s->now_ms > since + a->config.node_timeout_ms + drift + 1 && a->procs.is_open &&
        !a->procs.was_told && a->procs.alive > 0) {
        sim_violate(s, "%s is out of contact for %lld ms and its workers go on", a->name,
                    (long long)(s->now_ms - since));
    }
}

/* What was not touched can only be late, and stays so: it is enough to look now and then. */
void sim_check_all(struct sim *s)
{
    s->check.next_full_step = s->check.steps + s->agent_count;
    if (s->member != NULL) {
        check_told(s);
    }
    for (uint32_t i = 0; i < s->agent_count; i++) {
        check_agent(s, i);
    }
}

void sim_check_step(struct sim *s)
{
    const struct sim_timers *t = &s->timers;
    if (s->member != NULL) {
        check_member(s);
    }
    for (uint32_t i = 0; i < t->touched_count; i++) {
        if (t->touched[i] < s->agent_count) {
            check_agent(s, t->touched[i]);
        }
    }
    if (++s->check.steps >= s->check.next_full_step) {
        sim_check_all(s);
    }
}
