/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

#include <stdarg.h>

enum { SPIN_LIMIT = 20000, SPINS_OF_AGENT = 100 };

/* ---- life ---- */

struct sim *sim_new(const struct sim_config *config)
{
    struct sim *s = mu_alloc(sizeof(*s));
    s->config = *config;
    s->rand.state = config->seed;
    s->now_ms = 1000; /* no engine may take 0 for "now" */
    s->calm_since_ms = s->now_ms;
    s->next_pid = 100;
    sim_check_coordinator_new(s);
    return s;
}

void sim_free(struct sim *s)
{
    for (size_t i = 0; i < s->heap_count; i++) {
        free(s->heap[i].data);
    }
    for (uint32_t i = 0; i < s->link_count; i++) {
        mu_buf_fini(&s->links[i].received[0]);
        mu_buf_fini(&s->links[i].received[1]);
    }
    for (uint32_t i = 0; i < s->agent_count; i++) {
        agent_free(s->agents[i].engine);
    }
    member_free(s->member);
    sim_store_fini(s);
    mu_buf_fini(&s->trace);
    sim_timers_fini(&s->timers);
    free(s->agents);
    free(s->places);
    free(s->check.living);
    free(s->links);
    free(s->heap);
    free(s);
}

uint32_t sim_add_agent(struct sim *s, const struct agent_config *config)
{
    MU_REQUIRE(s->timers.count == 0 && config->slots <= SIM_MAX_SLOTS);
    if (s->agent_count == s->agent_cap) {
        s->agent_cap = s->agent_cap > 0 ? 2 * s->agent_cap : 8;
        s->agents = mu_realloc(s->agents, s->agent_cap * sizeof(s->agents[0]));
    }
    uint32_t index = s->agent_count++;
    struct sim_agent *a = &s->agents[index];
    *a = (struct sim_agent){.link = -1};
    snprintf(a->name, sizeof(a->name), "agent%u", index);
    a->config = *config;
    a->config.agent_id = 1000 + index;
    a->config.pid = 10 + index;
    return index;
}

void sim_act_at(struct sim *s, int64_t at_ms, const struct sim_action *action)
{
    sim_schedule(s, &(struct sim_event){.at_ms = at_ms, .kind = SIM_ACTION, .action = *action});
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
    if (!s->is_tracing) {
        return;
    }
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    mu_buf_printf(&s->trace, "[%5lld] %s\n", (long long)s->now_ms, text);
}

void sim_trace_log(struct sim *s, const char *who, enum mu_log_level level, const char *text)
{
    bool is_state = level == MU_LOG_DEBUG && strcmp(who, "coordinator") == 0;
    if (!s->is_brief || is_state) {
        sim_trace(s, "%s: %s", who, text);
    }
}

