/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of each round, and one c10d client per node, that of its first worker: it leaves its
 * key, waits for those of others, and only then the node's workers begin to live. The engine is the
 * real one; its bytes pass through the same network, which brings them late or not at all.
 *
 * A client never sees a key of another round. One that waits is woken by the last key it lacks, or
 * closed with its store; the workers of one that is closed before all are there fail of it.
 *
 * Which client belongs to which round is what the routing engine finds out in a stand-alone
 * coordinator, from pids; here it is known. One that is part of an agent takes all that come.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store.h"
#include "tests/store_replies.h"

enum {
    TIMEOUT_MS = 60 * 1000, /* no client waits longer for the others */
    RETRY_MS = 500,         /* to connect */
    ALL_UP_TO = 32,         /* of more nodes each waits for a few: those 1, 2, 4, ... after it */
    FAILS_WITHIN_MS = 2000,
    FAILS_LATER_PERCENT = 30, /* of workers that lose a store they do not need at the moment */
};

enum phase { CONNECTING, GREETING, LOOKING, WAITING, GETTING, THROUGH, OVER };

/* What it sends is counted; the third message brings its key. */
enum { MESSAGE_WITH_KEY = 3 };

struct sim_client {
    int32_t index;
    uint32_t agent;
    uint32_t generation; /* of its node's processes */
    uint32_t pid;
    uint32_t round;
    uint32_t rank;
    uint32_t count; /* of the nodes of its round */
    enum phase phase;
    struct mu_buf replies;     /* owned; not used yet */
    struct store_client there; /* the store's end of it */
    bool is_there;             /* in the store */
    bool was_there;            /* or turned away */
    uint64_t sent[2];          /* [0] to the client, [1] to the store */
    uint64_t arrived[2];
    int64_t last_ms[2];
};

/* ---- the network ---- */

static void send_data(struct sim *s, struct sim_client *c, bool to_store, const struct mu_buf *data)
{
    struct sim_event e = {.at_ms = s->now_ms + sim_latency(s),
                          .kind = SIM_STORE_DATA,
                          .link = c->index,
                          .is_to_coordinator = to_store,
                          .order = ++c->sent[to_store]};
    e.at_ms = e.at_ms > c->last_ms[to_store] ? e.at_ms : c->last_ms[to_store];
    c->last_ms[to_store] = e.at_ms;
    if (data != NULL) {
        e.data = mu_alloc(data->len);
        e.len = data->len;
        memcpy(e.data, data->data, data->len);
    }
    sim_schedule(s, &e);
}

/* Nothing, which is what a closed connection brings. */
static void send_close(struct sim *s, struct sim_client *c, bool to_store)
{
    send_data(s, c, to_store, NULL);
}

static bool is_put_off(struct sim *s, struct sim_event *e)
{
    struct sim_client *c = s->clients[e->link];
    bool way = e->is_to_coordinator;
    int64_t cut = sim_cut_until(s, c->agent, way);
    int64_t asleep = way ? sim_coordinator_paused_until(s) : s->agents[c->agent].suspended_until_ms;
    int64_t until = asleep > cut ? asleep : cut;
    if (until <= s->now_ms && e->order == c->arrived[way] + 1) {
        c->arrived[way]++;
        return false;
    }
    e->at_ms = until > s->now_ms ? until : s->now_ms + 1;
    sim_schedule(s, e);
    e->data = NULL;
    return true;
}

/* ---- the store's end ---- */

static void drain(struct sim *s)
{
    struct store_client *there;
    while ((there = store_take_ready(s->store)) != NULL) {
        size_t at = offsetof(struct sim_client, there);
        struct sim_client *c = (struct sim_client *)(void *)((char *)there - at);
        struct mu_buf all = store_replies(there);
        send_data(s, c, false, &all);
        mu_buf_fini(&all);
    }
}

static void leave_store(struct sim_client *c)
{
    store_client_fini(&c->there);
    c->is_there = false;
}

void sim_store_over(struct sim *s, bool is_silent)
{
    if (s->store == NULL) {
        return;
    }
    for (uint32_t i = 0; i < s->client_count; i++) {
        struct sim_client *c = s->clients[i];
        if (c->is_there) {
            leave_store(c);
            if (!is_silent) {
                send_close(s, c, false);
            }
        }
    }
    store_free(s->store);
    s->store = NULL;
}

void sim_store_new_round(struct sim *s, uint32_t round)
{
    if (s->config.has_store) {
        sim_store_over(s, false);
        s->store = store_new(0);
        s->store_round = round;
        s->store_keys = 0;
    }
}

static bool is_alive(const struct sim *s, const struct sim_client *c)
{
    const struct sim_procs *p = &s->agents[c->agent].procs;
    return p->is_open && p->generation == c->generation && p->workers[0].is_alive;
}

