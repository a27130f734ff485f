/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_agent.h"

#include "launcher/agent.h"
#include "launcher/uv_agent_impl.h"
#include "launcher/uv_host.h"
#include "launcher/uv_leash.h"
#include "muster/env.h"
#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <errno.h>
#include <sys/random.h>

enum { LAST_WORDS_MS = 2000 };

static void carry_out(struct uv_agent *a);

static int64_t now_ms(const struct uv_agent *a)
{
    return (int64_t)uv_now(&a->loop);
}

/* ---- the link to the coordinator ---- */

static void hang_up(struct uv_agent *a, bool is_abrupt)
{
    if (a->link != NULL) {
        if (is_abrupt) {
            uv_conn_reset(a->link);
        } else if (agent_is_welcome(a->engine)) {
            uv_conn_finish(a->link, LAST_WORDS_MS);
        } else {
            uv_conn_close(a->link); /* a stranger, perhaps: it may never hang up */
        }
        a->link = NULL;
        a->partial.len = 0;
    }
}

static void on_link_data(void *arg, const uint8_t *data, size_t len)
{
    struct uv_agent *a = arg;
    struct uv_conn *link = a->link;
    mu_buf_append(&a->partial, data, len);
    size_t at = 0;
    while (a->link == link) {
        struct ctl_msg msg;
        size_t used = 0;
        struct mu_err err = MU_ERR_INIT;
        int rc = ctl_msg_decode(a->partial.data + at, a->partial.len - at, MU_CTL_MAX_FRAME, &msg,
                                &used, &err);
        if (rc < 0) {
            mu_err_wrap(&err, "it does not speak muster's control protocol");
            hang_up(a, agent_is_welcome(a->engine));
            agent_disconnected(a->engine, false,
                               agent_is_welcome(a->engine)
                                   ? err.text
                                   : "what answers there is no muster coordinator: is the port "
                                     "used by another program? Then choose another with "
                                     "--rdzv-endpoint",
                               now_ms(a));
            carry_out(a);
            return;
        }
        if (rc == 0) {
            mu_buf_consume(&a->partial, at);
            return;
        }
        at += used;
        mu_log(MU_LOG_DEBUG, "coordinator says %s", ctl_type_name(msg.type));
        if (msg.type == CTL_WELCOME) {
            uv_agent_net_welcome(a, &msg.welcome);
        }
        if (msg.type == CTL_WAITING) {
            uv_agent_rungs_waits(a);
        }
        agent_message(a->engine, &msg, now_ms(a));
        carry_out(a);
    }
}

static void on_link_closed(void *arg, const struct mu_err *why)
{
    struct uv_agent *a = arg;
    uv_conn_close(a->link);
    a->link = NULL;
    a->partial.len = 0;
    agent_disconnected(a->engine, why->code == MU_E_LOST && why->sys == 0, why->text, now_ms(a));
    carry_out(a);
}

void uv_agent_linked(struct uv_agent *a, struct uv_conn *conn)
{
    static const struct uv_conn_handlers handlers = {.data = on_link_data,
                                                     .closed = on_link_closed};
    a->link = conn;
    uv_conn_set_handlers(conn, &handlers, a);
    uv_conn_set_timeout(conn, a->opts->node_timeout_ms);
    struct mu_buf preface = {0};
    ctl_preface_append(&preface);
    uv_conn_send(conn, preface.data, preface.len);
    mu_buf_fini(&preface);
    /* Numeric, and proven: what reached the coordinator from here will reach the store. */
    snprintf(a->master_addr, sizeof(a->master_addr), "%s", uv_conn_peer(conn));
    snprintf(a->local_addr, sizeof(a->local_addr), "%s", uv_conn_local(conn));
    agent_connected(a->engine, now_ms(a));
    carry_out(a);
}

bool uv_agent_host(struct uv_agent *a, const struct sockaddr_storage *addrs, size_t count,
                   struct mu_err *err)
{
    char master_addr[INET6_ADDRSTRLEN];
    uv_agent_net_address(a, count > 0 ? addrs[0].ss_family : AF_INET, master_addr);
    const struct sched *sched = a->opts->sched;
    struct uv_host_spec spec = {.host = a->endpoint.host,
                                .run_id = a->opts->rdzv_id,
                                .agent_id = a->config.agent_id,
                                .store_bytes = (uint64_t)a->opts->store_memory,
                                .master_addr = master_addr,
                                .side_port = a->opts->rendezvous.side_port};
    if (sched != NULL) {
        spec.expected = sched->hosts.names;
        spec.expected_count = sched->hosts.count;
    }
    a->coordinator = uv_host_try(&a->loop, &spec, addrs, count, &a->endpoint.port, err);
    if (a->coordinator == NULL) {
        return false;
    }
    char text[MU_MAX_NAME + 16];
    mu_endpoint_format(&a->endpoint, text, sizeof(text));
    mu_log(MU_LOG_INFO, "serving the coordinator of job '%s' on %s", a->opts->rdzv_id, text);
    return true;
}

