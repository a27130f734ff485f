/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining: who is let in, who is refused with which sentence.
 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/names.h"
#include "rendezvous/rank_assign.h"

static bool is_span(int64_t ms)
{
    return ms >= 0 && ms <= MU_MAX_SPAN_MS;
}

static bool is_codes(struct mu_slice s)
{
    return s.len == 0 || s.len == EXIT_CODES_BYTES;
}

/* A node that has been silent for two beats may be gone, and this its successor. */
static int refuse_rank(const struct member *m, const struct member_node *n, struct mu_err *err)
{
    int64_t silent_ms = m->now_ms - n->heard_ms;
    if (n->is_away || silent_ms > 2 * member_heartbeat_ms(m)) {
        return mu_err_set(err, MU_E_CANCELED, 0,
                          "--node-rank %d is that of %s (%s, pid %u), which has not been heard of "
                          "for %.1f s; it is free once that is given up",
                          n->wanted_rank, n->name, n->address, n->pid, (double)silent_ms / 1e3);
    }
    return mu_err_set(err, MU_E_REFUSED, 0,
                      "--node-rank %d is taken by %s (%s, pid %u); every node needs its own",
                      n->wanted_rank, n->name, n->address, n->pid);
}

/* A node that is lost again and again takes all the others down each time. */
static int check_losses(const struct member *m, const struct ctl_hello *h, struct mu_err *err)
{
    mu_autofree char *name = mu_slice_dup(h->node_name);
    uint32_t losses = restart_losses(&m->history, &m->policy, name, m->now_ms);
    if (m->policy.max_node_losses == 0 || losses < m->policy.max_node_losses) {
        return 0;
    }
    if (member_find_agent(m, h->agent_id) != NULL) {
        return 0; /* it is in; what was lost is another agent of this name */
    }
    char span[32];
    restart_span_text(restart_lost_window_ms(&m->policy), span, sizeof(span));
    return mu_err_set(err, MU_E_REFUSED, 0,
                      "%s was lost %u times within %s, so the job goes on without it: start the "
                      "agent on another node, or raise --max-node-losses",
                      name, losses, span);
}

static int check_hello(const struct member *m, const struct ctl_hello *h, struct mu_err *err)
{
    if (!mu_names_is_presentable(h->node_name) || !mu_names_is_label(h->role)) {
        return mu_err_set(err, MU_E_REFUSED, 0,
                          "a node name or role must be 1 to %d visible characters", MU_MAX_NAME);
    }
    if (!mu_names_is_label(h->run_id)) {
        return mu_err_set(err, MU_E_REFUSED, 0,
                          "a run id must be 1 to %d bytes of UTF-8 without control characters",
                          MU_MAX_NAME);
    }
    if (h->agent_id == 0 || h->slots < 1 || h->slots > MU_MAX_LOCAL_WORLD || h->min_nodes < 1 ||
        h->min_nodes > h->max_nodes || h->max_nodes > MU_MAX_NODES ||
        h->max_restarts > MU_MAX_RESTARTS || h->spares > MU_MAX_NODES ||
        h->scale_up > JOB_SCALE_UP_LAST || !is_span(h->restart_window_ms) ||
        !is_span(h->min_uptime_ms) || !is_codes(h->stop_codes) || !is_codes(h->retry_codes) ||
        h->node_timeout_ms < MU_MIN_NODE_TIMEOUT_MS || !is_span(h->node_timeout_ms) ||
        !is_span(h->join_timeout_ms) || !is_span(h->last_call_ms) || !is_span(h->grace_ms) ||
        h->node_rank < RANK_NONE || h->sched_rank < RANK_NONE || !member_session_is_whole(h)) {
        return mu_err_set(err, MU_E_REFUSED, 0, "a number in the request is out of range");
    }
    if (m->state == MEMBER_ENDED) {
        return mu_err_set(err, MU_E_CANCELED, 0, "job '%s' has ended already", m->run_id);
    }
    if (m->is_configured &&
        (h->min_nodes != m->policy.min_nodes || h->max_nodes != m->policy.max_nodes)) {
        return mu_err_set(err, MU_E_REFUSED, 0,
                          "this node says --nnodes %u:%u, job '%s' was begun with --nnodes %u:%u; "
                          "use the same on every node",
                          h->min_nodes, h->max_nodes, m->run_id, m->policy.min_nodes,
                          m->policy.max_nodes);
    }
    uint32_t spares = m->is_configured ? m->policy.spares : h->spares;
    if (h->node_rank >= 0 && (uint32_t)h->node_rank >= h->max_nodes + spares) {
        char and_spares[32] = "";
        if (spares > 0) {
            snprintf(and_spares, sizeof(and_spares), " and %u spare%s", spares,
                     spares == 1 ? "" : "s");
        }
        return mu_err_set(err, MU_E_REFUSED, 0,
                          "--node-rank %d, but the job has %u nodes%s (0 to %u)", h->node_rank,
                          h->max_nodes, and_spares, h->max_nodes + spares - 1);
    }
    if (m->live_count >= MU_MAX_NODES) {
        return mu_err_set(err, MU_E_REFUSED, 0, "job '%s' has %d nodes, which is the limit",
                          m->run_id, MU_MAX_NODES);
    }
    if (check_losses(m, h, err) != 0) {
        return -1;
    }
    const struct member_node *taken = member_find_wanted(m, h->node_rank);
    if (taken != NULL && taken->agent_id != h->agent_id) {
        return refuse_rank(m, taken, err);
    }
    return 0;
}

