/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of one round, as the agent sees them: started together, watched, signalled, killed,
 * gone. The work is done by a shepherd process (shepherd.h); this is its end in the agent's loop.
 *
 *     start -> started(rank, pid) ... -> running -> exited(rank, outcome) ... -> [leftover] -> gone
 *
 * Every worker gets exactly one `exited`. `running` follows all `started`, but a worker that dies
 * young may have `exited` before it. After `gone` no process of the round is left, zombies
 * included, and nothing more is called. With a shepherd that was killed from outside the workers
 * are killed too and the outcomes are what could be learned, else unknown.
 *
 * When the agent dies, by SIGKILL too, the whole tree is killed.
 *
 * Threading: the loop thread only. Callbacks run from the loop, never inside a call of this API;
 * any of them may call anything here, uv_procs_close() too.
 */
#pragma once

#include "launcher/uv_output.h"
#include "launcher/worker_command.h"
#include "muster/err.h"
#include "muster/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct uv_procs;

struct uv_procs_spec {
    const struct worker_command *workers; /* borrowed during uv_procs_start() */
    size_t count;                         /* 1 .. MU_MAX_LOCAL_WORLD */
    struct uv_output *output;             /* takes, on failure too: of as many workers */
};

/* Processes that outlive the workers or a kill. */
struct uv_procs_leftover {
    uint32_t count;
    pid_t pid;     /* of one of them; 0: not known */
    char state;    /* as in ps: 'D' does not even die of SIGKILL for the time being */
    char comm[16]; /* its name, any bytes, NUL-terminated */
    bool is_after_kill;
};

/* Every member must be set. */
struct uv_procs_handlers {
    void (*started)(void *arg, uint32_t local_rank, pid_t pid);
    /* Every exec has been done or has failed. */
    void (*running)(void *arg);
    /* The worker's own process is gone; what it wrote into pipes has been read. */
    void (*exited)(void *arg, uint32_t local_rank, struct outcome o);
    /*
     * All workers have ended and these descendants have not: once. And while a kill does not get
     * rid of everything: again each second, so that the agent can give up by its own deadline.
     */
    void (*leftover)(void *arg, const struct uv_procs_leftover *left);
    void (*gone)(void *arg);
};

/*
 * Start the round. Standard input of the workers is that of this process, their output goes
 * where `output` says. Returns NULL if there is no shepherd to be had (MU_E_SYSTEM, MU_E_LIMIT);
 * what goes wrong with a single worker comes as its outcome. `handlers` is borrowed until
 * uv_procs_close(). Owned by the caller until uv_procs_close().
 */
struct uv_procs *uv_procs_start(uv_loop_t *loop, const struct uv_procs_spec *spec,
                                const struct uv_procs_handlers *handlers, void *arg,
                                struct mu_err *err);

/*
 * A stop order: signo once to every process group of the tree, those of descendants that made
 * their own included; stopped processes are continued, so that they see it.
 */
void uv_procs_signal(struct uv_procs *p, int signo);

/* signo to the workers' own processes and nobody else: SIGUSR1, SIGUSR2. */
void uv_procs_pass_signal(struct uv_procs *p, int signo);

/*
 * signo to one process and nobody else, if it is one of the tree. An order that the shepherd has no
 * room for is dropped.
 */
void uv_procs_signal_process(struct uv_procs *p, pid_t pid, int signo);

/* The worker's own process, which may have ended; 0: it was never started. */
pid_t uv_procs_pid(const struct uv_procs *p, uint32_t local_rank);

/* SIGKILL to everything, again and again until `gone`. */
void uv_procs_kill(struct uv_procs *p);

/*
 * They must be gone in span_ms unless this is called again, whatever happens to this process: it
 * may stand still, and others take the place of this node.
 */
void uv_procs_lease(struct uv_procs *p, int64_t span_ms);

/* The process all workers and their descendants descend from; 0 once it is gone. */
pid_t uv_procs_root(const struct uv_procs *p);

/* Workers that run without something of their command. */
struct uv_procs_loss {
    uint32_t workers;
    int code; /* errno of one of them */
};

/* Those that are not bound to their CPUs. Known with `running`. */
struct uv_procs_loss uv_procs_unbound(const struct uv_procs *p);

/* Those of whose resource limits at least one could not be set. Likewise. */
struct uv_procs_loss uv_procs_unlimited(const struct uv_procs *p);

/* Copy the last bytes of a worker's standard error, without a NUL. Returns how many. */
size_t uv_procs_stderr_tail(const struct uv_procs *p, uint32_t local_rank, char *buf, size_t size);

/* Of a traceback further up, see uv_output_stderr_trace(). */
size_t uv_procs_stderr_trace(const struct uv_procs *p, uint32_t local_rank, char *buf,
                             uint64_t *ret_start);

/* Bytes a worker has written to its standard error so far, what is still in the pipe included. */
uint64_t uv_procs_stderr_total(const struct uv_procs *p, uint32_t local_rank);

/* The file that it is in, see uv_output_stderr_file(); borrowed until uv_procs_close(). */
const char *uv_procs_stderr_file(const struct uv_procs *p, uint32_t local_rank);

/*
 * No callback after this. Before `gone` it abandons the round: the shepherd kills the whole tree
 * on its own. Frees itself after its last close callback. NULL-safe.
 */
void uv_procs_close(struct uv_procs *p);
