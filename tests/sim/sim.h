/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole job in memory: the membership engine, N agent engines, their workers and the connections
 * between them, with a clock that jumps from event to event and a seeded generator. The same seed
 * is the same job, to the byte.
 *
 * What the uv_ services do with sockets, processes and timers this does with a heap of events;
 * messages pass through the real encoder and decoder. After every event the invariants of
 * sim_check.c are checked; the first that does not hold ends the run.
 */
#pragma once

#include "launcher/agent.h"
#include "muster/buf.h"
#include "rendezvous/member.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_MAX_SLOTS = 4,
    SIM_STANDALONE = -1, /* the coordinator is in no agent */
};

/* ---- sim_queue.c: chance ---- */

struct sim_rand {
    uint64_t state;
};

uint64_t sim_rand_next(struct sim_rand *r);
int64_t sim_rand_range(struct sim_rand *r, int64_t low, int64_t high); /* both included */
bool sim_rand_chance(struct sim_rand *r, unsigned percent);

/* ---- the world ---- */

/* A machine's clock, beside that of the world. */
struct sim_clock {
    int64_t offset_ms;
    int64_t drift_ppm;
};

int64_t sim_clock_read(const struct sim_clock *c, int64_t world_ms);
int64_t sim_clock_when(const struct sim_clock *c, int64_t clock_ms); /* it first shows this */

/* What becomes of one worker of one round. */
struct sim_plan {
    int64_t spawn_ms; /* until its exec */
    int64_t life_ms;  /* from then on; -1: until it is told to stop */
    struct outcome outcome;
    enum cause_kind cause; /* what the agent makes of it */
    int64_t term_ms;       /* from a stop signal to its end; -1: it ignores them */
    struct outcome term_outcome;
    bool is_stuck;       /* does not even die of SIGKILL before its life is over */
    bool leaves_process; /* a descendant outlives it, until a stop signal */
    bool is_not_started; /* the whole round of this node cannot be started */
};

struct sim_worker {
    struct sim_plan plan;
    bool is_alive;          /* it runs */
    bool is_gone;           /* it has ended, also for the kernel */
    struct outcome outcome; /* OUTCOME_RUNNING until its agent knows better */
    uint32_t pid;
    uint64_t seen; /* stop signals it got, a bit each */
};

/* The workers of one round on one node, as uv_procs keeps them. */
struct sim_procs {
    bool is_open; /* something of the round may live */
    uint32_t generation;
    struct assignment assignment;
    uint32_t alive; /* for all the agent knows */
    bool has_leftover;
    bool was_told;    /* to stop */
    int signo;        /* the last stop signal they were sent; 0: none */
    bool is_killed;   /* SIGKILL was sent */
    int64_t lease_ms; /* by its machine's clock: then the shepherd kills them; INT64_MAX: never */
    int64_t lease_span_ms;
    bool is_living; /* it has met the others, or need not */
    int32_t client; /* of the store; -1: none yet */
    struct sim_worker workers[SIM_MAX_SLOTS];
};

enum sim_agent_life { SIM_AGENT_NOT_YET, SIM_AGENT_UP, SIM_AGENT_ENDED, SIM_AGENT_CRASHED };

struct sim_agent {
    struct agent_config config;
    char name[24];
    enum sim_agent_life life;
    struct agent *engine; /* owned */
    int32_t link;         /* the open one, or -1 */
    bool is_dialing;
    bool is_dark; /* it has no power: nothing answers, nothing is sent again */
    int exit_status;
    bool got_end;
    int end_status;
    struct sim_clock clock;
    int64_t paused_until_ms;    /* the agent; */
    int64_t suspended_until_ms; /* the whole machine */
    int64_t cut_until_ms[2];    /* on the way [0] to it, [1] to the coordinator */
    int64_t contact_ms; /* bytes came, a connection was made or lost, or the process woke up */
    struct sim_procs procs;
};

/* One TCP connection. Bytes and the close arrive in order. */
struct sim_link {
    uint32_t agent;
    int64_t node;      /* at the coordinator; -1 before HELLO */
    int64_t joined_ms; /* when it became that */
    bool is_agent_open;
    bool is_coordinator_open;
    bool has_preface;
    uint64_t sent[2]; /* [0] to the agent, [1] to the coordinator */
    uint64_t arrived[2];
    int64_t last_ms[2];  /* when what was sent last arrives, at the earliest */
    int64_t retry_ms[2]; /* when what is missing is sent again */
    bool is_lost[2];     /* nothing arrives any more: the sender has given up */
    bool is_unacked[2];  /* something arrived and the sender does not know */
    struct mu_buf received[2];
};

