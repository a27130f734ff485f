/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_route_impl.h"

#include "muster/mem.h"

#include <string.h>

struct store_route *store_route_new(uint64_t seed)
{
    struct store_route *r = mu_alloc(sizeof(*r));
    r->seed = seed;
    hash_index_init(&r->addresses);
    hash_index_init(&r->places);
    hash_index_init(&r->workers);
    hash_index_init(&r->formers);
    hash_index_init(&r->named);
    for (size_t i = 0; i < ROUTE_PHASES; i++) {
        TAILQ_INIT(&r->phases[i]);
    }
    TAILQ_INIT(&r->former_order);
    return r;
}

static void former_free(struct store_route *r, struct route_former *f)
{
    TAILQ_REMOVE(&r->former_order, f, order);
    hash_index_take(&r->formers, &f->link);
    route_address_release(r, f->address);
    free(f);
}

void store_route_free(struct store_route *r)
{
    if (r == NULL) {
        return;
    }
    struct route_former *f;
    while ((f = TAILQ_FIRST(&r->former_order)) != NULL) {
        former_free(r, f);
    }
    MU_REQUIRE(r->held == 0);
    hash_index_fini(&r->addresses);
    hash_index_fini(&r->places);
    hash_index_fini(&r->workers);
    hash_index_fini(&r->formers);
    hash_index_fini(&r->named);
    free(r->effects);
    free(r);
}

/* ---- effects ---- */

struct store_route_effect *route_effect_add(struct store_route *r,
                                            enum store_route_effect_kind kind)
{
    if (r->effect_count == r->effect_cap) {
        r->effect_cap = r->effect_cap > 0 ? 2 * r->effect_cap : 16;
        r->effects = mu_realloc(r->effects, r->effect_cap * sizeof(r->effects[0]));
    }
    struct store_route_effect *e = &r->effects[r->effect_count++];
    *e = (struct store_route_effect){.kind = kind};
    return e;
}

const struct store_route_effect *store_route_take(struct store_route *r)
{
    if (r->effect_head == r->effect_count) {
        r->effect_head = 0;
        r->effect_count = 0;
        return NULL;
    }
    return &r->effects[r->effect_head++];
}

/* ---- addresses ---- */

static struct route_address *address_of(struct hash_link *link)
{
    return mu_container_of(link, struct route_address, link);
}

struct route_address *route_address_find(const struct store_route *r, const char *name)
{
    struct hash_link *link = hash_index_first(&r->addresses, hash_mix_text(r->seed, name));
    while (link != NULL && strcmp(address_of(link)->name, name) != 0) {
        link = hash_index_next(link);
    }
    return link != NULL ? address_of(link) : NULL;
}

static struct route_address *address_get(struct store_route *r, const char *name)
{
    struct route_address *a = route_address_find(r, name);
    if (a == NULL) {
        a = mu_alloc(sizeof(*a));
        a->name = mu_strdup(name);
        TAILQ_INIT(&a->places);
        TAILQ_INIT(&a->clients);
        hash_index_add(&r->addresses, &a->link, hash_mix_text(r->seed, name));
    }
    a->references++;
    return a;
}

void route_address_release(struct store_route *r, struct route_address *a)
{
    if (--a->references == 0) {
        hash_index_take(&r->addresses, &a->link);
        free(a->name);
        free(a);
    }
}

bool store_route_is_known(const struct store_route *r, const char *address)
{
    return route_address_find(r, address) != NULL;
}

uint64_t route_pid_hash(const struct store_route *r, const struct route_address *a, uint32_t pid)
{
    return hash_mix(r->seed ^ (uintptr_t)a, pid);
}

/* ---- pids of ended rounds ---- */

static void former_add(struct store_route *r, const struct route_worker *w, int64_t now_ms)
{
    if (r->formers.count >= STORE_ROUTE_MAX_FORMER) {
        former_free(r, TAILQ_FIRST(&r->former_order));
    }
    struct route_former *f = mu_alloc(sizeof(*f));
    f->address = w->place->address;
    f->address->references++;
    f->pid = w->pid;
    f->until_ms = now_ms + STORE_ROUTE_FORMER_MS;
    hash_index_add(&r->formers, &f->link, route_pid_hash(r, f->address, f->pid));
    TAILQ_INSERT_TAIL(&r->former_order, f, order);
}

bool route_is_former(const struct store_route *r, const struct route_address *a, uint32_t pid)
{
    struct hash_link *link = hash_index_first(&r->formers, route_pid_hash(r, a, pid));
    for (; link != NULL; link = hash_index_next(link)) {
        const struct route_former *f = mu_container_of(link, struct route_former, link);
        if (f->address == a && f->pid == pid) {
            return true;
        }
    }
    return false;
}

/* ---- jobs ---- */

struct store_route_job *store_route_job_new(struct store_route *r, void *owner)
{
    struct store_route_job *job = mu_alloc(sizeof(*job));
    job->owner = owner;
    job->age = ++r->last_age;
    TAILQ_INIT(&job->places);
    return job;
}

void store_route_job_free(struct store_route *r, struct store_route_job *job)
{
    (void)r;
    MU_REQUIRE(job == NULL || TAILQ_EMPTY(&job->places));
    free(job);
}

/* ---- places ---- */

static uint64_t place_hash(const struct store_route *r, const struct store_route_job *job,
                           uint32_t node)
{
    return hash_mix(r->seed ^ (uintptr_t)job, node);
}

static struct route_place *place_find(const struct store_route *r,
                                      const struct store_route_job *job, uint32_t node)
{
    struct hash_link *link = hash_index_first(&r->places, place_hash(r, job, node));
    for (; link != NULL; link = hash_index_next(link)) {
        struct route_place *p = mu_container_of(link, struct route_place, link);
        if (p->job == job && p->node == node) {
            return p;
        }
    }
    return NULL;
}

