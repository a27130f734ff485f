/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of random jobs. Each has a number, so that a job that fails can be run without some.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

struct outcome sim_some_failure(struct sim_rand *r)
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

static void fault_at(struct sim *s, int64_t at_ms, const struct sim_action *action)
{
    uint32_t number = s->fault_count++;
    if (s->left_out == NULL || !s->left_out[number]) {
        sim_act_at(s, at_ms, action);
    }
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
            fault_at(s, at, &cut);
        }
    }
}

void sim_fault_add(struct sim *s, const struct agent_config *config, uint32_t count)
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
            fault_at(s, at + sim_rand_range(r, 0, 2500), &a); /* an echo, or a second one */
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
        if (sim_rand_chance(r, 30)) {
            fault_at(s, at + a.value + sim_rand_range(r, 1, 1000), &a); /* and once more */
        }
        break;
    case SIM_END_WORKER:
        a.value = sim_rand_range(r, 0, SIM_MAX_SLOTS - 1);
        a.outcome = sim_some_failure(r);
        if (sim_rand_chance(r, 50)) {
            /* A peer dies of it, and may be heard of first. */
            struct sim_action peer = {.kind = SIM_END_WORKER,
                                      .agent = (int32_t)sim_rand_range(r, 0, count - 1),
                                      .value = sim_rand_range(r, 0, SIM_MAX_SLOTS - 1),
                                      .outcome = {.kind = OUTCOME_EXITED, .code = 1},
                                      .cause = CAUSE_PEER_LOST};
            fault_at(s, at, &peer);
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
    fault_at(s, at, &a);
}

void sim_fault_add_short(struct sim *s, const struct agent_config *config, uint32_t count)
{
    static const enum sim_action_kind kinds[] = {SIM_PAUSE,
                                                 SIM_SUSPEND,
                                                 SIM_CUT,
                                                 SIM_CUT_TO_AGENT,
                                                 SIM_CUT_TO_COORDINATOR,
                                                 SIM_RESET,
                                                 SIM_RESET_AT_AGENT,
                                                 SIM_RESET_AT_COORDINATOR,
                                                 SIM_CRASH_COORDINATOR};
    struct sim_rand *r = &s->rand;
    int64_t at = s->now_ms + sim_rand_range(r, 0, 8000);
    struct sim_action a = {.kind = kinds[sim_rand_range(r, 0, MU_COUNT(kinds) - 1)],
                           .agent = (int32_t)sim_rand_range(r, 0, count - 1),
                           .value = sim_rand_range(r, 1, config->node_timeout_ms / 4)};
    if (a.kind == SIM_PAUSE && s->config.host < 0 && sim_rand_chance(r, 50)) {
        a.agent = SIM_STANDALONE;
    }
    /* With a coordinator goes its store, and workers that need that. */
    if (a.kind != SIM_CRASH_COORDINATOR || (s->config.host < 0 && !s->config.has_store)) {
        fault_at(s, at, &a);
    }
}
