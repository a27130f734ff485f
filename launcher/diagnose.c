/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/diagnose.h"

#include "launcher/cause_marks.h"
#include "launcher/fatal_text.h"
#include "launcher/traceback.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    MESSAGE_LINES = 6, /* that are quoted of an exception's */
    LAST_LINES = 10,   /* of a worker that gives no reason: where a mark still counts */
    FRESH_LINES = 12,  /* from the end: a traceback further up is of something that went on */
    SHM_FULL_PERCENT = 99,
};

static void say(struct diagnosis *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append to the sentence. What others wrote may have ends of lines and worse. */
static void say(struct diagnosis *d, const char *fmt, ...)
{
    size_t len = strlen(d->sentence);
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->sentence + len, sizeof(d->sentence) - len, fmt, args);
    va_end(args);
    lines_flatten(d->sentence + len);
}

/* The first line, at most so much of it. */
static struct mu_slice short_of(struct mu_slice text, size_t max)
{
    struct mu_slice rest = text;
    struct mu_slice line = {0};
    lines_next(&rest, &line);
    if (line.len > max) {
        line.len = max;
        while (line.len > 0 && ((unsigned char)line.ptr[line.len] & 0xc0) == 0x80) {
            line.len--; /* not within a character */
        }
    }
    return line;
}

static void hint(struct diagnosis *d, const char *text)
{
    if (text != NULL && d->hint[0] == '\0') {
        snprintf(d->hint, sizeof(d->hint), "%s", text);
    }
}

static void quote_end(struct diagnosis *d, struct mu_slice text)
{
    d->quote = lines_last(text, SIZE_MAX, MU_REPORT_TAIL);
}

/* ---- what was written ---- */

/* Kind and hint from the words of an error; `otherwise` if they say nothing. */
static void mark(struct diagnosis *d, struct mu_slice text, enum cause_kind otherwise)
{
    const char *at = NULL;
    const struct cause_mark *m = cause_marks_find(text, &at);
    d->kind = m != NULL ? m->kind : otherwise;
    hint(d, m != NULL ? m->hint : NULL);
}

static void hint_import(struct diagnosis *d, const struct diagnose_facts *f)
{
    if (d->kind == CAUSE_IMPORT && f->interpreter != NULL) {
        snprintf(d->hint, sizeof(d->hint),
                 "the workers ran in %s: is it the environment that was meant? --python names "
                 "another",
                 f->interpreter);
    }
}

static void explain_traceback(struct diagnosis *d, const struct diagnose_facts *f,
                              const struct traceback *t, enum cause_kind otherwise)
{
    mark(d, t->text, otherwise);
    if (d->kind == otherwise && t->origin.len > 0) {
        mark(d, t->origin, otherwise);
    }
    if (t->thread.len > 0) {
        say(d, "in thread %.*s: ", (int)short_of(t->thread, 60).len, t->thread.ptr);
    }
    struct mu_slice error = short_of(t->error, 300);
    say(d, MU_SLICE_FMT, MU_SLICE_ARG(error));
    if (d->kind == CAUSE_SYNTAX && t->where.len > 0) {
        say(d, " (" MU_SLICE_FMT ")", MU_SLICE_ARG(short_of(t->where, 120)));
    }
    if (t->origin.len > 0) {
        struct mu_slice origin = short_of(t->origin, 120);
        const char *how = t->is_group ? "first:" : t->is_raised_from ? "from" : "after";
        say(d, " (%s " MU_SLICE_FMT ")", how, MU_SLICE_ARG(origin));
    }
    hint_import(d, f);
    /* What is taken for the rest of the message may be long, and is the less likely to be. */
    struct mu_slice message = lines_first(t->text, MESSAGE_LINES, MU_REPORT_TAIL / 4);
    quote_end(d, lines_span(t->quote, message));
}

/* An error file says it best; the traceback it tells of is on stderr too, unless it was caught. */
static void explain_error_file(struct diagnosis *d, const struct diagnose_facts *f, unsigned found,
                               const struct traceback *t)
{
    struct mu_slice message = mu_slice_of(f->error_file->message);
    mark(d, message, CAUSE_EXCEPTION);
    say(d, MU_SLICE_FMT, MU_SLICE_ARG(short_of(message, 400)));
    hint_import(d, f);
    if ((found & TRACEBACK_MAIN) != 0 && lines_find(t->text, f->error_file->message) != NULL) {
        quote_end(d, t->quote);
    } else if (f->error_file->callstack != NULL) {
        quote_end(d, mu_slice_of(f->error_file->callstack));
    }
}

