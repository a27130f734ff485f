/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/crowd.h"

#include "bench/store_peer.h"
#include "muster/cause.h"
#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/outcome.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    EVENTS = 512,
    INPUT = 64 * 1024,
    AHEAD = 400, /* who has connected and was not welcomed yet: less than any backlog */
    FIRST_PID = 100000,
    TYPES = 64,
    PATIENCE_MS = 60 * 1000,
    NODE_TIMEOUT_MS = 60 * 1000,
};

struct crowd {
    struct crowd_config config;
    int epoll;
    struct crowd_agent *agents; /* owned */
    uint64_t last_agent_id;
    unsigned heard[TYPES]; /* messages that nobody has waited for yet, by type */
    unsigned joined;
    unsigned welcomed;
    struct mu_buf out;
};

struct crowd *crowd_new(const struct crowd_config *config)
{
    struct crowd *c = mu_alloc(sizeof(*c));
    c->config = *config;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll < 0) {
        peer_fail("epoll_create1");
    }
    c->agents = mu_calloc(config->agents, sizeof(*c->agents));
    for (unsigned i = 0; i < config->agents; i++) {
        c->agents[i].fd = -1;
    }
    return c;
}

void crowd_free(struct crowd *c)
{
    for (unsigned i = 0; i < c->config.agents; i++) {
        crowd_leave(c, i);
    }
    close(c->epoll);
    mu_buf_fini(&c->out);
    free(c->agents);
    free(c);
}

const struct crowd_agent *crowd_look(const struct crowd *c, unsigned agent)
{
    return &c->agents[agent];
}

uint32_t crowd_pid(const struct crowd *c, unsigned agent, unsigned slot)
{
    return FIRST_PID + agent * c->config.slots + slot;
}

/* ---- what is said ---- */

static void say(struct crowd *c, unsigned agent, const struct ctl_msg *msg)
{
    ctl_msg_encode(msg, &c->out);
    peer_send(c->agents[agent].fd, &c->out);
    c->out.len = 0;
}

static void say_hello(struct crowd *c, unsigned agent)
{
    char name[24];
    snprintf(name, sizeof(name), "node%u", agent);
    struct ctl_msg msg = {.type = CTL_HELLO,
                          .hello = {.run_id = mu_slice_of(c->config.run_id),
                                    .agent_id = ++c->last_agent_id,
                                    .node_name = mu_slice_of(name),
                                    .pid = FIRST_PID + agent,
                                    .slots = c->config.slots,
                                    .node_rank = -1,
                                    .sched_rank = -1,
                                    .role = mu_slice_of("default"),
                                    .min_nodes = c->config.agents,
                                    .max_nodes = c->config.agents,
                                    .max_restarts = c->config.max_restarts,
                                    .join_timeout_ms = PATIENCE_MS,
                                    .node_timeout_ms = NODE_TIMEOUT_MS,
                                    .grace_ms = PATIENCE_MS}};
    ctl_preface_append(&c->out);
    say(c, agent, &msg);
}

void crowd_say_started(struct crowd *c, unsigned agent)
{
    struct mu_buf pids = {0};
    for (unsigned slot = 0; slot < c->config.slots; slot++) {
        mu_buf_append_u32(&pids, crowd_pid(c, agent, slot));
    }
    struct ctl_msg msg = {.type = CTL_STARTED,
                          .started = {.round = c->agents[agent].assign.round,
                                      .pids = {.ptr = (const char *)pids.data, .len = pids.len}}};
    say(c, agent, &msg);
    mu_buf_fini(&pids);
}

void crowd_say_exited(struct crowd *c, unsigned agent, int code)
{
    struct ctl_msg msg = {
        .type = CTL_EXITED,
        .exited = {.round = c->agents[agent].assign.round,
                   .pid = crowd_pid(c, agent, 0),
                   .kind = OUTCOME_EXITED,
                   .code = code,
                   .cause = CAUSE_EXIT,
                   .blame = CAUSE_OWN,
                   .tail = mu_slice_of("Traceback (most recent call last):\nRuntimeError: it\n")}};
    say(c, agent, &msg);
}

