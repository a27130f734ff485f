/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uv_procs.c does for an agent engine: processes that start, end, fail, ignore signals or
 * cannot be killed. A process lives or not whatever its agent knows: one that is stopped hears of
 * its end later, one that was killed never.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

enum { KILL_TAKES_MS = 1, REAP_TAKES_MS = 1 };

static void schedule_procs(struct sim *s, uint32_t agent, enum sim_event_kind kind, int64_t in_ms,
                           uint32_t slot, struct outcome outcome)
{
    sim_schedule(s, &(struct sim_event){.at_ms = s->now_ms + in_ms,
                                        .kind = kind,
                                        .agent = agent,
                                        .generation = s->agents[agent].procs.generation,
                                        .slot = slot,
                                        .outcome = outcome});
}

static void plan_end(struct sim *s, uint32_t agent, uint32_t slot, int64_t begins_in_ms)
{
    const struct sim_plan *plan = &s->agents[agent].procs.workers[slot].plan;
    if (plan->life_ms >= 0) {
        schedule_procs(s, agent, SIM_WORKER_ENDS, begins_in_ms + plan->life_ms, slot,
                       plan->outcome);
    }
}

/* While it loads its program, say; nor does one that hangs in the kernel meet anybody. */
static bool fails_alone(const struct sim_plan *plan)
{
    return plan->is_stuck || (!outcome_is_success(plan->outcome) && plan->life_ms % 2 == 0);
}

void sim_procs_live(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    a->procs.is_living = true;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        if (a->procs.workers[i].is_alive && !fails_alone(&a->procs.workers[i].plan)) {
            plan_end(s, agent, i, 0);
        }
    }
}

void sim_procs_fail(struct sim *s, uint32_t agent, int64_t within_ms)
{
    struct sim_agent *a = &s->agents[agent];
    for (uint32_t i = 0; i < a->config.slots; i++) {
        if (a->procs.workers[i].is_alive) {
            a->procs.workers[i].plan.cause = CAUSE_PEER_LOST;
            schedule_procs(s, agent, SIM_WORKER_ENDS, sim_rand_range(&s->rand, 0, within_ms), i,
                           (struct outcome){.kind = OUTCOME_EXITED, .code = 1});
        }
    }
}

void sim_procs_start(struct sim *s, uint32_t agent, const struct assignment *assignment)
{
    struct sim_agent *a = &s->agents[agent];
    struct sim_procs *p = &a->procs;
    if (p->is_open) {
        sim_violate(s, "%s starts round %u while processes of round %u are there", a->name,
                    assignment->round, p->assignment.round);
        return;
    }
    *p = (struct sim_procs){.is_open = true,
                            .generation = p->generation + 1,
                            .assignment = *assignment,
                            .client = -1,
                            .lease_ms = INT64_MAX,
                            .is_living = !s->config.has_store,
                            .alive = a->config.slots};
    sim_trace(s, "%s starts ranks %u to %u of %u, round %u", a->name, assignment->first_rank,
              assignment->first_rank + a->config.slots - 1, assignment->world_size,
              assignment->round);
    int64_t up_ms = 0;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        struct sim_worker *w = &p->workers[i];
        w->plan = s->config.plan(s, agent, i);
        if (w->plan.is_not_started) {
            p->is_open = false;
            p->workers[0].outcome =
                (struct outcome){.kind = OUTCOME_EXEC_FAILED, .code = 2 /* ENOENT */};
            struct agent_exit x = {.outcome = p->workers[0].outcome,
                                   .cause = CAUSE_EXEC,
                                   .message = mu_slice_of("no such program")};
            agent_start_failed(a->engine, &x, sim_agent_now(a, s));
            return;
        }
        w->pid = s->next_pid++;
        w->is_alive = true;
        sim_check_worker_begins(s, agent, assignment->round);
        agent_worker_started(a->engine, i, w->pid);
        up_ms = w->plan.spawn_ms > up_ms ? w->plan.spawn_ms : up_ms;
        p->has_leftover = p->has_leftover || w->plan.leaves_process;
        if (p->is_living || fails_alone(&w->plan)) {
            plan_end(s, agent, i, w->plan.spawn_ms);
        }
    }
    schedule_procs(s, agent, SIM_WORKERS_UP, up_ms, 0, (struct outcome){0});
}