/* What the interpreter, the C++ runtime or the C library said while it died. */
static void explain_fatal(struct diagnosis *d, const struct fatal_text *t,
                          enum cause_kind otherwise)
{
    mark(d, t->what, otherwise);
    say(d, MU_SLICE_FMT, MU_SLICE_ARG(short_of(t->what, 300)));
    if (t->where.len > 0) {
        say(d, ", in " MU_SLICE_FMT, MU_SLICE_ARG(short_of(t->where, 150)));
    }
    if (t->is_stack_overflow) {
        d->kind = CAUSE_STACK_OVERFLOW;
        say(d, "; the stack is very deep there: endless recursion, most likely");
    }
    d->quote = lines_first(t->quote, MU_REPORT_TAIL_LINES, MU_REPORT_TAIL);
}

/* ---- the ways to end ---- */

static void explain_exec(struct diagnosis *d, const struct diagnose_facts *f)
{
    d->kind = CAUSE_EXEC;
    say(d, "%s", f->exec_why != NULL ? f->exec_why : "it could not be executed");
    bool is_missing = f->outcome.code == ENOENT && (f->outcome.stage == OUTCOME_STAGE_PROGRAM ||
                                                    f->outcome.stage == OUTCOME_STAGE_SCRIPT);
    hint(d, is_missing ? "is it on that node, under the same path?" : NULL);
}

static void say_memory(struct diagnosis *d, const struct diagnose_facts *f)
{
    if (f->cgroup != NULL && f->memory_limit > 0) {
        say(d, "; its cgroup %s may use %.1f GiB", f->cgroup,
            (double)f->memory_limit / (1024.0 * 1024 * 1024));
    }
}

static void explain_sigkill(struct diagnosis *d, const struct diagnose_facts *f)
{
    if (f->oom == DIAGNOSE_OOM_SOME) {
        d->kind = CAUSE_OOM_KILL;
        say(d, "out of memory: the kernel's OOM killer killed it");
        say_memory(d, f);
        return;
    }
    d->kind = CAUSE_SIGNAL;
    say(d, "killed by SIGKILL, not by muster");
    say(d, f->oom == DIAGNOSE_OOM_NONE
               ? "; the kernel counted no OOM kill"
               : "; whether by the kernel's OOM killer cannot be seen here");
}

static enum cause_kind kind_of_signal(int32_t signo)
{
    switch (signo) {
    case SIGSEGV:
        return CAUSE_SEGFAULT;
    case SIGBUS:
        return CAUSE_BUS_ERROR;
    case SIGABRT:
        return CAUSE_ABORT;
    case SIGINT:
        return CAUSE_INTERRUPT;
    default:
        return CAUSE_SIGNAL;
    }
}

static const char *words_of_signal(int32_t signo)
{
    switch (signo) {
    case SIGSEGV:
        return "segmentation fault";
    case SIGBUS:
        return "bus error";
    case SIGABRT:
        return "aborted";
    case SIGFPE:
        return "arithmetic error";
    case SIGILL:
        return "illegal instruction: built for another CPU?";
    case SIGINT:
        return "interrupted";
    default:
        return NULL;
    }
}

static void explain_signal(struct diagnosis *d, const struct diagnose_facts *f,
                           const struct fatal_text *fatal)
{
    int32_t signo = f->outcome.code;
    d->kind = kind_of_signal(signo);
    const char *words = words_of_signal(signo);
    char name[32];
    outcome_signal_name(signo, name, sizeof(name));
    if (fatal != NULL) {
        explain_fatal(d, fatal, d->kind);
    } else if (words != NULL) {
        say(d, "%s", words);
    } else {
        say(d, "killed by %s, which muster did not send", name);
    }
    if (signo == SIGBUS && f->shm_percent >= SHM_FULL_PERCENT && d->kind == CAUSE_BUS_ERROR) {
        d->kind = CAUSE_SHM_FULL;
        say(d, "; /dev/shm is %u %% full", f->shm_percent);
        hint(d, "enlarge /dev/shm (containers: --shm-size, --ipc=host), or use fewer DataLoader "
                "workers");
    }
    if (f->core != NULL) {
        say(d, "; %s", f->core);
    }
}

