/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way, as TCP brings them: in order, late if the network loses some, and not at all
 * once the sender has tried for its user timeout. Then the sender's end is reset and the other
 * hears nothing. What arrived while no answer came back counts as not arrived for the sender.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

enum { RTO_MAX_MS = 120 * 1000 };

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A node reaches itself. */
int64_t sim_cut_until(const struct sim *s, uint32_t agent, bool to_coordinator)
{
    if (sim_coordinator_is_of(s, agent)) {
        return 0;
    }
    const struct sim_agent *a = &s->agents[agent];
    int64_t until = later(a->cut_until_ms[to_coordinator], a->suspended_until_ms);
    if (s->config.host >= 0) {
        const struct sim_agent *host = &s->agents[s->config.host];
        until = later(until, later(host->cut_until_ms[!to_coordinator], host->suspended_until_ms));
    }
    return until;
}

int64_t sim_latency(struct sim *s)
{
    const struct sim_config *c = &s->config;
    int64_t latency = sim_rand_range(&s->rand, c->latency_min_ms, c->latency_max_ms);
    if (c->late_percent > 0 && sim_rand_chance(&s->rand, c->late_percent)) {
        latency += sim_rand_range(&s->rand, 0, c->late_ms);
    }
    return latency;
}

/* ---- sending ---- */

void sim_tcp_send_event(struct sim *s, int32_t link, bool to_coordinator, struct sim_event *e)
{
    struct sim_link *l = &s->links[link];
    e->at_ms = later(s->now_ms + sim_latency(s), l->last_ms[to_coordinator]);
    l->last_ms[to_coordinator] = e->at_ms;
    e->order = ++l->sent[to_coordinator];
    e->sent_ms = s->now_ms;
    e->link = link;
    e->is_to_coordinator = to_coordinator;
    sim_schedule(s, e);
}

static void send_bytes(struct sim *s, int32_t link, bool to_coordinator, const uint8_t *data,
                       size_t len)
{
    uint8_t *copy = mu_alloc(len);
    memcpy(copy, data, len);
    sim_tcp_send_event(s, link, to_coordinator,
                       &(struct sim_event){.kind = SIM_BYTES, .data = copy, .len = len});
}

void sim_link_send(struct sim *s, int32_t link, bool to_coordinator, const struct ctl_msg *msg,
                   bool with_preface)
{
    const struct sim_link *l = &s->links[link];
    if (msg->type != CTL_HEARTBEAT && to_coordinator) {
        sim_trace(s, "%s -> coordinator %s", s->agents[l->agent].name, ctl_type_name(msg->type));
    } else if (msg->type != CTL_HEARTBEAT) {
        sim_trace(s, "coordinator -> %s %s", s->agents[l->agent].name, ctl_type_name(msg->type));
    }
    struct mu_buf out = {0};
    if (with_preface) {
        ctl_preface_append(&out);
    }
    ctl_msg_encode(msg, &out);
    size_t first = out.len;
    if (s->config.splits_bytes && sim_rand_chance(&s->rand, 10)) {
        first = (size_t)sim_rand_range(&s->rand, 1, (int64_t)out.len - 1);
    }
    send_bytes(s, link, to_coordinator, out.data, first);
    if (first < out.len) {
        send_bytes(s, link, to_coordinator, out.data + first, out.len - first);
    }
    mu_buf_fini(&out);
}

/* One end lets go: what it sent still arrives, then the other end sees the close. */
void sim_link_close(struct sim *s, int32_t link, bool by_agent, bool is_silent)
{
    struct sim_link *l = &s->links[link];
    bool *is_open = by_agent ? &l->is_agent_open : &l->is_coordinator_open;
    if (!*is_open) {
        return;
    }
    *is_open = false;
    mu_buf_fini(&l->received[!by_agent]);
    if (!is_silent) {
        sim_tcp_send_event(s, link, by_agent, &(struct sim_event){.kind = SIM_CLOSED});
    }
}

void sim_link_reset(struct sim *s, int32_t link)
{
    sim_link_close(s, link, true, true);
    sim_tcp_send_event(s, link, true, &(struct sim_event){.kind = SIM_CLOSED, .is_reset = true});
}

/* ---- arriving ---- */

/*
 * It did not get through: the sender tries again after twice the time. False: it gives up, and its
 * end of the connection is reset.
 */
