/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the coordinator: made, kept alive, made again, given up.
 */
#include "launcher/agent_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"

bool agent_is_welcome(const struct agent *a)
{
    return a->is_welcome;
}

uint64_t agent_get_coordinator(const struct agent *a)
{
    return a->coordinator_id;
}

/* What workers get to end by themselves when this node is cut off: others may take its place. */
static int64_t fence_ms(const struct agent *a)
{
    int64_t ms = a->timeout_ms * AGENT_STOP_PERCENT / 100;
    return ms < a->config.grace_ms ? ms : a->config.grace_ms;
}

/* Is it still to be found out on which rung the coordinator is? */
static bool is_searching(const struct agent *a)
{
    return a->config.ladder != NULL && !a->is_welcome;
}

/* Until when a link, or an answer, is waited for. */
static int64_t give_up_ms(const struct agent *a)
{
    return a->link_deadline_ms < a->lease_ms ? a->link_deadline_ms : a->lease_ms;
}

/* Where the coordinator was looked for, and what was found there instead; owned by the caller. */
static char *describe_search(const struct agent *a, const char *why)
{
    if (!is_searching(a)) {
        return mu_asprintf("at %s: %s", a->config.coordinator, why);
    }
    struct mu_buf b = {0};
    mu_buf_printf(&b, "of job '%s': ", a->config.run_id);
    ladder_describe(&a->ladder, &b);
    return mu_buf_take_text(&b);
}

static void say_unreachable(struct agent *a, const char *why)
{
    snprintf(a->unreachable_why, sizeof(a->unreachable_why), "%s", why);
    if (a->unreachable_say_ms > a->now_ms) {
        return;
    }
    int64_t first_ms = a->unreachable_since_ms + AGENT_UNREACHABLE_FIRST_MS;
    if (a->unreachable_say_ms == 0 && a->now_ms < first_ms) {
        a->unreachable_say_ms = first_ms;
        return;
    }
    a->unreachable_say_ms = a->now_ms + AGENT_UNREACHABLE_EVERY_MS;
    mu_autofree char *search = describe_search(a, why);
    struct agent_effect *e =
        agent_say(a, MU_LOG_NOTICE,
                  "cannot reach the coordinator %s; trying for %lld s, giving up after %lld s",
                  search, (long long)(a->now_ms - a->unreachable_since_ms) / 1000,
                  (long long)(give_up_ms(a) - a->unreachable_since_ms) / 1000);
    e->is_port_in_doubt = !is_searching(a);
}

static void try_again_later(struct agent *a)
{
    a->retry_ms = a->now_ms + a->retry_wait_ms;
    /* Thousands of agents must not come in step: the id spreads them over half the time. */
    a->retry_ms += (int64_t)(a->config.agent_id % (uint64_t)(a->retry_wait_ms / 2 + 1));
    /* A member must not miss a coordinator that comes back just before its lease is over. */
    int64_t lease_part_ms = a->is_welcome ? a->timeout_ms / 8 : AGENT_RETRY_MAX_MS;
    int64_t max_ms = lease_part_ms < AGENT_RETRY_MAX_MS ? lease_part_ms : AGENT_RETRY_MAX_MS;
    a->retry_wait_ms = 2 * a->retry_wait_ms < max_ms ? 2 * a->retry_wait_ms : max_ms;
}

/* The next rung of this turn, or of the next one, if the pause before that is over. */
static void connect_now(struct agent *a)
{
    if (a->config.ladder != NULL && !ladder_next(&a->ladder, &a->rung)) {
        ladder_begin(&a->ladder, a->now_ms);
        MU_REQUIRE(ladder_next(&a->ladder, &a->rung));
    }
    struct agent_effect *e = agent_effect_add(a, AGENT_CONNECT);
    e->rung = a->rung;
    e->strangers = ladder_strangers(&a->ladder, a->rung.place);
}

void agent_link_begin(struct agent *a)
{
    a->unreachable_since_ms = a->now_ms;
    a->link_deadline_ms = a->now_ms + a->config.join_timeout_ms;
    connect_now(a);
}

void agent_resolved(struct agent *a, const char *addresses, bool is_here)
{
    ladder_resolved(&a->ladder, a->rung.place, addresses, is_here);
}

