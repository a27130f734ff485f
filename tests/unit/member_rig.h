/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A membership engine with its clock, whose effects are read as text: "0 WELCOME; drop 1; ...".
 * What it logs is kept apart, in `said`.
 */
#pragma once

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/member.h"
#include "rendezvous/rank_assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct member *m;
static int64_t now;
static struct mu_buf did;
static struct mu_buf said;
static struct ctl_hello hello; /* what the next node says */

static int rig_setup_as(uint64_t embedded_agent)
{
    struct member_config config = {.coordinator_id = 7, .embedded_agent = embedded_agent};
    m = member_new(mu_slice_of("j"), &config);
    now = 1000;
    hello = (struct ctl_hello){.run_id = mu_slice_of("j"),
                               .agent_id = 100,
                               .pid = 10,
                               .slots = 2,
                               .node_rank = -1,
                               .sched_rank = -1,
                               .role = mu_slice_of("default"),
                               .min_nodes = 2,
                               .max_nodes = 2,
                               .join_timeout_ms = 60000,
                               .last_call_ms = 3000,
                               .node_timeout_ms = 5000,
                               .grace_ms = 1000};
    return 0;
}

__attribute__((unused)) static int rig_setup(void **state)
{
    (void)state;
    return rig_setup_as(0);
}

__attribute__((unused)) static int rig_setup_embedded(void **state)
{
    (void)state;
    return rig_setup_as(100);
}

static int rig_teardown(void **state)
{
    (void)state;
    member_free(m);
    mu_buf_fini(&did);
    mu_buf_fini(&said);
    return 0;
}

static void rig_describe(const struct member_effect *e)
{
    const struct ctl_msg *msg = &e->msg;
    mu_buf_printf(&did, "%u %s", e->node, ctl_type_name(msg->type));
    if (msg->type == CTL_ASSIGN) {
        mu_buf_printf(&did, " r%u node %u/%u ranks %u/%u", msg->assign.round, msg->assign.node_rank,
                      msg->assign.node_count, msg->assign.first_rank, msg->assign.world_size);
    } else if (msg->type == CTL_WELCOME) {
        mu_buf_printf(&did, "%s", msg->welcome.is_resumed ? " back" : "");
    } else if (msg->type == CTL_STOP) {
        mu_buf_printf(&did, " r%u sig %d grace %lld", msg->stop.round, msg->stop.signo,
                      (long long)msg->stop.grace_ms);
    } else if (msg->type == CTL_END) {
        mu_buf_printf(&did, " %d%s", msg->end.exit_status, msg->end.is_report ? " report" : "");
    } else if (msg->type == CTL_WAITING) {
        mu_buf_printf(&said, MU_SLICE_FMT "\n", MU_SLICE_ARG(msg->waiting.text));
    }
}

/* Take what the engine wants done. */
static void rig_take(void)
{
    const struct member_effect *e;
    while ((e = member_take(m)) != NULL) {
        if (e->kind == MEMBER_LOG) {
            mu_buf_printf(&said, "%s\n", e->text);
            continue;
        }
        mu_buf_printf(&did, "%s", did.len > 0 ? "; " : "");
        switch (e->kind) {
        case MEMBER_SEND:
            rig_describe(e);
            break;
        case MEMBER_DROP:
            mu_buf_printf(&did, "drop %u", e->node);
            break;
        case MEMBER_NEW_ROUND:
            mu_buf_printf(&did, "round %u", e->round);
            break;
        case MEMBER_OVER:
            mu_buf_printf(&did, "over %d", e->exit_status);
            mu_buf_printf(&said, "%s\n", e->text);
            break;
        case MEMBER_LOG:
            break;
        }
    }
}

static const char *rig_text(struct mu_buf *b)
{
    mu_buf_append_u8(b, '\0');
    b->len--;
    return (const char *)b->data;
}

static void expect(const char *what)
{
    assert_string_equal(rig_text(&did), what);
    did.len = 0;
}

__attribute__((unused)) static void expect_said(const char *what)
{
    if (strstr(rig_text(&said), what) == NULL) {
        fail_msg("'%s' is not in:\n%s", what, rig_text(&said));
    }
    said.len = 0;
}

static void forget(void)
{
    did.len = 0;
    said.len = 0;
}