static bool is_of_store(struct sim *s, const struct sim_client *c)
{
    if (s->store == NULL || c->round == s->store_round) {
        return s->store != NULL;
    }
    if (s->config.host < 0 || sim_check_is_excused(s, &s->agents[c->agent])) {
        return false;
    }
    if (is_alive(s, c)) {
        sim_violate(s, "%s of round %u comes to the store of round %u", s->agents[c->agent].name,
                    c->round, s->store_round);
    }
    return true; /* the last words of a dead process: it will say no more than its PING */
}

static void at_store(struct sim *s, struct sim_client *c, const struct sim_event *e)
{
    struct mu_err err = MU_ERR_INIT;
    if (e->data == NULL) {
        leave_store(c);
        return;
    }
    if (!c->was_there) {
        c->was_there = true;
        if (!is_of_store(s, c)) {
            send_close(s, c, false);
            return;
        }
        store_client_init(&c->there, s->store);
        c->is_there = true;
    }
    if (!c->is_there) {
        return;
    }
    if (store_client_feed(&c->there, e->data, e->len, &err) != 0) {
        sim_violate(s, "the store rejects what %s sent: %s", s->agents[c->agent].name, err.text);
    }
    s->store_keys += e->order == MESSAGE_WITH_KEY;
    uint64_t waiting = store_get_stats(s->store).waiting;
    if (c->round == s->store_round && s->store_keys == c->count && waiting > 0) {
        sim_violate(s, "every key of round %u is there, and %llu clients wait", s->store_round,
                    (unsigned long long)waiting);
    }
    drain(s);
}

/* ---- the client's end ---- */

static void put_key(struct mu_buf *b, uint32_t rank)
{
    char key[32];
    snprintf(key, sizeof(key), "node/%u", rank);
    c10d_put_str(b, mu_slice_of(key));
}

static void say(struct sim *s, struct sim_client *c, enum phase next, struct mu_buf *request)
{
    c->phase = next;
    send_data(s, c, true, request);
    mu_buf_fini(request);
}

static void greet(struct sim *s, struct sim_client *c)
{
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_VALIDATE);
    mu_buf_append_u32(&b, C10D_MAGIC);
    mu_buf_append_u8(&b, C10D_PING);
    mu_buf_append_u32(&b, c->pid);
    say(s, c, GREETING, &b);
}

static void look_for_own_key(struct sim *s, struct sim_client *c)
{
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_CHECK);
    mu_buf_append_u64(&b, 1);
    put_key(&b, c->rank);
    say(s, c, LOOKING, &b);
}

static void set_and_wait(struct sim *s, struct sim_client *c)
{
    char value[16];
    struct mu_buf b = {0};
    struct mu_buf keys = {0};
    uint64_t count = 0;
    snprintf(value, sizeof(value), "%u", c->round);
    mu_buf_append_u8(&b, C10D_SET);
    put_key(&b, c->rank);
    c10d_put_str(&b, mu_slice_of(value));
    for (uint32_t i = 1; i < c->count; i = c->count <= ALL_UP_TO ? i + 1 : 2 * i) {
        put_key(&keys, (c->rank + i) % c->count);
        count++;
    }
    mu_buf_append_u8(&b, C10D_WAIT);
    mu_buf_append_u64(&b, count);
    mu_buf_append(&b, keys.data, keys.len);
    mu_buf_fini(&keys);
    say(s, c, WAITING, &b);
}

static void get_next_key(struct sim *s, struct sim_client *c)
{
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_GET);
    put_key(&b, (c->rank + 1) % c->count);
    say(s, c, GETTING, &b);
}

static void check_value(struct sim *s, const struct sim_client *c)
{
    char value[16];
    struct mu_reader r = mu_reader_of(c->replies.data, c->replies.len);
    struct mu_slice got = mu_read_bytes(&r, (size_t)mu_read_u64(&r));
    snprintf(value, sizeof(value), "%u", c->round);
    if (!mu_slice_eq(got, mu_slice_of(value))) {
        sim_violate(s, "%s waited in round %u for a key that says '" MU_SLICE_FMT "'",
                    s->agents[c->agent].name, c->round, MU_SLICE_ARG(got));
    }
}

/* How long the reply is that it waits for; 0: it waits for none. */
static size_t reply_len(const struct sim_client *c)
{
    switch (c->phase) {
    case GREETING:
        return 4;
    case LOOKING:
    case WAITING:
        return 1;
    case GETTING: {
        struct mu_reader r = mu_reader_of(c->replies.data, c->replies.len);
        return 8 + (c->replies.len < 8 ? 0 : (size_t)mu_read_u64(&r));
    }
    case CONNECTING:
    case THROUGH:
    case OVER:
        break;
    }
    return 0;
}

