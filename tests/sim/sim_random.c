/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random jobs: any number of nodes, slots, restarts and spares, workers that fail in every way, and
 * faults at any moment. Only the invariants say what is right.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

enum { LIMIT_MS = 3600 * 1000 };

static const struct outcome SUCCESS = {.kind = OUTCOME_EXITED, .code = 0};

/* Of a job of many workers not everyone's can be as likely as in a small one. */
static bool befalls(struct sim *s, unsigned percent)
{
    return sim_rand_next(&s->rand) % (100 * s->config.rarity) < percent;
}

/* Nothing befalls it. */
static struct sim_plan plain_plan(struct sim *s, uint32_t agent, uint32_t slot)
{
    (void)agent;
    (void)slot;
    struct sim_rand *r = &s->rand;
    return (struct sim_plan){.spawn_ms = sim_rand_range(r, 0, 2000),
                             .life_ms = sim_rand_range(r, 0, 6000),
                             .outcome = SUCCESS,
                             .term_ms = sim_rand_range(r, 0, 300),
                             .term_outcome = {.kind = OUTCOME_SIGNALED}};
}

static struct sim_plan some_plan(struct sim *s, uint32_t agent, uint32_t slot)
{
    (void)agent;
    (void)slot;
    struct sim_rand *r = &s->rand;
    struct sim_plan p = {.spawn_ms = sim_rand_range(r, 0, 5),
                         .life_ms = sim_rand_range(r, 0, 6000),
                         .outcome = SUCCESS,
                         .term_ms = sim_rand_range(r, 0, 300),
                         .term_outcome = {.kind = OUTCOME_SIGNALED}};
    if (befalls(s, 4)) {
        p.outcome = sim_some_failure(r);
    }
    if (sim_rand_chance(r, 10)) {
        p.term_ms = -1;
    }
    if (sim_rand_chance(r, 10)) {
        p.term_outcome = sim_rand_chance(r, 50) ? SUCCESS : sim_some_failure(r);
    }
    if (befalls(s, 5)) {
        p.spawn_ms = sim_rand_range(r, 0, 5000);
    }
    p.is_stuck = befalls(s, 1) && sim_rand_chance(r, 30);
    p.life_ms = p.is_stuck ? sim_rand_range(r, 0, 40000) : p.life_ms;
    p.leaves_process = befalls(s, 2);
    p.cause = sim_rand_chance(r, 30) ? CAUSE_PEER_LOST : CAUSE_EXIT;
    p.is_not_started = slot == 0 && befalls(s, 1);
    return p;
}

/* Usually none, else every second one. */
static struct exit_codes some_codes(struct sim_rand *r)
{
    struct exit_codes codes = {{0}};
    bool is_none = sim_rand_chance(r, 80);
    for (size_t i = 0; i < EXIT_CODES_BYTES && !is_none; i++) {
        codes.bits[i] = (uint8_t)sim_rand_range(r, 0, 255);
    }
    return codes;
}

static struct agent_config some_config(struct sim_rand *r, uint32_t nodes)
{
    bool is_elastic = sim_rand_chance(r, 40);
    return (struct agent_config){
        .run_id = "job",
        .role = "default",
        .coordinator = "10.0.0.1:29500",
        .node_rank = -1,
        .sched_rank = -1,
        .policy.min_nodes = is_elastic ? (uint32_t)sim_rand_range(r, 1, nodes) : nodes,
        .policy.max_nodes = nodes,
        .policy.spares = sim_rand_chance(r, 20) ? (uint32_t)sim_rand_range(r, 1, 3) : 0,
        .policy.scale_up = (enum job_scale_up)sim_rand_range(r, 0, JOB_SCALE_UP_LAST),
        .policy.max_restarts = sim_rand_chance(r, 50) ? 0 : (uint32_t)sim_rand_range(r, 1, 3),
        .policy.max_node_losses = sim_rand_chance(r, 50) ? 0 : (uint32_t)sim_rand_range(r, 1, 2),
        .policy.restart_window_ms = sim_rand_chance(r, 70) ? 0 : sim_rand_range(r, 1, 5000),
        .policy.min_uptime_ms = sim_rand_chance(r, 50) ? 0 : sim_rand_range(r, 1, 5000),
        .policy.stop_codes = some_codes(r),
        .policy.retry_codes = some_codes(r),
        .join_timeout_ms = sim_rand_range(r, 1000, 20000),
        .last_call_ms = sim_rand_range(r, 0, 3000),
        .node_timeout_ms = sim_rand_range(r, 500, 3000),
        .grace_ms = sim_rand_chance(r, 10) ? 0 : sim_rand_range(r, 100, 2000),
    };
}

/* Up to 0.1 % too fast or too slow. */
static struct sim_clock some_clock(struct sim_rand *r)
{
    return (struct sim_clock){.offset_ms = sim_rand_range(r, 0, 1000 * 1000),
                              .drift_ppm = sim_rand_range(r, -1000, 1000)};
}

/* Half the jobs have a network that loses nothing, if it is not cut; some a miserable one. */
static void some_weather(struct sim_config *sc, struct sim_rand *r,
                         const struct agent_config *config)
{
    if (sim_rand_chance(r, 30)) {
        sc->late_percent = (unsigned)sim_rand_range(r, 1, 5);
        sc->late_ms = config->node_timeout_ms;
    }
    if (sim_rand_chance(r, 50)) {
        sc->rto_ms = 200;
        sc->user_timeout_ms = config->node_timeout_ms;
        sc->loss_percent = sim_rand_chance(r, 60) ? (unsigned)sim_rand_range(r, 0, 3) : 30;
    }
    sc->clock = some_clock(r);
}