/* An empty text, which may have no address, is no code. */
static struct exit_codes codes_of(struct mu_slice bits)
{
    struct exit_codes codes = {{0}};
    if (bits.len == EXIT_CODES_BYTES) {
        memcpy(codes.bits, bits.ptr, EXIT_CODES_BYTES);
    }
    return codes;
}

static void configure(struct member *m, const struct ctl_hello *h)
{
    m->is_configured = true;
    m->policy = (struct job_policy){.min_nodes = h->min_nodes,
                                    .max_nodes = h->max_nodes,
                                    .spares = h->spares,
                                    .scale_up = (enum job_scale_up)h->scale_up,
                                    .max_restarts = h->max_restarts,
                                    .max_node_losses = h->max_node_losses,
                                    .restart_window_ms = h->restart_window_ms,
                                    .min_uptime_ms = h->min_uptime_ms};
    m->policy.stop_codes = codes_of(h->stop_codes);
    m->policy.retry_codes = codes_of(h->retry_codes);
    m->join_timeout_ms = h->join_timeout_ms;
    m->last_call_ms = h->last_call_ms;
    m->node_timeout_ms = h->node_timeout_ms;
    m->grace_ms = h->grace_ms;
    m->next_pulse_ms = m->now_ms + member_heartbeat_ms(m);
    member_form_begin(m);
}

/* Forget nodes that are gone, but for their places: who comes back is to have its own again. */
static void purge(struct member *m)
{
    if (m->forgettable == 0 || m->state == MEMBER_ENDED) {
        return;
    }
    m->forgettable = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (member_node_is_live(n) || member_node_is_placed(n) || n->previous_rank != RANK_NONE) {
            m->nodes[kept++] = m->nodes[i];
        } else {
            member_node_free(m->nodes[i]);
        }
    }
    m->node_count = kept;
    m->over_count = 0;
}

/* The node that an agent goes on as; NULL: it is a newcomer. */
static struct member_node *find_session(const struct member *m, const struct ctl_hello *h)
{
    struct member_node *n = member_find_agent(m, h->agent_id);
    /* Of a job that has ended those who were given up are to hear it, too. */
    for (uint32_t i = 0; n == NULL && m->state == MEMBER_ENDED && i < m->node_count; i++) {
        n = m->nodes[i]->agent_id == h->agent_id && h->agent_id != 0 ? m->nodes[i] : NULL;
    }
    return n != NULL && member_session_fits(m, n, h) ? n : NULL;
}

bool member_knows(const struct member *m, const struct ctl_hello *hello)
{
    return find_session(m, hello) != NULL;
}

struct member_node *member_node_new(struct member *m, const struct ctl_hello *hello,
                                    const char *address)
{
    struct member_node *n = mu_alloc(sizeof(*n));
    *n = (struct member_node){
        .id = m->next_node_id++,
        .state = hello->is_busy != 0 ? MEMBER_NODE_STOPPING : MEMBER_NODE_JOINED,
        .node_rank = RANK_NONE,
        .previous_rank = RANK_NONE,
        .wanted_rank = hello->node_rank,
        .sched_rank = hello->sched_rank,
        .slots = hello->slots,
        .pid = hello->pid,
        .agent_id = hello->agent_id,
        .name = mu_slice_dup(hello->node_name),
        .role = mu_slice_dup(hello->role),
        .address = mu_strdup(address),
        .joined_ms = m->now_ms,
        .heard_ms = m->now_ms,
        .busy_round = hello->is_busy != 0 ? hello->current_round : 0,
        .wants_report = hello->wants_report != 0,
        .busy_deadline_ms = m->now_ms + m->grace_ms + MEMBER_KILL_ALLOWANCE_MS,
        .workers = mu_calloc(hello->slots, sizeof(struct member_worker)),
    };
    if (m->node_count == m->node_cap) {
        m->node_cap = m->node_cap > 0 ? 2 * m->node_cap : 8;
        m->nodes = mu_realloc(m->nodes, m->node_cap * sizeof(struct member_node *));
    }
    m->nodes[m->node_count++] = n;
    m->live_count++;
    member_index_add(&m->index, n);
    if (m->next_silence_ms == INT64_MAX) {
        m->next_silence_ms = m->now_ms + m->node_timeout_ms;
    }
    return n;
}

