/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the coordinator: made, kept alive, made again, given up.
 */
#include "launcher/agent_impl.h"

#include "muster/limits.h"

bool agent_is_welcome(const struct agent *a)
{
    return a->is_welcome;
}

uint64_t agent_get_coordinator(const struct agent *a)
{
    return a->coordinator_id;
}

static void try_again_later(struct agent *a, const char *why)
{
    snprintf(a->unreachable_why, sizeof(a->unreachable_why), "%s", why);
    if (a->unreachable_say_ms <= a->now_ms) {
        if (a->unreachable_say_ms != 0) {
            agent_say(
                a, MU_LOG_NOTICE,
                "cannot reach the coordinator at %s: %s; trying for %lld s, giving up after %lld s",
                a->config.coordinator, why, (long long)(a->now_ms - a->unreachable_since_ms) / 1000,
                (long long)(a->link_deadline_ms - a->unreachable_since_ms) / 1000);
            a->unreachable_say_ms = a->now_ms + AGENT_UNREACHABLE_EVERY_MS;
        } else {
            a->unreachable_say_ms = a->now_ms + AGENT_UNREACHABLE_FIRST_MS;
        }
    }
    a->retry_ms = a->now_ms + a->retry_wait_ms;
    /* Thousands of agents must not come in step: the id spreads them over half the time. */
    a->retry_ms += (int64_t)(a->config.agent_id % (uint64_t)(a->retry_wait_ms / 2 + 1));
    a->retry_wait_ms =
        2 * a->retry_wait_ms < AGENT_RETRY_MAX_MS ? 2 * a->retry_wait_ms : AGENT_RETRY_MAX_MS;
}

void agent_link_begin(struct agent *a)
{
    a->unreachable_since_ms = a->now_ms;
    a->link_deadline_ms = a->now_ms + a->config.join_timeout_ms;
    agent_effect_add(a, AGENT_CONNECT);
}

/* No other node will come and serve, so only a coordinator that answers soon is worth waiting for.
 */
void agent_endpoint_is_here(struct agent *a)
{
    int64_t soon_ms = a->unreachable_since_ms + AGENT_HERE_WAIT_MS;
    if (a->config.policy.max_nodes == 1 && !a->is_no_stranger && soon_ms < a->link_deadline_ms) {
        a->link_deadline_ms = soon_ms;
    }
}

void agent_connected(struct agent *a, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->is_lost || a->state == AGENT_DONE) {
        agent_effect_add(a, AGENT_DISCONNECT); /* the attempt was under way when we gave up */
        return;
    }
    const struct agent_config *c = &a->config;
    a->is_linked = true;
    a->heard_ms = now_ms;
    a->welcome_ms = now_ms + AGENT_WELCOME_WAIT_MS;
    struct ctl_msg msg = {
        .type = CTL_HELLO,
        .hello = {.run_id = mu_slice_of(c->run_id),
                  .agent_id = c->agent_id,
                  .node_name = mu_slice_of(c->node_name),
                  .pid = c->pid,
                  .slots = c->slots,
                  .node_rank = c->node_rank,
                  .sched_rank = c->sched_rank,
                  .role = mu_slice_of(c->role),
                  .min_nodes = c->policy.min_nodes,
                  .max_nodes = c->policy.max_nodes,
                  .spares = c->policy.spares,
                  .scale_up = (uint8_t)c->policy.scale_up,
                  .max_restarts = c->policy.max_restarts,
                  .max_node_losses = c->policy.max_node_losses,
                  .restart_window_ms = c->policy.restart_window_ms,
                  .min_uptime_ms = c->policy.min_uptime_ms,
                  .stop_codes = {(const char *)c->policy.stop_codes.bits, EXIT_CODES_BYTES},
                  .retry_codes = {(const char *)c->policy.retry_codes.bits, EXIT_CODES_BYTES},
                  .join_timeout_ms = c->join_timeout_ms,
                  .last_call_ms = c->last_call_ms,
                  .node_timeout_ms = c->node_timeout_ms,
                  .grace_ms = c->grace_ms,
                  .current_round = a->has_workers ? a->assignment.round : a->stuck_round,
                  .wants_report = c->wants_report,
                  .proof = mu_slice_of("")}};
    agent_tell(a, &msg);
}

void agent_disconnected(struct agent *a, bool is_closed, const char *why, int64_t now_ms)
{
    (void)is_closed;
    a->now_ms = now_ms;
    bool was_joined = agent_is_joined(a);
    a->is_linked = false;
    a->welcome_ms = INT64_MAX;
    a->next_heartbeat_ms = INT64_MAX;
    if (a->state == AGENT_DONE || a->is_lost) {
        return;
    }
    if (a->signo != 0 && !a->has_workers) {
        agent_leave_with(a, a->exit_status);
        return;
    }
    if (a->is_welcome && a->is_embedded) {
        agent_say(a, MU_LOG_ERROR, "lost the node with the coordinator, %s: %s; stopping",
                  a->config.coordinator, why);
        agent_give_up(a, 1);
        return;
    }
    if (was_joined) {
        agent_say(a, MU_LOG_WARN, "connection to the coordinator at %s lost: %s; trying again",
                  a->config.coordinator, why);
        a->unreachable_since_ms = now_ms;
        a->unreachable_say_ms = 0;
        a->retry_wait_ms = AGENT_RETRY_FIRST_MS;
        a->link_deadline_ms = now_ms + a->timeout_ms;
    }
    if (!a->has_workers) {
        agent_goto(a, AGENT_CONNECTING);
    }
    try_again_later(a, why);
}

