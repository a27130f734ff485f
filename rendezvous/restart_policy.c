/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/restart_policy.h"

#include "muster/mem.h"
#include "rendezvous/member.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    LOST_WINDOW_MS = 3600 * 1000, /* of node losses if restarts have no window */
    MAX_LOSSES = 4096, /* remembered, and looked through for each who joins; older ones are not */
};

struct restart_loss {
    uint64_t name; /* hash */
    uint32_t round;
    int64_t at_ms;
};

void restart_history_fini(struct restart_history *h)
{
    free(h->times_ms);
    free(h->losses);
    *h = (struct restart_history){0};
}

void restart_span_text(int64_t ms, char *text, size_t size)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"h", 3600000}, {"min", 60000}, {"s", 1000}};
    size_t i = 0;
    while (i + 1 < MU_COUNT(units) &&
           (ms < units[i].ms || (ms < 2 * units[i].ms && ms % units[i].ms != 0))) {
        i++; /* "90 min" says more than "1.5 h" */
    }
    snprintf(text, size, "%.*f %s", ms % units[i].ms == 0 ? 0 : 1, (double)ms / (double)units[i].ms,
             units[i].name);
}

/* ---- the same way ---- */

static uint64_t hash_byte(uint64_t hash, unsigned char c)
{
    return (hash ^ c) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static uint64_t hash_begin(void)
{
    return UINT64_C(0xcbf29ce484222325);
}

/* Ranks, pids, steps and addresses differ from round to round and say nothing about the way. */
static uint64_t hash_words(uint64_t hash, const char *text)
{
    for (const char *p = text != NULL ? text : ""; *p != '\0';) {
        if (!isdigit((unsigned char)*p)) {
            hash = hash_byte(hash, (unsigned char)*p++);
            continue;
        }
        bool is_hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
        p += is_hex ? 2 : 0;
        while (is_hex ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p)) {
            p++;
        }
        hash = hash_byte(hash, '#');
    }
    return hash_byte(hash, '\0');
}

static bool is_from_outside(int signo)
{
    return signo == SIGKILL || signo == SIGTERM || signo == SIGINT || signo == SIGHUP;
}

/*
 * Does the way of this failure say that the next round will fail, too? Not if somebody outside
 * ended the worker (an operator, a scheduler, the kernel for want of memory), nor if it is a
 * consequence of what happened elsewhere.
 */
static bool is_telling(const struct member_failure *f)
{
    if (f->is_node || f->blame != CAUSE_OWN || f->cause == CAUSE_INTERRUPT ||
        f->outcome.kind == OUTCOME_UNKNOWN) {
        return false;
    }
    if (f->was_ending) {
        return true; /* the signal was ours, what it had said before counts */
    }
    bool is_signal = f->outcome.kind == OUTCOME_SIGNALED;
    bool is_status = f->outcome.kind == OUTCOME_EXITED && f->outcome.code > 128;
    return !(is_signal && is_from_outside(f->outcome.code)) &&
           !(is_status && is_from_outside(f->outcome.code - 128));
}

/* Without rank and node: which of many ranks is heard of first varies. Never 0. */
static uint64_t signature(const struct member_failure *f)
{
    uint64_t hash = hash_byte(hash_begin(), (unsigned char)f->cause);
    if (!f->was_ending) {
        hash = hash_byte(hash, (unsigned char)f->outcome.kind);
        hash = hash_byte(hash, (unsigned char)f->outcome.stage);
        hash = hash_byte(hash, (unsigned char)f->outcome.code);
    }
    hash = hash_words(hash, f->sentence);
    hash = hash_words(hash, f->message);
    return hash != 0 ? hash : 1;
}

/* ---- the budget ---- */

uint32_t restart_used(const struct restart_history *h, const struct job_policy *policy,
                      int64_t now_ms)
{
    if (policy->restart_window_ms == 0) {
        return h->count;
    }
    size_t first = 0;
    while (first < h->time_count && now_ms - h->times_ms[first] >= policy->restart_window_ms) {
        first++;
    }
    return (uint32_t)(h->time_count - first);
}

