/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random jobs: any number of nodes, slots, restarts and spares, workers that fail in every way, and
 * faults at any moment. Only the invariants say what is right.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

enum { LIMIT_MS = 3600 * 1000 };

static const struct outcome SUCCESS = {.kind = OUTCOME_EXITED, .code = 0};

static struct outcome some_failure(struct sim_rand *r)
{
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT, SIGTERM, SIGBUS};
    if (sim_rand_chance(r, 50)) {
        return (struct outcome){.kind = OUTCOME_EXITED, .code = (int)sim_rand_range(r, 1, 255)};
    }
    if (sim_rand_chance(r, 10)) {
        return (struct outcome){.kind = OUTCOME_UNKNOWN};
    }
    return (struct outcome){.kind = OUTCOME_SIGNALED,
                            .code = signals[sim_rand_range(r, 0, MU_COUNT(signals) - 1)]};
}

/* Of a job of many workers not everyone's can be as likely as in a small one. */
static bool befalls(struct sim *s, unsigned percent)
{
    return sim_rand_next(&s->rand) % (100 * s->config.rarity) < percent;
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
        p.outcome = some_failure(r);
    }
    if (sim_rand_chance(r, 10)) {
        p.term_ms = -1;
    }
    if (sim_rand_chance(r, 10)) {
        p.term_outcome = sim_rand_chance(r, 50) ? SUCCESS : some_failure(r);
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

/* In units that matter: less than the node timeout, about it, and far more. */
static int64_t some_while(struct sim *s, const struct agent_config *config)
{
    int64_t timeout = config->node_timeout_ms;
    return sim_rand_range(&s->rand, 1,
                          sim_rand_chance(&s->rand, 70) ? timeout * 3 / 2 : 5 * timeout);
}

/* A switch fails: any part of the nodes is cut off, at the same time and for as long. */
static void partition(struct sim *s, const struct agent_config *config, uint32_t count, int64_t at)
{
    struct sim_action cut = {.kind = SIM_CUT, .value = some_while(s, config)};
    unsigned percent = (unsigned)sim_rand_range(&s->rand, 10, 90);
    for (uint32_t i = 0; i < count; i++) {
        if (sim_rand_chance(&s->rand, percent)) {
            cut.agent = (int32_t)i;
            sim_act_at(s, at, &cut);
        }
    }
}

static void add_fault(struct sim *s, const struct agent_config *config, uint32_t count)
{
    static const enum sim_action_kind kinds[] = {SIM_SIGNAL_AGENT,
                                                 SIM_CRASH_AGENT,
                                                 SIM_CRASH_AGENT,
                                                 SIM_POWER_OFF,
                                                 SIM_PAUSE,
                                                 SIM_SUSPEND,
                                                 SIM_CUT,
                                                 SIM_CUT,
                                                 SIM_CUT_TO_AGENT,
                                                 SIM_CUT_TO_COORDINATOR,
                                                 SIM_RESET,
                                                 SIM_RESET,
                                                 SIM_RESET,
                                                 SIM_RESET_AT_AGENT,
                                                 SIM_RESET_AT_COORDINATOR,
                                                 SIM_END_WORKER,
                                                 SIM_END_WORKER,
                                                 SIM_END_WORKER,
                                                 SIM_STOP_COORDINATOR,
                                                 SIM_CRASH_COORDINATOR};
    struct sim_rand *r = &s->rand;
    int64_t at = s->now_ms + sim_rand_range(r, 0, sim_rand_chance(r, 50) ? 2000 : 15000);
    struct sim_action a = {.kind = kinds[sim_rand_range(r, 0, MU_COUNT(kinds) - 1)],
                           .agent = (int32_t)sim_rand_range(r, 0, count - 1)};
    switch (a.kind) {
    case SIM_SIGNAL_AGENT:
        a.value = sim_rand_chance(r, 50) ? SIGTERM : SIGINT;
        if (sim_rand_chance(r, 30)) {
            sim_act_at(s, at + sim_rand_range(r, 0, 2500), &a); /* an echo, or a second one */
        }
        break;
    case SIM_STOP_COORDINATOR:
        a.value = SIGTERM;
        break;
    case SIM_PAUSE:
        a.agent = s->config.host < 0 && sim_rand_chance(r, 20) ? SIM_STANDALONE : a.agent;
        a.value = some_while(s, config);
        break;
    case SIM_CRASH_COORDINATOR:
        if (s->config.host >= 0) {
            return;
        }
        a.value = some_while(s, config);
        break;
    case SIM_END_WORKER:
        a.value = sim_rand_range(r, 0, SIM_MAX_SLOTS - 1);
        a.outcome = some_failure(r);
        if (sim_rand_chance(r, 50)) {
            /* A peer dies of it, and may be heard of first. */
            struct sim_action peer = {.kind = SIM_END_WORKER,
                                      .agent = (int32_t)sim_rand_range(r, 0, count - 1),
                                      .value = sim_rand_range(r, 0, SIM_MAX_SLOTS - 1),
                                      .outcome = {.kind = OUTCOME_EXITED, .code = 1},
                                      .cause = CAUSE_PEER_LOST};
            sim_act_at(s, at, &peer);
            at += sim_rand_range(r, 0, 5);
        }
        break;
    case SIM_CUT:
        if (sim_rand_chance(r, 30)) {
            partition(s, config, count, at);
            return;
        }
        a.value = some_while(s, config);
        break;
    case SIM_SUSPEND:
    case SIM_CUT_TO_AGENT:
    case SIM_CUT_TO_COORDINATOR:
        a.value = some_while(s, config);
        break;
    case SIM_START_AGENT:
    case SIM_CRASH_AGENT:
    case SIM_POWER_OFF:
    case SIM_RESET:
    case SIM_RESET_AT_AGENT:
    case SIM_RESET_AT_COORDINATOR:
        break;
    }
    sim_act_at(s, at, &a);
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
static uint32_t add_agents(struct sim *s, struct agent_config *config, uint32_t nodes)
{
    struct sim_rand *r = &s->rand;
    uint32_t extra = sim_rand_chance(r, 50) ? (uint32_t)sim_rand_range(r, 0, 4) : 0;
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
    return nodes + extra;
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

static struct sim *make(uint64_t seed, uint32_t nodes)
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
    uint32_t size = some_size(&r);
    nodes = nodes > 0 ? nodes : size;
    s->config.rarity = 1 + nodes / 16;
    struct agent_config config = some_config(&r, nodes);
    some_weather(&s->config, &r, &config);
    uint32_t count = add_agents(s, &config, nodes);
    int64_t faults = sim_rand_chance(&r, 15) ? 0 : sim_rand_range(&r, 1, 5);
    for (int64_t i = 0; i < faults; i++) {
        add_fault(s, &config, count);
    }
    return s;
}

bool sim_random_run(uint64_t seed, uint32_t nodes, bool is_tracing)
{
    struct sim *s = make(seed, nodes);
    s->is_tracing = is_tracing;
    if (s->config.host < 0) {
        sim_coordinator_start(s);
    }
    sim_run(s, LIMIT_MS);
    bool is_good = s->violation[0] == '\0';
    if (is_tracing) {
        fwrite(s->trace.data, 1, s->trace.len, stdout);
    }
    if (!is_good) {
        printf("seed %llu: at %lld ms: %s\n", (unsigned long long)seed, (long long)s->now_ms,
               s->violation);
    }
    sim_free(s);
    return is_good;
}
