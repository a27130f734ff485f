/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why things ended: what is noted while a round runs and when a worker ends, so that the cause can
 * be told, and what is left behind at the very end: the report, and the error file for whoever has
 * started this agent.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/core_file.h"
#include "launcher/diagnose.h"
#include "launcher/error_file.h"
#include "launcher/oom_watch.h"
#include "launcher/whole_file.h"
#include "muster/clock.h"
#include "muster/env.h"
#include "muster/job_report.h"
#include "muster/limits.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Of one worker of the round. */
struct worker_end {
    uint64_t written_at_stop; /* bytes of stderr when it was first told to stop */
    bool had_error_file;      /* at that moment */
    struct outcome outcome;   /* once it has ended */
    int64_t unix_ms;
    char *sentence; /* owned */
};

struct uv_agent_causes {
    struct oom_watch *oom; /* owned */
    struct worker_end *ends;
    size_t count;
    struct cause_stop stop; /* what the workers were sent */
    bool must_look;         /* at their error files, once the first of that is on its way */
};

static void causes_free(struct uv_agent_causes *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        free(c->ends[i].sentence);
    }
    oom_watch_free(c->oom);
    free(c->ends);
    free(c);
}

void uv_agent_causes_begin(struct uv_agent *a)
{
    causes_free(a->causes);
    struct uv_agent_causes *c = mu_alloc(sizeof(*c));
    c->count = a->config.slots;
    c->ends = mu_calloc(c->count, sizeof(c->ends[0]));
    c->oom = oom_watch_new();
    a->causes = c;
}

/* ---- what a worker wrote ---- */

/* Where the worker may leave an error file, owned by the caller; NULL: nowhere. */
static char *error_path_of(const struct uv_agent *a, uint32_t local_rank)
{
    return a->attempt_dir != NULL ? mu_asprintf("%s/%u/error.json", a->attempt_dir, local_rank)
                                  : NULL;
}

/* A plain file that is not empty? */
static bool has_content(const char *path)
{
    struct stat st;
    return path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
}

void uv_agent_causes_stop(struct uv_agent *a, int signo)
{
    struct uv_agent_causes *c = a->causes;
    bool is_first = c->stop.signo == 0 && !c->stop.is_killed;
    for (uint32_t i = 0; is_first && i < c->count; i++) {
        c->ends[i].written_at_stop = uv_procs_stderr_total(a->procs, i);
    }
    c->must_look = is_first;
    c->stop.is_killed = c->stop.is_killed || signo == SIGKILL;
    c->stop.signo = signo != SIGKILL ? signo : c->stop.signo;
}

void uv_agent_causes_stop_sent(struct uv_agent *a)
{
    struct uv_agent_causes *c = a->causes;
    for (uint32_t i = 0; c->must_look && i < c->count; i++) {
        mu_autofree char *error_file = error_path_of(a, i);
        c->ends[i].had_error_file = has_content(error_file);
    }
    c->must_look = false;
}

/* ---- the end of a worker ---- */

static unsigned shm_percent(void)
{
    struct statvfs fs;
    if (statvfs("/dev/shm", &fs) != 0 || fs.f_blocks == 0) {
        return 0;
    }
    return (unsigned)(100 * (fs.f_blocks - fs.f_bavail) / fs.f_blocks);
}

/*
 * What is left of the tail without the colours and titles meant for a terminal. `before` is how
 * much of it came before the stop.
 */
static size_t strip(char *tail, size_t len, size_t *before)
{
    size_t kept = lines_strip_escapes(tail, *before);
    size_t rest = lines_strip_escapes(tail + *before, len - *before);
    memmove(tail + kept, tail + *before, rest);
    *before = kept;
    return kept + rest;
}

/*
 * What is known of a worker's standard error: its tail, behind the last traceback if that is
 * further up. `buf` has room for both. *ret_before is how much of it came before the stop.
 */
static size_t read_words(struct uv_agent *a, uint32_t local_rank, char *buf, size_t *ret_before)
{
    uint64_t at_stop = a->causes->ends[local_rank].written_at_stop;
    uint64_t total = uv_procs_stderr_total(a->procs, local_rank);
    uint64_t start = 0;
    size_t trace = uv_procs_stderr_trace(a->procs, local_rank, buf, &start);
    size_t tail = uv_procs_stderr_tail(a->procs, local_rank, buf + trace, MU_STDERR_TAIL);
    uint64_t after_stop = total > at_stop ? total - at_stop : 0;
    if (after_stop < tail) {
        *ret_before = trace + tail - (size_t)after_stop;
    } else {
        *ret_before = at_stop < start           ? 0
                      : at_stop - start < trace ? (size_t)(at_stop - start)
                                                : trace;
    }
    return strip(buf, trace + tail, ret_before);
}

