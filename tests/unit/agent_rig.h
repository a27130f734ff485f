/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent engine with its clock, whose effects are read as text: "connect; HELLO; start r1; ...".
 * What it logs is kept apart, in `said`.
 */
#pragma once

#include "launcher/agent.h"
#include "muster/buf.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct agent *a;
static int64_t now;
static uint64_t last_beat;
static int64_t lease; /* the last one the workers were given */
static struct mu_buf did;
static struct mu_buf said;

__attribute__((unused)) static int setup(void **state)
{
    (void)state;
    static const struct agent_config config = {.run_id = "j",
                                               .node_name = "node1",
                                               .role = "default",
                                               .coordinator = "10.0.0.1:29500",
                                               .agent_id = 100,
                                               .pid = 10,
                                               .slots = 2,
                                               .node_rank = -1,
                                               .sched_rank = -1,
                                               .policy.min_nodes = 2,
                                               .policy.max_nodes = 2,
                                               .join_timeout_ms = 60000,
                                               .last_call_ms = 3000,
                                               .node_timeout_ms = 5000,
                                               .grace_ms = 1000};
    a = agent_new(&config);
    now = 1000;
    return 0;
}

__attribute__((unused)) static int teardown(void **state)
{
    (void)state;
    agent_free(a);
    mu_buf_fini(&did);
    mu_buf_fini(&said);
    return 0;
}

static const char *text_of(struct mu_buf *b)
{
    mu_buf_append_u8(b, '\0');
    b->len--;
    return (const char *)b->data;
}

static void describe_send(const struct ctl_msg *msg)
{
    mu_buf_printf(&did, "%s", ctl_type_name(msg->type));
    if (msg->type == CTL_HELLO && msg->hello.current_round != 0) {
        mu_buf_printf(&did, " r%u%s", msg->hello.current_round, msg->hello.is_busy ? "" : " over");
    } else if (msg->type == CTL_HEARTBEAT) {
        last_beat = msg->heartbeat.beat;
    } else if (msg->type == CTL_STOPPED) {
        mu_buf_printf(&did, " r%u left %u", msg->stopped.round, msg->stopped.left);
    } else if (msg->type == CTL_LEAVE) {
        mu_buf_printf(&did, " %d", msg->leave.signo);
    } else if (msg->type == CTL_OWNED) {
        mu_buf_printf(&did, " %llu %u", (unsigned long long)msg->owned.token, msg->owned.answer);
    } else if (msg->type == CTL_EXITED) {
        mu_buf_printf(&did, " %u%s tail %zu", msg->exited.local_rank,
                      msg->exited.blame == CAUSE_ORDERED ? " ordered" : "", msg->exited.tail.len);
    }
}

static void take(void)
{
    const struct agent_effect *e;
    while ((e = agent_take(a)) != NULL) {
        if (e->kind == AGENT_LOG || e->kind == AGENT_PRINT) {
            mu_buf_printf(&said, "%s\n", e->text);
            continue;
        }
        if (e->kind == AGENT_LEASE) {
            lease = e->until_ms;
            continue;
        }
        mu_buf_printf(&did, "%s", did.len > 0 ? "; " : "");
        switch (e->kind) {
        case AGENT_CONNECT:
            mu_buf_printf(&did, "connect");
            break;
        case AGENT_DISCONNECT:
            mu_buf_printf(&did, "%s", e->is_abrupt ? "reset" : "disconnect");
            break;
        case AGENT_SEND:
            describe_send(&e->msg);
            break;
        case AGENT_START:
            mu_buf_printf(&did, "start r%u", e->assignment.round);
            break;
        case AGENT_SIGNAL:
            mu_buf_printf(&did, "signal %d", e->signo);
            break;
        case AGENT_PASS:
            mu_buf_printf(&did, "pass %d", e->signo);
            break;
        case AGENT_LOOK:
            mu_buf_printf(&did, "look for pid %u port %u", e->msg.whose.pid, e->msg.whose.port);
            break;
        case AGENT_KILL:
            mu_buf_printf(&did, "kill");
            break;
        case AGENT_EXIT:
            mu_buf_printf(&did, "exit %d", e->exit_status);
            break;
        case AGENT_LEASE:
        case AGENT_LOG:
        case AGENT_PRINT:
        case AGENT_OVER:
            break;
        }
    }
}

