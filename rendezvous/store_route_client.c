/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients whose store is not known yet: what they say, what agents say of them, and what follows.
 */
#include "rendezvous/store_route_impl.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

/* ---- what it says itself ---- */

enum { QUERY_LEN = 1 + sizeof(uint32_t) };

enum store_route_greeting store_route_read(const uint8_t *data, size_t len, uint32_t *ret_pid)
{
    struct mu_reader in = mu_reader_of(data, len);
    uint8_t validate = mu_read_u8(&in);
    uint32_t magic = mu_read_u32(&in);
    if (in.failed) {
        return STORE_ROUTE_MORE;
    }
    if (validate != C10D_VALIDATE || magic != C10D_MAGIC) {
        return STORE_ROUTE_INVALID;
    }
    if (len > QUERY_LEN && data[QUERY_LEN] != C10D_PING) {
        return STORE_ROUTE_UNNAMED;
    }
    mu_read_u8(&in);
    uint32_t pid = mu_read_u32(&in);
    if (in.failed) {
        return STORE_ROUTE_SILENT;
    }
    *ret_pid = pid;
    return pid != 0 ? STORE_ROUTE_NAMED : STORE_ROUTE_UNNAMED;
}

/* ---- questions ---- */

static void ask_free(struct store_route *r, struct route_ask *ask)
{
    TAILQ_REMOVE(&ask->place->asks, ask, of_place);
    TAILQ_REMOVE(&ask->client->asks, ask, of_client);
    r->asked--;
    free(ask);
}

static void ask_new(struct store_route *r, struct store_route_client *c, struct route_place *p)
{
    struct route_ask *ask = mu_alloc(sizeof(*ask));
    ask->token = ++r->last_token;
    ask->client = c;
    ask->place = p;
    TAILQ_INSERT_TAIL(&p->asks, ask, of_place);
    TAILQ_INSERT_TAIL(&c->asks, ask, of_client);
    r->asked++;
    struct store_route_effect *e = route_effect_add(r, STORE_ROUTE_ASK);
    e->job = p->job->owner;
    e->node = p->node;
    e->whose =
        (struct ctl_whose){.token = ask->token, .round = p->round, .pid = c->pid, .port = c->port};
}

/* ---- deciding ---- */

void store_route_forget(struct store_route *r, struct store_route_client *c)
{
    struct route_ask *next;
    for (struct route_ask *ask = TAILQ_FIRST(&c->asks); ask != NULL; ask = next) {
        next = TAILQ_NEXT(ask, of_client);
        ask_free(r, ask);
    }
    if (c->pid != 0) {
        hash_index_take(&r->named, &c->link);
    }
    TAILQ_REMOVE(&r->phases[c->phase], c, of_phase);
    TAILQ_REMOVE(&c->address->clients, c, of_address);
    route_address_release(r, c->address);
    r->held--;
    free(c);
}

static void decide(struct store_route *r, struct store_route_client *c,
                   enum store_route_effect_kind kind, const struct store_route_job *job,
                   const char *why)
{
    struct store_route_effect *e = route_effect_add(r, kind);
    e->client = c->owner;
    e->job = job != NULL ? job->owner : NULL;
    e->why = why;
    store_route_forget(r, c);
}

/* The job whose worker has the client's pid; `ret_is_ambiguous` if there are several. */
static struct store_route_job *job_of_pid(const struct store_route *r,
                                          const struct store_route_client *c, bool has_exited,
                                          bool *ret_is_ambiguous)
{
    struct store_route_job *job = NULL;
    struct hash_link *link = hash_index_first(&r->workers, route_pid_hash(r, c->address, c->pid));
    for (; link != NULL && c->pid != 0; link = hash_index_next(link)) {
        const struct route_worker *w = mu_container_of(link, struct route_worker, link);
        if (w->pid == c->pid && w->place->address == c->address && w->has_exited == has_exited) {
            *ret_is_ambiguous = *ret_is_ambiguous || (job != NULL && job != w->place->job);
            job = w->place->job;
        }
    }
    return job;
}

