/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which store a c10d client gets: the routing engine on the loop. Members and their messages feed
 * it; it says where the clients go that are held meanwhile.
 *
 * A coordinator inside an agent has one job, and whoever comes is part of it: nobody is held.
 */
#include "rendezvous/uv_coordinator_impl.h"

#include "muster/addr.h"
#include "muster/limits.h"
#include "muster/log.h"

static bool is_embedded(const struct coordinator *c)
{
    return c->member_config.embedded_agent != 0;
}

/* One text for all addresses of this machine itself, by whichever of them it was reached. */
static const char *machine_of(struct uv_conn *conn)
{
    const char *peer = uv_conn_peer(conn);
    bool is_here = mu_addr_is_loopback_name(peer) || strcmp(peer, uv_conn_local(conn)) == 0;
    return is_here ? "here" : peer;
}

static void turn_away(struct peer *p, const char *why)
{
    mu_log(MU_LOG_WARN, "store: closed the connection of %s: %s", uv_conn_peer(p->conn), why);
    peer_close(p);
}

/* ---- effects ---- */

static void to_job(const struct store_route_effect *e)
{
    struct job *job = e->job;
    struct peer *p = e->client;
    p->held = NULL;
    mu_log(e->why != NULL ? MU_LOG_WARN : MU_LOG_DEBUG, "store: client %s belongs to job '%s'%s%s",
           uv_conn_peer(p->conn), job->run_id, e->why != NULL ? ": " : "",
           e->why != NULL ? e->why : "");
    peer_hand_over(p, job->store);
}

static void carry_out(struct coordinator *c)
{
    const struct store_route_effect *e;
    while ((e = store_route_take(c->route)) != NULL) {
        struct peer *p = e->kind == STORE_ROUTE_ASK ? job_peer(e->job, e->node) : e->client;
        switch (e->kind) {
        case STORE_ROUTE_ASK:
            if (p != NULL) {
                peer_send(p, &(struct ctl_msg){.type = CTL_WHOSE, .whose = e->whose});
            }
            break;
        case STORE_ROUTE_TO_JOB:
            to_job(e);
            break;
        case STORE_ROUTE_TO_SHARED:
            p->held = NULL;
            peer_hand_over(p, c->shared_store);
            break;
        case STORE_ROUTE_CLOSE:
            p->held = NULL;
            turn_away(p, e->why);
            break;
        }
    }
}

void route_tick(struct coordinator *c)
{
    store_route_tick(c->route, coordinator_now(c));
    carry_out(c);
}

/* ---- rounds ---- */

static void place(struct job *job, uint32_t round, const struct member_node *n)
{
    struct coordinator *c = job->coordinator;
    const struct peer *p = job_peer(job, n->id);
    if (!is_embedded(c) && n->node_rank >= 0 && p != NULL) {
        store_route_place(c->route, job->route, round, n->id, machine_of(p->conn));
    }
}

void route_joined(struct job *job, uint32_t node)
{
    struct member_view view = member_look(job->member);
    const struct member_node *n = member_get_node(job->member, node);
    if (job->store != NULL && n != NULL) {
        place(job, view.round, n);
    }
}

void route_round_begins(struct job *job, uint32_t round)
{
    struct member_view view = member_look(job->member);
    for (uint32_t i = 0; i < view.node_count; i++) {
        place(job, round, view.nodes[i]);
    }
}

void route_round_over(struct job *job)
{
    struct coordinator *c = job->coordinator;
    store_route_round_over(c->route, job->route, coordinator_now(c));
    carry_out(c);
}

void route_lost(struct job *job, uint32_t node)
{
    struct coordinator *c = job->coordinator;
    store_route_lost(c->route, job->route, node, coordinator_now(c));
    carry_out(c);
}

void route_message(struct job *job, uint32_t node, const struct ctl_msg *msg)
{
    struct coordinator *c = job->coordinator;
    if (msg->type == CTL_STARTED) {
        store_route_started(c->route, job->route, node, &msg->started, coordinator_now(c));
    } else if (msg->type == CTL_EXITED) {
        store_route_exited(c->route, job->route, node, &msg->exited);
    } else if (msg->type == CTL_OWNED) {
        store_route_answered(c->route, job->route, node, &msg->owned);
    }
    carry_out(c);
}

/* ---- clients ---- */

/* Of the one job there is; NULL: it has no round now, but had one. */
static struct uv_store_server *only_store(const struct coordinator *c)
{
    const struct job *job = TAILQ_FIRST(&c->jobs);
    if (job == NULL || (job->store == NULL && member_look(job->member).round == 0)) {
        return c->shared_store;
    }
    return job->store;
}

bool route_at_once(struct peer *p, struct uv_store_server **ret_store)
{
    struct coordinator *c = p->coordinator;
    if (is_embedded(c)) {
        *ret_store = only_store(c);
        return true;
    }
    *ret_store = c->shared_store;
    return !store_route_is_known(c->route, machine_of(p->conn));
}

void route_data(struct peer *p)
{
    struct coordinator *c = p->coordinator;
    int64_t now = coordinator_now(c);
    uint32_t pid = 0;
    enum store_route_greeting greeting = store_route_read(p->partial.data, p->partial.len, &pid);
    if (greeting == STORE_ROUTE_MORE) {
        return;
    }
    const char *machine = machine_of(p->conn);
    bool is_plain = p->held == NULL && !store_route_is_known(c->route, machine);
    if (is_plain || greeting == STORE_ROUTE_INVALID) {
        peer_hand_over(p, c->shared_store); /* which closes what it does not understand */
        return;
    }
    if (p->held == NULL) {
        peer_hold(p, store_route_hold(c->route, p, machine, uv_conn_peer_port(p->conn), now));
    }
    if (p->held == NULL) {
        turn_away(p, "too many clients wait to be told apart");
        return;
    }
    bool is_held = true;
    if (greeting != STORE_ROUTE_SILENT) {
        is_held = store_route_named(c->route, p->held, pid, now);
    }
    if (is_held && p->partial.len > MU_MAX_HELD_BYTES) {
        store_route_settle(c->route, p->held);
    }
    carry_out(c);
}