/* What the system knows; the texts that it makes are owned by the caller. */
static void ask_system(struct uv_agent *a, uint32_t local_rank, struct diagnose_facts *f,
                       char **ret_core)
{
    struct outcome o = f->outcome;
    struct oom_finding oom =
        oom_watch_ended(a->causes->oom, outcome_is_signal(o, SIGKILL) && !f->stop.is_killed);
    f->oom = !oom.is_counted ? DIAGNOSE_OOM_UNKNOWN
             : oom.is_grown  ? DIAGNOSE_OOM_SOME
                             : DIAGNOSE_OOM_NONE;
    f->cgroup = oom.cgroup;
    f->memory_limit = oom.limit;
    f->interpreter = a->opts->no_python ? NULL : a->program;
    f->shm_percent = outcome_is_signal(o, SIGBUS) ? shm_percent() : 0;
    if (o.core_dumped) {
        mu_autofree char *cwd = getcwd(NULL, 0);
        struct core_file_of of = {.pid = uv_procs_pid(a->procs, local_rank),
                                  .signo = o.code,
                                  .cwd = cwd != NULL ? cwd : "?"};
        *ret_core = core_file_describe(&of);
        f->core = *ret_core;
    }
}

static void note_end(struct worker_end *end, struct outcome o, int64_t unix_ms,
                     const char *sentence)
{
    end->outcome = o;
    end->unix_ms = unix_ms;
    free(end->sentence);
    end->sentence = mu_strdup(sentence);
}

/* Of a failure: collect what is known, make something of it, tell the engine. */
static void failed(struct uv_agent *a, uint32_t local_rank, struct outcome o, const char *exec_why,
                   const char *timer)
{
    struct worker_end *end = &a->causes->ends[local_rank];
    mu_autofree char *tail = mu_alloc(MU_STDERR_TRACE + 1 + MU_STDERR_TAIL);
    mu_autofree char *error_path = error_path_of(a, local_rank);
    mu_autofree char *core = NULL;
    struct error_file error_file = {0};
    bool has_error_file = error_path != NULL && error_file_read(error_path, &error_file);
    size_t before_stop = 0;
    size_t len = read_words(a, local_rank, tail, &before_stop);
    struct diagnose_facts facts = {.outcome = o,
                                   .stop = a->causes->stop,
                                   .tail = {.ptr = tail, .len = len},
                                   .tail_before_stop = before_stop,
                                   .error_file = has_error_file ? &error_file : NULL,
                                   .exec_why = exec_why,
                                   .timer = timer};
    facts.stop.had_failed = has_error_file && end->had_error_file;
    ask_system(a, local_rank, &facts, &core);
    struct diagnosis d = diagnose(&facts);
    /* What is tee'd may not be in the file yet. */
    const char *log_file = len > 0 ? uv_procs_stderr_file(a->procs, local_rank) : NULL;
    const char *message = exec_why != NULL ? exec_why : error_file.message;
    struct agent_exit x = {.outcome = o,
                           .cause = d.kind,
                           .blame = d.blame,
                           .was_ending = d.was_ending,
                           .unix_ms = mu_clock_unix_ms(),
                           .sentence = mu_slice_of(d.sentence),
                           .hint = mu_slice_of(d.hint),
                           .message = mu_slice_of(message),
                           .error_file = mu_slice_of(has_error_file ? error_path : NULL),
                           .log_file = mu_slice_of(log_file),
                           .quote = d.quote,
                           .tail = facts.tail};
    /* What an uncaught exception ends with, had it been left in peace. */
    struct outcome own = d.was_ending ? (struct outcome){.kind = OUTCOME_EXITED, .code = 1} : o;
    note_end(end, own, x.unix_ms, d.sentence);
    uv_agent_events_exited(a, local_rank, o, d.sentence);
    agent_worker_exited(a->engine, local_rank, &x, uv_agent_now(a));
    error_file_fini(&error_file);
}