/* Everybody who could be asked was. */
static void conclude(struct store_route *r, struct store_route_client *c)
{
    bool is_ambiguous = false;
    const struct store_route_job *exited = job_of_pid(r, c, true, &is_ambiguous);
    if (c->claimed != NULL) {
        decide(r, c, STORE_ROUTE_TO_JOB, c->claimed,
               c->is_claimed_twice ? "two jobs have a process of its pid there: the newer one"
                                   : NULL);
    } else if (c->pid == 0 && c->unseen != NULL) {
        decide(r, c, STORE_ROUTE_TO_JOB, c->unseen,
               "it does not say its pid and cannot be seen from there: the newest job");
    } else if (exited != NULL && !is_ambiguous) {
        decide(r, c, STORE_ROUTE_TO_JOB, exited, NULL); /* its last words */
    } else if (c->pid != 0 && route_is_former(r, c->address, c->pid)) {
        decide(r, c, STORE_ROUTE_CLOSE, NULL, "it is of a round that has ended");
    } else if (c->is_unclear) {
        decide(r, c, STORE_ROUTE_CLOSE, NULL,
               "it did not become clear to which job it belongs; it may try again");
    } else {
        decide(r, c, STORE_ROUTE_TO_SHARED, NULL, NULL);
    }
}

static struct store_route_job *newer(struct store_route_job *a, struct store_route_job *b)
{
    return a == NULL || a->age < b->age ? b : a;
}

/* An agent who did not say, or could not. Only of a client without a pid the address counts. */
static void note_unseen(struct store_route_client *c, struct store_route_job *job)
{
    if (c->pid == 0) {
        c->unseen = newer(c->unseen, job);
    }
}

void route_take_answer(struct store_route *r, struct route_ask *ask, enum ctl_owned_answer answer)
{
    struct store_route_client *c = ask->client;
    struct store_route_job *job = ask->place->job;
    ask_free(r, ask);
    switch (answer) {
    case CTL_OWNED_SOCKET:
        decide(r, c, STORE_ROUTE_TO_JOB, job, NULL);
        return;
    case CTL_OWNED_PID:
        c->is_claimed_twice = c->is_claimed_twice || (c->claimed != NULL && c->claimed != job);
        c->claimed = newer(c->claimed, job);
        break;
    case CTL_OWNED_UNSEEN:
        note_unseen(c, job);
        break;
    case CTL_OWNED_NO:
        break;
    }
    if (TAILQ_EMPTY(&c->asks)) {
        conclude(r, c);
    }
}

/* ---- from phase to phase ---- */

static void enter(struct store_route *r, struct store_route_client *c, enum route_phase phase,
                  int64_t now_ms)
{
    static const int64_t patience_ms[ROUTE_PHASES] = {STORE_ROUTE_GREETING_MS,
                                                      STORE_ROUTE_WAITING_MS, STORE_ROUTE_ASKED_MS};
    TAILQ_REMOVE(&r->phases[c->phase], c, of_phase);
    c->phase = phase;
    c->until_ms = now_ms + patience_ms[phase];
    TAILQ_INSERT_TAIL(&r->phases[phase], c, of_phase);
}

/* Returns whether it is still held: there may be nobody to ask. */
static bool ask_agents(struct store_route *r, struct store_route_client *c, int64_t now_ms)
{
    enter(r, c, ROUTE_ASKED, now_ms);
    struct route_place *p;
    TAILQ_FOREACH (p, &c->address->places, of_address) {
        if (p->is_lost || r->asked >= STORE_ROUTE_MAX_ASKED) {
            c->is_unclear = true;
        } else {
            ask_new(r, c, p);
        }
    }
    bool is_asked = !TAILQ_EMPTY(&c->asks);
    if (!is_asked) {
        conclude(r, c);
    }
    return is_asked;
}

/* Is it a worker that is known? True if that decided it. */
static bool match(struct store_route *r, struct store_route_client *c)
{
    bool is_ambiguous = false;
    const struct store_route_job *job = job_of_pid(r, c, false, &is_ambiguous);
    if (job == NULL || is_ambiguous) {
        return false;
    }
    decide(r, c, STORE_ROUTE_TO_JOB, job, NULL);
    return true;
}

bool store_route_named(struct store_route *r, struct store_route_client *c, uint32_t pid,
                       int64_t now_ms)
{
    if (c->phase != ROUTE_GREETING) {
        return true; /* it took too long to say it */
    }
    c->pid = pid;
    if (pid != 0) {
        hash_index_add(&r->named, &c->link, route_pid_hash(r, c->address, pid));
    }
    if (match(r, c)) {
        return false;
    }
    if (pid != 0 && c->address->unstarted > 0) {
        enter(r, c, ROUTE_WAITING, now_ms);
        return true;
    }
    return ask_agents(r, c, now_ms);
}

