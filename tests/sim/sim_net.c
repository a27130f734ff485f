/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections, and what uv_coordinator.c, uv_peer.c and uv_job.c do at the coordinator's end.
 */
#include "tests/sim/sim.h"

#include "muster/limits.h"
#include "muster/mem.h"

bool sim_coordinator_is_of(const struct sim *s, uint32_t agent)
{
    return s->config.host >= 0 && (uint32_t)s->config.host == agent;
}

int64_t sim_coordinator_paused_until(const struct sim *s)
{
    return s->config.host >= 0 ? s->agents[s->config.host].paused_until_ms
                               : s->coordinator_paused_until_ms;
}

static const char *agent_name(const struct sim *s, const struct sim_link *l)
{
    return s->agents[l->agent].name;
}

const struct sim_clock *sim_coordinator_clock(const struct sim *s)
{
    return s->config.host >= 0 ? &s->agents[s->config.host].clock : &s->config.clock;
}

int64_t sim_coordinator_now(const struct sim *s)
{
    return sim_clock_read(sim_coordinator_clock(s), s->now_ms);
}

/* ---- the coordinator ---- */

void sim_coordinator_start(struct sim *s)
{
    uint64_t agent_id = s->config.host >= 0 ? s->agents[s->config.host].config.agent_id : 0;
    struct member_config config = {.coordinator_id = ++s->coordinator_id,
                                   .embedded_agent = agent_id};
    s->member = member_new(mu_slice_of("job"), &config);
    s->is_listening = true;
    s->place_count = 0;
    sim_touch_coordinator(s);
    sim_check_coordinator_new(s);
    sim_trace(s, "coordinator starts");
}

static void coordinator_down(struct sim *s, bool is_silent)
{
    s->is_listening = false;
    sim_store_over(s, is_silent);
    for (uint32_t i = 0; i < s->link_count; i++) {
        sim_link_close(s, (int32_t)i, false, is_silent);
        s->links[i].node = -1;
    }
    member_free(s->member);
    s->member = NULL;
    sim_touch_coordinator(s);
}

void sim_coordinator_stop(struct sim *s, int signo, const char *why)
{
    if (s->member != NULL) {
        member_stop(s->member, signo, why, sim_coordinator_now(s));
        sim_coordinator_carry_out(s);
        coordinator_down(s, false);
    }
}

void sim_coordinator_crash(struct sim *s, bool is_silent)
{
    if (s->member != NULL) {
        sim_trace(s, "coordinator crashes");
        coordinator_down(s, is_silent);
    }
}

void sim_link_bind(struct sim *s, int32_t link, uint32_t node)
{
    if (node >= s->place_cap) {
        s->place_cap = node + 1 > 2 * s->place_cap ? node + 1 : 2 * s->place_cap;
        s->places = mu_realloc(s->places, s->place_cap * sizeof(s->places[0]));
    }
    for (; s->place_count <= node; s->place_count++) {
        s->places[s->place_count] = (struct sim_place){.link = -1};
    }
    s->places[node].link = link;
    s->links[link].node = node;
}

int32_t sim_link_of(const struct sim *s, uint32_t node)
{
    int32_t link = node < s->place_count ? s->places[node].link : -1;
    return link >= 0 && s->links[link].is_coordinator_open ? link : -1;
}

void sim_coordinator_carry_out(struct sim *s)
{
    const struct member_effect *e;
    sim_touch_coordinator(s);
    while ((e = member_take(s->member)) != NULL) {
        sim_check_effect(s, e);
        int32_t link = sim_link_of(s, e->node);
        switch (e->kind) {
        case MEMBER_SEND:
            if (link >= 0) {
                sim_link_send(s, link, false, &e->msg, false);
            }
            break;
        case MEMBER_DROP:
            if (link >= 0) {
                sim_trace(s, "coordinator drops %s", agent_name(s, &s->links[link]));
                sim_link_close(s, link, false, false);
            }
            break;
        case MEMBER_NEW_ROUND:
            sim_trace(s, "coordinator: round %u", e->round);
            sim_store_new_round(s, e->round);
            break;
        case MEMBER_LOG:
            sim_trace_log(s, "coordinator", e->level, e->text);
            break;
        case MEMBER_OVER:
            sim_trace(s, "coordinator: over, exit status %d", e->exit_status);
            s->is_listening = s->is_listening && s->config.host < 0;
            break;
        }
    }
}

