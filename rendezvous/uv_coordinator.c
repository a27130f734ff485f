/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/uv_coordinator_impl.h"

#include "muster/clock.h"
#include "muster/addr.h"
#include "muster/ctl_msg.h"
#include "muster/limits.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/rand.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/resource.h>

enum {
    ACCEPT_BACKLOG = 65535, /* the kernel makes net.core.somaxconn of it */
    LINGER_MS = 2000,
    KEPT_DESCRIPTORS = 256,  /* for the workers' pipes, files, connections of our own */
    VANISHED_MS = 60 * 1000, /* by when a peer that is gone without a word is noticed */
    WARN_EVERY_MS = 10 * 1000,
};

int64_t coordinator_now(const struct coordinator *c)
{
    return (int64_t)uv_now(c->loop);
}

/* A handle is closed; the last one takes the coordinator with it. */
static void release(struct coordinator *c)
{
    if (--c->open_handles == 0) {
        free(c->run_id);
        free(c->master_addr);
        free(c);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

struct coordinator *coordinator_new(uv_loop_t *loop, const struct coordinator_config *config)
{
    struct coordinator *c = mu_alloc(sizeof(*c));
    c->loop = loop;
    c->store_bytes = config->store_bytes;
    c->warned_ms = INT64_MIN / 2;
    c->run_id = config->run_id != NULL ? mu_strdup(config->run_id) : NULL;
    c->master_addr = config->master_addr != NULL ? mu_strdup(config->master_addr) : NULL;
    c->member_config.master_addr = c->master_addr;
    c->member_config.embedded_agent = config->embedded_agent;
    c->member_config.expected = config->expected;
    c->member_config.expected_count = config->expected_count;
    ssize_t n = getrandom(&c->member_config.coordinator_id, sizeof(uint64_t), 0);
    MU_REQUIRE(n == sizeof(uint64_t));
    uv_update_time(loop);
    c->member_config.unix_offset_ms = mu_clock_unix_ms() - coordinator_now(c);
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    TAILQ_INIT(&c->strangers);
    TAILQ_INIT(&c->held);
    TAILQ_INIT(&c->jobs);
    c->timer_at_ms = INT64_MAX;
    c->open_handles = 1;
    uint64_t seed;
    mu_rand_bytes(&seed, sizeof(seed));
    c->route = store_route_new(seed);
    mu_rand_bytes(&c->member_config.seed, sizeof(c->member_config.seed));
    c->shared_store = uv_store_server_new(loop, c->store_bytes, &c->store_counters);
    return c;
}

uint64_t coordinator_id(const struct coordinator *c)
{
    return c->member_config.coordinator_id;
}

const char *coordinator_reached_at(const struct coordinator *c)
{
    return c->reached_at;
}

/* ---- the one timer ---- */

static void on_timer(uv_timer_t *timer)
{
    struct coordinator *c = timer->data;
    int64_t now = coordinator_now(c);
    struct peer *oldest;
    while ((oldest = TAILQ_FIRST(&c->strangers)) != NULL && oldest->deadline_ms <= now) {
        peer_drop(oldest, "said nothing we understand in time");
    }
    route_tick(c);
    struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        if (member_deadline(job->member) <= now) {
            member_tick(job->member, now);
            job_carry_out(job);
        }
    }
    c->timer_at_ms = INT64_MAX;
    coordinator_arm(c);
}

void coordinator_arm(struct coordinator *c)
{
    if (c->is_closing) {
        return;
    }
    int64_t at = store_route_deadline(c->route);
    const struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        int64_t deadline = member_deadline(job->member);
        at = deadline < at ? deadline : at;
    }
    const struct peer *oldest = TAILQ_FIRST(&c->strangers);
    if (oldest != NULL && oldest->deadline_ms < at) {
        at = oldest->deadline_ms;
    }
    if (at == c->timer_at_ms) {
        return;
    }
    c->timer_at_ms = at;
    if (at == INT64_MAX) {
        uv_timer_stop(&c->timer);
        return;
    }
    /* Never in the same turn: numbers that peers chose must not make the loop do nothing else. */
    int64_t wait = at - coordinator_now(c);
    uv_timer_start(&c->timer, on_timer, wait > 0 ? (uint64_t)wait : 1, 0);
}

/* ---- accepting ---- */

/* Is this among the last descriptors? The kernel hands out the lowest that is free. */
static bool is_one_of_the_last(const struct uv_conn *conn)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return false;
    }
    rlim_t kept = limit.rlim_cur / 4 < KEPT_DESCRIPTORS ? limit.rlim_cur / 4 : KEPT_DESCRIPTORS;
    return (rlim_t)uv_conn_descriptor(conn) >= limit.rlim_cur - kept;
}

/* Thousands are turned away in a moment: say it once in a while. */
static void warn_about_descriptors(struct coordinator *c, const char *why)
{
    if (coordinator_now(c) - c->warned_ms >= WARN_EVERY_MS) {
        c->warned_ms = coordinator_now(c);
        mu_log(MU_LOG_WARN,
               "%s: %" PRIu64 " connections turned away so far; they may try again. Raise the "
               "limit on open files (ulimit -Hn)",
               why, c->port.turned_away + c->port.accept_failed);
    }
}

