/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the routing engine, shared by store_route.c (jobs, rounds, effects) and
 * store_route_client.c (clients and the decision). Nobody else includes it.
 */
#pragma once

#include "rendezvous/hash_index.h"
#include "rendezvous/store_route.h"

/* A machine, as far as an address tells. Lives while something points at it. */
struct route_address {
    struct hash_link link;
    char *name; /* owned */
    uint32_t references;
    uint32_t unstarted; /* places whose workers' pids are to be told yet */
    TAILQ_HEAD(route_place_list, route_place) places;
    TAILQ_HEAD(route_client_list, store_route_client) clients;
};

struct route_worker {
    struct hash_link link; /* by address and pid */
    struct route_place *place;
    uint32_t pid;
    bool has_exited;
};

/* A node's part in the current round of a job. */
struct route_place {
    struct hash_link link; /* by job and node */
    struct store_route_job *job;
    uint32_t round;
    uint32_t node;
    struct route_address *address;
    bool is_started;
    bool is_lost;
    struct route_worker *workers; /* owned */
    uint32_t worker_count;
    TAILQ_HEAD(route_ask_list, route_ask) asks; /* ascending tokens */
    TAILQ_ENTRY(route_place) of_address;
    TAILQ_ENTRY(route_place) of_job;
};

/* A question that was not answered yet. */
struct route_ask {
    uint64_t token;
    struct store_route_client *client;
    struct route_place *place;
    TAILQ_ENTRY(route_ask) of_place;
    TAILQ_ENTRY(route_ask) of_client;
};

/* A worker whose node was lost with its round: it may not have heard yet. */
struct route_former {
    struct hash_link link; /* by address and pid */
    struct route_address *address;
    uint32_t pid;
    int64_t until_ms;
    TAILQ_ENTRY(route_former) order;
};

struct store_route_job {
    void *owner;
    uint64_t age; /* the higher the newer */
    TAILQ_HEAD(route_job_places, route_place) places;
};

enum route_phase { ROUTE_GREETING, ROUTE_WAITING, ROUTE_ASKED, ROUTE_PHASES };

struct store_route_client {
    struct hash_link link; /* by address and pid; only with a pid */
    void *owner;
    struct route_address *address;
    uint16_t port;
    uint32_t pid;
    enum route_phase phase;
    int64_t until_ms;
    TAILQ_ENTRY(store_route_client) of_phase;
    TAILQ_ENTRY(store_route_client) of_address;
    struct route_ask_list asks;
    struct store_route_job *claimed; /* an agent knows its pid; the newest job of these */
    bool is_claimed_twice;           /* by two jobs */
    struct store_route_job *unseen;  /* an agent cannot tell; the newest job of these */
    bool is_unclear;                 /* somebody who might know did not answer */
};

struct store_route {
    uint64_t seed;
    uint64_t last_token;
    uint64_t last_age;
    struct hash_index addresses;
    struct hash_index places;
    struct hash_index workers;
    struct hash_index formers;
    struct hash_index named; /* clients */
    struct route_client_list phases[ROUTE_PHASES];
    TAILQ_HEAD(route_former_list, route_former) former_order;
    uint32_t held;
    uint32_t asked;
    struct store_route_effect *effects; /* owned; [head, count) are still to be taken */
    size_t effect_head;
    size_t effect_count;
    size_t effect_cap;
};

/* ---- store_route.c ---- */
struct route_address *route_address_find(const struct store_route *r, const char *name);
void route_address_release(struct store_route *r, struct route_address *a);
uint64_t route_pid_hash(const struct store_route *r, const struct route_address *a, uint32_t pid);
struct store_route_effect *route_effect_add(struct store_route *r,
                                            enum store_route_effect_kind kind);
bool route_is_former(const struct store_route *r, const struct route_address *a, uint32_t pid);

/* ---- store_route_client.c ---- */
void route_take_answer(struct store_route *r, struct route_ask *ask, enum ctl_owned_answer answer);
/* The place tells nothing any more: it was lost, or its round is over. */
void route_client_give_up_place(struct store_route *r, struct route_place *p);
/* Another pid is known: is it that of clients that wait? */
void route_client_match(struct store_route *r, const struct route_worker *w);
/* No pid of a worker is to be expected any more. */
void route_client_all_started(struct store_route *r, struct route_address *a, int64_t now_ms);
void route_client_tick(struct store_route *r, int64_t now_ms);
/* No client may end up in this job's store: its round is over. */
void route_client_disown(struct store_route *r, struct route_address *a,
                         const struct store_route_job *job);