void store_route_place(struct store_route *r, struct store_route_job *job, uint32_t round,
                       uint32_t node, const char *address)
{
    if (place_find(r, job, node) != NULL) {
        return; /* it has come back */
    }
    struct route_place *p = mu_alloc(sizeof(*p));
    p->job = job;
    p->round = round;
    p->node = node;
    p->address = address_get(r, address);
    p->address->unstarted++;
    TAILQ_INIT(&p->asks);
    hash_index_add(&r->places, &p->link, place_hash(r, job, node));
    TAILQ_INSERT_TAIL(&p->address->places, p, of_address);
    TAILQ_INSERT_TAIL(&job->places, p, of_job);
}

/* Pids are still to come. */
static bool is_expected(const struct route_place *p)
{
    return !p->is_started && !p->is_lost;
}

static void expect_less(struct store_route *r, struct route_address *a, int64_t now_ms)
{
    if (--a->unstarted == 0) {
        route_client_all_started(r, a, now_ms);
    }
}

void store_route_started(struct store_route *r, struct store_route_job *job, uint32_t node,
                         const struct ctl_started *started, int64_t now_ms)
{
    struct route_place *p = place_find(r, job, node);
    if (p == NULL || p->round != started->round || !is_expected(p)) {
        return;
    }
    struct mu_reader pids = mu_reader_of(started->pids.ptr, started->pids.len);
    p->worker_count = (uint32_t)(started->pids.len / sizeof(uint32_t));
    p->workers = mu_calloc(p->worker_count, sizeof(p->workers[0]));
    for (uint32_t i = 0; i < p->worker_count; i++) {
        struct route_worker *w = &p->workers[i];
        w->place = p;
        w->pid = mu_read_u32(&pids); /* 0: it was not started */
        hash_index_add(&r->workers, &w->link, route_pid_hash(r, p->address, w->pid));
    }
    for (uint32_t i = 0; i < p->worker_count; i++) {
        route_client_match(r, &p->workers[i]);
    }
    p->is_started = true;
    expect_less(r, p->address, now_ms);
}

void store_route_exited(struct store_route *r, struct store_route_job *job, uint32_t node,
                        const struct ctl_exited *exited)
{
    struct route_place *p = place_find(r, job, node);
    if (p != NULL && p->round == exited->round && exited->local_rank < p->worker_count) {
        p->workers[exited->local_rank].has_exited = true;
    }
}

void store_route_lost(struct store_route *r, struct store_route_job *job, uint32_t node,
                      int64_t now_ms)
{
    struct route_place *p = place_find(r, job, node);
    if (p == NULL || p->is_lost) {
        return;
    }
    bool was_expected = is_expected(p);
    p->is_lost = true;
    route_client_give_up_place(r, p);
    if (was_expected) {
        expect_less(r, p->address, now_ms);
    }
}

void store_route_answered(struct store_route *r, struct store_route_job *job, uint32_t node,
                          const struct ctl_owned *owned)
{
    struct route_place *p = place_find(r, job, node);
    struct route_ask *ask = p != NULL ? TAILQ_FIRST(&p->asks) : NULL;
    /* Answers come in order, but some clients were decided about without waiting for all. */
    while (ask != NULL && ask->token < owned->token) {
        ask = TAILQ_NEXT(ask, of_place);
    }
    if (ask != NULL && ask->token == owned->token) {
        route_take_answer(r, ask, (enum ctl_owned_answer)owned->answer);
    }
}

static void place_free(struct store_route *r, struct route_place *p, int64_t now_ms)
{
    for (uint32_t i = 0; i < p->worker_count; i++) {
        struct route_worker *w = &p->workers[i];
        if (p->is_lost && !w->has_exited && w->pid != 0) {
            former_add(r, w, now_ms);
        }
        hash_index_take(&r->workers, &w->link);
    }
    free(p->workers);
    TAILQ_REMOVE(&p->address->places, p, of_address);
    TAILQ_REMOVE(&p->job->places, p, of_job);
    hash_index_take(&r->places, &p->link);
    route_address_release(r, p->address);
    free(p);
}

void store_route_round_over(struct store_route *r, struct store_route_job *job, int64_t now_ms)
{
    struct route_place *p;
    TAILQ_FOREACH (p, &job->places, of_job) {
        route_client_disown(r, p->address, job);
    }
    struct route_place *next;
    for (p = TAILQ_FIRST(&job->places); p != NULL; p = next) {
        next = TAILQ_NEXT(p, of_job);
        route_client_give_up_place(r, p);
        bool was_expected = is_expected(p);
        struct route_address *a = p->address;
        a->references++;
        place_free(r, p, now_ms);
        if (was_expected) {
            expect_less(r, a, now_ms);
        }
        route_address_release(r, a);
    }
}

/* ---- time ---- */

void store_route_tick(struct store_route *r, int64_t now_ms)
{
    route_client_tick(r, now_ms);
    struct route_former *f;
    while ((f = TAILQ_FIRST(&r->former_order)) != NULL && f->until_ms <= now_ms) {
        former_free(r, f);
    }
}

int64_t store_route_deadline(const struct store_route *r)
{
    const struct route_former *f = TAILQ_FIRST(&r->former_order);
    int64_t at = f != NULL ? f->until_ms : INT64_MAX;
    for (size_t i = 0; i < ROUTE_PHASES; i++) {
        const struct store_route_client *c = TAILQ_FIRST(&r->phases[i]);
        at = c != NULL && c->until_ms < at ? c->until_ms : at;
    }
    return at;
}
