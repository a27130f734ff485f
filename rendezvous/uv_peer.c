/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the port, from its first byte until it is known what it is: a c10d client is
 * handed to a store (which: uv_route.c), an agent becomes a node of a job, a status request is
 * answered.
 */
#include "rendezvous/uv_coordinator_impl.h"

#include "muster/addr.h"
#include "muster/limits.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/names.h"

enum { C10D_FIRST_BYTE = 0x00, LAST_WORDS_MS = 2000 };

/* Forget the peer; its connection is closed by the caller, or belongs to somebody else now. */
static void peer_free(struct peer *p)
{
    if (p->job != NULL) {
        job_detach(p->job, p);
    } else {
        TAILQ_REMOVE(p->is_held ? &p->coordinator->held : &p->coordinator->strangers, p, link);
    }
    if (p->held != NULL) {
        store_route_forget(p->coordinator->route, p->held);
    }
    mu_buf_fini(&p->partial);
    free(p);
}

void peer_close(struct peer *p)
{
    uv_conn_close(p->conn);
    peer_free(p);
}

void peer_hold(struct peer *p, struct store_route_client *held)
{
    if (held != NULL) {
        TAILQ_REMOVE(&p->coordinator->strangers, p, link);
        TAILQ_INSERT_TAIL(&p->coordinator->held, p, link);
        p->is_held = true;
        p->held = held;
    }
}

void peer_hand_over(struct peer *p, struct uv_store_server *store)
{
    struct uv_conn *conn = p->conn;
    struct mu_buf sent = p->partial;
    p->partial = (struct mu_buf){0};
    peer_free(p);
    uv_store_server_adopt(store, conn, sent.data, sent.len);
    mu_buf_fini(&sent);
}

void peer_finish(struct peer *p, int64_t linger_ms)
{
    uv_conn_finish(p->conn, linger_ms);
    peer_free(p);
}

void peer_drop(struct peer *p, const char *why)
{
    p->coordinator->port.dropped++;
    mu_log(MU_LOG_INFO, "dropped a connection from %s: %s", uv_conn_peer(p->conn), why);
    peer_close(p);
}

void peer_send(struct peer *p, const struct ctl_msg *msg)
{
    struct mu_buf out = {0};
    ctl_msg_encode(msg, &out);
    mu_log(MU_LOG_DEBUG, "to %s: %s", uv_conn_peer(p->conn), ctl_type_name(msg->type));
    uv_conn_send(p->conn, out.data, out.len);
    mu_buf_fini(&out);
}

static void turn_away(struct peer *p, const char *why, enum ctl_refusal kind)
{
    struct ctl_msg msg = {.type = CTL_REFUSED,
                          .refused = {.kind = (uint8_t)kind, .text = mu_slice_of(why)}};
    peer_send(p, &msg);
    peer_finish(p, LAST_WORDS_MS);
}

static void refuse(struct peer *p, struct job *job, const char *why, enum ctl_refusal kind)
{
    const char *address = uv_conn_peer(p->conn);
    mu_log(MU_LOG_WARN, "turned away %s: %s", address, why);
    if (job != NULL) {
        member_note_refused(job->member, address, why);
    }
    turn_away(p, why, kind);
}

/* By which of this machine's addresses did an agent come that is not on this machine? */
static void note_address(struct peer *p)
{
    struct coordinator *c = p->coordinator;
    const char *local = uv_conn_local(p->conn);
    bool is_remote = strcmp(local, uv_conn_peer(p->conn)) != 0 && !mu_addr_is_loopback_name(local);
    if (is_remote && c->reached_at[0] == '\0') {
        snprintf(c->reached_at, sizeof(c->reached_at), "%s", local);
    }
}

/* The job of the agent in this process has ended: the next one may have the port in a moment. */
static bool is_leaving(const struct coordinator *c)
{
    return !TAILQ_EMPTY(&c->jobs) && coordinator_count_jobs(c) == 0;
}