/* The engine treats a connection it closes itself as one that was lost. */
static void hang_up(struct agent *a, const char *why)
{
    agent_effect_add(a, AGENT_DISCONNECT);
    agent_disconnected(a, false, why, a->now_ms);
}

void agent_link_close(struct agent *a)
{
    a->retry_ms = INT64_MAX;
    a->link_deadline_ms = INT64_MAX;
    if (a->is_linked) {
        a->is_linked = false;
        a->welcome_ms = INT64_MAX;
        a->next_heartbeat_ms = INT64_MAX;
        agent_effect_add(a, AGENT_DISCONNECT);
    }
}

/* ---- the coordinator's answer ---- */

void agent_link_welcome(struct agent *a, const struct ctl_welcome *w)
{
    if (w->heartbeat_ms < 1 || w->node_timeout_ms < w->heartbeat_ms ||
        w->node_timeout_ms > MU_MAX_SPAN_MS) {
        hang_up(a, "its WELCOME makes no sense");
        return;
    }
    a->is_welcome = true;
    a->is_no_stranger = true;
    a->welcome_ms = INT64_MAX;
    a->is_embedded = w->is_embedded != 0;
    a->coordinator_id = w->coordinator_id;
    a->heartbeat_ms = w->heartbeat_ms;
    a->timeout_ms = w->node_timeout_ms;
    a->next_heartbeat_ms = a->now_ms + a->heartbeat_ms;
    a->link_deadline_ms = INT64_MAX;
    agent_say(a, MU_LOG_INFO, "joined job '%s' at %s", a->config.run_id, a->config.coordinator);
    if (a->signo != 0) {
        agent_tell(a, &(struct ctl_msg){.type = CTL_LEAVE,
                                        .leave = {.signo = a->signo, .reason = mu_slice_of("")}});
    }
    if (a->stuck_round != 0) {
        agent_tell(a, &(struct ctl_msg){.type = CTL_STOPPED,
                                        .stopped = {.round = a->stuck_round, .left = 1}});
    }
    if (a->has_workers) {
        /* The coordinator gave us up, or is a new one: the round is dead, it will make another. */
        agent_say(a, MU_LOG_WARN,
                  "back in the job, but as a newcomer: stopping the workers of round %u",
                  a->assignment.round);
        agent_round_stop(a, SIGTERM, a->config.grace_ms);
    } else {
        agent_goto(a, AGENT_WAITING);
    }
}

void agent_link_refused(struct agent *a, const struct ctl_refused *r)
{
    if (r->may_retry != 0) {
        char why[256];
        snprintf(why, sizeof(why), MU_SLICE_FMT, MU_SLICE_ARG(r->text));
        if (!a->is_welcome) {
            a->link_deadline_ms = a->unreachable_since_ms + a->config.join_timeout_ms;
        }
        a->is_no_stranger = true;
        hang_up(a, why);
        return;
    }
    agent_say(a, MU_LOG_ERROR, "%s turned this node away: " MU_SLICE_FMT, a->config.coordinator,
              MU_SLICE_ARG(r->text));
    agent_link_close(a);
    agent_give_up(a, 1);
}

/* ---- time ---- */

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When a coordinator that says nothing more is given up. */
static int64_t silence_ms(const struct agent *a)
{
    return agent_is_joined(a) ? a->heard_ms + a->timeout_ms : INT64_MAX;
}

static void check_silence(struct agent *a)
{
    int64_t due_ms = min_ms(a->next_heartbeat_ms, silence_ms(a));
    /* This process itself stood still: nothing could be heard. */
    if (a->now_ms - due_ms > a->timeout_ms / 2) {
        a->heard_ms = a->now_ms;
    }
    if (a->now_ms >= silence_ms(a)) {
        agent_say(a, MU_LOG_ERROR,
                  "nothing heard from the coordinator at %s for %.1f s: cut off, stopping",
                  a->config.coordinator, (double)(a->now_ms - a->heard_ms) / 1e3);
        agent_link_close(a);
        agent_give_up(a, 1);
    } else if (a->now_ms >= a->next_heartbeat_ms) {
        agent_tell(a, &(struct ctl_msg){.type = CTL_HEARTBEAT,
                                        .heartbeat = {.round = agent_get_round(a)}});
        a->next_heartbeat_ms = a->now_ms + a->heartbeat_ms;
    }
}

static const char no_answer[] = "something accepts the connection but does not answer as a muster "
                                "coordinator does: is the port used by another program?";

void agent_link_tick(struct agent *a)
{
    if (a->now_ms >= a->link_deadline_ms) {
        const char *why = a->unreachable_why[0] != '\0' ? a->unreachable_why : "no answer yet";
        agent_say(a, MU_LOG_ERROR, "could not reach the coordinator at %s within %.1f s: %s",
                  a->config.coordinator, (double)(a->now_ms - a->unreachable_since_ms) / 1e3,
                  a->is_linked ? no_answer : why);
        agent_link_close(a);
        agent_give_up(a, 1);
    } else if (a->now_ms >= a->retry_ms) {
        a->retry_ms = INT64_MAX;
        agent_effect_add(a, AGENT_CONNECT);
    } else if (a->now_ms >= a->welcome_ms) {
        hang_up(a, no_answer);
    } else if (a->now_ms >= min_ms(a->next_heartbeat_ms, silence_ms(a))) {
        check_silence(a);
    }
}

int64_t agent_link_deadline(const struct agent *a)
{
    return min_ms(min_ms(min_ms(a->link_deadline_ms, a->welcome_ms), a->retry_ms),
                  min_ms(a->next_heartbeat_ms, silence_ms(a)));
}