enum sim_event_kind {
    SIM_BYTES,       /* data arrives on link */
    SIM_CLOSED,      /* the end of the connection arrives */
    SIM_UNACKED,     /* the sender does not know that its data arrived: again */
    SIM_DIALED,      /* a connection attempt is over */
    SIM_WORKERS_UP,  /* every exec is done */
    SIM_WORKER_ENDS, /* slot, outcome */
    SIM_WORKER_HEARD_OF,
    SIM_WORKERS_GONE,
    SIM_LEASE_ENDS,
    SIM_STORE_DIALED,
    SIM_STORE_DATA, /* to or from the client of number `link`; without data: it was closed */
    SIM_STORE_TIMEOUT,
    SIM_ACTION, /* of the story */
};

/* What a story or chance does to the world. */
enum sim_action_kind {
    SIM_START_AGENT,
    SIM_SIGNAL_AGENT, /* value: signo */
    SIM_CRASH_AGENT,  /* SIGKILL: the kernel resets its connection */
    SIM_POWER_OFF,    /* nobody resets anything */
    SIM_PAUSE,        /* SIGSTOP of agent, or the coordinator; value: ms */
    SIM_SUSPEND,      /* its whole machine stands still; value: ms */
    SIM_CUT,          /* no byte passes in or out; value: ms */
    SIM_CUT_TO_AGENT,
    SIM_CUT_TO_COORDINATOR,
    SIM_RESET,          /* the connection is lost, seen by both ends */
    SIM_RESET_AT_AGENT, /* ... by the agent only, until the coordinator sends */
    SIM_RESET_AT_COORDINATOR,
    SIM_END_WORKER,        /* value: slot, outcome */
    SIM_STOP_COORDINATOR,  /* value: signo */
    SIM_CRASH_COORDINATOR, /* a stand-alone one; value: ms until it is back */
};

struct sim_action {
    enum sim_action_kind kind;
    int32_t agent; /* or SIM_STANDALONE: the coordinator */
    int64_t value;
    struct outcome outcome;
    enum cause_kind cause; /* of that end; 0: as planned */
};

struct sim_event {
    int64_t at_ms;
    uint64_t seq;
    enum sim_event_kind kind;
    uint32_t agent;
    uint32_t generation;
    int32_t link;
    bool is_to_coordinator;
    bool is_reset;   /* SIM_CLOSED: nobody closed it in order */
    uint64_t order;  /* on its way along the link, from 1; 0: not in line (a reset) */
    int64_t sent_ms; /* for the first time */
    int64_t rto_ms;  /* what the sender waited before it sent this once more; 0: once so far */
    bool is_here;    /* at the machine; its process has not read it */
    uint32_t slot;
    struct outcome outcome;
    struct sim_action action;
    uint8_t *data; /* owned */
    size_t len;
};

/*
 * When each engine wants its next tick: a heap of engines with the place of each, so that an event
 * costs only those that it touches. Engine i is agent i, the last one the coordinator.
 */
struct sim_timers {
    uint32_t count;    /* 0: sim_run() has not begun */
    int64_t *due_ms;   /* owned; of each engine; INT64_MAX: never */
    uint32_t *heap;    /* owned; engines */
    uint32_t *place;   /* owned; of each engine in the heap */
    uint32_t *touched; /* owned; engines that this event reached, each once */
    bool *is_touched;  /* owned */
    uint32_t touched_count;
};

struct sim;
struct sim_client; /* sim_store.c */
struct store;
typedef struct sim_plan (*sim_plan_fn)(struct sim *s, uint32_t agent, uint32_t slot);

struct sim_config {
    uint64_t seed;
    int32_t host; /* agent with the coordinator, or SIM_STANDALONE */
    int64_t latency_min_ms;
    int64_t latency_max_ms;
    unsigned late_percent;   /* of what is sent comes late, by up to */
    int64_t late_ms;         /* this */
    unsigned loss_percent;   /* of what is sent gets lost on its way, */
    int64_t rto_ms;          /* and is sent again after this time, then after twice it, ...; 0: what
                                a cut holds up passes when it is over */
    int64_t user_timeout_ms; /* until the sender gives the connection up */
    struct sim_clock clock;  /* of a stand-alone coordinator */
    bool splits_bytes;       /* messages arrive in pieces */
    unsigned rarity;         /* divides the odds of what may befall a worker; of a job of many */
    bool must_succeed;       /* in one round, whatever happens */
    bool has_store;          /* workers meet there before they live */
    sim_plan_fn plan;
};

