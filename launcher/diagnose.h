/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From how a worker ended, what it wrote, and what the system knows, to the cause: a kind, whose
 * doing it is, one sentence, a hint where one is certain, and the lines that matter.
 *
 * It claims only what it has seen: a SIGKILL is an OOM kill if the kernel has counted one.
 *
 * Pure: what is known comes in. Threading: any.
 */
#pragma once

#include "launcher/error_file.h"
#include "muster/buf.h"
#include "muster/cause.h"
#include "muster/limits.h"

/* Of the kernel's OOM killer, in the worker's cgroup since it was started. */
enum diagnose_oom {
    DIAGNOSE_OOM_UNKNOWN, /* nobody counts */
    DIAGNOSE_OOM_NONE,    /* it has killed nobody */
    DIAGNOSE_OOM_SOME,    /* it has killed somebody */
};

/* Texts are borrowed; NULL where there is none. */
struct diagnose_facts {
    struct outcome outcome;
    struct cause_stop stop;              /* had_failed: it had left its error file before that */
    struct mu_slice tail;                /* the end of its stderr */
    size_t tail_before_stop;             /* bytes of it that came before the stop signal */
    const struct error_file *error_file; /* that it left */
    const char *exec_why;                /* what could not be executed */
    const char *timer;                   /* the file timer that ran out, in words */
    enum diagnose_oom oom;
    const char *cgroup;      /* where that was counted */
    int64_t memory_limit;    /* of that cgroup, bytes; 0: none, or not known */
    const char *core;        /* where its core went, in words */
    unsigned shm_percent;    /* of /dev/shm in use now; 0: not known */
    const char *interpreter; /* the Python it ran in */
};

struct diagnosis {
    enum cause_kind kind;
    enum cause_blame blame;
    bool was_ending; /* it had failed already when a stop signal ended its process */
    char sentence[MU_REPORT_SENTENCE]; /* one line; "" if there is nothing to say */
    char hint[MU_REPORT_HINT];         /* the same */
    struct mu_slice quote; /* of the tail or the error file: the lines that matter; or empty */
};

/* Not for a success. */
struct diagnosis diagnose(const struct diagnose_facts *facts);