/* No exception, no last words of the runtime: what its last lines are known for, if anything. */
static void explain_status(struct diagnosis *d, const struct diagnose_facts *f)
{
    struct mu_slice last = lines_last(f->tail, LAST_LINES, MU_REPORT_TAIL);
    const char *at = NULL;
    const struct cause_mark *m = cause_marks_find(last, &at);
    d->kind = CAUSE_EXIT;
    if (m != NULL) {
        d->kind = m->kind;
        hint(d, m->hint);
        hint_import(d, f);
        say(d, MU_SLICE_FMT, MU_SLICE_ARG(short_of(lines_around(last, at), 300)));
    } else if (f->outcome.kind == OUTCOME_EXITED) {
        struct mu_slice line = short_of(lines_last(f->tail, 1, MU_REPORT_TAIL), 200);
        say(d, "it ended itself with this status, without an exception on its stderr");
        if (line.len > 0) {
            say(d, "; last line: " MU_SLICE_FMT, MU_SLICE_ARG(line));
        }
    } else {
        d->kind = CAUSE_UNKNOWN;
    }
}

/* ---- everything together ---- */

struct evidence {
    unsigned found; /* of tracebacks */
    struct traceback main;
    struct traceback thread;
    bool has_fatal;
    struct fatal_text fatal;
};

static struct evidence look(struct mu_slice tail)
{
    struct evidence e = {0};
    e.found = traceback_find(tail, &e.main, &e.thread);
    e.has_fatal = fatal_text_find(tail, &e.fatal);
    return e;
}

/* Had it said what failed before it was told to stop? What it survived long before is not that. */
static bool had_failed(const struct diagnose_facts *f, const struct evidence *e,
                       struct mu_slice before)
{
    struct mu_slice fresh = lines_last(before, FRESH_LINES, MU_REPORT_TAIL);
    bool is_fresh = (e->found & TRACEBACK_MAIN) != 0 && e->main.error.ptr >= fresh.ptr;
    return f->stop.had_failed || is_fresh || e->has_fatal;
}

static void explain_stopped(struct diagnosis *d, const struct diagnose_facts *f)
{
    d->kind = CAUSE_STOPPED;
    bool is_kill = outcome_is_signal(f->outcome, SIGKILL);
    say(d,
        is_kill ? "stopped by muster: killed when the grace time was over" : "stopped by muster");
}

/* Whatever signal it died of, and whatever it wrote then: it hung. */
static struct diagnosis explain_timer(const struct diagnose_facts *f)
{
    struct diagnosis d = {.kind = CAUSE_TIMER, .blame = CAUSE_OWN};
    say(&d, "%s", f->timer);
    quote_end(&d, f->tail);
    return d;
}

/* Torch may crash while it cleans up after an exception that is the cause. */
static bool is_crash_after(const struct diagnose_facts *f, const struct diagnosis *of_exception)
{
    bool is_crash =
        !outcome_is_signal(f->outcome, SIGKILL) && !outcome_is_signal(f->outcome, SIGTERM);
    return is_crash &&
           (cause_is_consequence(of_exception->kind) || of_exception->kind == CAUSE_INTERRUPT ||
            of_exception->kind == CAUSE_SHM_FULL);
}

static void explain_killed(struct diagnosis *d, const struct diagnose_facts *f,
                           const struct evidence *e)
{
    struct diagnosis of_exception = {0};
    if ((e->found & TRACEBACK_MAIN) != 0 && !e->has_fatal) {
        explain_traceback(&of_exception, f, &e->main, CAUSE_EXCEPTION);
    }
    if (is_crash_after(f, &of_exception)) {
        *d = of_exception;
    } else if (outcome_is_signal(f->outcome, SIGKILL)) {
        explain_sigkill(d, f);
    } else {
        explain_signal(d, f, e->has_fatal ? &e->fatal : NULL);
    }
}

static void explain_uncaught(struct diagnosis *d, const struct diagnose_facts *f,
                             const struct evidence *e)
{
    explain_traceback(d, f, &e->main, CAUSE_EXCEPTION);
    if ((e->found & TRACEBACK_THREAD) != 0 && e->thread.error.ptr < e->main.error.ptr) {
        say(d, "; before that, in thread " MU_SLICE_FMT ": " MU_SLICE_FMT,
            MU_SLICE_ARG(short_of(e->thread.thread, 60)),
            MU_SLICE_ARG(short_of(e->thread.error, 120)));
    }
}

/*
 * A traceback need not be what the worker ended of: if it was caught and shown the program went on,
 * if only to its end; so did one whose status is not the interpreter's. Then its last words count
 * as much, and after many of them more.
 */
