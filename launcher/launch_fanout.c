/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_fanout.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum host_state { HOST_WAITING, HOST_REACHING, HOST_READY, HOST_RUNNING, HOST_ENDED };
#define HOST_STATES (HOST_ENDED + 1)

enum {
    SSH_FAILED = 255, /* ssh's own exit status, or the command's */
    NAMES_SHOWN = 5,
    FROM_SIGNAL = 128,
};

struct host {
    enum host_state state;
    bool is_killed;
    int64_t reached_by_ms;
};

struct launch_fanout {
    struct launch_fanout_config config;
    struct host *hosts;            /* owned */
    size_t counts[HOST_STATES];    /* hosts by state */
    size_t next;                   /* the first that was never started, perhaps */
    struct launch_effect *effects; /* owned; a queue */
    size_t effect_count;
    size_t taken;
    bool has_begun;   /* all hosts answered */
    bool has_exited;  /* LAUNCH_EXIT was given out */
    int status;       /* of the end, as far as it is known */
    bool has_weak;    /* `status` is ssh's, for want of an agent's */
    unsigned signals; /* that ended the job */
    size_t failed;    /* agents that ended with another status than 0 */
    int64_t progress_ms;
    int64_t end_ms;  /* SIGTERM for those that are left */
    int64_t kill_ms; /* the end of every connection */
};

static struct launch_effect *emit(struct launch_fanout *f, enum launch_effect_type type,
                                  size_t host)
{
    f->effects = mu_realloc(f->effects, (f->effect_count + 1) * sizeof(*f->effects));
    struct launch_effect *e = &f->effects[f->effect_count++];
    *e = (struct launch_effect){.type = type, .host = host};
    return e;
}

static void say(struct launch_fanout *f, enum mu_log_level level, char *text) /* takes */
{
    struct launch_effect *e = emit(f, LAUNCH_SAY, 0);
    e->level = level;
    e->text = text;
}

static void set_state(struct launch_fanout *f, size_t host, enum host_state state)
{
    f->counts[f->hosts[host].state]--;
    f->counts[state]++;
    f->hosts[host].state = state;
}

static void kill_host(struct launch_fanout *f, size_t host)
{
    struct host *h = &f->hosts[host];
    if (h->state == HOST_WAITING) {
        set_state(f, host, HOST_ENDED);
    } else if (h->state != HOST_ENDED && !h->is_killed) {
        h->is_killed = true;
        emit(f, LAUNCH_KILL, host);
    }
}

static void kill_all(struct launch_fanout *f)
{
    f->kill_ms = INT64_MAX;
    for (size_t i = 0; i < f->config.count; i++) {
        kill_host(f, i);
    }
}

static void start_more(struct launch_fanout *f, int64_t now_ms)
{
    bool may_start = f->failed == 0 && f->signals == 0;
    while (may_start && f->next < f->config.count && f->counts[HOST_REACHING] < LAUNCH_AT_ONCE) {
        size_t i = f->next++;
        f->hosts[i].reached_by_ms = now_ms + LAUNCH_REACH_MS;
        set_state(f, i, HOST_REACHING);
        emit(f, LAUNCH_START, i);
    }
}

static void exit_if_over(struct launch_fanout *f)
{
    if (f->counts[HOST_ENDED] == f->config.count && !f->has_exited) {
        f->has_exited = true;
        emit(f, LAUNCH_EXIT, 0)->status = f->status;
    }
}

struct launch_fanout *launch_fanout_new(const struct launch_fanout_config *config, int64_t now_ms)
{
    struct launch_fanout *f = mu_alloc(sizeof(*f));
    f->config = *config;
    f->hosts = mu_calloc(config->count, sizeof(*f->hosts));
    f->counts[HOST_WAITING] = config->count;
    f->progress_ms = now_ms + LAUNCH_PROGRESS_MS;
    f->end_ms = INT64_MAX;
    f->kill_ms = INT64_MAX;
    start_more(f, now_ms);
    return f;
}