/* Looked at once in a turn of the loop, before what waits is taken out of the queue. */
static void look_at_backlog(struct coordinator *c, const uv_tcp_t *listener)
{
    if (c->backlog_seen_ms == coordinator_now(c)) {
        return;
    }
    c->backlog_seen_ms = coordinator_now(c);
    uv_os_fd_t fd;
    struct tcp_info info;
    socklen_t len = sizeof(info);
    /* Of a listening socket these two are the length of its queue, and the most it may be. */
    if (uv_fileno((const uv_handle_t *)listener, &fd) == 0 &&
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
        info.tcpi_unacked >= info.tcpi_sacked) {
        c->port.backlog_full++;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct coordinator *c = listener->data;
    struct mu_err err = MU_ERR_INIT;
    look_at_backlog(c, c->listener);
    if (status != 0) {
        mu_err_set(&err, MU_E_SYSTEM, -status, "accept a connection");
    }
    struct uv_conn *conn = status == 0 ? uv_conn_accept(listener, &err) : NULL;
    if (conn == NULL) {
        c->port.accept_failed++;
        warn_about_descriptors(c, err.text);
        return;
    }
    if (is_one_of_the_last(conn)) {
        c->port.turned_away++;
        warn_about_descriptors(c, "too many connections for the limit on open files");
        uv_conn_close(conn);
        return;
    }
    c->port.accepted++;
    peer_new(c, conn);
    coordinator_arm(c);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct coordinator *c = handle->data;
    free(handle);
    release(c);
}

int coordinator_listen(struct coordinator *c, const struct sockaddr *addr, uint16_t *ret_port,
                       struct mu_err *err)
{
    MU_REQUIRE(c->side_listener == NULL);
    uv_tcp_t *listener = mu_alloc(sizeof(*listener));
    int rc = uv_tcp_init(c->loop, listener);
    if (rc != 0) {
        free(listener);
        return mu_err_set(err, MU_E_SYSTEM, -rc, "make a socket");
    }
    listener->data = c;
    c->open_handles++;
    struct sockaddr_storage bound;
    int len = sizeof(bound);
    rc = uv_tcp_bind(listener, addr, 0);
    if (rc == 0) {
        uv_conn_prepare_listener(listener, VANISHED_MS);
    }
    rc = rc != 0 ? rc : uv_listen((uv_stream_t *)listener, ACCEPT_BACKLOG, on_connection);
    rc = rc != 0 ? rc : uv_tcp_getsockname(listener, (struct sockaddr *)&bound, &len);
    if (rc != 0) {
        struct mu_endpoint e = {.port = mu_addr_port(addr)};
        mu_addr_format_host(addr, e.host, sizeof(e.host));
        char text[MU_MAX_NAME + 16];
        mu_endpoint_format(&e, text, sizeof(text));
        uv_close((uv_handle_t *)listener, on_listener_closed);
        return mu_err_set(err, MU_E_CONNECT, -rc, "listen on %s", text);
    }
    if (c->listener == NULL) {
        c->listener = listener;
    } else {
        c->side_listener = listener;
    }
    *ret_port = mu_addr_port((struct sockaddr *)&bound);
    return 0;
}

unsigned coordinator_count_jobs(const struct coordinator *c)
{
    unsigned count = 0;
    const struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        count += member_look(job->member).state != MEMBER_ENDED ? 1 : 0;
    }
    return count;
}

size_t coordinator_missing(const struct coordinator *c, uint32_t *ret_places, size_t max)
{
    const struct job *job = TAILQ_FIRST(&c->jobs);
    return job != NULL ? member_missing(job->member, ret_places, max) : 0;
}

void coordinator_note_missing(struct coordinator *c, uint32_t place, const char *what)
{
    struct job *job = TAILQ_FIRST(&c->jobs);
    if (job != NULL) {
        member_note_missing(job->member, place, what, coordinator_now(c));
        coordinator_arm(c);
    }
}

void coordinator_stop(struct coordinator *c, int signo, const char *why)
{
    c->is_stopping = true;
    struct job *job;
    TAILQ_FOREACH (job, &c->jobs, link) {
        member_stop(job->member, signo, why, coordinator_now(c));
        job_carry_out(job);
    }
    coordinator_arm(c);
}

void coordinator_stop_listening(struct coordinator *c)
{
    if (c->listener != NULL) {
        uv_close((uv_handle_t *)c->listener, on_listener_closed);
        c->listener = NULL;
    }
    if (c->side_listener != NULL) {
        uv_close((uv_handle_t *)c->side_listener, on_listener_closed);
        c->side_listener = NULL;
    }
}

void coordinator_close(struct coordinator *c)
{
    if (c == NULL) {
        return;
    }
    c->is_closing = true;
    struct peer *p;
    while ((p = TAILQ_FIRST(&c->strangers)) != NULL || (p = TAILQ_FIRST(&c->held)) != NULL) {
        peer_finish(p, LINGER_MS);
    }
    struct job *job;
    while ((job = TAILQ_FIRST(&c->jobs)) != NULL) {
        job_free(job);
    }
    store_route_free(c->route);
    uv_store_server_free(c->shared_store);
    coordinator_stop_listening(c);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