static void explain_main(struct diagnosis *d, const struct diagnose_facts *f,
                         const struct evidence *e)
{
    const struct traceback *t = &e->main;
    struct mu_slice fresh = lines_last(f->tail, FRESH_LINES, MU_REPORT_TAIL);
    struct mu_slice last = short_of(lines_last(f->tail, 1, MU_REPORT_TAIL), 150);
    bool is_fresh = t->error.ptr >= fresh.ptr;
    bool has_more = last.len > 0 && last.ptr > t->error.ptr + t->error.len;
    bool is_exit = f->outcome.kind == OUTCOME_EXITED;
    bool is_own_status = is_exit && f->outcome.code != 1;
    bool is_reported = is_exit && (t->is_caught || is_own_status);
    bool went_on = is_reported && has_more && (is_own_status || !is_fresh);
    struct diagnosis of_exception = {0};
    explain_uncaught(&of_exception, f, e);
    if (went_on && !cause_is_consequence(of_exception.kind)) {
        d->kind = CAUSE_EXIT;
        say(d, "it ended itself with this status; last line: " MU_SLICE_FMT, MU_SLICE_ARG(last));
        say(d, "; it had reported and survived " MU_SLICE_FMT,
            MU_SLICE_ARG(short_of(t->error, 120)));
        return;
    }
    bool was_ending = d->was_ending;
    *d = of_exception;
    d->was_ending = was_ending;
    if (is_reported) {
        say(d, "; it reported that, then ended itself");
    }
    if (has_more && is_exit && (is_reported || !is_fresh)) {
        say(d, "; last line: " MU_SLICE_FMT, MU_SLICE_ARG(last));
    }
}

static void explain(struct diagnosis *d, const struct diagnose_facts *f, const struct evidence *e)
{
    bool has_main = (e->found & TRACEBACK_MAIN) != 0;
    bool is_oom = outcome_is_signal(f->outcome, SIGKILL) && f->oom == DIAGNOSE_OOM_SOME;
    if (f->outcome.kind == OUTCOME_EXEC_FAILED) {
        explain_exec(d, f);
    } else if (f->error_file != NULL && !is_oom) {
        explain_error_file(d, f, e->found, &e->main);
    } else if (outcome_is_signal(f->outcome, 0) && !d->was_ending) {
        explain_killed(d, f, e);
    } else if (has_main) {
        explain_main(d, f, e);
    } else if (e->has_fatal) {
        explain_fatal(d, &e->fatal, CAUSE_ABORT);
    } else if ((e->found & TRACEBACK_THREAD) != 0) {
        explain_traceback(d, f, &e->thread, CAUSE_THREAD_EXCEPTION);
    } else {
        explain_status(d, f);
    }
}

/* Somebody in its cgroup was killed for want of memory: a child of it, perhaps. */
static void note_oom(struct diagnosis *d, const struct diagnose_facts *f)
{
    if (f->oom != DIAGNOSE_OOM_SOME || d->kind == CAUSE_OOM_KILL || d->kind == CAUSE_STOPPED) {
        return;
    }
    if (strstr(d->sentence, "killed by signal: Killed") != NULL) {
        d->kind = CAUSE_OOM_KILL; /* of a DataLoader's worker */
    }
    say(d, "; meanwhile the kernel's OOM killer killed a process of its cgroup");
    say_memory(d, f);
}

struct diagnosis diagnose(const struct diagnose_facts *facts)
{
    if (facts->timer != NULL) {
        return explain_timer(facts);
    }
    struct diagnose_facts f = *facts;
    struct diagnosis d = {0};
    bool is_stopped = f.stop.signo != 0 || f.stop.is_killed;
    struct mu_slice before = {f.tail.ptr,
                              f.tail_before_stop < f.tail.len ? f.tail_before_stop : f.tail.len};
    struct evidence e = look(is_stopped ? before : f.tail);
    bool has_failed = is_stopped && had_failed(&f, &e, before);
    f.stop.had_failed = false;
    bool is_obedient = is_stopped && cause_blame_of(CAUSE_EXIT, f.outcome, f.stop) == CAUSE_ORDERED;
    f.stop.had_failed = has_failed;
    d.was_ending = is_obedient && has_failed;
    if (is_stopped && !has_failed) {
        if (is_obedient) {
            explain_stopped(&d, &f);
            d.blame = CAUSE_ORDERED;
            return d;
        }
        e = look(f.tail);
    }
    explain(&d, &f, &e);
    note_oom(&d, &f);
    d.blame = cause_blame_of(d.kind, f.outcome, f.stop);
    return d;
}