/* The address may be ours and yet lead elsewhere: only our own id in WELCOME proves it. */
static void check_host(struct uv_agent *a)
{
    uint64_t id = agent_get_coordinator(a->engine);
    if (a->coordinator != NULL && id != 0 && id != coordinator_id(a->coordinator)) {
        mu_log(MU_LOG_INFO, "another coordinator answers at the endpoint; closing ours");
        uv_probe_close(a->probe);
        a->probe = NULL;
        coordinator_close(a->coordinator);
        a->coordinator = NULL;
    }
}

/* ---- effects ---- */

static void on_timer(uv_timer_t *timer)
{
    struct uv_agent *a = timer->data;
    agent_tick(a->engine, now_ms(a));
    carry_out(a);
}

static void arm(struct uv_agent *a)
{
    int64_t at = agent_deadline(a->engine);
    if (at == INT64_MAX) {
        uv_timer_stop(&a->timer);
        return;
    }
    int64_t wait = at - now_ms(a);
    uv_timer_start(&a->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* The engine is done: let go of everything, so that the loop runs dry. */
static void finish(struct uv_agent *a, int exit_status)
{
    a->exit_status = exit_status;
    uv_agent_workers_end(a);
    uv_agent_watchdog_close(a);
    uv_liveness_close(a->liveness);
    terminal_restore(&a->terminal);
    uv_agent_events_end(a);
    hang_up(a, false);
    uv_agent_rungs_close(a);
    uv_master_addr_close(a->told);
    a->told = NULL;
    if (a->coordinator != NULL) {
        bool is_signal = exit_status > 128;
        int signo = is_signal ? exit_status - 128 : SIGTERM;
        char name[32];
        outcome_signal_name(signo, name, sizeof(name));
        char why[MU_MAX_NAME + 64];
        snprintf(why, sizeof(why), "%s on %s, which served the coordinator",
                 is_signal ? name : "the end of the agent", a->opts->node_name);
        coordinator_stop(a->coordinator, signo, why);
        coordinator_close(a->coordinator);
        a->coordinator = NULL;
    }
    uv_agent_signals_close(a);
    uv_close((uv_handle_t *)&a->timer, NULL);
    uv_agent_output_finish(a);
}

static void send_msg(struct uv_agent *a, const struct ctl_msg *msg)
{
    if (a->link == NULL) {
        return;
    }
    struct mu_buf out = {0};
    ctl_msg_encode(msg, &out);
    uv_conn_send(a->link, out.data, out.len);
    mu_buf_fini(&out);
}

static void carry_out(struct uv_agent *a)
{
    const struct agent_effect *e;
    while ((e = agent_take(a->engine)) != NULL) {
        switch (e->kind) {
        case AGENT_CONNECT:
            uv_agent_rungs_connect(a, e);
            break;
        case AGENT_DISCONNECT:
            hang_up(a, e->is_abrupt);
            break;
        case AGENT_SEND:
            send_msg(a, &e->msg);
            break;
        case AGENT_START:
            check_host(a);
            uv_agent_workers_start(a, &e->assignment);
            break;
        case AGENT_SIGNAL:
        case AGENT_PASS:
        case AGENT_KILL:
            uv_agent_workers_signal(a, e);
            break;
        case AGENT_LEASE:
            a->lease_ms = e->until_ms;
            uv_agent_workers_lease(a);
            break;
        case AGENT_LOOK:
            uv_agent_workers_look(a, e->msg.whose);
            break;
        case AGENT_LOG:
            if (e->level == MU_LOG_ERROR) {
                uv_agent_causes_note(a, e->text);
            }
            mu_log(e->level, "%s%s", e->text, e->is_port_in_doubt ? uv_agent_rungs_owner(a) : "");
            break;
        case AGENT_PRINT:
            mu_log(MU_LOG_ERROR, "%s", e->text);
            break;
        case AGENT_OVER:
            uv_agent_causes_over(a, &e->msg.end);
            break;
        case AGENT_EXIT:
            finish(a, e->exit_status);
            return;
        }
    }
    arm(a);
}

void uv_agent_carry_out(struct uv_agent *a)
{
    carry_out(a);
}

int64_t uv_agent_now(struct uv_agent *a)
{
    uv_update_time(&a->loop); /* workers take milliseconds to start */
    return now_ms(a);
}

/* ---- life ---- */

static enum job_scale_up scale_up_of(const char *word)
{
    if (strcmp(word, "never") == 0) {
        return JOB_SCALE_UP_NEVER;
    }
    return strcmp(word, "now") == 0 ? JOB_SCALE_UP_NOW : JOB_SCALE_UP_NEXT_RESTART;
}

static int configure(struct uv_agent *a, struct mu_err *err)
{
    const struct options *o = a->opts;
    a->endpoint = o->rendezvous.endpoint;
    a->config = (struct agent_config){
        .run_id = o->rdzv_id,
        .node_name = o->node_name,
        .role = o->role,
        .coordinator = a->endpoint_text,
        .pid = (uint32_t)uv_os_getpid(),
        .slots = (uint32_t)o->nproc_per_node,
        .node_rank = (int32_t)o->node_rank,
        .sched_rank = o->sched != NULL ? o->sched->node_index : -1,
        .policy = {.min_nodes = (uint32_t)o->nnodes.min,
                   .max_nodes = (uint32_t)o->nnodes.max,
                   .spares = (uint32_t)o->spares,
                   .scale_up = scale_up_of(o->scale_up),
                   .max_restarts = (uint32_t)o->max_restarts,
                   .max_node_losses = (uint32_t)o->max_node_losses,
                   .restart_window_ms = o->restart_window_ms,
                   .min_uptime_ms = o->min_uptime_ms,
                   .stop_codes = o->stop_codes,
                   .retry_codes = o->retry_codes},
        .join_timeout_ms = o->join_timeout_ms,
        .last_call_ms = o->last_call_ms,
        .node_timeout_ms = o->node_timeout_ms,
        .grace_ms = o->grace_ms,
        .wants_report = o->report != NULL && o->report[0] != '\0',
    };
    while (a->config.agent_id == 0) {
        if (getrandom(&a->config.agent_id, sizeof(a->config.agent_id), 0) < 0) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "random numbers");
        }
    }
    if (uv_agent_net_check(a, err) != 0) {
        return -1;
    }
    if (o->rendezvous.is_standalone) {
        struct sockaddr_storage addr;
        if (mu_addr_from_numeric(a->endpoint.host, a->endpoint.port, &addr) != 0 ||
            !uv_agent_host(a, &addr, 1, err)) {
            return mu_err_wrap(err, "serve the coordinator");
        }
    }
    mu_endpoint_format(&a->endpoint, a->endpoint_text, sizeof(a->endpoint_text));
    return 0;
}

