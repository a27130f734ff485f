/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node's agent: reaches the coordinator, starts the workers it is told to, watches and stops
 * them.
 *
 * A pure engine: events come in with the time, effects are taken out with agent_take(). uv_agent.c
 * carries them out; the simulator runs the same code.
 *
 *   CONNECTING --welcome--> WAITING --assign--> RUNNING --stop, failure, signal--> STOPPING
 *       ^                      ^                                                      |
 *       |  connection lost     +--------------------- all gone -----------------------+
 *       +---(from any)                                                  end, or no hope: DONE
 *
 * Every waiting state has a deadline: CONNECTING the join timeout, and from the first WELCOME on
 * the lease, STOPPING the grace time, then SIGKILL, then AGENT_KILL_WAIT_MS.
 *
 * The lease: the coordinator counts on this node until the node timeout after it last heard of it,
 * and answers every beat. So it counts on it at least until the node timeout after the last
 * answered beat was sent, by this node's own clock. A connection that is lost meanwhile is made
 * again, and the workers go on. When the lease runs out they are stopped within a tenth of the node
 * timeout: the coordinator waits a fifth before others take their place.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/ladder.h"
#include "muster/assignment.h"
#include "muster/cause.h"
#include "muster/ctl_msg.h"
#include "muster/job_policy.h"
#include "muster/log.h"
#include "muster/outcome.h"

#include <stdbool.h>
#include <stdint.h>

struct agent;

enum agent_state { AGENT_CONNECTING, AGENT_WAITING, AGENT_RUNNING, AGENT_STOPPING, AGENT_DONE };

const char *agent_state_name(enum agent_state state);

/* Strings are borrowed for the life of the agent. Times in milliseconds. */
struct agent_config {
    const char *run_id;
    const char *node_name;
    const char *role;
    const char *coordinator;     /* the endpoint, for messages: of the last CONNECT */
    const struct ladder *ladder; /* where it may be, copied; NULL: at the one endpoint */
    uint64_t agent_id;           /* random, never 0 */
    uint32_t pid;
    uint32_t slots;     /* workers on this node */
    int32_t node_rank;  /* --node-rank, or -1 */
    int32_t sched_rank; /* position in the scheduler's list, or -1 */
    struct job_policy policy;
    int64_t join_timeout_ms;
    int64_t last_call_ms;
    int64_t node_timeout_ms;
    int64_t grace_ms;
    bool wants_report; /* the end of the job is to come with a report in JSON */
};

/* How a worker ended, and what is known of the cause. Texts are borrowed. */
struct agent_exit {
    struct outcome outcome;
    enum cause_kind cause;
    enum cause_blame blame;
    bool was_ending;            /* it had failed already when a stop signal ended its process */
    int64_t unix_ms;            /* by this machine's clock */
    struct mu_slice sentence;   /* the cause in words */
    struct mu_slice hint;       /* what to do about it */
    struct mu_slice message;    /* of its error file; or what could not be executed */
    struct mu_slice error_file; /* path */
    struct mu_slice log_file;   /* path */
    struct mu_slice quote;      /* the lines that matter */
    struct mu_slice tail;       /* end of its stderr */
};

enum agent_effect_kind {
    AGENT_CONNECT,    /* open a connection to the coordinator, with a ladder on `rung` */
    AGENT_DISCONNECT, /* close it; `is_abrupt`: reset it */
    AGENT_SEND,       /* send `msg` */
    AGENT_START,      /* start the workers of `assignment` */
    AGENT_SIGNAL,     /* send `signo` to the whole tree of the workers */
    AGENT_PASS,       /* send `signo` to the workers alone */
    AGENT_KILL,       /* SIGKILL whatever is left */
    AGENT_LEASE,      /* the workers must be gone by `until_ms` unless another one comes */
    AGENT_LOOK,       /* whether a client is of the workers: `msg` is the WHOSE */
    AGENT_LOG,        /* `level`, `text` */
    AGENT_PRINT,      /* `text` of several lines, as it is */
    AGENT_OVER,       /* how the job ended: `msg` is the END */
    AGENT_EXIT,       /* the agent is done: end with `exit_status` */
};

struct agent_effect {
    enum agent_effect_kind kind;
    struct ctl_msg msg;
    struct assignment assignment;
    int signo;
    int exit_status;
    int64_t until_ms;
    struct ladder_rung rung;
    uint32_t strangers; /* ports of that place that are not our coordinator's, a bit each */
    bool is_abrupt;     /* an end in order would say that this process and its workers are gone */
    enum mu_log_level level;
    bool is_port_in_doubt; /* of LOG: whoever knows more of the endpoint's port may add it */
    char *text;            /* owned by the engine; strings of `msg` may point into it */
};

struct agent *agent_new(const struct agent_config *config);
void agent_free(struct agent *a);

/* ---- events ---- */
void agent_start(struct agent *a, int64_t now_ms);
/*
 * The endpoint is an address of this machine, and whoever serves there is out of reach, or another
 * program. Comes before agent_disconnected().
 */
void agent_endpoint_is_here(struct agent *a);
/* With a ladder: the place of the last CONNECT has these addresses; perhaps of this machine. */
void agent_resolved(struct agent *a, const char *addresses, bool is_here);
void agent_serves(struct agent *a); /* the same: the coordinator is in this process, on that rung */
void agent_connected(struct agent *a, int64_t now_ms);
/*
 * The connection is gone. `is_closed`: the coordinator's end was closed in
 * order, or nobody listens there; else the network may have lost it.
 */
void agent_disconnected(struct agent *a, bool is_closed, const char *why, int64_t now_ms);
/* Nothing came of CONNECT. */
void agent_not_connected(struct agent *a, enum ladder_answer answer, const char *why,
                         int64_t now_ms);
void agent_message(struct agent *a, const struct ctl_msg *msg, int64_t now_ms);
void agent_worker_started(struct agent *a, uint32_t local_rank, uint32_t pid);
void agent_workers_running(struct agent *a, int64_t now_ms); /* every exec was done or failed */
/*
 * A worker's own process is gone. Of the texts at most what limits.h allows is used: the
 * beginnings, but of the tail the end.
 */
void agent_worker_exited(struct agent *a, uint32_t local_rank, const struct agent_exit *x,
                         int64_t now_ms);
/* All workers have ended but `count` descendants live on. */
void agent_leftover(struct agent *a, uint32_t count, const char *example, int64_t now_ms);
void agent_workers_gone(struct agent *a, int64_t now_ms); /* nothing of the round is left */
/* Not one worker could be started; `x` is what becomes of the first. */
void agent_start_failed(struct agent *a, const struct agent_exit *x, int64_t now_ms);
void agent_looked(struct agent *a, uint64_t token, enum ctl_owned_answer answer); /* after LOOK */
/* The agent received a signal that ends the job; soon after another it is an echo of that. */
void agent_signal(struct agent *a, int signo, int64_t now_ms);
void agent_pass(struct agent *a, int signo, int64_t now_ms); /* or one that is the workers' */
void agent_tick(struct agent *a, int64_t now_ms);
int64_t agent_deadline(const struct agent *a); /* INT64_MAX: none */

/* The next effect, or NULL; valid until the next call of any function of this engine. */
const struct agent_effect *agent_take(struct agent *a);

/* ---- what can be seen ---- */
enum agent_state agent_get_state(const struct agent *a);
uint32_t agent_get_round(const struct agent *a);       /* of the workers that run; 0: none */
bool agent_is_welcome(const struct agent *a);          /* part of a job, connection or not */
uint64_t agent_get_coordinator(const struct agent *a); /* who said welcome; 0: nobody */
