/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the agent on its loop, shared by uv_agent.c (link, effects, life),
 * uv_agent_rungs.c (where the coordinator is), uv_agent_signals.c (signals), uv_agent_workers.c
 * (the workers of a round), uv_agent_output.c (where they write), uv_agent_causes.c (why they
 * ended), uv_agent_watchdog.c (file timers), uv_agent_net.c (addresses, interfaces) and
 * uv_agent_events.c (torchelastic's events). Nobody else includes it.
 */
#pragma once

#include "launcher/agent.h"
#include "launcher/net_iface.h"
#include "launcher/options.h"
#include "launcher/run_dir.h"
#include "launcher/terminal.h"
#include "launcher/uv_dial.h"
#include "launcher/uv_gpu_wait.h"
#include "launcher/uv_liveness.h"
#include "launcher/uv_master_addr.h"
#include "launcher/uv_out.h"
#include "launcher/uv_probe.h"
#include "launcher/uv_procs.h"
#include "launcher/worker_env.h"
#include "muster/uv_coordinator.h"

#include <netinet/in.h>

enum { UV_AGENT_SIGNALS = 64 };

struct uv_agent_events {
    bool is_printing;
    int64_t began_ms;
    int64_t waits_since_ms;       /* for the next round */
    struct assignment assignment; /* round 0: none yet */
};

struct uv_agent {
    const struct options *opts;         /* borrowed */
    char *const *env;                   /* borrowed; what workers inherit */
    const struct numa_binding *binding; /* borrowed; NULL: workers are not bound */
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t signals[UV_AGENT_SIGNALS]; /* the first signal_count are in use */
    size_t signal_count;
    struct agent_config config;
    struct agent *engine;            /* owned */
    struct coordinator *coordinator; /* owned; NULL: another node serves it */
    struct uv_liveness *liveness;    /* owned; NULL: not asked for */
    struct uv_leash *leash;          /* owned; NULL: nobody holds one */
    struct uv_agent_events events;
    struct terminal terminal; /* as it was when we started */

    struct uv_out *out;     /* owned; standard output; may be err_out; NULL: not needed */
    struct uv_out *err_out; /* owned; standard error */
    uv_timer_t files_timer; /* at the end: how long log files may take */
    bool has_files_timer;

    struct mu_endpoint endpoint;
    char endpoint_text[MU_MAX_NAME + 16];
    char not_serving[128];   /* why this machine's own endpoint could not be served; "" else */
    bool is_port_taken;      /* because another socket has the port */
    char port_owner[192];    /* for messages: whose that is; "" while nobody asked */
    struct ladder ladder;    /* of options.rendezvous: where to look */
    struct ladder_rung rung; /* of it, asked now */
    uint32_t strangers;      /* ports of its place that are not our coordinator's */
    struct uv_probe *probe;  /* owned; NULL: no coordinator here, or no names of nodes */
    char master_addr[INET6_ADDRSTRLEN]; /* numeric; where the coordinator was reached */
    char local_addr[INET6_ADDRSTRLEN];  /* of the same connection, this node's end */
    struct net_choice net;              /* by --iface or --cidr; without a name: not asked for */
    struct uv_master_addr *told;        /* owned; NULL: the coordinator names no address */
    struct uv_dial *dial;               /* owned */
    struct uv_conn *link;               /* owned; NULL while there is none */
    struct mu_buf partial;              /* of the link: a message whose end is not here yet */

    char *program;                      /* owned; what the workers of this round execute */
    struct run_dir *run_dir;            /* owned; made with the first round */
    char *attempt_dir;                  /* owned; of this round, NULL: none */
    struct uv_procs *procs;             /* owned; NULL while no round runs */
    struct uv_agent_watchdog *watchdog; /* owned; NULL: not asked for */
    int64_t lease_ms;                   /* by when workers must be gone; 0: nothing was said */
    bool is_unbound_told;               /* that workers are not bound as they should be */
    bool is_unlimited_told;             /* that they lack a resource limit */
    struct uv_gpu_wait *gpu_wait;       /* owned; NULL: no round ran yet, or there is no need */
    bool is_waiting;                    /* the workers of `next` are to be started later, */
    bool is_waiting_for_address;        /* when it is known where the coordinator is reached */
    struct assignment next;

    struct uv_agent_causes *causes; /* owned; of this round or the last one; NULL: none yet */
    bool has_end;                   /* the coordinator said how the job ended: */
    int32_t culprit;                /* see END */
    char *report;                   /* owned; JSON; NULL: none came */
    char *last_error;               /* owned; what this agent said last when something was wrong */
    int exit_status;
};

/* Is this node the whole job, coordinator included? Then nobody misses it while it stands still. */
static inline bool uv_agent_is_whole_job(const struct uv_agent *a)
{
    const struct job_policy *policy = &a->config.policy;
    return a->coordinator != NULL && policy->max_nodes == 1 && policy->spares == 0;
}

/* ---- uv_agent.c ---- */
void uv_agent_carry_out(struct uv_agent *a); /* after an event was given to the engine */
int64_t uv_agent_now(struct uv_agent *a);

void uv_agent_linked(struct uv_agent *a, struct uv_conn *conn); /* takes it */
/* Serve the coordinator on a->endpoint, which has these addresses. False: it cannot be. */
bool uv_agent_host(struct uv_agent *a, const struct sockaddr_storage *addrs, size_t count,
                   struct mu_err *err);

/* ---- uv_agent_rungs.c ---- */
void uv_agent_rungs_open(struct uv_agent *a); /* before the engine is made */
void uv_agent_rungs_connect(struct uv_agent *a, const struct agent_effect *e);
void uv_agent_rungs_waits(struct uv_agent *a); /* the job forms, and somebody is missing */
/* ": port 29500 is held by pid 1234, `nc -l 29500`", if the port is why we do not serve, or "". */
const char *uv_agent_rungs_owner(struct uv_agent *a);
void uv_agent_rungs_close(struct uv_agent *a);

/* ---- uv_agent_signals.c ---- */
int uv_agent_signals_watch(struct uv_agent *a, struct mu_err *err);
/*
 * What ends the job does nothing to this process from here on: the exit status is what is left to
 * be told, and a scheduler that ends a step sends SIGTERM to agents that are about to exit. A user
 * at a terminal can still end one whose output nobody reads. Also after a watch that failed, or
 * twice.
 */
void uv_agent_signals_close(struct uv_agent *a);

/* ---- uv_agent_output.c ---- */
int uv_agent_output_open(struct uv_agent *a, struct mu_err *err);
void uv_agent_output_finish(struct uv_agent *a); /* the loop may end now, and must soon */
void uv_agent_output_flush(struct uv_agent *a);  /* blocks for a bounded time */
void uv_agent_output_close(struct uv_agent *a);  /* fine if it was opened in part */

/* ---- uv_agent_workers.c ---- */
void uv_agent_workers_start(struct uv_agent *a, const struct assignment *assignment);
void uv_agent_workers_ready(struct uv_agent *a); /* what their start may wait for is over */
void uv_agent_workers_lease(struct uv_agent *a); /* lease_ms has changed */
void uv_agent_workers_signal(struct uv_agent *a, const struct agent_effect *e);
void uv_agent_workers_look(struct uv_agent *a, struct ctl_whose w);
void uv_agent_workers_close(struct uv_agent *a); /* no event after it; what runs is killed */
void uv_agent_workers_end(struct uv_agent *a);   /* the same, and no other round will come */
/* After the loop is closed. False if the process must end by _exit(), see uv_gpu_wait_free(). */
bool uv_agent_workers_free(struct uv_agent *a);

/* ---- uv_agent_net.c ---- */

/* Is there what --iface or --cidr ask for? MU_E_USAGE if not. */
int uv_agent_net_check(struct uv_agent *a, struct mu_err *err);

/* This node's numeric address by --iface or --cidr, one of `family` if there is; "": not said. */
void uv_agent_net_address(const struct uv_agent *a, int family, char text[INET6_ADDRSTRLEN]);

/* The coordinator said WELCOME, with an address or without. */
void uv_agent_net_welcome(struct uv_agent *a, const struct ctl_welcome *welcome);
bool uv_agent_net_is_trying(const struct uv_agent *a); /* whether that leads there */

/* For the workers of a round: MASTER_ADDR, borrowed until the loop turns; the interface. */
const char *uv_agent_net_master(const struct uv_agent *a, const struct assignment *assignment);
struct net_choice uv_agent_net_interface(const struct uv_agent *a,
                                         const struct assignment *assignment);

/* ---- uv_agent_watchdog.c ---- */

/* Before the workers of a round: from now on file timers are taken, if the environment says so. */
int uv_agent_watchdog_start(struct uv_agent *a, struct mu_err *err);
const char *uv_agent_watchdog_path(const struct uv_agent *a); /* where; NULL: they are not */

/*
 * A worker has ended: was it because of a timer? Then what is to be said of it, owned by the
 * caller, and an outcome that is no success; else NULL.
 */
char *uv_agent_watchdog_judge(struct uv_agent *a, uint32_t local_rank, pid_t pid,
                              struct outcome *outcome);

/* The round is over. */
void uv_agent_watchdog_end_round(struct uv_agent *a);

/* The node stood still for so long. */
void uv_agent_watchdog_delay(struct uv_agent *a, int64_t span_ms);

void uv_agent_watchdog_close(struct uv_agent *a); /* also twice */

/* ---- uv_agent_causes.c ---- */
void uv_agent_causes_begin(struct uv_agent *a); /* before a round's workers are started */
/*
 * Before a stop signal is sent to the workers, and right after it: to look at their error files
 * may take a while, on a file system of the network.
 */
void uv_agent_causes_stop(struct uv_agent *a, int signo);
void uv_agent_causes_stop_sent(struct uv_agent *a);
/*
 * A worker has ended: tells the engine. `exec_why`: what could not be executed; `timer`: which file
 * timer ran out; else NULL.
 */
void uv_agent_causes_ended(struct uv_agent *a, uint32_t local_rank, struct outcome o,
                           const char *exec_why, const char *timer);
/* Not one worker could be started: tells the engine. */
void uv_agent_causes_not_started(struct uv_agent *a, struct outcome o, const char *why);
void uv_agent_causes_over(struct uv_agent *a, const struct ctl_end *end);
void uv_agent_causes_note(struct uv_agent *a, const char *text); /* an error was told */
void uv_agent_causes_finish(const struct uv_agent *a); /* after the loop: what is left behind */
void uv_agent_causes_free(struct uv_agent *a);

/* ---- uv_agent_events.c ---- */
void uv_agent_events_begin(struct uv_agent *a);
void uv_agent_events_assigned(struct uv_agent *a, const struct assignment *assignment);
void uv_agent_events_started(struct uv_agent *a, uint32_t local_rank, pid_t pid);
/* Before the engine knows of it. `error` is what is known of the cause, or NULL. */
void uv_agent_events_exited(struct uv_agent *a, uint32_t local_rank, struct outcome o,
                            const char *error);
void uv_agent_events_end(struct uv_agent *a); /* with a->exit_status */
