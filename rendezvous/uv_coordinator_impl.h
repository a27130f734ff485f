/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the coordinator, shared by uv_coordinator.c (port, timer), uv_peer.c (connections),
 * uv_job.c (engines and their effects) and uv_route.c (which store a c10d client gets). Nobody else
 * includes it.
 */
#pragma once

#include "muster/uv_conn.h"
#include "rendezvous/hash_index.h"
#include "rendezvous/member.h"
#include "muster/uv_coordinator.h"
#include "rendezvous/store_route.h"
#include "rendezvous/uv_store_server.h"

#include <netinet/in.h>
#include <sys/queue.h>

/* A connection that is not a c10d client, or one whose store is not known yet. */
struct peer {
    struct coordinator *coordinator;
    struct uv_conn *conn;  /* owned */
    struct mu_buf partial; /* owned; bytes of a message whose end is not here yet */
    int64_t deadline_ms;   /* by when it must have said what it wants */
    bool is_control;       /* the preface was seen */
    bool is_c10d;
    bool is_held;                    /* is a c10d client that the routing engine knows: */
    struct store_route_client *held; /* borrowed; NULL once that has decided */
    struct job *job;                 /* once it is a node; else NULL */
    uint32_t node;
    struct hash_link of_node; /* among the job's peers */
    TAILQ_ENTRY(peer) link;   /* among the strangers, or those held */
};

struct job {
    struct coordinator *coordinator;
    char *run_id;                  /* owned */
    struct member *member;         /* owned */
    struct uv_store_server *store; /* owned; of the current round, NULL while there is none */
    struct store_stats last_stats; /* of the last round's store */
    struct store_route_job *route; /* owned */
    struct hash_index peers;       /* owned; by node number, of which there is no end */
    TAILQ_ENTRY(job) link;
};

TAILQ_HEAD(peer_list, peer);
TAILQ_HEAD(job_list, job);

/* What became of connections to the port; for status. */
struct port_counters {
    uint64_t accepted;
    uint64_t dropped;       /* strangers: unknown first byte, nothing in time, ... */
    uint64_t turned_away;   /* there were too few descriptors left */
    uint64_t accept_failed; /* the system gave none */
    uint64_t backlog_full;  /* times the kernel's queue of new connections was found full */
};

struct coordinator {
    uv_loop_t *loop;
    uv_tcp_t *listener;      /* owned */
    uv_tcp_t *side_listener; /* owned; NULL: there is one port alone */
    uv_timer_t timer;
    int64_t timer_at_ms;
    uint32_t open_handles;
    bool is_closing;
    bool is_stopping;  /* no node joins any more */
    char *run_id;      /* owned; NULL: any job */
    char *master_addr; /* owned; NULL: not said */
    char reached_at[INET6_ADDRSTRLEN];
    struct member_config member_config;
    struct peer_list strangers; /* no nodes yet; oldest first: all have the same patience */
    struct peer_list held;      /* c10d clients; `route` decides about them */
    struct job_list jobs;       /* oldest first */
    uint32_t job_count;
    struct store_route *route;            /* owned */
    struct uv_store_server *shared_store; /* owned; of plain c10d clients */
    uint64_t store_bytes;                 /* that each may hold */
    struct uv_store_counters store_counters;
    struct port_counters port;
    int64_t backlog_seen_ms; /* when the listener's queue was looked at */
    int64_t warned_ms;       /* when it was said that connections are turned away */
};

/* ---- uv_coordinator.c ---- */
int64_t coordinator_now(const struct coordinator *c);
void coordinator_stop_listening(struct coordinator *c);
void coordinator_arm(struct coordinator *c); /* after anything that may move a deadline */

/* ---- uv_peer.c ---- */
void peer_new(struct coordinator *c, struct uv_conn *conn);         /* takes `conn` */
void peer_hold(struct peer *p, struct store_route_client *held);    /* NULL: stays a stranger */
void peer_close(struct peer *p);                                    /* frees it */
void peer_hand_over(struct peer *p, struct uv_store_server *store); /* with its bytes; frees it */
void peer_send(struct peer *p, const struct ctl_msg *msg);
void peer_drop(struct peer *p, const char *why);     /* a stranger: counted; frees it */
void peer_finish(struct peer *p, int64_t linger_ms); /* after our last words; frees it */

/* ---- uv_job.c ---- */
struct job *job_find(struct coordinator *c, struct mu_slice run_id);
struct job *job_new(struct coordinator *c, struct mu_slice run_id, struct mu_err *err);
void job_free(struct job *job);
void job_attach(struct job *job, uint32_t node, struct peer *p); /* it is this node from now on */
void job_detach(struct job *job, struct peer *p);
struct peer *job_peer(const struct job *job, uint32_t node); /* NULL: none */
void job_carry_out(struct job *job); /* the engine's effects, until there are none */
/* The status document, for one job or (empty run_id) all. Owned by the caller. */
char *job_status_document(struct coordinator *c, struct mu_slice run_id);

/* ---- uv_route.c ---- */
/* Is its store clear from where it comes? NULL in `ret_store`: it belongs to none. */
bool route_at_once(struct peer *p, struct uv_store_server **ret_store);
void route_data(struct peer *p); /* a c10d client's bytes have come; it may be gone after it */
void route_round_begins(struct job *job, uint32_t round);
void route_joined(struct job *job, uint32_t node); /* perhaps with a place in the round that runs */
void route_round_over(struct job *job);            /* the store goes after it */
void route_message(struct job *job, uint32_t node, const struct ctl_msg *msg); /* an agent's */
void route_lost(struct job *job, uint32_t node);
void route_tick(struct coordinator *c);