/* Returns false if the peer was turned away, and is gone. */
static bool on_hello(struct peer *p, const struct ctl_hello *hello)
{
    struct coordinator *c = p->coordinator;
    struct mu_err err = MU_ERR_INIT;
    if (!mu_names_is_label(hello->run_id)) {
        refuse(p, NULL, "a run id must be 1 to 255 bytes of UTF-8 without control characters",
               CTL_REFUSAL_FINAL);
        return false;
    }
    if (c->run_id != NULL && is_leaving(c) && !mu_slice_eq(hello->run_id, mu_slice_of(c->run_id))) {
        refuse(p, NULL, "this port's job has just ended", CTL_REFUSAL_RETRY);
        return false;
    }
    if (c->run_id != NULL && !mu_slice_eq(hello->run_id, mu_slice_of(c->run_id))) {
        mu_err_set(&err, MU_E_REFUSED, 0,
                   "wrong run id '" MU_SLICE_FMT "': this port serves job '%s'",
                   MU_SLICE_ARG(hello->run_id), c->run_id);
        if (hello->is_searching != 0) {
            mu_log(MU_LOG_DEBUG, "%s looks for another job here: %s", uv_conn_peer(p->conn),
                   err.text);
            turn_away(p, err.text, CTL_REFUSAL_OTHER_JOB);
        } else {
            refuse(p, job_find(c, mu_slice_of(c->run_id)), err.text, CTL_REFUSAL_OTHER_JOB);
        }
        return false;
    }
    if (c->is_stopping) {
        refuse(p, NULL, "this coordinator is shutting down", CTL_REFUSAL_RETRY);
        return false;
    }
    struct job *job = job_find(c, hello->run_id);
    bool is_over = job != NULL && member_look(job->member).state == MEMBER_ENDED;
    bool is_old = is_over && member_knows(job->member, hello);
    if (is_over && !is_old && c->run_id == NULL) {
        job_free(job); /* its result was kept for status; the same run id starts anew */
        job = NULL;
    }
    if (job == NULL && (job = job_new(c, hello->run_id, &err)) == NULL) {
        refuse(p, NULL, err.text, CTL_REFUSAL_FINAL);
        return false;
    }
    int64_t node = member_join(job->member, hello, uv_conn_peer(p->conn), coordinator_now(c), &err);
    if (node < 0) {
        refuse(p, job, err.text, err.code == MU_E_CANCELED ? CTL_REFUSAL_RETRY : CTL_REFUSAL_FINAL);
        if (c->run_id == NULL && member_look(job->member).max_nodes == 0) {
            job_free(job); /* it never began: no deadline would ever end it */
        }
        return false;
    }
    struct peer *before = job_peer(job, (uint32_t)node);
    if (before != NULL) {
        peer_close(before); /* the connection the agent had, of which it has let go */
    }
    TAILQ_REMOVE(&c->strangers, p, link);
    uv_conn_set_timeout(p->conn, hello->node_timeout_ms);
    note_address(p);
    job_attach(job, (uint32_t)node, p);
    job_carry_out(job);
    bool is_here = job_peer(job, (uint32_t)node) == p;
    if (is_here) {
        route_joined(job, p->node);
    }
    return is_here;
}

/* One whole message. Returns false if the peer is gone after it. */
static bool on_message(struct peer *p, const struct ctl_msg *msg)
{
    struct coordinator *c = p->coordinator;
    if (msg->type != CTL_HEARTBEAT) {
        mu_log(MU_LOG_DEBUG, "from %s: %s", uv_conn_peer(p->conn), ctl_type_name(msg->type));
    }
    if (p->job != NULL) {
        struct job *job = p->job;
        uint32_t node = p->node;
        struct mu_err err = MU_ERR_INIT;
        if (member_message(job->member, node, msg, coordinator_now(c), &err) != 0) {
            member_lost(job->member, node, true, err.text, coordinator_now(c));
        } else {
            route_message(job, node, msg);
        }
        job_carry_out(job); /* may drop the peer, or end the job */
        return job_peer(job, node) == p;
    }
    if (msg->type == CTL_HELLO) {
        return on_hello(p, &msg->hello);
    }
    if (msg->type == CTL_STATUS) {
        char *json = job_status_document(c, msg->status.run_id);
        peer_send(p, &(struct ctl_msg){.type = CTL_STATUS_REPLY,
                                       .status_reply = {.json = mu_slice_of(json)}});
        free(json);
        peer_finish(p, LAST_WORDS_MS);
        return false;
    }
    peer_drop(p, "it did not begin with HELLO or STATUS");
    return false;
}