void agent_serves(struct agent *a)
{
    ladder_fix(&a->ladder, a->rung);
}

/* No other node will come and serve, so only a coordinator that answers soon is worth waiting for.
 */
void agent_endpoint_is_here(struct agent *a)
{
    int64_t soon_ms = a->unreachable_since_ms + AGENT_HERE_WAIT_MS;
    if (a->config.policy.max_nodes + a->config.policy.spares == 1 && !a->is_no_stranger &&
        soon_ms < a->link_deadline_ms) {
        a->link_deadline_ms = soon_ms;
    }
}

/* Number a message that will be answered, and remember when it was sent. */
static uint64_t next_beat(struct agent *a)
{
    a->beat++;
    a->beat_ms[a->beat % AGENT_BEATS] = a->now_ms;
    return a->beat;
}

static void prolong_lease(struct agent *a, int64_t counted_from_ms)
{
    a->lease_ms = counted_from_ms + a->timeout_ms;
    agent_round_lease(a);
}

void agent_link_answered(struct agent *a, uint64_t beat)
{
    /* Older ones are not remembered; a newer one was never sent. */
    if (beat <= a->beat && a->beat - beat < AGENT_BEATS) {
        int64_t sent_ms = a->beat_ms[beat % AGENT_BEATS];
        if (sent_ms + a->timeout_ms > a->counted_ms) {
            a->counted_ms = sent_ms + a->timeout_ms;
        }
        if (sent_ms + a->timeout_ms > a->lease_ms) {
            prolong_lease(a, sent_ms);
        }
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
    a->has_said_busy = a->has_workers || a->stuck_round != 0;
    bool is_remnant = a->is_given_up || a->stuck_round != 0;
    enum ctl_busy busy = is_remnant ? CTL_BUSY_REMNANT : CTL_BUSY_ROUND;
    int64_t patience_ms =
        is_searching(a) ? ladder_patience_ms(&a->ladder, a->rung) : AGENT_WELCOME_WAIT_MS;
    a->welcome_ms = now_ms + patience_ms;
    next_beat(a);
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
                  .wants_report = c->wants_report,
                  .coordinator_id = a->coordinator_id,
                  .current_round = a->assignment.round,
                  .is_busy = a->has_said_busy ? (uint8_t)busy : CTL_BUSY_NO,
                  .restart_count = a->assignment.restart_count,
                  .place = a->assignment.node_rank,
                  .node_count = a->assignment.node_count,
                  .first_rank = a->assignment.first_rank,
                  .world_size = a->assignment.world_size,
                  .role_first_rank = a->assignment.role_first_rank,
                  .role_world_size = a->assignment.role_world_size,
                  .is_searching = is_searching(a),
                  .proof = mu_slice_of("")}};
    agent_tell(a, &msg);
}

/* What was found on this rung is not our coordinator, or not yet: the next one, or a pause. */
static void step(struct agent *a, enum ladder_answer answer, const char *why)
{
    ladder_answer(&a->ladder, a->rung, answer, why);
    say_unreachable(a, why);
    struct ladder_rung next;
    if (ladder_next(&a->ladder, &next)) {
        a->retry_ms = a->now_ms;
    } else {
        try_again_later(a);
    }
}

/* The connection is gone, or there was none; `answer` is what that means while we search. */
static void lost(struct agent *a, bool is_closed, enum ladder_answer answer, const char *why)
{
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
    if (a->is_welcome && a->is_embedded && is_closed) {
        agent_say(a, MU_LOG_ERROR, "lost the agent with the coordinator, at %s: %s; stopping",
                  a->config.coordinator, why);
        agent_give_up(a, 1, fence_ms(a));
        return;
    }
    if (was_joined) {
        agent_say(a, MU_LOG_WARN, "connection to the coordinator at %s lost: %s; trying again",
                  a->config.coordinator, why);
        a->unreachable_since_ms = a->now_ms;
        a->unreachable_say_ms = 0;
        a->retry_wait_ms = AGENT_RETRY_FIRST_MS;
    }
    if (!a->has_workers) {
        agent_goto(a, AGENT_CONNECTING);
    }
    if (is_searching(a)) {
        step(a, answer, why);
    } else {
        say_unreachable(a, why);
        try_again_later(a);
    }
}

