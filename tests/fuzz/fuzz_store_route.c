/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing engine: nodes, rounds, clients and answers in any order. Every client that is held is
 * decided about once; into a job's store comes nobody while no round of it runs; nobody waits for
 * ever.
 */
#include "muster/mem.h"
#include "rendezvous/store_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OPS = 600, JOBS = 3, NODES = 4, CLIENTS = 16, ASKS = 64 };

static const char *const addresses[] = {"n1", "n2"};

struct fuzz_job {
    struct store_route_job *job;
    uint32_t round; /* 0: none runs */
};

struct fuzz_client {
    struct store_route_client *handle; /* NULL: not held */
};

static struct mu_reader in;
static struct store_route *r;
static struct fuzz_job jobs[JOBS];
static struct fuzz_client clients[CLIENTS];
static uint32_t rounds;
static int64_t now;
static struct store_route_effect asked[ASKS];
static size_t asked_count;

static void take(void)
{
    const struct store_route_effect *e;
    while ((e = store_route_take(r)) != NULL) {
        const struct fuzz_job *job = e->job;
        struct fuzz_client *c = e->client;
        if (e->kind == STORE_ROUTE_ASK) {
            asked[asked_count++ % ASKS] = *e;
            continue;
        }
        MU_REQUIRE(c->handle != NULL);
        MU_REQUIRE((e->kind == STORE_ROUTE_TO_JOB) == (job != NULL));
        MU_REQUIRE(job == NULL || job->round != 0);
        MU_REQUIRE(e->kind != STORE_ROUTE_CLOSE || e->why != NULL);
        c->handle = NULL;
    }
    uint32_t held = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        held += clients[i].handle != NULL;
    }
    MU_REQUIRE(held == store_route_held(r));
    MU_REQUIRE(held == 0 || store_route_deadline(r) != INT64_MAX);
}

static void round_over(struct fuzz_job *j)
{
    store_route_round_over(r, j->job, now);
    take(); /* its store is still there */
    j->round = 0;
}

static void round_begins(struct fuzz_job *j, uint8_t nodes)
{
    round_over(j);
    j->round = ++rounds;
    for (uint32_t i = 0; i < 1U + nodes % NODES; i++) {
        store_route_place(r, j->job, j->round, i, addresses[nodes >> (4 + i) & 1]);
    }
}

static void op_node(struct fuzz_job *j, uint8_t what)
{
    uint32_t node = mu_read_u8(&in) % (NODES + 1U);
    uint8_t value = mu_read_u8(&in);
    uint32_t pids[4] = {value, value + 1U, 0, value * 2U};
    struct ctl_started started = {.round = j->round - (what >> 7),
                                  .pids = {(const char *)pids, sizeof(uint32_t) * (value % 5U)}};
    switch (what % 3) {
    case 0:
        store_route_started(r, j->job, node, &started, now);
        break;
    case 1:
        store_route_exited(r, j->job, node,
                           &(struct ctl_exited){.round = j->round, .local_rank = value % 5U});
        break;
    default:
        store_route_lost(r, j->job, node, now);
        break;
    }
}

static void op_client(uint8_t what)
{
    struct fuzz_client *c = &clients[what % CLIENTS];
    uint32_t pid = mu_read_u8(&in) % 64U;
    const char *address = addresses[what >> 4 & 1];
    if (c->handle == NULL) {
        if (store_route_is_known(r, address)) {
            c->handle = store_route_hold(r, c, address, 1, now);
        }
    } else if ((what & 0x80U) == 0) {
        bool is_held = store_route_named(r, c->handle, pid, now);
        const struct store_route_client *before = c->handle;
        take();
        MU_REQUIRE(is_held == (c->handle == before));
    } else if ((what & 0x40U) == 0) {
        store_route_settle(r, c->handle);
        take();
        MU_REQUIRE(c->handle == NULL);
    } else {
        store_route_forget(r, c->handle);
        c->handle = NULL;
    }
}

static void op_answer(uint8_t what)
{
    const struct store_route_effect *e = &asked[what % ASKS];
    uint8_t answer = mu_read_u8(&in);
    const struct fuzz_job *j = (what & 0x40U) == 0 && e->job != NULL ? e->job : &jobs[what % JOBS];
    store_route_answered(
        r, j->job, (what & 0x80U) == 0 ? e->node : what % NODES,
        &(struct ctl_owned){.token = e->whose.token + (answer >> 7), .answer = answer % 5U});
}

static void op(void)
{
    uint8_t code = mu_read_u8(&in);
    uint8_t what = mu_read_u8(&in);
    struct fuzz_job *j = &jobs[(code >> 4) % JOBS];
    switch (code % 8) {
    case 0:
        round_begins(j, what);
        break;
    case 1:
        round_over(j);
        break;
    case 2:
        op_node(j, what);
        break;
    case 3:
    case 4:
        op_client(what);
        break;
    case 5:
    case 6:
        op_answer(what);
        break;
    default:
        now += what * (int64_t)what;
        store_route_tick(r, now);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t pid;
    if (size > 0) {
        store_route_read(data, size, &pid);
    }
    in = mu_reader_of(data, size);
    r = store_route_new(mu_read_u8(&in));
    now = 1;
    rounds = 0;
    asked_count = 0;
    memset(asked, 0, sizeof(asked));
    memset(clients, 0, sizeof(clients));
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct fuzz_job){.job = store_route_job_new(r, &jobs[i])};
    }
    for (int i = 0; i < MAX_OPS && mu_reader_left(&in) > 0; i++) {
        op();
        take();
    }
    while (store_route_held(r) > 0) {
        now = store_route_deadline(r) > now ? store_route_deadline(r) : now;
        store_route_tick(r, now);
        take();
    }
    for (size_t i = 0; i < JOBS; i++) {
        round_over(&jobs[i]);
        store_route_job_free(r, jobs[i].job);
    }
    store_route_free(r);
    return 0;
}