static void spend(struct restart_history *h, const struct job_policy *policy, int64_t now_ms)
{
    h->count++;
    if (policy->restart_window_ms == 0) {
        return;
    }
    size_t kept = restart_used(h, policy, now_ms);
    if (kept < h->time_count) {
        memmove(h->times_ms, h->times_ms + (h->time_count - kept), kept * sizeof(h->times_ms[0]));
        h->time_count = kept;
    }
    if (h->time_count == h->time_cap) {
        h->time_cap = h->time_cap > 0 ? 2 * h->time_cap : 8;
        h->times_ms = mu_realloc(h->times_ms, h->time_cap * sizeof(h->times_ms[0]));
    }
    h->times_ms[h->time_count++] = now_ms;
}

void restart_adopt(struct restart_history *h, const struct job_policy *policy, uint32_t count)
{
    bool is_too_many = policy->restart_window_ms == 0 && count > policy->max_restarts;
    h->count = is_too_many ? policy->max_restarts : count;
}

static void say_no_budget(struct restart_decision *d, const struct job_policy *policy,
                          const char *first)
{
    if (policy->max_restarts == 0) {
        snprintf(d->why, sizeof(d->why), "%s--max-restarts is 0", first);
        return;
    }
    char window[32] = "";
    if (policy->restart_window_ms > 0) {
        restart_span_text(policy->restart_window_ms, window, sizeof(window));
    }
    snprintf(d->why, sizeof(d->why), "%sno restart is left, %u of %u are used%s%s", first,
             policy->max_restarts, policy->max_restarts, window[0] != '\0' ? " within " : "",
             window);
}

/* One of max_restarts, if one is left. `first` goes before the sentence that says none is. */
static void ask_budget(struct restart_history *h, const struct job_policy *policy, int64_t now_ms,
                       const char *first, struct restart_decision *d)
{
    if (restart_used(h, policy, now_ms) < policy->max_restarts) {
        d->verdict = RESTART_COUNTED;
        spend(h, policy, now_ms);
    } else {
        d->verdict = RESTART_NONE;
        say_no_budget(d, policy, first);
    }
}

/* ---- the rules ---- */

static bool ended_with(const struct member_failure *f, const struct exit_codes *codes)
{
    return !f->is_node && (f->outcome.kind == OUTCOME_EXITED) && !f->was_ending &&
           exit_codes_has(codes, f->outcome.code);
}

/* A program that is not there, or is none, will not be there in a second. */
static bool is_no_program(const struct member_failure *f)
{
    return !f->is_node && f->outcome.kind == OUTCOME_EXEC_FAILED &&
           (f->outcome.stage == OUTCOME_STAGE_PROGRAM || f->outcome.stage == OUTCOME_STAGE_SCRIPT);
}

static void decide_retry(struct restart_history *h, const struct job_policy *policy,
                         const struct restart_case *c, int64_t now_ms, struct restart_decision *d)
{
    int code = c->failure->outcome.code;
    if (c->uptime_ms >= policy->min_uptime_ms) {
        d->verdict = RESTART_FREE;
        snprintf(d->why, sizeof(d->why), "exit status %d asks for a restart, which costs none",
                 code);
        return;
    }
    char first[128];
    snprintf(first, sizeof(first),
             "exit status %d asks for a restart, which costs one so soon after the start, but ",
             code);
    ask_budget(h, policy, now_ms, first, d);
    if (d->verdict == RESTART_COUNTED) {
        snprintf(d->why, sizeof(d->why),
                 "exit status %d asks for it; so soon after the start it costs one", code);
    }
}

static void say_same_way(const struct member_failure *f, const struct job_policy *policy,
                         struct restart_decision *d)
{
    char how[128];
    char span[32];
    outcome_describe(f->outcome, how, sizeof(how));
    restart_span_text(policy->min_uptime_ms, span, sizeof(span));
    /* Of a status or a signal the sentence only says that there was nothing to find. */
    bool is_bare = f->cause == CAUSE_EXIT || f->cause == CAUSE_SIGNAL || f->cause == CAUSE_UNKNOWN;
    bool has_sentence = !is_bare && f->sentence != NULL && f->sentence[0] != '\0';
    snprintf(d->why, sizeof(d->why),
             "failed the same way twice within %s of its start (%.200s): restarting would not help "
             "(--min-uptime 0 does it nevertheless)",
             span, has_sentence ? f->sentence : how);
}