/* A node called `name`; its agent's id is 100 + number of the node unless `hello` says another. */
static uint32_t join(const char *name)
{
    struct mu_err err = MU_ERR_INIT;
    hello.node_name = mu_slice_of(name);
    int64_t node = member_join(m, &hello, "10.0.0.1", now, &err);
    if (node < 0) {
        fail_msg("%s was refused: %s", name, err.text);
    }
    hello.agent_id++;
    rig_take();
    return (uint32_t)node;
}

__attribute__((unused)) static void refuse(enum mu_err_code code, const char *sentence)
{
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(member_join(m, &hello, "10.0.0.1", now, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(err.text, sentence);
    rig_take();
    expect("");
}

static int hear(uint32_t node, const struct ctl_msg *msg)
{
    struct mu_err err = MU_ERR_INIT;
    int rc = member_message(m, node, msg, now, &err);
    rig_take();
    return rc;
}

/* What an agent says of a worker that it has stopped if the job is stopping. */
static void hear_exited_of(uint32_t node, uint32_t round, uint32_t local_rank, struct outcome o,
                           enum cause_kind cause)
{
    bool is_stopping = member_look(m).state == MEMBER_STOPPING;
    struct cause_stop stop = {.signo = is_stopping ? SIGTERM : 0};
    struct ctl_msg msg = {.type = CTL_EXITED,
                          .exited = {.round = round,
                                     .local_rank = local_rank,
                                     .pid = 500 + local_rank,
                                     .kind = (uint8_t)o.kind,
                                     .code = o.code,
                                     .cause = (uint8_t)cause,
                                     .blame = (uint8_t)cause_blame_of(cause, o, stop),
                                     .tail = mu_slice_of("first\nlast words\n")}};
    assert_int_equal(hear(node, &msg), 0);
}

static void hear_exited(uint32_t node, uint32_t round, uint32_t local_rank, struct outcome o)
{
    hear_exited_of(node, round, local_rank, o, CAUSE_EXIT);
}

__attribute__((unused)) static void hear_exit(uint32_t node, uint32_t round, uint32_t local_rank,
                                              int status)
{
    hear_exited(node, round, local_rank, (struct outcome){.kind = OUTCOME_EXITED, .code = status});
}

__attribute__((unused)) static void hear_killed(uint32_t node, uint32_t round, uint32_t local_rank,
                                                int signo)
{
    hear_exited(node, round, local_rank, (struct outcome){.kind = OUTCOME_SIGNALED, .code = signo});
}

__attribute__((unused)) static void hear_stopped(uint32_t node, uint32_t round, uint32_t left)
{
    struct ctl_msg msg = {.type = CTL_STOPPED, .stopped = {.round = round, .left = left}};
    assert_int_equal(hear(node, &msg), 0);
}

__attribute__((unused)) static void stop_both(uint32_t round)
{
    hear_stopped(0, round, 0);
    hear_stopped(1, round, 0);
}

__attribute__((unused)) static void hear_leave(uint32_t node, int signo)
{
    struct ctl_msg msg = {.type = CTL_LEAVE, .leave = {.signo = signo}};
    assert_int_equal(hear(node, &msg), 0);
}

__attribute__((unused)) static void hear_heartbeat(uint32_t node)
{
    assert_int_equal(hear(node, &(struct ctl_msg){.type = CTL_HEARTBEAT}), 0);
}

__attribute__((unused)) static void lose(uint32_t node)
{
    member_lost(m, node, true, "connection reset", now);
    rig_take();
}

__attribute__((unused)) static void tick_at(int64_t at)
{
    now = at;
    member_tick(m, now);
    rig_take();
}

/* Time passes as the engine asks for it; every node in [0, nodes) is heard of all along. */
__attribute__((unused)) static void pass(int64_t until, uint32_t nodes)
{
    while (member_deadline(m) <= until) {
        now = member_deadline(m) > now ? member_deadline(m) : now;
        for (uint32_t i = 0; i < nodes; i++) {
            hear_heartbeat(i);
        }
        member_tick(m, now);
        rig_take();
    }
    now = until;
}

__attribute__((unused)) static enum member_state state_now(void)
{
    return member_look(m).state;
}

/* Two nodes of two workers each, in round 1; effects forgotten. */
__attribute__((unused)) static void run_two(uint32_t max_restarts)
{
    hello.max_restarts = max_restarts;
    join("node1");
    join("node2");
    assert_int_equal(state_now(), MEMBER_RUNNING);
    forget();
}
