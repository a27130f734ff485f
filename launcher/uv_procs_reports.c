/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a round's workers: as the shepherd reports it, as those who could not be executed
 * say, and, when the shepherd itself was killed, as this process finds out.
 */
#include "launcher/uv_procs_impl.h"

#include "launcher/shepherd.h"
#include "launcher/worker_exec.h"
#include "muster/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
    LOST_PAUSE_MIN_MS = 1, /* between two looks for orphans: doubles up to ... */
    LOST_PAUSE_MAX_MS = 1000,
    LOST_REPORT_MS = 500, /* orphans that live longer than this are reported */
};

static struct outcome outcome_of_wait(int status)
{
    if (WIFEXITED(status)) {
        return (struct outcome){.kind = OUTCOME_EXITED, .code = WEXITSTATUS(status)};
    }
    if (WIFSIGNALED(status)) {
        return (struct outcome){
            .kind = OUTCOME_SIGNALED, .code = WTERMSIG(status), .core_dumped = WCOREDUMP(status)};
    }
    return (struct outcome){.kind = OUTCOME_UNKNOWN};
}

static void end_worker(struct uv_procs *p, uint32_t rank, struct outcome o)
{
    struct uv_procs_worker *w = &p->workers[rank];
    if (w->is_ended || p->is_closing) {
        return;
    }
    uv_output_drain(p->output, rank);
    w->is_ended = true;
    w->outcome = w->outcome.kind == OUTCOME_EXEC_FAILED ? w->outcome : o;
    p->handlers->exited(p->arg, rank, w->outcome);
}

void uv_procs_tell_running(struct uv_procs *p)
{
    uv_poll_stop(&p->exec_poll);
    if (!p->is_running_told && !p->is_closing && p->accounted == p->count) {
        p->is_running_told = true;
        p->handlers->running(p->arg);
    }
}

static void finish(struct uv_procs *p)
{
    uv_procs_tell_running(p);
    if (p->is_closing) {
        return;
    }
    p->is_finished = true;
    for (uint32_t i = 0; i < p->count; i++) {
        uv_output_drain(p->output, i);
    }
    uv_signal_stop(&p->sigchld);
    uv_timer_stop(&p->lost_timer);
    p->handlers->gone(p->arg);
}

/* ---- the exec pipe ---- */

static void count_loss(struct uv_procs_loss *loss, int code)
{
    loss->workers++;
    loss->code = code;
}

bool uv_procs_read_exec_failures(struct uv_procs *p)
{
    struct worker_exec_failure failure;
    for (;;) {
        ssize_t n = read(p->exec_fd, &failure, sizeof(failure));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n != (ssize_t)sizeof(failure)) {
            return n == 0;
        }
        MU_REQUIRE(failure.local_rank < p->count);
        if (failure.stage == WORKER_EXEC_UNBOUND) {
            count_loss(&p->unbound, failure.code);
            continue;
        }
        if (failure.stage == WORKER_EXEC_UNLIMITED) {
            count_loss(&p->unlimited, failure.code);
            continue;
        }
        p->workers[failure.local_rank].outcome =
            (struct outcome){.kind = OUTCOME_EXEC_FAILED,
                             .stage = (enum outcome_stage)failure.stage,
                             .code = failure.code};
    }
}

/* ---- the control socket ---- */

static void take_leftover(struct uv_procs *p, uint32_t count, const struct proc_stat *first,
                          bool is_after_kill)
{
    struct uv_procs_leftover left = {
        .count = count, .pid = first->pid, .state = first->state, .is_after_kill = is_after_kill};
    memcpy(left.comm, first->comm, sizeof(left.comm));
    p->handlers->leftover(p->arg, &left);
}

