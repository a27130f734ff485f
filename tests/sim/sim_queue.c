/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance, clocks, and what comes next: the heap of events, and that of the engines' deadlines.
 */
#include "tests/sim/sim.h"

#include "muster/mem.h"

/* ---- chance: splitmix64 ---- */

uint64_t sim_rand_next(struct sim_rand *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

int64_t sim_rand_range(struct sim_rand *r, int64_t low, int64_t high)
{
    MU_REQUIRE(low <= high);
    return low + (int64_t)(sim_rand_next(r) % (uint64_t)(high - low + 1));
}

bool sim_rand_chance(struct sim_rand *r, unsigned percent)
{
    return sim_rand_next(r) % 100 < percent;
}

/* ---- clocks ---- */

int64_t sim_clock_read(const struct sim_clock *c, int64_t world_ms)
{
    return world_ms + c->offset_ms + world_ms * c->drift_ppm / 1000000;
}

int64_t sim_clock_when(const struct sim_clock *c, int64_t clock_ms)
{
    if (clock_ms == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t at = clock_ms - c->offset_ms;
    at -= at * c->drift_ppm / 1000000;
    while (sim_clock_read(c, at) >= clock_ms) {
        at--;
    }
    while (sim_clock_read(c, at) < clock_ms) {
        at++;
    }
    return at;
}

/* ---- the heap of events: by time, then in the order they were made ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

void sim_schedule(struct sim *s, const struct sim_event *event)
{
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap > 0 ? 2 * s->heap_cap : 64;
        s->heap = mu_realloc(s->heap, s->heap_cap * sizeof(s->heap[0]));
    }
    struct sim_event e = *event;
    e.seq = s->seq++;
    size_t at = s->heap_count++;
    while (at > 0 && is_before(&e, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = e;
}

struct sim_event sim_pop(struct sim *s)
{
    struct sim_event top = s->heap[0];
    struct sim_event last = s->heap[--s->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < s->heap_count && is_before(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (child >= s->heap_count || is_before(&last, &s->heap[child])) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    if (s->heap_count > 0) {
        s->heap[at] = last;
    }
    return top;
}

/* ---- the heap of deadlines: by time, agents before the coordinator ---- */

static bool is_sooner(const struct sim_timers *t, uint32_t a, uint32_t b)
{
    return t->due_ms[a] != t->due_ms[b] ? t->due_ms[a] < t->due_ms[b] : a < b;
}

static void put(struct sim_timers *t, uint32_t at, uint32_t who)
{
    t->heap[at] = who;
    t->place[who] = at;
}

static void reorder(struct sim_timers *t, uint32_t who)
{
    uint32_t at = t->place[who];
    while (at > 0 && is_sooner(t, who, t->heap[(at - 1) / 2])) {
        put(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < t->count && is_sooner(t, t->heap[child + 1], t->heap[child])) {
            child++;
        }
        if (child >= t->count || is_sooner(t, who, t->heap[child])) {
            break;
        }
        put(t, at, t->heap[child]);
        at = child;
    }
    put(t, at, who);
}

/* A process that stands still is late for its deadline. */
static int64_t due(int64_t deadline_ms, int64_t paused_until_ms)
{
    return deadline_ms > paused_until_ms ? deadline_ms : paused_until_ms;
}

static int64_t due_of(const struct sim *s, uint32_t who)
{
    if (who < s->agent_count) {
        const struct sim_agent *a = &s->agents[who];
        return a->life == SIM_AGENT_UP
                   ? due(sim_clock_when(&a->clock, agent_deadline(a->engine)), a->paused_until_ms)
                   : INT64_MAX;
    }
    if (s->member == NULL) {
        return INT64_MAX;
    }
    return due(sim_clock_when(sim_coordinator_clock(s), member_deadline(s->member)),
               sim_coordinator_paused_until(s));
}

void sim_timers_begin(struct sim *s)
{
    struct sim_timers *t = &s->timers;
    t->count = s->agent_count + 1;
    t->due_ms = mu_calloc(t->count, sizeof(t->due_ms[0]));
    t->heap = mu_calloc(t->count, sizeof(t->heap[0]));
    t->place = mu_calloc(t->count, sizeof(t->place[0]));
    t->touched = mu_calloc(t->count, sizeof(t->touched[0]));
    t->is_touched = mu_calloc(t->count, sizeof(t->is_touched[0]));
    for (uint32_t i = 0; i < t->count; i++) {
        t->due_ms[i] = INT64_MAX;
        put(t, i, i);
    }
    for (uint32_t i = 0; i < t->count; i++) {
        sim_touch(s, i);
    }
    sim_timers_update(s);
    sim_timers_forget(s);
}

void sim_timers_fini(struct sim_timers *t)
{
    free(t->due_ms);
    free(t->heap);
    free(t->place);
    free(t->touched);
    free(t->is_touched);
}

void sim_touch(struct sim *s, uint32_t agent)
{
    struct sim_timers *t = &s->timers;
    if (t->count > 0 && !t->is_touched[agent]) {
        t->is_touched[agent] = true;
        t->touched[t->touched_count++] = agent;
    }
}

void sim_touch_coordinator(struct sim *s)
{
    sim_touch(s, s->agent_count);
}

void sim_timers_update(struct sim *s)
{
    struct sim_timers *t = &s->timers;
    for (uint32_t i = 0; i < t->touched_count; i++) {
        t->due_ms[t->touched[i]] = due_of(s, t->touched[i]);
        reorder(t, t->touched[i]);
    }
}

void sim_timers_forget(struct sim *s)
{
    struct sim_timers *t = &s->timers;
    for (uint32_t i = 0; i < t->touched_count; i++) {
        t->is_touched[t->touched[i]] = false;
    }
    t->touched_count = 0;
}
