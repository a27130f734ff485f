/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named stories: what happens, and the exact course of events that must follow, line by line, in
 * tests/sim/golden/NAME.trace. After a wanted change: simulator --story NAME >that file, and read
 * the difference.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

#include <errno.h>

enum { BEGIN_MS = 1000, LATENCY_MS = 1, LIMIT_MS = 600 * 1000, MAX_ACTIONS = 8 };

#define EXITED(n)                           \
    {                                       \
        .kind = OUTCOME_EXITED, .code = (n) \
    }
#define KILLED(n)                             \
    {                                         \
        .kind = OUTCOME_SIGNALED, .code = (n) \
    }

struct story_action {
    int64_t at_ms; /* from the beginning */
    struct sim_action action;
};

struct story {
    const char *name;
    int32_t host;
    uint32_t agents; /* all start at once, unless an action starts them */
    uint32_t late;   /* of them, the last ones: started by an action */
    uint32_t min_nodes;
    uint32_t max_nodes;
    uint32_t max_restarts;
    uint32_t spares;
    enum job_scale_up scale_up;
    int64_t life_ms;      /* of the workers; 0: until told */
    int64_t term_ms;      /* 0: they die of SIGTERM after 5 ms; -1: never */
    uint32_t stuck_agent; /* 1 + the agent whose workers survive SIGKILL; 0: none */
    struct story_action actions[MAX_ACTIONS];
};