void agent_disconnected(struct agent *a, bool is_closed, const char *why, int64_t now_ms)
{
    a->now_ms = now_ms;
    lost(a, is_closed, LADDER_STRANGER, why);
}

void agent_not_connected(struct agent *a, enum ladder_answer answer, const char *why,
                         int64_t now_ms)
{
    a->now_ms = now_ms;
    lost(a, answer == LADDER_FREE, answer, why);
}

/* The engine treats a connection it closes itself as one that was lost. */
static void hang_up(struct agent *a, enum ladder_answer answer, const char *why)
{
    agent_effect_add(a, AGENT_DISCONNECT)->is_abrupt = a->is_welcome;
    lost(a, false, answer, why);
}

/*
 * What waited here while this process stood still may be about a round that has gone on without us:
 * nothing is started until the coordinator has answered again.
 */
bool agent_link_is_fresh(struct agent *a)
{
    if (a->now_ms >= a->counted_ms) {
        hang_up(a, LADDER_LATER, "this agent stood still, and the job may have gone on without it");
        return false;
    }
    return true;
}

void agent_link_close(struct agent *a)
{
    a->retry_ms = INT64_MAX;
    a->link_deadline_ms = INT64_MAX;
    a->lease_ms = INT64_MAX;
    if (a->is_linked) {
        a->is_linked = false;
        a->welcome_ms = INT64_MAX;
        a->next_heartbeat_ms = INT64_MAX;
        agent_effect_add(a, AGENT_DISCONNECT)->is_abrupt = a->has_workers;
    }
}

/* ---- the coordinator's answer ---- */

void agent_link_welcome(struct agent *a, const struct ctl_welcome *w)
{
    if (w->heartbeat_ms < 1 || w->node_timeout_ms < w->heartbeat_ms ||
        w->node_timeout_ms > MU_MAX_SPAN_MS) {
        hang_up(a, LADDER_STRANGER, "its WELCOME makes no sense");
        return;
    }
    a->is_welcome = true;
    a->is_no_stranger = true;
    ladder_fix(&a->ladder, a->rung);
    a->welcome_ms = INT64_MAX;
    a->is_embedded = w->is_embedded != 0;
    a->coordinator_id = w->coordinator_id;
    a->heartbeat_ms = w->heartbeat_ms;
    a->timeout_ms = w->node_timeout_ms;
    a->next_heartbeat_ms = a->now_ms + a->heartbeat_ms;
    a->link_deadline_ms = INT64_MAX;
    int64_t sent_ms = a->beat_ms[a->beat % AGENT_BEATS]; /* HELLO was the last one */
    a->counted_ms = sent_ms + a->timeout_ms;
    prolong_lease(a, sent_ms);
    agent_say(a, w->is_resumed ? MU_LOG_NOTICE : MU_LOG_INFO, "%s job '%s' at %s",
              w->is_resumed ? "back in" : "joined", a->config.run_id, a->config.coordinator);
    if (a->signo != 0) {
        agent_tell(a, &(struct ctl_msg){.type = CTL_LEAVE,
                                        .leave = {.signo = a->signo, .reason = mu_slice_of("")}});
    }
    if (w->is_resumed) {
        agent_report_again(a);
        agent_goto(a, a->has_workers ? a->state : AGENT_WAITING);
        return;
    }
    if (a->has_said_busy && !a->has_workers) {
        agent_report_stopped(a); /* but for what is left, if they were gone since */
    }
    if (a->has_workers) {
        /* The coordinator gave us up: the round is dead, it will make another. */
        a->is_given_up = true;
        agent_say(a, MU_LOG_WARN,
                  "back in the job, but as a newcomer: stopping the workers of round %u",
                  a->assignment.round);
        agent_round_stop(a, SIGTERM, a->config.grace_ms);
    } else {
        if (a->stuck_round == 0) {
            agent_report_forget(a);
        }
        agent_goto(a, AGENT_WAITING);
    }
}