struct restart_decision restart_decide(struct restart_history *h, const struct job_policy *policy,
                                       const struct restart_case *c, int64_t now_ms)
{
    const struct member_failure *f = c->failure;
    struct restart_decision d = {.verdict = RESTART_NONE};
    bool is_retry = ended_with(f, &policy->retry_codes);
    bool has_budget = restart_used(h, policy, now_ms) < policy->max_restarts;
    bool is_soon = policy->min_uptime_ms > 0 && c->uptime_ms < policy->min_uptime_ms;
    uint64_t before = h->same_way;
    h->same_way = is_soon && !is_retry && is_telling(f) ? signature(f) : 0;

    if (ended_with(f, &policy->stop_codes)) {
        snprintf(d.why, sizeof(d.why), "exit status %d is one of --stop-exit-codes",
                 f->outcome.code);
    } else if (is_no_program(f)) {
        snprintf(d.why, sizeof(d.why), "what cannot be executed would fail the same way again");
    } else if (has_budget && h->same_way != 0 && h->same_way == before) {
        say_same_way(f, policy, &d);
    } else if (is_retry) {
        decide_retry(h, policy, c, now_ms, &d);
    } else if (c->is_lost_node && c->has_enough) {
        d.verdict = RESTART_GO_ON;
    } else if (c->is_from_other && f->blame != CAUSE_OWN && !h->has_forgiven) {
        h->has_forgiven = true;
        d.verdict = RESTART_FREE;
        snprintf(d.why, sizeof(d.why), "its coordinator was lost, which costs no restart");
    } else {
        ask_budget(h, policy, now_ms, "", &d);
    }
    d.is_notable = has_budget || is_retry;
    return d;
}

void restart_note_progress(struct restart_history *h)
{
    h->same_way = 0;
}

/* ---- lost nodes ---- */

int64_t restart_lost_window_ms(const struct job_policy *policy)
{
    return policy->restart_window_ms > 0 ? policy->restart_window_ms : LOST_WINDOW_MS;
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = hash_begin();
    for (const char *p = name; *p != '\0'; p++) {
        hash = hash_byte(hash, (unsigned char)*p);
    }
    return hash;
}

static size_t first_recent(const struct restart_history *h, const struct job_policy *policy,
                           int64_t now_ms)
{
    size_t first = 0;
    while (first < h->loss_count &&
           now_ms - h->losses[first].at_ms >= restart_lost_window_ms(policy)) {
        first++;
    }
    return first;
}

void restart_note_loss(struct restart_history *h, const struct job_policy *policy, const char *name,
                       uint32_t round, int64_t now_ms)
{
    if (h->loss_count > 0 && h->loss_count == h->loss_cap) {
        size_t first = first_recent(h, policy, now_ms);
        first = h->loss_count == MAX_LOSSES && first < MAX_LOSSES / 2 ? MAX_LOSSES / 2 : first;
        h->loss_count -= first;
        memmove(h->losses, h->losses + first, h->loss_count * sizeof(h->losses[0]));
    }
    if (h->loss_count == h->loss_cap) {
        h->loss_cap = h->loss_cap > 0 ? 2 * h->loss_cap : 8;
        h->losses = mu_realloc(h->losses, h->loss_cap * sizeof(h->losses[0]));
    }
    h->losses[h->loss_count++] =
        (struct restart_loss){.name = hash_name(name), .round = round, .at_ms = now_ms};
}

uint32_t restart_losses(const struct restart_history *h, const struct job_policy *policy,
                        const char *name, int64_t now_ms)
{
    uint64_t hash = hash_name(name);
    uint32_t count = 0;
    uint32_t round = 0; /* the last it was lost in; no round is number 0 */
    for (size_t i = first_recent(h, policy, now_ms); i < h->loss_count; i++) {
        if (h->losses[i].name == hash && h->losses[i].round != round) {
            round = h->losses[i].round;
            count++;
        }
    }
    return count;
}