static void on_control_data(struct peer *p)
{
    struct coordinator *c = p->coordinator;
    struct mu_err err = MU_ERR_INIT;
    size_t at = 0;
    if (!p->is_control) {
        int rc = ctl_preface_check(p->partial.data, p->partial.len, &err);
        if (rc < 0) {
            refuse(p, NULL, err.text, CTL_REFUSAL_OTHER_VERSION);
            return;
        }
        if (rc == 0) {
            return;
        }
        p->is_control = true;
        at = CTL_PREFACE_LEN;
    }
    for (;;) {
        struct ctl_msg msg;
        size_t used = 0;
        int rc = ctl_msg_decode(p->partial.data + at, p->partial.len - at, MU_CTL_MAX_FRAME, &msg,
                                &used, &err);
        if (rc < 0 && p->job != NULL) {
            struct job *job = p->job;
            member_lost(job->member, p->node, true, err.text, coordinator_now(c));
            job_carry_out(job);
            return;
        }
        if (rc < 0) {
            peer_drop(p, err.text);
            return;
        }
        if (rc == 0) {
            mu_buf_consume(&p->partial, at);
            return;
        }
        at += used;
        if (!on_message(p, &msg)) {
            return;
        }
    }
}

static void on_c10d_data(struct peer *p, const uint8_t *data, size_t len)
{
    struct uv_store_server *store = NULL;
    if (p->is_c10d || !route_at_once(p, &store)) {
        p->is_c10d = true;
        mu_buf_append(&p->partial, data, len);
        route_data(p);
    } else if (store == NULL) {
        peer_drop(p, "a store client, and no round runs");
    } else {
        struct uv_conn *conn = p->conn;
        peer_free(p);
        uv_store_server_adopt(store, conn, data, len);
    }
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct peer *p = arg;
    struct coordinator *c = p->coordinator;
    bool is_first = p->partial.len == 0 && !p->is_control;
    if (p->is_c10d || (is_first && data[0] == C10D_FIRST_BYTE)) {
        on_c10d_data(p, data, len);
    } else if (is_first && data[0] != CTL_FIRST_BYTE) {
        char why[64];
        snprintf(why, sizeof(why), "first byte 0x%02x is no protocol of ours", data[0]);
        peer_drop(p, why);
    } else {
        mu_buf_append(&p->partial, data, len);
        on_control_data(p);
    }
    coordinator_arm(c);
}

static void on_closed(void *arg, const struct mu_err *why)
{
    struct peer *p = arg;
    struct coordinator *c = p->coordinator;
    struct job *job = p->job;
    uint32_t node = p->node;
    peer_close(p);
    if (job != NULL) {
        member_lost(job->member, node, why->code == MU_E_LOST && why->sys == 0, why->text,
                    coordinator_now(c));
        job_carry_out(job);
    }
    coordinator_arm(c);
}

void peer_new(struct coordinator *c, struct uv_conn *conn)
{
    static const struct uv_conn_handlers handlers = {.data = on_data, .closed = on_closed};
    struct peer *p = mu_alloc(sizeof(*p));
    p->coordinator = c;
    p->conn = conn;
    p->deadline_ms = coordinator_now(c) + MU_PREFACE_TIMEOUT_MS;
    TAILQ_INSERT_TAIL(&c->strangers, p, link);
    uv_conn_set_handlers(conn, &handlers, p);
}