/* Workers of a round that is no more run there: the node was given up. They must be gone before the
 * next round. */
static void note_busy(struct member *m, const struct member_node *n)
{
    m->busy_count++;
    if (n->busy_deadline_ms < m->busy_deadline_ms) {
        m->busy_deadline_ms = n->busy_deadline_ms;
    }
    member_record(m, MU_LOG_INFO, EVENT_WAITING, n,
                  "%s still has workers of round %u; waiting for them to stop", n->name,
                  n->busy_round);
}

static int refuse(struct member *m, const struct ctl_hello *h, const char *address,
                  const struct mu_err *err)
{
    bool has_name = mu_names_is_presentable(h->node_name);
    mu_autofree char *text = mu_asprintf(
        MU_SLICE_FMT " (%s) was refused: %s",
        MU_SLICE_ARG(has_name ? h->node_name : mu_slice_of("a node")), address, err->text);
    member_note(m, EVENT_REFUSED, NULL, text);
    return -1;
}

void member_welcome(struct member *m, const struct member_node *n, bool is_resumed)
{
    member_send(m, n,
                &(struct ctl_msg){.type = CTL_WELCOME,
                                  .welcome = {.coordinator_id = m->config.coordinator_id,
                                              .is_embedded = m->config.embedded_agent != 0,
                                              .is_resumed = is_resumed,
                                              .heartbeat_ms = member_heartbeat_ms(m),
                                              .node_timeout_ms = m->node_timeout_ms,
                                              .master_addr = mu_slice_of(m->config.master_addr)}});
}

/*
 * It has been in the job before, but in no round: others may have one that runs, and have not come
 * back to this coordinator, which is a new one, yet.
 */
static void wait_for_others(struct member *m, const struct ctl_hello *hello)
{
    bool is_of_former =
        hello->coordinator_id != 0 && hello->coordinator_id != m->config.coordinator_id;
    if (is_of_former && !m->has_formed && m->config.embedded_agent == 0 && !m->has_waited) {
        m->has_waited = true; /* once: their leases are over then */
        m->fence_ms = m->now_ms + m->node_timeout_ms + m->node_timeout_ms / MEMBER_FENCE_OF_TIMEOUT;
    }
}

static const struct member_node *join_new(struct member *m, const struct ctl_hello *hello,
                                          const char *address)
{
    struct member_node *n = member_node_new(m, hello, address);
    member_welcome(m, n, false);
    member_record(m, MU_LOG_INFO, EVENT_JOINED, n,
                  "%s (%s, pid %u) joined job '%s' with %u workers", n->name, n->address, n->pid,
                  m->run_id, n->slots);
    if (n->busy_round != 0) {
        note_busy(m, n);
    }
    wait_for_others(m, hello);
    if (m->state == MEMBER_FORMING) {
        member_form_try(m);
        return n;
    }
    member_grow_check(m);
    if (m->state == MEMBER_RUNNING) {
        member_tell_spare(m, n);
    }
    return n;
}

int64_t member_join(struct member *m, const struct ctl_hello *hello, const char *address,
                    int64_t now_ms, struct mu_err *err)
{
    m->now_ms = now_ms;
    purge(m);
    struct member_node *n = find_session(m, hello);
    if (n != NULL) {
        member_session_resume(m, n, hello, address);
        return n->id;
    }
    if (check_hello(m, hello, err) != 0) {
        return refuse(m, hello, address, err);
    }
    n = member_find_agent(m, hello->agent_id);
    if (n != NULL) {
        member_node_gone(m, n, "its connection was lost, and it came back with another", CAUSE_OWN);
        if (check_hello(m, hello, err) != 0) { /* that was the end of the job */
            return refuse(m, hello, address, err);
        }
    }
    if (!m->is_configured) {
        configure(m, hello);
    }
    n = member_session_adopt(m, hello, address);
    return n != NULL ? n->id : join_new(m, hello, address)->id;
}