/* The last assignment of a node. */
struct sim_place {
    int32_t link; /* by which the coordinator reaches it, or did */
    uint32_t round;
    uint32_t rank;
};

/* What sim_check.c remembers. */
struct sim_check {
    uint32_t last_round;
    uint32_t assigned; /* of this round */
    uint32_t begun;    /* rounds, of all coordinators; an adopted one is none */
    bool is_checked;   /* this round's ranks were */
    uint32_t *living;  /* owned; workers alive of each round */
    uint32_t living_cap;
    uint32_t alive; /* of all rounds */
    /* A new coordinator to which only newcomers have come cannot know of a round that runs. */
    bool was_told_of_former;
    bool is_blind; /* one has begun a round so */
    enum member_state state;
    int64_t stopping_since_ms;
    uint32_t stopping_round;
    bool has_end;
    int end_status;
    uint64_t steps;
    uint64_t next_full_step; /* everybody is looked at then, not only who was touched */
};

struct sim {
    struct sim_config config;
    struct sim_rand rand;
    int64_t now_ms;
    int64_t calm_since_ms; /* the last fault that touches the network or a process was then */
    uint64_t seq;
    struct sim_event *heap; /* owned */
    size_t heap_count;
    size_t heap_cap;
    struct sim_timers timers;

    struct sim_agent *agents; /* owned */
    uint32_t agent_count;
    uint32_t agent_cap;
    uint32_t next_pid;
    int64_t coordinator_paused_until_ms; /* a stand-alone one */

    struct member *member; /* owned; NULL while the coordinator is down */
    bool is_listening;
    uint64_t coordinator_id;
    struct sim_link *links; /* owned */
    uint32_t link_count;
    uint32_t link_cap;
    struct sim_place *places; /* owned; by node number, of this coordinator */
    uint32_t place_count;
    uint32_t place_cap;

    struct store *store; /* owned; of the round; NULL: there is none */
    uint32_t store_round;
    uint32_t store_keys;         /* set in it */
    struct sim_client **clients; /* owned, and what they point to */
    uint32_t client_count;
    uint32_t client_cap;

    const bool *left_out; /* borrowed; faults that do not happen; NULL: none */
    uint32_t fault_count;

    struct sim_check check;
    bool is_tracing;
    bool is_brief; /* without what the engines log, but for the job's states */
    struct mu_buf trace;
    char violation[256]; /* empty: none so far */
};