static void expect(const char *what)
{
    take();
    assert_string_equal(text_of(&did), what);
    did.len = 0;
}

__attribute__((unused)) static void expect_said(const char *what)
{
    take();
    if (strstr(text_of(&said), what) == NULL) {
        fail_msg("'%s' is not in:\n%s", what, text_of(&said));
    }
    said.len = 0;
}

__attribute__((unused)) static void forget(void)
{
    take();
    did.len = 0;
    said.len = 0;
}

static void hear(const struct ctl_msg *msg)
{
    agent_message(a, msg, now);
}

__attribute__((unused)) static void hear_welcome(bool is_embedded)
{
    hear(&(struct ctl_msg){.type = CTL_WELCOME,
                           .welcome = {.coordinator_id = 7,
                                       .is_embedded = is_embedded,
                                       .heartbeat_ms = 1000,
                                       .node_timeout_ms = 5000}});
}

__attribute__((unused)) static void hear_welcome_back(bool is_embedded)
{
    hear(&(struct ctl_msg){.type = CTL_WELCOME,
                           .welcome = {.coordinator_id = 8,
                                       .is_embedded = is_embedded,
                                       .is_resumed = 1,
                                       .heartbeat_ms = 1000,
                                       .node_timeout_ms = 5000}});
}

__attribute__((unused)) static void hear_assign(uint32_t round)
{
    hear(&(struct ctl_msg){.type = CTL_ASSIGN,
                           .assign = {.round = round, .node_count = 2, .world_size = 4}});
}

__attribute__((unused)) static void hear_stop(uint32_t round, int signo, int64_t grace_ms)
{
    hear(&(struct ctl_msg){.type = CTL_STOP,
                           .stop = {.round = round, .signo = signo, .grace_ms = grace_ms}});
}

__attribute__((unused)) static void hear_end(int exit_status)
{
    hear(&(struct ctl_msg){.type = CTL_END,
                           .end = {.exit_status = exit_status, .text = mu_slice_of("over")}});
}

__attribute__((unused)) static void end_worker(uint32_t local_rank, int status)
{
    struct agent_exit x = {.outcome = {.kind = OUTCOME_EXITED, .code = status},
                           .message = mu_slice_of("message"),
                           .tail = mu_slice_of("tail")};
    agent_worker_exited(a, local_rank, &x, now);
}

__attribute__((unused)) static void join(bool is_embedded)
{
    agent_start(a, now);
    expect("connect");
    agent_connected(a, now);
    expect("HELLO");
    hear_welcome(is_embedded);
    assert_int_equal(agent_get_state(a), AGENT_WAITING);
    forget();
}

__attribute__((unused)) static void run(bool is_embedded)
{
    join(is_embedded);
    hear_assign(1);
    expect("start r1");
    agent_worker_started(a, 0, 501);
    agent_worker_started(a, 1, 502);
    agent_workers_running(a, now);
    expect("STARTED");
    assert_int_equal(agent_get_state(a), AGENT_RUNNING);
}

/* Time passes as the engine asks for it; the coordinator answers every beat, if it is there. */
__attribute__((unused)) static void pass(int64_t until, bool is_heard)
{
    while (agent_deadline(a) <= until) {
        now = agent_deadline(a) > now ? agent_deadline(a) : now;
        agent_tick(a, now);
        take();
        if (is_heard) {
            hear(&(struct ctl_msg){.type = CTL_HEARTBEAT, .heartbeat = {.beat = last_beat}});
        }
    }
    now = until;
}