static void take_report(struct uv_procs *p, const struct shepherd_report *r)
{
    MU_REQUIRE(r->rank < p->count);
    switch (r->kind) {
    case SHEPHERD_STARTED:
        MU_REQUIRE(r->count <= SHEPHERD_PIDS_PER_REPORT && r->rank + r->count <= p->count);
        for (uint32_t i = 0; i < r->count && !p->is_closing; i++) {
            p->workers[r->rank + i].pid = r->pids[i];
            p->accounted++;
            p->handlers->started(p->arg, r->rank + i, r->pids[i]);
        }
        break;
    case SHEPHERD_NOT_STARTED:
        for (uint32_t i = r->rank; i < p->count; i++) {
            p->accounted++;
            end_worker(p, i,
                       (struct outcome){.kind = OUTCOME_EXEC_FAILED,
                                        .stage = OUTCOME_STAGE_FORK,
                                        .code = r->value});
        }
        break;
    case SHEPHERD_EXITED:
        uv_procs_read_exec_failures(p); /* written before the exit, so it is there */
        end_worker(p, r->rank, outcome_of_wait(r->value));
        break;
    case SHEPHERD_LEFTOVER:
        take_leftover(p, r->count, &r->first, r->value != 0);
        break;
    case SHEPHERD_GONE:
        p->is_gone_told = true;
        break;
    }
}

/*
 * A shepherd that ends with an order unread leaves ECONNRESET, once, in front of its last reports.
 */
void uv_procs_read_reports(struct uv_procs *p)
{
    struct shepherd_report r;
    while (!p->is_closing && !p->is_control_over) {
        ssize_t n = recv(p->control_fd, &r, sizeof(r), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(r)) {
            take_report(p, &r);
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else if (n >= 0 || (errno != EINTR && errno != ECONNRESET)) {
            p->is_control_over = true;
            uv_poll_stop(&p->control_poll);
        }
    }
}

/* ---- a shepherd that was killed ---- */

static void on_lost_timer(uv_timer_t *timer);

static void look_for_orphans(struct uv_procs *p)
{
    reaper_reap();
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->workers[i].is_reaped) {
            end_worker(p, i, p->workers[i].outcome);
        }
    }
    struct proc_stat first;
    size_t orphans = p->is_closing ? 0 : reaper_kill_orphans(&first);
    if (p->is_closing) {
        return;
    }
    if (orphans == 0) {
        for (uint32_t i = 0; i < p->count; i++) {
            end_worker(p, i, (struct outcome){.kind = OUTCOME_UNKNOWN});
        }
        if (!p->is_closing) {
            finish(p);
        }
        return;
    }
    uint64_t now = uv_now(p->sigchld.loop);
    uv_timer_start(&p->lost_timer, on_lost_timer, p->lost_pause_ms, 0);
    p->lost_pause_ms *= p->lost_pause_ms < LOST_PAUSE_MAX_MS ? 2 : 1;
    if (now >= p->lost_report_ms) {
        p->lost_report_ms = now + LOST_PAUSE_MAX_MS;
        take_leftover(p, (uint32_t)orphans, &first, true);
    }
}

static void on_lost_timer(uv_timer_t *timer)
{
    look_for_orphans(timer->data);
}

void uv_procs_shepherd_ended(struct uv_procs *p)
{
    uv_procs_read_reports(p);
    if (p->is_closing || p->is_finished) {
        return;
    }
    if (p->is_gone_told) {
        finish(p);
        return;
    }
    if (p->lost_pause_ms == 0) {
        p->lost_pause_ms = LOST_PAUSE_MIN_MS;
        p->lost_report_ms = uv_now(p->sigchld.loop) + LOST_REPORT_MS;
        uv_procs_read_exec_failures(p);
    }
    look_for_orphans(p);
}

void uv_procs_reaped(void *arg, pid_t pid, int status)
{
    struct uv_procs *p = arg;
    if (pid == p->children.shepherd) {
        p->children.shepherd = 0;
        return;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        struct uv_procs_worker *w = &p->workers[i];
        if (w->pid == pid && !w->is_ended && !w->is_reaped) {
            w->is_reaped = true;
            if (w->outcome.kind != OUTCOME_EXEC_FAILED) {
                w->outcome = outcome_of_wait(status);
            }
            return;
        }
    }
}
