/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a worker ended. What is not known is "unknown", never success.
 * Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome_kind {
    OUTCOME_RUNNING = 0,     /* has not ended */
    OUTCOME_EXITED = 1,      /* code: exit status 0..255 */
    OUTCOME_SIGNALED = 2,    /* code: signal number */
    OUTCOME_EXEC_FAILED = 3, /* code: errno of the step that failed, see stage */
    OUTCOME_UNKNOWN = 4,     /* it is gone and nobody saw how */
};
enum { OUTCOME_KIND_LAST = OUTCOME_UNKNOWN };

/* What could not be done, for OUTCOME_EXEC_FAILED. */
enum outcome_stage {
    OUTCOME_STAGE_PROGRAM = 0, /* the program: missing, not executable, wrong format */
    OUTCOME_STAGE_SCRIPT = 1,  /* the script given to the interpreter: missing, unreadable */
    OUTCOME_STAGE_FORK = 2,    /* no process could be made */
    OUTCOME_STAGE_SETUP = 3,   /* session, descriptors, limits */
};
enum { OUTCOME_STAGE_LAST = OUTCOME_STAGE_SETUP };

struct outcome {
    enum outcome_kind kind;
    enum outcome_stage stage;
    int32_t code;
    bool core_dumped;
};

bool outcome_is_success(struct outcome o);

/* Was it killed by this signal? 0: by any. */
bool outcome_is_signal(struct outcome o, int signo);

/*
 * The status a launcher exits with on behalf of a worker: its exit status; 128 + n for a signal;
 * 127 if the program or script does not exist, 126 if it cannot be executed (as shells do);
 * 1 for unknown. Never 0 unless outcome_is_success().
 */
int outcome_exit_status(struct outcome o);

/* The same as Python's subprocess and torchrun put it: -n for signal n. */
int outcome_python_status(struct outcome o);

/*
 * In words, without a full stop: "exited with status 3", "killed by SIGKILL (signal 9)",
 * "killed by SIGSEGV (signal 11, core dumped)", "program not found: No such file or directory",
 * "script not found: ...", "is not executable: Permission denied", "ended in an unknown way",
 * "running". Always NUL-terminated.
 */
void outcome_describe(struct outcome o, char *text, size_t size);

/* "SIGKILL" for 9, "SIGRTMIN+3", or "signal 99". Always NUL-terminated. */
void outcome_signal_name(int signo, char *text, size_t size);

/*
 * The signal of a name, with or without SIG, in any case: "SIGTERM", "usr1", "SIGRTMIN+3",
 * "RTMAX-1". 0: there is none of that name. Numbers are no names.
 */
int outcome_signal_number(const char *name);

/* The signal somebody probably meant, as "SIGTERM"; NULL if no name is close. Static text. */
const char *outcome_signal_nearest(const char *name);