void agent_link_refused(struct agent *a, const struct ctl_refused *r)
{
    char why[256];
    snprintf(why, sizeof(why), MU_SLICE_FMT, MU_SLICE_ARG(r->text));
    bool is_others = r->kind == CTL_REFUSAL_OTHER_JOB || r->kind == CTL_REFUSAL_OTHER_VERSION;
    if (is_others && is_searching(a)) {
        hang_up(a, LADDER_STRANGER, why);
        return;
    }
    if (r->kind == CTL_REFUSAL_RETRY) {
        if (!a->is_welcome) {
            a->link_deadline_ms = a->unreachable_since_ms + a->config.join_timeout_ms;
        }
        a->is_no_stranger = true;
        hang_up(a, LADDER_LATER, why);
        return;
    }
    agent_say(a, MU_LOG_ERROR, "%s turned this node away: %s", a->config.coordinator, why)
        ->is_port_in_doubt = is_others;
    agent_link_close(a);
    agent_give_up(a, 1, a->config.grace_ms);
}

/* ---- time ---- */

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void send_beat(struct agent *a)
{
    agent_tell(a,
               &(struct ctl_msg){.type = CTL_HEARTBEAT,
                                 .heartbeat = {.round = agent_get_round(a), .beat = next_beat(a)}});
    a->next_heartbeat_ms = a->now_ms + a->heartbeat_ms;
}

/*
 * Did this process itself stand still far beyond its lease, so that no answer could be heard? Then
 * the coordinator may have stood still too (a job that was suspended as a whole): it gets a moment
 * to answer. If this process alone did, its shepherd has acted in its place; so it has not if the
 * lease was not over when this process went on, which is then no longer than it was.
 */
static void check_absence(struct agent *a)
{
    if (a->now_ms - a->lease_ms > a->timeout_ms / 2) {
        prolong_lease(a, a->now_ms - a->timeout_ms / 2);
    }
}

static void lease_over(struct agent *a)
{
    const char *why = a->is_linked                    ? "it does not answer"
                      : a->unreachable_why[0] != '\0' ? a->unreachable_why
                                                      : "no answer yet";
    agent_say(
        a, MU_LOG_ERROR,
        "cut off from the coordinator at %s for %.1f s (%s): others may take this node's place "
        "now%s",
        a->config.coordinator, (double)a->timeout_ms / 1e3, why,
        a->has_workers ? ", stopping its workers" : "");
    agent_link_close(a);
    agent_give_up(a, 1, fence_ms(a));
}

static const char no_answer[] = "something accepts the connection but does not answer as a muster "
                                "coordinator does: is the port used by another program? Then "
                                "choose another with --rdzv-endpoint";

static void unreachable(struct agent *a)
{
    const char *why = a->unreachable_why[0] != '\0' ? a->unreachable_why : "no answer yet";
    double waited_s = (double)(a->now_ms - a->unreachable_since_ms) / 1e3;
    if (is_searching(a)) {
        mu_autofree char *search = describe_search(a, why);
        agent_say(a, MU_LOG_ERROR, "could not reach the coordinator within %.1f s, %s", waited_s,
                  search);
    } else {
        agent_say(a, MU_LOG_ERROR, "could not reach the coordinator at %s within %.1f s: %s",
                  a->config.coordinator, waited_s, a->is_linked ? no_answer : why)
            ->is_port_in_doubt = true;
    }
    agent_link_close(a);
    agent_give_up(a, 1, a->config.grace_ms);
}

void agent_link_tick(struct agent *a)
{
    if (a->lease_ms != INT64_MAX) {
        check_absence(a);
    }
    if (a->now_ms >= a->lease_ms) {
        lease_over(a);
    } else if (a->now_ms >= a->link_deadline_ms) {
        unreachable(a);
    } else if (a->now_ms >= a->retry_ms) {
        a->retry_ms = INT64_MAX;
        connect_now(a);
    } else if (a->now_ms >= a->welcome_ms) {
        hang_up(a, LADDER_SILENT, is_searching(a) ? "it accepts and says nothing" : no_answer);
    } else if (a->now_ms >= a->next_heartbeat_ms) {
        send_beat(a);
    }
}

int64_t agent_link_deadline(const struct agent *a)
{
    return min_ms(min_ms(min_ms(a->link_deadline_ms, a->welcome_ms), a->retry_ms),
                  min_ms(a->next_heartbeat_ms, a->lease_ms));
}
