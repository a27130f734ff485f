/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a round: from an assignment to processes, and from what becomes of them to events
 * of the agent engine.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/find_program.h"
#include "launcher/gpu_memory.h"
#include "launcher/proc_owner.h"
#include "muster/env.h"
#include "muster/file.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <string.h>

static void on_started(void *arg, uint32_t local_rank, pid_t pid)
{
    struct uv_agent *a = arg;
    agent_worker_started(a->engine, local_rank, (uint32_t)pid);
    uv_agent_events_started(a, local_rank, pid);
}

/* ---- what a start may wait for ---- */

static void start_now(struct uv_agent *a, const struct assignment *assignment);

/* After a pause of this process the lease may be over: that comes first, and ends the wait. */
static bool is_still_waiting(struct uv_agent *a)
{
    agent_tick(a->engine, uv_agent_now(a));
    uv_agent_carry_out(a);
    return a->is_waiting;
}

static void on_gpus_free(void *arg)
{
    struct uv_agent *a = arg;
    if (is_still_waiting(a)) {
        a->is_waiting = false;
        start_now(a, &a->next);
        uv_agent_carry_out(a);
    }
}

/* Two things in turn: where the coordinator is reached, and GPU memory. */
static void start_if_ready(struct uv_agent *a)
{
    a->is_waiting_for_address = uv_agent_net_is_trying(a);
    a->is_waiting =
        a->is_waiting_for_address || (a->gpu_wait != NULL && uv_gpu_wait_start(a->gpu_wait));
    if (!a->is_waiting) {
        start_now(a, &a->next);
    }
}

void uv_agent_workers_ready(struct uv_agent *a)
{
    if (a->is_waiting_for_address && is_still_waiting(a)) {
        start_if_ready(a);
        uv_agent_carry_out(a);
    }
}

/* With the first workers that run: until then nothing is done, for the start is not to wait. */
static void note_workers(struct uv_agent *a)
{
    const struct options *o = a->opts;
    struct host_view host = host_view_of(a->env);
    bool may_start_again = a->config.policy.max_restarts > 0 || a->config.policy.max_nodes > 1;
    if (a->gpu_wait == NULL && o->gpu_free_timeout_ms > 0 && may_start_again &&
        gpu_memory_has_devices(&host)) {
        struct mu_err err = MU_ERR_INIT;
        struct uv_gpu_wait_spec spec = {.host = &host,
                                        .run_path = run_dir_path(a->run_dir),
                                        .timeout_ms = o->gpu_free_timeout_ms,
                                        .over = on_gpus_free,
                                        .arg = a};
        a->gpu_wait = uv_gpu_wait_new(&a->loop, &spec, &err);
        if (a->gpu_wait == NULL) {
            mu_log(MU_LOG_WARN, "GPU memory will not be waited for at a restart: %s", err.text);
        }
    }
    if (a->gpu_wait != NULL) {
        pid_t pids[MU_MAX_LOCAL_WORLD];
        for (uint32_t i = 0; i < a->config.slots; i++) {
            pids[i] = uv_procs_pid(a->procs, i);
        }
        uv_gpu_wait_note(a->gpu_wait, pids, a->config.slots);
    }
}

/* The round ends before its workers were started. The engine takes them for running. */
static void give_up_waiting(struct uv_agent *a)
{
    a->is_waiting = a->is_waiting_for_address = false;
    uv_gpu_wait_cancel(a->gpu_wait);
    agent_workers_gone(a->engine, uv_agent_now(a));
}

/* ---- what becomes of the workers ---- */

/* What the workers run without, in the first round that has such workers. */
static void say_losses(struct uv_agent *a)
{
    struct uv_procs_loss unbound = uv_procs_unbound(a->procs);
    if (unbound.workers > 0 && !a->is_unbound_told) {
        a->is_unbound_told = true;
        mu_log(MU_LOG_WARN,
               "%u worker%s could not be bound to CPUs (%s) and run%s where muster may run; "
               "--numa-binding none leaves it out",
               unbound.workers, unbound.workers == 1 ? "" : "s", strerror(unbound.code),
               unbound.workers == 1 ? "s" : "");
    }
    struct uv_procs_loss unlimited = uv_procs_unlimited(a->procs);
    if (unlimited.workers > 0 && !a->is_unlimited_told) {
        a->is_unlimited_told = true;
        mu_log(MU_LOG_WARN, "%u worker%s without a limit of --limit %s: %s", unlimited.workers,
               unlimited.workers == 1 ? " runs" : "s run", a->opts->limit,
               strerror(unlimited.code));
    }
}

static void on_running(void *arg)
{
    struct uv_agent *a = arg;
    say_losses(a);
    agent_workers_running(a->engine, uv_agent_now(a));
    note_workers(a);
    uv_agent_carry_out(a);
}

/*
 * The reason for an errno of exec that is not plain: a script's first line. Owned by the caller;
 * NULL: the errno says it all.
 */
