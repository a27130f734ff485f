/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a round: started as assigned, reported on, stopped.
 */
#include "launcher/agent_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"

uint32_t agent_get_round(const struct agent *a)
{
    return a->has_workers ? a->assignment.round : 0;
}

/* ---- starting ---- */

void agent_round_assign(struct agent *a, const struct ctl_assign *s)
{
    if (a->signo != 0 && !a->has_workers) {
        /* It crossed our LEAVE on the way: nothing was started, nothing is left. */
        agent_tell(a, &(struct ctl_msg){.type = CTL_STOPPED, .stopped = {.round = s->round}});
        return;
    }
    if (s->round == a->assignment.round) {
        return; /* it is said again after every connection that was lost */
    }
    if (a->has_workers || a->stuck_round != 0) {
        agent_say(a, MU_LOG_ERROR, "told to start round %u while round %u is still here; leaving",
                  s->round, a->assignment.round);
        agent_tell(
            a, &(struct ctl_msg){.type = CTL_LEAVE,
                                 .leave = {.signo = SIGTERM, .reason = mu_slice_of("confused")}});
        agent_give_up(a, 1, a->config.grace_ms);
        return;
    }
    if (!agent_link_is_fresh(a)) {
        return;
    }
    agent_report_forget(a);
    a->assignment = (struct assignment){.round = s->round,
                                        .restart_count = s->restart_count,
                                        .node_rank = s->node_rank,
                                        .node_count = s->node_count,
                                        .first_rank = s->first_rank,
                                        .world_size = s->world_size,
                                        .role_first_rank = s->role_first_rank,
                                        .role_world_size = s->role_world_size};
    a->has_workers = true;
    a->was_killed = false;
    a->signals_sent = 0;
    a->kill_ms = INT64_MAX;
    memset(a->pids, 0, a->config.slots * sizeof(a->pids[0]));
    agent_goto(a, AGENT_RUNNING);
    agent_effect_add(a, AGENT_START)->assignment = a->assignment;
    agent_round_lease(a);
}

void agent_round_lease(struct agent *a)
{
    if (a->has_workers && a->lease_ms != INT64_MAX) {
        agent_effect_add(a, AGENT_LEASE)->until_ms =
            a->lease_ms + a->timeout_ms * AGENT_FENCE_PERCENT / 100;
    }
}

void agent_worker_started(struct agent *a, uint32_t local_rank, uint32_t pid)
{
    MU_REQUIRE(local_rank < a->config.slots);
    a->pids[local_rank] = pid;
}

void agent_workers_running(struct agent *a, int64_t now_ms)
{
    a->now_ms = now_ms;
    a->is_started = true;
    agent_report_started(a);
}

/* ---- stopping ---- */

/*
 * Our own decision and the coordinator's order often follow each other: the workers still get each
 * signal once (a second one means "now" to many programs), and the earlier end of the grace time
 * counts.
 */
void agent_round_stop(struct agent *a, int signo, int64_t grace_ms)
{
    if (!a->has_workers || a->was_killed) {
        return;
    }
    if (a->state != AGENT_STOPPING) {
        agent_goto(a, AGENT_STOPPING);
        a->kill_ms = INT64_MAX;
    }
    if (signo == SIGKILL || grace_ms == 0) {
        a->was_killed = true;
        a->kill_ms = a->now_ms + AGENT_KILL_WAIT_MS;
        agent_effect_add(a, AGENT_KILL);
        return;
    }
    uint64_t bit = UINT64_C(1) << (signo - 1);
    if ((a->signals_sent & bit) == 0) {
        a->signals_sent |= bit;
        agent_effect_add(a, AGENT_SIGNAL)->signo = signo;
    }
    int64_t kill_ms = a->now_ms + grace_ms;
    a->kill_ms = kill_ms < a->kill_ms ? kill_ms : a->kill_ms;
}

void agent_round_end(struct agent *a)
{
    int64_t margin_ms = a->timeout_ms * (AGENT_FENCE_PERCENT - AGENT_STOP_PERCENT) / 100;
    agent_effect_add(a, AGENT_LEASE)->until_ms = a->now_ms + a->config.grace_ms + margin_ms;
    agent_round_stop(a, SIGTERM, a->config.grace_ms);
}