static void on_reply(struct sim *s, struct sim_client *c)
{
    if (c->phase == GREETING) {
        look_for_own_key(s, c);
    } else if (c->phase == LOOKING) {
        if (c->replies.data[0] != C10D_CHECK_NOT_READY) {
            sim_violate(s, "%s finds its key of round %u in the store before it sets it",
                        s->agents[c->agent].name, c->round);
        }
        set_and_wait(s, c);
    } else if (c->phase == WAITING) {
        get_next_key(s, c);
    } else if (c->phase == GETTING) {
        check_value(s, c);
        c->phase = THROUGH;
        sim_procs_live(s, c->agent);
    }
}

static void dial_in(struct sim *s, const struct sim_client *c, int64_t in_ms)
{
    sim_schedule(s, &(struct sim_event){.at_ms = s->now_ms + in_ms + 2 * sim_latency(s),
                                        .kind = SIM_STORE_DIALED,
                                        .link = c->index});
}

static void connect_in(struct sim *s, uint32_t agent, int64_t in_ms)
{
    struct sim_procs *p = &s->agents[agent].procs;
    if (s->client_count == s->client_cap) {
        s->client_cap = s->client_cap > 0 ? 2 * s->client_cap : 16;
        s->clients = mu_realloc(s->clients, s->client_cap * sizeof(struct sim_client *));
    }
    struct sim_client *c = mu_alloc(sizeof(*c));
    *c = (struct sim_client){.index = (int32_t)s->client_count,
                             .agent = agent,
                             .generation = p->generation,
                             .pid = p->workers[0].pid,
                             .round = p->assignment.round,
                             .rank = p->assignment.node_rank,
                             .count = p->assignment.node_count};
    s->clients[s->client_count++] = c;
    p->client = c->index;
    dial_in(s, c, in_ms);
    sim_schedule(s, &(struct sim_event){.at_ms = s->now_ms + TIMEOUT_MS,
                                        .kind = SIM_STORE_TIMEOUT,
                                        .link = c->index});
}

static void at_client(struct sim *s, struct sim_client *c, const struct sim_event *e)
{
    if (c->phase == OVER || !is_alive(s, c)) {
        return;
    }
    if (e->data == NULL) {
        enum phase phase = c->phase;
        c->phase = OVER;
        if (phase == GREETING) {
            connect_in(s, c->agent, RETRY_MS); /* as torch does */
        } else if (phase != THROUGH || sim_rand_chance(&s->rand, FAILS_LATER_PERCENT)) {
            sim_procs_fail(s, c->agent, FAILS_WITHIN_MS);
        }
        return;
    }
    mu_buf_append(&c->replies, e->data, e->len);
    size_t len = reply_len(c);
    while (len > 0 && c->replies.len >= len) {
        on_reply(s, c);
        mu_buf_consume(&c->replies, len);
        len = reply_len(c);
    }
}

void sim_store_connect(struct sim *s, uint32_t agent)
{
    connect_in(s, agent, 0);
}

void sim_store_hang_up(struct sim *s, uint32_t agent, bool is_silent)
{
    int32_t index = s->agents[agent].procs.client;
    if (index < 0 || s->clients[index]->phase == OVER) {
        return;
    }
    struct sim_client *c = s->clients[index];
    if (c->phase != CONNECTING && !is_silent) {
        send_close(s, c, true);
    }
    c->phase = OVER;
}

void sim_store_event(struct sim *s, struct sim_event *e)
{
    struct sim_client *c = s->clients[e->link];
    if (e->kind == SIM_STORE_TIMEOUT) {
        const struct sim_procs *p = &s->agents[c->agent].procs;
        if (p->is_open && p->generation == c->generation && !p->is_living) {
            sim_procs_fail(s, c->agent, FAILS_WITHIN_MS);
        }
    } else if (e->kind == SIM_STORE_DIALED) {
        bool is_cut = sim_cut_until(s, c->agent, true) > s->now_ms ||
                      sim_cut_until(s, c->agent, false) > s->now_ms;
        if (!is_alive(s, c) || c->phase != CONNECTING) {
            return;
        }
        if (is_cut || s->member == NULL) {
            dial_in(s, c, RETRY_MS);
        } else {
            greet(s, c);
        }
    } else if (!is_put_off(s, e)) {
        if (e->is_to_coordinator) {
            at_store(s, c, e);
        } else {
            at_client(s, c, e);
        }
    }
}

void sim_store_fini(struct sim *s)
{
    sim_store_over(s, true);
    for (uint32_t i = 0; i < s->client_count; i++) {
        store_client_fini(&s->clients[i]->there);
        mu_buf_fini(&s->clients[i]->replies);
        free(s->clients[i]);
    }
    free(s->clients);
}