void uv_agent_causes_ended(struct uv_agent *a, uint32_t local_rank, struct outcome o,
                           const char *exec_why, const char *timer)
{
    if (!outcome_is_success(o)) {
        failed(a, local_rank, o, exec_why, timer);
        return;
    }
    struct agent_exit x = {.outcome = o, .unix_ms = mu_clock_unix_ms()};
    note_end(&a->causes->ends[local_rank], o, x.unix_ms, "");
    uv_agent_events_exited(a, local_rank, o, NULL);
    agent_worker_exited(a->engine, local_rank, &x, uv_agent_now(a));
}

void uv_agent_causes_not_started(struct uv_agent *a, struct outcome o, const char *why)
{
    struct diagnose_facts facts = {.outcome = o, .exec_why = why};
    struct diagnosis d = diagnose(&facts);
    struct agent_exit x = {.outcome = o,
                           .cause = d.kind,
                           .blame = d.blame,
                           .unix_ms = mu_clock_unix_ms(),
                           .sentence = mu_slice_of(d.sentence),
                           .hint = mu_slice_of(d.hint),
                           .message = mu_slice_of(why)};
    note_end(&a->causes->ends[0], o, x.unix_ms, d.sentence);
    agent_start_failed(a->engine, &x, uv_agent_now(a));
}

/* ---- the end of the job ---- */

void uv_agent_causes_over(struct uv_agent *a, const struct ctl_end *end)
{
    a->has_end = true;
    a->culprit = end->culprit;
    free(a->report);
    a->report = end->report.len > 0 ? mu_slice_dup(end->report) : NULL;
}

void uv_agent_causes_note(struct uv_agent *a, const char *text)
{
    free(a->last_error);
    a->last_error = mu_strdup(text);
}

static void write_report(const struct uv_agent *a)
{
    const char *path = a->opts->report;
    if (path == NULL || path[0] == '\0') {
        return;
    }
    mu_autofree char *alone = NULL;
    if (a->report == NULL) {
        alone = job_report_text_alone(a->opts->rdzv_id, a->exit_status, a->last_error);
    }
    mu_autofree char *text = mu_asprintf("%s\n", a->report != NULL ? a->report : alone);
    struct mu_err err = MU_ERR_INIT;
    if (whole_file_write(path, text, &err) != 0) {
        mu_log(MU_LOG_WARN, "no report (--report): %s", err.text);
    }
}

/*
 * As torchrun does for a launcher above it: the root cause, on the node where it is one of its own
 * workers; elsewhere only what is nobody's worker's fault.
 */
static void write_error_file(const struct uv_agent *a)
{
    const char *path = mu_env_get(a->env, "TORCHELASTIC_ERROR_FILE");
    bool is_elsewhere = a->has_end && a->culprit == CTL_CULPRIT_ELSEWHERE;
    if (path == NULL || path[0] == '\0' || a->exit_status == 0 || is_elsewhere) {
        return;
    }
    const struct uv_agent_causes *c = a->causes;
    bool is_mine = a->has_end && c != NULL && a->culprit >= 0 && (size_t)a->culprit < c->count;
    mu_autofree char *text = NULL;
    if (is_mine) {
        const struct worker_end *end = &c->ends[a->culprit];
        mu_autofree char *from = error_path_of(a, (uint32_t)a->culprit);
        struct error_file worker = {0};
        bool has_file = from != NULL && error_file_read(from, &worker);
        text = error_file_pass_on(has_file ? &worker : NULL,
                                  end->sentence != NULL ? end->sentence : "", end->unix_ms,
                                  end->outcome);
        error_file_fini(&worker);
    } else {
        struct outcome status = {.kind = OUTCOME_EXITED, .code = a->exit_status};
        const char *why = a->last_error != NULL ? a->last_error : "the job did not succeed";
        text = error_file_pass_on(NULL, why, mu_clock_unix_ms(), status);
    }
    struct mu_err err = MU_ERR_INIT;
    if (whole_file_write(path, text, &err) != 0) {
        mu_log(MU_LOG_WARN, "no error file (TORCHELASTIC_ERROR_FILE): %s", err.text);
    }
}

void uv_agent_causes_finish(const struct uv_agent *a)
{
    write_report(a);
    write_error_file(a);
}

void uv_agent_causes_free(struct uv_agent *a)
{
    causes_free(a->causes);
    free(a->report);
    free(a->last_error);
}