/* The connection that a node had before it came back, which its agent knows to be dead. */
static void let_go_of_former(struct sim *s, int32_t link, int64_t node)
{
    int32_t former = sim_link_of(s, (uint32_t)node);
    if (former >= 0 && former != link) {
        sim_link_close(s, former, false, false);
        s->links[former].node = -1;
    }
}

static void on_hello(struct sim *s, int32_t link, const struct ctl_hello *hello)
{
    struct mu_err err = MU_ERR_INIT;
    s->check.was_told_of_former = s->check.was_told_of_former || hello->coordinator_id != 0;
    bool has_ended = member_look(s->member).state == MEMBER_ENDED;
    int64_t node = member_join(s->member, hello, "10.0.0.1", sim_coordinator_now(s), &err);
    if (node < 0) {
        if (!has_ended && err.code != MU_E_CANCELED && hello->max_node_losses == 0) {
            sim_violate(s, "a node was turned away: %s", err.text);
        }
        struct ctl_msg msg = {
            .type = CTL_REFUSED,
            .refused = {.kind = err.code == MU_E_CANCELED ? CTL_REFUSAL_RETRY : CTL_REFUSAL_FINAL,
                        .text = mu_slice_of(err.text)}};
        sim_link_send(s, link, false, &msg, false);
        sim_link_close(s, link, false, false);
    } else {
        let_go_of_former(s, link, node);
        sim_link_bind(s, link, (uint32_t)node);
        s->links[link].joined_ms = s->now_ms;
    }
    sim_coordinator_carry_out(s);
}

static void coordinator_receives(struct sim *s, int32_t link)
{
    struct mu_err err = MU_ERR_INIT;
    struct sim_link *l = &s->links[link];
    if (!l->has_preface) {
        int rc = ctl_preface_check(l->received[1].data, l->received[1].len, &err);
        MU_REQUIRE(rc >= 0);
        if (rc == 0) {
            return;
        }
        l->has_preface = true;
        mu_buf_consume(&l->received[1], CTL_PREFACE_LEN);
    }
    while (s->links[link].is_coordinator_open) {
        struct mu_buf *in = &s->links[link].received[1];
        struct ctl_msg msg;
        size_t used = 0;
        int rc = ctl_msg_decode(in->data, in->len, MU_CTL_MAX_FRAME, &msg, &used, &err);
        if (rc < 0) {
            sim_violate(s, "the coordinator cannot decode: %s", err.text);
        }
        if (rc <= 0) {
            return;
        }
        if (s->links[link].node < 0) {
            MU_REQUIRE(msg.type == CTL_HELLO);
            on_hello(s, link, &msg.hello);
        } else {
            uint32_t node = (uint32_t)s->links[link].node;
            if (member_message(s->member, node, &msg, sim_coordinator_now(s), &err) != 0) {
                sim_violate(s, "the coordinator rejects %s: %s", ctl_type_name(msg.type), err.text);
            }
            sim_coordinator_carry_out(s);
        }
        if (s->links[link].is_coordinator_open) {
            mu_buf_consume(&s->links[link].received[1], used);
        }
    }
}