static void drop_taken(struct launch_fanout *f)
{
    for (size_t i = 0; i < f->taken; i++) {
        free(f->effects[i].text);
    }
    f->effect_count -= f->taken;
    memmove(f->effects, f->effects + f->taken, f->effect_count * sizeof(*f->effects));
    f->taken = 0;
}

void launch_fanout_free(struct launch_fanout *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->effect_count; i++) {
        free(f->effects[i].text);
    }
    free(f->effects);
    free(f->hosts);
    free(f);
}

/* ---- events ---- */

void launch_fanout_hello(struct launch_fanout *f, size_t host, int64_t now_ms)
{
    if (f->hosts[host].state != HOST_REACHING) {
        return;
    }
    set_state(f, host, HOST_READY);
    start_more(f, now_ms);
    if (f->counts[HOST_READY] < f->config.count || f->signals > 0) {
        return;
    }
    f->has_begun = true;
    for (size_t i = 0; i < f->config.count; i++) {
        set_state(f, i, HOST_RUNNING);
        emit(f, LAUNCH_BEGIN, i);
    }
}

/* Before the job has begun. */
static void lose_early(struct launch_fanout *f, size_t host, const char *why, int64_t now_ms)
{
    bool is_told = f->hosts[host].is_killed;
    set_state(f, host, HOST_ENDED);
    if (f->signals > 0) {
        return;
    }
    if (!is_told) {
        say(f, MU_LOG_ERROR, mu_strdup(why));
    }
    f->status = 1;
    if (f->failed++ == 0) {
        f->kill_ms = now_ms + LAUNCH_SETTLE_MS;
    }
    if (f->counts[HOST_REACHING] == 0) {
        kill_all(f);
    }
    if (f->counts[HOST_ENDED] == f->config.count) {
        say(f, MU_LOG_ERROR,
            mu_asprintf("nothing was started on any of the %zu hosts", f->config.count));
    }
}

static void note_status(struct launch_fanout *f, int exit_status, int signo)
{
    bool is_weak = signo != 0 || exit_status == SSH_FAILED;
    bool is_better = f->status == 0 || (f->has_weak && !is_weak);
    if ((exit_status != 0 || signo != 0) && is_better) {
        f->status = signo != 0 ? 1 : exit_status;
        f->has_weak = is_weak;
    }
}

static void lose_late(struct launch_fanout *f, size_t host, int exit_status, int signo,
                      int64_t now_ms)
{
    bool is_failure = exit_status != 0 || signo != 0;
    const char *name = f->config.names[host];
    set_state(f, host, HOST_ENDED);
    note_status(f, exit_status, signo);
    if (signo != 0 && !f->hosts[host].is_killed) {
        say(f, MU_LOG_ERROR,
            mu_asprintf("%s: the ssh to it was ended by signal %d (%s)", name, signo,
                        strsignal(signo)));
    } else if (exit_status == SSH_FAILED) {
        say(f, MU_LOG_WARN,
            mu_asprintf("%s: ssh ended with exit status 255: the connection was lost, "
                        "or it is that of the job",
                        name));
    }
    f->failed += is_failure;
    size_t left = f->config.count - f->failed;
    if (is_failure && left < f->config.min_nodes && f->end_ms == INT64_MAX && f->signals == 0) {
        f->end_ms = now_ms + LAUNCH_LINGER_MS;
    }
}

void launch_fanout_ended(struct launch_fanout *f, size_t host, int exit_status, int signo,
                         const char *why, int64_t now_ms)
{
    if (f->hosts[host].state == HOST_ENDED) {
        return;
    }
    if (f->has_begun) {
        lose_late(f, host, exit_status, signo, now_ms);
    } else {
        lose_early(f, host, why, now_ms);
    }
    exit_if_over(f);
}

void launch_fanout_pass(struct launch_fanout *f, int signo, int64_t now_ms)
{
    (void)now_ms;
    for (size_t i = 0; i < f->config.count; i++) {
        if (f->hosts[i].state == HOST_RUNNING) {
            emit(f, LAUNCH_SIGNAL, i)->signo = signo;
        }
    }
}

