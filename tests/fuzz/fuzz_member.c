/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The membership engine under any sequence of joins, messages, losses and ticks. The input is a
 * list of operations; whatever they are, the engine keeps its invariants, asks for nothing it
 * cannot have, and in the end, when nobody says anything any more, the job ends.
 */
#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/job_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OPS = 400, MAX_TICKS = 60000, MAX_NODES = 24, MAX_ADOPTED = 3 };

static struct mu_reader in;
static struct member *m;
static int64_t now;
static uint32_t last_round;
static uint32_t joined;
static bool has_over;

/* The strings of a message live as long as the effect: encoding reads all of them. */
static void check_message(const struct ctl_msg *msg)
{
    struct mu_buf out = {0};
    ctl_msg_encode(msg, &out);
    struct ctl_msg again;
    size_t used = 0;
    struct mu_err err = MU_ERR_INIT;
    MU_REQUIRE(ctl_msg_decode(out.data, out.len, MU_CTL_MAX_FRAME, &again, &used, &err) == 1);
    mu_buf_fini(&out);
}

static void take(void)
{
    const struct member_effect *e;
    while ((e = member_take(m)) != NULL) {
        MU_REQUIRE(!has_over || e->kind == MEMBER_DROP || e->kind == MEMBER_LOG ||
                   e->kind == MEMBER_SEND); /* the end, once more, to who comes back */
        switch (e->kind) {
        case MEMBER_SEND:
            MU_REQUIRE(e->node < joined + MAX_ADOPTED);
            check_message(&e->msg);
            break;
        case MEMBER_DROP:
            MU_REQUIRE(e->node < joined + MAX_ADOPTED);
            break;
        case MEMBER_NEW_ROUND:
            MU_REQUIRE(e->round > last_round);
            last_round = e->round;
            break;
        case MEMBER_LOG:
            MU_REQUIRE(e->text != NULL);
            break;
        case MEMBER_OVER:
            MU_REQUIRE(e->text != NULL && e->exit_status >= 0 && e->exit_status <= 255);
            has_over = true;
            break;
        }
    }
}

static void check_view(void)
{
    struct member_view v = member_look(m);
    MU_REQUIRE(v.restarts_used <= v.max_restarts && v.restarts_used <= v.restarts);
    MU_REQUIRE((v.state == MEMBER_ENDED) == has_over);
    bool is_waiting = v.max_nodes > 0 && v.state != MEMBER_ENDED;
    MU_REQUIRE(is_waiting == (member_deadline(m) != INT64_MAX));
    uint64_t places = 0;
    for (uint32_t i = 0; i < v.node_count; i++) {
        const struct member_node *n = v.nodes[i];
        MU_REQUIRE(i == 0 || v.nodes[i - 1]->id < n->id);
        if (n->node_rank >= 0) {
            MU_REQUIRE((uint32_t)n->node_rank < v.max_nodes && v.state != MEMBER_FORMING);
            MU_REQUIRE((places & UINT64_C(1) << n->node_rank) == 0);
            places |= UINT64_C(1) << n->node_rank;
            MU_REQUIRE(n->first_rank + n->slots <= v.world_size);
        }
    }
}

static void op_join(void)
{
    static const int64_t spans[] = {0, 1, 99, 100, 1000, 5000, 60000, -1, INT64_MAX};
    static const char *const names[] = {"a", "node2", "node10", "", "b c"};
    /* Statuses from 128 up are those that op_message() gives: 16 of them stop, 16 retry. */
    static const char codes[2][EXIT_CODES_BYTES] = {{[24] = '\xff', [25] = '\xff'},
                                                    {[28] = '\xff', [29] = '\xff'}};
    uint8_t shape = mu_read_u8(&in);
    uint8_t times = mu_read_u8(&in);
    uint8_t who = mu_read_u8(&in);
    struct ctl_hello h = {.run_id = mu_slice_of("j"),
                          .wants_report = who & 1U,
                          .agent_id = (shape & 0x80U) != 0 ? who % 8U : 100U + joined,
                          .node_name = mu_slice_of(names[who % MU_COUNT(names)]),
                          .pid = who,
                          .slots = shape % 4U,
                          .node_rank = (shape & 0x40U) != 0 ? (int32_t)(who % 4U) : -1,
                          .sched_rank = -1,
                          .role = mu_slice_of((who & 1U) != 0 ? "r" : "s"),
                          .min_nodes = 1 + (shape >> 2 & 1U),
                          .max_nodes = 2 + (shape >> 3 & 1U),
                          .max_restarts = shape >> 4 & 3U,
                          .spares = who & 1U,
                          .scale_up = times % 4U,
                          .max_node_losses = who >> 3 & 3U,
                          .restart_window_ms = spans[shape % MU_COUNT(spans)],
                          .min_uptime_ms = spans[who % MU_COUNT(spans)],
                          .stop_codes = {codes[0], EXIT_CODES_BYTES - (times == 77)},
                          .retry_codes = {codes[1], (who & 2U) != 0 ? EXIT_CODES_BYTES : 0},
                          .join_timeout_ms = spans[times % MU_COUNT(spans)],
                          .last_call_ms = spans[times / 9 % 7],
                          .node_timeout_ms = spans[3 + times / 63U],
                          .grace_ms = spans[times % 5],
                          .current_round = (who & 0x20U) != 0 ? who & 3U : 0,
                          .is_busy = who >> 3 & 1U,
                          .restart_count = who >> 4 & 1U,
                          .place = who >> 2 & 1U,
                          .node_count = 1 + (who >> 1 & 1U),
                          .first_rank = who >> 2 & 3U,
                          .world_size = 6,
                          .role_first_rank = who >> 2 & 1U,
                          .role_world_size = 6};
    struct mu_err err = MU_ERR_INIT;
    /* A span of years is legal and would take as many steps to wait for. */
    h.join_timeout_ms = h.join_timeout_ms == INT64_MAX ? 60000 : h.join_timeout_ms;
    if (joined >= MAX_NODES) {
        return;
    }
    int64_t node = member_join(m, &h, "10.0.0.1", now, &err);
    MU_REQUIRE(node >= 0 || (node == -1 && err.code != MU_E_NONE));
    /* Its own number, that of its former self, or after as many places as an adopted round has. */
    MU_REQUIRE(node <= (int64_t)joined + MAX_ADOPTED);
    joined = node >= (int64_t)joined ? (uint32_t)node + 1 : joined;
}

