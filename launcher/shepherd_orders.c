/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shepherd does to its tree: the agent's orders, and the kill that follows its death.
 */
#include "launcher/shepherd_impl.h"

#include "muster/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

enum {
    KILL_PAUSE_MIN_MS = 1, /* between two passes of a kill: doubles up to ... */
    KILL_PAUSE_MAX_MS = 1000,
    KILL_REPORT_MS = 500, /* what a kill left after this long is reported, then each second */
};

static size_t look(struct shepherd *s)
{
    return proc_tree_descendants(s->pid, PROC_TREE_AUTO, s->tree, SHEPHERD_MAX_TREE);
}

static bool is_live_worker(const struct shepherd *s, pid_t pid)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

/*
 * signo once to each process group of the tree: the workers' at once, those that descendants made
 * as /proc shows them. Kill by group first: the kernel lets no member fork its way out of that.
 */
static size_t signal_tree(struct shepherd *s, int signo)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        /* Unreaped, so the number is still its own. No group yet: it is about to call setsid. */
        if (s->pids[i] > 0 && kill(-s->pids[i], signo) != 0) {
            kill(s->pids[i], signo);
        }
    }
    size_t count = look(s);
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        pid_t group = s->tree[i].pgrp;
        bool is_done =
            group <= 1 || group == s->pid || group == s->agent_pgrp || is_live_worker(s, group);
        for (size_t k = 0; !is_done && k < groups; k++) {
            is_done = s->groups[k] == group;
        }
        if (!is_done) {
            s->groups[groups++] = group;
            kill(-group, signo);
        }
    }
    return count;
}

/* A stopped process gets its SIGTERM only when it runs again. */
static void order_signal_tree(struct shepherd *s, int signo)
{
    size_t count = signal_tree(s, signo);
    bool is_stop = signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU;
    for (size_t i = 0; !is_stop && i < count; i++) {
        if (s->tree[i].state == 'T') {
            kill(s->tree[i].pid, SIGCONT);
        }
    }
}

static void order_signal_leaders(const struct shepherd *s, int signo)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] > 0) {
            kill(s->pids[i], signo);
        }
    }
}

/*
 * The pid came from a worker, by way of the agent: it may be anybody's by now. One of the tree it
 * is for certain only here, where its end would have been seen.
 */
static void order_signal_process(struct shepherd *s, pid_t pid, int signo)
{
    bool is_ours = is_live_worker(s, pid);
    size_t count = is_ours ? 0 : look(s);
    for (size_t i = 0; i < count; i++) {
        is_ours = is_ours || s->tree[i].pid == pid;
    }
    if (is_ours && pid > 1) {
        kill(pid, signo);
    }
}

bool shepherd_report_leftover(struct shepherd *s, bool is_certain)
{
    size_t count = look(s);
    struct shepherd_report r = {.kind = SHEPHERD_LEFTOVER, .value = s->is_killing};
    for (size_t i = count; i-- > 0;) {
        if (proc_tree_is_alive(&s->tree[i])) {
            r.first = s->tree[i];
            r.count++;
        }
    }
    if (r.count == 0 && !is_certain) {
        return false;
    }
    r.count = r.count > 0 ? r.count : 1;
    shepherd_send_report(s, &r);
    return true;
}

static void order_kill(struct shepherd *s)
{
    if (!s->is_killing) {
        s->is_killing = true;
        s->kill_at_ms = mu_clock_ms();
        s->kill_pause_ms = KILL_PAUSE_MIN_MS;
        s->kill_report_ms = s->kill_at_ms + KILL_REPORT_MS;
    }
}

void shepherd_kill_pass(struct shepherd *s)
{
    int64_t now = mu_clock_ms();
    if (now < s->kill_at_ms) {
        return;
    }
    size_t count = signal_tree(s, SIGKILL);
    for (size_t i = 0; i < count; i++) {
        kill(s->tree[i].pid, SIGKILL);
    }
    s->kill_at_ms = mu_clock_ms() + s->kill_pause_ms;
    if (s->kill_pause_ms < KILL_PAUSE_MAX_MS) {
        s->kill_pause_ms *= 2;
    }
    if (now >= s->kill_report_ms) {
        shepherd_report_leftover(s, true);
        s->kill_report_ms = now + KILL_PAUSE_MAX_MS;
    }
}

static void order_lease(struct shepherd *s, int64_t span_ms)
{
    s->lease_ms = mu_clock_ms() + span_ms;
    s->lease_span_ms = span_ms;
}

/* If this process stood still, too, the whole machine did: the agent gets time to speak. */
void shepherd_check_lease(struct shepherd *s)
{
    int64_t late_ms = s->lease_ms == INT64_MAX ? -1 : mu_clock_ms() - s->lease_ms;
    if (late_ms < 0 || s->is_killing) {
        return;
    }
    if (late_ms > s->lease_span_ms / 2) {
        order_lease(s, s->lease_span_ms / 2);
    } else {
        order_kill(s);
    }
}

static void lose_agent(struct shepherd *s)
{
    s->has_agent = false;
    order_kill(s);
}

static void carry_out(struct shepherd *s, struct shepherd_order order)
{
    switch (order.kind) {
    case SHEPHERD_SIGNAL_TREE:
        order_signal_tree(s, order.signo);
        break;
    case SHEPHERD_SIGNAL_LEADERS:
        order_signal_leaders(s, order.signo);
        break;
    case SHEPHERD_SIGNAL_PROCESS:
        order_signal_process(s, order.pid, order.signo);
        break;
    case SHEPHERD_KILL:
        order_kill(s);
        break;
    case SHEPHERD_LEASE:
        order_lease(s, order.span_ms);
        break;
    }
}

void shepherd_take_orders(struct shepherd *s)
{
    while (s->has_agent) {
        struct shepherd_order order;
        ssize_t n = recv(s->spec->control_fd, &order, sizeof(order), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n == (ssize_t)sizeof(order)) {
            carry_out(s, order);
        } else {
            lose_agent(s);
        }
    }
}