/* The first is passed on and ends the job with its grace time, the second too, and ends it now. */
void launch_fanout_signal(struct launch_fanout *f, int signo, int64_t now_ms)
{
    f->signals++;
    if (!f->has_begun) {
        f->status = FROM_SIGNAL + signo;
        kill_all(f);
        exit_if_over(f);
        return;
    }
    f->end_ms = INT64_MAX;
    launch_fanout_pass(f, signo, now_ms);
    if (f->signals == 2) {
        f->kill_ms = now_ms + LAUNCH_KILL_MS;
    } else if (f->signals > 2) {
        kill_all(f);
    }
}

/* ---- time ---- */

static void say_progress(struct launch_fanout *f)
{
    struct mu_buf text = {0};
    size_t missing = f->counts[HOST_WAITING] + f->counts[HOST_REACHING];
    mu_buf_printf(&text, "%zu of %zu hosts have answered; waiting for", f->counts[HOST_READY],
                  f->config.count);
    size_t shown = 0;
    for (size_t i = 0; i < f->config.count && shown < NAMES_SHOWN; i++) {
        if (f->hosts[i].state == HOST_REACHING) {
            mu_buf_printf(&text, "%s %s", shown++ > 0 ? "," : "", f->config.names[i]);
        }
    }
    if (shown < missing) {
        mu_buf_printf(&text, " and %zu more", missing - shown);
    }
    say(f, MU_LOG_NOTICE, mu_buf_take_text(&text));
}

static void check_reached(struct launch_fanout *f, int64_t now_ms)
{
    for (size_t i = 0; i < f->config.count; i++) {
        struct host *h = &f->hosts[i];
        if (h->state == HOST_REACHING && !h->is_killed && now_ms >= h->reached_by_ms) {
            say(f, MU_LOG_ERROR,
                mu_asprintf("%s: logged in or not, muster has not answered within %d s; what does "
                            "`ssh %s true` do?",
                            f->config.names[i], LAUNCH_REACH_MS / 1000, f->config.names[i]));
            kill_host(f, i);
        }
    }
}

void launch_fanout_tick(struct launch_fanout *f, int64_t now_ms)
{
    if (!f->has_begun) {
        check_reached(f, now_ms);
        if (now_ms >= f->progress_ms) {
            say_progress(f);
            f->progress_ms = now_ms + LAUNCH_PROGRESS_MS;
        }
    }
    if (now_ms >= f->end_ms) {
        say(f, MU_LOG_ERROR,
            mu_asprintf("an agent has failed and %zu did not end: ending them",
                        f->counts[HOST_RUNNING]));
        f->end_ms = INT64_MAX;
        f->kill_ms = now_ms + f->config.grace_ms + LAUNCH_LINGER_MS;
        launch_fanout_pass(f, SIGTERM, now_ms);
    }
    if (now_ms >= f->kill_ms) {
        if (!f->has_begun && f->signals == 0) {
            say_progress(f); /* they are given up, but not for a failure of theirs */
        }
        kill_all(f);
    }
    exit_if_over(f);
}

int64_t launch_fanout_deadline(const struct launch_fanout *f)
{
    int64_t first = f->end_ms < f->kill_ms ? f->end_ms : f->kill_ms;
    if (f->has_begun || f->has_exited) {
        return first;
    }
    first = f->progress_ms < first ? f->progress_ms : first;
    for (size_t i = 0; i < f->config.count; i++) {
        const struct host *h = &f->hosts[i];
        if (h->state == HOST_REACHING && !h->is_killed && h->reached_by_ms < first) {
            first = h->reached_by_ms;
        }
    }
    return first;
}

const struct launch_effect *launch_fanout_take(struct launch_fanout *f)
{
    if (f->taken == f->effect_count) {
        drop_taken(f);
        return NULL;
    }
    return &f->effects[f->taken++];
}