static void give(uint32_t node, const struct ctl_msg *msg)
{
    struct mu_err err = MU_ERR_INIT;
    if (member_message(m, node, msg, now, &err) != 0) {
        MU_REQUIRE(err.code == MU_E_PROTOCOL);
        take();
        member_lost(m, node, true, err.text, now); /* as the service does */
    }
}

/* A message that fits, more or less. */
static void op_message(void)
{
    uint8_t what = mu_read_u8(&in);
    uint8_t node = mu_read_u8(&in);
    uint8_t value = mu_read_u8(&in);
    uint32_t round = last_round - (what >> 6 == 3 ? 1 : 0);
    static const char pids[8 * MU_MAX_LOCAL_WORLD / 256] = "1234";
    struct ctl_msg msg = {.type = CTL_HEARTBEAT};
    switch (what % 5) {
    case 0:
        msg.type = CTL_STARTED;
        msg.started = (struct ctl_started){.round = round, .pids = {pids, 4U * (value % 4U)}};
        break;
    case 1:
        msg.type = CTL_EXITED;
        msg.exited = (struct ctl_exited){.round = round,
                                         .local_rank = value % 4U,
                                         .kind = value >> 2 & 7U,
                                         .stage = value >> 5,
                                         .code = (value & 0x80U) != 0 ? value : 0,
                                         .cause = (uint8_t)(value % CAUSE_KIND_COUNT),
                                         .blame = (what >> 4 & 3U) % (CAUSE_BLAME_LAST + 1),
                                         .was_ending = node >> 7,
                                         .sentence = {pids, value % 5U},
                                         .tail = {pids, value % 16U}};
        break;
    case 2:
        msg.type = CTL_STOPPED;
        msg.stopped = (struct ctl_stopped){.round = (value & 4U) != 0 ? value & 3U : round,
                                           .left = value >> 7};
        break;
    case 3:
        msg.type = CTL_LEAVE;
        msg.leave = (struct ctl_leave){.signo = value % 70, .reason = mu_slice_of("")};
        break;
    default:
        break;
    }
    give(node % (MAX_NODES + 1U), &msg);
}

/* Bytes that decode to any message at all. */
static void op_raw(void)
{
    uint8_t node = mu_read_u8(&in);
    struct ctl_msg msg;
    size_t used = 0;
    struct mu_err err = MU_ERR_INIT;
    if (ctl_msg_decode(in.pos, mu_reader_left(&in), MU_CTL_MAX_FRAME, &msg, &used, &err) == 1) {
        give(node, &msg);
        mu_read_bytes(&in, used);
    }
}

static void op_time(void)
{
    uint8_t how = mu_read_u8(&in);
    int64_t due = member_deadline(m);
    if (how < 128) {
        now += how * (int64_t)how;
    } else if (due != INT64_MAX && due > now) {
        now = due + (how & 1U ? 0 : (int64_t)(how & 0x7eU) * 100);
    }
    member_tick(m, now);
}

static void op(void)
{
    uint8_t code = mu_read_u8(&in);
    switch (code % 8) {
    case 0:
    case 1:
        op_join();
        break;
    case 2:
    case 3:
        op_message();
        break;
    case 4:
        op_raw();
        break;
    case 5: {
        uint8_t who = mu_read_u8(&in);
        member_lost(m, who % MAX_NODES, who < 128, "lost", now);
    } break;
    case 6:
        if (code == 6) {
            member_stop(m, 1 + mu_read_u8(&in) % 15, "stop", now);
        }
        member_note_refused(m, "10.0.0.2", "no");
        break;
    default:
        op_time();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    in = mu_reader_of(data, size);
    struct member_config config = {.coordinator_id = 1,
                                   .embedded_agent = (mu_read_u8(&in) & 1U) != 0 ? 100 : 0};
    m = member_new(mu_slice_of("j"), &config);
    now = 1;
    last_round = 0;
    joined = 0;
    has_over = false;
    for (int i = 0; i < MAX_OPS && mu_reader_left(&in) > 0; i++) {
        op();
        take();
        check_view();
    }
    struct member_view v = member_look(m);
    struct mu_buf text = {0};
    job_view_append(&v, NULL, now, &text);
    json_t *document = json_loadb((const char *)text.data, text.len, 0, NULL);
    MU_REQUIRE(document != NULL);
    json_decref(document);
    mu_buf_fini(&text);
    for (int i = 0; member_deadline(m) != INT64_MAX; i++) {
        MU_REQUIRE(i < MAX_TICKS);
        now = member_deadline(m) > now ? member_deadline(m) : now;
        member_tick(m, now);
        take();
        check_view();
    }
    member_free(m);
    return 0;
}