/* The nodes of the job, spares that come early or late, and replacements. */
static void add_agents(struct sim *s, struct agent_config *config, uint32_t nodes, uint32_t extra)
{
    struct sim_rand *r = &s->rand;
    bool has_ranks = sim_rand_chance(r, 20);
    bool has_sched = sim_rand_chance(r, 30);
    bool has_clocks = sim_rand_chance(r, 50);
    for (uint32_t i = 0; i < nodes + extra; i++) {
        config->slots = (uint32_t)sim_rand_range(r, 1, SIM_MAX_SLOTS);
        config->role = sim_rand_chance(r, 20) ? "other" : "default";
        config->node_rank = has_ranks && i < nodes ? (int32_t)(nodes - 1 - i) : -1;
        config->sched_rank = has_sched ? (int32_t)(i ^ 1U) : -1;
        uint32_t index = sim_add_agent(s, config);
        s->agents[index].clock = has_clocks ? some_clock(r) : (struct sim_clock){0};
        int64_t at = s->now_ms + sim_rand_range(r, 0, i < nodes ? 500 : 8000);
        if (sim_coordinator_is_of(s, index)) {
            at = s->now_ms;
        }
        sim_act_at(s, at, &(struct sim_action){.kind = SIM_START_AGENT, .agent = (int32_t)index});
    }
}

/* Most are small; some have hundreds of nodes, a few thousands. */
static uint32_t some_size(struct sim_rand *r)
{
    int64_t most = sim_rand_chance(r, 70) ? 4 : 16;
    if (sim_rand_chance(r, 1)) {
        most = sim_rand_chance(r, 5) ? 4000 : 400;
    }
    return (uint32_t)sim_rand_range(r, 1, most);
}

/*
 * A job that must succeed, in one round: nothing worse befalls it than one short fault of the
 * network or of the processes that are not workers.
 */
static void make_calm(struct sim *s, struct agent_config *config)
{
    s->config.must_succeed = true;
    s->config.plan = plain_plan;
    s->config.late_percent = 0;
    s->config.late_ms = 0;
    s->config.loss_percent = 0;
    config->policy.min_nodes = config->policy.max_nodes;
    config->policy.spares = 0;
    config->join_timeout_ms = 30 * 1000;
    config->node_timeout_ms = sim_rand_range(&s->rand, 1500, 5000);
    s->config.user_timeout_ms = s->config.rto_ms > 0 ? config->node_timeout_ms : 0;
}

static struct sim *make(uint64_t seed, uint32_t nodes, const bool *left_out)
{
    struct sim_rand r = {.state = seed};
    struct sim_config sc = {.seed = sim_rand_next(&r),
                            .host = sim_rand_chance(&r, 60) ? 0 : SIM_STANDALONE,
                            .latency_min_ms = 0,
                            .latency_max_ms = sim_rand_range(&r, 0, 40),
                            .splits_bytes = sim_rand_chance(&r, 30),
                            .has_store = sim_rand_chance(&r, 50),
                            .plan = some_plan};
    struct sim *s = sim_new(&sc);
    s->left_out = left_out;
    uint32_t size = some_size(&r);
    nodes = nodes > 0 ? nodes : size;
    s->config.rarity = 1 + nodes / 16;
    struct agent_config config = some_config(&r, nodes);
    some_weather(&s->config, &r, &config);
    int64_t faults = sim_rand_chance(&r, 15) ? 0 : sim_rand_range(&r, 1, 5);
    if (sim_rand_chance(&r, 15)) {
        make_calm(s, &config);
        add_agents(s, &config, nodes, 0);
        sim_fault_add_short(s, &config, nodes);
        return s;
    }
    uint32_t extra = sim_rand_chance(&r, 50) ? (uint32_t)sim_rand_range(&r, 0, 4) : 0;
    add_agents(s, &config, nodes, extra);
    for (int64_t i = 0; i < faults; i++) {
        sim_fault_add(s, &config, nodes + extra);
    }
    return s;
}

/* Owned by the caller; it has run. */
static struct sim *run(uint64_t seed, uint32_t nodes, const bool *left_out, bool is_tracing)
{
    struct sim *s = make(seed, nodes, left_out);
    s->is_tracing = is_tracing;
    if (s->config.host < 0) {
        sim_coordinator_start(s);
    }
    sim_run(s, LIMIT_MS);
    return s;
}

static bool is_good(const struct sim *s, uint64_t seed)
{
    if (s->violation[0] != '\0') {
        printf("seed %llu: at %lld ms: %s\n", (unsigned long long)seed, (long long)s->now_ms,
               s->violation);
    }
    return s->violation[0] == '\0';
}

bool sim_random_run(uint64_t seed, uint32_t nodes)
{
    struct sim *s = run(seed, nodes, NULL, false);
    bool good = is_good(s, seed);
    sim_free(s);
    return good;
}

bool sim_random_show(uint64_t seed, uint32_t nodes)
{
    struct sim *s = run(seed, nodes, NULL, false);
    uint32_t count = s->fault_count;
    bool has_failed = s->violation[0] != '\0';
    uint32_t out = 0;
    mu_autofree bool *left_out = mu_calloc(count + 1, sizeof(left_out[0]));
    for (uint32_t i = 0; has_failed && i < count; i++) {
        sim_free(s);
        left_out[i] = true;
        s = run(seed, nodes, left_out, false);
        left_out[i] = s->violation[0] != '\0';
        out += left_out[i];
    }
    sim_free(s);
    s = run(seed, nodes, left_out, true);
    fwrite(s->trace.data, 1, s->trace.len, stdout);
    bool good = is_good(s, seed);
    if (out > 0) {
        printf("it needs %u of %u faults; the others are left out here\n", count - out, count);
    }
    sim_free(s);
    return good;
}
