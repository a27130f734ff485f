/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: a node whose connection broke keeps its place while it may come back, and a coordinator
 * that is new takes over a round from the agents that run it.
 *
 * Every message between an agent and us is about the state of one round, so nothing needs to be
 * numbered or acknowledged: on resuming, the agent says all of its round again and we send what our
 * state says it should have got. What is said twice changes nothing.
 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

/* ---- away ---- */

void member_session_away(struct member *m, struct member_node *n, const char *why)
{
    if (n->is_away) {
        return;
    }
    n->is_away = true;
    m->away_count++;
    free(n->away_why);
    n->away_why = mu_strdup(why);
    member_record(m, MU_LOG_NOTICE, EVENT_AWAY, n,
                  "the connection to %s (%s) broke: %s; it has %.1f s to come back", n->name,
                  n->address, why, (double)(n->heard_ms + m->node_timeout_ms - m->now_ms) / 1e3);
}

static void is_back(struct member *m, struct member_node *n)
{
    if (n->is_away) {
        n->is_away = false;
        m->away_count--;
        free(n->away_why);
        n->away_why = NULL;
    }
    n->heard_ms = m->now_ms;
}

/* ---- what it may have missed ---- */

static uint32_t role_world(const struct member *m, const struct member_node *of)
{
    uint32_t world = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (member_node_is_placed(n) && strcmp(n->role, of->role) == 0) {
            world += n->slots;
        }
    }
    return world;
}

static void send_assignment(struct member *m, const struct member_node *n)
{
    member_send(m, n,
                &(struct ctl_msg){.type = CTL_ASSIGN,
                                  .assign = {.round = m->round,
                                             .restart_count = m->history.count,
                                             .node_rank = (uint32_t)n->node_rank,
                                             .node_count = m->node_places,
                                             .first_rank = n->first_rank,
                                             .world_size = m->world_size,
                                             .role_first_rank = n->role_first_rank,
                                             .role_world_size = role_world(m, n)}});
}

/* ASSIGN was lost with the connection, so nothing of this round was ever started there. */
static void catch_up_on_assignment(struct member *m, struct member_node *n)
{
    if (m->state == MEMBER_RUNNING) {
        send_assignment(m, n);
    } else {
        n->state = MEMBER_NODE_STOPPED;
    }
}

static void catch_up(struct member *m, struct member_node *n, const struct ctl_hello *h)
{
    if (m->state == MEMBER_ENDED) {
        member_end_again(m, n);
    } else if (!member_node_is_placed(n)) {
        if (m->state == MEMBER_RUNNING) {
            member_tell_spare(m, n);
        }
    } else if (h->current_round != m->round) {
        catch_up_on_assignment(m, n);
    } else if (m->state == MEMBER_STOPPING && n->state == MEMBER_NODE_STOPPING) {
        member_stop_again(m, n);
    }
}

static void welcome(struct member *m, const struct member_node *n)
{
    member_welcome(m, n, true);
    member_record(m, MU_LOG_NOTICE, EVENT_BACK, n, "%s (%s) is back in job '%s'", n->name,
                  n->address, m->run_id);
}

bool member_session_fits(const struct member *m, const struct member_node *n,
                         const struct ctl_hello *h)
{
    bool is_same = n->slots == h->slots && n->pid == h->pid;
    bool is_placed = member_node_is_placed(n) && m->state != MEMBER_ENDED;
    /* Workers of any other round than ours must be stopped: that is a newcomer's way. */
    return is_same && (!is_placed || h->current_round == m->round || h->is_busy == 0);
}

void member_session_resume(struct member *m, struct member_node *n, const struct ctl_hello *h,
                           const char *address)
{
    is_back(m, n);
    if (strcmp(n->address, address) != 0) {
        free(n->address);
        n->address = mu_strdup(address);
    }
    welcome(m, n);
    catch_up(m, n, h);
    if (m->state == MEMBER_FORMING) {
        member_form_try(m);
    } else {
        member_round_check(m);
        member_grow_check(m);
    }
}

/* ---- taking over the round of a coordinator that is no more ---- */

bool member_session_is_whole(const struct ctl_hello *h)
{
    return h->current_round == 0 ||
           (h->current_round <= MU_MAX_ROUND && h->restart_count <= MU_MAX_RESTARTS &&
            h->node_count <= h->max_nodes && h->place < h->node_count &&
            h->world_size <= (uint32_t)MU_MAX_NODES * MU_MAX_LOCAL_WORLD &&
            h->node_count <= h->world_size && h->slots <= h->world_size &&
            h->first_rank <= h->world_size - h->slots && h->role_world_size <= h->world_size &&
            h->slots <= h->role_world_size && h->role_first_rank <= h->role_world_size - h->slots);
}

