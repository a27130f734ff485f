/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The named stories (sim_story_list.c), and who runs them (sim_story.c).
 */
#pragma once

#include "tests/sim/sim.h"

enum { STORY_MAX_ACTIONS = 8 };

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
    int64_t rto_ms;       /* as in struct sim_config; the user timeout is the node timeout then */
    uint32_t stuck_agent; /* 1 + the agent whose workers survive SIGKILL; 0: none */
    struct story_action actions[STORY_MAX_ACTIONS];
};

/* In no order; the last one has no name. */
extern const struct story sim_stories[];
