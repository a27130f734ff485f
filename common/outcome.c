/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/outcome.h"

#include "muster/mem.h"
#include "muster/names.h"
#include "muster/num.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* sigabbrev_np() is too young for the systems clusters run. */
static const char *const signal_names[] = {
    [SIGHUP] = "SIGHUP",       [SIGINT] = "SIGINT",       [SIGQUIT] = "SIGQUIT",
    [SIGILL] = "SIGILL",       [SIGTRAP] = "SIGTRAP",     [SIGABRT] = "SIGABRT",
    [SIGBUS] = "SIGBUS",       [SIGFPE] = "SIGFPE",       [SIGKILL] = "SIGKILL",
    [SIGUSR1] = "SIGUSR1",     [SIGSEGV] = "SIGSEGV",     [SIGUSR2] = "SIGUSR2",
    [SIGPIPE] = "SIGPIPE",     [SIGALRM] = "SIGALRM",     [SIGTERM] = "SIGTERM",
    [SIGSTKFLT] = "SIGSTKFLT", [SIGCHLD] = "SIGCHLD",     [SIGCONT] = "SIGCONT",
    [SIGSTOP] = "SIGSTOP",     [SIGTSTP] = "SIGTSTP",     [SIGTTIN] = "SIGTTIN",
    [SIGTTOU] = "SIGTTOU",     [SIGURG] = "SIGURG",       [SIGXCPU] = "SIGXCPU",
    [SIGXFSZ] = "SIGXFSZ",     [SIGVTALRM] = "SIGVTALRM", [SIGPROF] = "SIGPROF",
    [SIGWINCH] = "SIGWINCH",   [SIGIO] = "SIGIO",         [SIGPWR] = "SIGPWR",
    [SIGSYS] = "SIGSYS",
};

/* Does the file not exist, as opposed to being of no use? */
static bool is_missing(int32_t code)
{
    return code == ENOENT || code == ENOTDIR;
}

bool outcome_is_success(struct outcome o)
{
    return o.kind == OUTCOME_EXITED && o.code == 0;
}

bool outcome_is_signal(struct outcome o, int signo)
{
    return o.kind == OUTCOME_SIGNALED && (signo == 0 || o.code == signo);
}

int outcome_exit_status(struct outcome o)
{
    switch (o.kind) {
    case OUTCOME_EXITED:
        return o.code >= 0 && o.code <= 255 ? o.code : 1;
    case OUTCOME_SIGNALED:
        return o.code >= 1 && o.code <= 127 ? 128 + o.code : 1;
    case OUTCOME_EXEC_FAILED:
        return (o.stage == OUTCOME_STAGE_PROGRAM || o.stage == OUTCOME_STAGE_SCRIPT) &&
                       is_missing(o.code)
                   ? 127
                   : 126;
    case OUTCOME_RUNNING:
    case OUTCOME_UNKNOWN:
        return 1;
    }
    return 1;
}

int outcome_python_status(struct outcome o)
{
    bool is_signal = o.kind == OUTCOME_SIGNALED && o.code >= 1 && o.code <= 127;
    return is_signal ? -o.code : outcome_exit_status(o);
}

/* The beginning of the sentence; the errno's text follows. */
static const char *stage_text(enum outcome_stage stage, int32_t code)
{
    switch (stage) {
    case OUTCOME_STAGE_PROGRAM:
        return is_missing(code) ? "program not found" : "is not executable";
    case OUTCOME_STAGE_SCRIPT:
        return is_missing(code) ? "script not found" : "script cannot be read";
    case OUTCOME_STAGE_FORK:
        return "no process could be made";
    case OUTCOME_STAGE_SETUP:
        return "could not be set up";
    }
    return "could not be started";
}

