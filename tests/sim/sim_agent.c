/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uv_agent.c does for an agent engine: its effects, and the end of its process.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

int64_t sim_agent_now(const struct sim_agent *a, const struct sim *s)
{
    return sim_clock_read(&a->clock, s->now_ms);
}

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
    agent_start(a->engine, sim_agent_now(a, s));
    sim_agent_carry_out(s, agent);
}

/* ---- the end ---- */

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
    sim_procs_orphaned(s, agent, false);
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
    a->is_dark = is_silent;
    sim_touch(s, agent);
    sim_procs_orphaned(s, agent, is_silent);
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
            if (e->is_abrupt && a->link >= 0) {
                sim_link_reset(s, a->link);
                a->link = -1;
            }
            hang_up(s, a, false);
            break;
        case AGENT_SEND:
            if (a->link >= 0) {
                sim_link_send(s, a->link, true, &e->msg, e->msg.type == CTL_HELLO);
            }
            break;
        case AGENT_START:
            sim_procs_start(s, agent, &e->assignment);
            break;
        case AGENT_SIGNAL:
            sim_procs_signal(s, agent, e->signo);
            break;
        case AGENT_PASS:
            sim_trace(s, "%s passes signal %d", a->name, e->signo);
            break;
        case AGENT_LEASE:
            /* A coordinator in this process stands still with it. */
            if (!sim_coordinator_is_of(s, agent)) {
                sim_procs_lease(s, agent, e->until_ms);
            }
            break;
        case AGENT_LOOK: /* nobody asks here: there are no c10d clients */
            agent_looked(a->engine, e->msg.whose.token, CTL_OWNED_NO);
            break;
        case AGENT_KILL:
            sim_procs_kill(s, agent);
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