/* ---- sim.c ---- */
struct sim *sim_new(const struct sim_config *config);
void sim_free(struct sim *s);
/* Strings of `config` but the name are borrowed; the name is made of the number. */
uint32_t sim_add_agent(struct sim *s, const struct agent_config *config);
void sim_act_at(struct sim *s, int64_t at_ms, const struct sim_action *action);
/* Until nothing can happen any more, an invariant is broken or `limit_ms` is reached. */
void sim_run(struct sim *s, int64_t limit_ms);
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace_log(struct sim *s, const char *who, enum mu_log_level level, const char *text);
void sim_violate(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- sim_queue.c: what comes next ---- */
void sim_schedule(struct sim *s, const struct sim_event *event); /* takes event->data */
struct sim_event sim_pop(struct sim *s);                         /* there is one */
void sim_timers_begin(struct sim *s);                            /* no agent is added any more */
void sim_timers_fini(struct sim_timers *t);
/* Something happened to this engine: its deadline may be another, and it is checked. */
void sim_touch(struct sim *s, uint32_t agent);
void sim_touch_coordinator(struct sim *s);
void sim_timers_update(struct sim *s); /* of the engines touched, which stay so */
void sim_timers_forget(struct sim *s); /* who was touched */

/* ---- sim_tcp.c: bytes on their way ---- */
/* False: it does not arrive now; e->data is taken if it will later. */
bool sim_tcp_arrives(struct sim *s, struct sim_event *e);
void sim_tcp_unacked(struct sim *s, const struct sim_event *e);
void sim_tcp_send_event(struct sim *s, int32_t link, bool to_coordinator, struct sim_event *e);
void sim_link_send(struct sim *s, int32_t link, bool to_coordinator, const struct ctl_msg *msg,
                   bool with_preface);
void sim_link_close(struct sim *s, int32_t link, bool by_agent, bool is_silent);
void sim_link_reset(struct sim *s, int32_t link); /* by its agent, whose process goes on */
/* Until when nothing passes on the way to the coordinator, or from it. */
int64_t sim_cut_until(const struct sim *s, uint32_t agent, bool to_coordinator);
int64_t sim_latency(struct sim *s);

/* ---- sim_net.c: connections and the coordinator's end of them ---- */
void sim_coordinator_start(struct sim *s);
void sim_coordinator_stop(struct sim *s, int signo, const char *why); /* says so, then closes */
void sim_coordinator_crash(struct sim *s, bool is_silent);
void sim_coordinator_carry_out(struct sim *s);
/* The connection is that of this node; a later one may take its place. */
void sim_link_bind(struct sim *s, int32_t link, uint32_t node);
int32_t sim_link_of(const struct sim *s, uint32_t node); /* -1: there is none */
bool sim_coordinator_is_of(const struct sim *s, uint32_t agent);
int64_t sim_coordinator_paused_until(const struct sim *s);
int64_t sim_coordinator_now(const struct sim *s); /* by its clock */
const struct sim_clock *sim_coordinator_clock(const struct sim *s);
void sim_link_event(struct sim *s, struct sim_event *event);
void sim_link_dialed(struct sim *s, uint32_t agent);

/* ---- sim_agent.c ---- */
void sim_agent_start(struct sim *s, uint32_t agent);
void sim_agent_carry_out(struct sim *s, uint32_t agent);
void sim_agent_crash(struct sim *s, uint32_t agent, bool is_silent);
int64_t sim_agent_now(const struct sim_agent *a, const struct sim *s); /* by its clock */

/* ---- sim_procs.c: what uv_procs.c does ---- */
void sim_procs_start(struct sim *s, uint32_t agent, const struct assignment *assignment);
void sim_procs_signal(struct sim *s, uint32_t agent, int signo);
void sim_procs_kill(struct sim *s, uint32_t agent);
void sim_procs_lease(struct sim *s, uint32_t agent, int64_t until_ms); /* by its clock */
/* Its agent is no more: the shepherd kills them; with `is_power_off` they are gone at once. */
void sim_procs_orphaned(struct sim *s, uint32_t agent, bool is_power_off);
void sim_procs_event(struct sim *s, const struct sim_event *event);
void sim_procs_end_worker(struct sim *s, uint32_t agent, uint32_t slot, struct outcome outcome);

/* It has met the others: its life begins. */
void sim_procs_live(struct sim *s, uint32_t agent);
/* Its workers fail because they cannot meet the others. */
void sim_procs_fail(struct sim *s, uint32_t agent, int64_t within_ms);

/* ---- sim_store.c ---- */
void sim_store_new_round(struct sim *s, uint32_t round);
void sim_store_over(struct sim *s, bool is_silent); /* with the coordinator */
void sim_store_connect(struct sim *s, uint32_t agent);
void sim_store_hang_up(struct sim *s, uint32_t agent, bool is_silent); /* the worker is gone */
void sim_store_event(struct sim *s, struct sim_event *event);
void sim_store_fini(struct sim *s);

/* ---- sim_check.c ---- */
void sim_check_effect(struct sim *s, const struct member_effect *effect);
void sim_check_coordinator_new(struct sim *s);
void sim_check_worker_begins(struct sim *s, uint32_t agent, uint32_t round);
bool sim_check_is_excused(const struct sim *s, const struct sim_agent *a);
void sim_check_worker_ends(struct sim *s, uint32_t round);
void sim_check_step(struct sim *s);
void sim_check_all(struct sim *s);
bool sim_check_is_stuck(const struct sim_agent *a); /* it has a worker that nothing kills */

/* ---- sim_check_end.c ---- */
void sim_check_over(struct sim *s, int exit_status);     /* the job is */
void sim_check_end_sent(struct sim *s, int exit_status); /* to one node */
void sim_check_end_message(struct sim *s, uint32_t agent, int exit_status);
void sim_check_agent_exit(struct sim *s, uint32_t agent);
void sim_check_finished(struct sim *s);

/* ---- sim_story.c, sim_random.c: return the number that failed ---- */
unsigned sim_stories_run(unsigned *passed); /* adds those that pass */
bool sim_story_show(const char *name);      /* prints its trace; false: there is none such */
/* `nodes`: of the job; 0: as chance will have it. False: it failed, and was said why. */
bool sim_random_run(uint64_t seed, uint32_t nodes);
bool sim_random_show(uint64_t seed, uint32_t nodes); /* the same with its trace */

/* ---- sim_fault.c ---- */
struct outcome sim_some_failure(struct sim_rand *r);
/* One to a job of `count` agents. */
void sim_fault_add(struct sim *s, const struct agent_config *config, uint32_t count);
/* One that is over before it can cost anybody's place. */
void sim_fault_add_short(struct sim *s, const struct agent_config *config, uint32_t count);