static void describe_signal(struct outcome o, char *text, size_t size)
{
    char name[32];
    outcome_signal_name(o.code, name, sizeof(name));
    if (strncmp(name, "SIG", 3) == 0) {
        snprintf(text, size, "killed by %s (signal %d%s)", name, o.code,
                 o.core_dumped ? ", core dumped" : "");
    } else {
        snprintf(text, size, "killed by %s%s", name, o.core_dumped ? " (core dumped)" : "");
    }
}

void outcome_describe(struct outcome o, char *text, size_t size)
{
    switch (o.kind) {
    case OUTCOME_RUNNING:
        snprintf(text, size, "running");
        return;
    case OUTCOME_EXITED:
        snprintf(text, size, "exited with status %d", o.code);
        return;
    case OUTCOME_SIGNALED:
        describe_signal(o, text, size);
        return;
    case OUTCOME_EXEC_FAILED:
        /* Not every step that fails has an errno. */
        snprintf(text, size, "%s%s%s", stage_text(o.stage, o.code), o.code != 0 ? ": " : "",
                 o.code != 0 ? strerror(o.code) : "");
        return;
    case OUTCOME_UNKNOWN:
        break;
    }
    snprintf(text, size, "ended in an unknown way");
}

void outcome_signal_name(int signo, char *text, size_t size)
{
    if (signo > 0 && (size_t)signo < MU_COUNT(signal_names) && signal_names[signo] != NULL) {
        snprintf(text, size, "%s", signal_names[signo]);
    } else if (signo == SIGRTMIN) {
        snprintf(text, size, "SIGRTMIN");
    } else if (signo > SIGRTMIN && signo <= SIGRTMAX) {
        snprintf(text, size, "SIGRTMIN+%d", signo - SIGRTMIN);
    } else {
        snprintf(text, size, "signal %d", signo);
    }
}

/* The number behind "RTMIN", "RTMIN+3", "RTMAX", "RTMAX-1"; 0: it is no such thing. */
static int real_time_number(const char *name)
{
    static const size_t prefix = sizeof("RTMIN") - 1;
    bool is_min = strncasecmp(name, "RTMIN", prefix) == 0;
    if (!is_min && strncasecmp(name, "RTMAX", prefix) != 0) {
        return 0;
    }
    int base = is_min ? SIGRTMIN : SIGRTMAX;
    const char *rest = name + prefix;
    struct mu_err err = MU_ERR_INIT;
    int64_t offset = 0;
    if (*rest != '\0' && (*rest != (is_min ? '+' : '-') ||
                          mu_parse_int(rest + 1, 0, SIGRTMAX - SIGRTMIN, &offset, &err) != 0)) {
        return 0;
    }
    return is_min ? base + (int)offset : base - (int)offset;
}

int outcome_signal_number(const char *name)
{
    static const struct {
        const char *name;
        int signo;
    } others[] = {{"IOT", SIGABRT}, {"CLD", SIGCHLD}, {"POLL", SIGIO}};

    const char *bare = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (size_t i = 0; i < MU_COUNT(signal_names); i++) {
        if (signal_names[i] != NULL && strcasecmp(bare, signal_names[i] + 3) == 0) {
            return (int)i;
        }
    }
    for (size_t i = 0; i < MU_COUNT(others); i++) {
        if (strcasecmp(bare, others[i].name) == 0) {
            return others[i].signo;
        }
    }
    return real_time_number(bare);
}

const char *outcome_signal_nearest(const char *name)
{
    const char *full[MU_COUNT(signal_names)];
    const char *bare[MU_COUNT(signal_names)];
    size_t count = 0;
    for (size_t i = 0; i < MU_COUNT(signal_names); i++) {
        if (signal_names[i] != NULL) {
            full[count] = signal_names[i];
            bare[count++] = signal_names[i] + 3;
        }
    }
    /* Among the bare names the common prefix does not count as three right letters. */
    const char *found = strncasecmp(name, "SIG", 3) == 0 ? mu_names_nearest(name + 3, bare, count)
                                                         : mu_names_nearest(name, bare, count);
    if (found != NULL) {
        return found - 3;
    }
    return mu_names_nearest(name, full, count);
}