/* A stop order reaches the whole tree. */
static void stop_leftover(struct sim *s, uint32_t agent)
{
    struct sim_procs *p = &s->agents[agent].procs;
    bool was_last = p->alive == 0 && p->has_leftover;
    p->has_leftover = false;
    if (was_last) {
        schedule_procs(s, agent, SIM_WORKERS_GONE, REAP_TAKES_MS, 0, (struct outcome){0});
    }
}

void sim_procs_signal(struct sim *s, uint32_t agent, int signo)
{
    struct sim_agent *a = &s->agents[agent];
    struct sim_procs *p = &a->procs;
    sim_trace(s, "%s sends signal %d to its workers", a->name, signo);
    if (!p->is_open) {
        return;
    }
    p->was_told = true;
    p->signo = signo;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        struct sim_worker *w = &p->workers[i];
        if (w->outcome.kind != OUTCOME_RUNNING) {
            continue;
        }
        if ((w->seen & 1U << signo) != 0) {
            sim_violate(s, "%s sends signal %d twice to the workers of round %u", a->name, signo,
                        p->assignment.round);
        }
        w->seen |= 1U << signo;
        if (w->plan.term_ms >= 0 && !w->plan.is_stuck) {
            struct outcome o = w->plan.term_outcome;
            o.code = o.kind == OUTCOME_SIGNALED ? signo : o.code;
            schedule_procs(s, agent, SIM_WORKER_ENDS, w->plan.term_ms, i, o);
        }
    }
    stop_leftover(s, agent);
}

/* From then on it runs no more, though the kernel may take its time, or keep it for ever. */
static void kill_worker(struct sim *s, uint32_t agent, uint32_t slot)
{
    struct sim_procs *p = &s->agents[agent].procs;
    struct sim_worker *w = &p->workers[slot];
    if (!w->is_alive) {
        return;
    }
    w->is_alive = false;
    sim_check_worker_ends(s, p->assignment.round);
    if (!w->plan.is_stuck) {
        schedule_procs(s, agent, SIM_WORKER_ENDS, KILL_TAKES_MS, slot,
                       (struct outcome){.kind = OUTCOME_SIGNALED, .code = SIGKILL});
    }
}

void sim_procs_kill(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    sim_trace(s, "%s kills its workers", a->name);
    if (!a->procs.is_open) {
        return;
    }
    a->procs.was_told = true;
    a->procs.is_killed = true;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        kill_worker(s, agent, i);
    }
    stop_leftover(s, agent);
}

/* Its agent is told. */
static void hear_of(struct sim *s, uint32_t agent, uint32_t slot, struct outcome outcome)
{
    struct sim_agent *a = &s->agents[agent];
    struct sim_procs *p = &a->procs;
    char how[64];
    outcome_describe(outcome, how, sizeof(how));
    sim_trace(s, "%s worker %u %s", a->name, slot, how);
    p->workers[slot].outcome = outcome;
    p->alive--;
    struct cause_stop stop = {.signo = p->signo, .is_killed = p->is_killed};
    enum cause_kind cause = p->workers[slot].plan.cause;
    struct agent_exit x = {.outcome = outcome,
                           .cause = cause,
                           .blame = cause_blame_of(cause, outcome, stop),
                           .message = mu_slice_of("a message"),
                           .tail = mu_slice_of("last words\n")};
    agent_worker_exited(a->engine, slot, &x, sim_agent_now(a, s));
    if (p->alive == 0 && p->has_leftover) {
        agent_leftover(a->engine, 1, "pid 1, sleep", sim_agent_now(a, s));
    } else if (p->alive == 0) {
        schedule_procs(s, agent, SIM_WORKERS_GONE, REAP_TAKES_MS, 0, (struct outcome){0});
    }
    sim_agent_carry_out(s, agent);
}