void sim_violate(struct sim *s, const char *fmt, ...)
{
    if (s->violation[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->violation, sizeof(s->violation), fmt, args);
    va_end(args);
    sim_trace(s, "VIOLATION: %s", s->violation);
}

/* ---- actions ---- */

/* What stands still never comes back earlier because it is stopped a second time. */
static void extend(int64_t *until_ms, int64_t to_ms)
{
    *until_ms = to_ms > *until_ms ? to_ms : *until_ms;
}

static void pause_process(struct sim *s, int32_t agent, int64_t for_ms)
{
    int64_t until_ms = s->now_ms + for_ms;
    extend(&s->calm_since_ms, until_ms);
    if (agent == SIM_STANDALONE) {
        extend(&s->coordinator_paused_until_ms, until_ms);
        sim_touch_coordinator(s);
        return;
    }
    extend(&s->agents[agent].paused_until_ms, until_ms);
    sim_touch(s, (uint32_t)agent);
    if (sim_coordinator_is_of(s, (uint32_t)agent)) {
        sim_touch_coordinator(s);
    }
}

static void reset_link(struct sim *s, struct sim_agent *a, enum sim_action_kind kind)
{
    int32_t link = a->link;
    if (link < 0) {
        return;
    }
    struct sim_event e = {.at_ms = s->now_ms, .kind = SIM_CLOSED, .link = link, .is_reset = true};
    if (kind != SIM_RESET_AT_COORDINATOR) {
        sim_schedule(s, &e);
    }
    if (kind != SIM_RESET_AT_AGENT) {
        e.is_to_coordinator = true;
        sim_schedule(s, &e);
    }
}

static void cut(struct sim *s, struct sim_agent *a, const struct sim_action *action)
{
    static const char *const ways[] = {"off", "off from what is sent to it",
                                       "off from sending anything"};
    sim_trace(s, "%s is cut %s for %lld ms", a->name, ways[action->kind - SIM_CUT],
              (long long)action->value);
    int64_t until_ms = s->now_ms + action->value;
    if (action->kind != SIM_CUT_TO_COORDINATOR) {
        extend(&a->cut_until_ms[0], until_ms);
    }
    if (action->kind != SIM_CUT_TO_AGENT) {
        extend(&a->cut_until_ms[1], until_ms);
    }
    extend(&s->calm_since_ms, until_ms);
}

static void act_on_agent(struct sim *s, const struct sim_action *action)
{
    struct sim_agent *a = &s->agents[action->agent];
    if (action->kind == SIM_START_AGENT) {
        sim_agent_start(s, (uint32_t)action->agent);
        return;
    }
    if (a->life != SIM_AGENT_UP) {
        return;
    }
    uint32_t index = (uint32_t)action->agent;
    if (action->kind == SIM_END_WORKER && a->suspended_until_ms > s->now_ms) {
        sim_act_at(s, a->suspended_until_ms, action);
    } else if (action->kind == SIM_SIGNAL_AGENT && a->paused_until_ms > s->now_ms) {
        sim_act_at(s, a->paused_until_ms, action);
    } else if (action->kind == SIM_SIGNAL_AGENT) {
        sim_trace(s, "%s gets signal %d", a->name, (int)action->value);
        agent_signal(a->engine, (int)action->value, sim_agent_now(a, s));
        sim_agent_carry_out(s, index);
    } else if (action->kind == SIM_CRASH_AGENT || action->kind == SIM_POWER_OFF) {
        sim_agent_crash(s, index, action->kind == SIM_POWER_OFF);
    } else if (action->kind == SIM_CUT || action->kind == SIM_CUT_TO_AGENT ||
               action->kind == SIM_CUT_TO_COORDINATOR) {
        cut(s, a, action);
    } else if (action->kind == SIM_SUSPEND) {
        sim_trace(s, "the machine of %s is suspended for %lld ms", a->name,
                  (long long)action->value);
        extend(&a->suspended_until_ms, s->now_ms + action->value);
        pause_process(s, action->agent, action->value);
    } else if (action->kind == SIM_END_WORKER) {
        if (action->cause != CAUSE_UNKNOWN) {
            a->procs.workers[action->value].plan.cause = action->cause;
        }
        sim_procs_end_worker(s, index, (uint32_t)action->value, action->outcome);
    } else {
        sim_trace(s, "%s loses its connection", a->name);
        extend(&s->calm_since_ms, s->now_ms);
        reset_link(s, a, action->kind);
    }
}

static void act(struct sim *s, const struct sim_action *action)
{
    if (action->kind == SIM_PAUSE) {
        sim_trace(s, "%s stands still for %lld ms",
                  action->agent == SIM_STANDALONE ? "coordinator" : s->agents[action->agent].name,
                  (long long)action->value);
        pause_process(s, action->agent, action->value);
    } else if (action->kind == SIM_STOP_COORDINATOR) {
        if (s->member != NULL) {
            sim_trace(s, "coordinator gets signal %d", (int)action->value);
            member_stop(s->member, (int)action->value, "a signal", sim_coordinator_now(s));
            sim_coordinator_carry_out(s);
        }
    } else if (action->kind == SIM_CRASH_COORDINATOR) {
        if (s->member != NULL) {
            sim_coordinator_crash(s, false);
            sim_act_at(s, s->now_ms + action->value,
                       &(struct sim_action){.kind = SIM_CRASH_COORDINATOR});
        } else {
            sim_coordinator_start(s);
        }
    } else {
        act_on_agent(s, action);
    }
}

/* ---- the loop ---- */

static void carry_out_event(struct sim *s, struct sim_event *e)
{
    switch (e->kind) {
    case SIM_BYTES:
    case SIM_CLOSED:
        sim_link_event(s, e);
        break;
    case SIM_DIALED:
        sim_link_dialed(s, e->agent);
        break;
    case SIM_UNACKED:
        sim_tcp_unacked(s, e);
        break;
    case SIM_WORKERS_UP:
    case SIM_WORKER_ENDS:
    case SIM_WORKER_HEARD_OF:
    case SIM_LEASE_ENDS:
    case SIM_WORKERS_GONE:
        sim_procs_event(s, e);
        break;
    case SIM_STORE_DIALED:
    case SIM_STORE_DATA:
    case SIM_STORE_TIMEOUT:
        sim_store_event(s, e);
        break;
    case SIM_ACTION:
        act(s, &e->action);
        break;
    }
    free(e->data);
}

static void tick(struct sim *s, uint32_t who)
{
    if (who == s->agent_count) {
        member_tick(s->member, sim_coordinator_now(s));
        sim_coordinator_carry_out(s);
    } else {
        agent_tick(s->agents[who].engine, sim_agent_now(&s->agents[who], s));
        sim_agent_carry_out(s, who);
    }
}

void sim_run(struct sim *s, int64_t limit_ms)
{
    unsigned spins = 0;
    sim_timers_begin(s);
    while (s->violation[0] == '\0') {
        uint32_t who = s->timers.heap[0];
        int64_t tick_ms = s->timers.due_ms[who];
        tick_ms = tick_ms < s->now_ms ? s->now_ms : tick_ms;
        int64_t event_ms = s->heap_count > 0 ? s->heap[0].at_ms : INT64_MAX;
        int64_t at = tick_ms < event_ms ? tick_ms : event_ms;
        if (at == INT64_MAX) {
            break;
        }
        if (at > limit_ms) {
            sim_violate(s, "it goes on for ever");
            break;
        }
        spins = at == s->now_ms ? spins + 1 : 0;
        if (spins > SPIN_LIMIT + SPINS_OF_AGENT * s->agent_count) {
            sim_violate(s, "%u events and no time passes", spins);
            break;
        }
        s->now_ms = at;
        /* As in libuv's loop: timers that are due come before what has arrived. */
        if (tick_ms <= event_ms) {
            tick(s, who);
        } else {
            struct sim_event e = sim_pop(s);
            carry_out_event(s, &e);
        }
        sim_timers_update(s);
        sim_check_step(s);
        sim_timers_forget(s);
    }
    if (s->violation[0] == '\0') {
        sim_check_finished(s);
    }
}
