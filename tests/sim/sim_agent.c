/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uv_agent.c and uv_procs.c do for an agent engine: connections, and processes that start,
 * end, fail, ignore signals or cannot be killed.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

enum { KILL_TAKES_MS = 1, REAP_TAKES_MS = 1 };

void sim_agent_start(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    if (a->life != SIM_AGENT_NOT_YET) {
        return;
    }
    sim_trace(s, "%s starts", a->name);
    a->life = SIM_AGENT_UP;
    a->config.node_name = a->name;
    a->engine = agent_new(&a->config);
    a->contact_ms = s->now_ms;
    if (sim_coordinator_is_of(s, agent)) {
        sim_coordinator_start(s);
    }
    agent_start(a->engine, s->now_ms);
    sim_agent_carry_out(s, agent);
}

/* ---- processes ---- */

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

static void start_workers(struct sim *s, uint32_t agent, const struct assignment *assignment)
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
            agent_start_failed(a->engine, &x, s->now_ms);
            return;
        }
        w->pid = s->next_pid++;
        agent_worker_started(a->engine, i, w->pid);
        up_ms = w->plan.spawn_ms > up_ms ? w->plan.spawn_ms : up_ms;
        p->has_leftover = p->has_leftover || w->plan.leaves_process;
        if (w->plan.life_ms >= 0) {
            schedule_procs(s, agent, SIM_WORKER_ENDS, w->plan.spawn_ms + w->plan.life_ms, i,
                           w->plan.outcome);
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

static void signal_workers(struct sim *s, uint32_t agent, int signo)
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

static void kill_workers(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    sim_trace(s, "%s kills its workers", a->name);
    if (!a->procs.is_open) {
        return;
    }
    a->procs.was_told = true;
    a->procs.is_killed = true;
    for (uint32_t i = 0; i < a->config.slots; i++) {
        const struct sim_worker *w = &a->procs.workers[i];
        if (w->outcome.kind == OUTCOME_RUNNING && !w->plan.is_stuck) {
            schedule_procs(s, agent, SIM_WORKER_ENDS, KILL_TAKES_MS, i,
                           (struct outcome){.kind = OUTCOME_SIGNALED, .code = SIGKILL});
        }
    }
    stop_leftover(s, agent);
}

void sim_agent_end_worker(struct sim *s, uint32_t agent, uint32_t slot, struct outcome outcome)
{
    struct sim_agent *a = &s->agents[agent];
    struct sim_procs *p = &a->procs;
    if (!p->is_open || slot >= a->config.slots ||
        p->workers[slot].outcome.kind != OUTCOME_RUNNING) {
        return;
    }
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
    agent_worker_exited(a->engine, slot, &x, s->now_ms);
    if (p->alive == 0 && p->has_leftover) {
        agent_leftover(a->engine, 1, "pid 1, sleep", s->now_ms);
    } else if (p->alive == 0) {
        schedule_procs(s, agent, SIM_WORKERS_GONE, REAP_TAKES_MS, 0, (struct outcome){0});
    }
    sim_agent_carry_out(s, agent);
}

void sim_agent_procs_event(struct sim *s, const struct sim_event *e)
{
    struct sim_agent *a = &s->agents[e->agent];
    struct sim_procs *p = &a->procs;
    if (a->life != SIM_AGENT_UP || !p->is_open || p->generation != e->generation) {
        return;
    }
    if (a->paused_until_ms > s->now_ms) {
        struct sim_event again = *e;
        again.at_ms = a->paused_until_ms;
        sim_schedule(s, &again);
        return;
    }
    if (e->kind == SIM_WORKER_ENDS) {
        sim_agent_end_worker(s, e->agent, e->slot, e->outcome);
        return;
    }
    if (e->kind == SIM_WORKERS_UP) {
        agent_workers_running(a->engine, s->now_ms);
    } else {
        p->is_open = false;
        agent_workers_gone(a->engine, s->now_ms);
    }
    sim_agent_carry_out(s, e->agent);
}

/* ---- the end ---- */

static void procs_abandon(struct sim_procs *p)
{
    /* The shepherd kills them; nobody hears of it any more. */
    p->is_open = false;
    p->generation++;
}

static void hang_up(struct sim *s, struct sim_agent *a, bool is_silent)
{
    if (a->link >= 0) {
        sim_link_close(s, a->link, true, is_silent);
        a->link = -1;
    }
}

static void finish(struct sim *s, uint32_t agent, int exit_status)
{
    struct sim_agent *a = &s->agents[agent];
    sim_trace(s, "%s ends with exit status %d", a->name, exit_status);
    a->exit_status = exit_status;
    sim_check_agent_exit(s, agent);
    a->life = SIM_AGENT_ENDED;
    procs_abandon(&a->procs);
    hang_up(s, a, false);
    if (sim_coordinator_is_of(s, agent)) {
        sim_coordinator_stop(s, exit_status > 128 ? exit_status - 128 : SIGTERM,
                             "the end of its agent");
    }
}

void sim_agent_crash(struct sim *s, uint32_t agent, bool is_silent)
{
    struct sim_agent *a = &s->agents[agent];
    sim_trace(s, "%s %s", a->name, is_silent ? "loses power" : "is killed");
    a->life = SIM_AGENT_CRASHED;
    sim_touch(s, agent);
    procs_abandon(&a->procs);
    hang_up(s, a, is_silent);
    if (sim_coordinator_is_of(s, agent)) {
        sim_coordinator_crash(s, is_silent);
    }
}

void sim_agent_carry_out(struct sim *s, uint32_t agent)
{
    struct sim_agent *a = &s->agents[agent];
    const struct agent_effect *e;
    sim_touch(s, agent);
    while (a->life == SIM_AGENT_UP && (e = agent_take(a->engine)) != NULL) {
        switch (e->kind) {
        case AGENT_CONNECT:
            if (a->is_dialing || a->link >= 0) {
                sim_violate(s, "%s dials while it is connected or dialing", a->name);
            }
            a->is_dialing = true;
            sim_schedule(s, &(struct sim_event){.at_ms = s->now_ms + 2 * sim_latency(s),
                                                .kind = SIM_DIALED,
                                                .agent = agent});
            break;
        case AGENT_DISCONNECT:
            hang_up(s, a, false);
            break;
        case AGENT_SEND:
            if (a->link >= 0) {
                sim_link_send(s, a->link, true, &e->msg, e->msg.type == CTL_HELLO);
            }
            break;
        case AGENT_START:
            start_workers(s, agent, &e->assignment);
            break;
        case AGENT_SIGNAL:
            signal_workers(s, agent, e->signo);
            break;
        case AGENT_PASS:
            sim_trace(s, "%s passes signal %d", a->name, e->signo);
            break;
        case AGENT_LEASE:
            break;
        case AGENT_LOOK: /* nobody asks here: there are no c10d clients */
            agent_looked(a->engine, e->msg.whose.token, CTL_OWNED_NO);
            break;
        case AGENT_KILL:
            kill_workers(s, agent);
            break;
        case AGENT_LOG:
            sim_trace_log(s, a->name, e->level, e->text);
            break;
        case AGENT_PRINT:
            sim_trace(s, "%s prints the report", a->name);
            break;
        case AGENT_OVER:
            break;
        case AGENT_EXIT:
            finish(s, agent, e->exit_status);
            break;
        }
    }
}