/* A place whose agent has not come back yet: what it is like will be known then. */
static void add_missing(struct member *m, uint32_t place)
{
    char name[32];
    snprintf(name, sizeof(name), "node-rank-%u", place);
    struct ctl_hello nobody = {.node_name = mu_slice_of(name),
                               .role = mu_slice_of("unknown"),
                               .node_rank = RANK_NONE,
                               .sched_rank = RANK_NONE};
    struct member_node *n = member_node_new(m, &nobody, "its agent has not come back");
    n->state = MEMBER_NODE_ASSIGNED;
    n->node_rank = (int32_t)place;
    n->is_away = true;
    n->away_why = mu_strdup("the coordinator was started anew");
    m->away_count++;
}

/* Who came back with an earlier round, which it has ended, has no place in this one. */
static void forget_adopted(struct member *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        if (n->agent_id == 0) {
            m->live_count--;
            m->away_count--;
            member_index_take(&m->index, n);
            member_node_free(n);
            continue;
        }
        n->previous_rank = n->node_rank != RANK_NONE ? n->node_rank : n->previous_rank;
        n->node_rank = RANK_NONE;
        n->state = member_node_is_live(n) ? MEMBER_NODE_JOINED : n->state;
        m->nodes[kept++] = n;
    }
    m->node_count = kept;
    m->over_count = 0;
}

static void adopt(struct member *m, const struct ctl_hello *h)
{
    member_record(m, MU_LOG_NOTICE, EVENT_ADOPTED, NULL,
                  "job '%s' is running already: taking over its round %u of %u nodes, %u workers",
                  m->run_id, h->current_round, h->node_count, h->world_size);
    if (m->state == MEMBER_FORMING) {
        member_goto(m, MEMBER_RUNNING);
    }
    m->is_adopted = true;
    m->has_formed = true;
    m->is_adopted_busy = false;
    m->round = h->current_round;
    restart_adopt(&m->history, &m->policy, h->restart_count);
    m->started_count = 0;
    m->world_size = h->world_size;
    m->node_places = h->node_count;
    m->over_count = 0;
    m->has_finished = false;
    m->state_deadline_ms = INT64_MAX;
    m->adopted_first_id = m->next_node_id;
    for (uint32_t place = 0; place < h->node_count; place++) {
        add_missing(m, place);
    }
    member_effect_add(m, MEMBER_NEW_ROUND)->round = m->round;
}

static struct member_node *find_missing(const struct member *m, const struct ctl_hello *h)
{
    struct member_node *n = member_find_node(m, m->adopted_first_id + h->place);
    bool is_missing = h->node_count == m->node_places && h->world_size == m->world_size &&
                      n != NULL && member_node_is_live(n) && n->agent_id == 0 &&
                      n->node_rank == (int32_t)h->place;
    return is_missing ? n : NULL;
}

static void fill(struct member *m, struct member_node *n, const struct ctl_hello *h,
                 const char *address)
{
    member_index_take(&m->index, n);
    free(n->name);
    free(n->role);
    free(n->address);
    free(n->workers);
    n->name = mu_slice_dup(h->node_name);
    n->role = mu_slice_dup(h->role);
    n->address = mu_strdup(address);
    n->workers = mu_calloc(h->slots, sizeof(struct member_worker));
    n->slots = h->slots;
    n->pid = h->pid;
    n->agent_id = h->agent_id;
    n->wanted_rank = h->node_rank;
    n->sched_rank = h->sched_rank;
    n->first_rank = h->first_rank;
    n->role_first_rank = h->role_first_rank;
    n->wants_report = h->wants_report != 0;
    member_index_add(&m->index, n);
    m->is_adopted_busy = m->is_adopted_busy || h->is_busy != 0;
    is_back(m, n);
}

struct member_node *member_session_adopt(struct member *m, const struct ctl_hello *h,
                                         const char *address)
{
    bool is_first = m->state == MEMBER_FORMING && !m->has_formed;
    bool is_later = m->is_adopted && !m->is_adopted_busy && m->state == MEMBER_RUNNING &&
                    h->current_round > m->round;
    if (h->current_round > m->last_round) {
        m->last_round = h->current_round;
    }
    if (h->current_round == 0 || h->is_busy == CTL_BUSY_REMNANT || m->config.embedded_agent != 0 ||
        m->stop_signo != 0) {
        return NULL;
    }
    if (is_later) {
        forget_adopted(m);
    }
    if (is_first || is_later) {
        adopt(m, h);
    }
    if (!m->is_adopted || h->current_round != m->round ||
        (m->state != MEMBER_RUNNING && m->state != MEMBER_STOPPING)) {
        return NULL;
    }
    struct member_node *n = find_missing(m, h);
    if (n == NULL) {
        return NULL;
    }
    fill(m, n, h, address);
    if (m->state == MEMBER_STOPPING) {
        n->state = MEMBER_NODE_STOPPING;
    }
    welcome(m, n);
    catch_up(m, n, h);
    member_grow_check(m);
    return n;
}