static const struct story stories[] = {
    {.name = "success", .agents = 2, .min_nodes = 2, .max_nodes = 2, .life_ms = 100},
    {.name = "worker_fails",
     .agents = 3,
     .min_nodes = 3,
     .max_nodes = 3,
     .actions = {{100, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(3)}}}},
    {.name = "worker_fails_restart",
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .max_restarts = 1,
     .actions = {{100, {.kind = SIM_END_WORKER, .agent = 1, .outcome = KILLED(SIGSEGV)}},
                 {200, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {210, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}}}},
    {.name = "workers_ignore_sigterm",
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .term_ms = -1,
     .actions = {{100, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(1)}}}},
    {.name = "peer_is_heard_of_first",
     .agents = 3,
     .min_nodes = 3,
     .max_nodes = 3,
     .term_ms = -1,
     .actions =
         {{100,
           {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(1), .cause = CAUSE_PEER_LOST}},
          {103,
           {.kind = SIM_END_WORKER,
            .agent = 2,
            .outcome = KILLED(SIGSEGV),
            .cause = CAUSE_SEGFAULT}}}},
    {.name = "agent_killed",
     .agents = 3,
     .min_nodes = 3,
     .max_nodes = 3,
     .actions = {{100, {.kind = SIM_CRASH_AGENT, .agent = 1}}}},
    {.name = "node_loses_power",
     .agents = 3,
     .min_nodes = 3,
     .max_nodes = 3,
     .actions = {{100, {.kind = SIM_POWER_OFF, .agent = 2}}}},
    {.name = "spare_takes_over",
     .host = SIM_STANDALONE,
     .agents = 3,
     .late = 1,
     .min_nodes = 2,
     .max_nodes = 2,
     .actions = {{50, {.kind = SIM_START_AGENT, .agent = 2}},
                 {100, {.kind = SIM_CRASH_AGENT, .agent = 0}},
                 {200, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}},
                 {210, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
    {.name = "waits_for_replacement",
     .agents = 3,
     .late = 1,
     .min_nodes = 2,
     .max_nodes = 2,
     .max_restarts = 1,
     .actions = {{100, {.kind = SIM_CRASH_AGENT, .agent = 1}},
                 {300, {.kind = SIM_START_AGENT, .agent = 2}},
                 {400, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {400, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
    {.name = "node_missing", .agents = 2, .min_nodes = 3, .max_nodes = 3},
    {.name = "last_call",
     .agents = 3,
     .late = 1,
     .min_nodes = 2,
     .max_nodes = 4,
     .life_ms = 100,
     .actions = {{700, {.kind = SIM_START_AGENT, .agent = 2}}}},
    {.name = "spare_is_waited_for",
     .agents = 3,
     .late = 1,
     .min_nodes = 2,
     .max_nodes = 2,
     .spares = 1,
     .actions = {{500, {.kind = SIM_START_AGENT, .agent = 2}},
                 {700, {.kind = SIM_CRASH_AGENT, .agent = 1}},
                 {900, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {900, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
    {.name = "scale_up",
     .agents = 3,
     .late = 1,
     .min_nodes = 1,
     .max_nodes = 4,
     .actions = {{1100, {.kind = SIM_START_AGENT, .agent = 2}},
                 {2500, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {2500, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}},
                 {2500, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
    {.name = "scale_up_meets_success",
     .agents = 3,
     .late = 1,
     .min_nodes = 1,
     .max_nodes = 3,
     .actions = {{1100, {.kind = SIM_START_AGENT, .agent = 2}},
                 {1103, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {1103, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}}}},
    {.name = "scale_up_never",
     .agents = 3,
     .late = 1,
     .min_nodes = 1,
     .max_nodes = 3,
     .scale_up = JOB_SCALE_UP_NEVER,
     .actions = {{1100, {.kind = SIM_START_AGENT, .agent = 2}},
                 {1500, {.kind = SIM_CRASH_AGENT, .agent = 1}},
                 {2500, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {2500, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
    {.name = "interrupted",
     .agents = 3,
     .min_nodes = 3,
     .max_nodes = 3,
     .actions = {{100, {.kind = SIM_SIGNAL_AGENT, .agent = 1, .value = SIGINT}}}},
    {.name = "interrupted_twice",
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .term_ms = -1,
     .actions = {{100, {.kind = SIM_SIGNAL_AGENT, .agent = 1, .value = SIGINT}},
                 {300, {.kind = SIM_SIGNAL_AGENT, .agent = 1, .value = SIGINT}}}},
    {.name = "interrupted_while_forming",
     .agents = 2,
     .min_nodes = 3,
     .max_nodes = 3,
     .actions = {{100, {.kind = SIM_SIGNAL_AGENT, .agent = 1, .value = SIGTERM}},
                 {300, {.kind = SIM_SIGNAL_AGENT, .agent = 0, .value = SIGTERM}}}},
    {.name = "connection_lost",
     .host = SIM_STANDALONE,
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .max_restarts = 1,
     .term_ms = 80,
     .actions = {{100, {.kind = SIM_RESET, .agent = 1}},
                 {400, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {400, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}}}},
    {.name = "connection_half_lost",
     .host = SIM_STANDALONE,
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .term_ms = 80,
     .actions = {{100, {.kind = SIM_RESET_AT_AGENT, .agent = 1}},
                 {400, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {400, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}}}},
    {.name = "cut_off",
     .host = SIM_STANDALONE,
     .agents = 2,
     .min_nodes = 1,
     .max_nodes = 2,
     .life_ms = 3000,
     .actions = {{100, {.kind = SIM_CUT, .agent = 1, .value = 5000}}}},
    {.name = "coordinator_restarted",
     .host = SIM_STANDALONE,
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .actions = {{100, {.kind = SIM_CRASH_COORDINATOR, .agent = SIM_STANDALONE, .value = 300}},
                 {900, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {900, {.kind = SIM_END_WORKER, .agent = 1, .outcome = EXITED(0)}}}},
    {.name = "coordinator_stands_still",
     .host = SIM_STANDALONE,
     .agents = 2,
     .min_nodes = 2,
     .max_nodes = 2,
     .life_ms = 2000,
     .actions = {{100, {.kind = SIM_PAUSE, .agent = SIM_STANDALONE, .value = 900}}}},
    {.name = "unkillable",
     .host = SIM_STANDALONE,
     .agents = 3,
     .min_nodes = 2,
     .max_nodes = 2,
     .max_restarts = 1,
     .stuck_agent = 2,
     .actions = {{100, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(1)}},
                 {20000, {.kind = SIM_END_WORKER, .agent = 0, .outcome = EXITED(0)}},
                 {20000, {.kind = SIM_END_WORKER, .agent = 2, .outcome = EXITED(0)}}}},
};

static const struct story *current; /* of the plan */

static struct sim_plan plan(struct sim *s, uint32_t agent, uint32_t slot)
{
    (void)s;
    (void)slot;
    return (struct sim_plan){.spawn_ms = 2,
                             .life_ms = current->life_ms > 0 ? current->life_ms : -1,
                             .outcome = EXITED(0),
                             .term_ms = current->term_ms != 0 ? current->term_ms : 5,
                             .term_outcome = {.kind = OUTCOME_SIGNALED},
                             .is_stuck = current->stuck_agent == agent + 1};
}

static struct sim *run(const struct story *story)
{
    struct sim_config sc = {.host = story->host,
                            .latency_min_ms = LATENCY_MS,
                            .latency_max_ms = LATENCY_MS,
                            .plan = plan};
    struct agent_config config = {.run_id = "job",
                                  .role = "default",
                                  .coordinator = "10.0.0.1:29500",
                                  .slots = 1,
                                  .node_rank = -1,
                                  .sched_rank = -1,
                                  .policy.min_nodes = story->min_nodes,
                                  .policy.max_nodes = story->max_nodes,
                                  .policy.max_restarts = story->max_restarts,
                                  .policy.spares = story->spares,
                                  .policy.scale_up = story->scale_up,
                                  .join_timeout_ms = 4000,
                                  .last_call_ms = 1000,
                                  .node_timeout_ms = 1000,
                                  .grace_ms = 500};
    current = story;
    struct sim *s = sim_new(&sc);
    s->now_ms = BEGIN_MS;
    s->is_tracing = true;
    s->is_brief = true;
    if (story->host == SIM_STANDALONE) {
        sim_coordinator_start(s);
    }
    for (uint32_t i = 0; i < story->agents; i++) {
        sim_add_agent(s, &config);
        if (i + story->late < story->agents) {
            sim_act_at(s, BEGIN_MS,
                       &(struct sim_action){.kind = SIM_START_AGENT, .agent = (int32_t)i});
        }
    }
    for (size_t i = 0; i < MAX_ACTIONS && story->actions[i].at_ms != 0; i++) {
        sim_act_at(s, BEGIN_MS + story->actions[i].at_ms, &story->actions[i].action);
    }
    sim_run(s, LIMIT_MS);
    mu_buf_append_u8(&s->trace, '\0');
    s->trace.len--;
    return s;
}

bool sim_story_show(const char *name)
{
    for (size_t i = 0; i < MU_COUNT(stories); i++) {
        if (strcmp(stories[i].name, name) == 0) {
            struct sim *s = run(&stories[i]);
            fwrite(s->trace.data, 1, s->trace.len, stdout);
            sim_free(s);
            return true;
        }
    }
    fprintf(stderr, "sim: there is no story '%s'\n", name);
    return false;
}

/* Says where the two part. */
static bool is_same(const char *name, const char *want, const char *got)
{
    unsigned line = 1;
    while (*want != '\0' || *got != '\0') {
        size_t want_len = strcspn(want, "\n");
        size_t got_len = strcspn(got, "\n");
        if (want_len != got_len || memcmp(want, got, want_len) != 0) {
            printf("story %s, line %u:\n  expected %.*s\n  got      %.*s\n", name, line,
                   (int)want_len, want, (int)got_len, got);
            return false;
        }
        want += want_len + (want[want_len] == '\n');
        got += got_len + (got[got_len] == '\n');
        line++;
    }
    return true;
}

static bool check(const struct story *story)
{
    char path[256];
    snprintf(path, sizeof(path), "tests/sim/golden/%s.trace", story->name);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        printf("story %s: %s: %s\n", story->name, path, strerror(errno));
        return false;
    }
    static char want[256 * 1024];
    size_t len = fread(want, 1, sizeof(want) - 1, f);
    fclose(f);
    want[len] = '\0';
    struct sim *s = run(story);
    bool is_good = is_same(story->name, want, (const char *)s->trace.data);
    if (s->violation[0] != '\0') {
        printf("story %s: at %lld ms: %s\n", story->name, (long long)s->now_ms, s->violation);
        is_good = false;
    }
    sim_free(s);
    return is_good;
}

unsigned sim_stories_run(unsigned *passed)
{
    unsigned failed = 0;
    for (size_t i = 0; i < MU_COUNT(stories); i++) {
        if (check(&stories[i])) {
            ++*passed;
        } else {
            failed++;
        }
    }
    return failed;
}