static char *explain_exec(const char *program, int32_t code)
{
    char line[256];
    if (mu_file_read(program, line, sizeof(line)) < 0) {
        return NULL;
    }
    bool has_interpreter = strncmp(line, "#!", 2) == 0;
    if (code == ENOEXEC && !has_interpreter) {
        return mu_strdup("no program for this machine, nor does it begin with a #! line");
    }
    if (code == ENOENT && has_interpreter) {
        char *name = line + 2 + strspn(line + 2, " \t");
        name[strcspn(name, " \t\r\n")] = '\0';
        return mu_asprintf("its #! line names '%s', which does not exist", name);
    }
    return NULL;
}

/* What could not be executed, and why; the outcome says how. Owned by the caller. */
static char *explain_failed_exec(const struct uv_agent *a, struct outcome o)
{
    mu_autofree char *cwd = getcwd(NULL, 0);
    mu_autofree char *reason =
        o.stage == OUTCOME_STAGE_PROGRAM ? explain_exec(a->program, o.code) : NULL;
    return mu_asprintf("'%s', from the directory %s%s%s", a->opts->script, cwd != NULL ? cwd : "?",
                       reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

static void on_exited(void *arg, uint32_t local_rank, struct outcome o)
{
    struct uv_agent *a = arg;
    mu_autofree char *timer =
        uv_agent_watchdog_judge(a, local_rank, uv_procs_pid(a->procs, local_rank), &o);
    bool is_exec = o.kind == OUTCOME_EXEC_FAILED;
    mu_autofree char *exec_why = is_exec ? explain_failed_exec(a, o) : NULL;
    uv_agent_causes_ended(a, local_rank, o, exec_why, timer);
    uv_agent_carry_out(a);
}

static void on_leftover(void *arg, const struct uv_procs_leftover *left)
{
    struct uv_agent *a = arg;
    char example[64] = "/proc does not show which";
    if (left->pid != 0) {
        snprintf(example, sizeof(example), "pid %d, %s", (int)left->pid, left->comm);
    }
    if (left->is_after_kill) {
        mu_log(MU_LOG_WARN, "%u process%s still there after SIGKILL (%s)", left->count,
               left->count == 1 ? " is" : "es are", example);
        return;
    }
    agent_leftover(a->engine, left->count, example, uv_agent_now(a));
    uv_agent_carry_out(a);
}

static void on_gone(void *arg)
{
    struct uv_agent *a = arg;
    uv_agent_workers_close(a);
    uv_agent_watchdog_end_round(a);
    terminal_restore(&a->terminal); /* before anything is reported on it */
    agent_workers_gone(a->engine, uv_agent_now(a));
    uv_agent_carry_out(a);
}

static const struct uv_procs_handlers procs_handlers = {.started = on_started,
                                                        .running = on_running,
                                                        .exited = on_exited,
                                                        .leftover = on_leftover,
                                                        .gone = on_gone};

static void say_threads(const struct uv_agent *a, unsigned threads)
{
    if (threads > 0 && a->binding != NULL) {
        mu_log(MU_LOG_NOTICE,
               "OMP_NUM_THREADS is each worker's share of the cores it is bound to (local rank 0: "
               "%u); set it to change it",
               threads);
    } else if (threads > 0) {
        mu_log(MU_LOG_NOTICE, "OMP_NUM_THREADS=%u for each worker; set it to change it", threads);
    }
}

static struct uv_output *open_output(struct uv_agent *a, const struct assignment *assignment,
                                     struct mu_err *err)
{
    mu_autofree char *doubt = assignment->round == 1 ? output_plan_doubt(a->opts) : NULL;
    if (doubt != NULL) {
        mu_log(MU_LOG_WARN, "%s", doubt);
    }
    bool has_files = strcmp(a->opts->redirects, "0") != 0 || strcmp(a->opts->tee, "0") != 0;
    if (has_files && a->attempt_dir != NULL) {
        mu_log(MU_LOG_INFO, "log files of the workers: %s", a->attempt_dir);
    }
    struct output_plan plan;
    output_plan_init(&plan, a->opts, assignment, a->attempt_dir);
    struct uv_out *const consoles[OUTPUT_STREAMS] = {a->out, a->err_out};
    return uv_output_open(&a->loop, &plan, consoles, err);
}

static int start(struct uv_agent *a, const struct assignment *assignment, struct mu_err *err)
{
    const struct options *o = a->opts;
    if (a->run_dir == NULL) {
        const char *tmpdir = mu_env_get(a->env, "TMPDIR");
        a->run_dir = run_dir_new(o->log_dir, o->rdzv_id, tmpdir, err);
        if (a->run_dir == NULL) {
            return mu_err_wrap(err, "log directory");
        }
    }
    free(a->attempt_dir);
    a->attempt_dir = NULL;
    if (run_dir_add_attempt(a->run_dir, assignment->restart_count, a->config.slots, &a->attempt_dir,
                            err) != 0) {
        return mu_err_wrap(err, "log directory");
    }
    if (uv_agent_watchdog_start(a, err) != 0) {
        return mu_err_wrap(err, "file timers");
    }
    struct net_choice net = uv_agent_net_interface(a, assignment);
    struct worker_env_spec spec = {.opts = o,
                                   .assignment = assignment,
                                   .master_addr = uv_agent_net_master(a, assignment),
                                   .master_port = a->endpoint.port,
                                   .attempt_dir = a->attempt_dir,
                                   .timer_file = uv_agent_watchdog_path(a),
                                   .parent_env = a->env,
                                   .program = a->program,
                                   .binding = a->binding,
                                   .net = &net};
    struct worker_env *we = worker_env_new(&spec);
    if (assignment->round == 1 && assignment->node_rank == 0) {
        say_threads(a, worker_env_threads(we, 0));
    }
    size_t count = worker_env_count(we);
    mu_autofree struct worker_command *commands = mu_calloc(count, sizeof(*commands));
    for (size_t i = 0; i < count; i++) {
        commands[i] = *worker_env_command(we, i);
    }
    struct uv_output *output = open_output(a, assignment, err);
    if (output != NULL) {
        struct uv_procs_spec procs = {.workers = commands, .count = count, .output = output};
        a->procs = uv_procs_start(&a->loop, &procs, &procs_handlers, a, err);
        uv_agent_workers_lease(a); /* it may have been told while GPU memory was waited for */
    }
    worker_env_free(we); /* the shepherd has its own copy since the fork */
    return a->procs != NULL ? 0 : -1;
}

static void start_now(struct uv_agent *a, const struct assignment *assignment)
{
    struct mu_err err = MU_ERR_INIT;
    uv_agent_causes_begin(a);
    free(a->program);
    a->program = find_program_of(a->opts, a->env, &err);
    uv_agent_events_assigned(a, assignment);
    if (a->program == NULL || start(a, assignment, &err) != 0) {
        struct outcome outcome = {.kind = OUTCOME_EXEC_FAILED,
                                  .stage = a->program == NULL ? OUTCOME_STAGE_PROGRAM
                                                              : OUTCOME_STAGE_SETUP,
                                  .code = err.sys};
        uv_agent_causes_not_started(a, outcome, err.text);
    }
}

void uv_agent_workers_start(struct uv_agent *a, const struct assignment *assignment)
{
    a->next = *assignment;
    start_if_ready(a);
}

void uv_agent_workers_signal(struct uv_agent *a, const struct agent_effect *e)
{
    if (a->is_waiting && e->kind == AGENT_PASS) {
        char name[32];
        outcome_signal_name(e->signo, name, sizeof(name));
        mu_log(MU_LOG_NOTICE, "%s comes before the workers have started again: dropped", name);
    } else if (a->is_waiting) {
        give_up_waiting(a);
    }
    if (a->procs == NULL) {
        return;
    }
    if (e->kind == AGENT_PASS) {
        uv_procs_pass_signal(a->procs, e->signo);
        return;
    }
    uv_agent_causes_stop(a, e->kind == AGENT_KILL ? SIGKILL : e->signo);
    if (e->kind == AGENT_SIGNAL) {
        uv_procs_signal(a->procs, e->signo);
    } else {
        uv_procs_kill(a->procs);
    }
    uv_agent_causes_stop_sent(a);
}

void uv_agent_workers_lease(struct uv_agent *a)
{
    if (a->procs != NULL && a->lease_ms != 0 && !uv_agent_is_whole_job(a)) {
        uv_procs_lease(a->procs, a->lease_ms - uv_agent_now(a));
    }
}

void uv_agent_workers_look(struct uv_agent *a, struct ctl_whose w)
{
    pid_t root = a->procs != NULL ? uv_procs_root(a->procs) : 0;
    enum ctl_owned_answer answer = CTL_OWNED_NO;
    if (root != 0 && a->link != NULL && w.pid <= INT32_MAX && w.port <= UINT16_MAX) {
        /* It was told the addresses of our own connection, so it most likely has the same. */
        struct proc_owner_socket wanted = {.local_host = uv_conn_local(a->link),
                                           .remote_host = a->master_addr,
                                           .local_port = (uint16_t)w.port,
                                           .remote_port = a->endpoint.port};
        answer = proc_owner_find(root, (pid_t)w.pid, &wanted);
    }
    agent_looked(a->engine, w.token, answer);
}

void uv_agent_workers_close(struct uv_agent *a)
{
    uv_procs_close(a->procs);
    a->procs = NULL;
}

void uv_agent_workers_end(struct uv_agent *a)
{
    uv_agent_workers_close(a);
    a->is_waiting = false;
    uv_gpu_wait_close(a->gpu_wait);
}

bool uv_agent_workers_free(struct uv_agent *a)
{
    bool has_ended = uv_gpu_wait_free(a->gpu_wait);
    free(a->program);
    free(a->attempt_dir);
    run_dir_free(a->run_dir);
    uv_agent_causes_free(a);
    return has_ended;
}