/* A probe's port that cannot be served is no reason not to train. */
static void open_liveness(struct uv_agent *a)
{
    static const char name[] = "TORCHELASTIC_HEALTH_CHECK_PORT";
    const char *text = mu_env_get(a->env, name);
    if (text == NULL) {
        return;
    }
    int64_t port = 0;
    struct mu_err err = MU_ERR_INIT;
    if (mu_parse_int(text, 1, 65535, &port, &err) == 0) {
        a->liveness = uv_liveness_open(&a->loop, (uint16_t)port, &err);
    }
    if (a->liveness == NULL) {
        mu_log(MU_LOG_WARN, "%s: %s: health checks are not answered", name, err.text);
    }
}

/* Without it the agent would outlive the launcher that watches it from afar. */
static int hold_leash(struct uv_agent *a, struct mu_err *err)
{
    if (a->opts->leash >= 0) {
        a->leash = uv_leash_open(&a->loop, a->opts->leash, err);
    }
    return a->opts->leash < 0 || a->leash != NULL ? 0 : -1;
}

static void start(struct uv_agent *a)
{
    uv_agent_rungs_open(a);
    a->engine = agent_new(&a->config);
    uv_timer_init(&a->loop, &a->timer);
    a->timer.data = a;
    agent_start(a->engine, now_ms(a));
    carry_out(a);
}

int uv_agent_run(const struct options *opts, char *const *env, const struct numa_binding *binding,
                 int *ret_exit_status, struct mu_err *err)
{
    struct uv_agent *a = mu_alloc(sizeof(*a));
    a->opts = opts;
    a->env = env;
    a->binding = binding;
    terminal_save(&a->terminal);
    int rc = uv_loop_init(&a->loop);
    if (rc != 0) {
        free(a);
        return mu_err_set(err, MU_E_SYSTEM, -rc, "make the event loop");
    }
    rc = -1;
    if (uv_agent_output_open(a, err) == 0 && configure(a, err) == 0 &&
        uv_agent_signals_watch(a, err) == 0 && hold_leash(a, err) == 0) {
        mu_log_set_sink(uv_out_log_sink, a->err_out);
        uv_agent_events_begin(a);
        open_liveness(a);
        start(a);
        uv_run(&a->loop, UV_RUN_DEFAULT);
        uv_agent_causes_finish(a);
        *ret_exit_status = a->exit_status;
        rc = 0;
        uv_agent_output_flush(a);
        mu_log_set_sink(NULL, NULL);
    } else {
        coordinator_close(a->coordinator);
        uv_agent_signals_close(a);
    }
    uv_leash_close(a->leash);
    uv_agent_output_close(a);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    MU_REQUIRE(uv_loop_close(&a->loop) == 0);
    bool has_ended = uv_agent_workers_free(a);
    if (!has_ended) {
        _exit(a->exit_status); /* all is said and written; a driver that hangs is not waited for */
    }
    agent_free(a->engine);
    mu_buf_fini(&a->partial);
    free(a);
    return rc;
}