struct store_route_client *store_route_hold(struct store_route *r, void *owner, const char *address,
                                            uint16_t port, int64_t now_ms)
{
    struct route_address *a = route_address_find(r, address);
    MU_REQUIRE(a != NULL);
    if (r->held >= STORE_ROUTE_MAX_HELD) {
        return NULL;
    }
    struct store_route_client *c = mu_alloc(sizeof(*c));
    c->owner = owner;
    c->address = a;
    c->port = port;
    a->references++;
    r->held++;
    TAILQ_INIT(&c->asks);
    TAILQ_INSERT_TAIL(&a->clients, c, of_address);
    TAILQ_INSERT_TAIL(&r->phases[ROUTE_GREETING], c, of_phase);
    enter(r, c, ROUTE_GREETING, now_ms);
    return c;
}

uint32_t store_route_held(const struct store_route *r)
{
    return r->held;
}

/* Those who have not answered will not in time. */
static void stop_asking(struct store_route *r, struct store_route_client *c)
{
    struct route_ask *next;
    for (struct route_ask *ask = TAILQ_FIRST(&c->asks); ask != NULL; ask = next) {
        next = TAILQ_NEXT(ask, of_client);
        c->is_unclear = true;
        note_unseen(c, ask->place->job);
        ask_free(r, ask);
    }
    conclude(r, c);
}

void store_route_settle(struct store_route *r, struct store_route_client *c)
{
    struct route_place *p;
    TAILQ_FOREACH (p, &c->address->places, of_address) {
        if (c->phase != ROUTE_ASKED) {
            c->is_unclear = true;
            note_unseen(c, p->job);
        }
    }
    stop_asking(r, c);
}

void route_client_tick(struct store_route *r, int64_t now_ms)
{
    struct store_route_client *c;
    while ((c = TAILQ_FIRST(&r->phases[ROUTE_ASKED])) != NULL && c->until_ms <= now_ms) {
        stop_asking(r, c);
    }
    while ((c = TAILQ_FIRST(&r->phases[ROUTE_WAITING])) != NULL && c->until_ms <= now_ms) {
        ask_agents(r, c, now_ms);
    }
    while ((c = TAILQ_FIRST(&r->phases[ROUTE_GREETING])) != NULL && c->until_ms <= now_ms) {
        store_route_named(r, c, 0, now_ms);
    }
}

/* ---- what happens to places ---- */

void route_client_match(struct store_route *r, const struct route_worker *w)
{
    struct hash_link *next;
    struct hash_link *link = hash_index_first(&r->named, w->link.hash);
    for (; link != NULL; link = next) {
        next = hash_index_next(link);
        struct store_route_client *c = mu_container_of(link, struct store_route_client, link);
        if (c->pid == w->pid && c->address == w->place->address) {
            match(r, c);
        }
    }
}

void route_client_all_started(struct store_route *r, struct route_address *a, int64_t now_ms)
{
    struct store_route_client *next;
    for (struct store_route_client *c = TAILQ_FIRST(&a->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, of_address);
        if (c->phase == ROUTE_WAITING) {
            ask_agents(r, c, now_ms);
        }
    }
}

void route_client_give_up_place(struct store_route *r, struct route_place *p)
{
    struct route_ask *next;
    for (struct route_ask *ask = TAILQ_FIRST(&p->asks); ask != NULL; ask = next) {
        next = TAILQ_NEXT(ask, of_place); /* of another client, as a place is asked once by each */
        struct store_route_client *c = ask->client;
        ask_free(r, ask);
        c->is_unclear = true;
        if (TAILQ_EMPTY(&c->asks)) {
            conclude(r, c);
        }
    }
}

void route_client_disown(struct store_route *r, struct route_address *a,
                         const struct store_route_job *job)
{
    (void)r;
    struct store_route_client *c;
    TAILQ_FOREACH (c, &a->clients, of_address) {
        /* Whoever is here now may be of the round that ends. */
        c->is_unclear = true;
        c->claimed = c->claimed != job ? c->claimed : NULL;
        c->unseen = c->unseen != job ? c->unseen : NULL;
    }
}