void crowd_say_stopped(struct crowd *c, unsigned agent)
{
    struct ctl_msg msg = {.type = CTL_STOPPED, .stopped = {.round = c->agents[agent].assign.round}};
    say(c, agent, &msg);
}

void crowd_say_alive(struct crowd *c, unsigned agent, uint64_t beat)
{
    struct ctl_msg msg = {.type = CTL_HEARTBEAT,
                          .heartbeat = {.round = c->agents[agent].assign.round, .beat = beat}};
    say(c, agent, &msg);
}

/* ---- what is heard ---- */

static void on_message(struct crowd *c, struct crowd_agent *a, const struct ctl_msg *msg)
{
    c->heard[msg->type]++;
    if (msg->type == CTL_ASSIGN) {
        a->assign = msg->assign;
    } else if (msg->type == CTL_WELCOME) {
        c->welcomed++;
    } else if (msg->type == CTL_REFUSED) {
        fprintf(stderr, "crowd: an agent was refused: " MU_SLICE_FMT "\n",
                MU_SLICE_ARG(msg->refused.text));
        exit(1);
    }
}

/* Returns how many bytes were whole messages. */
static size_t take_messages(struct crowd *c, struct crowd_agent *a, const uint8_t *data, size_t len)
{
    size_t at = 0;
    for (;;) {
        struct mu_err err = MU_ERR_INIT;
        struct ctl_msg msg;
        size_t used;
        int rc = ctl_msg_decode(data + at, len - at, MU_CTL_MAX_REPLY, &msg, &used, &err);
        if (rc < 0) {
            fprintf(stderr, "crowd: %s\n", err.text);
            exit(1);
        }
        if (rc == 0) {
            return at;
        }
        on_message(c, a, &msg);
        at += used;
    }
}

static void on_readable(struct crowd *c, struct crowd_agent *a)
{
    static uint8_t input[INPUT];
    ssize_t n = recv(a->fd, input, sizeof(input), MSG_DONTWAIT);
    if (n == 0) {
        errno = ECONNRESET;
    }
    if (n <= 0) {
        peer_fail("an agent's connection");
    }
    a->received += (uint64_t)n;
    if (a->partial.len > 0) {
        mu_buf_append(&a->partial, input, (size_t)n);
        mu_buf_consume(&a->partial, take_messages(c, a, a->partial.data, a->partial.len));
        return;
    }
    size_t used = take_messages(c, a, input, (size_t)n);
    mu_buf_append(&a->partial, input + used, (size_t)n - used);
}

/* Returns false if nothing came in time. */
static bool turn(struct crowd *c, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(c->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        on_readable(c, events[i].data.ptr);
    }
    return n > 0;
}

void crowd_await(struct crowd *c, enum ctl_type type, unsigned count)
{
    while (c->heard[type] < count) {
        if (!turn(c, PATIENCE_MS)) {
            fprintf(stderr, "crowd: %u of %u agents had %s, and nothing more comes\n",
                    c->heard[type], count, ctl_type_name(type));
            exit(1);
        }
    }
    c->heard[type] -= count;
}

/* ---- coming and going ---- */

void crowd_join(struct crowd *c, unsigned agent)
{
    struct crowd_agent *a = &c->agents[agent];
    *a = (struct crowd_agent){.fd = peer_connect(c->config.port, c->joined++)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = a};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, a->fd, &event) != 0) {
        peer_fail("epoll_ctl");
    }
    say_hello(c, agent);
}

void crowd_join_all(struct crowd *c)
{
    for (unsigned i = 0; i < c->config.agents; i++) {
        crowd_join(c, i);
        while (c->joined >= c->welcomed + AHEAD) {
            turn(c, PATIENCE_MS);
        }
    }
}

void crowd_leave(struct crowd *c, unsigned agent)
{
    struct crowd_agent *a = &c->agents[agent];
    if (a->fd >= 0) {
        close(a->fd);
        a->fd = -1;
    }
    mu_buf_fini(&a->partial);
}
