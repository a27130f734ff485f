/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round forms: who is waited for, and who gets which ranks.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

enum { REPLACEMENTS_TOLD = 8 };

void member_form_begin(struct member *m)
{
    if (m->state != MEMBER_FORMING) {
        member_goto(m, MEMBER_FORMING);
    }
    m->state_since_ms = m->now_ms;
    m->state_deadline_ms = m->now_ms + m->join_timeout_ms;
    m->last_call_end_ms = INT64_MAX;
    m->is_growing = false;
    m->started_count = 0;
    m->next_waiting_ms = m->now_ms + MEMBER_WAITING_FIRST_MS;
    member_missing_clear(m); /* of an earlier round, and of others */
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        n->previous_rank = n->node_rank;
        n->node_rank = RANK_NONE;
        n->was_told_waiting = false;
        if (member_node_is_live(n)) {
            n->state = n->busy_round != 0 ? MEMBER_NODE_STOPPING : MEMBER_NODE_JOINED;
        }
    }
}

static void send_assignments(struct member *m, struct member_node *const *placed, uint32_t count,
                             const uint32_t *role_worlds)
{
    for (uint32_t i = 0; i < count; i++) {
        struct member_node *n = placed[i];
        n->state = MEMBER_NODE_ASSIGNED;
        n->workers_exited = 0;
        memset(n->workers, 0, n->slots * sizeof(n->workers[0]));
        struct ctl_msg msg = {.type = CTL_ASSIGN,
                              .assign = {.round = m->round,
                                         .restart_count = m->history.count,
                                         .node_rank = i,
                                         .node_count = count,
                                         .first_rank = n->first_rank,
                                         .world_size = m->world_size,
                                         .role_first_rank = n->role_first_rank,
                                         .role_world_size = role_worlds[i]}};
        member_send(m, n, &msg);
    }
}

uint32_t member_places(const struct member *m)
{
    uint32_t most = m->policy.max_nodes;
    if (m->policy.scale_up == JOB_SCALE_UP_NEVER && m->node_places > 0) {
        most = m->node_places < most ? m->node_places : most;
    }
    uint32_t usable = member_usable(m);
    return usable < most ? usable : most;
}

/* Nodes that had a place in the round before and are gone; their places are remembered until now.
 */
static uint32_t list_lost(struct member *m, struct rank_lost *lost)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n) && n->previous_rank != RANK_NONE) {
            lost[count++] = (struct rank_lost){.name = n->name, .place = n->previous_rank};
            n->previous_rank = RANK_NONE;
            m->forgettable++;
        }
    }
    return count;
}

static uint32_t list_candidates(const struct member *m, struct rank_candidate *candidates)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (member_node_is_live(n) && !n->is_stuck) {
            candidates[count++] = (struct rank_candidate){.previous = n->previous_rank,
                                                          .wanted = n->wanted_rank,
                                                          .sched = n->sched_rank,
                                                          .name = n->name,
                                                          .pid = n->pid,
                                                          .id = i};
        }
    }
    return count;
}

/* Who stands in for whom: the places that a newcomer has from a lost node. */
static void tell_replacements(struct member *m, struct member_node *const *placed, uint32_t places,
                              const struct rank_lost *lost, uint32_t lost_count)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < lost_count && told < REPLACEMENTS_TOLD; i++) {
        uint32_t place = (uint32_t)lost[i].place;
        if (place >= places || placed[place]->previous_rank != RANK_NONE) {
            continue;
        }
        const struct member_node *n = placed[place];
        bool is_same = strcmp(n->name, lost[i].name) == 0;
        told++;
        if (is_same) {
            member_record(m, MU_LOG_NOTICE, EVENT_REPLACED, n,
                          "%s has its place again, node rank %u", n->name, place);
        } else {
            member_record(m, MU_LOG_NOTICE, EVENT_REPLACED, n,
                          "%s takes the place of %s, node rank %u", n->name, lost[i].name, place);
        }
    }
}

static void assign(struct member *m)
{
    uint32_t usable = member_usable(m);
    uint32_t places = member_places(m);
    mu_autofree struct rank_candidate *candidates = mu_calloc(usable, sizeof(*candidates));
    mu_autofree struct member_node **placed = mu_calloc(usable, sizeof(struct member_node *));
    mu_autofree uint32_t *role_worlds = mu_calloc(usable, sizeof(*role_worlds));
    mu_autofree struct rank_lost *lost = mu_calloc(m->node_count, sizeof(*lost));
    uint32_t count = list_candidates(m, candidates);
    uint32_t lost_count = list_lost(m, lost);
    rank_assign(candidates, count, places, lost, lost_count);
    for (uint32_t i = 0; i < places; i++) {
        placed[i] = m->nodes[candidates[i].id];
        placed[i]->node_rank = (int32_t)i;
    }
    m->round = (m->last_round > m->round ? m->last_round : m->round) + 1;
    m->is_adopted = false;
    m->has_formed = true;
    m->node_places = places;
    m->has_finished = false;
    m->over_count = 0;
    m->world_size = member_number_ranks(m, placed, places, role_worlds);
    member_failure_clear(&m->failure);
    m->state_deadline_ms = INT64_MAX;
    member_goto(m, MEMBER_RUNNING);
    member_effect_add(m, MEMBER_NEW_ROUND)->round = m->round;
    send_assignments(m, placed, places, role_worlds);
    tell_replacements(m, placed, places, lost, lost_count);
    for (uint32_t i = places; i < count; i++) {
        member_tell_spare(m, m->nodes[candidates[i].id]);
    }
    mu_autofree char *names = member_text_places(placed, places);
    member_record(m, MU_LOG_INFO, EVENT_ROUND, NULL,
                  "job '%s' round %u: %u nodes, %u workers, restart %u of %u: %s", m->run_id,
                  m->round, places, m->world_size, restart_used(&m->history, &m->policy, m->now_ms),
                  m->policy.max_restarts, names);
}

void member_form_try(struct member *m)
{
    uint32_t usable = member_usable(m);
    if (usable < m->policy.min_nodes) {
        m->last_call_end_ms = INT64_MAX;
        return;
    }
    if (m->last_call_end_ms == INT64_MAX) {
        int64_t end_ms = m->now_ms + m->last_call_ms;
        m->last_call_end_ms = end_ms < m->state_deadline_ms ? end_ms : m->state_deadline_ms;
    }
    if (!member_is_clear(m)) {
        return; /* no round begins while workers of another may be alive */
    }
    /* Only the first round waits for more than MIN: later ones go on with whoever is left. */
    if (usable >= m->policy.max_nodes + m->policy.spares || m->has_formed ||
        m->now_ms >= m->last_call_end_ms) {
        assign(m);
    }
}

void member_form_expire(struct member *m)
{
    if (!member_is_clear(m) && member_usable(m) >= m->policy.min_nodes) {
        m->state_deadline_ms = member_clear_ms(m); /* all are here, some not quite ready */
        return;
    }
    member_end(m, member_failure_status(&m->failure));
}
