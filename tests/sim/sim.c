/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

#include <stdarg.h>

enum { SPIN_LIMIT = 20000 };

/* ---- chance: splitmix64 ---- */

uint64_t sim_rand_next(struct sim_rand *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

int64_t sim_rand_range(struct sim_rand *r, int64_t low, int64_t high)
{
    MU_REQUIRE(low <= high);
    return low + (int64_t)(sim_rand_next(r) % (uint64_t)(high - low + 1));
}

bool sim_rand_chance(struct sim_rand *r, unsigned percent)
{
    return sim_rand_next(r) % 100 < percent;
}

int64_t sim_latency(struct sim *s)
{
    return sim_rand_range(&s->rand, s->config.latency_min_ms, s->config.latency_max_ms);
}

/* ---- the heap of events: by time, then in the order they were made ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

void sim_schedule(struct sim *s, const struct sim_event *event)
{
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap > 0 ? 2 * s->heap_cap : 64;
        s->heap = mu_realloc(s->heap, s->heap_cap * sizeof(s->heap[0]));
    }
    struct sim_event e = *event;
    e.seq = s->seq++;
    size_t at = s->heap_count++;
    while (at > 0 && is_before(&e, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = e;
}

static struct sim_event pop(struct sim *s)
{
    struct sim_event top = s->heap[0];
    struct sim_event last = s->heap[--s->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < s->heap_count && is_before(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (child >= s->heap_count || is_before(&last, &s->heap[child])) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    if (s->heap_count > 0) {
        s->heap[at] = last;
    }
    return top;
}

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
    mu_buf_fini(&s->trace);
    free(s->links);
    free(s->heap);
    free(s);
}

uint32_t sim_add_agent(struct sim *s, const struct agent_config *config)
{
    MU_REQUIRE(s->agent_count < SIM_MAX_AGENTS && config->slots <= SIM_MAX_SLOTS);
    uint32_t index = s->agent_count++;
    struct sim_agent *a = &s->agents[index];
    snprintf(a->name, sizeof(a->name), "agent%u", index);
    a->config = *config;
    a->config.node_name = a->name;
    a->config.agent_id = 1000 + index;
    a->config.pid = 10 + index;
    a->link = -1;
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
    size_t slot = agent == SIM_STANDALONE ? SIM_MAX_AGENTS : (size_t)agent;
    extend(&s->paused_until_ms[slot], s->now_ms + for_ms);
    extend(&s->calm_since_ms, s->now_ms + for_ms);
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
    if (action->kind == SIM_SIGNAL_AGENT && s->paused_until_ms[index] > s->now_ms) {
        sim_act_at(s, s->paused_until_ms[index], action);
    } else if (action->kind == SIM_SIGNAL_AGENT) {
        sim_trace(s, "%s gets signal %d", a->name, (int)action->value);
        agent_signal(a->engine, (int)action->value, s->now_ms);
        sim_agent_carry_out(s, index);
    } else if (action->kind == SIM_CRASH_AGENT || action->kind == SIM_POWER_OFF) {
        sim_agent_crash(s, index, action->kind == SIM_POWER_OFF);
    } else if (action->kind == SIM_CUT) {
        sim_trace(s, "%s is cut off for %lld ms", a->name, (long long)action->value);
        extend(&a->cut_until_ms, s->now_ms + action->value);
        extend(&s->calm_since_ms, a->cut_until_ms);
    } else if (action->kind == SIM_END_WORKER) {
        if (action->cause != CAUSE_UNKNOWN) {
            a->procs.workers[action->value].plan.cause = action->cause;
        }
        sim_agent_end_worker(s, index, (uint32_t)action->value, action->outcome);
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
            member_stop(s->member, (int)action->value, "a signal", s->now_ms);
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
    case SIM_WORKERS_UP:
    case SIM_WORKER_ENDS:
    case SIM_WORKERS_GONE:
        sim_agent_procs_event(s, e);
        break;
    case SIM_ACTION:
        act(s, &e->action);
        break;
    }
    free(e->data);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The next engine whose deadline comes: an agent's index, agent_count for the coordinator. */
static int64_t next_tick(const struct sim *s, uint32_t *ret_who)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < s->agent_count; i++) {
        const struct sim_agent *a = &s->agents[i];
        int64_t due = a->life == SIM_AGENT_UP ? agent_deadline(a->engine) : INT64_MAX;
        due = due < INT64_MAX ? later(due, s->paused_until_ms[i]) : due;
        if (due < at) {
            at = due;
            *ret_who = i;
        }
    }
    int64_t due = s->member != NULL ? member_deadline(s->member) : INT64_MAX;
    due = due < INT64_MAX ? later(due, sim_coordinator_paused_until(s)) : due;
    if (due < at) {
        at = due;
        *ret_who = s->agent_count;
    }
    return at < INT64_MAX ? later(at, s->now_ms) : at;
}

static void tick(struct sim *s, uint32_t who)
{
    if (who == s->agent_count) {
        member_tick(s->member, s->now_ms);
        sim_coordinator_carry_out(s);
    } else {
        agent_tick(s->agents[who].engine, s->now_ms);
        sim_agent_carry_out(s, who);
    }
}

void sim_run(struct sim *s, int64_t limit_ms)
{
    unsigned spins = 0;
    while (s->violation[0] == '\0') {
        uint32_t who = 0;
        int64_t tick_ms = next_tick(s, &who);
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
        if (spins > SPIN_LIMIT) {
            sim_violate(s, "%u events and no time passes", spins);
            break;
        }
        s->now_ms = at;
        /* As in libuv's loop: timers that are due come before what has arrived. */
        if (tick_ms <= event_ms) {
            tick(s, who);
        } else {
            struct sim_event e = pop(s);
            carry_out_event(s, &e);
        }
        sim_check_step(s);
    }
    if (s->violation[0] == '\0') {
        sim_check_finished(s);
    }
}