/* The process is gone, whether or not anybody hears of it now. */
void sim_procs_end_worker(struct sim *s, uint32_t agent, uint32_t slot, struct outcome outcome)
{
    struct sim_agent *a = &s->agents[agent];
    struct sim_worker *w = &a->procs.workers[slot];
    if (!a->procs.is_open || slot >= a->config.slots || w->is_gone) {
        return;
    }
    w->is_gone = true;
    if (slot == 0) {
        sim_store_hang_up(s, agent, a->is_dark);
    }
    if (w->is_alive) {
        w->is_alive = false;
        sim_check_worker_ends(s, a->procs.assignment.round);
    }
    if (a->life == SIM_AGENT_UP && a->paused_until_ms > s->now_ms) {
        schedule_procs(s, agent, SIM_WORKER_HEARD_OF, a->paused_until_ms - s->now_ms, slot,
                       outcome);
    } else if (a->life == SIM_AGENT_UP) {
        hear_of(s, agent, slot, outcome);
    }
}

/* ---- the lease ---- */

static void schedule_lease(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    int64_t at_ms = sim_clock_when(&a->clock, a->procs.lease_ms);
    schedule_procs(s, agent, SIM_LEASE_ENDS, at_ms > s->now_ms ? at_ms - s->now_ms : 0, 0,
                   (struct outcome){0});
}

void sim_procs_lease(struct sim *s, uint32_t agent, int64_t until_ms)
{
    struct sim_procs *p = &s->agents[agent].procs;
    bool is_first = p->lease_ms == INT64_MAX;
    p->lease_ms = until_ms;
    p->lease_span_ms = until_ms - sim_agent_now(&s->agents[agent], s);
    if (is_first) {
        schedule_lease(s, agent);
    }
}

/* Has it? If the shepherd stood still, too, the agent gets time to speak. */
static void lease_ends(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    if (a->procs.is_killed) {
        return;
    }
    int64_t late_ms = sim_agent_now(a, s) - a->procs.lease_ms;
    if (late_ms < 0) {
        schedule_lease(s, agent);
        return;
    }
    if (late_ms > a->procs.lease_span_ms / 2) {
        a->procs.lease_span_ms /= 2;
        a->procs.lease_ms = sim_agent_now(a, s) + a->procs.lease_span_ms;
        schedule_lease(s, agent);
        return;
    }
    sim_trace(s, "the shepherd of %s kills its workers", a->name);
    a->procs.was_told = true;
    a->procs.is_killed = true;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        kill_worker(s, agent, i);
    }
    stop_leftover(s, agent);
}

void sim_procs_event(struct sim *s, const struct sim_event *e)
{
    struct sim_agent *a = &s->agents[e->agent];
    struct sim_procs *p = &a->procs;
    if (!p->is_open || p->generation != e->generation) {
        return;
    }
    if (e->kind == SIM_WORKERS_UP && p->client < 0 && !p->is_living && p->workers[0].is_alive) {
        sim_store_connect(s, e->agent);
    }
    bool is_of_worker = e->kind == SIM_WORKER_ENDS || e->kind == SIM_LEASE_ENDS;
    int64_t until = is_of_worker ? a->suspended_until_ms : a->paused_until_ms;
    if (until > s->now_ms) {
        struct sim_event again = *e;
        again.at_ms = until;
        sim_schedule(s, &again);
        return;
    }
    if (e->kind == SIM_LEASE_ENDS) {
        lease_ends(s, e->agent);
        return;
    }
    if (is_of_worker) {
        sim_procs_end_worker(s, e->agent, e->slot, e->outcome);
        return;
    }
    if (a->life != SIM_AGENT_UP) {
        return;
    }
    if (e->kind == SIM_WORKER_HEARD_OF) {
        hear_of(s, e->agent, e->slot, e->outcome);
        return;
    }
    if (e->kind == SIM_WORKERS_UP) {
        agent_workers_running(a->engine, sim_agent_now(a, s));
    } else {
        p->is_open = false;
        agent_workers_gone(a->engine, sim_agent_now(a, s));
    }
    sim_agent_carry_out(s, e->agent);
}

void sim_procs_orphaned(struct sim *s, uint32_t agent, bool is_power_off)
{
    struct sim_agent *a = &s->agents[agent];
    a->procs.is_killed = true;
    for (uint32_t i = 0; i < a->config.slots && a->procs.is_open; i++) {
        if (is_power_off) {
            sim_procs_end_worker(s, agent, i, (struct outcome){0});
        } else {
            kill_worker(s, agent, i);
        }
    }
}
