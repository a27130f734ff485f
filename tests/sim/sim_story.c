/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named stories: what happens, and the exact course of events that must follow, line by line, in
 * tests/sim/golden/NAME.trace. After a wanted change: simulator --story NAME >that file, and read
 * the difference.
 */
#include "tests/sim/sim_story.h"

#include "muster/mem.h"

#include <errno.h>

enum { BEGIN_MS = 1000, NODE_TIMEOUT_MS = 1000, LATENCY_MS = 1, LIMIT_MS = 600 * 1000 };

static const struct story *current; /* of the plan */

static struct sim_plan plan(struct sim *s, uint32_t agent, uint32_t slot)
{
    (void)s;
    (void)slot;
    return (struct sim_plan){.spawn_ms = 2,
                             .life_ms = current->life_ms > 0 ? current->life_ms : -1,
                             .outcome = {.kind = OUTCOME_EXITED},
                             .term_ms = current->term_ms != 0 ? current->term_ms : 5,
                             .term_outcome = {.kind = OUTCOME_SIGNALED},
                             .is_stuck = current->stuck_agent == agent + 1};
}

static struct sim *run(const struct story *story)
{
    struct sim_config sc = {.host = story->host,
                            .latency_min_ms = LATENCY_MS,
                            .latency_max_ms = LATENCY_MS,
                            .rto_ms = story->rto_ms,
                            .user_timeout_ms = story->rto_ms > 0 ? NODE_TIMEOUT_MS : 0,
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
                                  .node_timeout_ms = NODE_TIMEOUT_MS,
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
    for (size_t i = 0; i < STORY_MAX_ACTIONS && story->actions[i].at_ms != 0; i++) {
        sim_act_at(s, BEGIN_MS + story->actions[i].at_ms, &story->actions[i].action);
    }
    sim_run(s, LIMIT_MS);
    mu_buf_append_u8(&s->trace, '\0');
    s->trace.len--;
    return s;
}

bool sim_story_show(const char *name)
{
    for (size_t i = 0; sim_stories[i].name != NULL; i++) {
        if (strcmp(sim_stories[i].name, name) == 0) {
            struct sim *s = run(&sim_stories[i]);
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
    for (size_t i = 0; sim_stories[i].name != NULL; i++) {
        if (check(&sim_stories[i])) {
            ++*passed;
        } else {
            failed++;
        }
    }
    return failed;
}