static void round_over(struct agent *a, uint32_t left)
{
    a->has_workers = false;
    a->kill_ms = INT64_MAX;
    a->stuck_round = left > 0 ? a->assignment.round : 0;
    a->is_over = true;
    a->left = left;
    agent_report_stopped(a);
    if (a->is_given_up && left == 0) {
        agent_report_forget(a); /* no session to go on with */
    }
    if (a->is_lost || (a->signo != 0 && !a->is_linked)) {
        agent_leave_with(a, a->exit_status);
        return;
    }
    if (a->signo != 0 && a->end_ms == INT64_MAX) {
        a->end_ms = a->now_ms + AGENT_END_WAIT_MS + a->config.grace_ms;
    }
    agent_goto(a, agent_is_joined(a) ? AGENT_WAITING : AGENT_CONNECTING);
}

void agent_round_tick(struct agent *a)
{
    if (a->now_ms < a->kill_ms) {
        return;
    }
    if (!a->was_killed) {
        agent_say(a, MU_LOG_NOTICE, "the grace time is over: killing what is left of the workers");
        a->was_killed = true;
        a->kill_ms = a->now_ms + AGENT_KILL_WAIT_MS;
        agent_effect_add(a, AGENT_KILL);
        return;
    }
    agent_say(a, MU_LOG_ERROR,
              "processes of round %u survive SIGKILL (stuck in the kernel?); giving up",
              a->assignment.round);
    round_over(a, 1);
}

/* ---- whose client is it? ---- */

void agent_looked(struct agent *a, uint64_t token, enum ctl_owned_answer answer)
{
    agent_tell(a, &(struct ctl_msg){.type = CTL_OWNED,
                                    .owned = {.token = token, .answer = (uint8_t)answer}});
}

void agent_round_whose(struct agent *a, const struct ctl_whose *w)
{
    /* Numbers of rounds are a coordinator's: another one may use the same for others. */
    if (agent_get_round(a) == w->round && !a->is_given_up) {
        struct agent_effect *e = agent_effect_add(a, AGENT_LOOK);
        e->msg = (struct ctl_msg){.type = CTL_WHOSE, .whose = *w};
    } else {
        agent_looked(a, w->token, CTL_OWNED_NO);
    }
}

/* ---- what becomes of them ---- */

void agent_worker_exited(struct agent *a, uint32_t local_rank, const struct agent_exit *x,
                         int64_t now_ms)
{
    MU_REQUIRE(local_rank < a->config.slots);
    a->now_ms = now_ms;
    bool is_success = outcome_is_success(x->outcome);
    /* Who ends well when told to end may not have done all its work. */
    bool was_told = a->state == AGENT_STOPPING;
    struct agent_exit plain = {.outcome = x->outcome,
                               .blame = was_told ? CAUSE_ORDERED : CAUSE_OWN,
                               .unix_ms = x->unix_ms};
    agent_report_exited(a, local_rank, is_success ? &plain : x);
    char how[128];
    outcome_describe(x->outcome, how, sizeof(how));
    agent_say(a, MU_LOG_INFO, "rank %u (local rank %u, pid %u) %s",
              a->assignment.first_rank + local_rank, local_rank, a->pids[local_rank], how);
    /* No need to wait for the order that is bound to come. */
    if (!is_success && a->state == AGENT_RUNNING) {
        agent_round_stop(a, SIGTERM, a->config.grace_ms);
    }
}

void agent_leftover(struct agent *a, uint32_t count, const char *example, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state == AGENT_RUNNING) {
        agent_say(a, MU_LOG_NOTICE,
                  "the workers have ended but left %u process%s behind (%s): stopping %s", count,
                  count == 1 ? "" : "es", example, count == 1 ? "it" : "them");
        agent_round_stop(a, SIGTERM, a->config.grace_ms);
    } else if (a->state == AGENT_STOPPING && !a->was_killed) {
        /* A process that was being forked escaped the stop signal; it need not cost the grace. */
        agent_effect_add(a, AGENT_SIGNAL)->signo = SIGTERM;
    }
}

void agent_workers_gone(struct agent *a, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state == AGENT_DONE) {
        return;
    }
    if (a->has_workers) {
        round_over(a, 0);
    } else if (a->stuck_round != 0) {
        agent_say(a, MU_LOG_NOTICE, "the last process of round %u is gone", a->stuck_round);
        a->stuck_round = 0;
        a->left = 0;
        agent_report_stopped(a);
    }
}

void agent_start_failed(struct agent *a, const struct agent_exit *x, int64_t now_ms)
{
    a->now_ms = now_ms;
    agent_say(a, MU_LOG_INFO, "cannot start the workers: " MU_SLICE_FMT, MU_SLICE_ARG(x->message));
    agent_worker_exited(a, 0, x, now_ms);
    agent_workers_gone(a, now_ms);
}