static void agent_receives(struct sim *s, int32_t link)
{
    uint32_t index = s->links[link].agent;
    while (s->links[link].is_agent_open) {
        struct mu_err err = MU_ERR_INIT;
        struct mu_buf *in = &s->links[link].received[0];
        struct ctl_msg msg;
        size_t used = 0;
        int rc = ctl_msg_decode(in->data, in->len, MU_CTL_MAX_FRAME, &msg, &used, &err);
        if (rc < 0) {
            sim_violate(s, "agent%u cannot decode: %s", index, err.text);
        }
        if (rc <= 0) {
            return;
        }
        if (msg.type == CTL_END) {
            sim_check_end_message(s, index, msg.end.exit_status);
        }
        s->agents[index].contact_ms = s->now_ms;
        agent_message(s->agents[index].engine, &msg, sim_agent_now(&s->agents[index], s));
        sim_agent_carry_out(s, index);
        if (s->links[link].is_agent_open) {
            mu_buf_consume(&s->links[link].received[0], used);
        }
    }
}

/* ---- arriving ---- */

static void closed(struct sim *s, int32_t link, bool at_coordinator, bool is_reset)
{
    struct sim_link *l = &s->links[link];
    if (at_coordinator && l->is_coordinator_open) {
        l->is_coordinator_open = false;
        if (l->node >= 0) {
            member_lost(s->member, (uint32_t)l->node, !is_reset, "the connection was lost",
                        sim_coordinator_now(s));
            sim_coordinator_carry_out(s);
        }
    } else if (!at_coordinator && l->is_agent_open) {
        struct sim_agent *a = &s->agents[l->agent];
        l->is_agent_open = false;
        a->link = -1;
        a->contact_ms = s->now_ms;
        agent_disconnected(a->engine, !is_reset, "the connection was lost", sim_agent_now(a, s));
        sim_agent_carry_out(s, l->agent);
    }
}

/* Something arrives at one end. */
void sim_link_event(struct sim *s, struct sim_event *e)
{
    if (!sim_tcp_arrives(s, e)) {
        return;
    }
    struct sim_link *l = &s->links[e->link];
    bool is_open = e->is_to_coordinator ? l->is_coordinator_open : l->is_agent_open;
    bool is_sender_open = e->is_to_coordinator ? l->is_agent_open : l->is_coordinator_open;
    if (!is_open) {
        bool is_host_alive = e->is_to_coordinator || s->agents[l->agent].life != SIM_AGENT_CRASHED;
        if (e->kind == SIM_BYTES && is_sender_open && is_host_alive) {
            /* The kernel answers for a connection that is no more. */
            sim_tcp_send_event(s, e->link, !e->is_to_coordinator,
                               &(struct sim_event){.kind = SIM_CLOSED, .is_reset = true});
        }
        return;
    }
    if (e->kind == SIM_CLOSED) {
        closed(s, e->link, e->is_to_coordinator, e->is_reset);
        return;
    }
    mu_buf_append(&l->received[e->is_to_coordinator], e->data, e->len);
    if (e->is_to_coordinator) {
        coordinator_receives(s, e->link);
    } else {
        agent_receives(s, e->link);
    }
}

void sim_link_dialed(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    if (a->life != SIM_AGENT_UP || !a->is_dialing) {
        return;
    }
    if (a->paused_until_ms > s->now_ms) {
        struct sim_event e = {.at_ms = a->paused_until_ms, .kind = SIM_DIALED, .agent = agent};
        sim_schedule(s, &e);
        return;
    }
    a->is_dialing = false;
    bool is_cut =
        sim_cut_until(s, agent, true) > s->now_ms || sim_cut_until(s, agent, false) > s->now_ms;
    bool is_refused = !is_cut && !s->is_listening;
    if (is_cut || is_refused) {
        agent_disconnected(a->engine, is_refused, "no connection", sim_agent_now(a, s));
        sim_agent_carry_out(s, agent);
        return;
    }
    if (s->link_count == s->link_cap) {
        s->link_cap = s->link_cap > 0 ? 2 * s->link_cap : 16;
        s->links = mu_realloc(s->links, s->link_cap * sizeof(s->links[0]));
    }
    a->link = (int32_t)s->link_count++;
    s->links[a->link] = (struct sim_link){
        .agent = agent, .node = -1, .is_agent_open = true, .is_coordinator_open = true};
    a->contact_ms = s->now_ms;
    agent_connected(a->engine, sim_agent_now(a, s));
    sim_agent_carry_out(s, agent);
}
