/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job of the coordinator: its membership engine, the effects that asks for, and its store.
 */
#include "rendezvous/uv_coordinator_impl.h"

#include "muster/limits.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/version.h"
#include "rendezvous/job_view.h"

enum { LAST_WORDS_MS = 2000 };

struct job *job_find(struct coordinator *c, struct mu_slice run_id)
{
    struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        if (mu_slice_eq(mu_slice_of(job->run_id), run_id)) {
            return job;
        }
    }
    return NULL;
}

struct job *job_new(struct coordinator *c, struct mu_slice run_id, struct mu_err *err)
{
    if (c->job_count >= MU_MAX_JOBS) {
        struct job *oldest;
        TAILQ_FOREACH (oldest, &c->jobs, link) {
            if (member_look(oldest->member).state == MEMBER_ENDED) {
                break;
            }
        }
        if (oldest == NULL) {
            mu_err_set(err, MU_E_LIMIT, 0, "this coordinator serves %d jobs, which is the limit",
                       MU_MAX_JOBS);
            return NULL;
        }
        job_free(oldest);
    }
    struct job *job = mu_alloc(sizeof(*job));
    job->coordinator = c;
    job->run_id = mu_slice_dup(run_id);
    job->member = member_new(run_id, &c->member_config);
    job->route = store_route_job_new(c->route, job);
    hash_index_init(&job->peers);
    TAILQ_INSERT_TAIL(&c->jobs, job, link);
    c->job_count++;
    return job;
}

/* Its store and the clients of that: no key outlives its round. */
static void round_over(struct job *job)
{
    if (job->store != NULL) {
        mu_log(MU_LOG_DEBUG, "job '%s': the round is over, and its store", job->run_id);
        route_round_over(job);
        job->last_stats = uv_store_server_stats(job->store);
        job->last_stats.clients = 0;
        job->last_stats.waiting = 0;
        uv_store_server_free(job->store);
        job->store = NULL;
    }
}

void job_free(struct job *job)
{
    round_over(job);
    /* Each must learn how the job ended, however bad its connection is. */
    int64_t linger_ms = member_look(job->member).node_timeout_ms;
    linger_ms = linger_ms > LAST_WORDS_MS ? linger_ms : LAST_WORDS_MS;
    struct hash_link *link;
    size_t at = 0;
    while ((link = hash_index_any(&job->peers, &at)) != NULL) {
        peer_finish(mu_container_of(link, struct peer, of_node), linger_ms);
    }
    hash_index_fini(&job->peers);
    TAILQ_REMOVE(&job->coordinator->jobs, job, link);
    job->coordinator->job_count--;
    store_route_job_free(job->coordinator->route, job->route);
    member_free(job->member);
    free(job->run_id);
    free(job);
}

void job_attach(struct job *job, uint32_t node, struct peer *p)
{
    p->job = job;
    p->node = node;
    hash_index_add(&job->peers, &p->of_node, hash_mix(0, node));
}

void job_detach(struct job *job, struct peer *p)
{
    hash_index_take(&job->peers, &p->of_node);
    p->job = NULL;
}

struct peer *job_peer(const struct job *job, uint32_t node)
{
    struct hash_link *link = hash_index_first(&job->peers, hash_mix(0, node));
    for (; link != NULL; link = hash_index_next(link)) {
        struct peer *p = mu_container_of(link, struct peer, of_node);
        if (p->node == node) {
            return p;
        }
    }
    return NULL;
}

static void new_round(struct job *job, uint32_t round)
{
    mu_log(MU_LOG_DEBUG, "job '%s': fresh store for round %u", job->run_id, round);
    struct coordinator *c = job->coordinator;
    round_over(job);
    job->store = uv_store_server_new(c->loop, c->store_bytes, &c->store_counters);
    route_round_begins(job, round);
}

static void over(struct job *job, const struct member_effect *e)
{
    struct coordinator *c = job->coordinator;
    if (c->member_config.embedded_agent != 0) {
        /* The agent in this process is told too, and speaks. The port is free for the next job. */
        coordinator_stop_listening(c);
    } else {
        mu_log(e->exit_status == 0 ? MU_LOG_NOTICE : MU_LOG_ERROR, "%s", e->text);
    }
}

void job_carry_out(struct job *job)
{
    const struct member_effect *e;
    while ((e = member_take(job->member)) != NULL) {
        struct peer *p = job_peer(job, e->node);
        switch (e->kind) {
        case MEMBER_SEND:
            if (p != NULL) {
                peer_send(p, &e->msg);
            }
            break;
        case MEMBER_DROP:
            route_lost(job, e->node);
            if (p != NULL) {
                peer_finish(p, LAST_WORDS_MS);
            }
            break;
        case MEMBER_NEW_ROUND:
            new_round(job, e->round);
            break;
        case MEMBER_LOG:
            mu_log(e->level, "%s", e->text);
            break;
        case MEMBER_OVER:
            over(job, e);
            break;
        }
    }
    enum member_state state = member_look(job->member).state;
    if (state == MEMBER_FORMING || state == MEMBER_ENDED) {
        round_over(job);
    }
}

/* What became of those who connected, and what clients of all stores did. */
static json_t *port_json(const struct coordinator *c)
{
    const struct port_counters *port = &c->port;
    const struct uv_store_counters *store = &c->store_counters;
    const struct {
        const char *name;
        uint64_t count;
    } fields[] = {
        {"accepted", port->accepted},
        {"turned_away", port->turned_away},
        {"accept_failed", port->accept_failed},
        {"backlog_full", port->backlog_full},
        {"held_clients", store_route_held(c->route)},
        {"store_clients", store->clients},
        {"store_broken", store->broken},
        {"store_over_limit", store->over_limit},
        {"store_paused", store->paused},
        {"store_slow_dropped", store->slow_dropped},
        {"store_delayed_turns", store->delayed_turns},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < MU_COUNT(fields); i++) {
        json_object_set_new(o, fields[i].name, json_integer((json_int_t)fields[i].count));
    }
    return o;
}

char *job_status_document(struct coordinator *c, struct mu_slice run_id)
{
    char id[24];
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)c->member_config.coordinator_id);
    struct store_stats shared = uv_store_server_stats(c->shared_store);
    json_t *document = json_pack(
        "{s:s, s:s, s:b, s:I, s:o, s:o}", "muster", MUSTER_VERSION, "coordinator", id, "embedded",
        c->member_config.embedded_agent != 0, "dropped_connections", (json_int_t)c->port.dropped,
        "port", port_json(c), "shared_store", job_view_store_json(&shared));
    struct mu_buf out = {0};
    job_view_append_open(document, "jobs", &out);
    json_decref(document);
    const char *before = "[";
    struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        if (run_id.len > 0 && !mu_slice_eq(run_id, mu_slice_of(job->run_id))) {
            continue;
        }
        struct member_view view = member_look(job->member);
        struct store_stats stats = job->last_stats;
        if (job->store != NULL) {
            stats = uv_store_server_stats(job->store);
        }
        mu_buf_append(&out, before, 1);
        before = ",";
        job_view_append(&view, view.round > 0 ? &stats : NULL, coordinator_now(c), &out);
    }
    mu_buf_printf(&out, "%s]}", before[0] == '[' ? "[" : "");
    return mu_buf_take_text(&out);
}