static bool try_again(struct sim *s, struct sim_event *e)
{
    const struct sim_config *c = &s->config;
    struct sim_link *l = &s->links[e->link];
    e->rto_ms = e->rto_ms == 0 ? c->rto_ms : 2 * e->rto_ms;
    e->rto_ms = e->rto_ms < RTO_MAX_MS ? e->rto_ms : RTO_MAX_MS;
    int64_t give_up_ms = e->sent_ms + c->user_timeout_ms;
    e->at_ms = s->now_ms + e->rto_ms;
    if (c->user_timeout_ms == 0 || e->at_ms < give_up_ms) {
        return true;
    }
    l->is_lost[e->is_to_coordinator] = true;
    sim_schedule(s, &(struct sim_event){.at_ms = later(give_up_ms, s->now_ms),
                                        .kind = SIM_CLOSED,
                                        .link = e->link,
                                        .is_to_coordinator = !e->is_to_coordinator,
                                        .is_reset = true});
    return false;
}

/* The event comes again then, with its data. */
static void put_off(struct sim *s, struct sim_event *e, int64_t at_ms)
{
    e->at_ms = at_ms;
    sim_schedule(s, e);
    e->data = NULL;
}

static bool is_dark(const struct sim *s, int32_t agent)
{
    return agent >= 0 && s->agents[agent].is_dark;
}

static bool is_cut(const struct sim *s, const struct sim_event *e, bool to_coordinator)
{
    uint32_t agent = s->links[e->link].agent;
    return sim_cut_until(s, agent, to_coordinator) > s->now_ms || is_dark(s, (int32_t)agent) ||
           is_dark(s, s->config.host);
}

static bool gets_through(struct sim *s, const struct sim_event *e)
{
    if (is_cut(s, e, e->is_to_coordinator)) {
        return false;
    }
    unsigned loss = sim_coordinator_is_of(s, s->links[e->link].agent) ? 0 : s->config.loss_percent;
    return loss == 0 || !sim_rand_chance(&s->rand, loss);
}

/* It is there, but is the answer? One that is missing is as good as many. */
static void answer(struct sim *s, const struct sim_event *e)
{
    struct sim_link *l = &s->links[e->link];
    if (s->config.rto_ms == 0 || l->is_unacked[e->is_to_coordinator] ||
        !is_cut(s, e, !e->is_to_coordinator)) {
        return;
    }
    struct sim_event again = {.kind = SIM_UNACKED,
                              .link = e->link,
                              .is_to_coordinator = e->is_to_coordinator,
                              .sent_ms = e->sent_ms,
                              .rto_ms = e->rto_ms};
    l->is_unacked[e->is_to_coordinator] = try_again(s, &again);
    if (l->is_unacked[e->is_to_coordinator]) {
        sim_schedule(s, &again);
    }
}

void sim_tcp_unacked(struct sim *s, const struct sim_event *e)
{
    struct sim_link *l = &s->links[e->link];
    struct sim_event again = *e;
    l->is_unacked[e->is_to_coordinator] =
        (is_cut(s, e, true) || is_cut(s, e, false)) && try_again(s, &again);
    if (l->is_unacked[e->is_to_coordinator]) {
        sim_schedule(s, &again);
    }
}

bool sim_tcp_arrives(struct sim *s, struct sim_event *e)
{
    struct sim_link *l = &s->links[e->link];
    bool way = e->is_to_coordinator;
    if (e->order != 0 && l->is_lost[way]) {
        return false;
    }
    if (e->order != 0 && e->order != l->arrived[way] + 1) {
        put_off(s, e, later(l->retry_ms[way], s->now_ms + 1)); /* what was sent before is missing */
        return false;
    }
    if (e->order != 0 && !e->is_here && s->config.rto_ms > 0) {
        if (!gets_through(s, e)) {
            if (try_again(s, e)) {
                l->retry_ms[way] = e->at_ms;
                put_off(s, e, e->at_ms);
            }
            return false;
        }
        e->is_here = true;
        answer(s, e);
    }
    int64_t cut = s->config.rto_ms > 0 ? 0 : sim_cut_until(s, l->agent, way);
    int64_t paused = way ? sim_coordinator_paused_until(s) : s->agents[l->agent].paused_until_ms;
    if (later(cut, paused) > s->now_ms) {
        l->retry_ms[way] = later(cut, paused);
        put_off(s, e, later(cut, paused));
        return false;
    }
    l->arrived[way] += e->order != 0;
    return true;
}
